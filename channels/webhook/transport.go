package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/guard"
)

const (
	connectTimeout = 5 * time.Second
	maxHead        = 16 << 10 // of a proxy's answer
	maxIdle        = 100      // connections kept, to all hosts together
)

// way is how a channel gets its connections.
type way struct {
	reach    guard.Reach
	resolver *net.Resolver // nil: the system's
	proxy    *url.URL      // nil: none
	roots    *x509.CertPool
	cert     *tls.Certificate
	conns    int           // to one host
	answer   time.Duration // how long a receiver may take for the head of its answer
}

// client makes a client that connects where the guard allows, and follows no redirect: that would carry the
// message to an address that nobody configured. Proxies of the environment do not count.
func (w way) client() *http.Client {
	t := guard.NewTransport(guard.New(w.reach), w.roots, w.conns, w.answer)
	t.MaxIdleConns = max(maxIdle, w.conns)
	if w.cert != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*w.cert}
	}
	switch {
	case w.proxy != nil:
		t.DialContext = tunnel{w, net.Dialer{Timeout: connectTimeout, Control: guard.New(guard.Everywhere)}}.dial
		t = channels.NewTransport(t.Transport)
	case w.resolver != nil:
		t.DialContext = (&net.Dialer{Timeout: connectTimeout, Control: guard.New(w.reach), Resolver: w.resolver}).DialContext
		t = channels.NewTransport(t.Transport)
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tunnel connects through an HTTP proxy. The proxy's own address is the operator's word, so it may lie in a
// private network. The target is resolved and judged here, and the proxy is told the address that was judged:
// told the name, it would resolve it anew, and might reach what the guard forbids.
type tunnel struct {
	way
	dialer net.Dialer
}

// errProxy is a proxy that does not connect.
type errProxy struct{ status int }

func (e errProxy) Error() string { return "the proxy answered CONNECT with " + strconv.Itoa(e.status) }

func (t tunnel) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	resolver := t.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	target, err := guard.Resolve(ctx, resolver, guard.New(t.reach), host, uint16(n))
	if err != nil {
		return nil, err
	}
	conn, err := t.dialer.DialContext(ctx, "tcp", t.proxy.Host)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = t.connect(conn, target.String())
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return conn, nil
}

func (t tunnel) connect(conn net.Conn, target string) error {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if u := t.proxy.User; u != nil {
		password, _ := u.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)) + "\r\n"
	}
	if _, err := conn.Write([]byte(head + "\r\n")); err != nil {
		return err
	}
	in := bufio.NewReaderSize(&oneByte{Conn: conn, left: maxHead}, 16)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errProxy{resp.StatusCode}
	}
	return nil
}

// oneByte reads no further than asked for, so that nothing of the target's first words is lost in a
// buffer, and no head of more than left bytes.
type oneByte struct {
	net.Conn
	left int
}

func (o *oneByte) Read(p []byte) (int, error) {
	if o.left--; o.left < 0 {
		return 0, errors.New("the head of the proxy's answer is too long")
	}
	return o.Conn.Read(p[:1])
}

// fromProxy reads a proxy's refusal; nil for any other error.
func fromProxy(provider string, err error) *channels.Failure {
	e, ok := errors.AsType[errProxy](err)
	if !ok {
		return nil
	}
	f := &channels.Failure{Kind: kind, Provider: provider, Code: "net:proxy-refused", Class: channels.Config, Line: e.Error(), Err: err}
	switch {
	case e.status == http.StatusProxyAuthRequired:
		f.Code = "http:407"
	case e.status >= 500:
		f.Code, f.Class = "net:proxy-failed", channels.Temporary
	}
	return f
}
