package explain_test

import (
	"encoding/csv"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

var _ channels.Explainer = explain.Default().Explain

// Every row must be fit to be shown: that the patterns compile, that the classes are known and that
// nothing is missing or twice is what Default itself refuses; what remains is the language.
func TestRowsCanBeShown(t *testing.T) {
	halfWidth := regexp.MustCompile(`\p{Han}[,;:?!()]|[,;:?!()]\p{Han}`)
	noSpace := regexp.MustCompile(`\p{Han}[A-Za-z0-9]|[A-Za-z0-9%]\p{Han}`)
	promise := regexp.MustCompile(`(?i)系统会|系统将|自动重试|自动发送|消息(将)?保留|队列|已停用|已暂停|已暂缓|同上|by itself|automatically|\bretried\b|\bretry\b|queued|\bheld until\b|same as`)
	rows := explain.Default().Rows()
	if len(rows) < 465 {
		t.Fatalf("%d rows, want at least the 465 gathered", len(rows))
	}
	ids := make(map[string]bool)
	for _, r := range rows {
		if ids[r.ID] {
			t.Errorf("%s: twice", r.ID)
		}
		ids[r.ID] = true
		// A remedy is read when nothing goes on any more, too.
		if x := promise.FindString(r.Remedy.Zh + " " + r.Remedy.En); x != "" {
			t.Errorf("%s: the remedy promises %q: %s / %s", r.ID, x, r.Remedy.Zh, r.Remedy.En)
		}
		if r.Source == "" {
			t.Errorf("%s: no source", r.ID)
		}
		for _, s := range []string{r.Cause.Zh, r.Remedy.Zh} {
			if !strings.ContainsFunc(s, isHan) {
				t.Errorf("%s: no Chinese in %q", r.ID, s)
			}
			if x := noSpace.FindString(s); x != "" {
				t.Errorf("%s: no space in %q of %q", r.ID, x, s)
			}
			if x := halfWidth.FindString(s); x != "" {
				t.Errorf("%s: half-width punctuation %q in %q", r.ID, x, s)
			}
		}
	}
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

// The samples are replies as they were seen, with the class that is right for them.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		channel, provider, line, want := s[0], s[1], s[2], channels.Class(s[3])
		if d := explain.Default().ExplainLine(channels.Quote{Channel: channel, Provider: provider, Text: line}); d.Class != want || !d.Known {
			t.Errorf("ExplainLine(%s, %s, %q) = %s, known %t, want %s", channel, provider, line, d.Class, d.Known, want)
		}
		// The same as a channel would report it: code and words apart.
		f := &channels.Failure{Kind: channel, Provider: provider, Line: line, Class: channels.Unknown}
		if m := regexp.MustCompile(`^([245]\d\d( [245]\.\d+\.\d+)?) (.*)`).FindStringSubmatch(line); channel == "email" && m != nil {
			f.Code, f.Line = m[1], m[3]
		} else {
			f.Code, f.Line, _ = strings.Cut(line, " ")
		}
		if channel == "bot" {
			f.Kind = "webhook"
		}
		if provider == "transport" {
			f.Code, f.Line = "net:tls", line
		}
		if d := explain.Default().Explain(f); d.Class != want || !d.Known {
			t.Errorf("Explain(%+v) = %s, known %t, want %s", f, d.Class, d.Known, want)
		}
	}
}

func samples(tb testing.TB) [][]string {
	tb.Helper()
	rows := linesOf(tb, "diagnoses_samples.csv")
	if len(rows) < 88 {
		tb.Fatalf("%d samples, want at least 88", len(rows))
	}
	return rows
}

// linesOf reads a CSV file of testdata, without its header.
func linesOf(tb testing.TB, file string) [][]string {
	tb.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		tb.Fatalf("%s: %d lines, %v", file, len(rows), err)
	}
	return rows[1:]
}

