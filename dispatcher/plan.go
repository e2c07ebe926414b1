package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// planTimeout bounds the planning of one event: it talks to the broker only.
const planTimeout = 30 * time.Second

// maxPlannings is how often an event is handed out whose routes, texts and rules alone take longer than planTimeout.
// While the broker is in trouble an event waits however long it takes.
const maxPlannings = 5

// plan turns an event into deliveries. The event's own record comes first and once for each
// (source, id): who meets another copy's record has a duplicate, who meets its own was interrupted
// and goes on.
func (d *Dispatcher) plan(ctx context.Context, msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	result, err := d.planEvent(ctx, msg)
	if err == nil {
		eventsTotal.WithLabelValues(result).Inc()
		err = msg.Ack()
	}
	if err != nil {
		d.Log.Warn("plan", zap.String("subject", msg.Subject()), zap.Error(err))
		_ = msg.NakWithDelay(time.Second) // the broker is in trouble; the event waits there
	}
}

func (d *Dispatcher) planEvent(ctx context.Context, msg jetstream.Msg) (result string, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return "", err
	}
	e, err := decodeStored(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return "dead", d.buryEvent(ctx, msg, meta, nil, cause("invalid", channels.Permanent, err))
	}
	route, planned, c := d.deliveries(e, d.Book(), time.Now())
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // nothing but our own reckoning has taken its time
		err := fmt.Errorf("no plan within %s, delivery %d of the event", planTimeout, meta.NumDelivered)
		if meta.NumDelivered < maxPlannings {
			return "", err
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		return "dead", d.buryEvent(late, msg, meta, e, cause("planning-timeout", channels.Config, err))
	}
	if c != nil {
		return "dead", d.buryEvent(ctx, msg, meta, e, *c)
	}
	rec := &ledger.EventRecord{
		Time: time.Now(), Seq: meta.Sequence.Stream, Event: ref(e), Tenant: e.Tenant, Route: route, State: schemas.Planned,
		Deliveries: d.entries(planned),
	}
	if by := msg.Headers().Get(headerReplayed); by != "" {
		rec.By = by
		rec.Reason, _ = url.QueryUnescape(msg.Headers().Get(headerReason))
	}
	before, seq, err := d.claimEvent(ctx, rec)
	switch {
	case err != nil:
		return "", err
	case before != nil && before.Seq != rec.Seq && !replayed(msg, before):
		return "duplicate", nil
	case before != nil && before.State == schemas.Cancelled: // recalled meanwhile
		return "duplicate", nil
	case before != nil: // interrupted after its record, and perhaps the rules have changed since
		if err := d.cancelMissing(ctx, before, rec); err != nil {
			return "", err
		}
		if _, err := d.Ledger.PutEvent(ctx, rec, seq); err != nil {
			return "", err
		}
	}
	var g errgroup.Group
	for _, p := range planned {
		g.Go(func() error { return d.enqueue(ctx, p.delivery, p.record) })
	}
	return "planned", g.Wait()
}

// claimEvent writes the event's record, or returns the one that stands there already.
func (d *Dispatcher) claimEvent(ctx context.Context, rec *ledger.EventRecord) (before *ledger.EventRecord, seq uint64, err error) {
	if _, err = d.Ledger.PutEvent(ctx, rec, 0); !errors.Is(err, broker.ErrConflict) {
		return nil, 0, err
	}
	before, seq, err = d.Ledger.Event(ctx, rec.Tenant, rec.Event.Source, rec.Event.ID)
	if err == nil && before == nil {
		err = errors.New("the event's record was there and is gone")
	}
	return before, seq, err
}

// replayed: a person sent the event again, and it may take the place of its own dead record.
func replayed(msg jetstream.Msg, before *ledger.EventRecord) bool {
	return before.State == schemas.Dead && msg.Headers().Get(headerReplayed) != ""
}

