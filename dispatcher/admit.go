package dispatcher

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/dispatcher/limits"
	"github.com/yizhan-dev/yizhan/schemas"
)

// What stands between a delivery and its call, besides the rules: the destination's breaker, other attempts
// at the same destination, and the budgets that all pods share. Whoever may not go yet is held without an
// attempt; he never waits in a slot for longer than patience.

const (
	// quickFor is how long an attempt at one of several destinations counts against the consumer's slots. One that
	// takes longer moves to the slow lane, and its destination gets no other attempt until it is over.
	quickFor = time.Second
	// slowLane is how many attempts may hang in a process beside the slots.
	slowLane = 256
	// patience is how long an attempt waits in its slot for the channel's budget: everybody behind it needs the same.
	// Waiting for the budget of one destination would stop the others.
	patience = 1500 * time.Millisecond
	// minBusy and maxBusy bound the waits for a destination that is being waited for.
	minBusy, maxBusy = 200 * time.Millisecond, 15 * time.Second
	// maxDestinations is how many destinations of a channel are remembered that have nothing wrong with them.
	maxDestinations = 16384
	// maxShared is how many deliveries are joined into one at most.
	maxShared = 30
)

// gate is a channel as one process uses it.
type gate struct {
	channels.Channel
	name string
	rate channels.Rate

	mu   sync.Mutex
	to   map[string]*destination
	open int // breakers
	join map[string]*batch
	// company bounds those who wait for a call together beside the slots.
	company chan struct{}
}

// destination is where deliveries of a channel go, or the channel as a whole.
type destination struct {
	name    string
	breaker channels.Breaker
	// running counts the attempts under way, slow those of them that take longer than quickFor.
	running, slow int
	// quick: the last attempt ended within quickFor. Until one has, only some of the slots are risked.
	quick bool
}

// gates makes what the process knows of its channels, once.
func (d *Dispatcher) gates() map[string]*gate {
	d.ready.Do(func() {
		d.byName = make(map[string]*gate, len(d.Channels))
		for name, ch := range d.Channels {
			d.byName[name] = &gate{Channel: ch, name: name, rate: d.Rates[name], to: map[string]*destination{}, join: map[string]*batch{}, company: make(chan struct{}, 4*maxShared)}
			openGauge.WithLabelValues(name).Set(0)
		}
		d.slow = make(chan struct{}, slowLane)
		d.limits = &limits.Limits{Store: broker.LimitStore{B: d.Broker}, Clock: d.now}
	})
	return d.byName
}

// destination names where a delivery goes; "" is the channel as a whole.
func (w *gate) destination(dl *schemas.Delivery) string {
	if ch, ok := w.Channel.(channels.Destined); ok {
		return ch.Destination(dl)
	}
	return ""
}

// budgets are what a call takes of; the narrowest first, so that nothing is taken of the others in vain.
func (w *gate) budgets(dl *schemas.Delivery) (of []channels.Budget, patient time.Duration) {
	patient = min(patience, w.Traits().Timeout/4)
	if ch, ok := w.Channel.(channels.Limited); ok {
		if of = slices.Clone(ch.Budgets(dl)); len(of) > 0 {
			patient = 0
		}
	}
	if w.rate.Count > 0 {
		of = append(of, channels.Budget{Key: "channel:" + w.name, Rate: w.rate})
	}
	return of, patient
}

// pass is what a call needs: a place at its destination, and a call of every budget.
type pass struct {
	d     *Dispatcher
	gate  *gate
	to    *destination
	taken []limits.Pass
	free  func() // gives the consumer's slot back
	// under the gate's lock
	slow  bool // it counts as slow
	moved bool // to the slow lane
	over  bool
}

// errNotCalled marks a failure of our own making: the call was not made. A channel may have failures of kind dispatcher
// too, such as a file that it could not fetch, and those are an attempt's.
var errNotCalled = errors.New("the call was not made")

