package channeltest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Nameserver answers questions for IPv4 addresses on loopback until t ends: answer is given the name
// without its last dot and how often it was asked before, and returns the addresses; none means that there is no
// such name. Names have no IPv6 addresses.
func Nameserver(t *testing.T, answer func(name string, asked int) []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { serveNames(conn, answer) })
	t.Cleanup(func() { conn.Close(); served.Wait() })
	server := conn.LocalAddr().String()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server)
	}}
}

func serveNames(conn net.PacketConn, answer func(name string, asked int) []string) {
	asked := map[string]int{}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		q := m.Questions[0]
		name := strings.TrimSuffix(q.Name.String(), ".")
		var addresses []string
		if q.Type == dnsmessage.TypeA {
			addresses = answer(name, asked[name])
			asked[name]++
			for _, a := range addresses {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
				})
			}
		}
		if len(addresses) == 0 && q.Type == dnsmessage.TypeA {
			m.RCode = dnsmessage.RCodeNameError
		}
		if b, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(b, from)
		}
	}
}