// cancelMissing ends what an earlier, interrupted planning named and this one does not; what has begun
// already ends by itself, and stays in the event's record.
func (d *Dispatcher) cancelMissing(ctx context.Context, before, now *ledger.EventRecord) error {
	named := map[string]bool{}
	for _, e := range now.Deliveries {
		named[e.ID] = true
	}
	for _, e := range before.Deliveries {
		if named[e.ID] || e.Else {
			continue
		}
		r := &ledger.Record{
			Time: time.Now(), State: schemas.Cancelled, Step: ledger.StepReplanned, Worker: d.Worker,
			Plan: &ledger.Plan{Event: now.Event, Channel: e.Channel, To: e.To},
		}
		_, err := d.Ledger.Put(ctx, ledger.Subject(now.Tenant, e.Recipient, e.ID), r, 0)
		if errors.Is(err, broker.ErrConflict) {
			now.Deliveries = append(now.Deliveries, e)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// planned is a delivery and the first record of its life.
type planned struct {
	delivery *schemas.Delivery
	record   *ledger.Record
}

// deliveries is the plan itself: pure. A cause means that the event as a whole cannot be planned.
func (d *Dispatcher) deliveries(e *schemas.Event, book *rules.Book, now time.Time) (route string, ps []planned, c *schemas.Cause) {
	p, refusal := book.Plan(e, d.channel, now)
	if refusal != nil {
		why := refused(refusal)
		return p.Choice.Route, nil, &why
	}
	for _, one := range p.Deliveries {
		ps = append(ps, planned{one.Delivery, d.first(one)})
	}
	return p.Choice.Route, ps, nil
}

// channel tells the rules what they need to know of a channel.
func (d *Dispatcher) channel(name string) (rules.Channel, bool) {
	ch := d.Channels[name]
	if ch == nil {
		return rules.Channel{}, false
	}
	return Described(ch), true
}

// Described is what the rules need to know of a channel.
func Described(ch channels.Channel) rules.Channel {
	t := ch.Traits()
	return rules.Channel{Kind: t.Kind, Provider: t.Provider, Address: string(t.Address), Signature: t.Signature, Capped: t.Capped, Mentions: t.Mentions, Attaches: t.Attaches}
}

// refusals are the classes of the planner's refusals.
var refusals = map[string]channels.Class{
	rules.Unjudgeable: channels.Permanent, rules.NoRoute: channels.Config, rules.NoChannel: channels.Config,
	rules.NoRecipient: channels.BadTarget, rules.NoTemplate: channels.Content, rules.BadEventData: channels.Content,
}

func refused(r *rules.Refusal) schemas.Cause {
	class := refusals[r.Code]
	if class != channels.Content {
		return cause(r.Code, class, r)
	}
	// What stands in the event, or the template, does not make a message: say where.
	c := cause(r.Code, class, nil)
	c.Hits = []schemas.Hit{{Rule: r.Problem.Keyword, Action: "block", Field: r.Problem.Pointer, Advice: r.Problem.Text}}
	return c
}

// first is the record with which a delivery's life begins.
func (d *Dispatcher) first(p rules.Planned) *ledger.Record {
	if p.Refusal != nil {
		why := refused(p.Refusal)
		return &ledger.Record{State: schemas.Dead, Cause: &why}
	}
	return d.ruled(p.Verdict, 0)
}

// input is what the rules see of a delivery.
func (d *Dispatcher) input(dl *schemas.Delivery, now time.Time) rules.Input {
	return rules.Channels(d.channel).Input(dl, now)
}

// ruled turns a verdict into the record it calls for; attempts is how many were begun before.
func (d *Dispatcher) ruled(v rules.Verdict, attempts int) *ledger.Record {
	r := &ledger.Record{State: schemas.Planned, Attempt: attempts}
	if v.Action == rules.Pass {
		return r
	}
	code := v.Rule
	if code == "x" || code != "" && strings.Trim(code, "0123456789") == "" {
		code = "rule-" + code // one of the carriers' rules, which have numbers
	}
	why := d.Explain(&channels.Failure{Kind: "dispatcher", Code: code})
	r.Cause = &schemas.Cause{Kind: "dispatcher", Code: code, Class: string(why.Class), Hits: some(v)}
	switch v.Action {
	case rules.Hold:
		r.State, r.Due, r.Step = schemas.Held, v.Until, ledger.StepWait
	case rules.Suppress:
		r.State = schemas.Suppressed
	case rules.Divert:
		r.State, r.Step = schemas.Suppressed, ledger.StepDiverted
	case rules.Expire:
		r.State = schemas.Expired
	case rules.Bury:
		r.State, r.Step = schemas.Dead, ledger.StepRuled
	}
	return r
}

// maxKept bounds the hits in a record: who reads it needs to see why, not everything.
const maxKept = 20

// some are the hits to keep of a verdict, those that decided first.
func some(v rules.Verdict) []schemas.Hit {
	hits := rules.DecisiveFirst(v.Hits, v.Rule)
	return hits[:min(len(hits), maxKept)]
}

func ref(e *schemas.Event) schemas.EventRef {
	return schemas.EventRef{Source: e.Source, ID: e.ID, Type: e.Type, Time: e.Time}
}

// cause is a decision of ours, with the words of err masked.
func cause(code string, class channels.Class, err error) schemas.Cause {
	c := schemas.Cause{Kind: "dispatcher", Code: code, Class: string(class)}
	if err != nil {
		c.Line = channels.Line(err.Error())
	}
	return c
}

func (d *Dispatcher) entries(ps []planned) []ledger.Entry {
	var es []ledger.Entry
	seen := map[string]bool{}
	entry := func(dl *schemas.Delivery, alt bool) {
		if seen[dl.ID] {
			return
		}
		seen[dl.ID] = true
		es = append(es, ledger.Entry{
			ID: dl.ID, Channel: dl.Channel, Recipient: d.recipient(dl), To: dl.To.Masked(string(d.address(dl.Channel))), Else: alt,
		})
	}
	for _, p := range ps {
		entry(p.delivery, false)
	}
	for _, p := range ps {
		for i := range p.delivery.Else {
			entry(&p.delivery.Else[i].Delivery, true)
		}
	}
	return es
}

// decode reads an event, structured or binary (CloudEvents NATS protocol binding).
func decode(h nats.Header, body []byte) (*schemas.Event, error) {
	lower := nats.Header{}
	names := make([]string, 0, len(h))
	for n, v := range h {
		n = strings.ToLower(n)
		lower[n] = v
		names = append(names, n)
	}
	if lower.Get("ce-specversion") == "" {
		return schemas.DecodeEvent(body)
	}
	return schemas.DecodeBinary(func(n string) string { return lower.Get(strings.ToLower(n)) }, names, body)
}

// token is the n-th part of a subject, counted from 0.
func token(subject string, n int) string {
	parts := strings.SplitN(subject, ".", n+2)
	if len(parts) <= n {
		return "_"
	}
	return parts[n]
}

// buryEvent keeps an event that cannot be planned: its bytes and why.
func (d *Dispatcher) buryEvent(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, e *schemas.Event, c schemas.Cause) error {
	tenant := token(msg.Subject(), 2)
	id := fmt.Sprintf("event-%d", meta.Sequence.Stream) // unreadable: it has no id of its own
	var seq uint64
	var about schemas.EventRef
	if e != nil {
		idToken, sourceToken := schemas.EventKey(e.Source, e.ID)
		id = idToken + sourceToken
		about = ref(e)
		rec := &ledger.EventRecord{
			Time: time.Now(), Seq: meta.Sequence.Stream, Event: ref(e), Tenant: e.Tenant, State: schemas.Dead, Cause: &c,
		}
		before, at, err := d.claimEvent(ctx, rec)
		if err != nil {
			return err
		}
		if before != nil && before.Seq != rec.Seq && !replayed(msg, before) {
			return nil // a duplicate of one that was dealt with
		}
		seq = at
	}
	headers := map[string]string{}
	for n, v := range msg.Headers() {
		if strings.HasPrefix(strings.ToLower(n), "ce-") || strings.EqualFold(n, "Content-Type") {
			headers[n] = strings.Join(v, ",")
		}
	}
	d.Log.Warn("event buried", zap.String("subject", msg.Subject()), zap.String("id", id), zap.String("code", c.Code), zap.String("line", c.Line))
	return d.Dead.Put(ctx, &schemas.DeadLetter{
		ID: id, Time: time.Now(), Tenant: tenant, Channel: EventChannel, State: schemas.Dead, Cause: c,
		Event: msg.Data(), Headers: headers, Ref: about, Fence: seq,
	})
}

// EventChannel stands for the channel of a dead letter that is an event.
const EventChannel = "event"

// EventMessage makes the message with which an event enters EVENTS.
func EventMessage(e *schemas.Event, body []byte) *nats.Msg {
	m := nats.NewMsg(broker.EventSubject(e.Tenant, e.Type))
	m.Data = body
	id, source := schemas.EventKey(e.Source, e.ID)
	m.Header.Set(nats.MsgIdHdr, e.Tenant+"."+id+source) // per tenant: nobody's event is dropped for another's
	m.Header.Set("Content-Type", "application/cloudevents+json")
	return m
}
