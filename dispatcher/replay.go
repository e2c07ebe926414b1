package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// ReplayRequest says what to send again.
type ReplayRequest struct {
	Where string `json:"where"` // filter, see deadletter.ParseFilter; "" is all
	// Uncertain includes deliveries of which nobody knows whether they arrived: they may arrive twice.
	Uncertain bool `json:"uncertain,omitzero"`
	// Confirm is the plan's Eligible. Without it nothing is sent: the answer is the plan.
	Confirm int      `json:"confirm,omitzero"`
	Reason  string   `json:"reason,omitzero"`
	By      string   `json:"-"` // who asks, from the sign-in
	Tenants []string `json:"-"` // whose letters may be touched; empty: all
}

// ReplayPlan is what would be sent again, and what not and why.
type ReplayPlan struct {
	Count     int                     `json:"count"`     // dead letters that match
	Eligible  int                     `json:"eligible"`  // of these, how many would go
	Refused   map[string]int          `json:"refused"`   // why the others would not: expired, uncertain, needs-planning, moved-on
	Texts     map[string]schemas.Text `json:"texts"`     // the reasons in words
	Replayed  int                     `json:"replayed"`  // after a confirmed run
	Remaining int                     `json:"remaining"` // eligible ones left for the next call
}

// Reasons why a dead letter does not go again.
var replayTexts = map[string]schemas.Text{
	"expired":        {Zh: "已过有效期，再发没有意义", En: "past its expiry: nobody needs it any more"},
	"uncertain":      {Zh: "上次结果未知，可能已经送达；确认后可加 --uncertain 一并重发", En: "nobody knows whether it arrived; add --uncertain to send it all the same"},
	"needs-planning": {Zh: "从未生成过内容（缺模板、缺收件地址等），请修正后由业务系统以新的 id 重新发布事件", En: "it never had a content (no template, no address): mend the cause and publish the event again under a new id"},
	"no-channel":     {Zh: "对应的通道已不在配置中，恢复该通道后才能重发", En: "its channel is not configured any more; configure it again first"},
	"moved-on":       {Zh: "已经重发过或状态已变", En: "already sent again, or its state has changed"},
}

// maxReplay bounds one confirmed call; the caller repeats it until Remaining is 0.
const maxReplay = 1000

// ErrPlanChanged means that what matches now is not what was confirmed.
var ErrPlanChanged = errors.New("the number of eligible dead letters is not the confirmed one")

