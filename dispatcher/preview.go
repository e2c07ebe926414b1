package dispatcher

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Draft is a message that somebody wants to see before it is sent: a template and its values, or ready content.
type Draft struct {
	Template string
	Content  *schemas.Content
	Params   map[string]any
	Channel  string // "" for every channel that the message can go over
	To       schemas.Recipient
	Category schemas.Category
	Tenant   string
}

// Preview is what one channel would be given to send, and what the rules say of it.
type Preview struct {
	Channel  string `json:"channel"`
	Kind     string `json:"kind"`
	Provider string `json:"provider,omitzero"`
	To       string `json:"to"` // masked
	// Problem says why there is no message; nil when there is one.
	Problem *schemas.Problem `json:"problem,omitzero"`
	// Wire is nil where the channel cannot show its requests.
	Wire *channels.Wire `json:"wire,omitzero"`
	// Text is what arrives on a phone, signature included.
	Text  string        `json:"text,omitzero"`
	Rules *rules.Report `json:"rules,omitzero"`
	Price *Price        `json:"price,omitzero"` // of an SMS, where a price is configured
	// Delivery is the message as the channel gets it, addresses unmasked: not in the JSON.
	Delivery *schemas.Delivery `json:"-"`
}

// Price is an amount of money.
type Price struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// noText is what a robot says of a message without title and text.
const noText = "dispatcher:no-text"

// previewID names the event that a preview makes up.
const previewID = "preview"

// Event is the event that would carry the draft.
func (q Draft) Event(id string, now time.Time) *schemas.Event {
	return &schemas.Event{
		ID: id, Source: "/yizhan/" + previewID, Type: "yizhan." + previewID, Time: now, Tenant: cmp.Or(q.Tenant, schemas.DefaultTenant),
		Data: schemas.Data{
			Category: q.Category, Priority: q.Category.DefaultPriority(), To: []schemas.Recipient{q.To},
			Template: q.Template, Content: q.Content, Params: q.Params,
		},
	}
}

// Previews makes the message of a draft for its channel, or for each that it has a text for, by the same code as
// planning and sending. No time is meant: quiet hours and expiry are not judged. Nothing is stored or sent.
func Previews(book *rules.Book, open map[string]channels.Channel, q Draft, now time.Time) []Preview {
	names := []string{q.Channel}
	if q.Channel == "" {
		names = slices.DeleteFunc(slices.Sorted(maps.Keys(open)), func(name string) bool {
			return q.Template != "" && !book.HasText(q.Template, name, open[name].Traits().Kind)
		})
	}
	out := make([]Preview, 0, len(names))
	for _, name := range names {
		p := preview(book, open, q, name, now)
		if q.Channel == "" && p.Problem != nil && p.Problem.Keyword == noText { // only the channel knows that it needs one
			continue
		}
		out = append(out, p)
	}
	return out
}

func preview(book *rules.Book, open map[string]channels.Channel, q Draft, name string, now time.Time) Preview {
	lookup := func(name string) (rules.Channel, bool) {
		ch, ok := open[name]
		if !ok {
			return rules.Channel{}, false
		}
		return Described(ch), true
	}
	e := q.Event(previewID, now)
	dl, refusal := book.One(e, q.To, name, lookup, now)
	p := Preview{Channel: name, Delivery: dl}
	ch, ok := open[name]
	if ok {
		t := ch.Traits()
		p.Kind, p.Provider, p.To = t.Kind, t.Provider, dl.To.Masked(string(t.Address))
	}
	if refusal != nil {
		p.Problem = &refusal.Problem
		return p
	}
	report := book.Lint(rules.Channels(lookup).Input(dl, time.Time{}))
	if report.Hits == nil {
		report.Hits = []schemas.Hit{}
	}
	p.Rules = &report
	if p.Kind == "sms" {
		p.Text = dl.Message.Text
		if dl.Message.Signature != "" {
			p.Text = "【" + dl.Message.Signature + "】" + p.Text
		}
	}
	if report.Size != nil {
		if amount, currency, ok := book.Price(report.Size.Parts); ok {
			p.Price = &Price{amount, currency}
		}
	}
	if v, ok := ch.(channels.Previewer); ok {
		w, err := v.Preview(dl)
		if f, bad := errors.AsType[*channels.Failure](err); bad {
			words := schemas.Text{Zh: cmp.Or(f.Line, f.Code), En: cmp.Or(f.Line, f.Code)}
			if f.Code == noText {
				words.Zh = "模板没有适用于该通道的内容"
			}
			p.Problem = &schemas.Problem{Keyword: f.Code, Text: words}
		} else if err == nil {
			p.Wire = &w
		}
	}
	return p
}
