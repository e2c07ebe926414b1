package content

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// open makes a guard of a configuration, with the test lexicon as a file of the user's.
func open(t *testing.T, c Config) rules.Guard {
	t.Helper()
	c.Lexicons = append(c.Lexicons, "lexicon.txt")
	g, err := New(func(into any) error {
		*into.(*Config) = c
		return nil
	}, rules.Env{Read: read})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func read(name string) ([]byte, error) {
	switch name {
	case "acme.txt":
		return []byte("@lexicon acme 1\n@rule 4\n博彩 0\n百家乐 0\n"), nil
	case "broken.txt":
		return []byte("@lexicon broken 1\n@rule 5\n贷款 many\n"), nil
	}
	return os.ReadFile("testdata/" + name)
}

func sms(text string, params map[string]string) rules.Input {
	return rules.Input{Kind: "sms", Delivery: &schemas.Delivery{
		Tenant: "huaxing", Category: schemas.Notification, Event: schemas.EventRef{Type: "erp.invoice.due"},
		Message: schemas.Message{Template: "due", Text: text, Params: params},
	}}
}

func TestGuard(t *testing.T) {
	loan := sms("办理个人贷款，月息0.5%", nil)
	for name, c := range map[string]struct {
		config Config
		in     func() rules.Input
		action rules.Action
		rule   string
		hits   int
	}{
		"clean":                  {Config{}, func() rules.Input { return sms("您的订单已发货。", nil) }, rules.Pass, "", 0},
		"blocked":                {Config{}, func() rules.Input { return loan }, rules.Suppress, "5", 2},
		"only to be looked at":   {Config{Finance: "review"}, func() rules.Input { return loan }, rules.Pass, "5", 2},
		"looked at means stop":   {Config{Finance: "review", Review: "suppress"}, func() rules.Input { return loan }, rules.Suppress, "5", 2},
		"not judged":             {Config{Finance: "pass"}, func() rules.Input { return loan }, rules.Pass, "", 0},
		"marketing is looked at": {Config{}, func() rules.Input { return sms("本周买一送一", nil) }, rules.Pass, "1", 1},
		"class by type":          {Config{Classes: []ClassRule{{Type: "erp.invoice.*", Class: ClassInvoice}}}, func() rules.Input { return sms("归还银行贷款本金", nil) }, rules.Pass, "", 0},
		"class by template":      {Config{Classes: []ClassRule{{Template: "due", Class: ClassInvoice}}}, func() rules.Input { return sms("归还银行贷款本金", nil) }, rules.Pass, "", 0},
		"another type":           {Config{Classes: []ClassRule{{Type: "erp.hr.*", Class: ClassHR}}}, func() rules.Input { return sms("归还银行贷款本金", nil) }, rules.Pass, "5", 1},
		"the caller's class": {Config{}, func() rules.Input {
			in := sms("归还银行贷款本金", nil)
			in.Class = "finance_voucher"
			return in
		}, rules.Pass, "", 0},
		"class by category": {Config{}, func() rules.Input {
			in := sms("买一送一", nil)
			in.Delivery.Category = schemas.Marketing // whether the person agreed is the rule consent's
			return in
		}, rules.Pass, "", 0},
		"nobody asked for it": {Config{Classes: []ClassRule{{Type: "*", Class: ClassMarketingBlind}}}, func() rules.Input { return sms("买一送一", nil) }, rules.Suppress, "1", 1},
		"a variable strictly": {Config{}, func() rules.Input {
			return sms("客户已收货", map[string]string{"customer": "加微信"})
		}, rules.Suppress, "2", 1},
		"a variable that is clean": {Config{}, func() rules.Input { return sms("客户华星贸易", map[string]string{"customer": "华星贸易"}) }, rules.Pass, "", 0},
		"a tenant's own words": {Config{Tenants: map[string][]string{"acme": {"acme.txt"}}}, func() rules.Input {
			in := sms("博彩百家乐", nil)
			in.Delivery.Tenant = "acme"
			return in
		}, rules.Pass, "", 0},
		"another tenant": {Config{Tenants: map[string][]string{"acme": {"acme.txt"}}}, func() rules.Input { return sms("博彩百家乐", nil) }, rules.Suppress, "4", 2},
		"mail": {Config{}, func() rules.Input {
			in := sms("", nil)
			in.Kind = "email"
			in.Delivery.Message = schemas.Message{Subject: "博彩", Text: "博彩", HTML: "<p>博&#24425;</p><style>博彩</style>"}
			return in
		}, rules.Suppress, "4", 3},
		"webhook": {Config{}, func() rules.Input {
			in := sms("", nil)
			in.Kind = "webhook"
			in.Delivery.Message = schemas.Message{Payload: schemas.Raw(`{"event":{"id":"1","source":"/a","type":"a.b"},"category":"alert","to":{},"content":{"text":"博彩"}}`)}
			return in
		}, rules.Suppress, "4", 1},
		"webhook without content": {Config{}, func() rules.Input { in := sms("", nil); in.Kind = "webhook"; return in }, rules.Pass, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := open(t, c.config).Judge(c.in())
			if v.Action != c.action || v.Rule != c.rule || len(v.Hits) != c.hits {
				t.Errorf("action %d of rule %q with %d hits, want %d of %q with %d: %+v", v.Action, v.Rule, len(v.Hits), c.action, c.rule, c.hits, v.Hits)
			}
		})
	}
}

