package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// buried publishes events and waits until the third party's refusal has made dead letters of them.
func buried(t *testing.T, r *rig, url string, events ...string) {
	t.Helper()
	r.run()
	for _, e := range events {
		request{url: url + "/v1/events", body: e}.do(t).want(t, http.StatusAccepted, nil)
	}
	eventually(t, "dead letters", func() bool {
		var page deadBody
		request{method: "GET", url: url + "/v1/dead"}.do(t).want(t, http.StatusOK, &page)
		return page.Total == len(events)
	})
}

func TestStoryIsFoundByAnyFormOfTheID(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	buried(t, r, url, event("AR-2026-000123/due"), event("twice"), event("twice", "/erp/test", "/erp/other"))
	for _, path := range []string{"/AR-2026-000123/due", "/AR-2026-000123%2Fdue", "/AR-2026-000123%2Fdue?source=/erp/test&tenant=acme"} {
		var s ledger.Story
		request{method: "GET", url: url + "/v1/events" + path, header: map[string]string{"Accept-Language": "zh"}}.do(t).want(t, http.StatusOK, &s)
		if s.ID != "AR-2026-000123/due" || len(s.Deliveries) != 1 {
			t.Fatalf("%s: %+v", path, s)
		}
		d := s.Deliveries[0]
		if d.State != schemas.Dead || d.To != "138****8000" || d.Cause.Zh != "号码有误" || !strings.Contains(d.History[0].Note, "已受理") {
			t.Errorf("%s: %+v", path, d)
		}
	}
	var en ledger.Story
	request{method: "GET", url: url + "/v1/events/AR-2026-000123/due?lang=en", header: map[string]string{"Accept-Language": "zh"}}.do(t).want(t, 200, &en)
	if !strings.Contains(en.Deliveries[0].History[0].Note, "taken in") {
		t.Errorf("lang=en: %+v", en.Deliveries[0].History)
	}
	var byDelivery ledger.Story
	request{method: "GET", url: url + "/v1/events/" + en.Deliveries[0].ID}.do(t).want(t, 200, &byDelivery)
	if byDelivery.ID != en.ID {
		t.Errorf("by delivery id: %+v", byDelivery)
	}
	var both storiesBody
	request{method: "GET", url: url + "/v1/events/twice"}.do(t).want(t, 200, &both)
	if len(both.Items) != 2 {
		t.Errorf("two sources: %+v", both)
	}
	var single ledger.Story
	request{method: "GET", url: url + "/v1/events/twice?source=/erp/other"}.do(t).want(t, 200, &single)
	if single.Source != "/erp/other" {
		t.Errorf("by source: %+v", single)
	}
	for path, status := range map[string]int{
		"/nobody": 404, "/": 404, "/twice?tenant=default": 404, "/twice?tenant=*": 422, "/twice?tenant=%3E": 422, "/*": 404, "/%3E": 404,
	} {
		if p := (request{method: "GET", url: url + "/v1/events" + path}).do(t).problem(t); p.Status != status {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

func TestDeadLettersAreShownMaskedAndByPage(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	events := []string{
		event("code", `"notification"`, `"verification"`, `"template":"invoice-due","params":{"customer":"华星"}`, `"template":"code","params":{"code":"48A213"}`),
		event("no-route", "erp.invoice.due", "erp.other", "invoice-due", "code", "customer", "code"),
	}
	for i := range 5 {
		events = append(events, event(fmt.Sprint("due-", i)))
	}
	buried(t, r, url, events...)

	seen, cursor := map[string]DeadItem{}, ""
	for pages := 0; ; pages++ {
		var p deadBody
		a := request{method: "GET", url: url + "/v1/dead?limit=3&cursor=" + cursor}.do(t)
		a.want(t, 200, &p)
		if strings.Contains(string(a.body), "13800138000") {
			t.Error("a list tells a number")
		}
		for _, i := range p.Items {
			seen[i.ID] = i
		}
		if p.Total != 7 {
			t.Errorf("total %d", p.Total)
		}
		if cursor = p.Next; cursor == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d letters on all pages", len(seen))
	}
	var list deadBody
	request{method: "GET", url: url + "/v1/dead?where=" + "channel%3Dsms+template%3Dcode"}.do(t).want(t, 200, &list)
	if len(list.Items) != 1 || list.Items[0].To != "138****8000" || list.Items[0].Event.ID != "code" || list.Items[0].Cause.RemedyEn != "check the number" {
		t.Fatalf("filtered: %+v", list)
	}

	var code, other DeadItem
	a := request{method: "GET", url: url + "/v1/dead/" + list.Items[0].ID}.do(t)
	a.want(t, 200, &code)
	if m := code.Message; m == nil || m.Template != "code" || m.Params["code"] != "***" || m.Text != "您的验证码是 ***，五分钟内有效" {
		t.Errorf("verification: %s", a.body)
	}
	for _, i := range seen {
		if i.Channel == dispatcher.EventChannel {
			request{method: "GET", url: url + "/v1/dead/" + i.ID}.do(t).want(t, 200, &other)
		} else if i.Event.ID == "due-0" {
			var due DeadItem
			request{method: "GET", url: url + "/v1/dead/" + i.ID}.do(t).want(t, 200, &due)
			if m := due.Message; m == nil || m.Params["customer"] != "华星" || m.Text != "您好，华星 的账单已到期，请致电 139****9000" {
				t.Errorf("notification: %+v", due.Message)
			}
		}
	}
	if other.To != "-" || other.Event == nil || other.Event.ID != "no-route" || other.Message == nil || other.Message.Params["code"] != "华星" {
		t.Errorf("event: %+v", other)
	}
	for path, status := range map[string]int{
		"/v1/dead?where=colour%3Dred": 422, "/v1/dead?limit=0": 422, "/v1/dead?limit=501": 422, "/v1/dead?cursor=x": 422, "/v1/dead/nobody": 404, "/v1/dead/*": 404,
	} {
		if p := (request{method: "GET", url: url + path}).do(t).problem(t); p.Status != status {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

func TestReplayIsPlannedThenConfirmed(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	buried(t, r, url, event("a"), event("b"))
	post := func(body string) response { return request{url: url + "/v1/replays", body: body}.do(t) }
	var plan dispatcher.ReplayPlan
	post(`{"where":"template=invoice-due"}`).want(t, 200, &plan)
	if plan.Eligible != 2 || plan.Replayed != 0 {
		t.Fatalf("plan %+v", plan)
	}
	p := post(`{"confirm":3,"reason":"wrong count"}`).problem(t)
	if p.Status != 409 || p.Plan == nil || p.Plan.Eligible != 2 {
		t.Errorf("changed plan: %+v", p)
	}
	for body, pointer := range map[string]string{
		`{"confirm":2}`:          "/reason",
		`{"confirm":"2"}`:        "/confirm",
		`{"where":"colour=red"}`: "/where",
		`{"wehre":""}`:           "/wehre",
		`{"By":"root"}`:          "/By",
		`{"confirm":2,"reason":"` + strings.Repeat("长", 501) + `"}`: "/reason",
	} {
		if p := post(body).problem(t); p.Status != 422 || p.Problems[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if p := post(`{"confirm":`).problem(t); p.Status != 400 {
		t.Errorf("broken: %+v", p)
	}
	if p := (request{url: url + "/v1/replays", body: "{}", media: "text/plain"}).do(t).problem(t); p.Status != 415 {
		t.Errorf("media: %+v", p)
	}
	var done dispatcher.ReplayPlan
	post(`{"confirm":2,"reason":"number mended, call 13800138000"}`).want(t, 200, &done)
	if done.Replayed != 2 || done.Remaining != 0 {
		t.Errorf("done %+v", done)
	}
	var s ledger.Story
	a := request{method: "GET", url: url + "/v1/events/a?lang=en"}.do(t)
	a.want(t, 200, &s)
	if !strings.Contains(string(a.body), "sent again by a user of this machine (replay 1), reason: number mended, call 138****8000") {
		t.Errorf("story: %s", a.body)
	}
}

func TestRecall(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	var got dispatcher.Recalled
	request{url: url + "/v1/events", body: event("a/b")}.do(t).want(t, http.StatusAccepted, nil)
	request{method: "DELETE", url: url + "/v1/events/a/b?source=/erp/test&tenant=acme"}.do(t).want(t, http.StatusAccepted, &got)
	if !got.Pending {
		t.Errorf("%+v", got)
	}
	r.run()
	request{url: url + "/v1/events", body: event("c")}.do(t).want(t, http.StatusAccepted, nil)
	eventually(t, "c planned after a/b", func() bool {
		return request{method: "GET", url: url + "/v1/events/c"}.do(t).StatusCode == 200
	})
	var s ledger.Story
	request{method: "GET", url: url + "/v1/events/a%2Fb"}.do(t).want(t, 200, &s)
	if s.State != schemas.Cancelled || len(s.Deliveries) != 0 {
		t.Errorf("%+v", s)
	}
	// Taken back before it came, and old when it comes.
	request{method: "DELETE", url: url + "/v1/events/late?source=/erp/test&tenant=acme"}.do(t).want(t, http.StatusAccepted, nil)
	var late acceptedBody
	request{url: url + "/v1/events", body: event("late", `"time":`, `"subject":`)}.do(t).want(t, http.StatusAccepted, &late)
	if e := late.Accepted[0]; !e.Duplicate || !e.Recalled {
		t.Errorf("recalled before: %+v", e)
	}
	// Without a tenant, only what is on record tells whose event is meant.
	request{method: "DELETE", url: url + "/v1/events/c?source=/erp/test"}.do(t).want(t, http.StatusAccepted, &got)
	if p := (request{method: "DELETE", url: url + "/v1/events/guess?source=/erp/test"}).do(t).problem(t); p.Status != 422 || p.Problems[0].Pointer != "/tenant" {
		t.Errorf("recall of nobody's event: %+v", p)
	}
	request{method: "GET", url: url + "/v1/events/guess"}.do(t).want(t, 404, nil)
	for path, status := range map[string]int{"/a/b": 422, "/?source=x": 404, "/a/b?source=x&tenant=umbrella": 422, "/a/b?source=x&tenant=*": 422} {
		if p := (request{method: "DELETE", url: url + "/v1/events" + path}).do(t).problem(t); p.Status != status {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// A key of one tenant neither sees nor touches what belongs to another.
func TestOperatorsSeeTheirTenantsOnly(t *testing.T) {
	r := newRig(t)
	cfg := open()
	cfg.Tenants = append(cfg.Tenants, "globex")
	local := r.serve(cfg)
	buried(t, r, local, event("shared"), event("shared", `"acme"`, `"globex"`, "/erp/test", "/erp/globex"))
	url := r.serve(keyed(t))
	get := func(key, path string) response {
		return request{method: "GET", url: url + path, header: map[string]string{"Authorization": "Bearer " + key + "." + secretOne}}.do(t)
	}
	var all storiesBody
	get("all", "/v1/events/shared").want(t, 200, &all)
	if len(all.Items) != 2 {
		t.Errorf("all: %+v", all)
	}
	var own ledger.Story
	get("reader", "/v1/events/shared").want(t, 200, &own)
	if own.Tenant != "acme" {
		t.Errorf("own: %+v", own)
	}
	get("reader", "/v1/events/shared?tenant=globex").want(t, 403, nil)
	get("reader", "/v1/events/shared?source=/erp/globex").want(t, 404, nil)
	get("writer", "/v1/events/shared").want(t, 403, nil)

	var page, every deadBody
	get("reader", "/v1/dead").want(t, 200, &page)
	get("all", "/v1/dead").want(t, 200, &every)
	if page.Total != 1 || len(page.Items) != 1 || page.Items[0].Tenant != "acme" || every.Total != 2 {
		t.Errorf("dead: %+v, of all %d", page, every.Total)
	}
	get("reader", "/v1/dead?where=tenant%3Dglobex").want(t, 403, nil)
	for _, i := range every.Items {
		status := 200
		if i.Tenant != "acme" {
			status = 404
		}
		get("reader", "/v1/dead/"+i.ID).want(t, status, nil)
	}
	auth := map[string]string{"Authorization": "Bearer reader." + secretOne}
	var plan dispatcher.ReplayPlan
	request{url: url + "/v1/replays", body: "{}", header: auth}.do(t).want(t, 200, &plan)
	if plan.Count != 1 {
		t.Errorf("replay plan: %+v", plan)
	}
	request{method: "DELETE", url: url + "/v1/events/shared?source=/erp/globex&tenant=globex", header: auth}.do(t).want(t, 403, nil)
	var recalled dispatcher.Recalled
	request{method: "DELETE", url: url + "/v1/events/shared?source=/erp/test", header: auth}.do(t).want(t, 202, &recalled)
	if recalled.TooLate != 1 { // its only tenant is understood
		t.Errorf("recall: %+v", recalled)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/nothing", 404, ""},
		{"POST", "/", 404, ""},
		{"GET", "/schemas/nothing.json", 404, ""},
		{"PUT", "/v1/events", 405, "GET, POST, HEAD"},
		{"PUT", "/v1/events/x", 405, "DELETE, GET, HEAD"},
		{"GET", "/v1/replays", 405, "POST"},
	} {
		a := request{method: c.method, url: url + c.path}.do(t)
		if p := a.problem(t); p.Status != c.status || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, p.Status, a.Header.Get("Allow"))
		}
	}
	request{method: "HEAD", url: url + "/healthz"}.do(t).want(t, 200, nil)
	request{method: "PUT", url: url + "/v1/events", header: map[string]string{}}.do(t).want(t, 405, nil)
	a := request{method: "GET", url: url + "/metrics"}.do(t)
	if !strings.Contains(string(a.body), `yizhan_http_requests_total{code="405",route="/v1/events"}`) {
		t.Error("the requests are not counted")
	}
	for _, f := range schemas.Files() {
		want, _ := schemas.File(f)
		if a := (request{method: "GET", url: url + "/schemas/" + f}).do(t); string(a.body) != string(want) {
			t.Errorf("%s differs", f)
		}
	}
	info := 0
	for _, e := range r.logs.FilterMessage("http").All() {
		if e.Level == zapcore.InfoLevel {
			info++
		}
		if m := e.ContextMap(); strings.Contains(fmt.Sprint(m), "nothing") {
			t.Errorf("the log tells a path: %v", m)
		}
	}
	if info != 7 {
		t.Errorf("%d refusals at info, want 7", info)
	}
}
