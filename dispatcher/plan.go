package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
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
	e, err := decodeEvent(msg)
	if err != nil {
		return "dead", d.buryEvent(ctx, msg, meta, nil, cause("invalid", channels.Permanent, err))
	}
	route, planned, c := d.deliveries(e, d.Book(), time.Now())
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

// deliveries is the plan itself: pure but for the rendering. A cause means that the event as a
// whole cannot be planned.
func (d *Dispatcher) deliveries(e *schemas.Event, book *rules.Book, now time.Time) (route string, ps []planned, c *schemas.Cause) {
	choice, ok, err := book.Route(e)
	if err != nil {
		why := cause("invalid", channels.Permanent, err)
		return "", nil, &why
	}
	// A webhook that the event names as a recipient needs no route.
	var direct []string
	people := 0
	for _, r := range e.Data.To {
		if r.Webhook != "" {
			direct = append(direct, r.Webhook)
		} else {
			people++
		}
	}
	if !ok && people > 0 {
		why := cause("no-route", channels.Config, fmt.Errorf("no route takes %s", e.Type))
		return "", nil, &why
	}
	seen := map[string]bool{}
	add := func(to schemas.Recipient, channel string) {
		dl, why := d.delivery(e, book, to, channel, choice, now)
		if !seen[dl.ID] {
			seen[dl.ID] = true
			ps = append(ps, planned{dl, d.first(dl, book, why, now)})
		}
	}
	for _, name := range direct {
		add(schemas.Recipient{Webhook: name}, name)
	}
	if people == 0 && !ok {
		return "", ps, nil
	}
	for _, name := range choice.Send {
		if d.address(name) == channels.None {
			add(schemas.Recipient{Webhook: name}, name)
		}
	}
	for _, to := range e.Data.To {
		if to.Webhook != "" {
			continue
		}
		reached := false
		for _, name := range choice.Send {
			if a := d.address(name); a == channels.None || addressOf(to, a) != "" {
				reached = true
				if a != channels.None {
					add(to, name)
				}
			}
		}
		if !reached && len(choice.Send) > 0 { // kept as a dead letter, so that the address can be added
			add(to, choice.Send[0])
		}
	}
	for _, p := range ps { // what is sent anyway is no alternative
		p.delivery.Else = slices.DeleteFunc(p.delivery.Else, func(a schemas.Alternative) bool { return seen[a.Delivery.ID] })
	}
	if len(ps) == 0 {
		why := cause("no-route", channels.Config, fmt.Errorf("route %q names no channel for these recipients", choice.Route))
		return choice.Route, nil, &why
	}
	return choice.Route, ps, nil
}

// delivery makes one delivery with the alternatives that its route and the daily cap name. The cause
// says why it cannot be sent, nil when it can.
func (d *Dispatcher) delivery(e *schemas.Event, book *rules.Book, to schemas.Recipient, channel string, choice rules.Choice, now time.Time) (*schemas.Delivery, *schemas.Cause) {
	dl, why := d.bare(e, book, to, channel, choice.Route, now)
	alternative := func(when, other string) {
		if other == channel || other == "" {
			return
		}
		target := to
		if d.address(other) == channels.None {
			target = schemas.Recipient{Webhook: other}
		} else if addressOf(to, d.address(other)) == "" {
			return
		}
		if alt, why := d.bare(e, book, target, other, choice.Route, now); why == nil {
			dl.Else = append(dl.Else, schemas.Alternative{When: when, Delivery: *alt})
		}
	}
	for _, name := range choice.Fallback {
		alternative(schemas.WhenFailed, name)
	}
	if ch := d.Channels[channel]; ch != nil && ch.Traits().Capped {
		alternative(schemas.WhenOverCap, book.DivertTo())
	}
	return dl, why
}

