package ingest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	// clockSkew is how far a request's timestamp may be from our clock, either way: the tolerance of
	// the Standard Webhooks libraries. Nonces are kept for three times as long.
	clockSkew = 5 * time.Minute
	// maxSignatures of one request are looked at; a sender that rotates gives two.
	maxSignatures = 8
	nonceTimeout  = 5 * time.Second
	// maxBodies bounds the bytes of all request bodies held at once, before and while they are judged.
	maxBodies = 256 << 20
)

var nonceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{8,128}$`)

// caller is who sent a request; without a key it is this machine's user (auth: none).
type caller struct{ key *key }

// name is for records of who did something.
func (c caller) name() string {
	if c.key == nil {
		return "local"
	}
	return c.key.ID
}

// tenants are those whose matters the caller may see; nil means all.
func (c caller) tenants() []string {
	if c.key == nil || slices.Contains(c.key.Tenants, "*") {
		return nil
	}
	return c.key.Tenants
}

func (c caller) allowsTenant(tenant string) bool {
	only := c.tenants()
	return only == nil || slices.Contains(only, tenant)
}

func (c caller) allowsType(typ string) bool {
	return c.key == nil || len(c.key.Types) == 0 || slices.ContainsFunc(c.key.Types, func(glob string) bool {
		ok, _ := path.Match(glob, typ) // the glob was checked when it was loaded
		return ok
	})
}

// want is what a route asks of a request.
type want struct {
	role string // "": any key will do
	also string // a role that does as well; "" is none
	body int64  // most bytes
	// bare: the body says everything, so a signature over it is enough without TLS. Elsewhere the
	// path, the query or headers matter too, and Standard Webhooks signs none of them.
	bare bool
}

// enter lets a request in: cheap checks before expensive ones (size, headers, signature, nonce).
// It returns who sent it, and its body. done must be called when the body is not needed any more.
func (s *server) enter(w *answer, r *http.Request, n want) (who caller, body []byte, done func(), err error) {
	if r.ContentLength > n.body {
		w.Header().Set("Connection", "close") // do not read on only to keep the connection
		return who, nil, nil, bodyTooLarge(n.body)
	}
	if s.cfg.HTTP.Auth == AuthNone {
		// A page in the user's browser that rebinds its own name to 127.0.0.1 shows itself here.
		if host, _, herr := net.SplitHostPort(r.Host); !loopbackHost(r.Host) && (herr != nil || !loopbackHost(host)) {
			return who, nil, nil, forbidden("host", text("未启用身份验证时，只接受发往 localhost 或 127.0.0.1 的请求", "without authentication only requests to localhost or 127.0.0.1 are taken"))
		}
		body, done, err = s.read(w, r, n.body)
		return who, body, done, err
	}
	addr, private := s.client(r)
	var verified *key
	signed := r.Header.Get("Yizhan-Key") != ""
	switch {
	case signed:
		if !n.bare && !private {
			return who, nil, nil, needTLS
		}
		if err := checkStamp(r.Header); err != nil {
			return who, nil, nil, err
		}
		if body, done, err = s.read(w, r, n.body); err != nil {
			return who, nil, nil, err
		}
		verified = s.signer(r.Header, body)
	case r.Header.Get("Authorization") != "":
		if !private {
			return who, nil, nil, needTLS
		}
		verified = s.bearer(r.Header.Get("Authorization"))
	default:
		return who, nil, nil, unauthenticated("no-credentials", text("缺少密钥：请使用 Authorization: Bearer <密钥编号>.<密钥>，或 Standard Webhooks 签名（yizhan-key、webhook-id、webhook-timestamp、webhook-signature）",
			"no key: send Authorization: Bearer <key id>.<secret>, or a Standard Webhooks signature (yizhan-key, webhook-id, webhook-timestamp, webhook-signature)"))
	}
	if verified != nil {
		w.key = verified.ID // the log names it also when it may not do this
	}
	if err = s.admit(verified, addr, n); err == nil {
		who = caller{verified}
		if signed {
			err = s.once(r.Context(), verified, r.Header.Get("Webhook-Id"))
		} else {
			body, done, err = s.read(w, r, n.body)
		}
	}
	if err != nil {
		if done != nil {
			done()
		}
		return who, nil, nil, err
	}
	return who, body, done, nil
}

var needTLS = forbidden("tls-required", text("此请求须通过 HTTPS（或在本机）发送：否则密钥或签名未覆盖的内容会在途中泄露或被改动",
	"send this over HTTPS (or from this machine): otherwise the secret, or what no signature covers, could be read or changed on the way"))

func bodyTooLarge(most int64) *problem {
	return tooLarge("请求体超过 %d 字节", "the body is larger than %d bytes", most)
}

// read takes the body in, within the request's bound and the process's.
func (s *server) read(w *answer, r *http.Request, most int64) ([]byte, func(), error) {
	size := most
	if r.ContentLength >= 0 {
		size = r.ContentLength
	}
	if !s.bodies.TryAcquire(size) {
		return nil, nil, &problem{
			status: http.StatusServiceUnavailable, name: "busy", title: text("服务繁忙", "Busy"), retry: 1,
			detail: text("正在处理的请求过多，请稍后重试", "too many requests are under way; come back later"),
		}
	}
	done := func() { s.bodies.Release(size) }
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		done()
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, nil, bodyTooLarge(most)
		}
		return nil, nil, &problem{
			status: http.StatusBadRequest, name: "incomplete", title: text("请求不完整", "Incomplete request"),
			detail: text("请求体没有完整到达", "the body did not arrive completely"),
		}
	}
	return body, done, nil
}

// checkStamp judges the headers of a signed request as far as no secret is needed.
func checkStamp(h http.Header) error {
	malformed := func(zh, en string) error {
		return unauthenticated("bad-signature-headers", schemas.Text{Zh: zh, En: en})
	}
	if !nonceForm.MatchString(h.Get("Webhook-Id")) {
		return malformed("webhook-id 应为 8 到 128 个字母、数字、_ 或 -，每个请求都不同", "webhook-id must be 8 to 128 letters, digits, _ or -, another one for each request")
	}
	sec, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil {
		return malformed("webhook-timestamp 应为 Unix 秒数", "webhook-timestamp must be Unix seconds")
	}
	if h.Get("Webhook-Signature") == "" {
		return malformed("缺少 webhook-signature", "webhook-signature is missing")
	}
	now := time.Now()
	if skew := now.Unix() - sec; skew > int64(clockSkew.Seconds()) || skew < -int64(clockSkew.Seconds()) {
		return unauthenticated("stale-timestamp", text("请求时间与服务器时间相差超过 5 分钟：请求为 %[1]s，服务器为 %[2]s（Unix 秒 %[3]d 与 %[4]d），请校准时钟或重新签名",
			"the request's time is more than 5 minutes from the server's: request %[1]s, server %[2]s (Unix %[3]d and %[4]d); set the clock or sign anew",
			clock(sec), clock(now.Unix()), sec, now.Unix()))
	}
	return nil
}

func clock(sec int64) string { return time.Unix(sec, 0).UTC().Format(time.RFC3339) }

// signer is whose signature the request bears, nil when nobody's. A key that does not exist costs as
// much time as a signature that is wrong.
func (s *server) signer(h http.Header, body []byte) *key {
	k, known := s.keys[h.Get("Yizhan-Key")]
	if !known {
		k = s.nobody
	}
	given := strings.Fields(h.Get("Webhook-Signature"))
	given = given[:min(len(given), maxSignatures)]
	valid := false
	for _, sec := range k.secrets {
		m := hmac.New(sha256.New, sec.key)
		_, _ = io.WriteString(m, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+".")
		m.Write(body)
		sum := m.Sum(nil)
		for _, g := range given {
			b64, v1 := strings.CutPrefix(g, "v1,")
			mac, err := base64.StdEncoding.DecodeString(b64)
			valid = v1 && err == nil && hmac.Equal(mac, sum) || valid
		}
	}
	if !known || !valid {
		return nil
	}
	return k
}

// bearer is whose secret was presented, nil when nobody's.
func (s *server) bearer(header string) *key {
	scheme, token, _ := strings.Cut(header, " ")
	id, presented, _ := strings.Cut(strings.TrimSpace(token), ".")
	k, known := s.keys[id]
	if !known {
		k = s.nobody
	}
	valid := false
	sum := sha256.Sum256([]byte(presented)) // equal lengths, so that the comparison tells none
	for _, sec := range k.secrets {
		have := sha256.Sum256([]byte(sec.text))
		valid = subtle.ConstantTimeCompare(sum[:], have[:]) == 1 || valid
	}
	if !known || !valid || !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	return k
}

// admit judges whether a verified key (nil: none) may do this, now and from there.
func (s *server) admit(k *key, addr netip.Addr, n want) error {
	now := time.Now()
	switch {
	case k == nil:
		return unauthenticated("bad-credentials", text("密钥编号不存在，或者密钥、签名不正确", "there is no such key, or its secret or signature is wrong"))
	case now.Before(k.NotBefore):
		return unauthenticated("key-not-valid", text("密钥 %s 要到 %s 才生效", "key %s is not valid before %s", k.ID, k.NotBefore.Format(time.RFC3339)))
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return unauthenticated("key-not-valid", text("密钥 %s 已于 %s 失效", "key %s expired at %s", k.ID, k.Expires.Format(time.RFC3339)))
	case len(k.networks) > 0 && !within(k.networks, addr):
		return forbidden("network", text("密钥 %s 不允许从 %s 使用", "key %s may not be used from %s", k.ID, addr))
	case n.role != "" && !slices.Contains(k.Roles, n.role) && !slices.Contains(k.Roles, n.also):
		return forbidden("role", text("密钥 %s 没有角色 %s", "key %s does not have the role %s", k.ID, n.role))
	}
	return nil
}

// once uses up a nonce.
func (s *server) once(ctx context.Context, k *key, nonce string) error {
	ctx, cancel := context.WithTimeout(ctx, nonceTimeout)
	defer cancel()
	fresh, err := s.nonce(ctx, k.ID, nonce)
	if err == nil && !fresh {
		return unauthenticated("replayed-nonce", text("webhook-id 已经用过：每个请求（包括重试）都要换一个并重新签名，事件的 id 保持不变即可避免重复发送",
			"this webhook-id was used before: take another one and sign anew for each request, retries too; the event's own id is what prevents doubles"))
	}
	return err
}

// client is where a request comes from, and whether nobody could read it on the way (TLS, or this
// machine). What proxies say counts only behind a trusted one.
func (s *server) client(r *http.Request) (addr netip.Addr, private bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, r.TLS != nil
	}
	addr = peer.Addr().Unmap()
	if !within(s.trusted, addr) {
		return addr, r.TLS != nil || addr.IsLoopback()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if hop = strings.TrimSpace(hop); hop == "" {
			break
		}
		if addr, err = netip.ParseAddr(hop); err != nil {
			return netip.Addr{}, false
		}
		if addr = addr.Unmap(); !within(s.trusted, addr) {
			break
		}
	}
	return addr, strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// tenantOf is the tenant that a request names in its query, "" when none. It becomes part of a
// subject, so anything but a tenant's name is refused.
func (s *server) tenantOf(r *http.Request, who caller) (string, error) {
	tenant := r.URL.Query().Get("tenant")
	switch {
	case tenant == "":
		return "", nil
	case !who.allowsTenant(tenant):
		return "", notYours(who, tenant)
	case !slices.Contains(s.cfg.Tenants, tenant):
		return "", invalid([]schemas.Problem{unknownTenant("/tenant")})
	}
	return tenant, nil
}

// judgedAs is the tenant whose rules judge a text: the one named, else the only one of the key; "" stands for the
// default one. The error is the [*problem] of a key that may not act for it.
func (c caller) judgedAs(tenant string) (string, error) {
	if only := c.tenants(); tenant == "" && len(only) == 1 {
		tenant = only[0] // the rules of the default tenant are none of this key's business
	}
	if as := cmp.Or(tenant, schemas.DefaultTenant); !c.allowsTenant(as) {
		return "", notYours(c, as)
	}
	return tenant, nil
}

func notYours(who caller, tenant string) *problem {
	if !tenantForm.MatchString(tenant) {
		tenant = "?"
	}
	return forbidden("tenant", text("密钥 %s 不能使用租户 %s", "key %s may not act for tenant %s", who.name(), tenant))
}

func unknownTenant(pointer string) schemas.Problem {
	return schemas.Problem{Pointer: pointer, Keyword: "tenant", Text: text("没有这个租户：请在 yizhan.yaml 的 tenants 中登记", "no such tenant: list it under tenants in yizhan.yaml")}
}
