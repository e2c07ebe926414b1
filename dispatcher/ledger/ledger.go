// Package ledger keeps what happened to each delivery: one record for each change of state, never
// changed afterwards. A delivery has one subject; each record is written only if the one before it
// is still the last (compare-and-set), so the last record is the truth whoever writes.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Record is one change of a delivery's state.
type Record struct {
	Time    time.Time     `json:"time"`
	State   schemas.State `json:"state"`
	Attempt int           `json:"attempt"` // attempts begun so far in this generation
	Replay  int           `json:"replay,omitzero"`
	// Due is when it goes on: held and uncertain, accepted while a receipt is awaited; for sending, the end
	// of the claim.
	Due    time.Time `json:"due,omitzero"`
	Lookup int       `json:"lookup,omitzero"` // uncertain, accepted: the question that comes next
	Doubts int       `json:"doubts,omitzero"` // attempts of this generation whose outcome is not known
	Waits  int       `json:"waits,omitzero"`  // how often in a row it was told to wait instead of being sent
	Since  time.Time `json:"since,omitzero"`  // when this generation began (planned or replayed)
	Worker string    `json:"worker,omitzero"`
	Took   int64     `json:"took_ms,omitzero"`
	// Again: the copy had been handed to a worker before. If that one died in the call, the third party
	// may have the message twice.
	Again   bool   `json:"again,omitzero"`
	Receipt string `json:"receipt,omitzero"` // the third party's id
	Reply   string `json:"reply,omitzero"`   // its words
	// Provider took it, of a channel with several, and Passed did not; Parts and Cost are what it charges, as
	// [channels.Receipt] has them.
	Provider string         `json:"provider,omitzero"`
	Parts    int            `json:"parts,omitzero"`
	Cost     string         `json:"cost,omitzero"`
	Passed   string         `json:"passed,omitzero"`
	Cause    *schemas.Cause `json:"cause,omitzero"`
	// Review is what the rules found in a message that was sent all the same, for a person to look at.
	Review []schemas.Hit `json:"review,omitzero"`
	// Reported is when it happened, by the third party's clock, for what it reported.
	Reported time.Time `json:"reported,omitzero"`
	// Attachments are the files of a message that went, with those that it had to go without.
	Attachments []channels.Attached `json:"attachments,omitzero"`
	// Step names what led here when the state alone does not say it, see the constants.
	Step   string `json:"step,omitzero"`
	By     string `json:"by,omitzero"` // who, for acts of people
	Reason string `json:"reason,omitzero"`
	// Plan stands in the first record only.
	Plan *Plan `json:"plan,omitzero"`
}

// Open says whether something is still going to happen by itself. Accepted is open while a receipt is
// awaited: Due is when the third party is asked.
func (r *Record) Open() bool {
	return !r.State.Terminal() || r.State == schemas.Accepted && !r.Due.IsZero()
}

// Steps.
const (
	StepRetry     = "retry"      // held: an attempt failed, the next is due
	StepThrottled = "throttled"  // held: a budget or a third party asked to wait; no attempt used up
	StepRests     = "rests"      // held: calls to the third party rest since the cause; no attempt used up
	StepRefused   = "refused"    // held: credentials or settings were refused, a person has to act; no attempt used up
	StepWait      = "wait"       // held: not_before, quiet hours
	StepCap       = "cap"        // held: the daily cap has room again at Due
	StepShutdown  = "shutdown"   // held: the worker stopped; goes on at once
	StepNoTake    = "not-taken"  // held: the third party, asked, knew nothing of the message
	StepReplay    = "replay"     // planned: sent again by a person
	StepRecall    = "recall"     // cancelled: by the producer
	StepTooLate   = "too-late"   // accepted: the recall came after the call had begun
	StepReplanned = "replanned"  // cancelled: planned again with other rules before it was sent
	StepDiverted  = "diverted"   // suppressed: over the cap, another channel takes it
	StepFallback  = "fallback"   // planned: in place of a delivery that failed
	StepReceipt   = "receipt"    // found out by asking the third party
	StepReport    = "report"     // the third party reported it by itself: a receipt, a bounce
	StepAwaits    = "awaits"     // accepted: asked, the third party does not know yet whether it arrived
	StepListens   = "listens"    // accepted, uncertain: the third party may report what became of it, and cannot be asked
	StepNoReceipt = "no-receipt" // accepted: no receipt came, and nobody waits for it any more
	StepNoBounce  = "no-bounce"  // accepted: no bounce came in time; another channel is not needed
	StepDelayed   = "delayed"    // accepted: the third party reports that it is still trying
	StepTakeover  = "takeover"   // uncertain: the worker died between the call and its record
	StepClosed    = "closed"     // dead: nobody could say what became of it
	StepExhausted = "exhausted"  // dead: no attempt left
	StepTooOld    = "too-old"    // dead: waited longer than retry.max_age
	StepRuled     = "ruled"      // dead: a rule said no, and an operator is to see it
	StepUnasked   = "unasked"    // uncertain, accepted: the third party could not be asked
	StepNotYet    = "not-yet"    // uncertain: asked, the third party does not know the message (yet)
)

