package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// linked is a channel whose links are made of one known token.
type linked struct {
	refusing
	token, email string
}

func (l linked) Refusal(token string) (schemas.ConsentChange, bool) {
	return schemas.ConsentChange{Tenant: "acme", Email: l.email, ConsentWord: schemas.ConsentWord{
		State: schemas.OptedOut, Purpose: schemas.Purpose(schemas.Marketing), How: schemas.ByLink,
	}}, token == l.token
}

const form = "application/x-www-form-urlencoded"

func newLinkedRig(t *testing.T) *rig {
	r := newRig(t)
	r.d.Channels["mail"] = linked{token: "the-token", email: "Wang@Example.com"}
	r.d.Channels["news"] = linked{token: "broken", email: "no address"}
	return r
}

// One click in the mail program, without a key, is a refusal on record; more clicks change nothing.
func TestOneClick(t *testing.T) {
	r := newLinkedRig(t)
	url := r.serve(Config{HTTP: HTTP{Auth: AuthKeys}, Tenants: []string{"acme"}})
	admin := r.serve(open())
	for range 3 {
		a := request{url: url + "/v1/unsubscribe/the-token", media: form, body: "List-Unsubscribe=One-Click", header: map[string]string{"Accept-Language": "zh-CN"}}.do(t)
		a.want(t, http.StatusOK, nil)
		if !strings.Contains(string(a.body), "已退订") || strings.Contains(strings.ToLower(string(a.body)), "wang") {
			t.Errorf("%s", a.body)
		}
	}
	page := consents(t, admin, "tenant=acme&email=wang@example.com&reveal=true")
	if len(page.Items) != 1 || len(page.Items[0].History) != 1 {
		t.Fatalf("%+v", page)
	}
	e := page.Items[0].States[schemas.Marketing]
	if e.State != schemas.OptedOut || e.How != schemas.ByLink || e.By != "mail" || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	// A later agreement of the person stands.
	in := `{"tenant":"acme","email":"wang@example.com","state":"in","time":"` + time.Now().Add(time.Minute).Format(time.RFC3339) + `","text":"asked at the counter"}`
	request{url: admin + "/v1/consents", media: mediaJSON, body: in}.do(t).want(t, http.StatusOK, nil)
	if s := consents(t, admin, "tenant=acme&email=wang@example.com").Items[0].States[schemas.Marketing].State; s != schemas.OptedIn {
		t.Errorf("state %s after a later agreement", s)
	}
	if text := r.logs.All(); strings.Contains(strings.ToLower(stringOf(text)), "wang") || strings.Contains(stringOf(text), "the-token") {
		t.Errorf("logs: %v", text)
	}
}

func stringOf(v any) string { return fmt.Sprint(v) }

