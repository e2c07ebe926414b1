package guard

import (
	"context"
	"net"
	"net/netip"
	"strconv"
)

// Resolve looks a host up and returns its first address that check allows: for a connection that
// somebody else makes, a proxy, who must be given the address that was judged and not the name. The error is
// the resolver's, or the check's on the last address.
func Resolve(ctx context.Context, r *net.Resolver, check Control, host string, port uint16) (netip.AddrPort, error) {
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	for _, ip := range ips {
		ip = ip.Unmap() // a resolver may write an IPv4 address as an IPv6 one; the dialer takes it for the former
		network := "tcp6"
		if ip.Is4() {
			network = "tcp4"
		}
		if err = check(network, net.JoinHostPort(ip.String(), strconv.Itoa(int(port))), nil); err == nil {
			return netip.AddrPortFrom(ip, port), nil
		}
	}
	return netip.AddrPort{}, err
}
