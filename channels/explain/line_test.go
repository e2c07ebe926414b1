package explain_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

// Lines as operators paste them: from mail servers, from logs of .NET, Java, Python and Go, from
// consoles of providers; mostly without saying where they are from.
func TestExplainLine(t *testing.T) {
	const unknown = "?" // begins says of a line that no row knows
	tests := []struct {
		channel, provider, line string
		class                   channels.Class
		says                    string // in the English cause; with "?" in front, not known
	}{
		// SMTP
		{"email", "", "550 5.1.1 User unknown", channels.BadTarget, "mailbox does not exist"},
		{"email", "gmail", "550-5.1.1 The email account that you tried to reach\n550-5.1.1 does not exist. Please try\n550 5.1.1 double-checking - gsmtp", channels.BadTarget, "mailbox does not exist"},
		{"email", "", "421-4.7.0 [203.0.113.7 15] Our system has detected an unusual\r\n421-4.7.0 rate of unsolicited mail. Try again later\r\n421 4.7.0 - gsmtp", channels.Throttled, "Rate limited"},
		{"email", "", "550-5.7.26 This mail has been blocked 550-5.7.26 because 550 5.7.26 gsmtp", channels.Config, "Neither SPF nor DKIM"},
		{"", "", "535 Login Fail. Please enter your authorization code to login.", channels.Auth, "authorization code"},
		{"", "", "554 DT:SPM 163 smtp10,DsCowAD3abc", channels.Content, "judged as spam"},
		{"email", "", "550 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org", channels.Config, "block list"},
		{"email", "", "550 #5.1.0 Address rejected.", channels.BadTarget, "mailbox does not exist"},
		{"email", "", "host mx.example.com[203.0.113.9] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command)", channels.Temporary, "mailbox is full"},
		{"email", "", "550 5.7.99 whatever", channels.Permanent, "security or policy"},
		{"email", "", "421 203.5.1.1 closing", channels.Temporary, "closes the connection"},
		{"email", "", "550", channels.BadTarget, "Mailbox unavailable"},
		{"", "", "5.1.1", channels.BadTarget, "mailbox does not exist"},
		{"email", "", "459 strange", channels.Temporary, unknown + "459"},
		{"email", "", "579 5.9.9 strange", channels.Permanent, unknown + "579 5.9.9"},
		{"email", "", "250 2.0.0 Ok: queued as 4F1", channels.Unknown, unknown + "means success"},
		// .NET
		{"email", "", "System.Net.Mail.SmtpException: Mailbox unavailable. The server response was: 5.1.1 User unknown", channels.BadTarget, "mailbox does not exist"},
		{"email", "", "Mailbox unavailable. The server response was: 4.2.1 try later", channels.Temporary, "not accepting mail now"},
		{"email", "", "The SMTP server requires a secure connection or the client was not authenticated. The server response was: 5.7.57 Client not authenticated to send mail.", channels.Config, "without login"},
		{"", "", "SMTP 服务器要求安全连接或客户端未通过身份验证。 服务器响应为:5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", channels.Config, "without login"},
		{"", "", "事务失败。 服务器响应为:DT:SPM 163 smtp7,C8CowAA", channels.Content, "judged as spam"},
		{"email", "", "不允许使用邮箱名称。 服务器响应为:authentication is required,163 smtp2", channels.Config, "wants a login"},
		{"email", "netease", "不允许使用邮箱名称。 服务器响应为:authentication is required,163 smtp2", channels.Config, "Login is missing"},
		{"email", "", "MustIssueStartTlsFirst", channels.Config, "TLS or login"},
		{"", "", "未能解析此远程名称: 'smtp.exmple.com'", channels.Config, "host name does not exist"},
		// Java, Python, Go
		{"", "", "javax.mail.AuthenticationFailedException: 535 Error: authentication failed", channels.Auth, ""},
		{"email", "", "smtplib.SMTPAuthenticationError: (535, b'5.7.8 Error: authentication failed: UGFzc3dvcmQ6')", channels.Auth, "password is refused"},
		{"email", "", "client failed: dial failed: dial tcp: lookup smtp.exmple.com: no such host", channels.Config, "host name does not exist"},
		{"email", "", "dial tcp 203.0.113.7:465: connect: connection refused", channels.Temporary, "Nothing listens"},
		{"email", "", "System.Net.Mail.SmtpException: The operation has timed out.", channels.Temporary, "did not answer in time"},
		{"email", "", "tls: first record does not look like a TLS handshake", channels.Config, "plain-text port"},
		{"email", "", "SMTP AUTH: server does not support SMTP AUTH", channels.Config, "how to log in"},
		{"webhook", "", `Post "https://a.example/": dial tcp 203.0.113.7:443: i/o timeout`, channels.Temporary, "No connection in time"},
		{"webhook", "", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)", channels.Temporary, "may have processed"},
		{"webhook", "", "dial tcp: lookup a.example on 203.0.113.1:53: server misbehaving", channels.Temporary, "DNS does not answer"},
		{"webhook", "", "read tcp 10.0.0.1:1->203.0.113.7:443: read: connection reset by peer", channels.Temporary, "reset"},
		// Aliyun and carriers
		{"sms", "aliyun", "isv.AMOUNT_NOT_ENOUGH", channels.Config, "balance"},
		{"", "", "isv.BUSINESS_LIMIT_CONTROL 触发小时级流控Permits:5", channels.Throttled, "frequency limit"},
		{"", "", `{"Message":"账户余额不足","RequestId":"A0-1","Code":"isv.AMOUNT_NOT_ENOUGH"}`, channels.Config, "balance"},
		{"sms", "", "SDK.ServerError\nErrorCode: InvalidAccessKeyId.NotFound\nRecommend: \nRequestId: 1\nMessage: Specified access key is not found.", channels.Auth, "AccessKey ID does not exist"},
		{"sms", "", "短信发送失败：isv.MOBILE_NUMBER_ILLEGAL（13800138000）", channels.BadTarget, "wrong format"},
		{"sms", "", "Throttling.User", channels.Throttled, "above the gateway's limit"},
		{"", "", "MOBILE_IN_BLACK", channels.BadTarget, "blacklist"},
		{"sms", "", "UNKNOWN", channels.Temporary, "no final state"},
		{"sms", "aliyun", "isv.NEW_LIMIT something unknown to all", channels.Permanent, unknown + "isv.NEW_LIMIT"},
		{"sms", "", "DELIVRD", channels.Unknown, unknown + "means success"},
		// HTTP
		{"webhook", "", "503", channels.Temporary, "receiver is not available"},
		{"", "", "503 Service Unavailable", channels.Temporary, "receiver is not available"},
		{"", "", "HTTP/1.1 429 Too Many Requests", channels.Throttled, "Too many requests"},
		{"", "", "The remote server returned an error: (401) Unauthorized.", channels.Auth, "Token or key"},
		{"", "", "远程服务器返回错误: (404) 未找到。", channels.Config, "path does not exist"},
		{"webhook", "", "HttpStatusCode.BadGateway", channels.Throttled, "gateway got no good answer"},
		{"webhook", "", "status code 418", channels.Permanent, unknown + "client error"},
		{"", "", "404", channels.Config, "path does not exist"},
		{"", "", "503 5.5.1 Error: send AUTH command first", channels.Config, "wants a login"},
		// Robots
		{"webhook", "dingtalk", `{"errcode":310000,"errmsg":"keywords not in content"}`, channels.Content, "keywords"},
		{"dingtalk", "", "310000 keywords not in content", channels.Content, "keywords"},
		{"", "", `{"errcode":93000,"errmsg":"invalid webhook url, hint: [1700000000000000]"}`, channels.Config, "webhook URL is not valid"},
		{"bot", "wecom", "errcode: 45009, errmsg: api freq out of limit", channels.Throttled, "20 messages"},
		{"bot", "feishu", `{"code":19024,"msg":"Key Words Not Found"}`, channels.Content, "keywords"},
		{"bot", "dingtalk", "-1 system busy", channels.Temporary, "busy"},
		{"bot", "feishu", "HTTP 502", channels.Throttled, "gateway"},
		{"bot", "feishu", "29999 mystery", channels.Permanent, unknown + "29999"},
		{"bot", "feishu", `{"code":0,"msg":"success"}`, channels.Unknown, unknown + "means success"},
		// Ours, and nonsense
		{"", "", "daily-cap", channels.Throttled, "in a day"},
		{"", "", "dispatcher:no-route", channels.Config, "No route"},
		{"", "", "net:refused", channels.Temporary, "Connection refused"},
		{"", "", "", channels.Temporary, unknown},
		{"sms", "", "nobody knows", channels.Temporary, unknown + "nobody knows"},
		{"sms", "", "触发天级流控Permits:10", channels.Throttled, "frequency limit"},
		{"sms", "", "余额Permits:10", channels.Temporary, unknown + "Permits:10"},
		{"dispatcher", "", "nobody knows", channels.Temporary, unknown + "nobody knows"},
		{"email", "", "发送邮件失败。 ---> System.Net.WebException: 无法连接到远程服务器", channels.Temporary, "cannot be reached"},
		// Good news, and what other systems say, is no third party's refusal.
		{"email", "", "250 2.1.5 Recipient OK, mailbox full of hope", channels.Unknown, unknown + "means success"},
		{"", "", "短信签名审核通过", channels.Temporary, unknown},
		{"", "", "SMS sent successfully, template SMS_1, signature registered", channels.Temporary, unknown},
		{"sms", "", "签名审核未通过", channels.Config, "signature"},
		{"", "", "ORA-01017: invalid username/password; logon denied", channels.Temporary, unknown},
		{"", "", "java.sql.SQLException: Access denied for user 'erp'@'10.0.0.1' (using password: YES)", channels.Temporary, unknown},
		{"", "", "redis: connection refused", channels.Temporary, unknown},
		// The moment of an SMTP dialogue.
		{"email", "", "550 Denied (in reply to MAIL FROM command)", channels.Config, "sender was refused"},
		{"email", "", "554 no (in reply to end of DATA command)", channels.Content, "after its text had been read"},
		{"email", "", "host mx[192.0.2.1] refused to talk to me: 554 no", channels.Temporary, "before there was a message"},
		{"sms", "", "13800138000", channels.Permanent, unknown + "138****8000"},
	}
	for _, tt := range tests {
		d := explain.Default().ExplainLine(channels.Quote{Channel: tt.channel, Provider: tt.provider, Text: tt.line})
		says, isUnknown := strings.CutPrefix(tt.says, unknown)
		if d.Class != tt.class || d.Known == isUnknown || !strings.Contains(d.Cause.En, says) {
			t.Errorf("ExplainLine(%q, %q, %q)\n got %s, known %t: %q (%s)\nwant %s, known %t: …%s…",
				tt.channel, tt.provider, tt.line, d.Class, d.Known, d.Cause.En, d.Cause.Zh, tt.class, !isUnknown, says)
		}
	}
}

