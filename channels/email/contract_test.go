package email

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

const (
	user     = "erp@example.com"
	password = "s3cret-Passw0rd"
)

func TestContract(t *testing.T) {
	for _, mode := range []string{"none", "starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			channeltest.Contract(t, channeltest.Rig{
				Kind: "email", Address: channels.Email, Secrets: []string{password},
				Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
					far := startFar(t, mode)
					return openFar(t, env, far, nil), far
				},
			})
		})
	}
}

// farSide is a mail server whose behaviour the suite orders.
type farSide struct {
	mode   string
	door   *sandbox.Door
	caPEM  []byte
	server *smtp.Server

	mu      sync.Mutex
	mood    channeltest.Behaviour
	taken   []string
	entered int // logins
}

// startFar runs a server until the test ends.
func startFar(t testing.TB, mode string) *farSide {
	t.Helper()
	far := &farSide{mode: mode}
	var err error
	if far.door, err = sandbox.OpenDoor(""); err != nil {
		t.Fatal(err)
	}
	far.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &farSession{farSide: far, conn: c}, nil
	}))
	far.server.AllowInsecureAuth = true
	far.server.ErrorLog = log.New(io.Discard, "", 0)
	var ln net.Listener = far.door
	if mode != "none" {
		cert, caPEM := certificate(t)
		far.caPEM, far.server.TLSConfig = caPEM, &tls.Config{Certificates: []tls.Certificate{cert}}
		if mode == "implicit" {
			ln = tls.NewListener(ln, far.server.TLSConfig)
		}
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = far.server.Serve(ln)
	}()
	t.Cleanup(func() {
		far.door.Close()
		<-served
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := far.server.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("far side: %v", err)
		}
	})
	return far
}

// openFar opens the channel against far; change may alter its settings first.
func openFar(t testing.TB, env channels.Env, far *farSide, change func(*Config)) channels.Channel {
	t.Helper()
	host, port, _ := net.SplitHostPort(far.door.Addr().String())
	n, _ := strconv.Atoi(port)
	c := Config{
		Host: host, Port: n, TLS: far.mode, Username: user, PasswordFile: "password",
		From: "ERP 通知 <erp@example.com>", HELO: "erp.example.com",
	}
	write(t, env.Dir, "password", []byte(password+"\n"))
	if far.caPEM != nil {
		c.CAFile = "ca.pem"
		write(t, env.Dir, "ca.pem", far.caPEM)
	}
	if change != nil {
		change(&c)
	}
	ch, err := New(env, func(into any) error { *into.(*Config) = c; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func write(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Behave is part of channeltest.FarSide.
func (f *farSide) Behave(b channeltest.Behaviour) {
	f.mu.Lock()
	f.mood = b
	f.mu.Unlock()
	if err := f.door.SetDown(b == channeltest.Unreachable); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
}

// Taken is part of channeltest.FarSide.
func (f *farSide) Taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.taken...)
}

func (f *farSide) logins() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entered
}

func (f *farSide) behaviour() channeltest.Behaviour {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mood
}

type farSession struct {
	*farSide
	conn *smtp.Conn
	in   bool
}

func (s *farSession) AuthMechanisms() []string { return []string{sasl.Plain, "XOAUTH2"} }

func (s *farSession) Auth(mech string) (sasl.Server, error) {
	if mech == "XOAUTH2" {
		return bearer(func(login string) bool {
			s.in = login == "user="+user+"\x01auth=Bearer token-1\x01\x01"
			return s.in
		}), nil
	}
	return sasl.NewPlainServer(func(_, u, p string) error {
		if u != user || p != password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "refused for " + u + " " + p}
		}
		s.mu.Lock()
		s.entered++
		s.mu.Unlock()
		s.in = true
		return nil
	}), nil
}

// bearer is the server's side of XOAUTH2.
type bearer func(login string) bool

func (b bearer) Next(login []byte) (challenge []byte, done bool, err error) {
	if !b(string(login)) {
		return nil, true, &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 3}, Message: "Authentication unsuccessful"}
	}
	return nil, true, nil
}

func (s *farSession) Mail(string, *smtp.MailOptions) error {
	if !s.in {
		return smtp.ErrAuthRequired
	}
	return nil
}

// Rcpt answers with the address, as servers do.
func (s *farSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch s.behaviour() {
	case channeltest.Refuse:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<" + to + ">: User unknown"}
	case channeltest.Fail:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "<" + to + ">: queue is full"}
	case channeltest.HangUp:
		s.conn.Conn().Close()
	}
	return nil
}

var messageID = regexp.MustCompile(`(?m)^Message-ID: <([a-z2-7]+)@`)

func (s *farSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b := s.behaviour()
	if b == channeltest.Throttle {
		return &smtp.SMTPError{Code: 432, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "STOREDRV.ClientSubmit; sender thread limit exceeded"}
	}
	id := messageID.FindSubmatch(raw)
	if id == nil {
		return errors.New("no Message-ID")
	}
	s.mu.Lock()
	s.taken = append(s.taken, string(id[1]))
	s.mu.Unlock()
	c := s.conn.Conn()
	switch b {
	case channeltest.Cut:
		c.Close()
	case channeltest.Hang:
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	case channeltest.AcceptThenBreak:
		_, _ = io.WriteString(c, "250 2.0.0 Ok: queued as 4F2A\r\n")
		c.Close()
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as 4F2A"}
}

func (s *farSession) Reset()        {}
func (s *farSession) Logout() error { return nil }

// certificate borrows the sandbox's: what a client must trust to reach a server on loopback.
func certificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	cert, caPEM, err := sandbox.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	return cert, caPEM
}
