package weather

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
)

const (
	// day is how far back the station remembers; the stream keeps an hour more.
	day = 24 * time.Hour
	// readEvery is how old an answer may be.
	readEvery = 2 * time.Second
	// maxChannels bounds the channels remembered: names come from the subjects.
	maxChannels = 1000
	// current is how old a summary may be to tell what is stopped now: pods publish once a minute.
	current = 150 * time.Second
	// topCauses is how many causes an answer lists.
	topCauses = 5
)

// Publish stores a pod's summaries. Those that could not be stored come back.
func Publish(ctx context.Context, b *broker.Broker, worker string, list []Taken) (left []Taken, err error) {
	for i, t := range list {
		body, err := json.Marshal(t.Summary, json.Deterministic(true))
		if err != nil {
			return nil, fmt.Errorf("weather: %w", err)
		}
		if _, err := b.Publish(ctx, &nats.Msg{Subject: broker.StatsSubject(t.Channel, worker), Data: body}); err != nil {
			return list[i:], fmt.Errorf("weather: %w", err)
		}
	}
	return nil, nil
}

// Station adds up the summaries of all pods. It reads only what is new since it was asked last. Safe for concurrent use.
type Station struct {
	B *broker.Broker

	mu       sync.Mutex
	next     uint64 // sequence
	read     time.Time
	channels map[string]*record
}

// record is what is known of one channel.
type record struct {
	minutes map[int64]*Summary // by Unix time, of all pods
	broken  map[string]seen    // by pod
}

type seen struct {
	at   time.Time
	list []Broken
}

// Weather is one channel's.
type Weather struct {
	Hour, Day Span
	Broken    []BrokenAt
}

// BrokenAt is a stopped destination, as one pod sees it.
type BrokenAt struct {
	Worker string
	Broken
}

// Span is the sum of an hour or a day up to now.
type Span struct {
	Calls, OK int
	Outcomes  map[string]int
	P50, P95  time.Duration // how long calls took; 0 without any
	Causes    []Cause       // the most frequent
	// Series is the span in equal steps, oldest first.
	Step   time.Duration
	Series []Point
}

// Point is one step of a span.
type Point struct {
	Time      time.Time
	Calls, OK int
}

// The steps of the series: 60 in an hour, 96 in a day.
const hourStep, dayStep = time.Minute, 15 * time.Minute

// Now tells the weather of every channel with any in the last day.
func (s *Station) Now(ctx context.Context, now time.Time) (map[string]Weather, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.read); age < 0 || age >= readEvery {
		if err := s.catchUp(ctx); err != nil {
			return nil, err
		}
		s.read = now
	}
	out := make(map[string]Weather, len(s.channels))
	for name, r := range s.channels {
		if r.forget(now.Add(-day)); len(r.minutes) == 0 {
			delete(s.channels, name)
			continue
		}
		w := Weather{Hour: r.span(now, time.Hour, hourStep), Day: r.span(now, day, dayStep)}
		for _, worker := range slices.Sorted(maps.Keys(r.broken)) {
			if b := r.broken[worker]; now.Sub(b.at) < time.Minute+current {
				for _, one := range b.list {
					w.Broken = append(w.Broken, BrokenAt{worker, one})
				}
			} else {
				delete(r.broken, worker)
			}
		}
		out[name] = w
	}
	return out, nil
}

// None is the weather of a channel that was not called.
func (*Station) None(now time.Time) Weather {
	var r record
	return Weather{Hour: r.span(now, time.Hour, hourStep), Day: r.span(now, day, dayStep)}
}

