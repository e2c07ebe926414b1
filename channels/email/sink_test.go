package email

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// BenchmarkSink compares, over one connection to a server that throws mails away (Postfix's smtp-sink where it is
// installed), without TLS and login:
//
//	floor     the bytes of a mail made before, and the fewest round trips that SMTP has
//	channel   this channel, the mail made anew
//	go-mail   go-mail's Client.Send over a connection that it keeps
//	dial      this channel, a connection for each mail, left without a QUIT
//	go-mail dial  go-mail's DialAndSend, as its documentation shows it
//
// and once more where every round trip takes 10 ms, as from a data centre to a provider.
func BenchmarkSink(b *testing.B) {
	sink := sinkAddr(b)
	for _, far := range []time.Duration{0, 10 * time.Millisecond} {
		addr := sink
		if far > 0 {
			addr = distant(b, sink, far)
		}
		name := func(s string) string { return fmt.Sprint("rtt=", far, "/", s) }
		b.Run(name("floor"), func(b *testing.B) { benchFloor(b, addr) })
		b.Run(name("channel"), func(b *testing.B) { benchSink(b, addr, true) })
		b.Run(name("go-mail"), func(b *testing.B) { benchGoMail(b, addr) })
		b.Run(name("dial"), func(b *testing.B) { benchSink(b, addr, false) })
		b.Run(name("go-mail dial"), func(b *testing.B) { benchGoMailDial(b, addr) })
	}
}

func sinkAddr(b *testing.B) *net.TCPAddr {
	b.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	const program = "/usr/sbin/smtp-sink"
	if _, err := exec.LookPath(program); err == nil {
		ln.Close()
		cmd := exec.Command(program, addr.String(), "256")
		if syscall.Getuid() == 0 {
			cmd = exec.Command(program, "-u", "postfix", addr.String(), "256")
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		for range 100 {
			if c, err := net.Dial("tcp", addr.String()); err == nil {
				c.Close()
				return addr
			}
			time.Sleep(20 * time.Millisecond)
		}
		b.Fatal("smtp-sink does not listen")
	}
	b.Log("no smtp-sink here: a sink in Go, in this process")
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go goSink(c)
		}
	}()
	return addr
}

// goSink answers what a mail needs.
func goSink(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(s string) bool {
		_, err := w.WriteString(s + "\r\n")
		if err == nil && r.Buffered() == 0 {
			err = w.Flush()
		}
		return err == nil
	}
	ok := say("220 sink ESMTP")
	for ok {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return
		case bytes.HasPrefix(line, []byte("EHLO")):
			ok = say("250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
		case bytes.HasPrefix(line, []byte("DATA")):
			ok = say("354 go on")
			for ok && string(line) != ".\r\n" {
				line, err = r.ReadSlice('\n')
				ok = err == nil
			}
			ok = ok && say("250 2.0.0 Ok")
		default:
			ok = say("250 2.0.0 Ok")
		}
	}
}

// distant is a way to addr on which a round trip takes rtt.
func distant(b *testing.B, addr *net.TCPAddr, rtt time.Duration) *net.TCPAddr {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	// Each piece goes on its own time: a burst is late once, not once a piece.
	pass := func(to, from net.Conn) {
		type piece struct {
			due time.Time
			b   []byte
		}
		pieces := make(chan piece, 1024)
		go func() {
			defer to.Close()
			for p := range pieces {
				time.Sleep(time.Until(p.due))
				if _, err := to.Write(p.b); err != nil {
					return
				}
			}
		}()
		defer close(pieces)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(rtt / 2), buf[:n]}
		}
	}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.DialTCP("tcp", nil, addr)
			if err != nil {
				near.Close()
				return
			}
			go pass(far, near)
			go pass(near, far)
		}
	}()
	return ln.Addr().(*net.TCPAddr)
}

func sinkChannel(b *testing.B, addr *net.TCPAddr) *channel {
	b.Helper()
	s := sender(b)
	s.Config = Config{Host: "127.0.0.1", Port: addr.Port, TLS: "none", HELO: "erp.example.com", Connections: 1}
	s.Timeout = time.Minute
	s.addr = addr.String()
	ch := &channel{settings: s, pool: newPool(1)}
	b.Cleanup(func() { _ = ch.Close() })
	return ch
}

func benchSink(b *testing.B, addr *net.TCPAddr, keep bool) {
	ch := sinkChannel(b, addr)
	d := channeltest.Delivery(1)
	for b.Loop() {
		if _, err := ch.Send(context.Background(), d); err != nil {
			b.Fatal(err)
		}
		if !keep {
			ch.pool.forget()
		}
	}
}

func goMailClient(b *testing.B, addr *net.TCPAddr) *gomail.Client {
	b.Helper()
	client, err := gomail.NewClient("127.0.0.1", gomail.WithPort(addr.Port), gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithHELO("erp.example.com"))
	if err != nil {
		b.Fatal(err)
	}
	return client
}

func benchGoMailDial(b *testing.B, addr *net.TCPAddr) {
	ch := sinkChannel(b, addr)
	d := channeltest.Delivery(1)
	for b.Loop() {
		msg, _, err := ch.build(d, noon)
		if err != nil {
			b.Fatal(err)
		}
		if err := goMailClient(b, addr).DialAndSendWithContext(context.Background(), msg); err != nil {
			b.Fatal(err)
		}
	}
}

func benchGoMail(b *testing.B, addr *net.TCPAddr) {
	ch := sinkChannel(b, addr)
	d := channeltest.Delivery(1)
	client := goMailClient(b, addr)
	if err := client.DialWithContext(context.Background()); err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for b.Loop() {
		msg, _, err := ch.build(d, noon)
		if err != nil {
			b.Fatal(err)
		}
		if err := client.Send(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func benchFloor(b *testing.B, addr *net.TCPAddr) {
	m, err := sinkChannel(b, addr).compose(channeltest.Delivery(1), nil, noon)
	if err != nil {
		b.Fatal(err)
	}
	c, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	reply := func() {
		for {
			line, err := r.ReadString('\n')
			if err != nil || line[0] > '3' {
				b.Fatal(line, err)
			}
			if line[3] == ' ' {
				return
			}
		}
	}
	say := func(s string) {
		if _, err := io.WriteString(c, s); err != nil {
			b.Fatal(err)
		}
	}
	reply()
	say("EHLO erp.example.com\r\n")
	reply()
	envelope := "MAIL FROM:<erp@example.com>\r\nRCPT TO:<" + m.to.Address + ">\r\nDATA\r\n"
	mail := strings.ReplaceAll(string(m.raw), "\r\n.", "\r\n..") + "\r\n.\r\n"
	for b.Loop() {
		say(envelope)
		reply()
		reply()
		reply()
		say(mail)
		reply()
	}
}
