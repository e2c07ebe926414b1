package webhook

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/channels/guard"
	"github.com/yizhan-dev/yizhan/schemas"
)

// blocked checks that the failure is a refusal of ours before anything was sent, that the diagnoses have words for.
func blocked(t *testing.T, what string, err error, codes ...string) {
	t.Helper()
	f := channels.Explain(err)
	ok := false
	for _, c := range codes {
		ok = ok || f.Code == c
	}
	why := explain.Default().Explain(f)
	if !ok || f.Maybe || !why.Known || why.Cause.Zh == "" || why.Remedy.En == "" || why.Class != f.Class {
		t.Errorf("%s: %+v (known %v, %s), want one of %v", what, f, why.Known, why.Class, codes)
	}
}

// Every way to write an inner address (facts: security.md section 4, item 9), configured and from an event, ends
// at the guard, at the host patterns, or nowhere.
func TestSendReachesNoInnerAddress(t *testing.T) {
	hosts := []string{
		"127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.100.100.200", "[::1]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "127.0.0.1:22",
	}
	for _, host := range hosts {
		ch := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://"+host+"/hook\n")
		_, err := ch.Send(t.Context(), channeltest.Delivery(1))
		blocked(t, host+", configured", err, "dispatcher:blocked-address", "dispatcher:blocked-port")
	}
	events := mustOpen(t, channels.Env{}, "kind: webhook\nallow_private: true\ndestinations: {hosts: ['*.example.com']}\n")
	for _, host := range append(hosts, "2130706433", "0x7f000001", "0177.0.0.1", "example.com.evil.test", "evil-example.com", "example.com") {
		d := channeltest.Delivery(1)
		d.To = schemas.Recipient{Webhook: "partner", URL: "https://" + host + "/hook"}
		_, err := events.Send(t.Context(), d)
		blocked(t, host+", from an event", err, "dispatcher:bad-destination")
	}
	for _, address := range []string{"http://api.example.com/", "https://user:pw7391@api.example.com/", "file:///etc/passwd", "gopher://api.example.com/", "https://", "https://api.example.com:99999/", "//api.example.com/", "\x00"} {
		d := channeltest.Delivery(1)
		d.To = schemas.Recipient{Webhook: "partner", URL: address}
		_, err := events.Send(t.Context(), d)
		if f := channels.Explain(err); f == nil || f.Maybe || strings.Contains(err.Error(), "7391") || f.Code == "net:reset" {
			t.Errorf("%q: %v", address, err)
		}
	}
	// Without destinations no event chooses an address, with them one must.
	d := channeltest.Delivery(1)
	d.To = schemas.Recipient{Webhook: "partner", URL: "https://api.example.com/hook"}
	_, err := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://partner.example/\n").Send(t.Context(), d)
	blocked(t, "a channel that takes no addresses", err, "dispatcher:bad-destination")
	d.To.URL = ""
	_, err = events.Send(t.Context(), d)
	blocked(t, "an event without the address", err, "dispatcher:bad-destination")
}

// resolving makes the channel's connections resolve names with dns.
func resolving(ch *Channel, dns *net.Resolver, roots *x509.CertPool) {
	w := way{resolver: dns, roots: roots, conns: 1, answer: 5 * time.Second}
	ch.client = w.client()
	ch.away = w.client()
}

