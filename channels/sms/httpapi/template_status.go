package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	// approvedFor is how long an answer about a template is taken for true; templates change by hand.
	approvedFor  = 10 * time.Minute
	maxTemplates = 1000
)

// templates remembers what the provider said of them.
type templates struct {
	mu    sync.Mutex
	known map[string]status
}

type status struct {
	until   time.Time
	failure *channels.Failure // nil: approved
}

// CheckTemplate asks whether the delivery's template is approved, see [sms.TemplateChecker].
func (c *Channel) CheckTemplate(ctx context.Context, d *schemas.Delivery) *channels.Failure {
	t := c.api.TemplateStatus
	if t == nil {
		return nil
	}
	vals, f := c.values(d)
	if f != nil {
		return f
	}
	code, _ := vals["code"].(string)
	now := c.now()
	c.templates.mu.Lock()
	s, ok := c.templates.known[code]
	c.templates.mu.Unlock()
	if ok && now.Before(s.until) {
		return s.failure
	}
	a, f := c.do(ctx, &t.Request, vals)
	switch {
	case f != nil:
		return c.harmless(f, d) // not remembered: it says nothing of the template
	case a.status >= 200 && a.status < 300 && a.readable && t.Approved.isTrue(a.at):
	default:
		f = &channels.Failure{Kind: kind, Provider: "dispatcher", Code: "dispatcher:template-not-approved", Class: channels.Config, Line: channels.Line(t.Reason.str(a.at))}
	}
	c.templates.mu.Lock()
	defer c.templates.mu.Unlock()
	if c.templates.known == nil || len(c.templates.known) >= maxTemplates {
		c.templates.known = make(map[string]status)
	}
	c.templates.known[code] = status{now.Add(approvedFor), f}
	return f
}

var _ sms.TemplateChecker = (*Channel)(nil)
