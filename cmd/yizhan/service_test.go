package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

// patience bounds every wait of these tests; it is never waited out when they pass.
const patience = 30 * time.Second

// eventually polls ok until it holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// running is a service at work.
type running struct {
	*service
	base string
	end  func()
}

// start runs s until the test ends or end is called; end waits for an orderly end.
func start(t *testing.T, s *service) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	ended := false
	r := &running{service: s, base: "http://" + s.listener.Addr().String()}
	r.end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run ends with %v", err)
			}
		case <-time.After(patience):
			t.Fatalf("still running %s after the stop signal", patience)
		}
	}
	t.Cleanup(r.end)
	return r
}

// openDevService opens a service with a sandbox; the sandbox is closed after the test at the latest.
func openDevService(t *testing.T, dir string) (*service, *sandbox.Sandbox) {
	t.Helper()
	s, sb, err := openDev(context.Background(), devOptions{dataDir: dir, listen: "127.0.0.1:0", logLevel: "error"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sb.Close() })
	return s, sb
}

// everyChannel is an event that goes over mail, SMS and webhook, as purchase orders do in dev/rules.yaml
// once SMS is among their channels.
func everyChannel(id string) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": id, "source": devSource, "type": "erp.purchase.approval", "tenant": "acme",
		"data": map[string]any{
			"category": "notification", "channels": []string{"mail", "sms", "partner"},
			"to":       []any{map[string]any{"name": "李强", "email": "li.qiang@huaxing.example", "phone": "13800138000"}},
			"template": "stock-alert", "params": map[string]any{"item": "M8 螺栓", "quantity": 120},
		},
	}
}

func arrived(sb *sandbox.Sandbox, kind string) []sandbox.Item {
	items, _, _ := sb.Inbox().List(sandbox.Filter{Kind: kind}, 100, 0)
	return items
}

func publish(t *testing.T, base string, event map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := post(ctx, base+"/v1/events", event); err != nil {
		t.Fatal(err)
	}
}

func deliveredOnce(t *testing.T, sb *sandbox.Sandbox) {
	t.Helper()
	for _, kind := range []string{"email", "sms", "webhook"} {
		eventually(t, kind+" arrives", func() bool { return len(arrived(sb, kind)) > 0 })
	}
	for kind, want := range map[string]string{"email": "M8 螺栓", "sms": "M8 螺栓", "webhook": ""} {
		items := arrived(sb, kind)
		if len(items) != 1 || !strings.Contains(items[0].Text+items[0].Subject+items[0].Raw, want) || items[0].Delivery == "" {
			t.Errorf("%s: %+v, want one, of the stock alert", kind, items)
		}
	}
}

// TestServiceFromStartToStop: one event arrives over every channel; after the stop nothing of the
// process is left, and a new one goes on with the same data.
func TestServiceFromStartToStop(t *testing.T) {
	dir := t.TempDir()
	// What a process keeps for ever (caches, the HTTP client's) is started before it is counted.
	first, sb := openDevService(t, dir)
	start(t, first).end()
	_ = sb.Close()
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()

	s, sb := openDevService(t, dir)
	r := start(t, s)
	publish(t, r.base, everyChannel("one"))
	deliveredOnce(t, sb)
	address := s.listener.Addr().String()
	r.end()
	if err := sb.Close(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()

	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("the port is not free again: %v", err)
	} else {
		_ = l.Close()
	}
	t.Cleanup(func() {
		if t.Failed() {
			stacks := make([]byte, 1<<20)
			t.Logf("%d goroutines before the start; now:\n%s", before, stacks[:runtime.Stack(stacks, true)])
		}
	})
	eventually(t, "every goroutine of the process ends", func() bool { return runtime.NumGoroutine() <= before })

	// The same directory: the event is known, nothing is sent again, and new ones are taken.
	s, sb = openDevService(t, dir)
	r = start(t, s)
	answer := answerTo(t, r.base, everyChannel("one"))
	if !strings.Contains(answer, `"duplicate":true`) {
		t.Errorf("after a restart the event is taken anew: %s", answer)
	}
	publish(t, r.base, everyChannel("two"))
	deliveredOnce(t, sb)
}

