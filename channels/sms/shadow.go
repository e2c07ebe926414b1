package sms

import (
	"context"
	"hash/fnv"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	// shadowQueue bounds the messages that wait for their check; more are dropped, never waited for.
	shadowQueue = 256
	// shadowTimeout bounds one check.
	shadowTimeout = 5 * time.Second
	// maxFindings bounds how many different codes are counted.
	maxFindings = 100
)

// TemplateChecker is a provider that can be asked whether a message's template is approved. nil is yes, or that it
// cannot be asked.
type TemplateChecker interface {
	CheckTemplate(ctx context.Context, d *schemas.Delivery) *channels.Failure
}

// shadow checks messages against a provider without sending: it makes the request as a sending would, asks for the
// template where the provider can be asked, and counts what it finds. It holds no sending up and fails none.
type shadow struct {
	channel string
	m       *member
	part    float64
	log     *zap.Logger
	queue   chan *schemas.Delivery
	stop    context.CancelFunc
	done    chan struct{}

	mu                     sync.Mutex
	checked, good, dropped uint64
	findings               map[string]uint64
}

func startShadow(channel string, m *member, log *zap.Logger) (*shadow, error) {
	s := &shadow{
		channel: channel, m: m, part: 1, log: log,
		queue: make(chan *schemas.Delivery, shadowQueue), done: make(chan struct{}), findings: make(map[string]uint64),
	}
	if m.Share != nil {
		if s.part = *m.Share; !(s.part > 0 && s.part <= 1) { // NaN is neither
			return nil, channels.BadSetting("shadow/share", "share 须大于 0，最多 1", "share must be more than 0 and at most 1")
		}
	}
	if m.Weight != nil {
		return nil, channels.BadSetting("shadow/weight", "shadow 不发送消息，没有 weight；抽查比例请用 share", "a shadow sends nothing and has no weight; share says how much is checked")
	}
	if _, ok := m.ch.(channels.Previewer); !ok {
		return nil, channels.BadSetting("shadow/provider", "该服务商不支持 shadow", "this provider cannot be checked against")
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.run(ctx)
	return s, nil
}

// offer hands a delivery over if there is room. It never waits.
func (s *shadow) offer(d *schemas.Delivery) {
	h := fnv.New32a()
	h.Write([]byte(d.ID))
	if float64(h.Sum32()%10_000) >= s.part*10_000 {
		return
	}
	own := *d // the sender goes on with its own
	select {
	case s.queue <- &own:
	default:
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
		shadowTotal.WithLabelValues(s.channel, "dropped").Inc()
	}
}

func (s *shadow) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.queue:
			s.note(d, s.check(ctx, d))
		}
	}
}

// check is what stands against sending d through the provider; nil: nothing that can be known beforehand.
func (s *shadow) check(ctx context.Context, d *schemas.Delivery) *channels.Failure {
	ctx, cancel := context.WithTimeout(ctx, shadowTimeout)
	defer cancel()
	code, ok := s.m.code(&d.Message)
	if !ok {
		return Ours("dispatcher:no-template-code", channels.Content)
	}
	d.Message.Code, d.Message.Codes, d.Message.Signature = code, nil, s.m.traits.Signature
	for _, v := range d.Message.Params {
		if v == "" {
			return Ours("dispatcher:bad-params", channels.Content)
		}
	}
	p, _ := s.m.ch.(channels.Previewer)
	if _, err := p.Preview(d); err != nil {
		return channels.Explain(err)
	}
	if t, ok := s.m.ch.(TemplateChecker); ok {
		return t.CheckTemplate(ctx, d)
	}
	return nil
}

func (s *shadow) note(d *schemas.Delivery, f *channels.Failure) {
	result := "good"
	s.mu.Lock()
	s.checked++
	if f == nil {
		s.good++
	} else {
		result = "finding"
		code := f.Code
		if _, ok := s.findings[code]; !ok && len(s.findings) >= maxFindings {
			code = "other"
		}
		s.findings[code]++
	}
	s.mu.Unlock()
	shadowTotal.WithLabelValues(s.channel, result).Inc()
	parts := Segments(s.m.traits.Signature, d.Message.Text)
	fields := []zap.Field{zap.String("delivery", d.ID), zap.String("provider", s.m.Name), zap.Int("parts", parts)}
	if s.m.Price != nil {
		fields = append(fields, zap.String("cost", s.m.cost(parts)))
	}
	if f == nil {
		s.log.Debug("shadow check", fields...)
		return
	}
	s.log.Info("shadow check", append(fields, zap.String("template", d.Message.Template), zap.String("code", f.Code), zap.String("class", string(f.Class)), zap.String("line", f.Line))...)
}

func (s *shadow) member() channels.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return channels.Member{
		Name: s.m.Name, Provider: s.m.traits.Provider, Shadow: true,
		Checked: s.checked, Good: s.good, Dropped: s.dropped, Findings: maps.Clone(s.findings),
	}
}

func (s *shadow) close() error {
	s.stop()
	<-s.done
	return s.m.ch.Close()
}
