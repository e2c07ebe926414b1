package deadletter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("CST", 8*3600))

func TestParseFilter(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := []struct {
		in   string
		want Filter
		bad  string // a word of the error
	}{
		{"", Filter{}, ""},
		{"channel=sms cause=isv.BUSINESS_LIMIT_CONTROL since=2h", Filter{Channel: "sms", Cause: "isv.BUSINESS_LIMIT_CONTROL", Since: ago(2 * time.Hour)}, ""},
		{"to=13800138000", Filter{To: "+8613800138000"}, ""},
		{"to=138****8000", Filter{To: "138****8000"}, ""},
		{"until=3d", Filter{Until: ago(72 * time.Hour)}, ""},
		{"since=2026-11-20", Filter{Since: time.Date(2026, 11, 20, 0, 0, 0, 0, now.Location())}, ""},
		{`cause="550 5.1.1"`, Filter{Cause: "550 5.1.1"}, ""},
		{"channel=sms\u3000tenant=acme", Filter{Channel: "sms", Tenant: "acme"}, ""},
		{"class=foo", Filter{}, "throttled"},
		{"channel", Filter{}, "channel"},
		{"chanel=sms", Filter{}, "chanel"},
		{"channel=", Filter{}, "channel="},
		{"since=yesterday", Filter{}, "yesterday"},
		{`cause="550`, Filter{}, "quote"},
	}
	for _, tt := range tests {
		got, err := ParseFilter(tt.in, now)
		if tt.bad != "" {
			bad, ok := errors.AsType[*schemas.Invalid](err)
			if !ok || !strings.Contains(err.Error(), tt.bad) || bad.Problems[0].Zh == "" {
				t.Errorf("%q: error %v, want one in both languages that names %q", tt.in, err, tt.bad)
			}
			continue
		}
		if err != nil || got.Channel != tt.want.Channel || got.Cause != tt.want.Cause || got.To != tt.want.To || got.Tenant != tt.want.Tenant ||
			!got.Since.Equal(tt.want.Since) || !got.Until.Equal(tt.want.Until) {
			t.Errorf("%q = %+v, %v", tt.in, got, err)
		}
	}
}

func TestFilterChooses(t *testing.T) {
	l := &schemas.DeadLetter{
		ID: "x", Time: now, Tenant: "acme", Channel: "sms", Cause: schemas.Cause{Code: "isv.X", Class: "config"},
		Delivery: &schemas.Delivery{Event: schemas.EventRef{ID: "e1", Source: "/erp", Type: "t"}, To: schemas.Recipient{Phone: "+8613800138000", Email: "wang@example.com"}},
	}
	for in, want := range map[string]bool{
		"": true, "channel=sms class=config event=e1 source=/erp type=t": true, "to=13800138000": true, "to=138****8000": true,
		"to=w***@example.com": true, "to=13800138001": false, "channel=mail": false, "since=1h": true, "until=1h": false, "event=e2": false,
	} {
		f, err := ParseFilter(in, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.matches(l); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add(`channel=sms cause="550 5.1.1" since=2h to=138****8000`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFilter(s, now)
		if err != nil {
			if _, ok := errors.AsType[*schemas.Invalid](err); !ok {
				t.Errorf("error %T", err)
			}
			return
		}
		if sub := got.subject(); strings.Count(sub, ".") != 5 || strings.ContainsAny(sub, " \t\r\n>") {
			t.Errorf("subject %q", sub)
		}
	})
}
