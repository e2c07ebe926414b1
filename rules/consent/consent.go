// Package consent keeps rule 1 of the carriers and the law behind it: no commercial SMS without the
// person's consent, and none any more once the person has refused (通信短信息服务管理规定, MIIT, in force since
// 30 June 2015). It is asked right before every call, since people refuse between planning and sending.
//
// Each address of each tenant has one record, shared by all pods and changed by compare-and-swap: the
// last word for each category, and the last changes. What cannot be known is not sent: an unreadable
// record or an unreachable store is an error. Verification codes never ask.
package consent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The ids of the verdicts: marketing without consent is rule 1 of the carriers, a refusal has its own.
const (
	RuleNoConsent = "1"
	RuleOptOut    = "opt-out"
	unavailable   = "consent-unavailable"
)

const (
	// minKeep is five months: how long proof of consent is to be kept after its last use, by the draft of
	// 通信短信息和语音呼叫服务管理规定 of 31 August 2020 (not known to be in force).
	minKeep = 150 * 24 * time.Hour
	maxKeep = 10 * 365 * 24 * time.Hour
	// useStep is how exactly the last use is known: one write an address and day, not one a message.
	useStep = 24 * time.Hour
	// patience bounds one operation, whatever the caller's context says.
	patience = 10 * time.Second
	// attempts bounds the races for one record.
	attempts = 16
)

// Config is the section guards.consent.
type Config struct {
	// Required are the categories that need an agreement before anything is sent; default marketing.
	// A refusal counts for every category but verification, required or not.
	Required *[]schemas.Category `yaml:"required"`
	// Keep is how long the proof of an agreement is kept after its last use; default and minimum 3600h,
	// which is 150 days.
	Keep *time.Duration `yaml:"keep"`
}

// Rule is the consent rule, and keeps the records. Safe for concurrent use.
type Rule struct {
	store    rules.Store
	required map[schemas.Category]bool
	keep     time.Duration
}

var (
	_ rules.Reserver      = (*Rule)(nil)
	_ rules.ConsentKeeper = (*Rule)(nil)
)

// New opens the rule, a [*Rule]; it is a [rules.ReserverFactory].
func New(decode func(into any) error, env rules.Env) (rules.Reserver, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	r := &Rule{store: env.Consents, required: map[schemas.Category]bool{schemas.Marketing: true}, keep: minKeep}
	if c.Required != nil {
		clear(r.required)
		for _, category := range *c.Required {
			if !slices.Contains(schemas.ConsentCategories, category) {
				return nil, fmt.Errorf("required: %q cannot be agreed to; want some of %v", category, schemas.ConsentCategories)
			}
			if r.required[category] {
				return nil, fmt.Errorf("required: %s is there twice", category)
			}
			r.required[category] = true
		}
		if !r.required[schemas.Marketing] {
			return nil, errors.New("required: marketing cannot be left out: the law asks for consent")
		}
	}
	if c.Keep != nil {
		r.keep = *c.Keep
	}
	if r.keep < minKeep || r.keep > maxKeep {
		return nil, fmt.Errorf("keep is %s, want 3600h (150 days) to 87600h (10 years)", r.keep)
	}
	return r, nil
}

// address is what a message of this kind is sent to; "" when it goes to no person.
func address(in rules.Input) string {
	switch in.Kind {
	case "sms":
		return in.Delivery.To.Phone
	case "email":
		return in.Delivery.To.Email
	default:
		return ""
	}
}

// Concerns says whether the message is one that a person can refuse: no verification code, and sent
// to a number or mailbox.
func (r *Rule) Concerns(in rules.Input) bool {
	return in.Delivery.Category != schemas.Verification && address(in) != ""
}

// Reserve judges a message by the record of its address: Suppress by [RuleOptOut] after a refusal, by
// [RuleNoConsent] where an agreement is required and there is none, else Pass. An agreement that lets a
// message out is marked as used. Any error means "do not send".
func (r *Rule) Reserve(ctx context.Context, in rules.Input, _ string, _ time.Time) (rules.Verdict, error) {
	category := in.Delivery.Category
	var v rules.Verdict
	err := r.change(ctx, in.Delivery.Tenant, address(in), func(c *schemas.Consent) bool {
		v = rules.Verdict{}
		entry, spoken := c.States[category]
		switch {
		case spoken && entry.State == schemas.OptedOut:
			v = refused(entry)
		case !r.required[category]:
		case !spoken:
			v = unknown(category)
		case in.Now.Sub(c.Used) >= useStep:
			c.Used = in.Now.UTC().Truncate(time.Second)
			return true
		}
		return false
	})
	if err != nil {
		return rules.Verdict{Rule: unavailable}, fmt.Errorf("consent: %w", err)
	}
	return v, nil
}

// Release has nothing to give back.
func (r *Rule) Release(context.Context, rules.Input, string) error { return nil }

func suppress(rule, zh, en string, args ...any) rules.Verdict {
	return rules.Verdict{Action: rules.Suppress, Rule: rule, Hits: []schemas.Hit{{Rule: rule, Action: rules.ReportBlock, Advice: rules.Textf(zh, en, args...)}}}
}

