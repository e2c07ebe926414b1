package channeltest_test

import (
	"testing"

	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// A name that changes its address does so once for each question, and not for questions of another type.
func TestDNSThen(t *testing.T) {
	dns := channeltest.StartDNS(t, channeltest.Zone{"rebind.example": {"A 192.0.2.1", "THEN", "A 192.0.2.2", "THEN", "A 192.0.2.3", "TXT last"}})
	r := dns.Resolver()
	ask := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got, err := r.LookupNetIP(t.Context(), "ip4", "Rebind.example"); err != nil || len(got) != 1 || got[0].Unmap().String() != w {
				t.Errorf("asked = %v, %v; want %s", got, err, w)
			}
		}
	}
	ask("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.3")
	if got, err := r.LookupTXT(t.Context(), "rebind.example"); err == nil {
		t.Errorf("the first question for a TXT = %q, want none", got)
	}
	dns.Set("rebind.example", "A 192.0.2.4", "THEN", "A 192.0.2.5")
	ask("192.0.2.4", "192.0.2.5")
}