// Names that lead inside: plainly, together with a public address, or the second time they are asked (rebinding).
func TestNamesThatLeadInside(t *testing.T) {
	var inside atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(server.Close)
	dns := channeltest.StartDNS(t, channeltest.Zone{
		"inner.example.com":  {"A 127.0.0.1"},
		"meta.example.com":   {"A 169.254.169.254"},
		"rebind.example.com": {"A 203.0.113.1", "THEN", "A 127.0.0.1"}, // first one not routed, and refused as documentation range
		"two.example.com":    {"A 10.0.0.1", "A 127.0.0.1", "A 192.168.0.1"},
	}).Resolver()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, host := range []string{"inner.example.com", "meta.example.com", "rebind.example.com", "rebind.example.com", "two.example.com", "inner.example.com" + port, "two.example.com" + port} {
		ch := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://"+host+"/hook\ndestinations: {hosts: ['*.example.com']}\n")
		resolving(ch, dns, server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
		d := channeltest.Delivery(1)
		_, err := ch.Send(t.Context(), d)
		blocked(t, host+", configured", err, "dispatcher:blocked-address", "dispatcher:blocked-port")
		d.To = schemas.Recipient{Webhook: "partner", URL: "https://" + host + "/hook"}
		_, err = ch.Send(t.Context(), d)
		blocked(t, host+", from an event", err, "dispatcher:inner-destination")
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("%d requests arrived inside", n)
	}
}

// A redirect is not followed, wherever it leads.
func TestRedirectsEndThere(t *testing.T) {
	var followed atomic.Int32
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(inner.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			http.Redirect(w, r, inner.URL, status)
		}))
		ch := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\nurl: "+outer.URL+"\n")
		_, err := ch.Send(t.Context(), channeltest.Delivery(1))
		blocked(t, fmt.Sprint(status), err, "http:3xx")
		outer.Close()
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// An event's address is never given what the operator allows for the configured one.
func TestAllowPrivateIsNotForEvents(t *testing.T) {
	var arrived atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	t.Cleanup(server.Close)
	dns := channeltest.StartDNS(t, channeltest.Zone{"inner.example.com": {"A 127.0.0.1"}}).Resolver()
	ch := mustOpen(t, channels.Env{}, "kind: webhook\nallow_private: true\nurl: "+server.URL+"\ndestinations: {hosts: ['*.example.com']}\n")
	if _, err := ch.Send(t.Context(), channeltest.Delivery(1)); err != nil || arrived.Load() != 1 {
		t.Fatalf("the configured address: %v", err)
	}
	events := way{resolver: dns, conns: 1, answer: time.Second}
	ch.away = events.client()
	d := channeltest.Delivery(1)
	d.To = schemas.Recipient{Webhook: "partner", URL: "https://inner.example.com/"}
	_, err := ch.Send(t.Context(), d)
	blocked(t, "an event's address", err, "dispatcher:inner-destination")
	if got := ch.Destination(d); got != "inner.example.com" {
		t.Errorf("Destination = %q", got)
	}
	if got := ch.Destination(channeltest.Delivery(1)); got != "" {
		t.Errorf("Destination of the configured address = %q", got)
	}
}

// One address of a host that wants no more says nothing of the others there: the code must not be the one that closes
// the host for every event.
func TestGoneAddressIsNotGoneHost(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/c" {
			w.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(server.Close)
	dns := channeltest.StartDNS(t, channeltest.Zone{"hooks.example.com": {"A 127.0.0.1"}}).Resolver()
	core, logs := observer.New(zapcore.DebugLevel)
	ch := mustOpen(t, channels.Env{Log: zap.New(core)}, "kind: webhook\ndestinations: {hosts: ['*.example.com']}\n")
	ch.away = way{reach: guard.PublicAndMe, resolver: dns, conns: 1, answer: 5 * time.Second, roots: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}.client()
	base := "https://hooks.example.com" + server.URL[strings.LastIndexByte(server.URL, ':'):]
	var breaker channels.Breaker // the host's
	for _, path := range []string{"/a", "/b", "/a", "/c"} {
		if ok, _, cause := breaker.Allow(time.Now()); !ok {
			t.Fatalf("%s: the host is closed: %v", path, cause)
		}
		d := channeltest.Delivery(1)
		d.To = schemas.Recipient{Webhook: "partner", URL: base + path}
		_, err := ch.Send(t.Context(), d)
		if path == "/c" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		f := channels.Explain(err)
		if e := explain.Default().Explain(f); err == nil || f.Code != "dispatcher:gone-destination" || e.Class != channels.BadTarget || !e.Known || e.Retry != "no" {
			t.Errorf("%s: %+v, %+v", path, f, e)
		}
		breaker.Done(time.Now(), f)
	}
	if n := logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 2 {
		t.Errorf("%d lines of level error, want one for each address", n)
	}
}

