package link

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

// env has the files that sections name.
var env = rules.Env{Read: fstest.MapFS{
	"secret": {Data: []byte("secret_01\n")}, "two": {Data: []byte("old\nsecret_01\n")}, "three": {Data: []byte("a\nb\nc")},
	"empty": {Data: []byte("\n")}, "long": {Data: []byte(strings.Repeat("x", 2000))},
}.ReadFile}

var open = rulestest.Opener(New, env)

// made is the time of every link here, now is when messages are judged.
var (
	made = time.Unix(1700000000, 0)
	now  = made.Add(time.Hour)
)

func signed(change func(*Kingdee)) *Kingdee {
	k := &Kingdee{
		DBID: "5be178b96562c0", Username: "Administrator", AppID: "app_01", Timestamp: made, LCID: "2052",
		Origin: "SimPas", FormID: "PUR_PurchaseOrder", FormType: "bill", PKID: "100021", OtherArgs: SingleUse,
	}
	k.Sign("secret_01")
	if change != nil {
		change(k)
	}
	return k
}

func url(t testing.TB, k *Kingdee) string {
	t.Helper()
	s, err := k.URL("https://erp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func jwt(claims string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(claims) + ".c2lnbmF0dXJlc2lnbmF0dXJl"
}

// codes are action and code of each hit, in order.
func codes(v rules.Verdict) string {
	var out []string
	for _, h := range v.Hits {
		out = append(out, h.Action+" "+h.Term)
	}
	return strings.Join(out, ", ")
}

func TestJudge(t *testing.T) {
	const (
		none   = ""
		hosts  = "{allow_hosts: [erp.example.com, '*.acme.cn', 10.1.2.3, 例子.中国]}"
		verify = "{verify: {app_id: app_01, secret_file: secret}}"
	)
	safe := url(t, signed(nil))
	raw := func(json string) string {
		return "https://erp.example.com/K3Cloud/html5/index.aspx?ud=" + base64.StdEncoding.EncodeToString([]byte(json))
	}
	sha1 := strings.Repeat("0123456789", 4)
	for _, c := range []struct{ section, text, want string }{
		// Nothing to say.
		{none, "您的订单已发货，详见 https://erp.example.com/orders/42?from=sms", ""},
		{none, "下载：https://files.example.com/a.pdf?Expires=1700000000&OSSAccessKeyId=x&Signature=abcdefgh1234567890abcd", ""},
		{none, "网盘 https://pan.example.com/s/1abc?pwd=8x2k，单号 PO-2026.11.23，v1.2.3，wang@mail.example.com", ""},
		{none, "https://erp.example.com/bill?code=purchase-order-2026-11-23&sid=42", ""},
		{none, "附件 合同.pdf、main.go、readme.md 已更新", ""},
		{none, "查看 " + safe, ""},
		{hosts, "查看 " + safe, ""},
		{verify, "查看 " + safe, ""},
		{"{verify: {app_id: app_01, secret_file: two}}", safe, ""},
		{"{login: pass}", "https://erp.example.com/K3Cloud/html5/index.aspx?ud=garbage&token=abcdefgh", ""},
		// Kingdee.
		{none, "查看 " + strings.Replace(safe, "https", "http", 1), "block http"},
		{none, strings.Replace(safe, "html5/index.aspx", "Silverlight/index.aspx", 1), ""},
		{none, strings.Replace(safe, "https://erp.example.com/K3Cloud/html5/index.aspx", "K3cloud://", 1), ""},
		{none, url(t, signed(func(k *Kingdee) { k.OtherArgs = "" })), "block kingdee-reusable"},
		{none, url(t, signed(func(k *Kingdee) { k.OtherArgs = "|{'permitcount':'3'}" })), "block kingdee-reusable"},
		{none, url(t, signed(func(k *Kingdee) { k.OtherArgs = "|{'permitcount':'1','permitcount':'9'}" })), "block kingdee-reusable"},
		{none, url(t, signed(func(k *Kingdee) { k.Signature = sha1 })), "block kingdee-sha1"},
		{none, url(t, signed(func(k *Kingdee) { k.Signature = strings.ToUpper(k.Signature) })), "block kingdee-signature-form"},
		{none, url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(-MaxLife - time.Second) })), "block kingdee-old"},
		{none, url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(-MaxLife) })), ""},
		{none, url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(5 * time.Minute) })), ""},
		{none, url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(6 * time.Minute) })), "block kingdee-future"},
		{"{max_life: 30m}", safe, "block kingdee-old"},
		{none, url(t, signed(func(k *Kingdee) { k.DBID, k.Signature = "", "" })), "block kingdee-incomplete"},
		{none, raw(`{"dbid":"a","username":"b","appid":"c","appsecret":"d","otherargs":"permitcount:1","timestamp":1700000000}`), "block kingdee-secret, block kingdee-incomplete"},
		{none, raw(`{"dbid":"a","DBID":"b"}`), "block kingdee-unreadable"},
		{none, "https://erp.example.com/k3cloud/html5/INDEX.aspx?ud=garbage!", "block kingdee-unreadable"},
		{none, "https://portal.example.com/go?ud=" + strings.SplitAfter(url(t, signed(func(k *Kingdee) { k.Signature = sha1 })), "ud=")[1], "block kingdee-sha1"},
		{none, "https://portal.example.com/go?name=张三&ud=" + strings.SplitAfter(url(t, signed(func(k *Kingdee) { k.Signature = sha1 })), "ud=")[1], "block kingdee-sha1"},
		{none, "https://portal.example.com/go?to=" + strings.NewReplacer(":", "%3A", "/", "%2F", "?", "%3F", "=", "%3D", "%", "%25").Replace(url(t, signed(func(k *Kingdee) { k.Signature = sha1 }))), "block kingdee-sha1"},
		{"{verify: {app_id: app_02}}", safe, "block kingdee-app"},
		{verify, url(t, signed(func(k *Kingdee) { k.Username = "mallory" })), "block kingdee-forged"},
		{verify, url(t, signed(func(k *Kingdee) { k.OtherArgs = "" })), "block kingdee-reusable, block kingdee-forged"}, // signed with permitcount
		{"{login: review}", url(t, signed(func(k *Kingdee) { k.Signature = sha1 })), "review kingdee-sha1"},
		{none, "https://erp.example.com/xmobile/cloud.html?entryrole=oo&acctid=1&sign=" + strings.Repeat("ab", 32), "review kingdee-mobile"},
		{none, "https://erp.example.com/xmobile/cloud.html?acctid=1&sign=" + strings.Repeat("AB", 20), "block kingdee-mobile-sha1"},
		{none, "http://erp.example.com/xmobile/cloud.html?acctid=1&sign=" + strings.Repeat("ab", 32), "block http, review kingdee-mobile"},
		// What looks like a login link.
		{none, "https://erp.example.com/a?access_token=abcdefgh", "review token"},
		{none, "http://erp.example.com/a#/home?token=abcdefgh", "review token"},
		{none, "https://erp.example.com/a;jsessionid=0123456789ABCDEF?x=1", "review token"},
		{none, "https://erp.example.com/cb?code=4f9d2c1ab8e74d60", "review token"},
		{none, "https://erp.example.com/login/4f9d2c1ab8e74d60aa11", "review token"},
		{none, "https://erp.example.com/x?v=" + jwt(`{"exp":1700003600}`), "review token"},
		{none, "https://erp.example.com/x?user=wang&password=abc123", "block password"},
		{none, "https://erp.example.com/x?jwt=" + jwt(`{"sub":"1"}`), "block jwt-endless"},
		{none, "https://erp.example.com/x?access_token=" + jwt(`{"exp":1710000000}`), "block jwt-long"},
		{none, "https://erp.example.com/x?access_token=" + jwt(`{"exp":1700003000}`), "block jwt-ended"},
		{none, "https://erp.example.com/x?access_token=" + jwt(`{"exp":1700090000.5}`), "review jwt"},
		{none, "http://erp.example.com/x?access_token=" + jwt(`{"exp":1700090000}`), "block http, review jwt"},
		{"{login: review}", "https://erp.example.com/x?user=wang&password=abc123", "review password"},
		// Hosts.
		{hosts, "见 https://erp.example.com/a 、https://b.acme.cn/ 、http://10.1.2.3/a 、https://例子.中国/a 、https://xn--fsqu00a.xn--fiqs8s/", ""},
		{hosts, "见https://acme.cn.evil.top/a", "review host"},
		{hosts, "见https://acme.cn/a", "review host"}, // *.acme.cn are the names below it
		{hosts, "见 www.evil.top 和 evil.com", "review host, review host"},
		{hosts, "见 https://erp.example.com/go?next=https%3A%2F%2Fevil.top%2Fa", "review host"},
		{none, "见 https://erp.example.com@evil.top/a", "review userinfo"},
		{none, "见 http://192.168.3.4/a，http://0x7f000001/，https://[::1]:8080/a", "review ip, review ip, review ip"},
		{none, "见 https://\u0430pple.com/a 和 https://xn--pple-43d.com/b", "review look-alike, review look-alike"},
		{none, "详见t.cn/A6xYz，或http://dwz.cn/abc。", "review short, review short"},
		{"{allow_hosts: [t.cn]}", "详见t.cn/A6xYz", ""},
	} {
		in := rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Category: schemas.Notification, Message: schemas.Message{Text: c.text}}}
		v := open(t, c.section).Judge(in)
		if got := codes(v); got != c.want {
			t.Errorf("%s %s\ngot  %q\nwant %q", c.section, c.text, got, c.want)
		}
		if blocked := strings.HasPrefix(c.want, "block"); blocked != (v.Action == rules.Suppress) {
			t.Errorf("%s: action %v", c.text, v.Action)
		}
		for _, h := range v.Hits {
			if h.Advice.Zh == "" || h.Advice.En == "" || h.Field != "text" || c.text[h.StartByte:h.EndByte] != string([]rune(c.text)[h.Start:h.End]) {
				t.Errorf("%s: %+v", c.text, h)
			}
		}
	}
}

