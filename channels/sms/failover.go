package sms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

var (
	callsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_sms_calls_total", Help: "Calls to the SMS providers of a channel with several, by class of the outcome (ok when accepted).",
	}, []string{"channel", "provider", "class"})
	failoversTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_sms_failovers_total", Help: "Messages that went on to another SMS provider, by the one that did not take them.",
	}, []string{"channel", "provider"})
	shadowTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_sms_shadow_total", Help: "Messages checked against a provider in shadow mode: good, finding, dropped.",
	}, []string{"channel", "result"})
)

// Config is the section of a channel with several providers.
type Config struct {
	channels.Common `yaml:",inline"`

	// Signature is the default SMS signature, without brackets; a provider may have one of its own.
	Signature string `yaml:"signature"`
	// Providers share the messages by weight, and stand in for each other. Each has the settings of a channel of its
	// provider, and those of share.
	Providers []strictyaml.Section `yaml:"providers"`
	// Shadow is a provider that every message is checked against without being sent.
	Shadow strictyaml.Section `yaml:"shadow,omitempty"`
	// Receipts lets the providers push receipts and replies; each adds ?provider=NAME to the address.
	Receipts channels.Receipts `yaml:"receipts,omitempty"`
}

// share is what a provider has besides, as one of several.
type share struct {
	Name     string          `yaml:"name"`
	Provider string          `yaml:"provider"`
	Weight   *strictyaml.Int `yaml:"weight"`   // 0..1000, default 1; 0: only when others fail
	Price    *float64        `yaml:"price"`    // of one part
	Currency string          `yaml:"currency"` // of price, default CNY
	// For a shadow: the share of the messages that are checked, more than 0 and at most 1; default 1.
	Share *float64 `yaml:"share"`
}

const (
	defaultSlots   = 16
	defaultTimeout = 10 * time.Second
	maxProviders   = 8
	maxWeight      = 1000
	// minLeft is how much of an attempt's time another provider must still have to be tried.
	minLeft = time.Second
)

var (
	memberName   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)
)

// New returns the factory of kind "sms". A section with a provider is a channel of that provider alone; one with
// providers shares its messages among them.
func New(providers map[string]channels.Factory) channels.Factory {
	return func(env channels.Env, decode func(into any) error) (channels.Channel, error) {
		var section strictyaml.Section
		if err := decode(&section); err != nil {
			return nil, err
		}
		var which struct {
			Provider  string               `yaml:"provider"`
			Providers []strictyaml.Section `yaml:"providers"`
		}
		if err := section.Peek(&which); err != nil {
			return nil, err
		}
		if which.Providers != nil {
			return openSeveral(env, section, providers)
		}
		open, err := factory(providers, which.Provider, "provider")
		if err != nil {
			return nil, err
		}
		return open(env, decode)
	}
}

func factory(providers map[string]channels.Factory, name, key string) (channels.Factory, error) {
	open, ok := providers[name]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(providers)), ", ")
		return nil, channels.BadSetting(key, "未知的短信服务商“"+name+"”，可用的有："+known,
			"unknown SMS provider \""+name+"\"; known are: "+known)
	}
	return open, nil
}

// several is one SMS channel with several providers. Safe for concurrent use.
type several struct {
	name    string
	traits  channels.Traits
	members []*member
	shadow  *shadow // nil: none
	log     *zap.Logger
	now     func() time.Time
}

type member struct {
	share
	weight   int
	ch       channels.Channel
	traits   channels.Traits
	breaker  channels.Breaker
	primary  bool
	accepted atomic.Uint64
	failed   atomic.Uint64
	unknown  atomic.Uint64
	passed   atomic.Uint64
}

