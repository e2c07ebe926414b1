package email

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wneessen/go-mail/smtp"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// A dialogue that ends badly at each of its steps; the second mail shows that the channel lives on.
func TestDialogue(t *testing.T) {
	login := func(mech string) func(*Config) {
		return func(c *Config) { c.Username, c.PasswordFile, c.Auth = user, "password", mech }
	}
	for _, tt := range []struct {
		name       string
		extensions string
		replies    map[string]string
		change     func(*Config)
		code       string
		class      channels.Class
		maybe      bool
		conns      int // connections that two mails needed
	}{
		{name: "closed before the greeting", replies: map[string]string{"220": ""}, code: "net:eof-greeting", class: channels.Temporary, conns: 2},
		{name: "not welcome", replies: map[string]string{"220": "554 5.7.1 your IP is blocked"}, code: "554 5.7.1", class: channels.Config, conns: 2},
		{name: "busy greeting", replies: map[string]string{"220": "421 4.3.2 busy"}, code: "421 4.3.2", class: channels.Temporary, conns: 2},
		{name: "login refused", extensions: "AUTH=PLAIN", replies: map[string]string{"AUTH": "535 5.7.8 no"}, change: login(""), code: "535 5.7.8", class: channels.Auth, conns: 2},
		{name: "no login offered", change: login(""), code: "net:not-offered", class: channels.Config, conns: 2},
		{name: "mechanism not offered", extensions: "AUTH=PLAIN", change: login("cram-md5"), code: "net:not-offered", class: channels.Config, conns: 2},
		{name: "no STARTTLS", change: func(c *Config) { c.TLS = "starttls" }, code: "net:not-offered", class: channels.Config, conns: 2},
		{name: "implicit TLS to a plain port", change: func(c *Config) { c.TLS = "implicit" }, code: "net:tls", class: channels.Config, conns: 2},
		{name: "sender refused", replies: map[string]string{"MAIL": "501 5.1.7 bad sender"}, code: "501 5.1.7", class: channels.Config, conns: 1},
		{name: "recipient refused", replies: map[string]string{"RCPT": "550 5.1.1 unknown"}, code: "550 5.1.1", class: channels.BadTarget, conns: 1},
		{name: "closing at RCPT", replies: map[string]string{"RCPT": "421 4.3.2 closing"}, code: "421 4.3.2", class: channels.Temporary, conns: 2},
		{name: "no RSET after a refusal", replies: map[string]string{"RCPT": "550 5.1.1 unknown", "RSET": ""}, code: "550 5.1.1", class: channels.BadTarget, conns: 2},
		{name: "DATA refused", replies: map[string]string{"DATA": "554 5.5.1 no"}, code: "554 5.5.1", class: channels.Permanent, conns: 1},
		{name: "content refused", replies: map[string]string{".": "554 5.6.0 no"}, code: "554 5.6.0", class: channels.Content, conns: 1},
		{name: "broken after the dot", replies: map[string]string{".": ""}, code: "net:eof-after-data", class: channels.Unknown, maybe: true, conns: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := play(t, speak(tt.extensions, tt.replies))
			ch := openScript(t, s, tt.change)
			for range 2 {
				_, err := ch.Send(t.Context(), channeltest.Delivery(1))
				f := failure(t, err)
				if f.Code != tt.code || f.Class != tt.class || f.Maybe != tt.maybe {
					t.Errorf("got %q %q maybe %v; want %q %q maybe %v (%s)", f.Code, f.Class, f.Maybe, tt.code, tt.class, tt.maybe, f.Line)
				}
			}
			if conns, _ := s.counts(); conns != tt.conns {
				t.Errorf("two mails took %d connections, want %d", conns, tt.conns)
			}
		})
	}
}

