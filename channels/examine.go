package channels

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Text is a text with the same values in both languages.
func Text(zh, en string, args ...any) schemas.Text {
	return schemas.Text{Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)}
}

// Endpoint is what the common steps of an examination need to know of a third party's host.
type Endpoint struct {
	Kind, Provider string // as in [Failure]
	Host           string // a name or an address
	Port           string
	// Control is the channel's guard ([net.Dialer.Control]); nil: the operator's own address, any.
	Control func(network, address string, c syscall.RawConn) error
}

const (
	maxAddresses = 4 // that are connected to
	certSoon     = 21 * 24 * time.Hour
	// clockNotice is how far a clock may be off before it is worth a line of advice.
	clockNotice = time.Minute
)

// Resolve is the step "dns": the addresses of e.Host.
func (x *Examination) Resolve(ctx context.Context, e Endpoint) (addrs []netip.Addr, ok bool) {
	ok = x.Step(ctx, "dns", Text("域名解析", "Host name"), func(ctx context.Context) Finding {
		if ip, err := netip.ParseAddr(e.Host); err == nil {
			addrs = []netip.Addr{ip}
			return Finding{Seen: Text("%[1]s 是 IP 地址，无需解析", "%[1]s is an address, no name", ip)}
		}
		found, err := x.Resolver.LookupNetIP(ctx, "ip", e.Host)
		if err != nil {
			return Finding{Failure: FromNet(e.Kind, e.Provider, nameOnly(err), false), Seen: Text("%[1]s：解析失败", "%[1]s: cannot be resolved", e.Host)}
		}
		for i := range found {
			found[i] = found[i].Unmap()
		}
		slices.SortFunc(found, func(a, b netip.Addr) int { return cmp.Or(cmp.Compare(a.BitLen(), b.BitLen()), a.Compare(b)) })
		addrs = slices.Compact(found)
		return Finding{Seen: Text("%[1]s → %[2]s", "%[1]s → %[2]s", e.Host, joined(addrs))}
	})
	return addrs, ok
}

// nameOnly drops from a DNS error which server was asked: it says nothing of the third party.
func nameOnly(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		short := *dns
		short.Server = ""
		return &short
	}
	return err
}

func joined[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

// Connect is the step "tcp": every address, since attempts meet any of them; the connection is to the first that
// answers, and the caller's to close.
func (x *Examination) Connect(ctx context.Context, e Endpoint, addrs []netip.Addr) (conn net.Conn, ok bool) {
	ok = x.Step(ctx, "tcp", Text("TCP 连接", "TCP connection"), func(ctx context.Context) Finding {
		var f *Failure
		var zh, en []string
		left := addrs[:min(len(addrs), maxAddresses)]
		for i, a := range left {
			at := net.JoinHostPort(a.String(), e.Port)
			c, err := e.dial(ctx, at, len(left)-i)
			if err != nil {
				one := FromNet(e.Kind, e.Provider, err, false)
				zh, en = append(zh, at+" 失败"), append(en, at+" failed")
				f = cmp.Or(f, one)
				continue
			}
			zh, en = append(zh, at+" 已连接"), append(en, at+" connected")
			if conn == nil {
				conn = c
			} else {
				_ = c.Close()
			}
		}
		out := Finding{Failure: f, Seen: schemas.Text{Zh: strings.Join(zh, "，"), En: strings.Join(en, ", ")}}
		if conn != nil && f != nil {
			out.Level = Doubtful
		}
		return out
	})
	return conn, ok
}

// dial connects within its share of what ctx leaves.
func (e Endpoint) dial(ctx context.Context, at string, share int) (net.Conn, error) {
	d := net.Dialer{Control: e.Control}
	if end, ok := ctx.Deadline(); ok {
		d.Timeout = time.Until(end) / time.Duration(share)
	}
	return d.DialContext(ctx, "tcp", at)
}

// Handshake is the step "tls": the same handshake as the channel's, with the certificate read out. The connection
// returned is conn under TLS; on failure conn is closed.
func (x *Examination) Handshake(ctx context.Context, e Endpoint, conn net.Conn, conf *tls.Config) (secure *tls.Conn, ok bool) {
	ok = x.Step(ctx, "tls", Text("TLS 与证书", "TLS and certificate"), func(ctx context.Context) Finding {
		c := tls.Client(conn, e.named(conf))
		if err := c.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return x.TLSFailed(e, err)
		}
		secure = c
		return x.TLSSeen(c.ConnectionState())
	})
	return secure, ok
}

func (e Endpoint) named(conf *tls.Config) *tls.Config {
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf = conf.Clone()
	conf.ServerName = cmp.Or(conf.ServerName, e.Host)
	return conf
}

