package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	maxRobot  = 1 << 20
	robotSkew = time.Hour // how old or early a signed timestamp may be
)

// RobotsConfig describes the stand-ins of chat groups' robots.
type RobotsConfig struct {
	Addr string // loopback address, "" is a free port of 127.0.0.1
	// Keywords are what the robots of DingTalk and Feishu ask a message to contain one of; none: they ask for nothing.
	Keywords []string
	Now      func() time.Time // nil is time.Now
}

// Robots are stand-ins of group robots, one of each platform, on the paths of the real ones:
//
//	platform  path                               checks
//	dingtalk  /robot/send?access_token=…         signature and its time (an hour), keywords, 20,000 bytes, 20 a minute, then none for 10 minutes
//	wecom     /cgi-bin/webhook/send?key=…        2,048 bytes of text, 4,096 of Markdown, 20 a minute
//	feishu    /open-apis/bot/v2/hook/…           signature and its time (an hour), keywords, 20 KB, 5 a second and 100 a minute
//	slack     /services/…                        40,000 characters, 1 a second with a burst of 5
//
// A message that contains [simulate X] meets the fate X: a code of the platform ([simulate 130101]), or one of
// the words of [RobotCases].
type Robots struct {
	*web
	sink     Sink
	keywords []string
	now      func() time.Time
	robots   map[string]*robot
}

// robot is one robot and what it remembers.
type robot struct {
	platform, token, secret string
	serve                   func(s *Robots, r *robot, q *http.Request, body []byte) robotAnswer

	mu      sync.Mutex
	calls   []time.Time // within the last minute
	blocked time.Time   // until then nothing is taken
	taken   int
}

// robotAnswer is what a robot answers; a zero status is 200.
type robotAnswer struct {
	status int
	header map[string]string
	body   string
	item   *Item // taken
}

// StartRobots starts stand-ins that hand every message taken to sink. Tokens and secrets are made for this run.
func StartRobots(cfg RobotsConfig, sink Sink) (*Robots, error) {
	s := &Robots{sink: sink, keywords: cfg.Keywords, now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	token := func() string { return strings.ToLower(rand.Text() + rand.Text()) }
	s.robots = map[string]*robot{
		"dingtalk": {token: token(), secret: "SEC" + token(), serve: (*Robots).dingTalk},
		"wecom":    {token: token(), serve: (*Robots).weCom},
		"feishu":   {token: token(), secret: token(), serve: (*Robots).feishu},
		"slack":    {token: token(), serve: (*Robots).slack},
	}
	for platform, r := range s.robots {
		r.platform = platform
	}
	var err error
	if s.web, err = openWeb(cfg.Addr); err != nil {
		return nil, err
	}
	s.start(s.handle)
	return s, nil
}

// Platforms are the names of the robots, sorted.
func (s *Robots) Platforms() []string { return slices.Sorted(maps.Keys(s.robots)) }

// RobotURL is the address to set as the channel's url; it names the robot, as a real one does.
func (s *Robots) RobotURL(platform string) string {
	token := s.robots[platform].token
	switch platform {
	case "dingtalk":
		return s.URL() + "/robot/send?access_token=" + token
	case "wecom":
		return s.URL() + "/cgi-bin/webhook/send?key=" + token
	case "feishu":
		return s.URL() + "/open-apis/bot/v2/hook/" + token
	default:
		return s.URL() + "/services/" + token
	}
}

// Secret is what the robot's messages are signed with, "" where they are not.
func (s *Robots) Secret(platform string) string { return s.robots[platform].secret }

// Taken is how many messages a robot posted.
func (s *Robots) Taken(platform string) int {
	r := s.robots[platform]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

func (s *Robots) handle(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxRobot))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	platform := map[string]string{"/robot/send": "dingtalk", "/cgi-bin/webhook/send": "wecom"}[q.URL.Path]
	switch {
	case strings.HasPrefix(q.URL.Path, "/open-apis/bot/v2/hook/"):
		platform = "feishu"
	case strings.HasPrefix(q.URL.Path, "/services/"):
		platform = "slack"
	}
	r := s.robots[platform]
	if r == nil {
		http.NotFound(w, q)
		return
	}
	if q.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	a := r.serve(s, r, q, body)
	if a.item != nil {
		word := askedFor(body)
		switch {
		case word == "html":
			a = robotAnswer{body: "<html><head><title>登录后继续</title></head><body></body></html>", header: map[string]string{"Content-Type": "text/html"}}
		case word == "503":
			a = robotAnswer{status: http.StatusServiceUnavailable, body: "out of service"}
		case word == "hang":
			s.post(r, a.item)
			s.hang(q)
		case word == "cut":
			s.post(r, a.item)
			panic(http.ErrAbortHandler)
		case word != "":
			a = r.refuse(word)
		default:
			s.post(r, a.item)
		}
	}
	if w.Header().Set("Content-Type", "application/json"); platform == "slack" {
		w.Header().Set("Content-Type", "text/html")
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body)
}

