package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/expiry"
	"github.com/yizhan-dev/yizhan/rules/quiet"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestMain(m *testing.M) {
	dispatcher.Idle()
	ats.Register() // the server's clock goroutine stays outside the bubbles
	os.Exit(m.Run())
}

// far is a third party in the test's hands.
type far struct {
	traits channels.Traits
	mu     sync.Mutex
	// answer decides each call; nil accepts.
	answer func(ctx context.Context, d *schemas.Delivery, n int) error
	lookup func(d *schemas.Delivery, n int) (channels.Lookup, error)
	// attached is what the receipts say of files.
	attached []channels.Attached
	calls    []call
	asked    int
}

type call struct {
	id, to string
	at     time.Time
}

func (f *far) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	f.mu.Lock()
	n := 1
	for _, c := range f.calls {
		if c.id == d.ID {
			n++
		}
	}
	f.calls = append(f.calls, call{d.ID, d.To.Phone + d.To.Email, time.Now()})
	f.mu.Unlock()
	if f.answer != nil {
		if err := f.answer(ctx, d, n); err != nil {
			return channels.Receipt{}, err
		}
	}
	return channels.Receipt{ID: fmt.Sprintf("receipt-%d", n), Reply: "OK", Attachments: f.attached}, nil
}
func (f *far) Traits() channels.Traits { return f.traits }
func (f *far) Close() error            { return nil }

func (f *far) Lookup(_ context.Context, d *schemas.Delivery, _ time.Time) (channels.Lookup, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.lookup == nil {
		return channels.Lookup{}, nil
	}
	return f.lookup(d, f.asked)
}

func (f *far) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ts []time.Time
	for _, c := range f.calls {
		ts = append(ts, c.at)
	}
	return ts
}

func (f *far) questions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

type rig struct {
	*dispatcher.Dispatcher
	t              testing.TB
	sms, mail, web *far
	logs           *observer.ObservedLogs
	hasher         broker.Hasher
	stop           func()
}

const book = `
routes:
  - {name: code, when: 'event.type == "login.code"', send: [sms]}
  - {name: both, when: 'event.type == "invoice"', send: [sms, mail], fallback: [mail]}
  - {name: alarm, when: 'event.type == "alarm"', send: [mail], fallback: [sms]}
  - {name: hook, when: 'event.type == "hook"', send: [web]}
templates:
  hello:
    sms: {code: SMS_1, params: [name], text: "你好${name}"}
    mail: {subject: "你好", text: "你好 {{.name}}"}
`

func guards() map[string]rules.GuardFactory {
	return map[string]rules.GuardFactory{"signature": signature.New, "expiry": expiry.New, "quiet_hours": quiet.New}
}

// inVirtualTime runs f with a whole dispatcher on a real embedded JetStream whose clock is the bubble's.
func inVirtualTime(t *testing.T, rulesYAML string, f func(r *rig)) {
	inVirtualTimeWith(t, rulesYAML, dispatcher.Config{Retry: dispatcher.Policy{Attempts: 6, MaxAge: time.Hour}}, nil, f)
}

// inVirtualTimeWith lets the test change the rig before it starts.
func inVirtualTimeWith(t *testing.T, rulesYAML string, cfg dispatcher.Config, change, f func(r *rig)) {
	dir := t.TempDir()
	runtime.GC() // nats.go pools timers, and a timer must not cross bubbles
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, rulesYAML, cfg)
		if change != nil {
			change(r)
		}
		r.start()
		f(r)
		r.stop()
		r.Broker.Close()
	})
}