// A server that closes an idle connection says 421 to the next command, or nothing at all. The
// mail goes over a new connection in the same Send, once.
func TestIdleConnectionClosedByServer(t *testing.T) {
	afterOne := func(word string) dialogue {
		return func(s *script, c *textproto.Conn) {
			mails := 0
			_ = c.PrintfLine("220 far.example.com ESMTP")
			for {
				line, err := c.ReadLine()
				if err != nil {
					return
				}
				switch verb, _, _ := strings.Cut(line, " "); {
				case verb == "DATA":
					_ = c.PrintfLine("354 go on")
					_, _ = c.ReadDotBytes()
					mails++
					_ = c.PrintfLine("250 2.0.0 Ok")
				case verb == "MAIL" && mails > 0:
					if word != "" {
						_ = c.PrintfLine("%s", word)
					}
					return
				default:
					_ = c.PrintfLine("250 2.0.0 Ok")
				}
			}
		}
	}
	for _, word := range []string{"421 4.4.2 Idle timeout", ""} {
		t.Run(fmt.Sprintf("%q", word), func(t *testing.T) {
			s := play(t, afterOne(word), speak("", nil))
			ch := openScript(t, s, nil)
			for n := range 3 {
				if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
					t.Fatalf("mail %d: %v", n, err)
				}
			}
			if conns, mails := s.counts(); conns != 2 || mails != 2 {
				t.Errorf("%d connections, %d mails over the second; want 2 and 2", conns, mails)
			}
		})
	}
}

func TestReceipt(t *testing.T) {
	ch := openScript(t, play(t, speak("", nil)), nil)
	r, err := ch.Send(t.Context(), channeltest.Delivery(1))
	if err != nil || r.ID != "4F2A" || r.Reply != "2.0.0 Ok: queued as 4F2A" {
		t.Errorf("Send = %+v, %v", r, err)
	}
}

func TestSMTPUTF8(t *testing.T) {
	d := channeltest.Delivery(1)
	d.To.Email = "王芳@example.com"
	t.Run("not offered", func(t *testing.T) {
		s := play(t, speak("8BITMIME", nil))
		ch := openScript(t, s, nil)
		_, err := ch.Send(t.Context(), d)
		if f := failure(t, err); f.Class != channels.BadTarget || f.Code != "553 5.6.7" {
			t.Errorf("got %q %q, want a failure of the recipient", f.Code, f.Class)
		}
		if _, err := ch.Send(t.Context(), channeltest.Delivery(2)); err != nil {
			t.Errorf("the next mail: %v", err)
		}
		if conns, mails := s.counts(); conns != 1 || mails != 1 {
			t.Errorf("%d connections, %d mails; want 1 and 1", conns, mails)
		}
	})
	t.Run("offered", func(t *testing.T) {
		var mu sync.Mutex
		var heard []string
		tap := func(s *script, c *textproto.Conn) {
			_ = c.PrintfLine("220 far.example.com ESMTP")
			for {
				line, err := c.ReadLine()
				if err != nil {
					return
				}
				switch verb, _, _ := strings.Cut(line, " "); verb {
				case "EHLO":
					_ = c.PrintfLine("250-far.example.com\r\n250 SMTPUTF8")
				case "DATA":
					_ = c.PrintfLine("354 go on")
					_, _ = c.ReadDotBytes()
					_ = c.PrintfLine("250 2.0.0 Ok")
				case "MAIL", "RCPT":
					mu.Lock()
					heard = append(heard, line)
					mu.Unlock()
					fallthrough
				default:
					_ = c.PrintfLine("250 2.0.0 Ok")
				}
			}
		}
		ch := openScript(t, play(t, tap), nil)
		plain := channeltest.Delivery(2)
		plain.To.Email = "wang@例子.com"
		if _, err := ch.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Send(t.Context(), plain); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(heard, "\n")
		want := "MAIL FROM:<erp@example.com> SMTPUTF8\nRCPT TO:<王芳@example.com>\nMAIL FROM:<erp@example.com>\nRCPT TO:<wang@xn--fsqu00a.com>"
		if got != want {
			t.Errorf("said\n%s\nwant\n%s", got, want)
		}
	})
}

