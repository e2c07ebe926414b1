package rules

import (
	"errors"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Channel is what planning must know of a channel, so that it needs to know no channel by name.
type Channel struct {
	Kind      string // email, sms, webhook
	Provider  string // of an SMS channel: aliyun, tencent, huawei; "" when not known
	Address   string // what it needs of a recipient: "phone", "email", or "none" where the channel itself is the address
	Signature string // that the provider will put in front of an SMS, without brackets
	Capped    bool   // counts against the daily cap of the recipient's number
	Mentions  bool   // names the event's people by their phone numbers
	// Attaches are the schemes of attachments' URLs that a mail channel fetches: "https s3".
	Attaches string
}

// Channels finds a configured channel by its name.
type Channels func(name string) (Channel, bool)

// addressNone is the address of a channel that is one itself, and of one that is not configured.
const addressNone = "none"

// address is what the channel needs of a recipient.
func (c Channels) address(name string) string {
	if ch, ok := c(name); ok {
		return ch.Address
	}
	return addressNone
}

// Input is what the rules see of a delivery over the named channel.
func (c Channels) Input(dl *schemas.Delivery, now time.Time) Input {
	ch, _ := c(dl.Channel)
	return Input{Delivery: dl, Kind: ch.Kind, Provider: ch.Provider, Signature: dl.Message.Signature, Capped: ch.Capped, Now: now}
}

// Plan is what becomes of an event.
type Plan struct {
	Choice     Choice
	Deliveries []Planned
}

// Planned is one delivery of a plan.
type Planned struct {
	Delivery *schemas.Delivery
	// Refusal says why it cannot be sent; nil when it can.
	Refusal *Refusal
	// Verdict is the guards' on it at the time of planning; they are asked again when it is sent.
	Verdict Verdict
}

// The codes of a [Refusal].
const (
	Unjudgeable  = "invalid"        // a route's condition cannot be judged on the event's values
	NoRoute      = "no-route"       // no route takes the event, or its channels reach nobody
	NoChannel    = "no-channel"     // the channel is not configured
	NoRecipient  = "no-recipient"   // the recipient has no address for the channel
	NoTemplate   = "no-template"    // no text for this channel
	BadEventData = "bad-event-data" // what stands in the event does not make a message
)

// Refusal is why an event, or one delivery of it, cannot be sent. No retry cures it.
type Refusal struct {
	Code string
	// Problem has the words; its pointer is empty where no member of the event is to blame.
	Problem schemas.Problem
}

func (r *Refusal) Error() string {
	if r.Problem.Pointer == "" {
		return r.Problem.En
	}
	return (&schemas.Invalid{Problems: []schemas.Problem{r.Problem}}).Error()
}

func refusef(code, zh, en string, args ...any) *Refusal {
	return &Refusal{code, schemas.Problem{Keyword: code, Text: Textf(zh, en, args...)}}
}

// refused takes the first problem of an error over.
func refused(code string, err error) *Refusal {
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok && len(bad.Problems) > 0 {
		return &Refusal{code, bad.Problems[0]}
	}
	return refusef(code, "%[1]v", "%[1]v", err)
}

// Plan turns an event into deliveries: every channel of the route for every recipient that has an
// address for it, and each webhook once; rendered, with the alternatives that the route and the
// daily cap name, and judged. The same recipient over the same channel is planned once. A refusal
// means that the event as a whole cannot be planned.
func (b *Book) Plan(e *schemas.Event, channels Channels, now time.Time) (Plan, *Refusal) {
	choice, ok, err := b.Route(e)
	if err != nil {
		return Plan{}, refused(Unjudgeable, err)
	}
	p := planner{book: b, event: e, channels: channels, choice: choice, now: now, seen: map[string]bool{}}
	people := 0
	for _, to := range e.Data.To {
		if to.Webhook == "" {
			people++
		}
	}
	if !ok && people > 0 {
		return Plan{}, refusef(NoRoute, "没有路由接收 %s", "no route takes %s", e.Type)
	}
	for _, to := range e.Data.To {
		if to.Webhook != "" { // needs no route
			p.add(schemas.Recipient{Webhook: to.Webhook, URL: to.URL}, to.Webhook)
		}
	}
	if people == 0 && !ok {
		return Plan{Deliveries: p.planned}, nil
	}
	for _, name := range choice.Send {
		if channels.address(name) == addressNone {
			p.add(schemas.Recipient{Webhook: name}, name)
		}
	}
	for _, to := range e.Data.To {
		if to.Webhook == "" {
			p.person(to)
		}
	}
	for _, one := range p.planned { // what is sent anyway is no alternative
		one.Delivery.Else = slices.DeleteFunc(one.Delivery.Else, func(a schemas.Alternative) bool { return p.seen[a.Delivery.ID] })
	}
	if len(p.planned) == 0 {
		return Plan{Choice: choice}, refusef(NoRoute, "路由 %q 中没有适用于这些收件人的通道", "route %q names no channel for these recipients", choice.Route)
	}
	return Plan{choice, p.planned}, nil
}

// One makes the delivery of an event for one recipient over one channel, rendered, whatever the routes say: for looking
// at a message that is not sent. The delivery is there with a refusal too, without its message.
func (b *Book) One(e *schemas.Event, to schemas.Recipient, channel string, channels Channels, now time.Time) (*schemas.Delivery, *Refusal) {
	p := planner{book: b, event: e, channels: channels, now: now}
	if channels.address(channel) == addressNone {
		to = schemas.Recipient{Webhook: channel}
	}
	return p.bare(to, channel)
}

// planner is one planning under way.
type planner struct {
	book     *Book
	event    *schemas.Event
	channels Channels
	choice   Choice
	now      time.Time
	seen     map[string]bool // delivery ids
	planned  []Planned
}

func (p *planner) person(to schemas.Recipient) {
	reached := false
	for _, name := range p.choice.Send {
		switch a := p.channels.address(name); {
		case a == addressNone:
			reached = true
		case addressOf(to, a) != "":
			reached = true
			p.add(to, name)
		}
	}
	if !reached && len(p.choice.Send) > 0 { // kept as a dead letter, so that the address can be added
		p.add(to, p.choice.Send[0])
	}
}

func (p *planner) add(to schemas.Recipient, channel string) {
	dl, refusal := p.bare(to, channel)
	if p.seen[dl.ID] {
		return
	}
	p.seen[dl.ID] = true
	for _, name := range p.choice.Fallback {
		p.alternative(dl, to, schemas.WhenFailed, name)
	}
	if ch, _ := p.channels(channel); ch.Capped {
		p.alternative(dl, to, schemas.WhenOverCap, p.book.DivertTo())
	}
	one := Planned{Delivery: dl, Refusal: refusal}
	if refusal == nil {
		one.Verdict = Judge(p.book.guards, p.channels.Input(dl, p.now))
	}
	p.planned = append(p.planned, one)
}

// alternative adds what takes the delivery's place over another channel, if that one can.
func (p *planner) alternative(dl *schemas.Delivery, to schemas.Recipient, when, other string) {
	if other == dl.Channel || other == "" {
		return
	}
	if a := p.channels.address(other); a == addressNone {
		to = schemas.Recipient{Webhook: other}
	} else if addressOf(to, a) == "" {
		return
	}
	if alt, refusal := p.bare(to, other); refusal == nil {
		dl.Else = append(dl.Else, schemas.Alternative{When: when, Delivery: *alt})
	}
}

// bare makes one delivery without alternatives.
func (p *planner) bare(to schemas.Recipient, channel string) (*schemas.Delivery, *Refusal) {
	e := p.event
	address := addressOf(to, p.channels.address(channel))
	dl := &schemas.Delivery{
		ID:    schemas.DeliveryID(e.Tenant, e.Source, e.ID, address, channel),
		Event: schemas.EventRef{Source: e.Source, ID: e.ID, Type: e.Type, Time: e.Time}, Tenant: e.Tenant, Channel: channel,
		Category: e.Data.Category, Priority: e.Data.Priority, To: to, Route: p.choice.Route,
		NotBefore: e.Data.NotBefore, Expires: e.Data.Expires, PlannedAt: p.now, TraceParent: e.TraceParent,
	}
	ch, ok := p.channels(channel)
	if !ok {
		return dl, refusef(NoChannel, "没有配置通道 %q", "no channel %q is configured", channel)
	}
	if address == "" {
		// No address: the id must still tell this recipient from the next.
		dl.ID = schemas.DeliveryID(e.Tenant, e.Source, e.ID, "?"+to.Phone+to.Email+to.Name, channel)
		need := map[string]string{"phone": "手机号", "email": "邮箱"}[ch.Address]
		return dl, refusef(NoRecipient, "收件人没有通道 %[1]s 所需的%[2]s", "the recipient has no %[3]s for channel %[1]s", channel, need, ch.Address)
	}
	m, err := p.book.Render(e, to, channel, ch.Kind)
	if err != nil {
		refusal := refused(BadEventData, err)
		if refusal.Problem.Keyword == "template" || refusal.Problem.Pointer == "" {
			refusal.Code = NoTemplate
		}
		return dl, refusal
	}
	if ch.Kind == kindSMS && m.Signature == "" {
		m.Signature = ch.Signature
	}
	if ch.Mentions {
		m.At = phones(e.Data.To)
	}
	if ch.Kind == kindEmail {
		attach(&m, e.Data.Attachment, ch.Attaches)
	}
	dl.Message = m
	return dl, nil
}

// maxMentions bounds how many people one message mentions: more is shouting, and the platforms have limits.
const maxMentions = 50

// phones are the numbers of an event's people, each once.
func phones(to []schemas.Recipient) (out []string) {
	for _, r := range to {
		if r.Phone != "" && len(out) < maxMentions && !slices.Contains(out, r.Phone) {
			out = append(out, r.Phone)
		}
	}
	return out
}

func addressOf(r schemas.Recipient, address string) string {
	switch address {
	case "phone":
		return r.Phone
	case "email":
		return r.Email
	default:
		return r.WebhookAddress()
	}
}