func openSeveral(env channels.Env, section strictyaml.Section, providers map[string]channels.Factory) (_ channels.Channel, err error) {
	var cfg Config
	if err := section.Decode(&cfg); err != nil {
		return nil, err
	}
	if err := cfg.Common.Check(); err != nil {
		return nil, err
	}
	if err := CheckSignature(cfg.Signature); err != nil {
		return nil, err
	}
	if n := len(cfg.Providers); n == 0 || n > maxProviders {
		return nil, channels.BadSetting("providers", fmt.Sprintf("服务商须有 1 到 %d 个", maxProviders), fmt.Sprintf("give 1 to %d providers", maxProviders))
	}
	if cfg.Slots == 0 {
		cfg.Slots = defaultSlots
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	log := env.Log
	if log == nil {
		log = zap.NewNop()
	}
	s := &several{name: env.Name, log: log, now: time.Now}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	total := 0
	for i, part := range cfg.Providers {
		m, err := openMember(env, part, section, providers, "providers/"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		s.members = append(s.members, m)
		if slices.ContainsFunc(s.members[:i], func(o *member) bool { return o.Name == m.Name }) {
			return nil, channels.BadSetting("providers/"+strconv.Itoa(i)+"/name", "服务商名称重复："+m.Name, "the name "+m.Name+" is there twice")
		}
		if m.Share != nil {
			return nil, channels.BadSetting("providers/"+strconv.Itoa(i)+"/share", "share 仅用于 shadow；分流请用 weight", "share belongs to shadow; messages are shared by weight")
		}
		m.primary = i == 0
		total += m.weight
	}
	if total == 0 {
		return nil, channels.BadSetting("providers", "至少一个服务商的 weight 须大于 0", "the weight of one provider at least must be more than 0")
	}
	var names []string
	for _, m := range s.members {
		if !slices.Contains(names, m.traits.Provider) {
			names = append(names, m.traits.Provider)
		}
	}
	s.traits = channels.Traits{
		Kind: "sms", Provider: strings.Join(names, "+"), Address: channels.Phone, Once: true, Capped: true,
		Receipts:  cfg.Receipts.On(),
		Signature: cfg.Signature, Slots: cfg.Slots, Timeout: cfg.Timeout,
	}
	if cfg.Shadow.Present() {
		m, err := openMember(env, cfg.Shadow, section, providers, "shadow")
		if err != nil {
			return nil, err
		}
		if s.shadow, err = startShadow(s.name, m, log); err != nil {
			return nil, errors.Join(err, m.ch.Close())
		}
	}
	asks := slices.ContainsFunc(s.members, func(m *member) bool { _, ok := m.ch.(channels.Reconciler); return ok })
	if err := cfg.Receipts.Check(asks); err != nil {
		return nil, err
	}
	if !asks {
		return s, nil
	}
	return asking{s}, nil
}

func openMember(env channels.Env, part, whole strictyaml.Section, providers map[string]channels.Factory, at string) (*member, error) {
	m := &member{weight: 1}
	var notHere struct {
		Kind     any `yaml:"kind"`
		Rate     any `yaml:"rate"`
		Receipts any `yaml:"receipts"`
	}
	if err := errors.Join(part.Peek(&m.share), part.Peek(&notHere)); err != nil {
		return nil, err
	}
	open, err := factory(providers, m.Provider, at+"/provider")
	if err != nil {
		return nil, err
	}
	if m.Name == "" {
		m.Name = m.Provider
	}
	if m.Weight != nil {
		m.weight = int(*m.Weight)
	}
	if m.Currency == "" {
		m.Currency = "CNY"
	}
	bad := func(key, zh, en string) error { return channels.BadSetting(at+"/"+key, zh, en) }
	switch {
	case notHere.Kind != nil:
		return nil, bad("kind", "kind 写在通道上，不写在服务商上", "kind belongs to the channel")
	case notHere.Rate != nil:
		return nil, bad("rate", "rate 写在通道上，不写在服务商上", "rate belongs to the channel")
	case notHere.Receipts != nil:
		return nil, bad("receipts", "receipts 写在通道上，不写在服务商上", "receipts belongs to the channel")
	case !memberName.MatchString(m.Name):
		return nil, bad("name", "名称只能使用小写字母、数字、- 和 _，以字母开头", "a name is made of a-z, 0-9, - and _, and begins with a letter")
	case m.weight < 0 || m.weight > maxWeight:
		return nil, bad("weight", fmt.Sprintf("权重须在 0 到 %d 之间", maxWeight), fmt.Sprintf("the weight must be between 0 and %d", maxWeight))
	case m.Price != nil && !(*m.Price > 0 && *m.Price <= 100): // NaN is neither
		return nil, bad("price", "每条单价须大于 0，最多 100", "the price of a part must be more than 0 and at most 100")
	case !currencyCode.MatchString(m.Currency):
		return nil, bad("currency", "货币应为 ISO 4217 代码，如 CNY", "want a code of ISO 4217, such as CNY")
	}
	own := part.Without("name", "weight", "price", "currency", "share").Or(whole, "signature", "slots", "timeout")
	if m.ch, err = open(env, own.Decode); err != nil {
		return nil, within(at, err)
	}
	m.traits = m.ch.Traits()
	return m, nil
}

// within puts a provider's problems at its place in the channel's section.
func within(at string, err error) error {
	bad, ok := errors.AsType[*schemas.Invalid](err)
	if !ok {
		return err
	}
	out := &schemas.Invalid{Problems: slices.Clone(bad.Problems)}
	for i := range out.Problems {
		out.Problems[i].Pointer = "/" + at + out.Problems[i].Pointer
	}
	return out
}

// Traits says what the dispatcher must know of the channel. Provider names all of them, so that the rules ask what is
// strictest.
func (s *several) Traits() channels.Traits { return s.traits }

// Close closes every provider.
func (s *several) Close() error {
	var errs []error
	if s.shadow != nil {
		errs = append(errs, s.shadow.close())
	}
	for _, m := range s.members {
		errs = append(errs, m.ch.Close())
	}
	return errors.Join(errs...)
}

// order is in which order the providers are tried for a delivery: by weighted rendezvous hashing, so that each is first for
// its share of the deliveries, and an attempt meets the provider that the one before met. Those of weight 0 come last, in
// the order of the settings.
func (s *several) order(id string) []*member {
	score := make(map[*member]float64, len(s.members))
	for _, m := range s.members {
		h := fnv.New64a()
		h.Write([]byte(id + "\x00" + m.Name))
		x := h.Sum64()
		x = (x ^ x>>33) * 0xff51afd7ed558ccd // FNV's high bits depend little on the last bytes; this spreads them
		x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
		x ^= x >> 33
		u := (float64(x>>11) + 0.5) / (1 << 53) // in (0, 1)
		score[m] = math.Inf(1)
		if m.weight > 0 {
			score[m] = -math.Log(u) / float64(m.weight)
		}
	}
	out := slices.Clone(s.members)
	slices.SortStableFunc(out, func(a, b *member) int { return cmp.Compare(score[a], score[b]) })
	return out
}

// code is the message's template code at the provider; false when the template is not there. A template's plain code is
// the first provider's.
func (m *member) code(msg *schemas.Message) (string, bool) {
	own := schemas.Message{Codes: msg.Codes}
	if m.primary {
		own.Code = msg.Code
	}
	code := Code(&own, m.Name, m.traits.Provider)
	return code, code != "" || msg.Code == "" && len(msg.Codes) == 0
}

// fits is the delivery as the provider is to get it; false when the template is not at this provider.
func (s *several) fits(m *member, d *schemas.Delivery) (*schemas.Delivery, bool) {
	code, ok := m.code(&d.Message)
	if !ok {
		return nil, false
	}
	own := *d
	own.Message.Code, own.Message.Codes = code, nil
	if own.Message.Signature == s.traits.Signature {
		own.Message.Signature = m.traits.Signature
	}
	return &own, true
}

// Send tries the providers in the delivery's order, within one time limit. It goes on to the next only where the last one
// surely does not have the message for a reason of its own ([channels.Failure.Surely]): never where nobody knows, and
// not with a message that was refused for itself.
func (s *several) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.traits.Timeout)
	defer cancel()
	if s.shadow != nil {
		s.shadow.offer(d)
	}
	var failures []*channels.Failure
	var before []string
	for _, m := range s.order(d.ID) {
		own, ok := s.fits(m, d)
		if !ok {
			continue
		}
		// Before the breaker is asked: a probe that is let go and never made would keep the next one away.
		if end, _ := ctx.Deadline(); len(failures) > 0 && time.Until(end) < minLeft {
			break
		}
		if ok, retryAt, cause := m.breaker.Allow(s.now()); !ok {
			failures = append(failures, s.open(retryAt, cause))
			before = append(before, m.Name+" dispatcher:breaker-open")
			continue
		}
		receipt, err := m.ch.Send(ctx, own)
		if err == nil {
			m.breaker.Done(s.now(), nil)
			m.accepted.Add(1)
			callsTotal.WithLabelValues(s.name, m.Name, "ok").Inc()
			return m.receipt(own, receipt, before), nil
		}
		f := channels.Explain(err)
		s.count(m, f)
		if !errors.Is(ctx.Err(), context.Canceled) { // our own end says nothing of the provider
			m.breaker.Done(s.now(), f)
		}
		if !f.Surely() || ctx.Err() != nil {
			return channels.Receipt{}, f
		}
		failures = append(failures, f)
		before = append(before, m.Name+" "+f.Code)
		m.passed.Add(1)
		failoversTotal.WithLabelValues(s.name, m.Name).Inc()
		s.log.Info("sms provider did not take it", zap.String("delivery", d.ID), zap.String("provider", m.Name), zap.String("code", f.Code), zap.String("class", string(f.Class)))
	}
	if len(failures) == 0 {
		return channels.Receipt{}, Ours("dispatcher:no-template-code", channels.Content)
	}
	return channels.Receipt{}, worst(failures)
}

