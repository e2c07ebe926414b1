package sandbox

import "github.com/yizhan-dev/yizhan/schemas"

// Case is one failure that can be had from a stand-in by what a message says or where it goes.
type Case struct {
	Number string       // mainland, bare 11 digits; or a part of a mail address, a webhook's path, a robot's [simulate X]
	Code   string       // Aliyun's or the reply's code, or the condition that the sender sees
	What   schemas.Text // what the stand-in does
	// Tencent and Huawei are the codes of the other look-alikes; "" where what happens has no code.
	Tencent, Huawei string
}

// behaviour is what the SMS stand-in does with a message.
type behaviour struct {
	Case
	message string // Aliyun's words for Code
	status  int    // HTTP status, 0 is 200
	body    string // an answer that is not Aliyun's, in place of a code
	first   int    // only the first attempts of an OutId; later ones are accepted
	silent  bool   // no answer
	cut     bool   // the connection is broken instead of an answer
	drip    bool   // the answer comes a byte a second and never ends
	taken   bool   // the message is taken whatever is answered
	// What QuerySendDetails says of it afterwards: SendStatus (0 is 1, waiting), ErrCode, or nothing but an error.
	sendStatus int64
	errCode    string
	mute       bool
}

const ok = "OK"

// simulated is the table of numbers. SendStatus: 1 waiting, 2 failed, 3 delivered.
var simulated = []behaviour{
	{Case: Case{"19900000001", "isv.MOBILE_NUMBER_ILLEGAL", schemas.Text{
		Zh: "号码不合法，拒绝", En: "refused: the number is not valid",
	}, "InvalidParameterValue.IncorrectPhoneNumber", "E000503"}, message: "19900000001 invalid mobile number"},
	{Case: Case{"19900000002", "isv.BUSINESS_LIMIT_CONTROL", schemas.Text{
		Zh: "触发分钟级流控", En: "refused: the limit for one minute is reached",
	}, "LimitExceeded.PhoneNumberThirtySecondLimit", "E000623"}, message: "触发分钟级流控Permits:1"},
	{Case: Case{"19900000003", "isv.AMOUNT_NOT_ENOUGH", schemas.Text{
		Zh: "账户余额不足", En: "refused: the account has no balance",
	}, "FailedOperation.InsufficientBalanceInSmsPackage", "E000112"}, message: "账户余额不足"},
	{Case: Case{"19900000004", "isv.SMS_SIGNATURE_ILLEGAL", schemas.Text{
		Zh: "签名不存在或未通过审核", En: "refused: the signature is unknown or not approved",
	}, "FailedOperation.SignatureIncorrectOrUnapproved", "E200030"}, message: "该账号下找不到对应签名"},
	{Case: Case{"19900000005", "isp.SYSTEM_ERROR", schemas.Text{
		Zh: "前两次系统错误，第三次受理", En: "a system error twice, then accepted",
	}, "InternalError.OtherError", "E000000"}, message: "isp.SYSTEM_ERROR", first: 2},
	{
		Case: Case{"19900000006", "http:503", schemas.Text{
			Zh: "返回 HTTP 503 和一个 HTML 页面", En: "answers HTTP 503 with an HTML page",
		}, "", ""}, status: 503,
		body: "<html><head><title>503 Service Temporarily Unavailable</title></head><body></body></html>",
	},
	{Case: Case{"19900000007", "net:timeout-response", schemas.Text{
		Zh: "已受理但不应答，查询结果为已送达", En: "taken and never answered; the query finds it delivered",
	}, "", ""}, silent: true, taken: true, sendStatus: 3},
	{Case: Case{"19900000008", "net:timeout-response", schemas.Text{
		Zh: "第一次未受理也不应答，查询不到；再次发送即受理", En: "the first time neither taken nor answered, and the query finds nothing; then accepted",
	}, "", ""}, silent: true, first: 1},
	{Case: Case{"19900000009", "net:timeout-response", schemas.Text{
		Zh: "已受理但不应答，查询接口也报错，结果一直不确定", En: "taken and never answered, and the query fails too: stays uncertain",
	}, "", ""}, silent: true, taken: true, mute: true},
	{Case: Case{"19900000010", "Throttling.User", schemas.Text{
		Zh: "接口调用过快（HTTP 400）", En: "refused by the gateway as too fast (HTTP 400)",
	}, "RequestLimitExceeded", "E000623"}, message: "Request was denied due to user flow control.", status: 400},
	{Case: Case{"19900000011", "net:reset", schemas.Text{
		Zh: "已受理，随后断开连接", En: "taken, and the connection broken without an answer",
	}, "", ""}, cut: true, taken: true},
	{Case: Case{"19900000012", ok, schemas.Text{
		Zh: "受理，回执为未送达（停机、空号或关机）", En: "accepted; the receipt says undelivered (MOBILE_NOT_ON_SERVICE)",
	}, "", ""}, sendStatus: 2, errCode: "MOBILE_NOT_ON_SERVICE"},
	{Case: Case{"19900000013", "dispatcher:http-200-no-code", schemas.Text{
		Zh: "返回 HTTP 200，但内容不是 JSON", En: "answers HTTP 200 with something that is not JSON",
	}, "", ""}, status: 200, body: "<html>login to continue</html>"},
	{Case: Case{"19900000015", "net:timeout-response", schemas.Text{
		Zh: "已受理，每秒只应答一个字节，查询结果为已送达", En: "taken, and answered a byte a second for ever; the query finds it delivered",
	}, "", ""}, drip: true, taken: true, sendStatus: 3},
	{Case: Case{"19900000016", "net:timeout-response", schemas.Text{
		Zh: "不受理也不应答，查询不到", En: "neither taken nor answered, and the query finds nothing",
	}, "", ""}, silent: true},
	{Case: Case{"19900000014", ok, schemas.Text{
		Zh: "受理，回执为已送达", En: "accepted; the receipt says delivered",
	}, "", ""}, sendStatus: 3, errCode: "DELIVERED"},
}

