package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The vector of the Standard Webhooks libraries.
func TestSignatureVector(t *testing.T) {
	f, err := newStandard(&Config{}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := f.(standard).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature = %s, want %s", got, want)
	}
}

func TestRotationSignsWithBoth(t *testing.T) {
	old := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("o", 24)))
	f, err := newStandard(&Config{}, secret+"\n"+old)
	if err != nil {
		t.Fatal(err)
	}
	r, failure := f.request(channeltest.Delivery(1), &url.URL{}, time.Now())
	if failure != nil {
		t.Fatal(failure)
	}
	for _, s := range []string{secret, old} {
		v, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(r.body, r.header); err != nil {
			t.Errorf("a receiver with only one of the secrets: %v", err)
		}
	}
}

// An ed25519 key signs with v1a, beside a shared secret while a receiver changes over; both kinds of receivers verify.
func TestPublicKeySignature(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	for _, form := range [][]byte{seed, key} {
		f, err := newStandard(&Config{}, "whsk_"+base64.StdEncoding.EncodeToString(form)+" "+secret)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		r, failure := f.request(channeltest.Delivery(1), &url.URL{}, now)
		if failure != nil {
			t.Fatal(failure)
		}
		signatures := strings.Fields(r.header.Get("Webhook-Signature"))
		if len(signatures) != 2 || !strings.HasPrefix(signatures[0], "v1a,") || !strings.HasPrefix(signatures[1], "v1,") {
			t.Fatalf("signatures = %q", signatures)
		}
		signature, err := base64.StdEncoding.DecodeString(signatures[0][len("v1a,"):])
		if err != nil {
			t.Fatal(err)
		}
		// As a receiver has it: the public key that we tell, and the raw request.
		public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f.(standard).keys[0].(private).public(), "whpk_"))
		if err != nil {
			t.Fatal(err)
		}
		signed := r.header.Get("Webhook-Id") + "." + r.header.Get("Webhook-Timestamp") + "." + string(r.body)
		if !ed25519.Verify(public, []byte(signed), signature) || !bytes.Equal(public, key[ed25519.SeedSize:]) {
			t.Error("the signature does not verify under the public key")
		}
		v, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(r.body, r.header); err != nil {
			t.Errorf("a receiver that knows v1 only: %v", err)
		}
	}
	wrong := append(bytes.Clone(seed), make([]byte, 32)...) // a public key that is not the seed's
	for _, bad := range []string{"whsk_", "whsk_c2hvcnQ=", "whsk_" + base64.StdEncoding.EncodeToString(wrong), "whpk_" + base64.StdEncoding.EncodeToString(seed)} {
		if _, err := newStandard(&Config{}, bad); err == nil {
			t.Errorf("took %s for a key", bad)
		}
	}
}

