package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// slowCap is a rule with state whose store answers slowly.
type slowCap struct{}

func (slowCap) Concerns(in rules.Input) bool { return in.Capped }
func (slowCap) Reserve(context.Context, rules.Input, string, time.Time) (rules.Verdict, error) {
	time.Sleep(300 * time.Millisecond)
	return rules.Verdict{}, nil
}
func (slowCap) Release(context.Context, rules.Input, string) error { return nil }

// The daily cap is asked after the budget, and a call may start only for a moment after the budget said yes: a broker
// that takes longer than that moment must not hold everything for ever.
func TestASlowDailyCapStopsNoCall(t *testing.T) {
	atGates(t, func(r *rig) {
		r.Rates = map[string]channels.Rate{"sms": {Count: 100, Per: time.Second}}
		bk, err := rules.Load([]byte(gateBook+"guards:\n  daily_cap: {limit: 50}\n"), guards(), map[string]rules.ReserverFactory{
			"daily_cap": func(func(any) error, rules.Env) (rules.Reserver, error) { return slowCap{}, nil },
		}, r.env())
		if err != nil {
			r.t.Fatal(err)
		}
		r.SetBook(bk)
	}, func(r *rig) {
		for i := range 20 {
			r.publish("login.code", fmt.Sprint(i), wang)
		}
		time.Sleep(time.Minute)
		if n := len(r.sms.times()); n != 20 {
			t.Errorf("%d of 20 SMS after a minute", n)
		}
	})
}

// two is a channel of two third parties: the first answers nobody, the other gets what the first is not asked for, as in
// channels/sms. Whenever the channel as a whole has rested, it is the first one's turn.
type two struct {
	*far
	mu    sync.Mutex
	asked []time.Time
}

func (c *two) Members() []channels.Member { return nil }

func (c *two) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	c.mu.Lock()
	n := len(c.asked)
	first := n < 5 || time.Since(c.asked[n-1]) > 4*time.Second
	if first {
		c.asked = append(c.asked, time.Now())
	}
	c.mu.Unlock()
	if first {
		return channels.Receipt{}, &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true}
	}
	return c.far.Send(ctx, d)
}

func TestOneBrokenProviderDoesNotStopTheOther(t *testing.T) {
	atGates(t, func(r *rig) { r.Channels["sms"] = &two{far: r.sms} }, func(r *rig) {
		for i := range 200 {
			r.publish("login.code", fmt.Sprint(i), strings.ReplaceAll(wang, "13800138000", fmt.Sprintf("138%08d", i)))
			time.Sleep(500 * time.Millisecond)
		}
		if n := len(r.sms.times()); n < 150 {
			t.Errorf("the working provider got %d of 200 SMS: %+v", n, r.Dispatcher.Broken("sms"))
		}
	})
}

// Each of those that went together keeps its own failure: they are settled at the same time (-race).
func TestAJoinedFailureIsEachOnesOwn(t *testing.T) {
	bot := &robot{budget: channels.Budget{Key: "robot:1", Rate: channels.Rate{Count: 2, Per: time.Second}}}
	var mu sync.Mutex
	throttled := 0
	atGates(t, func(r *rig) {
		bot.far = r.web
		bot.answer = func(_ context.Context, d *schemas.Delivery, _ int) error {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(d.Message.Text, "\n") && throttled < 3 {
				throttled++
				return &channels.Failure{Kind: "webhook", Provider: "nobody", Code: "x-unheard-of", Class: channels.Throttled, Line: "x-unheard-of"}
			}
			return nil
		}
		r.Channels["web"] = bot
	}, func(r *rig) {
		for i := range 40 {
			r.publish("hook", fmt.Sprint(i), fmt.Sprintf(`{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"alert-%d"}}`, i))
		}
		time.Sleep(5 * time.Minute)
		mu.Lock()
		if throttled == 0 {
			t.Error("nothing was joined")
		}
		mu.Unlock()
		for i := range 40 {
			r.want(r.story(fmt.Sprint(i), 0), "web accepted 1")
		}
	})
}

// Asked in vain about a missing receipt, the ledger still knows the third party's id: by it a later receipt finds the
// delivery, and one of another submission is told apart.
func TestALateReceiptFindsItsMessageByTheThirdPartysID(t *testing.T) {
	withReceipts(t, receiptBook, func(r *rig) {
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) { return channels.Lookup{}, nil }
	}, func(r *rig) {
		r.publish("invoice", "a", wang)
		r.want(r.story("a", 20*time.Minute), "sms accepted 1")
		other := undelivered("a")
		other.MessageID = "receipt-0"
		r.push("sms", other)
		r.want(r.story("a", time.Minute), "sms accepted 1")
		late := channels.Report{MessageID: "receipt-1", Phone: "+8613800138000", State: schemas.Delivered, At: time.Now()}
		r.push("sms", late)
		s := r.story("a", time.Minute)
		r.want(s, "sms delivered 1")
		r.closed(s)
	})
}

