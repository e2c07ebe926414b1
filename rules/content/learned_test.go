package content

import (
	"slices"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/content/score"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Messages like those that the model of these tests has learned under rules 4 and 1. No term is in them.
const (
	oddBet   = "松石岛夜里开船，船票凭单可取"
	oddOffer = "清风阁新茶上架，本月尝鲜从速"
)

// model learns messages without terms, so that only the score finds them.
func model(t *testing.T) []byte {
	t.Helper()
	var list []score.Example
	add := func(rules []int, first, second []string) {
		for _, a := range first {
			for _, b := range second {
				list = append(list, score.Example{Text: a + b, Rules: rules})
			}
		}
	}
	tails := []string{"", "。", "！", "，谢谢", "，再见", "，明天见"}
	add([]int{int(RuleGambling)}, []string{"松石岛夜里开船，", "松石岛傍晚开船，", "松石岛清早开船，"}, append([]string{"船票凭单可取"}, tails...))
	add([]int{int(RuleMarketing)}, []string{"清风阁新茶上架，", "清风阁春茶上架，", "清风阁秋茶上架，"}, append([]string{"本月尝鲜从速"}, tails...))
	add(nil, []string{"采购单待您审批", "会议改到下午三点", "设备已完成保养", "月度盘点于周五进行"}, tails)
	m, _, err := score.Train(t.Context(), list, score.Options{Seed: 1, FalsePositives: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	return m.Encode()
}

// scoring is a guard with the model.
func scoring(t *testing.T, file []byte, c Config) rules.Guard {
	t.Helper()
	c.Score = "score.bin"
	g, err := New(func(into any) error {
		*into.(*Config) = c
		return nil
	}, rules.Env{Read: func(name string) ([]byte, error) {
		if name == "score.bin" {
			return file, nil
		}
		return read(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestModelsKnowOurRules: a model names a rule by its place.
func TestModelsKnowOurRules(t *testing.T) {
	if !slices.Equal(score.Rules[:], ruleIDs[:ruleCount]) {
		t.Errorf("models have the rules %v, want %v", score.Rules, ruleIDs[:ruleCount])
	}
}

// TestLearned: what a model finds goes to review and is never stopped for it, whatever the settings and the class; where
// the rule is not judged, it is silent.
func TestLearned(t *testing.T) {
	file := model(t)
	as := func(in rules.Input, class Class) rules.Input {
		in.Class = string(class)
		return in
	}
	mail := sms("", nil)
	mail.Kind = "email"
	mail.Delivery.Message = schemas.Message{Subject: "通知", HTML: "<p>" + oddBet + "</p>"}
	for name, tt := range map[string]struct {
		config Config
		in     rules.Input
		rule   string
	}{
		"to review":                  {Config{}, sms(oddBet, nil), "4"},
		"marketing":                  {Config{}, as(sms(oddOffer, nil), ClassMarketingBlind), "1"},
		"marketing that is wanted":   {Config{}, as(sms(oddOffer, nil), ClassMarketingOptIn), ""},
		"the rule blocks":            {Config{Gambling: "block"}, sms(oddBet, nil), "4"},
		"the rule is not judged":     {Config{Gambling: "pass"}, sms(oddBet, nil), ""},
		"reviews are stopped":        {Config{Review: "suppress"}, sms(oddBet, nil), "4"},
		"a clean message":            {Config{}, sms("采购单待您审批，谢谢", nil), ""},
		"a variable alone":           {Config{}, sms("客户", map[string]string{"customer": oddBet}), ""},
		"HTML":                       {Config{}, mail, "4"},
		"a tenant with own lexicons": {Config{Tenants: map[string][]string{"huaxing": {"acme.txt"}}}, sms(oddBet, nil), "4"},
	} {
		t.Run(name, func(t *testing.T) {
			v := scoring(t, file, tt.config).Judge(tt.in)
			if v.Action != rules.Pass || v.Rule != tt.rule || (len(v.Hits) == 1) != (tt.rule != "") {
				t.Fatalf("action %d of rule %q, %+v; want rule %q to review", v.Action, v.Rule, v.Hits, tt.rule)
			}
			for _, h := range v.Hits {
				if h.Action != "review" || h.Text != "" || h.Term != "" || h.Via != "" || h.Origin != "" || h.Start >= h.End {
					t.Errorf("%+v", h)
				}
				if !strings.Contains(h.Advice.Zh, "规则 "+tt.rule+" ") || !strings.Contains(h.Advice.En, "rule "+tt.rule+",") {
					t.Errorf("advice %+v", h.Advice)
				}
			}
		})
	}
	for _, c := range append([]Class{ClassUnknown}, Classes...) {
		for _, text := range []string{oddBet, oddOffer} {
			if v := scoring(t, file, Config{Review: "suppress"}).Judge(as(sms(text, nil), c)); v.Action != rules.Pass {
				t.Errorf("%q as %q is stopped", text, c)
			}
		}
	}
}

// TestLearnedBesideTerms: a score takes nothing from what terms find, and adds nothing to it.
func TestLearnedBesideTerms(t *testing.T) {
	file := model(t)
	for _, text := range []string{oddBet + "，百家乐博彩平台", "百家乐博彩平台"} {
		if v := scoring(t, file, Config{}).Judge(sms(text, nil)); v.Action != rules.Suppress || v.Rule != "4" {
			t.Errorf("%q: action %d of rule %q", text, v.Action, v.Rule)
		}
	}
	// The judge that others share knows nothing of it.
	for _, text := range []string{oddBet, oddOffer} {
		if v := open(t, Config{}).Judge(sms(text, nil)); len(v.Hits) > 0 || v.Action != rules.Pass {
			t.Errorf("%q without a model: %+v", text, v)
		}
	}
}

// TestLearnedMistakes: a file that is missing or no model is told by its name, in both languages.
func TestLearnedMistakes(t *testing.T) {
	for name, want := range map[string]string{"absent.bin": "score absent.bin: ", "acme.txt": "not a model"} {
		_, err := New(rulestest.Section("{score: "+name+"}"), rules.Env{Read: read})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "score "+name) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
