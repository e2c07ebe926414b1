package ingest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// keyed is a configuration with keys of every kind, all with the same two secrets.
func keyed(t testing.TB) Config {
	dir, file := secretFile(t, secretOne, "whsec_"+base64.StdEncoding.EncodeToString([]byte(secretTwo)))
	k := func(id string, change func(*Key)) Key {
		k := Key{ID: id, SecretFile: file, Roles: []string{RolePublish, RoleOperate}, Tenants: []string{"acme"}}
		change(&k)
		return k
	}
	return Config{Dir: dir, Tenants: []string{"default", "acme", "globex"}, Keys: []Key{
		k("acme", func(*Key) {}),
		k("all", func(k *Key) { k.Tenants = []string{"*"} }),
		k("reader", func(k *Key) { k.Roles = []string{RoleOperate} }),
		k("writer", func(k *Key) { k.Roles = nil }),
		k("hr", func(k *Key) { k.Types = []string{"hr.*", "erp.order.?"} }),
		k("far", func(k *Key) { k.Networks = []string{"192.0.2.0/24"} }),
		k("near", func(k *Key) { k.Networks = []string{"127.0.0.1", "::1"} }),
		k("gone", func(k *Key) { k.Expires = time.Now().Add(-time.Minute) }),
		k("coming", func(k *Key) { k.NotBefore = time.Now().Add(time.Hour) }),
	}}
}

func TestWhoMayPublish(t *testing.T) {
	r := newRig(t)
	url := r.serve(keyed(t)) + "/v1/events"
	now := time.Now()
	bearer := func(s string) map[string]string { return map[string]string{"Authorization": s} }
	without := func(h map[string]string, name string) map[string]string { delete(h, name); return h }
	with := func(h map[string]string, name, value string) map[string]string { h[name] = value; return h }
	good := event("e")
	one, two := []byte(secretOne), []byte(secretTwo)
	for _, c := range []struct {
		name   string
		body   string
		header map[string]string
		status int
		typ    string
	}{
		{"bearer", good, bearer("Bearer acme." + secretOne), 202, ""},
		{"bearer in lower case", good, bearer("bearer acme." + secretOne), 202, ""},
		{"bearer with the new secret", good, bearer("Bearer acme.whsec_" + base64.StdEncoding.EncodeToString(two)), 202, ""},
		{"signed", good, sign("acme", one, nonce(), now, good), 202, ""},
		{"signed with the new secret", good, sign("acme", two, nonce(), now, good), 202, ""},
		{"signed by two, one unknown", good, func() map[string]string {
			h := sign("acme", one, nonce(), now, good)
			return with(h, "webhook-signature", "v1a,AAAA v1,AAAA "+h["webhook-signature"])
		}(), 202, ""},
		{"from a network of its own", good, bearer("Bearer near." + secretOne), 202, ""},
		{"default role", good, bearer("Bearer writer." + secretOne), 202, ""},
		{"all tenants", good, bearer("Bearer all." + secretOne), 202, ""},
		{"type by pattern", event("e", "erp.invoice.due", "hr.leave.approved"), bearer("Bearer hr." + secretOne), 202, ""},

		{"nothing", good, nil, 401, "no-credentials"},
		{"another scheme", good, bearer("Basic acme." + secretOne), 401, "bad-credentials"},
		{"unknown key", good, bearer("Bearer nobody." + secretOne), 401, "bad-credentials"},
		{"wrong secret", good, bearer("Bearer acme." + secretOne + "x"), 401, "bad-credentials"},
		{"empty secret", good, bearer("Bearer acme."), 401, "bad-credentials"},
		{"the raw bytes of a whsec_ secret", good, bearer("Bearer acme." + secretTwo), 401, "bad-credentials"},
		{"signed by an unknown key", good, sign("nobody", one, nonce(), now, good), 401, "bad-credentials"},
		{"signed with another secret", good, sign("acme", []byte("something else altogether"), nonce(), now, good), 401, "bad-credentials"},
		{"another body than signed", event("f"), sign("acme", one, nonce(), now, good), 401, "bad-credentials"},
		{"another nonce than signed", good, with(sign("acme", one, nonce(), now, good), "webhook-id", nonce()), 401, "bad-credentials"},
		{"another version only", good, with(sign("acme", one, nonce(), now, good), "webhook-signature", "v1a,AAAA"), 401, "bad-credentials"},
		{"no signature", good, without(sign("acme", one, nonce(), now, good), "webhook-signature"), 401, "bad-signature-headers"},
		{"no timestamp", good, without(sign("acme", one, nonce(), now, good), "webhook-timestamp"), 401, "bad-signature-headers"},
		{"short nonce", good, sign("acme", one, "1234567", now, good), 401, "bad-signature-headers"},
		{"nonce with a dot", good, sign("acme", one, "12345678.9", now, good), 401, "bad-signature-headers"},
		{"too old", good, sign("acme", one, nonce(), now.Add(-6*time.Minute), good), 401, "stale-timestamp"},
		{"too new", good, sign("acme", one, nonce(), now.Add(6*time.Minute), good), 401, "stale-timestamp"},
		{"expired key", good, bearer("Bearer gone." + secretOne), 401, "key-not-valid"},
		{"key of tomorrow", good, bearer("Bearer coming." + secretOne), 401, "key-not-valid"},

		{"another network", good, bearer("Bearer far." + secretOne), 403, "network"},
		{"another network behind a header of one's own", good, with(bearer("Bearer far."+secretOne), "X-Forwarded-For", "192.0.2.7"), 403, "network"},
		{"another role", good, bearer("Bearer reader." + secretOne), 403, "role"},
		{"another tenant", event("e", `"acme"`, `"globex"`), bearer("Bearer acme." + secretOne), 403, "event"},
		{"the default tenant", event("e", `"tenant":"acme",`, ""), bearer("Bearer acme." + secretOne), 403, "event"},
		{"another type", good, bearer("Bearer hr." + secretOne), 403, "event"},
		{"an unknown tenant", event("e", `"acme"`, `"umbrella"`), bearer("Bearer all." + secretOne), 422, "invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.stored()
			a := request{url: url, body: c.body, header: c.header}.do(t)
			if a.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", a.StatusCode, c.status, a.body)
			}
			if c.status == http.StatusAccepted {
				return
			}
			if p := a.problem(t); p.Type != c.typ {
				t.Errorf("type %q, want %q", p.Type, c.typ)
			}
			if c.status == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if r.stored() != before {
				t.Error("something was stored")
			}
		})
	}
	for _, e := range r.logs.All() {
		for name, v := range e.ContextMap() {
			if s, ok := v.(string); ok && (strings.Contains(s, "secret") || strings.Contains(s, "13800138000")) {
				t.Errorf("log field %s tells %q", name, s)
			}
		}
	}
}

