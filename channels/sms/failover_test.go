package sms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/channels/sms/aliyun"
	"github.com/yizhan-dev/yizhan/channels/sms/httpapi"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// fake is a provider that says what it is told to and counts.
type fake struct {
	mu      sync.Mutex
	say     func(*schemas.Delivery) error
	sent    []*schemas.Delivery
	lookup  func() (channels.Lookup, error)
	traits  channels.Traits
	closed  bool
	preview error
}

func (f *fake) Send(_ context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	f.mu.Lock()
	f.sent = append(f.sent, d)
	say := f.say
	f.mu.Unlock()
	if say != nil {
		if err := say(d); err != nil {
			return channels.Receipt{}, err
		}
	}
	return channels.Receipt{ID: "id", Reply: "OK"}, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent)
}

func (f *fake) Traits() channels.Traits { return f.traits }
func (f *fake) Close() error            { f.closed = true; return nil }

func (f *fake) Preview(*schemas.Delivery) (channels.Wire, error) { return channels.Wire{}, f.preview }

func (f *fake) Reports(*http.Request, []byte) ([]channels.Report, channels.ReportAnswer, error) {
	return []channels.Report{{MessageID: f.traits.Provider}}, channels.ReportAnswer{}, nil
}

// asked is a fake that can be asked.
type asked struct{ *fake }

func (a asked) Lookup(context.Context, *schemas.Delivery, time.Time) (channels.Lookup, error) {
	return a.lookup()
}

// stand opens a channel with fakes by their provider's name; those with a lookup can be asked.
func stand(t *testing.T, yaml string, fakes map[string]*fake) (channels.Channel, error) {
	t.Helper()
	providers := map[string]channels.Factory{}
	for name, f := range fakes {
		providers[name] = func(_ channels.Env, decode func(any) error) (channels.Channel, error) {
			var c struct {
				channels.Common `yaml:",inline"`
				Provider        string `yaml:"provider"`
				Signature       string `yaml:"signature"`
			}
			if err := decode(&c); err != nil {
				return nil, err
			}
			f.traits = channels.Traits{Kind: "sms", Provider: name, Signature: c.Signature, Slots: c.Slots, Timeout: c.Timeout}
			if f.lookup != nil {
				return asked{f}, nil
			}
			return f, nil
		}
	}
	return sms.New(providers)(channels.Env{Name: "sms"}, func(v any) error { return strictyaml.Decode([]byte("kind: sms\n"+yaml), v) })
}

func mustStand(t *testing.T, yaml string, fakes map[string]*fake) channels.Channel {
	t.Helper()
	ch, err := stand(t, yaml, fakes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.Close() })
	return ch
}

// two is a channel of which a is first for every message.
const two = "signature: 华星科技\nproviders: [{provider: a}, {provider: b, weight: 0}]\n"

func message(n int) *schemas.Delivery {
	d := channeltest.Delivery(n)
	d.Message.Codes = map[string]string{"b": "B_123"}
	return d
}

func failing(class channels.Class, maybe bool) func(*schemas.Delivery) error {
	return func(*schemas.Delivery) error {
		return &channels.Failure{Kind: "sms", Provider: "a", Code: "code-of-a", Class: class, Maybe: maybe}
	}
}

// The heart of it: another provider gets a message only when the first surely does not have it, for a reason of its own.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		class channels.Class
		maybe bool
		b     int
	}{
		{channels.Throttled, false, 1},
		{channels.Temporary, false, 1},
		{channels.Auth, false, 1},
		{channels.Config, false, 1},
		{channels.Content, false, 0},
		{channels.BadTarget, false, 0},
		{channels.Permanent, false, 0},
		{channels.Unknown, true, 0},
		{channels.Unknown, false, 0},
		{channels.Temporary, true, 0}, // whatever its class: it may have the message
		{channels.Config, true, 0},
	} {
		a, b := &fake{say: failing(c.class, c.maybe)}, &fake{}
		ch := mustStand(t, two, map[string]*fake{"a": a, "b": b})
		receipt, err := ch.Send(t.Context(), message(1))
		if a.count() != 1 || b.count() != c.b {
			t.Errorf("%s at a, maybe %v: a was called %d times, b %d; want 1 and %d", c.class, c.maybe, a.count(), b.count(), c.b)
		}
		switch {
		case c.b == 1 && (err != nil || receipt.Provider != "b" || receipt.Passed != "a code-of-a"):
			t.Errorf("%s: %+v, %v; want b's receipt that tells of a", c.class, receipt, err)
		case c.b == 0 && channels.Explain(err).Code != "code-of-a":
			t.Errorf("%s: %v, want a's own failure", c.class, err)
		}
	}
}