func (s *Robots) post(r *robot, it *Item) {
	r.mu.Lock()
	r.taken++
	r.mu.Unlock()
	it.Time, it.Kind, it.To = s.now(), "webhook", r.platform
	s.sink(*it)
}

var simulateWord = regexp.MustCompile(`\[simulate ([\w-]+)\]`)

// askedFor is the fate that a message asks for.
func askedFor(body []byte) string {
	if m := simulateWord.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return ""
}

// robotWords are the platforms' codes and their words: the facts that the adapters are written by.
var robotWords = map[string]map[string]string{
	"dingtalk": {
		"-1": "系统繁忙", "88": "ding talk error[subcode=90018,submsg=鉴权异常]", "130101": "send too fast, exceed 20 times per minute",
		"410100": "发送速度太快而限流", "310000": "keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]",
		"300001": "token is not exist", "300005": "token is not exist", "400013": "群已被解散", "400101": "access_token不存在", "400102": "机器人已停用",
		"400105": "不支持的消息类型", "400106": "机器人不存在", "430101": "含有不安全的外链", "430102": "含有不合适的文本", "430103": "含有不合适的图片",
		"430104": "含有不合适的内容", "40035": "缺少参数 json", "43004": "无效的HTTP HEADER Content-Type", "460101": "message too long, exceed 20000 bytes",
	},
	"wecom": {
		"-1": "system busy", "6000": "data version conflict", "45009": "api freq out of limit", "45033": "api concurrent out of limit",
		"93000": "invalid webhook url", "93004": "robot is disabled", "93008": "robot is not allowed in this group", "40008": "invalid message type",
		"40033": "invalid charset. please check your request, if include \\uxxxx will create fail!", "40035": "invalid parameter", "40058": "invalid Request Parameter",
		"40007": "invalid media_id", "44004": "empty content", "45002": "content size out of limit", "41001": "access_token missing", "40001": "invalid credential",
		"40014": "invalid access_token",
	},
	"feishu": {
		"9499": "Bad Request", "11232": "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]", "11233": "card content is invalid", "11246": "card template is invalid",
		"19001": "param invalid: incoming webhook access token invalid", "19002": "params error, msg_type need", "19021": "sign match fail or timestamp is not within one hour from current time",
		"19022": "Ip Not Allowed", "19024": "Key Words Not Found", "99991400": "request trigger frequency limit",
	},
	"slack": {
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
	},
}

// RobotCases are the words that every robot knows, beside the codes of its platform.
func RobotCases() []Case { return slices.Clone(robotCases) }

var robotCases = []Case{
	{Number: "[simulate 130101]", Code: "130101", What: schemas.Text{Zh: "以该代码拒绝，各平台的代码均可", En: "refused with this code; any code of the platform"}},
	{Number: "[simulate html]", Code: "dispatcher:http-200-no-code", What: schemas.Text{Zh: "返回 HTTP 200 和一个网页，没有代码", En: "answers HTTP 200 with a page, without a code"}},
	{Number: "[simulate 503]", Code: "http:503", What: schemas.Text{Zh: "返回 HTTP 503", En: "answers HTTP 503"}},
	{Number: "[simulate hang]", Code: "net:timeout-response", What: schemas.Text{Zh: "发到群里，始终不答复", En: "posted, and never answered"}},
	{Number: "[simulate cut]", Code: "net:reset", What: schemas.Text{Zh: "发到群里，不答复就断开连接", En: "posted, and the connection broken without an answer"}},
}

// RobotCodes are the codes of a platform, sorted.
func RobotCodes(platform string) []string { return slices.Sorted(maps.Keys(robotWords[platform])) }

