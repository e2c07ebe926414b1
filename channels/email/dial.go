package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// How long a new connection may take: a server that is down must not hold up every attempt for
// the whole of its time.
const (
	connectTimeout = 10 * time.Second // TCP
	loginTimeout   = 30 * time.Second // greeting, TLS and login together; some servers greet late on purpose
)

var (
	errNoStartTLS = errors.New("server does not support STARTTLS")
	errNoAuth     = errors.New("server does not support SMTP AUTH")
	errNoMech     = errors.New("server does not support SMTP AUTH by any mechanism that the channel allows")
)

// dial connects and logs in. A kept token that the server refuses is replaced once: it may have been revoked
// before its time.
func (c *channel) dial(ctx context.Context) (*conn, *fault) {
	if c.tokens == nil {
		return c.connect(ctx, "")
	}
	token, kept, err := c.tokens.get(ctx, "")
	if err != nil {
		return nil, &fault{phase: inAuth, err: err}
	}
	cn, f := c.connect(ctx, token)
	if r := f.reply(); !kept || r == nil || f.phase != inAuth || r.Code != 535 {
		return cn, f
	}
	if token, _, err = c.tokens.get(ctx, token); err != nil {
		return nil, &fault{phase: inAuth, err: err}
	}
	return c.connect(ctx, token)
}

func (c *channel) connect(ctx context.Context, token string) (*conn, *fault) {
	dialer := net.Dialer{Timeout: connectTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, &fault{phase: inConnect, err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	wire := &bounded{Conn: raw}
	wire.renew()
	client, f := c.login(wire, token)
	if !stop() && f == nil {
		f = &fault{phase: inGreeting, err: ctx.Err()}
	}
	if f != nil {
		_ = raw.Close()
		return nil, f
	}
	return &conn{Client: client, wire: wire, close: raw.Close, born: time.Now()}, nil
}

// bounded is a connection over which the server may say only so much for each mail: net/textproto keeps a reply of
// many lines whole, however long it gets.
type bounded struct {
	net.Conn
	left atomic.Int64
}

// maxSaid is room for a TLS handshake and for replies of any real server.
const maxSaid = 256 << 10

var errTooMuch = fmt.Errorf("the server's replies are longer than %d bytes", maxSaid)

func (b *bounded) renew() { b.left.Store(maxSaid) }

func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

func (c *channel) login(raw net.Conn, token string) (*smtp.Client, *fault) {
	if err := raw.SetDeadline(time.Now().Add(min(loginTimeout, c.Timeout))); err != nil {
		return nil, &fault{phase: inConnect, err: err}
	}
	if c.TLS == "implicit" {
		secure := tls.Client(raw, c.tls)
		if err := secure.Handshake(); err != nil {
			return nil, &fault{phase: inTLS, err: err}
		}
		raw = secure
	}
	client, err := smtp.NewClient(raw, c.Host)
	if err != nil {
		return nil, &fault{phase: inGreeting, err: err}
	}
	if err := client.Hello(c.HELO); err != nil {
		return nil, &fault{phase: inHello, err: err}
	}
	if c.TLS == "starttls" {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, &fault{phase: inTLS, err: errNoStartTLS}
		}
		if err := client.StartTLS(c.tls); err != nil {
			return nil, &fault{phase: inTLS, err: err}
		}
	}
	if c.Username == "" {
		return client, nil
	}
	auth, err := c.mechanism(client, token)
	if err == nil {
		err = client.Auth(auth)
	}
	if err != nil {
		return nil, &fault{phase: inAuth, err: err}
	}
	return client, nil
}

// mechanism chooses how to log in. Under TLS the plain mechanisms come first: CRAM-MD5 makes the
// server keep the password in clear, and some servers offer it without being able to do it.
func (c *channel) mechanism(client *smtp.Client, token string) (smtp.Auth, error) {
	has, offered := client.Extension("AUTH")
	if !has {
		return nil, errNoAuth
	}
	offers := strings.Fields(strings.ToUpper(offered))
	wanted := []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	if c.Auth != "auto" {
		wanted = []string{strings.ToUpper(c.Auth)}
	}
	clear := c.tls == nil // then the server is this machine: see Config.check
	for _, mech := range wanted {
		if !slices.Contains(offers, mech) {
			continue
		}
		switch mech {
		case "PLAIN":
			return smtp.PlainAuth("", c.Username, c.password, c.Host, clear), nil
		case "LOGIN":
			return smtp.LoginAuth(c.Username, c.password, c.Host, clear), nil
		case "CRAM-MD5":
			return smtp.CRAMMD5Auth(c.Username, c.password), nil
		case "XOAUTH2":
			return smtp.XOAuth2Auth(c.Username, token), nil
		}
	}
	return nil, errNoMech
}
