package schemas

import (
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxName         = 255 // template, route, template code
	maxSubject      = 1000
	maxAlternatives = 8
	maxHits         = 1000
	maxLine         = 1024
)

// Check brings the recipient's addresses to their normal form and returns every problem that it
// finds; none means that the delivery can be sent. The decoders call it.
func (d *Delivery) Check() []Problem {
	c := &checker{}
	d.check(c, "")
	return c.problems
}

func (d *Delivery) check(c *checker, base string) {
	c.base = base
	switch {
	case d.ID == "":
		c.fail(missing("id"), "id")
	case !isDeliveryID(d.ID):
		c.fail(idForm, "id")
	}
	c.tenant(d.Tenant)
	c.category(d.Category)
	switch {
	case d.Priority == "":
		c.fail(missing("priority"), "priority")
	case !slices.Contains(Priorities, d.Priority):
		c.fail(notOneOf(Priorities), "priority")
	}
	switch {
	case d.Channel == "":
		c.fail(missing("channel"), "channel")
	case !isChannel(d.Channel):
		c.fail(channelForm, "channel")
	}
	d.To.check(c, "to")
	c.test("route", line(d.Route, maxName))
	if d.PlannedAt.IsZero() {
		c.fail(noTime, "planned_at")
	}
	c.test("traceparent", line(d.TraceParent, 255))

	c.base = base + "/event"
	c.needLine("id", d.Event.ID, maxID)
	switch n := utf8.RuneCountInString(d.Event.Source); {
	case n == 0:
		c.fail(missing("source"), "source")
	case n > maxSource:
		c.fail(tooLong(maxSource, n), "source")
	}
	c.eventType(d.Event.Type)

	c.base = base + "/message"
	m := &d.Message
	c.test("template", line(m.Template, maxName))
	if n := utf8.RuneCountInString(m.Subject); n > maxSubject {
		c.fail(tooLong(maxSubject, n), "subject")
	} else if strings.ContainsAny(m.Subject, "\r\n\x00") {
		c.fail(hasControl(), "subject")
	}
	c.test("code", line(m.Code, maxName))
	for provider, code := range m.Codes {
		if problem := line(code, maxName); problem != nil {
			c.fail(problem, "codes", provider)
		}
	}
	for name, kind := range m.ParamKinds {
		if kind != "" && !slices.Contains(ParamKinds, kind) {
			c.fail(notOneOf(ParamKinds), "param_kinds", name)
		}
	}
	c.test("signature", line(m.Signature, 64))
	if strings.IndexByte(m.Text, 0) >= 0 {
		c.fail(nulForm, "text")
	}
	if strings.IndexByte(m.HTML, 0) >= 0 {
		c.fail(nulForm, "html")
	}
	c.attachments(m.Attachments)

	if c.base = base; len(d.Else) > maxAlternatives {
		c.fail(tooMany(maxAlternatives, len(d.Else)), "else")
		return
	}
	for i := range d.Else {
		a := &d.Else[i]
		if c.base = base; a.When != WhenFailed && a.When != WhenOverCap {
			c.fail(notOneOf([]string{WhenFailed, WhenOverCap}), "else", i, "when")
		}
		a.Delivery.check(c, pointer(base, "else", i, "delivery"))
	}
}

// causeClasses are the classes of channels.Class, as stored.
var causeClasses = []string{"temporary", "throttled", "auth", "config", "content", "recipient", "permanent", "uncertain"}

// Check returns every problem that it finds; none means that the dead letter can be shown. It asks
// little of what may stem from garbage: tenant and channel are any line, the event may be empty. The
// decoders call it.
func (l *DeadLetter) Check() []Problem {
	c := &checker{}
	c.needLine("id", l.ID, 128)
	if l.Time.IsZero() {
		c.fail(noTime, "time")
	}
	c.needLine("tenant", l.Tenant, maxID)
	c.needLine("channel", l.Channel, maxID)
	if l.State != Dead {
		c.fail(notOneOf([]State{Dead}), "state")
	}
	c.count("attempts", l.Attempts)
	c.count("replay", l.Replay)
	if l.Fence > maxExact {
		c.fail(numberRange, "fence")
	}
	l.Cause.check(c)
	if l.Delivery != nil {
		l.Delivery.check(c, "/delivery")
	}
	return c.problems
}

func (k *Cause) check(c *checker) {
	c.base = "/cause"
	c.test("kind", line(k.Kind, 64))
	c.test("provider", line(k.Provider, 64))
	c.needLine("code", k.Code, 255)
	if !slices.Contains(causeClasses, k.Class) {
		c.fail(notOneOf(causeClasses), "class")
	}
	c.test("line", line(k.Line, maxLine))
	if len(k.Hits) > maxHits {
		c.fail(tooMany(maxHits, len(k.Hits)), "hits")
		return
	}
	for i, h := range k.Hits {
		c.base = pointer("/cause/hits", i)
		c.needLine("rule", h.Rule, 64)
		c.test("action", line(h.Action, 64))
		c.test("field", line(h.Field, 255))
		c.count("start", h.Start)
		c.count("end", h.End)
		c.count("start_byte", h.StartByte)
		c.count("end_byte", h.EndByte)
		c.test("via", line(h.Via, 64))
		c.test("origin", line(h.Origin, 255))
	}
}

func (c *checker) count(name string, n int) {
	switch {
	case n < 0:
		c.fail(belowZero, name)
	case n > maxExact:
		c.fail(numberRange, name)
	}
}
