package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// maxLintBody bounds a text to be judged, with all that is said of it.
const maxLintBody = 256 << 10

// lintRequest is a message that its author wants judged before anybody sends it: ready text, or a
// template of rules.yaml and its values.
type lintRequest struct {
	Text      string           `json:"text"`
	Subject   string           `json:"subject"`
	HTML      string           `json:"html"`
	Kind      string           `json:"kind"` // sms, email, webhook; default email with subject or html, else sms
	Signature string           `json:"signature"`
	Provider  string           `json:"provider"`
	Class     string           `json:"class"`
	Category  schemas.Category `json:"category"`
	Tenant    string           `json:"tenant"`
	Template  string           `json:"template"`
	Params    map[string]any   `json:"params"`
}

// lint judges a text by the rules in force. Nothing is stored, counted or sent, and no time is meant: quiet
// hours and expiry are not judged. Any key may ask.
func (s *server) lint(w *answer, r *http.Request) error {
	if err := onlyJSON(r.Header); err != nil {
		return err
	}
	who, body, done, err := s.enter(w, r, want{body: maxLintBody})
	if err != nil {
		return err
	}
	defer done()
	q, err := decodeLint(body)
	if err != nil {
		return err
	}
	book := s.book()
	if book == nil {
		return unavailable()
	}
	if q.Tenant, err = who.judgedAs(q.Tenant); err != nil {
		return err
	}
	if problems := q.check(s.cfg.Tenants); problems != nil {
		return invalid(problems)
	}
	in, err := q.input(book)
	if err != nil {
		return err
	}
	report := book.Lint(in)
	if report.Hits == nil {
		report.Hits = []schemas.Hit{}
	}
	writeJSON(w, http.StatusOK, mediaJSON, report)
	return nil
}

func decodeLint(body []byte) (*lintRequest, error) {
	var q lintRequest
	if err := json.Unmarshal(body, &q, json.RejectUnknownMembers(true)); err != nil {
		return nil, badMember(err, "text, subject, html, kind, signature, provider, class, category, tenant, template, params")
	}
	return &q, nil
}

// check holds the members against what they may say, and sets the default kind.
func (q *lintRequest) check(tenants []string) (problems []schemas.Problem) {
	fail := func(pointer, keyword, zh, en string, args ...any) {
		problems = append(problems, schemas.Problem{Pointer: pointer, Keyword: keyword, Text: text(zh, en, args...)})
	}
	ready := q.Text + q.Subject + q.HTML
	switch {
	case q.Template == "" && ready == "":
		fail("/text", "required", "缺少要检查的内容：text、subject、html 或 template", "there is nothing to judge: give text, subject, html or template")
	case q.Template != "" && ready != "":
		fail("/template", "conflict", "template 不能与 text、subject、html 同时使用", "template does not go with text, subject or html")
	}
	if q.Kind == "" {
		if q.Kind = "sms"; q.Subject+q.HTML != "" {
			q.Kind = "email"
		}
	}
	for _, f := range []struct {
		name, value string
		known       []string
	}{
		{"kind", q.Kind, []string{"sms", "email", "webhook"}}, {"provider", q.Provider, rules.Providers()}, {"class", q.Class, rules.Classes},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			fail("/"+f.name, "enum", "只能是 %s 之一", "must be one of %s", strings.Join(f.known, ", "))
		}
	}
	if q.Category != "" && !slices.Contains(schemas.Categories, q.Category) {
		fail("/category", "enum", "只能是 verification、notification、marketing 或 alert", "must be verification, notification, marketing or alert")
	}
	if q.Tenant != "" && !slices.Contains(tenants, q.Tenant) {
		problems = append(problems, unknownTenant("/tenant"))
	}
	return problems
}

// input is the message as the guards see it.
func (q *lintRequest) input(book *rules.Book) (rules.Input, error) {
	d := rules.Draft{Kind: q.Kind, Provider: q.Provider, Signature: q.Signature, Class: q.Class, Category: q.Category, Tenant: q.Tenant}
	if q.Template == "" {
		d.Message = schemas.Message{Text: q.Text, Subject: q.Subject, HTML: q.HTML}
		for name, v := range q.Params {
			if d.Message.Params == nil {
				d.Message.Params = map[string]string{}
			}
			d.Message.Params[name] = paramText(v)
		}
		return d.Input(), nil
	}
	e := &schemas.Event{Tenant: cmp.Or(q.Tenant, schemas.DefaultTenant)}
	e.Data = schemas.Data{Category: q.Category, Template: q.Template, Params: q.Params}
	m, err := book.Render(e, schemas.Recipient{}, "", q.Kind)
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok { // its pointers are those of an event
		problems := slices.Clone(bad.Problems)
		for i := range problems {
			problems[i].Pointer = strings.TrimPrefix(problems[i].Pointer, "/data")
		}
		return rules.Input{}, invalid(problems)
	}
	d.Message = m
	return d.Input(), err
}

// paramText writes a value as rendering does: a number as people write it, 13800138000, not 1.3800138e+10.
func paramText(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}
