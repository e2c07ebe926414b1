package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/consent"
	"github.com/yizhan-dev/yizhan/rules/dailycap"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	wangPhone = "+8613800138000"
	wangMail  = "wang@example.com"
)

func marketing(s string) string { return strings.Replace(s, `"notification"`, `"marketing"`, 1) }

// said records an answer of the person behind an address, now.
func (r *rig) said(address string, state schemas.ConsentState, purpose schemas.Purpose) {
	r.t.Helper()
	c := &schemas.ConsentChange{Tenant: "acme", ConsentWord: schemas.ConsentWord{State: state, Purpose: purpose, Time: time.Now(), How: schemas.ByForm, Text: "会员章程"}}
	if strings.Contains(address, "@") {
		c.Email = address
	} else {
		c.Phone = address
	}
	if ps := c.Check(time.Now()); ps != nil {
		r.t.Fatal(ps)
	}
	if _, err := r.Book().Consents().Record(r.t.Context(), c, "test", time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func TestMarketingNeedsConsentOverEveryChannel(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.publish("invoice", "cold", marketing(wang))
		s := r.story("cold", time.Second)
		r.want(s, "mail suppressed 0, sms suppressed 0")
		for _, d := range s.Deliveries {
			if d.Cause == nil || d.Cause.Code != "rule-1" || len(d.Cause.Hits) != 1 || d.Cause.Hits[0].Rule != "1" || !strings.Contains(d.Cause.Hits[0].Advice.En, "yizhan consent import") {
				t.Errorf("%s: %+v", d.Channel, d.Cause)
			}
		}
		r.said(wangPhone, schemas.OptedIn, "marketing")
		r.publish("invoice", "agreed", marketing(wang))
		r.want(r.story("agreed", time.Second), "mail suppressed 0, sms accepted 1") // the mailbox did not agree
		r.said(wangPhone, schemas.OptedOut, "all")
		r.publish("invoice", "refused", wang)
		s = r.story("refused", time.Second)
		r.want(s, "mail accepted 1, sms suppressed 0")
		for _, d := range s.Deliveries {
			if d.Channel == "sms" && d.Cause.Code != "opt-out" {
				t.Errorf("%+v", d.Cause)
			}
		}
		r.publish("login.code", "code", strings.Replace(wang, `"notification"`, `"verification"`, 1))
		r.want(r.story("code", time.Second), "sms accepted 1")
		r.publish("hook", "robot", `{"category":"marketing","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
		r.want(r.story("robot", time.Second), "web accepted 1")
	})
}

// People refuse while the message waits: what was planned is judged again right before the call, at every attempt.
func TestARefusalBetweenPlanningAndSending(t *testing.T) {
	inVirtualTime(t, book+"guards: {daily_cap: {limit: 1}}\n", func(r *rig) {
		r.said(wangPhone, schemas.OptedIn, "marketing")
		r.said(wangMail, schemas.OptedIn, "marketing")
		later := strings.Replace(marketing(wang), `"template"`, `"not_before":"`+time.Now().Add(30*time.Minute).Format(time.RFC3339)+`","template"`, 1)
		r.publish("login.code", "a", later)
		r.want(r.story("a", time.Second), "sms held 0")
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "email", Code: "421", Class: channels.Temporary, After: time.Hour}
		}
		r.publish("alarm", "b", marketing(wang))
		r.want(r.story("b", time.Second), "mail held 1")
		r.said(wangPhone, schemas.OptedOut, "marketing")
		r.said(wangMail, schemas.OptedOut, "marketing")
		r.want(r.story("a", time.Hour), "sms suppressed 0")
		r.want(r.story("b", time.Hour), "mail suppressed 1")
		if len(r.sms.times()) != 0 || len(r.mail.times()) != 1 {
			t.Errorf("calls: sms %d, mail %d", len(r.sms.times()), len(r.mail.times()))
		}
		// What was refused took no place in the daily cap.
		r.publish("login.code", "c", wang)
		r.want(r.story("c", time.Second), "sms accepted 1")
	})
}

// A place in the cap that a first attempt took is given back when the person refuses before the second.
func TestARefusalGivesThePlaceInTheCapBack(t *testing.T) {
	inVirtualTime(t, book+"guards: {daily_cap: {limit: 1}}\n", func(r *rig) {
		r.said(wangPhone, schemas.OptedIn, "marketing")
		r.sms.answer = func(_ context.Context, d *schemas.Delivery, n int) error {
			if d.Event.ID == "ad" && n == 1 { // no answer; asked, the provider knows nothing of it
				return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true}
			}
			return nil
		}
		r.publish("login.code", "ad", marketing(wang))
		r.want(r.story("ad", time.Minute), "sms uncertain 1")
		r.said(wangPhone, schemas.OptedOut, "marketing")
		r.want(r.story("ad", time.Hour), "sms suppressed 1")
		r.publish("login.code", "notice", wang)
		r.want(r.story("notice", time.Second), "sms accepted 1")
	})
}

// outage is a store that cannot be reached while it is down.
type outage struct {
	rules.Store
	mu   sync.Mutex
	down bool
}

func (o *outage) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return nil, 0, errors.New("no answer")
	}
	return o.Store.Load(ctx, key)
}

func (o *outage) set(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

func TestWithoutTheRecordsMarketingWaits(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.said(wangPhone, schemas.OptedIn, "marketing")
		r.said(wangMail, schemas.OptedIn, "marketing")
		store := &outage{Store: r.env().Consents, down: true}
		env := r.env()
		env.Consents = store
		bk, err := rules.Load([]byte(book), guards(), reservers(), env)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBook(bk)
		r.publish("invoice", "ad", marketing(wang))
		s := r.story("ad", 3*time.Second)
		r.want(s, "mail held 0, sms held 0")
		for _, d := range s.Deliveries {
			if d.Cause == nil || d.Cause.Code != "consent-unavailable" || d.Cause.En == "" {
				t.Errorf("%+v", d.Cause)
			}
		}
		r.publish("login.code", "code", strings.Replace(wang, `"notification"`, `"verification"`, 1))
		r.want(r.story("code", time.Second), "sms accepted 1") // never asks
		store.set(false)
		r.want(r.story("ad", time.Minute), "mail accepted 1, sms accepted 1")
	})
}

// Two pods share the records: what one records, the other obeys, and of writes at once none is lost.
func TestTwoPodsShareConsents(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		other, err := rules.Load([]byte(book), guards(), reservers(), r.env())
		if err != nil {
			t.Fatal(err)
		}
		pods := []rules.ConsentKeeper{r.Book().Consents(), other.Consents()}
		var all sync.WaitGroup
		now := time.Now()
		for i := range 12 {
			all.Go(func() {
				c := &schemas.ConsentChange{Tenant: "acme", Phone: wangPhone, ConsentWord: schemas.ConsentWord{
					State: schemas.OptedIn, Purpose: "marketing", Time: now.Add(-time.Duration(i+1) * time.Hour), How: schemas.ByForm, Text: fmt.Sprint("版本 ", i),
				}}
				if i == 7 { // the refusal is the last word
					c.State, c.Time = schemas.OptedOut, now
				}
				if _, err := pods[i%2].Record(context.Background(), c, "test", now); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		c, err := pods[1].Consent(r.t.Context(), "acme", wangPhone)
		if err != nil || len(c.History) != 12 || c.States[schemas.Marketing].State != schemas.OptedOut {
			t.Fatalf("%+v, %v", c, err)
		}
		r.publish("login.code", "ad", marketing(wang))
		r.want(r.story("ad", time.Second), "sms suppressed 0")
	})
}

func TestConsentsAreListedByTenant(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		time.Sleep(time.Second) // a dispatcher that is stopped while it starts leaves its fetches behind
		k := r.Book().Consents()
		for i := range 30 {
			c := &schemas.ConsentChange{Tenant: []string{"acme", "beta"}[i%2], Phone: fmt.Sprintf("+86138001380%02d", i), ConsentWord: schemas.ConsentWord{
				State: schemas.OptedOut, Purpose: "all", Time: time.Now(), How: schemas.ByReply, Text: "R",
			}}
			if _, err := k.Record(r.t.Context(), c, "test", time.Now()); err != nil {
				t.Error(err)
			}
		}
		count, from := 0, uint64(0)
		if err := k.Consents(r.t.Context(), "beta", 0, func(c *schemas.Consent, cursor uint64) bool {
			if count++; c.Tenant != "beta" {
				t.Errorf("%s in the list of beta", c.Tenant)
			}
			from = cursor
			return count < 10
		}); err != nil {
			t.Error(err)
		}
		if err := k.Consents(r.t.Context(), "beta", from, func(*schemas.Consent, uint64) bool { count++; return true }); err != nil {
			t.Error(err)
		}
		if count != 16 { // the one at the cursor comes again
			t.Errorf("%d records, want 15 and one twice", count)
		}
		info, err := r.Broker.Stream(broker.Consents).Info(r.t.Context(), jetstream.WithSubjectFilter("yz.consent.>"))
		if err != nil || len(info.State.Subjects) != 30 {
			t.Errorf("%+v, %v", info, err)
			return
		}
		for subject := range info.State.Subjects {
			if strings.Contains(subject, "138") {
				t.Errorf("a subject shows a number: %s", subject)
			}
		}
	})
}

// Reservers are asked about every channel now; the cap still counts only what is capped.
func TestMailIsNotCountedAgainstTheCap(t *testing.T) {
	inVirtualTime(t, book+"guards: {daily_cap: {limit: 1}}\n", func(r *rig) {
		for i := range 3 {
			r.publish("alarm", fmt.Sprint(i), wang)
			r.want(r.story(fmt.Sprint(i), time.Second), "mail accepted 1")
		}
		r.publish("login.code", "code", wang)
		r.want(r.story("code", time.Second), "sms accepted 1")
	})
}

func reservers() map[string]rules.ReserverFactory {
	return map[string]rules.ReserverFactory{"consent": consent.New, "daily_cap": dailycap.New}
}
