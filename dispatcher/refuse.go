package dispatcher

import (
	"html"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Refusals are what the rules forbid of an event, for its producer, where rules.yaml says publish: refuse:
// nil otherwise, and for what would only wait. The event is planned as the planner would, so that the two
// cannot differ; nothing is stored. It is bounded by the recipients that an event may have.
func (d *Dispatcher) Refusals(e *schemas.Event, now time.Time) []schemas.Problem {
	book := d.Book()
	if book == nil || !book.Refuses() {
		return nil
	}
	plan, _ := book.Plan(e, d.channel, now) // why there are none, the planner tells
	type words struct{ pointer, rule, text string }
	seen := map[words]bool{}
	var problems []schemas.Problem
	for _, p := range plan.Deliveries {
		if p.Refusal != nil || p.Verdict.Action != rules.Suppress {
			continue
		}
		for _, h := range forbidden(p.Verdict) {
			h = blamed(e, &p.Delivery.Message, h)
			// Several recipients, and several channels, get the same words: told once.
			if told := (words{pointerOf(e, h), h.Rule, h.Text}); !seen[told] {
				seen[told] = true
				problems = append(problems, refusal(e, h))
				countHits([]schemas.Hit{h})
			}
		}
	}
	return problems
}

// forbidden are the hits for which a suppressed message is refused: those that block. Of a rule that suppresses what
// it else would only have looked at, they are all that it found; of one that points at nothing, the rule itself.
func forbidden(v rules.Verdict) []schemas.Hit {
	kept, own := some(v), func(h schemas.Hit) bool { return h.Rule == v.Rule }
	hits := slices.DeleteFunc(slices.Clone(kept), func(h schemas.Hit) bool { return h.Action != rules.ReportBlock })
	if !slices.ContainsFunc(hits, own) {
		hits = append(hits, slices.DeleteFunc(kept, func(h schemas.Hit) bool { return !own(h) })...)
	}
	if len(hits) == 0 {
		hits = []schemas.Hit{{Rule: v.Rule, Action: rules.ReportBlock}}
	}
	return hits
}

// refusal is a hit as its producer is told.
func refusal(e *schemas.Event, h schemas.Hit) schemas.Problem {
	p := schemas.Problem{Pointer: pointerOf(e, h), Keyword: "rule-" + h.Rule}
	p.Text = rules.Describe(channels.MaskedHit(h))
	if h.Advice.Zh != "" {
		p.Zh += "。建议：" + h.Advice.Zh
		p.En += ". Advice: " + h.Advice.En
	}
	return p
}

// blamed is the hit with the parameter whose words it is, where the rule could not tell: a mail and a
// webhook message are rendered here and carry no parameters. Where several parameters, or none, hold the
// words, the hit stays as it is.
func blamed(e *schemas.Event, m *schemas.Message, h schemas.Hit) schemas.Hit {
	if strings.HasPrefix(h.Origin, paramPrefix) || strings.HasPrefix(h.Field, paramPrefix) || h.Origin != "" && len(m.Params) > 0 {
		return h
	}
	words := wordsOf(m, h)
	if words == "" {
		return h
	}
	from := ""
	for name, v := range e.Data.Params {
		if s, ok := v.(string); ok && strings.Contains(s, words) {
			if from != "" {
				return h
			}
			from = paramPrefix + name
		}
	}
	if from != "" {
		h.Origin = from
	}
	return h
}

// wordsOf are a hit's words as they stand in the message: those in the hit itself may be masked.
func wordsOf(m *schemas.Message, h schemas.Hit) string {
	c := schemas.Content{Subject: m.Subject, Text: m.Text, HTML: m.HTML}
	var p rules.Payload
	if len(m.Payload) > 0 && json.Unmarshal(m.Payload, &p) == nil && p.Content != nil {
		c = *p.Content
	}
	field := []rune(map[string]string{"subject": c.Subject, "text": c.Text, "html": c.HTML}[h.Field])
	if h.Start < 0 || h.Start >= h.End || h.End > len(field) {
		return h.Text
	}
	words := string(field[h.Start:h.End])
	if h.Field == "html" {
		words = html.UnescapeString(words)
	}
	return words
}

// paramPrefix begins the field and the origin of a hit in a variable.
const paramPrefix = "params/"

// pointerOf is where in the event the words of a hit stand, as far as the rule could tell.
func pointerOf(e *schemas.Event, h schemas.Hit) string {
	for _, at := range []string{h.Origin, h.Field} {
		if name, ok := strings.CutPrefix(at, paramPrefix); ok {
			return "/data/params/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		}
	}
	switch {
	case e.Data.Template != "":
		return "/data/template"
	case h.Field == "subject" || h.Field == "html":
		return "/data/content/" + h.Field
	}
	return "/data/content/text"
}
