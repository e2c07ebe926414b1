// Package guard keeps outbound connections off internal addresses.
//
// An address that comes from an event, or whose name somebody else's DNS answers for, is checked when it is
// connected to: after the name has been resolved, so that nothing can change between the check and the use.
package guard

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/yizhan-dev/yizhan/channels"
)

const (
	connectTimeout = 5 * time.Second
	maxHeader      = 64 << 10
)

// metadata are the addresses where clouds hand out credentials of this machine: never a receiver's.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),     // AWS, Azure, GCP, Tencent Cloud, Huawei Cloud
	netip.MustParsePrefix("100.100.100.200/32"), // Aliyun
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS over IPv6
	netip.MustParsePrefix("fe80::/10"),
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
	// Networks of a company: RFC 1918, and RFC 4193 for IPv6. 100.64.0.0/10 is not among them: it is
	// the carriers', and Aliyun's metadata lies in it.
	private4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), loopback4,
	}
	private6 = []netip.Prefix{netip.MustParsePrefix("fc00::/7"), loopback6}
)

// Reach is how far a connection may go. Cloud metadata is out of reach for all.
type Reach int

// The reaches.
const (
	Public      Reach = iota // addresses of the public internet, on ports 443, 80 and 8443
	PublicAndMe              // and loopback, where the sandbox is, on any port
	Everywhere               // and private networks, on any port
)

// Control is a [net.Dialer]'s Control: it sees the address that is really connected to, after DNS, so
// that no name can be changed between the check and the use.
type Control func(network, address string, _ syscall.RawConn) error

// New makes the guard for a reach. What it refuses is an error of code.dny.dev/ssrf, which
// channels.FromNet reads.
func New(r Reach) Control {
	options := []ssrf.Option{ssrf.WithPorts(443, 80, 8443)}
	switch r {
	case PublicAndMe:
		options = []ssrf.Option{ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(loopback4), ssrf.WithAllowedV6Prefixes(loopback6)}
	case Everywhere:
		options = []ssrf.Option{ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(private4...), ssrf.WithAllowedV6Prefixes(private6...)}
	}
	library := ssrf.New(options...)
	return func(network, address string, conn syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err == nil {
			ip := at.Addr().Unmap().WithZone("")
			if slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(ip) }) {
				return fmt.Errorf("%w: %s is an address for cloud metadata", ssrf.ErrProhibitedIP, ip)
			}
		}
		return library.Safe(network, address, conn)
	}
}

// NewTransport makes a transport that connects where the guard allows and nowhere else. No proxy:
// through one, the guard would see the proxy's address only. conns bounds the connections to one host,
// answer is how long the header of an answer may take; roots nil are the system's.
func NewTransport(check Control, roots *x509.CertPool, conns int, answer time.Duration) channels.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: check}
	return channels.NewTransport(&http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  answer,
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // the bound on an answer is then a bound on memory
	})
}
