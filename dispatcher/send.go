package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// send makes one attempt at one delivery, or asks what became of an earlier one.
// free gives the consumer's slot back, should that take long.
func (d *Dispatcher) send(ctx context.Context, w *gate, msg jetstream.Msg, free func()) {
	j, err := d.open(msg)
	if err != nil {
		d.buryBytes(msg, err) //nolint:contextcheck // an outcome is written in time of its own
		return
	}
	ch := w.Channel
	j.free = free
	fence, ok := d.mine(ctx, ch, j)
	if !ok {
		return
	}
	claimed := fence
	var r *ledger.Record
	switch {
	case j.awaits:
		r = d.await(ctx, ch, j)
	case j.lookup > 0:
		r = d.reconcile(ctx, ch, j)
	default:
		r, fence = d.attempt(ctx, w, j, fence)
	}
	if r != nil && r.State == schemas.Held && (j.lookup > 0 || fence != claimed) && d.recalled(ctx, j) {
		r = &ledger.Record{State: schemas.Cancelled, Step: ledger.StepRecall, Attempt: r.Attempt, Cause: r.Cause}
		if j.lookup > 0 { // an attempt that failed has given its place back
			d.release(ctx, d.input(j.Delivery, time.Now()), j, nil)
		}
	}
	if r != nil {
		r.Time = time.Now()
		d.settle(j, r, fence) //nolint:contextcheck // an outcome is written in time of its own
	}
}

// recalled says whether the event was taken back while a call was under way or its outcome unknown: the recall then
// left the delivery alone, and now that it was surely not taken it must not go again. Unreadable: it goes on, as it
// does after a recall that came too late.
func (d *Dispatcher) recalled(ctx context.Context, j *job) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recallTimeout)
	defer cancel()
	e, _, err := d.Ledger.Event(ctx, j.Tenant, j.Event.Source, j.Event.ID)
	if err != nil {
		d.Log.Warn("ledger unreadable, nobody knows whether the event was recalled", zap.String("delivery", j.ID), zap.Error(err))
	}
	return e != nil && e.State == schemas.Cancelled && j.replay == 0
}

