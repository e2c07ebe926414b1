package email

import (
	"bytes"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Previewer = (*channel)(nil)

// Preview is the mail that Send would hand over now, byte by byte; a later attempt has another Date. Two things that are
// good without us are not in it: our DKIM signature under somebody's draft, and the secret end of the reader's link.
func (c *channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	unsigned := *c.settings
	unsigned.dkim = nil
	m, err := unsigned.compose(d, nil, time.Now())
	if err != nil {
		return channels.Wire{}, c.unbuilt(err)
	}
	notes := []schemas.Text{channels.Text("Date 为发送时刻", "Date is the moment of sending")}
	if c.dkim != nil {
		notes = append(notes, channels.Text("DKIM-Signature 在发送时生成", "DKIM-Signature is made when it is sent"))
	}
	if d.Category == schemas.Marketing && c.unsub != nil && len(c.unsub.keys) > 0 {
		m.raw = bytes.ReplaceAll(m.raw, []byte(c.unsub.keys[0].token(d.Tenant, d.Category, d.To.Email)), []byte(channels.Masked))
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
		Notes:       notes,
	}, nil
}
