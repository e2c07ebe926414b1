package content

import "github.com/yizhan-dev/yizhan/schemas"

// advice says for each rule what is forbidden and what to write instead. What it gives as an example passes the
// rules itself; a test of cmd/yizhan sees to it.
var advice = [ruleCount]schemas.Text{
	RuleMarketing: {
		Zh: "未经接收人同意不得发送促销、优惠、拉新内容；请删去优惠和邀约的字句，只写已发生的业务，例如“订单SO-2026-0311已发货”；确需推广的，先取得接收人同意，再按营销类别发送，末尾写“拒收请回复R”",
		En: "promotion needs the recipient's consent; leave out offers and invitations and tell what happened, such as “订单SO-2026-0311已发货”; to promote something, get consent first, send it in the category marketing and end it with “拒收请回复R”",
	},
	RuleContact: {
		Zh: "不得引导接收人添加微信、QQ、公众号或私人号码；请改写为公司客服电话或系统内的办理入口，例如“如有疑问，请致电客服400-810-8888”“如有疑问，请登录系统提交工单”",
		En: "a message may not lead people to WeChat, QQ, official accounts or private numbers; name the company's service line or a place in the system, such as “如有疑问，请致电客服400-810-8888” or “如有疑问，请登录系统提交工单”",
	},
	RuleDating: {
		Zh: "不得发送交友、婚恋、征婚内容；请删去这些字句，员工活动请写活动名称、时间、地点和主办部门，例如“工会羽毛球活动：11月28日14:00，公司体育馆”",
		En: "dating and matchmaking are forbidden; leave these words out, and of a staff event give name, time, place and department, such as “工会羽毛球活动：11月28日14:00，公司体育馆”",
	},
	RuleGambling: {
		Zh: "不得发送博彩、彩票、赌博内容；请删去这些字句，如果是客户或商品的名称，请改写为编号，例如“客户K1024的订单已发货”",
		En: "betting, lotteries and gambling are forbidden; leave these words out, and if they are the name of a customer or product, write its number instead, such as “客户K1024的订单已发货”",
	},
	RuleFinance: {
		Zh: "不得发送贷款、荐股、理财推广和催收内容；请只写单据上的事实，例如“应收款12,300.00元，到期日11月30日”，不写利率、额度、放款或追究责任的字句",
		En: "offers of loans, securities and investments, and dunning, are forbidden; state only what the document says, such as “应收款12,300.00元，到期日11月30日”; write no rates, credit lines, payouts or threats",
	},
	RuleReward: {
		Zh: "不得以返现、红包、赠品换取好评、进群或转发；请删去奖励的字句，需要评价时只写“欢迎评价本次服务”",
		En: "money, red packets or gifts for reviews, for joining a group or for sharing are forbidden; leave the reward out, and to ask for feedback write only “欢迎评价本次服务”",
	},
	RuleHealth: {
		Zh: "不得推广药品、保健品、医疗和美容服务；请删去功效和治疗的字句，采购或库存单据请写物料编码，例如“物料4010233已入库200件，请质检”",
		En: "promotion of medicine, health products, treatment and cosmetics is forbidden; leave out effects and cures, and in purchase or stock documents write the material code, such as “物料4010233已入库200件，请质检”",
	},
	RuleFuneral: {
		Zh: "不得推广殡葬服务和墓地；请删去这些字句，往来单据请写单号或物料编码，例如“采购单PO-2026-0117已审核”",
		En: "promotion of funerals and graves is forbidden; leave these words out, and in documents write the number or the material code, such as “采购单PO-2026-0117已审核”",
	},
	RuleSensitive: {
		Zh: "含色情、暴恐、毒品、枪支或政治类违禁词，不得发送；请删去该词，如果是客户或商品的名称，请改写为编号，例如“客户K1024的订单已发货”",
		En: "words of pornography, terror, drugs, weapons or politics may not be sent; leave the word out, and if it is the name of a customer or product, write its number instead, such as “客户K1024的订单已发货”",
	},
	RuleFraud: {
		Zh: "疑似代开发票、办理假证或冒充机构的诈骗，不得发送；发票通知请写发票号码和金额，例如“您的发票已开具，发票号码24312000000012345678，金额12,300.00元”，不写如何代开或办理",
		En: "this reads like forged invoices or certificates, or like fraud in an institution's name; of an invoice give number and amount, such as “您的发票已开具，发票号码24312000000012345678，金额12,300.00元”; do not say how to have one made",
	},
}

// disguiseAdvice is added where a term is disguised.
var disguiseAdvice = schemas.Text{
	Zh: "；该词以符号、谐音、拆字等变体写成，运营商对变体本身也会拦截，请勿换用其他变体",
	En: "; the word is disguised, and carriers refuse the disguise itself: do not try another one",
}

// resembles is the advice where a message was learned to be like others, and no term says why.
func (r Rule) resembles() schemas.Text {
	id := r.String()
	return schemas.Text{
		Zh: "整条消息与违反规则 " + id + " 的样例相似，但没有命中词条；请人工查看，确认无误则无需修改",
		En: "the message as a whole resembles those that break rule " + id + ", though no term was found; a person should look, and leave it as it is if it is in order",
	}
}

func (r Rule) advise(via Via) schemas.Text {
	text := advice[r]
	if via >= ViaHidden {
		text.Zh += disguiseAdvice.Zh
		text.En += disguiseAdvice.En
	}
	return text
}
