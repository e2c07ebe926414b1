package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// slackWords are the words, which are the code, and the HTTP status that each comes with.
var slackWords = map[string]string{
	"no_service":                        "404",
	"no_service_id":                     "404",
	"no_active_hooks":                   "404",
	"no_team":                           "404",
	"team_disabled":                     "403",
	"invalid_token":                     "403",
	"channel_not_found":                 "404",
	"channel_is_archived":               "410",
	"user_not_found":                    "400",
	"action_prohibited":                 "403",
	"posting_to_general_channel_denied": "403",
	"invalid_payload":                   "400",
	"no_text":                           "400",
	"missing_text_or_fallback_or_attachments": "400",
	"invalid_blocks":         "400",
	"invalid_attachments":    "400",
	"too_many_attachments":   "400",
	"msg_too_long":           "400",
	"rate_limited":           "429",
	"ratelimited":            "429",
	"message_limit_exceeded": "429",
	"rollup_error":           "500",
	"fatal_error":            "500",
	"internal_error":         "500",
	"request_timeout":        "500",
	"service_unavailable":    "503",
}

// slackMessage is what a message of Slack has.
type slackMessage struct {
	Text   string
	Blocks []struct {
		Type     string
		Text     struct{ Text string }
		Elements []struct {
			Text struct{ Text string }
			URL  string
		}
	}
}

func (s *Robots) slack(r *robot, q *http.Request, body []byte) robotAnswer {
	var m slackMessage
	switch {
	case !sameSecret(strings.TrimPrefix(q.URL.Path, "/services/"), r.token):
		return r.refuse("no_service")
	case json.Unmarshal(body, &m) != nil:
		return r.refuse("invalid_payload")
	case m.Text == "" && len(m.Blocks) == 0:
		return r.refuse("no_text")
	case len([]rune(m.Text)) > 40_000:
		return r.refuse("invalid_payload")
	}
	it := &Item{Text: m.Text, Raw: clip(string(body))}
	if len(m.Blocks) > 0 {
		it.Subject, it.Text = m.Text, ""
	}
	for _, b := range m.Blocks {
		if b.Type == "section" {
			if len([]rune(b.Text.Text)) > 3000 {
				return r.refuse("invalid_blocks")
			}
			it.Text += b.Text.Text
		}
		for _, e := range b.Elements {
			it.Text += buttonLine(e.Text.Text, e.URL)
		}
	}
	if !r.allow(s.now(), 0, limit{5, 5 * time.Second}) {
		return robotAnswer{status: http.StatusTooManyRequests, header: map[string]string{"Retry-After": "1"}, body: "rate_limited"}
	}
	return robotAnswer{body: "ok", item: it}
}
