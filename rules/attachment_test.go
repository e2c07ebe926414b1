package rules

import (
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/schemas"
)

func TestAttachmentsTravelAsLinks(t *testing.T) {
	b, err := Load([]byte("routes: [{name: all, send: [mail]}]\n"), nil, nil, Env{})
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{Data: schemas.Data{
		Content:    &schemas.Content{Subject: "对账单", Text: "见附件", HTML: "<p>见附件</p>"},
		Attachment: []schemas.Attachment{{Name: "对账单<11月>.pdf", URL: "https://files.example.com/1?a=1&b=2"}},
	}}
	mail, err := b.Render(e, schemas.Recipient{}, "mail", "email")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(mail.Text, "对账单<11月>.pdf: https://files.example.com/1?a=1&b=2") {
		t.Errorf("text has no link: %q", mail.Text)
	}
	if !strings.Contains(mail.HTML, `<a href="https://files.example.com/1?a=1&amp;b=2">对账单&lt;11月&gt;.pdf</a>`) {
		t.Errorf("html has no escaped link: %q", mail.HTML)
	}
	hook, err := b.Render(e, schemas.Recipient{}, "partner", "webhook")
	if err != nil || !strings.Contains(string(hook.Payload), `"url":"https://files.example.com/1?a=1&b=2"`) {
		t.Errorf("payload %s, %v", hook.Payload, err)
	}
}
