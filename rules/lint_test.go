package rules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// words is a guard for tests: it says "block", "review" or "hold" of each of these words in the text.
type words map[string]string

func (w words) Judge(in rules.Input) rules.Verdict {
	var v rules.Verdict
	for _, field := range []struct{ name, text string }{{"text", in.Delivery.Message.Text}, {"subject", in.Delivery.Message.Subject}} {
		for word, action := range w {
			if before, _, ok := strings.Cut(field.text, word); ok {
				at := len([]rune(before))
				v.Hits = append(v.Hits, schemas.Hit{
					Rule: "5", Action: action, Field: field.name, Start: at, End: at + len([]rune(word)), Text: word,
				})
				switch {
				case action == "block":
					v.Action, v.Rule = rules.Suppress, "5"
				case action == "hold" && v.Action == rules.Pass:
					v.Action, v.Until = rules.Hold, in.Now.Add(time.Hour)
				}
			}
		}
	}
	return v
}

func (w words) Measure(in rules.Input) (rules.Size, bool) {
	n := len([]rune(in.Signature + in.Delivery.Message.Text))
	return rules.Size{Characters: n, Parts: 1 + n/70}, in.Kind == "sms"
}

func wordBook(t *testing.T, source string, w words) *rules.Book {
	t.Helper()
	book, err := rules.Load([]byte(source), map[string]rules.GuardFactory{
		"words": func(func(any) error, rules.Env) (rules.Guard, error) { return w, nil },
	}, nil, rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// TestLint: the strongest hit decides, hits come in the order of the message, and without a clock
// nothing waits.
func TestLint(t *testing.T) {
	book := wordBook(t, "", words{"放款": "block", "额度": "review", "夜里": "hold"})
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text, subject, kind string
		now                 time.Time
		action              string
		hits                string
	}{
		{"您的账单已到期", "", "sms", now, "pass", ""},
		{"您的额度已调整", "", "sms", now, "review", "额度"},
		{"额度高，当天放款", "", "sms", now, "block", "额度 放款"},
		{"放款，额度高", "夜里的额度", "email", now, "block", "夜里 额度 放款 额度"},
		{"夜里到货", "", "sms", now, "hold", "夜里"},
		{"夜里到货", "", "sms", time.Time{}, "pass", ""},
		{"夜里调整额度", "", "sms", now, "review", "夜里 额度"},
		{"夜里调整额度", "", "sms", time.Time{}, "review", "额度"},
	} {
		r := book.Lint(rules.Draft{Kind: c.kind, Signature: "华星", Message: schemas.Message{Text: c.text, Subject: c.subject}, Now: c.now}.Input())
		var hits []string
		for _, h := range r.Hits {
			hits = append(hits, h.Text)
		}
		if r.Action != c.action || strings.Join(hits, " ") != c.hits {
			t.Errorf("%s | %s: %s %v, want %s %q", c.subject, c.text, r.Action, hits, c.action, c.hits)
		}
		if (r.Size != nil) != (c.kind == "sms") || r.Size != nil && r.Size.Characters != len([]rune(c.text))+2 {
			t.Errorf("%s: size %+v", c.text, r.Size)
		}
	}
}

// TestLintIsJudge: what lint reports is what sending does, since both ask the same guards.
func TestLintIsJudge(t *testing.T) {
	book := wordBook(t, "", words{"放款": "block", "额度": "review"})
	for _, text := range []string{"", "额度", "放款", "放款额度"} {
		in := rules.Draft{Kind: "sms", Message: schemas.Message{Text: text}}.Input()
		v, r := rules.Judge(book.Guards(), in), book.Lint(in)
		if (v.Action == rules.Pass) != (r.Action != "block") || len(v.Hits) != len(r.Hits) {
			t.Errorf("%q: verdict %+v, report %+v", text, v, r)
		}
	}
}

// TestLintTemplates: every branch of a template is read, a value is not, and each provider and
// signature that would send it is asked.
func TestLintTemplates(t *testing.T) {
	book := wordBook(t, `
templates:
  plain: {sms: {text: "${a}，您的账单已到期"}}
  branch: {sms: {text: "{{if .a}}您好{{else}}{{with .b}}到期{{else}}当天放款{{end}}{{end}}"}}
  list: {mail: {subject: "额度", text: "{{range .rows}}{{.放款}}{{end}}"}, ops: {text: "{{$x := 1}}放款"}}
  parts: {sms: {text: "当天${a}放${b}款"}}
`, words{"放款": "block", "额度": "review"})
	channels := map[string]rules.Channel{
		"sms1": {Kind: "sms", Provider: "aliyun", Signature: "华星"}, "sms2": {Kind: "sms", Provider: "aliyun", Signature: "华星"},
		"sms3": {Kind: "sms", Provider: "tencent", Signature: "华星"}, "mail": {Kind: "email"}, "ops": {Kind: "webhook"},
	}
	var got []string
	for _, r := range book.LintTemplates(channels, rules.Draft{}) {
		got = append(got, r.Template+" "+r.For+" "+r.Channel+" "+r.Action)
		if r.Line == 0 || r.Column == 0 {
			t.Errorf("%s has no place", r.Template)
		}
		if r.Template == "branch" && r.Message.Text != "当天放款" {
			t.Errorf("judged %q", r.Message.Text)
		}
		if r.Template == "plain" && (r.Message.Text != "某某某某，您的账单已到期" || r.Size.Characters != 14) {
			t.Errorf("judged %q, %+v", r.Message.Text, r.Size)
		}
	}
	want := []string{
		"branch sms sms1 block", "branch sms sms3 block", "list mail mail review", "list ops ops block",
		"parts sms sms1 pass", "parts sms sms3 pass", "plain sms sms1 pass", "plain sms sms3 pass",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRuleNames: every rule has a name in both languages, no id stands for two.
func TestRuleNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules.Rules() {
		if seen[r.ID] || r.Zh == "" || r.En == "" || rules.RuleName(r.ID) != r.Text {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "x"} {
		if !seen[id] {
			t.Errorf("rule %s has no name", id)
		}
	}
	if got := rules.RuleName("required"); got.Zh != "required" {
		t.Errorf("an unknown id is %q", got.Zh)
	}
	if rules.FieldName("params/remark").Zh != "变量 remark" || rules.DisguiseName("gap").Zh == "gap" {
		t.Error("words are missing")
	}
}

// TestDecisiveHitsComeFirst: a message that waits for the morning is explained by the quiet hours, though another rule
// that only asks for a look was heard first; and one that a rule suppresses for a look, by that rule.
func TestDecisiveHitsComeFirst(t *testing.T) {
	for _, tt := range []struct{ rule, hits, want string }{
		{"quiet-hours", "7 review, quiet-hours hold", "quiet-hours hold, 7 review"},
		{"7", "1 review, 7 review, 9 block, 7 block", "7 block, 7 review, 9 block, 1 review"},
		{"7", "1 review, 7 review", "7 review, 1 review"},
		{"", "1 review, 7 review", "1 review, 7 review"},
		{"too-old", "1 review, 7 block", "7 block, 1 review"},
	} {
		var hits []schemas.Hit
		for s := range strings.SplitSeq(tt.hits, ", ") {
			rule, action, _ := strings.Cut(s, " ")
			hits = append(hits, schemas.Hit{Rule: rule, Action: action})
		}
		var got []string
		for _, h := range rules.DecisiveFirst(hits, tt.rule) {
			got = append(got, h.Rule+" "+h.Action)
		}
		if s := strings.Join(got, ", "); s != tt.want || hits[0].Rule+" "+hits[0].Action != strings.Split(tt.hits, ", ")[0] {
			t.Errorf("%s of %s: %s, want %s", tt.rule, tt.hits, s, tt.want)
		}
	}
}