// When nobody takes it, the failure is that which leaves the delivery alive longest.
func TestTheFailureOfSeveral(t *testing.T) {
	fail := func(class channels.Class, after time.Duration) *channels.Failure {
		return &channels.Failure{Kind: "sms", Code: string(class), Class: class, After: after}
	}
	for _, c := range []struct {
		a, b *channels.Failure
		want channels.Class
		wait time.Duration
	}{
		{fail(channels.Auth, 0), fail(channels.Temporary, 0), channels.Temporary, 0},
		{fail(channels.Config, 0), fail(channels.Throttled, 5), channels.Throttled, 5},
		{fail(channels.Throttled, 60), fail(channels.Throttled, 5), channels.Throttled, 5},
		{fail(channels.Throttled, 5), fail(channels.Temporary, 0), channels.Throttled, 5},
		{fail(channels.Config, 0), fail(channels.Auth, 0), channels.Config, 0},
		{fail(channels.Temporary, 0), fail(channels.Content, 0), channels.Content, 0}, // b's word on the message is the last
	} {
		ch := mustStand(t, two, map[string]*fake{
			"a": {say: func(*schemas.Delivery) error { return c.a }}, "b": {say: func(*schemas.Delivery) error { return c.b }},
		})
		_, err := ch.Send(t.Context(), message(1))
		if f := channels.Explain(err); f.Class != c.want || f.After != c.wait {
			t.Errorf("%s then %s: %s after %v, want %s after %v", c.a.Class, c.b.Class, f.Class, f.After, c.want, c.wait)
		}
	}
}

