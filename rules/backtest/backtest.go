// Package backtest tells what a changed rules.yaml would have done to recorded events: every event goes
// through the old and the new rules side by side, planned and judged as the dispatcher does, on a virtual
// clock; what is held goes on at its time, and the daily cap counts in a store of its own. Nothing is
// sent and no state is touched.
//
//	backtest.go  a run: batches of events, decoded and planned in parallel
//	simulate.go  one delivery's way on the virtual clock
//	compare.go   the old and the new fate of a delivery, and what is counted of them
//	report.go    the result
//	store.go     the daily cap's records, in memory
//
// The run assumes that every third party takes every message: what it shows is the rules' doing alone.
package backtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Rules is one of the two sides: a book and, for its rules with state, the store that it was opened with.
type Rules struct {
	Book *rules.Book
	Caps *Store
}

// Config is what a run needs.
type Config struct {
	Old, New Rules
	Channels rules.Channels
	// Since and Until bound the events that are told of, by the virtual clock; zero is no bound. Events before
	// Since are left out, so their messages do not count against the cap either.
	Since, Until time.Time
	// MaxAge is how long after its planning, or its not_before, a delivery is still tried; 0 is for ever.
	MaxAge time.Duration
	// Parts is how many messages the provider bills for an SMS.
	Parts func(in rules.Input) int
	// Mask hides numbers and mailboxes in a piece of a message.
	Mask func(string) string
	// Examples is how many are kept of each kind of change.
	Examples int
	// Workers is how many run at once; 0 is one for each processor. The result does not depend on it.
	Workers int
}

// Event is one recorded event.
type Event struct {
	Where string // file:line, for telling what is wrong with it
	Raw   []byte // a CloudEvent in structured JSON
	// Stored is when it arrived. Zero: its own time counts; one without time came when the event before it did.
	Stored time.Time
	// Problem says that there is no event, and why.
	Problem error
}

// Run is a backtest under way. Its methods are not for concurrent use; inside, it uses all workers.
type Run struct {
	cfg     Config
	workers []*worker
	clock   time.Time
	seen    recent
	report  Report
	index   int
}

// New begins a run.
func New(cfg Config) *Run {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	r := &Run{cfg: cfg}
	for range cfg.Workers {
		r.workers = append(r.workers, newWorker(&r.cfg))
	}
	return r
}

// planned is one event between the steps.
type planned struct {
	event *schemas.Event
	err   error
	now   time.Time
	index int
	pairs []pair
	fails [2]*rules.Refusal // of the event as a whole
}

// errNoClock: a recording must begin somewhere.
var errNoClock = &schemas.Invalid{Problems: []schemas.Problem{{Pointer: "/time", Keyword: "required", Text: schemas.Text{
	Zh: "事件没有 time，之前的事件也没有，无从得知发生的时间", En: "the event has no time, and neither has one before it",
}}}}

// Add takes the next events of the recording, in the order in which they arrived. A few thousand at once
// keep all workers busy. An event that is wrong is counted, not an error.
func (r *Run) Add(ctx context.Context, events []Event) error {
	items := make([]planned, len(events))
	r.parallel(len(events), func(i int) {
		if items[i].err = events[i].Problem; items[i].err == nil {
			items[i].event, items[i].err = schemas.DecodeEvent(events[i].Raw)
		}
	})
	batch := items[:0]
	for i := range items {
		if r.admit(&items[i], events[i]) {
			batch = append(batch, items[i])
		}
	}
	if len(batch) == 0 {
		return ctx.Err()
	}
	for _, side := range r.sides() {
		if side.Caps != nil {
			side.Caps.advance(batch[0].now, r.clock)
		}
	}
	r.parallel(len(batch), func(i int) { r.plan(&batch[i]) })
	for i := range batch {
		r.count(&batch[i])
	}
	err := r.simulate(func(n int, w *worker) error {
		return w.take(ctx, batch, uint32(n), uint32(len(r.workers)), r.clock)
	})
	waiting := 0
	for _, w := range r.workers {
		waiting += w.waiting()
	}
	if waiting > maxWaiting {
		err = errors.Join(err, fmt.Errorf("more than %d messages wait at once, which is more than fits into memory: take a shorter piece of the recording", maxWaiting))
	}
	r.report.Waiting = max(r.report.Waiting, waiting)
	return errors.Join(err, ctx.Err())
}

