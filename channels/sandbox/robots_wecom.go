package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// weComWords are the errcodes and their words: the facts that the adapter is written by.
var weComWords = map[string]string{
	"-1": "system busy", "6000": "data version conflict", "45009": "api freq out of limit", "45033": "api concurrent out of limit",
	"93000": "invalid webhook url", "93004": "robot is disabled", "93008": "robot is not allowed in this group", "40008": "invalid message type",
	"40033": "invalid charset. please check your request, if include \\uxxxx will create fail!", "40035": "invalid parameter", "40058": "invalid Request Parameter",
	"40007": "invalid media_id", "44004": "empty content", "45002": "content size out of limit", "41001": "access_token missing", "40001": "invalid credential",
	"40014": "invalid access_token",
}

// weComMessage is what a message of WeCom has, whatever its msgtype.
type weComMessage struct {
	MsgType      string
	Text         json.RawMessage // content and who is mentioned
	Markdown     struct{ Content string }
	TemplateCard struct {
		CardType     string                        `json:"card_type"`
		MainTitle    struct{ Title string }        `json:"main_title"`
		SubTitleText string                        `json:"sub_title_text"`
		JumpList     []struct{ Title, URL string } `json:"jump_list"`
		CardAction   struct {
			Type int
			URL  string
		} `json:"card_action"`
	} `json:"template_card"`
}

func (s *Robots) weCom(r *robot, q *http.Request, body []byte) robotAnswer {
	var m weComMessage
	switch {
	case !sameSecret(q.URL.Query().Get("key"), r.token):
		return r.refuseAs("93000", "invalid webhook url, hint: [1700000000000000000], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=93000")
	case strings.Contains(string(body), `\u`):
		return r.refuse("40033")
	case json.Unmarshal(body, &m) != nil:
		return r.refuseAs("40008", "invalid message type. Warning: wrong json format. ")
	}
	it := &Item{Raw: clip(string(body))}
	most, all := 4096, false
	switch m.MsgType {
	case "text":
		var text struct {
			Content string
			List    []string `json:"mentioned_list"`
			Mobiles []string `json:"mentioned_mobile_list"`
		}
		if json.Unmarshal(m.Text, &text) != nil {
			return r.refuse("40035")
		}
		it.Text, most = text.Content, 2048
		all = slices.Contains(append(text.List, text.Mobiles...), "@all")
	case "markdown":
		it.Text = m.Markdown.Content
	case "template_card":
		c := m.TemplateCard
		if c.CardType != "text_notice" || c.CardAction.URL == "" || c.SubTitleText == "" && len(c.JumpList) == 0 {
			return r.refuse("40058")
		}
		it.Subject, it.Text = c.MainTitle.Title, c.SubTitleText
		for _, j := range c.JumpList {
			it.Text += buttonLine(j.Title, j.URL)
		}
	default:
		return r.refuse("40008")
	}
	switch {
	case it.Text == "":
		return r.refuse("44004")
	case len(it.Text) > most && m.MsgType != "template_card":
		return r.refuse("45002")
	case !r.allow(s.now(), 0, limit{20, time.Minute}):
		return r.refuse("45009")
	}
	if all {
		it.Text += "\n@所有人"
	}
	return robotAnswer{body: `{"errcode":0,"errmsg":"ok"}`, item: it}
}
