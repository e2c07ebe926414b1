package rules

import (
	"slices"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// An event may name a webhook several times with addresses of its own: each is a delivery, the same one is one.
func TestEachAddressIsADelivery(t *testing.T) {
	b, err := Load([]byte("routes: []\n"), nil, nil, Env{})
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{ID: "1", Source: "/erp", Type: "erp.test", Tenant: "acme", Data: schemas.Data{
		Content: &schemas.Content{Text: "x"},
		To: []schemas.Recipient{
			{Webhook: "partner"},
			{Webhook: "partner", URL: "https://a.example.com/1"},
			{Webhook: "partner", URL: "https://a.example.com/2"},
			{Webhook: "partner", URL: "https://a.example.com/1"},
			{Webhook: "partner"},
		},
	}}
	p, refusal := b.Plan(e, func(string) (Channel, bool) { return Channel{Kind: "webhook", Address: "none"}, true }, time.Now())
	if refusal != nil {
		t.Fatal(refusal)
	}
	var urls []string
	ids := map[string]bool{}
	for _, d := range p.Deliveries {
		urls = append(urls, d.Delivery.To.URL)
		ids[d.Delivery.ID] = true
	}
	if want := []string{"", "https://a.example.com/1", "https://a.example.com/2"}; !slices.Equal(urls, want) || len(ids) != 3 {
		t.Errorf("planned %q with %d ids, want %q", urls, len(ids), want)
	}
	// The id of a webhook without an address is what it was before events could name one.
	if got, want := p.Deliveries[0].Delivery.ID, schemas.DeliveryID("acme", "/erp", "1", "channel:partner", "partner"); got != want {
		t.Errorf("id = %s, want %s", got, want)
	}
}

// Only a channel that mentions people is told their numbers.
func TestMentions(t *testing.T) {
	b, err := Load([]byte("routes: [{name: all, send: [robot, partner]}]\n"), nil, nil, Env{})
	if err != nil {
		t.Fatal(err)
	}
	e := &schemas.Event{ID: "1", Source: "/erp", Type: "erp.test", Tenant: "acme", Data: schemas.Data{
		Content: &schemas.Content{Text: "x"},
		To:      []schemas.Recipient{{Phone: "+8613800138000"}, {Email: "a@example.com"}, {Phone: "+8613800138000"}, {Phone: "+8613900139000"}},
	}}
	p, refusal := b.Plan(e, func(name string) (Channel, bool) {
		return Channel{Kind: "webhook", Address: "none", Mentions: name == "robot"}, true
	}, time.Now())
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, d := range p.Deliveries {
		var want []string
		if d.Delivery.Channel == "robot" {
			want = []string{"+8613800138000", "+8613900139000"}
		}
		if !slices.Equal(d.Delivery.Message.At, want) {
			t.Errorf("%s is told %q, want %q", d.Delivery.Channel, d.Delivery.Message.At, want)
		}
	}
}
