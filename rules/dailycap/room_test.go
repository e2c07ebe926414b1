package dailycap

import (
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// at reads a Shanghai time of November 2026, "23 18:00:00".
func at(t testing.TB, s string) int64 {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-11-"+s, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return v.UnixMilli()
}

func TestRoom(t *testing.T) {
	e := func(holder, from, to string, c schemas.Category) Entry {
		return Entry{holder, at(t, from), at(t, to), c}
	}
	const n, v = schemas.Notification, schemas.Verification
	both := limits{max: 2, open: 2, day: true, window: true}
	dayOnly := limits{max: 2, open: 2, day: true}
	rolling := limits{max: 2, open: 2, window: true}
	reserve := limits{max: 3, open: 1, window: true, reserve: map[schemas.Category]int{v: 2}}
	two := limits{max: 4, open: 1, window: true, reserve: map[schemas.Category]int{v: 2, schemas.Alert: 1}}
	yesterday := []Entry{e("a", "22 20:00:00", "22 20:00:05", n), e("b", "22 23:59:58", "23 00:00:02", n)}
	for _, c := range []struct {
		name     string
		l        limits
		entries  []Entry
		holder   string
		category schemas.Category
		from, to string
		fits     bool
		next     string // "" when it fits
	}{
		{"empty", both, nil, "x", n, "23 10:00:00", "23 10:00:05", true, ""},
		{"a straddling call counts in both days", dayOnly, append(yesterday[1:2:2], e("c", "23 01:00:00", "23 01:00:05", n)), "x", n, "23 10:00:00", "23 10:00:05", false, "24 00:00:00"},
		{"the day is new, the 24 hours are not", both, yesterday, "x", n, "23 10:00:00", "23 10:00:05", false, "23 20:00:05"},
		{"day alone does not look back", dayOnly, yesterday, "x", n, "23 10:00:00", "23 10:00:05", true, ""},
		{"rolling: one millisecond decides", rolling, yesterday, "x", n, "23 20:00:05", "23 20:00:10", true, ""},
		{"a call into a day that is full", dayOnly, []Entry{e("a", "24 00:00:01", "24 00:00:02", n), e("b", "24 00:00:01", "24 00:00:02", n)}, "x", n, "23 23:59:59", "24 00:00:04", false, "25 00:00:00"},
		{"the same before midnight fits", dayOnly, []Entry{e("a", "24 00:00:01", "24 00:00:02", n), e("b", "24 00:00:01", "24 00:00:02", n)}, "x", n, "23 23:59:50", "23 23:59:55", true, ""},
		{"its own entry does not count against it", both, yesterday, "a", n, "23 10:00:00", "23 10:00:05", true, ""},
		{"the reserved places are not for all", reserve, yesterday[:1], "x", n, "22 21:00:00", "22 21:00:05", false, "23 20:00:05"},
		{"but for their category", reserve, yesterday[:1], "x", v, "22 21:00:00", "22 21:00:05", true, ""},
		{"a holder keeps its place when the rest is reserved", reserve, []Entry{yesterday[0], e("c", "22 21:00:00", "22 21:00:05", v)}, "a", n, "22 22:00:00", "22 22:00:05", true, ""},
		{"never over the limit", reserve, []Entry{yesterday[0], e("c", "22 21:00:00", "22 21:00:05", v), e("d", "22 21:00:00", "22 21:00:05", v)}, "x", v, "22 22:00:00", "22 22:00:05", false, "23 20:00:05"},
		{"not even for a holder, when the limit was lowered", rolling, []Entry{yesterday[0], e("c", "22 20:00:00", "22 20:00:05", n), e("d", "22 20:00:00", "22 20:00:05", n)}, "a", n, "22 22:00:00", "22 22:00:05", false, "23 20:00:05"},
		{"one reserve does not eat another's", two, []Entry{yesterday[0], e("c", "22 21:00:00", "22 21:00:05", v), e("d", "22 21:00:01", "22 21:00:06", v)}, "x", v, "22 22:00:00", "22 22:00:05", false, "23 20:00:05"},
		{"which is still free", two, []Entry{yesterday[0], e("c", "22 21:00:00", "22 21:00:05", v), e("d", "22 21:00:01", "22 21:00:06", v)}, "x", schemas.Alert, "22 22:00:00", "22 22:00:05", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := at(t, c.from), at(t, c.to)
			if got := c.l.fits(c.entries, c.holder, c.category, from, to); got != c.fits {
				t.Fatalf("fits = %v, want %v", got, c.fits)
			}
			want := from
			if !c.fits {
				want = at(t, c.next)
			}
			got := c.l.next(c.entries, c.holder, c.category, from, to-from)
			if got != want {
				t.Fatalf("room at %v, want %v", time.UnixMilli(got).In(shanghai), time.UnixMilli(want).In(shanghai))
			}
			if !c.fits && c.l.fits(c.entries, c.holder, c.category, got-1, got-1+to-from) {
				t.Fatal("there was room a millisecond before")
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"e":[{"h":"a","f":1,"t":2,"c":"alert"}]}`))
	f.Add([]byte(`{"v":1,"e":[]}`))
	f.Add([]byte(`{"v":2,"e":[]}`))
	f.Add([]byte(`{"stream":"CAPS","seq":7}`)) // a server's ack, stored by a forged reply subject
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := decode(b)
		if err != nil {
			return
		}
		out, err := encode(entries)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(out)
		if err != nil || len(again) != len(entries) {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		for i := range again {
			if again[i] != entries[i] {
				t.Fatalf("entry %d: %v became %v", i, entries[i], again[i])
			}
		}
	})
}

func TestGarbageIsNotAnEmptyRecord(t *testing.T) {
	for _, s := range []string{
		`{}`, `null`, `{"v":1}`, `{"v":1,"e":null}`, `{"v":2,"e":[]}`, `{"v":1,"e":[],"x":1}`, `[]`, `x`, ` `,
		`{"v":1,"e":[{"h":"","f":1,"t":2,"c":"alert"}]}`,
		`{"v":1,"e":[{"h":"a","f":3,"t":2,"c":"alert"}]}`,
		`{"v":1,"e":[{"h":"a","f":1,"t":2,"c":"gossip"}]}`,
		`{"v":1,"e":[{"h":"a","f":1,"t":2,"c":"alert"},{"h":"a","f":1,"t":2,"c":"alert"}]}`,
		`{"v":1,"e":[]}{}`,
	} {
		if _, err := decode([]byte(s)); err == nil {
			t.Errorf("%s was taken for a record", s)
		}
	}
}
