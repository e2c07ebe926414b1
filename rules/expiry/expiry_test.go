package expiry

import (
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return now.Add(time.Duration(m) * time.Minute) }
	for name, c := range map[string]struct {
		section string
		d       schemas.Delivery
		want    rules.Action
	}{
		"no bounds":                      {"", schemas.Delivery{Category: schemas.Notification}, rules.Pass},
		"at its end":                     {"", schemas.Delivery{Expires: now}, rules.Pass},
		"past its end":                   {"", schemas.Delivery{Expires: now.Add(-1)}, rules.Expire},
		"too early":                      {"", schemas.Delivery{NotBefore: at(5)}, rules.Hold},
		"at its start":                   {"", schemas.Delivery{NotBefore: now}, rules.Pass},
		"can never start":                {"", schemas.Delivery{NotBefore: at(5), Expires: at(5)}, rules.Expire},
		"code of ten minutes":            {"", schemas.Delivery{Category: schemas.Verification, Event: schemas.EventRef{Time: at(-10)}}, rules.Pass},
		"code of eleven minutes":         {"", schemas.Delivery{Category: schemas.Verification, Event: schemas.EventRef{Time: at(-11)}}, rules.Expire},
		"code without time, planned old": {"", schemas.Delivery{Category: schemas.Verification, PlannedAt: at(-11)}, rules.Expire},
		"code with its own end":          {"", schemas.Delivery{Category: schemas.Verification, Event: schemas.EventRef{Time: at(-11)}, Expires: at(1)}, rules.Pass},
		"code, longer life":              {"{verification: 1h}", schemas.Delivery{Category: schemas.Verification, Event: schemas.EventRef{Time: at(-11)}}, rules.Pass},
		"alert with a life":              {"{alert: 1m}", schemas.Delivery{Category: schemas.Alert, Event: schemas.EventRef{Time: at(-2)}}, rules.Expire},
		"code keeps its default":         {"{alert: 1m}", schemas.Delivery{Category: schemas.Verification, Event: schemas.EventRef{Time: at(-11)}}, rules.Expire},
	} {
		v := open(t, c.section).Judge(rules.Input{Delivery: &c.d, Now: now})
		if v.Action != c.want {
			t.Errorf("%s: %+v, want %d", name, v, c.want)
		}
		if v.Action == rules.Hold && !v.Until.Equal(c.d.NotBefore) {
			t.Errorf("%s: held until %s", name, v.Until)
		}
		if v.Action != rules.Pass && (len(v.Hits) != 1 || v.Hits[0].Advice.Zh == "" || v.Hits[0].Advice.En == "" || v.Rule == "") {
			t.Errorf("%s: says nothing: %+v", name, v)
		}
	}
}

func TestConfig(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"{gossip: 1m}": "unknown category", "{alert: 0s}": "duration", "{alert: soon}": "duration", "[]": "want keys and values",
	})
}
