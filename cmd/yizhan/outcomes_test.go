package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// misbehaviour is what a third party does, and how the sandbox is brought to do it: by the part before the @, by the
// number, by the path. "-" is for what the protocol has no room for; expired and nobody are addresses of their own.
type misbehaviour struct {
	name            schemas.Text
	mail, sms, hook string
}

const (
	expired = "expired" // its certificate ran out
	nobody  = "nobody"  // nothing listens
)

var misbehaviours = []misbehaviour{
	{schemas.Text{Zh: "受理", En: "accepts"}, "wang", "13800138000", "ok"},
	{schemas.Text{Zh: "拒绝", En: "refuses"}, "no-such-user", "19900000001", "400"},
	{schemas.Text{Zh: "限流", En: "throttles"}, "throttled", "19900000010", "429"},
	{schemas.Text{Zh: "暂时不可用", En: "cannot just now"}, "busy", "-", "503"},
	{schemas.Text{Zh: "HTTP 200，正文说出错", En: "answers 200 with an error in the body"}, "-", "19900000003", "error"},
	{schemas.Text{Zh: "未收下消息，也不答复", En: "hangs before it has the message"}, "mute", "19900000016", "mute"},
	{schemas.Text{Zh: "收下消息后不答复", En: "takes the message and hangs"}, "hang", "19900000007", "hang"},
	{schemas.Text{Zh: "收下消息后断开连接", En: "takes the message and cuts the connection"}, "cut", "19900000011", "cut"},
	{schemas.Text{Zh: "收下消息后每秒答复一个字节", En: "takes the message and answers a byte a second"}, "drip", "19900000015", "drip"},
	{schemas.Text{Zh: "收下消息后答复一个网页", En: "takes the message and answers with a web page"}, "garbage", "19900000013", "page"},
	{schemas.Text{Zh: "证书已过期", En: "has an expired certificate"}, expired, expired, expired},
	{schemas.Text{Zh: "无人监听", En: "is not there: nothing listens"}, nobody, nobody, nobody},
}

