package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// pour answers as speak does, but at one step gives bytes without an end, one every interval (0: as fast as they go).
func pour(at, extensions, bytes string, every time.Duration) dialogue {
	return func(s *script, c *textproto.Conn) {
		forever := func() {
			for i := 0; ; i++ {
				if _, err := io.WriteString(c.W, string(bytes[i%len(bytes)])); err != nil {
					return
				}
				if every > 0 {
					if c.W.Flush() != nil {
						return
					}
					<-time.After(every)
				}
			}
		}
		reply := func(step, line string) bool {
			if step == at {
				forever()
				return false
			}
			return c.PrintfLine("%s", line) == nil
		}
		if !reply("220", "220 far.example.com ESMTP") {
			return
		}
		for {
			line, err := c.ReadLine()
			if err != nil {
				return
			}
			switch verb, _, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				if !reply("EHLO", "250-far.example.com\r\n250 "+extensions) {
					return
				}
			case "DATA":
				if !reply("DATA", "354 go on") {
					return
				}
				if _, err := c.ReadDotBytes(); err != nil || !reply(".", "250 2.0.0 Ok") {
					return
				}
			default:
				if !reply(verb, "250 2.0.0 Ok") {
					return
				}
			}
		}
	}
}

var steps = []string{"220", "EHLO", "MAIL", "RCPT", "DATA", "."}

// A server that answers byte by byte holds an attempt for its time and no longer, at every step, whether the time is
// the caller's or the channel's.
func TestSlowDrip(t *testing.T) {
	var wg sync.WaitGroup // they wait together: none of them works
	for _, extensions := range []string{"8BITMIME", "PIPELINING"} {
		for _, at := range steps {
			for _, limit := range []time.Duration{300 * time.Millisecond, 0} { // the caller's, else the channel's
				s := play(t, pour(at, extensions, "250-and so on\r\n", 20*time.Millisecond))
				ch := openScript(t, s, func(c *Config) { c.Timeout = time.Second })
				ctx, cancel := context.WithCancel(t.Context())
				if limit > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), limit)
				}
				defer cancel()
				wg.Go(func() {
					begun := time.Now()
					_, err := ch.Send(ctx, channeltest.Delivery(1))
					took := time.Since(begun)
					f, ok := errors.AsType[*channels.Failure](err)
					late := ok && strings.HasPrefix(f.Code, "net:timeout") && f.Maybe == (at == ".") && (f.Class == channels.Unknown) == (at == ".")
					if at == "220" { // "250-" is no greeting: refused by its first bytes
						late = ok && !f.Maybe
					}
					if !late || took > 4*time.Second {
						t.Errorf("%s, at %s, limit %v: %v after %v", extensions, at, limit, err, took)
					}
				})
			}
		}
	}
	wg.Wait()
}

// A TLS handshake that never gets on ends in time too.
func TestSlowHandshake(t *testing.T) {
	s := play(t, func(_ *script, c *textproto.Conn) {
		_, _ = io.WriteString(c.W, "\x16\x03\x03\x3f\xff")
		for c.W.WriteByte(0) == nil && c.W.Flush() == nil {
			<-time.After(20 * time.Millisecond)
		}
	})
	ch := openScript(t, s, func(c *Config) { c.TLS, c.Timeout = "implicit", time.Second })
	begun := time.Now()
	_, err := ch.Send(t.Context(), channeltest.Delivery(1))
	if f := failure(t, err); time.Since(begun) > 4*time.Second || f.Maybe || f.Class == channels.Unknown {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// A server that never stops talking does not fill the memory.
func TestEndlessReply(t *testing.T) {
	for _, at := range steps[1:] {
		s := play(t, pour(at, "PIPELINING", "250-and so on\r\n", 0))
		ch := openScript(t, s, func(c *Config) { c.Timeout = time.Minute })
		begun := time.Now()
		_, err := ch.Send(t.Context(), channeltest.Delivery(1))
		if f := failure(t, err); f.Maybe != (at == ".") || time.Since(begun) > 20*time.Second || len(f.Line) > 1100 {
			t.Errorf("%s: %v after %v", at, err, time.Since(begun))
		}
	}
}

// heard is a server that writes down the commands; answers may replace what it says.
func heard(extensions string, answers map[string]string) (dialogue, func() []string) {
	var mu sync.Mutex
	var lines []string
	d := func(s *script, c *textproto.Conn) {
		_ = c.PrintfLine("220 far.example.com ESMTP")
		for {
			line, err := c.ReadLine()
			if err != nil {
				return
			}
			mu.Lock()
			lines = append(lines, line)
			mu.Unlock()
			verb, _, _ := strings.Cut(line, " ")
			says, ok := answers[verb]
			switch {
			case ok:
			case verb == "EHLO":
				says = "250-far.example.com\r\n250 " + extensions
			case verb == "DATA":
				says = "354 go on"
			default:
				says = "250 2.0.0 Ok"
			}
			if c.PrintfLine("%s", says) != nil {
				return
			}
			if strings.HasPrefix(says, "354") {
				if _, err := c.ReadDotBytes(); err != nil {
					return
				}
				mu.Lock()
				lines = append(lines, ".")
				mu.Unlock()
				s.mu.Lock()
				s.mails++
				s.mu.Unlock()
				_ = c.PrintfLine("250 2.0.0 Ok")
			}
		}
	}
	return d, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), lines...)
	}
}