// A phone number or mail address in an unknown line is not repeated in its explanation.
func TestUnknownLinesAreMasked(t *testing.T) {
	for _, line := range []string{"rejected 13800138000 today", "mystery for wang@example.com", "X_13800138000", "13800138000"} {
		for _, channel := range []string{"", "email", "sms", "bot", "webhook", "dispatcher"} {
			d := explain.Default().ExplainLine(channels.Quote{Channel: channel, Provider: "", Text: line})
			if all := d.Cause.En + d.Cause.Zh + d.Remedy.En + d.Remedy.Zh; strings.Contains(all, "13800138000") || strings.Contains(all, "wang@") {
				t.Errorf("ExplainLine(%q, %q) shows %q", channel, line, d.Cause.En)
			}
		}
	}
}

func FuzzExplainLine(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s[0], s[1], s[2])
	}
	f.Add("", "", "550-\r\n550-5.1.1\n550 ")
	f.Add("email", "", "The server response was: ")
	f.Add("webhook", "generic", "http:")
	f.Add("sms", "", `{"code":`)
	f.Add("bot", "", "(503)\xff\xfe")
	f.Fuzz(func(t *testing.T, channel, provider, line string) {
		d := explain.Default().ExplainLine(channels.Quote{Channel: channel, Provider: provider, Text: line})
		if d.Class == "" || d.Retry == "" || d.Owner == "" {
			t.Errorf("incomplete: %+v", d)
		}
		for _, s := range []string{d.Cause.Zh, d.Cause.En, d.Remedy.Zh, d.Remedy.En} {
			if s == "" || !utf8.ValidString(s) {
				t.Errorf("text %q", s)
			}
		}
	})
}
