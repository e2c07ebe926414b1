package dispatcher

import (
	"strings"
	"time"

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
	_, planned, _ := d.deliveries(e, book, now) // why there are none, the planner tells
	type words struct{ pointer, rule, text string }
	seen := map[words]bool{}
	var problems []schemas.Problem
	for _, p := range planned {
		if p.record.State != schemas.Suppressed || p.record.Cause == nil {
			continue
		}
		for _, h := range p.record.Cause.Hits {
			if h.Action != rules.ReportBlock {
				continue
			}
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

// refusal is a hit as its producer is told.
func refusal(e *schemas.Event, h schemas.Hit) schemas.Problem {
	p := schemas.Problem{Pointer: pointerOf(e, h), Keyword: "rule-" + h.Rule}
	h.Text, h.Term, h.Cue = channels.Line(h.Text), channels.Line(h.Term), channels.Line(h.Cue)
	p.Text = rules.Describe(h)
	if h.Advice.Zh != "" {
		p.Zh += "。建议：" + h.Advice.Zh
		p.En += ". Advice: " + h.Advice.En
	}
	return p
}

// pointerOf is where in the event the words of a hit stand, as far as the rule could tell.
func pointerOf(e *schemas.Event, h schemas.Hit) string {
	for _, at := range []string{h.Origin, h.Field} {
		if name, ok := strings.CutPrefix(at, "params/"); ok {
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