func TestHostPatterns(t *testing.T) {
	d := Destinations{Hosts: []string{"api.partner.com", "*.example.com"}}
	if err := d.check(); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://api.partner.com/hook?x=1#frag": "https://api.partner.com/hook?x=1",
		"https://API.Partner.com.:443/":         "https://api.partner.com/",
		"https://a.b.example.com:8443/":         "https://a.b.example.com:8443/",
		"https://example.com/":                  "",
		"https://xexample.com/":                 "",
		"https://partner.com/":                  "",
		"https://sub.api.partner.com/":          "",
		"https://api.partner.com@evil.com/":     "",
		"https://evil.com/.example.com":         "",
		"https://evil.com\\.example.com/":       "",
		"https://evil.com%2f.example.com/":      "",
		"https://127.0.0.1.example.com/":        "https://127.0.0.1.example.com/", // a name like any other
		"https://[::1].example.com/":            "",
		"https://\u3002example.com/":            "",
		"https://a。example.com/":                "",
	} {
		u, f := d.chosen(address)
		switch {
		case want == "" && f == nil:
			t.Errorf("%s became %s", address, u)
		case want != "" && (f != nil || u.String() != want):
			t.Errorf("%s became %v, %v; want %s", address, u, f, want)
		}
	}
	for _, bad := range []string{"*", "*.com", "com", "10.0.0.1", "*.0.0.1", "::1", "https://a.example.com", "a.example.com:443", "A.example.com", "*.*.example.com", "a*.example.com", "", "a..example.com"} {
		t.Setenv("YIZHAN_TEST_HOOK_SECRET", secret)
		if _, err := open(t, channels.Env{}, "kind: webhook\nsecret_env: YIZHAN_TEST_HOOK_SECRET\ndestinations: {hosts: ['"+bad+"']}\n"); err == nil || !strings.Contains(err.Error(), "destinations/hosts") {
			t.Errorf("pattern %q: %v", bad, err)
		}
	}
}

// authority makes certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue returns certificate and key in PEM, for names and both uses.
func (a *authority) issue(t *testing.T, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// serveTLS serves requests on loopback; their handler sees the client's certificate.
func serveTLS(t *testing.T, config *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue(t, "localhost")
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clientCert, clientKey := ca.issue(t)
	otherCert, _ := ca.issue(t)
	write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	write("cert.pem", clientCert)
	write("key.pem", clientKey)
	write("other.pem", otherCert)
	yes := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if len(r.TLS.PeerCertificates) > 0 {
			w.Header().Set("Client", r.TLS.PeerCertificates[0].Subject.CommonName)
		}
	}
	send := func(url, more string) error {
		_, err := mustOpen(t, channels.Env{Dir: dir, Simulated: true}, "kind: webhook\nca_file: ca.pem\nurl: "+url+"\n"+more).Send(t.Context(), channeltest.Delivery(1))
		return err
	}
	// TLS 1.1 at most.
	old := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, yes)
	if f := channels.Explain(send(old, "")); f.Code != "net:tls" || f.Class != channels.Config || !explain.Default().Explain(f).Known {
		t.Errorf("a receiver of TLS 1.1: %+v", f)
	}
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: version, MaxVersion: version}, yes)
		if err := send(url, ""); err != nil {
			t.Errorf("a receiver of TLS %s: %v", name, err)
		}
	}
	// A receiver that asks for a certificate.
	mutual := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}, yes)
	if err := send(mutual, "cert_file: cert.pem\nkey_file: key.pem\n"); err != nil {
		t.Errorf("with the certificate that the receiver asks for: %v", err)
	}
	if f := channels.Explain(send(mutual, "")); f.Code != "net:tls" && f.Code != "net:reset" {
		t.Errorf("without it: %+v", f)
	}
	t.Setenv("YIZHAN_TEST_HOOK_SECRET", secret)
	for _, bad := range []string{"cert_file: cert.pem\n", "key_file: key.pem\n", "cert_file: other.pem\nkey_file: key.pem\n", "cert_file: nowhere.pem\nkey_file: key.pem\n"} {
		if _, err := open(t, channels.Env{Dir: dir}, "kind: webhook\nsecret_env: YIZHAN_TEST_HOOK_SECRET\nurl: https://a.example\n"+bad); err == nil || !strings.Contains(err.Error(), "cert_file") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// proxyServer is an HTTP proxy on loopback that knows only CONNECT.
type proxyServer struct {
	addr string

	mu      sync.Mutex
	asked   []string // what CONNECT named
	logins  []string
	status  int    // answered instead, when not 0
	through string // where it connects, whatever it was asked
}

func startProxy(t *testing.T) *proxyServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyServer{addr: ln.Addr().String()}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { ln.Close(); served.Wait() })
	return p
}

