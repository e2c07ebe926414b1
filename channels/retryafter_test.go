package channels

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"120", 2 * time.Minute},
		{" 7 ", 7 * time.Second},
		{"86401", 24 * time.Hour},
		{"99999999999999999999999", 24 * time.Hour},
		{"-5", 0},
		{"1.5", 0},
		{"soon", 0},
		{"Mon, 23 Nov 2026 09:00:30 GMT", 30 * time.Second},
		{"Monday, 23-Nov-26 09:00:30 GMT", 30 * time.Second}, // RFC 850, which recipients must accept
		{"Mon Nov 23 09:00:30 2026", 30 * time.Second},       // asctime, likewise
		{"Mon, 23 Nov 2026 08:00:00 GMT", 0},
		{"Mon, 23 Nov 2096 08:00:00 GMT", 24 * time.Hour},
	} {
		if got := RetryAfter(c.header, now); got != c.want {
			t.Errorf("RetryAfter(%q) = %v, want %v", c.header, got, c.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, s := range []string{"", "1", "120", "9223372036854775808", "-1", "Mon, 23 Nov 2026 09:00:30 GMT", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := RetryAfter(s, now)
		if got < 0 || got > 24*time.Hour {
			t.Fatalf("RetryAfter(%q) = %v, outside 0…24h", s, got)
		}
		// What it reads, it reads the same when written in either form.
		secs := got.Truncate(time.Second)
		if again := RetryAfter(strconv.Itoa(int(secs/time.Second)), now); again != secs {
			t.Fatalf("seconds: %v became %v", secs, again)
		}
		if again := RetryAfter(now.Add(secs).Format(http.TimeFormat), now); again != secs {
			t.Fatalf("date: %v became %v", secs, again)
		}
	})
}
