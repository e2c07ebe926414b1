package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// The channel kinds, as the keys under a template may name them.
const (
	kindEmail   = "email"
	kindSMS     = "sms"
	kindWebhook = "webhook"
)

var kindNames = []string{kindEmail, kindSMS, kindWebhook}

// Book is one rules.yaml, compiled. It never changes after [Load] and [Book.Check], and is safe
// for concurrent use from then on; a reload makes a new one.
type Book struct {
	routes    []route
	templates map[string]templateSet
	guards    []Guard
	reservers []Reserver
	named     []mention         // every channel named anywhere, with its place
	files     []string          // what the rules read beside rules.yaml
	kinds     map[string]string // channel → kind, from Check
	refuse    bool              // publish: refuse
}

// Diverter is a [Reserver] that may answer [Divert].
type Diverter interface {
	// DivertTo names the channel that takes over; "" when the reserver never diverts.
	DivertTo() string
}

type document struct {
	Publish   str                                      `yaml:"publish"`
	Routes    []routeSource                            `yaml:"routes"`
	Guards    map[string]strictyaml.Section            `yaml:"guards"`
	Templates map[string]map[string]strictyaml.Section `yaml:"templates"`
}

// mention is a channel name and who says it.
type mention struct {
	spot
	channel, by string
}

// Load compiles rules.yaml. Every guard and reserver of this binary is opened, in the order of
// their names, also when the file has no section for it: a rule the carriers enforce is not off
// because nobody wrote it down. The error holds every mistake found, each with line and column.
func Load(b []byte, guards map[string]GuardFactory, reservers map[string]ReserverFactory, env Env) (*Book, error) {
	var doc document
	if err := strictyaml.Decode(b, &doc); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	book := &Book{templates: make(map[string]templateSet)}
	err := errors.Join(book.addRoutes(doc.Routes), book.addGuards(doc.Guards, guards, reservers, book.remember(env)), book.addTemplates(doc.Templates), book.setPublish(doc.Publish))
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return book, nil
}

func (b *Book) setPublish(s str) error {
	switch {
	case s.s == "refuse":
		b.refuse = true
	case s.s != "accept" && s.node != nil:
		return s.errorf("publish is %q, want refuse (a producer gets 422 for what the guards forbid) or accept (it is stored, and not sent)", s.s)
	}
	return nil
}

// Refuses says whether an event that the guards forbid is refused where it is published (publish:
// refuse), while its producer can still be told, instead of stored and not sent.
func (b *Book) Refuses() bool { return b.refuse }

