package explain

import (
	"regexp"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
)

// Providers that stand for no company.
const (
	generic   = "generic"
	transport = "transport"
	ownPrefix = "dispatcher:" // our own conditions and decisions
)

// ruleWords are the codes behind the rule ids that a verdict carries; a record writes "rule-12".
var ruleWords = map[string]string{
	"1": "blind-marketing", "2": "content", "3": "content", "4": "content", "5": "content", "6": "content",
	"7": "content", "8": "content", "11": "content", "x": "content",
	"link": "content", "login-link": "content", "variables": "content", "characters": "content", "parts": "content", "unsubscribe": "content",
	"9": "signature", "10": "signature-too-long", "12": "daily-cap", "expiry": "expired",
}

// decisionOf is the code of a decision of ours in the table: "rule-12", "12" and "dispatcher:daily-cap" are one.
func decisionOf(code string) string {
	code = strings.TrimPrefix(strings.ToLower(code), ownPrefix)
	if word, ok := ruleWords[strings.TrimPrefix(code, "rule-")]; ok {
		code = word
	}
	return ownPrefix + code
}

// query is a reply, read: what the rows are held against.
type query struct {
	place
	code            string // in lower case; "" for an SMTP reply
	raw             string // the code as it came, for showing
	basic, enhanced string // of an SMTP reply: "550", "5.1.1"
	text            string // "CODE [ENHANCED] TEXT", what the expressions see
	normal          string // text as the phrases see it, once one has asked, and what it is made of
	grams           *grams
	phase           string // of the SMTP dialogue, "" when not known
	foreign         bool   // nobody's refusal: no row is asked
	guessed         bool   // nothing says that it is a third party's
}

// words is the text as phrases see it.
func (q *query) words() (string, *grams) {
	if q.grams == nil {
		q.normal = wordsOf(q.text)
		q.grams = gramsOf(q.normal)
	}
	return q.normal, q.grams
}

// expr is a row with an expression, or with phrases.
type expr struct {
	row  *Row
	re   *regexp.Regexp
	says []phrase
	// net: about connections and TLS, means nothing in an answer. vague: a precise code says more. loose:
	// programs of any kind say so, which is nothing to go by unless it is known to be a third party's.
	net, vague, loose bool
}

func (e *expr) match(q *query) bool {
	if e.re != nil {
		return e.re.MatchString(q.text)
	}
	words, of := q.words()
	for _, p := range e.says {
		if of.may(p) && p.in(words) {
			return true
		}
	}
	return false
}

// layer is the rows of one channel and provider from one file.
type layer struct {
	exact map[string]*Row // by code in lower case
	exprs []expr          // all, in file order
	// Those of them that are about a code, for the generic mail rows.
	aboutEnhanced, aboutBasic []expr
}

var (
	enhancedExpr = regexp.MustCompile(`^(\[45\]|[45])\\\.`) // re:5\.7\.2[34]\b
	basicExpr    = regexp.MustCompile(`^\^[45]`)            // re:^50[0-4]\b
)

// add returns the row's expression when it is about a text.
func (l *layer) add(r *Row) *expr {
	if r.re == nil && r.says == nil {
		l.exact[strings.ToLower(r.Code)] = r
		return nil
	}
	e := expr{
		row: r, re: r.re, says: r.says, net: strings.HasPrefix(r.Name, "net-"), vague: strings.HasPrefix(r.Name, "vague-"),
		loose: strings.HasPrefix(r.Name, "loose-"),
	}
	l.exprs = append(l.exprs, e)
	switch x := strings.TrimPrefix(r.Code, expression); {
	case r.re == nil:
	case enhancedExpr.MatchString(x):
		l.aboutEnhanced = append(l.aboutEnhanced, e)
		return nil
	case basicExpr.MatchString(x) && !strings.Contains(x, " "):
		l.aboutBasic = append(l.aboutBasic, e)
		return nil
	}
	return &e
}

// match tries a provider's rows: expressions and phrases in file order, then basic + enhanced, then
// enhanced, then basic. An expression sees the whole text, and the code alone, since some end in "$".
func (l *layer) match(q *query) *Row {
	if r := first(l.exprs, q); r != nil {
		return r
	}
	if q.code != "" {
		for i := range l.exprs {
			if re := l.exprs[i].re; re != nil && re.MatchString(q.code) {
				return l.exprs[i].row
			}
		}
		return l.exact[q.code]
	}
	return l.smtp(q.basic+" "+q.enhanced, q.enhanced, q.basic)
}