func TestStaleTimestampNamesBothClocks(t *testing.T) {
	r := newRig(t)
	url := r.serve(keyed(t)) + "/v1/events"
	at := time.Now().Add(-time.Hour)
	p := request{url: url, body: "{}", header: sign("acme", []byte(secretOne), nonce(), at, "{}")}.do(t).problem(t)
	if !strings.Contains(p.Detail, at.UTC().Format(time.RFC3339)) || strings.Count(p.Detail, "T") < 2 {
		t.Errorf("detail %q", p.Detail)
	}
}

func TestUnknownKeyAndBadSignatureGetTheSameAnswer(t *testing.T) {
	r := newRig(t)
	url := r.serve(keyed(t)) + "/v1/events"
	a := request{url: url, body: "{}", header: sign("acme", []byte(secretTwo+"x"), nonce(), time.Now(), "{}")}.do(t)
	b := request{url: url, body: "{}", header: sign("nobody", []byte(secretTwo), nonce(), time.Now(), "{}")}.do(t)
	if a.StatusCode != b.StatusCode || string(a.body) != string(b.body) {
		t.Errorf("%s\n%s", a.body, b.body)
	}
}

// A request that was recorded on the way does nothing a second time, whichever pod it is sent to.
func TestNonceIsGoodOnceForAllPods(t *testing.T) {
	r := newRig(t)
	cfg := keyed(t)
	pods := []string{r.serve(cfg) + "/v1/events", r.serve(cfg) + "/v1/events"}
	body := event("recorded")
	h := sign("acme", []byte(secretOne), nonce(), time.Now(), body)
	request{url: pods[0], body: body, header: h}.do(t).want(t, http.StatusAccepted, nil)
	for _, url := range pods {
		if p := (request{url: url, body: body, header: h}).do(t).problem(t); p.Type != "replayed-nonce" || p.Status != 401 {
			t.Errorf("problem %+v", p)
		}
	}
	// Another key may use the same nonce, and a forged request uses none up.
	fresh := nonce()
	request{url: pods[0], body: body, header: sign("acme", []byte("forged forged forged forged"), fresh, time.Now(), body)}.do(t).want(t, 401, nil)
	request{url: pods[1], body: body, header: sign("acme", []byte(secretOne), fresh, time.Now(), body)}.do(t).want(t, http.StatusAccepted, nil)
	request{url: pods[1], body: body, header: sign("all", []byte(secretOne), fresh, time.Now(), body)}.do(t).want(t, http.StatusAccepted, nil)
}

