package explain

import (
	"regexp"
	"strings"
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

// query is a reply, read: what the rows are held against.
type query struct {
	place
	code            string // in lower case; "" for an SMTP reply
	raw             string // the code as it came, for showing
	basic, enhanced string // of an SMTP reply: "550", "5.1.1"
	text            string // "CODE [ENHANCED] TEXT", what the expressions see
}

// expr is a row with an expression.
type expr struct {
	row *Row
	re  *regexp.Regexp
}

// layer is the rows of one channel and provider from one file.
type layer struct {
	exact map[string]*Row // by code in lower case
	exprs []expr          // all, in file order
	// The same expressions by what they are about, for the generic mail rows.
	aboutEnhanced, aboutText, aboutBasic []expr
}

var (
	enhancedExpr = regexp.MustCompile(`^(\[45\]|[45])\\\.`) // re:5\.7\.2[34]\b
	basicExpr    = regexp.MustCompile(`^\^[45]`)            // re:^50[0-4]\b
)

func (l *layer) add(r *Row) {
	x, ok := strings.CutPrefix(r.Code, expression)
	if !ok {
		l.exact[strings.ToLower(r.Code)] = r
		return
	}
	re, err := compile(x)
	if err != nil {
		return // parse has refused it
	}
	e := expr{r, re}
	l.exprs = append(l.exprs, e)
	switch {
	case enhancedExpr.MatchString(x):
		l.aboutEnhanced = append(l.aboutEnhanced, e)
	case basicExpr.MatchString(x):
		l.aboutBasic = append(l.aboutBasic, e)
	default:
		l.aboutText = append(l.aboutText, e)
	}
}

// match tries a provider's rows: expressions in file order, then basic + enhanced, then enhanced,
// then basic. An expression sees the whole text, and the code alone, since some end in "$".
func (l *layer) match(q query) *Row {
	if r := first(l.exprs, q.text); r != nil {
		return r
	}
	if q.code != "" {
		if r := first(l.exprs, q.code); r != nil {
			return r
		}
		return l.exact[q.code]
	}
	return l.smtp(q.basic+" "+q.enhanced, q.enhanced, q.basic)
}

// matchMail tries the generic mail rows. A precise enhanced code says more than the text, the text
// more than a vague code; a refused login is one whatever vague code goes with it.
func (l *layer) matchMail(q query) *Row {
	if q.code != "" {
		return l.match(q)
	}
	dull := vague(q.enhanced)
	if dull && strings.HasPrefix(q.basic, "53") {
		if r := l.exact[q.basic]; r != nil {
			return r
		}
	}
	if q.enhanced != "" && !dull {
		if r := l.smtp(q.basic+" "+q.enhanced, q.enhanced); r != nil {
			return r
		}
		if r := first(l.aboutEnhanced, q.enhanced); r != nil {
			return r
		}
	}
	if r := first(l.aboutText, q.text); r != nil {
		return r
	}
	// RFC 3463 section 2: a detail that is not known is read as the undefined one of its subject.
	if r := l.smtp(q.enhanced, undefined(q.enhanced)); r != nil {
		return r
	}
	if r := first(l.aboutBasic, q.basic); r != nil {
		return r
	}
	return l.smtp(q.basic)
}

func (l *layer) smtp(codes ...string) *Row {
	for _, c := range codes {
		if r := l.exact[c]; r != nil {
			return r
		}
	}
	return nil
}

func first(exprs []expr, s string) *Row {
	if s == "" {
		return nil
	}
	for _, e := range exprs {
		if e.re.MatchString(s) {
			return e.row
		}
	}
	return nil
}

// vague says whether an enhanced code leaves the reason open: x.y.0, and x.7.1, which servers use
// for every kind of policy.
func vague(enhanced string) bool {
	return strings.HasSuffix(enhanced, ".0") || strings.HasSuffix(enhanced, ".7.1")
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
func (t *Table) find(q query) *Row {
	if q.code == "" && q.basic == "" && q.enhanced == "" && q.text == "" {
		return nil
	}
	if q.channel != dispatcher {
		for _, at := range q.chain() {
			for _, l := range t.groups[at] {
				match := l.match
				if at == (place{email, generic}) {
					match = l.matchMail
				}
				if r := match(q); r != nil {
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
func (q query) chain() []place {
	switch q.channel {
	case email:
		return []place{q.place, {email, generic}, {email, transport}}
	case sms:
		c := []place{q.place}
		// A platform's codes mean nothing at another platform; the carriers' codes pass through all.
		if q.provider == "" || q.provider == generic || q.provider == aliyun || q.provider == aliyunReceipt || q.provider == carrier {
			c = append(c, place{sms, aliyun}, place{sms, aliyunReceipt})
		}
		return append(append(c, place{sms, carrier}, place{sms, dispatcher}, place{sms, transport}), answers...)
	case bot:
		c := []place{q.place}
		if q.provider == "" || q.provider == generic {
			c = append(c, place{bot, "dingtalk"}, place{bot, "wecom"}, place{bot, "feishu"})
		}
		return append(append(c, place{bot, generic}), answers...)
	default:
		return append([]place{q.place}, answers...)
	}
}

// The sources of SMS codes.
const (
	aliyun        = "aliyun"
	aliyunReceipt = "aliyun-receipt"
	carrier       = "carrier"
)