// Connections are kept, and never more of them than the channel may have.
func TestConnectionsAreReused(t *testing.T) {
	far := startFar(t, "none")
	ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}, far, func(c *Config) { c.Connections = 2 })
	for n := range 20 {
		if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := far.logins(); got != 1 {
		t.Errorf("20 mails one after the other took %d logins, want 1", got)
	}
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			if _, err := ch.Send(t.Context(), channeltest.Delivery(100+n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := far.logins(); got > 2 {
		t.Errorf("40 mails at once took %d logins, want at most 2", got)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
}

// A connection serves so many mails and no more.
func TestConnectionRetires(t *testing.T) {
	far := startFar(t, "none")
	ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}, far, nil)
	defer ch.Close()
	for n := range maxMails + 1 {
		if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := far.logins(); got != 2 {
		t.Errorf("%d mails took %d logins, want 2", maxMails+1, got)
	}
}

// An attempt that finds all connections busy gives up with its context; it has sent nothing.
func TestAllConnectionsBusy(t *testing.T) {
	far := startFar(t, "none")
	ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}, far, func(c *Config) { c.Connections = 1 })
	defer ch.Close()
	far.Behave(channeltest.Hang)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := ch.Send(ctx, channeltest.Delivery(1))
		done <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); len(far.Taken()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first mail never arrived")
		}
	}
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	_, err := ch.Send(short, channeltest.Delivery(2))
	if f := failure(t, err); f.Code != "net:busy" || f.Class != channels.Throttled || f.Maybe {
		t.Errorf("got %q %q maybe %v", f.Code, f.Class, f.Maybe)
	}
	cancel()
	if f := failure(t, <-done); !f.Maybe {
		t.Errorf("the hanging mail: %q, not maybe", f.Code)
	}
}

