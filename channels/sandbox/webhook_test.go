package sandbox

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestWebhookReceiver(t *testing.T) {
	inbox, secret := &Inbox{}, newSecret()
	h, err := StartWebhook(WebhookConfig{Secret: secret}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, id string, at time.Time, body string) int {
		t.Helper()
		signature, err := signer.Sign(id, at, []byte(`{"type":"erp.invoice.due"}`))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL()+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		req.Header.Set("webhook-signature", signature)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const body = `{"type":"erp.invoice.due"}`
	now := time.Now()
	for _, c := range []struct {
		path, id, body string
		at             time.Time
		want           int
	}{
		{"/hook/ok", "a", body, now, 200},
		{"/hook/ok", "b", body, now, 200},
		{"/hook/ok", "a", body, now, 200},
		{"/hook/ok", "c", `{"type":"forged"}`, now, 401},
		{"/hook/ok", "c", body, now.Add(-10 * time.Minute), 401},
		{"/hook/flaky", "f", body, now, 503},
		{"/hook/flaky", "f", body, now, 503},
		{"/hook/flaky", "f", body, now, 200},
		{"/hook/redirect", "r", body, now, 307},
		{"/hook/410", "r", body, now, 410},
		{"/elsewhere", "r", body, now, 404},
	} {
		if got := post(c.path, c.id, c.at, c.body); got != c.want {
			t.Errorf("%s of %s = %d, want %d", c.path, c.id, got, c.want)
		}
	}
	if got := h.Repeated(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Repeated = %q, want a", got)
	}
	if h.Attempts("f") != 3 || h.Attempts("c") != 0 {
		t.Errorf("Attempts = %d and %d, want 3 and 0", h.Attempts("f"), h.Attempts("c"))
	}
	if _, total, _ := inbox.List(Filter{Kind: "webhook"}, 1, 0); total != 4 {
		t.Errorf("%d in the inbox, want 4", total)
	}
}
