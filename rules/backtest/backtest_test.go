package backtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/content"
	"github.com/yizhan-dev/yizhan/rules/dailycap"
	"github.com/yizhan-dev/yizhan/rules/expiry"
	"github.com/yizhan-dev/yizhan/rules/quiet"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/schemas"
)

// word blocks messages that hold a word and nothing else, whatever the lexicons of the real guard hold.
type word string

func newWord(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c struct {
		Block string `yaml:"block"`
	}
	err := decode(&c)
	return word(c.Block), err
}

func (w word) Judge(in rules.Input) rules.Verdict {
	if w == "" || !strings.Contains(in.Delivery.Message.Text, string(w)) {
		return rules.Verdict{}
	}
	return rules.Verdict{Action: rules.Suppress, Rule: "6", Hits: []schemas.Hit{{Rule: "6", Action: "block", Field: "text", Text: string(w)}}}
}

var testChannels = map[string]rules.Channel{
	"sms":  {Kind: "sms", Provider: "aliyun", Address: "phone", Signature: "华星科技", Capped: true},
	"mail": {Kind: "email", Address: "email"},
	"ops":  {Kind: "webhook", Address: "none"},
}

func load(t testing.TB, source string) Rules {
	t.Helper()
	s := NewStore()
	book, err := rules.Load([]byte(source),
		map[string]rules.GuardFactory{"expiry": expiry.New, "quiet_hours": quiet.New, "signature": signature.New, "word": newWord, "content": content.New},
		map[string]rules.ReserverFactory{"daily_cap": dailycap.New}, rules.Env{Caps: s, Read: func(name string) ([]byte, error) { return os.ReadFile("../../docs/examples/backtest/" + name) }})
	if err == nil {
		err = book.Check(map[string]string{"sms": "sms", "mail": "email", "ops": "webhook"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return Rules{book, s}
}

func config(t testing.TB, before, after string) Config {
	t.Helper()
	return Config{
		Old: load(t, before), New: load(t, after), MaxAge: 72 * time.Hour, Examples: 3,
		Channels: func(name string) (rules.Channel, bool) {
			ch, ok := testChannels[name]
			return ch, ok
		},
		Parts: func(in rules.Input) int { return 1 + len([]rune(in.Delivery.Message.Text))/67 },
		Mask:  func(s string) string { return strings.Repeat("*", len([]rune(s))) },
	}
}

func runAll(t testing.TB, cfg Config, events []Event, batch int) *Report {
	t.Helper()
	r := New(cfg)
	for len(events) > 0 {
		n := min(batch, len(events))
		if err := r.Add(t.Context(), events[:n]); err != nil {
			t.Fatal(err)
		}
		events = events[n:]
	}
	report, err := r.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// at is a time of 2026-11-23 (and after) in Shanghai.
func at(hour float64) time.Time {
	return time.Date(2026, 11, 23, 0, 0, 0, 0, time.FixedZone("CST", 8*3600)).Add(time.Duration(hour * float64(time.Hour)))
}

func event(id string, when time.Time, data string) Event {
	return Event{Where: id, Raw: fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/erp","type":"erp.note","time":%q,"data":{%s}}`,
		id, when.Format(time.RFC3339), data)}
}

const (
	toWang = `"category":"notification","to":[{"name":"王芳","phone":"13800138000","email":"wang@example.com"}],"content":{"subject":"通知","text":"您好"}`
	toLi   = `"category":"notification","to":[{"name":"李强","phone":"13800138001","email":"li@example.com"}],"content":{"subject":"通知","text":"红包来了"}`
	promo  = `"category":"marketing","to":[{"phone":"13800138000"}],"content":{"text":"促销"}`
)

const plainRules = "routes: [{name: all, send: [sms]}]\n"

// Every kind of change is told as what it is.
func TestChanges(t *testing.T) {
	many := func(n int, data string) []Event {
		var es []Event
		for i := range n {
			es = append(es, event(fmt.Sprintf("e%d", i), at(10+float64(i)/60), data))
		}
		return es
	}
	cap := func(s string) string { return plainRules + "guards: {daily_cap: {" + s + "}}\n" }
	for _, tt := range []struct {
		name          string
		before, after string
		events        []Event
		want          map[Change]int
		outcomes      string // of the new rules
		rule          string // of the first example
	}{
		{"nothing", plainRules, plainRules, many(3, toWang), map[Change]int{}, "sent=3", ""},
		{"a word", plainRules, plainRules + "guards: {word: {block: 红包}}", append(many(2, toWang), event("x", at(11), toLi)), map[Change]int{NewlyBlocked: 1}, "sent=2 blocked=1", "6"},
		{"a word allowed", plainRules + "guards: {word: {block: 红包}}", plainRules, []Event{event("x", at(11), toLi)}, map[Change]int{NewlyAllowed: 1}, "sent=1", "6"},
		{"a lower cap", cap("limit: 5"), cap("limit: 3"), many(7, toWang), map[Change]int{NewlyOverCap: 2}, "sent=3 over_cap=4", "12"},
		{"a higher cap", cap("limit: 3"), cap("limit: 5"), many(7, toWang), map[Change]int{NoLongerOver: 2}, "sent=5 over_cap=2", "12"},
		{"over the cap by mail", cap("limit: 5"), cap("limit: 3, over: 'divert:mail'"), many(7, toWang), map[Change]int{NewlyOverCap: 2, NewlyAllowed: 2}, "sent=3 other=4", "12"},
		{"over the cap later", cap("limit: 5"), cap("limit: 3, over: defer"), many(5, toWang), map[Change]int{NewlyOverCap: 2}, "sent=3 later=2", "12"},
		{
			"dead over the cap falls back", cap("limit: 5"), "routes: [{name: all, send: [sms], fallback: [mail]}]\nguards: {daily_cap: {limit: 3}}", many(5, toWang),
			map[Change]int{NewlyOverCap: 2},
			"sent=3 other=2", "12",
		},
		{"quiet hours", plainRules, plainRules + "guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00'}]}", []Event{event("a", at(22), promo), event("b", at(32.5), promo)}, map[Change]int{NewlyHeld: 1}, "sent=1 later=1", "quiet-hours"},
		{
			"narrower hours", plainRules + "guards: {quiet_hours: [{category: marketing, allow: '09:00-21:00'}]}", plainRules + "guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00'}]}",
			[]Event{event("a", at(22), promo)},
			map[Change]int{Sooner: 1},
			"later=1", "quiet-hours",
		},
		{
			"too late after the night", plainRules, plainRules + "guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00'}], expiry: {marketing: 4h}}",
			[]Event{event("a", at(22), promo)},
			map[Change]int{NewlyBlocked: 1},
			"expired=1", "expiry",
		},
		{"another channel", plainRules, "routes: [{name: all, send: [mail]}]", many(2, toWang), map[Change]int{Dropped: 2, Added: 2}, "sent=2", ""},
		{"one more channel", plainRules, "routes: [{name: all, send: [sms, ops]}]", many(2, toWang), map[Change]int{Added: 2}, "sent=4", ""},
		{"no route left", plainRules, "routes: [{name: none, when: 'event.type == \"x\"', send: [sms]}]", many(2, toWang), map[Change]int{NewlyBlocked: 2}, "", rules.NoRoute},
		{"nobody is told any more", "routes: [{name: all, send: [sms, ops]}]", "routes: [{name: all, send: [ops]}]", many(1, toWang), map[Change]int{NewlyBlocked: 1}, "sent=1", rules.NoRoute},
		{"stopped another way", plainRules + "guards: {word: {block: 促销}}", plainRules + "guards: {expiry: {marketing: 1s}}", []Event{
			{Where: "late", Raw: event("late", at(9), promo).Raw, Stored: at(10)},
		}, map[Change]int{OtherWay: 1}, "expired=1", "expiry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, batch := range []int{1, 1000} {
				for _, workers := range []int{1, 3} {
					cfg := config(t, tt.before, tt.after)
					cfg.Workers = workers
					r := runAll(t, cfg, tt.events, batch)
					got := map[Change]int{}
					for _, c := range r.Changes {
						got[c.Change] = c.Count
					}
					if fmt.Sprint(got) != fmt.Sprint(tt.want) {
						t.Errorf("changes %v, want %v", got, tt.want)
					}
					var words []string
					for _, o := range Outcomes {
						if n := r.New.Outcomes[o]; n > 0 {
							words = append(words, fmt.Sprintf("%s=%d", o, n))
						}
					}
					if s := strings.Join(words, " "); s != tt.outcomes {
						t.Errorf("outcomes %q, want %q", s, tt.outcomes)
					}
					if tt.rule != "" && r.Changes[0].Examples[0].Rule != tt.rule {
						t.Errorf("rule %q, want %q", r.Changes[0].Examples[0].Rule, tt.rule)
					}
				}
			}
		})
	}
}

// What the clock holds goes on before what comes later, and takes its place in the cap first.
func TestHeldMessagesTakeTheirPlaceInOrder(t *testing.T) {
	source := plainRules + "guards: {daily_cap: {limit: 2}, quiet_hours: [{category: marketing, allow: '08:00-21:00'}]}"
	r := runAll(t, config(t, source, source), []Event{
		event("night", at(22), promo), event("morning", at(33), toWang), event("noon", at(36), toWang),
	}, 10)
	if n := r.Old.Outcomes[overCap]; n != 1 || r.Old.Outcomes[later] != 1 || r.Old.Outcomes[sent] != 1 {
		t.Errorf("%+v", r.Old)
	}
}

// A delivery that waits longer than it may is dead, as in the dispatcher, and its fallback takes its place.
func TestTooOld(t *testing.T) {
	deferring := "guards: {daily_cap: {limit: 1, window: day, over: defer}}"
	cfg := config(t, plainRules+deferring, "routes: [{name: all, send: [sms], fallback: [mail]}]\n"+deferring)
	cfg.MaxAge = 12 * time.Hour
	r := runAll(t, cfg, []Event{event("a", at(10), toWang), event("b", at(11), toWang), event("c", at(20), toWang)}, 10)
	// b may wait until 23:00 and would have room at midnight; c may wait longer than that.
	if r.Old.Outcomes[unsendable] != 1 || r.Old.Outcomes[later] != 1 || r.Old.Outcomes[sent] != 1 || r.New.Outcomes[elsewhere] != 1 {
		t.Errorf("old %v, new %v", r.Old.Outcomes, r.New.Outcomes)
	}
}

func TestAdmission(t *testing.T) {
	cfg := config(t, plainRules, plainRules)
	cfg.Since, cfg.Until = at(10), at(12)
	r := runAll(t, cfg, []Event{
		{Where: "f:1", Raw: []byte(`{"specversion":"1.0","id":"n","source":"/erp","type":"t","data":{` + toWang + `}}`)}, // no clock yet
		event("early", at(9), toWang),
		event("a", at(10), toWang),
		event("a", at(10.5), toWang),   // a repeat; the clock goes on
		event("back", at(9.5), toWang), // arrived late: counts when it arrived
		{Where: "f:6", Raw: []byte(`{"specversion":"1.0","id":"m","source":"/erp","type":"t","data":{` + toWang + `}}`)}, // at the clock's time
		{Where: "f:7", Raw: []byte(`{"id":1}`)},
		{Where: "f:8", Problem: errors.New("no JSON")},
		event("late", at(12), toWang),
	}, 100)
	want := Events{Read: 9, Used: 3, Outside: 2, Duplicates: 1, Wrong: 3}
	if r.Events != want {
		t.Errorf("%+v, want %+v", r.Events, want)
	}
	if len(r.Wrong) != 3 || r.Wrong[2].Where != "f:8" || r.Wrong[2].Problems[0].En != "no JSON" || r.Wrong[0].Problems[0].Pointer != "/time" {
		t.Errorf("%+v", r.Wrong)
	}
	if !r.From.Equal(at(10)) || !r.To.Equal(at(10.5)) {
		t.Errorf("%s to %s", r.From, r.To)
	}
}

// The same recording gives the same report, whatever the batches and the workers.
func TestWorkersChangeNothing(t *testing.T) {
	events := recording(t, 6_000)
	before, after := exampleRules(t)
	after = strings.Replace(after, "limit: 30", "limit: 8", 1) // a small recording needs a lower cap
	var first []byte
	for _, n := range []int{1, 2, 5} {
		cfg := config(t, before, after)
		cfg.Workers, cfg.Examples = n, 5
		report := runAll(t, cfg, events, 1000*n)
		report.Waiting = 0 // is looked at between batches
		if report.Count(NewlyOverCap) == 0 || report.Count(NewlyHeld) == 0 || report.Count(NewlyBlocked) == 0 {
			t.Fatalf("the recording tests nothing: %+v", report.Changes)
		}
		b, err := json.Marshal(report, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		} else if !bytes.Equal(first, b) {
			i := 0
			for i < min(len(b), len(first)) && b[i] == first[i] {
				i++
			}
			t.Errorf("%d workers: %.300s\none: %.300s", n, b[max(0, i-100):], first[max(0, i-100):])
		}
	}
	if bytes.Contains(first, []byte("139100")) {
		t.Error("the report holds a number")
	}
}

// Against a cap counted by hand: no window of a number ever holds more than the limit, and no message is
// refused while there is room.
func TestCapIsExact(t *testing.T) {
	source := plainRules + "guards: {daily_cap: {limit: 4, window: day}}"
	var events []Event
	want := 0
	for day := range 3 {
		for i := range 6 {
			events = append(events, event(fmt.Sprintf("%d-%d", day, i), at(24*float64(day)+8+float64(i)), toWang))
		}
		want += 4
	}
	r := runAll(t, config(t, source, source), events, 7)
	if r.Old.Outcomes[sent] != want || r.New.Outcomes[sent] != want || r.Old.OverCap != 6 {
		t.Errorf("%+v", r.Old)
	}
}

// A piece of the recording may span more time than records are kept: none of them is forgotten too soon.
func TestBatchesThatSpanDays(t *testing.T) {
	source := plainRules + "guards: {daily_cap: {limit: 2}}"
	events := []Event{event("first", at(0), toLi), event("a", at(47), toWang), event("b", at(48), toWang), event("c", at(51), toWang)}
	for _, batch := range []int{1, 3, 4} {
		if r := runAll(t, config(t, source, source), events, batch); r.Old.Outcomes[overCap] != 1 {
			t.Errorf("batches of %d: %+v", batch, r.Old)
		}
	}
}

func TestStoreForgets(t *testing.T) {
	s, ctx := NewStore(), context.Background()
	s.advance(at(0), at(0))
	rev, err := s.Swap(ctx, "a", []byte("1"), 0, 50*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(ctx, "a", []byte("2"), 0, time.Hour); !errors.Is(err, rules.ErrConflict) {
		t.Errorf("a swap on an old revision: %v", err)
	}
	s.advance(at(49), at(49))
	if v, got, _ := s.Load(ctx, "a"); string(v) != "1" || got != rev {
		t.Errorf("%q %d", v, got)
	}
	s.advance(at(51), at(51))
	if _, got, _ := s.Load(ctx, "a"); got != 0 || s.Size() != 0 {
		t.Errorf("revision %d, %d records", got, s.Size())
	}
	again, err := s.Swap(ctx, "a", []byte("3"), 0, time.Hour)
	if err != nil || again == rev {
		t.Errorf("revision %d again, %v", again, err)
	}
}

func recording(t testing.TB, n int) []Event {
	t.Helper()
	var b bytes.Buffer
	if err := writeRecording(&b, n); err != nil {
		t.Fatal(err)
	}
	events := make([]Event, 0, n)
	for line := range bytes.Lines(b.Bytes()) {
		events = append(events, Event{Where: fmt.Sprint(len(events)), Raw: line})
	}
	return events
}

// exampleRules are those of docs/backtest.md.
func exampleRules(t testing.TB) (before, after string) {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile("../../docs/examples/backtest/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return read("rules.yaml"), read("rules.new.yaml")
}

// BenchmarkBacktest plans and judges a recorded event by both rules.
func BenchmarkBacktest(b *testing.B) {
	const n = 50_000
	events := recording(b, n)
	before, after := exampleRules(b)
	b.ReportAllocs()
	for b.Loop() {
		r := runAll(b, config(b, before, after), events, 4096)
		if r.Events.Used == 0 {
			b.Fatal("nothing was used")
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
}
