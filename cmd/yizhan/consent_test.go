package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// desk plays POST /v1/consents: it knows one tenant, and counts what it takes.
type desk struct {
	took    []schemas.ConsentChange
	batches []int
	busy    int // answers of "come back later" left
}

func (d *desk) serve(a *api) {
	for range 50 {
		a.queue = append(a.queue, d.answer)
	}
}

func (d *desk) answer(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/consents" {
		return false
	}
	if d.busy > 0 {
		d.busy--
		w.Header().Set("Retry-After", "1")
		writeProblem(w, http.StatusServiceUnavailable, "Busy", nil)
		return true
	}
	body, _ := io.ReadAll(r.Body)
	var changes []schemas.ConsentChange
	if err := json.Unmarshal(body, &changes); err != nil {
		changes = make([]schemas.ConsentChange, 1)
		if err := json.Unmarshal(body, &changes[0]); err != nil {
			writeProblem(w, http.StatusBadRequest, "Bad JSON", nil)
			return true
		}
	}
	var bad []schemas.Problem
	for i, c := range changes {
		if c.Tenant != "acme" {
			bad = append(bad, schemas.Problem{Pointer: fmt.Sprintf("/%d/tenant", i), Keyword: "tenant", Text: schemas.Text{Zh: "没有这个租户", En: "no such tenant"}})
		}
	}
	if bad != nil {
		writeProblem(w, http.StatusUnprocessableEntity, "Invalid input", bad)
		return true
	}
	d.took = append(d.took, changes...)
	d.batches = append(d.batches, len(changes))
	writeJSON(w, http.StatusOK, "application/json", ingest.ConsentsRecorded{Recorded: len(changes)})
	return true
}

// consentFile has good lines, and one of each kind of bad ones.
const consentFile = "phone,email,state,purpose,time,how,text,tenant\n" +
	"13800138000,,in,,2026-03-01 09:30,form,会员章程,\n" +
	"12,,out,,,,,\n" +
	"13800138001,,out,all,2026/5/18 14:02,reply,R,\n" +
	"13800138002,,in,,,,,\n" +
	"13800138003,,out,,,,,beta\n" +
	"13800138004,,out\n" +
	",wang@example.com,out,,,,,\n"

func TestConsentImportNamesBadLines(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		for _, format := range []string{"table", "json"} {
			t.Run(l+format, func(t *testing.T) {
				a, d := serve(t), &desk{}
				d.serve(a)
				args := []string{"consent", "import", "-", "--tenant", "acme", "--lang", l, "-o", format}
				golden(t, "consent-import-"+l+"-"+format, yizhan(t, consentFile, args...), args)
				if len(d.took) != 3 || d.took[0].How != schemas.ByForm || d.took[2].How != schemas.ByImport || d.took[2].Tenant != "acme" {
					t.Errorf("the server took %+v", d.took)
				}
			})
		}
	}
}

func TestConsentImportOfTheExample(t *testing.T) {
	a, d := serve(t), &desk{busy: 2}
	defer func(p func(context.Context, time.Duration) error) { pause = p }(pause)
	pause = func(context.Context, time.Duration) error { return nil }
	d.serve(a)
	r := yizhan(t, "", "consent", "import", "../../docs/examples/consents.csv", "--lang", "en")
	if r.code != exitOK || len(d.took) != 4 || !strings.Contains(r.out, "recorded 4") {
		t.Errorf("%+v, took %+v", r, d.took)
	}
}

