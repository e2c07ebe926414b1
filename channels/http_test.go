package channels

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"code.dny.dev/ssrf"
)

func TestFromHTTP(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status     int
		retryAfter string
		code       string
		class      Class
		after      time.Duration
		maybe      bool
	}{
		{302, "", "http:3xx", Config, 0, false},
		{400, "60", "http:400", Content, 0, false},
		{401, "", "http:401", Auth, 0, false},
		{403, "", "http:403", Auth, 0, false},
		{404, "", "http:404", Config, 0, false},
		{408, "", "http:408", Temporary, 0, false},
		{409, "", "http:409", Temporary, 0, false},
		{410, "", "http:410", Permanent, 0, false},
		{418, "", "http:418", Permanent, 0, false},
		{422, "", "http:422", Content, 0, false},
		{425, "", "http:425", Temporary, 0, false},
		{429, "", "http:429", Throttled, 0, false},
		{429, "2", "http:429", Throttled, 2 * time.Second, false},
		{500, "", "http:500", Temporary, 0, false},
		{501, "", "http:501", Config, 0, false},
		{503, "", "http:503", Temporary, 0, false},
		{503, "30", "http:503", Throttled, 30 * time.Second, false},
		{504, "", "http:504", Unknown, 0, true},
		{524, "", "http:524", Unknown, 0, true},
		{599, "", "http:599", Temporary, 0, false},
	} {
		h := http.Header{}
		if c.retryAfter != "" {
			h.Set("Retry-After", c.retryAfter)
		}
		f := FromHTTP("webhook", "generic", c.status, h, nil, now)
		if f == nil || f.Code != c.code || f.Class != c.class || f.After != c.after || f.Maybe != c.maybe {
			t.Errorf("%d Retry-After %q = %+v, want %s %s %v maybe %v", c.status, c.retryAfter, f, c.code, c.class, c.after, c.maybe)
		}
	}
	for _, status := range []int{200, 202, 204, 299} {
		if f := FromHTTP("webhook", "generic", status, nil, []byte("ok"), now); f != nil {
			t.Errorf("%d = %v, want success", status, f)
		}
	}
}

func TestFromHTTPLine(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ body, want string }{
		{"", "503 Service Unavailable"},
		{"busy\r\ntry later", "503 Service Unavailable: busy try later"},
		{"<html><head><title>Down &amp; out</title></head><body><p>long page", "503 Service Unavailable: Down & out"},
		{"<html><body>no title", "503 Service Unavailable"},
		{"number 13800138000 of wang@example.com", "503 Service Unavailable: number 138****8000 of w***@example.com"},
	} {
		if got := FromHTTP("webhook", "generic", 503, nil, []byte(c.body), now).Line; got != c.want {
			t.Errorf("body %q gives line %q, want %q", c.body, got, c.want)
		}
	}
	if got := FromHTTP("webhook", "generic", 500, nil, []byte(strings.Repeat("长", 9000)), now).Line; len(got) > maxLine {
		t.Errorf("line of %d bytes, want at most %d", len(got), maxLine)
	}
}

// Real errors of a real client: what net/http reports changes between Go versions.
func TestFromNet(t *testing.T) {
	release := make(chan struct{})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/cut":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	}))
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused certificate is what is wanted
	secure.StartTLS()
	t.Cleanup(func() { close(release); plain.Close(); secure.Close() })

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	// A listener that never accepts TLS: the handshake hangs.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })

	failDNS := func(nx bool) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "erp.example", IsNotFound: nx, IsTemporary: !nx}}
		}
	}
	guarded := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Control: ssrf.New(ssrf.WithAnyPort()).Safe}
		return d.DialContext(ctx, network, addr)
	}
	ports := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Control: ssrf.New(ssrf.WithPorts(443)).Safe}
		return d.DialContext(ctx, network, addr)
	}
	for _, c := range []struct {
		name  string
		url   string
		dial  func(context.Context, string, string) (net.Conn, error)
		code  string
		class Class
		maybe bool
	}{
		{"refused", "http://" + closed.Addr().String(), nil, "net:refused", Temporary, false},
		{"no such host", "http://erp.example", failDNS(true), "net:dns-nxdomain", Config, false},
		{"resolver down", "http://erp.example", failDNS(false), "net:dns-temporary", Temporary, false},
		{"unknown certificate", secure.URL, nil, "net:tls", Config, false},
		{"plain port", strings.Replace(plain.URL, "http:", "https:", 1), nil, "net:tls", Config, false},
		{"handshake hangs", "https://" + mute.Addr().String(), nil, "net:timeout-connect", Temporary, false},
		{"answer hangs", plain.URL + "/hang", nil, "net:timeout-response", Unknown, true},
		{"cut after the request", plain.URL + "/cut", nil, "net:reset", Unknown, true},
		{"forbidden address", plain.URL, guarded, "dispatcher:blocked-address", Config, false},
		{"forbidden port", plain.URL, ports, "dispatcher:blocked-port", Config, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			transport := &http.Transport{DialContext: c.dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
			defer transport.CloseIdleConnections()
			limit := 30 * time.Second
			if strings.HasSuffix(c.name, "hangs") { // only these wait for it
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			ctx, written := TraceWritten(ctx)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"?access_token=topsecret", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err == nil {
				resp.Body.Close()
				t.Fatal("the request was answered")
			}
			f := FromNet("webhook", "generic", err, written())
			if f.Code != c.code || f.Class != c.class || f.Maybe != c.maybe {
				t.Errorf("%v\n = %s %s maybe %v, want %s %s maybe %v", err, f.Code, f.Class, f.Maybe, c.code, c.class, c.maybe)
			}
			if s := f.Error() + f.Err.Error(); strings.Contains(s, "topsecret") {
				t.Errorf("the URL is in the error: %s", s)
			}
		})
	}
}

func TestFromNetCancelled(t *testing.T) {
	f := FromNet("sms", "aliyun", context.Canceled, true)
	if f.Code != "net:cancelled" || !f.Maybe || !errors.Is(f, context.Canceled) {
		t.Errorf("a cancelled call = %+v", f)
	}
}
