package ingest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/schemas"
)

// ChannelList is the weather of the third parties: what became of the calls to each, on all pods together.
type ChannelList struct {
	Time     time.Time     `json:"time"`
	Channels []ChannelItem `json:"channels"`
	// Held is how many deliveries of all channels wait for an instant: retry, quiet hours, a limit.
	Held uint64 `json:"held"`
}

// ChannelItem is one channel in a [ChannelList].
type ChannelItem struct {
	Name     string `json:"name"`
	Kind     string `json:"kind,omitzero"` // "" for one that this process does not have in its configuration
	Provider string `json:"provider,omitzero"`
	// State is idle (no calls in the last hour), good, poor (more than one of ten calls failed, those aside that failed
	// for their recipient or content) or broken (calls to it, or to a destination of it, are stopped).
	State  string        `json:"state"`
	Queued uint64        `json:"queued"` // wait for a slot, or are being sent
	Hour   ChannelSpan   `json:"hour"`
	Day    ChannelSpan   `json:"day"`
	Broken []ChannelStop `json:"broken"`
}

// ChannelSpan is the sum of the last hour or day.
type ChannelSpan struct {
	Calls    int            `json:"calls"`
	OK       int            `json:"ok"` // accepted
	Outcomes map[string]int `json:"outcomes"`
	P50      int64          `json:"p50_ms"`
	P95      int64          `json:"p95_ms"`
	Causes   []ChannelCause `json:"causes"` // the most frequent, explained
	Step     int            `json:"step_s"` // seconds between the points
	Series   []ChannelPoint `json:"series"` // oldest first; the last is not over yet
}

// ChannelPoint is one step of a series.
type ChannelPoint struct {
	Time  time.Time `json:"time"`
	Calls int       `json:"calls"`
	OK    int       `json:"ok"`
}

// ChannelCause is one way to fail, explained.
type ChannelCause struct {
	Count    int          `json:"count,omitzero"`
	Provider string       `json:"provider,omitzero"`
	Code     string       `json:"code"`
	Class    string       `json:"class"`
	Cause    schemas.Text `json:"cause"`
	Owner    string       `json:"owner"`
	Remedy   schemas.Text `json:"remedy"`
}

// ChannelStop is a destination to which one pod has stopped its calls.
type ChannelStop struct {
	Worker      string        `json:"worker"`
	Destination string        `json:"destination,omitzero"`
	Since       time.Time     `json:"since"`
	RetryAt     time.Time     `json:"retry_at,omitzero"`
	Cause       *ChannelCause `json:"cause,omitzero"`
}

// The states of a channel.
const (
	ChannelIdle   = "idle"
	ChannelGood   = "good"
	ChannelPoor   = "poor"
	ChannelBroken = "broken"
)

// poor says whether the third party, or our account there, fails in more than one of ten calls. A wrong number or a
// forbidden word says nothing about either.
func poor(s weather.Span) bool {
	failed := s.Calls - s.OK - s.Outcomes[string(channels.BadTarget)] - s.Outcomes[string(channels.Content)]
	return 10*failed > s.Calls
}

func (s *server) listChannels(w *answer, r *http.Request) error {
	if _, err := s.operate(w, r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	now := time.Now()
	known, err := s.station.Now(ctx, now)
	if err != nil {
		return err
	}
	queued, held, err := s.d.Queues(ctx)
	if err != nil {
		return err
	}
	out := ChannelList{Time: now.UTC(), Channels: []ChannelItem{}, Held: held}
	for name := range s.d.Channels {
		if _, ok := known[name]; !ok {
			known[name] = s.station.None(now)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out.Channels = append(out.Channels, s.channelItem(name, known[name], queued[name]))
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

func (s *server) channelItem(name string, w weather.Weather, queued uint64) ChannelItem {
	item := ChannelItem{Name: name, State: ChannelGood, Queued: queued, Hour: s.span(w.Hour), Day: s.span(w.Day), Broken: []ChannelStop{}}
	if ch, ok := s.d.Channels[name]; ok {
		t := ch.Traits()
		item.Kind, item.Provider = t.Kind, t.Provider
	}
	for _, b := range w.Broken {
		stop := ChannelStop{Worker: b.Worker, Destination: b.Destination, Since: b.Since, RetryAt: b.RetryAt}
		if b.Cause != nil {
			c := s.explained(*b.Cause)
			c.Count = 0
			stop.Cause = &c
		}
		item.Broken = append(item.Broken, stop)
	}
	switch {
	case len(item.Broken) > 0:
		item.State = ChannelBroken
	case w.Hour.Calls == 0:
		item.State = ChannelIdle
	case poor(w.Hour):
		item.State = ChannelPoor
	}
	return item
}

func (s *server) span(in weather.Span) ChannelSpan {
	out := ChannelSpan{
		Calls: in.Calls, OK: in.OK, Outcomes: in.Outcomes, P50: in.P50.Milliseconds(), P95: in.P95.Milliseconds(),
		Causes: []ChannelCause{}, Step: int(in.Step / time.Second), Series: make([]ChannelPoint, len(in.Series)),
	}
	for _, c := range in.Causes {
		out.Causes = append(out.Causes, s.explained(c))
	}
	for i, p := range in.Series {
		out.Series[i] = ChannelPoint{p.Time, p.Calls, p.OK}
	}
	return out
}

// explained puts a cause into words. The third party's own words stay here: they are one delivery's, not the channel's.
func (s *server) explained(c weather.Cause) ChannelCause {
	d := s.d.Explain(&channels.Failure{Kind: c.Kind, Provider: c.Provider, Code: c.Code, Class: channels.Class(c.Class), Line: c.Line})
	return ChannelCause{Count: c.Count, Provider: c.Provider, Code: c.Code, Class: c.Class, Cause: d.Cause, Owner: d.Owner, Remedy: d.Remedy}
}
