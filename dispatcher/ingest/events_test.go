package ingest

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each file in testdata/bad is a request's body, a line of dashes, and the answer: status and type,
// then pointer and keyword of each problem. A first line "# <header>: <value>" sets a header.
func TestBadEventsAreRefusedWhole(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			input, golden, ok := strings.Cut(string(raw), "\n----\n")
			if !ok {
				t.Fatal("no line of dashes")
			}
			q := request{url: url, header: map[string]string{}, body: input}
			for strings.HasPrefix(q.body, "# ") {
				line, rest, _ := strings.Cut(q.body, "\n")
				name, value, _ := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
				q.header[name], q.body = value, rest
			}
			a := q.do(t)
			p := a.problem(t)
			got := fmt.Sprintf("%d %s\n%s", a.StatusCode, p.Type, pretty(p.Problems))
			for _, q := range p.Problems {
				if q.Zh == "" || q.En == "" {
					t.Errorf("%s: a language is missing: %+v", q.Pointer, q)
				}
			}
			if strings.Contains(string(a.body), "13800138000") {
				t.Error("the answer repeats a phone number")
			}
			if *update {
				if err := os.WriteFile(f, []byte(input+"\n----\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != golden {
				t.Errorf("got\n%s\nwant\n%s", got, golden)
			}
		})
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d events stored, want none", n)
	}
}

func TestEachModeIsStoredAsTheSameEvent(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	one := event("one")
	for _, q := range []request{
		{body: one},
		{body: one, media: "application/json; charset=UTF-8"},
		{body: one, media: "application/cloudevents+json; charset=utf-8"},
		{body: "[" + one + "]"},
		{body: " [" + one + "]", media: "application/cloudevents-batch+json"},
		{body: `{"category":"notification","to":[{"phone":"13800138000"}],"template":"invoice-due","params":{"customer":"华星"}}`, header: map[string]string{
			"ce-specversion": "1.0", "ce-id": "one", "ce-source": "/erp/test", "ce-type": "erp.invoice.due", "ce-tenant": "acme",
			"ce-time": time.Now().UTC().Format(time.RFC3339),
		}},
	} {
		q.url = url
		var got acceptedBody
		q.do(t).want(t, http.StatusAccepted, &got)
		if len(got.Accepted) != 1 || got.Accepted[0].ID != "one" || got.Accepted[0].Source != "/erp/test" {
			t.Errorf("%s: accepted %+v", q.media, got)
		}
		if n := r.stored(); n != 1 {
			t.Errorf("%s: %d stored, want 1", q.media, n)
		}
	}
	m, err := r.d.Broker.Stream(broker.Events).GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := schemas.DecodeEvent(m.Data); err != nil || e.Data.To[0].Phone != "+8613800138000" || m.Subject != "yz.event.acme.erp.invoice.due" {
		t.Errorf("stored on %s: %v, %v", m.Subject, e, err)
	}
}

func TestBatchIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	batch := make([]string, 1000)
	for i := range batch {
		batch[i] = event(fmt.Sprintf("e%d", i))
	}
	good := batch[777]
	batch[777] = event("e777", `"tenant":"acme"`, `"tenant":"nobody"`)
	p := request{url: url, body: "[" + strings.Join(batch, ",") + "]"}.do(t).problem(t)
	if p.Status != 422 || len(p.Problems) != 1 || p.Problems[0].Pointer != "/777/tenant" {
		t.Errorf("problem %+v", p)
	}
	if n := r.stored(); n != 0 {
		t.Fatalf("%d stored, want none", n)
	}
	batch[777] = good
	var got acceptedBody
	request{url: url, body: "[" + strings.Join(batch, ",") + "]"}.do(t).want(t, http.StatusAccepted, &got)
	if n := r.stored(); n != 1000 || len(got.Accepted) != 1000 || got.Accepted[999].ID != "e999" {
		t.Errorf("%d stored, %d accepted", n, len(got.Accepted))
	}
}

func TestThousandEqualEventsAtOnceAreStoredOnce(t *testing.T) {
	r := newRig(t)
	urls := []string{r.serve(open()) + "/v1/events", r.serve(open()) + "/v1/events"}
	body := event("same")
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first int
		slots = make(chan struct{}, 50)
	)
	for i := range 1000 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var got acceptedBody
			a := request{url: urls[i%2], body: body}.do(t)
			if a.StatusCode != http.StatusAccepted {
				t.Errorf("status %d: %s", a.StatusCode, a.body)
				return
			}
			a.want(t, http.StatusAccepted, &got)
			mu.Lock()
			defer mu.Unlock()
			if !got.Accepted[0].Duplicate {
				first++
			}
		})
	}
	wg.Wait()
	if n := r.stored(); n != 1 || first != 1 {
		t.Errorf("%d stored, %d told that they were first; want 1 and 1", n, first)
	}
}

