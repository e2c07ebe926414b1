package content

import "github.com/yizhan-dev/yizhan/schemas"

// advice says for each rule what is forbidden and what to write instead.
var advice = [ruleCount]schemas.Text{
	RuleMarketing: {
		Zh: "未经接收人同意不得发送营销、促销、拉新内容；请删去优惠和邀约字样，只写业务事实，或改为已订阅的营销类消息并注明“拒收请回复R”",
		En: "promotion needs the recipient's consent; leave out offers and invitations and state the business fact, or send it as subscribed marketing with an opt-out",
	},
	RuleContact: {
		Zh: "不得引导接收人添加微信、QQ、公众号或私人联系方式；请改写为官方客服电话或系统内入口",
		En: "a message may not lead people to WeChat, QQ, official accounts or private contacts; name the company's service line or a place in the system instead",
	},
	RuleDating: {
		Zh: "不得发送交友、婚恋、征婚类内容；请删除，内部活动请写明活动名称、时间、地点和主办部门",
		En: "dating and matchmaking are forbidden; leave it out, and of a staff event give name, time, place and department",
	},
	RuleGambling: {
		Zh: "不得发送博彩、彩票、赌博类内容；请删除。若为客户名称或商品名称，请改用编号或简称",
		En: "betting, lotteries and gambling are forbidden; leave it out. If it is the name of a customer or product, use its number or short name",
	},
	RuleFinance: {
		Zh: "不得发送贷款、证券荐股、理财推广和催收内容；请只写单据事实，例如“应收款12,300.00元，到期日11月30日”，不写利率、额度、放款或追责措辞",
		En: "offers of loans, securities and investments, and dunning, are forbidden; state the document's facts, such as the amount and due date, without rates, credit lines or threats",
	},
	RuleReward: {
		Zh: "不得以返现、红包、赠品诱导好评、进群或转发；请删去奖励字样，需要评价时只写“欢迎评价本次服务”",
		En: "money, gifts or red packets for reviews, for joining a group or for sharing are forbidden; leave the reward out and ask for feedback plainly",
	},
	RuleHealth: {
		Zh: "不得推广药品、保健品、医疗和美容服务；请删去功效和诊疗字样，采购单据请改用物料编码",
		En: "promotion of medicine, health products and treatment is forbidden; leave effects and treatment out, and in purchase documents use the material code",
	},
	RuleFuneral: {
		Zh: "不得发送殡葬、墓地推广内容；请删除，往来单据请改用单号或物料编码",
		En: "promotion of funerals and graves is forbidden; leave it out, and in documents use the number or material code",
	},
	RuleSensitive: {
		Zh: "含违禁内容（色情、暴恐、毒品、枪支、政治等），不得发送；请删除，若为名称中的字样请改用编号",
		En: "pornography, terror, drugs, weapons and politics are forbidden; leave it out, and if it is part of a name use a number instead",
	},
	RuleFraud: {
		Zh: "疑似代开发票、办证或冒充机构的诈骗内容，不得发送；发票通知请写明开票方、发票号和金额，不附办理方式",
		En: "this reads like forged invoices or certificates, or like phishing; of an invoice give issuer, number and amount, and no way to have one made",
	},
}

// disguiseAdvice is added where a term is disguised.
var disguiseAdvice = schemas.Text{
	Zh: "；该词用符号、谐音、拆字或其他变体书写，运营商对变体写法本身即会拦截，请勿改用其他变体",
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