func (d *Dispatcher) bare(e *schemas.Event, book *rules.Book, to schemas.Recipient, channel, route string, now time.Time) (*schemas.Delivery, *schemas.Cause) {
	address := addressOf(to, d.address(channel))
	dl := &schemas.Delivery{
		ID: schemas.DeliveryID(e.Tenant, e.Source, e.ID, address, channel), Event: ref(e), Tenant: e.Tenant, Channel: channel,
		Category: e.Data.Category, Priority: e.Data.Priority, To: to, Route: route,
		NotBefore: e.Data.NotBefore, Expires: e.Data.Expires, PlannedAt: now, TraceParent: e.TraceParent,
	}
	ch := d.Channels[channel]
	if ch == nil {
		why := cause("no-channel", channels.Config, fmt.Errorf("no channel %q is configured", channel))
		return dl, &why
	}
	t := ch.Traits()
	if address == "" {
		// No address: the id must still tell this recipient from the next.
		dl.ID = schemas.DeliveryID(e.Tenant, e.Source, e.ID, "?"+to.Phone+to.Email+to.Name, channel)
		why := cause("no-recipient", channels.BadTarget, fmt.Errorf("the recipient has no %s for channel %s", t.Address, channel))
		return dl, &why
	}
	m, err := book.Render(e, to, channel, t.Kind)
	if err != nil {
		why := unrenderable(err)
		return dl, &why
	}
	if t.Kind == "sms" && m.Signature == "" {
		m.Signature = t.Signature
	}
	dl.Message = m
	return dl, nil
}

// unrenderable is why no message could be made of the event: the template is missing, or what stands in
// the event does not do.
func unrenderable(err error) schemas.Cause {
	bad, ok := errors.AsType[*schemas.Invalid](err)
	if !ok || len(bad.Problems) == 0 {
		return cause("no-template", channels.Content, err)
	}
	p := bad.Problems[0]
	code := "bad-event-data"
	if p.Keyword == "template" {
		code = "no-template"
	}
	c := cause(code, channels.Content, nil)
	c.Hits = []schemas.Hit{{Rule: p.Keyword, Action: "block", Field: p.Pointer, Advice: p.Text}}
	return c
}

// first is the record with which a delivery's life begins.
func (d *Dispatcher) first(dl *schemas.Delivery, book *rules.Book, why *schemas.Cause, now time.Time) *ledger.Record {
	if why != nil {
		return &ledger.Record{State: schemas.Dead, Cause: why}
	}
	v := rules.Judge(book.Guards(), d.input(dl, now))
	return d.ruled(v, 0)
}

// input is what the rules see of a delivery.
func (d *Dispatcher) input(dl *schemas.Delivery, now time.Time) rules.Input {
	in := rules.Input{Delivery: dl, Signature: dl.Message.Signature, Now: now}
	if ch := d.Channels[dl.Channel]; ch != nil {
		t := ch.Traits()
		in.Kind, in.Provider, in.Capped = t.Kind, t.Provider, t.Capped
	}
	return in
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
	decisive := rules.ReportBlock
	if v.Action == rules.Hold {
		decisive = rules.ReportHold
	}
	hits := slices.Clone(v.Hits)
	slices.SortStableFunc(hits, func(a, b schemas.Hit) int {
		switch {
		case a.Action == b.Action:
			return 0
		case a.Action == decisive:
			return -1
		case b.Action == decisive:
			return 1
		}
		return 0
	})
	return hits[:min(len(hits), maxKept)]
}

func addressOf(r schemas.Recipient, a channels.Address) string {
	switch a {
	case channels.Phone:
		return r.Phone
	case channels.Email:
		return r.Email
	default:
		return "channel:" + r.Webhook
	}
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

// decodeEvent reads a message of EVENTS. The tenant of the subject is the one that permissions were
// checked for, so it decides.
func decodeEvent(msg jetstream.Msg) (*schemas.Event, error) {
	e, err := decode(msg.Headers(), msg.Data())
	if err != nil {
		return nil, err
	}
	tenant := token(msg.Subject(), 2)
	if e.Tenant == schemas.DefaultTenant {
		e.Tenant = tenant
	}
	if e.Tenant != tenant {
		return nil, fmt.Errorf("the event says tenant %q, the subject %q", e.Tenant, tenant)
	}
	return e, nil
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