// Plan is what a list shows of a delivery without its content.
type Plan struct {
	Event    schemas.EventRef `json:"event"`
	Channel  string           `json:"channel"`
	To       string           `json:"to"` // masked
	Category schemas.Category `json:"category"`
	Priority schemas.Priority `json:"priority"`
	Template string           `json:"template,omitzero"`
	Route    string           `json:"route,omitzero"`
}

// EventRecord is what became of an event: its deliveries, or why there are none. It is written
// before any of them, once for each (source, id): that is what makes a repeated event a duplicate.
type EventRecord struct {
	Time       time.Time        `json:"time"`
	Seq        uint64           `json:"seq"` // where the accepted copy stands in EVENTS; 0: recalled before it came
	Event      schemas.EventRef `json:"event"`
	Tenant     string           `json:"tenant"`
	Route      string           `json:"route,omitzero"`
	State      schemas.State    `json:"state"` // planned, dead, cancelled
	Cause      *schemas.Cause   `json:"cause,omitzero"`
	By         string           `json:"by,omitzero"`     // who recalled it or sent it again
	Reason     string           `json:"reason,omitzero"` // and why
	Deliveries []Entry          `json:"deliveries,omitzero"`
}

// Entry points from an event to one of its deliveries.
type Entry struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"` // keyed hash, as in the subject
	To        string `json:"to"`        // masked
	Else      bool   `json:"else,omitzero"`
}

// Ledger reads and writes the records.
type Ledger struct {
	B *broker.Broker
	broker.Hasher
}

// Recipient is the keyed hash under which a delivery's records stand.
func (l *Ledger) Recipient(r schemas.Recipient, channel string, address string) string {
	switch {
	case address == "phone":
		return l.Hash(r.Phone)
	case address == "email":
		return l.Hash(r.Email)
	}
	return l.Hash(schemas.Recipient{Webhook: channel, URL: r.URL}.WebhookAddress())
}

// Subject is where the delivery's records stand.
func Subject(tenant, recipient, id string) string {
	return broker.LedgerDelivery(tenant, recipient, id)
}

// Put appends a record if the last one on the subject still has the sequence expected.
func (l *Ledger) Put(ctx context.Context, subject string, r *Record, expected uint64) (uint64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	return l.B.Put(ctx, broker.Ledger, &nats.Msg{Subject: subject, Data: b}, expected)
}

// Last returns the latest record and its sequence; nil, 0 when there is none.
func (l *Ledger) Last(ctx context.Context, subject string) (*Record, uint64, error) {
	m, err := l.B.Last(ctx, broker.Ledger, subject)
	if err != nil || m == nil {
		return nil, 0, err
	}
	r, err := decode[Record](m.Data)
	return r, m.Sequence, err
}

// PutEvent writes the event's record.
func (l *Ledger) PutEvent(ctx context.Context, r *EventRecord, expected uint64) (uint64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	id, source := schemas.EventKey(r.Event.Source, r.Event.ID)
	return l.B.Put(ctx, broker.Ledger, &nats.Msg{Subject: broker.LedgerEvent(r.Tenant, id, source), Data: b}, expected)
}

// Event returns the event's record; nil, 0 when there is none.
func (l *Ledger) Event(ctx context.Context, tenant, source, id string) (*EventRecord, uint64, error) {
	it, st := schemas.EventKey(source, id)
	m, err := l.B.Last(ctx, broker.Ledger, broker.LedgerEvent(tenant, it, st))
	if err != nil || m == nil {
		return nil, 0, err
	}
	r, err := decode[EventRecord](m.Data)
	return r, m.Sequence, err
}

// decode reads a record. What is none (a forged or foreign message) is an error, never "no record";
// members of a newer version are skipped, so that old and new pods work side by side.
func decode[T Record | EventRecord](b []byte) (*T, error) {
	var r T
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("ledger: unreadable record: %w", err)
	}
	switch r := any(&r).(type) {
	case *Record:
		if r.Time.IsZero() || r.State == "" {
			return nil, errors.New("ledger: a message that is no record")
		}
	case *EventRecord:
		if r.Time.IsZero() || r.State == "" || r.Event.ID == "" {
			return nil, errors.New("ledger: a message that is no event's record")
		}
	}
	return &r, nil
}

// How much of one event a trace reads and shows: of a long history the beginning and the end.
const (
	maxEvents  = 20
	maxRecords = 10_000
	firstShown = 50
	lastShown  = 150
)

