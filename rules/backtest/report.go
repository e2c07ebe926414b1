package backtest

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Report is the result of a run.
type Report struct {
	From   time.Time `json:"from,omitzero"` // of the first and the last event, on the virtual clock
	To     time.Time `json:"to,omitzero"`
	Events Events    `json:"events"`
	Wrong  []Wrong   `json:"wrong,omitempty"` // the first of the events that could not be read
	Old    Total     `json:"old"`
	New    Total     `json:"new"`
	// Changes are those that happened, worst first.
	Changes    []Changed `json:"changes"`
	Routes     []Group   `json:"routes"`
	Channels   []Group   `json:"channels"`
	Categories []Group   `json:"categories"`
	Rules      []Rule    `json:"rules"`
	// Waiting is the most messages that were held at once, both sides together.
	Waiting int `json:"waiting"`
}

// Events counts events.
type Events struct {
	Read       int `json:"read"`
	Used       int `json:"used"`
	Outside    int `json:"outside"`    // before since or after until
	Duplicates int `json:"duplicates"` // dropped, as the dispatcher drops them
	Wrong      int `json:"wrong"`      // no events
	Rerouted   int `json:"rerouted"`   // take other channels under the new rules
}

// Wrong is a line of the recording that is no event.
type Wrong struct {
	Where    string            `json:"where"`
	Problems []schemas.Problem `json:"problems"`
}

const maxWrong = 20

// Total counts what one of the two rules does.
type Total struct {
	EventsRefused int             `json:"events_refused"` // events that cannot be planned: no route …
	Deliveries    int             `json:"deliveries"`
	Outcomes      map[Outcome]int `json:"outcomes"`
	OverCap       int             `json:"over_cap"` // deliveries that met the cap, deferred and diverted ones included
	SMS           int             `json:"sms"`      // sent, those that took another's place included
	Parts         int             `json:"parts"`    // that the provider bills
}

// Changed is one kind of change.
type Changed struct {
	Change   Change    `json:"change"`
	Count    int       `json:"count"`
	Examples []Example `json:"examples"` // the first in the recording
}

// Example is a delivery that changed, fit to be shown.
type Example struct {
	Event    string           `json:"event"` // id
	Source   string           `json:"source"`
	Type     string           `json:"type"`
	Time     time.Time        `json:"time"` // on the virtual clock
	Category schemas.Category `json:"category"`
	Channel  string           `json:"channel"`
	To       string           `json:"to"` // masked
	OldRoute string           `json:"old_route,omitzero"`
	NewRoute string           `json:"new_route,omitzero"`
	Old      Outcome          `json:"old"`
	New      Outcome          `json:"new"`
	OldAt    time.Time        `json:"old_at,omitzero"` // when it was sent or ended
	NewAt    time.Time        `json:"new_at,omitzero"`
	Rule     string           `json:"rule,omitzero"` // that made the difference
	Text     string           `json:"text,omitzero"` // what the rule found, masked
	Advice   schemas.Text     `json:"advice,omitzero"`
	index    int
	id       string
}

// Group counts the deliveries of a route, channel or category.
type Group struct {
	Name         string `json:"name"` // "" for events that name their channels themselves
	Old          Counts `json:"old"`
	New          Counts `json:"new"`
	NewlyBlocked int    `json:"newly_blocked"`
	NewlyOverCap int    `json:"newly_over_cap"`
	NewlyAllowed int    `json:"newly_allowed"`
}

// Counts is one side of a [Group].
type Counts struct {
	Deliveries int `json:"deliveries"`
	Reached    int `json:"reached"` // the recipient, by whatever channel in the end
	OverCap    int `json:"over_cap"`
	Parts      int `json:"parts"`
}

// Rule counts what one rule did.
type Rule struct {
	Rule       string `json:"rule"`
	OldStopped int    `json:"old_stopped"`
	NewStopped int    `json:"new_stopped"`
	OldHeld    int    `json:"old_held"`
	NewHeld    int    `json:"new_held"`
	// Changed counts the deliveries whose change is this rule's doing.
	Changed int `json:"changed"`
}