// mine says whether this copy may go on, and on top of which record. A copy that may not is answered here.
func (d *Dispatcher) mine(ctx context.Context, ch channels.Channel, j *job) (fence uint64, ok bool) {
	if !j.old {
		return j.fence, true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	last, seq, err := d.Ledger.Last(ctx, j.subject)
	switch {
	case err != nil:
		d.Log.Warn("ledger unreadable, nothing sent", zap.String("delivery", j.ID), zap.Error(err))
		_ = j.msg.NakWithDelay(j.patience())
		return 0, false
	case seq == j.fence:
		if last != nil {
			j.receipt = last.Receipt
		}
		return seq, true
	case last != nil && last.State == schemas.Sending && time.Now().Before(last.Due):
		// Another worker is at it. If it died, its claim ends at Due.
		_ = j.msg.NakWithDelay(time.Until(last.Due) + 100*time.Millisecond)
		return 0, false
	case last != nil && last.State == schemas.Sending, seq < j.fence && ch.Traits().Once:
		// Begun, and no record of the end: the message may have been taken. (A ledger behind its own
		// delivery has lost its tail in a power cut: the same doubt.)
		if last != nil {
			j.attempt = max(last.Attempt, j.attempt)
		}
		d.settle(j, d.inDoubt(ch, j), seq) //nolint:contextcheck // an outcome is written in time of its own
		return 0, false
	case seq < j.fence:
		return seq, true
	}
	if err := d.follow(ctx, j, last, seq); err != nil {
		d.Log.Warn("settle", zap.String("delivery", j.ID), zap.Error(err))
	}
	return 0, false
}

func (d *Dispatcher) inDoubt(ch channels.Channel, j *job) *ledger.Record {
	c := cause("outcome-unknown", channels.Unknown, errors.New("the worker stopped between the call and its record"))
	return &ledger.Record{
		Time: time.Now(), State: schemas.Uncertain, Step: ledger.StepTakeover, Attempt: j.attempt, Lookup: 1,
		Due: d.firstLookup(ch, time.Now()), Cause: &c,
	}
}

// firstLookup is when an uncertain outcome is asked about first; a channel that cannot be asked
// waits for a receipt until the delivery is too old.
func (d *Dispatcher) firstLookup(ch channels.Channel, now time.Time) time.Time {
	if _, ok := ch.(channels.Reconciler); ok {
		return now.Add(d.Retry.Reconcile[0])
	}
	return now.Add(d.Retry.MaxAge)
}

// attempt passes the gates — rules, destination, budgets, rules with state, claim — and calls the channel. It returns the record
// of the outcome and the record that it goes on top of; nil when the copy is answered already.
func (d *Dispatcher) attempt(ctx context.Context, w *gate, j *job, fence uint64) (*ledger.Record, uint64) {
	ch, t, begun := w.Channel, w.Traits(), time.Now()
	// A copy that was due by the broker's clock is due, also when ours is behind: held again, it would be
	// back at once.
	in := d.input(j.Delivery, later(begun, j.stored))
	v := rules.Judge(d.Book().Guards(), in)
	if v.Action != rules.Pass {
		if j.old {
			d.release(ctx, in, j, nil)
		}
		return d.ruled(v, j.attempt-1), fence
	}
	if begun.Sub(j.begin()) > d.Retry.MaxAge {
		c := cause("too-old", channels.Permanent, nil)
		return &ledger.Record{State: schemas.Dead, Step: ledger.StepTooOld, Attempt: j.attempt - 1, Cause: &c}, fence
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var p *pass // nil: asked for by who makes the call for several
	if !w.joins(j) {
		var f *channels.Failure
		if p, f = d.admit(ctx, w, j.Delivery, j.waits, j.free); f != nil {
			return d.hold(j, f), fence
		}
	}
	if r := d.reserve(ctx, in, j, deadline); r != nil {
		p.back()
		return r, fence
	}
	if t.Once {
		claim := &ledger.Record{
			Time: begun, State: schemas.Sending, Attempt: j.attempt, Replay: j.replay, Since: j.since, Worker: d.Worker,
			Due: deadline.Add(settleMargin),
		}
		seq, err := d.Ledger.Put(ctx, j.subject, claim, fence)
		if err != nil {
			p.back()
		}
		if errors.Is(err, broker.ErrConflict) { // another copy was faster: look what it did
			j.old = true
			if _, mine := d.mine(ctx, ch, j); mine {
				_ = j.msg.NakWithDelay(time.Second)
			}
			return nil, 0
		}
		if err != nil { // unwritten or in doubt; the copy comes again and the ledger knows
			d.Log.Warn("claim", zap.String("delivery", j.ID), zap.Error(err))
			_ = j.msg.NakWithDelay(time.Second)
			return nil, 0
		}
		fence = seq
	}
	if j.attempt == 1 {
		latencySeconds.WithLabelValues(j.Channel, string(j.Priority)).Observe(begun.Sub(j.PlannedAt).Seconds())
	}
	last := d.Retry.last(Attempt{Number: j.attempt, Since: j.begin(), Now: deadline, Expires: j.Expires})
	called := time.Now()
	calling := channels.WithAttempt(ctx, channels.Attempt{Number: j.attempt, Last: last})
	var receipt channels.Receipt
	var f *channels.Failure
	if p != nil {
		receipt, f = p.call(calling, j.Delivery)
	} else {
		receipt, f = d.callTogether(calling, w, j)
	}
	took := time.Since(called)
	if f != nil && isOwn(f) {
		d.release(ctx, in, j, nil)
		return d.hold(j, f), fence
	}
	r, row := d.outcome(ctx, ch, j, receipt, f)
	r.Took = took.Milliseconds()
	if r.State == schemas.Accepted || r.State == schemas.Uncertain { // it went: say what a person should look at
		r.Review, r.Attachments = some(v), receipt.Attachments
	}
	if f != nil && !f.Maybe && r.State != schemas.Uncertain {
		d.release(ctx, in, j, nil)
	}
	d.noteCall(j.Channel, f, r, took)
	d.logAttempt(j, r, row, took)
	return r, fence
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// call is Channel.Send with a panic turned into a failure whose outcome is not known.
func call(ctx context.Context, ch channels.Channel, dl *schemas.Delivery) (r channels.Receipt, f *channels.Failure) {
	defer func() {
		if p := recover(); p != nil {
			f = &channels.Failure{
				Kind: ch.Traits().Kind, Provider: ch.Traits().Provider, Code: "dispatcher:internal", Class: channels.Temporary,
				Maybe: true, Line: channels.Line(fmt.Sprint("panic: ", p)),
			}
		}
	}()
	r, err := ch.Send(ctx, dl)
	if err != nil {
		return r, channels.Explain(err)
	}
	return r, nil
}

// outcome makes the record of an attempt; row is what the diagnoses call its failure.
func (d *Dispatcher) outcome(ctx context.Context, ch channels.Channel, j *job, receipt channels.Receipt, f *channels.Failure) (_ *ledger.Record, row string) {
	t, now := ch.Traits(), time.Now()
	a := Attempt{
		Number: j.attempt, Since: j.begin(), Now: now, Expires: j.Expires, Once: t.Once, Idempotent: t.Idempotent, Doubts: j.doubts,
		Stopped: f != nil && errors.Is(context.Cause(ctx), errShutdown),
	}
	if j.again && !t.Once {
		redeliveredTotal.WithLabelValues(j.Channel).Inc()
	}
	r := &ledger.Record{Attempt: j.attempt, Doubts: j.doubts, Again: j.again && !t.Once, Receipt: receipt.ID, Reply: receipt.Reply}
	r.Provider, r.Parts, r.Cost, r.Passed = receipt.Provider, receipt.Parts, receipt.Cost, receipt.Passed
	if f != nil && f.Maybe {
		r.Doubts++
	}
	class := channels.Class("")
	if f != nil {
		why := d.diagnose(ch, f)
		class, row = why.Class, why.ID
		if !why.Known {
			unexplainedTotal.WithLabelValues(f.Kind, string(class)).Inc()
		}
		r.Cause = causeAs(f, class)
	}
	o := d.Retry.Decide(a, f, class)
	r.State, r.Step, r.Due = o.State, o.Step, o.At
	if o.Step == ledger.StepClosed { // a person decides whether it is sent again
		r.Cause.Class = string(channels.Unknown)
	}
	if !o.Used {
		r.Attempt--
	}
	switch r.State {
	case schemas.Uncertain:
		r.Lookup, r.Due = 1, d.firstLookup(ch, now)
		if _, asks := ch.(channels.Reconciler); !asks {
			r.Step = ledger.StepListens
		}
	case schemas.Accepted:
		d.waits(ch, j.Delivery, r, now)
	}
	return r, row
}

// waits makes an acceptance wait for its receipt, where one may come.
func (d *Dispatcher) waits(ch channels.Channel, dl *schemas.Delivery, r *ledger.Record, now time.Time) {
	t, times := ch.Traits(), d.Retry.Receipts
	_, asks := ch.(channels.Reconciler)
	switch {
	case t.Receipts && asks:
		r.Lookup, r.Due = 1, now.Add(times[0])
	case t.Receipts, t.Bounces && hasAlternative(dl, schemas.WhenFailed):
		r.Lookup, r.Due, r.Step = len(times), now.Add(times[len(times)-1]), cmp.Or(r.Step, ledger.StepListens)
	}
}

// await asks what became of a message that was accepted and whose receipt has not come.
func (d *Dispatcher) await(ctx context.Context, ch channels.Channel, j *job) *ledger.Record {
	ctx, cancel := context.WithTimeout(ctx, ch.Traits().Timeout)
	defer cancel()
	var l channels.Lookup
	err := errUnaskable
	if rc, ok := ch.(channels.Reconciler); ok {
		l, err = rc.Lookup(ctx, j.Delivery, j.since)
	}
	o := d.Retry.Awaited(time.Now(), j.lookup, l, err)
	r := &ledger.Record{State: o.State, Step: o.Step, Due: o.At, Attempt: j.attempt, Receipt: cmp.Or(l.Receipt.ID, j.receipt), Reply: l.Receipt.Reply}
	if r.Open() {
		r.Lookup = j.lookup + 1
	}
	switch {
	case l.Failure != nil && r.State == schemas.Undelivered:
		r.Cause = d.causeOfFailure(l.Failure)
	case o.Step == ledger.StepNoReceipt && ch.Traits().Bounces:
		r.Step = ledger.StepNoBounce
	}
	missedTotal.WithLabelValues(j.Channel, string(r.State)).Inc()
	d.Log.Info("receipt missing", zap.String("delivery", j.ID), zap.String("channel", j.Channel), zap.Int("question", j.lookup),
		zap.String("state", string(r.State)), zap.String("step", r.Step), zap.Error(err))
	return r
}

var errUnaskable = errors.New("this channel cannot be asked")

// causeAs is a failure as it is stored, with its class.
func causeAs(f *channels.Failure, class channels.Class) *schemas.Cause {
	return &schemas.Cause{Kind: f.Kind, Provider: f.Provider, Code: f.Code, Class: string(class), Line: f.Line}
}

// causeOfFailure is a failure as it is stored, with the class that the diagnoses give it.
func (d *Dispatcher) causeOfFailure(f *channels.Failure) *schemas.Cause {
	return causeAs(f, d.Explain(f).Class)
}

// lacks are the reasons for which files did not go with the message.
func lacks(files []channels.Attached) []string {
	var why []string
	for _, f := range files {
		if f.Lack != "" {
			why = append(why, string(f.Lack))
		}
	}
	return why
}

func (d *Dispatcher) logAttempt(j *job, r *ledger.Record, row string, took time.Duration) {
	class := "ok"
	if r.Cause != nil {
		class = r.Cause.Class
	}
	attemptsTotal.WithLabelValues(j.Channel, class).Inc()
	attemptSeconds.WithLabelValues(j.Channel).Observe(took.Seconds())
	fields := []zap.Field{
		zap.String("delivery", j.ID), zap.String("event", j.Event.ID), zap.String("tenant", j.Tenant), zap.String("channel", j.Channel),
		zap.String("to", j.To.Masked(string(d.address(j.Channel)))), zap.Int("attempt", j.attempt), zap.String("state", string(r.State)),
		zap.String("class", class), zap.Duration("took", took.Round(10*time.Microsecond)),
	}
	if r.Cause != nil {
		fields = append(fields, zap.String("code", r.Cause.Code), zap.String("line", r.Cause.Line), zap.String("row", row))
	}
	if r.Receipt != "" {
		fields = append(fields, zap.String("receipt", r.Receipt))
	}
	if why := lacks(r.Attachments); len(why) > 0 { // names are often those of people: the trace has them
		fields = append(fields, zap.Strings("without_attachments", why))
	}
	if !r.Due.IsZero() {
		fields = append(fields, zap.Time("due", r.Due))
	}
	d.Log.Info("attempt", fields...)
}

// reserve asks the rules with state whom the delivery concerns; nil means go ahead.
func (d *Dispatcher) reserve(ctx context.Context, in rules.Input, j *job, until time.Time) *ledger.Record {
	if in.Capped && d.skewed.Load() {
		return d.untold("cap-unavailable", errSkew, j)
	}
	for _, rs := range d.Book().Reservers() {
		if !rs.Concerns(in) {
			continue
		}
		v, err := rs.Reserve(ctx, in, j.holder(), until)
		if err != nil {
			return d.untold(v.Rule, err, j)
		}
		if v.Action != rules.Pass {
			if j.old {
				d.release(ctx, in, j, rs)
			}
			r := d.ruled(v, j.attempt-1)
			if r.State == schemas.Held {
				r.Step = ledger.StepCap
			}
			if r.Step == ledger.StepDiverted && !hasAlternative(j.Delivery, schemas.WhenOverCap) {
				r.State, r.Step = schemas.Dead, ledger.StepRuled
			}
			return r
		}
	}
	return nil
}

// untold is for what a rule with state could not tell: fail closed.
func (d *Dispatcher) untold(code string, err error, j *job) *ledger.Record {
	c := cause(code, channels.Temporary, err)
	return &ledger.Record{
		State: schemas.Held, Step: ledger.StepThrottled, Attempt: j.attempt - 1,
		Due: time.Now().Add(d.Retry.Delay(1)), Cause: &c,
	}
}

func hasAlternative(dl *schemas.Delivery, when string) bool {
	for _, a := range dl.Else {
		if a.When == when {
			return true
		}
	}
	return false
}

// release gives places back after a message that was surely not sent; except is the reserver that has
// just said no, and gave none. A place that cannot be given back is lost until its window ends: fewer
// messages than allowed, never more.
func (d *Dispatcher) release(ctx context.Context, in rules.Input, j *job, except rules.Reserver) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	for _, rs := range d.Book().Reservers() {
		if rs == except || !rs.Concerns(in) {
			continue
		}
		if err := rs.Release(ctx, in, j.holder()); err != nil {
			d.Log.Warn("a place in the daily cap could not be given back", zap.String("delivery", j.ID), zap.Error(err))
		}
	}
}

// reconcile asks the third party what became of a message that it never answered for.
func (d *Dispatcher) reconcile(ctx context.Context, ch channels.Channel, j *job) *ledger.Record {
	t := ch.Traits()
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	a := Attempt{Number: j.attempt, Since: j.begin(), Expires: j.Expires, Once: t.Once}
	var (
		l   channels.Lookup
		err = errUnaskable
	)
	if rc, ok := ch.(channels.Reconciler); ok {
		l, err = rc.Lookup(ctx, j.Delivery, j.since)
	}
	a.Now = time.Now()
	o := d.Retry.Reconciled(a, j.lookup, l, err)
	r := &ledger.Record{State: o.State, Step: o.Step, Due: o.At, Attempt: j.attempt, Receipt: l.Receipt.ID, Reply: l.Receipt.Reply, Provider: l.Receipt.Provider}
	switch {
	case o.State == schemas.Accepted:
		d.waits(ch, j.Delivery, r, a.Now)
	case o.State == schemas.Uncertain:
		r.Lookup, r.Step = j.lookup, ledger.StepUnasked
		if o.Used {
			r.Lookup, r.Step = j.lookup+1, ledger.StepNotYet
		}
		c := cause("outcome-unknown", channels.Unknown, err)
		r.Cause = &c
	case o.Step == ledger.StepExhausted: // not taken, and no attempt left
		c := cause("attempts-exhausted", channels.Temporary, nil)
		r.Cause = &c
	case o.State == schemas.Dead:
		c := cause("outcome-unknown", channels.Unknown, err)
		r.Cause = &c
	case l.Failure != nil:
		r.Cause = d.causeOfFailure(l.Failure)
	}
	if notTaken := o.Step == ledger.StepNoTake || o.Step == ledger.StepExhausted; notTaken && o.State != schemas.Held {
		d.release(ctx, d.input(j.Delivery, a.Now), j, nil)
	}
	d.Log.Info("asked", zap.String("delivery", j.ID), zap.String("channel", j.Channel), zap.Int("question", j.lookup),
		zap.Bool("found", l.Found), zap.String("state", string(r.State)), zap.Error(err))
	return r
}

// buryBytes keeps a message of DELIVERIES that is no delivery.
func (d *Dispatcher) buryBytes(msg jetstream.Msg, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	meta, err := msg.Metadata()
	if err == nil {
		err = d.Dead.Put(ctx, &schemas.DeadLetter{
			ID: fmt.Sprintf("delivery-%d", meta.Sequence.Stream), Time: time.Now(), Tenant: token(msg.Subject(), 4), Channel: "unreadable",
			State: schemas.Dead, Cause: cause("invalid", channels.Permanent, why), Event: msg.Data(),
		})
	}
	if err == nil {
		err = msg.Ack()
	}
	if err != nil {
		d.Log.Warn("bury", zap.Error(err))
	}
}
