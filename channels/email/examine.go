package email

import (
	"bytes"
	"context"
	"net"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Examiner = (*channel)(nil)

// Examine connects once, logs in and asks whether the sender may send; no mail is handed over. Then it looks at what
// the sender's domain says in DNS, by which receivers judge.
func (c *channel) Examine(ctx context.Context, x *channels.Examination) {
	c.examineServer(ctx, x)
	c.examineSender(ctx, x)
}

// look is one connection under examination.
type look struct {
	*channel
	x        *channels.Examination
	endpoint channels.Endpoint
	conn     net.Conn // the TCP connection beneath
	client   *smtp.Client
	greeting greeting
}

func (c *channel) examineServer(ctx context.Context, x *channels.Examination) {
	l := &look{channel: c, x: x, endpoint: channels.Endpoint{Kind: "email", Provider: c.provider, Host: c.Host, Port: strconv.Itoa(c.Port)}}
	addrs, ok := x.Resolve(ctx, l.endpoint)
	if !ok {
		return
	}
	if l.conn, ok = x.Connect(ctx, l.endpoint, addrs); !ok {
		return
	}
	defer l.conn.Close()
	wire := &bounded{Conn: l.conn} // as in Send: no server talks on for good
	wire.renew()
	l.conn = wire
	if !l.hello(ctx) {
		return
	}
	defer func() { // QUIT must not hold anybody up
		_ = l.conn.SetDeadline(time.Now().Add(goodbye))
		_ = l.client.Quit()
	}()
	if l.login(ctx) && l.may(ctx) {
		l.limits(ctx)
	}
	theirs, ours := l.greeting.time()
	x.Clock(ctx, theirs, ours, 0)
}

// step takes one step of the dialogue; ctx ends what hangs.
func (l *look) step(ctx context.Context, id string, title schemas.Text, do func(ctx context.Context) channels.Finding) bool {
	return l.x.Step(ctx, id, title, func(ctx context.Context) channels.Finding {
		end, _ := ctx.Deadline()
		_ = l.conn.SetDeadline(end) // fails on a closed connection, as what follows will
		defer context.AfterFunc(ctx, func() { _ = l.conn.Close() })()
		return do(ctx)
	})
}

// failed is the failure that Send would end with in that phase.
func (l *look) failed(ctx context.Context, p phase, err error) *channels.Failure {
	f := l.explain(ctx, &fault{phase: p, err: err})
	if f.Code == "net:timeout-connect" {
		f.Code = "net:timeout-response" // connected it was
	}
	return f
}

// hello is greeting, TLS and EHLO, in the order that the channel's tls wants.
func (l *look) hello(ctx context.Context) bool {
	conn := l.conn
	if l.TLS == "implicit" {
		secure, ok := l.x.Handshake(ctx, l.endpoint, conn, l.tls)
		if !ok {
			return false
		}
		conn = secure
	} else {
		l.greeting.Conn, l.greeting.now = conn, l.x.Now
		conn = &l.greeting
	}
	ok := l.step(ctx, "smtp", channels.Text("SMTP 应答", "SMTP greeting"), func(ctx context.Context) channels.Finding {
		client, err := smtp.NewClient(conn, l.Host)
		if err != nil {
			return channels.Finding{Failure: l.failed(ctx, inGreeting, err), Seen: channels.Text("没有正常的欢迎语", "no proper greeting")}
		}
		l.client = client
		if err := client.Hello(l.HELO); err != nil {
			return channels.Finding{Failure: l.failed(ctx, inHello, err), Seen: channels.Text("EHLO %[1]s 被拒绝", "EHLO %[1]s was refused", l.HELO)}
		}
		return channels.Finding{Seen: channels.Text("已应答 EHLO %[1]s", "EHLO %[1]s was answered", l.HELO)}
	})
	switch {
	case !ok:
		return false
	case l.TLS == "starttls":
		return l.startTLS(ctx)
	case l.TLS == "none":
		return l.step(ctx, "tls", channels.Text("TLS 与证书", "TLS and certificate"), func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("按设置不加密（tls: none）", "clear text, as configured (tls: none)")}
		})
	}
	return true
}

func (l *look) startTLS(ctx context.Context) bool {
	return l.step(ctx, "tls", channels.Text("STARTTLS 与证书", "STARTTLS, certificate"), func(ctx context.Context) channels.Finding {
		if offered, _ := l.client.Extension("STARTTLS"); !offered {
			return channels.Finding{Failure: l.failed(ctx, inTLS, errNoStartTLS), Seen: channels.Text("服务器没有提供 STARTTLS", "the server does not offer STARTTLS")}
		}
		if err := l.client.StartTLS(l.tls); err != nil {
			out := l.x.TLSFailed(l.endpoint, err)
			out.Failure = l.failed(ctx, inTLS, err)
			return out
		}
		state, _ := l.client.TLSConnectionState()
		return l.x.TLSSeen(state)
	})
}