// resting is errNotCalled for a breaker that is open, with the failure that opened it.
type resting struct{ cause *channels.Failure }

func (resting) Error() string        { return errNotCalled.Error() }
func (resting) Is(target error) bool { return target == errNotCalled }

// isOwn says that the call was not made.
func isOwn(f *channels.Failure) bool { return errors.Is(f.Err, errNotCalled) }

// own is a failure of our own making: the call was not made.
func own(code, line string, after time.Duration) *channels.Failure {
	return &channels.Failure{Kind: "dispatcher", Provider: "yizhan", Code: code, Class: channels.Throttled, Line: channels.Line(line), After: after, Err: errNotCalled}
}

// said is a failure in its own words, with its code.
func said(f *channels.Failure) string {
	if strings.Contains(f.Line, f.Code) {
		return f.Line
	}
	// "http:503" and "503 Service Unavailable": said twice the digits would look like a number, and be masked.
	if of, n, ok := strings.Cut(f.Code, ":"); ok && strings.HasPrefix(f.Line, n+" ") {
		return of + ":" + f.Line
	}
	return strings.TrimSpace(f.Code + " " + f.Line)
}

// admit asks for everything that a call of dl needs. A failure without After is final: the destination is gone.
func (d *Dispatcher) admit(ctx context.Context, w *gate, dl *schemas.Delivery, waits int, free func()) (*pass, *channels.Failure) {
	p := &pass{d: d, gate: w, free: free}
	if f := p.enter(w.destination(dl), waits); f != nil {
		return nil, f
	}
	if f := p.take(ctx, dl, waits); f != nil {
		p.leave()
		return nil, f
	}
	return p, nil
}

// take takes a call of every budget.
func (p *pass) take(ctx context.Context, dl *schemas.Delivery, waits int) *channels.Failure {
	d, w := p.d, p.gate
	of, patient := w.budgets(dl)
	if len(of) == 0 {
		return nil
	}
	a := limits.Ask{Waited: waits, Urgent: dl.Priority == schemas.High, Bulk: dl.Priority == schemas.Bulk, Patience: patient}
	if _, ok := w.Channel.(channels.Joiner); ok {
		a.Share = maxShared
	}
	var err error
	if p.taken, err = d.limits.Take(ctx, of, a); err == nil {
		return nil
	}
	if wait, ok := errors.AsType[*limits.Wait](err); ok {
		code, rate := "rate", wait.Budget.Rate
		if wait.Budget.Key != "channel:"+w.name {
			code = "budget"
		}
		words, _ := rate.MarshalText()
		return own(code, string(words), max(time.Until(wait.At), time.Millisecond))
	}
	if ctx.Err() == nil {
		d.Log.Warn("a shared budget could not be asked, nothing sent", zap.String("channel", w.name), zap.Error(err))
	}
	return own("limit-unavailable", "", d.Retry.Delay(1))
}

// enter takes a place at the destination.
func (p *pass) enter(name string, waits int) *channels.Failure {
	w, now := p.gate, time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.to[name]
	if t == nil {
		if len(w.to) >= maxDestinations {
			w.forget()
		}
		t = &destination{name: name, breaker: channels.Breaker{Refused: p.d.Retry.Refused}}
		w.to[name] = t
	}
	if name != "" {
		most := max(1, w.Traits().Slots)
		if !t.quick {
			most = max(1, most/4)
		}
		if t.slow > 0 || t.running >= most {
			wait := min(minBusy<<min(waits, 10), maxBusy)
			return own("busy", name, wait+rand.N(wait/2))
		}
	}
	if ok, at, f := t.breaker.Allow(now); !ok {
		if at.IsZero() {
			return own("endpoint-disabled", said(f), 0)
		}
		rest := own("breaker-open", said(f), max(at.Sub(now), time.Millisecond))
		rest.Err = resting{f}
		return rest
	}
	t.running++
	p.to = t
	return nil
}