func (p *proxyServer) serve(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReaderSize(conn, 16))
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.logins = append(p.logins, r.Header.Get("Proxy-Authorization"))
	status, through := p.status, p.through
	p.mu.Unlock()
	if status == -1 { // a head without an end
		for range 1 << 10 {
			if _, err := io.WriteString(conn, "X-Long: "+strings.Repeat("x", 100)+"\r\n"); err != nil {
				return
			}
		}
		return
	}
	if status != 0 {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", status)
		return
	}
	far, err := net.Dial("tcp", through)
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(far, conn); far.Close() }()
	_, _ = io.Copy(conn, far)
}

// Through a proxy the guard holds as well: the proxy is told the address that was judged, and names that lead
// inside never get that far.
func TestProxy(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "api.partner.example")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var arrived atomic.Int32
	receiver := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived.Add(1)
	})
	p := startProxy(t)
	p.through = strings.TrimPrefix(receiver, "https://")
	dns := channeltest.StartDNS(t, channeltest.Zone{
		"api.partner.example": {"A 10.0.0.1", "A 8.8.8.8"}, "inner.partner.example": {"A 192.168.1.1"},
	}).Resolver()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "proxy"), []byte("http://user:pw7391@"+p.addr+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := func(host string) *Channel {
		ch := mustOpen(t, channels.Env{Dir: dir}, "kind: webhook\nproxy_file: proxy\nurl: https://"+host+"/hook\n")
		u, err := proxy(channels.Env{Dir: dir}, Config{ProxyFile: "proxy"})
		if err != nil {
			t.Fatal(err)
		}
		w := way{resolver: dns, proxy: u, roots: ca.pool, conns: 1, answer: 5 * time.Second}
		ch.client = w.client()
		return ch
	}
	if _, err := opened("api.partner.example").Send(t.Context(), channeltest.Delivery(1)); err != nil || arrived.Load() != 1 {
		t.Fatalf("through the proxy: %v", err)
	}
	if p.asked[0] != "CONNECT 8.8.8.8:443" || p.logins[0] != "Basic "+base64.StdEncoding.EncodeToString([]byte("user:pw7391")) {
		t.Errorf("the proxy was asked for %q with login %q", p.asked, p.logins)
	}
	for _, host := range []string{"inner.partner.example", "127.0.0.1", "169.254.169.254", "localhost", "api.partner.example:22"} {
		_, err := opened(host).Send(t.Context(), channeltest.Delivery(1))
		if f := channels.Explain(err); !strings.HasPrefix(f.Code, "dispatcher:blocked-") && f.Code != "net:dns-nxdomain" {
			t.Errorf("%s: %+v", host, f)
		}
	}
	if len(p.asked) != 1 {
		t.Errorf("the proxy was asked for %q", p.asked)
	}
	for status, want := range map[int]struct {
		code  string
		class channels.Class
	}{407: {"http:407", channels.Config}, 403: {"net:proxy-refused", channels.Config}, 502: {"net:proxy-failed", channels.Temporary}, -1: {"net:reset", channels.Temporary}} {
		p.mu.Lock()
		p.status = status
		p.mu.Unlock()
		_, err := opened("api.partner.example").Send(t.Context(), channeltest.Delivery(1))
		f := channels.Explain(err)
		if f.Code != want.code || f.Class != want.class || f.Maybe || strings.Contains(err.Error(), "7391") {
			t.Errorf("status %d: %+v, want %s", status, f, want.code)
		}
		if why := explain.Default().Explain(f); !why.Known || why.Class != want.class {
			t.Errorf("status %d: the diagnoses say %+v", status, why)
		}
	}
	for _, bad := range []string{"proxy: 'https://a.example:1'", "proxy: a.example:3128", "proxy: 'http://a.example'", "proxy: 'http://u:pw7391@a.example:1'", "proxy: 'http://a.example:1'\nproxy_file: proxy", "proxy_file: nowhere"} {
		_, err := open(t, channels.Env{Dir: dir}, "kind: webhook\nsecret_env: YIZHAN_TEST_HOOK_SECRET\nurl: https://a.example\n"+bad+"\n")
		if err == nil || !strings.Contains(err.Error(), "proxy") || strings.Contains(err.Error(), "7391") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A proxy that takes the connection and says nothing costs no more than the time limit.
func TestProxyThatHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	ch := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://8.8.8.8/hook\nproxy: http://"+ln.Addr().String()+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = ch.Send(ctx, channeltest.Delivery(1))
	if f := channels.Explain(err); f.Code != "net:timeout-connect" || f.Class != channels.Temporary || f.Maybe {
		t.Errorf("%+v", f)
	}
}

// An answer that drips is waited for no longer than the time limit: what came of it counts, and a code that had not
// come leaves the outcome unknown.
func TestSlowAnswers(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		_, _ = io.WriteString(w, `{"errcode":`)
		for {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-done:
				return
			}
		}
	}))
	t.Cleanup(func() { close(done); server.Close() })
	start := time.Now()
	_, err := openRobot(t, "wecom", "timeout: 1s\nurl: "+server.URL+"/cgi-bin/webhook/send?key=token7391").Send(t.Context(), channeltest.Delivery(1))
	if f := channels.Explain(err); f.Code != "net:timeout-response" || f.Class != channels.Unknown || !f.Maybe {
		t.Errorf("a robot: %+v", f)
	}
	receipt, err := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\ntimeout: 1s\nurl: "+server.URL+"/hook\n").Send(t.Context(), channeltest.Delivery(1))
	if err != nil || receipt.Reply != "200 OK" {
		t.Errorf("a receiver that said 200: %+v, %v", receipt, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v with time limits of 1s", took)
	}
}

// Whatever an event gives, what is taken of it is https to a host that the patterns name.
func FuzzDestination(f *testing.F) {
	for _, s := range []string{"https://api.example.com/hook", "https://API.example.com.:443/", "http://a.example.com", "https://evil.com#.example.com", "https://[::1]/", "https://a.example.com:0/", "https://a.example.com%00.evil.com/", "//a.example.com", "https://a.example.com:1e3/"} {
		f.Add(s)
	}
	d := Destinations{Hosts: []string{"*.example.com", "one.test"}}
	f.Fuzz(func(t *testing.T, s string) {
		u, failure := d.chosen(s)
		if failure != nil {
			if failure.Class != channels.BadTarget || strings.ContainsAny(failure.Line, "\r\n") {
				t.Fatalf("%q: %+v", s, failure)
			}
			return
		}
		again, err := url.Parse(u.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", s, u, err)
		}
		host := again.Hostname()
		if again.Scheme != "https" || again.User != nil || host != "one.test" && !strings.HasSuffix(host, ".example.com") {
			t.Fatalf("%q became %q", s, u)
		}
	})
}