func (l *look) login(ctx context.Context) bool {
	return l.step(ctx, "auth", channels.Text("登录", "Login"), func(ctx context.Context) channels.Finding {
		if l.Username == "" {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("按设置不登录（没有 username）", "none configured (no username)")}
		}
		_, offered := l.client.Extension("AUTH")
		token := ""
		if l.tokens != nil {
			var err error
			if token, _, err = l.tokens.get(ctx, ""); err != nil {
				return channels.Finding{Failure: l.failed(ctx, inAuth, err), Seen: channels.Text("没有得到 OAuth 令牌", "no OAuth token was given")}
			}
		}
		auth, err := l.mechanism(l.client, token)
		if err == nil {
			err = l.client.Auth(auth)
		}
		if err != nil {
			return channels.Finding{Failure: l.failed(ctx, inAuth, err), Seen: channels.Text("登录失败；服务器提供：%s", "the login failed; the server offers: %s", orNothing(offered))}
		}
		return channels.Finding{Seen: channels.Text("登录成功；服务器提供：%s", "logged in; the server offers: %s", orNothing(offered))}
	})
}

func orNothing(s string) string {
	if s == "" {
		return "-"
	}
	return channels.Line(s)
}

// may asks whether the sender's address is accepted, and takes the question back: without RCPT and DATA no mail
// comes of it (RFC 5321 section 4.1.1.5).
func (l *look) may(ctx context.Context) bool {
	return l.step(ctx, "sender", channels.Text("发件人", "Sender"), func(ctx context.Context) channels.Finding {
		from := l.from.Address
		l.client.SkipSMTPUTF8(true)
		if err := l.client.Mail(path(l.from)); err != nil {
			return channels.Finding{Failure: l.failed(ctx, inMail, err), Seen: channels.Text("MAIL FROM %[1]s 被拒绝", "MAIL FROM %[1]s was refused", from)}
		}
		if err := l.client.Reset(); err != nil {
			return channels.Finding{Level: channels.Doubtful, Failure: l.failed(ctx, inMail, err), Seen: channels.Text("MAIL FROM %[1]s 已接受，RSET 失败", "MAIL FROM %[1]s was accepted, RSET failed", from)}
		}
		return channels.Finding{Seen: channels.Text("MAIL FROM %[1]s 已接受（随即撤销，未发信）", "MAIL FROM %[1]s was accepted (and taken back, nothing was sent)", from)}
	})
}

// limits tells what the server says of itself in EHLO.
func (l *look) limits(ctx context.Context) {
	l.step(ctx, "limits", channels.Text("服务器限制", "Limits"), func(context.Context) channels.Finding {
		size := channels.Text("未声明邮件大小上限", "no size limit is declared")
		if _, v := l.client.Extension("SIZE"); v != "" {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n > 0 {
				size = channels.Text("单封上限 %[1]d MiB", "mails up to %[1]d MiB", n>>20)
				if n < 1<<20 {
					size = channels.Text("单封上限 %[1]d KiB", "mails up to %[1]d KiB", n>>10)
				}
			}
		}
		var has []string
		for _, name := range []string{"8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING", "DSN"} {
			if ok, _ := l.client.Extension(name); ok {
				has = append(has, name)
			}
		}
		list := orNothing(strings.Join(has, " "))
		return channels.Finding{Seen: channels.Text(size.Zh+"；支持 %s；每分钟、每日的发送上限服务器不声明", size.En+"; has %s; limits a minute or a day are not declared", list)}
	})
}

// greeting keeps the beginning of what the server says, for the time in it: Exchange and sendmail write one.
type greeting struct {
	net.Conn
	now  func() time.Time
	said bytes.Buffer
	at   time.Time
}

const maxGreeting = 1 << 10

func (g *greeting) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.said.Len() == 0 && n > 0 {
		g.at = g.now()
		g.said.Write(p[:min(n, maxGreeting)])
	}
	return n, err
}

var greetingTime = regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`)

// time is the server's time and ours at that moment; zero when the greeting has none.
func (g *greeting) time() (theirs, ours time.Time) {
	at, err := mail.ParseDate(greetingTime.FindString(g.said.String()))
	if err != nil {
		return time.Time{}, g.at
	}
	return at, g.at
}
