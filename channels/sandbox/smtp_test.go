package sandbox

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/yizhan-dev/yizhan/schemas"
)

// inbox collects what a stand-in took.
type inbox struct {
	mu    sync.Mutex
	items []Item
}

func (b *inbox) add(i Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, i)
}

func (b *inbox) all() []Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Item(nil), b.items...)
}

func startSMTP(t *testing.T, cfg SMTPConfig) (*SMTP, *inbox) {
	t.Helper()
	b := &inbox{}
	s, err := StartSMTP(cfg, b.add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, b
}

func dialSMTP(t *testing.T, s *SMTP) *smtp.Client {
	t.Helper()
	c, err := tryDial(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func tryDial(s *SMTP) (*smtp.Client, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CACertPEM())
	conf := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	switch s.cfg.TLS {
	case "implicit":
		return smtp.DialTLS(s.Addr().String(), conf)
	case "starttls":
		return smtp.DialStartTLS(s.Addr().String(), conf)
	}
	return smtp.Dial(s.Addr().String())
}

func mailTo(c *smtp.Client, to, id, body string) error {
	text := "From: =?UTF-8?B?6YCa55+l?= <erp@example.com>\r\nTo: " + to + "\r\nSubject: =?UTF-8?B?6LSm5Y2V?=\r\nMessage-ID: <" + id + "@example.com>\r\n" + body
	return c.SendMail("erp@example.com", []string{to}, strings.NewReader(text))
}

const plainBody = "Content-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"

func TestSMTPBehaviours(t *testing.T) {
	for _, tt := range []struct {
		to    string
		want  string // beginning of the reply, "" is acceptance, "-" a broken connection
		inbox int
	}{
		{"wang@example.com", "", 1},
		{"no-such-user@example.com", "550 5.1.1", 0},
		{"mailbox-full@example.com", "552 5.2.2", 0},
		{"spam@example.com", "554 5.7.1", 0},
		{"throttled.1@example.com", "432 4.3.2", 0},
		{"Busy@example.com", "421 4.3.2", 0},
		{"cut@example.com", "-", 1},
		{"someone@spam.example.com", "", 1}, // the domain asks for nothing
	} {
		t.Run(tt.to, func(t *testing.T) {
			s, b := startSMTP(t, SMTPConfig{})
			err := mailTo(dialSMTP(t, s), tt.to, "x", plainBody)
			got := ""
			if e, ok := errors.AsType[*smtp.SMTPError](err); ok {
				got = fmt.Sprintf("%d %d.%d.%d", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
			} else if err != nil {
				got = "-"
			}
			if got != tt.want || len(b.all()) != tt.inbox {
				t.Errorf("got %q (%v), %d in the inbox; want %q, %d", got, err, len(b.all()), tt.want, tt.inbox)
			}
		})
	}
}

func TestSMTPGreylist(t *testing.T) {
	s, b := startSMTP(t, SMTPConfig{})
	c := dialSMTP(t, s)
	for try, accepted := range []bool{false, false, true} {
		for _, id := range []string{"a", "b"} { // each message is counted by itself
			if err := mailTo(c, "greylist@example.com", id, plainBody); (err == nil) != accepted {
				t.Errorf("try %d of %s: %v, want accepted %v", try+1, id, err, accepted)
			}
		}
	}
	if n := len(b.all()); n != 2 {
		t.Errorf("%d in the inbox, want 2", n)
	}
}

func TestSMTPHangEndsWithTheServer(t *testing.T) {
	s, b := startSMTP(t, SMTPConfig{})
	c := dialSMTP(t, s)
	answered := make(chan error, 1)
	go func() { answered <- mailTo(c, "hang@example.com", "x", plainBody) }()
	// The next client is served meanwhile.
	if err := mailTo(dialSMTP(t, s), "wang@example.com", "y", plainBody); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answered:
		t.Fatalf("the hanging mail was answered: %v", err)
	default:
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err == nil {
		t.Error("the hanging mail was accepted in the end")
	}
	if n := len(b.all()); n != 1 {
		t.Errorf("%d in the inbox, want only the other mail", n)
	}
}

func TestSMTPLogin(t *testing.T) {
	for _, mode := range []string{"none", "starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			s, b := startSMTP(t, SMTPConfig{TLS: mode, Username: "erp", Password: "pw"})
			for name, tt := range map[string]struct {
				auth sasl.Client
				want int
			}{
				"plain":          {sasl.NewPlainClient("", "erp", "pw"), 0},
				"login":          {sasl.NewLoginClient("erp", "pw"), 0},
				"wrong password": {sasl.NewPlainClient("", "erp", "wrong"), 535},
				"wrong user":     {sasl.NewLoginClient("other", "pw"), 535},
				"none":           {nil, 530},
			} {
				c := dialSMTP(t, s)
				var err error
				if tt.auth != nil {
					err = c.Auth(tt.auth)
				}
				if err == nil {
					err = mailTo(c, "wang@example.com", "x", plainBody)
				}
				code := 0
				if e, ok := errors.AsType[*smtp.SMTPError](err); ok {
					code = e.Code
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if code != tt.want {
					t.Errorf("%s: %v, want %d", name, err, tt.want)
				}
			}
			if n := len(b.all()); n != 2 {
				t.Errorf("%d in the inbox, want 2", n)
			}
		})
	}
}

func TestSMTPItem(t *testing.T) {
	s, b := startSMTP(t, SMTPConfig{})
	id := schemas.DeliveryID("acme", "/erp", "1", "wang", "mail")
	body := "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=gb18030\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\nxPq6ww==\r\n--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>您好</p>\r\n--x--\r\n"
	if err := mailTo(dialSMTP(t, s), "wang@example.com", id, body); err != nil {
		t.Fatal(err)
	}
	i := b.all()[0]
	if i.Kind != "email" || i.To != "wang@example.com" || i.Subject != "账单" || i.From != "通知 <erp@example.com>" {
		t.Errorf("item %+v", i)
	}
	if i.Text != "您好" || i.HTML != "<p>您好</p>" {
		t.Errorf("text %q, html %q", i.Text, i.HTML)
	}
	if i.Delivery != id || i.ID != id+"@example.com" || i.Headers["Message-Id"] == "" || !strings.Contains(i.Raw, "--x--") || i.Time.IsZero() {
		t.Errorf("delivery %q, id %q, headers %v", i.Delivery, i.ID, i.Headers)
	}
}

func TestSMTPDownAndUp(t *testing.T) {
	s, b := startSMTP(t, SMTPConfig{})
	c := dialSMTP(t, s)
	if err := s.SetDown(true); err != nil {
		t.Fatal(err)
	}
	if err := c.Noop(); err == nil {
		t.Error("an open connection survived")
	}
	if _, err := net.DialTimeout("tcp", s.Addr().String(), time.Second); err == nil {
		t.Error("a server that is down took a connection")
	}
	if err := s.SetDown(false); err != nil {
		t.Fatal(err)
	}
	if err := mailTo(dialSMTP(t, s), "wang@example.com", "x", plainBody); err != nil || len(b.all()) != 1 {
		t.Errorf("after coming up again: %v, %d in the inbox", err, len(b.all()))
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0", "example.com:0"} {
		if d, err := OpenDoor(addr); err == nil {
			d.Close()
			t.Errorf("OpenDoor(%q) listens beyond this machine", addr)
		}
	}
}

// FuzzReadMail: whatever comes in as a mail, showing it must not break the server.
func FuzzReadMail(f *testing.F) {
	f.Add([]byte("Subject: a\r\n\r\nb"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nb\r\n--x--"))
	f.Add([]byte("Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if i := readMail(raw); i.Kind != "email" || len(i.Raw) > maxRaw || len(i.Text) > 3*maxText {
			t.Errorf("item of %d and %d bytes", len(i.Raw), len(i.Text))
		}
	})
}

// BenchmarkSMTP is mails through one kept connection.
func BenchmarkSMTP(b *testing.B) {
	s, err := StartSMTP(SMTPConfig{}, func(Item) {})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c, err := tryDial(s)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		if err := mailTo(c, "wang@example.com", "x", plainBody); err != nil {
			b.Fatal(err)
		}
	}
}
