package rules

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of what rendering may produce, in bytes. A provider's own limits are far below the first
// (500 characters an SMS); the second leaves room in the broker's 1 MiB for all the rest.
const (
	maxText    = 20_000
	maxSubject = 1_000
	maxHTML    = 512_000
	maxPayload = 512_000
)

// Payload is the data of a webhook message: what happened, never how to reach the person told.
type Payload struct {
	Event    PayloadEvent     `json:"event"`
	Category schemas.Category `json:"category"`
	Params   map[string]any   `json:"params,omitzero"`
	Content  *schemas.Content `json:"content,omitzero"` // the event's ready text, or what the template made
	To       PayloadTo        `json:"to"`
	// Attachments are https and http references; the receiver fetches what it wants. Where our own storage
	// keeps a file is not told.
	Attachments []schemas.Attachment `json:"attachments,omitzero"`
}

// PayloadEvent names the event in a [Payload].
type PayloadEvent struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Type   string    `json:"type"`
	Time   time.Time `json:"time,omitzero"`
	Tenant string    `json:"tenant,omitzero"`
}

// PayloadTo is the recipient in a [Payload], without number and address.
type PayloadTo struct {
	Name string   `json:"name,omitzero"`
	Tags []string `json:"tags,omitzero"`
}

// Render makes the message of an event for one recipient over one channel. The template's text is
// looked up by the channel's name, then by its kind; the event's content, when it has one, is
// used as it is (for SMS only its text). A webhook message always has a [Payload] and needs no
// text. Templates see the event's parameters by name, and .to and .event.
//
// The error is a [*schemas.Invalid]: no retry can cure it, a changed event or rules.yaml can.
func (b *Book) Render(e *schemas.Event, to schemas.Recipient, channel, kind string) (schemas.Message, error) {
	var m schemas.Message
	var problem *schemas.Problem
	switch {
	case e.Data.Content != nil:
		m, problem = fromContent(e.Data.Content, kind)
	case e.Data.Template != "":
		m, problem = b.fromTemplate(e, to, channel, kind)
	case kind != kindWebhook:
		p := problemf("/data", "required", "事件既没有 template 也没有 content", "the event has neither template nor content")
		problem = &p
	}
	switch {
	case problem != nil:
	case kind == kindWebhook:
		problem = addPayload(&m, e, to)
	}
	if problem != nil {
		return schemas.Message{}, &schemas.Invalid{Problems: []schemas.Problem{*problem}}
	}
	return m, nil
}

// attach gives a mail the event's attachments. What the channel fetches goes with the mail, and so does what
// nobody outside could open: the channel says then what is missing. Of the rest the recipient gets the
// links, here, where the guards judge them with the text.
func attach(m *schemas.Message, attachments []schemas.Attachment, fetched string) {
	text, list := "", ""
	for _, a := range attachments {
		if !a.Linkable() || slices.Contains(strings.Fields(fetched), a.Scheme()) {
			m.Attachments = append(m.Attachments, a)
			continue
		}
		text += a.Name + ": " + a.URL + "\n"
		list += `<li><a href="` + template.HTMLEscapeString(a.URL) + `">` + template.HTMLEscapeString(a.Name) + "</a></li>"
	}
	if text == "" {
		return
	}
	if m.Text != "" {
		m.Text += "\n\n附件 / Attachments:\n" + text
	}
	if m.HTML != "" {
		m.HTML += "<p>附件 / Attachments:</p><ul>" + list + "</ul>"
	}
}

