package email

import (
	"errors"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
)

// script is a mail server that plays one dialogue for each connection, in order; the last one is
// played for all that follow.
type script struct {
	ln    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns int
	mails int
}

// dialogue talks to one client; it returns to close the connection.
type dialogue func(s *script, c *textproto.Conn)

func play(t testing.TB, dialogues ...dialogue) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{ln: ln}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			s.mu.Lock()
			d := dialogues[min(s.conns, len(dialogues)-1)]
			s.conns++
			s.mu.Unlock()
			s.wg.Go(func() {
				defer c.Close()
				d(s, textproto.NewConn(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.wg.Wait()
	})
	return s
}

func (s *script) counts() (conns, mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns, s.mails
}

// speak answers each verb with its reply from replies, else with what a good server says. A reply
// of "" breaks the connection; "." stands for the final dot, "220" for the greeting.
func speak(extensions string, replies map[string]string) dialogue {
	return func(s *script, c *textproto.Conn) {
		answer := func(verb, good string) bool {
			r, ok := replies[verb]
			if !ok {
				r = good
			}
			return r != "" && c.PrintfLine("%s", r) == nil
		}
		if !answer("220", "220 far.example.com ESMTP") {
			return
		}
		for {
			line, err := c.ReadLine()
			if err != nil {
				return
			}
			verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
			good := "250 2.0.0 Ok"
			switch verb {
			case "EHLO":
				good = "250-far.example.com\r\n"
				for _, e := range strings.Fields(extensions) {
					good += "250-" + strings.ReplaceAll(e, "=", " ") + "\r\n"
				}
				good += "250 HELP"
			case "DATA":
				good = "354 go on"
			case "AUTH":
				good = "235 2.7.0 Ok"
			case "QUIT":
				good = "221 2.0.0 Bye"
			}
			if !answer(verb, good) || verb == "QUIT" {
				return
			}
			if verb == "DATA" && (replies["DATA"] == "" || strings.HasPrefix(replies["DATA"], "354")) {
				if _, err := c.ReadDotBytes(); err != nil {
					return
				}
				s.mu.Lock()
				s.mails++
				s.mu.Unlock()
				if !answer(".", "250 2.0.0 Ok: queued as 4F2A") {
					return
				}
			}
		}
	}
}

// openScript opens a channel without TLS and login, unless change says so.
func openScript(t testing.TB, s *script, change func(*Config)) channels.Channel {
	t.Helper()
	addr := s.ln.Addr().(*net.TCPAddr)
	c := Config{Host: "127.0.0.1", Port: addr.Port, TLS: "none", From: "ERP <erp@example.com>", HELO: "erp.example.com"}
	dir := t.TempDir()
	write(t, dir, "password", []byte(password))
	if change != nil {
		change(&c)
	}
	ch, err := New(channels.Env{Name: "test", Dir: dir, Log: zap.NewNop()}, func(into any) error { *into.(*Config) = c; return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ch.Close(); err != nil {
			t.Error(err)
		}
	})
	return ch
}

func failure(t *testing.T, err error) *channels.Failure {
	t.Helper()
	f, ok := errors.AsType[*channels.Failure](err)
	if !ok {
		t.Fatalf("Send = %v, want a *channels.Failure", err)
	}
	return f
}