func newRig(t testing.TB, dir, rulesYAML string, cfg dispatcher.Config) *rig {
	core, logs := observer.New(zap.DebugLevel)
	log := zap.New(core)
	bc := broker.Config{DataDir: dir, Sync: "1h"} // a sync every second makes virtual hours long
	bc.Defaults()
	b, err := broker.Open(t.Context(), bc, log)
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.Hasher(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, logs: logs, hasher: h}
	r.sms = &far{traits: channels.Traits{Kind: "sms", Provider: "aliyun", Address: channels.Phone, Once: true, Capped: true, Signature: "华星科技", Slots: 8, Timeout: 10 * time.Second}}
	r.mail = &far{traits: channels.Traits{Kind: "email", Address: channels.Email, Slots: 4, Timeout: 10 * time.Second}}
	r.web = &far{traits: channels.Traits{Kind: "webhook", Address: channels.None, Idempotent: true, Slots: 4, Timeout: 10 * time.Second}}
	cfg.Defaults()
	cfg.Retry.Jitter = 1e-9
	r.Dispatcher = &dispatcher.Dispatcher{
		Config: cfg, Broker: b, Ledger: &ledger.Ledger{B: b, Hasher: h}, Dead: &deadletter.Store{B: b},
		Channels: map[string]channels.Channel{"sms": r.sms, "mail": r.mail, "web": r.web},
		Explain:  explain.Default().Explain, Log: log, Worker: "w1",
	}
	r.useBook(rulesYAML)
	if err := r.Book().Check(map[string]string{"sms": "sms", "mail": "email", "web": "webhook"}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) useBook(text string) {
	r.t.Helper()
	bk, err := rules.Load([]byte(text), guards(), reservers(), r.env())
	if err != nil {
		r.t.Fatal(err)
	}
	r.SetBook(bk)
}

func (r *rig) env() rules.Env {
	return rules.Env{Caps: broker.CapStore{B: r.Broker, Hasher: r.hasher}, Consents: broker.ConsentStore{B: r.Broker, Hasher: r.hasher}}
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, true, true) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) publish(typ, id, data string) { r.t.Helper(); r.publishFrom("/erp", typ, id, data) }

func (r *rig) publishFrom(source, typ, id, data string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":%q,"tenant":"acme","data":%s}`, id, source, typ, data)
	if _, err := r.Broker.Publish(r.t.Context(), &nats.Msg{Subject: "yz.event.acme." + typ, Data: []byte(body)}); err != nil {
		r.t.Fatal(err)
	}
}

const wang = `{"category":"notification","to":[{"name":"王芳","phone":"13800138000","email":"wang@example.com"}],"template":"hello","params":{"name":"王芳"}}`

// story waits in virtual time and tells what became of the event.
func (r *rig) story(id string, wait time.Duration) ledger.Story {
	r.t.Helper()
	time.Sleep(wait) // the bubble's clock
	s, err := r.Ledger.Stories(r.t.Context(), "acme", "/erp", id, "en", r.Explain)
	if err != nil || len(s) != 1 {
		r.t.Fatalf("story of %s: %d, %v", id, len(s), err)
	}
	return s[0]
}

func states(s ledger.Story) string {
	var out []string
	for _, d := range s.Deliveries {
		out = append(out, fmt.Sprintf("%s %s %d", d.Channel, d.State, d.Attempts))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (r *rig) want(s ledger.Story, want string) {
	r.t.Helper()
	if got := states(s); got != want {
		r.t.Errorf("%s: got %s, want %s\n%+v", s.ID, got, want, s.Deliveries)
	}
}

func TestOneEventReachesTwoChannelsOnce(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		for range 5 { // the same event again and again
			r.publish("invoice", "a", wang)
		}
		r.want(r.story("a", time.Second), "mail accepted 1, sms accepted 1")
		if len(r.sms.times()) != 1 || len(r.mail.times()) != 1 {
			t.Errorf("calls: sms %d, mail %d", len(r.sms.times()), len(r.mail.times()))
		}
		time.Sleep(10 * time.Minute) // long after the broker's duplicate window
		r.publish("invoice", "a", wang)
		time.Sleep(time.Second)
		if len(r.sms.times()) != 1 || len(r.mail.times()) != 1 {
			t.Errorf("later: sms %d, mail %d", len(r.sms.times()), len(r.mail.times()))
		}
	})
}