// Count is how many deliveries changed in this way.
func (r *Report) Count(c Change) int {
	for _, one := range r.Changes {
		if one.Change == c {
			return one.Count
		}
	}
	return 0
}

func (r *Report) wrong(where string, err error) {
	r.Events.Wrong++
	if len(r.Wrong) < maxWrong {
		w := Wrong{Where: where, Problems: []schemas.Problem{{Text: schemas.Text{Zh: err.Error(), En: err.Error()}}}}
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			w.Problems = bad.Problems
		}
		r.Wrong = append(r.Wrong, w)
	}
}

func (r *Report) span(now time.Time) {
	if r.From.IsZero() {
		r.From = now
	}
	r.To = now
}

// maxGroups bounds the names counted apart: an event may name channels of its own making.
const maxGroups = 1000

// rest is where the others are counted.
const rest = "…"

// tally is what a worker counts.
type tally struct {
	totals   [2]Total
	changes  map[Change]int
	examples map[Change][]Example
	groups   [3]map[string]*Group // routes, channels, categories
	rules    map[string]*Rule
}

func newTally() tally {
	t := tally{changes: map[Change]int{}, examples: map[Change][]Example{}, rules: map[string]*Rule{}}
	for i := range t.groups {
		t.groups[i] = map[string]*Group{}
	}
	for i := range t.totals {
		t.totals[i].Outcomes = map[Outcome]int{}
	}
	return t
}

func (t *tally) group(kind int, name string) *Group {
	g := t.groups[kind][name]
	if g == nil {
		if len(t.groups[kind]) >= maxGroups && name != rest {
			return t.group(kind, rest)
		}
		g = &Group{Name: name}
		t.groups[kind][name] = g
	}
	return g
}

func (t *tally) rule(name string) *Rule {
	r := t.rules[name]
	if r == nil {
		r = &Rule{Rule: name}
		t.rules[name] = r
	}
	return r
}

// pair counts a pair whose fates are known.
func (t *tally) pair(p *pair, cfg *Config) {
	if p.finished {
		return
	}
	p.finished = true
	for side := range p.sides {
		t.fate(side, &p.sides[side])
	}
	change, rule := p.change()
	if change == "" {
		return
	}
	t.changes[change]++
	if rule != "" {
		t.rule(rule).Changed++
	}
	shown := p.sides[1].planned
	if shown == nil {
		shown = p.sides[0].planned
	}
	dl := shown.Delivery
	for kind, name := range []string{dl.Route, dl.Channel, string(dl.Category)} {
		g := t.group(kind, name)
		switch change {
		case NewlyBlocked:
			g.NewlyBlocked++
		case NewlyOverCap:
			g.NewlyOverCap++
		case NewlyAllowed, NoLongerOver:
			g.NewlyAllowed++
		}
	}
	t.example(change, rule, p, dl, cfg)
}

// fate counts one side of a pair.
func (t *tally) fate(side int, f *fate) {
	if f.planned == nil {
		return
	}
	dl, result := f.planned.Delivery, f.result()
	total := &t.totals[side]
	total.Deliveries++
	total.Outcomes[result]++
	total.SMS += f.sms
	total.Parts += f.parts
	if f.over {
		total.OverCap++
	}
	for kind, name := range []string{dl.Route, dl.Channel, string(dl.Category)} {
		g := t.group(kind, name)
		c := &g.Old
		if side == 1 {
			c = &g.New
		}
		c.Deliveries++
		c.Parts += f.parts
		if result.reaches() {
			c.Reached++
		}
		if f.over {
			c.OverCap++
		}
	}
	if f.rule != "" {
		r := t.rule(f.rule)
		if side == 0 {
			r.OldStopped++
		} else {
			r.NewStopped++
		}
	}
	if f.heldBy != "" {
		r := t.rule(f.heldBy)
		if side == 0 {
			r.OldHeld++
		} else {
			r.NewHeld++
		}
	}
}