func (b *Book) addGuards(sections map[string]strictyaml.Section, guards map[string]GuardFactory, reservers map[string]ReserverFactory, env Env) error {
	var errs []error
	known := slices.Sorted(maps.Keys(guards))
	known = append(known, slices.Sorted(maps.Keys(reservers))...)
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		if !slices.Contains(known, name) {
			errs = append(errs, where(sections[name]).errorf("guards: unknown guard %q; known are %s", name, strings.Join(known, ", ")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(guards)) {
		g, err := guards[name](sections[name].Decode, env)
		if err != nil {
			errs = append(errs, sectionError(name, sections[name], err))
			continue
		}
		b.guards = append(b.guards, g)
	}
	for _, name := range slices.Sorted(maps.Keys(reservers)) {
		r, err := reservers[name](sections[name].Decode, env)
		if err != nil {
			errs = append(errs, sectionError(name, sections[name], err))
			continue
		}
		b.reservers = append(b.reservers, r)
		if d, ok := r.(Diverter); ok && d.DivertTo() != "" {
			b.named = append(b.named, mention{where(sections[name]), d.DivertTo(), "guards." + name})
		}
	}
	return errors.Join(errs...)
}

// remember notes what the rules read. Without a reader no file can be named.
func (b *Book) remember(env Env) Env {
	read := env.Read
	env.Read = func(name string) ([]byte, error) {
		if read == nil {
			return nil, fmt.Errorf("file %q: no files can be read here", name)
		}
		if !slices.Contains(b.files, name) {
			b.files = append(b.files, name)
		}
		return read(name)
	}
	return env
}

// Files are the files that the rules were made of beside rules.yaml, as the sections name them.
func (b *Book) Files() []string { return slices.Clone(b.files) }

// sectionError places a guard's complaint. One of the decoder has its own, more exact place.
func sectionError(name string, section strictyaml.Section, err error) error {
	if strings.HasPrefix(err.Error(), "[") {
		return fmt.Errorf("guards.%s: %w", name, err)
	}
	return where(section).errorf("guards.%s: %w", name, err)
}

// Routes returns the routes' names in order.
func (b *Book) Routes() []string {
	names := make([]string, len(b.routes))
	for i, r := range b.routes {
		names[i] = r.name
	}
	return names
}

// field is {{.name}}, the same as ${name}.
var field = regexp.MustCompile(`\{\{ *\.([\p{L}_][\p{L}\p{N}_]*) *\}\}`)

// SMSTexts are the texts of the SMS templates as the file writes them, by the provider's template
// code: what the provider holds, with ${name} for each parameter. A text that does more than name
// parameters, which no provider's template can, is left out.
func (b *Book) SMSTexts() map[string]string {
	texts := make(map[string]string)
	for _, set := range b.templates {
		for _, t := range set {
			source := field.ReplaceAllString(strings.TrimRight(t.source, "\r\n"), "$${$1}")
			if strings.Contains(source, "{{") {
				continue
			}
			for _, code := range append(slices.Collect(maps.Values(t.codes)), t.code) {
				if code != "" {
					texts[code] = source
				}
			}
		}
	}
	return texts
}

// Guards are the compiled guards, in the order in which [Judge] asks them.
func (b *Book) Guards() []Guard { return b.guards }

// Reservers are the guards with state, for the send step.
func (b *Book) Reservers() []Reserver { return b.reservers }

// Consents is the reserver that keeps consents, nil when this binary has none.
func (b *Book) Consents() ConsentKeeper {
	for _, r := range b.reservers {
		if k, ok := r.(ConsentKeeper); ok {
			return k
		}
	}
	return nil
}

// DivertTo is the channel that takes over what is over the daily cap; "" when there is none.
func (b *Book) DivertTo() string {
	for _, r := range b.reservers {
		if d, ok := r.(Diverter); ok && d.DivertTo() != "" {
			return d.DivertTo()
		}
	}
	return ""
}

// Channels lists every channel named anywhere in the file, sorted. A template's key that is a
// kind (email, sms, webhook) is not the name of a channel.
func (b *Book) Channels() []string {
	set := make(map[string]bool)
	for _, m := range b.named {
		set[m.channel] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Check holds the book against the configured channels (name → kind): every channel named exists,
// and every template has what its kind needs. Call it once, before the book is used; the book
// remembers the channels for [Book.CheckEvent]. The error holds every mistake with its place.
func (b *Book) Check(kinds map[string]string) error {
	var errs []error
	for _, m := range b.named {
		if _, ok := kinds[m.channel]; !ok {
			errs = append(errs, m.errorf("%s: there is no channel %q; known are %s", m.by, m.channel, strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.templates)) {
		for _, key := range slices.Sorted(maps.Keys(b.templates[name])) {
			t := b.templates[name][key]
			kind, ok := kinds[key]
			if !ok {
				kind = key
			}
			if err := t.fits(kind); err != nil {
				errs = append(errs, t.errorf("templates.%s.%s: %w", name, key, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	b.kinds = maps.Clone(kinds)
	return nil
}

// CheckEvent finds, without rendering, what would make the event fail later: a template that does
// not exist, values that its texts need for the channels the event would take, channels that do
// not exist. It is meant for the moment at which the producer can still be told.
func (b *Book) CheckEvent(e *schemas.Event) []schemas.Problem {
	problems := b.checkChannels(e)
	if e.Data.Template == "" {
		return problems
	}
	set, ok := b.templates[e.Data.Template]
	if !ok {
		return append(problems, noTemplate(e.Data.Template))
	}
	choice, ok, err := b.Route(e)
	if invalid, is := errors.AsType[*schemas.Invalid](err); is {
		return append(problems, invalid.Problems...)
	}
	if !ok {
		return problems // the planner says that no route takes it
	}
	need := make(map[string]bool)
	for _, channel := range slices.Concat(choice.Send, choice.Fallback) {
		if t := set.find(channel, b.kinds[channel]); t != nil {
			for _, name := range t.needs {
				need[name] = true
			}
		}
	}
	for _, r := range e.Data.To {
		if t := set.find(r.Webhook, kindWebhook); t != nil && r.Webhook != "" {
			for _, name := range t.needs {
				need[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(need)) {
		if e.Data.Params[name] == nil {
			problems = append(problems, missingParam(e.Data.Template, name))
		}
	}
	for _, name := range reserved {
		if _, ok := e.Data.Params[name]; ok {
			problems = append(problems, problemf(paramPointer(name), "reserved",
				"参数名 %[1]q 为系统保留，请改用其他名称", "the name %[1]q is reserved; choose another", name))
		}
	}
	return problems
}

func (b *Book) checkChannels(e *schemas.Event) []schemas.Problem {
	if b.kinds == nil {
		return nil
	}
	var problems []schemas.Problem
	for i, name := range e.Data.Channels {
		if _, ok := b.kinds[name]; !ok {
			problems = append(problems, problemf(fmt.Sprintf("/data/channels/%d", i), "unknown",
				"通道 %[1]q 不存在，可用的通道：%[2]s", "there is no channel %[1]q; known are %[2]s", name, strings.Join(slices.Sorted(maps.Keys(b.kinds)), ", ")))
		}
	}
	for i, r := range e.Data.To {
		if r.Webhook != "" && b.kinds[r.Webhook] != kindWebhook {
			problems = append(problems, problemf(fmt.Sprintf("/data/to/%d/webhook", i), "unknown",
				"没有名为 %[1]q 的 webhook 通道", "there is no webhook channel %[1]q", r.Webhook))
		}
	}
	return problems
}

// problemf builds a problem; its formats are those of [Textf].
func problemf(pointer, keyword, zh, en string, args ...any) schemas.Problem {
	return schemas.Problem{Pointer: pointer, Keyword: keyword, Text: Textf(zh, en, args...)}
}

// Textf is a text in both languages; both formats take the same arguments.
func Textf(zh, en string, args ...any) schemas.Text {
	return schemas.Text{Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)}
}
