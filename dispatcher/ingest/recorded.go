package ingest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/schemas"
)

// RecordedItem is an event that the broker still keeps, as a backtest needs it: whole, with numbers and texts,
// but for the secret of a verification.
type RecordedItem struct {
	Stored time.Time      `json:"stored"`
	Event  *schemas.Event `json:"event"`
}

type recordedBody struct {
	Items []RecordedItem `json:"items"`
	Next  string         `json:"next,omitzero"`
}

// listEvents hands out recorded events: a page of them in the order in which they were stored, or those with an id.
func (s *server) listEvents(w *answer, r *http.Request) error {
	who, _, done, err := s.enter(w, r, want{role: RoleExport})
	if err != nil {
		return err
	}
	done()
	tenant, err := s.tenantOf(r, who)
	if err != nil {
		return err
	}
	in := who.tenants()
	if tenant != "" {
		in = []string{tenant}
	}
	q := dispatcher.RecordedQuery{Tenants: in, Limit: dispatcher.MaxRecorded}
	v := r.URL.Query()
	for _, bound := range []struct {
		name string
		into *time.Time
	}{{"since", &q.Since}, {"until", &q.Until}} {
		if s := v.Get(bound.name); s != "" {
			if *bound.into, err = time.Parse(time.RFC3339, s); err != nil {
				return one("/"+bound.name, "date-time", "%[1]s 应为 RFC 3339 时间，如 2026-11-23T00:00:00+08:00", "%[1]s must be an RFC 3339 time such as 2026-11-23T00:00:00+08:00", bound.name)
			}
		}
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > dispatcher.MaxRecorded {
			return one("/limit", "range", "limit 应为 1 到 %d 的整数", "limit must be a whole number of 1 to %d", dispatcher.MaxRecorded)
		}
	}
	if s := v.Get("cursor"); s != "" {
		if q.Cursor, err = strconv.ParseUint(s, 10, 64); err != nil || q.Cursor == 0 {
			return one("/cursor", "cursor", "cursor 应为上一页 next 的值", "cursor must be the next of the page before")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	var found []dispatcher.RecordedEvent
	next := uint64(0)
	if id := v.Get("id"); id != "" {
		found, err = s.d.RecordedByID(ctx, tenant, v.Get("source"), id)
	} else {
		found, next, err = s.d.Recorded(ctx, q)
	}
	if err != nil {
		return err
	}
	out := recordedBody{Items: []RecordedItem{}}
	for _, one := range found {
		if who.allowsTenant(one.Event.Tenant) && who.allowsType(one.Event.Type) {
			hideSecret(one.Event)
			out.Items = append(out.Items, RecordedItem{one.Stored, one.Event})
		}
	}
	if next > 0 {
		out.Next = strconv.FormatUint(next, 10)
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

// hideSecret takes the code, or the link that logs in, out of a verification: it may still be good. What stands
// in its place is as long, so that the parts of an SMS stay what they were.
func hideSecret(e *schemas.Event) {
	if e.Data.Category != schemas.Verification {
		return
	}
	for name, v := range e.Data.Params {
		e.Data.Params[name] = hidden(v)
	}
	if c := e.Data.Content; c != nil {
		c.Subject, c.Text, c.HTML = blank(c.Subject), blank(c.Text), blank(c.HTML)
	}
}

func hidden(v any) any {
	switch v := v.(type) {
	case string:
		return blank(v)
	case float64:
		return 0.0
	case map[string]any:
		for name := range v {
			v[name] = hidden(v[name])
		}
	case []any:
		for i := range v {
			v[i] = hidden(v[i])
		}
	}
	return v
}

// blank puts 0 for every digit and x for every Latin letter.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= '０' && r <= '９':
			return '0'
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			return 'x'
		}
		return r
	}, s)
}