// matchMail tries the generic mail rows, and what words mean to everybody. Words say more than a code:
// servers write 5.7.1, and even 5.1.1, for whatever they refuse. Where the words say nothing, a precise
// enhanced code or its subject decides, then vague words, the moment, a vague code, and the basic code.
func (l *layer) matchMail(q *query, words []expr) *Row {
	if q.code != "" {
		return l.exact[q.code]
	}
	said := answered(words, q)
	if said != nil && !said.vague {
		return said.row
	}
	dull := vague(q.basic, q.enhanced)
	if dull && strings.HasPrefix(q.basic, "53") { // a refused login is one whatever vague code goes with it
		if r := l.exact[q.basic]; r != nil {
			return r
		}
	}
	if q.enhanced != "" && !dull {
		if r := l.smtp(q.basic+" "+q.enhanced, q.enhanced); r != nil {
			return r
		}
		if r := firstIn(l.aboutEnhanced, q.enhanced); r != nil {
			return r
		}
		// RFC 3463 section 2: a detail that is not known is read as the undefined one of its subject.
		if r := l.smtp(undefined(q.enhanced)); r != nil {
			return r
		}
	}
	if said != nil {
		return said.row
	}
	if r := l.exact["phase:"+q.phase]; r != nil && speaksFor(q) {
		return r
	}
	if r := l.smtp(q.enhanced); r != nil {
		return r
	}
	if r := firstIn(l.aboutEnhanced, q.enhanced); r != nil {
		return r
	}
	if r := l.smtp(undefined(q.enhanced)); r != nil {
		return r
	}
	if r := firstIn(l.aboutBasic, q.basic); r != nil {
		return r
	}
	return l.smtp(q.basic)
}

// speaksFor says whether the moment tells more than the code: only a refusal, and before MAIL every
// one, since it cannot be about a message (facts: smtp.md section 2).
func speaksFor(q *query) bool {
	if !strings.HasPrefix(q.basic, "5") || strings.HasPrefix(q.basic, "53") {
		return false
	}
	switch q.phase {
	case greeting, login:
		return true
	case from, body:
		return q.basic == "550" || q.basic == "553" || q.basic == "554" || q.basic == "501" && q.phase == from
	}
	return false
}

func (l *layer) smtp(codes ...string) *Row {
	for _, c := range codes {
		if r := l.exact[c]; r != nil {
			return r
		}
	}
	return nil
}

func first(exprs []expr, q *query) *Row {
	if q.text == "" {
		return nil
	}
	for i := range exprs {
		if exprs[i].match(q) {
			return exprs[i].row
		}
	}
	return nil
}

// answered is the first that matches and is not about connections.
func answered(exprs []expr, q *query) *expr {
	if q.text == "" {
		return nil
	}
	for i := range exprs {
		if !exprs[i].net && !(exprs[i].loose && q.guessed) && exprs[i].match(q) {
			return &exprs[i]
		}
	}
	return nil
}

func firstIn(exprs []expr, s string) *Row {
	if s == "" {
		return nil
	}
	for i := range exprs {
		if exprs[i].re.MatchString(s) {
			return exprs[i].row
		}
	}
	return nil
}

// vague says whether an enhanced code leaves the reason open: x.y.0, and x.7.1, which servers use
// for every kind of policy; so do some x.7.8 and x.7.9 where nobody tries to log in.
func vague(basic, enhanced string) bool {
	return strings.HasSuffix(enhanced, ".0") || strings.HasSuffix(enhanced, ".7.1") ||
		(basic == "550" || basic == "554") && (strings.HasSuffix(enhanced, ".7.8") || strings.HasSuffix(enhanced, ".7.9"))
}

func undefined(enhanced string) string {
	i := strings.LastIndexByte(enhanced, '.')
	if i < 0 {
		return ""
	}
	return enhanced[:i] + ".0"
}

// isCondition says whether a code is one of ours, found by our own code, not by reading a reply.
func isCondition(code string) bool {
	return strings.HasPrefix(code, "net:") || strings.HasPrefix(code, "http:") || strings.HasPrefix(code, ownPrefix)
}

// find returns the row that explains q, or nil.
func (t *Table) find(q *query) *Row {
	if q.foreign || q.success() || q.code == "" && q.basic == "" && q.enhanced == "" && q.text == "" {
		return nil
	}
	if q.channel != dispatcher {
		for _, at := range q.chain() {
			if at == everybody {
				if r := t.meaning(q); r != nil {
					return r
				}
				continue
			}
			for _, l := range t.groups[at] {
				var r *Row
				if at == (place{email, generic}) {
					r = l.matchMail(q, t.words[email])
				} else {
					r = l.match(q)
				}
				if r != nil {
					return r
				}
			}
		}
	}
	switch {
	case strings.HasPrefix(q.code, ownPrefix):
		return t.exact(q.code, own)
	case strings.HasPrefix(q.code, "http:") && len(q.code) == len("http:503"):
		return t.exact(q.code[:len("http:5")]+"xx", answers)
	}
	return nil
}

// meaning looks for what the words mean, as far as the code leaves room for it.
func (t *Table) meaning(q *query) *Row {
	words := t.words[q.channel]
	status, http := strings.CutPrefix(q.code, "http:")
	switch {
	case strings.HasPrefix(q.code, ownPrefix):
		return nil
	case strings.HasPrefix(q.code, "net:"):
		if !slices.Contains(unsent, q.code) {
			return nil // it may have gone through: the words of these rows are chosen with care
		}
		for i := range words {
			if words[i].net && words[i].match(q) {
				return words[i].row
			}
		}
		return nil
	case http && !strings.HasPrefix(status, "5") && !slices.Contains(broad, status):
		return nil // a status with a meaning of its own
	}
	said := answered(words, q)
	// Whatever else a broken server says, it may be well again.
	if said == nil || http && strings.HasPrefix(status, "5") && said.row.Class != channels.Throttled {
		return nil
	}
	return said.row
}

