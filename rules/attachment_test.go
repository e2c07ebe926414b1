package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// planned is what becomes of an event with attachments over a mail, an SMS and a webhook channel.
func plannedAttachments(t *testing.T, fetched string) map[string]schemas.Message {
	t.Helper()
	b, err := Load([]byte("routes: [{name: all, send: [mail, sms, partner]}]\n"), nil, nil, Env{})
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{SpecVersion: "1.0", ID: "1", Source: "/erp", Type: "a", Data: schemas.Data{
		Category: schemas.Notification, To: []schemas.Recipient{{Phone: "+8613800138000", Email: "wang@example.com"}},
		Content: &schemas.Content{Subject: "对账单", Text: "见附件", HTML: "<p>见附件</p>"},
		Attachment: []schemas.Attachment{
			{Name: "对账单<11月>.pdf", URL: "https://files.example.com/1?a=1&b=2"},
			{Name: "明细.xlsx", URL: "s3://erp/2026/11.xlsx", Size: 7},
		},
	}}
	if problems := e.Check(); problems != nil {
		t.Fatal(problems)
	}
	plan, refusal := b.Plan(e, func(name string) (Channel, bool) {
		return map[string]Channel{
			"mail": {Kind: "email", Address: "email", Attaches: fetched}, "sms": {Kind: "sms", Address: "phone"}, "partner": {Kind: "webhook", Address: "none"},
		}[name], true
	}, time.Now())
	if refusal != nil {
		t.Fatal(refusal)
	}
	out := map[string]schemas.Message{}
	for _, d := range plan.Deliveries {
		if d.Refusal != nil {
			t.Fatal(d.Refusal)
		}
		out[d.Delivery.Channel] = d.Delivery.Message
	}
	return out
}

func TestAttachmentsThatNobodyFetchesTravelAsLinks(t *testing.T) {
	mail := plannedAttachments(t, "")["mail"]
	if !strings.Contains(mail.Text, "对账单<11月>.pdf: https://files.example.com/1?a=1&b=2") || strings.Contains(mail.Text, "s3:") {
		t.Errorf("text: %q, want the link that opens outside, and only that", mail.Text)
	}
	if !strings.Contains(mail.HTML, `<a href="https://files.example.com/1?a=1&amp;b=2">对账单&lt;11月&gt;.pdf</a>`) {
		t.Errorf("html has no escaped link: %q", mail.HTML)
	}
	if len(mail.Attachments) != 1 || mail.Attachments[0].Name != "明细.xlsx" || mail.Attachments[0].Size != 7 {
		t.Errorf("attachments %+v, want the one that has no link", mail.Attachments)
	}
}

func TestAttachmentsThatAreFetchedGoWithTheMail(t *testing.T) {
	mail := plannedAttachments(t, "https s3")["mail"]
	if len(mail.Attachments) != 2 || mail.Text != "见附件" || mail.HTML != "<p>见附件</p>" {
		t.Errorf("%+v", mail)
	}
}

func TestOtherChannelsOfTheEventGoWithoutAttachments(t *testing.T) {
	all := plannedAttachments(t, "https s3")
	if sms := all["sms"]; sms.Text != "见附件" || sms.Attachments != nil {
		t.Errorf("sms %+v", sms)
	}
	hook := string(all["partner"].Payload)
	if !strings.Contains(hook, `"url":"https://files.example.com/1?a=1&b=2"`) || strings.Contains(hook, "s3://") {
		t.Errorf("payload %s, want the reference that the receiver can open, and only that", hook)
	}
}
