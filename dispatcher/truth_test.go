package dispatcher_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// course is what happens to one SMS.
type course struct {
	// first is what becomes of the first call; later calls are answered.
	//
	//	answered  taken and answered
	//	lost      taken, and no answer comes
	//	dropped   not taken, and no answer comes
	//	refused   a temporary refusal
	//	killed    the worker dies in the call, before the message is taken
	//	killed-after  the worker dies in the call, after the message is taken
	first string
	truth schemas.State   // what becomes of the message that was taken
	known time.Duration   // after the taking: from then on a query tells the truth
	push  []pushed        // the receipts
	deaf  int             // so many queries fail first
	kills map[string]bool // lines of the log at which the worker dies, once
}

type pushed struct {
	after time.Duration // 0: before the call is answered
	state schemas.State
}

// network is an SMS provider that knows the truth about every message.
type network struct {
	traits channels.Traits
	report func(channels.Report)
	draw   func() *course
	// alarms are the receipts that are still to come.
	alarms sync.WaitGroup

	mu      sync.Mutex
	courses map[string]*course
	taken   map[string][]time.Time
	calls   map[string]int
	asked   map[string]int
}

func (n *network) Traits() channels.Traits { return n.traits }
func (n *network) Close() error            { return nil }

func (n *network) course(id string) *course {
	c := n.courses[id]
	if c == nil {
		c = n.draw()
		n.courses[id] = c
	}
	return c
}

func (n *network) take(id string, c *course) {
	n.taken[id] = append(n.taken[id], time.Now())
	for _, p := range c.push {
		r := channels.Report{DeliveryID: id, MessageID: fmt.Sprint("biz-", len(n.taken[id])), State: p.state}
		if p.state == schemas.Undelivered {
			r.Failure = &channels.Failure{Kind: "sms", Provider: "aliyun-receipt", Code: "MOBILE_NOT_ON_SERVICE", Class: channels.BadTarget}
		}
		n.alarms.Go(func() {
			time.Sleep(p.after)
			n.report(r)
		})
	}
}

func (n *network) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	n.mu.Lock()
	c := n.course(d.ID)
	n.calls[d.ID]++
	what := "answered"
	if n.calls[d.ID] == 1 {
		what = c.first
	}
	if what == "answered" || what == "lost" || what == "killed-after" {
		n.take(d.ID, c)
	}
	id := fmt.Sprint("biz-", len(n.taken[d.ID]))
	n.mu.Unlock()
	switch what {
	case "lost", "dropped":
		<-ctx.Done()
		return channels.Receipt{}, noAnswer()
	case "refused":
		return channels.Receipt{}, &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isp.SYSTEM_ERROR", Class: channels.Temporary}
	case "killed", "killed-after":
		runtime.Goexit()
	}
	return channels.Receipt{ID: id}, pause(ctx, 100*time.Millisecond) // an early receipt is faster
}

func (n *network) Lookup(_ context.Context, d *schemas.Delivery, _ time.Time) (channels.Lookup, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, at := n.course(d.ID), n.taken[d.ID]
	n.asked[d.ID]++
	switch {
	case n.asked[d.ID] <= c.deaf:
		return channels.Lookup{}, &channels.Failure{Kind: "sms", Code: "Throttling.User", Class: channels.Throttled}
	case len(at) == 0:
		return channels.Lookup{}, nil
	case time.Since(at[0]) < c.known:
		return channels.Lookup{Found: true, State: schemas.Accepted}, nil
	}
	l := channels.Lookup{Found: true, State: c.truth}
	if c.truth == schemas.Undelivered {
		l.Failure = &channels.Failure{Kind: "sms", Provider: "aliyun-receipt", Code: "MOBILE_NOT_ON_SERVICE", Class: channels.BadTarget}
	}
	return l, nil
}

// killer is a log at which workers die: between a call and its record, between a record and its effect.
type killer struct {
	zapcore.LevelEnabler
	n *network
}

func (k killer) With([]zapcore.Field) zapcore.Core { return k }
func (k killer) Sync() error                       { return nil }
func (k killer) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, k)
}

func (k killer) Write(e zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if f.Key != "delivery" {
			continue
		}
		k.n.mu.Lock()
		c := k.n.courses[f.String]
		die := c != nil && c.kills[e.Message]
		if die {
			delete(c.kills, e.Message)
		}
		k.n.mu.Unlock()
		if die {
			runtime.Goexit()
		}
	}
	return nil
}

// withNetwork runs f with a dispatcher whose SMS go to a network that draws its courses from draw.
func withNetwork(t *testing.T, slots int, draw func() *course, f func(r *rig, n *network)) {
	var n *network
	withReceipts(t, receiptBook, func(r *rig) {
		traits := r.sms.traits
		traits.Slots = slots
		n = &network{
			traits: traits, draw: draw, courses: map[string]*course{}, taken: map[string][]time.Time{}, calls: map[string]int{}, asked: map[string]int{},
			report: func(rep channels.Report) { r.push("sms", rep) },
		}
		r.Channels["sms"] = n
		r.Retry.MaxAge = 5 * time.Hour
		r.Log = zap.New(killer{zap.InfoLevel, n})
	}, func(r *rig) { f(r, n) })
}

