package channels

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"code.dny.dev/ssrf"

	"github.com/yizhan-dev/yizhan/schemas"
)

// examined takes the steps of HTTP and returns "level id" of each, and the steps by id.
func examined(t *testing.T, target HTTPTarget, change func(*Examination)) (order string, steps map[string]Step) {
	t.Helper()
	steps = map[string]Step{}
	x := &Examination{
		Resolver: net.DefaultResolver, Limit: 2 * time.Second, Now: time.Now,
		Report: func(s Step) {
			order += string(s.Level) + " " + s.ID + ", "
			steps[s.ID] = s
		},
	}
	if change != nil {
		change(x)
	}
	target.Kind, target.Provider = "webhook", "generic"
	x.HTTP(t.Context(), target)
	return strings.TrimSuffix(order, ", "), steps
}

func TestExamineHTTP(t *testing.T) {
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		options bool
		want    string
		code    string // of the step http
	}{
		{"OPTIONS is known", answer(204), true, "ok dns, ok tcp, ok http, ok clock", ""},
		{"OPTIONS is not known", answer(405), true, "ok dns, ok tcp, ok http, ok clock", ""},
		{"a login is wanted", answer(401), true, "ok dns, ok tcp, ok http, ok clock", ""},
		{"the path is not there", answer(404), true, "ok dns, ok tcp, warn http, ok clock", "http:404"},
		{"gone", answer(410), true, "ok dns, ok tcp, fail http, ok clock", "http:410"},
		{"a redirect is not followed", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, true, "ok dns, ok tcp, fail http, ok clock", "http:3xx"},
		{"in trouble", answer(503), true, "ok dns, ok tcp, warn http, ok clock", "http:503"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, "ok dns, ok tcp, fail http, skip clock", "net:reset"},
		{"a robot is not asked", answer(500), false, "ok dns, ok tcp, ok http, ok clock", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.URL.Path)
				tt.handler(w, r)
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.Start()
			t.Cleanup(s.Close)
			u, _ := url.Parse(s.URL + "/robot/send?access_token=canary")
			got, steps := examined(t, HTTPTarget{URL: u, Options: tt.options}, nil)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			s.Close() // waits for the handler
			code := ""
			if f := steps["http"].Failure; f != nil {
				code = f.Code
			}
			if code != tt.code {
				t.Errorf("code %q, want %q", code, tt.code)
			}
			if want := map[bool]string{true: "OPTIONS /robot/send", false: "HEAD /"}[tt.options]; len(asked) != 1 || asked[0] != want {
				t.Errorf("asked %v, want %s", asked, want)
			}
			for _, s := range steps {
				if strings.Contains(s.Seen.Zh+s.Seen.En, "canary") || s.Failure != nil && strings.Contains(s.Failure.Line, "canary") {
					t.Errorf("%s shows the token: %+v", s.ID, s)
				}
			}
		})
	}
}

// The channel's guard sees every address, and what it forbids is not connected to.
func TestExamineHTTPObeysTheGuard(t *testing.T) {
	u, _ := url.Parse("http://127.0.0.1:9/")
	got, steps := examined(t, HTTPTarget{URL: u, Control: func(string, string, syscall.RawConn) error { return ssrf.ErrProhibitedIP }}, nil)
	if got != "ok dns, fail tcp" || steps["tcp"].Failure.Code != "dispatcher:blocked-address" {
		t.Errorf("%s %+v", got, steps["tcp"].Failure)
	}
}

// Behind a proxy only the proxy can be seen.
func TestExamineHTTPThroughAProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "partner.invalid" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(proxy.Close)
	p, _ := url.Parse(proxy.URL)
	u, _ := url.Parse("http://partner.invalid/x")
	if got, _ := examined(t, HTTPTarget{URL: u, Proxy: p, Options: true}, nil); got != "ok proxy, ok http, ok clock" {
		t.Error(got)
	}
}

func TestExamineClock(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		off, limit time.Duration
		want       Level
		seen       string
	}{
		{time.Second, time.Minute, Good, "agrees with theirs"},
		{30 * time.Second, 0, Good, "ours is 30s ahead of theirs"},
		{-20 * time.Minute, 0, Doubtful, "ours is 20m behind theirs"},
		{-20 * time.Minute, 15 * time.Minute, Bad, "ours is 20m behind theirs"},
		{10 * time.Minute, 15 * time.Minute, Doubtful, "ours is 10m ahead of theirs"},
		{2 * time.Hour, time.Hour, Bad, "ours is 2h ahead of theirs"},
	} {
		var got Step
		x := &Examination{Limit: time.Second, Report: func(s Step) { got = s }}
		ok := x.Clock(t.Context(), now.Add(-tt.off), now, tt.limit)
		if got.Level != tt.want || got.Seen.En != tt.seen || ok != (tt.want != Bad) || (tt.want != Good) != (got.Advice != nil) {
			t.Errorf("%s within %s: %+v", tt.off, tt.limit, got)
		}
	}
}

// A step that hangs or comes too late is reported all the same, once.
func TestExamineStepEndsInTime(t *testing.T) {
	var got []Step
	x := &Examination{Limit: 20 * time.Millisecond, Report: func(s Step) { got = append(got, s) }}
	ok := x.Step(t.Context(), "hangs", schemas.Text{}, func(ctx context.Context) Finding {
		<-ctx.Done()
		return Finding{Failure: &Failure{Code: "net:timeout-response"}}
	})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	late := x.Step(over, "late", schemas.Text{}, func(context.Context) Finding { t.Error("taken"); return Finding{} })
	if ok || late || len(got) != 2 || got[0].Level != Bad || got[1].Level != Unseen {
		t.Errorf("%v %v %+v", ok, late, got)
	}
}