func TestRetriesComeWhenPromised(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			switch {
			case n == 3:
				return &channels.Failure{Kind: "email", Code: "451", Class: channels.Temporary, After: 37 * time.Minute}
			case n < 6:
				return &channels.Failure{Kind: "email", Code: "421", Class: channels.Temporary}
			}
			return nil
		}
		r.publish("invoice", "a", wang)
		s := r.story("a", 3*time.Hour)
		r.want(s, "mail accepted 6, sms accepted 1")
		got := r.mail.times()
		for i, want := range []time.Duration{5 * time.Second, 15 * time.Second, 37 * time.Minute, 135 * time.Second, 405 * time.Second} {
			if d := got[i+1].Sub(got[i]); d < want-time.Millisecond || d > want+50*time.Millisecond {
				t.Errorf("wait %d: %s, want %s", i+1, d, want)
			}
		}
		if len(r.sms.times()) != 1 {
			t.Errorf("the failing mail repeated the SMS: %d", len(r.sms.times()))
		}
	})
}

func TestAttemptsEndInADeadLetterAndFallback(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "email", Code: "421 4.3.2", Class: channels.Temporary, Line: "421 4.3.2 shutting down"}
		}
		r.publish("alarm", "a", wang)
		s := r.story("a", time.Hour)
		r.want(s, "mail dead 6, sms accepted 1")
		page, err := r.Dead.List(r.t.Context(), deadletter.Filter{Channel: "mail"}, 0, 10)
		if err != nil || page.Total != 1 || page.Items[0].Delivery.To.Email != "wang@example.com" {
			t.Fatalf("dead letters: %+v, %v", page, err)
		}
		// The server is mended: plan, then send again; a second replay sends nothing.
		r.mail.answer = nil
		plan, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{Where: "channel=mail"})
		if err != nil || plan.Eligible != 1 || plan.Replayed != 0 {
			t.Fatalf("plan: %+v, %v", plan, err)
		}
		calls := len(r.mail.times())
		q := dispatcher.ReplayRequest{Where: "channel=mail", Confirm: 1, Reason: "server mended", By: "li"}
		if _, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{Where: "channel=mail", Confirm: 2, Reason: "x"}); !errors.Is(err, dispatcher.ErrPlanChanged) {
			t.Errorf("wrong count: %v", err)
		}
		if plan, err = r.Replay(r.t.Context(), q); err != nil || plan.Replayed != 1 {
			t.Fatalf("replay: %+v, %v", plan, err)
		}
		if plan, err = r.Replay(r.t.Context(), dispatcher.ReplayRequest{}); err != nil || plan.Count != 0 {
			t.Errorf("after the replay: %+v, %v", plan, err)
		}
		s = r.story("a", time.Second)
		r.want(s, "mail accepted 1, sms accepted 1")
		if len(r.mail.times()) != calls+1 {
			t.Errorf("replay called %d times", len(r.mail.times())-calls)
		}
	})
}

func TestUncertainIsAskedAboutNotRepeated(t *testing.T) {
	unanswered := &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true}
	for name, c := range map[string]struct {
		lookup func(*schemas.Delivery, int) (channels.Lookup, error)
		wait   time.Duration
		want   string
		calls  int
		asked  int
	}{
		"it had arrived": {func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{Found: true, State: schemas.Delivered, Receipt: channels.Receipt{ID: "b"}}, nil
		}, time.Minute, "sms delivered 1", 1, 1},
		"it had not, so once more": {func(*schemas.Delivery, int) (channels.Lookup, error) { return channels.Lookup{}, nil }, time.Hour, "sms accepted 2", 2, 4},
		"nobody can say": {func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{}, errors.New("query refused")
		}, 30 * time.Minute, "sms uncertain 1", 1, -1},
		"nobody can ever say": {func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{}, errors.New("query refused")
		}, 2 * time.Hour, "sms dead 1", 1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, book, func(r *rig) {
				r.sms.lookup = c.lookup
				r.sms.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
					if n == 1 {
						return unanswered
					}
					return nil
				}
				r.publish("invoice", "a", strings.Replace(wang, `,"email":"wang@example.com"`, "", 1))
				r.want(r.story("a", c.wait), c.want)
				if len(r.sms.times()) != c.calls || c.asked >= 0 && r.sms.questions() != c.asked {
					t.Errorf("calls %d, asked %d", len(r.sms.times()), r.sms.questions())
				}
			})
		})
	}
}

