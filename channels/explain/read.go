package explain

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
)

const (
	maxText  = 4 << 10 // bytes of a line that are read
	maxWords = 64      // words of a line that are tried as codes
)

// read turns an operator's line into questions, the most exact reading first; there is at least one.
func (t *Table) read(l channels.Quote) (qs []query) {
	channel, provider, line := l.Channel, l.Provider, l.Text[:min(len(l.Text), maxText)]
	line = strings.Join(strings.Fields(strings.ToValidUTF8(line, "�")), " ")
	codes := codesIn(line)
	at := t.placeOf(strings.ToLower(strings.TrimSpace(channel)), strings.ToLower(strings.TrimSpace(provider)), line, codes)

	if at.channel == dispatcher {
		return []query{{place: at, code: decisionOf(line), raw: line, text: line}}
	}
	reply := query{}
	if at.channel == email {
		reply = readSMTP(line)
	}
	status := cmp.Or(statusIn(line, at.channel == webhook), statusIn(l.Context, false))
	answered := replied.MatchString(line) || status != "" && at.channel != email
	foreign, guessed := elsewhere(line) && !answered, channel == "" && provider == "" && !answered
	defer func() {
		for i := range qs {
			qs[i].foreign, qs[i].guessed = foreign, guessed
		}
	}()
	// What a server answered says more than what became of the connection then.
	if condition := conditionIn(line); condition != "" && !answered && (at.channel == email || !slices.ContainsFunc(codes, t.knows(at))) {
		q := query{place: at, code: condition, raw: condition, text: line}
		if at.channel == email {
			q.place = t.sender(at, line)
		}
		return []query{q}
	}
	if at.channel == email {
		reply.place = t.sender(at, reply.text)
		reply.phase = cmp.Or(phaseIn(l.Context), phaseIn(remark.FindString(line)))
		return []query{reply}
	}

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
		if !leads && !(at.channel == sms && carrierCode.MatchString(c)) && !t.knows(at)(c) {
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

// carrierCode is the form of the codes in receipts: "MK:0012".
var carrierCode = regexp.MustCompile(`^[A-Z]{2,3}:\d{1,4}$`)

// replied is a server's answer, unlike the port in "203.0.113.7:465: connect: connection refused".
var replied = regexp.MustCompile(`(?:^|said: |[a-z>]: |\()[245]\d\d(?:[ -]|, b)`)

var (
	// others are systems whose errors sound like a third party's and are none.
	others = regexp.MustCompile(`(?i)\bORA-\d|mysql|mariadb|postgres|psql|sqlstate|java\.sql|sqlexception|sqlite|\bredis\b|mongo|kafka|rabbitmq|elasticsearch|zookeeper|\bdocker\b|kubelet|systemd|\bnpm\b|\bkernel\b|/dev/|ssh2?:|NullPointer|NullReference|IndexOutOf|OutOfMemory|ClassNotFound|StackOverflow|segmentation fault|\bERROR \d{4} \([0-9A-Z]{5}\)|\bpods? "|left on device`)
	// news is good unless something in the same line is not.
	news = regexp.MustCompile(`(?i)success|成功|通过|已送达|accepted for delivery|queued as|status=sent|\bdelivered\b|completed|完成`)
	bad  = regexp.MustCompile(`(?i)fail|error|reject|refus|denied|invalid|unable|cannot|can't|could not|exception|timed? ?out|\b(?:not|un\w+)\b|失败|错误|异常|未|不|拒|无|超|[45]\d\d`)
)

// elsewhere says whether a line is not a third party's refusal at all, whatever words it uses.
func elsewhere(line string) bool {
	return others.MatchString(line) && !mailWords.MatchString(line) || news.MatchString(line) && !bad.MatchString(line)
}

// remark is what a mail server says of another's reply: Postfix behind it, Exim before it.
var remark = regexp.MustCompile(`(?i)\(in reply to [^)]*\)|\brefused to talk to me\b|\bwhile (?:receiving|sending|talking|performing)\b[^:]*|\bafter (?:rcpt to|mail from|end of data|initial connection|pipelined[^:]*|data|auth)\b`)

// rank puts the words "HTTP" and "503" behind "http:503".
func rank(code, status string) int {
	if code == "http" || code == status || strings.HasPrefix(code, "http/") {
		return 1
	}
	return 0
}

// knows tells which words are codes in the groups that would be asked at a place.
func (t *Table) knows(at place) func(string) bool {
	groups := (&query{place: at}).chain()
	return func(word string) bool { return t.exact(strings.ToLower(word), groups) != nil }
}

var (
	labelled = regexp.MustCompile(`(?i)\b(?:error ?code|err_?code|code|stat)["']?\s*[:=：]\s*["']?(-?[a-z0-9_][\w.:-]*)`)
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
	`|\bstatus[ _]?(?:code)?["']?[ :=]*([1-5]\d\d)\b|\(([1-5]\d\d)\)|<title>\s*([45]\d\d)\b` +
	`|\b(?:returned error|response code|response status|error code|http error)[: ]+([1-5]\d\d)\b`)

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
		return m[1] + m[2] + m[3] + m[4] + m[5]
	}
	if !bare {
		return ""
	}
	if m := statusAlone.FindString(line); m != "" {
		return m
	}
	lower := strings.ToLower(line)
	for status := 599; status >= 400; status-- {
		if name := http.StatusText(status); strings.Contains(name, " ") && strings.Contains(lower, strings.ToLower(name)) {
			return itoa(status)
		}
	}
	name, _, _ := strings.Cut(lower, " ")
	return statusNames[strings.TrimPrefix(strings.TrimRight(name, ".:,"), "httpstatuscode.")]
}

