package aliyun

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// pushed is one element of what Aliyun pushes: a receipt (SmsReport, help.aliyun.com/document_detail/101867.html)
// or a reply (SmsUp, help.aliyun.com/document_detail/101847.html). Only what is used is read: sms_size and
// sequence_id have been strings and numbers.
type pushed struct {
	Phone   string `json:"phone_number"`
	Success *bool  `json:"success"`
	ErrCode string `json:"err_code"`
	ErrMsg  string `json:"err_msg"`
	Report  string `json:"report_time"`
	Send    string `json:"send_time"`
	BizID   string `json:"biz_id"`
	OutID   string `json:"out_id"`

	Content  *string `json:"content"`
	DestCode string  `json:"dest_code"`
	SignName string  `json:"sign_name"`
}

// maxPush bounds the elements of one push.
const maxPush = 10_000

var (
	errPush     = errors.New("not a JSON array of receipts (SmsReport) or replies (SmsUp)")
	errPushSize = errors.New("too many receipts in one push")
)

// received is the answer that Aliyun wants; anything whose code is a number will do.
var received = channels.ReportAnswer{ContentType: "application/json; charset=utf-8", Body: []byte(`{"code":0,"msg":"接收成功"}`)}

// Reports reads one push. An empty body is Aliyun's check of the address when it is entered in the console.
func (c *Channel) Reports(_ *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return nil, received, nil
	}
	if body[0] == '{' { // one that is not in an array, as in the message queue
		body = append(append([]byte{'['}, body...), ']')
	}
	var all []pushed
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, channels.ReportAnswer{}, errPush // the decoder's words may repeat numbers
	}
	if len(all) > maxPush {
		return nil, channels.ReportAnswer{Status: http.StatusRequestEntityTooLarge}, errPushSize
	}
	reports := make([]channels.Report, 0, len(all))
	for _, p := range all {
		r, ok := p.report()
		if !ok {
			return nil, channels.ReportAnswer{}, errPush
		}
		reports = append(reports, r)
	}
	return reports, received, nil
}

func (p pushed) report() (channels.Report, bool) {
	r := channels.Report{MessageID: p.BizID, Phone: e164(p.Phone)}
	switch {
	case p.Phone == "":
		return r, false
	case p.Content != nil:
		r.Reply, r.ReplyTo, r.At = *p.Content, strings.TrimSpace(p.DestCode+" "+p.SignName), china8(p.Send)
		if strings.TrimSpace(r.Reply) == "" {
			r.Reply = " " // a reply all the same, and no receipt
		}
		return r, true
	case p.Success == nil:
		return r, false
	}
	r.DeliveryID, r.At = p.OutID, china8(p.Report)
	switch {
	case *p.Success:
		r.State = schemas.Delivered
	case p.ErrCode == "REQUEST_SUCCESS": // taken, and the carrier's own receipt is still to come
		r.State = schemas.Accepted
	default:
		r.State, r.Failure = schemas.Undelivered, undelivered(p.ErrCode, p.ErrMsg)
	}
	return r, true
}

// e164 brings a number as Aliyun writes it to the form that deliveries have: 11 digits are a mainland number,
// all others begin with the country code.
func e164(number string) string {
	number = strings.TrimPrefix(strings.TrimPrefix(number, "+"), "00")
	if len(number) == 11 && number[0] == '1' {
		number = "86" + number
	}
	phone, err := schemas.NormalizePhone("+" + number)
	if err != nil {
		return ""
	}
	return phone
}

// china8 reads a time of a push; zero when it cannot be read.
func china8(s string) time.Time {
	t, err := time.ParseInLocation(time.DateTime, s, china)
	if err != nil {
		return time.Time{}
	}
	return t
}