func TestOwnDecisionsAreExplained(t *testing.T) {
	tests := []struct {
		code, owner, retry string
		class              channels.Class
	}{
		{"daily-cap", "operator", "after-wait", channels.Throttled},
		{"12", "operator", "after-wait", channels.Throttled},
		{"rule-12", "operator", "after-wait", channels.Throttled},
		{"number-limit", "operator", "after-wait", channels.Throttled},
		{"cap-unavailable", "operator", "yes", channels.Temporary},
		{"rule-1", "author", "no", channels.Content},
		{"opt-out", "nobody", "no", channels.BadTarget},
		{"consent-unavailable", "operator", "yes", channels.Temporary},
		{"ledger-unavailable", "operator", "yes", channels.Temporary},
		{"no-route", "operator", "no", channels.Config},
		{"no-channel", "operator", "no", channels.Config},
		{"planning-timeout", "operator", "no", channels.Config},
		{"no-fallback", "operator", "no", channels.Config},
		{"no-recipient", "data-owner", "no", channels.BadTarget},
		{"suppressed", "data-owner", "no", channels.BadTarget},
		{"no-template", "author", "no", channels.Content},
		{"invalid", "author", "no", channels.Permanent},
		{"rate", "operator", "after-wait", channels.Throttled},
		{"breaker-open", "operator", "after-wait", channels.Throttled},
		{"quiet-hours", "nobody", "after-wait", channels.Throttled},
		{"internal", "operator", "yes", channels.Temporary},
		{"shutdown", "operator", "yes", channels.Temporary},
		{"attempts-exhausted", "operator", "yes", channels.Temporary},
		{"not-before", "nobody", "after-wait", channels.Throttled},
		{"lookup-too-long", "operator", "yes", channels.Temporary},
		{"no-number", "data-owner", "no", channels.BadTarget},
		{"no-template-code", "author", "no", channels.Content},
		{"bad-params", "author", "no", channels.Content},
		{"bad-payload", "author", "no", channels.Content},
		{"line-break", "author", "no", channels.Content},
		{"empty-message", "author", "no", channels.Content},
		{"expired", "author", "no", channels.Permanent},
		{"expiry", "author", "no", channels.Permanent},
		{"too-old", "author", "no", channels.Permanent},
		{"cancelled", "author", "no", channels.Permanent},
		{"outcome-unknown", "operator", "no", channels.Unknown},
		{"parts", "author", "no", channels.Content},
		{"variables", "author", "no", channels.Content},
		{"characters", "author", "no", channels.Content},
		{"unsubscribe", "author", "no", channels.Content},
		{"9", "author", "no", channels.Content},
		{"signature", "author", "no", channels.Content},
		{"double-signature", "author", "no", channels.Content},
		{"10", "operator", "no", channels.Config},
		{"signature-too-long", "operator", "no", channels.Config},
		{"content", "author", "no", channels.Content},
		{"11", "author", "no", channels.Content},
		{"text-too-long", "author", "no", channels.Content},
		{"variable-url", "author", "no", channels.Content},
		{"blocked-address", "channel-owner", "no", channels.Config},
		{"http-200-no-code", "third-party", "yes", channels.Temporary},
	}
	for _, tt := range tests {
		for _, code := range []string{tt.code, "dispatcher:" + tt.code} {
			d := explain.Default().Explain(&channels.Failure{Kind: "dispatcher", Code: code})
			if !d.Known || d.Class != tt.class || d.Owner != tt.owner || d.Retry != tt.retry {
				t.Errorf("Explain(dispatcher %s) = known %t, %s, owner %s, retry %s; want %s, %s, %s",
					code, d.Known, d.Class, d.Owner, d.Retry, tt.class, tt.owner, tt.retry)
			}
			if l := explain.Default().ExplainLine(channels.Quote{Channel: "dispatcher", Provider: "", Text: code}); l != d {
				t.Errorf("ExplainLine(dispatcher, %s) = %+v, want as Explain: %+v", code, l, d)
			}
		}
	}
}

// A condition that the channels report must be known for every kind that can meet it.
func TestConditionsAreExplained(t *testing.T) {
	kinds := []struct{ kind, provider string }{{"email", "exchange"}, {"email", ""}, {"sms", "aliyun"}, {"sms", "other"}, {"webhook", "generic"}, {"webhook", "dingtalk"}}
	for _, code := range []string{"net:dns-nxdomain", "net:dns-temporary", "net:refused", "net:timeout-connect", "net:reset", "net:tls", "net:cancelled", "net:timeout-response", "dispatcher:blocked-address", "dispatcher:blocked-port", "dispatcher:expired"} {
		for _, k := range kinds {
			if d := explain.Default().Explain(&channels.Failure{Kind: k.kind, Provider: k.provider, Code: code, Line: "dial tcp: lookup"}); !d.Known {
				t.Errorf("%s/%s %s is not known", k.kind, k.provider, code)
			}
		}
	}
	for _, code := range []string{"net:busy", "net:not-offered", "net:timeout-after-data", "net:eof-after-data", "net:eof-greeting"} {
		if d := explain.Default().Explain(&channels.Failure{Kind: "email", Provider: "exchange", Code: code}); !d.Known {
			t.Errorf("email %s is not known", code)
		}
	}
	// The words of a condition are the channel's own where it has some.
	d := explain.Default().Explain(&channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Maybe: true})
	if !strings.Contains(d.Remedy.En, "OutId") || d.Class != channels.Temporary {
		t.Errorf("an SMS without an answer: %+v, want the advice to look it up", d)
	}
}

