package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dingTalkWords are the errcodes and their words: the facts that the adapter is written by.
var dingTalkWords = map[string]string{
	"-1": "系统繁忙", "88": "ding talk error[subcode=90018,submsg=鉴权异常]", "130101": "send too fast, exceed 20 times per minute",
	"410100": "发送速度太快而限流", "310000": "keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]",
	"300001": "token is not exist", "300005": "token is not exist", "400013": "群已被解散", "400101": "access_token不存在", "400102": "机器人已停用",
	"400105": "不支持的消息类型", "400106": "机器人不存在", "430101": "含有不安全的外链", "430102": "含有不合适的文本", "430103": "含有不合适的图片",
	"430104": "含有不合适的内容", "40035": "缺少参数 json", "43004": "无效的HTTP HEADER Content-Type", "460101": "message too long, exceed 20000 bytes",
}

// dingTalkMessage is what a message of DingTalk has, whatever its msgtype.
type dingTalkMessage struct {
	MsgType    string
	Text       json.RawMessage // {"content"}
	Markdown   struct{ Title, Text string }
	ActionCard struct {
		Title, Text, SingleTitle, SingleURL string
		Btns                                []struct{ Title, ActionURL string }
	}
	At struct {
		AtMobiles, AtUserIds []string
		IsAtAll              bool
	}
}

func (s *Robots) dingTalk(r *robot, q *http.Request, body []byte) robotAnswer {
	query := q.URL.Query()
	now := s.now()
	var m dingTalkMessage
	switch {
	case query.Get("access_token") == "":
		return r.refuse("300001")
	case !sameSecret(query.Get("access_token"), r.token):
		return r.refuse("300005")
	case !strings.HasPrefix(q.Header.Get("Content-Type"), "application/json"):
		return r.refuse("43004")
	case json.Unmarshal(body, &m) != nil:
		return r.refuse("40035")
	case len(body) > 20_000:
		return r.refuse("460101")
	}
	stamp, err := strconv.ParseInt(query.Get("timestamp"), 10, 64)
	mac := hmac.New(sha256.New, []byte(r.secret))
	mac.Write([]byte(query.Get("timestamp") + "\n" + r.secret))
	switch {
	case err != nil || !sameSecret(query.Get("sign"), base64.StdEncoding.EncodeToString(mac.Sum(nil))):
		return r.refuseAs("310000", "sign not match, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]")
	case now.Sub(time.UnixMilli(stamp)).Abs() > robotSkew:
		return r.refuseAs("310000", "invalid timestamp, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]")
	}
	it := &Item{Raw: clip(string(body))}
	switch m.MsgType {
	case "text":
		var text struct{ Content string }
		if json.Unmarshal(m.Text, &text) != nil || text.Content == "" {
			return r.refuse("40035")
		}
		it.Text = text.Content
	case "markdown":
		if m.Markdown.Title == "" || m.Markdown.Text == "" {
			return r.refuse("40035")
		}
		it.Subject, it.Text = m.Markdown.Title, m.Markdown.Text
	case "actionCard":
		c := m.ActionCard
		if c.Title == "" || c.Text == "" || c.SingleURL == "" && len(c.Btns) == 0 {
			return r.refuse("40035")
		}
		it.Subject, it.Text = c.Title, c.Text
		if c.SingleURL != "" {
			it.Text += buttonLine(c.SingleTitle, c.SingleURL)
		}
		for _, b := range c.Btns {
			it.Text += buttonLine(b.Title, b.ActionURL)
		}
	default:
		return r.refuse("400105")
	}
	switch {
	case s.lacksKeyword(it.Subject + it.Text):
		return r.refuse("310000")
	case !r.allow(now, 10*time.Minute, limit{20, time.Minute}):
		return r.refuse("130101")
	}
	if m.At.IsAtAll {
		it.Text += "\n@所有人"
	}
	return robotAnswer{body: `{"errcode":0,"errmsg":"ok"}`, item: it}
}
