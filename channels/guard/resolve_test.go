package guard_test

import (
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/guard"
)

// Who connects for us gets an address that was judged, never the name.
func TestResolve(t *testing.T) {
	check := guard.New(guard.Public)
	dns := channeltest.StartDNS(t, channeltest.Zone{
		"two.example": {"A 10.0.0.1", "A 8.8.8.8"}, "inner.example": {"A 192.168.1.1"},
	}).Resolver()
	if at, err := guard.Resolve(t.Context(), dns, check, "two.example", 443); err != nil || at.String() != "8.8.8.8:443" {
		t.Errorf("two.example = %v, %v; want the public address", at, err)
	}
	for _, c := range []struct {
		host string
		port uint16
		code string
	}{
		{"inner.example", 443, "dispatcher:blocked-address"},
		{"none.example", 443, "net:dns-nxdomain"},
		{"127.0.0.1", 443, "dispatcher:blocked-address"},
		{"::ffff:127.0.0.1", 443, "dispatcher:blocked-address"},
		{"two.example", 22, "dispatcher:blocked-port"},
	} {
		_, err := guard.Resolve(t.Context(), dns, check, c.host, c.port)
		if err == nil || channels.FromNet("webhook", "generic", err, false).Code != c.code {
			t.Errorf("%s port %d: %v, want %s", c.host, c.port, err, c.code)
		}
	}
}
