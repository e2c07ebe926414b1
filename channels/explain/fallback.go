package explain

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// words are what can be said about a failure of which only the class is clear.
var words = map[channels.Class]struct{ is, remedy schemas.Text }{
	channels.Temporary: {
		schemas.Text{Zh: "看起来是暂时性故障", En: "it looks temporary"},
		schemas.Text{Zh: "如持续出现，请把原始答复提供给对方核实", En: "If it lasts, show the raw reply to the third party"},
	},
	channels.Throttled: {
		schemas.Text{Zh: "看起来是触发了频率或数量限制", En: "it looks like a limit on rate or volume"},
		schemas.Text{Zh: "请降低发送速率，并等待对方的限制时段结束", En: "Send more slowly, and wait until the third party’s limit is over"},
	},
	channels.Auth: {
		schemas.Text{Zh: "看起来是账号或凭证被拒绝", En: "it looks like refused credentials"},
		schemas.Text{Zh: "请通道负责人核对账号、密码或密钥及其权限", En: "Let the channel’s owner check account, password or key, and their rights"},
	},
	channels.Config: {
		schemas.Text{Zh: "看起来是通道配置有误", En: "it looks like a wrong setting of the channel"},
		schemas.Text{Zh: "请通道负责人核对通道配置，并查阅对方文档中的这一代码", En: "Let the channel’s owner check its settings and look the code up in the third party’s manual"},
	},
	channels.Content: {
		schemas.Text{Zh: "看起来是内容或参数不被接受", En: "it looks like text or parameters that are not accepted"},
		schemas.Text{Zh: "请按原始答复修改模板或参数后重新发布", En: "Correct the template or its parameters by the raw reply and publish again"},
	},
	channels.BadTarget: {
		schemas.Text{Zh: "看起来是该收件地址无法接收", En: "it looks as if this address cannot receive"},
		schemas.Text{Zh: "请在 ERP 中核对收件人的联系方式", En: "Check the recipient’s contact data in the ERP"},
	},
	channels.Permanent: {
		schemas.Text{Zh: "看起来是永久性拒绝", En: "it looks like a refusal for good"},
		schemas.Text{Zh: "请查阅对方文档中的这一代码，或把原始答复提供给对方核实", En: "Look the code up in the third party’s manual, or show the raw reply to them"},
	},
	channels.Unknown: {
		schemas.Text{Zh: "无法确定对方是否已受理", En: "whether the third party took the message is not known"},
		schemas.Text{Zh: "请先向对方或收件人核实，再决定是否重发", En: "Ask the third party or the recipient before you send it again"},
	},
}

// maxShown is how many characters of a reply a text may show.
const maxShown = 80

// fallback explains what no row knows: by class when the channel told one, else by the reply's family.
func fallback(q *query, class channels.Class) channels.Diagnosis {
	if class == "" && q.success() {
		a := actions[channels.Unknown]
		return channels.Diagnosis{
			Class: channels.Unknown, Retry: a.retry, Owner: a.owner, When: when(a.retry, 0),
			Cause: schemas.Text{
				Zh: fmt.Sprintf("“%s”表示成功，并非失败", q.shown()),
				En: fmt.Sprintf("“%s” means success, nothing failed", q.shown()),
			},
			Remedy: schemas.Text{
				Zh: "请在投递历史中查找真正的失败答复",
				En: "Look in the delivery’s history for the reply that failed",
			},
		}
	}
	if _, ok := words[class]; !ok {
		class = q.family()
	}
	w, a := words[class], actionOf(q.channel, class)
	return channels.Diagnosis{
		Class: class, Retry: a.retry, Owner: a.owner, When: when(a.retry, 0),
		Cause: schemas.Text{
			Zh: fmt.Sprintf("知识库中没有“%s”；按其类别判断，%s", q.shown(), w.is.Zh),
			En: fmt.Sprintf("“%s” is not a known reply; by its family %s", q.shown(), w.is.En),
		},
		Remedy: w.remedy,
	}
}

// family is the class that a reply's first digit or its kind tells. A code that a platform made is
// its last word; a text without any code is not, and late is better than lost.
func (q *query) family() channels.Class {
	switch {
	case strings.HasPrefix(q.basic, "4"), q.basic == "" && strings.HasPrefix(q.enhanced, "4"):
		return channels.Temporary
	case strings.HasPrefix(q.basic, "5"), q.basic == "" && strings.HasPrefix(q.enhanced, "5"):
		return channels.Permanent
	case q.channel == dispatcher, strings.HasPrefix(q.code, "net:"), strings.HasPrefix(q.code, "http:"):
		return channels.Temporary
	case q.code != "" && q.hasCode():
		return channels.Permanent
	}
	return channels.Temporary
}

// hasCode tells a code from the first word of a sentence: "isv.NEW_LIMIT", "310099", "XX:0042".
func (q *query) hasCode() bool {
	return strings.ContainsAny(q.code, "0123456789._:")
}

// success says whether the reply is no refusal at all: SMTP 2xx and 3xx, HTTP 2xx, and the platforms'
// own words for yes.
func (q *query) success() bool {
	switch q.code {
	case "ok", "0", "delivered", "delivrd":
		return q.channel == sms || q.channel == bot
	}
	return strings.HasPrefix(q.basic, "2") || strings.HasPrefix(q.basic, "3") || strings.HasPrefix(q.code, "http:2")
}

// shown is the raw code, or the beginning of the text when there is none, safe to show.
func (q *query) shown() string {
	if code := strings.TrimSpace(q.basic + " " + q.enhanced); code != "" {
		return code
	}
	s := q.text
	if q.code != "" && q.hasCode() {
		s = q.raw
	}
	// A platform's code has at most ten digits; a longer number may be somebody's.
	if len(s) > 10 || q.code == "" {
		s = channels.Line(s)
	}
	if s == "" {
		return "-"
	}
	if utf8.RuneCountInString(s) > maxShown {
		s = string([]rune(s)[:maxShown-1]) + "…"
	}
	return s
}
