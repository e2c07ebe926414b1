package aliyun

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// details is a far side that knows the rows of each day and remembers what it was asked.
type details struct {
	mu    sync.Mutex
	rows  map[string][]map[string]any
	asked []string // "20261123 1"
}

func (q *details) serve(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := r.URL.Query()
	page, _ := strconv.Atoi(v.Get("CurrentPage"))
	size, _ := strconv.Atoi(v.Get("PageSize"))
	q.asked = append(q.asked, v.Get("SendDate")+" "+v.Get("CurrentPage"))
	all := q.rows[v.Get("SendDate")]
	from := min((page-1)*size, len(all))
	reply(w, 200, map[string]any{
		"Code": "OK", "Message": "OK", "TotalCount": len(all), // a number, as the wire has it
		"SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": all[from:min(from+size, len(all))]},
	})
}

func row(id, sent string, status int, code string) map[string]any {
	return map[string]any{"OutId": id, "SendDate": sent, "SendStatus": status, "ErrCode": code, "PhoneNum": "13912345678"}
}

func TestLookup(t *testing.T) {
	d := channeltest.Delivery(1)
	now := time.Date(2026, 11, 24, 0, 10, 0, 0, china)
	since := time.Date(2026, 11, 23, 23, 50, 0, 0, china)
	crowd := make([]map[string]any, 120)
	for i := range crowd {
		crowd[i] = row(fmt.Sprint("other", i), "2026-11-23 23:55:00", 3, "DELIVERED")
	}
	for _, c := range []struct {
		name  string
		rows  map[string][]map[string]any
		since time.Time
		state schemas.State
		asked []string
	}{
		{"nothing", nil, since, "", []string{"20261123 1", "20261124 1"}},
		{"one day", nil, now.Add(-time.Minute), "", []string{"20261124 1"}},
		{"waiting", map[string][]map[string]any{"20261123": {row(d.ID, "2026-11-23 23:50:01", 1, "")}}, since, schemas.Accepted, []string{"20261123 1", "20261124 1"}},
		{"after midnight", map[string][]map[string]any{"20261124": {row(d.ID, "2026-11-24 00:00:01", 3, "DELIVERED")}}, since, schemas.Delivered, []string{"20261123 1", "20261124 1"}},
		{"failed", map[string][]map[string]any{"20261123": {row(d.ID, "2026-11-23 23:50:01", 2, "MK:0001")}}, since, schemas.Undelivered, []string{"20261123 1", "20261124 1"}},
		{"an earlier send of the same delivery", map[string][]map[string]any{"20261123": {row(d.ID, "2026-11-23 09:00:00", 2, "MK:0001")}}, since, "", []string{"20261123 1", "20261124 1"}},
		{"failed and delivered", map[string][]map[string]any{"20261123": {row(d.ID, "2026-11-23 23:50:01", 2, "MK:0001"), row(d.ID, "2026-11-23 23:52:01", 3, "")}}, since, schemas.Delivered, []string{"20261123 1", "20261124 1"}},
		{"third page", map[string][]map[string]any{"20261123": append(slices.Clone(crowd), row(d.ID, "2026-11-23 23:50:01", 3, ""))}, since, schemas.Delivered, []string{"20261123 1", "20261123 2", "20261123 3", "20261124 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &details{rows: c.rows}
			ch := far(t, q.serve)
			ch.now = func() time.Time { return now.UTC() }
			l, err := ch.Lookup(t.Context(), d, c.since)
			if err != nil || l.Found != (c.state != "") || l.State != c.state {
				t.Errorf("Lookup = %+v, %v; want %q", l, err, c.state)
			}
			if c.state == schemas.Undelivered && (l.Failure == nil || l.Failure.Code != "MK:0001" || l.Failure.Class != channels.BadTarget) {
				t.Errorf("Failure = %+v", l.Failure)
			}
			if !slices.Equal(q.asked, c.asked) {
				t.Errorf("asked for %q, want %q", q.asked, c.asked)
			}
		})
	}
}

// "I could not look at everything" must not become "it is not there".
func TestLookupIsBounded(t *testing.T) {
	crowd := make([]map[string]any, pageSize*maxPages+1)
	for i := range crowd {
		crowd[i] = row(fmt.Sprint("other", i), "2026-11-23 12:00:00", 3, "")
	}
	q := &details{rows: map[string][]map[string]any{"20261123": crowd}}
	ch := far(t, q.serve)
	now := time.Date(2026, 11, 23, 12, 30, 0, 0, china)
	ch.now = func() time.Time { return now }
	if l, err := ch.Lookup(t.Context(), channeltest.Delivery(1), now.Add(-time.Hour)); err == nil {
		t.Errorf("Lookup = %+v, want an error", l)
	}
	if len(q.asked) != maxPages {
		t.Errorf("%d pages were asked for, want %d", len(q.asked), maxPages)
	}
}

func TestLookupThatFails(t *testing.T) {
	for _, body := range []string{`{"Code":"isp.SYSTEM_ERROR","Message":"x"}`, `{"Code":"isp.RAM_PERMISSION_DENY","Message":"x"}`, `<html>`, ``} {
		ch := far(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		_, err := ch.Lookup(t.Context(), channeltest.Delivery(1), time.Now())
		if err == nil {
			t.Errorf("answer %q: Lookup = nil, want an error", body)
		} else if f := channels.Explain(err); f.Maybe {
			t.Errorf("answer %q: %+v: a question changes nothing", body, f)
		}
	}
}
