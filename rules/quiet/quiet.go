// Package quiet keeps categories of messages to the hours in which people accept them. Platforms
// refuse promotion at night (cloud.tencent.com/document/product/382/3771: 8-22 h); 08:00-21:00 is
// inside the hours of all of them.
//
// Windows may depend on the day: workdays, weekends, holidays, by a calendar of mainland China that knows
// the holidays and the working days that make up for them (调休).
package quiet

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must work on a machine or in a container without them

	"github.com/goccy/go-yaml/ast"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// Rule is the rule as verdicts name it.
const Rule = "quiet-hours"

const defaultZone = "Asia/Shanghai"

// spread is how long after the start of a window held messages go out, so that a night's messages
// do not all start in the same second.
const spread = time.Minute

// maxDays is how far ahead a window is looked for: more than a year, so that a window of holidays alone
// is found over the longest gap between two of them.
const maxDays = 400

// Config is the section guards.quiet_hours: either these keys, or the list of windows alone. There is no
// window unless the file has one.
type Config struct {
	// Calendar names a file of holidays and compensatory working days that adds to and overrides those
	// of this binary, in the format of calendar/*.txt.
	Calendar string `yaml:"calendar"`
	// Windows are the hours in which a category may be sent. A category with several windows may be sent
	// in any of them, one without any at all hours.
	Windows []Window `yaml:"windows"`
}

// UnmarshalYAML takes both forms; the list alone is the older one.
func (c *Config) UnmarshalYAML(n ast.Node) error {
	var section strictyaml.Section
	if err := section.UnmarshalYAML(n); err != nil {
		return err
	}
	if a, ok := n.(*ast.AnchorNode); ok {
		n = a.Value
	}
	if _, list := n.(*ast.SequenceNode); list {
		return section.Decode(&c.Windows)
	}
	type keys Config // without this method
	return section.Decode((*keys)(c))
}

// Window is one entry of the list of windows.
type Window struct {
	Category schemas.Category `yaml:"category"`
	// Allow is "08:00-21:00": from the first minute, before the last; over midnight when the end is
	// the smaller one; 24:00 is the end of the day.
	Allow string `yaml:"allow"`
	// Days are the days on which the window opens; default all. A window that passes midnight goes on
	// into a day of another kind.
	Days Days `yaml:"days"`
	// Zone is an IANA time zone, in which both hours and days count; default Asia/Shanghai.
	Zone string `yaml:"zone"`
}

type window struct {
	start, end int // minutes after midnight; end > start, over 1440 when the window passes midnight
	days       Days
	zone       *time.Location
	allow      string
}

type guard struct {
	windows  map[schemas.Category][]window
	calendar calendar
}

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, env rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	known, err := builtIn()
	if err != nil {
		return nil, err
	}
	g := guard{windows: make(map[schemas.Category][]window), calendar: known}
	if c.Calendar != "" {
		b, err := env.Read(c.Calendar)
		if err != nil {
			return nil, fmt.Errorf("calendar: %w", err)
		}
		own, err := parseCalendar(b)
		if err != nil {
			return nil, fmt.Errorf("calendar %s: %w", c.Calendar, err)
		}
		g.calendar = known.with(own)
	}
	for i, e := range c.Windows {
		w, err := parse(e)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if from, never := g.calendar.gap(w.days); never {
			return nil, fmt.Errorf("entry %d: the window would not open for %d days after %s: by the calendar there are no %s", i+1, maxDays, from, w.days)
		}
		g.windows[e.Category] = append(g.windows[e.Category], w)
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
	days := cmp.Or(e.Days, AllDays)
	if _, ok := dayWords[days]; !ok {
		return window{}, fmt.Errorf("days is %q; known are workdays, weekends, holidays, all", e.Days)
	}
	name := cmp.Or(e.Zone, defaultZone)
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // the machine's zone would differ from pod to pod
		return window{}, fmt.Errorf("unknown time zone %q; want an IANA name such as Asia/Shanghai", name)
	}
	return window{start, end, days, zone, e.Allow}, nil
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
// minute longer. Whether that is too late is for the expiry rule to say when the time has come. Where no
// window opens within 400 days, an operator is to see it.
func (g guard) Judge(in rules.Input) rules.Verdict {
	windows := g.windows[in.Delivery.Category]
	if len(windows) == 0 || in.Now.IsZero() { // without a clock no hour is quiet
		return rules.Verdict{}
	}
	var next time.Time
	var opens window
	for _, w := range windows {
		t, found := g.next(w, in.Now)
		if found && (next.IsZero() || t.Before(next)) {
			next, opens = t, w
		}
	}
	if next.Equal(in.Now) {
		now := in.Now.In(opens.zone)
		return rules.Verdict{Hits: g.doubt(windows, now, now)}
	}
	allow := listed(windows)
	if next.IsZero() {
		now := in.Now.In(windows[0].zone)
		why := g.why(windows, now)
		return rules.Verdict{Action: rules.Bury, Rule: Rule, Hits: append([]schemas.Hit{{
			Rule: Rule, Action: rules.ReportBlock, Advice: schemas.Text{
				Zh: fmt.Sprintf("%s该类消息只在%s发送，但 %d 天内没有这样的时段；请检查 guards.quiet_hours 和日历", why.Zh, allow.Zh, maxDays),
				En: fmt.Sprintf("%smessages of this category go out %s only, and there is no such time within %d days; look at guards.quiet_hours and its calendar", why.En, allow.En, maxDays),
			},
		}}, g.doubt(windows, now, now.AddDate(0, 0, maxDays))...)}
	}
	now, open := in.Now.In(opens.zone), next.In(opens.zone)
	until := open.Add(delay(in.Delivery.ID))
	why, day := g.why(windows, now), g.named(windows, open)
	if day.Zh != "" {
		day = schemas.Text{Zh: "（" + day.Zh + "）", En: " (" + day.En + ")"}
	}
	at := until.Format("2006-01-02 15:04")
	return rules.Verdict{Action: rules.Hold, Rule: Rule, Until: until, Hits: append([]schemas.Hit{{
		Rule: Rule, Action: rules.ReportHold, Advice: schemas.Text{
			Zh: fmt.Sprintf("%s该类消息只在%s发送，将于 %s%s发出", why.Zh, allow.Zh, at, cmp.Or(day.Zh, " ")),
			En: fmt.Sprintf("%smessages of this category go out %s only; this one will at %s%s", why.En, allow.En, at, day.En),
		},
	}}, g.doubt(windows, now, open)...)}
}

