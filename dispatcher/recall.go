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

// Recall takes an event back: what has not been sent will not be. A call that is under way is too late;
// where no claim says so (mail, webhooks), a long one may end after its delivery was cancelled, and its
// record then says what the third party said.
func (d *Dispatcher) Recall(ctx context.Context, tenant, source, id, by string) (Recalled, error) {
	var out Recalled
	e, seq, err := d.Ledger.Event(ctx, tenant, source, id)
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
		if e, seq, err = d.Ledger.Event(ctx, tenant, source, id); err != nil || e == nil {
			return out, errors.Join(err, errors.New("the event's record cannot be read"))
		}
	}
	// No later planning of the same event brings them back.
	if e.State == schemas.Planned {
		e.State, e.By = schemas.Cancelled, by
		if _, err := d.Ledger.PutEvent(ctx, e, seq); err != nil && !errors.Is(err, broker.ErrConflict) {
			return out, err
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

// cancel closes one delivery, and its place when it is an alternative that nobody has needed yet.
func (d *Dispatcher) cancel(ctx context.Context, tenant string, e ledger.Entry, by string) (bool, error) {
	subject := ledger.Subject(tenant, e.Recipient, e.ID)
	for range 5 { // a record between the reading and the writing: look again
		last, seq, err := d.Ledger.Last(ctx, subject)
		if err != nil {
			return false, err
		}
		switch {
		case last == nil:
		case last.State == schemas.Cancelled: // perhaps by us, interrupted before the schedule was gone
			return true, d.unschedule(ctx, e.ID)
		case last.State.Terminal(), last.State == schemas.Sending, last.State == schemas.Uncertain:
			return false, nil
		case last.State == schemas.Planned && time.Since(last.Time) < freshFor:
			// Its first copy may be on its way without a look at the ledger; afterwards every copy looks.
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(freshFor - time.Since(last.Time)):
			}
			continue
		}
		r := &ledger.Record{Time: time.Now(), State: schemas.Cancelled, Step: ledger.StepRecall, Worker: d.Worker, By: by}
		if last != nil {
			r.Attempt, r.Replay, r.Since = last.Attempt, last.Replay, last.Since
		}
		if _, err = d.Ledger.Put(ctx, subject, r, seq); errors.Is(err, broker.ErrConflict) {
			continue
		}
		if err != nil {
			return false, err
		}
		return last != nil || !e.Else, d.unschedule(ctx, e.ID)
	}
	return false, nil
}

// unschedule takes the delivery's schedule away; fired, it would only find the record.
func (d *Dispatcher) unschedule(ctx context.Context, id string) error {
	return d.Broker.Stream(broker.Deliveries).Purge(ctx, jetstream.WithPurgeSubject(broker.LaterSubject(id)))
}