// 410 ends the delivery, and the operator hears of it once for each destination.
func TestGoneIsReportedOnce(t *testing.T) {
	far, err := sandbox.StartWebhook(sandbox.WebhookConfig{Secret: secret}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	core, logs := observer.New(zapcore.DebugLevel)
	ch := mustOpen(t, channels.Env{Name: "partner", Simulated: true, Log: zap.New(core).With(zap.String("channel", "partner"))}, "kind: webhook\nurl: "+far.URL()+"/hook/410\n")
	for n := range 3 {
		_, err := ch.Send(t.Context(), channeltest.Delivery(n))
		if f := channels.Explain(err); f.Code != "http:410" || f.Class != channels.Permanent || !explain.Default().Explain(f).Known || explain.Default().Explain(f).Retry != "no" {
			t.Errorf("%+v, want http:410, permanent", f)
		}
	}
	said := logs.FilterLevelExact(zapcore.ErrorLevel).All()
	if len(said) != 1 || said[0].ContextMap()["channel"] != "partner" || strings.Contains(fmt.Sprint(said[0]), "/hook/") {
		t.Errorf("logged %v, want one line without the path", said)
	}
}

// What Preview shows is what the receiver gets, without the credentials.
func TestPreviewIsWhatIsSent(t *testing.T) {
	type got struct {
		header http.Header
		body   string
	}
	var last got
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		last = got{r.Header, string(b)}
		_, _ = io.WriteString(w, `{"errcode":0,"code":0}`)
	}))
	t.Cleanup(server.Close)
	t.Setenv("YIZHAN_TEST_ROBOT_SECRET", "SECsecret7391")
	t.Setenv("YIZHAN_TEST_HOOK_SECRET", secret)
	for format, more := range map[string]string{
		"standard": "secret_env: YIZHAN_TEST_HOOK_SECRET\nurl: " + server.URL + "/hook/token7391",
		"dingtalk": "secret_env: YIZHAN_TEST_ROBOT_SECRET\nurl: " + server.URL + "/robot/send?access_token=token7391",
		"wecom":    "url: " + server.URL + "/cgi-bin/webhook/send?key=token7391",
		"feishu":   "secret_env: YIZHAN_TEST_ROBOT_SECRET\nurl: " + server.URL + "/open-apis/bot/v2/hook/token7391",
	} {
		ch, err := open(t, channels.Env{Simulated: true}, "kind: webhook\nformat: "+format+"\n"+more+"\n")
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_700_000_000, 0)
		ch.now = func() time.Time { return at }
		d := channeltest.Delivery(1)
		w, err := ch.Preview(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Send(t.Context(), d); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		shown := fmt.Sprint(w.URL, w.Header, string(w.Body), w.Notes)
		if strings.Contains(shown, "secret7391") || strings.Contains(shown, "token7391") || w.URL != server.URL+"/…" || w.Method != http.MethodPost {
			t.Errorf("%s: %s", format, shown)
		}
		want := last.body
		if format == "feishu" { // its signature stands in the body
			var body map[string]any
			if err := json.Unmarshal([]byte(want), &body); err != nil {
				t.Fatal(err)
			}
			want = strings.NewReplacer(body["sign"].(string), channels.Masked, body["timestamp"].(string), channels.Masked).Replace(want)
		}
		if string(w.Body) != want {
			t.Errorf("%s: preview %s\nsent %s", format, w.Body, want)
		}
		for _, h := range w.Header {
			if v := last.header.Get(h[0]); v != h[1] && h[1] != channels.Masked {
				t.Errorf("%s: header %s: preview %q, sent %q", format, h[0], h[1], v)
			}
		}
	}
}

func TestBody(t *testing.T) {
	f, err := newStandard(&Config{}, secret)
	if err != nil {
		t.Fatal(err)
	}
	d := channeltest.Delivery(1)
	d.Event.Time = time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("", 8*3600))
	d.Message.Payload = schemas.Raw(`{"amount": "1 < 2", "n": 12345678901234567890}`)
	body := func(at int64) string {
		t.Helper()
		r, failure := f.request(d, &url.URL{}, time.Unix(at, 0))
		if failure != nil {
			t.Fatal(failure)
		}
		return string(r.body)
	}
	first := body(1)
	if want := `{"type":"erp.invoice.due","timestamp":"2026-11-23T01:00:00Z","data":{"amount":"1 < 2","n":12345678901234567890}}`; first != want {
		t.Errorf("body = %s\nwant   %s", first, want)
	}
	if second := body(2); second != first {
		t.Errorf("the second attempt's body differs: %s", second)
	}
	d.Message.Payload = nil
	var text struct{ Data map[string]string }
	if b := body(1); json.Unmarshal([]byte(b), &text) != nil || text.Data["text"] != d.Message.Text {
		t.Errorf("without a payload: %s", b)
	}
	d.Message.Payload = schemas.Raw(`{"canary`)
	_, err = mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://partner.example\n").Send(t.Context(), d)
	if f := channels.Explain(err); f.Class != channels.Content || strings.Contains(err.Error(), "canary") {
		t.Errorf("a payload that is no JSON: %v", err)
	}
}

// Against the sandbox, whose verifier is the library of Standard Webhooks.
func TestSandboxPaths(t *testing.T) {
	far, err := sandbox.StartWebhook(sandbox.WebhookConfig{Secret: secret}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	for _, c := range []struct {
		path, code string
		class      channels.Class
		after      time.Duration
	}{
		{"ok", "", "", 0},
		{"flaky", "http:503", channels.Temporary, 0},
		{"503", "http:503", channels.Temporary, 0},
		{"429", "http:429", channels.Throttled, 2 * time.Second},
		{"410", "http:410", channels.Permanent, 0},
		{"400", "http:400", channels.Content, 0},
		{"redirect", "http:3xx", channels.Config, 0},
		{"nowhere", "http:404", channels.Config, 0},
		{"hang", "net:timeout-response", channels.Unknown, 0},
	} {
		t.Run(c.path, func(t *testing.T) {
			ch := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\ntimeout: 1s\nurl: "+far.URL()+"/hook/"+c.path+"\n")
			d := channeltest.Delivery(len(c.path))
			d.ID += c.path
			receipt, err := ch.Send(t.Context(), d)
			if c.code == "" {
				if err != nil || receipt.ID != d.ID {
					t.Fatalf("Send = %+v, %v", receipt, err)
				}
				return
			}
			if f := channels.Explain(err); f.Kind != "webhook" || f.Provider != "generic" || f.Code != c.code || f.Class != c.class || f.After != c.after {
				t.Errorf("Failure = %+v, want %s %s %v", f, c.code, c.class, c.after)
			}
		})
	}
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32)))
	t.Setenv("YIZHAN_TEST_OTHER_SECRET", other)
	ch, err := open(t, channels.Env{Simulated: true}, "kind: webhook\nsecret_env: YIZHAN_TEST_OTHER_SECRET\nurl: "+far.URL()+"/hook/ok\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ch.Send(t.Context(), channeltest.Delivery(1))
	if f := channels.Explain(err); f.Code != "http:401" || f.Class != channels.Auth {
		t.Errorf("another secret: %+v, want http:401", f)
	}
}

