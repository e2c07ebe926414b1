package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

func refused(context.Context, *schemas.Delivery, int) error {
	return &channels.Failure{Kind: "email", Code: "550 5.1.1", Class: channels.BadTarget}
}

func TestReplayKeepsALetterWhoseChannelIsGone(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = refused
		r.publish("alarm", "a", strings.Replace(wang, `"phone":"13800138000",`, "", 1))
		time.Sleep(time.Second)
		other := &dispatcher.Dispatcher{ // a pod with another configuration
			Config: r.Config, Broker: r.Broker, Ledger: r.Ledger, Dead: r.Dead, Explain: r.Explain, Log: r.Log,
			Channels: map[string]channels.Channel{"sms": r.sms},
		}
		p, err := other.Replay(r.t.Context(), dispatcher.ReplayRequest{})
		if err != nil || p.Eligible != 0 || p.Refused["no-channel"] != 1 {
			t.Errorf("plan %+v, %v", p, err)
		}
		if page, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || page.Total != 1 {
			t.Errorf("letters %d, %v", page.Total, err)
		}
	})
}

func TestEqualIDsOfTwoSourcesKeepTwoLetters(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		for _, source := range []string{"/a", "/b"} {
			r.publishFrom(source, "nobody.wants.this", "1", wang)
		}
		time.Sleep(time.Second)
		if page, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || page.Total != 2 {
			t.Errorf("letters %d, %v", page.Total, err)
		}
	})
}

func TestADeliveryTooLargeToCarryIsADeadLetter(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		// The html stands once in the mail and again in its alternative over the webhook.
		bk := strings.Replace(book, "send: [mail], fallback: [sms]", "send: [mail], fallback: [web]", 1)
		r.useBook(bk)
		html := strings.Repeat("<p>x</p>", 300<<10/8)
		r.publish("alarm", "a", `{"category":"alert","to":[{"email":"wang@example.com"}],"content":{"subject":"s","text":"t","html":"`+html+`"}}`)
		s := r.story("a", 5*time.Second)
		if len(s.Deliveries) != 1 || s.Deliveries[0].State != schemas.Dead && s.Deliveries[0].State != schemas.Accepted {
			t.Fatalf("%+v", s)
		}
		info, err := r.Broker.Stream(broker.Ledger).Info(r.t.Context())
		if err != nil || info.State.Msgs > 6 {
			t.Errorf("%d records for one event, %v", info.State.Msgs, err)
		}
	})
}

func TestRecallAlsoClosesTheFallback(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = func(ctx context.Context, d *schemas.Delivery, n int) error {
			time.Sleep(4 * time.Second)
			return refused(ctx, d, n)
		}
		r.publish("alarm", "a", wang)
		time.Sleep(500 * time.Millisecond) // the call is under way
		if _, err := r.Recall(r.t.Context(), "acme", "/erp", "a", "erp"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if len(r.sms.times()) != 0 {
			t.Error("the fallback went out after the recall")
		}
	})
}

func TestARecallInterruptedBeforeTheScheduleWasGone(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		later := strings.Replace(wang, `"template"`, `"not_before":"`+time.Now().Add(30*time.Minute).Format(time.RFC3339)+`","template"`, 1)
		r.publish("alarm", "a", later)
		time.Sleep(time.Second)
		subject := ledger.Subject("acme", r.hasher.Hash("wang@example.com"), schemas.DeliveryID("acme", "/erp", "a", "wang@example.com", "mail"))
		_, seq, err := r.Ledger.Last(r.t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Ledger.Put(r.t.Context(), subject, &ledger.Record{Time: time.Now(), State: schemas.Cancelled, Step: ledger.StepRecall}, seq); err != nil {
			t.Fatal(err)
		}
		r.want(r.story("a", time.Hour), "mail cancelled 0")
		if len(r.mail.times()) != 0 {
			t.Error("a cancelled delivery was sent by its schedule")
		}
	})
}
