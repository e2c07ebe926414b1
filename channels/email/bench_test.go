package email

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	gomail "github.com/wneessen/go-mail"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

// benchServer is a stand-in with implicit TLS and a login, as providers want it.
func benchServer(b *testing.B) (srv *sandbox.SMTP, dir string, port int) {
	b.Helper()
	srv, err := sandbox.StartSMTP(sandbox.SMTPConfig{TLS: "implicit", Username: user, Password: password}, func(sandbox.Item) {})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = srv.Close() })
	dir = b.TempDir()
	write(b, dir, "ca.pem", srv.CACertPEM())
	write(b, dir, "password", []byte(password))
	_, p, _ := net.SplitHostPort(srv.Addr().String())
	port, _ = strconv.Atoi(p)
	return srv, dir, port
}

func benchChannel(b *testing.B) *channel {
	b.Helper()
	_, dir, port := benchServer(b)
	ch, err := New(channels.Env{Dir: dir, Log: zap.NewNop()}, func(into any) error {
		*into.(*Config) = Config{
			Host: "127.0.0.1", Port: port, Username: user, PasswordFile: "password", CAFile: "ca.pem", From: "ERP 通知 <erp@example.com>",
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ch.Close() })
	return ch.(*channel)
}

// BenchmarkSend is the channel with its kept connections.
func BenchmarkSend(b *testing.B) {
	ch := benchChannel(b)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := ch.Send(context.Background(), channeltest.Delivery(int(n.Add(1)))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkGoMailDialAndSend is go-mail as its documentation shows it: a connection for each mail.
func BenchmarkGoMailDialAndSend(b *testing.B) {
	ch := benchChannel(b)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			msg, _, err := ch.build(channeltest.Delivery(int(n.Add(1))), noon)
			if err != nil {
				b.Error(err)
				return
			}
			client, err := gomail.NewClient("127.0.0.1", gomail.WithPort(ch.Port), gomail.WithSSL(), gomail.WithTLSConfig(ch.tls),
				gomail.WithSMTPAuth(gomail.SMTPAuthPlain), gomail.WithUsername(user), gomail.WithPassword(password))
			if err != nil {
				b.Error(err)
				return
			}
			if err := client.DialAndSendWithContext(context.Background(), msg); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBuild is the mail alone.
func BenchmarkBuild(b *testing.B) {
	s, d := sender(b), channeltest.Delivery(1)
	for b.Loop() {
		if _, _, err := s.build(d, noon); err != nil {
			b.Fatal(err)
		}
	}
}
