package email

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // bounces come in GB18030 as well

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of what is read of one returned mail. The returned original can be large; of it only the header counts.
const (
	maxBounce     = 8 << 20
	maxBouncePart = 64 << 10
	maxParts      = 50
	maxNested     = 4
)

var errNoMail = errors.New("not a mail: it has no header")

// returned is what stands in a mail that came back.
type returned struct {
	report   bool     // it is a delivery status notification (RFC 3464)
	ids      []string // delivery ids of ours that it names in returned headers, in order
	statuses []status
	text     strings.Builder // its own words
}

// status is one recipient's block of a delivery status notification.
type status struct {
	action, code, line, mta string
	at                      time.Time
}

// readBounce reads a mail that came to where bounces come, and returns what it reports about mails of domain:
// nothing for an answer, an absence note, or a mail that has nothing to do with us. The error says that raw is no mail.
//
// A delivery status notification says precisely what happened. Servers that write none (QQ, NetEase and Exchange in
// part) are read by three signs together: sent by the mail system itself, one of our Message-IDs in what is returned,
// and a reply code or a plain word of failure. What has less is left alone.
func (s *settings) readBounce(raw []byte) ([]channels.Report, error) {
	if len(raw) > maxBounce {
		raw = raw[:maxBounce]
	}
	e, err := message.Read(bytes.NewReader(raw))
	if e == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) || e.Header.Len() == 0 {
		return nil, errNoMail
	}
	var m returned
	parts := maxParts
	s.walk(e, &m, 0, &parts)
	switch {
	case m.report && len(m.statuses) > 0:
		return s.notified(&m), nil
	case len(m.ids) == 0, !m.report && !fromMailSystem(&e.Header):
		return nil, nil
	}
	return s.worded(&m), nil
}

// walk looks at every part of e that may tell something.
func (s *settings) walk(e *message.Entity, m *returned, depth int, parts *int) {
	if *parts--; *parts < 0 || depth > maxNested {
		return
	}
	kind, params, _ := e.Header.ContentType()
	if depth == 0 {
		m.report = kind == "multipart/report" && strings.EqualFold(params["report-type"], "delivery-status")
	}
	if mr := e.MultipartReader(); mr != nil {
		for {
			p, err := mr.NextPart()
			if p == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
				return
			}
			s.walk(p, m, depth+1, parts)
		}
	}
	body, _ := io.ReadAll(io.LimitReader(e.Body, maxBouncePart)) // what cannot be decoded ends the part
	switch kind {
	case "message/delivery-status", "message/global-delivery-status":
		m.statuses = append(m.statuses, statuses(body)...)
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers":
		if id := s.ownID(body); id != "" {
			m.ids = append(m.ids, id)
		}
	case "text/plain", "text/html", "":
		m.text.Write(body)
		m.text.WriteByte('\n')
		if depth == 0 || !m.report { // an original that is quoted in the text
			for _, found := range messageIDs.FindAllSubmatch(body, 8) {
				if id := s.ours(string(found[1]), string(found[2])); id != "" {
					m.ids = append(m.ids, id)
				}
			}
		}
	}
}

// ownID is the delivery id in the Message-ID of a returned mail's header; "" when it is not ours. A header that is not
// quite one must not hide it.
func (s *settings) ownID(mail []byte) string {
	header := strings.ReplaceAll(string(mail), "\r\n", "\n")
	header, _, _ = strings.Cut(header, "\n\n")
	m := headerID.FindStringSubmatch(header)
	if m == nil {
		return ""
	}
	return s.ours(m[1], m[2])
}

var headerID = regexp.MustCompile(`(?im)^message-id:\s*<([a-z2-7]{20,40})@([a-z0-9.-]{1,253})>`)

// messageIDs finds a Message-ID that a text quotes with its header's name: an id alone may as well stand in
// the References of somebody's answer.
var messageIDs = regexp.MustCompile(`(?i)message-id:?\s*(?:</[a-z]+>)?\s*(?:<|&lt;)([a-z2-7]{20,40})@([a-z0-9.-]{1,253})(?:>|&gt;)`)

// ours is the delivery id when a Message-ID is one that this channel gives.
func (s *settings) ours(left, domain string) string {
	if schemas.IDToken(left) == "" || !strings.EqualFold(domain, domainOf(s.from)) {
		return ""
	}
	return left
}

// statuses reads the blocks of a message/delivery-status body: the first is about the message (its fields count for
// all), each further one about a recipient (RFC 3464 section 2.1).
func statuses(body []byte) []status {
	var (
		out   []status
		about textproto.MIMEHeader
		text  = strings.ReplaceAll(strings.ReplaceAll(string(body), "\r\n", "\n"), "\r", "\n")
	)
	for block := range strings.SplitSeq(text, "\n\n") {
		if strings.TrimSpace(block) == "" || len(out) >= maxParts {
			continue
		}
		h, _ := textproto.NewReader(bufio.NewReader(strings.NewReader(strings.TrimLeft(block, "\n") + "\n\n"))).ReadMIMEHeader()
		if h.Get("Action") == "" && h.Get("Final-Recipient") == "" {
			if about == nil {
				about = h
			}
			continue
		}
		st := status{action: strings.ToLower(strings.TrimSpace(h.Get("Action"))), line: typed(h.Get("Diagnostic-Code")), mta: typed(h.Get("Remote-Mta"))}
		if st.mta == "" {
			st.mta = typed(about.Get("Reporting-Mta"))
		}
		for _, field := range []string{h.Get("Last-Attempt-Date"), about.Get("Arrival-Date")} {
			if at, err := netmail.ParseDate(strings.TrimSpace(field)); err == nil {
				st.at = at
				break
			}
		}
		st.code = replyIn(st.line)
		if plain := strings.Fields(h.Get("Status")); len(plain) > 0 && statusForm.MatchString(plain[0]) && !strings.Contains(st.code, ".") {
			st.code = strings.TrimSpace(st.code + " " + plain[0])
		}
		out = append(out, st)
	}
	return out
}

