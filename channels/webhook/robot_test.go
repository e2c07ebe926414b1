package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

var update = flag.Bool("update", false, "write what the robots are sent into testdata")

// addresses of the four platforms, with a token.
var addresses = map[string]string{
	"dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=token7391",
	"wecom":    "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=token7391",
	"feishu":   "https://open.feishu.cn/open-apis/bot/v2/hook/token7391",
	"slack":    "https://hooks.slack.com/services/T0/B0/token7391",
}

// openRobot opens a robot's channel; more are further lines of its section.
func openRobot(t *testing.T, format, more string) *Robot {
	t.Helper()
	ch, err := tryRobot(t, format, more)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func tryRobot(t *testing.T, format, more string) (*Robot, error) {
	t.Helper()
	yaml := "kind: webhook\nformat: " + format + "\n" + more + "\n"
	if !strings.Contains(more, "url:") {
		yaml += "url: " + addresses[format] + "\n"
	}
	ch, err := New(channels.Env{Name: "ops", Dir: t.TempDir(), Simulated: true}, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { ch.Close() })
	return ch.(*Robot), nil
}

// The vectors of facts: bots.md section 1.
func TestRobotSignatures(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	u, err := url.Parse(addresses["dingtalk"])
	if err != nil {
		t.Fatal(err)
	}
	signed, made := dingTalk{}.sign("SECdemo0123456789", u, nil, at)
	if want := "ww0uYz9hgC//la1LzHCxhiH8ja6t5XU0VlJXBRQKVAA="; made[1] != want {
		t.Errorf("DingTalk = %s, want %s", made, want)
	}
	if want := "https://oapi.dingtalk.com/robot/send?access_token=token7391&sign=ww0uYz9hgC%2F%2Fla1LzHCxhiH8ja6t5XU0VlJXBRQKVAA%3D&timestamp=1700000000000"; signed.String() != want {
		t.Errorf("DingTalk's address = %s\nwant %s", signed, want)
	}
	if u.String() != addresses["dingtalk"] {
		t.Errorf("the configured address became %s", u)
	}
	body := map[string]any{}
	feishu{}.sign("demo-secret", u, body, at)
	if want := "mYHw2R2SOm8Rw/sne3lQdmz4sOfntKR+1P/8RKKTwmA="; body["sign"] != want || body["timestamp"] != "1700000000" {
		t.Errorf("Feishu = %v, want %s", body, want)
	}
}

// A retry hours later is signed anew: both platforms refuse a signature older than an hour.
func TestRobotsSignWhenTheySend(t *testing.T) {
	far, err := sandbox.StartRobots(sandbox.RobotsConfig{}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	t.Setenv("YIZHAN_TEST_ROBOT_SECRET", far.Secret("dingtalk"))
	ch := openRobot(t, "dingtalk", "secret_env: YIZHAN_TEST_ROBOT_SECRET\nurl: "+far.RobotURL("dingtalk"))
	d := channeltest.Delivery(1)
	ch.now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	_, err = ch.Send(t.Context(), d)
	if f := channels.Explain(err); f.Code != "310000" || f.Class != channels.Config {
		t.Errorf("a clock two hours behind: %v", err)
	}
	ch.now = time.Now
	if _, err := ch.Send(t.Context(), d); err != nil {
		t.Errorf("the same delivery later: %v", err)
	}
}

const sample = "M8 螺栓仅剩 **120** 件，低于 <安全> 库存 & 请补货。\n仓库：一号仓\n\n[查看单据](https://erp.example.com/po/1?a=1&b=2) | [审批](https://erp.example.com/po/1/approve)\nhttps://erp.example.com/all"

// What each robot is sent, in each form: golden files, as a person can read them.
func TestRobotBodies(t *testing.T) {
	at := map[string]string{
		"dingtalk": "at: {mobiles: ['13800138000'], users: [manager01], recipients: true}",
		"wecom":    "at: {mobiles: ['13800138000'], users: [manager01], all: true, recipients: true}",
		"feishu":   "at: {users: [ou_1234], all: true}",
		"slack":    "at: {users: [U012AB3CD], all: true}",
	}
	for format := range addresses {
		for _, form := range []string{formText, formMarkdown, formCard} {
			more := "message: " + form + "\nkeyword: 告警\n"
			switch {
			case form == formCard:
			case form == formMarkdown && format == "wecom":
				more += "at: {users: [manager01]}\n"
			default:
				more += at[format] + "\n"
			}
			ch := openRobot(t, format, more)
			d := channeltest.Delivery(1)
			d.Message = schemas.Message{Subject: "库存不足", Text: sample, At: []string{"+8613900139000", "+85291234567"}}
			r, f := ch.robot.request(d, ch.url, time.Unix(1, 0))
			if f != nil {
				t.Fatal(f)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, r.body, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			file := filepath.Join("testdata", format+"-"+form+".json")
			if *update {
				if err := os.WriteFile(file, pretty.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(pretty.Bytes(), want) {
				t.Errorf("%s: got\n%s", file, pretty.Bytes())
			}
		}
	}
}

// The sandbox's robots, which check what the real ones do, take every form of every platform.
func TestRobotsAreTaken(t *testing.T) {
	var inbox sandbox.Inbox
	var later atomic.Int64 // 10 s for each message, so that no limit is reached
	far, err := sandbox.StartRobots(sandbox.RobotsConfig{Keywords: []string{"告警"}, Now: func() time.Time {
		return time.Now().Add(time.Duration(later.Load()) * 10 * time.Second)
	}}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	for format := range addresses {
		t.Setenv("YIZHAN_TEST_ROBOT_SECRET", far.Secret(format))
		more := "keyword: 告警\nurl: " + far.RobotURL(format) + "\n"
		if far.Secret(format) != "" {
			more += "secret_env: YIZHAN_TEST_ROBOT_SECRET\n"
		}
		for _, form := range []string{formText, formMarkdown, formCard} {
			inbox.Clear()
			ch := openRobot(t, format, more+"message: "+form)
			for _, text := range []string{sample, "no link", strings.Repeat("很长的一行。\n", 20_000)} {
				d := channeltest.Delivery(1)
				d.Message = schemas.Message{Subject: "库存不足", Text: text}
				later.Add(1)
				receipt, err := ch.Send(t.Context(), d)
				if err != nil {
					t.Errorf("%s, %s: %v", format, form, err)
				}
				if shortened := strings.Contains(receipt.Reply, "shortened from"); shortened != (len(text) > 40_000) {
					t.Errorf("%s, %s: receipt %q of %d bytes", format, form, receipt.Reply, len(text))
				}
			}
			items, total, _ := inbox.List(sandbox.Filter{}, 3, 0)
			if total != 3 {
				t.Fatalf("%s, %s: %d in the inbox", format, form, total)
			}
			shown := items[2].Subject + "\n" + items[2].Text
			for _, want := range []string{"告警 库存不足", "M8 螺栓", "https://erp.example.com/po/1/approve"} {
				if !strings.Contains(shown, want) {
					t.Errorf("%s, %s shows no %q:\n%s", format, form, want, shown)
				}
			}
		}
	}
}

// The keyword goes in front only where the message lacks it.
func TestKeyword(t *testing.T) {
	ch := openRobot(t, "dingtalk", "keyword: 告警")
	for text, want := range map[string]string{"库存不足": "告警 标题", "库存告警": "标题"} {
		d := channeltest.Delivery(1)
		d.Message = schemas.Message{Subject: "标题", Text: text}
		if got := ch.robot.post(d).title; got != want {
			t.Errorf("title with text %q = %q, want %q", text, got, want)
		}
	}
}

// A parameter's text mentions nobody, and has no control characters that a platform refuses.
func TestNobodyIsMentionedByText(t *testing.T) {
	const evil = "x <!channel> <@U1> <@all> <at user_id=\"all\"></at> \x01\u2028y & z"
	for format := range addresses {
		for _, form := range []string{formText, formMarkdown, formCard} {
			ch := openRobot(t, format, "message: "+form)
			d := channeltest.Delivery(1)
			d.Message = schemas.Message{Subject: evil, Text: evil + "\nhttps://erp.example.com/"}
			if form == formCard { // its title is plain text everywhere
				d.Message.Subject = "标题"
			}
			r, f := ch.robot.request(d, ch.url, time.Now())
			if f != nil {
				t.Fatal(f)
			}
			body := string(r.body)
			for _, bad := range map[string][]string{
				"slack": {"<!", "<@"}, "feishu": {"<at"}, "wecom": {"<@"}, "dingtalk": {`"isAtAll":true`},
			}[format] {
				if strings.Contains(body, bad) && !(format == "wecom" && form != formMarkdown) && !(format == "feishu" && form == formMarkdown) {
					t.Errorf("%s, %s: %s in %s", format, form, bad, body)
				}
			}
			if strings.Contains(body, `\u`) {
				t.Errorf("%s, %s: an escape sequence in %s", format, form, body)
			}
		}
	}
}

// A message that is too long is cut between characters, as little as possible, and says so.
func TestShortening(t *testing.T) {
	for format := range addresses {
		for _, form := range []string{formText, formMarkdown, formCard} {
			ch := openRobot(t, format, "message: "+form+"\nkeyword: 告警")
			for _, unit := range []string{"很", "a", "\"", "🚚", "行\n", "<>&"} {
				text := strings.Repeat(unit, 60_000/len(unit)) + "\nhttps://erp.example.com/end"
				d := channeltest.Delivery(1)
				d.Message = schemas.Message{Subject: "标题", Text: text}
				p, shortened, err := ch.robot.compose(d)
				if err != nil || shortened == "" {
					t.Fatalf("%s, %s: shortened %q, %v", format, form, shortened, err)
				}
				fits, err := ch.robot.within(p)
				if err != nil || !fits || !utf8.ValidString(p.text) || !strings.Contains(p.text, "…") {
					t.Errorf("%s, %s, %q: fits %v, %v", format, form, unit, fits, err)
				}
				if form == formCard && len(p.links) != 1 {
					t.Errorf("%s: the card has lost its button", format)
				}
				longer := p
				longer.text += strings.Repeat(unit, 1+len("很很很很")/len(unit))
				if fits, _ := ch.robot.within(longer); fits && unit != "行\n" {
					t.Errorf("%s, %s, %q: more would have fitted", format, form, unit)
				}
			}
		}
	}
	// The limits themselves (facts: bots.md).
	for form, limit := range map[string]int{formText: 2048, formMarkdown: 4096} {
		ch := openRobot(t, "wecom", "message: "+form)
		for _, over := range []int{0, 1} {
			d := channeltest.Delivery(1)
			overhead := len("t") + 1
			if form == formMarkdown {
				overhead = len("**t**\n\n")
			}
			d.Message = schemas.Message{Subject: "t", Text: strings.Repeat("x", limit-overhead+over)}
			if _, shortened, err := ch.robot.compose(d); err != nil || (shortened != "") != (over == 1) {
				t.Errorf("WeCom, %s of %d bytes: shortened %q, %v", form, limit+over, shortened, err)
			}
		}
	}
}

// Words of the address are left in a platform's answer, its credentials are not.
func TestAnswersHideTheToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"errcode":93000,"errmsg":"invalid webhook url key=token7391, send again"}`)
	}))
	t.Cleanup(server.Close)
	_, err := openRobot(t, "wecom", "url: "+server.URL+"/cgi-bin/webhook/send?key=token7391").Send(t.Context(), channeltest.Delivery(1))
	if f := channels.Explain(err); f.Line != "invalid webhook url key=…, send again" {
		t.Errorf("Line = %q", f.Line)
	}
}

func TestNoText(t *testing.T) {
	d := channeltest.Delivery(1)
	d.Message = schemas.Message{Payload: schemas.Raw(`{"a":1}`)}
	_, err := openRobot(t, "wecom", "").Send(t.Context(), d)
	if f := channels.Explain(err); f.Code != "dispatcher:no-text" || !explain.Default().Explain(f).Known || explain.Default().Explain(f).Class != channels.Content {
		t.Errorf("a payload without text: %v", err)
	}
}

// Every code: its class, how long to wait, and that the diagnoses know it and agree.
func TestCodes(t *testing.T) {
	const minute = time.Minute
	type want struct {
		class channels.Class
		after time.Duration
	}
	var (
		temporary, auth, config = want{class: channels.Temporary}, want{class: channels.Auth}, want{class: channels.Config}
		content, permanent      = want{class: channels.Content}, want{class: channels.Permanent}
	)
	for _, c := range []struct {
		format, code, words string
		want
	}{
		{"dingtalk", "-1", "系统繁忙", temporary},
		{"dingtalk", "88", "ding talk error", auth},
		{"dingtalk", "130101", "send too fast, exceed 20 times per minute", want{channels.Throttled, 10 * minute}},
		{"dingtalk", "410100", "发送速度太快而限流", want{channels.Throttled, 10 * minute}},
		{"dingtalk", "310000", "keywords not in content", content},
		{"dingtalk", "310000", "description:关键词不匹配;solution:请联系群管理员查看此机器人的关键词", content},
		{"dingtalk", "310000", "sign not match", config},
		{"dingtalk", "310000", "description:机器人发送签名不匹配", config},
		{"dingtalk", "310000", "invalid timestamp", config},
		{"dingtalk", "310000", "ip X.X.X.X not in whitelist", config},
		{"dingtalk", "300001", "token is not exist", config},
		{"dingtalk", "300005", "token is not exist", config},
		{"dingtalk", "400013", "群已被解散", permanent},
		{"dingtalk", "400101", "access_token不存在", config},
		{"dingtalk", "400102", "机器人已停用", config},
		{"dingtalk", "400105", "不支持的消息类型", content},
		{"dingtalk", "400106", "机器人不存在", config},
		{"dingtalk", "430101", "含有不安全的外链", content},
		{"dingtalk", "430102", "含有不合适的文本", content},
		{"dingtalk", "430103", "含有不合适的图片", content},
		{"dingtalk", "430104", "含有不合适的内容", content},
		{"dingtalk", "40035", "缺少参数 json", content},
		{"dingtalk", "43004", "无效的HTTP HEADER Content-Type", config},
		{"dingtalk", "460101", "message too long", content},
		{"wecom", "-1", "system busy", temporary},
		{"wecom", "6000", "data version conflict", temporary},
		{"wecom", "45009", "api freq out of limit", want{channels.Throttled, minute}},
		{"wecom", "45033", "api concurrent out of limit", want{channels.Throttled, 5 * time.Second}},
		{"wecom", "93000", "invalid webhook url, hint: [1700000000000000000], from ip: 203.0.113.7", config},
		{"wecom", "93004", "robot is disabled", config},
		{"wecom", "93008", "not allowed in this group", config},
		{"wecom", "40008", "invalid message type. Warning: wrong json format.", content},
		{"wecom", "40033", "invalid charset", content},
		{"wecom", "40035", "invalid parameter", content},
		{"wecom", "40058", "invalid Request Parameter", content},
		{"wecom", "40007", "invalid media_id", content},
		{"wecom", "44004", "empty content", content},
		{"wecom", "45002", "content size out of limit", content},
		{"wecom", "41001", "access_token missing", auth},
		{"wecom", "40001", "invalid credential", auth},
		{"wecom", "40014", "invalid access_token", auth},
		{"feishu", "9499", "Bad Request", content},
		{"feishu", "9499", "too many request", want{channels.Throttled, minute}},
		{"feishu", "11232", "frequency limited psm", want{channels.Throttled, minute}},
		{"feishu", "11233", "card content", content},
		{"feishu", "11246", "card template", content},
		{"feishu", "19001", "param invalid: incoming webhook access token invalid", config},
		{"feishu", "19002", "params error, msg_type need", content},
		{"feishu", "19021", "sign match fail or timestamp is not within one hour from current time", config},
		{"feishu", "19022", "Ip Not Allowed", config},
		{"feishu", "19024", "Key Words Not Found", content},
		{"feishu", "99991400", "request trigger frequency limit", want{channels.Throttled, minute}},
		{"slack", "no_service", "404", config},
		{"slack", "no_service_id", "404", config},
		{"slack", "no_active_hooks", "404", config},
		{"slack", "no_team", "404", config},
		{"slack", "team_disabled", "403", config},
		{"slack", "invalid_token", "403", config},
		{"slack", "channel_not_found", "404", config},
		{"slack", "channel_is_archived", "410", config},
		{"slack", "user_not_found", "400", config},
		{"slack", "action_prohibited", "403", config},
		{"slack", "posting_to_general_channel_denied", "403", config},
		{"slack", "invalid_payload", "400", content},
		{"slack", "no_text", "400", content},
		{"slack", "missing_text_or_fallback_or_attachments", "400", content},
		{"slack", "invalid_blocks", "400", content},
		{"slack", "invalid_attachments", "400", content},
		{"slack", "too_many_attachments", "400", content},
		{"slack", "msg_too_long", "400", content},
		{"slack", "rate_limited", "429", want{class: channels.Throttled}},
		{"slack", "ratelimited", "429", want{class: channels.Throttled}},
		{"slack", "message_limit_exceeded", "429", want{class: channels.Throttled}},
		{"slack", "rollup_error", "500", temporary},
		{"slack", "fatal_error", "500", temporary},
		{"slack", "internal_error", "500", temporary},
		{"slack", "request_timeout", "500", temporary},
		{"slack", "service_unavailable", "503", temporary},
	} {
		r := openRobot(t, c.format, "").robot
		status, body := 200, fmt.Sprintf(`{"errcode":%s,"errmsg":%q}`, c.code, c.words)
		switch c.format {
		case "feishu":
			body = fmt.Sprintf(`{"code":%s,"msg":%q,"data":{}}`, c.code, c.words)
		case "slack":
			body = c.code
			_, _ = fmt.Sscan(c.words, &status)
		}
		f := r.read(status, http.Header{}, []byte(body), time.Now())
		if f == nil {
			t.Errorf("%s %s: taken for success", c.format, c.code)
			continue
		}
		if f.Kind != "webhook" || f.Provider != c.format || f.Code != c.code || f.Class != c.class || f.After != c.after || f.Maybe {
			t.Errorf("%s %s %q = %+v, want %s after %v", c.format, c.code, c.words, f, c.class, c.after)
		}
		if why := explain.Default().Explain(f); !why.Known || why.Class != f.Class {
			t.Errorf("%s %s %q: the diagnoses say known %v, class %s; the channel %s", c.format, c.code, c.words, why.Known, why.Class, f.Class)
		}
	}
	for format, codes := range map[string]map[string]verdict{"dingtalk": dingTalkCodes, "wecom": weComCodes, "feishu": feishuCodes, "slack": slackWords} {
		for _, code := range sandbox.RobotCodes(format) {
			if _, ok := codes[code]; !ok {
				t.Errorf("%s: the sandbox knows %s, the channel does not", format, code)
			}
		}
		if len(codes) != len(sandbox.RobotCodes(format)) {
			t.Errorf("%s: %d codes, the sandbox has %d", format, len(codes), len(sandbox.RobotCodes(format)))
		}
	}
}

// Answers that are no plain yes or no.
func TestOddAnswers(t *testing.T) {
	for _, c := range []struct {
		format string
		status int
		body   string
		code   string // "": accepted
		class  channels.Class
		maybe  bool
	}{
		{"dingtalk", 200, `{"errcode":0,"errmsg":"ok"}`, "", "", false},
		{"dingtalk", 200, `{"errcode":"0"}`, "", "", false},
		{"dingtalk", 200, `<html><title>login</title></html>`, noCode, channels.Unknown, true},
		{"dingtalk", 200, ``, noCode, channels.Unknown, true},
		{"dingtalk", 200, `{}`, noCode, channels.Unknown, true},
		{"dingtalk", 200, `null`, noCode, channels.Unknown, true},
		{"dingtalk", 200, `{"errcode":null}`, noCode, channels.Unknown, true},
		{"dingtalk", 200, `{"errcode":{}}`, noCode, channels.Unknown, true},
		{"dingtalk", 200, `{"errcode":0,"errmsg":"ok"`, noCode, channels.Unknown, true},
		{"dingtalk", 200, `{"errcode":424242,"errmsg":"new"}`, "424242", channels.Permanent, false},
		{"dingtalk", 200, `{"status":1111,"wait":5,"punish":"deny"}`, "130101", channels.Throttled, false},
		{"dingtalk", 302, ``, "http:3xx", channels.Config, false},
		{"dingtalk", 503, `<html></html>`, "http:503", channels.Temporary, false},
		{"dingtalk", 502, `{"errcode":0}`, "http:502", channels.Unknown, true},
		{"dingtalk", 504, ``, "http:504", channels.Unknown, true},
		{"feishu", 200, `{"StatusCode":0,"StatusMessage":"success"}`, "", "", false},
		{"feishu", 200, `{"code":0,"msg":"success","data":{}}`, "", "", false},
		{"feishu", 400, `{"code":9499,"msg":"Bad Request","data":{}}`, "9499", channels.Content, false},
		{"feishu", 200, `{"errcode":0}`, noCode, channels.Unknown, true},
		{"slack", 200, "ok", "", "", false},
		{"slack", 200, `{"success":true}`, "", "", false},
		{"slack", 204, "", "", "", false},
		{"slack", 200, `{"ok":false,"error":"x"}`, noCode, channels.Unknown, true},
		{"slack", 200, `<html>login</html>`, noCode, channels.Unknown, true},
		{"slack", 429, `rate_limited`, "rate_limited", channels.Throttled, false},
		{"slack", 429, `slow down`, "http:429", channels.Throttled, false},
		{"slack", 410, `gone`, "http:410", channels.Permanent, false},
	} {
		f := openRobot(t, c.format, "").robot.read(c.status, http.Header{}, []byte(c.body), time.Now())
		switch {
		case f == nil && c.code != "":
			t.Errorf("%s %d %s: accepted", c.format, c.status, c.body)
		case f != nil && (f.Code != c.code || f.Class != c.class || f.Maybe != c.maybe):
			t.Errorf("%s %d %s = %+v, want %q %s", c.format, c.status, c.body, f, c.code, c.class)
		}
	}
}

// Whatever a platform answers, the failure is fit to be stored: and only a code of 0 is acceptance.
func FuzzRobotAnswer(f *testing.F) {
	for _, s := range []string{`{"errcode":0}`, `{"code":"0"}`, `{"StatusCode":0}`, `{"errcode":310000,"errmsg":"x\ny"}`, "ok", `{"ok":true}`, "\xef\xbb\xbf{}", `{"errcode":1e400}`, `[]`, `{"errcode":0,"errcode":1}`} {
		f.Add(200, s)
		f.Add(503, s)
	}
	formats := []platform{dingTalk{}, weCom{}, feishu{}, slack{}}
	f.Fuzz(func(t *testing.T, status int, body string) {
		for _, p := range formats {
			f := p.read(status, http.Header{}, []byte(body), time.Unix(0, 0))
			if f == nil {
				if status < 200 || status > 299 {
					t.Fatalf("%s: status %d is acceptance", p.name(), status)
				}
				if !strings.Contains(body, "0") && p.name() != "slack" {
					t.Fatalf("%s: %q is acceptance", p.name(), body)
				}
				continue
			}
			if f.Code == "" || f.Class == "" || len(f.Line) > 1024 || strings.ContainsAny(f.Line, "\r\n") || !utf8.ValidString(f.Line) || f.Maybe != (f.Class == channels.Unknown) {
				t.Fatalf("%s: %+v", p.name(), f)
			}
		}
	})
}

func TestJoin(t *testing.T) {
	for format := range addresses {
		for _, form := range []string{formText, formMarkdown, formCard} {
			ch := openRobot(t, format, "message: "+form+"\nkeyword: 告警")
			var ds []*schemas.Delivery
			for n := range 30 {
				d := channeltest.Delivery(n)
				d.Message = schemas.Message{Subject: fmt.Sprintf("标题%02d", n), Text: fmt.Sprintf("正文%02d", n), At: []string{fmt.Sprintf("+86138001380%02d", n%3)}}
				ds = append(ds, d)
			}
			joined, ok := ch.Join(ds)
			if !ok {
				t.Fatalf("%s, %s: 30 short messages do not fit", format, form)
			}
			if ds[0].Message.Subject != "标题00" || ds[0].Message.Text != "正文00" {
				t.Fatalf("%s: Join changed what it was given", format)
			}
			r, f := ch.robot.request(joined, ch.url, time.Now())
			if f != nil || r.shortened != "" {
				t.Fatalf("%s: %v, shortened %q", format, f, r.shortened)
			}
			at := 0
			for n := range 30 {
				for _, want := range []string{fmt.Sprintf("标题%02d", n), fmt.Sprintf("正文%02d", n)} {
					i := bytes.Index(r.body[at:], []byte(want))
					if i < 0 {
						t.Fatalf("%s, %s: no %s, or not in order: %s", format, form, want, r.body)
					}
					at += i
				}
			}
			if !bytes.Contains(r.body, []byte("告警")) || len(joined.Message.At) != 3 {
				t.Errorf("%s, %s: keyword or mentions are missing: %s, %v", format, form, r.body, joined.Message.At)
			}
			ds[7].Message.Text = strings.Repeat("很长", 10_000)
			if _, ok := ch.Join(ds); ok {
				t.Errorf("%s, %s: joined what does not fit whole", format, form)
			}
			if one, ok := ch.Join(ds[:1]); !ok || one != ds[0] {
				t.Errorf("%s: one message alone is not itself", format)
			}
			if _, ok := ch.Join(nil); ok {
				t.Errorf("%s: joined nothing", format)
			}
		}
	}
}

// Two channels to one robot share its budget; the key tells nothing of the token.
func TestBudgets(t *testing.T) {
	for format, address := range addresses {
		ch := openRobot(t, format, "")
		if tr := ch.Traits(); tr.Provider != format || tr.Idempotent || tr.Once || tr.Slots != 4 {
			t.Errorf("%s: Traits = %+v", format, tr)
		}
		budgets := ch.Budgets(channeltest.Delivery(1))
		again := openRobot(t, format, "message: text").Budgets(channeltest.Delivery(2))
		other := openRobot(t, format, "url: "+address+"x").Budgets(channeltest.Delivery(1))
		if len(budgets) == 0 {
			t.Fatalf("%s has no budget", format)
		}
		seen := map[string]bool{}
		for i, b := range budgets {
			if b != again[i] || b.Key == other[i].Key || seen[b.Key] || strings.Contains(b.Key, "7391") || !strings.HasPrefix(b.Key, "webhook:") || b.Rate.Count < 1 {
				t.Errorf("%s: budgets %+v, %+v, %+v", format, budgets, again, other)
			}
			seen[b.Key] = true
		}
	}
	if b := openRobot(t, "dingtalk", "").Budgets(nil); b[0].Rate != (channels.Rate{Count: 18, Per: time.Minute}) || b[0].Penalty != 10*time.Minute {
		t.Errorf("DingTalk: %+v", b)
	}
}

func TestRobotConfig(t *testing.T) {
	for _, c := range []struct{ format, more, pointer string }{
		{"dingtalk", "message: carrier-pigeon", "/message"},
		{"dingtalk", "url: https://oapi.dingtalk.com/robot/send", "/url"},
		{"wecom", "url: https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "/url"},
		{"feishu", "url: https://open.feishu.cn/", "/url"},
		{"slack", "url: https://hooks.slack.com/", "/url"},
		{"dingtalk", "keyword: " + strings.Repeat("x", 65), "/keyword"},
		{"dingtalk", "message: card\nat: {all: true}", "/at"},
		{"dingtalk", "at: {mobiles: ['138 0013 8000']}", "/at/mobiles"},
		{"dingtalk", "at: {users: ['<all>']}", "/at/users"},
		{"wecom", "message: markdown\nat: {mobiles: ['13800138000']}", "/at"},
		{"wecom", "at: {all: true}", "/at"},
		{"wecom", "at: {recipients: true}", "/at"},
		{"feishu", "at: {mobiles: ['13800138000']}", "/at"},
		{"feishu", "at: {recipients: true}", "/at"},
		{"slack", "at: {mobiles: ['13800138000']}", "/at"},
		{"wecom", "secret_env: YIZHAN_TEST_ROBOT_SECRET", "/secret_file"},
		{"slack", "secret_env: YIZHAN_TEST_ROBOT_SECRET", "/secret_file"},
		{"dingtalk", "secret_env: YIZHAN_TEST_ROBOT_SECRET", "/secret_file"}, // not SEC…
		{"dingtalk", "destinations: {hosts: ['a.example.com']}", "/destinations"},
	} {
		t.Setenv("YIZHAN_TEST_ROBOT_SECRET", "secret7391")
		_, err := tryRobot(t, c.format, c.more)
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != c.pointer || bad.Problems[0].Zh == "" || bad.Problems[0].En == "" {
			t.Errorf("%s %q: %v, want a problem at %s in both languages", c.format, c.more, err, c.pointer)
		}
		if err != nil && strings.Contains(err.Error(), "7391") {
			t.Errorf("%s %q: a credential is in the error: %v", c.format, c.more, err)
		}
	}
	if tr := openRobot(t, "dingtalk", "at: {recipients: true}").Traits(); !tr.Mentions {
		t.Error("a robot that mentions recipients does not ask for their numbers")
	}
}

// The codes of the facts, one by one, from the sandbox's robots over HTTP.
func TestSandboxFates(t *testing.T) {
	far, err := sandbox.StartRobots(sandbox.RobotsConfig{}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	t.Setenv("YIZHAN_TEST_ROBOT_SECRET", far.Secret("dingtalk"))
	ch := openRobot(t, "dingtalk", "timeout: 1s\nsecret_env: YIZHAN_TEST_ROBOT_SECRET\nurl: "+far.RobotURL("dingtalk"))
	for _, c := range sandbox.RobotCases() {
		d := channeltest.Delivery(1)
		d.Message.Text = c.Number
		_, err := ch.Send(t.Context(), d)
		f := channels.Explain(err)
		maybe := strings.HasPrefix(c.Code, "net:") || c.Code == noCode
		if f.Code != c.Code || f.Maybe != maybe || f.Provider != "dingtalk" {
			t.Errorf("%s: %v, maybe %v; want %s", c.Number, err, f.Maybe, c.Code)
		}
	}
	if n := far.Taken("dingtalk"); n != 2 {
		t.Errorf("%d messages were posted, want those of hang and cut", n)
	}
}

// A title may be as long as the text, and the keyword may stand at the very end of either: what is left still fits, and
// still has it.
func TestLongTitlesFit(t *testing.T) {
	for name, open := range formats {
		if name == "standard" {
			continue
		}
		for _, form := range []string{formText, formMarkdown, formCard} {
			for _, subject := range []string{"短", strings.Repeat("长", 998) + "告警"} {
				f, err := open(&Config{Message: form, Keyword: "告警"}, "")
				if err != nil {
					t.Fatal(err)
				}
				r := f.(*robot)
				d := channeltest.Delivery(1)
				d.Message.Subject, d.Message.Text = subject, strings.Repeat("内容很长\n", 5000)+"[查看](https://erp.example.com/1)\n告警"
				p, shortened, err := r.compose(d)
				if err != nil {
					t.Fatal(err)
				}
				if fits, err := r.within(p); err != nil || !fits || shortened == "" {
					t.Errorf("%s %s, a title of %d bytes: does not fit (%v), %q", name, form, len(subject), err, shortened)
				}
				if !strings.Contains(p.title+p.text, "告警") {
					t.Errorf("%s %s: the keyword is lost", name, form)
				}
			}
		}
	}
}