func (s *several) count(m *member, f *channels.Failure) {
	callsTotal.WithLabelValues(s.name, m.Name, string(f.Class)).Inc()
	if f.Maybe {
		m.unknown.Add(1)
	} else {
		m.failed.Add(1)
	}
}

// open is the failure of a provider whose breaker is open: a wait without an attempt.
func (s *several) open(retryAt time.Time, cause *channels.Failure) *channels.Failure {
	f := &channels.Failure{Kind: "sms", Provider: "dispatcher", Code: "dispatcher:breaker-open", Class: channels.Throttled}
	if !retryAt.IsZero() {
		f.After = max(retryAt.Sub(s.now()), 0)
	}
	if cause != nil {
		f.Line = channels.Line(strings.TrimSpace(cause.Provider + " " + cause.Code + " " + cause.Line))
	}
	return f
}

// worst is the failure that the delivery goes on with: where one provider may take it later, the shortest wait; else the
// first, which is the delivery's own provider's.
func worst(failures []*channels.Failure) *channels.Failure {
	best := failures[0]
	for _, f := range failures[1:] {
		switch {
		case f.Class == channels.Throttled && (best.Class != channels.Throttled || f.After > 0 && f.After < best.After),
			f.Class == channels.Temporary && best.Class != channels.Throttled && best.Class != channels.Temporary:
			best = f
		}
	}
	return best
}

