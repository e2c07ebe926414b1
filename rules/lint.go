package rules

import (
	"cmp"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// What a [Report] asks for, and Hit.Action, weakest first.
const (
	ReportPass   = "pass"
	ReportHold   = "hold"   // it would wait
	ReportReview = "review" // a person should look; it goes out all the same
	ReportBlock  = "block"  // it does not go out
)

var reportActions = []string{ReportPass, ReportHold, ReportReview, ReportBlock}

// Report is what the guards of a [Book] say of one message.
type Report struct {
	Action string `json:"action"` // pass, hold, review or block: the strongest of the hits
	// Hits stand in the order of the message: subject, text, HTML, signature, parameters; by position in each.
	Hits []schemas.Hit `json:"hits"`
	// Size is nil where no guard measures this kind of message.
	Size *Size `json:"size,omitzero"`
}

// Size is what an SMS is charged by, signature included.
type Size struct {
	Characters int `json:"characters"` // as the provider counts them
	Parts      int `json:"parts"`
}

// Measurer is a [Guard] that can tell the size of a message as well; not ok for a kind that has none.
type Measurer interface {
	Measure(in Input) (size Size, ok bool)
}

// Pricer is a [Guard] that knows what an SMS costs; not ok when no price is configured.
type Pricer interface {
	Price(parts int) (amount, currency string, ok bool)
}

// Price is what an SMS of that many parts costs, such as "0.09", "CNY"; not ok when no price is configured.
func (b *Book) Price(parts int) (amount, currency string, ok bool) {
	for _, g := range b.guards {
		if p, is := g.(Pricer); is {
			return p.Price(parts)
		}
	}
	return "", "", false
}

// Lint judges a message as planning and sending do, by the same guards, and reports all that they
// found. Where in.Now is zero there is no clock: what would only have to wait is left out.
func (b *Book) Lint(in Input) Report {
	v := Judge(b.guards, in)
	r := Report{Action: ReportPass, Hits: v.Hits}
	if v.Action >= Suppress {
		r.Action = ReportBlock
	}
	if in.Now.IsZero() {
		r.Hits = slices.DeleteFunc(r.Hits, func(h schemas.Hit) bool { return h.Action == ReportHold })
	}
	for _, h := range r.Hits {
		r.Action = Stronger(r.Action, h.Action)
	}
	slices.SortStableFunc(r.Hits, func(x, y schemas.Hit) int {
		return cmp.Or(cmp.Compare(place(x.Field), place(y.Field)), cmp.Compare(x.Field, y.Field), cmp.Compare(x.Start, y.Start), cmp.Compare(x.End, y.End))
	})
	for _, g := range b.guards {
		if m, ok := g.(Measurer); ok {
			if size, ok := m.Measure(in); ok {
				r.Size = &size
			}
		}
	}
	return r
}

// Stronger is the stronger of two actions of a [Report] or a hit.
func Stronger(a, b string) string {
	if slices.Index(reportActions, b) > slices.Index(reportActions, a) {
		return b
	}
	return a
}

// place orders the fields as a reader meets them.
func place(field string) int {
	order := []string{"subject", "text", "html", "signature"}
	if i := slices.Index(order, field); i >= 0 {
		return i
	}
	return len(order)
}

// Draft is a message that is no delivery yet: what is known of it where a text is looked at.
type Draft struct {
	Kind, Provider, Signature, Class string // as in [Input]
	Category                         schemas.Category
	Tenant                           string
	Message                          schemas.Message
	// Now is the time at which it would be sent; zero: no time is meant, see [Book.Lint].
	Now time.Time
}

// Input is what the guards see of the draft.
func (d Draft) Input() Input {
	d.Message.Signature = d.Signature
	return Input{
		Kind: d.Kind, Provider: d.Provider, Signature: d.Signature, Class: d.Class, Now: d.Now,
		Delivery: &schemas.Delivery{
			Event: schemas.EventRef{Time: d.Now}, Tenant: cmp.Or(d.Tenant, schemas.DefaultTenant), Category: d.Category,
			Priority: d.Category.DefaultPriority(), Message: d.Message, PlannedAt: d.Now,
		},
	}
}
