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
	// Nobody can come along while the slots are taken by those who wait here. The channel has room of its own for them: in
	// the slow lane, one robot that hangs would take the room of everybody else's.
	select {
	case w.company <- struct{}{}:
		j.free()
		defer func() { <-w.company }()
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

// callFor makes one call for all members; one for each half where they cannot be joined, or where the joined message is
// refused for what one of them says.
func (d *Dispatcher) callFor(ctx context.Context, w *gate, waits int, ms []*member) {
	dl, ok := ms[0].Delivery, true
	if len(ms) > 1 {
		ds := make([]*schemas.Delivery, len(ms))
		for i, m := range ms {
			ds[i] = m.Delivery
		}
		dl, ok = join(w.Channel.(channels.Joiner), ds)
	}
	if !ok {
		d.callFor(ctx, w, waits, ms[:len(ms)/2])
		d.callFor(ctx, w, waits, ms[len(ms)/2:])
		return
	}
	var r channels.Receipt
	var p *pass
	var f *channels.Failure
	if end, ok := ctx.Deadline(); ok && time.Until(end) < w.Traits().Timeout/2 { // calls for others took the time
		f = own("busy", "", minBusy)
	} else if p, f = d.admit(ctx, w, dl, waits, func() {}); f == nil {
		r, f = p.call(ctx, dl)
	}
	switch {
	case len(ms) > 1 && f == nil:
		joinedTotal.WithLabelValues(w.name).Add(float64(len(ms)))
	case len(ms) > 1 && !isOwn(f) && !f.Maybe && ends(f, d.diagnose(w, f).Class):
		d.callFor(ctx, w, waits, ms[:len(ms)/2])
		d.callFor(ctx, w, waits, ms[len(ms)/2:])
		return
	}
	for _, m := range ms {
		if m.receipt = r; f != nil {
			mine := *f // each one's worker reads the diagnosis into it
			m.failure = &mine
		}
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
