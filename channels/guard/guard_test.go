package guard

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

func TestGuard(t *testing.T) {
	const all, some, none = "public sandbox private", "private", ""
	for _, c := range []struct{ address, allowed string }{
		{"8.8.8.8:443", all},
		{"[2400:3200::1]:443", all},
		{"8.8.8.8:22", "sandbox private"}, // port
		{"127.0.0.1:443", "sandbox private"},
		{"127.9.9.9:8080", "sandbox private"},
		{"[::1]:443", "sandbox private"},
		{"10.0.0.1:443", some},
		{"172.16.0.1:443", some},
		{"192.168.1.1:8123", some},
		{"[fd12:3456::1]:443", some},
		{"0.0.0.0:443", none},
		{"169.254.169.254:80", none},
		{"169.254.0.23:80", none},
		{"100.100.100.200:80", none},
		{"100.64.0.1:443", none},
		{"[fd00:ec2::254]:80", none},
		{"[fe80::1]:443", none},
		{"[fe80::1%eth0]:443", none},
		{"[::ffff:127.0.0.1]:443", none},
		{"[::ffff:7f00:1]:443", none},
		{"[::ffff:169.254.169.254]:80", none},
		{"[64:ff9b::7f00:1]:443", none},
		{"[2002:7f00:1::]:443", none},
		{"198.18.0.1:443", none},
		{"224.0.0.1:443", none},
		{"255.255.255.255:443", none},
		{"203.0.113.7:443", none},
		{"nonsense", none},
	} {
		for name, r := range map[string]Reach{"public": Public, "sandbox": PublicAndMe, "private": Everywhere} {
			network := "tcp4"
			if strings.HasPrefix(c.address, "[") {
				network = "tcp6"
			}
			err := New(r)(network, c.address, nil)
			if want := strings.Contains(c.allowed, name); (err == nil) != want {
				t.Errorf("%s, %s: %v, want allowed %v", c.address, name, err, want)
			}
		}
	}
}

// A number is no IPv4 address for Go: it goes to the resolver as a name, here one that knows none.
func TestNumbersAreNames(t *testing.T) {
	dns := channeltest.StartDNS(t, channeltest.Zone{}).Resolver()
	for _, host := range []string{"2130706433", "0x7f000001", "0177.0.0.1"} {
		if _, err := dial(t.Context(), dns, host); err == nil {
			t.Errorf("%s: connected", host)
		}
	}
}

// A name may have any addresses: each is judged when it is connected to.
func TestNamesWithInnerAddresses(t *testing.T) {
	dns := channeltest.StartDNS(t, channeltest.Zone{"rebind.example": {"A 127.0.0.1", "A 10.0.0.1", "A 8.8.8.8"}}).Resolver()
	tried, err := dial(t.Context(), dns, "rebind.example")
	if !slices.Equal(tried, []string{"8.8.8.8:443"}) {
		t.Errorf("tried %v (%v), want the public address only", tried, err)
	}
}

var errPassed = errors.New("passed the guard") // instead of a connection to the outside

// dial connects to host through the guard, with names resolved by dns, and returns what passed.
func dial(ctx context.Context, dns *net.Resolver, host string) (passed []string, err error) {
	var mu sync.Mutex
	check := New(Public)
	d := net.Dialer{
		Timeout:  5 * time.Second,
		Resolver: dns,
		Control: func(network, address string, c syscall.RawConn) error {
			if err := check(network, address, c); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, address)
			return errPassed
		},
	}
	conn, err := d.DialContext(ctx, "tcp", host+":443")
	if err == nil {
		conn.Close()
	}
	return passed, err
}

func TestNoProxyAndOldTLS(t *testing.T) {
	tr := NewTransport(New(Public), nil, 1, time.Second)
	if tr.Proxy != nil {
		t.Error("a proxy from the environment would hide the address from the guard")
	}
	if tr.TLSClientConfig.MinVersion < 0x0303 || tr.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("TLS = %+v, want 1.2 or newer, verified", tr.TLSClientConfig)
	}
}