// A receipt that names only the third party's id may be faster than the record that holds this id.
func TestAnEarlyReceiptByTheThirdPartysIDIsNotLost(t *testing.T) {
	withReceipts(t, receiptBook, func(r *rig) {
		r.sms.answer = func(ctx context.Context, _ *schemas.Delivery, _ int) error {
			early := channels.Report{MessageID: "receipt-1", Phone: "+8613800138000", State: schemas.Delivered, At: time.Now()}
			if err := r.TakeReports(ctx, "sms", []channels.Report{early}); err != nil {
				t.Error(err)
			}
			return pause(ctx, 2*time.Second)
		}
	}, func(r *rig) {
		r.publish("invoice", "a", wang)
		s := r.story("a", time.Minute)
		r.want(s, "sms delivered 1")
		r.closed(s)
		r.push("sms", channels.Report{MessageID: "somebody-elses", Phone: "+8613800138000", State: schemas.Delivered, At: time.Now()})
		r.closed(r.story("a", time.Minute))
	})
}

// Those who wait for a hanging robot's call together take no room from the hanging destinations of other channels.
func TestAHangingRobotLeavesTheSlowLaneToOthers(t *testing.T) {
	bot := &robot{budget: channels.Budget{Key: "robot:1", Rate: channels.Rate{Count: 20, Per: time.Minute}}}
	begun := time.Time{}
	atGates(t, func(r *rig) {
		begun = time.Now()
		r.web.traits.Idempotent = false
		bot.far = r.web
		bot.answer = func(ctx context.Context, _ *schemas.Delivery, _ int) error {
			if time.Since(begun) < 30*time.Second {
				return nil
			}
			<-ctx.Done()
			return &channels.Failure{Kind: "webhook", Code: "net:timeout-response", Class: channels.Temporary, Maybe: true}
		}
		r.Channels["web"], r.Channels["mail"] = bot, partners{r.mail}
		r.mail.answer = func(ctx context.Context, d *schemas.Delivery, _ int) error {
			if !strings.HasPrefix(d.Event.ID, "hangs") {
				return nil
			}
			<-ctx.Done()
			return &channels.Failure{Kind: "email", Code: "net:timeout-response", Class: channels.Temporary, Maybe: true}
		}
	}, func(r *rig) {
		for i := range 600 {
			r.publish("hook", fmt.Sprint(i), fmt.Sprintf(`{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"alert-%d"}}`, i))
		}
		for len(bot.times()) < 28 { // eight calls hang
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 8 {
			r.publish("mails", fmt.Sprintf("hangs%d/1", i), wang)
		}
		time.Sleep(4 * time.Second)
		for i := range 20 {
			r.publish("mails", fmt.Sprintf("works%d/1", i), wang)
		}
		for i := range 20 {
			wait := time.Duration(0)
			if i == 0 {
				wait = 2 * time.Second
			}
			r.want(r.story(fmt.Sprintf("works%d/1", i), wait), "mail accepted 1")
		}
	})
}

// A recall that comes while nobody knows what became of the call stops the next one.
func TestARecalledDoubtIsNotSentAgain(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{
		"no answer": func(context.Context) error { return noAnswer() },
		"refused after the recall": func(ctx context.Context) error {
			if err := pause(ctx, 5*time.Second); err != nil {
				return err
			}
			return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isp.SYSTEM_ERROR", Class: channels.Temporary}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, book, func(r *rig) {
				r.sms.answer = func(ctx context.Context, _ *schemas.Delivery, n int) error {
					if n == 1 {
						return answer(ctx)
					}
					return nil
				}
				r.publish("login.code", "a", wang)
				time.Sleep(3 * time.Second)
				if got, err := r.Recall(r.t.Context(), "acme", "/erp", "a", "erp"); err != nil || got.TooLate != 1 {
					t.Fatalf("recalled %+v, %v", got, err)
				}
				r.want(r.story("a", time.Hour), "sms cancelled 1")
				if n := len(r.sms.times()); n != 1 {
					t.Errorf("sent %d times", n)
				}
			})
		})
	}
}