// conditions are network errors as the runtimes of ERP developers word them (Go, .NET in English and
// Chinese, Java, Python), the more exact before the more general.
var conditions = []struct {
	code string
	re   *regexp.Regexp
}{
	{"net:dns-temporary", regexp.MustCompile(`(?i)server misbehaving|temporary failure in name resolution|lookup \S+.*: i/o timeout|EAI_AGAIN|SERVFAIL|Host not found, try again|dns (?:request )?timed out|\b11002\b`)},
	{"net:dns-nxdomain", regexp.MustCompile(`(?i)no such host|remote name could not be resolved|未能解析此远程名称|不知道这样的主机|UnknownHostException|unknown (?:smtp )?host\b|name or service not known|getaddrinfo failed|nodename nor servname|\bENOTFOUND\b|could not resolve host|NXDOMAIN|no address associated with hostname|unable to resolve host|name not resolved|\b11001\b|主机名解析失败|无法解析主机|无法解析服务器|域名解析失败|NameResolutionError`)},
	{"net:refused", regexp.MustCompile(`(?i)connection refused|ECONNREFUSED|\b10061\b|no connection could be made|actively refused|积极拒绝|拒绝连接|连接被拒绝`)},
	{"net:unreachable", regexp.MustCompile(`(?i)no route to host|NoRouteToHost|EHOSTUNREACH|network is down|SMTP connect\(\) failed|未能建立连接|无法建立连接|无法连接|connection could not be (?:made|established)|\b100(?:51|65)\b|ENETUNREACH|network is unreachable|host is (?:unreachable|down)|(?:unable|failed) to connect to (?:the )?remote (?:server|host)|无法连接到远程服务器|couldn't connect to (?:host|server)|could not connect to (?:SMTP )?host|网络不可达|主机不可达|无法访问网络|没有到主机的路由`)},
	{"net:timeout-connect", regexp.MustCompile(`(?i)dial tcp.*(?:i/o timeout|deadline exceeded)|connect(?:ion)? ?timed? ?out|connect ETIMEDOUT|connect timeout|ConnectTimeout|\b10060\b|connection attempt failed because|connect to \S+ (?:\[[^\]]*\] )?(?:failed: )?timed out|TLS handshake timeout|did not properly respond after a period|一段时间后没有正确答复|连接超时|Errno (?:110|60)\b`)},
	{"net:tls", regexp.MustCompile(`(?i)\bx509: |\btls: |remote certificate (?:is|was)|远程证书|SSLHandshake|SSLException|SSLPeerUnverified|SSLError|SSL routines|SSL certificate problem|PKIX path|CERTIFICATE_VERIFY_FAILED|certificate (?:verify failed|has expired|chain|is not trusted)|self[- ]signed certificate|SELF_SIGNED_CERT|unable to (?:verify the first certificate|get local issuer)|CERT_HAS_EXPIRED|ERR_(?:TLS|SSL|CERT)_|SSL/TLS secure channel|SSL/TLS 安全通道|SSL connection could not be established|could not convert socket to TLS|certificate's altnames|sslv3 alert|tlsv1 alert|TLS alert|handshake (?:failed|failure)|证书(?:已过期|无效|不受信任|验证失败|校验失败|链)|no alternative certificate subject name|TLS 握手失败|SSL 握手失败|port: (?:465|994)[;,].*response: (?:-1|\[EOF\])|\bEPROTO\b|valid certification path|trustAnchors|certificate (?:has been )?revoked|revocation|frame size or a corrupted frame|handshake_failure|SEC_E_|terminated the handshake|malformed HTTP response|closed the transport stream|关闭了?传输流|HTTP response to HTTPS client|plain HTTP request was sent to HTTPS port`)},
	{"net:reset", regexp.MustCompile(`(?i)connection (?:was )?reset|ECONNRESET|\bEPIPE\b|\b10054\b|connection abort|end of file from server|EOFException|shut down incorrectly|GOAWAY|transport connection broken|stream (?:error|closed)|broken connection|forcibly closed|强迫关闭|broken pipe|connectionclosed|unexpected EOF|premature (?:EOF|end)|socket hang up|empty reply from server|connection (?:unexpectedly|was|is|has been|already)? ?closed|closed (?:the )?connection|lost connection|server (?:closed|disconnected)|RemoteDisconnected|NoHttpResponseException|failed to respond|recv failure|send failure|connection aborted|ECONNABORTED|连接(?:已)?被?(?:重置|关闭|中断|断开)|(?:接收|发送)时发生错误|基础连接已经关闭|对方重置|(?:^|: )EOF$|\[EOF\]`)},
	{"net:timeout-response", regexp.MustCompile(`(?i)awaiting (?:response )?headers|greeting never received|operation (?:has )?timed out|操作超时|操作已超时|read timed out|read timeout|i/o timeout|context deadline exceeded|ReadTimeout|SocketTimeout|ESOCKETTIMEDOUT|ETIMEDOUT|HttpClient\.Timeout|request time(?:d )?-?out|gateway time-?out|timeout of \d+ ?ms exceeded|response timed out|timed? ?out (?:waiting|after)|响应超时|读取超时|请求超时|接口超时|等待.{0,8}超时|TimeoutError|TimeoutException`)},
}