// A mail has no short-link rule, marketing may lead to known hosts only, and each field is judged.
func TestFieldsAndCategories(t *testing.T) {
	bad := "https://erp.example.com/x?user=wang&password=hunter2hunter2"
	g := open(t, "{allow_hosts: [erp.example.com]}")
	judge := func(kind string, category schemas.Category, m schemas.Message) rules.Verdict {
		return g.Judge(rules.Input{Kind: kind, Now: now, Delivery: &schemas.Delivery{Category: category, Message: m}})
	}
	for _, category := range schemas.Categories {
		want := rules.Pass
		if category == schemas.Marketing {
			want = rules.Suppress
		}
		if v := judge("sms", category, schemas.Message{Text: "看 https://shop.example.net/1"}); v.Action != want || codes(v) == "" {
			t.Errorf("%s: %+v", category, v)
		}
	}
	if v := open(t, "").Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Message: schemas.Message{Text: "t.cn/A6xYz"}}}); len(v.Hits) != 0 {
		t.Errorf("a short link in a mail: %+v", v)
	}
	payload := func(s string) schemas.Raw {
		b, err := json.Marshal(map[string]any{"event": map[string]string{"source": bad}, "content": map[string]string{"text": s}, "attachments": []any{map[string]string{"url": bad}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	escaped := strings.ReplaceAll(bad, "&", "&amp;")
	for field, m := range map[string]schemas.Message{
		"subject":              {Subject: "请登录 " + bad},
		"text":                 {Text: bad + "，请查收", Params: map[string]string{"url": bad}},
		"params/url":           {Text: "无", Params: map[string]string{"a": "x", "url": bad}},
		"html":                 {HTML: `<html xmlns="http://www.w3.org/1999/xhtml"><style>a{background:url(http://a.example/b)}</style><p>你好</p><a href="` + escaped + `">` + escaped + `</a>`},
		"payload/content/text": {Payload: payload("见 " + bad)},
	} {
		v := judge("email", schemas.Notification, m)
		if codes(v) != "block password" || v.Hits[0].Field != field || strings.Contains(v.Hits[0].Text, "hunter") {
			t.Errorf("%s: %+v", field, v)
			continue
		}
		origin := ""
		if len(m.Params) > 0 {
			origin = "params/url"
		}
		if h := v.Hits[0]; h.Origin != origin {
			t.Errorf("%s: origin %q", field, h.Origin)
		}
		if field == "html" && m.HTML[v.Hits[0].StartByte:v.Hits[0].EndByte] != escaped {
			t.Errorf("html: %q", m.HTML[v.Hits[0].StartByte:v.Hits[0].EndByte])
		}
	}
	conditional := schemas.Message{HTML: "<p>好</p><!--[if mso]><a href='" + bad + "'>x</a><![endif]--><!-- " + bad + " -->"}
	if v := judge("email", schemas.Notification, conditional); codes(v) != "block password" || conditional.HTML[v.Hits[0].StartByte:v.Hits[0].EndByte] != bad {
		t.Errorf("a conditional comment: %+v", v)
	}
	if v := judge("email", schemas.Notification, schemas.Message{Text: strings.Repeat("http://a.example/ ", 5) + strings.Repeat("x", 10) + manyLinks(200)}); len(v.Hits) != maxHits {
		t.Errorf("%d hits", len(v.Hits))
	}
	if v := judge("email", schemas.Notification, schemas.Message{Text: manyLinks(200) + bad}); len(v.Hits) != maxHits || v.Action != rules.Suppress || v.Hits[0].Term != "password" {
		t.Errorf("what blocks is not among the hits kept: %+v", v.Hits[0])
	}
}

// What nobody writes by hand costs no more than it should: all these are as long as a mail may be.
func TestHostileTexts(t *testing.T) {
	g := open(t, "{allow_hosts: [erp.example.com]}")
	const size = 512_000
	for _, unit := range []string{
		"a.", "://", "a://", "http://a,", "(https://a.cn/", "a@a.cn ", "t.cn/", "https://a?ud=e30&", "https://a/%3A%2F%2Fb/", "&amp;http://a.cn?",
		"<!--[if x]>", "<a href=t.cn/1>", "<a href='", "a href=a.cn/1 ", "张&", "xn--", "ud=eyJ9.eyJ9.eyJ9&", "[[", "?张三",
	} {
		s := strings.Repeat(unit, size/len(unit))
		for _, m := range []schemas.Message{{Text: s}, {HTML: s}, {HTML: "<a " + s}, {Text: "https://a.cn/?" + s}} {
			v := g.Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Message: m}})
			if len(v.Hits) > maxHits {
				t.Errorf("%q: %d hits", unit, len(v.Hits))
			}
		}
	}
	v := g.Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Message: schemas.Message{Text: strings.Repeat("https://erp.example.com/ ", 1001)}}})
	if codes(v) != "review many" {
		t.Errorf("1001 links: %s", codes(v))
	}
}

