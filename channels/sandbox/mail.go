package sandbox

import (
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // GB18030 and the others
	"github.com/emersion/go-message/mail"

	"github.com/yizhan-dev/yizhan/schemas"
)

// maxParts and maxText bound what is read of one mail for display.
const (
	maxParts = 20
	maxText  = 256 << 10
)

// readMail decodes a mail for display. What cannot be read is left out; Raw has it.
func readMail(raw []byte) Item {
	item := Item{Time: time.Now(), Kind: "email", Raw: clip(string(raw)), Headers: map[string]string{}}
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if r == nil || err != nil && !message.IsUnknownCharset(err) {
		return item
	}
	defer r.Close()
	for f := r.Header.Fields(); f.Next(); {
		if _, dup := item.Headers[f.Key()]; dup {
			continue
		}
		text, err := f.Text()
		if err != nil {
			text = f.Value()
		}
		item.Headers[f.Key()] = text
	}
	item.Subject, item.From = item.Headers["Subject"], item.Headers["From"]
	item.ID, _ = r.Header.MessageID()
	if id, _, _ := strings.Cut(item.ID, "@"); schemas.IDToken(id) != "" {
		item.Delivery = id
	}
	for range maxParts {
		p, err := r.NextPart()
		if p == nil || err != nil && !message.IsUnknownCharset(err) {
			break
		}
		h, ok := p.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(p.Body, maxText))
		text := strings.ReplaceAll(strings.ToValidUTF8(string(b), "�"), "\r\n", "\n")
		switch kind, _, _ := h.ContentType(); {
		case kind == "text/html" && item.HTML == "":
			item.HTML = text
		case kind == "text/plain" && item.Text == "":
			item.Text = text
		}
	}
	return item
}
