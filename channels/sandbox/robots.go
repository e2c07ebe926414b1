package sandbox

import (
	"crypto/rand"
	"crypto/subtle"
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

// Robots are stand-ins of group robots, one of each platform (robots_dingtalk.go and the others), on the paths of the real ones:
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

// robotWords are the platforms' codes and their words.
var robotWords = map[string]map[string]string{"dingtalk": dingTalkWords, "wecom": weComWords, "feishu": feishuWords, "slack": slackWords}

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

func buttonLine(title, url string) string { return "\n[" + title + "] " + url }
