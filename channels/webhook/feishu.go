package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// feishu is the custom bot of Feishu and Lark (open.feishu.cn, custom bot guide; facts: bots.md).
type feishu struct{}

const feishuLimit = 20_000 // bytes of a request; Feishu says 20 KB

// feishuCodes are the codes (facts: bots.md section 3; 11233 and 11246 from memory).
var feishuCodes = map[string]verdict{
	"9499":     {class: channels.Content}, // or Throttled, see read
	"11232":    {channels.Throttled, time.Minute},
	"11233":    {class: channels.Content},
	"11246":    {class: channels.Content},
	"19001":    {class: channels.Config},
	"19002":    {class: channels.Content},
	"19021":    {class: channels.Config},
	"19022":    {class: channels.Config},
	"19024":    {class: channels.Content},
	"99991400": {channels.Throttled, time.Minute},
}

func newFeishu(cfg *Config, secret string) (format, error) { return newRobot(feishu{}, cfg, secret) }

func (feishu) name() string  { return "feishu" }
func (feishu) english() bool { return false }

func (feishu) check(_ string, at At, _ string) error {
	if len(at.Mobiles) > 0 || at.Recipients {
		return channels.BadSetting("at", "飞书自定义机器人不能按手机号 @ 人，请使用 at.users（open_id 或 user_id）或 at.all",
			"a custom bot of Feishu cannot mention by phone number; use at.users (open_id or user_id) or at.all")
	}
	return nil
}

func (feishu) token(u *url.URL) (string, bool) {
	t := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	return t, t != "" && strings.Contains(u.Path, "/hook/")
}

func (feishu) body(p post) map[string]any {
	people := p.at.Users
	if p.at.All {
		people = append(append([]string{}, people...), "all")
	}
	switch p.form {
	case formText:
		text := strings.ReplaceAll(p.plain(), "<at", "＜at") // a parameter's text mentions nobody
		for i, who := range people {
			if i == 0 {
				text += "\n"
			}
			text += `<at user_id="` + who + `"></at>`
		}
		return map[string]any{"msg_type": "text", "content": map[string]string{"text": text}}
	case formCard:
		elements := []any{}
		if p.text != "" {
			elements = append(elements, map[string]any{"tag": "markdown", "content": strings.ReplaceAll(p.text, "<at", "＜at")})
		}
		if len(p.links) > 0 {
			var actions []any
			for i, l := range p.links {
				style := "default"
				if i == 0 {
					style = "primary"
				}
				actions = append(actions, map[string]any{"tag": "button", "type": style, "url": l.url, "text": map[string]string{"tag": "plain_text", "content": l.label}})
			}
			elements = append(elements, map[string]any{"tag": "action", "actions": actions})
		}
		return map[string]any{"msg_type": "interactive", "card": map[string]any{
			"config": map[string]bool{"wide_screen_mode": true},
			"header": map[string]any{"title": map[string]string{"tag": "plain_text", "content": p.title}},

			"elements": elements,
		}}
	}
	rows := [][]map[string]string{}
	for line := range strings.SplitSeq(p.text, "\n") {
		rows = append(rows, paragraph(line))
	}
	if len(people) > 0 {
		var last []map[string]string
		for _, who := range people {
			last = append(last, map[string]string{"tag": "at", "user_id": who})
		}
		rows = append(rows, last)
	}
	return map[string]any{"msg_type": "post", "content": map[string]any{"post": map[string]any{
		"zh_cn": map[string]any{"title": p.title, "content": rows},
	}}}
}

// paragraph is a line of Markdown as Feishu's rich text has it: texts and links, no other mark-up.
func paragraph(line string) []map[string]string {
	row := []map[string]string{}
	text := func(s string) {
		if s != "" {
			row = append(row, map[string]string{"tag": "text", "text": s})
		}
	}
	line = unmarked(line)
	at := 0
	for _, m := range mdLink.FindAllStringSubmatchIndex(line, -1) {
		text(line[at:m[0]])
		row = append(row, map[string]string{"tag": "a", "text": line[m[2]:m[3]], "href": line[m[4]:m[5]]})
		at = m[1]
	}
	text(line[at:])
	return row
}

func (feishu) fits(_ post, json []byte) bool { return len(json) <= feishuLimit }

// sign puts timestamp and signature into the body: HMAC-SHA256 of nothing, with the seconds, a line break
// and the secret as key. Feishu takes a timestamp up to an hour old.
func (feishu) sign(secret string, u *url.URL, body map[string]any, now time.Time) (*url.URL, []string) {
	if secret == "" {
		return u, nil
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	body["timestamp"], body["sign"] = timestamp, signature
	return u, []string{timestamp, signature}
}

func (feishu) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	f := readAnswer("feishu", feishuCodes, func(a answer) (*number, string) {
		if a.Code == nil {
			return a.StatusCode, a.Msg
		}
		return a.Code, a.Msg
	}, status, header, body, now)
	if f != nil && f.Code == "9499" && strings.Contains(strings.ToLower(f.Line), "too many") { // so on some tenants; from memory
		f.Class, f.After = channels.Throttled, time.Minute
	}
	return f
}

func (feishu) rates() ([]channels.Rate, time.Duration) {
	return []channels.Rate{{Count: 4, Per: time.Second}, {Count: 90, Per: time.Minute}}, time.Minute // 5 a second, 100 a minute
}
