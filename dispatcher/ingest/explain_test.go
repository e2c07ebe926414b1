package ingest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// TestExplain: an operator gets the words for a line; what is no question is told by its member; a key
// that only publishes may not ask.
func TestExplain(t *testing.T) {
	r := newRig(t)
	r.d.ExplainLine = func(q channels.Quote) channels.Diagnosis {
		return channels.Diagnosis{
			Known: true, Class: channels.Config, Retry: "no", Owner: "channel-owner", ID: q.Channel + "/" + q.Provider + "/" + q.Context + "/" + q.Text,
			Cause: schemas.Text{Zh: "原因", En: "cause"}, Also: schemas.Text{Zh: "另查", En: "also"}, After: 90e9,
		}
	}
	dir, file := secretFile(t, secretOne)
	url := r.serve(Config{Dir: dir, Tenants: []string{"default"}, Keys: []Key{
		{ID: "desk", SecretFile: file, Tenants: []string{"*"}, Roles: []string{RoleOperate}},
		{ID: "erp", SecretFile: file, Tenants: []string{"*"}, Roles: []string{RolePublish}},
	}}) + "/v1/explain"
	ask := func(key, body string) request {
		return request{url: url, body: body, header: map[string]string{"Authorization": "Bearer " + key + "." + secretOne}}
	}
	var got channels.Explained
	ask("desk", `{"channel":"email","provider":"qq","line":"550 x","context":"RCPT"}`).do(t).want(t, http.StatusOK, &got)
	if got.Row != "email/qq/RCPT/550 x" || !got.Known || got.Class != channels.Config || got.CauseZh != "原因" || got.AlsoEn != "also" || got.After != 90 {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		key, body string
		status    int
		pointer   string
	}{
		{"erp", `{"line":"x"}`, 403, ""},
		{"desk", `{"line":" "}`, 422, "/line"},
		{"desk", `{"lines":"x"}`, 422, "/lines"},
		{"desk", `{"line":`, 400, ""},
		{"desk", `{"line":"` + strings.Repeat("x", maxExplainBody) + `"}`, 413, ""},
	} {
		p := ask(c.key, c.body).do(t).problem(t)
		pointer := ""
		if len(p.Problems) > 0 {
			pointer = p.Problems[0].Pointer
		}
		if p.Status != c.status || pointer != c.pointer {
			t.Errorf("%.40s: %d at %q, want %d at %q", c.body, p.Status, pointer, c.status, c.pointer)
		}
	}
}

// TestUnknownReplies: replies that no row knows are gathered by shape from the dead letters of the caller's
// tenants, masked; what is known is not told.
func TestUnknownReplies(t *testing.T) {
	r := newRig(t)
	known := false
	r.d.Explain = func(f *channels.Failure) channels.Diagnosis {
		return channels.Diagnosis{Class: f.Class, Known: known}
	}
	url := r.serve(open())
	buried(t, r, url, event("one"), event("two"), event("three"))
	var got unknownBody
	request{method: "GET", url: url + "/v1/explain/unknown"}.do(t).want(t, http.StatusOK, &got)
	if len(got.Items) != 1 || !got.Complete {
		t.Fatalf("%+v", got)
	}
	if u := got.Items[0]; u.Count != 3 || u.Kind != "sms" || u.Code != "isv.MOBILE_NUMBER_ILLEGAL" || u.Shape != "invalid number #" || u.Class != channels.BadTarget || u.Letter == "" || u.Last.Before(u.First) {
		t.Errorf("%+v", u)
	}
	known = true
	request{method: "GET", url: url + "/v1/explain/unknown"}.do(t).want(t, http.StatusOK, &got)
	if len(got.Items) != 0 {
		t.Errorf("what is known by now: %+v", got.Items)
	}
	known = false
	dir, file := secretFile(t, secretOne)
	other := r.serve(Config{Dir: dir, Tenants: []string{"default", "acme", "beta"}, Keys: []Key{{ID: "desk", SecretFile: file, Tenants: []string{"beta"}, Roles: []string{RoleOperate}}}})
	request{method: "GET", url: other + "/v1/explain/unknown", header: map[string]string{"Authorization": "Bearer desk." + secretOne}}.do(t).want(t, http.StatusOK, &got)
	if len(got.Items) != 0 {
		t.Errorf("another tenant's: %+v", got.Items)
	}
}

func TestShape(t *testing.T) {
	for line, want := range map[string]string{
		"":             "",
		"isv.NEW_CODE": "isv.NEW_CODE",
		"550 5.7.1":    "550 5.7.1",
		"550 5.7.1 Service from 203.0.113.7 for wang@example.com refused, id 4FhJkz123abc": "550 5.7.1 Service from # for # refused, id #",
		"拒绝 13800138000，流水号 20260301001":                                                   "拒绝 #，流水号 #",
		"13800138000": "#",
	} {
		if got := shape(line); got != want {
			t.Errorf("shape(%q) = %q, want %q", line, got, want)
		}
	}
}

// FuzzDecodeExplain: no body makes the decoder fall over, and one without a line is refused.
func FuzzDecodeExplain(f *testing.F) {
	for _, s := range []string{`{"line":"550"}`, `{"line":""}`, `[]`, `{"line":7}`, "\xff", `{"line":"x","context":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if q, err := decodeExplain(body); err == nil && strings.TrimSpace(q.Line) == "" {
			t.Errorf("%q has no line", body)
		}
	})
}
