// Package expiry stops what has come too late and holds what is too early. A verification code
// that arrives after its validity only confuses; no code is the better outcome.
package expiry

import (
	"fmt"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The rules as verdicts name them.
const (
	Rule          = "expiry"
	RuleNotBefore = "not-before"
)

// Config is the section guards.expiry: how long a message of a category is of use when its event
// does not say, counted from the event's time ("10m"; Go durations). A category that is not named has no end,
// except verification, which has ten minutes.
type Config map[schemas.Category]string

const defaultVerification = 10 * time.Minute

type guard map[schemas.Category]time.Duration

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := guard{schemas.Verification: defaultVerification}
	for category, life := range c {
		if !slices.Contains(schemas.Categories, category) {
			return nil, fmt.Errorf("unknown category %q; known are %v", category, schemas.Categories)
		}
		d, err := time.ParseDuration(life)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("%s: %q is not a duration such as 10m or 24h", category, life)
		}
		g[category] = d
	}
	return g, nil
}

// Judge expires what is past its end, or cannot start before it, and holds what has a later start.
func (g guard) Judge(in rules.Input) rules.Verdict {
	d := in.Delivery
	end := g.end(d)
	switch {
	case !end.IsZero() && in.Now.After(end):
		return expired(end, schemas.Text{
			Zh: fmt.Sprintf("消息在发送前已过有效期（%s），未发送；如仍需要，请重新发起", stamp(end)),
			En: fmt.Sprintf("its validity ended at %s, before it could be sent; send a new message if it still matters", stamp(end)),
		})
	case !in.Now.Before(d.NotBefore):
		return rules.Verdict{}
	case !end.IsZero() && !d.NotBefore.Before(end):
		return expired(end, schemas.Text{
			Zh: fmt.Sprintf("最早发送时间（%s）不早于有效期（%s），永远无法发送；请检查 not_before 与 expires", stamp(d.NotBefore), stamp(end)),
			En: fmt.Sprintf("it may not start before %s and ends at %s: it can never be sent; look at not_before and expires", stamp(d.NotBefore), stamp(end)),
		})
	default:
		return rules.Verdict{Action: rules.Hold, Rule: RuleNotBefore, Until: d.NotBefore, Hits: []schemas.Hit{{
			Rule: RuleNotBefore, Action: rules.ReportHold, Advice: schemas.Text{
				Zh: fmt.Sprintf("按要求在 %s 之后发送", stamp(d.NotBefore)),
				En: fmt.Sprintf("to be sent after %s, as its producer asked", stamp(d.NotBefore)),
			},
		}}}
	}
}

// end is the instant after which the delivery is noise; zero for never.
func (g guard) end(d *schemas.Delivery) time.Time {
	life := g[d.Category]
	switch {
	case !d.Expires.IsZero():
		return d.Expires
	case life == 0:
		return time.Time{}
	case d.Event.Time.IsZero():
		return d.PlannedAt.Add(life)
	default:
		return d.Event.Time.Add(life)
	}
}

func expired(end time.Time, advice schemas.Text) rules.Verdict {
	return rules.Verdict{
		Action: rules.Expire, Rule: Rule, Until: end,
		Hits: []schemas.Hit{{Rule: Rule, Action: rules.ReportBlock, Advice: advice}},
	}
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05 -07:00") }