// Each provider has its share, the same delivery meets the same one, and taking one out moves nobody else's.
func TestWeights(t *testing.T) {
	const n = 10_000
	first := func(yaml string, names ...string) map[string]string {
		fakes := map[string]*fake{}
		for _, name := range names {
			fakes[name] = &fake{}
		}
		ch := mustStand(t, yaml, fakes)
		out := map[string]string{}
		for i := range n {
			d := message(i)
			d.Message.Codes = map[string]string{"a": "1", "b": "2", "c": "3"}
			r, err := ch.Send(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			out[d.ID] = r.Provider
		}
		return out
	}
	all := first("signature: s\nproviders: [{provider: a, weight: 7}, {provider: b, weight: 2}, {provider: c, weight: 1}]\n", "a", "b", "c")
	share := map[string]int{}
	for _, p := range all {
		share[p]++
	}
	for p, want := range map[string]int{"a": 7000, "b": 2000, "c": 1000} {
		if got := share[p]; got < want-150 || got > want+150 {
			t.Errorf("%s got %d of %d, want about %d", p, got, n, want)
		}
	}
	again := first("signature: s\nproviders: [{provider: a, weight: 7}, {provider: b, weight: 2}, {provider: c, weight: 0}]\n", "a", "b", "c")
	for id, p := range all {
		if p != "c" && again[id] != p {
			t.Fatalf("without c, a message of %s goes to %s", p, again[id])
		}
	}
}

// The breaker: a provider that fails again and again is left alone, and is tried again later.
func TestBreakerOfAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{say: failing(channels.Temporary, false)}, &fake{}
		ch := mustStand(t, two, map[string]*fake{"a": a, "b": b})
		for i := range 50 {
			if r, err := ch.Send(t.Context(), message(i)); err != nil || r.Provider != "b" {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		if a.count() != 5 || b.count() != 50 {
			t.Errorf("a was called %d times, b %d; want 5 and 50", a.count(), b.count())
		}
		members := ch.(channels.Composite).Members()
		if !members[0].Open || members[0].Cause.Code != "code-of-a" || members[0].Passed != 5 || members[1].Accepted != 50 {
			t.Errorf("%+v", members)
		}
		if b := ch.(channels.Watched).Broken(); len(b) != 1 || b[0].Destination != "a" || b[0].Cause.Code != "code-of-a" || b[0].RetryAt.IsZero() {
			t.Errorf("%+v", b)
		}
		a.say = nil
		time.Sleep(time.Minute)
		if r, err := ch.Send(t.Context(), message(51)); err != nil || r.Provider != "a" {
			t.Errorf("after a minute: %+v, %v", r, err)
		}
		// Refused credentials stop it at once, for a quarter of an hour at least.
		a.say = failing(channels.Auth, false)
		_, _ = ch.Send(t.Context(), message(52))
		calls := a.count()
		time.Sleep(14 * time.Minute)
		_, _ = ch.Send(t.Context(), message(53))
		if a.count() != calls {
			t.Error("a was called again within 15 minutes of refused credentials")
		}
		// With b gone as well there is nobody: a wait without an attempt, with the cause.
		b.say = failing(channels.Auth, false)
		_, _ = ch.Send(t.Context(), message(54))
		_, err := ch.Send(t.Context(), message(55))
		if f := channels.Explain(err); f.Code != "dispatcher:breaker-open" || f.Class != channels.Throttled || f.After <= 0 || !strings.Contains(f.Line, "code-of-a") {
			t.Errorf("%+v", f)
		}
		// A refusal of one message says nothing of the provider.
		time.Sleep(time.Hour)
		a.say = failing(channels.BadTarget, false)
		for i := range 20 {
			_, _ = ch.Send(t.Context(), message(60+i))
		}
		if ch.(channels.Composite).Members()[0].Open {
			t.Error("bad numbers opened the breaker")
		}
	})
}

// The attempt's time is one: a provider that fails late leaves the next no time, and it is not begun.
func TestOneTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{say: func(*schemas.Delivery) error {
			time.Sleep(4500 * time.Millisecond)
			return &channels.Failure{Kind: "sms", Code: "late", Class: channels.Temporary}
		}}
		b := &fake{}
		ch := mustStand(t, "timeout: 5s\n"+two, map[string]*fake{"a": a, "b": b})
		if _, err := ch.Send(t.Context(), message(1)); channels.Explain(err).Code != "late" || b.count() != 0 {
			t.Errorf("%v, b was called %d times with half a second left", err, b.count())
		}
	})
}

// A provider that is not begun for lack of time has not been probed either: the next message may do it.
func TestNoProbeIsLostForLackOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{say: failing(channels.Temporary, false)}, &fake{say: failing(channels.Auth, false)}
		ch := mustStand(t, "timeout: 5s\n"+two, map[string]*fake{"a": a, "b": b})
		_, _ = ch.Send(t.Context(), message(1)) // b rests
		time.Sleep(time.Hour)
		b.say, a.say = nil, func(*schemas.Delivery) error {
			time.Sleep(4500 * time.Millisecond)
			return &channels.Failure{Kind: "sms", Code: "late", Class: channels.Temporary}
		}
		_, _ = ch.Send(t.Context(), message(2))
		a.say = failing(channels.Temporary, false)
		if r, err := ch.Send(t.Context(), message(3)); err != nil || r.Provider != "b" || b.count() != 2 {
			t.Errorf("%+v, %v; b was called %d times", r, err, b.count())
		}
	})
}

