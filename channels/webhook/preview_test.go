package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// The preview is the request that the receiver gets; address, signature and timestamp are hidden.
func TestPreviewIsWhatIsSent(t *testing.T) {
	var body []byte
	var header http.Header
	far := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
	}))
	t.Cleanup(far.Close)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	ch, err := New(channels.Env{Name: "partner", Dir: dir, Log: zap.NewNop()}, func(into any) error {
		*into.(*Config) = Config{URL: far.URL + "/canary-path?token=canary", SecretFile: "secret", AllowPrivate: true}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	d := channeltest.Delivery(1)
	w, err := ch.(channels.Previewer).Preview(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if string(w.Body) != string(body) || w.Method != http.MethodPost || w.URL != far.URL+"/…" {
		t.Errorf("shown %s %s %s, sent %s", w.Method, w.URL, w.Body, body)
	}
	if strings.Contains(w.URL, "canary") {
		t.Error("the address is a secret")
	}
	for _, h := range w.Header {
		if want := header.Get(h[0]); h[1] != want && !(slices.Contains(masked, h[0]) && h[1] == channels.Masked && want != "") {
			t.Errorf("%s is shown as %q, sent was %q", h[0], h[1], want)
		}
	}
	for _, name := range []string{"Webhook-Id", "Webhook-Signature", "Content-Type"} {
		if !slices.ContainsFunc(w.Header, func(h [2]string) bool { return h[0] == name }) {
			t.Errorf("%s is not shown", name)
		}
	}
}
