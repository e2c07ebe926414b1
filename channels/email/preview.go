package email

import (
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Previewer = (*channel)(nil)

// Preview is the mail that Send would hand over now, byte by byte; a later attempt has another Date.
func (c *channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	m, err := c.compose(d, nil, time.Now())
	if err != nil {
		return channels.Wire{}, c.unbuilt(err)
	}
	scheme := "smtps" // implicit TLS
	if c.TLS != "implicit" {
		scheme = "smtp"
	}
	return channels.Wire{
		Method: "SMTP", URL: scheme + "://" + c.addr,
		Header:      [][2]string{{"MAIL FROM", path(c.from)}, {"RCPT TO", path(m.to)}},
		Body:        m.raw,
		ContentType: "message/rfc822",
		Notes:       []schemas.Text{channels.Text("Date 为发送时刻", "Date is the moment of sending")},
	}, nil
}