func TestCodesAndSignatures(t *testing.T) {
	a, b := &fake{}, &fake{}
	ch := mustStand(t, "signature: 华星科技\nproviders: [{provider: a, name: one, price: 0.045}, {provider: b, weight: 0, signature: 华星}]\n", map[string]*fake{"a": a, "b": b})
	d := message(1)
	d.Message.Text = strings.Repeat("账", 100)
	r, err := ch.Send(t.Context(), d)
	if err != nil || r.Provider != "one" || r.Parts != 2 || r.Cost != "0.09 CNY" {
		t.Errorf("%+v, %v", r, err)
	}
	if m := a.sent[0].Message; m.Code != "SMS_123" || m.Signature != "华星科技" {
		t.Errorf("a got %+v", m)
	}
	a.say = failing(channels.Temporary, false)
	if r, err := ch.Send(t.Context(), d); err != nil || r.Cost != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if m := b.sent[0].Message; m.Code != "B_123" || m.Signature != "华星" {
		t.Errorf("b got %+v", m)
	}
	if d.Message.Code != "SMS_123" || d.Message.Signature != "华星科技" {
		t.Errorf("the delivery was changed: %+v", d.Message)
	}
	// b has no code for this template, and must not be sent a's.
	d.Message.Codes = nil
	if _, err := ch.Send(t.Context(), d); channels.Explain(err).Code != "code-of-a" || b.count() != 1 {
		t.Errorf("%v, b was called %d times", err, b.count())
	}
	d.Message.Code, d.Message.Codes = "", map[string]string{"nobody": "1"}
	if _, err := ch.Send(t.Context(), d); channels.Explain(err).Code != "dispatcher:no-template-code" {
		t.Errorf("%v", err)
	}
}