// The reference library signs; we verify.
func TestSignatureIsStandardWebhooks(t *testing.T) {
	r := newRig(t)
	url := r.serve(keyed(t)) + "/v1/events"
	wh, err := webhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString([]byte(secretTwo)))
	if err != nil {
		t.Fatal(err)
	}
	body, id, now := event("std"), nonce(), time.Now()
	sig, err := wh.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	h := sign("acme", nil, id, now, body)
	h["webhook-signature"] = sig
	request{url: url, body: body, header: h}.do(t).want(t, http.StatusAccepted, nil)
}

// Over plain HTTP from elsewhere a secret would be read on the way, and what no signature covers changed.
func TestPlainHTTPFromElsewhere(t *testing.T) {
	r := newRig(t)
	cfg := keyed(t)
	cfg.HTTP.Trusted = []string{"10.0.0.0/8"}
	h, err := New(cfg, r.d, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	body := event("plain")
	bearer := map[string]string{"Authorization": "Bearer all." + secretOne}
	proxied := func(h map[string]string, proto, from string) map[string]string {
		out := map[string]string{"X-Forwarded-Proto": proto, "X-Forwarded-For": from}
		for n, v := range h {
			out[n] = v
		}
		return out
	}
	signed := func(body string) map[string]string { return sign("all", []byte(secretOne), nonce(), time.Now(), body) }
	binary := func() map[string]string {
		h := signed("{}")
		h["ce-id"] = "x"
		return h
	}
	far := func(h map[string]string, from string) map[string]string {
		h = proxied(h, "https", from)
		h["Authorization"] = "Bearer far." + secretOne
		return h
	}
	for _, c := range []struct {
		name, method, path, from, body string
		header                         map[string]string
		status                         int
	}{
		{"bearer", "POST", "/v1/events", "192.0.2.7:1234", body, bearer, 403},
		{"signed", "POST", "/v1/events", "192.0.2.7:1234", body, signed(body), 202},
		{"signed, binary mode", "POST", "/v1/events", "192.0.2.7:1234", "{}", binary(), 403},
		{"signed, another path", "GET", "/v1/dead", "192.0.2.7:1234", "", signed(""), 403},
		{"bearer behind a trusted proxy with TLS", "POST", "/v1/events", "10.1.2.3:1234", body, proxied(bearer, "https", "192.0.2.7"), 202},
		{"bearer behind a trusted proxy without", "POST", "/v1/events", "10.1.2.3:1234", body, proxied(bearer, "http", "192.0.2.7"), 403},
		{"bearer behind anybody's proxy", "POST", "/v1/events", "192.0.2.7:1234", body, proxied(bearer, "https", "127.0.0.1"), 403},
		{"network behind a trusted proxy", "POST", "/v1/events", "10.1.2.3:1234", body, far(bearer, "192.0.2.7, 10.9.9.9"), 202},
		{"network claimed in front of it", "POST", "/v1/events", "10.1.2.3:1234", body, far(bearer, "192.0.2.7, 198.51.100.1"), 403},
		{"garbage in front of it", "POST", "/v1/events", "10.1.2.3:1234", body, far(bearer, "192.0.2.7, unknown"), 403},
		{"this machine", "GET", "/v1/dead", "127.0.0.1:1234", "", bearer, 200},
		{"this machine, IPv4 in IPv6", "GET", "/v1/dead", "[::ffff:127.0.0.1]:1234", "", signed(""), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			q.RemoteAddr = c.from
			q.Header.Set("Content-Type", "application/json")
			for n, v := range c.header {
				q.Header.Set(n, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, q)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
		})
	}
}

// Without keys, a web page whose name was rebound to 127.0.0.1 must not reach the API.
func TestWithoutKeysOnlyLocalNamesAreAnswered(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	for host, status := range map[string]int{"evil.example": 403, "evil.example:8480": 403, "localhost:8480": 200, "localhost": 200, "[::1]:8480": 200, "127.0.0.1": 200} {
		request{method: "GET", url: url + "/v1/dead", header: map[string]string{"Host": host}}.do(t).want(t, status, nil)
	}
}

func TestConfigProblemsNameTheKey(t *testing.T) {
	dir, file := secretFile(t, secretOne)
	shortDir, short := secretFile(t, "short")
	good := Key{ID: "erp", SecretFile: file}
	t.Setenv("YZ_TEST_SECRETS", secretOne+"\n"+secretTwo)
	t.Setenv("YZ_TEST_THREE", secretOne+"\n"+secretTwo+"\n"+secretTwo)
	t.Setenv("YZ_TEST_WHSEC", "whsec_!!!")
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // pointer and a word of the text; "" is no problem
	}{
		"good":             {func(*Config) {}, ""},
		"two secrets":      {func(c *Config) { c.Keys[0] = Key{ID: "erp", SecretEnv: "YZ_TEST_SECRETS"} }, ""},
		"three secrets":    {func(c *Config) { c.Keys[0] = Key{ID: "erp", SecretEnv: "YZ_TEST_THREE"} }, `/keys/0/secret_file "erp"`},
		"no base64":        {func(c *Config) { c.Keys[0] = Key{ID: "erp", SecretEnv: "YZ_TEST_WHSEC"} }, `/keys/0/secret_file "erp"`},
		"no secret":        {func(c *Config) { c.Keys[0].SecretFile = "" }, `/keys/0/secret_file "erp"`},
		"no such file":     {func(c *Config) { c.Keys[0].SecretFile = "nowhere" }, `/keys/0/secret_file "erp"`},
		"short":            {func(c *Config) { c.Dir, c.Keys[0].SecretFile = shortDir, short }, `/keys/0/secret_file "erp"`},
		"twice":            {func(c *Config) { c.Keys = append(c.Keys, c.Keys[0]) }, `/keys/1/id "erp"`},
		"bad id":           {func(c *Config) { c.Keys[0].ID = "a.b" }, `/keys/0/id "a.b"`},
		"unknown role":     {func(c *Config) { c.Keys[0].Roles = []string{"admin"} }, `/keys/0/roles/0 "erp"`},
		"unknown tenant":   {func(c *Config) { c.Keys[0].Tenants = []string{"acme"} }, `/keys/0/tenants/0 "erp"`},
		"bad glob":         {func(c *Config) { c.Keys[0].Types = []string{"erp.["} }, `/keys/0/types/0 "erp"`},
		"bad network":      {func(c *Config) { c.Keys[0].Networks = []string{"10.0.0.0/33"} }, `/keys/0/networks/0 erp`},
		"never valid":      {func(c *Config) { c.Keys[0].Expires = time.Unix(1, 0); c.Keys[0].NotBefore = time.Unix(2, 0) }, `/keys/0/expires "erp"`},
		"bad tenant":       {func(c *Config) { c.Tenants = []string{"default", "A*"} }, `/tenants/1 "A*"`},
		"none on all":      {func(c *Config) { c.HTTP.Auth, c.HTTP.Listen = AuthNone, ":8480" }, `/http/auth :8480`},
		"none on loopback": {func(c *Config) { c.HTTP.Auth, c.HTTP.Listen = AuthNone, "[::1]:0" }, ""},
		"unknown auth":     {func(c *Config) { c.HTTP.Auth = "basic" }, `/http/auth keys`},
		"no port":          {func(c *Config) { c.HTTP.Listen = "127.0.0.1" }, `/http/listen host:port`},
		"half of TLS":      {func(c *Config) { c.HTTP.TLSCertFile = "cert.pem" }, `/http/tls_cert_file together`},
		"endless body":     {func(c *Config) { c.HTTP.MaxBody = 1 << 40 }, `/http/max_body`},
		"bad proxy":        {func(c *Config) { c.HTTP.Trusted = []string{"proxy"} }, `/http/trusted_proxies/0 "proxy"`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: dir, Keys: []Key{good}}
			c.change(&cfg)
			err := cfg.Check()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			bad, ok := errors.AsType[*schemas.Invalid](err)
			if !ok || len(bad.Problems) != 1 {
				t.Fatalf("%v", err)
			}
			p := bad.Problems[0]
			pointer, word, _ := strings.Cut(c.want, " ")
			if p.Pointer != pointer || !strings.Contains(p.En, word) || p.Zh == "" || strings.Contains(p.En+p.Zh, "%!") {
				t.Errorf("problem %+v, want %s", p, c.want)
			}
			if strings.Contains(p.En, "a-secret-of") {
				t.Errorf("%q repeats a secret", p.En)
			}
		})
	}
}

// The sections as an administrator writes them.
func TestConfigIsReadStrictly(t *testing.T) {
	dir, _ := secretFile(t, secretOne)
	cfg := Config{Dir: dir}
	const sections = `
http: {listen: "127.0.0.1:0", auth: keys, max_body: 2097152, max_batch: 500, trusted_proxies: [10.0.0.0/8]}
tenants: [acme]
keys:
  - {id: erp, secret_file: key, roles: [publish], tenants: [acme], types: ["erp.*"], networks: [192.0.2.0/24], not_before: 2026-01-01T00:00:00+08:00, expires: 2027-01-01T00:00:00+08:00}
`
	if err := strictyaml.Decode([]byte(sections), &cfg); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	k := cfg.Keys[0]
	if cfg.HTTP.MaxBatch != 500 || k.NotBefore.Unix() != 1767196800 || k.Expires.Year() != 2027 {
		t.Errorf("%+v", cfg)
	}
	if err := strictyaml.Decode([]byte("keys: [{id: erp, secret: inline}]"), &cfg); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("an inline secret is not refused: %v", err)
	}
}
