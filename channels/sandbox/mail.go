package sandbox

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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
	maxParts = 50
	maxText  = 256 << 10
	maxFile  = 30 << 20 // as large as a mail may be
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
		if !ok || named(h) {
			item.Files = append(item.Files, readFile(p))
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

// named says whether an inline part is a file, such as an image in the HTML.
func named(h *mail.InlineHeader) bool {
	kind, params, _ := h.ContentType()
	return h.Get("Content-Id") != "" || params["name"] != "" || !strings.HasPrefix(kind, "text/") && kind != ""
}

func readFile(p *mail.Part) File {
	b, _ := io.ReadAll(io.LimitReader(p.Body, maxFile)) // of a broken part, what can be read of it
	sum := sha256.Sum256(b)
	f := File{SHA256: hex.EncodeToString(sum[:]), Data: b}
	var params map[string]string
	switch h := p.Header.(type) {
	case *mail.AttachmentHeader:
		f.Name, _ = h.Filename()
		f.Type, params, _ = h.ContentType()
		f.CID = h.Get("Content-Id")
	case *mail.InlineHeader:
		f.Type, params, _ = h.ContentType()
		f.CID = h.Get("Content-Id")
		if _, disposition, err := h.ContentDisposition(); err == nil {
			f.Name = disposition["filename"]
		}
	}
	f.Name = strings.ToValidUTF8(cmp.Or(f.Name, params["name"]), "�")
	f.CID = strings.Trim(f.CID, "<> ")
	return f
}