func fromContent(c *schemas.Content, kind string) (schemas.Message, *schemas.Problem) {
	m := schemas.Message{Text: c.Text}
	if kind != kindSMS {
		m.Subject, m.HTML = c.Subject, c.HTML
	}
	required := func(field string) (schemas.Message, *schemas.Problem) {
		p := problemf("/data/content/"+field, "required", "缺少 %s 通道所需的 %s", "a message over %s needs %s", kind, field)
		return schemas.Message{}, &p
	}
	switch {
	case kind == kindSMS && m.Text == "":
		return required("text")
	case kind == kindEmail && m.Text == "" && m.HTML == "":
		return required("text")
	case kind == kindEmail && m.Subject == "":
		return required("subject")
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{{"subject", m.Subject, maxSubject}, {"text", m.Text, maxText}, {"html", m.HTML, maxHTML}} {
		if len(f.value) > f.limit {
			p := problemf("/data/content/"+f.name, "maxLength", "%s 超过 %d 字节", "%s is longer than %d bytes", f.name, f.limit)
			return m, &p
		}
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		p := problemf("/data/content/subject", "format", "主题不能包含换行", "a subject is one line")
		return m, &p
	}
	return m, nil
}

func (b *Book) fromTemplate(e *schemas.Event, to schemas.Recipient, channel, kind string) (schemas.Message, *schemas.Problem) {
	name := e.Data.Template
	m := schemas.Message{Template: name}
	set, ok := b.templates[name]
	if !ok {
		p := noTemplate(name)
		return m, &p
	}
	t := set.find(channel, kind)
	if t == nil {
		if kind == kindWebhook {
			return m, nil
		}
		p := problemf("/data/template", "template", "模板 %q 没有适用于通道 %s（%s）的内容", "template %q has no text for channel %s (%s)", name, channel, kind)
		return m, &p
	}
	data := dataOf(e, to)
	for _, need := range t.needs {
		if _, ok := data[need]; !ok {
			p := missingParam(name, need)
			return m, &p
		}
	}
	m.Code, m.Codes = t.code, maps.Clone(t.codes)
	if kind == kindSMS && len(t.params) > 0 {
		m.ParamKinds = maps.Clone(t.kinds)
		if len(t.params) > 1 {
			m.ParamOrder = slices.Clone(t.params)
		}
		m.Params = make(map[string]string, len(t.params))
		for _, p := range t.params {
			value, ok := smsValue(data[p])
			if !ok {
				p := problemf(paramPointer(p), "type", "短信模板参数只能是字符串、数字或布尔值", "a parameter of an SMS template is a string, a number or a boolean")
				return m, &p
			}
			m.Params[p] = value
		}
	}
	for _, f := range []struct {
		name  string
		exec  executor
		into  *string
		limit int
	}{{"subject", t.subject, &m.Subject, maxSubject}, {"text", t.text, &m.Text, maxText}, {"html", t.html, &m.HTML, maxHTML}} {
		if f.exec == nil {
			continue
		}
		out := bounded{limit: f.limit}
		if err := f.exec.Execute(&out, data); err != nil {
			p := cannotRender(name, f.name, f.limit, err)
			return m, &p
		}
		*f.into = out.String()
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		// A line break would let a parameter add header lines of its own (RFC 5322 §2.2).
		p := problemf("/data/template", "format", "模板 %q 生成的主题包含换行，请检查参数", "the subject that template %q makes has a line break; look at the parameters", name)
		return m, &p
	}
	return m, nil
}

func addPayload(m *schemas.Message, e *schemas.Event, to schemas.Recipient) *schemas.Problem {
	p := Payload{
		Event:    PayloadEvent{e.ID, e.Source, e.Type, e.Time, e.Tenant},
		Category: e.Data.Category,
		Params:   e.Data.Params,
		Content:  e.Data.Content,
		To:       PayloadTo{to.Name, to.Tags},

		Attachments: slices.DeleteFunc(slices.Clone(e.Data.Attachment), func(a schemas.Attachment) bool { return !a.Linkable() }),
	}
	if p.Content == nil && m.Text != "" {
		p.Content = &schemas.Content{Subject: m.Subject, Text: m.Text, HTML: m.HTML}
	}
	b, err := json.Marshal(p, json.Deterministic(true)) // the same event signs to the same bytes
	if err != nil {
		bad := problemf("/data/params", "type", "参数无法编码为 JSON", "the parameters cannot be written as JSON")
		return &bad
	}
	if len(b) > maxPayload {
		bad := problemf("/data", "maxLength", "消息体超过 %d 字节", "the payload is longer than %d bytes", maxPayload)
		return &bad
	}
	m.Payload = b
	return nil
}

// dataOf is what templates see. A parameter that is null is as good as absent.
func dataOf(e *schemas.Event, to schemas.Recipient) map[string]any {
	data := plainMap(e.Data.Params)
	data["to"] = map[string]any{"name": to.Name, "locale": to.Locale}
	event := map[string]any{"id": e.ID, "type": e.Type, "source": e.Source, "subject": e.Subject}
	if !e.Time.IsZero() {
		event["time"] = e.Time.Format(time.RFC3339)
	}
	data["event"] = event
	return data
}

// number prints as people write it: 1234567.5, not 1.2345675e+06. It stays a float for printf and
// comparisons, and cannot be ranged over, so that no event makes a template run for ever.
type number float64

func (n number) String() string { return strconv.FormatFloat(float64(n), 'f', -1, 64) }

func plain(v any) any {
	switch v := v.(type) {
	case float64:
		return number(v)
	case int:
		return number(v)
	case int64:
		return number(v)
	case uint64:
		return number(v)
	case map[string]any:
		return plainMap(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case nil:
		return ""
	default: // string, bool
		return v
	}
}

func plainMap(in map[string]any) map[string]any {
	out := make(map[string]any, len(in)+2)
	for k, v := range in {
		if v != nil {
			out[k] = plain(v)
		}
	}
	return out
}

func smsValue(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}

var errTooLong = errors.New("too long")

// bounded is a buffer that refuses to grow beyond its limit.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

func cannotRender(name, field string, limit int, err error) schemas.Problem {
	if errors.Is(err, errTooLong) {
		return problemf("/data/template", "maxLength", "模板 %q 的 %s 生成的内容超过 %d 字节", "the %[2]s of template %[1]q is longer than %[3]d bytes", name, field, limit)
	}
	// The library's words name the place in the template and types, not values.
	return problemf("/data/template", "template", "模板 %q 的 %s 无法生成：%v", "the %[2]s of template %[1]q cannot be rendered: %[3]v", name, field, err)
}

func noTemplate(name string) schemas.Problem {
	return problemf("/data/template", "unknown", "模板 %q 不存在", "there is no template %q", name)
}

func missingParam(template, name string) schemas.Problem {
	return problemf(paramPointer(name), "required", "缺少模板 %q 需要的参数 %q", "template %q needs the parameter %q", template, name)
}

func paramPointer(name string) string {
	return "/data/params/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// Codes lists the template codes of the provider that the templates name for a channel of that kind, sorted.
func (b *Book) Codes(channel, kind, provider string) []string {
	codes := map[string]bool{}
	for _, set := range b.templates {
		t := set.find(channel, kind)
		if t == nil {
			continue
		}
		if code := cmp.Or(t.codes[provider], t.code); code != "" {
			codes[code] = true
		}
	}
	return slices.Sorted(maps.Keys(codes))
}

// HasText says whether a template has a text for a channel of that kind. Webhooks need none.
func (b *Book) HasText(template, channel, kind string) bool {
	set, ok := b.templates[template]
	return ok && (kind == kindWebhook || set.find(channel, kind) != nil)
}

// Templates lists the names of the templates and, for each, the channels and kinds it has texts for.
func (b *Book) Templates() map[string][]string {
	out := make(map[string][]string, len(b.templates))
	for name, set := range b.templates {
		out[name] = slices.Sorted(maps.Keys(set))
	}
	return out
}

var _ fmt.Stringer = number(0)
