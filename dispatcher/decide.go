package dispatcher

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Policy is when to try again, and when to stop.
type Policy struct {
	Attempts int           `yaml:"attempts,omitempty"` // in all, the first included
	First    time.Duration `yaml:"first,omitempty"`    // wait after the first attempt
	Factor   float64       `yaml:"factor,omitempty"`
	Max      time.Duration `yaml:"max,omitempty"`    // longest wait
	Jitter   float64       `yaml:"jitter,omitempty"` // ± share of the wait, so that retries do not march in step
	// Refused is about how long to wait after credentials or settings were refused, until somebody has acted.
	Refused time.Duration `yaml:"refused,omitempty"`
	MaxAge  time.Duration `yaml:"max_age,omitempty"` // of a delivery, waits for budgets included
	// Reconcile is when the third party is asked what became of a message without an answer,
	// counted from that moment; when the last answer is still "not here", it was not taken.
	Reconcile []time.Duration `yaml:"reconcile,omitempty"`
	// Receipts is when the third party is asked about an accepted message whose receipt has not come, counted
	// from its acceptance; after the last answer nobody waits any more.
	Receipts []time.Duration `yaml:"receipts,omitempty"`
}

// Defaults fills what is left out: 12 attempts over about a day; questions after half a minute, two,
// ten and thirty; missing receipts after a quarter of an hour, two hours and a day.
func (p *Policy) Defaults() {
	if p.Attempts == 0 {
		p.Attempts = 12
	}
	if p.First == 0 {
		p.First = 5 * time.Second
	}
	if p.Factor == 0 {
		p.Factor = 3
	}
	if p.Max == 0 {
		p.Max = 6 * time.Hour
	}
	if p.Jitter == 0 {
		p.Jitter = 0.2
	}
	if p.Refused == 0 {
		p.Refused = 20 * time.Minute
	}
	if p.MaxAge == 0 {
		p.MaxAge = 72 * time.Hour
	}
	if len(p.Reconcile) == 0 {
		p.Reconcile = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute}
	}
	if len(p.Receipts) == 0 {
		p.Receipts = []time.Duration{15 * time.Minute, 2 * time.Hour, 24 * time.Hour}
	}
}

// Delay is the wait after the given attempt (1 is the first). It is computed from the number, since
// nobody keeps a back-off object between attempts.
func (p Policy) Delay(attempt int) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.First), backoff.WithMultiplier(p.Factor), backoff.WithMaxInterval(p.Max),
		backoff.WithRandomizationFactor(p.Jitter),
		backoff.WithMaxElapsedTime(0), // the default stops after 15 minutes with −1
	)
	d := b.NextBackOff()
	for range attempt - 1 {
		d = b.NextBackOff()
	}
	return d
}

// last says whether a failure at a.Now would be the end of the delivery, whatever the jitter: no attempt is left, or
// the next one would come too late.
func (p Policy) last(a Attempt) bool {
	longest := p
	longest.Jitter = 0
	next := a.Now.Add(time.Duration(float64(longest.Delay(a.Number)) * (1 + p.Jitter)))
	return a.Number >= p.Attempts || next.Sub(a.Since) > p.MaxAge || !a.Expires.IsZero() && next.After(a.Expires)
}

// throttleWait is how long a throttled delivery waits when nobody says how long.
const throttleWait = time.Minute

// Attempt is what Decide must know of an attempt besides its failure.
type Attempt struct {
	Number  int       // of this generation, 1 is the first
	Since   time.Time // when this generation began, or when it was first allowed to go, if that was later
	Now     time.Time
	Expires time.Time // zero: never
	Once    bool      // a repeat costs money or trust (channels.Traits)
	// Idempotent: the third party knows a repeat by the delivery's id. Where it does not and a repeat is
	// only a nuisance, an unknown outcome is followed by one more attempt, not by all of them.
	Idempotent bool
	Doubts     int  // earlier attempts with an unknown outcome
	Stopped    bool // we broke it off ourselves: shutdown
}

// Outcome is what becomes of a delivery.
type Outcome struct {
	State schemas.State
	Step  string    // of the ledger record
	At    time.Time // held and uncertain: when it goes on
	Used  bool      // an attempt was used up
}

// Decide is the whole retry policy: what an attempt's failure (nil: success), and its class
// according to the diagnoses, make of the delivery. Pure but for the jitter.
func (p Policy) Decide(a Attempt, f *channels.Failure, class channels.Class) Outcome {
	o := p.decide(a, f, class)
	if o.State == schemas.Held && !a.Expires.IsZero() && o.At.After(a.Expires) {
		return Outcome{State: schemas.Expired, Step: o.Step, Used: o.Used}
	}
	return o
}