// outcomeWorld writes the configuration: a channel for each place, impatient.
func outcomeWorld(t *testing.T, sb *sandbox.Sandbox) string {
	t.Helper()
	dir := t.TempDir()
	file, err := writeDev(dir, devOptions{listen: "127.0.0.1:0", logLevel: "error"}, sb)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	_ = ln.Close() // and nobody takes it while the test runs
	var conf strings.Builder
	fmt.Fprintf(&conf, `
broker: {data_dir: %q}
http: {listen: "127.0.0.1:0", auth: none}
rules: outcome-rules.yaml
log: {level: error}
dispatch: {retry: {attempts: 3, first: 100ms, factor: 1, max: 100ms, reconcile: [1s, 2s]}}
channels:
`, filepath.Join(dir, "broker"))
	mail := func(name, address, tls string) {
		host, port, _ := net.SplitHostPort(address)
		fmt.Fprintf(&conf, "  %s: {kind: email, host: %s, port: %s, tls: %s, ca_file: ca.pem, username: %q, password_file: smtp-password, from: erp@huaxing.example, timeout: 2s}\n",
			name, host, port, tls, sb.Credentials().Username)
	}
	sms := func(name, endpoint string) {
		fmt.Fprintf(&conf, "  %s: {kind: sms, provider: aliyun, signature: 华星科技, endpoint: %q, access_key_id_file: sms-key-id, access_key_secret_file: sms-key-secret, timeout: 2s}\n", name, endpoint)
	}
	hook := func(name, url string) {
		fmt.Fprintf(&conf, "  %s: {kind: webhook, url: %q, secret_file: webhook-secret, ca_file: ca.pem, allow_private: true, timeout: 2s}\n", name, url)
	}
	mail("mail", sb.SMTPAddr().String(), "starttls")
	mail("mail-expired", sb.Expired.Addr(), "implicit")
	mail("mail-nobody", free, "implicit")
	sms("sms", sb.SMSEndpoint())
	sms("sms-expired", "https://"+sb.Expired.Addr())
	sms("sms-nobody", "http://"+free)
	for _, m := range misbehaviours {
		switch m.hook {
		case expired:
			hook("hook-expired", "https://"+sb.Expired.Addr()+"/")
		case nobody:
			hook("hook-nobody", "http://"+free+"/")
		default:
			hook("hook-"+m.hook, sb.WebhookURL(m.hook))
		}
	}
	for name, text := range map[string]string{
		"yizhan.yaml": conf.String(), "ca.pem": string(sb.SMTP.CACertPEM()) + string(sb.Expired.CACertPEM()),
		"outcome-rules.yaml": `templates: {shipped: {sms: {code: SMS_1, params: [no], text: "订单${no}已发货。"}, email: {subject: "订单 {{.no}}", text: "订单 {{.no}} 已发货。"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// target is the channel and the recipient that meet a misbehaviour.
func target(kind, how string) (channel string, to map[string]any) {
	own := how == expired || how == nobody
	switch kind {
	case "mail":
		if own {
			return "mail-" + how, map[string]any{"email": "wang@example.com"}
		}
		return "mail", map[string]any{"email": how + "@example.com"}
	case "sms":
		if own {
			return "sms-" + how, map[string]any{"phone": "13800138001"}
		}
		return "sms", map[string]any{"phone": how}
	}
	return "hook-" + how, map[string]any{"webhook": "hook-" + how}
}

// TestOutcomes: what becomes of a message when a third party misbehaves, and how often the third party gets it, is
// what docs/outcomes.md says. With -update the table there is written anew.
func TestOutcomes(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Config{SMTPTLS: "starttls"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sb.Close() })
	c, err := loadConfig(outcomeWorld(t, sb))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openService(context.Background(), c, roles, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, s)

	kinds := []string{"mail", "sms", "hook"}
	ids := map[string]bool{}
	for i, m := range misbehaviours {
		for k, how := range []string{m.mail, m.sms, m.hook} {
			if how == "-" {
				continue
			}
			channel, to := target(kinds[k], how)
			id := fmt.Sprintf("%s-%d", kinds[k], i)
			ids[id] = true
			publish(t, r.base, map[string]any{
				"specversion": "1.0", "id": id, "source": "/outcomes", "type": "erp.order.shipped",
				"data": map[string]any{"category": "notification", "channels": []string{channel}, "to": []any{to}, "template": "shipped", "params": map[string]any{"no": id}},
			})
		}
	}
	stories := map[string]ledger.DeliveryStory{}
	eventually(t, "every delivery has come to rest", func() bool {
		for id := range ids {
			if _, ok := stories[id]; ok {
				continue
			}
			st, err := s.Ledger.Stories(context.Background(), schemas.DefaultTenant, "/outcomes", id, "en", s.Explain)
			if err != nil {
				t.Fatal(err)
			}
			if len(st) == 1 && len(st[0].Deliveries) == 1 && atRest(st[0].Deliveries[0]) {
				stories[id] = st[0].Deliveries[0]
			}
		}
		return len(stories) == len(ids)
	})

	arrivals := map[string]int{}
	items, _, _ := sb.Inbox().List(sandbox.Filter{}, 1000, 0)
	for _, item := range items {
		arrivals[item.Delivery]++
	}
	for lang, file := range map[string]string{"en": "../../docs/outcomes.md", "zh": "../../docs/outcomes.zh-CN.md"} {
		checkTable(t, file, outcomeTable(lang, stories, arrivals))
	}
}

// atRest says whether nothing more happens soon: the end, or a limit of the third party that is waited for.
func atRest(d ledger.DeliveryStory) bool {
	return d.State.Terminal() || d.State == schemas.Held && d.Cause != nil && d.Cause.Class == "throttled"
}

func outcomeTable(lang string, stories map[string]ledger.DeliveryStory, arrivals map[string]int) string {
	word := func(t schemas.Text) string { return t.In(lang) }
	var b strings.Builder
	head := schemas.Text{Zh: "第三方的表现 | 邮件 | 短信（阿里云） | Webhook（standard）", En: "the third party … | mail | SMS (Aliyun) | webhook (standard)"}
	fmt.Fprintf(&b, "| %s |\n| --- | --- | --- | --- |\n", word(head))
	for i, m := range misbehaviours {
		fmt.Fprintf(&b, "| %s |", word(m.name))
		for _, kind := range []string{"mail", "sms", "hook"} {
			d, ok := stories[fmt.Sprintf("%s-%d", kind, i)]
			if !ok {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %s%s, %d / %d |", word(stateWords[d.State]), class(d), d.Attempts, arrivals[d.ID])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// class is the class of what ended a delivery, or holds it.
func class(d ledger.DeliveryStory) string {
	if d.Cause == nil || d.State == schemas.Accepted || d.State == schemas.Delivered {
		return ""
	}
	return " (" + d.Cause.Class + ")"
}

// checkTable holds the first table of a page against want.
func checkTable(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "\n\n| ")
	_, after, more := strings.Cut(rest, "|\n\n")
	if !ok || !more {
		t.Fatalf("%s has no table with text after it", file)
	}
	page := before + "\n\n" + want + "\n" + after
	if page == string(b) {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s says something else (run with -update and look at the change); it is:\n%s", file, want)
}
