package dispatcher_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/schemas"
)

const gateBook = `
routes:
  - {name: mails, when: 'event.type == "mails"', send: [mail]}
  - {name: hook, when: 'event.type == "hook"', send: [web]}
  - {name: code, when: 'event.type == "login.code"', send: [sms]}
templates:
  hello:
    sms: {code: SMS_1, params: [name], text: "你好${name}"}
    mail: {subject: "你好", text: "你好 {{.name}}"}
`

// robot is a far that counts calls, and joins messages into one.
type robot struct {
	*far
	budget channels.Budget
	mu     sync.Mutex
	joined [][]string // the events of each call
}

func (r *robot) Budgets(*schemas.Delivery) []channels.Budget { return []channels.Budget{r.budget} }

func (r *robot) Join(ds []*schemas.Delivery) (*schemas.Delivery, bool) {
	one := *ds[0]
	var texts []string
	for _, d := range ds {
		texts = append(texts, d.Message.Text)
	}
	one.Message.Text = strings.Join(texts, "\n")
	return &one, len(one.Message.Text) < 2000
}

func (r *robot) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	rc, err := r.far.Send(ctx, d)
	if err == nil {
		r.mu.Lock()
		r.joined = append(r.joined, strings.Split(d.Message.Text, "\n"))
		r.mu.Unlock()
	}
	return rc, err
}

// partners is a far with many destinations: the events are named host/number.
type partners struct{ *far }

func (partners) Destination(d *schemas.Delivery) string {
	host, _, _ := strings.Cut(d.Event.ID, "/")
	return host
}

// pods starts more processes beside the rig's own, before it starts.
func (r *rig) pods(n int) {
	for i := range n {
		d := &dispatcher.Dispatcher{
			Config: r.Config, Broker: r.Broker, Ledger: r.Ledger, Dead: r.Dead, Channels: r.Channels, Rates: r.Rates,
			Explain: r.Explain, Log: r.Log, Worker: fmt.Sprintf("pod%d", i),
		}
		d.SetBook(r.Book())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx, true, true) }()
		stop := r.stop
		r.stop = func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Error(err)
			}
			stop()
		}
	}
}

// atGates is inVirtualTime with channels and rates of the test's own.
func atGates(t *testing.T, change, f func(r *rig)) {
	inVirtualTimeWith(t, gateBook, dispatcher.Config{Retry: dispatcher.Policy{Attempts: 6, MaxAge: 12 * time.Hour}}, change, f)
}

