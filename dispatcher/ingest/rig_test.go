package ingest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/consent"
	"github.com/yizhan-dev/yizhan/rules/expiry"
	"github.com/yizhan-dev/yizhan/rules/quiet"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/schemas"
)

const testRules = `
routes:
  - {name: due, when: 'event.type == "erp.invoice.due"', send: [sms]}
templates:
  invoice-due: {sms: {code: SMS_1, params: [customer], text: "您好，{{.customer}} 的账单已到期，请致电 13900139000"}}
  code: {sms: {code: SMS_2, params: [code], text: "您的验证码是 {{.code}}，五分钟内有效"}}
`

// refusing is a channel whose third party refuses every message for good.
type refusing struct{}

func (refusing) Send(context.Context, *schemas.Delivery) (channels.Receipt, error) {
	return channels.Receipt{}, &channels.Failure{Kind: "sms", Code: "isv.MOBILE_NUMBER_ILLEGAL", Class: channels.BadTarget, Line: "invalid number 138****8000"}
}

func (refusing) Traits() channels.Traits {
	return channels.Traits{Kind: "sms", Address: channels.Phone, Slots: 4, Timeout: time.Second, Signature: "驿站"}
}

func (refusing) Close() error { return nil }

func explainNothing(f *channels.Failure) channels.Diagnosis {
	return channels.Diagnosis{
		Class: f.Class, Cause: schemas.Text{Zh: "号码有误", En: "the number is wrong"}, Remedy: schemas.Text{Zh: "请核对号码", En: "check the number"},
	}
}

// rig is a dispatcher on a real broker of its own, and API servers in front of it.
type rig struct {
	testing.TB
	d    *dispatcher.Dispatcher
	logs *observer.ObservedLogs
}

func newRig(t testing.TB, change ...func(*broker.Config)) *rig {
	t.Helper()
	cfg := broker.Config{DataDir: t.TempDir()}
	cfg.Defaults()
	for _, f := range change {
		f(&cfg)
	}
	b, err := broker.Open(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	hasher, err := b.Hasher(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	book, err := rules.Load([]byte(testRules), map[string]rules.GuardFactory{"expiry": expiry.New, "quiet_hours": quiet.New, "signature": signature.New},
		map[string]rules.ReserverFactory{"consent": consent.New}, rules.Env{Consents: broker.ConsentStore{B: b, Hasher: hasher}})
	if err == nil {
		err = book.Check(map[string]string{"sms": "sms"})
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &dispatcher.Dispatcher{
		Broker: b, Ledger: &ledger.Ledger{B: b, Hasher: hasher}, Dead: &deadletter.Store{B: b}, Channels: map[string]channels.Channel{"sms": refusing{}},
		Explain: explainNothing, Log: zap.NewNop(), Worker: "test",
	}
	d.Config.Defaults()
	d.SetBook(book)
	return &rig{TB: t, d: d}
}

// run plans and sends until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.d.Run(ctx, true, true) }()
	r.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.Error(err)
		}
	})
}

// serve starts one more API server (one more pod) and returns its URL.
func (r *rig) serve(cfg Config) string {
	r.Helper()
	core, logs := observer.New(zap.DebugLevel)
	r.logs = logs
	h, err := New(cfg, r.d, zap.New(core), nil)
	if err != nil {
		r.Fatal(err)
	}
	srv := httptest.NewServer(h)
	r.Cleanup(srv.Close)
	return srv.URL
}

// open is a configuration without keys.
func open() Config {
	return Config{HTTP: HTTP{Auth: AuthNone}, Tenants: []string{"default", "acme"}}
}

// stored is how many events the broker holds.
func (r *rig) stored() uint64 {
	r.Helper()
	info, err := r.d.Broker.Stream(broker.Events).Info(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return info.State.Msgs
}

// request describes one call; zero fields are left out.
type request struct {
	method, url, media, body string
	header                   map[string]string
}

type response struct {
	*http.Response
	body []byte
}

func (q request) do(t testing.TB) response {
	t.Helper()
	if q.method == "" {
		q.method = "POST"
	}
	if q.media == "" && q.body != "" {
		q.media = "application/json"
	}
	r, err := http.NewRequestWithContext(t.Context(), q.method, q.url, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.media != "" {
		r.Header.Set("Content-Type", q.media)
	}
	for n, v := range q.header {
		r.Header.Set(n, v)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get(requestID) == "" {
		t.Errorf("%s %s: no %s", q.method, q.url, requestID)
	}
	return response{resp, b}
}

// want fails unless the answer has the status, and reads it into v when that is not nil.
func (a response) want(t testing.TB, status int, v any) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	if v != nil {
		if err := json.Unmarshal(a.body, v, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
	}
}

// problem reads the refusal, which must be one.
func (a response) problem(t testing.TB) problemBody {
	t.Helper()
	var p problemBody
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("content type %q, status %d: %s", got, a.StatusCode, a.body)
	}
	a.want(t, a.StatusCode, &p)
	if p.Status != a.StatusCode || p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Type, problemBase) {
		t.Errorf("incomplete problem %+v", p)
	}
	p.Type = strings.TrimPrefix(p.Type, problemBase)
	return p
}

// event is a good event; change edits its members as JSON text pairs old, new.
func event(id string, change ...string) string {
	s := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/erp/test","type":"erp.invoice.due","tenant":"acme","time":%q,`+
		`"data":{"category":"notification","to":[{"phone":"13800138000"}],"template":"invoice-due","params":{"customer":"华星"}}}`,
		id, time.Now().UTC().Format(time.RFC3339))
	return strings.NewReplacer(change...).Replace(s)
}

const (
	secretOne = "a-secret-of-some-thirty-bytes-1"
	secretTwo = "a-secret-of-some-thirty-bytes-2"
)

// secretFile writes a secret file and returns its folder and name.
func secretFile(t testing.TB, lines ...string) (dir, name string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, "key"
}

// sign makes the headers of a signed request.
func sign(keyID string, secret []byte, nonce string, at time.Time, body string) map[string]string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(nonce + "." + stamp + "." + body))
	return map[string]string{
		"yizhan-key": keyID, "webhook-id": nonce, "webhook-timestamp": stamp,
		"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)),
	}
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("never: " + what)
		}
	}
}

func nonce() string { return rand.Text() }

func pretty(ps []schemas.Problem) string {
	var b bytes.Buffer
	for _, p := range ps {
		fmt.Fprintf(&b, "%s %s\n", p.Pointer, p.Keyword)
	}
	return b.String()
}