func refused(e schemas.ConsentEntry) rules.Verdict {
	return suppress(RuleOptOut,
		"收件人已于 %[1]s（北京时间）退订此类消息（方式：%[2]s）；仅在本人再次同意后，登记新的同意才能恢复发送",
		"the person refused this kind of message on %[1]s (UTC+8, by %[2]s); only a new agreement of that person, once recorded, lets it out again",
		e.Time.In(shanghai).Format("2006-01-02 15:04"), e.How)
}

func unknown(c schemas.Category) rules.Verdict {
	return suppress(RuleNoConsent,
		"没有收件人同意接收此类消息（%[1]s）的记录：请先取得同意并登记（yizhan consent import），不得群发给未同意的人；如并非营销，请改用正确的 category",
		"there is no record that the person agreed to this kind of message (%[1]s): get an agreement and record it first (yizhan consent import); if it is no marketing, give the event its right category",
		c)
}

// shanghai is fixed: China has had no daylight saving time since 1991.
var shanghai = time.FixedZone("CST", 8*60*60)

// Record adds an answer. The later word counts, in whatever order they are recorded; of two of the
// same second, the refusal. The same answer again changes nothing.
func (r *Rule) Record(ctx context.Context, ch *schemas.ConsentChange, by string, now time.Time) (rules.ConsentEffect, error) {
	entry := schemas.ConsentEntry{ConsentWord: ch.ConsentWord, By: by, Recorded: now.UTC().Truncate(time.Second)}
	var effect rules.ConsentEffect
	err := r.change(ctx, ch.Tenant, ch.Address(), func(c *schemas.Consent) bool {
		effect = add(c, entry)
		if effect == rules.ConsentUnchanged {
			return false
		}
		if effect == rules.ConsentRecorded && c.Address() == "" { // unknown so far, or erased
			c.Phone, c.Email, c.Erased = ch.Phone, ch.Email, time.Time{}
		}
		return true
	})
	if err != nil {
		return "", fmt.Errorf("consent: %w", err)
	}
	return effect, nil
}

// Consent is what is known of an address; nil when nothing is.
func (r *Rule) Consent(ctx context.Context, tenant, address string) (*schemas.Consent, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, _, err := r.load(ctx, tenant, address)
	if err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	if len(c.States) == 0 {
		return nil, nil
	}
	return c, nil
}

// Consents lists records, see [rules.Lister]; one that cannot be read ends the list with an error.
func (r *Rule) Consents(ctx context.Context, tenant string, from uint64, f func(c *schemas.Consent, cursor uint64) bool) error {
	lister, ok := r.store.(rules.Lister)
	if !ok {
		return errNoStore
	}
	var bad error
	err := lister.Each(ctx, tenant, from, func(value []byte, revision uint64) bool {
		c, err := decode(value)
		if err != nil {
			bad = fmt.Errorf("consent record %d: %w", revision, err)
			return false
		}
		return f(c, revision)
	})
	return errors.Join(err, bad)
}

// Erase deletes an address and its history, see [rules.ConsentKeeper].
func (r *Rule) Erase(ctx context.Context, tenant, address string, now time.Time) (found bool, keep time.Time, err error) {
	err = r.change(ctx, tenant, address, func(c *schemas.Consent) bool {
		found, keep = c.Address() != "", time.Time{}
		if !found {
			return false
		}
		if until := c.Used.Add(r.keep); !c.Used.IsZero() && until.After(now) {
			keep = until
			return false
		}
		refusals := map[schemas.Category]schemas.ConsentEntry{}
		for category, e := range c.States {
			if e.State == schemas.OptedOut {
				e.Text = ""
				refusals[category] = e
			}
		}
		*c = schemas.Consent{Tenant: c.Tenant, States: refusals, Erased: now.UTC().Truncate(time.Second)}
		return true
	})
	if err != nil {
		err = fmt.Errorf("consent: %w", err)
	}
	return found, keep, err
}

var errNoStore = errors.New("there is no store of consents here")

// change applies f to the address's record until a swap takes it, or f has nothing to change.
func (r *Rule) change(ctx context.Context, tenant, address string, f func(*schemas.Consent) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range attempts {
		if i > 0 {
			if err := rules.Pause(ctx, i); err != nil {
				return err
			}
		}
		c, revision, err := r.load(ctx, tenant, address)
		if err != nil {
			return err
		}
		if !f(c) {
			return nil
		}
		value, err := encode(c)
		if err != nil {
			return err
		}
		if _, err = r.store.Swap(ctx, key(tenant, address), value, revision, 0); !errors.Is(err, rules.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%d attempts: %w", attempts, rules.ErrConflict)
}

func (r *Rule) load(ctx context.Context, tenant, address string) (*schemas.Consent, uint64, error) {
	if r.store == nil {
		return nil, 0, errNoStore
	}
	value, revision, err := r.store.Load(ctx, key(tenant, address))
	if err != nil {
		return nil, 0, err
	}
	if value == nil {
		return &schemas.Consent{Tenant: tenant, States: map[schemas.Category]schemas.ConsentEntry{}}, revision, nil
	}
	c, err := decode(value)
	if err == nil && c.Tenant != tenant {
		err = errRecord
	}
	return c, revision, err
}
