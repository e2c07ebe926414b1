package dispatcher

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Recalled counts what a recall did.
type Recalled struct {
	Cancelled int `json:"cancelled"` // will not be sent
	TooLate   int `json:"too_late"`  // under way or ended before
	// Pending: the event is not planned yet; none of its deliveries will be sent.
	Pending bool `json:"pending,omitzero"`
}

// Recall takes an event back: what has not been sent will not be. A delivery whose call is under way
// is too late; its record will say what the third party said.
func (d *Dispatcher) Recall(ctx context.Context, tenant, source, id, by string) (Recalled, error) {
	var out Recalled
	e, _, err := d.Ledger.Event(ctx, tenant, source, id)
	if err != nil {
		return out, err
	}
	if e == nil {
		// Not planned yet: take its place in the ledger, and the planner finds a duplicate.
		rec := &ledger.EventRecord{
			Time: time.Now(), Event: schemas.EventRef{Source: source, ID: id}, Tenant: tenant, State: schemas.Cancelled, By: by,
		}
		_, err := d.Ledger.PutEvent(ctx, rec, 0)
		if !errors.Is(err, broker.ErrConflict) {
			out.Pending = err == nil
			return out, err
		}
		if e, _, err = d.Ledger.Event(ctx, tenant, source, id); err != nil || e == nil {
			return out, errors.Join(err, errors.New("the event's record cannot be read"))
		}
	}
	for _, entry := range e.Deliveries {
		done, err := d.cancel(ctx, tenant, entry, by)
		if err != nil {
			return out, err
		}
		switch {
		case done:
			out.Cancelled++
		case !entry.Else:
			out.TooLate++
		}
	}
	return out, nil
}

func (d *Dispatcher) cancel(ctx context.Context, tenant string, e ledger.Entry, by string) (bool, error) {
	subject := ledger.Subject(tenant, e.Recipient, e.ID)
	for range 5 { // a record between the reading and the writing: look again
		last, seq, err := d.Ledger.Last(ctx, subject)
		if err != nil {
			return false, err
		}
		if last != nil && (last.State.Terminal() || last.State == schemas.Sending || last.State == schemas.Uncertain) || last == nil && e.Else {
			return false, nil
		}
		r := &ledger.Record{Time: time.Now(), State: schemas.Cancelled, Step: ledger.StepRecall, Worker: d.Worker, By: by}
		if last != nil {
			r.Attempt, r.Replay, r.Since = last.Attempt, last.Replay, last.Since
		}
		if _, err = d.Ledger.Put(ctx, subject, r, seq); errors.Is(err, broker.ErrConflict) {
			continue
		}
		if err == nil {
			// Its schedule, if it has one, would fire only to find the record.
			err = d.Broker.Stream(broker.Deliveries).Purge(ctx, jetstream.WithPurgeSubject(broker.LaterSubject(e.ID)))
		}
		return err == nil, err
	}
	return false, nil
}
