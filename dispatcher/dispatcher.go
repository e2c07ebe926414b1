// Package dispatcher is the path of a message, in a few short files to be read in this order:
//
//	dispatcher.go  what the path is made of, and its start and end
//	pull.go        messages from a consumer to slots, never more than are free
//	plan.go        an event becomes deliveries: decode, route, render, judge, store
//	send.go        a delivery becomes an attempt: guards, budgets, daily cap, claim, Channel.Send
//	admit.go       what holds it up: breakers, busy destinations, budgets; batch.go: several in one call
//	decide.go      what becomes of it: one pure function, the whole retry policy
//	settle.go      the only place that ends or continues a delivery: ledger record, effect, ack
//	receipt.go     what third parties report later: receipts, bounces, replies
//	replay.go      dead letters sent again; recall.go: events taken back
//	sweep.go       what a killed broker left behind
//
// It knows no channel and no rule by name: cmd/yizhan/registry.go lists them.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/dispatcher/limits"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Config is how the path behaves; the zero value is the default.
type Config struct {
	Retry Policy `yaml:"retry,omitempty"`
	// Grace is how long attempts under way may take to finish after a stop signal.
	Grace time.Duration `yaml:"grace,omitempty"`
	// PlanSlots is how many events are planned at once.
	PlanSlots int `yaml:"plan_slots,omitempty"`
	// MaxBacklog stops planning while this many deliveries wait; EVENTS then fills, and ingest says 429.
	MaxBacklog int `yaml:"max_backlog,omitempty"`
}

// Defaults fills what the file left out.
func (c *Config) Defaults() {
	c.Retry.Defaults()
	if c.Grace == 0 {
		c.Grace = 20 * time.Second
	}
	if c.PlanSlots == 0 {
		c.PlanSlots = 32
	}
	if c.MaxBacklog == 0 {
		c.MaxBacklog = 5_000_000
	}
}

// Dispatcher moves messages. Its fields are set once, before Run.
type Dispatcher struct {
	Config
	Broker   *broker.Broker
	Ledger   *ledger.Ledger
	Dead     *deadletter.Store
	Channels map[string]channels.Channel
	Rates    map[string]channels.Rate // of channels that have one: calls of all pods together
	Explain  channels.Explainer
	// ExplainLine serves POST /v1/explain; nil where nobody asks.
	ExplainLine channels.LineExplainer
	Log         *zap.Logger
	Worker      string // name of this process in records and logs
	// Tenants are all that are configured: whom a refusal counts for when nobody knows whose message it answers.
	Tenants []string
	book    atomic.Pointer[rules.Book]
	backlog atomic.Uint64
	calls   weather.Recorder
	skewed  atomic.Bool             // the clock is wrong: nothing that is capped is sent
	broker  atomic.Pointer[reading] // its clock

	ready  sync.Once // for what follows, see gates
	byName map[string]*gate
	slow   chan struct{} // attempts beside the slots
	limits *limits.Limits
}

// SetBook changes the rules from the next message on.
func (d *Dispatcher) SetBook(b *rules.Book) { d.book.Store(b) }

// Book returns the rules in force.
func (d *Dispatcher) Book() *rules.Book { return d.book.Load() }

// errShutdown is why an attempt was broken off: not the far side's failure.
var errShutdown = errors.New("the worker is stopping")

// settleMargin is what a claim outlasts its attempt by, and redeliveryMargin what the broker waits
// beyond it. Time limit of the attempt < claim < AckWait, and the claim outlasts a leader election
// (4.7 to 10 s measured): otherwise a living worker's message would be handed to another.
const (
	settleMargin     = restTimeout + lookTimeout + recallTimeout + settleTimeout
	redeliveryMargin = 2*lookTimeout + settleTimeout + 5*time.Second
)

// restTimeout bounds the closing of budgets after "too fast", recallTimeout the look whether the event was recalled meanwhile.
const restTimeout, recallTimeout = 2 * time.Second, 2 * time.Second