// TestVariables: a name in a variable is not refused for one word, a disguise or an account is.
func TestVariables(t *testing.T) {
	g := rulestest.Open(t, New, "", rules.Env{}) // the program's own words
	for value, want := range map[string]rules.Action{
		"太阳城小学": rules.Pass, "冰毒检测试剂盒": rules.Pass, "炸药物资公司": rules.Pass, "加微光电": rules.Pass, "加V型皮带A1234": rules.Pass,
		"VX-100传感器": rules.Pass, "Telegram": rules.Pass, "华星微信支付": rules.Pass,
		"加微信": rules.Suppress, "加微": rules.Suppress, "关注公众号": rules.Suppress, "扫微信": rules.Suppress, "加QQ群": rules.Suppress,
		"博\u200b彩平台": rules.Suppress, "加微信abc12345": rules.Suppress,
	} {
		if v := g.Judge(sms("您好", map[string]string{"customer": value})); v.Action != want {
			t.Errorf("%q: action %d of rule %s, want %d: %+v", value, v.Action, v.Rule, want, v.Hits)
		}
	}
}

// TestHitsAreBounded: a long text full of terms makes a verdict that can still be stored.
func TestHitsAreBounded(t *testing.T) {
	in := sms("", nil)
	in.Kind = "email"
	in.Delivery.Message.HTML = strings.Repeat("<p>贷款 博彩</p>", 20_000)
	if v := open(t, Config{Gambling: "review", Finance: "pass"}).Judge(in); len(v.Hits) != maxHits || v.Action != rules.Pass || v.Rule != "4" {
		t.Errorf("%d hits, action %d of rule %s", len(v.Hits), v.Action, v.Rule)
	}
}

// TestHits shows all that a hit tells, for each rule.
func TestHits(t *testing.T) {
	var b strings.Builder
	show := func(in rules.Input) {
		fmt.Fprintf(&b, "%q\n", in.Delivery.Message.Text)
		for _, h := range open(t, Config{}).Judge(in).Hits {
			fmt.Fprintf(&b, "\trule %s, %s, %s %d-%d, bytes %d-%d: %q is %q, via %q, with %q, from %s\n\t\t%s\n\t\t%s\n",
				h.Rule, h.Action, h.Field, h.Start, h.End, h.StartByte, h.EndByte, h.Text, h.Term, h.Via, h.Cue, h.Origin, h.Advice.Zh, h.Advice.En)
		}
	}
	for _, text := range []string{
		"全场清仓甩卖，买一送一", "详情请加我薇信abc88990", "周末单身交友，致电13800138000", "博★彩平台", "办理个人贷款，月息0.5%", "好评返现",
		"糖尿病包治百病", "公墓出售，墓13800138000", "枪zhi", "代开发票",
	} {
		show(sms(text, nil))
	}
	show(sms("尊敬的华星贷款客户，您的订单已发货，办理贷款请致电", map[string]string{"customer": "华星贷款", "part": "贷款客"}))
	const name = "testdata/hits.txt"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the hits say something else; -update writes it:\n%s", b.String())
	}
}

