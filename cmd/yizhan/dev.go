package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

//go:embed dev
var devFiles embed.FS

// devSource is the source of the sample events.
const devSource = "/erp/huaxing"

type devOptions struct {
	dataDir, listen, brokerListen, logLevel string
	play                                    bool
}

func devCmd() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   tr("dev [选项]", "dev [flags]"),
		Short: tr("一个进程体验全部：内置消息队列、沙箱第三方、示例事件", "everything in one process: embedded broker, sandbox third parties, sample events"),
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dev(cmd.Context(), newUI(cmd), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "data/dev", tr("数据目录（`DIR`）；yizhan.yaml 和 rules.yaml 也写在这里", "data `DIR`; yizhan.yaml and rules.yaml are written there too"))
	f.StringVar(&o.listen, "listen", "127.0.0.1:8480", tr("HTTP 监听地址（`HOST:PORT`），只能是本机", "HTTP `HOST:PORT`, loopback only"))
	f.StringVar(&o.brokerListen, "broker-listen", "", tr("让 NATS 客户端也能连接内置消息队列（`HOST:PORT`）", "let NATS clients reach the embedded broker at `HOST:PORT`"))
	f.StringVar(&o.logLevel, "log-level", "warn", tr("日志级别（`LEVEL`）：debug、info、warn、error", "log `LEVEL`: debug, info, warn, error"))
	f.BoolVar(&o.play, "play", true, tr("启动后发布示例事件", "publish the sample events after the start"))
	return cmd
}

func dev(ctx context.Context, u *ui, o devOptions) error {
	s, sb, err := openDev(ctx, o)
	if err != nil {
		e := problemError("无法启动", "cannot start").because(err)
		if errors.Is(err, fs.ErrPermission) && e.hint == (schemas.Text{}) {
			e = e.withHint("检查数据目录 "+o.dataDir+" 的所有者和权限，或用 --data-dir 换一个目录", "look at owner and rights of the data directory "+o.dataDir+", or take another one with --data-dir")
		}
		return e
	}
	defer sb.Close()
	// The log begins at warn here; who edits the rules waits for this line. It goes where the log goes.
	s.onRules = func() { u.note(tr("规则已更新并生效：", "the changed rules are in force: ") + s.conf.Rules) }
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.run(ctx) })
	g.Go(func() error {
		base := "http://" + s.listener.Addr().String()
		u.printf("%s\n\n", tr("驿站已启动（沙箱模式：第三方都是本机的替身，不会发给真实的人）。", "Yizhan runs (sandbox: the third parties are stand-ins on this machine, no real person gets anything)."))
		row := func(what, where string) { u.printf("  %s %s\n", pad(what, 22), where) }
		row(tr("收到的消息", "what arrived"), base+"/sandbox/")
		row(tr("发布事件", "publish events"), "POST "+base+"/v1/events")
		if url := s.Broker.ClientURL(); url != "" {
			row("NATS", url+"  yz.event.<tenant>.<type>")
		}
		row(tr("规则（改了即生效）", "rules (edit them)"), s.conf.Rules)
		row(tr("接口与 JSON Schema", "API and schemas"), base+"/openapi.yaml  "+base+"/schemas/event.schema.json")
		if !o.play {
			return nil
		}
		err := s.play(ctx, u, base)
		if ctx.Err() != nil {
			return nil // stopped while the samples were still running
		}
		return err
	})
	return g.Wait()
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

// openDev starts the sandbox, writes a configuration for it, and opens the service with it.
func openDev(ctx context.Context, o devOptions) (*service, *sandbox.Sandbox, error) {
	dir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	// Nothing is written before the directory and the address are ours: another `dev` may be running.
	lock, err := broker.LockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return nil, nil, errors.Join(problemError("无法监听 "+o.listen, "cannot listen on "+o.listen).because(err).
			withHint("可用 --listen 127.0.0.1:8481 换一个端口", "--listen 127.0.0.1:8481 takes another port"), lock.Close())
	}
	s, sb, err := openSandbox(ctx, dir, o, ln)
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close(), lock.Close())
	}
	s.lock = lock
	return s, sb, nil
}

