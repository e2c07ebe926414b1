package explain

import (
	"regexp"
	"strings"
)

var (
	// A reply code begins the text, or follows what a library or a mail server put before it:
	// "RCPT TO: 550 …", "host mx said: 550 …", "(535, b'…')".
	replyCode = regexp.MustCompile(`(?:^|[:(\["'] ?)([2-5]\d\d)(?:[ ,:-]|$)`)
	// RFC 3463; some servers write "#5.1.1".
	enhancedCode = regexp.MustCompile(`(?:^|[^\d.])([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|\.?$|\.[^\d])`)
	// A login's challenge with the refusal behind it, as transcripts have it.
	challenged = regexp.MustCompile(`^334 \S* (?:[45]\d\d[ -])`)
	pythonText = regexp.MustCompile(`^b?['"]`)
	// .NET in English and Chinese: "Mailbox unavailable. The server response was: 5.1.1 …".
	serverSaid = regexp.MustCompile(`(?i)(?:the server response was|服务器响应为)\s*[:：]?\s*`)
)

// sentences are what .NET says in place of the reply code it read, and the names of its enumeration
// (learn.microsoft.com, System.Net.Mail.SmtpStatusCode). The Chinese ones are those of the language
// pack. "Mailbox unavailable" stands for 450 and for 550; an enhanced code tells which.
var sentences = []struct {
	code string
	re   *regexp.Regexp
}{
	{"421", regexp.MustCompile(`(?i)ServiceNotAvailable|service not available, closing transmission channel|服务不可用`)},
	{"450", regexp.MustCompile(`(?i)MailboxBusy|邮箱忙`)},
	{"451", regexp.MustCompile(`(?i)LocalErrorInProcessing|^error in processing`)},
	{"452", regexp.MustCompile(`(?i)InsufficientStorage|insufficient system storage|系统存储空间不足`)},
	{"454", regexp.MustCompile(`(?i)ClientNotPermitted|client does not have permission to submit mail`)},
	{"500", regexp.MustCompile(`(?i)CommandUnrecognized|syntax error, command unrecognized|语法错误，命令无法识别`)},
	{"503", regexp.MustCompile(`(?i)BadCommandSequence|bad sequence of commands|命令顺序不正确`)},
	{"504", regexp.MustCompile(`(?i)CommandParameterNotImplemented|command parameter not implemented`)},
	{"502", regexp.MustCompile(`(?i)CommandNotImplemented|command not implemented`)},
	{"501", regexp.MustCompile(`(?i)^SyntaxError$|\.SyntaxError\b|syntax error in parameters|参数或变量中存在语法错误`)},
	{"530", regexp.MustCompile(`(?i)MustIssueStartTlsFirst|requires a secure connection or the client was not authenticated|要求安全连接或客户端未通过身份验证`)},
	{"551", regexp.MustCompile(`(?i)UserNotLocalTryAlternatePath|user not local; please try`)},
	{"552", regexp.MustCompile(`(?i)ExceededStorageAllocation|exceeded storage allocation|超出存储分配|超出了存储分配`)},
	{"553", regexp.MustCompile(`(?i)MailboxNameNotAllowed|mailbox name not allowed|不允许使用邮箱名称|邮箱名不可用`)},
	{"554", regexp.MustCompile(`(?i)TransactionFailed|transaction failed\. |事务失败`)},
	{"550", regexp.MustCompile(`(?i)MailboxUnavailable|mailbox unavailable\. the server|邮箱不可用`)},
}

