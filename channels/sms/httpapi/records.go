package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

// skew is how far the provider's clock and ours may differ.
const skew = 2 * time.Minute

const (
	maxPages   = 20
	maxRecords = 10_000 // in one push or page
)

// lookup asks page by page until a record bears the delivery's id. Where the provider's list is not complete, absence
// is an error: it could not be asked.
func (c *Channel) lookup(ctx context.Context, d *schemas.Delivery, since time.Time) (channels.Lookup, error) {
	vals, f := c.values(d)
	if f != nil {
		return channels.Lookup{}, f
	}
	l, now := c.api.Lookup, c.now()
	since = since.Add(-skew)
	var found channels.Lookup
	for page := 1; ; page++ {
		if page > maxPages {
			return channels.Lookup{}, sms.Ours("dispatcher:lookup-too-long", channels.Temporary)
		}
		vals["since"], vals["until"] = strconv.FormatInt(since.Unix(), 10), strconv.FormatInt(now.Unix(), 10)
		vals["date"], vals["page"] = since.In(china).Format("20060102"), strconv.Itoa(page)
		vals["offset"], vals["limit"] = strconv.Itoa((page-1)*l.PageSize), strconv.Itoa(l.PageSize)
		list, err := c.ask(ctx, d, vals)
		if err != nil {
			return channels.Lookup{}, err
		}
		for _, item := range list.items {
			at := scope{Item: item, Body: list.body}
			if l.Records.ID.str(at) != d.ID {
				continue
			}
			if t := l.Records.Time.when(at); !t.IsZero() && t.Before(since) {
				continue // of an earlier sending of the same delivery
			}
			found = sms.Better(found, c.fate(l.Records, at))
		}
		if l.PageSize == 0 || len(list.items) < l.PageSize {
			break
		}
	}
	if !found.Found && !l.Complete {
		f := sms.Ours("dispatcher:lookup-incomplete", channels.Temporary)
		f.Line = "the provider lists only messages with a receipt, and this one is not among them"
		return channels.Lookup{}, f
	}
	return found, nil
}

type listing struct {
	items []any
	body  any
}

// ask reads one page.
func (c *Channel) ask(ctx context.Context, d *schemas.Delivery, vals values) (listing, error) {
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	l := c.api.Lookup
	a, f := c.do(ctx, &l.Request, vals)
	if f != nil {
		return listing{}, c.harmless(f, d)
	}
	success := l.Success
	if !success.given() {
		success = c.api.Answer.Success
	}
	items, isList := l.Records.List.eval(a.at).([]any)
	if a.status >= 200 && a.status < 300 && a.readable && success.isTrue(a.at) && isList && len(items) <= maxRecords {
		return listing{items, a.at.Body}, nil
	}
	if _, f = c.judge(a); f == nil {
		f = c.unknown("dispatcher:empty-code", "")
	}
	return listing{}, c.harmless(f, d)
}

// harmless is the failure of a question: one that got no answer may be asked again.
func (c *Channel) harmless(f *channels.Failure, d *schemas.Delivery) *channels.Failure {
	f.Line = c.hide(f.Line, d)
	return sms.Asked(f)
}

// fate is what one record says.
func (c *Channel) fate(r records, at scope) channels.Lookup {
	l := channels.Lookup{Found: true, State: schemas.Accepted, Receipt: channels.Receipt{ID: word(r.MessageID.str(at))}}
	switch {
	case r.Delivered.isTrue(at):
		l.State = schemas.Delivered
	case r.Failed.isTrue(at):
		l.State = schemas.Undelivered
		l.Failure = c.undelivered(r, at)
	}
	l.Receipt.Reply = channels.Line(r.Code.str(at))
	return l
}

// undelivered is the failure that a receipt reports: its code is the platform's, or a carrier's own.
func (c *Channel) undelivered(r records, at scope) *channels.Failure {
	code := cmp.Or(word(r.Code.str(at)), "UNKNOWN")
	class := c.api.classOf(code)
	if class == channels.Permanent && sms.Carrier(code) {
		class = channels.BadTarget
	}
	if class == channels.Unknown {
		class = channels.Permanent // a receipt is certain
	}
	return &channels.Failure{Kind: kind, Provider: c.api.Provider + "-receipt", Code: code, Class: class, Line: channels.Line(r.Message.str(at))}
}

var errNoPush = errors.New("not a push of this provider")

// reports is what a push says: receipts, and what people wrote back. It changes nothing, and the same push gives the
// same reports.
func (c *Channel) reports(_ *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	rc := c.api.Receipts
	refused := channels.ReportAnswer{Status: http.StatusBadRequest}
	parsed, ok := decode(cmp.Or(rc.Format, "json"), body)
	if !ok {
		return nil, refused, errNoPush
	}
	items, ok := rc.Records.List.eval(scope{Body: parsed}).([]any)
	if !ok || len(items) > maxRecords {
		return nil, refused, errNoPush
	}
	var out []channels.Report
	for _, item := range items {
		at := scope{Item: item, Body: parsed}
		r := channels.Report{
			DeliveryID: rc.Records.ID.str(at), MessageID: word(rc.Records.MessageID.str(at)),
			Phone: phone(rc.Records.Phone.str(at)), At: rc.Records.Time.when(at),
		}
		switch {
		case rc.Records.Delivered.isTrue(at):
			r.State = schemas.Delivered
		case rc.Records.Failed.isTrue(at):
			r.State, r.Failure = schemas.Undelivered, c.undelivered(rc.Records, at)
		default:
			if r.Reply = rc.Reply.str(at); r.Reply == "" {
				continue // on its way, or none of ours
			}
			r.DeliveryID, r.ReplyTo = "", rc.ReplyTo.str(at)
		}
		out = append(out, r)
	}
	if len(items) > 0 && len(out) == 0 && !c.known(items, parsed) {
		return nil, refused, errNoPush
	}
	return out, channels.ReportAnswer{Status: rc.Answer.Status, ContentType: rc.Answer.ContentType, Body: []byte(rc.Answer.Body)}, nil
}

// known says whether any record names a message: one that says nothing else yet is a push all the same.
func (c *Channel) known(items []any, body any) bool {
	for _, item := range items {
		at := scope{Item: item, Body: body}
		if c.api.Receipts.Records.ID.str(at) != "" || c.api.Receipts.Records.MessageID.str(at) != "" {
			return true
		}
	}
	return false
}

// phone is a number as E.164; one without country code is of the mainland.
func phone(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '+' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	switch {
	case s == "", s == "+":
		return ""
	case strings.HasPrefix(s, "+"):
		return s
	case len(s) == 11 && s[0] == '1':
		return "+86" + s
	}
	return "+" + s
}
