package dailycap

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

func open(t testing.TB, section string, store rules.Store) *Cap {
	t.Helper()
	return rulestest.Open(t, New, section, rules.Env{Caps: store}).(*Cap)
}

const phone = "+8613800138000"

func input(c schemas.Category, now time.Time) rules.Input {
	return rules.Input{Kind: "sms", Now: now, Delivery: &schemas.Delivery{Category: c, To: schemas.Recipient{Phone: phone}}}
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, shanghai)

func reserve(t testing.TB, r *Cap, c schemas.Category, holder string, now time.Time) rules.Verdict {
	t.Helper()
	v, err := r.Reserve(t.Context(), input(c, now), holder, now.Add(5*time.Second))
	if err != nil {
		t.Fatalf("%s at %s: %v", holder, now, err)
	}
	return v
}

func TestCapIsRespectedAndExplained(t *testing.T) {
	for _, c := range []struct {
		over   string
		action rules.Action
		hit    string
	}{{"dead", rules.Bury, "block"}, {"defer", rules.Hold, "hold"}, {"divert:mail", rules.Divert, "block"}} {
		t.Run(c.over, func(t *testing.T) {
			r := open(t, "{limit: 3, over: '"+c.over+"'}", new(rulestest.Store))
			for i := range 3 {
				if v := reserve(t, r, schemas.Notification, fmt.Sprint("h", i), noon.Add(time.Duration(i)*time.Hour)); v.Action != rules.Pass {
					t.Fatalf("call %d: %+v", i, v)
				}
			}
			v := reserve(t, r, schemas.Notification, "x", noon.Add(3*time.Hour))
			// The first entry ends five seconds of call and two of clock skew after noon, and leaves a day later; the
			// next may begin two seconds of skew after that.
			room := noon.Add(24*time.Hour + 9*time.Second)
			if v.Action != c.action || v.Rule != "12" || !v.Until.Equal(room) {
				t.Fatalf("verdict %+v, want action %d until %s", v, c.action, room)
			}
			if len(v.Hits) != 1 || v.Hits[0].Action != c.hit || !strings.Contains(v.Hits[0].Advice.Zh, "已用 3 条，北京时间 2026-11-24 12:00:09") ||
				!strings.Contains(v.Hits[0].Advice.En, "3 of this number's 3") || strings.Contains(fmt.Sprint(v), "138") {
				t.Fatalf("hits %+v", v.Hits)
			}
			if v := reserve(t, r, schemas.Notification, "x", room.Add(-time.Millisecond)); v.Action != c.action {
				t.Fatalf("one millisecond before there was room: %+v", v)
			}
			if v := reserve(t, r, schemas.Notification, "x", room); v.Action != rules.Pass {
				t.Fatalf("at the promised instant: %+v", v)
			}
			if want := strings.TrimPrefix(c.over, "divert:"); (want != c.over) != (r.DivertTo() == want) {
				t.Fatalf("DivertTo = %q", r.DivertTo())
			}
		})
	}
}

func TestDeferToMidnight(t *testing.T) {
	r := open(t, "{limit: 1, window: day, over: defer}", new(rulestest.Store))
	reserve(t, r, schemas.Alert, "a", noon)
	if v := reserve(t, r, schemas.Alert, "b", noon.Add(time.Hour)); !v.Until.Equal(noon.Add(12*time.Hour + 2*time.Second)) {
		t.Fatalf("until %s, want two seconds of skew after the next Shanghai midnight", v.Until)
	}
}

