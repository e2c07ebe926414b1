package channeltest

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone is what a [DNS] answers: the records of a name (lower case, without the last dot), each written as "A 127.0.0.1",
// "AAAA ::1", "MX mx.example.com", "TXT v=spf1 -all", "CNAME other.example.com". A name that is not there does not
// exist; one whose only record is "SERVFAIL" is answered with a failure, and with "DROP" not at all.
//
// A record "THEN" parts what a name has the first time it is asked from what it has the next time: the last part
// stays. Questions of different types are counted apart, since a resolver asks them in any order.
type Zone map[string][]string

const then = "THEN"

// DNS is a name server on loopback, over UDP.
type DNS struct {
	conn  net.PacketConn
	mu    sync.Mutex
	zone  Zone
	asked map[question]int // how often, for the names with a THEN
	wg    sync.WaitGroup
}

type question struct {
	name string
	typ  dnsmessage.Type
}

// StartDNS starts a name server; it ends with the test.
func StartDNS(t testing.TB, zone Zone) *DNS {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &DNS{conn: conn, zone: zone, asked: make(map[question]int)}
	d.wg.Go(d.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		d.wg.Wait()
	})
	return d
}

// Addr is the server's host:port.
func (d *DNS) Addr() string { return d.conn.LocalAddr().String() }

// Set replaces the records of a name, which begins with its first part; none removes it.
func (d *DNS) Set(name string, records ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.zone, name)
	maps.DeleteFunc(d.asked, func(q question, _ int) bool { return q.name == name })
	if len(records) > 0 {
		d.zone[name] = records
	}
}

// Resolver asks this server alone.
func (d *DNS) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", d.Addr())
	}}
}

func (d *DNS) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := d.answer(buf[:n]); answer != nil {
			_, _ = d.conn.WriteTo(answer, from)
		}
	}
}

// records are those of a name at this question; false when there is no such name.
func (d *DNS) records(name string, typ dnsmessage.Type) ([]string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records, ok := d.zone[name]
	q := question{name, typ}
	for range d.asked[q] {
		if i := slices.Index(records, then); i >= 0 {
			records = records[i+1:]
		}
	}
	if i := slices.Index(records, then); i >= 0 {
		d.asked[q]++
		records = records[:i]
	}
	return records, ok
}

func (d *DNS) answer(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}
	m.Additionals = nil
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	records, ok := d.records(name, q.Type)
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range records {
		switch kind, value, _ := strings.Cut(r, " "); {
		case kind == "DROP":
			return nil
		case kind == "SERVFAIL":
			m.RCode = dnsmessage.RCodeServerFailure
		default:
			if body, typ := resource(kind, value); typ == q.Type || typ == dnsmessage.TypeCNAME {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: typ, Class: dnsmessage.ClassINET, TTL: 1}, Body: body,
				})
			}
		}
	}
	out, err := m.Pack()
	if err != nil {
		panic(err) // a zone that a test has written wrong
	}
	return out
}

func resource(kind, value string) (dnsmessage.ResourceBody, dnsmessage.Type) {
	name := func() dnsmessage.Name { return dnsmessage.MustNewName(strings.TrimSuffix(value, ".") + ".") }
	switch kind {
	case "A":
		return &dnsmessage.AResource{A: netip.MustParseAddr(value).As4()}, dnsmessage.TypeA
	case "AAAA":
		return &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(value).As16()}, dnsmessage.TypeAAAA
	case "MX":
		return &dnsmessage.MXResource{Pref: 10, MX: name()}, dnsmessage.TypeMX
	case "CNAME":
		return &dnsmessage.CNAMEResource{CNAME: name()}, dnsmessage.TypeCNAME
	case "TXT":
		var parts []string
		for len(value) > 255 {
			parts, value = append(parts, value[:255]), value[255:]
		}
		return &dnsmessage.TXTResource{TXT: append(parts, value)}, dnsmessage.TypeTXT
	}
	panic("channeltest: unknown record " + kind)
}
