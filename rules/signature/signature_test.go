package signature

import (
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

func open(t testing.TB, section string) rules.Guard {
	t.Helper()
	g, err := New(func(into any) error { return strictyaml.Decode([]byte(section), into) }, rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func judge(g rules.Guard, kind, name, text string) rules.Verdict {
	return g.Judge(rules.Input{Kind: kind, Signature: name, Delivery: &schemas.Delivery{Message: schemas.Message{Text: text}}})
}

func TestJudge(t *testing.T) {
	g := open(t, "")
	const name = "晨光物流"
	for _, c := range []struct {
		signature, text string
		rule            string // "" passes
		matched         string
		start           int
	}{
		{name, "您的包裹已到站", "", "", 0},
		{name, "单号[SO-88]已出库，见国发〔2026〕5号，区间［1，2］正常", "", "", 0},
		{name, "请签收「合同」与《协议》（两份）", "", "", 0},
		{name, "【晨光物流】您的包裹已到站", "9", "【晨光物流】", 0},
		{name, "合同【HT-1】已归档", "9", "【HT-1】", 2},
		{name, "已到站【】", "9", "【】", 3},
		{name, "已到站【别家】 ", "9", "【别家】", 3},
		{name, "\u200b【\u200b别\u2060家】到站", "9", "【\u200b别\u2060家】", 1},
		{name, "【【别家】】到站", "9", "【【别家】】", 0},
		{name, "︻别家︼到站", "9", "︻别家︼", 0},
		{name, "[别家]到站", "9", "[别家]", 0},
		{name, "\u200b [别家]到站", "9", "[别家]", 2},
		{name, "到站[别家]\u200b", "9", "[别家]", 2},
		{name, "［别家］到站", "9", "［别家］", 0},
		{name, "〔别家〕到站", "9", "〔别家〕", 0},
		{name, "到站〖别家〗", "9", "〖别家〗", 2},
		{name, "【未闭合的括号", "", "", 0},
		{name, "", "", "", 0},
		{"晨", "到站", "10", "晨", 0},
		{"一二三四五六七八九十甲乙", "到站", "", "", 0},
		{"一二三四五六七八九十甲乙丙", "到站", "10", "一二三四五六七八九十甲乙丙", 0},
		{"𠮷田A12", "到站", "", "", 0},
		{"晨光·物流", "到站", "", "", 0},
		{"晨光物流·", "到站", "10", "·", 4},
		{"晨光 物流", "到站", "10", " ", 2},
		{"【晨光】", "到站", "10", "【", 0},
		{"晨\u200b光", "到站", "10", "\u200b", 1},
		{"晨光！", "到站", "10", "！", 2},
		// Without a known signature the text's own is judged.
		{"", "【晨光物流】到站", "", "", 0},
		{"", "到站【晨光物流】", "", "", 0},
		{"", "【晨】到站", "10", "晨", 1},
		{"", "【晨光物流】到站【别家】", "9", "【别家】", 8},
		{"", "合同【HT-1】已归档", "9", "【HT-1】", 2},
		{"", "到站", "", "", 0},
	} {
		v := judge(g, "sms", c.signature, c.text)
		if c.rule == "" {
			if v.Action != rules.Pass || len(v.Hits) != 0 {
				t.Errorf("%q + %q: %+v, want pass", c.signature, c.text, v)
			}
			continue
		}
		if v.Action != rules.Suppress || v.Rule != c.rule || len(v.Hits) != 1 {
			t.Errorf("%q + %q: %+v, want one hit of rule %s", c.signature, c.text, v, c.rule)
			continue
		}
		h := v.Hits[0]
		if h.Text != c.matched || h.Start != c.start || h.End != c.start+len([]rune(c.matched)) || h.Advice.Zh == "" || h.Advice.En == "" {
			t.Errorf("%q + %q: hit %+v, want %q at %d", c.signature, c.text, h, c.matched, c.start)
		}
	}
	if v := judge(g, "sms", name, "[甲][乙]丙〖丁〗"); len(v.Hits) != 3 {
		t.Errorf("three bracketed groups gave %+v", v.Hits)
	}
	if v := judge(g, "email", "", "【公告】【更正】"); v.Action != rules.Pass {
		t.Error("a mail has no signature to judge")
	}
	if v := judge(open(t, "{max: 4}"), "sms", "晨光物流站", "到站"); v.Rule != "10" {
		t.Error("max: 4 took five characters")
	}
}

func FuzzSpansAreInsideTheText(f *testing.F) {
	for _, s := range []string{"【a】b[c]", "[", "】【", "【【】", "\u200b[a]\u200b"} {
		f.Add(s)
	}
	g := open(f, "")
	f.Fuzz(func(t *testing.T, s string) {
		r, end := []rune(s), 0
		for _, h := range judge(g, "sms", "晨光物流", s).Hits {
			if h.Start < end || h.End <= h.Start || h.End > len(r) || string(r[h.Start:h.End]) != h.Text {
				t.Fatalf("hit %+v of %q", h, s)
			}
			end = h.End
		}
	})
}
