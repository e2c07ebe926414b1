package dispatcher_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Every call is counted once, under the class by which it was decided; who has nothing to tell publishes nothing.
func TestCallsMakeTheWeather(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		station := &weather.Station{B: r.Broker}
		published := func() uint64 {
			info, err := r.Broker.Stream(broker.Stats).Info(r.t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return info.State.Msgs
		}
		time.Sleep(2 * time.Hour)
		if n := published(); n != 0 {
			t.Errorf("an idle pod published %d summaries", n)
		}
		r.mail.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			time.Sleep(300 * time.Millisecond)
			if n < 3 {
				return &channels.Failure{Kind: "email", Provider: "generic", Code: "421 4.3.2", Class: channels.Temporary, Line: "421 4.3.2 shutting down"}
			}
			return nil
		}
		r.publish("invoice", "a", wang)
		r.want(r.story("a", 25*time.Minute), "mail accepted 3, sms accepted 1")
		all, err := station.Now(r.t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		mail, sms := all["mail"].Hour, all["sms"].Hour
		if !maps.Equal(mail.Outcomes, map[string]int{weather.OK: 1, "temporary": 2}) || sms.Calls != 1 || sms.OK != 1 {
			t.Errorf("mail %+v, sms %+v", mail.Outcomes, sms.Outcomes)
		}
		if len(mail.Causes) != 1 || mail.Causes[0].Code != "421 4.3.2" || mail.Causes[0].Count != 2 || mail.P50 < 200*time.Millisecond || mail.P50 > 450*time.Millisecond {
			t.Errorf("%+v, p50 %s", mail.Causes, mail.P50)
		}
		if n := published(); n < 2 || n > 4 { // a summary for each channel and minute with calls
			t.Errorf("%d summaries", n)
		}
		queued, held, err := r.Queues(r.t.Context())
		if err != nil || held != 0 || queued["mail"] != 0 {
			t.Errorf("%v, %d held, %v", queued, held, err)
		}
		// What waits for an instant is held, of whichever channel.
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "email", Provider: "generic", Code: "432 4.3.2", Class: channels.Throttled, After: time.Hour}
		}
		r.publish("alarm", "b", wang)
		time.Sleep(time.Minute)
		if queued, held, err = r.Queues(r.t.Context()); err != nil || held != 1 || queued["mail"] != 0 {
			t.Errorf("%v, %d held, %v", queued, held, err)
		}
	})
}

// A pod that ends tells what it saw in its last minute.
func TestTheLastMinuteIsTold(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.publish("login.code", "a", wang)
		r.want(r.story("a", time.Second), "sms accepted 1")
		r.stop()
		all, err := (&weather.Station{B: r.Broker}).Now(r.t.Context(), time.Now())
		if err != nil || all["sms"].Hour.OK != 1 {
			t.Errorf("%+v, %v", all, err)
		}
		r.start()
	})
}

// stopped is a channel with a breaker of its own, which is open.
type stopped struct{ *far }

func (stopped) Broken() []channels.Broken {
	return []channels.Broken{{Destination: "erp.example.com", Since: time.Now().Add(-time.Minute), Cause: &channels.Failure{Kind: "webhook", Provider: "generic", Code: "http:503"}}}
}

func TestAnOpenBreakerIsToldWithoutCalls(t *testing.T) {
	inVirtualTimeWith(t, book, dispatcher.Config{}, func(r *rig) { r.Channels["web"] = stopped{r.web} }, func(r *rig) {
		begun := time.Now()
		time.Sleep(15 * time.Minute) // one report, of the minute in which it was stopped
		all, err := (&weather.Station{B: r.Broker}).Now(r.t.Context(), begun.Add(3*time.Minute))
		if err != nil || all["web"].Hour.Calls != 0 || len(all["web"].Broken) != 1 {
			t.Fatalf("%+v, %v", all["web"], err)
		}
		if b := all["web"].Broken[0]; b.Worker != "w1" || b.Destination != "erp.example.com" || b.Cause == nil || b.Cause.Code != "http:503" {
			t.Errorf("%+v", b)
		}
	})
}
