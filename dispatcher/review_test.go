package dispatcher_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// words is a guard in the test's hands: 贷款 is blocked, 额度 is for a person to look at.
type words struct{}

func (words) Judge(in rules.Input) rules.Verdict {
	var v rules.Verdict
	origin := "params/name"
	if len(in.Delivery.Message.Params) == 0 {
		origin = "template" // as the content rules say it of a mail
	}
	for word, action := range map[string]string{"贷款": "block", "额度": "review"} {
		if before, _, ok := strings.Cut(in.Delivery.Message.Text, word); ok {
			at := len([]rune(before))
			v.Hits = append(v.Hits, schemas.Hit{
				Rule: "5", Action: action, Field: "text", Start: at, End: at + 2, Text: word, Origin: origin, Advice: schemas.Text{Zh: "删去", En: "drop it"},
			})
			if action == "block" {
				v.Action, v.Rule = rules.Suppress, "5"
			}
		}
	}
	return v
}

// doubts is a guard that suppresses what it only asks to look at, as guards.content.review: suppress does, and 宵禁
// without a word.
type doubts struct{}

func (doubts) Judge(in rules.Input) rules.Verdict {
	v := words{}.Judge(in)
	if strings.Contains(in.Delivery.Message.Text, "宵禁") {
		return rules.Verdict{Action: rules.Suppress, Rule: "quiet-hours", Hits: v.Hits}
	}
	if len(v.Hits) > 0 {
		v.Action, v.Rule = rules.Suppress, "5"
		v.Hits = append([]schemas.Hit{{Rule: "link", Action: "review", Field: "text"}}, v.Hits...)
	}
	return v
}

func (r *rig) useWords(text string) { r.t.Helper(); r.useGuard(text, words{}) }

func (r *rig) useGuard(text string, g rules.Guard) {
	r.t.Helper()
	bk, err := rules.Load([]byte(text), map[string]rules.GuardFactory{
		"words": func(func(any) error, rules.Env) (rules.Guard, error) { return g, nil },
	}, nil, rules.Env{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.SetBook(bk)
}

// ruleHits reads the counter as Prometheus does.
func ruleHits(t *testing.T, rule, action string) int {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	_, after, ok := strings.Cut(w.Body.String(), `yizhan_rule_hits_total{action="`+action+`",rule="`+rule+`"} `)
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func named(name string) string {
	return strings.Replace(wang, `{"name":"王芳"}}`, `{"name":"`+name+`"}}`, 1)
}

// TestWhatAPersonShouldLookAtIsKept: a review goes out and its story says why somebody should look,
// also when the third party's yes came late; a block does not go out.
func TestWhatAPersonShouldLookAtIsKept(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.useWords(book)
		reviews, blocks := ruleHits(t, "5", "review"), ruleHits(t, "5", "block")
		r.publish("login.code", "look", named("额度"))
		r.publish("login.code", "stop", named("贷款额度"))
		s := r.story("look", time.Second)
		r.want(s, "sms accepted 1")
		last := s.Deliveries[0].History[len(s.Deliveries[0].History)-1].Note
		if len(s.Deliveries[0].Review) != 1 || !strings.Contains(last, `sent although a rule asks for a look: ⑤ securities, loans, debt collection: "额度" (text, characters 3–4), from the parameter name`) {
			t.Errorf("%+v\n%s", s.Deliveries[0].Review, last)
		}
		s = r.story("stop", time.Second)
		r.want(s, "sms suppressed 0")
		if c := s.Deliveries[0].Cause; c == nil || c.Code != "rule-5" || len(c.Hits) != 2 || c.Hits[0].Text != "贷款" || c.Hits[0].Origin != "params/name" { // what decided stands first
			t.Errorf("%+v", c)
		}
		if got := ruleHits(t, "5", "review") - reviews; got != 2 { // one sent, one beside the block
			t.Errorf("%v reviews counted", got)
		}
		if got := ruleHits(t, "5", "block") - blocks; got != 1 {
			t.Errorf("%v blocks counted", got)
		}

		r.sms.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Class: channels.Temporary, Maybe: true}
		}
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{Found: true, State: schemas.Accepted}, nil
		}
		r.publish("login.code", "late", named("额度"))
		s = r.story("late", time.Hour)
		r.want(s, "sms accepted 1")
		history := s.Deliveries[0].History
		if len(s.Deliveries[0].Review) != 1 || !strings.Contains(history[len(history)-1].Note, "asks for a look") {
			t.Errorf("%+v", s.Deliveries[0])
		}
		for _, c := range history {
			if c.State == schemas.Uncertain && strings.Contains(c.Note, "sent although") {
				t.Errorf("says sent of what nobody knows: %s", c.Note)
			}
		}
	})
}

