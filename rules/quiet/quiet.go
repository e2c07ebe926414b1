// Package quiet keeps categories of messages to the hours in which people accept them. Platforms
// refuse promotion at night (cloud.tencent.com/document/product/382/3771: 8-22 h); 08:00-21:00 is
// inside the hours of all of them.
package quiet

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must work on a machine or in a container without them

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Rule is the rule as verdicts name it.
const Rule = "quiet-hours"

const defaultZone = "Asia/Shanghai"

// spread is how long after the start of a window held messages go out, so that a night's messages
// do not all start in the same second.
const spread = time.Minute

// Window is one entry of the list guards.quiet_hours. A category with several windows may be sent in any
// of them, one without any at all hours. There is no window unless the file has one.
type Window struct {
	Category schemas.Category `yaml:"category"`
	// Allow is "08:00-21:00": from the first minute, before the last; over midnight when the end is
	// the smaller one; 24:00 is the end of the day.
	Allow string `yaml:"allow"`
	// Zone is an IANA time zone; default Asia/Shanghai.
	Zone string `yaml:"zone"`
}

type window struct {
	start, end int // minutes after midnight; end > start, over 1440 when the window passes midnight
	zone       *time.Location
	allow      string
}

type guard map[schemas.Category][]window

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var entries []Window
	if err := decode(&entries); err != nil {
		return nil, err
	}
	g := make(guard)
	for i, e := range entries {
		w, err := parse(e)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		g[e.Category] = append(g[e.Category], w)
	}
	return g, nil
}

func parse(e Window) (window, error) {
	if !slices.Contains(schemas.Categories, e.Category) {
		return window{}, fmt.Errorf("unknown category %q; known are %v", e.Category, schemas.Categories)
	}
	from, to, _ := strings.Cut(e.Allow, "-")
	start, err1 := minute(from)
	end, err2 := minute(to)
	if err := errors.Join(err1, err2); err != nil || start == 24*60 || start == end {
		return window{}, fmt.Errorf("allow is %q, want two different times such as 08:00-21:00", e.Allow)
	}
	if end < start {
		end += 24 * 60
	}
	name := e.Zone
	if name == "" {
		name = defaultZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // the machine's zone would differ from pod to pod
		return window{}, fmt.Errorf("unknown time zone %q; want an IANA name such as Asia/Shanghai", name)
	}
	return window{start, end, zone, e.Allow}, nil
}

var errClock = errors.New("not a time of day")

func minute(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	if len(s) != 5 || s[2] != ':' {
		return 0, errClock
	}
	h, err1 := strconv.ParseUint(s[:2], 10, 8)
	m, err2 := strconv.ParseUint(s[3:], 10, 8)
	if err1 != nil || err2 != nil || h > 23 || m > 59 {
		return 0, errClock
	}
	return int(h*60 + m), nil
}

// Judge holds what comes outside its category's windows until the next one starts, and up to a
// minute longer. Whether that is too late is for the expiry rule to say when the time has come.
func (g guard) Judge(in rules.Input) rules.Verdict {
	windows := g[in.Delivery.Category]
	if len(windows) == 0 {
		return rules.Verdict{}
	}
	var next time.Time
	var opens window
	for _, w := range windows {
		t := w.next(in.Now)
		if t.Equal(in.Now) {
			return rules.Verdict{}
		}
		if next.IsZero() || t.Before(next) {
			next, opens = t, w
		}
	}
	until := next.Add(delay(in.Delivery.ID))
	at := until.In(opens.zone).Format("2006-01-02 15:04")
	return rules.Verdict{Action: rules.Hold, Rule: Rule, Until: until, Hits: []schemas.Hit{{
		Rule: Rule, Action: "hold", Advice: schemas.Text{
			Zh: fmt.Sprintf("该类消息只在 %s（%s）发送，将于 %s 发出", opens.allow, opens.zone, at),
			En: fmt.Sprintf("messages of this category go out at %s (%s) only; this one will at %s", opens.allow, opens.zone, at),
		},
	}}}
}

// next is now when the window is open, else the instant at which it opens next.
func (w window) next(now time.Time) time.Time {
	y, m, d := now.In(w.zone).Date()
	for day := -1; ; day++ { // yesterday's window may still be open; the loop ends tomorrow at the latest
		start, end := w.clock(y, m, d+day, w.start), w.clock(y, m, d+day, w.end)
		switch {
		case start.After(now) && end.After(start):
			return start
		case !start.After(now) && end.After(now):
			return now
		}
	}
}

// clock is the instant of a time of day. One that summer time skips (02:30 on a day on which 02:00
// becomes 03:00) is as long after midnight as on other days' clocks: 03:30.
func (w window) clock(y int, m time.Month, d, minutes int) time.Time {
	t := time.Date(y, m, d, 0, minutes, 0, 0, w.zone)
	if skipped := minutes%(24*60) - (t.Hour()*60 + t.Minute()); skipped > 0 {
		t = t.Add(time.Duration(skipped) * time.Minute)
	}
	return t
}

// delay is this delivery's place in the spread, the same whoever computes it.
func delay(id string) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(id))
	return time.Duration(h.Sum32()%uint32(spread/time.Millisecond)) * time.Millisecond
}
