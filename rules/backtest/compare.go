package backtest

import (
	"hash/fnv"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Outcome is what became of a delivery under one of the two rules.
type Outcome string

// The outcomes. The first three reach the recipient.
const (
	sent       Outcome = "sent"       // at once
	later      Outcome = "later"      // held first: quiet hours, not_before, the cap's defer
	elsewhere  Outcome = "other"      // another channel took its place
	blocked    Outcome = "blocked"    // a rule forbids it
	overCap    Outcome = "over_cap"   // over the daily cap, and nothing took its place
	expired    Outcome = "expired"    // too late when its time came
	unsendable Outcome = "unsendable" // no address, no template, too old …
	refused    Outcome = "refused"    // the event as a whole cannot be planned
	absent     Outcome = "absent"     // these rules plan no such delivery
)

// Outcomes lists what a planned delivery can end in, for showing.
var Outcomes = []Outcome{sent, later, elsewhere, blocked, overCap, expired, unsendable}

func (o Outcome) reaches() bool { return o == sent || o == later || o == elsewhere }

// Change is a difference between the two rules for one delivery. Each delivery has at most one.
type Change string

// The changes, worst first.
const (
	NewlyBlocked Change = "newly_blocked"        // it reached the recipient and does not any more; over the cap apart
	NewlyOverCap Change = "newly_over_cap"       // over the daily cap now, whatever the rules then do with it
	Dropped      Change = "dropped"              // routed elsewhere: no longer over this channel
	Added        Change = "added"                // routed elsewhere: now over this channel
	NewlyHeld    Change = "newly_held"           // sent later than before
	Sooner       Change = "sooner"               // sent sooner than before
	NoLongerOver Change = "no_longer_over_cap"   // it was over the daily cap
	NewlyAllowed Change = "newly_allowed"        // it did not reach the recipient and does now
	OtherWay     Change = "stopped_another_way"  // never sent, for another reason than before
	Replaced     Change = "over_another_channel" // reaches the recipient, but by the channel that takes its place
	Restored     Change = "over_its_own_channel" // no longer by the channel that took its place
)

// Changes lists the changes in the order in which they are told.
var Changes = []Change{NewlyBlocked, NewlyOverCap, Dropped, Added, NewlyHeld, Sooner, NoLongerOver, NewlyAllowed, Replaced, Restored, OtherWay}

// fate is what becomes of a delivery under one of the two rules.
type fate struct {
	planned  *rules.Planned // nil: these rules plan no such delivery
	refusal  *rules.Refusal // and this is why, when the event as a whole cannot be planned
	open     int            // deliveries without an end: itself and what takes its place
	outcome  Outcome
	rule     string // that ended it
	hits     []schemas.Hit
	at       time.Time // of its end
	held     bool
	heldBy   string
	over     bool // was over the cap at least once
	replaced bool // another channel took its place
	sms      int  // messages and parts, its alternatives' included
	parts    int
}

// result is the fate in one word.
func (f *fate) result() Outcome {
	switch {
	case f.planned == nil && f.refusal != nil:
		return refused
	case f.planned == nil:
		return absent
	case f.outcome == sent && f.held:
		return later
	case f.replaced:
		return elsewhere
	}
	return f.outcome
}

// because is the rule that decided, or that held it; "" when none did.
func (f *fate) because() string {
	switch {
	case f.planned == nil && f.refusal != nil:
		return f.refusal.Code
	case f.rule != "":
		return f.rule
	}
	return f.heldBy
}

// pair is a delivery under both rules.
type pair struct {
	key      uint32 // of the recipient: one worker has all of a number's deliveries
	index    int    // of the event
	now      time.Time
	sides    [2]fate
	unheard  bool // under the new rules the recipient gets nothing at all of this event
	finished bool
}

// pairs puts the deliveries of both plans together by their ids.
func pairs(p *planned, plans [2]rules.Plan) []pair {
	out := make([]pair, 0, len(plans[0].Deliveries))
	at := make(map[string]int, len(plans[0].Deliveries))
	for side, plan := range plans {
		for i := range plan.Deliveries {
			one := &plan.Deliveries[i]
			k, ok := at[one.Delivery.ID]
			if !ok {
				k = len(out)
				at[one.Delivery.ID] = k
				out = append(out, pair{key: keyOf(one.Delivery), index: p.index, now: p.now})
				for s, f := range p.fails {
					out[k].sides[s].refusal = f
				}
			}
			out[k].sides[side].planned = one
		}
	}
	for i := range out {
		pr := &out[i]
		if one := pr.sides[0].planned; one != nil && pr.sides[1].planned == nil {
			to := one.Delivery.To
			pr.unheard = to.Webhook == "" && !slices.ContainsFunc(plans[1].Deliveries, func(q rules.Planned) bool {
				t := q.Delivery.To
				return t.Phone == to.Phone && t.Email == to.Email && t.Name == to.Name
			})
		}
	}
	return out
}

func keyOf(dl *schemas.Delivery) uint32 {
	h := fnv.New32a()
	if dl.To.Phone != "" {
		h.Write([]byte(dl.To.Phone))
	} else {
		h.Write([]byte(dl.ID))
	}
	return h.Sum32()
}

// routed says whether only one of the rules plans this delivery though both plan the event.
func (p *pair) routed() Change {
	switch {
	case p.sides[0].result() == absent:
		return Added
	case p.sides[1].result() == absent && !p.unheard:
		return Dropped
	}
	return ""
}

// change compares the two fates; "" when nothing changed.
func (p *pair) change() (Change, string) {
	before, after := &p.sides[0], &p.sides[1]
	was, is := before.result(), after.result()
	if c := p.routed(); c != "" {
		return c, ""
	}
	if is == absent { // the recipient hears nothing: no route or channel is left
		is = refused
	}
	switch {
	case after.over && !before.over && (was.reaches() || is.reaches()):
		return NewlyOverCap, after.because()
	case was.reaches() && !is.reaches():
		if rule := after.because(); rule != "" {
			return NewlyBlocked, rule
		}
		return NewlyBlocked, rules.NoRoute
	case before.over && !after.over && is.reaches():
		return NoLongerOver, before.because()
	case !was.reaches() && is.reaches():
		return NewlyAllowed, before.because()
	case !was.reaches():
		if was != is || before.because() != after.because() {
			return OtherWay, after.because()
		}
		return "", ""
	case is == elsewhere && was != elsewhere:
		return Replaced, after.because()
	case was == elsewhere && is != elsewhere:
		return Restored, before.because()
	case after.at.After(before.at):
		return NewlyHeld, after.because()
	case after.at.Before(before.at):
		return Sooner, before.because()
	}
	return "", ""
}