// answerTo publishes an event and returns status and body.
func answerTo(t *testing.T, base string, event map[string]any) string {
	t.Helper()
	b, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/events", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status + " " + string(body)
}

// TestDataDirHasOneOwner: a second process would lose acknowledged messages; it is told why it
// cannot start, and the first is not disturbed.
func TestDataDirHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s, sb := openDevService(t, dir)
	r := start(t, s)
	for l, want := range map[string]string{"en": "broker.data_dir: ", "zh": "正被另一个进程使用"} {
		defer func(l string) { lang = l }(lang)
		lang = l
		second, err := openService(context.Background(), s.conf, roles, map[string]http.Handler{})
		if err == nil {
			second.close()
			t.Fatal("a second process opens the same data_dir")
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "yizhan.yaml:") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", l, err)
		}
	}
	publish(t, r.base, everyChannel("one"))
	deliveredOnce(t, sb)
}

// TestPortInUse: the start ends with the address, writes nothing and leaves the data directory free.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, _, err = openDev(context.Background(), devOptions{dataDir: dir, listen: l.Addr().String(), logLevel: "error"})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("%v, want the address", err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*.yaml")); err != nil || len(files) > 0 {
		t.Errorf("a start that failed wrote %v, %v", files, err)
	}
	s, _ := openDevService(t, dir)
	s.close()
}

