package ingest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/schemas"
)

// recorded asks for one page.
func recorded(t *testing.T, base string, header map[string]string, query ...string) recordedBody {
	t.Helper()
	var page recordedBody
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	request{method: "GET", url: base + "/v1/events?" + q.Encode(), header: header}.do(t).want(t, http.StatusOK, &page)
	return page
}

func TestRecordedEventsComeByPageAndInOrder(t *testing.T) {
	r := newRig(t)
	base := r.serve(open())
	const n = 120 // more than are fetched at once
	for i := range n {
		tenant := "acme"
		if i%3 == 0 {
			tenant = "default"
		}
		request{url: base + "/v1/events", body: event(fmt.Sprintf("e%d", i), `"acme"`, `"`+tenant+`"`)}.do(t).want(t, http.StatusAccepted, nil)
	}
	var got []RecordedItem
	pages := 0
	for cursor := ""; ; pages++ {
		query := []string{"limit", "55"}
		if cursor != "" {
			query = append(query, "cursor", cursor)
		}
		page := recorded(t, base, nil, query...)
		got = append(got, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(got) != n || pages != 2 {
		t.Fatalf("%d events on %d pages", len(got), pages+1)
	}
	for i, one := range got {
		if one.Event.ID != fmt.Sprintf("e%d", i) || one.Event.Data.To[0].Phone != "+8613800138000" || one.Stored.IsZero() {
			t.Fatalf("%d: %+v", i, one)
		}
		if i > 0 && one.Stored.Before(got[i-1].Stored) {
			t.Errorf("%d is older than the one before", i)
		}
	}
	// What comes out can go in again.
	b, err := json.Marshal(got[0].Event)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := schemas.DecodeEvent(b); err != nil || again.ID != "e0" {
		t.Errorf("%s: %v", b, err)
	}
	if page := recorded(t, base, nil, "tenant", "acme"); len(page.Items) != n-n/3 || page.Next != "" {
		t.Errorf("of one tenant: %d, next %q", len(page.Items), page.Next)
	}
	at := func(i int) string { return got[i].Stored.Format(time.RFC3339Nano) }
	if page := recorded(t, base, nil, "since", at(100), "until", at(110)); len(page.Items) != 10 || page.Items[0].Event.ID != "e100" {
		t.Errorf("since and until: %d", len(page.Items))
	}
	if page := recorded(t, base, nil, "since", time.Now().Add(time.Hour).Format(time.RFC3339)); len(page.Items) != 0 || page.Next != "" {
		t.Errorf("of the future: %+v", page)
	}
	for query, pointer := range map[string]string{
		"limit=0": "/limit", "limit=501": "/limit", "cursor=x": "/cursor", "cursor=0": "/cursor", "since=yesterday": "/since", "until=1": "/until", "tenant=nobody": "/tenant",
	} {
		p := request{method: "GET", url: base + "/v1/events?" + query}.do(t).problem(t)
		if p.Status != http.StatusUnprocessableEntity || len(p.Problems) != 1 || p.Problems[0].Pointer != pointer {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestRecordedEventIsFoundByID(t *testing.T) {
	r := newRig(t)
	base := r.serve(open())
	buried(t, r, base, event("AR/1"), event("twice"), event("twice", "/erp/test", "/erp/other"))
	if page := recorded(t, base, nil, "id", "AR/1"); len(page.Items) != 1 || page.Items[0].Event.ID != "AR/1" {
		t.Errorf("%+v", page)
	}
	if page := recorded(t, base, nil, "id", "twice"); len(page.Items) != 2 {
		t.Errorf("%+v", page)
	}
	if page := recorded(t, base, nil, "id", "twice", "source", "/erp/other", "tenant", "acme"); len(page.Items) != 1 || page.Items[0].Event.Source != "/erp/other" {
		t.Errorf("%+v", page)
	}
	if page := recorded(t, base, nil, "id", "nobody"); len(page.Items) != 0 {
		t.Errorf("%+v", page)
	}
}

// Whole events are for the role export alone, and a key sees its own tenants and types.
func TestWhoMayReadRecordedEvents(t *testing.T) {
	r := newRig(t)
	cfg := keyed(t)
	export := cfg.Keys[0]
	export.ID, export.Roles = "export", []string{RoleExport}
	typed := export
	typed.ID, typed.Types = "typed", []string{"hr.*"}
	cfg.Keys = append(cfg.Keys, export, typed)
	base := r.serve(cfg)
	bearer := func(id string) map[string]string {
		return map[string]string{"Authorization": "Bearer " + id + "." + secretOne}
	}
	for _, tenant := range []string{"acme", "globex"} {
		request{url: base + "/v1/events", header: bearer("all"), body: event("e-"+tenant, `"acme"`, `"`+tenant+`"`)}.do(t).want(t, http.StatusAccepted, nil)
	}
	if page := recorded(t, base, bearer("export")); len(page.Items) != 1 || page.Items[0].Event.ID != "e-acme" {
		t.Errorf("%+v", page)
	}
	if page := recorded(t, base, bearer("typed")); len(page.Items) != 0 {
		t.Errorf("another type: %+v", page)
	}
	for _, id := range []string{"acme", "reader", "writer"} {
		if p := (request{method: "GET", url: base + "/v1/events", header: bearer(id)}).do(t).problem(t); p.Status != http.StatusForbidden {
			t.Errorf("%s: %+v", id, p)
		}
	}
	if p := (request{method: "GET", url: base + "/v1/events?tenant=globex", header: bearer("export")}).do(t).problem(t); p.Status != http.StatusForbidden {
		t.Errorf("another tenant: %+v", p)
	}
	request{method: "GET", url: base + "/v1/events"}.do(t).want(t, http.StatusUnauthorized, nil)
}

// A login code that may still be good leaves through nobody's backtest.
func TestRecordedVerificationIsWithoutItsSecret(t *testing.T) {
	r := newRig(t)
	base := r.serve(open())
	request{url: base + "/v1/events", body: event("code", `"notification"`, `"verification"`, `"template":"invoice-due","params":{"customer":"华星"}`,
		`"template":"code","params":{"code":"48A213","n":4821,"more":["验证码 77"]}`)}.do(t).want(t, http.StatusAccepted, nil)
	request{url: base + "/v1/events", body: event("text", `"notification"`, `"verification"`, `"template":"invoice-due","params":{"customer":"华星"}`,
		`"content":{"text":"您的验证码是４8213"}`)}.do(t).want(t, http.StatusAccepted, nil)
	page := recorded(t, base, nil)
	if len(page.Items) != 2 {
		t.Fatalf("%+v", page)
	}
	if p := page.Items[0].Event.Data.Params; fmt.Sprint(p) != "map[code:00x000 more:[验证码 00] n:0]" {
		t.Errorf("%v", p)
	}
	if c := page.Items[1].Event.Data.Content; c.Text != "您的验证码是00000" {
		t.Errorf("%q", c.Text)
	}
	for _, e := range r.logs.All() {
		if s := fmt.Sprint(e.ContextMap()); strings.Contains(s, "13800138000") || strings.Contains(s, "8213") {
			t.Errorf("the log tells: %s", s)
		}
	}
	if dispatcher.MaxRecorded != 500 {
		t.Error("openapi.yaml says 500")
	}
}