// catchUp reads what was published since the last time.
func (s *Station) catchUp(ctx context.Context) error {
	info, err := s.B.Stream(broker.Stats).Info(ctx)
	if err != nil {
		return fmt.Errorf("weather: %w", err)
	}
	if s.channels == nil || info.State.LastSeq+1 < s.next { // the first time, or the stream was made anew
		s.channels, s.next = map[string]*record{}, 1
	}
	if info.State.LastSeq < s.next {
		return nil
	}
	err = s.B.Each(ctx, broker.Stats, "", s.next, func(m jetstream.Msg) (bool, error) {
		if meta, err := m.Metadata(); err == nil {
			s.next = meta.Sequence.Stream + 1
		}
		s.add(m.Subject(), m.Data())
		return true, ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("weather: %w", err)
	}
	return nil
}

// add takes one summary in. One that cannot be read is of no use to anybody, and hides no other.
func (s *Station) add(subject string, body []byte) {
	tokens := strings.Split(subject, ".")
	var m Summary
	if len(tokens) != 4 || json.Unmarshal(body, &m) != nil || m.Minute.IsZero() {
		return
	}
	name, worker := tokens[2], tokens[3]
	r := s.channels[name]
	if r == nil {
		if len(s.channels) >= maxChannels {
			return
		}
		r = &record{minutes: map[int64]*Summary{}, broken: map[string]seen{}}
		s.channels[name] = r
	}
	if b, ok := r.broken[worker]; !ok || !m.Minute.Before(b.at) {
		r.broken[worker] = seen{m.Minute, m.Broken}
	}
	at := m.Minute.Truncate(time.Minute).Unix()
	have := r.minutes[at]
	if have == nil {
		have = &Summary{Minute: m.Minute.Truncate(time.Minute), Outcomes: map[string]int{}, Took: make([]int, len(Bounds)+1)}
		r.minutes[at] = have
	}
	have.merge(&m)
}

func (s *Summary) merge(o *Summary) {
	for class, n := range o.Outcomes {
		if len(s.Outcomes) < 32 || s.Outcomes[class] > 0 {
			s.Outcomes[class] += max(n, 0)
		}
	}
	for i, n := range o.Took {
		s.Took[min(i, len(s.Took)-1)] += max(n, 0)
	}
	for _, c := range o.Causes {
		s.Causes = addCause(s.Causes, c, 2*sentCauses)
	}
}

// forget drops what is older.
func (r *record) forget(before time.Time) {
	maps.DeleteFunc(r.minutes, func(at int64, _ *Summary) bool { return at < before.Add(-dayStep).Unix() })
}

// span sums what began within length before now, in steps that end with the one of now.
func (r *record) span(now time.Time, length, step time.Duration) Span {
	begin := now.Truncate(step).Add(step - length)
	out := Span{Outcomes: map[string]int{}, Step: step, Series: make([]Point, length/step)}
	for i := range out.Series {
		out.Series[i].Time = begin.Add(time.Duration(i) * step).UTC()
	}
	sum := Summary{Outcomes: out.Outcomes, Took: make([]int, len(Bounds)+1)}
	var causes []Cause
	for _, at := range slices.Sorted(maps.Keys(r.minutes)) {
		m := r.minutes[at]
		i := int(m.Minute.Sub(begin) / step)
		if m.Minute.Before(begin) || i >= len(out.Series) { // a clock that is ahead
			continue
		}
		sum.merge(&Summary{Outcomes: m.Outcomes, Took: m.Took})
		for _, c := range m.Causes {
			causes = addCause(causes, c, 10*maxCauses)
		}
		for class, n := range m.Outcomes {
			out.Series[i].Calls += n
			if class == OK {
				out.Series[i].OK += n
			}
		}
	}
	for _, p := range out.Series {
		out.Calls += p.Calls
		out.OK += p.OK
	}
	out.P50, out.P95 = quantile(sum.Took, 0.5), quantile(sum.Took, 0.95)
	out.Causes = byCount(causes, topCauses)
	return out
}

// quantile is the duration below which the share q of the calls ended, as closely as the bounds tell.
func quantile(took []int, q float64) time.Duration {
	all := 0
	for _, n := range took {
		all += n
	}
	rank := q * float64(all)
	below := 0
	for i, n := range took {
		if n == 0 || float64(below+n) < rank {
			below += n
			continue
		}
		if i >= len(Bounds) {
			return Bounds[len(Bounds)-1]
		}
		low := time.Duration(0)
		if i > 0 {
			low = Bounds[i-1]
		}
		return low + time.Duration((rank-float64(below))/float64(n)*float64(Bounds[i]-low))
	}
	return 0
}
