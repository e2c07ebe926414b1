// Package variables judges what stands in the variables of an SMS template, right before it is sent: an
// approved template is refused, or stopped on its way, for a link, a second signature, a private
// contact or a value that its variable does not take (isv.PARAM_NOT_SUPPORT_URL, isv.PARAM_LENGTH_LIMIT,
// isv.TEMPLATE_PARAMS_ILLEGAL; help.aliyun.com/document_detail/2806243.html, …/463270.html).
package variables

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// Rule is the rule as verdicts name it.
const Rule = "variables"

// Config is the section guards.variables.
type Config struct {
	// Max is the longest value allowed, in code points, 1..500; default what the provider allows. A code and a
	// link have bounds of their own.
	Max *strictyaml.Int `yaml:"max"`
	// Profile names the provider whose rules hold (aliyun, tencent, huawei); default the channel's own.
	Profile rules.Profile `yaml:"profile"`
}

type guard struct {
	max     int // 0: the provider's
	profile rules.Profile
}

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := guard{profile: c.Profile}
	if err := c.Profile.Check(); err != nil {
		return nil, err
	}
	if c.Max != nil {
		if g.max = int(*c.Max); g.max < 1 || g.max > rules.MaxSMS {
			return nil, fmt.Errorf("max is %d, want 1..%d characters", g.max, rules.MaxSMS)
		}
	}
	return g, nil
}

// Judge suppresses an SMS with a variable that its template cannot take. The hits of codes, links, numbers,
// contacts and values of the wrong kind repeat nothing of them.
func (g guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" || len(in.Delivery.Message.Params) == 0 {
		return rules.Verdict{}
	}
	p := g.profile.For(in)
	if g.max != 0 {
		p.VariableMax = g.max
	}
	m := in.Delivery.Message
	names := slices.Sorted(maps.Keys(m.Params))
	var hits []schemas.Hit
	if in.Delivery.Category == schemas.Marketing && !p.PromotionVariables {
		hits = append(hits, hit(rules.ReportBlock, names[0], "", 0, 0, noPromotion))
	}
	for _, name := range names {
		kind := m.ParamKinds[name]
		if kind == "" && len(names) == 1 && in.Delivery.Category == schemas.Verification {
			kind = schemas.ParamCode // what else could it be
		}
		hits = append(hits, judge(p, name, kind, m.Params[name])...)
	}
	return rules.Judged(hits)
}

func hit(action, name, value string, start, end int, advice schemas.Text) schemas.Hit {
	field := "params/" + name
	h := rules.HitAt(Rule, action, field, value, start, end, advice)
	h.Origin = field
	return h
}

// judge looks at one value. A value of the wrong kind is told once, as that.
func judge(p rules.Provider, name string, kind schemas.ParamKind, value string) (hits []schemas.Hit) {
	n := utf8.RuneCountInString(value)
	whole := func(advice schemas.Text) []schemas.Hit {
		h := hit(rules.ReportBlock, name, value, 0, n, advice)
		h.Text = "" // hits are shown and stored: what was put in the wrong place may be a number or a token
		return []schemas.Hit{h}
	}
	if strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }) == "" {
		return whole(empty)
	}
	plain := fold(value)
	if kind == schemas.ParamCode {
		if n < p.CodeMin || n > p.CodeMax || !codeForm.MatchString(plain) {
			return whole(badCode(p.CodeMin, p.CodeMax))
		}
		return nil
	}
	if form, ok := forms[kind]; ok && !form.is.MatchString(plain) {
		return whole(form.advice)
	}
	if kind != schemas.ParamURL && n > p.VariableMax {
		h := hit(rules.ReportBlock, name, value, p.VariableMax, n, tooLong(n, p.VariableMax))
		h.Text = "" // the span says enough
		hits = append(hits, h)
	}
	for _, b := range breaks {
		if slices.Contains(b.not, kind) {
			continue
		}
		if at := b.is.FindStringSubmatchIndex(plain); at != nil {
			start, end := at[0], at[1]
			if len(at) > 2 {
				start, end = at[2], at[3] // the first group is what is meant
			}
			h := hit(b.action, name, value, utf8.RuneCountInString(plain[:start]), utf8.RuneCountInString(plain[:end]), b.advice)
			if b.private {
				h.Text = "" // the span says enough
			}
			hits = append(hits, h)
		}
	}
	return hits
}

// fold writes full-width letters, digits and signs as plain ones, one for one, so that spans stay true.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case '！' <= r && r <= '～':
			return r - '！' + '!'
		case r == '。' || r == '｡':
			return '.'
		case r == '\u3000':
			return ' '
		}
		return r
	}, s)
}

