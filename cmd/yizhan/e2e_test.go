package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
)

// These tests run the built program as processes against a NATS server and the sandbox, kill and
// stop them, and judge from outside: what the third parties received, what the ledger says.
var (
	outage = flag.Duration("e2e.outage", 8*time.Second, "how long the mail server is down")
	seed   = flag.Uint64("e2e.seed", 1, "of the kills")
)

var builtOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "yizhan-e2e")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "yizhan")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

// world is a NATS server, the third parties, and a configuration for workers.
type world struct {
	t    *testing.T
	nats string // "" = embedded
	sb   *sandbox.Sandbox
	dir  string
}

const e2eRules = `
routes:
  - {name: all, when: 'event.type == "all"', send: [sms, mail, partner]}
  - {name: sms, when: 'event.type == "sms"', send: [sms]}
  - {name: mail, when: 'event.type == "mail"', send: [mail]}
  - {name: hook, when: 'event.type == "hook"', send: [partner]}
templates:
  t:
    sms: {code: SMS_1, params: [n], text: "第${n}条"}
    mail: {subject: "第${n}条", text: "第${n}条"}
`

func newWorld(t *testing.T, external bool) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	if external {
		s, err := server.NewServer(&server.Options{ServerName: "e2e", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("nats-server is not ready")
		}
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		w.nats = s.ClientURL()
	}
	sb, err := sandbox.Start(sandbox.Config{SMTPTLS: "starttls"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sb.Close() })
	w.sb = sb
	cred := sb.Credentials()
	for name, content := range map[string]string{
		"ca.pem": string(sb.SMTP.CACertPEM()), "password": cred.Password, "id": cred.AccessKeyID, "secret": cred.AccessKeySecret,
		"hook": cred.WebhookSecret, "number.key": strings.Repeat("k", 40), "rules.yaml": e2eRules,
	} {
		w.write(name, content)
	}
	_, port, err := net.SplitHostPort(sb.SMTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	where := "url: \"" + w.nats + "\""
	if !external {
		where = "data_dir: data"
	}
	w.write("yizhan.yaml", fmt.Sprintf(`
broker: {%s}
http: {listen: "127.0.0.1:0", auth: none}
tenants: [acme]
number_key_file: number.key
dispatch:
  grace: 5s
  retry: {first: 1s, factor: 2, max: 4s, attempts: 200, reconcile: [1s, 2s, 3s]}
channels:
  mail: {kind: email, host: 127.0.0.1, port: %s, tls: starttls, ca_file: ca.pem, username: %s, password_file: password, from: erp@example.com, timeout: 5s}
  sms: {kind: sms, provider: aliyun, signature: 华星科技, endpoint: %q, access_key_id_file: id, access_key_secret_file: secret, timeout: 3s}
  partner: {kind: webhook, url: %q, secret_file: hook, allow_private: true, timeout: 3s}
`, where, port, cred.Username, sb.SMSEndpoint(), sb.WebhookURL("ok")))
	return w
}

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// worker is one process of the program.
type worker struct {
	cmd  *exec.Cmd
	url  string
	log  *bytes.Buffer
	done chan struct{}
}

func (w *world) start() *worker {
	w.t.Helper()
	bin, err := builtOnce()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &worker{cmd: exec.Command(bin, "serve", "--config", filepath.Join(w.dir, "yizhan.yaml")), log: &bytes.Buffer{}, done: make(chan struct{})}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(errs)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l struct {
				Level, Msg, HTTP string
			}
			if json.Unmarshal(lines.Bytes(), &l, json.MatchCaseInsensitiveNames(true)) == nil && l.Msg == "ready" {
				ready <- "http://" + l.HTTP
			}
			if l.Level != "info" {
				p.log.Write(append(lines.Bytes(), '\n'))
			}
		}
		_ = p.cmd.Wait()
	}()
	select {
	case p.url = <-ready:
	case <-p.done:
		w.t.Fatalf("the process ended: %s", p.log)
	case <-time.After(30 * time.Second):
		w.t.Fatal("the process is not ready")
	}
	w.t.Cleanup(p.kill)
	return p
}

