package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// misbehaviour is what a third party does, and how the sandbox is brought to do it: by the part before the @, by the
// number, by the path, by a word in the text. "-" is for what the protocol or the stand-in has no room for; expired and
// nobody are addresses of their own.
type misbehaviour struct {
	name                   schemas.Text
	mail, sms, hook, robot string
}

const (
	expired = "expired" // its certificate ran out
	nobody  = "nobody"  // nothing listens
)

var misbehaviours = []misbehaviour{
	{schemas.Text{Zh: "受理", En: "accepts"}, "wang", "13800138000", "ok", ""},
	{schemas.Text{Zh: "拒绝", En: "refuses"}, "no-such-user", "19900000001", "400", "refuse"},
	{schemas.Text{Zh: "限流", En: "throttles"}, "throttled", "19900000010", "429", "throttle"},
	{schemas.Text{Zh: "暂时不可用", En: "cannot just now"}, "busy", "-", "503", "[simulate 503]"},
	{schemas.Text{Zh: "HTTP 200，正文说出错", En: "answers 200 with an error in the body"}, "-", "19900000003", "error", "-"},
	{schemas.Text{Zh: "未收下消息，也不答复", En: "hangs before it has the message"}, "mute", "19900000016", "mute", "-"},
	{schemas.Text{Zh: "收下消息后不答复", En: "takes the message and hangs"}, "hang", "19900000007", "hang", "[simulate hang]"},
	{schemas.Text{Zh: "收下消息后断开连接", En: "takes the message and cuts the connection"}, "cut", "19900000011", "cut", "[simulate cut]"},
	{schemas.Text{Zh: "收下消息后每秒答复一个字节", En: "takes the message and answers a byte a second"}, "drip", "19900000015", "drip", "-"},
	{schemas.Text{Zh: "答复一个网页", En: "answers with a web page"}, "garbage", "19900000013", "page", "[simulate html]"},
	{schemas.Text{Zh: "证书已过期", En: "has an expired certificate"}, expired, expired, expired, expired},
	{schemas.Text{Zh: "无人监听", En: "is not there: nothing listens"}, nobody, nobody, nobody, nobody},
}

// robots are the platforms with the code for a refusal and for "too fast"; a refusal says nothing that holds for every message.
var robots = map[string][2]string{"dingtalk": {"460101", "130101"}, "wecom": {"45002", "45009"}, "feishu": {"19002", "11232"}, "slack": {"invalid_payload", "rate_limited"}}

// tables are the columns of the page, one table after the other.
var tables = [][]column{
	{
		{"mail", schemas.Text{Zh: "邮件", En: "mail"}},
		{"aliyun", schemas.Text{Zh: "短信（阿里云）", En: "SMS, Aliyun"}},
		{"tencent", schemas.Text{Zh: "短信（腾讯云）", En: "SMS, Tencent"}},
		{"huawei", schemas.Text{Zh: "短信（华为云）", En: "SMS, Huawei"}},
	}, {
		{"hook", schemas.Text{Zh: "Webhook（standard）", En: "webhook (standard)"}},
		{"dingtalk", schemas.Text{Zh: "钉钉", En: "DingTalk"}},
		{"wecom", schemas.Text{Zh: "企业微信", En: "WeCom"}},
		{"feishu", schemas.Text{Zh: "飞书", En: "Feishu"}},
		{"slack", schemas.Text{Zh: "Slack", En: "Slack"}},
	},
}

type column struct {
	kind string
	name schemas.Text
}

// how is what a third party of a kind is to do.
func (m misbehaviour) how(kind string) string {
	switch kind {
	case "mail":
		return m.mail
	case "aliyun", "tencent", "huawei":
		return m.sms
	case "hook":
		return m.hook
	}
	switch m.robot {
	case "refuse":
		return "[simulate " + robots[kind][0] + "]"
	case "throttle":
		return "[simulate " + robots[kind][1] + "]"
	}
	return m.robot
}