// Find returns the records of the events with this id; source and tenant narrow it when not empty.
// id may also be a delivery id.
func (l *Ledger) Find(ctx context.Context, tenant, source, id string) ([]*EventRecord, error) {
	deliveryToken := schemas.IDToken(id)
	token, sourceToken := schemas.EventKey(source, id)
	if source == "" {
		sourceToken = "*"
	}
	if tenant == "" {
		tenant = "*"
	}
	found, err := l.events(ctx, broker.LedgerEvent(tenant, token, sourceToken))
	if err != nil || len(found) > 0 || deliveryToken == "" {
		return found, err
	}
	all, err := l.events(ctx, broker.LedgerEvent(tenant, deliveryToken, "*"))
	var of []*EventRecord
	for _, e := range all {
		for _, d := range e.Deliveries {
			if d.ID == id {
				of = append(of, e)
			}
		}
	}
	return of, err
}

func (l *Ledger) events(ctx context.Context, filter string) ([]*EventRecord, error) {
	ms, err := l.read(ctx, filter, jetstream.DeliverLastPerSubjectPolicy, maxEvents)
	if err != nil {
		return nil, err
	}
	out := make([]*EventRecord, 0, len(ms))
	for _, m := range ms {
		r, err := decode[EventRecord](m.Data())
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Place is where the records of a delivery stand.
type Place struct {
	Subject, Tenant, Channel, ID string
}

// Place finds a delivery by its id; nil when the ledger does not know it.
func (l *Ledger) Place(ctx context.Context, id string) (*Place, error) {
	token := schemas.IDToken(id)
	if token == "" {
		return nil, nil
	}
	events, err := l.events(ctx, broker.LedgerEvent("*", token, "*"))
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		for _, d := range e.Deliveries {
			if d.ID == id {
				return &Place{Subject(e.Tenant, d.Recipient, d.ID), e.Tenant, d.Channel, d.ID}, nil
			}
		}
	}
	return nil, nil
}

// PlaceOf finds the delivery to a recipient (its keyed hash) that the third party took under its own id
// receipt; nil when none of the last maxPlaces records says so.
func (l *Ledger) PlaceOf(ctx context.Context, recipient, receipt string) (*Place, error) {
	ms, err := l.read(ctx, Subject("*", recipient, "*"), jetstream.DeliverLastPerSubjectPolicy, maxPlaces)
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Backward(ms) {
		r, err := decode[Record](m.Data())
		if err != nil {
			return nil, err
		}
		if r.Receipt == receipt {
			// yz.ledger.delivery.<tenant>.<recipient hash>.<delivery id>
			t := strings.Split(m.Subject(), ".")
			return l.Place(ctx, t[len(t)-1])
		}
	}
	return nil, nil
}

// maxPlaces is how many of a recipient's deliveries are looked at: a number gets 50 a day at most, 90 days long.
const maxPlaces = 5000

// TenantsOf lists who has sent something to a recipient (its keyed hash), as long as the ledger remembers.
func (l *Ledger) TenantsOf(ctx context.Context, recipient string) ([]string, error) {
	info, err := l.B.Stream(broker.Ledger).Info(ctx, jetstream.WithSubjectFilter(Subject("*", recipient, "*")))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var out []string
	for subject := range info.State.Subjects {
		if t := strings.Split(subject, "."); len(t) > 3 && !slices.Contains(out, t[3]) {
			out = append(out, t[3])
		}
	}
	slices.Sort(out)
	return out, nil
}

// History returns the records of one delivery, oldest first; of more than 200 the middle is left out.
func (l *Ledger) History(ctx context.Context, tenant, recipient, id string) ([]*Record, error) {
	ms, err := l.read(ctx, Subject(tenant, recipient, id), jetstream.DeliverAllPolicy, maxRecords)
	if err != nil {
		return nil, err
	}
	if len(ms) > firstShown+lastShown {
		ms = append(ms[:firstShown:firstShown], ms[len(ms)-lastShown:]...)
	}
	out := make([]*Record, 0, len(ms))
	for _, m := range ms {
		r, err := decode[Record](m.Data())
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// read returns up to limit messages of LEDGER whose subject matches, oldest first, or nothing when
// there are none.
func (l *Ledger) read(ctx context.Context, filter string, from jetstream.DeliverPolicy, limit int) ([]jetstream.Msg, error) {
	c, err := l.B.JS.CreateConsumer(ctx, broker.Ledger, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: from, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer func() {
		_ = l.B.JS.DeleteConsumer(context.WithoutCancel(ctx), broker.Ledger, c.CachedInfo().Name)
	}()
	n := min(int(c.CachedInfo().NumPending), limit)
	if n == 0 {
		return nil, nil
	}
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var ms []jetstream.Msg
	for m := range batch.Messages() {
		ms = append(ms, m)
	}
	if err := batch.Error(); err != nil || len(ms) < n {
		return nil, fmt.Errorf("ledger: %d of %d records came: %w", len(ms), n, cmp.Or(err, context.DeadlineExceeded))
	}
	return ms, nil
}