// receipt adds who took the message, what it costs, and who did not take it before.
func (m *member) receipt(d *schemas.Delivery, r channels.Receipt, before []string) channels.Receipt {
	r.Provider = m.Name
	if r.Parts = Segments(d.Message.Signature, d.Message.Text); m.Price != nil {
		r.Cost = m.cost(r.Parts)
	}
	r.Passed = channels.Line(strings.Join(before, ", "))
	return r
}

// cost is what n parts cost, such as "0.09 CNY".
func (m *member) cost(n int) string {
	amount := strconv.FormatFloat(float64(n)**m.Price, 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(amount, "0"), ".") + " " + m.Currency
}

// asking is a channel of which one provider at least can be asked.
type asking struct{ *several }

// Lookup asks every provider that may have the delivery. What one of them has counts; it is not there only when all say
// so, and one that cannot be asked, or cannot say so, leaves it open.
func (a asking) Lookup(ctx context.Context, d *schemas.Delivery, since time.Time) (channels.Lookup, error) {
	var found channels.Lookup
	var failed error
	for _, m := range a.order(d.ID) {
		own, ok := a.fits(m, d)
		if !ok {
			continue // it was never given this message
		}
		rc, ok := m.ch.(channels.Reconciler)
		if !ok {
			f := Ours("dispatcher:lookup-incomplete", channels.Temporary)
			f.Line = m.Name + " has no query; only its receipt can tell"
			failed = f
			continue
		}
		l, err := rc.Lookup(ctx, own, since)
		switch {
		case err != nil:
			failed = err
		case l.Found:
			l.Receipt.Provider = m.Name
			found = Better(found, l)
		}
		if found.State == schemas.Delivered {
			break
		}
	}
	if !found.Found && failed != nil {
		return channels.Lookup{}, failed
	}
	return found, nil
}