func TestServerMustBeTrusted(t *testing.T) {
	for _, mode := range []string{"implicit", "starttls"} {
		t.Run(mode, func(t *testing.T) {
			far := startFar(t, mode)
			ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}, far, func(c *Config) { c.CAFile = "" })
			defer ch.Close()
			_, err := ch.Send(t.Context(), channeltest.Delivery(1))
			f := failure(t, err)
			if f.Code != "net:tls" || f.Class != channels.Config || !strings.Contains(f.Line, "x509: ") {
				t.Errorf("got %q %q %q, want a refused certificate", f.Code, f.Class, f.Line)
			}
			if far.logins() != 0 {
				t.Error("the password went to an untrusted server")
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	const wrong = "wr0ng-Passw0rd"
	far := startFar(t, "implicit")
	env := channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}
	write(t, env.Dir, "wrong", []byte(wrong))
	ch := openFar(t, env, far, func(c *Config) { c.PasswordFile = "wrong" })
	defer ch.Close()
	_, err := ch.Send(t.Context(), channeltest.Delivery(1))
	if f := failure(t, err); f.Code != "535 5.7.8" || f.Class != channels.Auth {
		t.Errorf("got %q %q", f.Code, f.Class)
	}
	if strings.Contains(err.Error(), wrong) { // the far side quotes it
		t.Errorf("the password is in %v", err)
	}
}

// The three ways to log in, as the server hears them.
func TestMechanisms(t *testing.T) {
	for _, tt := range []struct{ auth, offered, want string }{
		{"", "AUTH=LOGIN=PLAIN=CRAM-MD5", "AUTH PLAIN AGVycEBleGFtcGxlLmNvbQBzM2NyZXQtUGFzc3cwcmQ="},
		{"", "AUTH=CRAM-MD5=LOGIN", "AUTH LOGIN"},
		{"", "AUTH=CRAM-MD5", "AUTH CRAM-MD5"},
		{"login", "AUTH=LOGIN=PLAIN", "AUTH LOGIN"},
	} {
		heard := make(chan string, 1)
		s := play(t, func(s *script, c *textproto.Conn) {
			_ = c.PrintfLine("220 far.example.com ESMTP")
			_, _ = c.ReadLine()
			_ = c.PrintfLine("250-far.example.com\r\n250 %s", strings.ReplaceAll(tt.offered, "=", " "))
			line, _ := c.ReadLine()
			heard <- line
			_ = c.PrintfLine("535 5.7.8 no")
		})
		ch := openScript(t, s, func(c *Config) { c.Username, c.PasswordFile, c.Auth = user, "password", tt.auth })
		_, err := ch.Send(t.Context(), channeltest.Delivery(1))
		if f := failure(t, err); f.Class != channels.Auth {
			t.Errorf("%v: got %q %q", tt, f.Code, f.Class)
		}
		if got := <-heard; got != tt.want {
			t.Errorf("auth %q, offered %q: said %q, want %q", tt.auth, tt.offered, got, tt.want)
		}
	}
}

// A server that takes the connection and never greets costs the attempt's time and no more.
func TestSilentServer(t *testing.T) {
	for _, mode := range []string{"none", "implicit"} {
		s := play(t, func(_ *script, c *textproto.Conn) { _, _ = io.Copy(io.Discard, c.R) })
		ch := openScript(t, s, func(c *Config) { c.TLS = mode })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := ch.Send(ctx, channeltest.Delivery(1))
		cancel()
		if f := failure(t, err); f.Class != channels.Temporary || f.Maybe || !strings.HasPrefix(f.Code, "net:timeout") {
			t.Errorf("%s: got %q %q maybe %v", mode, f.Code, f.Class, f.Maybe)
		}
	}
}

// piped is a greeted connection whose far end answers nothing any more; ended hears of its end.
func piped(t *testing.T, name string, born, used time.Time, ended chan<- string) *conn {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		_, _ = io.WriteString(far, "220 far.example.com\r\n")
		far.Close()
	}()
	client, err := smtp.NewClient(near, "far.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return &conn{Client: client, born: born, used: used, close: func() error { ended <- name; return near.Close() }}
}

// A connection that has been idle or in service for too long is not used for another mail.
func TestPoolDropsTheOld(t *testing.T) {
	p := newPool(2)
	ended := make(chan string, 3)
	now := time.Now()
	p.kept = []*conn{
		piped(t, "old", now.Add(-maxAge), now, ended),
		piped(t, "idle", now, now.Add(-maxIdle), ended),
		piped(t, "good", now, now, ended),
	}
	if c := p.take(now); c == nil || len(p.kept) != 0 {
		t.Fatalf("take = %v with %d left, want the good one and none left", c, len(p.kept))
	}
	if got := map[string]bool{<-ended: true, <-ended: true}; !got["old"] || !got["idle"] {
		t.Errorf("ended %v, want the old and the idle one", got)
	}
	p.close()
}

// A quiet channel gives its connections back by itself.
func TestPoolSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2)
		ended := make(chan string, 1)
		now := time.Now()
		p.keep(piped(t, "quiet", now, now, ended), now)
		time.Sleep(maxIdle - time.Second)
		synctest.Wait()
		if len(ended) != 0 {
			t.Error("ended before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(ended) != 1 {
			t.Error("still kept after its time")
		}
		p.close()
	})
}

// A positive reply to the final dot is judged by its first digit; one that is no refusal leaves the outcome open.
func TestRepliesToTheDot(t *testing.T) {
	for reply, maybe := range map[string]bool{"250 Ok": false, "251 2.0.0 will forward": false, "200 done": false, "354 go on": true} {
		s := play(t, speak("", map[string]string{".": reply}))
		_, err := openScript(t, s, nil).Send(t.Context(), channeltest.Delivery(1))
		if !maybe {
			if err != nil {
				t.Errorf("%s: %v, want accepted", reply, err)
			}
			continue
		}
		if f := channels.Explain(err); err == nil || !f.Maybe || f.Class != channels.Unknown {
			t.Errorf("%s: %+v, want unknown", reply, f)
		}
	}
}