func TestLookupOfSeveral(t *testing.T) {
	found := func(s schemas.State) func() (channels.Lookup, error) {
		return func() (channels.Lookup, error) { return channels.Lookup{Found: true, State: s}, nil }
	}
	absent := func() (channels.Lookup, error) { return channels.Lookup{}, nil }
	fails := func() (channels.Lookup, error) { return channels.Lookup{}, errors.New("cannot be asked") }
	for name, c := range map[string]struct {
		a, b  func() (channels.Lookup, error)
		state schemas.State // "": not found
		fails bool
	}{
		"nobody has it":                    {absent, absent, "", false},
		"b has it":                         {absent, found(schemas.Accepted), schemas.Accepted, false},
		"b has it, a cannot be asked":      {fails, found(schemas.Delivered), schemas.Delivered, false},
		"a does not, b cannot be asked":    {absent, fails, "", true},
		"a does not, b has no query":       {absent, nil, "", true},
		"a has it, b has no query":         {found(schemas.Accepted), nil, schemas.Accepted, false},
		"a failed to deliver, b delivered": {found(schemas.Undelivered), found(schemas.Delivered), schemas.Delivered, false},
		"a failed to deliver, b has it":    {found(schemas.Undelivered), found(schemas.Accepted), schemas.Accepted, false},
		"b failed to deliver, a has it":    {found(schemas.Accepted), found(schemas.Undelivered), schemas.Accepted, false},
	} {
		ch := mustStand(t, two, map[string]*fake{"a": {lookup: c.a}, "b": {lookup: c.b}})
		rc, ok := ch.(channels.Reconciler)
		if !ok {
			t.Fatalf("%s: cannot be asked", name)
		}
		l, err := rc.Lookup(t.Context(), message(1), time.Now())
		if l.Found != (c.state != "") || l.State != c.state || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if _, ok := mustStand(t, two, map[string]*fake{"a": {}, "b": {}}).(channels.Reconciler); ok {
		t.Error("nobody has a query, and yet it can be asked")
	}
	// One that never was given the message need not be asked.
	ch := mustStand(t, two, map[string]*fake{"a": {lookup: absent}, "b": {}})
	rc, _ := ch.(channels.Reconciler)
	d := message(1)
	d.Message.Codes = nil
	if l, err := rc.Lookup(t.Context(), d, time.Now()); err != nil || l.Found {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestReportsNameTheProvider(t *testing.T) {
	ch := mustStand(t, two, map[string]*fake{"a": {}, "b": {}})
	rep, _ := ch.(channels.Reporter)
	if got, _, err := rep.Reports(httptest.NewRequest(http.MethodPost, "/v1/receipts/sms/t?provider=b", nil), nil); err != nil || got[0].MessageID != "b" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, query := range []string{"", "?provider=c"} {
		if _, answer, err := rep.Reports(httptest.NewRequest(http.MethodPost, "/v1/receipts/sms/t"+query, nil), nil); err == nil || answer.Status != http.StatusBadRequest {
			t.Errorf("%q: %+v, %v", query, answer, err)
		}
	}
}

// Shadow mode counts what it finds, sends nothing, and holds nobody up.
func TestShadow(t *testing.T) {
	const yaml = "signature: 华星科技\nproviders: [{provider: a}]\nshadow: {provider: b}\n"
	a, b := &fake{}, &fake{}
	ch := mustStand(t, yaml, map[string]*fake{"a": a, "b": b})
	count := func() channels.Member {
		all := ch.(channels.Composite).Members()
		return all[len(all)-1]
	}
	send := func(n int) {
		t.Helper()
		d := message(n)
		if n%2 == 1 {
			d.Message.Codes = nil
		}
		if _, err := ch.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		send(n)
	}
	until(t, func() bool { return count().Checked == 10 })
	if got := count(); got.Good != 5 || got.Findings["dispatcher:no-template-code"] != 5 || !got.Shadow {
		t.Errorf("%+v", got)
	}
	if b.count() != 0 || a.count() != 10 {
		t.Errorf("the shadow sent %d messages, the channel %d", b.count(), a.count())
	}
	if p := ch.Traits().Provider; p != "a" {
		t.Errorf("the rules of %q hold: a shadow's must not stop real messages", p)
	}
}

// stuck is a fake whose template check never ends.
type stuck struct {
	*fake
	asked chan struct{}
}

func (s stuck) CheckTemplate(ctx context.Context, _ *schemas.Delivery) *channels.Failure {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil
}

func TestAStuckShadowHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stuck{&fake{traits: channels.Traits{Provider: "b", Signature: "s"}}, make(chan struct{}, 1)}
		ch, err := sms.New(map[string]channels.Factory{
			"a": func(_ channels.Env, _ func(any) error) (channels.Channel, error) {
				return &fake{traits: channels.Traits{Provider: "a"}}, nil
			},
			"b": func(_ channels.Env, _ func(any) error) (channels.Channel, error) { return b, nil },
		})(channels.Env{Name: "sms"}, func(v any) error {
			return strictyaml.Decode([]byte("kind: sms\nsignature: s\nproviders: [{provider: a}]\nshadow: {provider: b}\n"), v)
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for n := range 1000 {
			if _, err := ch.Send(t.Context(), message(n)); err != nil {
				t.Fatal(err)
			}
		}
		<-b.asked
		if took := time.Since(start); took != 0 {
			t.Errorf("1000 sends took %v of virtual time", took)
		}
		all := ch.(channels.Composite).Members()
		if got := all[1]; got.Dropped < 700 || got.Dropped+256 > 1000 {
			t.Errorf("dropped %d of 1000, with room for 256", got.Dropped)
		}
		if err := ch.Close(); err != nil { // ends the check under way
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close waited %v", took)
		}
	})
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s")
		}
	}
}

