package dailycap

import (
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Entry is one call that was allowed to reach a number.
type Entry struct {
	// Holder is who asked: the same holder has one entry, however often it asks.
	Holder string `json:"h"`
	// From and To bound the instant at which the call reaches the provider, in Unix milliseconds.
	From     int64            `json:"f"`
	To       int64            `json:"t"`
	Category schemas.Category `json:"c"`
}

// All arithmetic is on Unix milliseconds. China has one zone, UTC+8, without daylight saving time.
const (
	dayMillis    = int64(24 * time.Hour / time.Millisecond)
	offsetMillis = int64(8 * time.Hour / time.Millisecond)
)

// shanghai is for showing instants.
var shanghai = time.FixedZone("CST", 8*60*60)

// day numbers the Shanghai calendar days.
func day(ms int64) int64 { return (ms + offsetMillis) / dayMillis }

// midnight is the first instant of a day.
func midnight(day int64) int64 { return day*dayMillis - offsetMillis }

// limits is the cap as numbers.
type limits struct {
	max         int
	day, window bool // which of the two windows count
	reserve     map[schemas.Category]int
	open        int // places for every category: max less all reserves
}

// fits says whether the holder may make a call somewhere in [from, to]. It holds the two invariants:
//
//   - no Shanghai day is touched by more than max entries, and a call lies within its entry, so no
//     day sees more than max calls;
//   - an entry counts in the rolling window while to > now-24h. Of the calls inside any 24 hours,
//     take the one reserved last: all the others still counted then, so there are at most max.
func (l limits) fits(entries []Entry, holder string, c schemas.Category, from, to int64) bool {
	if l.window && !l.place(entries, holder, c, func(e Entry) bool { return e.To > from-dayMillis }) {
		return false
	}
	if l.day {
		for d := day(from); d <= day(to); d++ {
			if !l.place(entries, holder, c, func(e Entry) bool { return day(e.From) <= d && d <= day(e.To) }) {
				return false
			}
		}
	}
	return true
}

// place says whether the holder has, or can have, a place among the entries that count. Places are
// taken in the order of the entries; those behind l.open belong to the categories that reserve them.
func (l limits) place(entries []Entry, holder string, c schemas.Category, counts func(Entry) bool) bool {
	others, reserved, own := 0, 0, false
	for _, e := range entries {
		switch {
		case !counts(e):
		case e.Holder == holder:
			own = true
		default:
			if others >= l.open && e.Category == c {
				reserved++
			}
			others++
		}
	}
	switch {
	case others >= l.max:
		return false
	case others < l.open, own:
		return true
	default:
		return reserved < l.reserve[c]
	}
}

// used is how many entries count against a call now, in the fuller of the two windows.
func (l limits) used(entries []Entry, now int64) int {
	today, rolling := 0, 0
	for _, e := range entries {
		if l.day && day(e.From) <= day(now) && day(now) <= day(e.To) {
			today++
		}
		if l.window && e.To > now-dayMillis {
			rolling++
		}
	}
	return max(today, rolling)
}

// next is the first instant, from on, at which a call of the given length has room if nothing else
// is sent until then. Room can only appear when an entry leaves the rolling window or a day ends.
func (l limits) next(entries []Entry, holder string, c schemas.Category, from, length int64) int64 {
	at := []int64{from}
	for _, e := range entries {
		at = append(at, e.To+dayMillis, midnight(day(e.To)+1))
	}
	slices.Sort(at)
	for _, t := range slices.Compact(at) {
		if t >= from && l.fits(entries, holder, c, t, t+length) {
			return t
		}
	}
	return at[len(at)-1] // by then every entry has left both windows
}

// with returns the entries with the holder's call in [from, to]: in its old place, or as the last.
// What no window can see any more is left out. The entries passed in stay as they are.
func with(entries []Entry, call Entry) []Entry {
	out := make([]Entry, 0, len(entries)+1)
	placed := false
	for _, e := range entries {
		switch {
		case e.Holder == call.Holder:
			out = append(out, call)
			placed = true
		case e.To > call.From-dayMillis:
			out = append(out, e)
		}
	}
	if !placed {
		out = append(out, call)
	}
	return out
}

// without returns the entries less the holder's; false when it has none.
func without(entries []Entry, holder string) ([]Entry, bool) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Holder == holder })
	if i < 0 {
		return entries, false
	}
	return slices.Concat(entries[:i], entries[i+1:]), true
}