// TestNumbersAreMasked: no phone number leaves in a hit.
func TestNumbersAreMasked(t *testing.T) {
	for _, text := range []string{"加13800138000微信", "微信一三八〇〇〇〇一二三四", "微信①③⑧⓪⓪⓪⓪①②③④，加微信", "加 138-0013-8000 微信"} {
		for _, h := range open(t, Config{Marketing: "block"}).Judge(sms(text, map[string]string{"x": text})).Hits {
			for _, number := range []string{"13800138000", "一三八〇〇〇〇一二三四", "⓪⓪⓪⓪", "0013"} {
				if strings.Contains(h.Text, number) {
					t.Errorf("%q: the hit shows %q", text, h.Text)
				}
			}
		}
	}
}

// TestNumbersAreMaskedAcrossMarkup: tags, entities and comments inside a number do not show its digits.
func TestNumbersAreMaskedAcrossMarkup(t *testing.T) {
	for _, source := range []string{
		"加微信138<b>0013</b>8000", "加微信138<!-- 1 -->0013<i title='a'>8000</i>", "加微信138&#48;&#48;13&#56;000", "<img alt='加微信13800138000'>",
	} {
		in := sms("", nil)
		in.Kind = "email"
		in.Delivery.Message = schemas.Message{HTML: "<p>" + source + "</p>"}
		hits := open(t, Config{}).Judge(in).Hits
		long := false
		for _, h := range hits {
			long = long || strings.Contains(h.Text, "微信138****8000")
			for _, digits := range []string{"0013", "013", "&#48;"} {
				if strings.Contains(h.Text, digits) {
					t.Errorf("%s: the hit shows %q", source, h.Text)
				}
			}
		}
		if !long {
			t.Errorf("%s: no hit has the number: %+v", source, hits)
		}
	}
}

// TestPlacesInHTML: hits that stand before the ones named last, in what comes behind the text, have exact places.
func TestPlacesInHTML(t *testing.T) {
	const source = "<p title='赌博机'>贷款，博彩</p><i title='博彩'>好博<b>彩</b></i>"
	in := sms("", nil)
	in.Kind = "email"
	in.Delivery.Message = schemas.Message{HTML: source}
	asides := 0
	for _, h := range open(t, Config{}).Judge(in).Hits {
		written := source[h.StartByte:h.EndByte]
		if string([]rune(source)[h.Start:h.End]) != written || strings.ReplaceAll(strings.ReplaceAll(written, "<b>", ""), "</b>", "") != h.Text && written != h.Text {
			t.Errorf("%q: characters %d-%d, bytes %d-%d are %q", h.Text, h.Start, h.End, h.StartByte, h.EndByte, written)
		}
		if h.StartByte < strings.Index(source, "贷款") {
			asides++
		}
	}
	if asides == 0 {
		t.Error("no hit in the first title")
	}
}

