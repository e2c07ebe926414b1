package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// slack is an incoming webhook of Slack, and of what takes the same requests (Mattermost, Rocket.Chat and
// others). Errors: api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks.
type slack struct{}

// Limits, from memory of Slack's reference; in bytes, which are never fewer than its characters.
const (
	slackText    = 39_000 // of a message, 40,000 characters
	slackSection = 3_000  // of a section block
	slackHeader  = 150    // characters of a header block
)

// slackWords are the words of a refusal.
var slackWords = map[string]verdict{
	"invalid_payload":     {class: channels.Content},
	"user_not_found":      {class: channels.Config},
	"action_prohibited":   {class: channels.Config},
	"channel_not_found":   {class: channels.Config},
	"channel_is_archived": {class: channels.Config},
	"rollup_error":        {class: channels.Temporary},
	// From memory.
	"no_service":                        {class: channels.Config},
	"no_service_id":                     {class: channels.Config},
	"no_active_hooks":                   {class: channels.Config},
	"no_team":                           {class: channels.Config},
	"team_disabled":                     {class: channels.Config},
	"invalid_token":                     {class: channels.Config},
	"posting_to_general_channel_denied": {class: channels.Config},
	"no_text":                           {class: channels.Content},
	"missing_text_or_fallback_or_attachments": {class: channels.Content},
	"invalid_blocks":         {class: channels.Content},
	"invalid_attachments":    {class: channels.Content},
	"too_many_attachments":   {class: channels.Content},
	"msg_too_long":           {class: channels.Content},
	"rate_limited":           {class: channels.Throttled},
	"ratelimited":            {class: channels.Throttled},
	"message_limit_exceeded": {class: channels.Throttled},
	"fatal_error":            {class: channels.Temporary},
	"internal_error":         {class: channels.Temporary},
	"request_timeout":        {class: channels.Temporary},
	"service_unavailable":    {class: channels.Temporary},
}

func newSlack(cfg *Config, secret string) (format, error) { return newRobot(slack{}, cfg, secret) }

func (slack) name() string  { return "slack" }
func (slack) english() bool { return true }

func (slack) check(_ string, at At, secret string) error {
	switch {
	case secret != "":
		return channels.BadSetting("secret_file", "Slack 的 Incoming Webhook 没有签名密钥，请删除 secret_file", "incoming webhooks of Slack have no signing secret; remove secret_file")
	case len(at.Mobiles) > 0 || at.Recipients:
		return channels.BadSetting("at", "Slack 不能按手机号 @ 人，请使用 at.users（成员 ID，如 U012AB3CD）或 at.all", "Slack cannot mention by phone number; use at.users (member ids such as U012AB3CD) or at.all")
	}
	return nil
}

func (slack) token(u *url.URL) (string, bool) {
	t := strings.Trim(u.Path, "/")
	return t, t != ""
}

func (s slack) body(p post) map[string]any {
	if p.form == formText {
		return map[string]any{"text": escaped(p.plain()) + mentions(p.at)}
	}
	if p.form == formMarkdown {
		return map[string]any{"text": mrkdwn(p.heading()) + mentions(p.at)}
	}
	title := []rune(p.title)
	blocks := []any{map[string]any{"type": "header", "text": map[string]string{"type": "plain_text", "text": string(title[:min(len(title), slackHeader)])}}}
	if p.text != "" {
		blocks = append(blocks, map[string]any{"type": "section", "text": map[string]string{"type": "mrkdwn", "text": mrkdwn(p.text)}})
	}
	if len(p.links) > 0 {
		var buttons []any
		for _, l := range p.links {
			label := []rune(l.label)
			buttons = append(buttons, map[string]any{"type": "button", "url": l.url, "text": map[string]string{"type": "plain_text", "text": string(label[:min(len(label), 75)])}})
		}
		blocks = append(blocks, map[string]any{"type": "actions", "elements": buttons})
	}
	return map[string]any{"text": escaped(p.title), "blocks": blocks} // text is what notifications show
}

func mentions(at At) string {
	var named []string
	if at.All {
		named = append(named, "<!channel>")
	}
	for _, who := range at.Users {
		named = append(named, "<@"+who+">")
	}
	if len(named) == 0 {
		return ""
	}
	return "\n" + strings.Join(named, " ")
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escaped takes the meaning from Slack's three control characters, so that a parameter's text mentions nobody.
func escaped(s string) string { return escape.Replace(s) }

// mrkdwn is Markdown in Slack's dialect: <address|label>, *bold*, headings in bold.
func mrkdwn(s string) string {
	var b strings.Builder
	at := 0
	plain := func(s string) {
		s = mdHeading.ReplaceAllString(escaped(s), "**$1**")
		b.WriteString(mdBold.ReplaceAllString(s, "*$1*"))
	}
	for _, m := range mdLink.FindAllStringSubmatchIndex(s, -1) {
		plain(s[at:m[0]])
		label := strings.ReplaceAll(escaped(s[m[2]:m[3]]), "|", "/")
		b.WriteString("<" + strings.ReplaceAll(s[m[4]:m[5]], "|", "%7C") + "|" + label + ">")
		at = m[1]
	}
	plain(s[at:])
	return b.String()
}

func (slack) fits(p post, json []byte) bool {
	return len(json) <= slackText && (p.form != formCard || len(mrkdwn(p.text)) <= slackSection)
}

func (slack) sign(_ string, u *url.URL, _ map[string]any, _ time.Time) (*url.URL, []string) {
	return u, nil
}

// read judges by the status and by the word in the body: "ok", or why not. A page of a proxy is neither.
func (slack) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	word := strings.TrimSpace(string(body[:min(len(body), 4096)]))
	if v, ok := slackWords[word]; ok {
		f := &channels.Failure{Kind: kind, Provider: "slack", Code: word, Class: v.class, Line: word}
		if v.class == channels.Throttled {
			f.After = channels.RetryAfter(header.Get("Retry-After"), now)
		}
		return f
	}
	if f := channels.FromHTTP(kind, "slack", status, header, body, now); f != nil {
		return f
	}
	if word == "ok" || word == "" && status == http.StatusNoContent || said(body) {
		return nil
	}
	return &channels.Failure{
		Kind: kind, Provider: "slack", Code: noCode, Class: channels.Unknown, Maybe: true,
		Line: channels.Line(strconv.Itoa(status) + " " + word),
	}
}

// said recognises {"ok":true} and {"success":true}, as look-alikes answer.
func said(body []byte) bool {
	var a struct{ OK, Success bool }
	return json.Unmarshal(bytes.TrimSpace(body), &a) == nil && (a.OK || a.Success)
}

func (slack) rates() ([]channels.Rate, time.Duration) {
	return []channels.Rate{{Count: 1, Per: time.Second}}, 0 // 1 a second; from memory. 429 says how long
}
