package quiet

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Days says on which days a window opens. Every day is of exactly one kind: what the calendar says, and
// without a word of it a workday from Monday to Friday and the weekend otherwise.
type Days string

// The kinds of days, and all of them.
const (
	AllDays  Days = "all"
	Workdays Days = "workdays" // the compensatory working days (调休) among them
	Weekends Days = "weekends" // Saturdays and Sundays that are neither holidays nor worked on
	Holidays Days = "holidays" // whatever day of the week they fall on
)

// Bounds of a calendar file. A century of mainland China has about 4,000 lines.
const (
	maxCalendar      = 1 << 20 // bytes
	maxName          = 60      // code points of a day's name, both languages together
	minYear, maxYear = 2000, 2199
)

//go:embed calendar/*.txt
var calendars embed.FS

// date is a day of the calendar without a zone: the zone is the window's.
type date struct {
	year  int
	month time.Month
	day   int
}

func (d date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.year, d.month, d.day) }

// add is the date n days later. Noon in UTC: no clock change is near.
func (d date) add(n int) date {
	y, m, day := time.Date(d.year, d.month, d.day+n, 12, 0, 0, 0, time.UTC).Date()
	return date{y, m, day}
}

func (d date) before(e date) bool {
	return cmp.Or(d.year-e.year, int(d.month-e.month), d.day-e.day) < 0
}

// weekend says what the week makes of a day.
func weekend(d date) bool {
	w := time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC).Weekday()
	return w == time.Saturday || w == time.Sunday
}

// entry is what a calendar says of a day.
type entry struct {
	kind Days
	name schemas.Text
}

// calendar knows the days that do not go by the week. It never changes once made.
type calendar struct {
	days  map[date]entry
	years map[int]bool // those whose arrangements are known
}

// day says of which kind a day is, and why where the calendar has a word on it.
func (c calendar) day(d date) entry {
	if e, ok := c.days[d]; ok {
		return e
	}
	if weekend(d) {
		return entry{kind: Weekends}
	}
	return entry{kind: Workdays}
}

// gap finds where, between the calendar's first and last line, no day of the kind comes for maxDays. Before
// and after, days go by the week; a calendar without any holiday has a gap of holidays, however short it is.
func (c calendar) gap(kind Days) (from date, found bool) {
	if kind == AllDays {
		return date{}, false
	}
	var first, last date
	for d := range c.days {
		if first == (date{}) || d.before(first) {
			first = d
		}
		if last.before(d) {
			last = d
		}
	}
	since, some := first, kind != Holidays
	for d := first; !last.before(d); d = d.add(1) {
		if c.day(d).kind == kind {
			since, some = d, true
		} else if since.add(maxDays).before(d) {
			return since, true
		}
	}
	return first, !some
}

// with is the calendar that o adds to and overrides.
func (c calendar) with(o calendar) calendar {
	out := calendar{days: maps.Clone(c.days), years: maps.Clone(c.years)}
	maps.Copy(out.days, o.days)
	maps.Copy(out.years, o.years)
	return out
}

// builtIn is the calendar of this binary: the arrangements of the State Council for some years.
var builtIn = sync.OnceValues(func() (calendar, error) {
	all := calendar{days: make(map[date]entry), years: make(map[int]bool)}
	names, err := fs.Glob(calendars, "calendar/*.txt")
	if err != nil {
		return all, err
	}
	for _, name := range names {
		b, err := calendars.ReadFile(name)
		if err != nil {
			return all, err
		}
		one, err := parseCalendar(b)
		if err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
		all = all.with(one)
	}
	return all, nil
})

// parseCalendar reads the text format that the heads of calendar/*.txt describe. The error names the line.
func parseCalendar(b []byte) (calendar, error) {
	c := calendar{days: make(map[date]entry), years: make(map[int]bool)}
	if len(b) > maxCalendar {
		return c, fmt.Errorf("the calendar has %d bytes, want at most %d", len(b), maxCalendar)
	}
	if !utf8.Valid(b) {
		return c, errors.New("the calendar is not UTF-8")
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // Windows editors begin a file with it
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if err := c.read(strings.TrimSpace(string(line))); err != nil {
			return c, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return c, nil
}

func (c calendar) read(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	first, rest, _ := strings.Cut(line, " ")
	if first == "year" {
		y, err := strconv.Atoi(rest)
		if err != nil || y < minYear || y > maxYear {
			return fmt.Errorf("want a year from %d to %d, got %q", minYear, maxYear, rest)
		}
		c.years[y] = true
		return nil
	}
	t, err := time.Parse(time.DateOnly, first)
	if err != nil {
		return fmt.Errorf("%q is not a date such as 2026-02-17", first)
	}
	if t.Year() < minYear || t.Year() > maxYear {
		return fmt.Errorf("%q is not in the years %d to %d", first, minYear, maxYear)
	}
	d := date{t.Year(), t.Month(), t.Day()}
	if _, ok := c.days[d]; ok {
		return fmt.Errorf("%s stands there twice", d)
	}
	word, name, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	kind, ok := map[string]Days{"holiday": Holidays, "workday": Workdays, "weekend": Weekends}[word]
	if !ok {
		return fmt.Errorf("%q is not a kind of day; known are holiday, workday, weekend", word)
	}
	name = strings.TrimSpace(name)
	if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return fmt.Errorf("want a name of 1 to %d characters after the kind, such as 春节 / Spring Festival", maxName)
	}
	zh, en, both := strings.Cut(name, " / ")
	if !both {
		en = zh
	}
	zh, en = strings.TrimSpace(zh), strings.TrimSpace(en)
	if zh == "" || en == "" {
		return errors.New("a name has two parts around the slash, such as 春节 / Spring Festival")
	}
	c.days[d] = entry{kind, schemas.Text{Zh: zh, En: en}}
	return nil
}
