// Package limits keeps budgets of calls to third parties, for all pods together: never more than Count calls
// start within any Per, whichever pods make them (record.go says why). The budgets are records of a store
// with compare-and-set; a pod without the store makes no call.
//
// One flight at a time goes from a pod to a budget's record and takes with it all who asked meanwhile, so the
// trips to the broker do not grow with the calls. Of quick budgets it brings more than was asked for: as
// much as was used in the time of one lease before. What is not used by the end of its lease is lost.
package limits

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
)

// Clock is the broker's clock: the instant is not before earliest and not after latest. An error means that
// it is not known.
type Clock func() (earliest, latest time.Time, err error)

// Limits are the budgets as one pod sees them. Its fields are set once; safe for concurrent use.
type Limits struct {
	Store rules.Store
	Clock Clock

	mu      sync.Mutex
	budgets map[string]*budget
}

// Ask is what the budgets are to know of who asks.
type Ask struct {
	// Waited is how often the delivery was told a turn before, since it was last called or planned.
	Waited int
	// Urgent ones do not queue behind others. Bulk ones use the budget evenly, so that others find room.
	Urgent, Bulk bool
	// Share is how many deliveries may get the same turn, since they can be joined into one call; 0 and 1: none.
	Share int
	// Patience is how long to wait here for a turn; who would wait longer is told when to come again.
	Patience time.Duration
}

// Wait is the error of who has to come again.
type Wait struct {
	Budget channels.Budget
	At     time.Time // by this machine's clock
}

func (w *Wait) Error() string { return "no call is free before " + w.At.Format(time.RFC3339) }

// ErrUnknown means that the budget could not be asked: nothing may be called.
var ErrUnknown = errors.New("limits: the shared budget cannot be read or written")

const (
	// flightTimeout bounds one trip to the record, conflicts with other pods included.
	flightTimeout = 3 * time.Second
	// maxBudgets is how many budgets a pod remembers; forgotten ones are read again.
	maxBudgets = 8192
)

// budget is one budget in this pod.
type budget struct {
	key   string
	terms terms

	mu      sync.Mutex
	waiting []*asking
	flying  bool
	pool    []int64 // ends of leases that nobody uses yet
	// used calls were handed out since then; demand is how many in the time of a lease, as last measured.
	used, demand int
	since        int64
	// Only the flight under way has these.
	trip   int64 // milliseconds of a slow trip to the record
	flown  time.Time
	tight  bool
	record *record // as last seen, nil: read it first
	rev    uint64
}

type asking struct {
	ask
	done chan struct{}
	// from the flight, before done is closed
	until int64 // > 0: granted
	at    int64
	err   error
	gone  bool // nobody listens any more
}

// before says who is served first: urgent ones, then those who have waited most.
func before(a, b *asking) int {
	if a.ask.urgent != b.ask.urgent {
		if a.ask.urgent {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.ask.waited, a.ask.waited)
}

// Pass lets one call start, soon.
type Pass struct {
	l     *Limits
	b     *budget
	until int64
}

// Good says whether the call may still start.
func (p Pass) Good() bool {
	_, latest, err := p.l.Clock()
	return err == nil && latest.UnixMilli() < p.until
}

// Back gives a pass to whoever comes next; no call was made with it.
func (p Pass) Back() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.pool = append(p.b.pool, p.until)
	p.b.used--
}

// Take takes a call from every budget, or none: the error is a [*Wait] of who has to come again, else
// [ErrUnknown] or ctx's.
func (l *Limits) Take(ctx context.Context, budgets []channels.Budget, a Ask) ([]Pass, error) {
	patience := time.Now().Add(a.Patience)
	for range maxTries {
		passes := make([]Pass, 0, len(budgets))
		for _, b := range budgets {
			if b.Rate.Count == 0 {
				continue
			}
			p, err := l.take(ctx, b, a, patience)
			if err != nil {
				Back(passes)
				return nil, err
			}
			passes = append(passes, p)
		}
		if Good(passes) {
			return passes, nil
		}
		Back(passes) // the trips took longer than a lease; the next ones are longer
		a.Waited++
	}
	return nil, fmt.Errorf("%w: its answers come too late", ErrUnknown)
}