// own conditions as they stand in logs: "net:refused", "dispatcher:expired".
var ownCode = regexp.MustCompile(`^(net|dispatcher):[a-z0-9-]+`)

func conditionIn(line string) string {
	if c := ownCode.FindString(strings.ToLower(line)); c != "" {
		return c
	}
	line = strings.ReplaceAll(line, "ERR_CONNECTION_", "connection ") // of browsers
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
	// Microsoft Entra ID answers for whatever wants a token; its codes are told under exchange.
	if (channel == webhook || channel == "") && strings.Contains(line, "AADSTS") {
		return place{email, "exchange"}
	}
	if channel == "" {
		channel = t.guess(line, codes)
	}
	return place{channel, provider}
}

var (
	mailReply  = regexp.MustCompile(`^[245]\d\d([ -]|$)`)
	httpReason = regexp.MustCompile(`^\d\d\d ?`)
	smsWords   = regexp.MustCompile(`(?i)\bdlvrd:\d|\bstat:[a-z]{6,7}\b|短信|手机号|空号|\bsms\b|phone ?number|msisdn`)
	mailWords  = regexp.MustCompile(`(?i)smtp|mail|recipient|mailbox|邮`)
)

// guess tells the channel by the text alone. What nothing speaks for is taken for mail: only mail
// servers answer in prose.
func (t *Table) guess(line string, codes []string) string {
	lower, prose := strings.ToLower(line), strings.Count(line, " ") > 3
	if strings.HasPrefix(lower, ownPrefix) || t.exact(ownPrefix+lower, own) != nil {
		return dispatcher
	}
	// In a mail server's reply a number further on is nobody's code.
	for i, c := range codes {
		if i > 0 && mailReply.MatchString(line) {
			break
		}
		if mailReply.MatchString(c) || len(c) == 2 && strings.HasPrefix(c, "-") {
			continue // "550" and "-1" are nobody's own
		}
		if i > 0 && prose && !strings.ContainsFunc(c, func(r rune) bool { return r < 'a' || r > 'z' }) {
			continue // "expired" in a sentence is no receipt
		}
		for _, channel := range []string{sms, bot} {
			known := t.knows(place{channel, ""})(c)
			if known && !isCondition(strings.ToLower(c)) {
				return channel
			}
		}
	}
	switch {
	case carrierCode.MatchString(line), smsWords.MatchString(line) && !mailReply.MatchString(line):
		return sms
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
	case (statusIn(line, false) != "" || statusNames[strings.ReplaceAll(lower, " ", "")] != "") && !strings.Contains(lower, "smtp"):
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
