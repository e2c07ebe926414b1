package quiet

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// beside is where rules.yaml has a calendar beside it.
func beside(calendar string) rules.Env {
	return rules.Env{Read: fstest.MapFS{"own.txt": {Data: []byte(calendar)}}.ReadFile}
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	now, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func TestHolidays(t *testing.T) {
	const (
		work    = "[{category: marketing, allow: '09:00-18:00', days: workdays}]"
		off     = "[{category: marketing, allow: '10:00-20:00', days: holidays}]"
		weekend = "{windows: [{category: marketing, allow: '10:00-20:00', days: weekends}]}"
		both    = "[{category: marketing, allow: '09:00-18:00', days: workdays}, {category: marketing, allow: '10:00-12:00', days: holidays}]"
		night   = "[{category: marketing, allow: '22:00-02:00', days: workdays}]"
		abroad  = "[{category: marketing, allow: '02:30-05:00', days: weekends, zone: America/New_York}]"
		mixed   = "[{category: marketing, allow: '09:00-18:00', days: workdays}, {category: marketing, allow: '20:00-21:00', days: all, zone: Asia/Tokyo}]"
	)
	for _, c := range []struct{ section, now, until, zh, en string }{ // until "" passes
		// Spring Festival 2026: off from Sunday 15 to Monday 23 February, at work on Saturdays 14 and 28.
		{work, "2026-02-13T18:00:00+08:00", "2026-02-14T09:00:00+08:00", "将于 2026-02-14 09:00（春节调休工作日）发出", "this one will at 2026-02-14 09:00 (compensatory working day, Spring Festival)"},
		{work, "2026-02-14T12:00:00+08:00", "", "", ""},
		{work, "2026-02-14T18:00:00+08:00", "2026-02-24T09:00:00+08:00", "2026-02-14 是春节调休工作日，该类消息只在工作日 09:00-18:00（Asia/Shanghai）发送，将于 2026-02-24 09:00 发出", "2026-02-14 is a compensatory working day, Spring Festival; messages of this category go out on workdays at 09:00-18:00 (Asia/Shanghai) only; this one will at 2026-02-24 09:00"},
		{work, "2026-02-17T10:00:00+08:00", "2026-02-24T09:00:00+08:00", "2026-02-17 是春节假期，", "2026-02-17 is a holiday, Spring Festival; "},
		{work, "2026-02-28T10:00:00+08:00", "", "", ""},
		{work, "2026-03-01T10:00:00+08:00", "2026-03-02T09:00:00+08:00", "该类消息只在工作日 09:00-18:00（Asia/Shanghai）发送，将于 2026-03-02 09:00 发出", "messages of this category go out on workdays"},
		{off, "2026-02-15T10:00:00+08:00", "", "", ""},
		{off, "2026-02-14T10:00:00+08:00", "2026-02-15T10:00:00+08:00", "将于 2026-02-15 10:00（春节假期）发出", "(holiday, Spring Festival)"},
		{weekend, "2026-02-13T21:00:00+08:00", "2026-03-01T10:00:00+08:00", "该类消息只在周末 10:00-20:00", "on weekends at 10:00-20:00"}, // 14 and 28 at work, 15, 21, 22 holidays
		// National Day 2026: off from 1 to 7 October, at work on Sunday 20 September and Saturday 10 October.
		{work, "2026-09-20T09:00:00+08:00", "", "", ""},
		{work, "2026-09-19T09:00:00+08:00", "2026-09-20T09:00:00+08:00", "（国庆节调休工作日）", "National Day"},
		{work, "2026-09-30T18:00:00+08:00", "2026-10-08T09:00:00+08:00", "将于 2026-10-08 09:00 发出", "2026-10-08 09:00"},
		{work, "2026-10-09T23:00:00+08:00", "2026-10-10T09:00:00+08:00", "国庆节调休工作日", "National Day"},
		{weekend, "2026-09-19T21:00:00+08:00", "2026-10-11T10:00:00+08:00", "周末", "weekends"}, // 26 and 27 September: Mid-Autumn
		{work, "2025-10-08T12:00:00+08:00", "2025-10-09T09:00:00+08:00", "2025-10-08 是国庆节、中秋节假期，", "National Day and Mid-Autumn Festival"},
		{work, "2025-10-11T12:00:00+08:00", "", "", ""},
		{both, "2026-10-01T11:00:00+08:00", "", "", ""},
		{both, "2026-10-01T13:00:00+08:00", "2026-10-02T10:00:00+08:00", "只在工作日 09:00-18:00、节假日 10:00-12:00（Asia/Shanghai）发送", "on workdays at 09:00-18:00, on holidays at 10:00-12:00 (Asia/Shanghai) only"},
		{mixed, "2026-10-01T12:00:00+08:00", "2026-10-01T19:00:00+08:00", "只在工作日 09:00-18:00（Asia/Shanghai）、20:00-21:00（Asia/Tokyo）发送", "on workdays at 09:00-18:00 (Asia/Shanghai), at 20:00-21:00 (Asia/Tokyo) only"},
		// A window belongs to the day on which it opens.
		{night, "2026-10-01T01:59:00+08:00", "", "", ""},
		{night, "2026-10-01T22:30:00+08:00", "2026-10-08T22:00:00+08:00", "是国庆节假期", "National Day"},
		{night, "2026-10-08T01:00:00+08:00", "2026-10-08T22:00:00+08:00", "", ""},
		// Days count in the window's zone; in the one after 02:00 on 8 March 2026 there is no 02:30.
		{abroad, "2026-03-08T01:00:00-05:00", "2026-03-08T03:30:00-04:00", "", ""},
		{abroad, "2026-03-08T12:00:00+08:00", "2026-03-08T03:30:00-04:00", "", ""},
		{abroad, "2026-11-01T01:30:00-04:00", "2026-11-01T02:30:00-05:00", "", ""},
		{abroad, "2026-11-01T04:59:59-05:00", "", "", ""},
	} {
		g := open(t, c.section)
		in := rules.Input{Now: at(t, c.now), Delivery: &schemas.Delivery{ID: "d1", Category: schemas.Marketing}}
		v := g.Judge(in)
		if c.until == "" {
			if v.Action != rules.Pass || len(v.Hits) != 0 {
				t.Errorf("%s at %s: %+v, want pass", c.section, c.now, v)
			}
			continue
		}
		late := v.Until.Sub(at(t, c.until))
		if v.Action != rules.Hold || late < 0 || late >= time.Minute || len(v.Hits) != 1 {
			t.Errorf("%s at %s: %+v, want hold until %s and up to a minute", c.section, c.now, v, c.until)
			continue
		}
		if h := v.Hits[0]; h.Action != "hold" || !strings.Contains(h.Advice.Zh, c.zh) || !strings.Contains(h.Advice.En, c.en) {
			t.Errorf("%s at %s:\n%s\n%s\nwant\n%s\n%s", c.section, c.now, h.Advice.Zh, h.Advice.En, c.zh, c.en)
		}
		if in.Now = v.Until; g.Judge(in).Action != rules.Pass {
			t.Errorf("%s: held when its time has come", c.section)
		}
	}
}

// A year without a calendar goes by the week, and says so; the windows of all days need none.
func TestYearWithoutCalendar(t *testing.T) {
	const note = "no calendar for 2027"
	judge := func(section, now string) rules.Verdict {
		return open(t, section).Judge(rules.Input{Now: at(t, now), Delivery: &schemas.Delivery{ID: "d1", Category: schemas.Alert}})
	}
	for _, c := range []struct {
		days, now string
		action    rules.Action
		notes     int
	}{
		{"workdays", "2026-12-31T10:00:00+08:00", rules.Pass, 0},
		{"workdays", "2026-12-31T20:00:00+08:00", rules.Hold, 1}, // opens on 1 January, a Friday
		{"workdays", "2027-01-01T10:00:00+08:00", rules.Pass, 1},
		{"weekends", "2027-02-06T10:00:00+08:00", rules.Pass, 1},
		{"weekends", "2027-02-05T10:00:00+08:00", rules.Hold, 1},
		{"all", "2027-02-05T10:00:00+08:00", rules.Pass, 0},
		{"holidays", "2027-02-05T10:00:00+08:00", rules.Bury, 2}, // 2027 and 2028: nobody knows a holiday
	} {
		v := judge("[{category: alert, allow: '09:00-18:00', days: "+c.days+"}]", c.now)
		notes := 0
		for _, h := range v.Hits {
			if h.Action == "review" {
				notes++
				if notes == 1 && (!strings.Contains(h.Advice.En, note) || !strings.Contains(h.Advice.Zh, "没有 2027 年的日历")) {
					t.Errorf("%s at %s: %+v", c.days, c.now, h)
				}
			}
		}
		if v.Action != c.action || notes != c.notes {
			t.Errorf("%s at %s: %+v, want action %d and %d notes", c.days, c.now, v, c.action, c.notes)
		}
	}
}

// Lint may have no clock: then no hour is quiet, and no year lacks a calendar.
func TestWithoutClock(t *testing.T) {
	for _, days := range []string{"all", "workdays", "weekends", "holidays"} {
		g := open(t, "[{category: alert, allow: '09:00-18:00', days: "+days+"}]")
		if v := g.Judge(rules.Input{Delivery: &schemas.Delivery{Category: schemas.Alert}}); v.Action != rules.Pass || len(v.Hits) != 0 {
			t.Errorf("%s: %+v", days, v)
		}
	}
}

func TestOwnCalendar(t *testing.T) {
	const (
		section = "{calendar: own.txt, windows: [{category: alert, allow: '09:00-18:00', days: workdays}]}"
		file    = "\ufeff# ours\r\nyear 2027\r\n2027-01-01 holiday 元旦 / New Year\n2026-10-10 weekend 照常休息\n2026-07-01 holiday 厂庆 / Founders' Day\n2026-02-16 workday 值班 / on duty\n"
	)
	g := rulestest.Open(t, New, section, beside(file))
	for now, want := range map[string]string{
		"2027-01-01T10:00:00+08:00": "2027-01-01 是元旦假期，",
		"2026-07-01T10:00:00+08:00": "2026-07-01 是厂庆假期，",
		"2026-10-10T10:00:00+08:00": "2026-10-10 是休息日（照常休息），",
		"2026-02-15T10:00:00+08:00": "将于 2026-02-16 09:00（工作日（值班））发出",
		"2026-10-01T10:00:00+08:00": "国庆节假期", // what the file leaves alone
		"2026-02-16T10:00:00+08:00": "",
		"2027-01-04T10:00:00+08:00": "",
	} {
		v := g.Judge(rules.Input{Now: at(t, now), Delivery: &schemas.Delivery{ID: "d1", Category: schemas.Alert}})
		if want == "" {
			if v.Action != rules.Pass || len(v.Hits) > 0 {
				t.Errorf("%s: %+v", now, v)
			}
		} else if v.Action != rules.Hold || len(v.Hits) != 1 || !strings.Contains(v.Hits[0].Advice.Zh, want) {
			t.Errorf("%s: %+v, want %s", now, v, want)
		}
	}
	// The built-in calendar is shared: no file may change it.
	g = open(t, section[len("{calendar: own.txt, windows: "):len(section)-1])
	if v := g.Judge(rules.Input{Now: at(t, "2026-10-10T10:00:00+08:00"), Delivery: &schemas.Delivery{Category: schemas.Alert}}); v.Action != rules.Pass {
		t.Error("a calendar file of one book changed another's")
	}
}

func TestCalendarMistakes(t *testing.T) {
	long := "year 2027\n"
	for d := at(t, "2027-01-01T00:00:00Z"); d.Year() < 2029; d = d.AddDate(0, 0, 1) {
		long += d.Format(time.DateOnly) + " holiday 长假\n"
	}
	for file, want := range map[string]string{
		"2026-02-30 holiday 春节":                         `line 1: "2026-02-30" is not a date`,
		"\n26-02-17 holiday 春节":                         "line 2:",
		"2026-02-17 feast 春节":                           "known are holiday, workday, weekend",
		"2026-02-17 holiday":                            "want a name",
		"2026-02-17 holiday " + strings.Repeat("长", 61): "want a name of 1 to 60",
		"2026-02-17 holiday a\x1bb":                     "want a name",
		"2026-02-17 holiday 春节 / ":                      "", // trimmed: a name with a slash at its end
		"2026-02-17 holiday / New Year":                 "",
		"2026-02-17 holiday 春节\n2026-02-17 workday 春节":  "line 2: 2026-02-17 stands there twice",
		"year next":               "want a year",
		"year 1999":               "2000 to 2199",
		"2999-01-01 holiday x":    "2000 to 2199",
		"2026-02-17 holiday \xff": "not UTF-8",
		strings.Repeat("# a line of a file that is no calendar\n", 30000): "bytes, want at most",
		long: "would not open for 400 days after 2026-12-31: by the calendar there are no workdays",
	} {
		_, err := New(rulestest.Section("{calendar: own.txt, windows: [{category: alert, allow: '09:00-18:00', days: workdays}]}"), beside(file))
		switch {
		case want == "" && err != nil:
			t.Errorf("%.40q: %v", file, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.40q: %v, want %s", file, err, want)
		}
	}
	if _, err := New(rulestest.Section("{calendar: other.txt, windows: []}"), beside("")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	rulestest.Mistakes(t, New, beside("2029-01-01 holiday 元旦"), map[string]string{ // two years without a holiday
		"{calendar: own.txt, windows: [{category: alert, allow: '09:00-18:00', days: holidays}]}": "after 2026-10-07: by the calendar there are no holidays",
	})
}

// What the notices of 2025 and 2026 give in sum: days off and days to make up for them.
func TestBuiltInCalendar(t *testing.T) {
	c, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	type sum struct{ off, made int }
	got := map[int]sum{}
	for d, e := range c.days {
		s := got[d.year]
		switch {
		case e.kind == Holidays:
			s.off++
		case e.kind == Workdays && weekend(d):
			s.made++
		default:
			t.Errorf("%s: %+v", d, e)
		}
		got[d.year] = s
		if !c.years[d.year] || e.name.En == e.name.Zh {
			t.Errorf("%s: no year line, or one name only: %+v", d, e)
		}
	}
	if got[2025] != (sum{28, 5}) || got[2026] != (sum{33, 6}) {
		t.Errorf("%v", got)
	}
	// A working day is added for every one that the notice takes from the week beyond the statutory
	// holidays: 13 days since 2025.
	for y, s := range got {
		taken := 0
		for d, e := range c.days {
			if d.year == y && e.kind == Holidays && !weekend(d) {
				taken++
			}
		}
		if statutory := 13; taken-s.made > statutory {
			t.Errorf("%d: %d days off the week, %d made up for", y, taken, s.made)
		}
	}
}

func FuzzCalendar(f *testing.F) {
	for _, s := range []string{"year 2027\n2027-01-01 holiday 元旦 / New Year\n", "# x\n\n2026-02-14  workday 春节", "2026-02-14 weekend a / b", "year\x00", "\ufeffyear 2000"} {
		f.Add([]byte(s))
	}
	known, err := builtIn()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 12, 30, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCalendar(b)
		if err != nil {
			return
		}
		for d, e := range c.days {
			if d.year < minYear || d.year > maxYear || e.name.Zh == "" || e.name.En == "" || e.kind == "" {
				t.Fatalf("%s: %+v", d, e)
			}
		}
		for _, days := range []Days{Workdays, Weekends, Holidays} {
			w := window{start: 600, end: 660, days: days, zone: time.UTC}
			g := guard{calendar: known.with(c)}
			if opens, ok := g.next(w, now); ok && (opens.Before(now) || g.calendar.day(dateOf(opens)).kind != days) {
				t.Fatalf("%s opens %s", days, opens)
			}
			g.calendar.gap(days)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	for name, days := range map[string]string{"all": "all", "workdays": "workdays", "holidays in 7 months": "holidays"} {
		b.Run(name, func(b *testing.B) {
			g := open(b, "[{category: marketing, allow: '08:00-21:00', days: "+days+"}]")
			in := rules.Input{Now: time.Date(2026, 2, 24, 12, 0, 0, 0, time.UTC), Delivery: &schemas.Delivery{ID: "d1", Category: schemas.Marketing}}
			for b.Loop() {
				g.Judge(in)
			}
		})
	}
}
