// Package sms holds what all SMS providers share: how long a text is, and which provider a
// channel of kind "sms" speaks to; or which ones, where several share its messages and stand in for each
// other (failover.go), or are only checked against (shadow.go). Each provider lives in a folder of its own.
package sms

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Lengths of mainland messages in characters, signature and its brackets included; any character
// counts one, full or half width (help.aliyun.com/document_detail/44335.html).
const (
	MaxLength   = 500 // longer is refused
	oneSegment  = 70  // a message of its own
	joinSegment = 67  // each part of a longer one: three characters go into the joining header
)

// Length is the number of characters that the carrier counts: 【signature】 and text.
func Length(signature, text string) int {
	n := utf8.RuneCountInString(text)
	if signature != "" {
		n += utf8.RuneCountInString(signature) + len([]rune("【】"))
	}
	return n
}

// Segments is how many messages are billed for text under signature: 0 for nothing at all, 1 up to
// 70 characters, otherwise one for each 67 begun.
func Segments(signature, text string) int {
	n := Length(signature, text)
	switch {
	case n == 0:
		return 0
	case n <= oneSegment:
		return 1
	}
	return (n + joinSegment - 1) / joinSegment
}

// Number is an E.164 number as Chinese providers want it: the bare 11 digits for the mainland,
// country code and number without + abroad. Anything without a + is returned as it is.
func Number(e164 string) string {
	if rest, ok := strings.CutPrefix(e164, "+86"); ok && len(rest) == 11 && rest[0] == '1' {
		return rest
	}
	return strings.TrimPrefix(e164, "+")
}

// Code is the message's template code at a provider, which is looked for by each name in turn; the template's plain code
// stands for every provider that has none of its own.
func Code(m *schemas.Message, names ...string) string {
	for _, n := range names {
		if c := m.Codes[n]; c != "" {
			return c
		}
	}
	return m.Code
}

// Params are the values of the template's variables in the template's order.
func Params(m *schemas.Message) []string {
	order := slices.Clone(m.ParamOrder)
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	out := make([]string, 0, len(order))
	for _, name := range order {
		if v, ok := m.Params[name]; ok {
			out = append(out, v)
		}
	}
	return out
}

// Ours is a failure found before any call.
func Ours(code string, class channels.Class) *channels.Failure {
	return &channels.Failure{Kind: "sms", Provider: "dispatcher", Code: code, Class: class}
}

// Asked is the failure of a question, or nil: one that got no answer may be asked again, since nothing was sent with it.
func Asked(f *channels.Failure) *channels.Failure {
	if f != nil && f.Maybe {
		f.Class, f.Maybe = channels.Temporary, false
	}
	return f
}

// Better keeps of two records of one message the one that says most for the recipient: one delivered is enough.
func Better(a, b channels.Lookup) channels.Lookup {
	if a.Found && rank[a.State] >= rank[b.State] {
		return a
	}
	return b
}

var rank = map[schemas.State]int{schemas.Undelivered: 1, schemas.Accepted: 2, schemas.Delivered: 3}

// Carrier says whether the code of a receipt is a carrier's own, passed through by the platform: a status word of
// SMPP or CMPP, or two letters and four digits ("MK:0001").
func Carrier(code string) bool {
	for _, begin := range []string{"UNDELIV", "EXPIRED", "REJECT", "MBBLACK", "DBBLACK"} {
		if strings.HasPrefix(code, begin) {
			return true
		}
	}
	letters, number, ok := strings.Cut(code, ":")
	return ok && len(letters) == 2 && len(number) == 4 && strings.Trim(number, "0123456789") == ""
}

// Endpoint reads the setting of the same name: a host, or a URL without path. Requests hold numbers and variables,
// so they go in clear over loopback only.
func Endpoint(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, channels.BadSetting("endpoint",
			"接入点应为域名或 https://域名，不含路径和账号", "the endpoint must be a host or https://host, without path or user")
	}
	if u.Scheme == "https" || u.Scheme == "http" && channels.Loopback(u.Hostname()) {
		u.Path = ""
		return u, nil
	}
	return nil, channels.BadSetting("endpoint",
		"接入点必须使用 https（仅本机回环地址可用 http）", "the endpoint must use https (http is for loopback addresses only)")
}

// Secret reads the secret that setting names with setting+"_file" or setting+"_env", which are file and variable; the
// space around it is not part of it. Neither given is "" and no error: whether it may be absent is the caller's matter. The
// error is a [schemas.Invalid] at setting+"_file" and never contains the secret.
func Secret(env channels.Env, setting, file, variable string) (string, error) {
	s, err := env.Secret(file, variable)
	if err != nil {
		return "", channels.BadSetting(setting+"_file", "无法读取密钥："+err.Error(), err.Error())
	}
	return strings.TrimSpace(s), nil
}

// Hide takes words out of a provider's line that may repeat the request, the longest first, since one may be part of
// another. Those of up to three characters are left: they tell nothing and occur in any sentence.
func Hide(line string, words ...string) string {
	words = slices.Clone(words)
	slices.SortFunc(words, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, w := range words {
		if utf8.RuneCountInString(w) > 3 {
			line = strings.ReplaceAll(line, w, channels.Masked)
		}
	}
	return line
}

// CheckSignature is a setting's check: a signature is given without brackets.
func CheckSignature(s string) error {
	switch {
	case s == "":
		return channels.BadSetting("signature", "请填写短信签名（不含【】）", "give the SMS signature, without brackets")
	case strings.ContainsAny(s, "【】[]"):
		return channels.BadSetting("signature", "短信签名不要带【】，平台会自动添加", "give the SMS signature without brackets: the platform adds them")
	}
	return nil
}