func TestPrivateCA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte(server.URL+"/hook\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := "kind: webhook\nallow_private: true\nurl_file: url\n"
	_, err := mustOpen(t, channels.Env{Dir: dir}, yaml+"ca_file: ca.pem\n").Send(t.Context(), channeltest.Delivery(1))
	if err != nil {
		t.Errorf("with the CA: %v", err)
	}
	_, err = mustOpen(t, channels.Env{Dir: dir}, yaml).Send(t.Context(), channeltest.Delivery(1))
	if f := channels.Explain(err); f.Code != "net:tls" || f.Class != channels.Config || !strings.Contains(f.Line, "x509:") {
		t.Errorf("without the CA: %+v", f)
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"short": "whsec_c2hvcnQ=", "good": secret, "url": "https://partner.example/token7391\x01"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ yaml, pointer string }{
		{"url: https://partner.example\n", "/secret_file"},
		{"url: https://partner.example\nsecret_file: short\n", "/secret_file"},
		{"url: https://partner.example\nsecret_file: missing\n", "/secret_file"},
		{"secret_file: good\n", "/url"},
		{"secret_file: good\nurl: http://partner.example\n", "/url"},
		{"secret_file: good\nurl: http://127.0.0.1:8080\n", "/url"},
		{"secret_file: good\nurl: https://user:pw7391@partner.example\n", "/url"},
		{"secret_file: good\nurl: partner.example\n", "/url"},
		{"secret_file: good\nurl_file: url\n", "/url"}, // a control character: net/url repeats the address
		{"secret_file: good\nurl: https://a.example\nurl_file: url\n", "/url"},
		{"secret_file: good\nurl: https://a.example\nformat: carrier-pigeon\n", "/format"},
		{"secret_file: good\nurl: https://a.example\nca_file: good\n", "/ca_file"},
		{"secret_file: good\nurl: https://a.example:99999\n", "/url"},
		{"secret_file: good\nurl: https://a.example\nmessage: text\n", "/message"},
		{"secret_file: good\nurl: https://a.example\nkeyword: x\n", "/keyword"},
		{"secret_file: good\nurl: https://a.example\nat: {all: true}\n", "/at"},
		{"secret_file: good\nurl: https://a.example\nslots: 5000\n", "/slots"},
		{"secret_file: good\nurl: https://a.example\ntimeout: 1ms\n", "/timeout"},
	} {
		_, err := open(t, channels.Env{Dir: dir}, "kind: webhook\n"+c.yaml)
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != c.pointer || bad.Problems[0].Zh == "" || bad.Problems[0].En == "" {
			t.Errorf("%q: %v, want a problem at %s in both languages", c.yaml, err, c.pointer)
		}
		if err != nil && strings.Contains(err.Error(), "7391") {
			t.Errorf("%q: the credential is in the error: %v", c.yaml, err)
		}
	}
	ch := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://partner.example/hook\n")
	want := channels.Traits{Kind: "webhook", Provider: "generic", Address: channels.None, Idempotent: true, Slots: 16, Timeout: 15 * time.Second}
	if got := ch.Traits(); got != want {
		t.Errorf("Traits = %+v, want %+v", got, want)
	}
	if _, err := open(t, channels.Env{}, "kind: webhook\nurI: x\n"); err == nil || !strings.Contains(err.Error(), "uri") && !strings.Contains(err.Error(), "urI") {
		t.Errorf("an unknown key: %v", err)
	}
}