func manyLinks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "https://h%d.example/ ", i)
	}
	return b.String()
}

// A message that ends while its link is still good is pointed out.
func TestLinkOutlivesMessage(t *testing.T) {
	judge := func(section string, expires time.Time) string {
		in := rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Expires: expires, Message: schemas.Message{Text: url(t, signed(nil))}}}
		return codes(open(t, section).Judge(in))
	}
	for _, c := range []struct {
		section string
		expires time.Time
		want    string
	}{
		{"", time.Time{}, ""},
		{"", made.Add(MaxLife), ""},
		{"", made.Add(24 * time.Hour), "review kingdee-outlives"},
		{"{max_life: 24h}", made.Add(24 * time.Hour), ""},
	} {
		if got := judge(c.section, c.expires); got != c.want {
			t.Errorf("%s, expires %s: %q, want %q", c.section, c.expires, got, c.want)
		}
	}
}

// Lint may have no clock: what depends on the time is left out, the rest is said.
func TestWithoutClock(t *testing.T) {
	expires := made.Add(time.Hour)
	for name, c := range map[string]struct{ text, clock, none string }{
		"kingdee-old":      {url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(-2 * MaxLife) })), "block kingdee-old", ""},
		"kingdee-future":   {url(t, signed(func(k *Kingdee) { k.Timestamp = now.Add(time.Hour) })), "block kingdee-future, review kingdee-outlives", "review kingdee-outlives"},
		"kingdee-reusable": {url(t, signed(func(k *Kingdee) { k.OtherArgs, k.Timestamp = "", now.Add(-2*MaxLife) })), "block kingdee-reusable, block kingdee-old", "block kingdee-reusable"},
		"kingdee-outlives": {url(t, signed(nil)), "review kingdee-outlives", "review kingdee-outlives"}, // by two given times
		"jwt-long":         {"https://erp.example.com/x?jwt=" + jwt(`{"exp":1710000000}`), "block jwt-long", "review jwt"},
		"jwt-ended":        {"https://erp.example.com/x?jwt=" + jwt(`{"exp":1700003000}`), "block jwt-ended", "review jwt"},
		"jwt":              {"https://erp.example.com/x?jwt=" + jwt(`{"exp":1700090000}`), "review jwt", "review jwt"},
		"jwt-endless":      {"https://erp.example.com/x?jwt=" + jwt(`{"sub":"1"}`), "block jwt-endless", "block jwt-endless"},
	} {
		for at, want := range map[time.Time]string{now: c.clock, {}: c.none} {
			v := open(t, "").Judge(rules.Input{Kind: "sms", Now: at, Delivery: &schemas.Delivery{Expires: expires, Message: schemas.Message{Text: c.text}}})
			if got := codes(v); got != want {
				t.Errorf("%s at %s: got %q, want %q", name, at, got, want)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	for section, want := range map[string]string{
		"{allow_hosts: ['https://erp.example.com']}":  "is no host",
		"{allow_hosts: ['erp.example.com/a']}":        "is no host",
		"{allow_hosts: ['erp.example.com:443']}":      "is no host",
		"{allow_hosts: ['*']}":                        "is no host",
		"{allow_hosts: ['a.*.com']}":                  "is no host",
		"{allow_hosts: ['*.10.0.0.1']}":               "is no host",
		"{allow_hosts: ['']}":                         "is no host",
		"{login: off}":                                "login",
		"{login: warn}":                               "known are block, review, pass",
		"{max_life: 121h}":                            "want 1m to 120h",
		"{max_life: 1s}":                              "want 1m to 120h",
		"{max_life: 0s}":                              "cannot be 0",
		"{verify: {secret_file: secret}}":             "app_id is missing",
		"{verify: {app_id: a, secret_file: nowhere}}": "verify.secret_file",
		"{verify: {app_id: a, secret_file: three}}":   "3 secrets",
		"{verify: {app_id: a, secret_file: empty}}":   "0 secrets",
		"{verify: {app_id: a, secret_file: long}}":    "more than 1024 bytes",
		"{verify: {app_id: a, secret: x}}":            "unknown field",
		"{hosts: []}":                                 "unknown field",
	} {
		if _, err := New(rulestest.Section(section), env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", section, err, want)
		} else if strings.Contains(err.Error(), "secret_01") {
			t.Errorf("%s: the error shows a secret", section)
		}
	}
	if _, err := New(rulestest.Section("{verify: {app_id: a, secret_file: nowhere}}"), env); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The golden files show what an operator reads: a message, dashes, the hits.
func TestGolden(t *testing.T) {
	g := open(t, "{allow_hosts: [erp.example.com], verify: {app_id: app_01, secret_file: secret}}")
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, _ := strings.Cut(string(b), "\n----------\n")
		v := g.Judge(rules.Input{Kind: "sms", Now: now.In(time.FixedZone("", 8*3600)), Delivery: &schemas.Delivery{Category: schemas.Notification, Message: schemas.Message{Text: input}}})
		var got strings.Builder
		fmt.Fprintf(&got, "%s\n", map[rules.Action]string{rules.Pass: "sent", rules.Suppress: "not sent"}[v.Action])
		for _, h := range v.Hits {
			fmt.Fprintf(&got, "\n%s %s (%s), characters %d-%d: %s\n%s\n%s\n", h.Action, h.Rule, h.Term, h.Start+1, h.End, h.Text, h.Advice.Zh, h.Advice.En)
		}
		if *update {
			if err := os.WriteFile(file, []byte(input+"\n----------\n"+got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got.String() != want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", file, got.String(), want)
		}
	}
}

// No hit shows what opens the door.
func TestHitsAreMasked(t *testing.T) {
	const token = "s3cr3tS3cr3tS3cr3t99"
	g := open(t, "{allow_hosts: [a.cn]}")
	for _, text := range []string{
		"https://x.example/a?token=" + token,
		"https://x.example/a?" + token,
		"https://x.example/a#" + token,
		"https://x.example/login/" + token + "/b",
		"https://user:" + token + "@x.example/",
		"https://user:a/" + token + "@x.example/",
		"https://x.example/a;jsessionid=" + token,
		"https://x.example/a?" + token + "=1&token=12345678",
		"https://x.example/a?u=https%3A%2F%2Fy.example%2Fsso%2F" + token,
		"http://x.example/K3Cloud/a?ud=" + token,
		"x.example.com/a?token=" + token,
	} {
		v := g.Judge(rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Message: schemas.Message{Text: text}}})
		if len(v.Hits) == 0 {
			t.Errorf("%s: no hit", text)
		}
		if shown := fmt.Sprintf("%+v", v); strings.Contains(strings.ToLower(shown), strings.ToLower(token)) {
			t.Errorf("%s: %s", text, shown)
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{"https://a.cn/?ud=eyJ9", "<a href='http://a.cn/?x=1&amp;ud=2'>", "{\"a\":\"http://b.cn\"}", "t.cn/x", "https://\u0430.com", "<!--[if x]><a href=//a.cn>"} {
		f.Add(s)
	}
	g := open(f, "{allow_hosts: [erp.example.com], verify: {app_id: app_01, secret_file: secret}}")
	f.Fuzz(func(t *testing.T, s string) {
		m := schemas.Message{Text: s, HTML: s, Payload: schemas.Raw(s), Params: map[string]string{"p": s}}
		for _, h := range g.Judge(rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Message: m}}).Hits {
			if h.StartByte < 0 || h.EndByte <= h.StartByte || h.End <= h.Start || h.Text == "" {
				t.Fatalf("%+v", h)
			}
			if h.EndByte > len(s) && !strings.HasPrefix(h.Field, "payload") {
				t.Fatalf("%+v", h)
			}
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	safe := url(b, signed(nil))
	for name, text := range map[string]string{
		"no link":    "应收提醒：客户华星贸易应收款12,300.00元，到期日2026-11-30，请及时跟进。",
		"plain link": "您的订单已发货，详见 https://erp.example.com/orders/42",
		"kingdee":    "请审批：" + safe,
		"many":       manyLinks(10000),
	} {
		b.Run(name, func(b *testing.B) {
			g := open(b, "{allow_hosts: [erp.example.com]}")
			in := rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Message: schemas.Message{Text: text}}}
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				g.Judge(in)
			}
		})
	}
}
