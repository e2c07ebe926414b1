// Package dailycap keeps rule 12 of the carriers: at most 50 messages a day to one number. Day
// means both the Shanghai calendar day and any 24 hours, since carriers and platforms count either way
// (help.aliyun.com/document_detail/44335.html: minute and hour windows are calendar windows in
// UTC+8, a day is 24 hours from sending; every accepted submission counts, delivered or not).
//
// Each number has one record, shared by all pods and changed by compare-and-swap: who may call the
// provider, and between which instants. A call that straddles midnight counts in both days. What
// cannot be known is not sent: an unreadable record or an unreachable store is an error.
package dailycap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// Rule is the id of the rule, and unavailable the code for a count that cannot be read or written.
const (
	Rule        = "12"
	unavailable = "cap-unavailable"
)

const (
	maxLimit = 50 // the carriers' own
	// skew is how far the clocks of pods and provider may differ; it widens every entry at its end.
	skew = 2 * time.Second
	// maxCall bounds until-now: with it a record outlives what it must remember.
	maxCall = 24 * time.Hour
	ttl     = 50 * time.Hour // to stays relevant for 24 h, and lies at most maxCall and skew ahead
	// patience bounds one Reserve or Release, whatever the caller's context says.
	patience = 10 * time.Second
	// attempts bounds the races for one record; with a turn per number in each pod only pods race.
	attempts = 16
	// fullFor is how long a number that is full by the remembered record is refused without looking again.
	fullFor = time.Second
)

// Config is the section guards.daily_cap.
type Config struct {
	// Limit is messages a number, 1..50; default 50.
	Limit *strictyaml.Int `yaml:"limit"`
	// Window is day (Shanghai calendar day), rolling (any 24 hours) or both; default both.
	Window string `yaml:"window"`
	// ReserveFor keeps the last places for a category: {verification: 5}. Default none.
	ReserveFor map[schemas.Category]strictyaml.Int `yaml:"reserve_for"`
	// Over says what becomes of a message over the cap: dead (an operator sees it), defer (held until there
	// is room) or divert:<channel>. Default dead.
	Over string `yaml:"over"`
}

// Cap is the daily cap. Safe for concurrent use.
type Cap struct {
	store  rules.Store
	limits limits
	over   rules.Action
	divert string // channel
	cache  *cache
}

var _ rules.Diverter = (*Cap)(nil)

// New opens the cap, a [*Cap]; it is a [rules.ReserverFactory].
func New(decode func(into any) error, env rules.Env) (rules.Reserver, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	l, err := c.limits()
	if err != nil {
		return nil, err
	}
	r := &Cap{store: env.Caps, limits: l, cache: newCache()}
	switch kind, channel, named := strings.Cut(c.Over, ":"); {
	case c.Over == "" || c.Over == "dead":
		r.over = rules.Bury
	case c.Over == "defer":
		r.over = rules.Hold
	case kind == "divert" && named && channel != "":
		r.over, r.divert = rules.Divert, channel
	default:
		return nil, fmt.Errorf("over is %q, want dead, defer or divert:<channel>", c.Over)
	}
	return r, nil
}

func (c Config) limits() (limits, error) {
	l := limits{max: maxLimit, day: true, window: true, reserve: make(map[schemas.Category]int)}
	if c.Limit != nil {
		l.max = int(*c.Limit)
	}
	if l.max < 1 || l.max > maxLimit {
		return l, fmt.Errorf("limit is %d, want 1..%d: the carriers block numbers that get more", l.max, maxLimit)
	}
	switch c.Window {
	case "", "both":
	case "day":
		l.window = false
	case "rolling":
		l.day = false
	default:
		return l, fmt.Errorf("window is %q, want day, rolling or both", c.Window)
	}
	l.open = l.max
	for category, n := range c.ReserveFor {
		if !known(category) {
			return l, fmt.Errorf("reserve_for: unknown category %q; known are %v", category, schemas.Categories)
		}
		if n < 1 {
			return l, fmt.Errorf("reserve_for: %s is %d, want at least 1", category, n)
		}
		l.reserve[category] = int(n)
		l.open -= int(n)
	}
	if l.open < 1 {
		return l, errors.New("reserve_for leaves no place for the other categories")
	}
	return l, nil
}

func known(c schemas.Category) bool { return slices.Contains(schemas.Categories, c) }

// DivertTo is the channel of over: divert:<channel>; "" otherwise.
func (r *Cap) DivertTo() string { return r.divert }

// Concerns says whether the message counts: it goes to a number, over a channel that is capped.
func (r *Cap) Concerns(in rules.Input) bool { return in.Capped && in.Delivery.To.Phone != "" }

// Reserve asks for leave to call the provider once, between in.Now and until, for in.Delivery's
// number; a delivery without a number passes. The holder's earlier leave, if any, moves to the new
// interval. Verdicts: Pass, or what guards.daily_cap.over says (Hold with the first instant that
// has room). Any error means "do not send"; the leave may then be taken or not, and asking
// again as the same holder settles it.
func (r *Cap) Reserve(ctx context.Context, in rules.Input, holder string, until time.Time) (rules.Verdict, error) {
	phone := in.Delivery.To.Phone
	if phone == "" {
		return rules.Verdict{}, nil
	}
	category := in.Delivery.Category
	switch length := until.Sub(in.Now); {
	case holder == "" || len(holder) > maxHolder:
		return rules.Verdict{Rule: unavailable}, fmt.Errorf("daily cap: holder has %d bytes, want 1..%d", len(holder), maxHolder)
	case length <= 0 || length > maxCall:
		return rules.Verdict{Rule: unavailable}, fmt.Errorf("daily cap: a call of %s, want more than 0 and at most %s", length, maxCall)
	case !known(category):
		return rules.Verdict{Rule: unavailable}, fmt.Errorf("daily cap: unknown category %q", category)
	}
	now := in.Now.UnixMilli()
	call := Entry{Holder: holder, From: now - skew.Milliseconds(), To: ceilMillis(until.Add(skew)), Category: category}
	var verdict rules.Verdict
	err := r.change(ctx, phone, now, fullFor, func(entries []Entry) ([]Entry, bool) {
		if !r.limits.fits(entries, holder, category, call.From, call.To) {
			verdict = r.full(entries, call)
			return nil, false
		}
		verdict = rules.Verdict{}
		return with(entries, call), true
	})
	if err != nil {
		return rules.Verdict{Rule: unavailable}, fmt.Errorf("daily cap: %w", err)
	}
	return verdict, nil
}

