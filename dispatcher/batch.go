package dispatcher

import (
	"context"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// joinWait is how long a delivery that has waited for its turn waits for others that had the same one.
const joinWait = 300 * time.Millisecond

// batch is deliveries to one destination that go together: each keeps its own ledger, one call takes them all.
type batch struct {
	members []*member
	full    chan struct{}
}

type member struct {
	*schemas.Delivery
	receipt channels.Receipt
	failure *channels.Failure
	done    chan struct{}
}

// joins says whether a delivery may go together with others: it has waited, and a call is no more than a nuisance twice.
func (w *gate) joins(j *job) bool {
	_, ok := w.Channel.(channels.Joiner)
	return ok && j.waits > 0 && !w.Traits().Once
}

// callTogether waits a moment for companions and makes one call for all of them. Who comes first makes it.
func (d *Dispatcher) callTogether(ctx context.Context, w *gate, j *job) (channels.Receipt, *channels.Failure) {
	m := &member{Delivery: j.Delivery, done: make(chan struct{})}
	key := w.destination(j.Delivery) + "\x00" + string(j.Priority)
	if of, _ := w.budgets(j.Delivery); len(of) > 0 {
		key += "\x00" + of[0].Key
	}
	w.mu.Lock()
	c := w.join[key]
	first := c == nil
	if first {
		c = &batch{full: make(chan struct{})}
		w.join[key] = c
	}
	c.members = append(c.members, m)
	if len(c.members) == maxShared {
		delete(w.join, key)
		close(c.full)
	}
	w.mu.Unlock()
	// Nobody can come along while the slots are taken by those who wait here.
	select {
	case d.slow <- struct{}{}:
		j.free()
		defer func() { <-d.slow }()
	default:
	}
	if first {
		timer := time.NewTimer(joinWait)
		select {
		case <-timer.C:
		case <-c.full:
		case <-ctx.Done():
		}
		timer.Stop()
		w.mu.Lock()
		if w.join[key] == c {
			delete(w.join, key)
		}
		w.mu.Unlock()
		slices.SortStableFunc(c.members, func(a, b *member) int { return a.PlannedAt.Compare(b.PlannedAt) })
		d.callFor(ctx, w, j.waits, c.members)
	}
	<-m.done // the first one's call has a time limit
	return m.receipt, m.failure
}

// callFor makes one call for all members, or, where they cannot be joined or are refused for what they say, one for
// each half.
func (d *Dispatcher) callFor(ctx context.Context, w *gate, waits int, ms []*member) {
	dl, ok := ms[0].Delivery, true
	if len(ms) > 1 {
		ds := make([]*schemas.Delivery, len(ms))
		for i, m := range ms {
			ds[i] = m.Delivery
		}
		dl, ok = join(w.Channel.(channels.Joiner), ds)
	}
	halves := func() {
		d.callFor(ctx, w, waits, ms[:len(ms)/2])
		d.callFor(ctx, w, waits, ms[len(ms)/2:])
	}
	if !ok {
		halves()
		return
	}
	var r channels.Receipt
	p, f := d.admit(ctx, w, dl, waits, func() {})
	if f == nil {
		r, f = p.call(ctx, dl)
	}
	if len(ms) > 1 && f != nil && d.ofOne(w, f) { // it may be the fault of one: the others are not to suffer for it
		halves()
		return
	}
	if len(ms) > 1 && f == nil {
		joinedTotal.WithLabelValues(w.name).Add(float64(len(ms)))
	}
	for _, m := range ms {
		m.receipt, m.failure = r, f
		close(m.done)
	}
}

// join is Joiner.Join, where a panic means that these cannot be joined.
func join(ch channels.Joiner, ds []*schemas.Delivery) (dl *schemas.Delivery, ok bool) {
	defer func() {
		if recover() != nil {
			dl, ok = nil, false
		}
	}()
	return ch.Join(ds)
}

// ofOne says that a failure is about the message: it was surely not taken, and would never be.
func (d *Dispatcher) ofOne(w *gate, f *channels.Failure) bool {
	if f.Maybe || isOwn(f) {
		return false
	}
	switch class := d.diagnose(w, f).Class; class {
	case channels.Content, channels.BadTarget, channels.Permanent:
		return true
	case channels.Config:
		return !channels.Wide(f, class)
	}
	return false
}
