package quiet

import (
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func TestJudge(t *testing.T) {
	const (
		day   = "[{category: marketing, allow: '08:00-21:00'}]"
		night = "[{category: marketing, allow: '22:00-06:00', zone: UTC}]"
		two   = "[{category: marketing, allow: '08:00-12:00'}, {category: marketing, allow: '14:00-24:00'}]"
		york  = "[{category: marketing, allow: '02:30-05:00', zone: America/New_York}]"
		all   = "[{category: marketing, allow: '00:00-24:00'}]"
	)
	for _, c := range []struct{ section, now, want string }{ // want "" passes
		{day, "2026-11-23T08:00:00+08:00", ""},
		{day, "2026-11-23T20:59:59.999+08:00", ""},
		{day, "2026-11-23T21:00:00+08:00", "2026-11-24T08:00:00+08:00"},
		{day, "2026-11-23T07:59:59+08:00", "2026-11-23T08:00:00+08:00"},
		{day, "2026-11-22T22:00:00Z", "2026-11-23T08:00:00+08:00"},
		{night, "2026-11-23T05:59:00Z", ""},
		{night, "2026-11-23T22:00:00Z", ""},
		{night, "2026-11-23T06:00:00Z", "2026-11-23T22:00:00Z"},
		{two, "2026-11-23T12:30:00+08:00", "2026-11-23T14:00:00+08:00"},
		{two, "2026-11-24T00:00:00+08:00", "2026-11-24T08:00:00+08:00"},
		{two, "2026-11-23T23:59:59+08:00", ""},
		{all, "2026-11-23T03:00:00+08:00", ""},
		{york, "2026-03-08T01:00:00-05:00", "2026-03-08T03:30:00-04:00"}, // 02:30 does not exist that day
		{"", "2026-11-23T03:00:00+08:00", ""},
	} {
		g := open(t, c.section)
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		in := rules.Input{Now: now, Delivery: &schemas.Delivery{ID: "d1", Category: schemas.Marketing}}
		v := g.Judge(in)
		if c.want == "" {
			if v.Action != rules.Pass {
				t.Errorf("%s at %s: %+v", c.section, c.now, v)
			}
			continue
		}
		want, err := time.Parse(time.RFC3339, c.want)
		if err != nil {
			t.Fatal(err)
		}
		if late := v.Until.Sub(want); v.Action != rules.Hold || v.Rule != Rule || late < 0 || late >= time.Minute || len(v.Hits) != 1 {
			t.Errorf("%s at %s: %+v, want hold until %s and up to a minute", c.section, c.now, v, c.want)
		}
		if again := g.Judge(in); !again.Until.Equal(v.Until) {
			t.Error("the spread is not the same twice")
		}
		in.Now = v.Until
		if v := g.Judge(in); v.Action != rules.Pass {
			t.Errorf("%s: still held when its time has come: %+v", c.section, v)
		}
		in.Now, in.Delivery.Category = now, schemas.Verification
		if v := g.Judge(in); v.Action != rules.Pass {
			t.Error("another category was held")
		}
	}
}

func TestHeldMessagesAreSpread(t *testing.T) {
	seconds := make(map[int]bool)
	for i := range 600 {
		seconds[int(delay(schemas.DeliveryID("acme", "s", string(rune('a'+i)), "r", "c"))/time.Second)] = true
	}
	if len(seconds) < 50 {
		t.Errorf("600 messages start in %d of 60 seconds", len(seconds))
	}
}

func TestConfig(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"[{category: gossip, allow: '08:00-21:00'}]":                    "unknown category",
		"[{category: alert, allow: '08:00-08:00'}]":                     "two different times",
		"[{category: alert, allow: '08:00'}]":                           "two different times",
		"[{category: alert, allow: '+8:00-21:00'}]":                     "two different times",
		"[{category: alert, allow: '08:00-21:00', zone: Asia/Nowhere}]": "unknown time zone",
		"[{category: alert, allow: '08:00-21:00', zone: Local}]":        "unknown time zone",
	})
}
