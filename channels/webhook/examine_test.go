package webhook

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// examine takes the steps of a channel and returns them.
func examine(t *testing.T, ch *Channel) (steps []channels.Step) {
	t.Helper()
	ch.Examine(t.Context(), &channels.Examination{
		Resolver: net.DefaultResolver, Limit: 5 * time.Second, Now: time.Now,
		Report: func(s channels.Step) { steps = append(steps, s) },
	})
	return steps
}

func TestExamine(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.URL.Path)
	}))
	t.Cleanup(server.Close)
	bad := func(steps []channels.Step) *channels.Step {
		for i, s := range steps {
			if s.Level == channels.Bad {
				return &steps[i]
			}
		}
		return nil
	}
	standard := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\nurl: "+server.URL+"/hook\n")
	if steps := examine(t, standard); len(steps) < 3 || bad(steps) != nil {
		t.Errorf("a receiver: %+v", steps)
	}
	robot := openRobot(t, "wecom", "url: "+server.URL+"/cgi-bin/webhook/send?key=token7391")
	if steps := examine(t, robot.Channel); bad(steps) != nil || steps[len(steps)-1].ID != "robot" || steps[len(steps)-1].Level != channels.Unseen {
		t.Errorf("a robot: %+v", steps)
	}
	mu.Lock()
	if got := strings.Join(asked, ", "); got != "OPTIONS /hook, HEAD /" {
		t.Errorf("asked %s: a robot posts what its address gets", got)
	}
	mu.Unlock()
	inner := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://10.0.0.1/hook\n")
	if s := bad(examine(t, inner)); s == nil || s.Failure == nil || s.Failure.Code != "dispatcher:blocked-address" {
		t.Errorf("an inner address: %+v", s)
	}
	p := startProxy(t)
	p.status = http.StatusForbidden
	proxied := mustOpen(t, channels.Env{}, "kind: webhook\nurl: https://8.8.8.8/hook\nproxy: http://"+p.addr+"\n")
	if s := bad(examine(t, proxied)); s == nil || s.Failure == nil || s.Failure.Code != "net:proxy-refused" {
		t.Errorf("a proxy that refuses: %+v", s)
	}
	events := mustOpen(t, channels.Env{}, "kind: webhook\ndestinations: {hosts: ['*.example.com']}\n")
	if steps := examine(t, events); len(steps) != 1 || steps[0].Level != channels.Unseen {
		t.Errorf("addresses from events: %+v", steps)
	}
}