// An event that the stream no longer remembers is still a duplicate: the ledger knows it.
func TestOldEventIsLookedUpInTheLedger(t *testing.T) {
	r := newRig(t)
	r.run()
	url := r.serve(open())
	old := event("old", `"time":`, `"subject":`) // no time at all
	request{url: url + "/v1/events", body: old}.do(t).want(t, http.StatusAccepted, nil)
	eventually(t, "planned", func() bool {
		return request{method: "GET", url: url + "/v1/events/old"}.do(t).StatusCode == http.StatusOK
	})
	if err := r.d.Broker.Stream(broker.Events).Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got acceptedBody
	request{url: url + "/v1/events", body: old}.do(t).want(t, http.StatusAccepted, &got)
	if n := r.stored(); !got.Accepted[0].Duplicate || n != 0 {
		t.Errorf("duplicate %t, %d stored", got.Accepted[0].Duplicate, n)
	}
}

func TestTenantsDoNotTakeEachOthersIDs(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	for _, tenant := range []string{"acme", "default"} {
		var got acceptedBody
		request{url: url, body: event("shared", `"acme"`, `"`+tenant+`"`)}.do(t).want(t, http.StatusAccepted, &got)
		if got.Accepted[0].Duplicate {
			t.Errorf("%s: another tenant's event made this one a duplicate", tenant)
		}
	}
	if n := r.stored(); n != 2 {
		t.Errorf("%d stored, want 2", n)
	}
}

// endless never ends: a server that read it all would never answer.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestLargeBodyIsRefusedBeforeItIsRead(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	large := strings.Repeat(" ", 10<<20)
	if p := (request{url: url, body: large}).do(t).problem(t); p.Status != 413 || p.Type != "too-large" {
		t.Errorf("announced: %+v", p)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, &endless{})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != 413 {
		t.Errorf("endless: status %d", resp.StatusCode)
	}
	// One event is bounded more tightly than a request, alone and in a batch.
	html := event("big", `"template":"invoice-due","params":{"customer":"华星"}`, `"content":{"html":"`+strings.Repeat("x", maxEvent)+`"}`)
	if p := (request{url: url, body: html}).do(t).problem(t); p.Status != 413 {
		t.Errorf("single: %+v", p)
	}
	p := request{url: url, body: "[" + event("small") + "," + html + "]"}.do(t).problem(t)
	if p.Status != 413 || len(p.Problems) != 1 || p.Problems[0].Pointer != "/1" {
		t.Errorf("batch: %+v", p)
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d stored", n)
	}
}

func TestFullStreamSays429AndBrokerAwaySays503(t *testing.T) {
	r := newRig(t, func(c *broker.Config) { c.EventsMaxBytes = 2000 })
	url := r.serve(open())
	var last response
	for i := range 20 {
		if last = (request{url: url + "/v1/events", body: event(fmt.Sprint("e", i))}).do(t); last.StatusCode != http.StatusAccepted {
			break
		}
	}
	if p := last.problem(t); p.Status != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("full: %+v, Retry-After %q", p, last.Header.Get("Retry-After"))
	}
	request{method: "GET", url: url + "/readyz"}.do(t).want(t, 200, nil)
	r.d.Broker.NC.Close()
	away := request{url: url + "/v1/events", body: event("late")}.do(t)
	if p := away.problem(t); p.Status != 503 || away.Header.Get("Retry-After") == "" {
		t.Errorf("away: %+v", p)
	}
	if p := (request{method: "GET", url: url + "/readyz"}).do(t).problem(t); p.Status != 503 {
		t.Errorf("readyz: %+v", p)
	}
	request{method: "GET", url: url + "/healthz"}.do(t).want(t, 200, nil)
}

func TestProblemsSpeakTheCallersLanguage(t *testing.T) {
	r := newRig(t)
	url := r.serve(open()) + "/v1/events"
	for accept, zh := range map[string]bool{"": false, "en": false, "zh-CN,zh;q=0.9": true, "zh-TW": true, "en;q=0.2, zh;q=0.8": true, "fr, en;q=0.5": false, "\xff": false} {
		p := request{url: url, body: "{}", header: map[string]string{"Accept-Language": accept}}.do(t).problem(t)
		if got := p.Title == "内容有误"; got != zh {
			t.Errorf("Accept-Language %q: title %q", accept, p.Title)
		}
		if len(p.Problems) == 0 || p.Problems[0].Zh == p.Problems[0].En {
			t.Errorf("Accept-Language %q: problems %+v", accept, p.Problems)
		}
	}
}