// lookTimeout bounds what an attempt does beside the call: reading the ledger before, giving a place in
// the cap back after.
const lookTimeout = 5 * time.Second

// Run plans and sends until ctx ends, then lets attempts under way finish. plan and send choose the
// roles of this process.
func (d *Dispatcher) Run(ctx context.Context, plan, send bool) error {
	// Two contexts: ctx ends the fetching, work ends the attempts, a grace later and with a cause.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var loops sync.WaitGroup
	if plan {
		c, err := d.Broker.Consumer(ctx, broker.Events, "plan", "yz.event.>", planTimeout+redeliveryMargin)
		if err != nil {
			return unlessStopped(ctx, err)
		}
		loops.Go(func() { d.watchBacklog(ctx, c) })
		loops.Go(func() {
			pull(ctx, work, c, d.PlanSlots, d.Log, d.planGate, func(ctx context.Context, m jetstream.Msg, _ func()) { d.plan(ctx, m) })
		})
	}
	if send {
		if !d.Broker.Embedded {
			d.readClock(ctx) // budgets rest on it
		}
		for name, w := range d.gates() {
			for _, p := range schemas.Priorities {
				t := w.Traits()
				c, err := d.Broker.Consumer(ctx, broker.Deliveries, "send-"+name+"-"+string(p), broker.DeliverSubject(name, p, "*"), t.Timeout+redeliveryMargin)
				if err != nil {
					stop(nil)
					return unlessStopped(ctx, err)
				}
				loops.Go(func() {
					pull(ctx, work, c, t.Slots, d.Log, nil, func(ctx context.Context, m jetstream.Msg, free func()) { d.send(ctx, w, m, free) })
				})
			}
		}
		c, err := d.Broker.Consumer(ctx, broker.Receipts, "receipts", broker.ReceiptSubject("*"), settleTimeout+redeliveryMargin)
		if err != nil {
			stop(nil)
			return unlessStopped(ctx, err)
		}
		loops.Go(func() {
			pull(ctx, work, c, receiptSlots, d.Log, nil, func(ctx context.Context, m jetstream.Msg, _ func()) { d.receive(ctx, m) })
		})
		for name, ch := range d.Channels {
			if fetches, ok := ch.(channels.Collector); ok {
				loops.Go(func() {
					fetches.Collect(ctx, func(ctx context.Context, rs []channels.Report) error { return d.TakeReports(ctx, name, rs) })
				})
			}
		}
		loops.Go(func() { d.sweepNowAndThen(ctx) })
		loops.Go(func() { d.watchClock(ctx) })
		loops.Go(func() { d.reportWeather(ctx) })
	}
	defer d.publishWeather(context.WithoutCancel(ctx), time.Time{})
	done := make(chan struct{})
	go func() { loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(d.Grace):
			stop(errShutdown)
			select {
			case <-done:
			case <-time.After(settleTimeout + time.Second):
				return fmt.Errorf("attempts still under way %s after the stop signal", d.Grace)
			}
		}
	}
	return nil
}

// unlessStopped: what fails because of a stop signal is no failure.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watchEvery is a variable for tests in virtual time.
var watchEvery = time.Second

// watchBacklog knows every second how much waits, and keeps room for new events.
func (d *Dispatcher) watchBacklog(ctx context.Context, plan jetstream.Consumer) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if info, err := d.Broker.Stream(broker.Deliveries).Info(ctx); err == nil {
			d.backlog.Store(info.State.Msgs)
			backlogGauge.Set(float64(info.State.Msgs))
		}
		if waiting, err := d.Broker.MakeRoom(ctx, plan); err == nil {
			waitingGauge.Set(float64(waiting))
		} else if ctx.Err() == nil {
			d.Log.Warn("no room could be made for new events", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// planGate waits while the backlog is at its bound.
func (d *Dispatcher) planGate(ctx context.Context) {
	for d.backlog.Load() >= uint64(d.MaxBacklog) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
