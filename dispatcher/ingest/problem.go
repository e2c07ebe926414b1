package ingest

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"golang.org/x/text/language"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/schemas"
)

// problemBase is where problem types say they live (RFC 9457 §3.1.1): for programs to compare, not
// for people to open.
const problemBase = "https://yizhan.dev/problems/"

// problem is an answer that says no (RFC 9457, application/problem+json).
type problem struct {
	status   int
	name     string // of the type, behind problemBase
	title    schemas.Text
	detail   schemas.Text
	problems []schemas.Problem
	// retry is for Retry-After, in seconds; allow for Allow.
	retry int
	allow string
	plan  *dispatcher.ReplayPlan
}

func (p *problem) Error() string { return p.name + ": " + p.detail.En }

// problemBody is a problem on the wire, see openapi.yaml.
type problemBody struct {
	Type     string                 `json:"type"`
	Title    string                 `json:"title"`
	Status   int                    `json:"status"`
	Detail   string                 `json:"detail"`
	Problems []schemas.Problem      `json:"problems,omitempty"`
	Plan     *dispatcher.ReplayPlan `json:"plan,omitzero"`
}

// write sends the problem in the caller's language.
func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Vary", "Accept-Language")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="yizhan"`) // RFC 9110 §11.6.1 wants a challenge
	}
	lang := languageOf(r)
	writeJSON(w, p.status, "application/problem+json", problemBody{
		Type: problemBase + p.name, Title: p.title.In(lang), Status: p.status, Detail: p.detail.In(lang), Problems: p.problems, Plan: p.plan,
	})
}

// writeJSON sends v. Answers hold who was told what: no cache may keep them.
func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, v) // fails only when the caller has gone
}

var languages = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese, language.TraditionalChinese})

// languageOf is "zh" or "en": the query's lang, else the best of Accept-Language, else en.
func languageOf(r *http.Request) string {
	tag, _ := language.MatchStrings(languages, r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
	if base, _ := tag.Base(); base.String() == "zh" {
		return "zh"
	}
	return "en"
}

func unauthenticated(name string, detail schemas.Text) *problem {
	return &problem{status: http.StatusUnauthorized, name: name, title: text("身份验证失败", "Not authenticated"), detail: detail}
}

func forbidden(name string, detail schemas.Text) *problem {
	return &problem{status: http.StatusForbidden, name: name, title: text("没有权限", "Not allowed"), detail: detail}
}

func notFound(detail schemas.Text) *problem {
	return &problem{status: http.StatusNotFound, name: "not-found", title: text("没有找到", "Not found"), detail: detail}
}

func tooLarge(zh, en string, args ...any) *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, name: "too-large", title: text("内容过大", "Too large"), detail: text(zh, en, args...),
	}
}

func wrongMedia(detail schemas.Text) *problem {
	return &problem{
		status: http.StatusUnsupportedMediaType, name: "wrong-media-type", title: text("不支持的媒体类型", "Wrong media type"), detail: detail,
	}
}

// unavailable is the answer while the broker is away: nothing is lost, the caller is to come back.
func unavailable() *problem {
	return &problem{
		status: http.StatusServiceUnavailable, name: "unavailable", title: text("服务暂不可用", "Not available"), retry: 5,
		detail: text("消息存储暂时无法访问，请求没有被确认，请稍后重试；重复提交同一事件是安全的",
			"the message store cannot be reached right now and nothing was confirmed; come back later: the same event again does no harm"),
	}
}

// invalid is the answer to an input that no retry can cure.
func invalid(ps []schemas.Problem) *problem {
	p := &problem{
		status: http.StatusUnprocessableEntity, name: "invalid", title: text("内容有误", "Invalid input"), problems: ps,
		detail: text("发现 %d 处问题，请按 problems 修正后重试", "%d problems found; mend what problems lists and try again", len(ps)),
	}
	if len(ps) == 1 {
		p.detail.En = "1 problem found; mend what problems lists and try again"
	}
	for _, q := range ps {
		switch q.Keyword {
		case "syntax", "encoding", "depth": // not JSON at all, so there is nothing to judge
			p.status, p.name, p.title = http.StatusBadRequest, "bad-json", text("JSON 有误", "Bad JSON")
		}
	}
	return p
}

// nothingStored adds to an answer that refuses events for what is in them that none of them was kept.
func nothingStored(err error) error {
	if p, own := asProblem(err); own && (p.name == "invalid" || p.name == "bad-json") {
		p.detail.Zh += "；没有保存任何内容"
		p.detail.En += "; nothing was stored"
		return p
	}
	return err
}

// one is invalid with a single problem.
func one(pointer, keyword, zh, en string, args ...any) *problem {
	return invalid([]schemas.Problem{{Pointer: pointer, Keyword: keyword, Text: text(zh, en, args...)}})
}

// asProblem turns any error into an answer. own is false when the words of err are not for the caller:
// the broker's trouble, which is logged.
func asProblem(err error) (p *problem, own bool) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p, true
	}
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
		return invalid(bad.Problems), true
	}
	return unavailable(), false
}
