package webhook

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// noCode is an answer without the platform's code, a proxy's page perhaps: nobody knows whether the
// message was posted.
const noCode = "dispatcher:http-200-no-code"

// verdict is what a platform's code means.
type verdict struct {
	class channels.Class
	after time.Duration // how long to wait, where the platform's rules say
}

// answer is what DingTalk and WeCom (errcode), Feishu (code, and StatusCode of old) answer. A message was
// posted when the code is 0, whatever the HTTP status says.
type answer struct {
	ErrCode    *number `json:"errcode"`
	ErrMsg     string  `json:"errmsg"`
	Code       *number `json:"code"`
	Msg        string  `json:"msg"`
	StatusCode *number `json:"StatusCode"`
	Punish     string  `json:"punish"` // of DingTalk's gate, in place of a code
}

// number is a code, as a number or as text.
type number string

// UnmarshalJSON takes a number or a string that holds one.
func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return nil // as good as absent: the code is then missing
	}
	*n = number(s)
	return nil
}

// readAnswer judges an answer by code; what no code is known for is permanent, as the platform's last word.
func readAnswer(provider string, codes map[string]verdict, code func(a answer) (*number, string), status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	var a answer
	var n *number
	var words string
	// A byte order mark or an end that is cut off makes it no JSON: then nobody knows.
	if json.Unmarshal(body, &a) == nil {
		n, words = code(a)
	}
	ok := status >= 200 && status < 300
	switch {
	case n == nil || *n == "":
		if f := channels.FromHTTP(kind, provider, status, header, body, now); f != nil {
			return f
		}
		return &channels.Failure{
			Kind: kind, Provider: provider, Code: noCode, Class: channels.Unknown, Maybe: true,
			Line: channels.Line(strings.TrimSpace(strconv.Itoa(status) + " " + string(body[:min(len(body), 4096)]))),
		}
	case *n == "0" && ok:
		return nil
	case *n == "0": // the platform says yes and the status no: it may stand in the group
		f := channels.FromHTTP(kind, provider, status, header, body, now)
		f.Class, f.Maybe = channels.Unknown, true
		return f
	}
	v, known := codes[string(*n)]
	if !known {
		v.class = channels.Permanent
	}
	f := &channels.Failure{
		Kind: kind, Provider: provider, Code: string(*n), Class: v.class, After: v.after, Line: channels.Line(words),
	}
	if v.class == channels.Throttled {
		f.After = max(f.After, channels.RetryAfter(header.Get("Retry-After"), now))
	}
	return f
}

func byErrCode(a answer) (*number, string) { return a.ErrCode, a.ErrMsg }