func (p *worker) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *worker) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

func event(typ, id, to string) map[string]any {
	return map[string]any{
		"specversion": "1.0", "source": "/e2e", "id": id, "type": typ, "tenant": "acme", "time": time.Now().Format(time.RFC3339Nano),
		"data": map[string]any{"category": "notification", "to": []any{jsontext.Value(to)}, "template": "t", "params": map[string]any{"n": id}},
	}
}

const everywhere = `{"name":"王芳","phone":"13800138000","email":"wang@example.com"}`

// post publishes events as one batch over HTTP and says whether they were accepted.
func (p *worker) post(ctx context.Context, events ...map[string]any) error {
	b, err := json.Marshal(events)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/events", bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/cloudevents-batch+json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s: %s", res.Status, answer)
	}
	return nil
}

// until polls until ok, or fails the test after limit with what is missing.
func (w *world) until(limit time.Duration, missing func() string) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %s: %s", limit, m)
		}
		time.Sleep(100 * time.Millisecond) // between polls
	}
}

// states reads the last record of every delivery: how many stand in each state.
func (w *world) states(js jetstream.JetStream) map[string]int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	c, err := js.CreateConsumer(ctx, broker.Ledger, jetstream.ConsumerConfig{
		FilterSubject: "yz.ledger.delivery.>", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[string]int{}
	for left := int(c.CachedInfo().NumPending); left > 0; {
		b, err := c.Fetch(min(left, 1000), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			w.t.Fatal(err)
		}
		n := 0
		for m := range b.Messages() {
			n++
			var r ledger.Record
			if err := json.Unmarshal(m.Data(), &r); err != nil {
				w.t.Fatal(err)
			}
			count[string(r.State)]++
			if !r.State.Terminal() {
				count["open"]++
			}
		}
		if n == 0 {
			break
		}
		left -= n
	}
	return count
}

func (w *world) js() jetstream.JetStream {
	w.t.Helper()
	nc, err := nats.Connect(w.nats)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	return js
}

// inbox counts what the third parties took, by kind and delivery id.
func (w *world) inbox() (byKind map[string]int, repeated map[string]int, items []sandbox.Item) {
	byKind, repeated = map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	var before uint64
	for {
		page, _, next := w.sb.Inbox().List(sandbox.Filter{}, 1000, before)
		for _, i := range page {
			byKind[i.Kind]++
			id := i.Delivery
			if id == "" {
				id = i.ID
			}
			if seen[i.Kind+id] {
				repeated[i.Kind]++
			}
			seen[i.Kind+id] = true
		}
		items = append(items, page...)
		if next == 0 {
			return byKind, repeated, items
		}
		before = next
	}
}

func TestSameEventAThousandTimes(t *testing.T) {
	w := newWorld(t, true)
	pods := []*worker{w.start(), w.start(), w.start()}
	js := w.js()
	e := event("all", "same", everywhere)
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	for i := range 20 {
		g.Go(func() {
			for range 50 {
				var err error
				if i%2 == 0 {
					err = pods[i%3].post(t.Context(), e)
				} else {
					_, err = js.Publish(t.Context(), "yz.event.acme.all", b)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	w.until(30*time.Second, func() string {
		c, err := js.Consumer(t.Context(), broker.Events, "plan")
		if err != nil {
			t.Fatal(err)
		}
		if i := c.CachedInfo(); i.NumPending+uint64(i.NumAckPending) > 0 {
			return fmt.Sprint(i.NumPending, " events wait")
		}
		if s := w.states(js); s["open"] > 0 || len(s) == 0 {
			return fmt.Sprint(s)
		}
		return ""
	})
	if got, _, _ := w.inbox(); !maps.Equal(got, map[string]int{"email": 1, "sms": 1, "webhook": 1}) {
		t.Errorf("the third parties received %v, want one each", got)
	}
	if s := w.states(js); s["accepted"] != 3 || len(s) != 1 {
		t.Errorf("states %v", s)
	}
}

// TestCapHoldsWhileWorkersAreKilled: 5,000 SMS to one number, and to forty, by three workers that are
// killed at random all the while.
func TestCapHoldsWhileWorkersAreKilled(t *testing.T) {
	for _, numbers := range []int{1, 40} {
		t.Run(fmt.Sprint(numbers), func(t *testing.T) { capHolds(t, numbers) })
	}
}

func capHolds(t *testing.T, numbers int) {
	const events, batch = 5000, 250
	w := newWorld(t, true)
	pods := []*worker{w.start(), w.start(), w.start()}
	js := w.js()
	rng := rand.New(rand.NewPCG(*seed, uint64(numbers)))
	number := func(n int) string { return fmt.Sprintf("138001380%02d", n%numbers) }
	for n := 0; n < events; n += batch {
		for i := n; i < n+batch; i++ {
			b, err := json.Marshal(event("sms", fmt.Sprint(i), `{"phone":"`+number(i)+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "yz.event.acme.sms", b); err != nil {
				t.Fatal(err)
			}
			if i%batch == rng.IntN(batch) || i%batch == batch-1 {
				victim := rng.IntN(len(pods))
				pods[victim].kill()
				pods[victim] = w.start()
			}
		}
	}
	want := min(numbers*50, events)
	w.until(4*time.Minute, func() string {
		if s := w.states(js); s["open"] > 0 || s["accepted"]+s["delivered"]+s["dead"] != events {
			return fmt.Sprint(s)
		}
		return ""
	})
	s := w.states(js)
	t.Logf("%d events to %d numbers: states %v", events, numbers, s)
	for n := range numbers {
		if times := w.sb.SMS.Accepted(number(n)); len(times) != 50 {
			t.Errorf("the provider accepted %d for one number, want exactly 50", len(times))
		}
	}
	if s["accepted"]+s["delivered"] != want || s["dead"] != events-want {
		t.Errorf("states %v, want %d accepted", s, want)
	}
	if _, repeated, _ := w.inbox(); repeated["sms"] > 0 {
		t.Errorf("%d SMS arrived twice", repeated["sms"])
	}
}

// TestMailServerDown: the others do not wait for it, and nothing is lost.
func TestMailServerDown(t *testing.T) {
	w := newWorld(t, true)
	pods := []*worker{w.start(), w.start()}
	js := w.js()
	n, mails := 0, 0
	load := func(what string, d time.Duration) {
		t.Helper()
		sent := map[string]time.Time{}
		for end := time.Now().Add(d); time.Now().Before(end); {
			var batch []map[string]any
			for range 10 {
				n++
				batch = append(batch, event("all", fmt.Sprint(n), fmt.Sprintf(`{"phone":"138%08d","email":"u%d@example.com"}`, n, n)))
				sent[fmt.Sprintf("138%08d", n)] = time.Now()
			}
			if err := pods[n%2].post(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // the load: 100 events/s
		}
		w.until(20*time.Second, func() string {
			if got, _, _ := w.inbox(); got["sms"] != n || got["webhook"] != n || got["email"] < mails {
				return fmt.Sprintf("%s: %v of %d", what, got, n)
			}
			return ""
		})
		var latencies []time.Duration
		_, _, items := w.inbox()
		for _, i := range items {
			if at, ok := sent[i.To]; ok && i.Kind == "sms" {
				latencies = append(latencies, i.Time.Sub(at))
			}
		}
		slices.Sort(latencies)
		t.Logf("%s, %s: %d events, SMS p50 %s, p99 %s", what, d, len(sent), latencies[len(latencies)/2], latencies[len(latencies)*99/100])
	}
	load("all up", min(*outage, 8*time.Second))
	w.until(20*time.Second, func() string {
		if got, _, _ := w.inbox(); got["email"] != n {
			return fmt.Sprint(got)
		}
		return ""
	})
	mails = n
	if err := w.sb.SMTP.SetDown(true); err != nil {
		t.Fatal(err)
	}
	load("mail server down", *outage) // everything else arrives while it is still down
	if got, _, _ := w.inbox(); got["email"] != mails {
		t.Fatalf("%d mails through a server that is down", got["email"]-mails)
	}
	if err := w.sb.SMTP.SetDown(false); err != nil {
		t.Fatal(err)
	}
	w.until(90*time.Second, func() string {
		if s := w.states(js); s["accepted"] != 3*n {
			return fmt.Sprintf("%v of %d", s, 3*n)
		}
		return ""
	})
	if got, repeated, _ := w.inbox(); got["email"] != n || len(repeated) > 0 {
		t.Errorf("received %v, repeated %v, want %d mails", got, repeated, n)
	}
}

// TestStopAndKillUnderLoad: after SIGTERM nothing is repeated; after kill -9 no SMS is, and of the
// rest at most what was under way.
func TestStopAndKillUnderLoad(t *testing.T) {
	for _, broken := range []string{"SIGTERM", "SIGKILL"} {
		t.Run(broken, func(t *testing.T) {
			w := newWorld(t, true)
			p, other := w.start(), w.start()
			js := w.js()
			const rounds, each = 4, 300
			n := 0
			for range rounds {
				for range each / 50 {
					var batch []map[string]any
					for range 50 {
						n++
						batch = append(batch, event("all", fmt.Sprint(n), fmt.Sprintf(`{"phone":"138%08d","email":"u%d@example.com"}`, n, n)))
					}
					if err := other.post(t.Context(), batch...); err != nil {
						t.Fatal(err)
					}
				}
				if broken == "SIGTERM" {
					p.stop()
				} else {
					p.kill()
				}
				p = w.start()
			}
			w.until(2*time.Minute, func() string {
				if s := w.states(js); s["accepted"]+s["delivered"] != 3*n {
					return fmt.Sprintf("%v of %d", s, 3*n)
				}
				return ""
			})
			got, repeated, _ := w.inbox()
			t.Logf("%d deliveries, %d × %s, repeated at the third parties: %v", 3*n, rounds, broken, repeated)
			if got["sms"] != n {
				t.Errorf("%d SMS, want %d", got["sms"], n)
			}
			limit := map[string]int{"email": rounds * 3 * 4, "webhook": rounds * 3 * 16} // slots × priorities in flight at a kill
			if broken == "SIGTERM" {
				limit = nil
			}
			for kind, r := range repeated {
				if r > limit[kind] {
					t.Errorf("%d %s repeated, want at most %d", r, kind, limit[kind])
				}
			}
		})
	}
}

// TestEmbeddedBrokerSurvives: one process with everything in it, stopped and killed under load.
func TestEmbeddedBrokerSurvives(t *testing.T) {
	w := newWorld(t, false)
	p := w.start()
	n := 0
	accepted := 0
	for round := range 4 {
		for range 6 {
			var batch []map[string]any
			for range 50 {
				n++
				batch = append(batch, event("all", fmt.Sprint(n), fmt.Sprintf(`{"phone":"138%08d","email":"u%d@example.com"}`, n, n)))
			}
			if err := p.post(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
			accepted += len(batch)
		}
		if round%2 == 0 {
			p.stop()
		} else {
			p.kill()
		}
		p = w.start()
	}
	w.until(2*time.Minute, func() string {
		got, _, _ := w.inbox()
		if got["sms"] < accepted || got["email"] < accepted || got["webhook"] < accepted {
			return fmt.Sprintf("%v of %d", got, accepted)
		}
		return ""
	})
	if got, repeated, _ := w.inbox(); repeated["sms"] > 0 || got["sms"] != accepted {
		t.Errorf("received %v, repeated %v", got, repeated)
	} else {
		t.Logf("%d events, received %v, repeated %v", accepted, got, repeated)
	}
}
