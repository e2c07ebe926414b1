package rules

import (
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Rule is what a rule is called: the id that hits bear, and its name in both languages.
type Rule struct {
	ID string
	schemas.Text
}

// ruleNames lists every rule of the product: the carriers' twelve under their numbers, then ours.
var ruleNames = []Rule{
	{"1", schemas.Text{Zh: "① 未经同意的营销", En: "① unsolicited marketing"}},
	{"2", schemas.Text{Zh: "② 引流到公众号、QQ 群或个人联系方式", En: "② WeChat, QQ and personal contacts"}},
	{"3", schemas.Text{Zh: "③ 交友", En: "③ dating"}},
	{"4", schemas.Text{Zh: "④ 赌博", En: "④ gambling"}},
	{"5", schemas.Text{Zh: "⑤ 证券、贷款与催收", En: "⑤ securities, loans, debt collection"}},
	{"6", schemas.Text{Zh: "⑥ 返现、红包与拉人进群", En: "⑥ cashback, red packets, join-the-group"}},
	{"7", schemas.Text{Zh: "⑦ 保健品与药品", En: "⑦ health products and medicine"}},
	{"8", schemas.Text{Zh: "⑧ 殡葬", En: "⑧ funeral services"}},
	{"9", schemas.Text{Zh: "⑨ 双重签名", En: "⑨ double signature"}},
	{"10", schemas.Text{Zh: "⑩ 签名不合规", En: "⑩ unfit signature"}},
	{"11", schemas.Text{Zh: "⑪ 敏感词", En: "⑪ sensitive words"}},
	{"12", schemas.Text{Zh: "⑫ 单个号码的每日上限", En: "⑫ messages a day to one number"}},
	{"x", schemas.Text{Zh: "ⓧ 假票假证与钓鱼", En: "ⓧ fake documents and phishing"}},
	{"expiry", schemas.Text{Zh: "有效期", En: "expiry"}},
	{"not-before", schemas.Text{Zh: "最早发送时间", En: "not before"}},
	{"quiet-hours", schemas.Text{Zh: "发送时段", En: "quiet hours"}},
	{"consent", schemas.Text{Zh: "营销同意", En: "consent"}},
	{"opt-out", schemas.Text{Zh: "收件人已退订", En: "opted out"}},
	{"unsubscribe", schemas.Text{Zh: "退订方式", En: "unsubscribe words"}},
	{"link", schemas.Text{Zh: "链接", En: "links"}},
	{"login-link", schemas.Text{Zh: "登录链接", En: "login links"}},
	{"variables", schemas.Text{Zh: "模板变量", En: "template variables"}},
	{"parts", schemas.Text{Zh: "短信条数", En: "SMS parts"}},
	{"characters", schemas.Text{Zh: "禁用字符", En: "forbidden characters"}},
	{"score", schemas.Text{Zh: "统计评分", En: "statistical score"}},
}

// Rules lists the rules that hits may name.
func Rules() []Rule { return append([]Rule(nil), ruleNames...) }

// RuleName is what people call the rule; of an id that is not among [Rules] the id itself.
func RuleName(id string) schemas.Text {
	for _, r := range ruleNames {
		if r.ID == id {
			return r.Text
		}
	}
	return schemas.Text{Zh: id, En: id}
}

// disguises are the ways in which a term hides, as Hit.Via names them.
var disguises = map[string]schemas.Text{
	"fold":          {Zh: "异体写法（繁体、兼容字符或形似字母）", En: "other forms of the characters (traditional, compatible, letters that look alike)"},
	"hidden":        {Zh: "夹不可见字符或表情符号", En: "invisible characters or emoji inside"},
	"gap":           {Zh: "字间夹空格或符号", En: "characters set apart"},
	"alias":         {Zh: "代称或另一种写法", En: "another spelling"},
	"split":         {Zh: "拆字", En: "characters taken to pieces"},
	"pinyin":        {Zh: "拼音", En: "pinyin"},
	"homophone":     {Zh: "谐音字", En: "characters that sound alike"},
	"homophone-all": {Zh: "全部用谐音字", En: "only characters that sound alike"},
	"initials":      {Zh: "拼音首字母", En: "pinyin initials"},
	"insert":        {Zh: "夹杂字母或数字", En: "letters or digits inside"},
	"reversed":      {Zh: "倒序", En: "written backwards"},
	"shape":         {Zh: "形近字", En: "characters that look alike"},
	"number":        {Zh: "数字的其他写法", En: "digits in another script"},
}

// DisguiseName words Hit.Via; one that is not known stays as it is.
func DisguiseName(via string) schemas.Text {
	if t, ok := disguises[via]; ok {
		return t
	}
	return schemas.Text{Zh: via, En: via}
}

// Classes are the kinds of business message that Input.Class may name. A marketing message has the
// recipient's consent (marketing_optin) or none (marketing_blind).
var Classes = []string{
	"verification", "invoice", "approval", "logistics", "inventory", "finance_voucher", "payment_reminder", "payroll", "hr", "it_alert",
	"maintenance", "customer_service", "marketing_optin", "marketing_blind",
}

var fieldNames = map[string]schemas.Text{
	"text": {Zh: "正文", En: "text"}, "subject": {Zh: "主题", En: "subject"}, "html": {Zh: "HTML 正文", En: "HTML"},
	"signature": {Zh: "签名", En: "signature"}, "template": {Zh: "模板", En: "template"},
}

// FieldName words Hit.Field and Hit.Origin: "text", "params/remark", "template".
func FieldName(field string) schemas.Text {
	if name, ok := strings.CutPrefix(field, "params/"); ok {
		return schemas.Text{Zh: "变量 " + name, En: "parameter " + name}
	}
	if t, ok := fieldNames[field]; ok {
		return t
	}
	return schemas.Text{Zh: field, En: field}
}
