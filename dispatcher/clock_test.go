package dispatcher

import (
	"testing"
	"time"
)

func TestSkewIsZeroWithinTheRoundTrip(t *testing.T) {
	before := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	after := before.Add(time.Second)
	for at, want := range map[time.Duration]time.Duration{
		0: 0, 500 * time.Millisecond: 0, time.Second: 0, 4 * time.Second: 3 * time.Second, -3 * time.Second: -3 * time.Second,
	} {
		if got := skew(before, after, before.Add(at)); got != want {
			t.Errorf("broker's clock at %s: skew %s, want %s", at, got, want)
		}
	}
	if got := skew(before, after, time.Time{}); got != 0 {
		t.Errorf("an old server without a time: %s", got)
	}
}
