package sandbox

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	maxMail   = 30 << 20         // SIZE that the server offers
	idle      = 5 * time.Minute  // RFC 5321 section 4.5.3.2.7
	hangLimit = 10 * time.Minute // the longest that a hanging connection is kept
	slowness  = 3 * time.Second
	greyTries = 2     // how often a greylisted message is put off
	greyKept  = 10000 // how many greylisted messages are remembered
)

// SMTPConfig describes a stand-in mail server.
type SMTPConfig struct {
	Addr string // loopback address, "" is a free port of 127.0.0.1
	TLS  string // "implicit", "starttls" or "none"; "" is none
	// Username and Password are what AUTH PLAIN and AUTH LOGIN want; without a user name the
	// server takes mail from anybody, and offers no AUTH.
	Username, Password string
}

// SMTP is a stand-in mail server on loopback. What it does with a mail depends on the recipient's
// local part, so that any failure can be had from outside by choosing an address:
//
//	contains        what happens
//	no-such-user    550 5.1.1 to RCPT
//	mailbox-full    552 5.2.2 to RCPT
//	busy            421 4.3.2 to RCPT, and the connection is closed
//	spam            554 5.7.1 after the message
//	throttled       432 4.3.2 after the message, in Exchange Online's words
//	greylist        451 4.7.1 after the message, the first two times for one Message-ID; then accepted
//	hang            the message is taken and read, and never answered
//	cut             the message is accepted into the inbox, and the connection broken without an answer
//	mute            RCPT is never answered
//	drip            the message is accepted into the inbox, and the answer comes a byte a second and never ends
//	garbage         the message is accepted into the inbox, and the answer is a web page
//	slow            accepted after 3 s
//	anything else   accepted
//
// A wrong password is answered with 535 5.7.8, mail before the login with 530 5.7.0.
type SMTP struct {
	cfg    SMTPConfig
	sink   Sink
	door   *Door
	server *smtp.Server
	caPEM  []byte
	served chan struct{} // closed when the accept loop has ended
	done   chan struct{} // closed by Close: ends the slow ones
	close  func() error

	mu   sync.Mutex
	grey map[string]int // Message-ID → refusals so far
}

// StartSMTP starts a server that hands every accepted mail to sink, once for each recipient.
func StartSMTP(cfg SMTPConfig, sink Sink) (*SMTP, error) {
	s := &SMTP{cfg: cfg, sink: sink, served: make(chan struct{}), done: make(chan struct{}), grey: make(map[string]int)}
	s.close = sync.OnceValue(s.end)
	s.server = smtp.NewServer(smtp.BackendFunc(s.session))
	s.server.Domain = "sandbox.yizhan.localhost"
	s.server.MaxMessageBytes = maxMail
	s.server.MaxRecipients = 100
	s.server.ReadTimeout, s.server.WriteTimeout = idle, idle
	s.server.AllowInsecureAuth = true
	s.server.EnableSMTPUTF8 = true
	s.server.ErrorLog = log.New(io.Discard, "", 0) // broken connections are this server's trade

	var err error
	if s.door, err = OpenDoor(cfg.Addr); err != nil {
		return nil, err
	}
	var ln net.Listener = s.door
	switch cfg.TLS {
	case "implicit", "starttls":
		cert, caPEM, err := SelfSigned()
		if err != nil {
			s.door.Close()
			return nil, err
		}
		s.caPEM = caPEM
		s.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		if cfg.TLS == "implicit" {
			ln = tls.NewListener(ln, s.server.TLSConfig)
		}
	case "none", "":
	default:
		s.door.Close()
		return nil, fmt.Errorf("sandbox: tls %q: want implicit, starttls or none", cfg.TLS)
	}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(ln) // ends when the door is closed
	}()
	return s, nil
}

// Addr is the address to connect to.
func (s *SMTP) Addr() net.Addr { return s.door.Addr() }

// CACertPEM is the certificate that a client must trust; nil without TLS.
func (s *SMTP) CACertPEM() []byte { return s.caPEM }

// SetDown takes the server off the network, open connections included, or puts it back on the same port.
func (s *SMTP) SetDown(down bool) error { return s.door.SetDown(down) }

// Close ends the server, its connections included.
func (s *SMTP) Close() error { return s.close() }

func (s *SMTP) end() error {
	close(s.done)
	s.door.Close()
	<-s.served
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

func (s *SMTP) session(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c.Conn, in: s.cfg.Username == ""}, nil
}

// session is one connection's dialogue.
type session struct {
	server *SMTP
	conn   func() net.Conn // STARTTLS changes it
	in     bool            // logged in, or no login wanted
	from   string
	to     []string
}

func reply(code int, enhanced smtp.EnhancedCode, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text}
}