func TestSameHolderCountsOnce(t *testing.T) {
	r := open(t, "{limit: 2}", new(rulestest.Store))
	for range 5 {
		if v := reserve(t, r, schemas.Alert, "a", noon); v.Action != rules.Pass {
			t.Fatal("asking again was refused")
		}
	}
	reserve(t, r, schemas.Alert, "b", noon)
	if v := reserve(t, r, schemas.Alert, "a", noon.Add(time.Minute)); v.Action != rules.Pass {
		t.Fatal("a holder lost its place")
	}
	used, err := r.Usage(t.Context(), phone, noon)
	if err != nil || len(used) != 2 || used[0].Holder != "a" || used[0].From != noon.Add(time.Minute-2*time.Second).UnixMilli() {
		t.Fatalf("usage %+v, %v; want a moved to its latest call", used, err)
	}
	if used, err := r.Usage(t.Context(), phone, noon.Add(25*time.Hour)); err != nil || len(used) != 0 {
		t.Fatalf("a day later: %+v, %v", used, err)
	}
}

func TestReleaseGivesThePlaceBack(t *testing.T) {
	store := new(rulestest.Store)
	r, other := open(t, "{limit: 1}", store), open(t, "{limit: 1}", store)
	reserve(t, r, schemas.Alert, "a", noon)
	if v := reserve(t, other, schemas.Alert, "b", noon); v.Action != rules.Bury {
		t.Fatal("the cap let a second one through")
	}
	for _, holder := range []string{"b", "a", "a"} { // b has nothing to give
		if err := r.Release(t.Context(), input(schemas.Alert, noon), holder); err != nil {
			t.Fatal(err)
		}
	}
	if v := reserve(t, other, schemas.Alert, "b", noon.Add(fullFor)); v.Action != rules.Pass {
		t.Fatal("the place was not given back")
	}
}

func TestFullNumberIsAnsweredFromMemoryForASecond(t *testing.T) {
	store := new(rulestest.Store)
	r := open(t, "{limit: 1}", store)
	reserve(t, r, schemas.Alert, "a", noon)
	before, _ := store.Counts()
	for i := range 100 {
		reserve(t, r, schemas.Alert, "b", noon.Add(time.Duration(i)*9*time.Millisecond))
	}
	if loads, _ := store.Counts(); loads != before {
		t.Fatalf("%d loads for a number known to be full", loads-before)
	}
	reserve(t, r, schemas.Alert, "b", noon.Add(fullFor))
	if loads, _ := store.Counts(); loads != before+1 {
		t.Fatal("the memory was believed for more than a second")
	}
}

