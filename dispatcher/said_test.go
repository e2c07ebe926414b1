package dispatcher

import (
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
)

// What stopped the calls is shown in traces, masked: a code must not turn into what looks like a number there.
func TestSaidKeepsTheCodeLegible(t *testing.T) {
	for _, tt := range []struct{ code, line, want string }{
		{"http:503", "503 Service Unavailable: busy", "http:503 Service Unavailable: busy"},
		{"421 4.3.2", "421 4.3.2 shutting down", "421 4.3.2 shutting down"},
		{"net:refused", "dial tcp: connection refused", "net:refused dial tcp: connection refused"},
		{"93000", "invalid webhook url", "93000 invalid webhook url"},
	} {
		if got := channels.Line(said(&channels.Failure{Code: tt.code, Line: tt.line})); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.code, got, tt.want)
		}
	}
}