// maxTries is how often passes may have ended before they were all there.
const maxTries = 3

// Back gives passes back, see [Pass.Back].
func Back(passes []Pass) {
	for _, p := range passes {
		p.Back()
	}
}

// Good says whether every pass is good still.
func Good(passes []Pass) bool {
	for _, p := range passes {
		if !p.Good() {
			return false
		}
	}
	return true
}

func (l *Limits) take(ctx context.Context, of channels.Budget, a Ask, patience time.Time) (Pass, error) {
	b := l.budget(of)
	q := ask{waited: a.Waited, urgent: a.Urgent, paced: a.Bulk, share: a.Share}
	for {
		until, at, err := b.ask(ctx, l, q)
		if err != nil {
			return Pass{}, err
		}
		if until > 0 {
			return Pass{l, b, until}, nil
		}
		earliest, _, err := l.Clock()
		if err != nil {
			return Pass{}, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		come := time.Now().Add(time.UnixMilli(at).Sub(earliest))
		if come.After(patience) {
			return Pass{}, &Wait{of, come}
		}
		timer := time.NewTimer(time.Until(come))
		select {
		case <-timer.C:
			q.waited++
		case <-ctx.Done():
			timer.Stop()
			return Pass{}, ctx.Err()
		}
	}
}

func (l *Limits) budget(of channels.Budget) *budget {
	// Windows of different length are different budgets, also under one key.
	sum := sha256.Sum256([]byte(of.Key + "\x00" + of.Rate.Per.String()))
	key := hex.EncodeToString(sum[:16])
	t := termsOf(of.Rate)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budgets[key]
	if b != nil && b.terms == t {
		return b
	}
	if len(l.budgets) >= maxBudgets {
		for k, b := range l.budgets {
			b.mu.Lock()
			idle := !b.flying && len(b.waiting) == 0
			b.mu.Unlock()
			if idle {
				delete(l.budgets, k)
			}
		}
	}
	if l.budgets == nil {
		l.budgets = map[string]*budget{}
	}
	b = &budget{key: key, terms: t}
	l.budgets[key] = b
	return b
}

// ask returns the end of a lease, or when to ask again.
func (b *budget) ask(ctx context.Context, l *Limits, q ask) (until, at int64, err error) {
	_, latest, err := l.Clock()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	b.mu.Lock()
	for n := len(b.pool); n > 0; n-- {
		until := b.pool[n-1]
		b.pool = b.pool[:n-1]
		if latest.UnixMilli() < until {
			b.used++
			b.mu.Unlock()
			return until, 0, nil
		}
	}
	mine := &asking{ask: q, done: make(chan struct{})}
	b.waiting = append(b.waiting, mine)
	if !b.flying {
		b.flying = true
		go b.fly(l) //nolint:contextcheck // it flies for all who ask, in time of its own
	}
	b.mu.Unlock()
	select {
	case <-mine.done:
		return mine.until, mine.at, mine.err
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		if mine.gone = true; mine.until > 0 {
			b.pool = append(b.pool, mine.until)
		}
		return 0, 0, ctx.Err()
	}
}

// fly serves whoever asks until nobody does.
func (b *budget) fly(l *Limits) {
	for {
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.flying = false
			b.mu.Unlock()
			return
		}
		if b.tight {
			// Used up: who asks at about the same time shares a trip; those whose turn it is wait less than those
			// who are to be told one.
			pause := time.Duration(b.terms.lease) * time.Millisecond / 4
			for i := 0; i == 0 || i < 4 && !slices.ContainsFunc(b.waiting, func(a *asking) bool { return a.ask.urgent || a.ask.waited > 0 }); i++ {
				b.mu.Unlock()
				time.Sleep(time.Until(b.flown.Add(time.Duration(i+1) * pause)))
				b.mu.Lock()
			}
		}
		asks := b.waiting
		b.waiting = nil
		demand := max(b.demand, b.used)
		b.mu.Unlock()
		slices.SortStableFunc(asks, before)

		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), flightTimeout)
		answers, spare, now, until, err := b.serve(ctx, l, asks, demand)
		cancel()
		b.trip = max(time.Since(begun).Milliseconds(), b.trip*3/4)

		b.flown, b.tight = time.Now(), b.terms.hot() && slices.ContainsFunc(answers, func(at int64) bool { return at > 0 })

		b.mu.Lock()
		if past := now - b.since; past >= b.terms.lease {
			b.demand = int(int64(b.used) * b.terms.lease / past)
			b.used, b.since = 0, now
		}
		for i, a := range asks {
			switch {
			case err != nil:
				a.err = fmt.Errorf("%w: %w", ErrUnknown, err)
			case answers[i] == 0 && a.gone:
				spare++
			case answers[i] == 0:
				a.until = until
				b.used++
			default:
				a.at = answers[i]
			}
			close(a.done)
		}
		for range spare {
			b.pool = append(b.pool, until)
		}
		b.mu.Unlock()
	}
}