func TestGuardRefusesMistakes(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{Read: read}, map[string]string{
		"{finance: stop}":                  "finance is \"stop\"",
		"{review: wait}":                   "review is \"wait\"",
		"{classes: [{class: hr}]}":         "classes: entry 1: want either",
		"{classes: [{type: a, class: b}]}": "classes: entry 1: unknown class",
		"{lexicons: [broken.txt]}":         "broken.txt:3:4: ",
		"{lexicons: [missing.txt]}":        "lexicon missing.txt: ",
		"{tenants: {acme: [missing.txt]}}": "tenants: acme: lexicon",
	})
	broken := errors.New("broken")
	if _, err := New(func(any) error { return broken }, rules.Env{}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// TestSee: what a reader of HTML sees, and where it stands.
func TestSee(t *testing.T) {
	const source = "<html><style>p{}</style><p>办<b>理</b>贷&#27454;</p><!-- 博彩 --><SCRIPT>if (a<b) 彩票</script>5 < 6 &nbsp; &unknown; <a href='x>y'>好</a>"
	v := see(source)
	if want := "\n办理贷款\n5 < 6 \u00a0 &unknown; 好"; v.text != want {
		t.Errorf("see = %q, want %q", v.text, want)
	}
	i := strings.Index(v.text, "办")
	if from, to := v.span(i, i+len("办理贷款")); source[from:to] != "办<b>理</b>贷&#27454;" {
		t.Errorf("span = %q", source[from:to])
	}
}

// TestSeeing: what mail programs show is seen, however it is written, and its place is exact; what they do not show is not.
func TestSeeing(t *testing.T) {
	const ad = "兼职赚钱加微信 abc123 领红包"
	for source, at := range map[string]string{
		"<p>" + ad + "</p>":                                                  ad,
		"<p title=\"><!--\">" + ad + "</p>":                                  ad,
		"<p>你好<!-- x --!>" + ad + "</p>":                                     ad,
		"<textarea><!-- </textarea>" + ad:                                    ad,
		"<title><b></title><!-->" + ad:                                       ad,
		"<!--[if mso]><p>" + ad + "</p><![endif]-->":                         ad,
		"<!--[if !mso]><!--><p>" + ad + "</p><!--<![endif]-->":               ad,
		"<p>兼职赚钱加&#24494&#20449 abc123 领红包</p>":                              "兼职赚钱加&#24494&#20449 abc123 领红包",
		"<p>兼职赚钱加&#x5fae&#x4FE1;&nbspabc123 领红包</p>":                         "兼职赚钱加&#x5fae&#x4FE1;&nbspabc123 领红包",
		"<p>兼职赚钱加微<!--[if mso]>x<![endif]--><i title=x>信</i> abc123 领红包</p>": "兼职赚钱加微<!--[if mso]>x<![endif]--><i title=x>信</i> abc123 领红包",
		"<img src=a alt=\"" + ad + "\">你好":                                   ad,
		"<p>你好</p><IMG ALT = '" + ad + "'/>":                                 ad,
		"<p class=a/b title=\"兼职赚钱加&#24494;信 abc123 领红包\">你好</p>":            "兼职赚钱加&#24494;信 abc123 领红包",
		"<input type=text value=\"" + ad + "\">":                             ad,
		"<input placeholder=\"" + ad + "\">":                                 ad,
		"<!--[if mso]><img alt=\"" + ad + "\"><![endif]-->":                  ad,
		"<script>1</script><noscript>兼职赚钱加微<b>信</b> abc123 领红包</noscript>":   "兼职赚钱加微<b>信</b> abc123 领红包",
		"<script>" + ad + "</script>":                                        "",
		"<style title='a'>" + ad + "</style>":                                "",
		"<!-- " + ad + " -->":                                                "",
		"<input type=hidden value=\"" + ad + "\">":                           "",
		"<p class=\"" + ad + "\">":                                           "",
	} {
		v := see(source)
		if i := strings.Index(v.text, "兼职"); i >= 0 && at != "" {
			k := strings.Index(v.text, "红包") + len("红包")
			if from, to := v.span(i, k); source[from:to] != at {
				t.Errorf("%s: the words are at %q", source, source[from:to])
			}
		}
		in := sms("", nil)
		in.Kind = "email"
		in.Delivery.Message = schemas.Message{HTML: source}
		verdict := open(t, Config{}).Judge(in)
		if (verdict.Action == rules.Suppress) != (at != "") {
			t.Errorf("%s: action %d", source, verdict.Action)
		}
		for _, h := range verdict.Hits {
			if string([]rune(source)[h.Start:h.End]) != source[h.StartByte:h.EndByte] {
				t.Errorf("%s: characters %d-%d are not bytes %d-%d", source, h.Start, h.End, h.StartByte, h.EndByte)
			}
		}
	}
}