// Simulated lists the numbers with a fate of their own, for the documentation; every other number
// is accepted and its receipt never comes.
func Simulated() []Case {
	cases := make([]Case, len(simulated))
	for i, b := range simulated {
		cases[i] = b.Case
	}
	return cases
}

// simulatedMail are the failures that the mail server has, by a part of the address; [session.Rcpt]
// and [session.Data] do them. Code is the reply, if any.
var simulatedMail = []Case{
	{"no-such-user", "550 5.1.1", schemas.Text{Zh: "邮箱不存在", En: "no such mailbox"}, "", ""},
	{"mailbox-full", "552 5.2.2", schemas.Text{Zh: "邮箱已满", En: "the mailbox is full"}, "", ""},
	{"busy", "421 4.3.2", schemas.Text{Zh: "服务器繁忙，关闭连接", En: "busy; closes the connection"}, "", ""},
	{"spam", "554 5.7.1", schemas.Text{Zh: "收完邮件后拒绝", En: "refused after the message"}, "", ""},
	{"throttled", "432 4.3.2", schemas.Text{Zh: "收完邮件后限流", En: "throttled after the message"}, "", ""},
	{"greylist", "451 4.7.1", schemas.Text{Zh: "前两次暂时拒绝，之后受理", En: "refused for now twice, then accepted"}, "", ""},
	{"hang", "-", schemas.Text{Zh: "读完邮件后始终不答复", En: "reads the message and never answers"}, "", ""},
	{"cut", "-", schemas.Text{Zh: "收下邮件，不答复就断开连接", En: "takes the message and breaks the connection"}, "", ""},
	{"mute", "-", schemas.Text{Zh: "始终不答复收件人命令", En: "never answers RCPT"}, "", ""},
	{"drip", "-", schemas.Text{Zh: "收下邮件，每秒只答复一个字节，永不结束", En: "takes the message and answers a byte a second, for ever"}, "", ""},
	{"garbage", "-", schemas.Text{Zh: "收下邮件，答复一个网页", En: "takes the message and answers with a web page"}, "", ""},
	{"slow", "250", schemas.Text{Zh: "3 秒后受理", En: "accepted after 3 s"}, "", ""},
}

// simulatedHooks are the paths of [Webhook].
var simulatedHooks = []Case{
	{"/hook/ok", "200", schemas.Text{Zh: "受理", En: "accepted"}, "", ""},
	{"/hook/flaky", "503", schemas.Text{Zh: "前两次不可用，之后受理", En: "not available twice, then accepted"}, "", ""},
	{"/hook/503", "503", schemas.Text{Zh: "服务不可用", En: "not available"}, "", ""},
	{"/hook/429", "429", schemas.Text{Zh: "请求过多，2 秒后再来", En: "too many requests, Retry-After 2 s"}, "", ""},
	{"/hook/410", "410", schemas.Text{Zh: "不再接收", En: "wants no more"}, "", ""},
	{"/hook/400", "400", schemas.Text{Zh: "请求格式有误", En: "refused as malformed"}, "", ""},
	{"/hook/hang", "-", schemas.Text{Zh: "收下消息，始终不答复", En: "takes the message and never answers"}, "", ""},
	{"/hook/mute", "-", schemas.Text{Zh: "不收消息，也不答复", En: "neither takes the message nor answers"}, "", ""},
	{"/hook/cut", "-", schemas.Text{Zh: "收下消息，不答复就断开连接", En: "takes the message and breaks the connection"}, "", ""},
	{"/hook/drip", "-", schemas.Text{Zh: "收下消息，每秒只答复一个字节，永不结束", En: "takes the message and answers a byte a second, for ever"}, "", ""},
	{"/hook/page", "200", schemas.Text{Zh: "收下消息，答复 200 和一个网页", En: "takes the message and answers 200 with a web page"}, "", ""},
	{"/hook/error", "200", schemas.Text{Zh: "收下消息，答复 200，正文说出错", En: "takes the message and answers 200 with an error in the body"}, "", ""},
	{"/hook/redirect", "307", schemas.Text{Zh: "跳转到云主机元数据地址", En: "redirects to a cloud's metadata address"}, "", ""},
}

// fate is what happens to messages for a number.
func fate(number string) behaviour {
	for _, b := range simulated {
		if b.Number == number {
			return b
		}
	}
	return accepted
}

var accepted = behaviour{Case: Case{Code: ok}}
