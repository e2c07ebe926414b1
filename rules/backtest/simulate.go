package backtest

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// callTime is how long a call may take: each place in the daily cap is as long.
const callTime = 30 * time.Second

// task is a delivery that waits for its time.
type task struct {
	due      time.Time
	seq      uint64 // of two at the same instant the one that began to wait first
	side     int
	delivery *schemas.Delivery
	pair     *pair
	since    time.Time // when its life began: its age counts from there
	alt      bool      // takes another one's place
}

// queue is a heap of tasks, the next one first.
type queue []*task

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*task)) }
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}

// worker has the deliveries of a part of the recipients, so that the order of one number's messages is kept.
type worker struct {
	cfg    *Config
	sides  [2]Rules
	queues [2]queue // apart: the cap's order counts within a side only
	seq    uint64
	tally  tally
}

func newWorker(cfg *Config) *worker {
	return &worker{cfg: cfg, sides: [2]Rules{cfg.Old, cfg.New}, tally: newTally()}
}

func (w *worker) waiting() int { return len(w.queues[0]) + len(w.queues[1]) }

// take simulates this worker's part of a batch, n-th of of, and lets the clock run until the batch's end.
func (w *worker) take(ctx context.Context, batch []planned, n, of uint32, end time.Time) error {
	for i := range batch {
		p := &batch[i]
		for k := range p.pairs {
			pr := &p.pairs[k]
			if pr.key%of != n {
				continue
			}
			if err := w.drain(ctx, p.now); err != nil {
				return err
			}
			for side := range w.sides {
				if one := pr.sides[side].planned; one != nil {
					if err := w.begin(ctx, side, pr, one, p.now); err != nil {
						return err
					}
				}
			}
			w.settle(pr) // one that neither side waits for
		}
	}
	return w.drain(ctx, end)
}

// drain lets everything go on that is due by now.
func (w *worker) drain(ctx context.Context, now time.Time) error {
	for side := range w.queues {
		q := &w.queues[side]
		for len(*q) > 0 && !(*q)[0].due.After(now) {
			t := heap.Pop(q).(*task)
			if err := w.judge(ctx, t, t.due); err != nil {
				return err
			}
			w.settle(t.pair)
		}
	}
	return nil
}

// begin starts a planned delivery, as the dispatcher's first record does.
func (w *worker) begin(ctx context.Context, side int, pr *pair, one *rules.Planned, now time.Time) error {
	t := &task{side: side, delivery: one.Delivery, pair: pr, since: now}
	pr.sides[side].open++
	if one.Refusal != nil {
		hit := schemas.Hit{Rule: one.Refusal.Code, Advice: one.Refusal.Problem.Text}
		return w.end(ctx, t, now, ending{unsendable, one.Refusal.Code, []schemas.Hit{hit}, schemas.WhenFailed})
	}
	return w.rule(ctx, t, now, one.Verdict)
}

// judge asks the guards, as the send step does.
func (w *worker) judge(ctx context.Context, t *task, now time.Time) error {
	return w.rule(ctx, t, now, rules.Judge(w.sides[t.side].Book.Guards(), w.cfg.Channels.Input(t.delivery, now)))
}

// rule does what the guards' verdict calls for.
func (w *worker) rule(ctx context.Context, t *task, now time.Time, v rules.Verdict) error {
	if v.Action != rules.Pass {
		return w.ruled(ctx, t, now, v, false)
	}
	ch, ok := w.cfg.Channels(t.delivery.Channel)
	if !ok {
		return fmt.Errorf("channel %q was there when the event was planned", t.delivery.Channel)
	}
	begin := t.since
	if t.delivery.NotBefore.After(begin) {
		begin = t.delivery.NotBefore
	}
	if w.cfg.MaxAge > 0 && now.Sub(begin) > w.cfg.MaxAge {
		return w.end(ctx, t, now, ending{unsendable, "too-old", nil, schemas.WhenFailed})
	}
	in := w.cfg.Channels.Input(t.delivery, now)
	for _, rs := range w.sides[t.side].Book.Reservers() {
		if _, ok := rs.(rules.ConsentKeeper); ok {
			continue // who agreed when is no part of a recording: taken as agreed
		}
		if rs.Concerns(in) {
			v, err := rs.Reserve(ctx, in, t.delivery.ID, now.Add(callTime))
			if err != nil {
				return err
			}
			if v.Action != rules.Pass {
				return w.ruled(ctx, t, now, v, true)
			}
		}
	}
	f := &t.pair.sides[t.side]
	if ch.Kind == "sms" {
		f.sms++
		f.parts += w.cfg.Parts(in)
	}
	return w.end(ctx, t, now, ending{outcome: sent})
}

// ruled does what a verdict other than pass calls for. capped says that the daily cap gave it.
func (w *worker) ruled(ctx context.Context, t *task, now time.Time, v rules.Verdict, capped bool) error {
	f := &t.pair.sides[t.side]
	f.over = f.over || capped && !t.alt
	dead := blocked
	if capped {
		dead = overCap
	}
	switch v.Action {
	case rules.Hold:
		if !t.alt {
			f.held, f.heldBy, f.hits = true, v.Rule, v.Hits
		}
		if t.due = v.Until; !t.due.After(now) {
			t.due = now.Add(time.Second) // a schedule in the past fires at once
		}
		w.seq++
		t.seq = w.seq
		heap.Push(&w.queues[t.side], t)
		return nil
	case rules.Suppress:
		return w.end(ctx, t, now, ending{blocked, v.Rule, v.Hits, ""})
	case rules.Expire:
		return w.end(ctx, t, now, ending{expired, v.Rule, v.Hits, ""})
	case rules.Divert:
		if slices.ContainsFunc(t.delivery.Else, func(a schemas.Alternative) bool { return a.When == schemas.WhenOverCap }) {
			return w.end(ctx, t, now, ending{dead, v.Rule, v.Hits, schemas.WhenOverCap})
		}
	}
	return w.end(ctx, t, now, ending{dead, v.Rule, v.Hits, schemas.WhenFailed})
}

// ending is how a delivery ends.
type ending struct {
	outcome Outcome
	rule    string
	hits    []schemas.Hit
	instead string // the alternatives that take its place; "" for none
}

// end ends a delivery and begins those that take its place.
func (w *worker) end(ctx context.Context, t *task, now time.Time, e ending) error {
	f := &t.pair.sides[t.side]
	f.open--
	if t.alt {
		f.replaced = f.replaced || e.outcome == sent
		return nil
	}
	f.outcome, f.rule, f.at = e.outcome, e.rule, now
	if len(e.hits) > 0 {
		f.hits = e.hits
	}
	for i := range t.delivery.Else {
		if e.instead == "" || t.delivery.Else[i].When != e.instead {
			continue
		}
		f.open++
		if err := w.judge(ctx, &task{side: t.side, delivery: &t.delivery.Else[i].Delivery, pair: t.pair, since: now, alt: true}, now); err != nil {
			return err
		}
	}
	return nil
}

// settle counts a pair when both of its fates are known.
func (w *worker) settle(pr *pair) {
	if pr.sides[0].open == 0 && pr.sides[1].open == 0 {
		w.tally.pair(pr, w.cfg)
	}
}
