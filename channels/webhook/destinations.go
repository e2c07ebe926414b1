package webhook

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/guard"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Destinations lets events say where a message goes, within bounds.
type Destinations struct {
	// Hosts are the names that an event's address may have: "api.example.com", or "*.example.com" for
	// every name below example.com. IP addresses are never allowed.
	Hosts []string `yaml:"hosts"`
}

const maxHosts = 1000

// check refuses patterns that would let an event choose anything.
func (d Destinations) check() error {
	if len(d.Hosts) > maxHosts {
		return channels.BadSetting("destinations/hosts", "最多 1000 个主机名", "at most 1000 hosts")
	}
	for _, h := range d.Hosts {
		name := strings.TrimPrefix(h, "*.")
		if !isHost(name) || !strings.Contains(name, ".") {
			return channels.BadSetting("destinations/hosts",
				"“"+h+"”应为完整的主机名，或 *. 加至少两级域名，小写，不含端口，不能是 IP 地址",
				"\""+h+"\" is neither a full host name nor *. and a domain of two parts or more, in lower case, without a port; IP addresses are not allowed")
		}
	}
	return nil
}

// isHost says whether s is a host name of letters, digits and hyphens, and no IP address.
func isHost(s string) bool {
	if s == "" || len(s) > 253 || net.ParseIP(s) != nil || strings.Trim(s[strings.LastIndexByte(s, '.')+1:], "0123456789") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// isPort says whether s can be the port of an address; "" is the scheme's own.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// chosen is the address that an event gave, or why it cannot be used. The reason names the host only.
func (d *Destinations) chosen(given string) (*url.URL, *channels.Failure) {
	refuse := func(line string) (*url.URL, *channels.Failure) {
		return nil, &channels.Failure{Kind: kind, Provider: provider, Code: "dispatcher:bad-destination", Class: channels.BadTarget, Line: channels.Line(line)}
	}
	u, err := url.Parse(given)
	switch {
	case d == nil:
		return refuse("the event gives an address, and this channel takes none from events")
	case err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || !isPort(u.Port()):
		return refuse("the event's address is not a complete https address")
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if !isHost(host) || !slices.ContainsFunc(d.Hosts, func(p string) bool { return guard.Covers(p, host) }) {
		return refuse("host " + host + " is not among destinations.hosts")
	}
	port := u.Port()
	if u.Host = host; port != "" && port != "443" {
		u.Host = net.JoinHostPort(host, port)
	}
	u.Fragment = ""
	return u, nil
}

// Destination is the host of an address that the event gave, "" for the channel's own.
func (c *Channel) Destination(d *schemas.Delivery) string {
	if d.To.URL == "" {
		return ""
	}
	u, f := c.destinations.chosen(d.To.URL)
	if f != nil {
		return ""
	}
	return u.Host
}