// TLSFailed tells of a handshake that failed: the certificate that was shown, where there was one.
func (x *Examination) TLSFailed(e Endpoint, err error) Finding {
	f := connected(FromNet(e.Kind, e.Provider, err, false))
	out := Finding{Failure: f, Seen: Text("TLS 握手失败", "the TLS handshake failed")}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(bad.UnverifiedCertificates) > 0 {
		out.Seen = x.certificate(bad.UnverifiedCertificates[0])
	}
	return out
}

// connected corrects a failure that was met on a connection: a timeout there is not one of connecting.
func connected(f *Failure) *Failure {
	if f.Code == "net:timeout-connect" {
		f.Code = "net:timeout-response"
	}
	return f
}

// TLSSeen tells version, certificate and dates of a handshake that succeeded.
func (x *Examination) TLSSeen(state tls.ConnectionState) Finding {
	out := Finding{Seen: Text("%s", "%s", tls.VersionName(state.Version))}
	if len(state.PeerCertificates) == 0 {
		return out
	}
	leaf := state.PeerCertificates[0]
	seen := x.certificate(leaf)
	out.Seen.Zh += "，" + seen.Zh
	out.Seen.En += ", " + seen.En
	if left := leaf.NotAfter.Sub(x.Now()); left < certSoon {
		out.Level = Doubtful
		out.Advice = &Diagnosis{
			Class: Config, Known: true, Retry: "no", Owner: "third-party",
			Cause:  Text("证书还有 %d 天到期，到期后所有消息都会发送失败", "the certificate expires in %d days; from then on every message fails", days(left)),
			Remedy: Text("请对方的管理员尽快续签证书", "Have the administrator of the server renew it in time"),
		}
	}
	return out
}

// certificate says whose it is, who vouches for it and until when.
func (x *Examination) certificate(c *x509.Certificate) schemas.Text {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{cmp.Or(c.Subject.CommonName, "-")}
	}
	if n := len(names); n > 3 {
		names = append(names[:3], "…")
	}
	issuer := cmp.Or(c.Issuer.CommonName, strings.Join(c.Issuer.Organization, " "), "-")
	until := c.NotAfter.UTC().Format(time.DateOnly)
	left := c.NotAfter.Sub(x.Now())
	zh, en := fmt.Sprintf("还有 %d 天", days(left)), fmt.Sprintf("%d days left", days(left))
	if left < 0 {
		zh, en = fmt.Sprintf("已过期 %d 天", days(-left)), fmt.Sprintf("expired %d days ago", days(-left))
	}
	return schemas.Text{
		Zh: Line(fmt.Sprintf("证书 %s，签发者 %s，有效期至 %s（%s）", strings.Join(names, " "), issuer, until, zh)),
		En: Line(fmt.Sprintf("certificate for %s by %s, valid until %s (%s)", strings.Join(names, " "), issuer, until, en)),
	}
}

func days(d time.Duration) int { return int(d / (24 * time.Hour)) }

// Clock is the step "clock": theirs, as an answer dated it, against ours at the same moment. limit is the difference at
// which the third party refuses what we sign; 0: it does not look.
func (x *Examination) Clock(ctx context.Context, theirs, ours time.Time, limit time.Duration) bool {
	return x.Step(ctx, "clock", Text("时钟", "Clock"), func(context.Context) Finding {
		if theirs.IsZero() {
			return Finding{Level: Unseen, Seen: Text("对方的答复中没有时间，无法比较", "the answers bear no time to compare with")}
		}
		off := ours.Sub(theirs).Round(time.Second)
		if off.Abs() <= 2*time.Second {
			return Finding{Seen: Text("与对方一致", "agrees with theirs")}
		}
		out := Finding{Seen: Text("本机比对方快 %s", "ours is %s ahead of theirs", short(off))}
		if off < 0 {
			out.Seen = Text("本机比对方慢 %s", "ours is %s behind theirs", short(-off))
		}
		if off.Abs() <= clockNotice {
			return out
		}
		d := &Diagnosis{
			Class: Config, Known: true, Retry: "no", Owner: "operator",
			Cause:  Text("两边的时钟不一致", "the two clocks differ"),
			Remedy: Text("请用 NTP 校准本机时钟（如 timedatectl set-ntp true），容器的时间取自宿主机", "Set this machine’s clock by NTP (timedatectl set-ntp true); a container has its host’s time"),
		}
		out.Level, out.Advice = Doubtful, d
		if limit > 0 && off.Abs() > limit {
			out.Level = Bad
			d.Cause = Text("时钟相差超过 %s，对方会拒绝带签名的请求", "the clocks differ by more than %s: what is signed here is refused there", short(limit))
		}
		return out
	})
}

