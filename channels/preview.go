package channels

import "github.com/yizhan-dev/yizhan/schemas"

// Previewer is a channel that can show what it would put on the wire. Nothing is sent, and nothing is asked of anybody.
type Previewer interface {
	// Preview makes the request of d as Send would. Its error is, or wraps, the [*Failure] that Send would end with.
	Preview(d *schemas.Delivery) (Wire, error)
}

// Wire is one message as it goes to the third party. Secrets are masked ([Masked]), and so are signatures, which would
// be good for a while; the rest is what is sent, byte by byte.
type Wire struct {
	Method string `json:"method"` // POST, or "SMTP"
	// URL has neither path nor query where they are a credential: "https://oapi.dingtalk.com/…". For SMTP it is the
	// envelope: "smtps://host:465".
	URL string `json:"url"`
	// Header is in the order of the wire, for SMTP the envelope (MAIL FROM, RCPT TO): the headers of a mail are in Body.
	Header      [][2]string    `json:"header,omitzero"`
	Body        []byte         `json:"body,omitzero"`
	ContentType string         `json:"content_type,omitzero"` // of Body: application/json, message/rfc822…
	Notes       []schemas.Text `json:"notes,omitzero"`        // what the bytes do not tell: length, parts, what differs at sending
}

// Masked stands for a secret, or for what only the moment of sending makes, in a [Wire].
const Masked = "***"