// maxWaiting bounds the messages that are held at one instant of the virtual clock, both sides together:
// at about 1.5 KB each they take 3 GB.
const maxWaiting = 2_000_000

func (r *Run) sides() [2]Rules { return [2]Rules{r.cfg.Old, r.cfg.New} }

// admit puts an event on the clock; false when it is not for this run.
func (r *Run) admit(p *planned, e Event) bool {
	r.report.Events.Read++
	now := e.Stored
	if p.err == nil {
		if now.IsZero() {
			now = p.event.Time
		}
		if now.IsZero() && r.clock.IsZero() {
			p.err = errNoClock
		}
	}
	if p.err != nil {
		r.report.wrong(e.Where, p.err)
		return false
	}
	if now.Before(r.clock) { // arrived late: the clock does not go back
		now = r.clock
	}
	if now.Before(r.cfg.Since) || !r.cfg.Until.IsZero() && !now.Before(r.cfg.Until) {
		r.report.Events.Outside++
		return false
	}
	r.clock = now
	if !r.seen.add(eventHash(p.event)) {
		r.report.Events.Duplicates++
		return false
	}
	r.report.span(now)
	r.report.Events.Used++
	p.now, p.index = now, r.index
	r.index++
	return true
}

// plan makes the pairs of an event.
func (r *Run) plan(p *planned) {
	var plans [2]rules.Plan
	for side, s := range r.sides() {
		plans[side], p.fails[side] = s.Book.Plan(p.event, r.cfg.Channels, p.now)
	}
	p.pairs = pairs(p, plans)
}

// count counts what is of an event as a whole.
func (r *Run) count(p *planned) {
	if p.fails[0] != nil {
		r.report.Old.EventsRefused++
	}
	if p.fails[1] != nil {
		r.report.New.EventsRefused++
	}
	for i := range p.pairs {
		if c := p.pairs[i].routed(); c == Added || c == Dropped {
			r.report.Events.Rerouted++
			break
		}
	}
}

// Finish lets the clock run until nothing waits any more, and returns the result.
func (r *Run) Finish(ctx context.Context) (*Report, error) {
	if err := r.simulate(func(_ int, w *worker) error { return w.drain(ctx, endOfTime) }); err != nil {
		return nil, err
	}
	all := newTally()
	for _, w := range r.workers {
		all.merge(w.tally)
	}
	r.report.fill(all, r.cfg.Examples)
	return &r.report, nil
}

// endOfTime is after every instant that an event may name.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// simulate calls f for the workers, all at once.
func (r *Run) simulate(f func(n int, w *worker) error) error {
	errs := make([]error, len(r.workers))
	var wg sync.WaitGroup
	for n, w := range r.workers {
		wg.Go(func() { errs[n] = f(n, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// parallel calls f for 0..n-1 on all workers.
func (r *Run) parallel(n int, f func(i int)) {
	const chunk = 32
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(r.cfg.Workers, (n+chunk-1)/chunk) {
		wg.Go(func() {
			for {
				end := int(next.Add(chunk))
				for i := end - chunk; i < min(end, n); i++ {
					f(i)
				}
				if end >= n {
					return
				}
			}
		})
	}
	wg.Wait()
}

// recent remembers the identities of at least the last generation's events: the same event again is a
// duplicate that the dispatcher drops.
type recent struct{ now, before map[uint64]struct{} }

// generation is a number of events; two of them take some 60 MB.
const generation = 1 << 20

func (s *recent) add(id uint64) bool {
	if _, ok := s.now[id]; ok {
		return false
	}
	if _, ok := s.before[id]; ok {
		return false
	}
	if s.now == nil || len(s.now) == generation {
		s.now, s.before = map[uint64]struct{}{}, s.now
	}
	s.now[id] = struct{}{}
	return true
}

func eventHash(e *schemas.Event) uint64 {
	h := fnv.New64a()
	for _, s := range []string{e.Tenant, e.Source, e.ID} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return h.Sum64()
}