func TestFailsClosed(t *testing.T) {
	in := input(schemas.Alert, noon)
	for name, fault := range map[string]func(string) string{
		"load":            func(op string) string { return map[string]string{"load": "fail"}[op] },
		"swap":            func(op string) string { return map[string]string{"swap": "fail"}[op] },
		"endless contest": func(op string) string { return map[string]string{"swap": "conflict"}[op] },
	} {
		if _, err := open(t, "", &rulestest.Store{Fault: fault}).Reserve(t.Context(), in, "a", noon.Add(time.Second)); err == nil {
			t.Errorf("%s: allowed a call that was not counted", name)
		}
	}
	store := new(rulestest.Store)
	store.Put(phone, `{"stream":"CAPS","seq":1}`)
	if _, err := open(t, "", store).Reserve(t.Context(), in, "a", noon.Add(time.Second)); err == nil || strings.Contains(err.Error(), "CAPS") {
		t.Errorf("garbage record: %v", err)
	}
	r := open(t, "", new(rulestest.Store))
	for name, f := range map[string]func() error{
		"no holder": func() error { _, err := r.Reserve(t.Context(), in, "", noon.Add(time.Second)); return err },
		"no time":   func() error { _, err := r.Reserve(t.Context(), in, "a", noon); return err },
		"days":      func() error { _, err := r.Reserve(t.Context(), in, "a", noon.Add(25*time.Hour)); return err },
		"cancelled": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			n, err := r.cache.take(ctx, phone) // somebody else's turn
			if err != nil {
				t.Fatal(err)
			}
			defer r.cache.give(n)
			cancel()
			_, err = r.Reserve(ctx, in, "a", noon.Add(time.Second))
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: allowed", name)
		}
	}
	in.Delivery.To = schemas.Recipient{Email: "a@example.com"}
	if v, err := r.Reserve(t.Context(), in, "a", noon.Add(time.Second)); err != nil || v.Action != rules.Pass {
		t.Errorf("a delivery without a number: %v, %v", v, err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	r := open(t, "", new(rulestest.Store))
	for i := range maxNumbers + 500 {
		in := input(schemas.Alert, noon)
		in.Delivery.To.Phone = fmt.Sprint("+86138", i)
		if _, err := r.Reserve(t.Context(), in, "a", noon.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.cache.numbers); n != maxNumbers || r.cache.recent.Len() != n {
		t.Fatalf("%d numbers remembered, want %d", n, maxNumbers)
	}
}

func TestConfig(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{Caps: new(rulestest.Store)}, map[string]string{
		"{limit: 0}":                             "1..50",
		"{limit: 51}":                            "1..50",
		"{window: week}":                         "day, rolling or both",
		"{over: divert}":                         "divert:<channel>",
		"{over: 'divert:'}":                      "divert:<channel>",
		"{over: 'dead:mail'}":                    "divert:<channel>",
		"{reserve_for: {gossip: 1}}":             "unknown category",
		"{reserve_for: {alert: 0}}":              "at least 1",
		"{limit: 5, reserve_for: {alert: 5}}":    "no place",
		"{limits: 5}":                            "limits",
		"{reserve_for: {alert: 1, alert: 2}}":    "alert",
		"{limit: 9, over: dead, window: [both]}": "string",
	})
	r := open(t, "", new(rulestest.Store))
	if r.limits.max != 50 || !r.limits.day || !r.limits.window || r.over != rules.Bury {
		t.Errorf("defaults are %+v", r)
	}
}

func benchmark(b *testing.B, numbers int, full bool) {
	r := open(b, "", new(rulestest.Store))
	now := noon
	if full {
		for n := range numbers {
			for i := range maxLimit {
				in := input(schemas.Notification, now)
				in.Delivery.To.Phone = fmt.Sprint("+8613", n)
				if _, err := r.Reserve(b.Context(), in, fmt.Sprint("h", i), now.Add(5*time.Second)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	phones := make([]string, numbers)
	for n := range phones {
		phones[n] = fmt.Sprint("+8613", n)
	}
	b.ReportAllocs()
	var i int
	for b.Loop() {
		in := input(schemas.Notification, now)
		in.Delivery.To.Phone = phones[i%numbers]
		i++
		if _, err := r.Reserve(b.Context(), in, fmt.Sprint("n", i), now.Add(5*time.Second)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkManyNumbers(b *testing.B) { benchmark(b, 100_000, false) }
func BenchmarkTenHotFull(b *testing.B)  { benchmark(b, 10, true) }
func BenchmarkRecordOfFifty(b *testing.B) {
	var entries []Entry
	for i := range maxLimit {
		entries = append(entries, Entry{schemas.DeliveryID("acme", "s", fmt.Sprint(i), "r", "c"), noon.UnixMilli(), noon.UnixMilli() + 7000, schemas.Notification})
	}
	for b.Loop() {
		v, err := encode(entries)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decode(v); err != nil {
			b.Fatal(err)
		}
	}
}

// A pod whose clock runs ahead over midnight must not get a place of tomorrow for a call of today.
func TestAClockThatRunsAheadGetsNoExtraPlace(t *testing.T) {
	r := open(t, "{limit: 3, window: day}", new(rulestest.Store))
	for i := range 3 {
		reserve(t, r, schemas.Alert, fmt.Sprint(i), noon.Add(11*time.Hour))
	}
	midnight := noon.Add(12 * time.Hour)
	if v := reserve(t, r, schemas.Alert, "x", midnight.Add(1500*time.Millisecond)); v.Action == rules.Pass {
		t.Error("a fourth call in one day: its clock was 2 s ahead")
	}
	if v := reserve(t, r, schemas.Alert, "x", midnight.Add(2*time.Second)); v.Action != rules.Pass {
		t.Error("no place on the next day")
	}
}