func TestConfigOfSeveral(t *testing.T) {
	for yaml, pointer := range map[string]string{
		"providers: [{provider: a}]\n":                                                 "/signature",
		"signature: s\nproviders: []\n":                                                "/providers",
		"signature: s\nproviders: [{provider: x}]\n":                                   "/providers/0/provider",
		"signature: s\nproviders: [{provider: a}, {provider: a}]\n":                    "/providers/1/name",
		"signature: s\nproviders: [{provider: a, name: A}]\n":                          "/providers/0/name",
		"signature: s\nproviders: [{provider: a, weight: -1}]\n":                       "/providers/0/weight",
		"signature: s\nproviders: [{provider: a, weight: 0}]\n":                        "/providers",
		"signature: s\nproviders: [{provider: a, price: -1}]\n":                        "/providers/0/price",
		"signature: s\nproviders: [{provider: a, price: 1, currency: 元}]\n":            "/providers/0/currency",
		"signature: s\nproviders: [{provider: a, rate: 1/s}]\n":                        "/providers/0/rate",
		"signature: s\nproviders: [{provider: a, kind: sms}]\n":                        "/providers/0/kind",
		"signature: s\nproviders: [{provider: a, share: 0.5}]\n":                       "/providers/0/share",
		"signature: s\nproviders: [{provider: a}]\nshadow: {provider: x}\n":            "/shadow/provider",
		"signature: s\nproviders: [{provider: a}]\nshadow: {provider: b, share: 2}\n":  "/shadow/share",
		"signature: s\nproviders: [{provider: a}]\nshadow: {provider: b, weight: 2}\n": "/shadow/weight",
		"signature: s\nproviders: [{provider: a, receipts: {poll: true}}]\n":           "/providers/0/receipts",
		"signature: s\nreceipts: {poll: true}\nproviders: [{provider: a}]\n":           "/receipts/poll", // nobody can be asked
		"signature: s\nslots: -1\nproviders: [{provider: a}]\n":                        "/slots",
	} {
		_, err := stand(t, yaml, map[string]*fake{"a": {}, "b": {}})
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != pointer || bad.Problems[0].Zh == "" || bad.Problems[0].En == "" {
			t.Errorf("%q: %v, want a problem at %s in both languages", yaml, err, pointer)
		}
	}
	for _, yaml := range []string{"signature: s\nproviders: [{provider: a, unknown: 1}]\n", "signature: s\nunknown: 1\nproviders: [{provider: a}]\n"} {
		if _, err := stand(t, yaml, map[string]*fake{"a": {}}); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("%q: %v, want the unknown key named", yaml, err)
		}
	}
	a, b := &fake{}, &fake{}
	ch := mustStand(t, "signature: s\nslots: 3\ntimeout: 7s\nproviders: [{provider: a}, {provider: b, timeout: 2s}]\n", map[string]*fake{"a": a, "b": b})
	want := channels.Traits{Kind: "sms", Provider: "a+b", Address: channels.Phone, Once: true, Capped: true, Signature: "s", Slots: 3, Timeout: 7 * time.Second}
	if got := ch.Traits(); got != want {
		t.Errorf("Traits = %+v, want %+v", got, want)
	}
	if a.traits.Slots != 3 || a.traits.Timeout != 7*time.Second || a.traits.Signature != "s" || b.traits.Timeout != 2*time.Second {
		t.Errorf("the providers got %+v and %+v", a.traits, b.traits)
	}
}

