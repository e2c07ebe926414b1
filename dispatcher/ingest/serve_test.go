package ingest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/schemas"
)

// bare is a server without a broker: every event is accepted.
func bare(t testing.TB, cfg Config, log *zap.Logger) *server {
	t.Helper()
	s, err := newServer(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	s.accept = func(_ context.Context, events []*schemas.Event) ([]Accepted, error) {
		out := make([]Accepted, len(events))
		for i, e := range events {
			out[i] = Accepted{ID: e.ID, Source: e.Source}
		}
		return out, nil
	}
	s.nonce = func(context.Context, string, string) (bool, error) { return true, nil }
	s.healthy = func(context.Context) error { return nil }
	return s
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	var doc struct {
		OpenAPI string                    `yaml:"openapi"`
		Paths   map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	var told, have []string
	for path, operations := range doc.Paths {
		for _, method := range []string{"get", "put", "post", "delete", "patch", "head", "options"} {
			if operations[method] != nil {
				told = append(told, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, rt := range bare(t, open(), zap.NewNop()).routes() {
		for method := range rt.methods {
			have = append(have, method+" "+strings.ReplaceAll(rt.pattern, "...", ""))
		}
	}
	slices.Sort(told)
	slices.Sort(have)
	if !slices.Equal(told, have) {
		t.Errorf("openapi.yaml tells\n%s\nthe mux has\n%s", strings.Join(told, "\n"), strings.Join(have, "\n"))
	}
}

// Every reference in the document leads somewhere, and every problem type in the code is listed.
func TestOpenAPIIsWhole(t *testing.T) {
	var doc map[string]any
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`\$ref: "?([^"} \n]+)`).FindAllStringSubmatch(string(openAPI), -1) {
		if file, ok := strings.CutPrefix(ref[1], "/schemas/"); ok {
			if _, ok := schemas.File(file); !ok {
				t.Errorf("no schema %s", file)
			}
			continue
		}
		var at any = doc
		for part := range strings.SplitSeq(strings.TrimPrefix(ref[1], "#/"), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"event": true}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:name: |unauthenticated\(|forbidden\()"([a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
			names[m[1]] = true
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %d problem types found in the code", len(names))
	}
	for name := range maps.Keys(names) {
		if !regexp.MustCompile(`[ ,]` + name + `[,.]`).Match(openAPI) {
			t.Errorf("problem type %s is not in openapi.yaml", name)
		}
	}
}

func TestPanicIsAnAnswerWithoutDetails(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	s := bare(t, open(), zap.New(core))
	s.accept = func(context.Context, []*schemas.Event) ([]Accepted, error) { panic("call 13800138000") }
	h, err := s.handler(map[string]http.Handler{"/late/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an ans")
		_ = http.NewResponseController(w).Flush()
		panic("late")
	})})
	if err != nil {
		t.Fatal(err)
	}
	url, _ := start(t, h, open())
	a := request{url: url + "/v1/events", body: event("x")}.do(t)
	if p := a.problem(t); p.Status != 500 || p.Type != "internal" || strings.Contains(string(a.body), "call") {
		t.Errorf("%+v", p)
	}
	lines := logs.FilterMessage("panic").All()
	if len(lines) != 1 || lines[0].ContextMap()["panic"] != "call 138****8000" || lines[0].ContextMap()["request"] != a.Header.Get(requestID) {
		t.Errorf("log %+v", lines)
	}
	resp, err := http.Get(url + "/late/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half an answer looks whole")
	}
}

func TestExtraHandlers(t *testing.T) {
	s := bare(t, open(), zap.NewNop())
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	h, err := s.handler(map[string]http.Handler{"/sandbox/": say("sandbox"), "/": say("console"), "/v1/dead/groups": say("groups")})
	if err != nil {
		t.Fatal(err)
	}
	url, _ := start(t, h, open())
	for path, want := range map[string]string{"/sandbox/inbox": "sandbox", "/any/page": "console", "/v1/dead/groups": "groups", "/healthz": `{"status":"ok"}`} {
		if a := (request{method: "GET", url: url + path}).do(t); string(a.body) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for _, taken := range []string{"/v1/events", "/v1/events/", "/healthz", "/{", ""} {
		if _, err := s.handler(map[string]http.Handler{taken: say("")}); err == nil {
			t.Errorf("%q: no error", taken)
		}
	}
}

// start serves h until the test ends or stop is called; stop returns what Serve returned.
func start(t *testing.T, h http.Handler, cfg Config) (url string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, cfg) }()
	var result error
	stopped := false
	stop = func() error {
		if cancel(); !stopped {
			result, stopped = <-ended, true
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), stop
}

func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	s := bare(t, open(), zap.NewNop())
	entered, leave := make(chan struct{}), make(chan struct{})
	accept := s.accept
	s.accept = func(ctx context.Context, events []*schemas.Event) ([]Accepted, error) {
		close(entered)
		<-leave
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return accept(ctx, events)
	}
	h, err := s.handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	url, stop := start(t, h, open())
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post(url+"/v1/events", "application/json", strings.NewReader(event("x")))
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	eventually(t, "refuses connections", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	default:
	}
	close(leave)
	if got := <-answered; got != http.StatusAccepted {
		t.Errorf("status %d", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestWithoutKeysServeRefusesAnOpenListener(t *testing.T) {
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), ln, http.NotFoundHandler(), open()); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("error %v", err)
	}
}

func TestServeTLS(t *testing.T) {
	cfg := keyed(t)
	cert := selfSigned(t, cfg.Dir)
	cfg.HTTP.TLSCertFile, cfg.HTTP.TLSKeyFile = "cert.pem", "key.pem"
	h, err := bare(t, cfg, zap.NewNop()).handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	url, _ := start(t, h, cfg)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	q, err := http.NewRequestWithContext(t.Context(), "POST", strings.Replace(url, "http:", "https:", 1)+"/v1/events", strings.NewReader(event("x")))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer acme."+secretOne)
	q.Header.Set("Content-Type", "application/json")
	resp, err := tr.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusAccepted || resp.ProtoMajor != 2 {
		t.Errorf("status %d over %s", resp.StatusCode, resp.Proto)
	}
}

// selfSigned writes cert.pem and key.pem for 127.0.0.1.
func selfSigned(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// A pod answers only for the roles it has.
func TestRolesLeaveRoutesOut(t *testing.T) {
	for _, c := range []struct {
		noPublish, noOperate bool
		there, gone          string
		allow                string // at /v1/events
	}{
		{true, false, "/v1/dead", "/v1/nothing", "GET, HEAD"},
		{false, true, "/v1/events", "/v1/dead", "POST"},
	} {
		cfg := open()
		cfg.NoPublish, cfg.NoOperate = c.noPublish, c.noOperate
		h, err := bare(t, cfg, zap.NewNop()).handler(nil)
		if err != nil {
			t.Fatal(err)
		}
		url, _ := start(t, h, cfg)
		request{method: "PUT", url: url + c.there}.do(t).want(t, 405, nil)
		request{method: "PUT", url: url + c.gone}.do(t).want(t, 404, nil)
		if a := (request{method: "PUT", url: url + "/v1/events"}).do(t); a.Header.Get("Allow") != c.allow {
			t.Errorf("%+v: Allow %q", c, a.Header.Get("Allow"))
		}
		request{method: "GET", url: url + "/healthz"}.do(t).want(t, 200, nil)
	}
}
