package explain

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const (
	maxText  = 4 << 10 // bytes of a line that are read
	maxWords = 64      // words of a line that are tried as codes
)

// read turns an operator's line into questions, the most exact reading first; there is at least one.
func (t *Table) read(channel, provider, line string) []query {
	line = line[:min(len(line), maxText)]
	line = strings.Join(strings.Fields(strings.ToValidUTF8(line, "�")), " ")
	codes := codesIn(line)
	at := t.placeOf(strings.ToLower(strings.TrimSpace(channel)), strings.ToLower(strings.TrimSpace(provider)), line, codes)

	if at.channel == dispatcher {
		code := strings.TrimPrefix(strings.ToLower(line), ownPrefix)
		if word, ok := ruleWords[strings.TrimPrefix(code, "rule-")]; ok {
			code = word
		}
		return []query{{place: at, code: ownPrefix + code, raw: line, text: line}}
	}
	if condition := conditionIn(line); condition != "" && (at.channel == email || !slices.ContainsFunc(codes, t.knows(at))) {
		q := query{place: at, code: condition, raw: condition, text: line}
		if at.channel == email {
			q.place = t.sender(at, line)
		}
		return []query{q}
	}
	if at.channel == email {
		q := readSMTP(line)
		q.place = t.sender(at, q.text)
		return []query{q}
	}

	var qs []query
	status := statusIn(line, at.channel == webhook)
	if status != "" && at.channel == webhook {
		return []query{{place: at, code: "http:" + status, raw: status, text: line}}
	}
	for i, c := range codes {
		q := query{place: at, code: strings.ToLower(c), raw: c, text: line}
		if !strings.HasPrefix(line, c) {
			q.text = c + " " + line
		}
		// A code is labelled as one or comes first; any other word must be known to be one.
		leads := i == 0 && (strings.HasPrefix(line, c) || labelled.MatchString(line))
		if !leads && !t.knows(at)(c) {
			continue
		}
		qs = append(qs, q)
	}
	if status != "" {
		qs = append(qs, query{place: at, code: "http:" + status, raw: status, text: line})
		// What cannot be a platform's code should not be shown as one.
		slices.SortStableFunc(qs, func(a, b query) int {
			return rank(a.code, status) - rank(b.code, status)
		})
	}
	if len(qs) == 0 {
		qs = []query{{place: at, text: line}}
	}
	return qs
}

// rank puts the words "HTTP" and "503" behind "http:503".
func rank(code, status string) int {
	if code == "http" || code == status || strings.HasPrefix(code, "http/") {
		return 1
	}
	return 0
}

// knows tells which words are codes in the groups that would be asked at a place.
func (t *Table) knows(at place) func(string) bool {
	groups := query{place: at}.chain()
	return func(word string) bool { return t.exact(strings.ToLower(word), groups) != nil }
}

var (
	labelled = regexp.MustCompile(`(?i)\b(?:error ?code|err_?code|code)["']?\s*[:=：]\s*["']?(-?[a-z0-9_][\w.:-]*)`)
	word     = regexp.MustCompile(`-?[A-Za-z0-9_][\w.:/-]*`)
)

// codesIn lists what may be a provider's code in a line: what is labelled as one, then the words.
func codesIn(line string) []string {
	var codes []string
	for _, m := range labelled.FindAllStringSubmatch(line, 8) {
		codes = append(codes, m[1])
	}
	codes = append(codes, word.FindAllString(line, maxWords)...)
	for i, c := range codes {
		codes[i] = strings.TrimRight(c, ".:-/")
	}
	return slices.DeleteFunc(codes, func(c string) bool { return c == "" })
}

var statusForms = regexp.MustCompile(`(?i)\bhttp(?:/\d(?:\.\d)?)?[ :]*(?:status|error)?[ :]*(?:code)?[ :=]*([1-5]\d\d)\b` +
	`|\bstatus[ _]?(?:code)?["']?[ :=]*([1-5]\d\d)\b|\(([1-5]\d\d)\)`)

var statusAlone = regexp.MustCompile(`^([1-5]\d\d)\b`)

// statusNames are the HTTP statuses by their names in .NET, which are those of the RFC without spaces
// (learn.microsoft.com, System.Net.HttpStatusCode).
var statusNames = func() map[string]string {
	names := make(map[string]string)
	for status := 300; status < 600; status++ {
		if s := http.StatusText(status); s != "" {
			names[strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(s))] = itoa(status)
		}
	}
	return names
}()

func itoa(status int) string {
	return string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)})
}

// statusIn finds an HTTP status; bare says that a line may begin with one or with its name.
func statusIn(line string, bare bool) string {
	if m := statusForms.FindStringSubmatch(line); m != nil {
		return m[1] + m[2] + m[3]
	}
	if !bare {
		return ""
	}
	if m := statusAlone.FindString(line); m != "" {
		return m
	}
	name, _, _ := strings.Cut(strings.ToLower(line), " ")
	return statusNames[strings.TrimPrefix(strings.TrimRight(name, ".:,"), "httpstatuscode.")]
}

