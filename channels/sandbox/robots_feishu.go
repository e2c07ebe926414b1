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

// feishuWords are the codes and their words: the facts that the adapter is written by.
var feishuWords = map[string]string{
	"9499": "Bad Request", "11232": "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]", "11233": "card content is invalid", "11246": "card template is invalid",
	"19001": "param invalid: incoming webhook access token invalid", "19002": "params error, msg_type need", "19021": "sign match fail or timestamp is not within one hour from current time",
	"19022": "Ip Not Allowed", "19024": "Key Words Not Found", "99991400": "request trigger frequency limit",
}

// feishuMessage is what a message of Feishu has, whatever its msg_type.
type feishuMessage struct {
	Type            string `json:"msg_type"`
	Timestamp, Sign string
	Content         struct {
		Text string
		Post map[string]struct {
			Title   string
			Content [][]struct {
				Tag, Text, Href string
				UserID          string `json:"user_id"`
			}
		}
	}
	Card struct {
		Header   struct{ Title struct{ Content string } }
		Elements []struct {
			Tag, Content string
			Actions      []struct {
				Text struct{ Content string }
				URL  string
			}
		}
	}
}

func (s *Robots) feishu(r *robot, q *http.Request, body []byte) robotAnswer {
	var m feishuMessage
	now := s.now()
	switch {
	case !sameSecret(strings.TrimPrefix(q.URL.Path, "/open-apis/bot/v2/hook/"), r.token):
		return r.refuse("19001")
	case len(body) > 20<<10, json.Unmarshal(body, &m) != nil:
		return r.refuse("9499")
	}
	stamp, err := strconv.ParseInt(m.Timestamp, 10, 64)
	mac := hmac.New(sha256.New, []byte(m.Timestamp+"\n"+r.secret))
	if err != nil || now.Sub(time.Unix(stamp, 0)).Abs() > robotSkew || !sameSecret(m.Sign, base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
		return r.refuse("19021")
	}
	it := &Item{Raw: clip(string(body))}
	switch m.Type {
	case "text":
		it.Text = m.Content.Text
	case "post":
		p := m.Content.Post["zh_cn"]
		it.Subject = p.Title
		for i, row := range p.Content {
			if i > 0 {
				it.Text += "\n"
			}
			for _, e := range row {
				switch e.Tag {
				case "a":
					it.Text += e.Text + " " + e.Href
				case "at":
					it.Text += "@" + e.UserID + " "
				default:
					it.Text += e.Text
				}
			}
		}
	case "interactive":
		it.Subject = m.Card.Header.Title.Content
		for _, e := range m.Card.Elements {
			it.Text += e.Content
			for _, a := range e.Actions {
				it.Text += buttonLine(a.Text.Content, a.URL)
			}
		}
	default:
		return r.refuse("19002")
	}
	switch {
	case it.Subject+it.Text == "":
		return r.refuse("19002")
	case s.lacksKeyword(it.Subject + it.Text):
		return r.refuse("19024")
	case !r.allow(now, 0, limit{5, time.Second}, limit{100, time.Minute}):
		return r.refuse("11232")
	}
	return robotAnswer{body: `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`, item: it}
}
