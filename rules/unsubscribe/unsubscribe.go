// Package unsubscribe judges how an SMS tells its reader to refuse further ones: promotion must say it, at its
// end (通信短信息服务管理规定; 拒收请回复R in the templates of Aliyun and Huawei), and a notification must not
// (help.aliyun.com/document_detail/463270.html), since one cannot refuse what one's own order causes.
package unsubscribe

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Rule is the rule as verdicts name it.
const Rule = "unsubscribe"

type guard struct{ action string }

// New opens the guard; it is a [rules.GuardFactory]. The section guards.unsubscribe is one word, see
// [rules.DecodeAction].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	action, err := rules.DecodeAction(decode)
	return guard{action}, err
}

// offer are the usual wordings: 拒收请回复R, 退订回T, 回TD退订, 回复0000可屏蔽, 不需要请回N.
var offer = regexp.MustCompile(`(?i)(?:退订|拒收|屏蔽|谢绝|不需要|不再接收)[^，。！？；\n【】\[\]]{0,6}?(?:请)?(?:直接)?(?:回复?|发送?)[“"]?\s*(?:[a-z]{1,4}\b|0{2,6}|退订)[”"]?` +
	`|(?:回复?|发送?)\s*[“"]?(?:[a-z]{1,4}|0{2,6})[”"]?\s*(?:即可|可以|可|来|以)?\s*(?:退订|拒收|屏蔽|取消订阅|不再接收)`)

// Judge looks at the text of an SMS to a number of the mainland whose category is known.
func (g guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" || in.Delivery.Category == "" || g.action == rules.ReportPass || rules.International(in.Delivery.To.Phone) {
		return rules.Verdict{}
	}
	text := in.Delivery.Message.Text
	found := offer.FindAllStringIndex(text, -1)
	hit := func(from, to int, advice schemas.Text) rules.Verdict {
		return rules.Judged([]schemas.Hit{rules.HitAtBytes(Rule, g.action, "text", text, from, to, advice)})
	}
	if in.Delivery.Category != schemas.Marketing {
		if len(found) == 0 {
			return rules.Verdict{}
		}
		return hit(found[0][0], found[0][1], schemas.Text{
			Zh: "验证码和通知类短信不能有退订内容，服务商会按推广短信审核；请删除这一句",
			En: "verifications and notifications take no unsubscribe text, with it they are reviewed as promotion; delete this part",
		})
	}
	want := rules.ProviderOf(in.Provider).Unsubscribe
	end := len(strings.TrimRightFunc(tail.ReplaceAllString(text, ""), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) }))
	switch {
	case want != "" && strings.HasSuffix(text[:end], want), want == "" && len(found) > 0 && found[len(found)-1][1] >= end:
		return rules.Verdict{}
	case want == "":
		want = "拒收请回复R"
	}
	return hit(len(text), len(text), schemas.Text{
		Zh: fmt.Sprintf("推广短信必须以退订方式结尾；请在末尾写上“%s”", want),
		En: fmt.Sprintf("a promotion must end with how to refuse; write %s at its end", want),
	})
}

// tail is a signature at the end of a text that brings its own.
var tail = regexp.MustCompile(`\s*【[^【】]*】\s*$`)