func TestExplainUsesWhatTheChannelKnows(t *testing.T) {
	tests := []struct {
		name  string
		f     channels.Failure
		class channels.Class
		known bool
		says  string // in the English cause
	}{
		{"code in the code, words in the line", channels.Failure{Kind: "email", Provider: "netease", Code: "554", Line: "DT:SPM 163 smtp10,Ds"}, channels.Content, true, "judged as spam"},
		{"line repeats the code", channels.Failure{Kind: "email", Provider: "netease", Code: "554", Line: "554 DT:SPM 163 smtp10,Ds"}, channels.Content, true, "judged as spam"},
		{"enhanced code only in the line", channels.Failure{Kind: "email", Code: "550", Line: "550 5.1.1 no such"}, channels.BadTarget, true, "mailbox does not exist"},
		{"relay of ours, Microsoft's words", channels.Failure{Kind: "email", Provider: "generic", Code: "550 5.7.1", Line: "550 5.7.1 Unable to relay [X.prod.outlook.com]"}, channels.Config, true, "Anonymous relay"},
		{"family by the class of the channel", channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isv.NEW_THING", Line: "?", Class: channels.Content}, channels.Content, false, "isv.NEW_THING"},
		{"case does not matter", channels.Failure{Kind: "sms", Provider: "Aliyun", Code: "ISV.amount_not_enough"}, channels.Config, true, "balance"},
		{"another provider's code is not ours", channels.Failure{Kind: "sms", Provider: "acme", Code: "isv.OUT_OF_SERVICE", Class: channels.Permanent}, channels.Permanent, false, "isv.OUT_OF_SERVICE"},
		{"but its words mean the same", channels.Failure{Kind: "sms", Provider: "acme", Code: "E77", Line: "账户余额不足", Class: channels.Permanent}, channels.Config, true, "no balance left"},
		{"receipt of a carrier through a provider", channels.Failure{Kind: "sms", Provider: "acme", Code: "MK:0005"}, channels.BadTarget, true, "Line stopped"},
		{"robot behind the kind webhook", channels.Failure{Kind: "webhook", Provider: "wecom", Code: "45009", Line: "api freq out of limit"}, channels.Throttled, true, "20 messages"},
		{"Slack behind the kind webhook", channels.Failure{Kind: "webhook", Provider: "slack", Code: "no_service", Line: "404 Not Found: no_service"}, channels.Config, true, "webhook was removed"},
		{"Tencent's code", channels.Failure{Kind: "sms", Provider: "tencent", Code: "LimitExceeded.PhoneNumberDailyLimit"}, channels.Throttled, true, "within a day"},
		{"Huawei's receipt", channels.Failure{Kind: "sms", Provider: "huawei", Code: "MILIMIT"}, channels.Throttled, true, "within a minute"},
		{"a carrier's code through Tencent", channels.Failure{Kind: "sms", Provider: "tencent-receipt", Code: "MK:0005"}, channels.BadTarget, true, "Line stopped"},
		{"refused before there was a message", channels.Failure{Kind: "email", Code: "554", Line: "554 no", Class: channels.Temporary}, channels.Temporary, true, "before there was a message"},
		{"refused at login", channels.Failure{Kind: "email", Code: "550", Line: "550 no", Class: channels.Auth}, channels.Auth, true, "login was refused"},
		{"refused sender", channels.Failure{Kind: "email", Code: "550", Line: "550 no", Class: channels.Config}, channels.Config, true, "sender was refused"},
		{"refused text", channels.Failure{Kind: "email", Code: "554", Line: "554 no", Class: channels.Permanent}, channels.Content, true, "after its text had been read"},
		{"limit in the body of a 403", channels.Failure{Kind: "webhook", Provider: "generic", Code: "http:403", Line: "403 Forbidden: API rate limit exceeded", Class: channels.Auth}, channels.Throttled, true, "faster than"},
		{"a broken server's words do not make it final", channels.Failure{Kind: "webhook", Provider: "generic", Code: "http:500", Line: "500 Internal Server Error: invalid signature", Class: channels.Temporary}, channels.Temporary, true, "receiver"},
		{"status of a robot's gateway", channels.Failure{Kind: "webhook", Provider: "feishu", Code: "http:502"}, channels.Throttled, true, "gateway"},
		{"redirects are known", channels.Failure{Kind: "webhook", Code: "http:3xx", Line: "302 Found"}, channels.Config, true, "redirect"},
		{"CDN status before its family", channels.Failure{Kind: "webhook", Code: "http:525"}, channels.Config, true, "TLS"},
		{"status without a row: its family", channels.Failure{Kind: "webhook", Code: "http:418", Line: "418 I'm a teapot"}, channels.Permanent, false, "client error"},
		{"condition and the exact words", channels.Failure{Kind: "webhook", Code: "net:tls", Line: "x509: certificate has expired"}, channels.Config, true, "certificate has expired"},
		{"unknown of the dispatcher", channels.Failure{Kind: "dispatcher", Code: "no-such", Class: channels.Unknown}, channels.Unknown, false, "no-such"},
		{"nothing at all", channels.Failure{}, channels.Temporary, false, "not a known reply"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := explain.Default().Explain(&tt.f)
			if d.Class != tt.class || d.Known != tt.known || !strings.Contains(d.Cause.En, tt.says) {
				t.Errorf("got %s, known %t, %q; want %s, %t, %q", d.Class, d.Known, d.Cause.En, tt.class, tt.known, tt.says)
			}
			if d.Cause.Zh == "" || d.Remedy.Zh == "" || d.Remedy.En == "" || d.Owner == "" || d.Retry == "" {
				t.Errorf("incomplete: %+v", d)
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	for _, f := range []channels.Failure{
		{Kind: "sms", Provider: "aliyun", Code: "isv.AMOUNT_NOT_ENOUGH", Line: "账户余额不足"},
		{Kind: "webhook", Provider: "generic", Code: "http:503", Line: "503 Service Unavailable"},
		{Kind: "webhook", Provider: "dingtalk", Code: "130101", Line: "send too fast, exceed 20 times per minute"},
		{Kind: "email", Provider: "generic", Code: "550 5.1.1", Line: "550 5.1.1 <n***@example.com>: Recipient address rejected: User unknown in virtual mailbox table"},
		{Kind: "email", Provider: "netease", Code: "550", Line: "550 Invalid User"},
		{Kind: "dispatcher", Code: "daily-cap"},
		{Kind: "email", Provider: "generic", Code: "550", Line: "550 " + strings.Repeat("nothing that anybody has ever heard of a mail server, ", 4)},
		{Kind: "sms", Provider: "other", Code: "E-9", Line: strings.Repeat("这是一段没有人认识的答复内容，", 12)},
		{Kind: "webhook", Provider: "generic", Code: "http:400", Line: "400 Bad Request: " + strings.Repeat(`{"what":"ever"},`, 60)},
	} {
		b.Run(f.Kind+"/"+f.Provider+"/"+strings.ReplaceAll(f.Code, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				explain.Default().Explain(&f)
			}
		})
	}
}

// A word of prose is not the code that is spelled like it, and a vague enhanced code is still looked up
// among the expressions about codes.
func TestReadsCodesWhereTheyStand(t *testing.T) {
	for _, tt := range []struct {
		quote channels.Quote
		known bool
		class channels.Class
	}{
		{channels.Quote{Text: "volume claim expired while the pod was waiting"}, false, channels.Temporary},
		{channels.Quote{Channel: "sms", Text: "stat:EXPIRED"}, true, channels.BadTarget},
		{channels.Quote{Text: "id:0123456789 sub:001 dlvrd:000 submit date:2403110815 done date:2403110816 stat:UNDELIV err:001 text:"}, true, channels.BadTarget},
		{channels.Quote{Text: "id:0123456789 sub:001 dlvrd:001 submit date:2403110815 done date:2403110816 stat:DELIVRD err:000 text:"}, false, channels.Unknown},
		{channels.Quote{Channel: "email", Text: "550 5.6.0 glorp"}, true, channels.Content},
		{channels.Quote{Channel: "webhook", Text: `HTTP 401 {"error_description":"AADSTS7000222: keys"}`}, true, channels.Auth},
		{channels.Quote{Channel: "webhook", Text: "HTTP 405 Method Not Allowed"}, true, channels.Config},
	} {
		if d := explain.Default().ExplainLine(tt.quote); d.Known != tt.known || d.Class != tt.class {
			t.Errorf("%+v: %s, known %t, %s", tt.quote, d.Class, d.Known, d.ID)
		}
	}
}