// conditions are network errors as the runtimes of ERP developers word them (Go, .NET in English and
// Chinese, Java, Python), the more exact before the more general.
var conditions = []struct {
	code string
	re   *regexp.Regexp
}{
	{"net:dns-temporary", regexp.MustCompile(`(?i)server misbehaving|temporary failure in name resolution|lookup \S+.*: i/o timeout`)},
	{"net:dns-nxdomain", regexp.MustCompile(`(?i)no such host|remote name could not be resolved|未能解析此远程名称|不知道这样的主机|UnknownHostException|name or service not known|getaddrinfo failed|nodename nor servname`)},
	{"net:refused", regexp.MustCompile(`(?i)connection refused|actively refused|积极拒绝`)},
	{"net:unreachable", regexp.MustCompile(`(?i)no route to host|network is unreachable|unable to connect to the remote server|无法连接到远程服务器`)},
	{"net:timeout-connect", regexp.MustCompile(`(?i)dial tcp.*(i/o timeout|deadline exceeded)|connect(ion)? timed out|TLS handshake timeout|did not properly respond after a period|一段时间后没有正确答复`)},
	{"net:tls", regexp.MustCompile(`(?i)\bx509: |\btls: |remote certificate is invalid|远程证书无效|SSLHandshakeException|PKIX path building failed|CERTIFICATE_VERIFY_FAILED`)},
	{"net:reset", regexp.MustCompile(`(?i)connection reset|forcibly closed|强迫关闭|broken pipe|connectionclosed|unexpected EOF|(^|: )EOF$`)},
	{"net:timeout-response", regexp.MustCompile(`(?i)awaiting (response )?headers|operation has timed out|操作超时|操作已超时|read timed out|i/o timeout|context deadline exceeded|ReadTimeout`)},
}

// own conditions as they stand in logs: "net:refused", "dispatcher:expired".
var ownCode = regexp.MustCompile(`^(net|dispatcher):[a-z0-9-]+`)

func conditionIn(line string) string {
	if c := ownCode.FindString(strings.ToLower(line)); c != "" {
		return c
	}
	for _, c := range conditions {
		if c.re.MatchString(line) {
			return c.code
		}
	}
	return ""
}

// placeOf says where to look, by what the operator named and else by the text.
func (t *Table) placeOf(channel, provider, line string, codes []string) place {
	if !slices.Contains(channelNames, channel) {
		if c := t.channelOf[channel]; c != "" { // "yizhan explain dingtalk 310000"
			return place{c, channel}
		}
		channel = t.channelOf[provider]
	}
	if channel == webhook && t.channelOf[provider] == bot {
		channel = bot
	}
	if channel == "" {
		channel = t.guess(line, codes)
	}
	return place{channel, provider}
}

var (
	mailReply  = regexp.MustCompile(`^[245]\d\d([ -]|$)`)
	httpReason = regexp.MustCompile(`^\d\d\d ?`)
	mailWords  = regexp.MustCompile(`(?i)smtp|mail|recipient|mailbox|邮`)
)

// guess tells the channel by the text alone. What nothing speaks for is taken for mail: only mail
// servers answer in prose.
func (t *Table) guess(line string, codes []string) string {
	lower := strings.ToLower(line)
	if strings.HasPrefix(lower, ownPrefix) || t.exact(ownPrefix+lower, own) != nil {
		return dispatcher
	}
	for _, c := range codes {
		if mailReply.MatchString(c) || len(c) == 2 && strings.HasPrefix(c, "-") {
			continue // "550" and "-1" are nobody's own
		}
		for _, channel := range []string{sms, bot} {
			known := t.knows(place{channel, ""})(c)
			if known && !isCondition(strings.ToLower(c)) {
				return channel
			}
		}
	}
	switch {
	case strings.HasPrefix(lower, "isv.") || strings.HasPrefix(lower, "isp.") || strings.HasPrefix(lower, "sdk."):
		return sms
	case strings.Contains(lower, `"errcode"`) || strings.HasPrefix(lower, "errcode"):
		return bot
	case mailReply.MatchString(line):
		status := line[:3]
		name, reason := statusNames, strings.ToLower(strings.ReplaceAll(httpReason.ReplaceAllString(line, ""), " ", ""))
		if name[reason] == status || reason == "" && t.exact(status, []place{{email, generic}}) == nil && statusKnown(status) {
			return webhook
		}
		return email
	case statusIn(line, true) != "" && !strings.Contains(lower, "smtp"):
		return webhook
	case conditionIn(line) != "" && !mailWords.MatchString(line):
		return webhook
	}
	return email
}

func statusKnown(status string) bool {
	for _, s := range statusNames {
		if s == status {
			return true
		}
	}
	return false
}