// example keeps the pair if it is among the first of its change.
func (t *tally) example(change Change, rule string, p *pair, dl *schemas.Delivery, cfg *Config) {
	have := t.examples[change]
	if cfg.Examples == 0 || len(have) >= cfg.Examples && p.index > have[len(have)-1].index {
		return
	}
	ch, _ := cfg.Channels(dl.Channel)
	before, after := &p.sides[0], &p.sides[1]
	e := Example{
		Event: dl.Event.ID, Source: dl.Event.Source, Type: dl.Event.Type, Time: p.now, Category: dl.Category, Channel: dl.Channel,
		To: dl.To.Masked(ch.Address), Old: before.result(), New: after.result(), OldAt: before.at, NewAt: after.at, Rule: rule,
		index: p.index, id: dl.ID,
	}
	if before.planned != nil {
		e.OldRoute = before.planned.Delivery.Route
	}
	if after.planned != nil {
		e.NewRoute = after.planned.Delivery.Route
	}
	hits := after.hits
	if change == NewlyAllowed || change == NoLongerOver || change == Sooner || change == Restored {
		hits = before.hits
	}
	if len(hits) > 0 {
		h := rules.DecisiveFirst(hits, rule)[0]
		e.Text, e.Advice = cfg.Mask(h.Text), h.Advice
	} else if after.planned == nil && after.refusal != nil {
		e.Advice = after.refusal.Problem.Text
	}
	t.examples[change] = firstOf(append(have, e), cfg.Examples)
}

// firstOf are the first examples of the recording.
func firstOf(es []Example, n int) []Example {
	slices.SortFunc(es, func(a, b Example) int { return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.id, b.id)) })
	return es[:min(len(es), n)]
}

func (t *Total) add(o Total) {
	t.EventsRefused += o.EventsRefused
	t.Deliveries += o.Deliveries
	t.OverCap += o.OverCap
	t.SMS += o.SMS
	t.Parts += o.Parts
	if t.Outcomes == nil {
		t.Outcomes = map[Outcome]int{}
	}
	for k, n := range o.Outcomes {
		t.Outcomes[k] += n
	}
}

func (c *Counts) add(o Counts) {
	c.Deliveries += o.Deliveries
	c.Reached += o.Reached
	c.OverCap += o.OverCap
	c.Parts += o.Parts
}

func (t *tally) merge(o tally) {
	for side := range t.totals {
		t.totals[side].add(o.totals[side])
	}
	for c, n := range o.changes {
		t.changes[c] += n
	}
	for c, es := range o.examples {
		t.examples[c] = append(t.examples[c], es...)
	}
	for kind := range t.groups {
		for _, name := range slices.Sorted(maps.Keys(o.groups[kind])) {
			g, from := t.group(kind, name), o.groups[kind][name]
			g.Old.add(from.Old)
			g.New.add(from.New)
			g.NewlyBlocked += from.NewlyBlocked
			g.NewlyOverCap += from.NewlyOverCap
			g.NewlyAllowed += from.NewlyAllowed
		}
	}
	for name, from := range o.rules {
		r := t.rule(name)
		r.OldStopped += from.OldStopped
		r.NewStopped += from.NewStopped
		r.OldHeld += from.OldHeld
		r.NewHeld += from.NewHeld
		r.Changed += from.Changed
	}
}

// fill takes what all workers counted.
func (r *Report) fill(t tally, examples int) {
	r.Old.add(t.totals[0])
	r.New.add(t.totals[1])
	r.Changes = []Changed{}
	for _, c := range Changes {
		if n := t.changes[c]; n > 0 {
			r.Changes = append(r.Changes, Changed{c, n, firstOf(t.examples[c], examples)})
		}
	}
	r.Routes, r.Channels, r.Categories = sorted(t.groups[0]), sorted(t.groups[1]), sorted(t.groups[2])
	r.Rules = []Rule{}
	for _, name := range slices.Sorted(maps.Keys(t.rules)) {
		r.Rules = append(r.Rules, *t.rules[name])
	}
}

func sorted(groups map[string]*Group) []Group {
	out := []Group{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, *groups[name])
	}
	return out
}
