package email

import (
	"bytes"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Previewer = (*channel)(nil)

// Preview is the mail that Send would hand over now, byte by byte; a later attempt has another Date.
func (c *channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	msg, to, err := c.build(d, time.Now())
	if err != nil {
		return channels.Wire{}, c.unbuilt(err)
	}
	var body bytes.Buffer
	if _, err := msg.WriteTo(&body); err != nil {
		return channels.Wire{}, c.failure("dispatcher:internal", channels.Permanent, err.Error())
	}
	scheme := "smtps" // implicit TLS
	if c.TLS != "implicit" {
		scheme = "smtp"
	}
	return channels.Wire{
		Method: "SMTP", URL: scheme + "://" + c.addr,
		Header:      [][2]string{{"MAIL FROM", path(c.from)}, {"RCPT TO", path(to)}},
		Body:        body.Bytes(),
		ContentType: "message/rfc822",
		Notes:       []schemas.Text{channels.Text("Date 为发送时刻", "Date is the moment of sending")},
	}, nil
}
