package schemas

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValueError says what is wrong with one value, for programs and in both languages for people. It
// never quotes the value: that may be a phone number or a message.
type ValueError struct {
	Keyword string // as in [Problem]
	Text
}

func (e *ValueError) Error() string { return e.En }

func wrong(keyword, zh, en string, args ...any) *ValueError {
	if len(args) > 0 {
		zh, en = fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...)
	}
	return &ValueError{keyword, Text{zh, en}}
}

func missing(name string) *ValueError {
	return wrong("required", "缺少必填项“%s”", "%q is required", shown(name))
}

func tooLong(most, have int) *ValueError {
	return wrong("maxLength", "最多 %d 个字符，实际 %d 个", "at most %d characters, this has %d", most, have)
}

func tooMany(most, have int) *ValueError {
	return wrong("maxItems", "最多 %d 项，实际 %d 项", "at most %d items, this has %d", most, have)
}

func notOneOf[S ~string](allowed []S) *ValueError {
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if a != "" {
			names = append(names, string(a))
		}
	}
	if len(names) == 1 {
		return wrong("enum", "只能是 %s", "must be %s", names[0])
	}
	return &ValueError{"enum", Text{"只能是 " + strings.Join(names, "、") + " 之一", "must be one of " + strings.Join(names, ", ")}}
}

// badPattern names the words of a pattern that the schema and [Event.Check] share.
func badPattern(zh, en string) *ValueError { return &ValueError{"pattern", Text{zh, en}} }

func hasControl() *ValueError {
	return badPattern("不能包含换行、制表符等控制字符", "must not hold line breaks, tabs or other control characters")
}

var (
	typeForm        = badPattern("应为以点号连接的单词，只用字母、数字、_ 和 -，例如 erp.invoice.due", "must be words of letters, digits, _ and - joined by dots, such as erp.invoice.due")
	tenantForm      = badPattern("应以小写字母或数字开头，只用小写字母、数字、_ 和 -，最多 63 个字符", "must start with a-z or 0-9 and hold only a-z, 0-9, _ and -, at most 63 characters")
	channelForm     = badPattern("应为通道名称：以字母或数字开头，只用字母、数字、_ 和 -，最多 63 个字符", "must be a channel's name: start with a letter or digit and hold only letters, digits, _ and -, at most 63 characters")
	paramForm       = badPattern("参数名应以字母或 _ 开头，只用字母、数字和 _，最多 64 个字符", "a parameter's name must start with a letter or _ and hold only letters, digits and _, at most 64 characters")
	localeForm      = badPattern("应为 BCP 47 语言标记，例如 zh-CN", "must be a BCP 47 language tag such as zh-CN")
	destinationForm = wrong("uri", "应为 https 开头的完整地址", "must be an absolute https URL")
	sha256Form      = badPattern("应为 64 位十六进制的 SHA-256 值", "must be a SHA-256 in 64 hex digits")
	fileNameForm    = badPattern("应为文件名，不能包含目录分隔符、控制字符或反转文字方向的字符", "must be a file name without folders, control characters or characters that turn the direction of text")
	cidForm         = badPattern("只能使用字母、数字和 . _ + -，可带 @域名，例如 logo 或 logo@erp", "must be letters, digits and . _ + -, optionally with @domain, such as logo or logo@erp")
	idForm          = badPattern("应为 29 位的投递编号", "must be a delivery id of 29 characters")
	nulForm         = badPattern("不能包含 NUL 字符", "must not hold NUL characters")
	uriForm         = wrong("format", "应为 URI 引用；中文、空格等字符须做百分号编码", "must be a URI-reference; percent-encode spaces and everything outside ASCII")
	timeForm        = wrong("format", "应为带时区的 RFC 3339 时间，例如 2026-11-23T09:00:00+08:00", "must be an RFC 3339 time with a zone, such as 2026-11-23T09:00:00+08:00")
	emptyWord       = wrong("required", "不能为空", "must not be empty")
	noTime          = wrong("time", "缺少有效时间", "needs a time")
	belowZero       = wrong("minimum", "不能小于 0", "must not be less than 0")
	numberRange     = wrong("maximum", "数字超出可精确表示的范围（±9007199254740991）；长编号请写成字符串", "the number is beyond what JSON numbers keep exact (±9007199254740991); write long ids as a string")
)

// shown is a name from the input made fit for a sentence: short, on one line, and no phone number.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if control(r) || r == '"' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if utf8.RuneCountInString(name) > 64 {
		name = string([]rune(name)[:64]) + "…"
	}
	return digitRuns.ReplaceAllStringFunc(name, MaskNumber)
}

func control(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// kindWords are the JSON types in both languages.
var kindWords = map[string]Text{
	"string":  {"字符串", "a string"},
	"number":  {"数字", "a number"},
	"integer": {"非负整数", "a whole number"},
	"boolean": {"布尔值", "a boolean"},
	"array":   {"数组", "an array"},
	"object":  {"对象", "an object"},
	"null":    {" null", "null"},
}

func wrongType(got string, want []string) *ValueError {
	var zh, en []string
	for _, w := range []string{"string", "number", "integer", "boolean", "array", "object"} {
		if slices.Contains(want, w) {
			zh, en = append(zh, kindWords[w].Zh), append(en, kindWords[w].En)
		}
	}
	return &ValueError{"type", Text{
		Zh: "应为" + either(zh, "、", "或") + "，实际是" + kindWords[got].Zh,
		En: "must be " + either(en, ", ", " or ") + ", not " + kindWords[got].En,
	}}
}

// either joins alternatives: a, b or c.
func either(list []string, comma, or string) string {
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], comma) + or + list[last]
}
