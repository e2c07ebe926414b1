package dispatcher

import (
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

func policy() Policy {
	p := Policy{Jitter: 1e-9}
	p.Defaults()
	return p
}

func TestDelayGrowsFromTheAttemptAlone(t *testing.T) {
	p := policy()
	for attempt, want := range map[int]time.Duration{
		1: 5 * time.Second, 2: 15 * time.Second, 3: 45 * time.Second, 5: 405 * time.Second, 8: 10935 * time.Second,
		9: 6 * time.Hour, 12: 6 * time.Hour, 100: 6 * time.Hour,
	} {
		if got := p.Delay(attempt).Round(time.Millisecond); got != want {
			t.Errorf("Delay(%d) = %s, want %s", attempt, got, want)
		}
	}
	p.Jitter = 0.2
	for range 1000 {
		if d := p.Delay(3); d < 36*time.Second || d > 54*time.Second {
			t.Fatalf("Delay(3) = %s, beyond ±20 %%", d)
		}
	}
}

// A channel that would rather wait must know when nothing comes after it.
func TestLast(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	p := policy()
	p.Jitter = 0.2
	for _, tt := range []struct {
		a    Attempt
		want bool
	}{
		{Attempt{Number: 1}, false},
		{Attempt{Number: 11}, false},
		{Attempt{Number: 12}, true},
		{Attempt{Number: 5, Expires: now.Add(time.Hour)}, false},
		{Attempt{Number: 5, Expires: now.Add(8 * time.Minute)}, true}, // the sixth comes within 324 to 486 s
		{Attempt{Number: 5, Expires: now.Add(9 * time.Minute)}, false},
		{Attempt{Number: 2, Since: now.Add(-71 * time.Hour)}, false},
		{Attempt{Number: 9, Since: now.Add(-71 * time.Hour)}, true},
	} {
		if tt.a.Now = now; tt.a.Since.IsZero() {
			tt.a.Since = now
		}
		if got := p.last(tt.a); got != tt.want {
			t.Errorf("%+v: %t, want %t", tt.a, got, tt.want)
		}
		if o := p.Decide(tt.a, &channels.Failure{}, channels.Temporary); o.State != schemas.Held && !tt.want {
			t.Errorf("%+v: %s, though it was not called the last", tt.a, o.State)
		}
	}
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	fail := func(after time.Duration, maybe bool) *channels.Failure {
		return &channels.Failure{After: after, Maybe: maybe}
	}
	later := func(step string, wait time.Duration, used bool) Outcome {
		return Outcome{State: schemas.Held, Step: step, At: now.Add(wait), Used: used}
	}
	dead := func(step string) Outcome { return Outcome{State: schemas.Dead, Step: step, Used: true} }
	tests := []struct {
		name  string
		a     Attempt
		f     *channels.Failure
		class channels.Class
		want  Outcome
	}{
		{"accepted", Attempt{Number: 1}, nil, "", Outcome{State: schemas.Accepted, Used: true}},
		{"temporary", Attempt{Number: 1}, fail(0, false), channels.Temporary, later(ledger.StepRetry, 5*time.Second, true)},
		{"temporary, third attempt", Attempt{Number: 3}, fail(0, false), channels.Temporary, later(ledger.StepRetry, 45*time.Second, true)},
		{"the far side asks for longer", Attempt{Number: 1}, fail(time.Hour, false), channels.Temporary, later(ledger.StepRetry, time.Hour, true)},
		{"the far side asks for less", Attempt{Number: 3}, fail(time.Second, false), channels.Temporary, later(ledger.StepRetry, 45*time.Second, true)},
		{"last attempt", Attempt{Number: 12}, fail(0, false), channels.Temporary, dead(ledger.StepExhausted)},
		{"credentials refused: a person has to act", Attempt{Number: 12}, fail(0, false), channels.Auth, later(ledger.StepRefused, 20*time.Minute, false)},
		{"credentials refused for days", Attempt{Number: 1, Since: now.Add(-73 * time.Hour)}, fail(0, false), channels.Auth, dead(ledger.StepTooOld)},
		{"no balance left: a person has to act", Attempt{Number: 1}, &channels.Failure{Code: "isv.AMOUNT_NOT_ENOUGH"}, channels.Config, later(ledger.StepRefused, 20*time.Minute, false)},
		{"throttled uses no attempt", Attempt{Number: 12}, fail(10*time.Minute, false), channels.Throttled, later(ledger.StepThrottled, 10*time.Minute, false)},
		{"throttled, nobody says how long", Attempt{Number: 1}, fail(0, false), channels.Throttled, later(ledger.StepThrottled, time.Minute, false)},
		{"wrong setting", Attempt{Number: 1}, fail(0, false), channels.Config, dead("")},
		{"text refused", Attempt{Number: 1}, fail(0, false), channels.Content, dead("")},
		{"no such recipient", Attempt{Number: 1}, fail(0, false), channels.BadTarget, dead("")},
		{"permanent", Attempt{Number: 1}, fail(0, false), channels.Permanent, dead("")},
		{"no answer, a repeat costs", Attempt{Number: 1, Once: true}, fail(0, true), channels.Temporary, Outcome{State: schemas.Uncertain, At: now.Add(30 * time.Second), Used: true}},
		{"no answer, even when the class says permanent", Attempt{Number: 1, Once: true}, fail(0, true), channels.Permanent, Outcome{State: schemas.Uncertain, At: now.Add(30 * time.Second), Used: true}},
		{"no answer, a repeat is known", Attempt{Number: 3, Idempotent: true, Doubts: 2}, fail(0, true), channels.Unknown, later(ledger.StepRetry, 45*time.Second, true)},
		{"no answer, a repeat is a nuisance", Attempt{Number: 1}, fail(0, true), channels.Unknown, later(ledger.StepRetry, 5*time.Second, true)},
		{"no answer twice, a repeat is a nuisance", Attempt{Number: 2, Doubts: 1}, fail(0, true), channels.Unknown, dead(ledger.StepClosed)},
		{"broken off by a stop", Attempt{Number: 1, Stopped: true}, fail(0, true), channels.Unknown, later(ledger.StepShutdown, 0, false)},
		{"broken off by a stop, a repeat costs", Attempt{Number: 1, Stopped: true, Once: true}, fail(0, true), channels.Unknown, Outcome{State: schemas.Uncertain, At: now.Add(30 * time.Second), Used: true}},
		{"too old", Attempt{Number: 2, Since: now.Add(-73 * time.Hour)}, fail(0, false), channels.Throttled, dead(ledger.StepTooOld)},
		{"no time left for another try", Attempt{Number: 1, Expires: now.Add(3 * time.Second)}, fail(0, false), channels.Temporary, Outcome{State: schemas.Expired, Step: ledger.StepRetry, Used: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.a.Now = now
			if tt.a.Since.IsZero() {
				tt.a.Since = now
			}
			got := policy().Decide(tt.a, tt.f, tt.class)
			got.At = got.At.Round(time.Millisecond)
			if got.Step == ledger.StepRefused { // 15 to 30 min
				if d := got.At.Sub(tt.want.At); d < -5*time.Minute || d > 10*time.Minute {
					t.Errorf("held for %s", got.At.Sub(now))
				}
				got.At = tt.want.At
			}
			if got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Whatever happens, a delivery ends or goes on at a known time, and attempts never exceed the policy.
func FuzzDecide(f *testing.F) {
	f.Add(1, int64(0), int64(0), false, false, false, uint8(0), true)
	f.Fuzz(func(t *testing.T, number int, age, after int64, maybe, once, stopped bool, class uint8, failed bool) {
		now := time.Unix(1_800_000_000, 0)
		p := policy()
		a := Attempt{Number: max(1, number%100), Since: now.Add(-time.Duration(age % int64(100*time.Hour)).Abs()), Now: now, Once: once, Stopped: stopped}
		var fail *channels.Failure
		if failed {
			fail = &channels.Failure{After: time.Duration(after % int64(time.Hour)), Maybe: maybe}
		}
		c := channels.Classes[int(class)%len(channels.Classes)]
		o := p.Decide(a, fail, c)
		switch {
		case !failed && o.State != schemas.Accepted:
			t.Errorf("success became %s", o.State)
		case !o.State.Terminal() && o.At.Before(now):
			t.Errorf("%s goes on in the past", o.State)
		case o.State == schemas.Held && o.Used && a.Number >= p.Attempts:
			t.Errorf("attempt %d is followed by another", a.Number)
		case failed && once && maybe && o.State != schemas.Uncertain:
			t.Errorf("an unknown outcome became %s", o.State)
		}
	})
}
