package consent

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// optOut are the replies that refuse: R (拒收请回复R, help.aliyun.com/document_detail/463270.html) and those that
// other platforms announce, TD, T, N, STOP, 退订, 拒收, 0000; also as people copy them from the message: 回复R,
// 退订回T, 回TD退订, and as they write themselves: 拒收短信, 退订谢谢. What merely contains such a word is none: 不要退订, Tom, 10000.
var optOut = regexp.MustCompile(`^(我要|我想|我|申请|请)?(退订|拒收)?请?(回复|回|发送|发)?(R|TD|T|N|0000|STOP|退订|拒收)(退订|拒收)?(短信|信息)?(谢谢|谢谢你|谢谢您|多谢)?$`)

// maxReply is the longest reply that is looked at, in bytes: a refusal is short.
const maxReply = 200

// OptsOut says whether a reply refuses further messages, in any case, width and punctuation.
func (r *Rule) OptsOut(reply string) bool { return optsOut(reply) }

func optsOut(reply string) bool {
	if len(reply) > maxReply {
		return false
	}
	around := func(c rune) bool { return unicode.IsPunct(c) || unicode.IsSymbol(c) || !unicode.IsPrint(c) }
	plain := strings.Map(func(c rune) rune {
		// Format characters are invisible: a phone's keyboard leaves zero-width spaces and direction marks.
		if unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) || strings.ContainsRune(`"'“”‘’「」,`, c) {
			return -1
		}
		if c == '訂' { // 退訂, as it is written in Hong Kong and Taiwan
			c = '订'
		}
		return unicode.ToUpper(c)
	}, width.Fold.String(reply))
	return optOut.MatchString(strings.TrimFunc(plain, around))
}