// TestASuppressedReviewIsExplained: what a rule suppresses though it only asks to look at it is explained by that rule,
// whatever other rules found before it.
func TestASuppressedReviewIsExplained(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.useGuard(book, doubts{})
		r.publish("login.code", "doubt", named("额度"))
		s := r.story("doubt", time.Second)
		r.want(s, "sms suppressed 0")
		if c := s.Deliveries[0].Cause; c == nil || c.Code != "rule-5" || c.RemedyEn != "drop it" || len(c.Hits) != 2 || c.Hits[0].Rule != "5" {
			t.Errorf("%+v", c)
		}
	})
}

// refusalRig is a dispatcher that only plans.
func refusalRig(t *testing.T) *rig {
	r := &rig{t: t}
	r.sms = &far{traits: channels.Traits{Kind: "sms", Address: channels.Phone, Signature: "华星科技"}}
	r.mail = &far{traits: channels.Traits{Kind: "email", Address: channels.Email}}
	r.Dispatcher = &dispatcher.Dispatcher{
		Channels: map[string]channels.Channel{"sms": r.sms, "mail": r.mail},
		Explain:  func(f *channels.Failure) channels.Diagnosis { return channels.Diagnosis{Class: channels.Content} },
	}
	return r
}

func invoice(t *testing.T, data string) *schemas.Event {
	t.Helper()
	e, err := schemas.DecodeEvent([]byte(`{"specversion":"1.0","id":"a","source":"/erp","type":"invoice","tenant":"acme","data":` + data + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWhatIsSuppressedIsRefused: also where no hit blocks: the rule's own hits are told, or else the rule.
func TestWhatIsSuppressedIsRefused(t *testing.T) {
	r := refusalRig(t)
	r.useGuard("publish: refuse"+book, doubts{})
	for name, want := range map[string]string{
		"额度":   "/data/params/name rule-5",
		"贷款":   "/data/params/name rule-5",
		"宵禁额度": "/data/template rule-quiet-hours",
		"王芳":   "",
	} {
		e := invoice(t, `{"category":"notification","channels":["sms"],"to":[{"phone":"13800138000"}],"template":"hello","params":{"name":"`+name+`"}}`)
		var got []string
		for _, p := range r.Refusals(e, time.Now()) {
			got = append(got, p.Pointer+" "+p.Keyword)
			if p.Zh == "" || p.En == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

// TestRefusals: with publish: refuse the producer is told where in the event the forbidden words
// stand, once however many people would get them; what a person should look at is no reason to refuse.
func TestRefusals(t *testing.T) {
	r := refusalRig(t)
	two := `{"category":"notification","to":[{"phone":"13800138000"},{"phone":"13900139000","email":"a@example.com"}],`
	mail := `{"category":"notification","channels":["mail"],"to":[{"email":"a@example.com"}],`
	for _, c := range []struct {
		publish, data string
		pointers      []string
	}{
		{"refuse", two + `"template":"hello","params":{"name":"贷款"}}`, []string{"/data/params/name"}},
		{"refuse", two + `"template":"hello","params":{"name":"额度"}}`, nil},
		{"refuse", two + `"template":"hello","params":{"name":"王芳"}}`, nil},
		// A mail carries no parameters: the one that holds the words is sought, and SMS and mail are told once.
		{"refuse", mail + `"template":"hello","params":{"name":"贷款","note":"额度"}}`, []string{"/data/params/name"}},
		{"refuse", mail + `"template":"hello","params":{"name":"贷款","note":"贷款"}}`, []string{"/data/template"}},
		{"refuse", mail + `"template":"loan","params":{"name":"王芳"}}`, []string{"/data/template"}},
		{"accept", two + `"template":"hello","params":{"name":"贷款"}}`, nil},
	} {
		r.useWords("publish: " + c.publish + book + `  loan: {mail: {subject: "你好", text: "贷款 {{.name}}"}}` + "\n")
		var got []string
		for _, p := range r.Refusals(invoice(t, c.data), time.Now()) {
			got = append(got, p.Pointer)
			if p.Keyword != "rule-5" || !strings.Contains(p.Zh, "⑤") || !strings.Contains(p.Zh, "建议：删去") || !strings.Contains(p.En, "Advice: drop it") {
				t.Errorf("%+v", p)
			}
		}
		if strings.Join(got, " ") != strings.Join(c.pointers, " ") {
			t.Errorf("%s %s: %v, want %v", c.publish, c.data, got, c.pointers)
		}
	}
}
