package characters

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func judge(g rules.Guard, phone, text string) rules.Verdict {
	return g.Judge(rules.Input{Kind: "sms", Delivery: &schemas.Delivery{To: schemas.Recipient{Phone: phone}, Message: schemas.Message{Text: text}}})
}

func TestJudge(t *testing.T) {
	g := open(t, "")
	for _, c := range []struct {
		text, matched, zh string // "" passes; zh is part of the advice
		start             int
	}{
		{"您的订单 SO-2026-18 已发货，金额 ¥1,200.00（含税），3×4=12，冷库 -18℃。", "", "", 0},
		{"《采购合同》“已归档”——请查收……\n谢谢", "", "", 0},
		{"陈喆、朱镕先生：于女士、𠮷田先生已签收，乾坤大厦", "", "", 0},
		{"English, café, Ünal", "", "", 0},
		{"★限时★", "★", "1、2、3、", 0},
		{"※以上为准", "※", "特殊符号", 0},
		{"办公室→仓库", "→", "至", 3},
		{"●已审批", "●", "特殊符号", 0},
		{"•已审批", "•", "特殊符号", 0},
		{"共①②两项", "①②", "“12”", 1},
		{"附⑴", "⑴", "“1”", 1},
		{"面积88m²", "²", "平方米", 5},
		{"面积88㎡", "㎡", "“m2”", 4},
		{"合同『甲』", "『", "《》", 2},
		{"合同「甲", "「", "《》", 2},
		{"合同〗", "〗", "《》", 2},
		{"您的訂單已發貨", "訂單", "“订单”", 2},
		{"庫存預警", "庫", "“库”", 0},
		{"完成👨\u200d👩\u200d👧了", "👨\u200d👩\u200d👧", "表情", 2},
		{"完成1\ufe0f\u20e3", "\ufe0f\u20e3", "表情", 3},
		{"订\u200b单", "\u200b", "看不见", 1},
		{"订\x07单", "\x07", "看不见", 1},
		{"订\ufffd单", "\ufffd", "乱码", 1},
		{"订\ue000单", "\ue000", "乱码", 1},
	} {
		v := judge(g, "+8613800138000", c.text)
		if c.matched == "" {
			if len(v.Hits) != 0 {
				t.Errorf("%q: %+v, want pass", c.text, v.Hits)
			}
			continue
		}
		if len(v.Hits) == 0 || v.Action != rules.Pass {
			t.Errorf("%q: %+v, want a hit for review", c.text, v)
			continue
		}
		h := v.Hits[0]
		if h.Rule != Rule || h.Action != "review" || h.Text != c.matched || h.Start != c.start || h.End != c.start+utf8.RuneCountInString(h.Text) ||
			c.text[h.StartByte:h.EndByte] != h.Text || !strings.Contains(h.Advice.Zh, c.zh) || h.Advice.En == "" || strings.Contains(h.Advice.En, "%") {
			t.Errorf("%q: hit %+v, want %q at %d with %q", c.text, h, c.matched, c.start, c.zh)
		}
	}
	if v := judge(g, "+85291234567", "您的訂單已發貨★"); len(v.Hits) != 0 {
		t.Errorf("traditional characters to Hong Kong: %+v", v.Hits)
	}
	if v := judge(g, "", strings.Repeat("★ ", 100)); len(v.Hits) != maxHits {
		t.Errorf("%d hits", len(v.Hits))
	}
}

func TestSection(t *testing.T) {
	if v := judge(open(t, "block"), "", "★"); v.Action != rules.Suppress || v.Rule != Rule {
		t.Errorf("block: %+v", v)
	}
	if v := judge(open(t, "pass"), "", "★"); len(v.Hits) != 0 {
		t.Errorf("pass: %+v", v)
	}
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"stop": "want block, review or pass", "{action: block}": "want a string", "5": "want a string",
	})
}

// TestOrigin: a hit says whether the template or which variable is to be mended.
func TestOrigin(t *testing.T) {
	v := open(t, "").Judge(rules.Input{Kind: "sms", Delivery: &schemas.Delivery{Message: schemas.Message{
		Text: "※客户華星的订单※已发货", Params: map[string]string{"customer": "華星", "order": "SO-1"},
	}}})
	var got []string
	for _, h := range v.Hits {
		got = append(got, h.Text+" "+h.Origin)
	}
	if s := strings.Join(got, ", "); s != "※ template, 華 params/customer, ※ template" {
		t.Error(s)
	}
}

// TestSimplified: no simplified form is itself told to be traditional, and characters that the mainland's own
// standard has (many of them in names) are not.
func TestSimplified(t *testing.T) {
	m := simplified()
	if len(m) < 2500 {
		t.Fatalf("%d characters", len(m))
	}
	for from, to := range m {
		if m[to] != 0 || from == to {
			t.Errorf("%c becomes %c", from, to)
		}
	}
	for _, r := range "喆堃淼镕昇瑄乾於著藉" {
		if m[r] != 0 {
			t.Errorf("%c becomes %c", r, m[r])
		}
	}
}

func FuzzSpansAreInsideTheText(f *testing.F) {
	for _, s := range []string{"★", "👨\u200d👩\u200d👧", "訂單", "\u200b", "\xff"} {
		f.Add(s)
	}
	g := open(f, "")
	f.Fuzz(func(t *testing.T, s string) {
		end := 0
		for _, h := range judge(g, "", s).Hits {
			if h.Start < end || h.End <= h.Start || h.End > utf8.RuneCountInString(s) || s[h.StartByte:h.EndByte] != h.Text {
				t.Fatalf("hit %+v of %q", h, s)
			}
			end = h.End
		}
	})
}