// handwriting is what only one provider writes, in lower case, for a mail server of our own in
// between and for lines of unknown origin (facts: the sources of the provider's rows).
var handwriting = []struct {
	provider string
	phrases  []string
	re       *regexp.Regexp // nil when the phrases say it all
}{
	{"exchange", []string{
		".outlook.com", "storedrv", "resolver.adr", "resolver.rst", "aadsts", "tenantattribution", "smtpclientauthentication", "smtp_auth_disabled",
	}, regexp.MustCompile(`\bas\(\d{3,}\)|\b[45]\.7\.(57|60|64|139|[5-8]\d\d)\b`)},
	{"gmail", []string{"gsmtp", ".google.com", "gmail "}, nil},
	{"netease", []string{"mail.163.com", "mail.126.com", "user has no permission", "authorized user"}, regexp.MustCompile(`\b(dt|mi|hl|rp|wm):[a-z]{3}\b`)},
	{"qq", []string{"mail.qq.com", "authorization code", "authorization user", "frequency limited"}, nil},
	{"aliyun-qiye", []string{"behaviour spam", "behavior spam", "526 authentication failure"}, nil},
	{"sendgrid", []string{"sendgrid"}, nil},
	{"ses", []string{"amazonses", "amazonaws", "following identities failed the check", "maximum sending rate exceeded", "daily message quota exceeded"}, nil},
	{"mailgun", []string{"mailgun", "free accounts are for test purposes"}, nil},
	{"yahoo", []string{"yahoo"}, regexp.MustCompile(`\[tss?0\d\]`)},
	{"coremail", []string{"coremail"}, nil},
	{"aliyun-dm", []string{"smtpdm", "doesn't conform with authentication", "invalid rcptto", "reject by content spam"}, nil},
}

// providerIn tells the mail provider by its handwriting, "" when nothing does.
func providerIn(text string) string {
	text = strings.ToLower(text)
	for _, h := range handwriting {
		for _, p := range h.phrases {
			if strings.Contains(text, p) {
				return h.provider
			}
		}
		if h.re != nil && h.re.MatchString(text) {
			return h.provider
		}
	}
	return ""
}

// readSMTP reads a mail server's reply out of a text: code, enhanced code, and the words of all its
// lines (RFC 5321 section 4.2.1).
func readSMTP(text string) query {
	text = strings.Join(strings.Fields(text), " ")
	var q query
	if m := challenged.FindStringIndex(text); m != nil {
		text = text[m[1]-len("535 "):] // what came of the dialogue stands behind it
	}
	at := replyCode.FindStringSubmatchIndex(text)
	var said []int
	if at == nil || at[2] > 0 {
		said = serverSaid.FindStringIndex(text)
	}
	rest := text
	switch {
	case at != nil && (said == nil || at[2] >= said[1]):
		q.basic = text[at[2]:at[3]]
		rest = unfold(q.basic, text[at[3]:])
	default:
		for _, s := range sentences {
			if s.re.MatchString(text) {
				q.basic = s.code
				break
			}
		}
		if said != nil {
			rest = text[said[1]:]
		}
	}
	rest = strings.TrimLeft(rest, " ,:-)")
	if m := pythonText.FindString(rest); m != "" && at != nil {
		rest = rest[len(m):]
	}
	q.enhanced = enhancedIn(rest, q.basic)
	if q.basic == "550" && at == nil && strings.HasPrefix(q.enhanced, "4") {
		q.basic = "450"
	}
	q.text = strings.TrimSpace(q.basic + " " + rest)
	return q
}

// unfold joins the lines of a reply, each of which repeats the code and mostly the enhanced code:
// "550-5.1.1 one 550-5.1.1 two 550 5.1.1 three" has become one line by now.
func unfold(basic, rest string) string {
	if !strings.HasPrefix(rest, "-") {
		return rest
	}
	rest = rest[1:]
	enhanced, _, _ := strings.Cut(rest, " ")
	for _, again := range []string{basic + "-", basic + " "} {
		if enhancedCode.MatchString(enhanced) {
			rest = strings.ReplaceAll(rest, " "+again+enhanced+" ", " ")
		}
		rest = strings.ReplaceAll(rest, " "+again, " ")
	}
	return rest
}

// enhancedIn finds the enhanced code; a basic code tells it from other dotted numbers, since both
// begin with the same digit (RFC 2034 section 4). Providers that break this rule still count.
func enhancedIn(text, basic string) string {
	var other string
	for range 4 {
		m := enhancedCode.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		code := text[m[2]:m[3]]
		if basic == "" || code[0] == basic[0] {
			return code
		}
		if other == "" {
			other = code
		}
		text = text[m[3]:]
	}
	return other
}