func TestConsentImportOfJSONInBatches(t *testing.T) {
	var array, lines []string
	for i := range 450 {
		one := fmt.Sprintf(`{"tenant":"acme","phone":"138%08d","state":"out"}`, i)
		array, lines = append(array, one), append(lines, one)
	}
	for name, in := range map[string]string{"array": "\n[" + strings.Join(array, ",\n") + "]", "lines": strings.Join(lines, "\n") + "\n{\"tenant\":\n"} {
		a, d := serve(t), &desk{}
		d.serve(a)
		r := yizhan(t, in, "consent", "import", "-")
		if fmt.Sprint(d.batches) != "[100 100 100 100 50]" {
			t.Errorf("%s: batches %v, %+v", name, d.batches, r)
		}
		if bad := name == "lines"; bad != (r.code == exitProblem) || bad != strings.Contains(r.err, "stdin:451") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestConsentShowAndExport(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 30, 0, 0, time.UTC) }
	entry := func(state schemas.ConsentState, p schemas.Purpose, at time.Time, how, text string) schemas.ConsentEntry {
		return schemas.ConsentEntry{ConsentWord: schemas.ConsentWord{State: state, Purpose: p, Time: at, How: how, Text: text}, By: "erp", Recorded: at.Add(time.Hour)}
	}
	in := entry(schemas.OptedIn, "marketing", at(1, 1), schemas.ByForm, "会员章程")
	out := entry(schemas.OptedOut, "all", at(8, 6), schemas.ByReply, "=R")
	answer := func(phone string) string {
		b, err := json.Marshal(ingest.ConsentPage{Items: []schemas.Consent{
			{Tenant: "acme", Phone: phone, States: map[schemas.Category]schemas.ConsentEntry{schemas.Marketing: out, schemas.Notification: out}, Used: at(2, 2), History: []schemas.ConsentEntry{in, out}},
			{Tenant: "beta", Erased: at(9, 9), States: map[schemas.Category]schemas.ConsentEntry{schemas.Marketing: out}},
		}}, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, l := range []string{"zh", "en"} {
		a := serve(t)
		a.answers["GET /v1/consents"] = answer("138****8000")
		args := []string{"consent", "show", "138 0013 8000", "--lang", l}
		golden(t, "consent-show-"+l, yizhan(t, "", args...), args)
		if a.requests[0] != "GET /v1/consents?phone=%2B8613800138000" {
			t.Errorf("asked %s", a.requests)
		}
	}
	a := serve(t)
	a.answers["GET /v1/consents"] = answer("+8613800138000")
	args := []string{"consent", "export", "--tenant", "acme", "--state", "out", "--lang", "en"}
	golden(t, "consent-export", yizhan(t, "", args...), args)
	if a.requests[0] != "GET /v1/consents?limit=1000&reveal=true&state=out&tenant=acme" {
		t.Errorf("asked %s", a.requests)
	}
	if r := yizhan(t, "", "consent", "export", "-o", "json"); strings.Count(r.out, "\n") != 2 || !strings.Contains(r.out, `"history"`) {
		t.Errorf("%+v", r)
	}
}

func TestConsentOptOutAndErase(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		a, d := serve(t), &desk{}
		d.serve(a)
		args := []string{"consent", "opt-out", "13800138000", "--tenant", "acme", "--purpose", "all", "--reason", "客户来电", "--lang", l}
		golden(t, "consent-opt-out-"+l, yizhan(t, "", args...), args)
		if len(d.took) != 1 || d.took[0].Purpose != schemas.PurposeAll || d.took[0].State != schemas.OptedOut || d.took[0].Text != "客户来电" || d.took[0].Phone != "+8613800138000" {
			t.Errorf("took %+v", d.took)
		}
	}
	a := serve(t)
	a.answers["DELETE /v1/consents"] = `{"erased":true}`
	if r := yizhan(t, "", "consent", "erase", "wang@example.com", "--tenant", "acme"); r.code != exitOK || !strings.Contains(r.out, "w***@example.com") || a.requests[0] != "DELETE /v1/consents?email=wang%40example.com&tenant=acme" {
		t.Errorf("%+v, asked %v", r, a.requests)
	}
	a.answers["GET /v1/consents"] = `{"items":[]}`
	missing := filepath.Join(t.TempDir(), "none.csv")
	empty := filepath.Join(t.TempDir(), "empty.csv")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"opt-out", "13800138000"}, exitUsage, "a refusal needs a reason"},
		{[]string{"opt-out", "13800138000", "--reason", "x", "--purpose", "ads"}, exitUsage, "--purpose must be"},
		{[]string{"opt-out", "1380", "--reason", "x"}, exitUsage, "is not a valid mobile number"},
		{[]string{"show", "13800138000"}, exitProblem, "without a recorded agreement no marketing is sent"},
		{[]string{"import"}, exitUsage, "missing the file"},
		{[]string{"import", missing}, exitUsage, "cannot open the file"},
		{[]string{"import", empty}, exitProblem, "the first line names the columns"},
		{[]string{"export", "--state", "all"}, exitUsage, "--state must be in or out"},
		{[]string{"exprot"}, exitUsage, "did you mean yizhan consent export?"},
	} {
		if r := yizhan(t, "", append([]string{"consent"}, c.args...)...); r.code != c.code || !strings.Contains(r.err, c.want) {
			t.Errorf("%v: %+v, want %d and %q", c.args, r, c.code, c.want)
		}
	}
}

// What waits for the morning must not keep the story of `yizhan dev` from being told.
func TestSamplesThatWaitForTheMorningAreAtRest(t *testing.T) {
	until := time.Date(2026, 11, 23, 22, 0, 30, 0, time.UTC)
	story := func(open bool, ds ...ledger.DeliveryStory) ledger.Story {
		return ledger.Story{Open: open, Deliveries: ds}
	}
	for _, c := range []struct {
		name string
		s    ledger.Story
		want bool
	}{
		{"not planned yet", story(true), true},
		{"ended", story(false, ledger.DeliveryStory{State: schemas.Accepted}), false},
		{"held for hours", story(true, ledger.DeliveryStory{State: schemas.Held, Due: until.Add(time.Hour)}), false},
		{"held for a retry", story(true, ledger.DeliveryStory{State: schemas.Held, Due: until.Add(-time.Second)}), true},
		{"one of two", story(true, ledger.DeliveryStory{State: schemas.Held, Due: until.Add(time.Hour)}, ledger.DeliveryStory{State: schemas.Sending}), true},
	} {
		if got := goesOn(c.s, until); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
