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
	f = c.templateStatus(ctx, vals)
	if f != nil && f.Code != notApproved {
		f.Line = c.hide(f.Line, d)
		return f // not remembered: it says nothing of the template
	}
	c.templates.mu.Lock()
	defer c.templates.mu.Unlock()
	if c.templates.known == nil || len(c.templates.known) >= maxTemplates {
		c.templates.known = make(map[string]status)
	}
	c.templates.known[code] = status{now.Add(approvedFor), f}
	return f
}

// notApproved is the provider's no to a template.
const notApproved = "dispatcher:template-not-approved"

// templateStatus asks for one template; nil is approved.
func (c *Channel) templateStatus(ctx context.Context, vals values) *channels.Failure {
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	t := c.api.TemplateStatus
	a, f := c.do(ctx, &t.Request, vals)
	switch {
	case f != nil:
	case a.status >= 200 && a.status < 300 && a.readable && t.Approved.isTrue(a.at):
		return nil
	default:
		if code := c.refusal(a); code != nil {
			f = code
			break
		}
		return &channels.Failure{Kind: kind, Provider: "dispatcher", Code: notApproved, Class: channels.Config, Line: channels.Line(t.Reason.str(a.at))}
	}
	return sms.Asked(f)
}

// refusal is a failure of the question itself, such as refused credentials; nil where the answer is one.
func (c *Channel) refusal(a reply) *channels.Failure {
	code := ""
	if a.readable {
		code = c.api.Answer.Code.str(a.at)
	}
	if code == "" && a.status < 300 && a.readable {
		return nil
	}
	_, f := c.judge(a)
	return f
}

var _ sms.TemplateChecker = (*Channel)(nil)