// forget drops destinations with nothing wrong.
func (w *gate) forget() {
	for name, t := range w.to {
		if open, _, _, _ := t.breaker.State(); !open && t.running == 0 {
			delete(w.to, name)
		}
	}
}

// back gives everything back: the call was not made.
func (p *pass) back() {
	if p != nil {
		limits.Back(p.taken)
		p.leave()
	}
}

func (p *pass) leave() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.to.running--
}

// call calls the channel. Nothing was called when the failure is of our own making.
func (p *pass) call(ctx context.Context, dl *schemas.Delivery) (channels.Receipt, *channels.Failure) {
	defer p.leave()
	if !limits.Good(p.taken) {
		// The daily cap and the claim took longer than a lease. With another one the call starts at once; to come again
		// would cost the same trips and end here again, as long as the broker is slow.
		limits.Back(p.taken)
		if f := p.take(ctx, dl, 1); f != nil {
			return channels.Receipt{}, f
		}
	}
	begun := time.Now()
	if p.to.name != "" {
		timer := time.AfterFunc(quickFor, p.slowDown)
		defer timer.Stop()
	}
	r, f := call(ctx, p.gate.Channel, dl)
	p.done(ctx, dl, f, time.Since(begun))
	return r, f
}

// slowDown moves an attempt to the slow lane when there is room.
func (p *pass) slowDown() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.over {
		return
	}
	p.slow = true
	p.to.slow++
	p.to.quick = false
	select {
	case p.d.slow <- struct{}{}:
		p.moved = true
		slowGauge.Inc()
		p.free()
	default: // it keeps its slot
	}
}

// done tells the destination's breaker and the budgets how a call went.
func (p *pass) done(ctx context.Context, dl *schemas.Delivery, f *channels.Failure, took time.Duration) {
	w, now := p.gate, time.Now()
	var told *channels.Failure
	if f != nil {
		copied := *f
		copied.Class = p.d.diagnose(w, f).Class
		told = &copied
	}
	w.mu.Lock()
	p.to.quick = took < quickFor
	p.over = true
	if p.slow {
		p.to.slow--
	}
	if p.moved {
		<-p.d.slow
		slowGauge.Dec()
	}
	before, _, _, _ := p.to.breaker.State()
	// Several third parties have a breaker each: one of them stops nobody who could go to another.
	_, several := w.Channel.(channels.Composite)
	switch {
	case f != nil && (several || !fromOutside(f) || errors.Is(context.Cause(ctx), errShutdown)): // says nothing of the destination
	case p.to.name != "" && ofAddress(told):
		p.to.breaker.Done(now, nil)
	default:
		p.to.breaker.Done(now, told)
	}
	after, _, retry, _ := p.to.breaker.State()
	if before != after {
		if after {
			w.open++
		} else {
			w.open--
		}
		openGauge.WithLabelValues(w.name).Set(float64(w.open))
	}
	w.mu.Unlock()
	if before != after {
		p.d.logBreaker(w, p.to.name, after, retry, told)
	}
	if told != nil && told.Class == channels.Throttled && fromOutside(f) && !channels.Narrow(f) {
		p.d.rest(ctx, w, dl, f)
	}
}

// fromOutside says that a failure tells of the third party, not of what the channel does by itself: all its connections
// are in use, all its providers rest.
func fromOutside(f *channels.Failure) bool {
	return f.Class != channels.Throttled || !strings.HasPrefix(f.Code, "dispatcher:") && !strings.HasPrefix(f.Code, "net:")
}

// ofAddress says that a host works and refuses one of its addresses: a wrong path, or a receiver that does not want this
// key, at a host that has others as well.
func ofAddress(f *channels.Failure) bool {
	return f != nil && (f.Class == channels.Auth || f.Class == channels.Config) && strings.HasPrefix(f.Code, "http:") && f.Code != "http:407"
}

