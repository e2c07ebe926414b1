package webhook

import (
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// Every way to write an inner address in a URL ends at the guard, or nowhere.
func TestSendReachesNoInnerAddress(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.100.100.200", "[::1]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "127.0.0.1:22",
	} {
		ch := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://"+host+"/hook\n")
		_, err := ch.Send(t.Context(), channeltest.Delivery(1))
		f := channels.Explain(err)
		if f.Class != channels.Config || f.Maybe || f.Code != "dispatcher:blocked-address" && f.Code != "dispatcher:blocked-port" {
			t.Errorf("%s: %+v, want a blocked address", host, f)
		}
	}
}
