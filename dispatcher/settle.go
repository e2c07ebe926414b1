package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// settleTimeout bounds the writing of an outcome; it has its own time, since the attempt's may be
// used up. It outlasts a leader election.
const settleTimeout = 15 * time.Second

// settle ends or continues a delivery, and nothing else does: the record on top of the one at
// fence, then what the record calls for, then the ack. A worker that dies in between leaves a copy
// that is delivered again, finds the record, and does the rest.
func (d *Dispatcher) settle(j *job, r *ledger.Record, fence uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	r.Worker, r.Replay, r.Since = d.Worker, j.replay, j.since
	r.Doubts = max(r.Doubts, j.doubts) // a wait in between forgets no doubt
	seq, err := d.Ledger.Put(ctx, j.subject, r, fence)
	if errors.Is(err, broker.ErrConflict) {
		seq, err = d.settleLate(ctx, j, r)
		if err == nil && seq == 0 {
			return
		}
	}
	if err == nil {
		if !j.awaits || r.State != schemas.Accepted { // still accepted is no change
			countState(j.Channel, r)
		}
		err = d.carry(ctx, j.Delivery, j.body, r, seq)
	}
	if err == nil {
		err = j.msg.Ack()
	}
	if err != nil {
		// Not acked: the broker hands it out again, and the ledger tells what is left to do.
		d.Log.Warn("settle", zap.String("delivery", j.ID), zap.String("state", string(r.State)), zap.Error(err))
	}
}

// settleLate is for an outcome whose place was taken: by a recall that came while the call was under
// way (what the third party said is the truth), or by another copy of the delivery (a repeat).
// It returns 0 when there is nothing left to do.
func (d *Dispatcher) settleLate(ctx context.Context, j *job, r *ledger.Record) (uint64, error) {
	last, seq, err := d.Ledger.Last(ctx, j.subject)
	if err != nil {
		return 0, err
	}
	if last != nil && last.State == schemas.Cancelled && (r.State == schemas.Accepted || r.State == schemas.Uncertain) {
		r.Step = ledger.StepTooLate
		return d.Ledger.Put(ctx, j.subject, r, seq)
	}
	if last != nil && last.State == schemas.Uncertain && last.Step == ledger.StepTakeover && last.Attempt == j.attempt && r.State != schemas.Uncertain {
		return d.Ledger.Put(ctx, j.subject, r, seq) // taken for dead meanwhile, but this is the answer
	}
	// What a receipt or a question says is no second call; a receipt that was faster than the call's own record
	// is of the same one.
	same := j.lookup > 0 || last != nil && last.Step == ledger.StepReport && last.Attempt == j.attempt && last.Replay == j.replay
	if r.State == schemas.Accepted && !same {
		repeatsTotal.WithLabelValues(j.Channel).Inc()
		d.Log.Warn("sent twice", zap.String("delivery", j.ID), zap.String("channel", j.Channel), zap.Int("attempt", j.attempt))
	}
	j.old = true
	return 0, d.follow(ctx, j, last, seq)
}

// follow does what the ledger's last record calls for and acks this copy: somebody else got further.
func (d *Dispatcher) follow(ctx context.Context, j *job, last *ledger.Record, seq uint64) error {
	if last != nil {
		if err := d.carry(ctx, j.Delivery, j.body, last, seq); err != nil {
			return err
		}
	}
	return j.msg.Ack()
}

// soon is how near an instant must be to be now: a schedule would fire it late.
const soon = 20 * time.Millisecond