// With PIPELINING each command keeps its own reply: what is refused first is what failed, and a server that wants the
// mail in spite of it does not get one.
func TestPipelining(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		code    string
		class   channels.Class
		conns   int // of two mails
	}{
		{"sender refused", map[string]string{"MAIL": "501 5.1.7 bad", "RCPT": "503 5.5.1 MAIL first", "DATA": "503 5.5.1 RCPT first"}, "501 5.1.7", channels.Config, 1},
		{"recipient refused", map[string]string{"RCPT": "550 5.1.1 unknown", "DATA": "554 5.5.1 no valid recipients"}, "550 5.1.1", channels.BadTarget, 1},
		{"recipient refused, the mail wanted", map[string]string{"RCPT": "550 5.1.1 unknown"}, "550 5.1.1", channels.BadTarget, 2},
		{"sender refused, all else taken", map[string]string{"MAIL": "451 4.3.0 later"}, "451 4.3.0", channels.Temporary, 2},
		{"DATA refused", map[string]string{"DATA": "554 5.7.1 no"}, "554 5.7.1", channels.Permanent, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := heard("PIPELINING", tt.answers)
			s := play(t, d)
			ch := openScript(t, s, nil)
			for range 2 {
				_, err := ch.Send(t.Context(), channeltest.Delivery(1))
				if f := failure(t, err); f.Code != tt.code || f.Class != tt.class || f.Maybe {
					t.Errorf("got %q %q maybe %v, want %q %q", f.Code, f.Class, f.Maybe, tt.code, tt.class)
				}
			}
			if conns, mails := s.counts(); conns != tt.conns || mails != 0 {
				t.Errorf("%d connections, %d mails taken; want %d and none", conns, mails, tt.conns)
			}
		})
	}
}

// With PIPELINING the envelope is one round trip: this server answers nothing until it has all of it.
func TestEnvelopeGoesTogether(t *testing.T) {
	s := play(t, func(_ *script, c *textproto.Conn) {
		_ = c.PrintfLine("220 far.example.com ESMTP")
		_, _ = c.ReadLine()
		_ = c.PrintfLine("250-far.example.com\r\n250 PIPELINING")
		for range 3 {
			if _, err := c.ReadLine(); err != nil {
				return
			}
		}
		_ = c.PrintfLine("250 Ok\r\n250 Ok\r\n354 go on")
		_, _ = c.ReadDotBytes()
		_ = c.PrintfLine("250 Ok")
	})
	ch := openScript(t, s, func(c *Config) { c.Timeout = 5 * time.Second })
	if _, err := ch.Send(t.Context(), channeltest.Delivery(1)); err != nil {
		t.Error(err)
	}
}

// The words of a mail are the same with and without PIPELINING, and a kept connection greets once.
func TestCommands(t *testing.T) {
	for name, ehlo := range map[string]string{"one by one": "250-far\r\n250 8BITMIME", "together": "250-far\r\n250-PIPELINING\r\n250 8BITMIME"} {
		d, lines := heard("", map[string]string{"EHLO": ehlo})
		ch := openScript(t, play(t, d), nil)
		for n := range 2 {
			if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
				t.Fatal(err)
			}
		}
		const mail = "MAIL FROM:<erp@example.com> BODY=8BITMIME|RCPT TO:<wang.canary@example.com>|DATA|."
		if got, want := strings.Join(lines(), "|"), fmt.Sprintf("EHLO erp.example.com|%s|%s", mail, mail); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}