// openSandbox starts the third parties and the service that talks to them.
func openSandbox(ctx context.Context, dir string, o devOptions, ln net.Listener) (_ *service, _ *sandbox.Sandbox, err error) {
	var book atomic.Pointer[func() *rules.Book] // of the service, once there is one
	sb, err := sandbox.Start(sandbox.Config{SMTPTLS: "starttls", SMSTemplates: func() map[string]string {
		if b := book.Load(); b != nil {
			return (*b)().SMSTexts()
		}
		return nil
	}})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sb.Close())
		}
	}()
	file, err := writeDev(dir, o, sb)
	if err != nil {
		return nil, nil, err
	}
	c, err := loadConfig(file)
	if err != nil {
		return nil, nil, err
	}
	c.listener = ln
	s, err := openService(ctx, c, roles, map[string]http.Handler{"/sandbox/": sb.Handler(), "/{$}": http.RedirectHandler("/sandbox/", http.StatusFound)})
	if err != nil {
		return nil, nil, err
	}
	ofService := s.Book
	book.Store(&ofService)
	return s, sb, nil
}

// writeDev writes yizhan.yaml and the secrets of this run, and rules.yaml if there is none yet.
func writeDev(dir string, o devOptions, sb *sandbox.Sandbox) (file string, err error) {
	_, port, err := net.SplitHostPort(sb.SMTPAddr().String())
	if err != nil {
		return "", err
	}
	tmpl, err := template.ParseFS(devFiles, "dev/yizhan.yaml")
	if err != nil {
		return "", err
	}
	cred := sb.Credentials()
	var conf bytes.Buffer
	if err := tmpl.Execute(&conf, map[string]string{
		"DataDir": filepath.ToSlash(dir), "Listen": o.listen, "BrokerListen": o.brokerListen, "LogLevel": o.logLevel, "SMTPPort": port,
		"TencentAppID": cred.Tencent.AppID, "HuaweiSender": cred.Huawei.Sender,
		"Username": cred.Username, "SMSEndpoint": sb.SMSEndpoint(), "Webhook": strings.TrimSuffix(sb.WebhookURL(""), "/"),
		"DingTalk": sb.Robots.RobotURL("dingtalk"), "WeCom": sb.Robots.RobotURL("wecom"), "Feishu": sb.Robots.RobotURL("feishu"), "Slack": sb.Robots.RobotURL("slack"),
	}); err != nil {
		return "", err
	}
	ruleFile, err := devFiles.ReadFile("dev/rules.yaml")
	if err != nil {
		return "", err
	}
	files := map[string][]byte{
		"yizhan.yaml": conf.Bytes(), "smtp-ca.pem": sb.SMTP.CACertPEM(), "smtp-password": []byte(cred.Password),
		"sms-key-id": []byte(cred.AccessKeyID), "sms-key-secret": []byte(cred.AccessKeySecret), "webhook-secret": []byte(cred.WebhookSecret),
		"dingtalk-secret": []byte(sb.Robots.Secret("dingtalk")), "feishu-secret": []byte(sb.Robots.Secret("feishu")),
		"tencent-id": []byte(cred.Tencent.SecretID), "tencent-key": []byte(cred.Tencent.SecretKey),
		"huawei-key": []byte(cred.Huawei.AppKey), "huawei-secret": []byte(cred.Huawei.AppSecret),
	}
	if _, err := os.Stat(filepath.Join(dir, "rules.yaml")); errors.Is(err, os.ErrNotExist) {
		files["rules.yaml"] = ruleFile
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "yizhan.yaml"), nil
}

// sample is one line of dev/samples.ndjson.
type sample struct {
	Say    schemas.Text `json:"say"`
	Repeat int          `json:"repeat,omitzero"`
	// Consent is recorded before the event is published.
	Consent *schemas.ConsentChange `json:"consent,omitzero"`
	Event   map[string]any         `json:"event"`
}

// loadSamples reads the sample events; run makes their ids differ from those of an earlier run.
func loadSamples(run string, now time.Time) ([]sample, error) {
	b, err := devFiles.ReadFile("dev/samples.ndjson")
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer("{{past}}", now.Add(-time.Minute).Format(time.RFC3339), "{{before}}", now.Add(-20*time.Minute).Format(time.RFC3339)).Replace(string(b))
	var samples []sample
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("samples: %w", err)
		}
		e := s.Event
		e["specversion"], e["source"], e["tenant"] = "1.0", devSource, "acme"
		e["id"] = fmt.Sprint(e["id"], "/", run)
		if e["time"] == nil {
			e["time"] = now.Format(time.RFC3339)
		}
		samples = append(samples, s)
	}
	return samples, lines.Err()
}

