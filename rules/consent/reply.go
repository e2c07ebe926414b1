package consent

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// optOut are the replies that refuse: R (拒收请回复R, help.aliyun.com/document_detail/463270.html) and those that
// other platforms announce, TD, T, N, 退订, 拒收, 0000; also as people copy them from the message: 回复R,
// 退订回T, 回TD退订. What merely contains such a word is none: 不要退订, Tom, 10000.
var optOut = regexp.MustCompile(`^(我要|我想|我|申请|请)?(退订|拒收)?请?(回复|回|发送|发)?(R|TD|T|N|0000|退订|拒收)(退订|拒收)?$`)

// maxReply is the longest reply that is looked at, in bytes: a refusal is short.
const maxReply = 200

// OptsOut says whether a reply refuses further messages, in any case, width and punctuation.
func (r *Rule) OptsOut(reply string) bool { return OptOut(reply) }

// OptOut is [Rule.OptsOut].
func OptOut(reply string) bool {
	if len(reply) > maxReply {
		return false
	}
	around := func(c rune) bool { return unicode.IsPunct(c) || unicode.IsSymbol(c) || !unicode.IsPrint(c) }
	plain := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || strings.ContainsRune(`"'“”‘’「」,`, c) {
			return -1
		}
		return unicode.ToUpper(c)
	}, width.Fold.String(reply))
	return optOut.MatchString(strings.TrimFunc(plain, around))
}
