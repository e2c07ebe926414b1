package rules_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestCheckNamesWhatDoesNotExist(t *testing.T) {
	book, err := load(`
routes: [{name: r, send: [smz, mail], fallback: [fax]}]
guards: {daily_cap: {over: "divert:pigeon"}}
templates:
  a: {mial: {text: x}, sms: {subject: s, text: x}}
  b: {mail: {text: x}, webhook: {code: SMS_1, text: x}, email: {subject: s, code: c, text: x}}
  c: {sms: {html: x}, ops: {html: x}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := book.Channels(), []string{"fax", "mail", "mial", "ops", "pigeon", "smz"}; !slices.Equal(got, want) {
		t.Errorf("Channels = %v, want %v", got, want)
	}
	if book.DivertTo() != "pigeon" || len(book.Guards()) != 9 || len(book.Reservers()) != 2 {
		t.Errorf("divert %q, %d guards, %d reservers", book.DivertTo(), len(book.Guards()), len(book.Reservers()))
	}
	err = book.Check(kinds)
	for _, want := range []string{
		`[2:27] routes r, send: there is no channel "smz"; known are mail, ops, partner, sms`,
		`routes r, fallback: there is no channel "fax"`, `guards.daily_cap: there is no channel "pigeon"`,
		`templates.a: there is no channel "mial"`, "templates.a.sms: an SMS has no subject", "templates.b.mail: a mail needs a subject",
		"templates.b.webhook: code is for SMS only", "templates.b.email: code is for SMS only", "templates.c.sms: an SMS needs text", "templates.c.ops: a webhook message needs text",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// TestRenderRefuses: each refusal is an *schemas.Invalid that points at the place and repeats no value.
func TestRenderRefuses(t *testing.T) {
	const secret = "绝密"
	for name, c := range map[string]struct {
		text    string
		params  map[string]any
		pointer string
	}{
		"missing":             {"${a}", nil, "/data/params/a"},
		"missing under $":     {"{{range .l}}{{$.a}}{{end}}{{$.b}}", map[string]any{"l": []any{1.0}}, "/data/params/b"},
		"odd name":            {"{{.a}}", map[string]any{"b": 1}, "/data/params/a"},
		"missing on a branch": {"{{if .a}}{{.b}}{{end}}", map[string]any{"a": true}, "/data/template"},
		"not a date":          {`{{date "2006" .a}}`, map[string]any{"a": secret}, "/data/template"},
		"range over a number": {"{{range .a}}{{end}}", map[string]any{"a": 1e15}, "/data/template"},
		"too long":            {"{{range .a}}{{range $.a}}{{$.b}}{{end}}{{end}}", map[string]any{"a": make([]any, 200), "b": secret}, "/data/template"},
		"field of a string":   {"{{.a.b}}", map[string]any{"a": secret}, "/data/template"},
	} {
		book, err := load("templates: {t: {sms: {text: '" + c.text + "'}}}")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := &schemas.Event{Data: schemas.Data{Template: "t", Params: c.params}}
		_, err = book.Render(e, schemas.Recipient{}, "sms", "sms")
		invalid, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || invalid.Problems[0].Pointer != c.pointer || invalid.Problems[0].Zh == "" || strings.Contains(invalid.Problems[0].Zh+err.Error(), secret) {
			t.Errorf("%s: %v, want an Invalid at %s without values", name, err, c.pointer)
		}
	}
}

func TestRenderOptionalAndNamedByChannel(t *testing.T) {
	book, err := load(`templates: {t: {sms: {text: 'a{{with index . "x"}}{{.}}{{end}} $5 ${{.n}}'}, sms2: {text: b}}}`)
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{Data: schemas.Data{Template: "t", Params: map[string]any{"n": 1e6}}}
	for channel, want := range map[string]string{"sms": "a $5 $1000000", "sms2": "b", "sms3": "a $5 $1000000"} {
		m, err := book.Render(e, schemas.Recipient{}, channel, "sms")
		if err != nil || m.Text != want {
			t.Errorf("%s: %q, %v; want %q", channel, m.Text, err, want)
		}
	}
	if _, err := book.Render(e, schemas.Recipient{}, "mail", "email"); err == nil {
		t.Error("a mail without any text for it was rendered")
	}
}

func TestConditionIsBounded(t *testing.T) {
	for _, when := range []string{"len(1..100000000) > 1", "event.params.a", "len(map(1..9999, 1..9999)) > 0"} {
		book, err := load("routes: [{name: r, when: '" + when + "', send: [x]}]")
		if err != nil {
			continue // refused when loaded
		}
		if _, _, err := book.Route(&schemas.Event{Data: schemas.Data{Params: map[string]any{"a": "x"}}}); err == nil {
			t.Errorf("%s was evaluated", when)
		}
	}
	if _, err := load("routes: [{name: r, when: '" + strings.Repeat("true and ", 2000) + "true', send: [x]}]"); err == nil {
		t.Error("a condition of 4000 nodes was taken")
	}
}

type fixed rules.Verdict

func (f fixed) Judge(rules.Input) rules.Verdict { return rules.Verdict(f) }

func TestJudgeTakesTheStrongest(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	hit := func(s string) []schemas.Hit { return []schemas.Hit{{Rule: s}} }
	hold := func(h int, s string) rules.Guard {
		return fixed{Action: rules.Hold, Rule: s, Until: now.Add(time.Duration(h) * time.Hour), Hits: hit(s)}
	}
	stop := fixed{Action: rules.Suppress, Rule: "9", Hits: hit("9")}
	for _, c := range []struct {
		guards []rules.Guard
		rule   string
		hits   int
	}{
		{nil, "", 0},
		{[]rules.Guard{hold(1, "a"), hold(3, "b"), hold(2, "c")}, "b", 3},
		{[]rules.Guard{hold(1, "a"), stop, hold(3, "b")}, "9", 3},
	} {
		if v := rules.Judge(c.guards, rules.Input{Now: now}); v.Rule != c.rule || len(v.Hits) != c.hits {
			t.Errorf("%+v, want rule %q and %d hits", v, c.rule, c.hits)
		}
	}
}

func TestSMSTextsAreWhatTheProviderHolds(t *testing.T) {
	book, err := rules.Load([]byte(`templates:
  a: {sms: {code: SMS_1, params: [x, y], text: "您的${x}为{{.y}}"}}
  c: {sms: {codes: {tencent: "1234", huawei: 8ff5}, params: [x], text: "${x}"}}
  b: {sms: {code: SMS_2, params: [x], text: "{{if .x}}有{{end}}"}}
`), nil, nil, rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got := book.SMSTexts(); len(got) != 3 || got["SMS_1"] != "您的${x}为${y}" || got["1234"] != "${x}" || got["8ff5"] != "${x}" {
		t.Errorf("texts %q", got)
	}
	for provider, want := range map[string][]string{"aliyun": {"SMS_1", "SMS_2"}, "tencent": {"1234", "SMS_1", "SMS_2"}} {
		if got := book.Codes("sms", "sms", provider); !slices.Equal(got, want) {
			t.Errorf("codes at %s: %q, want %q", provider, got, want)
		}
	}
}

// TestKindsTravelWithTheMessage: what rules.yaml says of a variable is there when the message is judged.
func TestKindsTravelWithTheMessage(t *testing.T) {
	book, err := load("templates: {t: {sms: {code: SMS_1, codes: {tencent: '1234'}, params: [who, {sum: money}], text: '${who} ${sum}'}, mail: {subject: s, params: [{sum: money}], text: '${sum}'}}}")
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{Data: schemas.Data{Template: "t", Params: map[string]any{"who": "王芳", "sum": "一百"}}}
	m, err := book.Render(e, schemas.Recipient{}, "sms", "sms")
	if err != nil || m.Text != "王芳 一百" || len(m.Params) != 2 || !slices.Equal(m.ParamOrder, []string{"who", "sum"}) || m.Codes["tencent"] != "1234" || len(m.ParamKinds) != 1 || m.ParamKinds["sum"] != schemas.ParamMoney {
		t.Errorf("%+v, %v", m, err)
	}
	v := rules.Judge(book.Guards(), rules.Input{Kind: "sms", Signature: "晨光物流", Delivery: &schemas.Delivery{Message: m}})
	if v.Action != rules.Suppress || v.Rule != "variables" || v.Hits[0].Field != "params/sum" {
		t.Errorf("an amount that is none: %+v", v)
	}
	if m, err = book.Render(e, schemas.Recipient{}, "mail", "email"); err != nil || m.ParamKinds != nil {
		t.Errorf("a mail: %+v, %v", m, err)
	}
}