func TestDailyCap(t *testing.T) {
	for over, want := range map[string]string{"dead": "dead", "defer": "held", "divert:mail": "suppressed"} {
		t.Run(over, func(t *testing.T) {
			inVirtualTime(t, book+"guards: {daily_cap: {limit: 5, over: \""+over+"\"}}\n", func(r *rig) {
				r.Retry.MaxAge = 72 * time.Hour
				for i := range 8 {
					r.publish("login.code", fmt.Sprint(i), wang)
				}
				time.Sleep(5 * time.Second)
				count := map[schemas.State]int{}
				for i := range 8 {
					for _, d := range r.story(fmt.Sprint(i), 0).Deliveries {
						if d.Channel == "sms" {
							count[d.State]++
						}
					}
				}
				if count[schemas.Accepted] != 5 || count[schemas.State(want)] != 3 || len(r.sms.times()) != 5 {
					t.Errorf("states %v, calls %d", count, len(r.sms.times()))
				}
				if over == "divert:mail" && len(r.mail.times()) != 3 {
					t.Errorf("diverted to mail: %d", len(r.mail.times()))
				}
				if over == "defer" {
					time.Sleep(25 * time.Hour)
					ts := r.sms.times()
					if len(ts) != 8 || ts[5].Sub(ts[0]) < 24*time.Hour {
						t.Errorf("deferred: %d calls, the sixth after %s", len(ts), ts[len(ts)-1].Sub(ts[0]))
					}
				}
			})
		})
	}
}

func TestARefusedMessageGivesItsPlaceBack(t *testing.T) {
	inVirtualTime(t, book+"guards: {daily_cap: {limit: 1}}\n", func(r *rig) {
		r.sms.answer = func(_ context.Context, d *schemas.Delivery, _ int) error {
			if d.Event.ID == "bad" {
				return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isv.SMS_TEMPLATE_ILLEGAL", Class: channels.Config}
			}
			return nil
		}
		r.publish("login.code", "bad", wang)
		r.want(r.story("bad", time.Second), "sms dead 1")
		r.publish("login.code", "good", wang)
		r.want(r.story("good", time.Second), "sms accepted 1")
	})
}

func TestEventsThatCannotBePlannedAreKept(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.publish("nobody.wants.this", "a", wang)
		if _, err := r.Broker.Publish(r.t.Context(), &nats.Msg{Subject: "yz.event.acme.x", Data: []byte("{not json")}); err != nil {
			t.Fatal(err)
		}
		r.publish("invoice", "no-address", `{"category":"alert","to":[{"webhook":"web"},{"name":"无号","webhook":"nowhere"}],"content":{"text":"hi"}}`)
		time.Sleep(time.Second)
		page, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range page.Items {
			got = append(got, i.Channel+" "+i.Cause.Code)
		}
		slices.Sort(got)
		if want := "event invalid, event no-route, nowhere no-channel"; strings.Join(got, ", ") != want {
			t.Errorf("dead letters %s, want %s", strings.Join(got, ", "), want)
		}
		// The route is added; the event itself is sent again.
		b2, err := rules.Load([]byte(strings.Replace(book, "routes:\n", "routes:\n  - {name: new, when: 'event.type == \"nobody.wants.this\"', send: [mail]}\n", 1)), guards(), map[string]rules.ReserverFactory{}, rules.Env{})
		if err != nil {
			t.Fatal(err)
		}
		r.SetBook(b2)
		if p, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{Where: "cause=no-route", Confirm: 1, Reason: "route added"}); err != nil || p.Replayed != 1 {
			t.Fatalf("replay: %+v, %v", p, err)
		}
		r.want(r.story("a", time.Second), "mail accepted 1")
	})
}

// slow is a guard that takes longer over a text than an event may take to be planned, so many times.
type slow struct {
	mu           sync.Mutex
	left, judged map[string]int // by the text
}

func (g *slow) Judge(in rules.Input) rules.Verdict {
	text := in.Delivery.Message.Text
	g.mu.Lock()
	g.judged[text]++
	late := g.left[text] > 0
	g.left[text]--
	g.mu.Unlock()
	if late {
		time.Sleep(31 * time.Second) // the bubble's clock
	}
	return rules.Verdict{}
}

