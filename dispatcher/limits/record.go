package limits

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
)

// A budget is one record on the broker. It lists leases: "until this instant its holder may start so many
// calls". A lease counts until Per after its end, and a call starts only within its lease. So of all leases
// that could have a call in any window of length Per, the one that was granted last counted every other
// when it was granted: each of them ended less than Per before. That is the whole proof that no window holds more than
// Count calls; it needs no common beginning of windows and no order of the calls.
//
// Instants are the broker's. Who reads its clock with an uncertainty takes the latest possible instant for
// the end of a lease and the earliest for forgetting one: uncertainty costs room, never the bound.
type record struct {
	Used []lease `json:"used,omitempty"` // by their end
	// Turn is the first instant that is nobody's turn yet: who has to wait is told a turn of his own, one after
	// the other at the budget's rate. A turn is a promise to be asked, not a call.
	Turn int64 `json:"turn,omitzero"`
	// Shared is how many have the last turn before Turn: messages that can be joined into one call come together.
	Shared int `json:"shared,omitzero"`
	// Yield is until when the next free call is kept for an urgent message that was told to come.
	Yield int64 `json:"yield,omitzero"`
	// Rest is until when the third party wants no call at all.
	Rest int64 `json:"rest,omitzero"`
}

// lease is a number of calls that may start until an instant, in Unix milliseconds of the broker's clock.
type lease struct {
	Until int64 `json:"until"`
	N     int   `json:"n"`
}

const (
	// maxLeases bounds a record: of budgets with a larger Count, leases that end close together are taken for one
	// that ends last.
	maxLeases = 128
	// maxRecord bounds the bytes of a record that is read.
	maxRecord = 64 << 10
	// horizon is how far ahead turns are given one by one. Who would be later asks again some time after it: by then
	// the backlog may be joined, recalled, or the rate another one.
	horizon = 15 * time.Minute
	// patient is how many turns in a row may be lost to others. After a standstill many turns have passed unused, and
	// a crowd asks at once: whoever has lost so often queues again.
	patient = 4
	// latest bounds the instants of a record that is read: 2200-01-01.
	latest = 7_258_118_400_000
)

// decode reads a record. Bytes that are none are an error, never an empty record: that would forget the calls made.
func decode(b []byte) (*record, error) {
	var r record
	if len(b) == 0 {
		return &r, nil
	}
	if len(b) > maxRecord {
		return nil, errors.New("limits: a record that is too large")
	}
	if err := json.Unmarshal(b, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("limits: unreadable record: %w", err)
	}
	for i, l := range r.Used {
		if l.N < 1 || l.N > maxCount || l.Until < 1 || l.Until > latest || i > 0 && l.Until < r.Used[i-1].Until {
			return nil, errors.New("limits: a record with a lease that cannot be")
		}
	}
	if r.Turn < 0 || r.Turn > latest || r.Rest < 0 || r.Rest > latest || r.Yield < 0 || r.Yield > latest || r.Shared < 0 || r.Shared > maxCount || len(r.Used) == 0 && r.Turn == 0 && r.Rest == 0 {
		return nil, errors.New("limits: a message that is no record")
	}
	return &r, nil
}

func (r *record) clone() *record {
	c := *r
	c.Used = slices.Clone(r.Used)
	return &c
}

// equal says whether r says the same as old, apart from what old need not remember any more.
func (r *record) equal(old *record) bool {
	return r.Turn == old.Turn && r.Shared == old.Shared && r.Rest == old.Rest && r.Yield == old.Yield && len(r.Used) <= len(old.Used) &&
		slices.Equal(r.Used, old.Used[len(old.Used)-len(r.Used):])
}

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

// maxCount bounds the Count of a rate.
const maxCount = 10_000_000

// terms are what a budget allows and how it is used, in milliseconds.
type terms struct {
	count int
	per   int64
	// lease is how long after it was granted a call may start.
	lease int64
	// turn is the time from one turn to the next, each how many have the same one: where calls come closer together than
	// leases end, those of one lease come together and cost one write. A turn is a little longer than Per/Count, so
	// that its place is free when it comes, though calls come late now and then.
	turn int64
	each int
	// grain rounds the end of a lease up where more than maxLeases would not end together.
	grain int64
}