// carry does what a record calls for. Doing it twice is as good as once.
func (d *Dispatcher) carry(ctx context.Context, dl *schemas.Delivery, body []byte, r *ledger.Record, seq uint64) error {
	switch r.State {
	case schemas.Planned, schemas.Held, schemas.Uncertain, schemas.Accepted:
		if !r.Open() {
			return nil
		}
		m := message(dl, body, r, seq)
		target := broker.DeliverSubject(dl.Channel, dl.Priority, dl.Tenant)
		if wait := time.Until(r.Due); wait > soon {
			m.Header.Del(nats.MsgIdHdr) // one place for each delivery: the newer schedule replaces the older
			return d.Broker.Schedule(ctx, broker.LaterSubject(dl.ID), r.Due, target, m)
		}
		m.Subject = target
		_, err := d.Broker.Publish(ctx, m)
		return err
	case schemas.Dead:
		err := d.Dead.Put(ctx, &schemas.DeadLetter{
			ID: dl.ID, Time: r.Time, Tenant: dl.Tenant, Channel: dl.Channel, State: r.State, Attempts: r.Attempt,
			Replay: r.Replay, Cause: causeOf(r), Delivery: dl, Fence: seq,
		})
		if err != nil {
			return err
		}
		return d.alternatives(ctx, dl, schemas.WhenFailed, doubtful(r))
	case schemas.Undelivered:
		return d.alternatives(ctx, dl, schemas.WhenFailed, false)
	case schemas.Suppressed:
		if r.Step == ledger.StepDiverted {
			return d.alternatives(ctx, dl, schemas.WhenOverCap, false)
		}
	}
	return nil
}

// doubtful says of a dead delivery that nobody knows whether it arrived.
func doubtful(r *ledger.Record) bool {
	return r.State == schemas.Dead && r.Cause != nil && r.Cause.Class == string(channels.Unknown)
}

func causeOf(r *ledger.Record) schemas.Cause {
	if r.Cause == nil {
		return schemas.Cause{Kind: "dispatcher", Code: "internal", Class: string(channels.Permanent)}
	}
	return *r.Cause
}

// alternatives plans what takes dl's place. In doubt whether dl arrived, no second message is sent that costs as
// much as the first: mail takes over from an SMS, another SMS does not.
func (d *Dispatcher) alternatives(ctx context.Context, dl *schemas.Delivery, when string, doubt bool) error {
	for _, a := range dl.Else {
		if a.When == when && !(doubt && d.once(dl.Channel) && d.once(a.Delivery.Channel)) {
			if err := d.enqueue(ctx, &a.Delivery, &ledger.Record{State: schemas.Planned, Step: ledger.StepFallback}); err != nil {
				return fmt.Errorf("alternative %s: %w", a.Delivery.Channel, err)
			}
		}
	}
	return nil
}

// once says whether a repeat over the channel costs money or trust.
func (d *Dispatcher) once(channel string) bool {
	ch := d.Channels[channel]
	return ch != nil && ch.Traits().Once
}

// maxDelivery bounds a delivery's bytes: with what surrounds them, and as a dead letter, they must fit into
// the broker's 1 MiB.
const maxDelivery = 700 << 10

// enqueue begins a delivery's life with the record r (planned, held, suppressed, expired or dead).
// Called again for the same delivery it begins nothing, but finishes what was begun.
func (d *Dispatcher) enqueue(ctx context.Context, dl *schemas.Delivery, r *ledger.Record) error {
	body, err := schemas.Encode(dl)
	if err != nil {
		return err
	}
	if len(body) > maxDelivery { // the broker would refuse it, and its dead letter, for ever
		why := cause("too-large", channels.Content, fmt.Errorf("%d bytes with its alternatives, at most %d", len(body), maxDelivery))
		r = &ledger.Record{State: schemas.Dead, Cause: &why}
		small := *dl
		small.Message, small.Else = schemas.Message{Template: dl.Message.Template}, nil
		dl = &small
		if body, err = schemas.Encode(dl); err != nil {
			return err
		}
	}
	address := d.address(dl.Channel)
	r.Time = time.Now()
	r.Since, r.Worker = r.Time, d.Worker
	r.Plan = &ledger.Plan{
		Event: dl.Event, Channel: dl.Channel, To: dl.To.Masked(string(address)), Category: dl.Category, Priority: dl.Priority,
		Template: dl.Message.Template, Route: dl.Route,
	}
	subject := d.ledgerSubject(dl)
	seq, err := d.Ledger.Put(ctx, subject, r, 0)
	if errors.Is(err, broker.ErrConflict) {
		if r, seq, err = d.Ledger.Last(ctx, subject); err != nil || r == nil || r.State != schemas.Planned && r.State != schemas.Held && r.State != schemas.Dead {
			return err
		}
	} else if err == nil {
		countState(dl.Channel, r)
	}
	if err != nil {
		return err
	}
	return d.carry(ctx, dl, body, r, seq)
}
