package signature

import (
	"fmt"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// reason is what is wrong, how much, and what to do about it.
type reason struct {
	rule, action string
	advice       schemas.Text
}

func block(rule, zh, en string) reason {
	return reason{rule, rules.ReportBlock, schemas.Text{Zh: zh, En: en}}
}

func review(rule, zh, en string) reason {
	return reason{rule, rules.ReportReview, schemas.Text{Zh: zh, En: en}}
}

var (
	second = block(RuleOne,
		"短信只能有一个签名，且由服务商自动加在最前面；请从正文中删除该括号内容，需要引用时改用《》或“”",
		"an SMS bears one signature, which the provider puts in front; take this bracketed part out of the text, or quote with 《》 or “” instead")
	ownAgain = block(RuleOne,
		"签名由服务商自动添加，正文中再写一次就成了双签名；请从正文中删除",
		"the provider adds the signature itself; written in the text again it is a second one: take it out")
	doubled = block(RuleOne,
		"签名外套了两层括号，会被识别为双签名；只保留一层【】",
		"the signature stands in two pairs of brackets, which reads as two signatures; leave one pair 【】")
	inMiddle = review(RuleOne,
		"正文中不应出现【】，服务商的模板审核会拒绝；需要引用时改用《》或“”",
		"a text should hold no 【】, providers refuse templates that do; quote with 《》 or “” instead")
	notSecond = review(RuleOne,
		"签名之外的括号内容可能被识别为第二个签名；请去掉括号，写成普通文字",
		"brackets beside the signature may be read as a second one; write this part without them")
	sameSender = review(RuleOne,
		"该括号内容与签名像是同一家，仍可能被识别为双签名；只保留一个",
		"this looks like the same sender as the signature, yet may be read as a second one; leave one of them")
	farBrackets = review(RuleOne,
		"文本首尾的方括号内容可能被识别为第二个签名；请去掉括号",
		"brackets at the start or end of a text may be read as a second signature; take the brackets away")
	looseBracket = review(RuleOne,
		"【】没有成对出现，签名可能无法识别；请补全或删除",
		"this 【 or 】 stands alone, a signature may not be recognised; complete or delete it")

	noSignature = review(RuleLength,
		"文本没有签名；如由服务商自动添加签名则无妨，否则请在开头写上【签名】",
		"the text has no signature; that is fine where the provider adds it, otherwise begin with 【signature】")
	wrongBrackets = review(RuleLength,
		"境内短信的签名只用全角【】；请改用【】",
		"in mainland China a signature stands in full-width 【】; use these")
	hidden = review(RuleLength,
		"签名中含有看不见的字符（如零宽空格），与报备的签名不一致；请重新输入签名",
		"the signature holds invisible characters (zero-width space or the like) and so is not the registered one; type it anew")
	empty = review(RuleLength,
		"签名为空；请填写已报备的签名",
		"the signature is empty; write the registered one")
	notAName = review(RuleLength,
		"签名由 2 至 12 个汉字、英文字母或数字组成；该括号内容不像签名，请改为已报备的签名",
		"a signature has 2 to 12 Chinese characters, Latin letters or digits; what stands in these brackets is none: write the registered one")
	badSign = block(RuleLength,
		"签名只能由汉字、英文字母和数字组成，不含括号、空格和符号（括号由服务商添加）",
		"a signature consists of Chinese characters, Latin letters and digits; no brackets (the provider adds them), spaces or symbols")
	digitsOnly = review(RuleLength,
		"签名为纯数字，多数服务商不接受；请使用企业或应用名称",
		"the signature is digits only, which most providers refuse; use the name of the company or application")
	latinOnly = review(RuleLength,
		"签名和正文都没有汉字；纯英文签名容易被运营商拦截，部分通道不支持，请尽量使用中文签名",
		"neither signature nor text holds Chinese; carriers stop purely Latin signatures more often and some routes refuse them: use a Chinese one if you can")
	forTests = review(RuleLength,
		"签名含“测试”或 test，只能用于测试；正式发送请换用正式签名",
		"the signature holds 测试 or test, which is for trials only; use the real one for real messages")
	personal = review(RuleLength,
		"签名像是个人姓名；签名应为企业、应用或品牌的名称",
		"the signature looks like a person's name; it should be the name of a company, application or brand")
)

func badLength(n, least, most int) reason {
	return block(RuleLength,
		fmt.Sprintf("签名共 %d 个字，应为 %d 至 %d 个字；请更换签名并重新报备", n, least, most),
		fmt.Sprintf("the signature has %d characters, want %d to %d; choose another and file it again", n, least, most))
}
