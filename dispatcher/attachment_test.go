package dispatcher_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// A mail waits for its file while attempts are left, and goes without it on the last: the news arrives, and
// the trace says what was missing.
func TestAMailGoesWithoutItsFileInTheEnd(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		var mu sync.Mutex
		var seen []channels.Attempt
		r.mail.attached = []channels.Attached{{Name: "对账单.pdf", Lack: channels.Unreachable}, {Name: "a.csv", Type: "text/csv", Size: 3, SHA256: strings.Repeat("0", 64)}}
		r.mail.answer = func(ctx context.Context, _ *schemas.Delivery, _ int) error {
			a := channels.AttemptOf(ctx)
			mu.Lock()
			seen = append(seen, a)
			mu.Unlock()
			if a.Last {
				return nil
			}
			return &channels.Failure{Kind: "dispatcher", Code: "attachment-unavailable", Class: channels.Temporary, Line: "对账单.pdf: unreachable (HTTP 503)"}
		}
		r.publish("alarm", "a", wang)
		s := r.story("a", time.Hour)
		r.want(s, "mail accepted 6")
		for i, a := range seen {
			if a.Number != i+1 || a.Last != (i == 5) {
				t.Errorf("attempt %d: %+v", i+1, a)
			}
		}
		d := s.Deliveries[0]
		if len(d.Attachments) != 2 || d.Attachments[0].Lack != channels.Unreachable || d.Attachments[1].SHA256 == "" {
			t.Errorf("attachments %+v", d.Attachments)
		}
		first, last := d.History[1].Note, d.History[len(d.History)-1].Note
		if !strings.Contains(first, "attachment-unavailable") || !strings.Contains(last, `without "对账单.pdf": the file storage could not be reached`) {
			t.Errorf("notes %q … %q", first, last)
		}
		// The log names no file, since files are named after people.
		for _, e := range r.logs.FilterMessage("attempt").All() {
			if e.ContextMap()["state"] == "accepted" && !strings.Contains(strings.Join(asStrings(e.ContextMap()["without_attachments"]), " "), "unreachable") {
				t.Errorf("log %v", e.ContextMap())
			}
		}
	})
}

// An attempt after which the message would have expired is the last one.
func TestAMailThatExpiresSoonDoesNotWait(t *testing.T) {
	inVirtualTime(t, book, func(r *rig) {
		r.mail.answer = func(ctx context.Context, _ *schemas.Delivery, _ int) error {
			if channels.AttemptOf(ctx).Last {
				return nil
			}
			return &channels.Failure{Kind: "dispatcher", Code: "attachment-unavailable", Class: channels.Temporary}
		}
		expires := time.Now().Add(3 * time.Minute).Format(time.RFC3339)
		r.publish("alarm", "a", strings.Replace(wang, `"template"`, `"expires":"`+expires+`","template"`, 1))
		r.want(r.story("a", time.Hour), "mail accepted 4")
	})
}

func asStrings(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, s := range list {
		out = append(out, s.(string))
	}
	return out
}