// TestChangedRulesAreTaken: a running process takes a changed rules.yaml into use; a broken one is
// reported once with its place, and the last good one stays in force.
func TestChangedRulesAreTaken(t *testing.T) {
	dir := t.TempDir()
	s, _ := openDevService(t, dir)
	core, logs := observer.New(zap.InfoLevel)
	s.log = zap.New(core)
	file := filepath.Join(dir, "rules.yaml")
	// The file's time is set by hand: two writes within one tick of the file system's clock look alike.
	at := time.Now()
	write := func(doc string) {
		t.Helper()
		at = at.Add(time.Minute)
		next := file + ".new"
		if err := os.WriteFile(next, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(next, at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	start(t, s)
	write("routes:\n  - {name: only, send: [mail]}\n")
	eventually(t, "the new routes are in force", func() bool { return slices.Equal(s.Book().Routes(), []string{"only"}) })
	write("routes:\n  - {name: broken, send: [pager]}\n")
	eventually(t, "the broken rules are reported", func() bool { return logs.FilterMessageSnippet("broken").Len() > 0 })
	if got := s.Book().Routes(); !slices.Equal(got, []string{"only"}) {
		t.Errorf("routes %v are in force, want the last good ones", got)
	}
	text := fmt.Sprint(logs.FilterMessageSnippet("broken").All()[0].ContextMap()["error"])
	for _, want := range []string{"rules.yaml", "[2:27]", "pager"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report %q does not say %s", text, want)
		}
	}
	write("routes:\n  - {name: mended, send: [sms]}\n")
	eventually(t, "the mended routes are in force", func() bool { return slices.Equal(s.Book().Routes(), []string{"mended"}) })
	if n := logs.FilterMessageSnippet("broken").Len(); n != 1 {
		t.Errorf("reported %d times", n)
	}
}

// TestMissingFileOfRulesIsAwaited: a file that is missing or broken when rules.yaml first names it is
// taken once it is there and right, without another touch of rules.yaml, and the end of the trouble is told.
func TestMissingFileOfRulesIsAwaited(t *testing.T) {
	dir := t.TempDir()
	s, _ := openDevService(t, dir)
	core, logs := observer.New(zap.WarnLevel)
	s.log = zap.New(core)
	told := make(chan struct{}, 1)
	s.onRules = func() { told <- struct{}{} }
	// Written whole under its name at once, at times that differ.
	at := time.Now()
	write := func(name, doc string) {
		t.Helper()
		at = at.Add(time.Minute)
		next := filepath.Join(dir, name+".new")
		if err := errors.Join(os.WriteFile(next, []byte(doc), 0o600), os.Chtimes(next, at, at), os.Rename(next, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	start(t, s)
	failures := func(n int) func() bool {
		return func() bool { return logs.FilterMessageSnippet("are broken").Len() == n }
	}
	write("rules.yaml", "routes: [{name: own, send: [mail]}]\nguards: {content: {lexicons: [own.txt]}}\n")
	eventually(t, "the missing file is reported", failures(1))
	write("own.txt", "[no such rule]\n")
	eventually(t, "the broken file is reported", failures(2))
	write("own.txt", "@lexicon own 2026-11-25\n@rule 5\n火星贷\t100\n")
	eventually(t, "the rules are in force", func() bool { return slices.Equal(s.Book().Routes(), []string{"own"}) })
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("dev is not told")
	}
	if n := logs.FilterMessage("rules reloaded").FilterField(zap.Bool("were_broken", true)).Len(); n != 1 {
		t.Errorf("the recovery is told %d times at level warn", n)
	}
}

// natsServer is an external NATS with JetStream.
func natsServer(t *testing.T) string {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("nats-server is not ready")
	}
	return ns.ClientURL()
}

var brokerLine = regexp.MustCompile(`(?m)^broker: .*$`)

// openRoles opens a process with some roles on an external NATS, with the channels of `yizhan dev`.
func openRoles(t *testing.T, sb *sandbox.Sandbox, url string, roles ...string) *service {
	t.Helper()
	file, err := writeDev(t.TempDir(), devOptions{listen: "127.0.0.1:0", logLevel: "error"}, sb)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = brokerLine.ReplaceAll(b, []byte("broker: {url: '"+url+"'}"))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openService(context.Background(), c, roles, map[string]http.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRolesShareOneNATS: one process takes events, another plans and sends them.
func TestRolesShareOneNATS(t *testing.T) {
	url := natsServer(t)
	sb, err := sandbox.Start(sandbox.Config{SMTPTLS: "starttls"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sb.Close() }()
	taker := start(t, openRoles(t, sb, url, roleIngest))
	worker := start(t, openRoles(t, sb, url, rolePlan, roleSend))

	if answer := answerTo(t, worker.base, everyChannel("refused")); !strings.HasPrefix(answer, "404 ") {
		t.Errorf("a process without the role ingest answers %s", answer)
	}
	res, err := http.Get(taker.base + "/v1/dead")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("a process without the role console answers GET /v1/dead with %s", res.Status)
	}
	for _, r := range []*running{taker, worker} {
		eventually(t, "ready", func() bool {
			res, err := http.Get(r.base + "/readyz")
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	publish(t, taker.base, everyChannel("one"))
	deliveredOnce(t, sb)
}

// TestBrokerOutOfReach: the start ends with the setting that is to blame.
func TestBrokerOutOfReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // no NATS: it hangs up
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	url := "nats://" + l.Addr().String()
	file := filepath.Join(t.TempDir(), "yizhan.yaml")
	if err := os.WriteFile(file, []byte("broker:\n  url: "+url+"\nhttp: {listen: '127.0.0.1:0', auth: none}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := yizhan(t, "", "serve", "--config", file, "--lang", "en")
	if r.code != exitProblem || !strings.Contains(r.err, "cannot start: "+file+":1:1: broker: ") || !strings.Contains(r.err, url) {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
	if r := yizhan(t, "", "serve", "--config", file, "--lang", "zh"); !strings.Contains(r.err, "无法启动：") || !strings.Contains(r.err, "消息队列不可用") {
		t.Errorf("%s", r.err)
	}
}

func TestUnknownRole(t *testing.T) {
	if r := yizhan(t, "", "serve", "--roles", "plan,sent", "--lang", "en"); r.code != exitUsage || !strings.Contains(r.err, "unknown role sent") {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
}