// Release gives the holder's leave back; one that it does not have is no error. After an error the
// place may stay taken until it is a day old.
func (r *Cap) Release(ctx context.Context, in rules.Input, holder string) error {
	phone := in.Delivery.To.Phone
	if phone == "" {
		return nil
	}
	err := r.change(ctx, phone, in.Now.UnixMilli(), 0, func(entries []Entry) ([]Entry, bool) {
		return without(entries, holder)
	})
	if err != nil {
		return fmt.Errorf("daily cap: release: %w", err)
	}
	return nil
}

// Usage tells who used a number's places, oldest first: the entries that count at now.
func (r *Cap) Usage(ctx context.Context, phone string, now time.Time) ([]Entry, error) {
	value, _, err := r.store.Load(ctx, phone)
	if err != nil {
		return nil, fmt.Errorf("daily cap: %w", err)
	}
	entries, err := decode(value)
	if err != nil {
		return nil, fmt.Errorf("daily cap: %w", err)
	}
	var out []Entry
	for _, e := range entries {
		if e.To > now.UnixMilli()-dayMillis {
			out = append(out, e)
		}
	}
	return out, nil
}

// change applies f to the number's record until a swap takes it, or f has nothing to change. It
// first tries with the record as this process remembers it, which saves the load as long as no other pod
// writes to the same number; "nothing to change" is believed of a memory younger than believe only.
func (r *Cap) change(ctx context.Context, phone string, now int64, believe time.Duration, f func([]Entry) ([]Entry, bool)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := r.cache.take(ctx, phone)
	if err != nil {
		return err
	}
	defer r.cache.give(n)
	for i := range attempts {
		if i > 1 { // the first conflict only says that the memory was old
			if err := rules.Pause(ctx, i); err != nil {
				return err
			}
		}
		loaded := !n.known
		if loaded {
			if err := r.load(ctx, n, now); err != nil {
				return err
			}
		}
		changed, ok := f(n.entries)
		if !ok {
			age := now - n.asOf
			if loaded || age >= 0 && age < believe.Milliseconds() {
				return nil
			}
			if err := r.load(ctx, n, now); err != nil {
				return err
			}
			if changed, ok = f(n.entries); !ok {
				return nil
			}
		}
		err := r.swap(ctx, n, changed, now)
		if !errors.Is(err, rules.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%d attempts: %w", attempts, rules.ErrConflict)
}

func (r *Cap) load(ctx context.Context, n *number, now int64) error {
	n.known = false
	value, revision, err := r.store.Load(ctx, n.phone)
	if err != nil {
		return err
	}
	entries, err := decode(value)
	if err != nil {
		return err
	}
	n.known, n.entries, n.revision, n.asOf = true, entries, revision, now
	return nil
}

// swap stores the entries. After any error, a conflict or no answer, the record is unknown.
func (r *Cap) swap(ctx context.Context, n *number, entries []Entry, now int64) error {
	n.known = false
	value, err := encode(entries)
	if err != nil {
		return err
	}
	revision, err := r.store.Swap(ctx, n.phone, value, n.revision, ttl)
	if err != nil {
		return err
	}
	n.known, n.entries, n.revision, n.asOf = true, entries, revision, now
	return nil
}

// full is the verdict on a call for which there is no room.
func (r *Cap) full(entries []Entry, call Entry) rules.Verdict {
	used := r.limits.used(entries, call.From)
	next := r.limits.next(entries, call.Holder, call.Category, call.From, call.To-call.From)
	free := time.UnixMilli(next).Add(skew) // an entry begins that much before its call
	at := free.In(shanghai).Format("2006-01-02 15:04:05")
	v := rules.Verdict{Action: r.over, Rule: Rule, Until: free}
	action := rules.ReportBlock
	if r.over == rules.Hold {
		action = rules.ReportHold
	}
	advice := schemas.Text{
		Zh: fmt.Sprintf("该号码的每日 %d 条限额已用 %d 条，北京时间 %s 起才有余量；请合并通知或改用其他通道", r.limits.max, used, at),
		En: fmt.Sprintf("%d of this number's %d messages a day are used; there is room again at %s (UTC+8); merge messages or use another channel", used, r.limits.max, at),
	}
	if used < r.limits.max && r.limits.open < r.limits.max {
		advice.Zh += fmt.Sprintf("（其中 %d 条为其他类别预留）", r.limits.max-r.limits.open-r.limits.reserve[call.Category])
		advice.En += fmt.Sprintf(" (%d of them are reserved for other categories)", r.limits.max-r.limits.open-r.limits.reserve[call.Category])
	}
	v.Hits = []schemas.Hit{{Rule: Rule, Action: action, Advice: advice}}
	return v
}

// ceilMillis rounds up: an entry must not end before the call can.
func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}