// breaks are what no variable may hold, unless it is of a kind named in not.
var breaks = []struct {
	is      *regexp.Regexp
	action  string
	not     []schemas.ParamKind
	private bool // links carry tokens, numbers and accounts a person's name
	advice  schemas.Text
}{
	{
		is:     regexp.MustCompile(`(?i)(?:^|[^a-z0-9@._-])((?:https?://|www\.)[^\s\p{Han}]*|(?:[a-z0-9-]+\.)+(?:com|cn|net|org|top|xyz|cc|io|me|info|vip|club|shop|link|ltd|co|tv|site|online|app|dev|gov|edu|im|ly|biz|mobi|asia|hk|tw|us|ru)(?:[/:?][^\s\p{Han}]*|\b))`),
		action: rules.ReportBlock, not: []schemas.ParamKind{schemas.ParamURL}, private: true, advice: schemas.Text{
			Zh: "变量中不能有链接：请把链接写进模板并报审，或申请链接类型的变量并在 params 中写 {名称: url}",
			En: "a variable takes no link: write it into the template and have that approved, or apply for a variable of the kind link and declare {name: url} in params",
		},
	},
	{
		is: regexp.MustCompile(`[【】︻︼]`), action: rules.ReportBlock, advice: schemas.Text{
			Zh: "变量中不能有【】，会被识别为第二个签名；请去掉，或改用《》",
			En: "a variable takes no 【】, they read as a second signature; leave them out or use 《》",
		},
	},
	{
		is: regexp.MustCompile(`\[[^\[\]]*\]|[〖〗]`), action: rules.ReportReview, advice: schemas.Text{
			Zh: "变量中的方括号在短信首尾会被识别为签名；请去掉，或改用圆括号",
			En: "brackets in a variable read as a signature at the start or end of an SMS; leave them out or use ( )",
		},
	},
	{
		is:     regexp.MustCompile(`(?:^|[^0-9.,])((?:\+?86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4})(?:$|[^0-9.,])`),
		action: rules.ReportBlock, not: []schemas.ParamKind{schemas.ParamPhone, schemas.ParamNumber, schemas.ParamMoney, schemas.ParamURL}, private: true, advice: schemas.Text{
			Zh: "变量中不能有手机号：请留固定电话、400 或 95 号码；模板已有号码类型的变量时在 params 中写 {名称: phone}，订单号等写 {名称: number}",
			En: "a variable takes no mobile number: give a landline, 400 or 95 number; where the template's variable is of the kind phone declare {name: phone} in params, for an order's number {name: number}",
		},
	},
	{
		// Document numbers look the same (WX202611230001, QQ20261123): an account is one only behind a word or
		// a colon that says so. What is left goes to the content guard.
		is: regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(` +
			`(?:加|联系|微信)\s*(?:我|上)?\s*[:的]?\s*(?:qq|q群)\s*(?:号|群号|群)?\s*[:为是]?\s*[1-9][0-9]{4,10}` +
			`|(?:qq|q群)\s*(?:群?号\s*[:为是]?|群?\s*:)\s*[1-9][0-9]{4,10}` +
			`|(?:扣扣|企鹅)\s*(?:群号|号|群)?\s*[:为是]?\s*[1-9][0-9]{4,10}` +
			`|(?:加|联系|微信)\s*(?:我|上)?\s*[:的]?\s*(?:wechat|weixin|vx|wx|v信|v)\s*(?:同?号)?\s*[:为是]?\s*[a-z0-9_-]{5,20}` +
			`|(?:wechat|weixin|vx|wx|v信)\s*(?:同?号\s*[:为是]?|:|加|联系|微信)\s*[a-z0-9_-]{5,20}` +
			`|(?:微信|威信|薇信)\s*(?:同?号)?\s*[:为是]?\s*[a-z0-9_-]{5,20})`),
		action: rules.ReportBlock, not: []schemas.ParamKind{schemas.ParamURL}, private: true, advice: schemas.Text{
			Zh: "变量中不能有 QQ、微信等联系方式；请改留固定电话、400 或 95 号码",
			En: "a variable takes no QQ or WeChat contact; give a landline, 400 or 95 number",
		},
	},
	{
		is: regexp.MustCompile(`[\r\n\v\f\x{85}\x{2028}\x{2029}]`), action: rules.ReportReview, advice: schemas.Text{
			Zh: "变量中有换行，短信会被拆散或被服务商拒绝；请写成一行",
			En: "a line break in a variable tears the SMS apart, or is refused; write one line",
		},
	},
	{
		is: regexp.MustCompile(`[\x{1F000}-\x{1FAFF}\x{2600}-\x{27BF}\x{FE0F}\x{20E3}]`), action: rules.ReportReview, advice: schemas.Text{
			Zh: "变量中有表情符号，部分手机和通道无法显示；请删除或改写成文字",
			En: "an emoji in a variable, which some routes and phones cannot show; delete it or write words",
		},
	},
}

var codeForm = regexp.MustCompile(`^[0-9A-Za-z]+$`)

// forms are what the kinds of variables take; text and other take anything.
var forms = map[schemas.ParamKind]struct {
	is     *regexp.Regexp
	advice schemas.Text
}{
	schemas.ParamNumber: {
		regexp.MustCompile(`^[+-]?[0-9A-Za-z][0-9A-Za-z,._/#-]*%?$`), schemas.Text{
			Zh: "该变量在模板中为数字或编号，只能是数字、字母和 , . - _ / #；单位请写在模板里",
			En: "the template's variable is a number: digits, letters and , . - _ / # only; write the unit into the template",
		},
	},
	schemas.ParamMoney: {
		regexp.MustCompile(`^(?:[A-Z]{3} ?|[¥￥$€£]|HK\$|US\$)?[+-]?[0-9][0-9,]*(?:\.[0-9]+)?(?: ?(?:元|万元|亿元|万|角|分|[A-Z]{3}))?$`), schemas.Text{
			Zh: "该变量在模板中为金额，应写成 12,300.00 这样的数字，可带币种或“元”",
			En: "the template's variable is an amount of money: a number such as 12,300.00, with a currency or 元 if you like",
		},
	},
	schemas.ParamTime: {
		regexp.MustCompile(`^[ 0-9:./TZ+~年月日号时分秒点周星期一二三四五六七八九十上中下午早晚凌晨至到-]*[0-9一二三四五六七八九十][ 0-9:./TZ+~年月日号时分秒点周星期一二三四五六七八九十上中下午早晚凌晨至到日-]*$`), schemas.Text{
			Zh: "该变量在模板中为时间，应写成 2026-11-30、11月30日 18:00 这样的日期或时间",
			En: "the template's variable is a time: a date or time such as 2026-11-30 or 11月30日 18:00",
		},
	},
	schemas.ParamName: {
		regexp.MustCompile(`^[\p{L}\p{M}\p{N}][\p{L}\p{M}\p{N} ·.()&'*_-]*$`), schemas.Text{
			Zh: "该变量在模板中为名称，只能是文字、字母、数字和 · . ( ) & - *",
			En: "the template's variable is a name: letters, digits and · . ( ) & - * only",
		},
	},
	schemas.ParamPhone: {
		regexp.MustCompile(`^(?:(?:\+?86[- ]?)?1[3-9][0-9]{9}|1[3-9][0-9]\*{4,5}[0-9]{3,4}|[0-9][0-9-]{3,13}[0-9])$`), schemas.Text{
			Zh: "该变量在模板中为号码，应为 11 位手机号，或 5 至 13 位的固定电话、400、95 号码（可含连字符）",
			En: "the template's variable is a phone number: a mobile of 11 digits, or a landline, 400 or 95 number of 5 to 13 digits, hyphens allowed",
		},
	},
	schemas.ParamURL: {
		regexp.MustCompile(`(?i)^(?:https?://)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]+)?(?:[/?#][^\s\p{Han}]*)?$`), schemas.Text{
			Zh: "该变量在模板中为链接，应为 https://域名/路径，不含空格和汉字",
			En: "the template's variable is a link: https://host/path without spaces and Chinese characters",
		},
	},
}

var (
	empty = schemas.Text{
		Zh: "变量为空，服务商会拒绝；请在事件中给出内容，没有时写“无”",
		En: "the variable is empty, which the provider refuses; give it a value in the event, 无 where there is none",
	}
	noPromotion = schemas.Text{
		Zh: "该服务商的推广短信不能使用变量；请改用没有变量的模板",
		En: "this provider takes no variables in promotion; use a template without",
	}
)

func badCode(least, most int) schemas.Text {
	return schemas.Text{
		Zh: fmt.Sprintf("验证码应为 %d 至 %d 位数字或字母", least, most),
		En: fmt.Sprintf("a verification code has %d to %d digits or letters", least, most),
	}
}

func tooLong(n, most int) schemas.Text {
	return schemas.Text{
		Zh: fmt.Sprintf("变量共 %d 个字，最多 %d 个字；请删去 %d 个字，或把固定文字写进模板", n, most, n-most),
		En: fmt.Sprintf("the variable has %d characters, at most %d are taken; cut %d, or write what is always the same into the template", n, most, n-most),
	}
}