// outcomeWorld writes the configuration: a channel for each cell, since a breaker is for the whole of one; impatient.
func outcomeWorld(t *testing.T, sb *sandbox.Sandbox) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := writeDev(dir, devOptions{listen: "127.0.0.1:0", logLevel: "error"}, sb); err != nil {
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
	cred := sb.Credentials()
	for i, m := range misbehaviours {
		for _, c := range slices.Concat(tables...) {
			how := m.how(c.kind)
			if how == "-" {
				continue
			}
			web := func(url string) string { // or where nobody answers as it should
				_, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
				switch how {
				case expired:
					return "https://" + sb.Expired.Addr() + "/" + path
				case nobody:
					return "http://" + free + "/" + path
				}
				return url
			}
			fmt.Fprintf(&conf, "  %s-%d: {timeout: 2s, ", c.kind, i)
			switch c.kind {
			case "mail":
				address, tls := sb.SMTPAddr().String(), "starttls"
				if how == expired {
					address, tls = sb.Expired.Addr(), "implicit"
				} else if how == nobody {
					address, tls = free, "implicit"
				}
				host, port, _ := net.SplitHostPort(address)
				fmt.Fprintf(&conf, "kind: email, host: %s, port: %s, tls: %s, ca_file: ca.pem, username: %q, password_file: smtp-password, from: erp@huaxing.example}\n", host, port, tls, cred.Username)
			case "aliyun":
				fmt.Fprintf(&conf, "kind: sms, provider: aliyun, signature: 华星科技, endpoint: %q, access_key_id_file: sms-key-id, access_key_secret_file: sms-key-secret}\n", strings.TrimSuffix(web(sb.SMSEndpoint()+"/"), "/"))
			case "tencent":
				fmt.Fprintf(&conf, "kind: sms, provider: httpapi, api: tencent, signature: 华星科技, endpoint: %q, settings: {app_id: %q, secret_id_file: tencent-id, secret_key_file: tencent-key}}\n", strings.TrimSuffix(web(sb.SMSEndpoint()+"/"), "/"), cred.Tencent.AppID)
			case "huawei":
				fmt.Fprintf(&conf, "kind: sms, provider: httpapi, api: huawei, signature: 华星科技, endpoint: %q, settings: {sender: %q, app_key_file: huawei-key, app_secret_file: huawei-secret}}\n", strings.TrimSuffix(web(sb.SMSEndpoint()+"/"), "/"), cred.Huawei.Sender)
			case "hook":
				fmt.Fprintf(&conf, "kind: webhook, url: %q, secret_file: webhook-secret, ca_file: ca.pem, allow_private: true}\n", web(sb.WebhookURL(how)))
			default:
				secret := ""
				if sb.Robots.Secret(c.kind) != "" {
					secret = "secret_file: " + c.kind + "-secret, "
				}
				fmt.Fprintf(&conf, "kind: webhook, format: %s, message: text, url: %q, %sca_file: ca.pem, allow_private: true}\n", c.kind, web(sb.Robots.RobotURL(c.kind)), secret)
			}
		}
	}
	for name, text := range map[string]string{
		"yizhan.yaml": conf.String(), "ca.pem": string(sb.SMTP.CACertPEM()) + string(sb.Expired.CACertPEM()),
		"outcome-rules.yaml": `templates: {shipped: {sms: {code: SMS_1, codes: {tencent: "1", huawei: "2"}, params: [no], text: "订单${no}已发货。"}, email: {subject: "订单 {{.no}}", text: "订单 {{.no}} 已发货。"}, webhook: {subject: "订单", text: "订单 {{.no}} 已发货。"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "yizhan.yaml")
}

// TestOutcomes: what becomes of a message when a third party misbehaves, and how often the third party gets it, is
// what docs/outcomes.md says. With -update the tables there are written anew.
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

	stories := map[string]ledger.DeliveryStory{}
	open := map[string]bool{}
	run := func(chosen func(i int, m misbehaviour, kind string) bool) {
		waiting := open
		for i, m := range misbehaviours {
			for _, c := range slices.Concat(tables...) {
				how := m.how(c.kind)
				if how == "-" || !chosen(i, m, c.kind) {
					continue
				}
				id, no := fmt.Sprintf("%s-%d", c.kind, i), "A1"
				var to map[string]any
				switch own := how == expired || how == nobody; c.kind {
				case "mail":
					if to = map[string]any{"email": how + "@example.com"}; own {
						to["email"] = "wang@example.com"
					}
				case "aliyun", "tencent", "huawei":
					if to = map[string]any{"phone": how}; own {
						to["phone"] = "13800138001"
					}
				default:
					if to = map[string]any{"webhook": id}; !own && c.kind != "hook" {
						no += " " + how
					}
				}
				waiting[id] = true
				publish(t, r.base, map[string]any{
					"specversion": "1.0", "id": id, "source": "/outcomes", "type": "erp.order.shipped",
					"data": map[string]any{"category": "notification", "channels": []string{id}, "to": []any{to}, "template": "shipped", "params": map[string]any{"no": no}},
				})
			}
		}
		eventually(t, "every delivery has come to rest", func() bool {
			for id := range waiting {
				st, err := s.Ledger.Stories(context.Background(), schemas.DefaultTenant, "/outcomes", id, "en", s.Explain)
				if err != nil {
					t.Fatal(err)
				}
				if len(st) == 1 && len(st[0].Deliveries) == 1 && atRest(st[0].Deliveries[0]) {
					stories[id] = st[0].Deliveries[0]
					delete(waiting, id)
				}
			}
			return len(waiting) == 0
		})
	}
	defer func() { // which did not, when the time is over
		for id := range open {
			st, _ := s.Ledger.Stories(context.Background(), schemas.DefaultTenant, "/outcomes", id, "en", s.Explain)
			t.Logf("%s: %+v", id, st)
		}
	}()
	// "Too fast" closes a robot's budget for a while, for all its channels: it comes last.
	late := func(m misbehaviour, kind string) bool { return m.robot == "throttle" && robots[kind][0] != "" }
	run(func(_ int, m misbehaviour, kind string) bool { return !late(m, kind) })
	run(func(_ int, m misbehaviour, kind string) bool { return late(m, kind) })

	arrivals, byRobot := map[string]int{}, map[string]int{}
	items, _, _ := sb.Inbox().List(sandbox.Filter{}, 1000, 0)
	for _, item := range items {
		if robots[item.To][0] == "" {
			arrivals[item.Delivery]++
			continue
		}
		byRobot[item.To+" "+simulated.FindString(item.Raw+item.Text)]++ // robots are told no id
	}
	for i, m := range misbehaviours {
		for kind := range robots {
			if how := m.how(kind); how != "-" && how != expired && how != nobody {
				arrivals[stories[fmt.Sprintf("%s-%d", kind, i)].ID] = byRobot[kind+" "+how]
			}
		}
	}
	for lang, file := range map[string]string{"en": "../../docs/outcomes.md", "zh": "../../docs/outcomes.zh-CN.md"} {
		var want []string
		for _, columns := range tables {
			want = append(want, outcomeTable(lang, columns, stories, arrivals))
		}
		checkTables(t, file, want)
	}
}

var simulated = regexp.MustCompile(`\[simulate [\w-]+\]`)

// atRest says whether nothing more happens soon: the end, a wait that the third party asked for, a refusal of all that
// waits for a person, or a doubt that nobody can end. A wait for a budget of our own is none of these.
func atRest(d ledger.DeliveryStory) bool {
	switch d.State {
	case schemas.Held:
		ours := []string{"budget", "rate", "busy", "breaker-open"}
		return d.Cause != nil && slices.Contains([]string{"throttled", "auth", "config"}, d.Cause.Class) && !slices.Contains(ours, d.Cause.Code)
	case schemas.Uncertain:
		asked := 0 // in vain, one time after the other
		for _, c := range slices.Backward(d.History) {
			if c.State != schemas.Uncertain {
				break
			}
			asked++
		}
		return asked > 4 || time.Until(d.Due) > time.Hour
	}
	return d.State.Terminal()
}

func outcomeTable(lang string, columns []column, stories map[string]ledger.DeliveryStory, arrivals map[string]int) string {
	var b strings.Builder
	head := schemas.Text{Zh: "第三方的表现", En: "the third party …"}
	b.WriteString("| " + head.In(lang) + " |")
	for _, c := range columns {
		b.WriteString(" " + c.name.In(lang) + " |")
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n")
	for i, m := range misbehaviours {
		fmt.Fprintf(&b, "| %s |", m.name.In(lang))
		for _, c := range columns {
			d, ok := stories[fmt.Sprintf("%s-%d", c.kind, i)]
			if !ok {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %s%s, %d / %d |", stateWords[d.State].In(lang), class(d), d.Attempts, arrivals[d.ID])
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

var tableRows = regexp.MustCompile(`(?m)(?:^\|.*\n)+`)

// checkTables holds the tables of a page against want.
func checkTables(t *testing.T, file string, want []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	page := tableRows.ReplaceAllStringFunc(string(b), func(string) string {
		n++
		return want[min(n, len(want))-1]
	})
	switch {
	case n != len(want):
		t.Fatalf("%s has %d tables, want %d", file, n, len(want))
	case page == string(b):
	case *update:
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s says something else (run with -update and look at the change); it is:\n%s", file, strings.Join(want, "\n"))
	}
}
