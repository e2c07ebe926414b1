package webhook

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// weCom is the group robot of WeCom (developer.work.weixin.qq.com/document/path/91770; facts: bots.md).
type weCom struct{}

// Limits in bytes of UTF-8.
const (
	weComText     = 2048
	weComMarkdown = 4096
	weComCard     = 2048 // of a card's text; its exact limits are not verified
)

// weComCodes are the errcodes (facts: bots.md section 3; 45033, 93004, 93008, 40058, 44004 and 45002 from memory).
var weComCodes = map[string]verdict{
	"-1":    {class: channels.Temporary},
	"6000":  {class: channels.Temporary},
	"45009": {channels.Throttled, time.Minute},
	"45033": {channels.Throttled, 5 * time.Second},
	"93000": {class: channels.Config},
	"93004": {class: channels.Config},
	"93008": {class: channels.Config},
	"40008": {class: channels.Content},
	"40033": {class: channels.Content},
	"40035": {class: channels.Content},
	"40058": {class: channels.Content},
	"40007": {class: channels.Content},
	"44004": {class: channels.Content},
	"45002": {class: channels.Content},
	"41001": {class: channels.Auth},
	"40001": {class: channels.Auth},
	"40014": {class: channels.Auth},
}

func newWeCom(cfg *Config, secret string) (format, error) { return newRobot(weCom{}, cfg, secret) }

func (weCom) name() string  { return "wecom" }
func (weCom) english() bool { return false }

func (weCom) check(form string, at At, secret string) error {
	switch {
	case secret != "":
		return channels.BadSetting("secret_file", "企业微信群机器人没有签名密钥，请删除 secret_file", "robots of WeCom have no signing secret; remove secret_file")
	case form == formMarkdown && (len(at.Mobiles) > 0 || at.All || at.Recipients):
		return channels.BadSetting("at", "企业微信的 markdown 消息只能按用户 ID（at.users）提醒；按手机号或 @所有人 请使用 message: text",
			"a markdown message of WeCom mentions by user id (at.users) only; for phone numbers or everybody use message: text")
	}
	return nil
}

func (weCom) token(u *url.URL) (string, bool) {
	t := u.Query().Get("key")
	return t, t != ""
}

func (w weCom) body(p post) map[string]any {
	switch {
	case p.form == formText:
		text := map[string]any{"content": p.plain()}
		if people := p.at.Users; len(people) > 0 || p.at.All {
			if p.at.All {
				people = append(append([]string{}, people...), "@all")
			}
			text["mentioned_list"] = people
		}
		if len(p.at.Mobiles) > 0 {
			text["mentioned_mobile_list"] = p.at.Mobiles
		}
		return map[string]any{"msgtype": "text", "text": text}
	case p.form == formCard && len(p.links) > 0: // a card leads somewhere
		var jumps []map[string]any
		for _, l := range p.links {
			jumps = append(jumps, map[string]any{"type": 1, "title": l.label, "url": l.url})
		}
		return map[string]any{"msgtype": "template_card", "template_card": map[string]any{
			"card_type":      "text_notice",
			"main_title":     map[string]string{"title": p.title},
			"sub_title_text": flat(p.text),
			"jump_list":      jumps,
			"card_action":    map[string]any{"type": 1, "url": p.links[0].url},
		}}
	}
	return map[string]any{"msgtype": "markdown", "markdown": map[string]string{"content": w.markdown(p)}}
}

// markdown is the text with mentions at its end. A parameter's text mentions nobody.
func (weCom) markdown(p post) string {
	text := strings.ReplaceAll(p.heading(), "<@", "＜@")
	for i, who := range p.at.Users {
		if i == 0 {
			text += "\n"
		}
		text += "<@" + who + ">"
	}
	return text
}

func (w weCom) fits(p post, _ []byte) bool {
	switch {
	case p.form == formText:
		return len(p.plain()) <= weComText
	case p.form == formCard && len(p.links) > 0:
		return len(flat(p.text)) <= weComCard
	}
	return len(w.markdown(p)) <= weComMarkdown
}

func (weCom) sign(_ string, u *url.URL, _ map[string]any, _ time.Time) (*url.URL, []string) {
	return u, nil
}

func (weCom) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	return readAnswer("wecom", weComCodes, byErrCode, status, header, body, now)
}

func (weCom) rates() ([]channels.Rate, time.Duration) {
	return []channels.Rate{{Count: 18, Per: time.Minute}}, time.Minute // 20 a minute
}
