package parts

import (
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

func open(t testing.TB, section string) *Guard {
	t.Helper()
	return rulestest.Open(t, New, section, rules.Env{}).(*Guard)
}

func TestCount(t *testing.T) {
	zh := func(n int) string { return strings.Repeat("站", n) }
	en := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct {
		name, signature, text string
		abroad                bool
		want                  Parts
	}{
		{"nothing", "", "", false, Parts{0, 0, UCS2}},
		{"signature counts with its brackets", "晨光", zh(66), false, Parts{70, 1, UCS2}},
		{"one more is two parts", "晨光", zh(67), false, Parts{71, 2, UCS2}},
		{"two full parts", "", zh(134), false, Parts{134, 2, UCS2}},
		{"three", "", zh(135), false, Parts{135, 3, UCS2}},
		{"the longest", "", zh(500), false, Parts{500, 8, UCS2}},
		{"Latin letters count 1 in the mainland, too", "", en(71), false, Parts{71, 2, UCS2}},
		{"so do characters outside the BMP", "", strings.Repeat("𠮷", 70), false, Parts{70, 1, UCS2}},
		{"GSM alone", "", en(160), true, Parts{160, 1, GSM7}},
		{"GSM in parts", "", en(161), true, Parts{161, 2, GSM7}},
		{"two full parts of GSM", "", en(306), true, Parts{306, 2, GSM7}},
		{"three of GSM", "", en(307), true, Parts{307, 3, GSM7}},
		{"extension characters count 2", "", en(158) + "€", true, Parts{160, 1, GSM7}},
		{"and split", "", en(159) + "€", true, Parts{161, 2, GSM7}},
		{"a Latin signature stands in [ ] abroad", "YZ", en(154), true, Parts{160, 1, GSM7}},
		{"a Chinese one makes it UCS-2", "晨光", en(66), true, Parts{70, 1, UCS2}},
		{"UCS-2 abroad in parts", "", zh(71), true, Parts{71, 2, UCS2}},
		{"outside the BMP abroad", "", strings.Repeat("𠮷", 36), true, Parts{72, 2, UCS2}},
	} {
		if got := count(c.signature, c.text, c.abroad); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		section, phone string
		characters     int // of the text; the signature adds 4
		cut            int // 0 passes
	}{
		{"", "+8613800138000", 496, 0},
		{"", "+8613800138000", 497, 1},
		{"", "", 600, 104},
		{"{max: 1}", "", 66, 0},
		{"{max: 1}", "", 67, 1},
		{"{max: 2}", "", 130, 0},
		{"{max: 2}", "", 140, 10},
	} {
		in := rules.Input{Kind: "sms", Signature: "晨光", Delivery: &schemas.Delivery{
			To: schemas.Recipient{Phone: c.phone}, Message: schemas.Message{Text: strings.Repeat("站", c.characters)},
		}}
		v := open(t, c.section).Judge(in)
		if c.cut == 0 {
			if v.Action != rules.Pass || len(v.Hits) != 0 {
				t.Errorf("%+v: %+v, want pass", c, v)
			}
			continue
		}
		if v.Action != rules.Suppress || v.Rule != Rule || len(v.Hits) != 1 {
			t.Errorf("%+v: %+v, want one hit", c, v)
			continue
		}
		h := v.Hits[0]
		if h.End != c.characters || h.Start != c.characters-c.cut || h.StartByte != 3*h.Start || h.Text != "" {
			t.Errorf("%+v: hit %+v", c, h)
		}
		if in.Kind = "email"; open(t, c.section).Judge(in).Action != rules.Pass {
			t.Error("a mail has no parts")
		}
	}
	v := open(t, "{max: 2}").Judge(rules.Input{Kind: "sms", Delivery: &schemas.Delivery{Message: schemas.Message{Text: strings.Repeat("站", 140)}}})
	want := schemas.Text{
		Zh: "短信连同签名共 140 个字，计 3 条；上限为 134 个字（2 条），请至少删去 6 个字",
		En: "the SMS has 140 characters with its signature, that is 3 parts; the limit is 134 characters (parts: 2), cut at least 6",
	}
	if len(v.Hits) != 1 || v.Hits[0].Advice != want {
		t.Errorf("advice %+v", v.Hits)
	}
}

// TestCuttingAsToldIsEnough: who cuts as many characters as the advice says is not refused again.
func TestCuttingAsToldIsEnough(t *testing.T) {
	for _, text := range []string{strings.Repeat("a", 900), strings.Repeat("€", 400), strings.Repeat("𠮷", 400), strings.Repeat("站a", 300)} {
		for _, phone := range []string{"+8613800138000", "+14155550100"} {
			for _, section := range []string{"{max: 1}", "{max: 3}", "{}"} {
				g := open(t, section)
				in := rules.Input{Kind: "sms", Signature: "YZ", Delivery: &schemas.Delivery{To: schemas.Recipient{Phone: phone}, Message: schemas.Message{Text: text}}}
				for _, h := range g.Judge(in).Hits {
					in.Delivery.Message.Text = text[:h.StartByte]
				}
				if v := g.Judge(in); v.Action != rules.Pass {
					t.Errorf("%.9q to %s, %s: %+v", text, phone, section, v)
				}
			}
		}
	}
}

func TestPrice(t *testing.T) {
	g := open(t, "{price: 0.045}")
	for n, want := range map[int]string{1: "0.045", 2: "0.09", 0: "0", 1000: "45"} {
		if amount, currency, ok := g.Price(n); !ok || amount != want || currency != "CNY" {
			t.Errorf("%d parts: %s %s %v, want %s CNY", n, amount, currency, ok, want)
		}
	}
	if _, currency, _ := open(t, "{price: 1, currency: HKD}").Price(1); currency != "HKD" {
		t.Errorf("currency %s", currency)
	}
	if _, _, ok := open(t, "").Price(1); ok {
		t.Error("a price out of nowhere")
	}
}

func TestConfig(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"{max: 0}": "1..8", "{max: 9}": "1..8", "{price: 0}": "more than 0", "{price: -1}": "more than 0", "{price: 101}": "at most 100", "{price: .nan}": "want a number",
		"{price: 1, currency: 元}": "ISO 4217", "{price: much}": "want a number",
	})
}