// Reports reads a push of the provider that the request's query names (provider=NAME); without it, of the only one
// that reports.
func (s *several) Reports(r *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	name := r.URL.Query().Get("provider")
	var reporters []channels.Reporter
	for _, m := range s.members {
		if rep, ok := m.ch.(channels.Reporter); ok && (name == "" || name == m.Name) {
			reporters = append(reporters, rep)
		}
	}
	if len(reporters) != 1 {
		return nil, channels.ReportAnswer{Status: http.StatusBadRequest}, errors.New("which provider pushes is not clear: add ?provider=NAME to the address")
	}
	return reporters[0].Reports(r, body)
}

// Preview shows the request to the provider that the delivery would meet first.
func (s *several) Preview(d *schemas.Delivery) (channels.Wire, error) {
	for _, m := range s.order(d.ID) {
		own, ok := s.fits(m, d)
		if !ok {
			continue
		}
		if p, ok := m.ch.(channels.Previewer); ok {
			w, err := p.Preview(own)
			w.Notes = append(w.Notes, schemas.Text{Zh: "服务商：" + m.Name, En: "provider: " + m.Name})
			return w, err
		}
	}
	return channels.Wire{}, Ours("dispatcher:no-template-code", channels.Content)
}

// Examine examines every provider in turn, the shadow last; the steps bear the provider's name.
func (s *several) Examine(ctx context.Context, x *channels.Examination) {
	all := slices.Clone(s.members)
	if s.shadow != nil {
		all = append(all, s.shadow.m)
	}
	for _, m := range all {
		e, ok := m.ch.(channels.Examiner)
		if !ok {
			continue
		}
		named := *x
		if !m.primary {
			named.Codes = nil // a template's plain code is the first provider's
		}
		named.Report = func(step channels.Step) {
			step.ID = m.Name + "." + step.ID
			step.Title = schemas.Text{Zh: m.Name + " " + step.Title.Zh, En: m.Name + ": " + step.Title.En}
			x.Report(step)
		}
		e.Examine(ctx, &named)
	}
}

// Broken lists the providers that are left alone now.
func (s *several) Broken() []channels.Broken {
	var out []channels.Broken
	for _, m := range s.members {
		if open, since, retryAt, cause := m.breaker.State(); open {
			out = append(out, channels.Broken{Destination: m.Name, Since: since, RetryAt: retryAt, Cause: cause})
		}
	}
	slices.SortStableFunc(out, func(a, b channels.Broken) int { return a.Since.Compare(b.Since) })
	return out
}

// Members lists the providers as they are now.
func (s *several) Members() []channels.Member {
	var out []channels.Member
	for _, m := range s.members {
		v := channels.Member{
			Name: m.Name, Provider: m.traits.Provider, Weight: m.weight,
			Accepted: m.accepted.Load(), Failed: m.failed.Load(), Unknown: m.unknown.Load(), Passed: m.passed.Load(),
		}
		v.Open, v.Since, v.RetryAt, v.Cause = m.breaker.State()
		out = append(out, v)
	}
	if s.shadow != nil {
		out = append(out, s.shadow.member())
	}
	return out
}

var (
	_ channels.Reconciler = asking{}
	_ channels.Reporter   = (*several)(nil)
	_ channels.Previewer  = (*several)(nil)
	_ channels.Composite  = (*several)(nil)
	_ channels.Examiner   = (*several)(nil)
	_ channels.Watched    = (*several)(nil)
)