// dayWords are the kinds of days as people say them, in front of the hours.
var dayWords = map[Days]schemas.Text{
	AllDays:  {Zh: " ", En: "at "},
	Workdays: {Zh: "工作日 ", En: "on workdays at "},
	Weekends: {Zh: "周末 ", En: "on weekends at "},
	Holidays: {Zh: "节假日 ", En: "on holidays at "},
}

// listed tells the windows of a category, the zone once where it is the same.
func listed(windows []window) (t schemas.Text) {
	for i, w := range windows {
		zh, en := dayWords[w.days].Zh+w.allow, dayWords[w.days].En+w.allow
		if i == len(windows)-1 || windows[i+1].zone.String() != w.zone.String() {
			zh, en = fmt.Sprintf("%s（%s）", zh, w.zone), fmt.Sprintf("%s (%s)", en, w.zone)
		}
		if i > 0 {
			zh, en = "、"+strings.TrimLeft(zh, " "), ", "+en
		}
		t.Zh, t.En = t.Zh+zh, t.En+en
	}
	return t
}

// why names the holiday or the compensatory working day that now is, where it matters; now and what else
// is told stands in a window's zone.
func (g guard) why(windows []window, now time.Time) schemas.Text {
	day := g.named(windows, now)
	if day.Zh == "" {
		return day
	}
	on := now.Format(time.DateOnly)
	return schemas.Text{Zh: fmt.Sprintf("%s 是%s，", on, day.Zh), En: fmt.Sprintf("%s is a %s; ", on, day.En)}
}

// named is what the calendar calls the day of an instant; empty where the windows open on all days.
func (g guard) named(windows []window, at time.Time) schemas.Text {
	if !byDays(windows) {
		return schemas.Text{}
	}
	d := dateOf(at)
	e, ok := g.calendar.days[d]
	switch {
	case !ok:
		return schemas.Text{}
	case e.kind == Holidays:
		return schemas.Text{Zh: e.name.Zh + "假期", En: "holiday, " + e.name.En}
	case e.kind == Workdays && weekend(d):
		return schemas.Text{Zh: e.name.Zh + "调休工作日", En: "compensatory working day, " + e.name.En}
	case e.kind == Workdays:
		return schemas.Text{Zh: "工作日（" + e.name.Zh + "）", En: "workday, " + e.name.En}
	default:
		return schemas.Text{Zh: "休息日（" + e.name.Zh + "）", En: "day off, " + e.name.En}
	}
}

func byDays(windows []window) bool {
	return slices.ContainsFunc(windows, func(w window) bool { return w.days != AllDays })
}

// doubt says for each year from one instant to another that its days went by the week for want of a calendar.
func (g guard) doubt(windows []window, from, to time.Time) []schemas.Hit {
	if !byDays(windows) {
		return nil
	}
	var hits []schemas.Hit
	for y := from.Year(); y <= to.Year(); y++ {
		if g.calendar.years[y] {
			continue
		}
		hits = append(hits, schemas.Hit{Rule: Rule, Action: rules.ReportReview, Advice: schemas.Text{
			Zh: fmt.Sprintf("没有 %d 年的日历，节假日和调休未计入，仅按星期判断；请在 guards.quiet_hours.calendar 指定的文件中补充", y),
			En: fmt.Sprintf("no calendar for %d: its holidays and compensatory working days are not known, days go by the week; add them to the file of guards.quiet_hours.calendar", y),
		}})
	}
	return hits
}

// next is now when the window is open, else the instant at which it opens next; false when that is more
// than maxDays away.
func (g guard) next(w window, now time.Time) (time.Time, bool) {
	today := dateOf(now.In(w.zone))
	for n := -1; n <= maxDays; n++ { // yesterday's window may still be open
		d := today.add(n)
		if w.days != AllDays && g.calendar.day(d).kind != w.days {
			continue
		}
		start, end := w.clock(d, w.start), w.clock(d, w.end)
		switch {
		case start.After(now) && end.After(start):
			return start, true
		case !start.After(now) && end.After(now):
			return now, true
		}
	}
	return time.Time{}, false
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// clock is the instant of a time of day. One that summer time skips (02:30 on a day on which 02:00
// becomes 03:00) is as long after midnight as on other days' clocks: 03:30.
func (w window) clock(d date, minutes int) time.Time {
	t := time.Date(d.year, d.month, d.day, 0, minutes, 0, 0, w.zone)
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