// short is a duration without its zeros: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// HTTPTarget is an HTTP endpoint to examine.
type HTTPTarget struct {
	Kind, Provider string
	// URL is the whole address; only scheme, host and port of it are shown.
	URL *url.URL
	TLS *tls.Config // the channel's; nil is TLS 1.2 and up with the system's roots
	// Control is the channel's guard, nil where the address is the operator's own.
	Control func(network, address string, c syscall.RawConn) error
	// Proxy is what the channel goes through, nil without one. The stretches behind it cannot be seen one by one.
	Proxy *url.URL
	// Options: an OPTIONS request to URL itself does no harm there (RFC 9110 section 9.2.1 calls it safe) and shows
	// whether somebody answers. Else the host is asked for HEAD / alone, to see its clock; robots post what they get.
	Options bool
	// Skew is how far our clock may be off before the third party refuses our signatures; 0: it does not look.
	Skew time.Duration
}

// HTTP takes the steps "dns", "tcp", "tls", "http" and "clock", and says whether all went well.
func (x *Examination) HTTP(ctx context.Context, t HTTPTarget) bool {
	e := Endpoint{Kind: t.Kind, Provider: t.Provider, Host: t.URL.Hostname(), Port: portOf(t.URL), Control: t.Control}
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: e.named(t.TLS)}
	defer transport.CloseIdleConnections()
	if t.Proxy != nil {
		transport.Proxy = http.ProxyURL(t.Proxy)
		transport.DialContext = (&net.Dialer{Resolver: x.Resolver, Control: t.Control}).DialContext
		x.Step(ctx, "proxy", Text("代理", "Proxy"), func(context.Context) Finding {
			return Finding{Seen: Text("经 %[1]s 连接，其后的解析和连接由代理完成", "by way of %[1]s, which resolves and connects", t.Proxy.Host)}
		})
	} else {
		addrs, ok := x.Resolve(ctx, e)
		if !ok {
			return false
		}
		conn, ok := x.Connect(ctx, e, addrs)
		if !ok {
			return false
		}
		defer conn.Close()
		at := conn.RemoteAddr().String()
		if t.URL.Scheme == "https" {
			if _, ok = x.Handshake(ctx, e, conn, t.TLS); !ok {
				return false
			}
		}
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Control: t.Control}).DialContext(ctx, network, at)
		}
	}
	var theirs, ours time.Time
	ok := x.Step(ctx, "http", Text("HTTP 应答", "HTTP answer"), func(ctx context.Context) Finding {
		resp, err := t.ask(ctx, transport)
		if err != nil {
			return Finding{Failure: connected(FromNet(t.Kind, t.Provider, err, false)), Seen: Text("没有应答", "no answer")}
		}
		ours = x.Now()
		theirs, _ = http.ParseTime(resp.Header.Get("Date"))
		return t.answered(resp, ours)
	})
	return x.Clock(ctx, theirs, ours, t.Skew) && ok
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

func (t HTTPTarget) ask(ctx context.Context, transport http.RoundTripper) (*http.Response, error) {
	method, to := http.MethodOptions, t.URL.String()
	if !t.Options {
		method, to = http.MethodHead, (&url.URL{Scheme: t.URL.Scheme, Host: t.URL.Host, Path: "/"}).String()
	}
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Yizhan")
	resp, err := transport.RoundTrip(req) // alone, it follows no redirect
	if err != nil {
		return nil, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return resp, nil
}

// answered judges the answer. A receiver need not know OPTIONS: any answer shows that somebody is there.
func (t HTTPTarget) answered(resp *http.Response, now time.Time) Finding {
	if !t.Options {
		return Finding{Seen: Text("HEAD / → %[1]s（主机在线）", "HEAD / → %[1]s (the host is there)", Line(resp.Status))}
	}
	out := Finding{Seen: Text("OPTIONS → %[1]s", "OPTIONS → %[1]s", Line(resp.Status))}
	switch s := resp.StatusCode; {
	case s >= 300 && s < 400, s == http.StatusGone:
		out.Failure = FromHTTP(t.Kind, t.Provider, s, resp.Header, nil, now)
	case s == http.StatusNotFound, s >= 500 && s != http.StatusNotImplemented:
		out.Level, out.Failure = Doubtful, FromHTTP(t.Kind, t.Provider, s, resp.Header, nil, now)
	case s >= 400:
		out.Seen.Zh += "（对方在线；是否接收消息，只有发送才知道）"
		out.Seen.En += " (somebody is there; whether messages are taken, only a message tells)"
	}
	return out
}