var (
	// unsent are the conditions before a request has left.
	unsent = []string{"net:tls", "net:refused", "net:unreachable", "net:timeout-connect", "net:dns-nxdomain"}
	// broad are the statuses with which servers mean many things.
	broad = []string{"400", "401", "402", "403", "406", "409", "412", "417", "418", "422"}
)

// everybody is where rows stand that say what words mean whoever says them.
var everybody = place{anyChannel, generic}

// Where our own decisions are explained when the channel has no words of its own for them.
var own = []place{
	{dispatcher, "yizhan"},
	{sms, dispatcher},
	{email, transport},
	{webhook, transport},
	{bot, generic},
}

// Where HTTP answers and broken connections are explained, whatever was asked over HTTP.
var answers = []place{
	{webhook, generic},
	{webhook, "cdn"},
	{webhook, transport},
}

func (t *Table) exact(code string, where []place) *Row {
	for _, at := range where {
		for _, l := range t.groups[at] {
			if r := l.exact[code]; r != nil {
				return r
			}
		}
	}
	return nil
}

// chain lists the groups in the order in which they are asked.
func (q *query) chain() []place {
	switch q.channel {
	case email:
		return []place{q.place, {email, generic}, everybody, {email, transport}}
	case sms:
		c := []place{q.place}
		switch q.provider {
		case "", generic, carrier: // a platform's codes mean nothing at another platform
			for _, p := range platforms {
				c = append(c, place{sms, p}, place{sms, p + receipt})
			}
		default:
			c = append(c, place{sms, strings.TrimSuffix(q.provider, receipt)}, place{sms, q.provider + receipt})
		}
		// The carriers' codes pass through all.
		return append(append(c, place{sms, carrier}, place{sms, dispatcher}, everybody, place{sms, transport}), answers...)
	case bot:
		c := []place{q.place}
		if q.provider == "" || q.provider == generic {
			for _, p := range robots {
				c = append(c, place{bot, p})
			}
		}
		return append(append(c, place{bot, generic}, everybody), answers...)
	case webhook:
		if q.provider == "" || q.provider == generic || q.provider == transport {
			return append([]place{everybody}, answers...)
		}
		return append([]place{q.place, everybody}, answers...)
	default:
		return append([]place{q.place}, answers...)
	}
}

// The sources of SMS codes and of robots' codes, in the order in which an unknown one is looked up.
const (
	carrier = "carrier"
	receipt = "-receipt"
)

var (
	platforms = []string{"aliyun", "tencent", "huawei"}
	robots    = []string{"dingtalk", "wecom", "feishu", "slack"}
)

// The moments of an SMTP dialogue that change what a code means.
const (
	greeting = "greeting"
	login    = "login"
	from     = "from"
	body     = "body"
)

var moments = []struct {
	phase string
	said  []phrase
}{
	// Postfix, Exim and JavaMail say when the server said it.
	{login, compilePhrases("auth|in reply to auth|authentication|login|after auth|username|password|认证|登录")},
	{greeting, compilePhrases("greeting|banner|refused to talk to me|connect|connection|ehlo|helo|initial|before mail|建立连接|握手")},
	{from, compilePhrases("mail from|sender|mail|发件人")},
	{body, compilePhrases("data|end of data|dot|message body|after data|正文")},
}

// phaseIn reads a context, or the remark that a mail server puts behind what another said.
func phaseIn(context string) string {
	words := normal(context)
	for _, m := range moments {
		if slices.ContainsFunc(m.said, func(p phrase) bool { return p.in(words) }) {
			return m.phase
		}
	}
	return ""
}

// phaseOf is the moment that a channel's own reading tells: it knows when it asked.
func phaseOf(c channels.Class, basic, enhanced string) string {
	if !strings.HasPrefix(basic, "5") {
		return ""
	}
	switch c {
	case channels.Auth:
		return login
	case channels.Temporary:
		return greeting // a refusal that is not for good came before there was a message
	case channels.Config:
		return from
	case channels.Permanent:
		if !strings.HasPrefix(enhanced, "5.7.") { // a policy may speak at any moment
			return body
		}
	case channels.Content:
		return body
	}
	return ""
}

// diagnosis puts q into a row's words. A mail server that writes 4xx promises that a later attempt may
// succeed, whatever it complains of.
func (q *query) diagnosis(r *Row) channels.Diagnosis {
	d := r.diagnosis()
	if strings.HasPrefix(q.basic, "4") && strings.HasPrefix(r.Code, phrases) && !r.User {
		switch d.Class {
		case channels.Auth, channels.Content, channels.BadTarget, channels.Permanent:
			d.Class, d.Retry = channels.Temporary, actions[channels.Temporary].retry
			d.When = when(d.Retry, d.After)
		}
	}
	return d
}