func (d *Dispatcher) logBreaker(w *gate, to string, open bool, retry time.Time, f *channels.Failure) {
	fields := []zap.Field{zap.String("channel", w.name), zap.String("destination", to)}
	if !open {
		d.Log.Info("works again", fields...)
		return
	}
	fields = append(fields, zap.String("class", string(f.Class)), zap.String("code", f.Code), zap.String("line", f.Line))
	if retry.IsZero() { // the channel has told the operator (level error, once for each destination)
		d.Log.Info("gone: nothing is sent there until the process starts anew", fields...)
		return
	}
	d.Log.Error("calls rest", append(fields, zap.Time("probe", retry))...)
}

// rest closes the budgets of a call that came too fast, for all pods.
func (d *Dispatcher) rest(ctx context.Context, w *gate, dl *schemas.Delivery, f *channels.Failure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restTimeout)
	defer cancel()
	of, _ := w.budgets(dl)
	_, destined := w.Channel.(channels.Destined)
	for _, b := range of {
		if destined && b.Key == "channel:"+w.name { // one destination said so, not all of them
			continue
		}
		if err := d.limits.Rest(ctx, b, max(f.After, b.Penalty)); err != nil {
			d.Log.Warn("a budget could not be closed", zap.String("channel", w.name), zap.Error(err))
		}
	}
}

// diagnose is what the diagnoses say of a failure, and of one without an answer on a channel that must not repeat. The
// wait after "too fast" is theirs where the third party names none.
func (d *Dispatcher) diagnose(ch channels.Channel, f *channels.Failure) channels.Diagnosis {
	why := d.Explain(f)
	if f.After == 0 && why.Class == channels.Throttled {
		f.After = why.After
	}
	if f.Maybe && ch.Traits().Once {
		why.Class = channels.Unknown
	}
	return why
}

// hold makes the record of a delivery that may not go yet; no attempt was made.
func (d *Dispatcher) hold(j *job, f *channels.Failure) *ledger.Record {
	r := &ledger.Record{Attempt: j.attempt - 1, Cause: causeAs(f, f.Class)}
	if f.After <= 0 { // where it goes there is nobody any more
		r.State, r.Cause.Class = schemas.Dead, string(channels.Permanent)
		return r
	}
	o := d.Retry.Decide(Attempt{Number: j.attempt, Since: j.begin(), Now: time.Now(), Expires: j.Expires}, f, channels.Throttled)
	r.State, r.Step, r.Due = o.State, o.Step, o.At
	if rest, ok := errors.AsType[resting](f.Err); ok { // whoever waits is told what stopped the calls, as the one that met it was
		r.Cause = causeAs(rest.cause, rest.cause.Class)
		if r.Step == ledger.StepThrottled {
			r.Step = ledger.StepRests
		}
	}
	if o.State == schemas.Held {
		r.Waits = j.waits + 1
		waitsTotal.WithLabelValues(j.Channel, f.Code).Inc()
	}
	d.Log.Debug("waits", zap.String("delivery", j.ID), zap.String("channel", j.Channel), zap.String("code", f.Code), zap.Time("due", r.Due))
	return r
}

// maxTold is how many stopped destinations of a channel are told.
const maxTold = 24

func (w *gate) broken() []channels.Broken {
	var out []channels.Broken
	w.mu.Lock()
	if w.open > 0 {
		for _, to := range w.to {
			if open, since, retry, cause := to.breaker.State(); open {
				out = append(out, channels.Broken{Destination: to.name, Since: since, RetryAt: retry, Cause: cause})
			}
		}
	}
	w.mu.Unlock()
	if ch, ok := w.Channel.(channels.Watched); ok { // breakers of its own, such as those of several providers
		out = append(out, ch.Broken()...)
	}
	slices.SortFunc(out, func(a, b channels.Broken) int { return a.Since.Compare(b.Since) })
	return out[:min(len(out), maxTold)]
}

// Broken lists the destinations of a channel to which this process makes no calls now, the longest first.
func (d *Dispatcher) Broken(channel string) []channels.Broken {
	if w := d.gates()[channel]; w != nil {
		return w.broken()
	}
	return nil
}
