package aliyun

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Limits of QuerySendDetails (help.aliyun.com/document_detail/419277.html).
const (
	pageSize = 50
	maxPages = 20 // 1000 messages to one number on one day
	keptDays = 30
)

// skew is how far Aliyun's clock and ours may differ.
const skew = 2 * time.Minute

// SendStatus of QuerySendDetails; anything else (1) waits for the carrier's receipt.
const (
	statusFailed    = 2
	statusDelivered = 3
)

// Lookup asks QuerySendDetails for the delivery's number on each day (UTC+8) from since to now,
// and finds the delivery by its OutId. An error means that Aliyun could not be asked; it is a
// *channels.Failure.
func (c *Channel) Lookup(ctx context.Context, d *schemas.Delivery, since time.Time) (channels.Lookup, error) {
	now := c.now().In(china)
	since = since.Add(-skew).In(china)
	if oldest := now.AddDate(0, 0, -keptDays); since.Before(oldest) {
		since = oldest
	}
	cl, err := c.take(ctx)
	if err != nil {
		return channels.Lookup{}, channels.FromNet(kind, provider, err, false)
	}
	defer func() { c.clients <- cl }()

	var found channels.Lookup
	last := now.Format(time.DateOnly)
	for day := since; day.Format(time.DateOnly) <= last; day = day.AddDate(0, 0, 1) {
		for page := 1; ; page++ {
			if page > maxPages {
				f := sms.Ours("dispatcher:lookup-too-long", channels.Temporary)
				f.Line = fmt.Sprintf("more than %d messages to the number on one day", pageSize*maxPages)
				return channels.Lookup{}, f
			}
			rows, err := c.details(ctx, cl, sms.Number(d.To.Phone), day, page)
			if err != nil {
				return channels.Lookup{}, err
			}
			for _, r := range rows {
				if r.OutId == d.ID && !before(r.SendDate, since) {
					found = sms.Better(found, fate(r))
				}
			}
			if len(rows) < pageSize {
				break
			}
		}
	}
	return found, nil
}

// details reads one page.
func (c *Channel) details(ctx context.Context, cl *client, number string, day time.Time, page int) ([]dysmsapi.SmsSendDetailDTO, error) {
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	req := dysmsapi.CreateQuerySendDetailsRequest()
	req.PhoneNumber = number
	req.SendDate = day.Format("20060102")
	req.PageSize = requests.NewInteger(pageSize)
	req.CurrentPage = requests.NewInteger(page)
	resp, err := call(ctx, cl, func(s *dysmsapi.Client) (*dysmsapi.QuerySendDetailsResponse, error) { return s.QuerySendDetails(req) })
	a := answer{id: "query"} // a query has no BizId
	if resp != nil {
		a.code, a.message = resp.Code, resp.Message
	}
	if f := sms.Asked(c.read(cl.wire, a, err)); f != nil {
		return nil, f
	}
	return resp.SmsSendDetailDTOs.SmsSendDetailDTO, nil
}

// before says whether a record is of an earlier send of the same delivery. One with a time that
// cannot be read counts: better found than sent twice.
func before(sent string, since time.Time) bool {
	t, err := time.ParseInLocation(time.DateTime, sent, china)
	return err == nil && t.Before(since)
}

// fate is what one record says.
func fate(r dysmsapi.SmsSendDetailDTO) channels.Lookup {
	l := channels.Lookup{Found: true, State: schemas.Accepted}
	switch r.SendStatus {
	case statusDelivered:
		l.State = schemas.Delivered
	case statusFailed:
		l.State = schemas.Undelivered
		l.Failure = undelivered(r.ErrCode, "")
	}
	l.Receipt.Reply = channels.Line(strings.TrimSpace(fmt.Sprintf("SendStatus %d %s", r.SendStatus, r.ErrCode)))
	return l
}

// undelivered is the failure that a receipt reports: code is its err_code, the platform's or a
// carrier's own (help.aliyun.com/document_detail/101347.html).
func undelivered(code, message string) *channels.Failure {
	if code == "" {
		code = "UNKNOWN"
	}
	class := classOf(code)
	if class == channels.Permanent && sms.Carrier(code) {
		class = channels.BadTarget
	}
	return &channels.Failure{Kind: kind, Provider: provider + "-receipt", Code: code, Class: class, Line: channels.Line(message)}
}
