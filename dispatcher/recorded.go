package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of one page of recorded events. A page ends with the event that makes it reach its bytes.
const (
	MaxRecorded   = 500
	recordedBytes = 8 << 20
	recordedFetch = 50 // at once from the broker; an event has at most 320 KiB
)

// RecordedEvent is an event as it stands in EVENTS.
type RecordedEvent struct {
	Stored time.Time // when the broker stored it
	Event  *schemas.Event
}

// RecordedQuery chooses a page of recorded events, in the order in which they were stored.
type RecordedQuery struct {
	Tenants      []string  // none is all
	Since, Until time.Time // by the broker's clock; zero is no bound
	Cursor       uint64    // the next of the page before; it takes Since's place
	Limit        int       // 1..MaxRecorded
}

// Recorded reads a page of the events that are still kept (broker.events_max_age), and where the next one
// begins, 0 at the end. What is no event is left out: it is a dead letter.
func (d *Dispatcher) Recorded(ctx context.Context, q RecordedQuery) (out []RecordedEvent, next uint64, err error) {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 10 * time.Second,
	}
	for _, t := range q.Tenants {
		cfg.FilterSubjects = append(cfg.FilterSubjects, broker.EventSubject(t, ">"))
	}
	switch {
	case q.Cursor > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, q.Cursor
	case !q.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &q.Since
	}
	c, err := d.Broker.JS.CreateConsumer(ctx, broker.Events, cfg)
	if err != nil {
		return nil, 0, fmt.Errorf("recorded events: %w", err)
	}
	defer func() {
		_ = d.Broker.JS.DeleteConsumer(context.WithoutCancel(ctx), broker.Events, c.CachedInfo().Name)
	}()
	pending, size := c.CachedInfo().NumPending, 0
	for seen := 0; pending > 0; {
		batch, err := c.Fetch(int(min(pending, recordedFetch, uint64(q.Limit-seen))), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, 0, fmt.Errorf("recorded events: %w", err)
		}
		before := seen
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, 0, fmt.Errorf("recorded events: %w", err)
			}
			if !q.Until.IsZero() && !meta.Timestamp.Before(q.Until) {
				return out, 0, nil
			}
			seen++
			size += len(m.Data())
			pending, next = meta.NumPending, meta.Sequence.Stream+1
			if e, err := decodeStored(m.Subject(), m.Headers(), m.Data()); err == nil {
				out = append(out, RecordedEvent{meta.Timestamp, e})
			}
		}
		if err := batch.Error(); err != nil || seen == before {
			return nil, 0, fmt.Errorf("recorded events: the broker sent nothing more: %w", errors.Join(err, ctx.Err()))
		}
		if seen >= q.Limit || size >= recordedBytes {
			break
		}
	}
	if pending == 0 {
		next = 0
	}
	return out, next, nil
}

// RecordedByID finds the events with this id that are still kept; tenant and source narrow it when not empty.
func (d *Dispatcher) RecordedByID(ctx context.Context, tenant, source, id string) ([]RecordedEvent, error) {
	found, err := d.Ledger.Find(ctx, tenant, source, id)
	if err != nil {
		return nil, err
	}
	var out []RecordedEvent
	for _, rec := range found {
		m, err := d.Broker.Stream(broker.Events).GetMsg(ctx, rec.Seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("recorded events: %w", err)
		}
		e, err := decodeStored(m.Subject, m.Header, m.Data)
		if err != nil || e.ID != rec.Event.ID || e.Source != rec.Event.Source { // the stream was made anew
			continue
		}
		out = append(out, RecordedEvent{m.Time, e})
	}
	return out, nil
}

// decodeStored reads a message of EVENTS. The tenant of the subject is the one that permissions were
// checked for, so it decides.
func decodeStored(subject string, h nats.Header, body []byte) (*schemas.Event, error) {
	e, err := decode(h, body)
	if err != nil {
		return nil, err
	}
	tenant := token(subject, 2)
	if e.Tenant == schemas.DefaultTenant {
		e.Tenant = tenant
	}
	if e.Tenant != tenant {
		return nil, fmt.Errorf("the event says tenant %q, the subject %q", e.Tenant, tenant)
	}
	return e, nil
}