// serve asks the record for everybody at once: for each 0, granted, or when to come again; and how many were leased beyond.
func (b *budget) serve(ctx context.Context, l *Limits, asks []*asking, demand int) (answers []int64, spare int, now, until int64, err error) {
	answers = make([]int64, len(asks))
	t := b.terms
	for tries := 0; ; tries++ {
		earliest, latest, err := l.Clock()
		if err != nil {
			return nil, 0, 0, 0, err
		}
		now = earliest.UnixMilli()
		if b.record == nil {
			value, rev, err := l.Store.Load(ctx, b.key)
			if err != nil {
				return nil, 0, 0, 0, err
			}
			if b.record, err = decode(value); err != nil {
				return nil, 0, 0, 0, err
			}
			b.rev = rev
		}
		r := b.record.clone()
		until = latest.UnixMilli() + t.lease + 2*b.trip // the answer is to come before the lease ends
		granted := 0
		for i, a := range asks {
			ok, at := r.serve(t, now, until, a.ask)
			if answers[i] = at; ok {
				answers[i] = 0
				granted++
			}
		}
		spare = 0
		if t.hot() && granted > 0 {
			spare = min(demand, (r.free(t, now)-r.promised(t, now))/2)
			if spare = max(spare, 0); spare > 0 {
				r.take(t, spare, until)
			}
		}
		if r.equal(b.record) { // nothing but "come again soon"
			return answers, 0, now, until, nil
		}
		value, err := r.encode()
		if err != nil {
			return nil, 0, 0, 0, err
		}
		rev, err := l.Store.Swap(ctx, b.key, value, b.rev, r.life(t, now))
		if err == nil {
			b.record, b.rev = r, rev
			return answers, spare, now, until, nil
		}
		b.record = nil
		if !errors.Is(err, rules.ErrConflict) {
			return nil, 0, 0, 0, err
		}
		if tries > 0 {
			if err := rules.Pause(ctx, tries); err != nil {
				return nil, 0, 0, 0, err
			}
		}
	}
}

// Rest keeps a budget closed for all pods for d from now: the third party said that calls came too fast.
func (l *Limits) Rest(ctx context.Context, of channels.Budget, d time.Duration) error {
	if of.Rate.Count == 0 || d <= 0 {
		return nil
	}
	b := l.budget(of)
	b.mu.Lock()
	b.pool = nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	for tries := 0; ; tries++ {
		earliest, latest, err := l.Clock()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		value, rev, err := l.Store.Load(ctx, b.key)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		r, err := decode(value)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		rest := latest.Add(d).UnixMilli()
		if r.Rest >= rest {
			return nil
		}
		r.Rest = rest
		if value, err = r.encode(); err != nil {
			return err
		}
		_, err = l.Store.Swap(ctx, b.key, value, rev, r.life(b.terms, earliest.UnixMilli()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, rules.ErrConflict) {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		if err := rules.Pause(ctx, tries); err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
}