// What opens the link without meaning it changes nothing; other tokens are refused.
func TestUnsubscribeChangesNothing(t *testing.T) {
	r := newLinkedRig(t)
	url := r.serve(open())
	for _, tt := range []struct {
		name   string
		q      request
		status int
		says   string
		button bool
	}{
		{"opened", request{method: "GET", url: "/the-token"}, 200, "Press the button", true},
		{"opened in Chinese", request{method: "GET", url: "/the-token?lang=zh"}, 200, "业务通知不受影响", true},
		{"HEAD", request{method: "HEAD", url: "/the-token"}, 200, "", false},
		{"post without the form", request{url: "/the-token", media: form, body: "x=y"}, 400, "Press the button", true},
		{"the form in the query", request{url: "/the-token?List-Unsubscribe=One-Click", media: form, body: "x=y"}, 400, "Press the button", true},
		{"an empty post", request{url: "/the-token"}, 400, "", true},
		{"JSON", request{url: "/the-token", media: mediaJSON, body: `{"List-Unsubscribe":"One-Click"}`}, 400, "", true},
		{"too long", request{url: "/the-token", media: form, body: "a=" + strings.Repeat("x", 8<<10) + "&List-Unsubscribe=One-Click"}, 400, "", true},
		{"another token", request{url: "/another", media: form, body: "List-Unsubscribe=One-Click"}, 404, "does not work", false},
		{"another token opened", request{method: "GET", url: "/another"}, 404, "does not work", false},
		{"no token", request{method: "GET", url: "/"}, 404, "", false},
		{"a token with markup", request{method: "GET", url: "/%3Cscript%3E"}, 404, "does not work", false},
		{"a token for no address", request{url: "/broken", media: form, body: "List-Unsubscribe=One-Click"}, 404, "does not work", false},
		{"PUT", request{method: "PUT", url: "/the-token"}, 405, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.url = url + "/v1/unsubscribe" + tt.q.url
			a := tt.q.do(t)
			body := string(a.body)
			if a.StatusCode != tt.status || !strings.Contains(body, tt.says) || strings.Contains(body, "<button>") != tt.button || strings.Contains(body, "<script") {
				t.Errorf("status %d, want %d\n%s", a.StatusCode, tt.status, body)
			}
			if a.StatusCode != 405 && tt.name != "no token" && (a.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'")) {
				t.Errorf("headers %v", a.Header)
			}
		})
	}
	if page := consents(t, url, ""); len(page.Items) != 0 {
		t.Errorf("on record: %+v", page.Items)
	}
}

// As a provider posts it, RFC 8058 section 3.2 allows this form too.
func TestOneClickMultipart(t *testing.T) {
	url := newLinkedRig(t).serve(open())
	body := "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n"
	request{url: url + "/v1/unsubscribe/the-token", media: "multipart/form-data; boundary=b", body: body}.do(t).want(t, http.StatusOK, nil)
	if page := consents(t, url, "state=out"); len(page.Items) != 1 {
		t.Errorf("%+v", page)
	}
}

// A flood of clicks is turned away before it reaches the store.
func TestUnsubscribeFlood(t *testing.T) {
	r := newLinkedRig(t)
	s := bare(t, open(), zap.NewNop())
	s.d = r.d
	if s.unsubscribes.Burst() != unsubscribes {
		t.Errorf("%d at once, want %d", s.unsubscribes.Burst(), unsubscribes)
	}
	s.unsubscribes = rate.NewLimiter(0, 2)
	h, err := s.handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	for n, want := range []int{200, 200, 429, 429} {
		a := request{url: srv.URL + "/v1/unsubscribe/the-token", media: form, body: "List-Unsubscribe=One-Click"}.do(t)
		if a.StatusCode != want || (a.Header.Get("Retry-After") != "") != (want == 429) || want == 429 && !strings.Contains(string(a.body), "<button>") {
			t.Errorf("click %d: %d, want %d; %v\n%s", n+1, a.StatusCode, want, a.Header, a.body)
		}
	}
}

// keeps is a keeper whose store is away.
type keeps struct {
	rules.ConsentKeeper
}

func (keeps) Consent(context.Context, string, string) (*schemas.Consent, error) {
	return nil, errors.New("the store is away for wang@example.com")
}

func TestRefuseNeedsTheStore(t *testing.T) {
	if err := refuse(t.Context(), keeps{}, &schemas.ConsentChange{}, "mail"); err == nil {
		t.Error("a refusal that was not recorded is called recorded")
	}
}

// Who clicks one link without end uses up nothing of what is there for the others.
func TestOneLinkDoesNotUseUpTheRest(t *testing.T) {
	s := bare(t, open(), zap.NewNop())
	passed := 0
	for range 1000 {
		if s.links.allow("the-token") {
			passed++
		}
	}
	others := 0
	for i := range 100 {
		if s.links.allow(fmt.Sprint("another-", i)) {
			others++
		}
	}
	if passed < linkBurst || passed > linkBurst+2 || passed >= unsubscribes || others < 90 {
		t.Errorf("%d clicks on one link and %d on a hundred others went through", passed, others)
	}
}