func (g *slow) times(text string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.judged[text]
}

// TestAnEventThatIsNeverPlannedIsKept: what is too slow for good becomes a dead letter and is not planned for ever;
// what was slow for a while is sent.
func TestAnEventThatIsNeverPlannedIsKept(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		text := func(s string) string {
			return `{"category":"alert","channels":["mail"],"to":[{"email":"a@example.com"}],"content":{"subject":"x","text":"` + s + `"}}`
		}
		g := &slow{left: map[string]int{"stuck": 5, "busy": 4}, judged: map[string]int{}}
		r.useGuard(book, g)
		r.publish("alarm", "stuck", text("stuck"))
		time.Sleep(10 * time.Minute)
		s := r.story("stuck", 0)
		if c := s.Cause; s.State != schemas.Dead || c == nil || c.Code != "planning-timeout" || c.Owner != "operator" || !strings.Contains(c.En, "five times") || c.Zh == "" || g.times("stuck") != 5 {
			t.Errorf("%+v, %+v, judged %d times", s, c, g.times("stuck"))
		}
		r.publish("alarm", "busy", text("busy"))
		r.want(r.story("busy", 10*time.Minute), "mail accepted 1")
		if p, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{Where: "cause=planning-timeout", Confirm: 1, Reason: "lexicon mended"}); err != nil || p.Replayed != 1 {
			t.Fatalf("replay: %+v, %v", p, err)
		}
		r.want(r.story("stuck", time.Second), "mail accepted 1")
	})
}

func TestRecall(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		later := strings.Replace(wang, `"template"`, `"not_before":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`","template"`, 1)
		r.publish("invoice", "a", later)
		r.want(r.story("a", time.Second), "mail held 0, sms held 0")
		got, err := r.Recall(r.t.Context(), "acme", "/erp", "a", "erp")
		if err != nil || got.Cancelled != 2 {
			t.Fatalf("recall: %+v, %v", got, err)
		}
		r.want(r.story("a", 2*time.Hour), "mail cancelled 0, sms cancelled 0")
		if len(r.sms.times())+len(r.mail.times()) != 0 {
			t.Error("a recalled delivery was sent")
		}
		// Recalled before it came.
		if got, err := r.Recall(r.t.Context(), "acme", "/erp", "b", "erp"); err != nil || !got.Pending {
			t.Fatalf("recall ahead: %+v, %v", got, err)
		}
		r.publish("invoice", "b", wang)
		time.Sleep(time.Second)
		if len(r.sms.times())+len(r.mail.times()) != 0 {
			t.Error("an event recalled ahead was sent")
		}
		// Too late.
		r.publish("invoice", "c", wang)
		time.Sleep(time.Second)
		if got, err := r.Recall(r.t.Context(), "acme", "/erp", "c", "erp"); err != nil || got.TooLate != 2 {
			t.Fatalf("late recall: %+v, %v", got, err)
		}
	})
}