// refuse answers with a code of the platform.
func (r *robot) refuse(code string) robotAnswer {
	return r.refuseAs(code, robotWords[r.platform][code])
}

func (r *robot) refuseAs(code, words string) robotAnswer {
	switch r.platform {
	case "slack":
		status, err := strconv.Atoi(words)
		if err != nil {
			status = http.StatusBadRequest
		}
		return robotAnswer{status: status, body: code}
	case "feishu":
		return robotAnswer{body: fmt.Sprintf(`{"code":%s,"data":{},"msg":%s}`, code, quote(words))}
	default:
		return robotAnswer{body: fmt.Sprintf(`{"errcode":%s,"errmsg":%s}`, code, quote(words))}
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// allow counts a call: false when one of the limits is exceeded. A robot that pauses after too many takes nothing meanwhile.
func (r *robot) allow(now time.Time, pause time.Duration, limits ...limit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.blocked) {
		return false
	}
	r.calls = slices.DeleteFunc(r.calls, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	for _, l := range limits {
		n := 0
		for _, t := range r.calls {
			if now.Sub(t) < l.per {
				n++
			}
		}
		if n >= l.count {
			r.blocked = now.Add(pause)
			return false
		}
	}
	r.calls = append(r.calls, now)
	return true
}

type limit struct {
	count int
	per   time.Duration
}

// lacksKeyword: the robot asks for one of some words, and the text has none of them.
func (s *Robots) lacksKeyword(text string) bool {
	return len(s.keywords) > 0 && !slices.ContainsFunc(s.keywords, func(k string) bool { return strings.Contains(text, k) })
}

func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// robotMessage is what the platforms' messages have, all of them together.
type robotMessage struct {
	MsgType string `json:"msgtype"`
	Text    json.RawMessage
	At      struct {
		AtMobiles []string
		AtUserIds []string
		IsAtAll   bool
	}
	Markdown struct {
		Title, Text, Content string
	}
	ActionCard struct {
		Title, Text, SingleTitle, SingleURL string
		Btns                                []struct{ Title, ActionURL string }
	} `json:"actionCard"`
	TemplateCard struct {
		CardType     string                 `json:"card_type"`
		MainTitle    struct{ Title string } `json:"main_title"`
		SubTitleText string                 `json:"sub_title_text"`
		JumpList     []struct {
			Title, URL string
		} `json:"jump_list"`
		CardAction struct {
			Type int
			URL  string
		} `json:"card_action"`
	} `json:"template_card"`

	// Feishu.
	Type      string `json:"msg_type"`
	Timestamp string
	Sign      string
	Content   struct {
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
		Header struct {
			Title struct{ Content string }
		}
		Elements []struct {
			Tag, Content string
			Actions      []struct {
				Text struct{ Content string }
				URL  string
			}
		}
	}

	// Slack.
	Blocks []struct {
		Type     string
		Text     struct{ Text string }
		Elements []struct {
			Text struct{ Text string }
			URL  string
		}
	}
}

func buttonLine(title, url string) string { return "\n[" + title + "] " + url }

func (s *Robots) dingTalk(r *robot, q *http.Request, body []byte) robotAnswer {
	query := q.URL.Query()
	now := s.now()
	var m robotMessage
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

func (s *Robots) weCom(r *robot, q *http.Request, body []byte) robotAnswer {
	var m robotMessage
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

func (s *Robots) feishu(r *robot, q *http.Request, body []byte) robotAnswer {
	var m robotMessage
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

func (s *Robots) slack(r *robot, q *http.Request, body []byte) robotAnswer {
	var m robotMessage
	var text string
	switch {
	case !sameSecret(strings.TrimPrefix(q.URL.Path, "/services/"), r.token):
		return r.refuse("no_service")
	case json.Unmarshal(body, &m) != nil:
		return r.refuse("invalid_payload")
	case m.Text != nil && json.Unmarshal(m.Text, &text) != nil:
		return r.refuse("invalid_payload")
	case text == "" && len(m.Blocks) == 0:
		return r.refuse("no_text")
	case len([]rune(text)) > 40_000:
		return r.refuse("invalid_payload")
	}
	it := &Item{Text: text, Raw: clip(string(body))}
	if len(m.Blocks) > 0 {
		it.Subject, it.Text = text, ""
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