// Replay plans, and with a Confirm equal to the plan sends up to a thousand letters again: attempts
// start anew, the channel and the idempotency key stay. Asked twice it sends once.
func (d *Dispatcher) Replay(ctx context.Context, q ReplayRequest) (*ReplayPlan, error) {
	f, err := deadletter.ParseFilter(q.Where, time.Now())
	if err != nil {
		return nil, err
	}
	p := &ReplayPlan{Refused: map[string]int{}, Texts: map[string]schemas.Text{}}
	var batch []deadletter.Item
	err = d.Dead.Each(ctx, f, func(i deadletter.Item) bool {
		if !allowed(q.Tenants, i.Tenant) {
			return true
		}
		p.Count++
		if why := d.refused(i, q.Uncertain); why != "" {
			p.Refused[why]++
			p.Texts[why] = replayTexts[why]
			return true
		}
		p.Eligible++
		if len(batch) < maxReplay {
			batch = append(batch, i)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	p.Remaining = p.Eligible
	if q.Confirm == 0 {
		return p, nil
	}
	if q.Confirm != p.Eligible {
		return p, fmt.Errorf("%w: confirmed %d, now %d", ErrPlanChanged, q.Confirm, p.Eligible)
	}
	if q.Reason == "" {
		return nil, &schemas.Invalid{Problems: []schemas.Problem{{
			Pointer: "/reason", Keyword: "required", Text: schemas.Text{Zh: "重发必须写明原因", En: "a replay needs a reason"},
		}}}
	}
	for _, i := range batch {
		moved, err := d.replay(ctx, i, q)
		if err != nil {
			return p, err
		}
		p.Remaining--
		if moved {
			p.Refused["moved-on"]++
			p.Texts["moved-on"] = replayTexts["moved-on"]
		} else {
			p.Replayed++
		}
	}
	d.Log.Info("replay", zap.String("by", q.By), zap.String("reason", q.Reason), zap.String("where", q.Where),
		zap.Int("replayed", p.Replayed), zap.Int("remaining", p.Remaining))
	return p, nil
}

func allowed(tenants []string, tenant string) bool {
	if len(tenants) == 0 {
		return true
	}
	for _, t := range tenants {
		if t == tenant || t == "*" {
			return true
		}
	}
	return false
}

func (d *Dispatcher) refused(i deadletter.Item, uncertain bool) string {
	switch {
	case i.Delivery == nil && i.Channel != EventChannel:
		return "needs-planning"
	case ledger.NeedsPlanning(i.Cause.Code):
		return "needs-planning"
	case i.Delivery == nil:
		return ""
	case d.Channels[i.Delivery.Channel] == nil:
		return "no-channel"
	case !i.Delivery.Expires.IsZero() && time.Now().After(i.Delivery.Expires):
		return "expired"
	case i.Cause.Class == "uncertain" && !uncertain:
		return "uncertain"
	}
	return ""
}

// replay sends one letter again: ledger first, then the delivery, then the letter is removed. A
// second replay of the same letter meets the ledger's new record.
func (d *Dispatcher) replay(ctx context.Context, i deadletter.Item, q ReplayRequest) (moved bool, err error) {
	if i.Delivery == nil {
		return false, d.replayEvent(ctx, i, q)
	}
	body, err := schemas.Encode(i.Delivery)
	if err != nil {
		return false, err
	}
	r := &ledger.Record{
		Time: time.Now(), State: schemas.Planned, Step: ledger.StepReplay, Replay: i.Replay + 1, Since: time.Now(),
		Worker: d.Worker, By: q.By, Reason: q.Reason,
	}
	subject := d.ledgerSubject(i.Delivery)
	seq, err := d.Ledger.Put(ctx, subject, r, i.Fence)
	if errors.Is(err, broker.ErrConflict) {
		last, at, lerr := d.Ledger.Last(ctx, subject)
		if lerr != nil {
			return false, lerr
		}
		if last == nil { // not moved on: the ledger has forgotten, or we look in the wrong place
			return false, fmt.Errorf("dead letter %s has no ledger record; it stays", i.ID)
		}
		if last.State != schemas.Planned || last.Replay != i.Replay+1 {
			return true, d.Dead.Delete(ctx, i)
		}
		r, seq, moved, err = last, at, true, nil // an earlier replay was interrupted: finish it
	}
	if err != nil {
		return false, err
	}
	if err := d.carry(ctx, i.Delivery, body, r, seq); err != nil {
		return false, err
	}
	return moved, d.Dead.Delete(ctx, i)
}

// headerReplayed marks an event that a person sent again: it may take the place of its own dead record.
// Who did and why goes into the new record.
const (
	headerReplayed = "Yz-Replayed"
	headerReason   = "Yz-Reason"
)

func (d *Dispatcher) replayEvent(ctx context.Context, i deadletter.Item, q ReplayRequest) error {
	m := nats.NewMsg("")
	m.Data = i.Event
	typ := "unreadable"
	for n, v := range i.Headers {
		m.Header.Set(n, v)
	}
	if e, err := decode(m.Header, m.Data); err == nil {
		typ = e.Type
	}
	m.Subject = broker.EventSubject(i.Tenant, typ)
	m.Header.Set(headerReplayed, cmp.Or(q.By, "-"))
	m.Header.Set(headerReason, url.QueryEscape(q.Reason))
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("replay-%s-%d", i.ID, i.Seq))
	if _, err := d.Broker.Publish(ctx, m); err != nil {
		return err
	}
	return d.Dead.Delete(ctx, i)
}