func TestAMailWithoutAnAnswerIsRepeatedOnce(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		lost := func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "email", Code: "net:timeout-after-data", Class: channels.Unknown, Maybe: true}
		}
		r.mail.answer = lost
		r.publish("alarm", "a", wang)
		s := r.story("a", 10*time.Minute)
		r.want(s, "mail dead 2, sms accepted 1")
		if len(r.mail.times()) != 2 {
			t.Errorf("%d mails, want 2", len(r.mail.times()))
		}
		// Nobody knows whether it arrived: a replay must be asked for in so many words.
		if p, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{}); err != nil || p.Eligible != 0 || p.Refused["uncertain"] != 1 {
			t.Errorf("plan %+v, %v", p, err)
		}
		// A webhook's receiver knows a repeat by its id.
		r.web.answer = func(ctx context.Context, d *schemas.Delivery, n int) error {
			if n < 4 {
				return lost(ctx, d, n)
			}
			return nil
		}
		r.publish("hook", "b", `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
		r.want(r.story("b", 10*time.Minute), "web accepted 4")
	})
}

func TestAWaitForgetsNoDoubt(t *testing.T) {
	// The bubble begins at 08:00 in Shanghai; the second attempt falls into the quiet hours.
	quietly := book + "guards: {quiet_hours: [{category: alert, allow: \"08:00-08:01\", zone: Asia/Shanghai}]}\n"
	inVirtualTime(t, quietly, func(r *rig) {
		r.Retry.MaxAge = 72 * time.Hour
		r.mail.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			f := &channels.Failure{Kind: "email", Code: "net:timeout-after-data", Class: channels.Unknown, Maybe: true}
			if n == 1 {
				f.After = 2 * time.Minute
			}
			return f
		}
		r.publish("alarm", "a", `{"category":"alert","to":[{"email":"wang@example.com"}],"template":"hello","params":{"name":"王芳"}}`)
		r.want(r.story("a", time.Hour), "mail held 1")
		r.want(r.story("a", 24*time.Hour), "mail dead 2")
		if n := len(r.mail.times()); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

func TestNotBeforeIsNotAge(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		later := strings.Replace(wang, `"template"`, `"not_before":"`+time.Now().Add(2*time.Hour).Format(time.RFC3339)+`","template"`, 1)
		r.publish("alarm", "a", later) // max_age is 1 h here
		r.want(r.story("a", 3*time.Hour), "mail accepted 1")
	})
}

func TestStopHandsOverWhatItCannotFinish(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.Grace = 2 * time.Second
		hang := func(ctx context.Context, _ *schemas.Delivery, n int) error {
			if n > 1 {
				return nil
			}
			<-ctx.Done()
			return &channels.Failure{Kind: "x", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true, Err: ctx.Err()}
		}
		r.mail.answer, r.sms.answer = hang, hang
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{Found: true, State: schemas.Accepted}, nil
		}
		r.publish("invoice", "a", wang)
		time.Sleep(time.Second)
		r.stop()
		r.want(r.story("a", 0), "mail held 0, sms uncertain 1")
		r.start()
		r.want(r.story("a", time.Minute), "mail accepted 1, sms accepted 1")
		if len(r.sms.times()) != 1 || len(r.mail.times()) != 2 {
			t.Errorf("calls: sms %d, mail %d", len(r.sms.times()), len(r.mail.times()))
		}
	})
}

func TestAPanicIsAFailure(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			if n == 1 {
				panic("nil map, 13800138000")
			}
			return nil
		}
		r.publish("alarm", "a", wang)
		r.want(r.story("a", time.Minute), "mail accepted 2")
		for _, e := range r.logs.All() {
			if s := fmt.Sprint(e.ContextMap()); strings.Contains(s, "13800138000") || strings.Contains(s, "wang@example.com") {
				t.Errorf("a log line shows a recipient: %s", s)
			}
		}
	})
}

func TestAWorkerThatDiesLeavesDoubtNotARepeat(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		// What a killed worker leaves: a claim in the ledger and an unanswered copy. It is made here by a
		// claim of another worker that is written between planning and sending.
		r.stop()
		ctx, cancel := context.WithCancel(r.t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, true, false) }()
		r.publish("login.code", "a", wang)
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		id := schemas.DeliveryID("acme", "/erp", "a", "+8613800138000", "sms")
		subject := ledger.Subject("acme", r.hasher.Hash("+8613800138000"), id)
		_, seq, err := r.Ledger.Last(r.t.Context(), subject)
		if err != nil || seq == 0 {
			t.Fatal(seq, err)
		}
		claim := &ledger.Record{Time: time.Now(), State: schemas.Sending, Attempt: 1, Since: time.Now(), Worker: "dead", Due: time.Now().Add(25 * time.Second)}
		if _, err := r.Ledger.Put(r.t.Context(), subject, claim, seq); err != nil {
			t.Fatal(err)
		}
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{Found: true, State: schemas.Delivered}, nil
		}
		r.start()
		r.want(r.story("a", 10*time.Second), "sms sending 1") // the claim still stands
		r.want(r.story("a", 30*time.Second), "sms uncertain 1")
		r.want(r.story("a", time.Minute), "sms delivered 1")
		if len(r.sms.times()) != 0 {
			t.Errorf("the message was sent again: %d", len(r.sms.times()))
		}
	})
}