// Aliyun's real client at a far side that throttles, breaks off after taking, refuses and accepts in turn, and Tencent's
// at its stand-in: exactly what Aliyun throttled arrives at Tencent, and nobody is sent anything twice.
func TestThrottledGoesOnAndUncertainDoesNot(t *testing.T) {
	const n = 200
	turns := map[string]int{} // in this order, so that no five in a row open the breaker
	for i := range n {
		turns[channeltest.Delivery(i).ID] = i % 4
	}
	turn := func(id string) int { return turns[id] }
	var mu sync.Mutex
	asked, taken := map[string]int{}, map[string]int{}
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("OutId")
		mu.Lock()
		asked[id]++
		if turn(id) < 2 {
			taken[id]++
		}
		mu.Unlock()
		switch turn(id) {
		case 0:
			_, _ = w.Write([]byte(`{"Code":"OK","Message":"OK","BizId":"1^0"}`))
		case 1:
			panic(http.ErrAbortHandler) // taken, without an answer
		case 2:
			_, _ = w.Write([]byte(`{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发分钟级流控Permits:1"}`))
		case 3:
			_, _ = w.Write([]byte(`{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"m"}`))
		}
	}))
	t.Cleanup(first.Close)
	first.Config.ErrorLog = log.New(io.Discard, "", 0)
	second, err := sandbox.StartSMS(sandbox.SMSConfig{Tencent: sandbox.TencentKeys{SecretID: "id", SecretKey: "key", AppID: "1"}}, func(it sandbox.Item) {
		mu.Lock()
		defer mu.Unlock()
		taken[it.Delivery]++
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	t.Setenv("YIZHAN_TEST_ID", "id")
	t.Setenv("YIZHAN_TEST_KEY", "key")
	yaml := `{kind: sms, signature: 华星科技, providers: [
  {provider: aliyun, endpoint: "` + first.URL + `", access_key_id_env: YIZHAN_TEST_ID, access_key_secret_env: YIZHAN_TEST_KEY},
  {name: tencent, provider: httpapi, api: tencent, weight: 0, endpoint: "` + second.URL() + `", settings: {app_id: "1", secret_id_env: YIZHAN_TEST_ID, secret_key_env: YIZHAN_TEST_KEY}}]}`
	ch, err := sms.New(map[string]channels.Factory{"aliyun": aliyun.New, "httpapi": httpapi.New})(channels.Env{Name: "sms"},
		func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.Close() })
	got := map[string]int{}
	for i := range n {
		d := channeltest.Delivery(i)
		d.Message.Codes = map[string]string{"tencent": "1234567"}
		r, err := ch.Send(t.Context(), d)
		mu.Lock()
		what := fmt.Sprintf("turn %d: by %q, taken %d times, aliyun asked %d times", turn(d.ID), r.Provider, taken[d.ID], asked[d.ID])
		mu.Unlock()
		if err != nil {
			what += ", " + string(channels.Explain(err).Class)
		}
		got[what]++
	}
	wants := []string{
		`turn 0: by "aliyun", taken 1 times, aliyun asked 1 times`, `turn 1: by "", taken 1 times, aliyun asked 1 times, uncertain`,
		`turn 2: by "tencent", taken 1 times, aliyun asked 1 times`, `turn 3: by "", taken 0 times, aliyun asked 1 times, recipient`,
	}
	for _, want := range wants {
		if got[want] != n/4 {
			t.Errorf("%d times %s", got[want], want)
		}
	}
	if len(got) != len(wants) {
		t.Errorf("%v", got)
	}
	t.Logf("%v", got)
}