// AuthMechanisms is part of [smtp.AuthSession].
func (s *session) AuthMechanisms() []string {
	if s.server.cfg.Username == "" {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth is part of [smtp.AuthSession].
func (s *session) Auth(mech string) (sasl.Server, error) {
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return s.login(user, password) }), nil
	case sasl.Login:
		return &loginServer{check: s.login}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (s *session) login(user, password string) error {
	// Hashed, so that the time taken tells nothing of the length either.
	got := sha256.Sum256([]byte(user + "\x00" + password))
	want := sha256.Sum256([]byte(s.server.cfg.Username + "\x00" + s.server.cfg.Password))
	if s.server.cfg.Username == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return reply(535, smtp.EnhancedCode{5, 7, 8}, "Error: authentication failed")
	}
	s.in = true
	return nil
}

// loginServer is the server's half of AUTH LOGIN, which go-sasl lacks
// (draft-murchison-sasl-login-00).
type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response != nil {
		l.step = 1 // the user name came with the command
	}
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	case 3:
		return nil, true, l.check(l.user, string(response))
	}
	return nil, false, sasl.ErrUnexpectedClientResponse
}

// Mail is part of [smtp.Session].
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.in {
		return reply(530, smtp.EnhancedCode{5, 7, 0}, "Authentication required")
	}
	s.from = from
	return nil
}

// Rcpt is part of [smtp.Session].
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch {
	case wants(to, "no-such-user"):
		return reply(550, smtp.EnhancedCode{5, 1, 1}, "<"+to+">: Recipient address rejected: User unknown")
	case wants(to, "mailbox-full"):
		return reply(552, smtp.EnhancedCode{5, 2, 2}, "<"+to+">: Mailbox full")
	case wants(to, "busy"):
		_, _ = fmt.Fprint(s.conn(), "421 4.3.2 Service not available, closing transmission channel\r\n")
		s.conn().Close()
		return io.EOF // nobody is left to read it
	case wants(to, "mute"):
		s.hang()
		return io.EOF
	}
	s.to = append(s.to, to)
	return nil
}

// wants says whether the recipient asks for a behaviour.
func wants(to, behaviour string) bool {
	local, _, _ := strings.Cut(to, "@")
	return strings.Contains(strings.ToLower(local), behaviour)
}

func (s *session) anyWants(behaviour string) bool {
	for _, to := range s.to {
		if wants(to, behaviour) {
			return true
		}
	}
	return false
}

// Data is part of [smtp.Session].
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // too large, or the client has gone
	}
	item := readMail(raw)
	if item.From == "" {
		item.From = s.from
	}
	switch {
	case s.anyWants("spam"):
		return reply(554, smtp.EnhancedCode{5, 7, 1}, "Message rejected as spam")
	case s.anyWants("throttled"):
		return reply(432, smtp.EnhancedCode{4, 3, 2}, "STOREDRV.ClientSubmit; sender thread limit exceeded")
	case s.anyWants("greylist") && s.server.greylisted(item.ID):
		return reply(451, smtp.EnhancedCode{4, 7, 1}, "Greylisting in action, please come back later")
	case s.anyWants("hang"):
		s.hang()
		return io.EOF
	case s.anyWants("slow"):
		select {
		case <-time.After(slowness):
		case <-s.server.done:
			return reply(421, smtp.EnhancedCode{4, 3, 2}, "Shutting down")
		}
	}
	for _, to := range s.to {
		item.To = to
		s.server.sink(item)
	}
	switch {
	case s.anyWants("cut"):
		s.conn().Close()
		return io.EOF
	case s.anyWants("drip"):
		drip(s.conn(), s.server.done)
		return io.EOF
	case s.anyWants("garbage"):
		_, _ = fmt.Fprint(s.conn(), "<html>login to continue</html>\r\n")
		s.conn().Close()
		return io.EOF
	}
	sum := sha256.Sum256(raw)
	return reply(250, smtp.EnhancedCode{2, 0, 0}, "Ok: queued as "+strings.ToUpper(hex.EncodeToString(sum[:5])))
}

// hang waits for the client to go. It reads, because nothing else would notice that.
func (s *session) hang() {
	c := s.conn()
	_ = c.SetReadDeadline(time.Now().Add(hangLimit))
	_, _ = io.Copy(io.Discard, c)
	c.Close()
}

// drip answers a byte a second, of a reply whose last line never comes (RFC 5321 section 4.2.1), until the client goes.
func drip(c net.Conn, done <-chan struct{}) {
	defer c.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	const line = "250-2.0.0 please wait\r\n"
	for i := range int(hangLimit / time.Second) {
		if _, err := c.Write([]byte{line[i%len(line)]}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// Reset is part of [smtp.Session].
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout is part of [smtp.Session].
func (s *session) Logout() error { return nil }

// greylisted says whether the message is put off once more.
func (s *SMTP) greylisted(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grey[id] >= greyTries {
		delete(s.grey, id)
		return false
	}
	if len(s.grey) >= greyKept {
		clear(s.grey)
	}
	s.grey[id]++
	return true
}