// publishMany publishes events to numbers of their own.
func (r *rig) publishMany(count int) {
	r.t.Helper()
	for i := range count {
		data := strings.Replace(wang, "13800138000", fmt.Sprint(13800000000+i), 1)
		body := fmt.Sprintf(`{"specversion":"1.0","id":"e%d","source":"/erp","type":"invoice","tenant":"acme","data":%s}`, i, data)
		if _, err := r.Broker.Publish(r.t.Context(), &nats.Msg{Subject: "yz.event.acme.invoice", Data: []byte(body)}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// last reads the last record of every delivery.
func (r *rig) last() map[string]*ledger.Record {
	r.t.Helper()
	c, err := r.Broker.JS.CreateConsumer(r.t.Context(), broker.Ledger, jetstream.ConsumerConfig{
		FilterSubject: "yz.ledger.delivery.>", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]*ledger.Record{}
	for left := int(c.CachedInfo().NumPending); left > 0; {
		batch, err := c.Fetch(min(left, 500), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			r.t.Fatal(err)
		}
		for m := range batch.Messages() {
			left--
			rec := new(ledger.Record)
			if err := json.Unmarshal(m.Data(), rec); err != nil {
				r.t.Fatal(err)
			}
			out[m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]] = rec
		}
		if batch.Error() != nil {
			r.t.Fatal(batch.Error())
		}
	}
	return out
}

// truthful checks after everything: no SMS taken twice, every one in its true state, nothing left.
func (n *network) truthful(r *rig, count int) {
	r.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	last := r.last()
	if len(n.courses) != count {
		r.t.Errorf("%d SMS were tried, want %d", len(n.courses), count)
	}
	for id, c := range n.courses {
		rec := last[id]
		switch {
		case len(n.taken[id]) != 1:
			r.t.Errorf("%s taken %d times: %+v", id, len(n.taken[id]), *c)
		case rec == nil || rec.State != c.truth:
			r.t.Errorf("%s ended as %+v, the truth is %+v", id, rec, *c)
		case rec.Open():
			r.t.Errorf("%s is still open: %+v", id, rec)
		}
	}
	if d, w := r.waiting(broker.Deliveries), r.waiting(broker.Receipts); d != 0 || w != 0 {
		r.t.Errorf("%d deliveries and %d receipts still wait", d, w)
	}
	if p, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || p.Total != 0 {
		r.t.Errorf("%d dead letters, %v", p.Total, err)
	}
}

// Whatever happens to calls, receipts, queries and workers: no SMS is taken twice, each delivery ends in exactly one
// state, and in the true one.
func TestEveryDeliveryEndsInItsTrueState(t *testing.T) {
	const count = 60
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			some := func(p float64) bool { return rnd.Float64() < p }
			draw := func() *course {
				c := &course{
					first: []string{"answered", "answered", "lost", "dropped", "refused", "killed", "killed-after"}[rnd.IntN(7)],
					truth: []schemas.State{schemas.Delivered, schemas.Delivered, schemas.Undelivered}[rnd.IntN(3)],
					known: time.Duration(rnd.IntN(600)) * time.Second, deaf: rnd.IntN(3), kills: map[string]bool{},
				}
				delays := []time.Duration{0, time.Second, 20 * time.Second, 45 * time.Second, 3 * time.Minute, 20 * time.Minute, 4 * time.Hour}
				for range rnd.IntN(4) { // also none; several are duplicates, in any order
					c.push = append(c.push, pushed{delays[rnd.IntN(len(delays))], c.truth})
				}
				if c.truth == schemas.Delivered && some(.2) { // one part of the carrier's network had given up already
					c.push = append(c.push, pushed{delays[rnd.IntN(len(delays))], schemas.Undelivered}, pushed{4 * time.Hour, schemas.Delivered})
				}
				for _, line := range []string{"attempt", "asked", "receipt", "receipt missing"} {
					if some(.25) {
						c.kills[line] = true
					}
				}
				return c
			}
			withNetwork(t, 16, draw, func(r *rig, n *network) {
				r.publishMany(count)
				time.Sleep(6 * time.Hour)
				n.alarms.Wait()
				n.truthful(r, count)
				mails := map[string]int{}
				r.mail.mu.Lock()
				for _, c := range r.mail.calls {
					mails[c.id]++
				}
				r.mail.mu.Unlock()
				for id, times := range mails {
					if times > 1 {
						t.Errorf("the mail %s went %d times", id, times)
					}
				}
				for _, c := range n.courses {
					if c.truth == schemas.Undelivered && len(mails) == 0 {
						t.Error("no mail took over from what was not delivered")
					}
				}
			})
		})
	}
}

// 10,000 SMS (see manySMS), of which 5 % are taken without an answer and 5 % never get a receipt.
func TestManySMS(t *testing.T) {
	const count = manySMS
	rnd := rand.New(rand.NewPCG(1, 2))
	lost, silent := 0, 0
	draw := func() *course {
		c := &course{first: "answered", truth: schemas.Delivered, known: 10 * time.Second}
		if rnd.Float64() < .1 {
			c.truth = schemas.Undelivered
		}
		if rnd.Float64() < .05 {
			c.first = "lost"
			lost++
		}
		if rnd.Float64() < .05 {
			silent++
			return c
		}
		c.push = []pushed{{time.Duration(1+rnd.IntN(16)) * 15 * time.Second, c.truth}} // queries are faster than some
		return c
	}
	withNetwork(t, 64, draw, func(r *rig, n *network) {
		r.publishMany(count)
		time.Sleep(30 * time.Minute)
		n.alarms.Wait()
		n.truthful(r, count)
		asked := 0
		for _, times := range n.asked {
			asked += times
		}
		t.Logf("%d SMS, %d without an answer, %d without a receipt: none taken twice, %d queries", count, lost, silent, asked)
		if lost < count/25 || silent < count/25 {
			t.Errorf("only %d lost answers and %d lost receipts", lost, silent)
		}
	})
}
