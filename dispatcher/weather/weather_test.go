package weather

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
)

var noon = time.Date(2026, 11, 25, 12, 0, 30, 0, time.UTC)

func refused(code string) *channels.Failure {
	return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: code, Line: "第三方的原话"}
}

func openBroker(t *testing.T) *broker.Broker {
	t.Helper()
	cfg := broker.Config{DataDir: t.TempDir()}
	cfg.Defaults()
	b, err := broker.Open(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func publish(t *testing.T, b *broker.Broker, worker string, list []Taken) {
	t.Helper()
	if left, err := Publish(t.Context(), b, worker, list); err != nil || left != nil {
		t.Fatal(left, err)
	}
}

// Two pods, and one answer that counts the calls of both, whoever asks, and also who asks for the first time later.
func TestPodsAddUp(t *testing.T) {
	b := openBroker(t)
	early := &Station{B: b}
	if w, err := early.Now(t.Context(), noon); err != nil || len(w) != 0 {
		t.Fatal(w, err)
	}
	var pods [2]Recorder
	for i := range pods {
		r := &pods[i]
		for n := range 100 {
			var f *channels.Failure
			class := channels.Class("")
			if n%10 == 0 {
				f, class = refused("isv.AMOUNT_NOT_ENOUGH"), channels.Config
			}
			r.Note(noon.Add(-10*time.Minute), "sms", f, class, 100*time.Millisecond)
		}
		r.Note(noon.Add(-3*time.Hour), "sms", refused("isp.SYSTEM_ERROR"), channels.Temporary, 5*time.Second)
		r.Note(noon.Add(-10*time.Minute), "mail", nil, "", time.Second)
		publish(t, b, fmt.Sprint("pod.", i), r.Take(noon))
	}
	late := &Station{B: b}
	for name, s := range map[string]*Station{"early": early, "late": late, "twice": late} {
		all, err := s.Now(t.Context(), noon.Add(3*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		w := all["sms"]
		if w.Hour.Calls != 200 || w.Hour.OK != 180 || w.Day.Calls != 202 || w.Day.OK != 180 || all["mail"].Hour.OK != 2 {
			t.Errorf("%s: hour %d/%d, day %d/%d, mail %d", name, w.Hour.OK, w.Hour.Calls, w.Day.OK, w.Day.Calls, all["mail"].Hour.OK)
		}
		if !maps.Equal(w.Hour.Outcomes, map[string]int{OK: 180, "config": 20}) {
			t.Errorf("%s: %v", name, w.Hour.Outcomes)
		}
		if len(w.Day.Causes) != 2 || w.Day.Causes[0].Code != "isv.AMOUNT_NOT_ENOUGH" || w.Day.Causes[0].Count != 20 || w.Day.Causes[1].Count != 2 {
			t.Errorf("%s: causes %+v", name, w.Day.Causes)
		}
		at := slices.IndexFunc(w.Hour.Series, func(p Point) bool { return p.Calls > 0 })
		if len(w.Hour.Series) != 60 || len(w.Day.Series) != 96 || at < 0 || w.Hour.Series[at] != (Point{noon.Add(-10 * time.Minute).Truncate(time.Minute), 200, 180}) {
			t.Errorf("%s: series at %d of %d: %+v", name, at, len(w.Hour.Series), w.Hour.Series[max(at, 0)])
		}
		if w.Hour.P50 < 70*time.Millisecond || w.Hour.P50 > 130*time.Millisecond {
			t.Errorf("%s: p50 %s, calls took 100 ms", name, w.Hour.P50)
		}
	}
}

// What this process decided without the third party is no weather.
func TestOwnDecisionsAreNotCounted(t *testing.T) {
	var r Recorder
	for _, f := range []*channels.Failure{
		{Kind: "dispatcher", Code: "rate"},
		{Kind: "sms", Provider: "dispatcher", Code: "dispatcher:no-number"},
		{Kind: "email", Code: "net:busy"},
		{Kind: "email", Code: "net:cancelled"},
	} {
		r.Note(noon, "x", f, channels.Throttled, 0)
	}
	if got := r.Take(time.Time{}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A pod that saw nothing publishes nothing; a minute that goes on stays.
func TestTakeEndedMinutesOnce(t *testing.T) {
	var r Recorder
	if got := r.Take(noon); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	r.Note(noon, "a", nil, "", time.Millisecond)
	if got := r.Take(noon.Add(20 * time.Second)); got != nil {
		t.Errorf("the minute goes on: %v", got)
	}
	next := noon.Add(time.Minute)
	r.Note(next, "a", nil, "", time.Millisecond)
	first, again, rest := r.Take(next), r.Take(next), r.Take(time.Time{})
	if len(first) != 1 || len(again) != 0 || len(rest) != 1 || !first[0].Summary.Minute.Equal(noon.Truncate(time.Minute)) {
		t.Errorf("%v, %v, %v", first, again, rest)
	}
}

// While the broker is away, summaries wait, and not without bound.
func TestReturnedSummariesWait(t *testing.T) {
	var r Recorder
	for i := range 2 * maxUnsent {
		r.Note(noon.Add(time.Duration(i)*time.Minute), "a", nil, "", time.Millisecond)
		r.Return(r.Take(noon.Add(time.Duration(i+1) * time.Minute)))
	}
	got := r.Take(time.Time{})
	if len(got) != maxUnsent {
		t.Fatalf("%d wait, want %d", len(got), maxUnsent)
	}
	if last := got[len(got)-1].Summary.Minute; !last.Equal(noon.Add((2*maxUnsent - 1) * time.Minute).Truncate(time.Minute)) {
		t.Errorf("the newest is of %s", last)
	}
}

// A third party with ten thousand different words takes no more memory, and no larger summary, than one with some.
func TestSummaryIsBounded(t *testing.T) {
	var r Recorder
	for i := range 10_000 {
		f := refused(fmt.Sprint("isv.CODE_", i))
		f.Line = strings.Repeat("很长的话", 200)
		r.Note(noon, "a", f, channels.Content, time.Duration(i)*time.Millisecond)
	}
	for range 20 {
		r.Note(noon, "a", refused("isv.CODE_7"), channels.Content, time.Millisecond)
	}
	var broken []channels.Broken
	for i := range 1000 {
		broken = append(broken, channels.Broken{Destination: fmt.Sprint("host-", i), Since: noon, Cause: refused("x")})
	}
	r.Break(noon, "a", broken)
	got := r.Take(time.Time{})
	body, err := json.Marshal(got[0].Summary)
	if err != nil || len(body) > 16<<10 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if c := got[0].Summary.Causes; len(c) != sentCauses || c[0].Code != "isv.CODE_7" || got[0].Summary.Outcomes["content"] != 10_020 {
		t.Errorf("%d causes, first %+v", len(c), c[0])
	}
}

// What is stopped is told while it is, and not after the pod that saw it has gone or has seen it work.
func TestBrokenIsCurrent(t *testing.T) {
	b := openBroker(t)
	s := &Station{B: b}
	var a, gone Recorder
	stopped := []channels.Broken{{Destination: "erp.example.com", Since: noon.Add(-5 * time.Minute), RetryAt: noon.Add(time.Minute), Cause: refused("http:503")}}
	a.Break(noon, "partner", stopped)
	gone.Break(noon, "partner", stopped)
	publish(t, b, "a", a.Take(time.Time{}))
	publish(t, b, "gone", gone.Take(time.Time{}))
	count := func(at time.Time) int {
		t.Helper()
		all, err := s.Now(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		return len(all["partner"].Broken)
	}
	if n := count(noon.Add(time.Minute)); n != 2 {
		t.Errorf("%d pods say that it is stopped, want 2", n)
	}
	a.Note(noon.Add(time.Minute), "partner", nil, "", time.Second)
	publish(t, b, "a", a.Take(time.Time{}))
	if n := count(noon.Add(2 * time.Minute)); n != 1 {
		t.Errorf("%d say so after one saw it work, want 1", n)
	}
	if n := count(noon.Add(10 * time.Minute)); n != 0 {
		t.Errorf("%d say so after ten minutes of silence, want 0", n)
	}
}

// A day later nothing is left of it, and what cannot be read hides nothing.
func TestStationForgetsAndForgives(t *testing.T) {
	b := openBroker(t)
	s := &Station{B: b}
	var r Recorder
	r.Note(noon, "a", nil, "", time.Second)
	publish(t, b, "a", r.Take(time.Time{}))
	for _, body := range []string{"", "{", "[]", `{"minute":"yesterday"}`, `{"minute":"2026-11-25T12:00:00Z","outcomes":{"ok":-5},"took":[-1]}`, `{"minute":"2026-11-25T12:00:00Z","took":[` + strings.Repeat("1,", 200) + "1]}"} {
		if _, err := b.Publish(t.Context(), &nats.Msg{Subject: broker.StatsSubject("a", "strange"), Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Now(t.Context(), noon.Add(time.Minute))
	if err != nil || all["a"].Hour.Calls != 1 {
		t.Errorf("%d calls, %v", all["a"].Hour.Calls, err)
	}
	if all, err = s.Now(t.Context(), noon.Add(25*time.Hour)); err != nil || len(all) != 0 {
		t.Errorf("a day later: %v, %v", all, err)
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		name     string
		took     []time.Duration
		p50, p95 time.Duration
	}{
		{"none", nil, 0, 0},
		{"one", []time.Duration{time.Second}, time.Second, time.Second},
		{"hung", []time.Duration{time.Hour}, Bounds[len(Bounds)-1], Bounds[len(Bounds)-1]},
		{"slow tail", append(slices.Repeat([]time.Duration{20 * time.Millisecond}, 90), slices.Repeat([]time.Duration{10 * time.Second}, 10)...), 20 * time.Millisecond, 10 * time.Second},
	} {
		var r Recorder
		for _, d := range tt.took {
			r.Note(noon, "a", nil, "", d)
		}
		counts := make([]int, len(Bounds)+1)
		for _, s := range r.Take(time.Time{}) {
			counts = s.Summary.Took
		}
		for q, want := range map[float64]time.Duration{0.5: tt.p50, 0.95: tt.p95} {
			// The bounds are half as much apart.
			if got := quantile(counts, q); got > want*3/2 || got < want*2/3 {
				t.Errorf("%s: p%v = %s, want about %s", tt.name, 100*q, got, want)
			}
		}
	}
}

func TestRecorderIsSafe(t *testing.T) {
	var r Recorder
	var wg sync.WaitGroup
	total := make(chan int, 4)
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				r.Note(noon.Add(time.Duration(i)*time.Second), "a", nil, "", time.Millisecond)
			}
		})
		go func() {
			n := 0
			for ctx.Err() == nil {
				for _, s := range r.Take(noon.Add(time.Hour)) {
					n += s.Summary.Outcomes[OK]
				}
			}
			total <- n
		}()
	}
	wg.Wait()
	cancel()
	n := 0
	for range 4 {
		n += <-total
	}
	for _, s := range r.Take(time.Time{}) {
		n += s.Summary.Outcomes[OK]
	}
	if n != 4000 {
		t.Errorf("%d calls counted, want 4000", n)
	}
}