var (
	statusForm = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)
	replyForm  = regexp.MustCompile(`(?:^|[^\d.])([45]\d\d)(?:[- ]#?([45]\.\d{1,3}\.\d{1,3}))?(?:[^\d.]|$)`)
)

// typed takes the type off a field's value ("smtp; 550 …", "dns; mx.example.com") and joins its lines.
func typed(v string) string {
	if kind, rest, ok := strings.Cut(v, ";"); ok && !strings.Contains(kind, " ") {
		v = rest
	}
	return strings.Join(strings.Fields(v), " ")
}

// replyIn is the reply code in a server's words, "550 5.1.1"; "" without one.
func replyIn(words string) string {
	m := replyForm.FindStringSubmatch(words)
	switch {
	case m == nil:
		if e := enhancedPattern.FindStringSubmatch(words); e != nil {
			return e[1]
		}
		return ""
	case m[2] == "":
		if e := enhancedCode(int(m[1][0]-'0')*100, words); e != "" {
			return m[1] + " " + e
		}
		return m[1]
	}
	return m[1] + " " + m[2]
}

// notified makes reports of a delivery status notification. One mail of ours has one recipient, so of several blocks
// (a list that was expanded) the worst counts.
func (s *settings) notified(m *returned) []channels.Report {
	id := ""
	if len(m.ids) > 0 {
		id = m.ids[0]
	}
	var chosen *status
	for i, st := range m.statuses {
		if rank[st.action] > 0 && (chosen == nil || rank[st.action] > rank[chosen.action]) {
			chosen = &m.statuses[i]
		}
	}
	if chosen == nil { // relayed, expanded: neither arrived nor failed
		return nil
	}
	r := channels.Report{DeliveryID: id, At: chosen.at}
	switch chosen.action {
	case "failed":
		r.State = schemas.Undelivered
	case "delivered":
		r.State = schemas.Delivered
		return []channels.Report{r}
	}
	r.Failure = s.bounced(chosen.code, chosen.line, chosen.mta)
	return []channels.Report{r}
}

// rank of the actions of RFC 3464 section 2.3.3.
var rank = map[string]int{"delivered": 1, "delayed": 2, "failed": 3}

var (
	failureWords = regexp.MustCompile(`(?i)undeliver|not (?:be )?delivered|could ?n[o']t be delivered|delivery (?:has )?failed|failed to deliver|returned mail|rejected|退信|退回|未能送达|无法送达|无法投递|投递失败|发送失败|拒收`)
	delayWords   = regexp.MustCompile(`(?i)delayed|will (?:be )?retr|still (?:being )?tr(?:ying|ied)|not yet been delivered|no action is required|延迟|暂未送达|继续尝试|仍在尝试|将.{0,6}重试`)
)

// worded makes a report of a bounce that is words only.
func (s *settings) worded(m *returned) []channels.Report {
	words := strings.Join(strings.Fields(tags.ReplaceAllString(m.text.String(), " ")), " ")
	code := replyIn(words)
	r := channels.Report{DeliveryID: m.ids[0]}
	switch {
	case delayWords.MatchString(words) && !strings.HasPrefix(code, "5"):
	case failureWords.MatchString(words), strings.HasPrefix(code, "5"):
		r.State = schemas.Undelivered
	default:
		return nil
	}
	r.Failure = s.bounced(code, about(words, code), "")
	return []channels.Report{r}
}

var tags = regexp.MustCompile(`<[^<>]{0,1000}>`)

// about is the part of words around the code, or else their beginning: what is worth showing.
func about(words, code string) string {
	const most = 300
	basic, _, _ := strings.Cut(code, " ")
	if at := strings.Index(words, basic); basic != "" && at >= 0 {
		words = words[at:]
	}
	if r := []rune(words); len(r) > most {
		words = string(r[:most])
	}
	return words
}

// bounced is the failure that a returned mail tells; mta is who refused it.
func (s *settings) bounced(code, line, mta string) *channels.Failure {
	f := s.failure(code, channels.Permanent, line)
	if mta != "" {
		f.Provider = provider(mta)
	}
	basic, enhanced, _ := strings.Cut(code, " ")
	switch {
	case code == "":
		f.Code = "bounce" // returned without a code that can be read
		return f
	case strings.Contains(basic, "."):
		basic, enhanced = string(basic[0])+"50", basic
	}
	n := int(basic[0]-'0')*100 + int(basic[1]-'0')*10 + int(basic[2]-'0')
	f.Class = classify(inRcpt, n, enhanced, line)
	return f
}

// fromMailSystem says whether a mail was written by a mail system and not by, or on behalf of, a person: an absence note
// comes from its owner's address and says auto-replied.
func fromMailSystem(h *message.Header) bool {
	if h.Get("X-Failed-Recipients") != "" {
		return true
	}
	if auto := strings.ToLower(h.Get("Auto-Submitted")); strings.HasPrefix(auto, "auto-replied") || h.Get("X-Autoreply") != "" || h.Get("X-Autorespond") != "" {
		return false
	}
	from, err := netmail.ParseAddress(h.Get("From"))
	if err != nil {
		return strings.TrimSpace(h.Get("Return-Path")) == "<>"
	}
	left, _, _ := strings.Cut(strings.ToLower(from.Address), "@")
	for _, name := range []string{"mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon", "mdaemon", "microsoftexchange"} {
		if strings.HasPrefix(left, name) {
			return true
		}
	}
	return false
}
