package deadletter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Filter chooses dead letters; empty fields choose all.
type Filter struct {
	Tenant, Channel, Cause, Class, ID string
	Event, Source, Type, Template     string
	// To is a full number or address, or a masked one as lists show it.
	To           string
	Since, Until time.Time
}

var filterKeys = []string{"tenant", "channel", "cause", "class", "id", "event", "source", "type", "template", "to", "since", "until"}

// ParseFilter reads "channel=sms cause=isv.BUSINESS_LIMIT_CONTROL since=2h to=138****8000": terms are
// joined by and, values with spaces stand in double quotes. since and until take a duration before
// now (30m, 2h, 3d), a date (2026-11-23) or an RFC 3339 instant. Errors are *schemas.Invalid.
func ParseFilter(s string, now time.Time) (Filter, error) {
	var f Filter
	terms, err := split(s)
	if err != nil {
		return f, err
	}
	for _, t := range terms {
		key, value, ok := strings.Cut(t, "=")
		if !ok || value == "" || !slices.Contains(filterKeys, key) {
			return f, invalid(fmt.Sprintf("筛选条件 %q 无法识别：应为 键=值，可用的键：%s", t, strings.Join(filterKeys, "、")),
				fmt.Sprintf("filter term %q: want key=value with one of the keys %s", t, strings.Join(filterKeys, ", ")))
		}
		switch key {
		case "since", "until":
			at, err := instant(value, now)
			if err != nil {
				return f, err
			}
			if key == "since" {
				f.Since = at
			} else {
				f.Until = at
			}
		case "class":
			if !slices.Contains(channels.Classes, channels.Class(value)) {
				return f, invalid(fmt.Sprintf("没有类别 %q，可用的类别：%s", value, classes("、")), fmt.Sprintf("there is no class %q; known are %s", value, classes(", ")))
			}
			f.Class = value
		case "to":
			f.To = value
			if e164, err := schemas.NormalizePhone(value); err == nil {
				f.To = e164
			}
		default:
			*map[string]*string{
				"tenant": &f.Tenant, "channel": &f.Channel, "cause": &f.Cause, "id": &f.ID,
				"event": &f.Event, "source": &f.Source, "type": &f.Type, "template": &f.Template,
			}[key] = value
		}
	}
	return f, nil
}

func classes(sep string) string {
	names := make([]string, len(channels.Classes))
	for i, c := range channels.Classes {
		names[i] = string(c)
	}
	return strings.Join(names, sep)
}

func invalid(zh, en string) error {
	return &schemas.Invalid{Problems: []schemas.Problem{{Pointer: "/where", Keyword: "filter", Text: schemas.Text{Zh: zh, En: en}}}}
}

// split cuts at spaces outside double quotes.
func split(s string) ([]string, error) {
	var terms []string
	var b strings.Builder
	quoted := false
	flush := func() {
		if b.Len() > 0 {
			terms = append(terms, b.String())
			b.Reset()
		}
	}
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case (r == ' ' || r == '\t' || r == '\n' || r == '\u3000') && !quoted:
			flush()
		default:
			b.WriteRune(r)
		}
	}
	flush()
	if quoted {
		return nil, invalid("筛选条件里的双引号没有成对", "filter: a double quote is not closed")
	}
	return terms, nil
}

func instant(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil && d >= 0 {
			return now.Add(-24 * d), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	return time.Time{}, invalid(fmt.Sprintf("时间 %q 无法识别：应为 2h、3d、2026-11-23 或 RFC 3339 时间", s),
		fmt.Sprintf("time %q: want 2h, 3d, 2026-11-23 or an RFC 3339 instant", s))
}

// subject narrows the search in the broker as far as the fields allow.
func (f Filter) subject() string {
	star := func(s string) string {
		if s == "" {
			return "*"
		}
		return broker.Token(s)
	}
	return "yz.dead." + star(f.Tenant) + "." + star(f.Channel) + "." + star(f.Cause) + "." + star(f.ID)
}

func (f Filter) matches(l *schemas.DeadLetter) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	event := l.Ref
	var template, phone, email, webhook string
	if l.Delivery != nil {
		event, template = l.Delivery.Event, l.Delivery.Message.Template
		phone, email, webhook = l.Delivery.To.Phone, l.Delivery.To.Email, l.Delivery.To.Webhook
	}
	to := f.To == "" || f.To == phone || f.To == email || f.To == webhook ||
		phone != "" && f.To == schemas.MaskNumber(phone) || email != "" && f.To == schemas.MaskEmail(email)
	return to && is(f.Tenant, l.Tenant) && is(f.Channel, l.Channel) && is(f.Cause, l.Cause.Code) && is(f.Class, l.Cause.Class) &&
		is(f.ID, l.ID) && is(f.Event, event.ID) && is(f.Source, event.Source) && is(f.Type, event.Type) && is(f.Template, template) &&
		(f.Since.IsZero() || !l.Time.Before(f.Since)) && (f.Until.IsZero() || l.Time.Before(f.Until))
}