func termsOf(r channels.Rate) terms {
	per := max(r.Per.Milliseconds(), 1)
	t := terms{count: max(r.Count, 1), per: per, lease: min(max(per/20, 50), 1000), each: 1, grain: 1}
	one := float64(per+t.lease+per/50) / float64(t.count)
	t.turn = int64(math.Ceil(one))
	if t.hot() {
		t.each = max(1, int(math.Round(float64(t.lease)/one)))
		t.turn = int64(math.Ceil(float64(t.each) * one))
	}
	if t.count > maxLeases {
		t.grain = per/maxLeases + 1
	}
	return t
}

// hot says that calls come so close together that several are leased at once.
func (t terms) hot() bool { return int64(t.count)*t.lease >= 2*t.per }

// forget drops the leases that no window with a call after now can hold.
func (r *record) forget(t terms, now int64) {
	i := 0
	for i < len(r.Used) && r.Used[i].Until+t.per < now {
		i++
	}
	r.Used = slices.Delete(r.Used, 0, i)
}

// free is how many calls may be leased now; [record.forget] comes first.
func (r *record) free(t terms, now int64) int {
	if now < r.Rest {
		return 0
	}
	n := t.count
	for _, l := range r.Used {
		n -= l.N
	}
	return max(n, 0)
}

// opening is the first instant at which a call could be leased if nobody else took one before.
func (r *record) opening(t terms, now int64) int64 {
	over := 1 - t.count
	for _, l := range r.Used {
		over += l.N
	}
	at := now
	for _, l := range r.Used {
		if over <= 0 {
			break
		}
		over -= l.N
		at = max(at, l.Until+t.per+1)
	}
	return max(at, r.Rest)
}

// take leases n calls until the given instant.
func (r *record) take(t terms, n int, until int64) {
	until = (until + t.grain - 1) / t.grain * t.grain
	i, found := slices.BinarySearchFunc(r.Used, until, func(l lease, u int64) int { return cmp.Compare(l.Until, u) })
	if found {
		r.Used[i].N += n
		return
	}
	r.Used = slices.Insert(r.Used, i, lease{until, n})
}

// ask is what a budget is to know of who asks.
type ask struct {
	// waited is how often he was told a turn before.
	waited int
	// urgent ones do not queue behind others; paced ones leave the budget open for others: they take no more than
	// one call a turn even when there is room.
	urgent, paced bool
	// share is how many of his kind may have the same turn, because they can be joined into one call.
	share int
}

// serve grants a call (true) or says when to ask again.
func (r *record) serve(t terms, now int64, until int64, a ask) (bool, int64) {
	r.forget(t, now)
	open := r.opening(t, now)
	if n := len(r.Used); a.paced && !t.hot() && n > 0 {
		open = max(open, r.Used[n-1].Until-t.lease+t.turn)
	}
	if !a.urgent {
		open = max(open, r.Yield)
	}
	if open <= now && (a.urgent || a.waited > 0 || r.free(t, now) > r.promised(t, now)) {
		r.take(t, 1, until)
		return true, 0
	}
	return false, r.next(t, now, open, a)
}

// promised is how many calls those may need who were told a turn that is not over.
func (r *record) promised(t terms, now int64) int {
	if r.Turn <= now {
		return 0
	}
	return (int((r.Turn-now-1)/t.turn) + 1) * t.each
}

// next gives whoever has to wait an instant to ask again, open or later.
func (r *record) next(t terms, now, open int64, a ask) int64 {
	if a.urgent {
		at := open
		if a.waited > 0 { // to another urgent one
			at += rand.N(t.turn<<min(a.waited-1, patient) + 1)
		}
		r.Yield = max(r.Yield, at+t.lease)
		return at
	}
	if a.waited > 0 && a.waited < patient {
		// Somebody was quicker when his turn came. He asks again soon, not behind everybody else.
		at := open + rand.N(t.turn<<(a.waited-1)+1)
		if t.hot() {
			at = (at + t.turn - 1) / t.turn * t.turn
		}
		return at
	}
	if last := r.Turn - t.turn; r.Shared > 0 && r.Shared < t.each*max(a.share, 1) && last >= open {
		r.Shared++
		return last
	}
	at := max(r.Turn, open)
	if base := max(now, r.Rest); at > base+horizon.Milliseconds() {
		return base + horizon.Milliseconds() + rand.N(horizon.Milliseconds())
	}
	r.Turn, r.Shared = at+t.turn, 1
	return at
}

// life is how long after now the record says anything.
func (r *record) life(t terms, now int64) time.Duration {
	end := max(r.Turn, r.Rest)
	if n := len(r.Used); n > 0 {
		end = max(end, r.Used[n-1].Until+t.per)
	}
	return time.Duration(max(end-now, 0))*time.Millisecond + 2*time.Second
}
