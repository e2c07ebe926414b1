// Package weather knows how the third parties are: what became of the calls to each channel in the last hour and day, on
// all pods together.
//
// Each sending pod counts its own calls ([Recorder]) and publishes, for each minute and channel in which something
// happened, one small summary. Whoever is asked adds them up ([Station]).
package weather

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// OK is the outcome of a call that was accepted; the others are the classes of failures.
const OK = "ok"

const (
	// maxCauses bounds the causes kept of one channel and minute, sentCauses those that are published.
	maxCauses, sentCauses = 64, 8
	// maxBroken bounds the stopped destinations in one summary.
	maxBroken = 16
	// maxLine bounds what is kept of a third party's words: enough for the diagnoses to know them.
	maxLine = 240
	// maxUnsent is how many minutes wait while the broker cannot be reached; older ones are lost.
	maxUnsent = 30
)

// Summary is what one pod saw of one channel in one minute. It travels as JSON; members may be added.
type Summary struct {
	Minute time.Time `json:"minute"` // its beginning
	// Outcomes counts the calls by outcome, Took those that were answered or hung by duration: the n-th number is for
	// the n-th of [Bounds], the last for all beyond.
	Outcomes map[string]int `json:"outcomes,omitzero"`
	Took     []int          `json:"took,omitzero"`
	Causes   []Cause        `json:"causes,omitzero"` // the most frequent
	Broken   []Broken       `json:"broken,omitzero"`
}

// Cause is one way to fail, and how often it was met. It holds what the diagnoses need to explain it.
type Cause struct {
	Kind     string `json:"kind"`
	Provider string `json:"provider,omitzero"`
	Code     string `json:"code"`
	Class    string `json:"class"`
	Line     string `json:"line,omitzero"` // of the first of them, masked
	Count    int    `json:"count"`
}

// Broken is a destination to which calls are stopped, see [channels.Broken].
type Broken struct {
	Destination string    `json:"destination,omitzero"`
	Since       time.Time `json:"since"`
	RetryAt     time.Time `json:"retry_at,omitzero"`
	Cause       *Cause    `json:"cause,omitzero"`
}

// Bounds are the upper bounds of the durations that are told apart: from 1 ms on, half as much more each time, up to
// two minutes.
var Bounds = func() (bounds []time.Duration) {
	for d := time.Millisecond; d < 2*time.Minute; d += d / 2 {
		bounds = append(bounds, d)
	}
	return bounds
}()

func bucket(d time.Duration) int {
	i, _ := slices.BinarySearch(Bounds, d)
	return i
}

// Recorder counts the calls of one pod. The zero value is ready. Safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	counts map[place]*Summary
}

type place struct {
	channel string
	minute  int64 // Unix time of its beginning
}

// Note counts one call that ended now: f is nil for success, else the failure with the class that the diagnoses gave
// it. What this process decided without asking the third party is no weather and is not counted.
func (r *Recorder) Note(now time.Time, channel string, f *channels.Failure, class channels.Class, took time.Duration) {
	if f != nil && (f.Kind == "dispatcher" || f.Provider == "dispatcher" || f.Code == "net:busy" || f.Code == "net:cancelled") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.at(now, channel)
	s.Took[bucket(took)]++
	if f == nil {
		s.Outcomes[OK]++
		return
	}
	s.Outcomes[string(class)]++
	s.Causes = addCause(s.Causes, causeOf(f, class), maxCauses)
}

func (r *Recorder) at(now time.Time, channel string) *Summary {
	minute := now.Truncate(time.Minute)
	at := place{channel, minute.Unix()}
	if r.counts == nil {
		r.counts = map[place]*Summary{}
	}
	s := r.counts[at]
	if s == nil {
		s = &Summary{Minute: minute.UTC(), Outcomes: map[string]int{}, Took: make([]int, len(Bounds)+1)}
		r.counts[at] = s
	}
	return s
}

func causeOf(f *channels.Failure, class channels.Class) Cause {
	line := f.Line
	for len(line) > maxLine { // by whole characters
		cut := []rune(line)
		line = string(cut[:len(cut)*3/4])
	}
	return Cause{Kind: f.Kind, Provider: f.Provider, Code: f.Code, Class: string(class), Line: line, Count: 1}
}

// addCause adds to the causes one more; beyond most, new ones are not told apart any more.
func addCause(to []Cause, c Cause, most int) []Cause {
	for i := range to {
		if have := &to[i]; have.Kind == c.Kind && have.Provider == c.Provider && have.Code == c.Code && have.Class == c.Class {
			have.Count += c.Count
			return to
		}
	}
	if len(to) >= most {
		return to
	}
	return append(to, c)
}

// byCount sorts the causes, the most frequent first, and keeps n.
func byCount(list []Cause, n int) []Cause {
	slices.SortStableFunc(list, func(a, b Cause) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code)) })
	return list[:min(len(list), n)]
}

// Break notes what a channel has stopped, as of now. One that has stopped nothing needs no note.
func (r *Recorder) Break(now time.Time, channel string, stopped []channels.Broken) {
	if len(stopped) == 0 {
		return
	}
	list := make([]Broken, 0, min(len(stopped), maxBroken))
	for _, b := range stopped[:min(len(stopped), maxBroken)] {
		one := Broken{Destination: b.Destination, Since: b.Since.UTC(), RetryAt: b.RetryAt.UTC()}
		if b.RetryAt.IsZero() {
			one.RetryAt = time.Time{}
		}
		if b.Cause != nil {
			c := causeOf(b.Cause, b.Cause.Class)
			one.Cause = &c
		}
		list = append(list, one)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(now, channel).Broken = list
}

// Take hands out the summaries of the minutes before that of now, oldest first, by channel; all of them where now is
// zero. A summary that could not be published goes back with Return.
func (r *Recorder) Take(now time.Time) []Taken {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Taken
	for at, s := range r.counts {
		if !now.IsZero() && !s.Minute.Before(now.Truncate(time.Minute)) {
			continue
		}
		delete(r.counts, at)
		s.Causes = byCount(s.Causes, sentCauses)
		out = append(out, Taken{at.channel, s})
	}
	slices.SortFunc(out, func(a, b Taken) int {
		return cmp.Or(a.Summary.Minute.Compare(b.Summary.Minute), cmp.Compare(a.Channel, b.Channel))
	})
	return out
}

// Taken is a summary on its way.
type Taken struct {
	Channel string
	Summary *Summary
}

// Return takes back what could not be published, unless too much waits already.
func (r *Recorder) Return(list []Taken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := map[string]int{}
	for at := range r.counts {
		waiting[at.channel]++
	}
	for _, t := range slices.Backward(list) { // the newest first
		at := place{t.Channel, t.Summary.Minute.Unix()}
		if r.counts == nil {
			r.counts = map[place]*Summary{}
		}
		if waiting[t.Channel]++; r.counts[at] == nil && waiting[t.Channel] <= maxUnsent {
			r.counts[at] = t.Summary
		}
	}
}