func (p Policy) decide(a Attempt, f *channels.Failure, class channels.Class) Outcome {
	switch {
	case f == nil:
		return Outcome{State: schemas.Accepted, Used: true}
	case a.Once && (f.Maybe || class == channels.Unknown):
		return Outcome{State: schemas.Uncertain, At: a.Now.Add(p.Reconcile[0]), Used: true}
	case a.Stopped:
		return Outcome{State: schemas.Held, Step: ledger.StepShutdown, At: a.Now}
	case ends(f, class):
		return Outcome{State: schemas.Dead, Used: true}
	}
	if f.Maybe && !a.Idempotent && a.Doubts > 0 {
		return Outcome{State: schemas.Dead, Step: ledger.StepClosed, Used: true}
	}
	if a.Now.Sub(a.Since) > p.MaxAge {
		return Outcome{State: schemas.Dead, Step: ledger.StepTooOld, Used: true}
	}
	if class == channels.Throttled {
		wait := max(f.After, 0)
		if wait == 0 {
			wait = throttleWait
		}
		return Outcome{State: schemas.Held, Step: ledger.StepThrottled, At: a.Now.Add(wait)}
	}
	if channels.Wide(f, class) { // the same for every message: no attempt of this one, a person has to act
		wait := p.Refused*3/4 + rand.N(p.Refused*3/4+1)
		return Outcome{State: schemas.Held, Step: ledger.StepRefused, At: a.Now.Add(max(wait, f.After))}
	}
	if a.Number >= p.Attempts {
		return Outcome{State: schemas.Dead, Step: ledger.StepExhausted, Used: true}
	}
	return Outcome{State: schemas.Held, Step: ledger.StepRetry, At: a.Now.Add(max(p.Delay(a.Number), f.After)), Used: true}
}

// ends says that no other attempt at this message can help.
func ends(f *channels.Failure, class channels.Class) bool {
	switch class {
	case channels.Config:
		return !channels.Wide(f, class)
	case channels.Content, channels.BadTarget, channels.Permanent:
		return true
	}
	return false
}

// Reconciled is what the third party's answer (or its silence, err) makes of an uncertain delivery
// that was asked about for the n-th time.
func (p Policy) Reconciled(a Attempt, n int, l channels.Lookup, err error) Outcome {
	switch {
	case err == nil && l.Found:
		return Outcome{State: l.State, Step: ledger.StepReceipt}
	case a.Now.Sub(a.Since) > p.MaxAge:
		return Outcome{State: schemas.Dead, Step: ledger.StepClosed}
	case err != nil: // could not be asked: this question does not count, and the next comes ever later
		wait := min(max(a.Now.Sub(a.Since)/2, p.Reconcile[0]), time.Hour)
		return Outcome{State: schemas.Uncertain, At: a.Now.Add(wait)}
	case n < len(p.Reconcile):
		return Outcome{State: schemas.Uncertain, At: a.Now.Add(p.Reconcile[n] - p.Reconcile[n-1]), Used: true}
	case !a.Expires.IsZero() && a.Now.After(a.Expires):
		return Outcome{State: schemas.Expired, Step: ledger.StepNoTake}
	case a.Number >= p.Attempts:
		return Outcome{State: schemas.Dead, Step: ledger.StepExhausted}
	default:
		return Outcome{State: schemas.Held, Step: ledger.StepNoTake, At: a.Now}
	}
}

// Awaited is what the third party's answer (or its silence, err) makes of an accepted delivery whose receipt
// has not come and that was asked about for the n-th time. A question that could not be asked counts: the
// cost of a lost receipt is bounded.
func (p Policy) Awaited(now time.Time, n int, l channels.Lookup, err error) Outcome {
	switch {
	case err == nil && l.Found && (l.State == schemas.Delivered || l.State == schemas.Undelivered):
		return Outcome{State: l.State, Step: ledger.StepReceipt}
	case n >= len(p.Receipts):
		return Outcome{State: schemas.Accepted, Step: ledger.StepNoReceipt}
	}
	step := ledger.StepAwaits
	if err != nil {
		step = ledger.StepUnasked
	}
	return Outcome{State: schemas.Accepted, Step: step, At: now.Add(p.Receipts[n] - p.Receipts[n-1])}
}