// play publishes the samples over HTTP, as an ERP would, waits until most have come to rest, and
// shows what became of each.
func (s *service) play(ctx context.Context, u *ui, base string) error {
	now := time.Now()
	samples, err := loadSamples(now.Format("0102-150405"), now)
	if err != nil {
		return err
	}
	for _, p := range samples {
		if p.Consent != nil {
			if err := postAs(ctx, base+"/v1/consents", "application/json", p.Consent, http.StatusOK); err != nil {
				return fmt.Errorf("sample %v: %w", p.Event["id"], err)
			}
		}
		for i := range max(1, p.Repeat) {
			e := p.Event
			if p.Repeat > 0 {
				e = map[string]any{}
				for k, v := range p.Event {
					e[k] = v
				}
				e["id"] = fmt.Sprintf("%s-%02d", p.Event["id"], i+1)
			}
			if err := post(ctx, base+"/v1/events", e); err != nil {
				return fmt.Errorf("sample %v: %w", e["id"], err)
			}
		}
	}
	u.printf("\n%s\n", tr("已发布示例事件，稍候查看结果 …", "The sample events are published; what becomes of them …"))
	stories, err := s.rest(ctx, samples, 30*time.Second)
	if err != nil {
		return err
	}
	t := newTable(tr("事件", "EVENT"), tr("结果", "OUTCOME"), tr("说明", "WHAT IT SHOWS"))
	for i, p := range samples {
		id := fmt.Sprint(p.Event["id"])
		if p.Repeat > 0 {
			id += "-01…" + fmt.Sprint(p.Repeat)
		}
		t.add(id, outcomes(stories[i]), say(p.Say))
	}
	u.printf("\n")
	t.print(u, "  ")
	first := fmt.Sprint(samples[0].Event["id"])
	another := func(sample string) string { return strings.Replace(first, "login-code", sample, 1) }
	server := ""
	if base != defaultServer {
		server = " --server " + base
	}
	u.printf("\n%s\n", tr("接下来可以试试：", "Try next:"))
	for _, c := range []string{"trace " + first, "trace " + another("sms-uncertain"), "trace " + another("disguised-words"), "rules explain " + another("disguised-words") + " --rules " + s.conf.Rules, "dead ls", "consent show zhu.hong@huaxing.example", "replay --where \"channel=sms\"", "rules check " + s.conf.Rules} {
		u.printf("  yizhan %s%s\n", c, server)
	}
	u.printf("  %s\n\n%s\n", base+"/sandbox/", tr("按 Ctrl+C 停止。", "Ctrl+C stops it."))
	return nil
}

// rest waits until the stories have ended or the time is over; one story for each sample, of its
// last event when it is repeated.
func (s *service) rest(ctx context.Context, samples []sample, limit time.Duration) ([][]ledger.Story, error) {
	ctx2, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	until := time.Now().Add(limit)
	for {
		open := 0
		out := make([][]ledger.Story, len(samples))
		for i, p := range samples {
			for n := range max(1, p.Repeat) {
				id := fmt.Sprint(p.Event["id"])
				if p.Repeat > 0 {
					id = fmt.Sprintf("%s-%02d", id, n+1)
				}
				st, err := s.Ledger.Stories(ctx, "acme", devSource, id, lang, s.Explain)
				if err != nil {
					return nil, err
				}
				if len(st) == 0 || goesOn(st[0], until) {
					open++
				}
				out[i] = append(out[i], st...)
			}
		}
		if open <= 1 { // one of them stays uncertain for ever
			return out, nil
		}
		select {
		case <-ctx2.Done():
			return out, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// goesOn says whether something more happens to the event before until; what waits for the morning does not.
func goesOn(st ledger.Story, until time.Time) bool {
	return st.Open && (len(st.Deliveries) == 0 || slices.ContainsFunc(st.Deliveries, func(d ledger.DeliveryStory) bool {
		return !d.State.Terminal() && (d.State != schemas.Held || d.Due.Before(until))
	}))
}

// outcomes sums up: "sms accepted, mail accepted ×3".
func outcomes(stories []ledger.Story) string {
	var order []string
	count := map[string]int{}
	for _, st := range stories {
		for _, d := range st.Deliveries {
			k := d.Channel + " " + stateWord(d.State)
			if d.Attempts > 1 {
				k += fmt.Sprintf(tr("（%d 次尝试）", " (%d attempts)"), d.Attempts)
			}
			if count[k] == 0 {
				order = append(order, k)
			}
			count[k]++
		}
	}
	for i, k := range order {
		if n := count[k]; n > 1 {
			order[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return strings.Join(order, tr("，", ", "))
}

func post(ctx context.Context, url string, event map[string]any) error {
	return postAs(ctx, url, "application/cloudevents+json", event, http.StatusAccepted)
}

func postAs(ctx context.Context, url, media string, v any, want int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", media)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	if res.StatusCode != want {
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	return nil
}