// The real clients of all three against the stand-ins, by number and with refused credentials; and who is asked afterwards.
func TestFailoverOfRealClients(t *testing.T) {
	var inbox sandbox.Inbox
	far, err := sandbox.StartSMS(sandbox.SMSConfig{
		AccessKeyID: "LTAI5tTest", AccessKeySecret: "secret-of-aliyun",
		Tencent: sandbox.TencentKeys{SecretID: "AKIDtest", SecretKey: "secret-of-tencent", AppID: "1400000001"},
		Huawei:  sandbox.HuaweiKeys{AppKey: "key-of-huawei", AppSecret: "secret-of-huawei", Sender: "8823040504797"},
	}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	dir := t.TempDir()
	for name, secret := range map[string]string{
		"ali-id": "LTAI5tTest", "ali-key": "secret-of-aliyun", "tc-id": "AKIDtest", "tc-key": "secret-of-tencent", "hw-key": "key-of-huawei", "hw-secret": "secret-of-huawei",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yaml := strings.ReplaceAll(`
kind: sms
signature: 华星科技
timeout: 2s
providers:
  - {provider: aliyun, weight: 1, endpoint: "URL", access_key_id_file: ali-id, access_key_secret_file: ali-key}
  - {name: tencent, provider: httpapi, api: tencent, weight: 0, endpoint: "URL", settings: {app_id: "1400000001", secret_id_file: tc-id, secret_key_file: tc-key}}
  - {name: huawei, provider: httpapi, api: huawei, weight: 0, endpoint: "URL", settings: {sender: "8823040504797", app_key_file: hw-key, app_secret_file: hw-secret}}
`, "URL", far.URL())
	open := func() channels.Channel {
		ch, err := sms.New(map[string]channels.Factory{"aliyun": aliyun.New, "httpapi": httpapi.New})(channels.Env{Name: "sms", Dir: dir},
			func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ch.Close() })
		return ch
	}
	n := 0
	for _, c := range []struct {
		number, codes string
		provider      string // that takes it; "" nobody
		class         channels.Class
		taken         int
	}{
		{"13800138000", "tencent huawei", "aliyun", "", 1},
		{"13800138000", "", "aliyun", "", 1},
		// The stand-ins do the same for the same number: throttled at Aliyun and at Tencent and at Huawei.
		{"19900000002", "tencent huawei", "", channels.Throttled, 0},
		{"19900000011", "tencent huawei", "", channels.Unknown, 1}, // taken by Aliyun without an answer: nobody else gets it
		{"19900000001", "tencent huawei", "", channels.BadTarget, 0},
	} {
		n++
		ch := open()
		d := channeltest.Delivery(n)
		d.To.Phone = "+86" + c.number
		d.Message.Codes = map[string]string{}
		for p := range strings.FieldsSeq(c.codes) {
			d.Message.Codes[p] = "1234567"
		}
		r, err := ch.Send(t.Context(), d)
		var class channels.Class
		if err != nil {
			class = channels.Explain(err).Class
		}
		items, _, _ := inbox.List(sandbox.Filter{Delivery: d.ID}, 10, 0)
		if r.Provider != c.provider || class != c.class || len(items) != c.taken {
			t.Errorf("%s: %+v, %v; taken %d times; want %q %q, %d times", c.number, r, err, len(items), c.provider, c.class, c.taken)
		}
	}
	// Aliyun refuses the credentials: Tencent takes it, and after it Huawei.
	if err := os.WriteFile(filepath.Join(dir, "ali-key"), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, codes := range []map[string]string{{"tencent": "1234567"}, {"huawei": "8ff55eac1d0b478ab3c06c3c6a492300"}} {
		d := channeltest.Delivery(100 + i)
		d.Message.Codes = codes
		r, err := open().Send(t.Context(), d)
		want := []string{"tencent", "huawei"}[i]
		items, _, _ := inbox.List(sandbox.Filter{Delivery: d.ID}, 10, 0)
		if err != nil || r.Provider != want || r.Passed != "aliyun SignatureDoesNotMatch" || len(items) != 1 {
			t.Errorf("%+v, %v, taken %d times; want %s", r, err, len(items), want)
		}
		if len(items) == 1 && !strings.Contains(items[0].Text, "canary-body-7391") {
			t.Errorf("the inbox shows %q", items[0].Text)
		}
	}
	// What Aliyun took without an answer is found there, though Huawei, which has no query, may have it for all we know.
	d := channeltest.Delivery(200)
	d.To.Phone = "+8619900000007"
	yaml = strings.Replace(yaml, "timeout: 2s", "timeout: 1s", 1)
	if err := os.WriteFile(filepath.Join(dir, "ali-key"), []byte("secret-of-aliyun"), 0o600); err != nil {
		t.Fatal(err)
	}
	ch := open()
	d.Message.Codes = map[string]string{"tencent": "1234567", "huawei": "8ff5"}
	since := time.Now()
	if _, err := ch.Send(t.Context(), d); channels.Explain(err).Class != channels.Unknown {
		t.Fatalf("%v", err)
	}
	rc, _ := ch.(channels.Reconciler)
	if l, err := rc.Lookup(t.Context(), d, since); err != nil || !l.Found || l.State != schemas.Delivered || l.Receipt.Provider != "aliyun" {
		t.Errorf("%+v, %v", l, err)
	}
	d = channeltest.Delivery(201)
	d.Message.Codes = map[string]string{"tencent": "1234567", "huawei": "8ff5"}
	if l, err := rc.Lookup(t.Context(), d, since); err == nil {
		t.Errorf("%+v: a message that Tencent or Huawei may have is not lost", l)
	}
}