// fullest says how many of the calls fall into the fullest window.
func fullest(at []time.Time, window time.Duration) (most int) {
	slices.SortFunc(at, time.Time.Compare)
	for i := range at {
		n := 0
		for _, b := range at[i:] {
			if b.Sub(at[i]) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestThreePodsKeepOneRate(t *testing.T) {
	atGates(t, func(r *rig) { r.Rates = map[string]channels.Rate{"mail": {Count: 30, Per: time.Minute}} }, func(r *rig) {
		r.pods(2)
		for i := range 120 {
			r.publish("mails", fmt.Sprint(i), strings.Replace(wang, `"name":"王芳","phone":"13800138000",`, "", 1))
		}
		r.publish("mails", "urgent", strings.Replace(wang, `"category"`, `"priority":"high","category"`, 1))
		time.Sleep(6 * time.Minute)
		at := r.mail.times()
		if len(at) != 121 {
			t.Errorf("%d of 121 mails after 6 min", len(at))
		}
		if most := fullest(at, time.Minute); most > 30 {
			t.Errorf("%d mails within a minute, at most 30", most)
		}
		if took := at[len(at)-1].Sub(at[0]); took > 5*time.Minute {
			t.Errorf("121 mails took %s", took)
		}
		s := r.story("7", 0)
		if s.Deliveries[0].State != schemas.Accepted || s.Deliveries[0].Attempts != 1 {
			t.Errorf("waiting used up attempts: %+v", s.Deliveries[0])
		}
	})
}

func TestWhatWaitsForARobotIsJoined(t *testing.T) {
	bot := &robot{budget: channels.Budget{Key: "robot:1", Rate: channels.Rate{Count: 20, Per: time.Minute}, Penalty: 10 * time.Minute}}
	atGates(t, func(r *rig) {
		r.web.traits.Idempotent = false
		bot.far = r.web
		r.Channels["web"] = bot
	}, func(r *rig) {
		r.pods(2)
		for i := range 100 {
			r.publish("hook", fmt.Sprint(i), fmt.Sprintf(`{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"alert-%d"}}`, i))
		}
		time.Sleep(3 * time.Minute)
		seen := map[string]int{}
		bot.mu.Lock()
		defer bot.mu.Unlock()
		for _, call := range bot.joined {
			for _, text := range call {
				seen[text]++
			}
		}
		if len(seen) != 100 {
			t.Errorf("%d of 100 alerts arrived", len(seen))
		}
		for text, n := range seen {
			if n != 1 {
				t.Errorf("%s arrived %d times", text, n)
			}
		}
		if most := fullest(bot.times(), time.Minute); most > 20 {
			t.Errorf("%d calls within a minute", most)
		}
		if n := len(bot.times()); n > 35 {
			t.Errorf("%d calls for 100 alerts", n)
		}
		for i := range 100 {
			s := r.story(fmt.Sprint(i), 0)
			r.want(s, "web accepted 1")
		}
	})
}

// One message that the platform refuses must not take those with it that wait for the same turn.
func TestARefusedMessageIsTakenOutOfItsBatch(t *testing.T) {
	bot := &robot{budget: channels.Budget{Key: "robot:1", Rate: channels.Rate{Count: 20, Per: time.Minute}, Penalty: 10 * time.Minute}}
	atGates(t, func(r *rig) {
		r.web.traits.Idempotent = false
		bot.far = r.web
		bot.answer = func(_ context.Context, dl *schemas.Delivery, _ int) error {
			if strings.Contains(dl.Message.Text, "alert-37") {
				return &channels.Failure{Kind: "webhook", Provider: "wecom", Code: "40008", Class: channels.Content, Line: "40008 invalid message type"}
			}
			return nil
		}
		r.Channels["web"] = bot
	}, func(r *rig) {
		for i := range 60 {
			r.publish("hook", fmt.Sprint(i), fmt.Sprintf(`{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"alert-%d"}}`, i))
		}
		time.Sleep(10 * time.Minute)
		if most := fullest(bot.times(), time.Minute); most > 20 {
			t.Errorf("%d calls within a minute", most)
		}
		for i := range 60 {
			want := "web accepted 1"
			if i == 37 {
				want = "web dead 1"
			}
			r.want(r.story(fmt.Sprint(i), 0), want)
		}
	})
}

func TestARobotsPenaltyHoldsForAllPods(t *testing.T) {
	bot := &robot{budget: channels.Budget{Key: "robot:1", Rate: channels.Rate{Count: 20, Per: time.Minute}, Penalty: 10 * time.Minute}}
	atGates(t, func(r *rig) {
		bot.far = r.web
		bot.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			if len(bot.times()) == 3 {
				return &channels.Failure{Kind: "webhook", Provider: "dingtalk", Code: "130101", Class: channels.Throttled, Line: "130101 send too fast"}
			}
			return nil
		}
		r.Channels["web"] = bot
	}, func(r *rig) {
		r.pods(2)
		for i := range 12 {
			time.Sleep(100 * time.Millisecond)
			r.publish("hook", fmt.Sprint(i), `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
		}
		time.Sleep(20 * time.Minute)
		at := bot.times()
		if len(at) < 4 || at[3].Sub(at[2]) < 10*time.Minute {
			t.Errorf("calls at %v: the third was told to stop for 10 min", at)
		}
		for i := range 12 {
			r.want(r.story(fmt.Sprint(i), 0), "web accepted 1")
		}
	})
}

func TestABrokenThirdPartyIsLeftAlone(t *testing.T) {
	atGates(t, nil, func(r *rig) {
		var mended sync.Mutex
		broken := true
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error {
			mended.Lock()
			defer mended.Unlock()
			if broken {
				return &channels.Failure{Kind: "email", Code: "421 4.3.2", Class: channels.Temporary, Line: "421 4.3.2 shutting down"}
			}
			return nil
		}
		for i := range 40 {
			r.publish("mails", fmt.Sprint(i), wang)
		}
		time.Sleep(3 * time.Minute)
		if n := len(r.mail.times()); n > 20 {
			t.Errorf("%d calls to a broken server in 3 min", n)
		}
		if open := r.Dispatcher.Broken("mail"); len(open) != 1 || open[0].Cause == nil || open[0].Cause.Code != "421 4.3.2" || open[0].Since.IsZero() || open[0].RetryAt.IsZero() {
			t.Errorf("broken: %+v", open)
		}
		var waits string
		for i := range 40 {
			for _, d := range r.story(fmt.Sprint(i), 0).Deliveries {
				if d.State != schemas.Held {
					t.Errorf("%d is %s", i, d.State)
				}
				if d.Attempts == 0 { // it never met the failure itself
					waits = d.Cause.Code + " " + d.Cause.Line + " " + d.Cause.Owner
				}
			}
		}
		if !strings.HasPrefix(waits, "421 4.3.2 ") || !strings.Contains(waits, "shutting down") || strings.HasSuffix(waits, " ") {
			t.Errorf("nothing says why calls rest: %q", waits)
		}
		mended.Lock()
		broken = false
		mended.Unlock()
		time.Sleep(30 * time.Minute)
		for i := range 40 {
			d := r.story(fmt.Sprint(i), 0).Deliveries[0]
			if d.State != schemas.Accepted || d.Attempts > 5 {
				t.Errorf("%d: %s after %d attempts", i, d.State, d.Attempts)
			}
		}
		if open := r.Dispatcher.Broken("mail"); len(open) > 0 {
			t.Errorf("still broken: %+v", open)
		}
	})
}

// What a channel holds back by itself says nothing of the third party: the rate goes on for everybody else.
func TestAChannelsOwnWaitsCloseNothing(t *testing.T) {
	atGates(t, func(r *rig) { r.Rates = map[string]channels.Rate{"mail": {Count: 30, Per: time.Minute}} }, func(r *rig) {
		r.mail.answer = func(_ context.Context, d *schemas.Delivery, _ int) error {
			if d.Event.ID == "0" {
				return &channels.Failure{Kind: "email", Code: "net:busy", Class: channels.Throttled, After: time.Hour}
			}
			return nil
		}
		for i := range 10 {
			r.publish("mails", fmt.Sprint(i), wang)
			time.Sleep(time.Second)
		}
		r.want(r.story("9", time.Second), "mail accepted 1")
		r.want(r.story("0", 0), "mail held 0")
	})
}

func TestRefusedCredentialsUseNoAttempts(t *testing.T) {
	wrong := &channels.Failure{Kind: "email", Code: "535 5.7.8", Class: channels.Auth, Line: "535 5.7.8 authentication failed"}
	atGates(t, nil, func(r *rig) {
		var mu sync.Mutex
		answer := error(wrong)
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error { mu.Lock(); defer mu.Unlock(); return answer }
		for i := range 30 {
			r.publish("mails", fmt.Sprint(i), wang)
		}
		time.Sleep(5 * time.Hour)
		if n := len(r.mail.times()); n < 10 || n > 30 {
			t.Errorf("%d logins with a wrong password in 5 h, want a probe every 15 to 30 min", n)
		}
		r.want(r.story("3", 0), "mail held 0")
		mu.Lock()
		answer = nil
		mu.Unlock()
		time.Sleep(time.Hour)
		for i := range 30 {
			r.want(r.story(fmt.Sprint(i), 0), "mail accepted 1")
		}
	})
	atGates(t, nil, func(r *rig) {
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error { return wrong }
		r.publish("mails", "a", wang)
		r.want(r.story("a", 13*time.Hour), "mail dead 0") // max_age ends it
	})
}

func TestAReceiverThatIsGone(t *testing.T) {
	atGates(t, nil, func(r *rig) {
		r.web.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "webhook", Provider: "generic", Code: "http:410", Class: channels.Permanent}
		}
		for i := range 3 {
			r.publish("hook", fmt.Sprint(i), `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
			time.Sleep(time.Minute)
		}
		if n := len(r.web.times()); n != 1 {
			t.Errorf("%d calls to somebody who is gone", n)
		}
		r.want(r.story("0", 0), "web dead 1")
		r.want(r.story("2", 0), "web dead 0")
		page, err := r.Dead.List(r.t.Context(), deadletter.Filter{Cause: "endpoint-disabled"}, 0, 10)
		if err != nil || page.Total != 2 || !strings.Contains(page.Items[0].Cause.Line, "http:410") {
			t.Errorf("%+v, %v", page, err)
		}
	})
}

// A host that refuses one address is not closed for the others there.
func TestARefusedAddressClosesNoHost(t *testing.T) {
	for _, f := range []*channels.Failure{
		{Kind: "webhook", Provider: "generic", Code: "http:403", Class: channels.Auth},
		{Kind: "webhook", Provider: "generic", Code: "http:3xx", Class: channels.Config},
	} {
		atGates(t, func(r *rig) { r.Channels["web"] = partners{r.web} }, func(r *rig) {
			r.web.answer = func(_ context.Context, d *schemas.Delivery, _ int) error {
				if d.Event.ID == "1/bad" {
					return f
				}
				return nil
			}
			for _, id := range []string{"1/bad", "1/good", "1/other"} {
				r.publish("hook", id, `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
				time.Sleep(time.Second)
			}
			r.want(r.story("1/good", 0), "web accepted 1")
			r.want(r.story("1/other", 0), "web accepted 1")
		})
	}
}

// Ten thousand destinations, one in a hundred hangs: the others do not notice.
func TestHangingDestinationsDelayNobody(t *testing.T) {
	const destinations, perSecond, seconds = 10_000, 100, 20
	run := func(t *testing.T, hanging int) (p99 time.Duration) {
		atGates(t, func(r *rig) {
			r.Log = zap.NewNop()
			r.web.traits.Slots = 8
			r.Channels["web"] = partners{r.web}
		}, func(r *rig) {
			var mu sync.Mutex
			var took []time.Duration
			planned := map[string]time.Time{}
			r.web.answer = func(ctx context.Context, d *schemas.Delivery, _ int) error {
				host, number, _ := strings.Cut(d.Event.ID, "/")
				var n int
				_, _ = fmt.Sscan(host, &n)
				if n < hanging {
					<-ctx.Done()
					return &channels.Failure{Kind: "webhook", Provider: "generic", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true, Err: ctx.Err()}
				}
				mu.Lock()
				took = append(took, time.Since(planned[number]))
				mu.Unlock()
				time.Sleep(30 * time.Millisecond)
				return nil
			}
			for i := range perSecond * seconds {
				time.Sleep(time.Second / perSecond)
				mu.Lock()
				planned[fmt.Sprint(i)] = time.Now()
				mu.Unlock()
				r.publish("hook", fmt.Sprintf("%d/%d", i*7919%destinations, i), `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
			}
			time.Sleep(5 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if healthy := perSecond * seconds * (destinations - hanging) / destinations; len(took) < healthy*99/100 {
				t.Errorf("%d of %d healthy ones were taken", len(took), healthy)
			}
			slices.Sort(took)
			p99 = took[len(took)*99/100]
			t.Logf("%d hanging: p50 %s, p99 %s, max %s", hanging, took[len(took)/2], p99, took[len(took)-1])
		})
		return p99
	}
	without, with := run(t, 0), run(t, destinations/100)
	if with > without*3/2+5*time.Millisecond {
		t.Errorf("p99 of healthy destinations %s with hanging ones beside them, %s without", with, without)
	}
}

func TestAHangingDestinationEndsTruthfully(t *testing.T) {
	atGates(t, func(r *rig) { r.Channels["web"] = partners{r.web} }, func(r *rig) {
		r.web.answer = func(ctx context.Context, d *schemas.Delivery, _ int) error {
			if strings.HasPrefix(d.Event.ID, "mute") {
				<-ctx.Done()
				return &channels.Failure{Kind: "webhook", Provider: "generic", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true, Err: ctx.Err()}
			}
			return nil
		}
		for i := range 6 {
			r.publish("hook", fmt.Sprintf("mute/%d", i), `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
		}
		time.Sleep(1100 * time.Millisecond)
		begin := time.Now()
		r.publish("hook", "well/1", `{"category":"alert","to":[{"webhook":"web"}],"content":{"text":"x"}}`)
		r.want(r.story("well/1", 500*time.Millisecond), "web accepted 1")
		if time.Since(begin) > time.Second {
			t.Error("it waited")
		}
		time.Sleep(13 * time.Hour)
		for i := range 6 {
			s := r.story(fmt.Sprintf("mute/%d", i), 0)
			if d := s.Deliveries[0]; d.State != schemas.Dead || d.Attempts > 6 {
				t.Errorf("%d: %s after %d attempts", i, d.State, d.Attempts)
			}
		}
	})
}
