package ingest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/schemas"
)

// TestLint: any key gets the report of a text with advice in both languages; what cannot be judged is
// told by the member that is wrong; nothing is stored.
func TestLint(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/lint"
	for _, c := range []struct{ body, action, rule, text string }{
		{`{"text":"您的账单已到期","signature":"云栈"}`, "pass", "", ""},
		{`{"text":"您的【星河】已到期","signature":"云栈"}`, "block", "9", "【星河】"},
		{`{"text":"您的【星河】已到期","kind":"email","subject":"账单"}`, "pass", "", ""},
		{`{"template":"invoice-due","params":{"customer":"【华星】"},"signature":"云栈","class":"invoice","provider":"aliyun","category":"notification"}`, "block", "9", "【华星】"},
		{`{"template":"invoice-due","params":{"customer":"华星"},"signature":"云栈","tenant":"acme"}`, "pass", "", ""},
		{`{"subject":"账单","html":"<p>您好</p>","params":{"n":7}}`, "pass", "", ""},
	} {
		var got rules.Report
		request{url: url, body: c.body}.do(t).want(t, http.StatusOK, &got)
		if got.Action != c.action || (len(got.Hits) > 0) != (c.rule != "") {
			t.Errorf("%s: %+v", c.body, got)
		} else if c.rule != "" && (got.Hits[0].Rule != c.rule || got.Hits[0].Text != c.text || got.Hits[0].Advice.Zh == "" || got.Hits[0].Advice.En == "") {
			t.Errorf("%s: %+v", c.body, got.Hits)
		}
	}
	for _, c := range []struct {
		body     string
		status   int
		pointers string
	}{
		{`{}`, 422, "/text"},
		{`{"text":"x","template":"invoice-due"}`, 422, "/template"},
		{`{"text":"x","kind":"fax","provider":"aliyn","class":"bill","category":"spam","tenant":"nobody"}`, 422, "/kind /provider /class /category /tenant"},
		{`{"template":"absent"}`, 422, "/template"},
		{`{"template":"invoice-due"}`, 422, "/params/customer"},
		{`{"text":"x","colour":"red"}`, 422, "/colour"},
		{`{"text":7}`, 422, "/text"},
		{`{"text":`, 400, ""},
		{`{"text":"` + strings.Repeat("x", maxLintBody) + `"}`, 413, ""},
	} {
		p := request{url: url, body: c.body}.do(t).problem(t)
		var pointers []string
		for _, one := range p.Problems {
			pointers = append(pointers, one.Pointer)
		}
		if got := strings.Join(pointers, " "); p.Status != c.status || got != c.pointers {
			t.Errorf("%.80s: %d at %q, want %d at %q", c.body, p.Status, got, c.status, c.pointers)
		}
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d events were stored", n)
	}
	for _, e := range r.logs.All() {
		for _, field := range e.Context {
			if strings.Contains(field.String, "星河") {
				t.Errorf("a text reached the log: %+v", e)
			}
		}
	}
}

// TestAnyKeyMayLint: who may publish and who may operate, not who has no key; and only for their tenants.
func TestAnyKeyMayLint(t *testing.T) {
	r := newRig(t)
	dir, file := secretFile(t, secretOne)
	url := r.serve(Config{Dir: dir, Tenants: []string{"default", "acme"}, Keys: []Key{
		{ID: "writer", SecretFile: file, Roles: []string{RolePublish}, Tenants: []string{"acme"}},
		{ID: "reader", SecretFile: file, Roles: []string{RoleOperate}, Tenants: []string{"acme"}},
	}}) + "/v1/lint"
	for _, c := range []struct {
		key, tenant string
		status      int
	}{{"writer", "acme", 200}, {"reader", "acme", 200}, {"writer", "default", 403}, {"nobody", "acme", 401}, {"", "acme", 401}} {
		q := request{url: url, body: `{"text":"您好","tenant":"` + c.tenant + `"}`, header: map[string]string{}}
		if c.key != "" {
			q.header["Authorization"] = "Bearer " + c.key + "." + secretOne
		}
		if got := q.do(t); got.StatusCode != c.status {
			t.Errorf("%s for %s: %d, want %d", c.key, c.tenant, got.StatusCode, c.status)
		}
	}
}

// TestRefusedAtPublish: with publish: refuse a producer gets 422 and the place of the words; with accept
// the same event is stored, for the worker to suppress.
func TestRefusedAtPublish(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	bad := event("a", `"华星"`, `"【星河】13800138000"`)
	for _, c := range []struct {
		publish string
		status  int
	}{{"refuse", 422}, {"accept", 202}} {
		book, err := rules.Load([]byte("publish: "+c.publish+testRules), map[string]rules.GuardFactory{"signature": signature.New}, nil, rules.Env{})
		if err == nil {
			err = book.Check(map[string]string{"sms": "sms"})
		}
		if err != nil {
			t.Fatal(err)
		}
		r.d.SetBook(book)
		got := request{url: url, body: bad}.do(t)
		if got.StatusCode != c.status {
			t.Fatalf("%s: %d, want %d: %s", c.publish, got.StatusCode, c.status, got.body)
		}
		if c.publish == "refuse" {
			p := got.problem(t)
			if len(p.Problems) != 1 || p.Problems[0].Keyword != "rule-9" || !strings.HasPrefix(p.Problems[0].Pointer, "/data/") || !strings.Contains(p.Problems[0].Zh, "【星河】") || r.stored() != 0 {
				t.Errorf("%+v, %d stored", p, r.stored())
			}
			// What was taken in before the rules changed is a duplicate, not a mistake.
			before := &ledger.EventRecord{Time: time.Now(), Event: schemas.EventRef{Source: "/erp/test", ID: "a", Type: "erp.invoice.due"}, Tenant: "acme", State: schemas.Planned}
			if _, err := r.d.Ledger.PutEvent(t.Context(), before, 0); err != nil {
				t.Fatal(err)
			}
			request{url: url, body: bad}.do(t).want(t, http.StatusAccepted, nil)
			request{url: url, body: event("b")}.do(t).want(t, http.StatusAccepted, nil)
			if n := r.stored(); n != 2 {
				t.Errorf("%d stored", n)
			}
		}
	}
}

func FuzzLint(f *testing.F) {
	book, err := rules.Load([]byte(testRules), nil, nil, rules.Env{})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`{"text":"a"}`, `{"template":"invoice-due","params":{"customer":{"a":[1]}}}`, `{"params":{"":null}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		q, err := decodeLint(body)
		if err != nil || q.check([]string{"default"}) != nil {
			return
		}
		if in, err := q.input(book); err == nil {
			book.Lint(in)
		}
	})
}
