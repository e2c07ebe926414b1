package email

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/yizhan-dev/yizhan/channels"
)

// phase is how far the dialogue had come. The same code means different things: 550 to MAIL is
// about us, to RCPT about the recipient, after the message about the text.
type phase int

const (
	inConnect phase = iota
	inTLS
	inGreeting
	inHello
	inAuth
	inMail
	inRcpt
	inData
	inBody // the message is being written; without the final dot the server drops it
	inDot  // the dot has been sent, or part of it: the server may have the mail
)

// fault is what went wrong, and where.
type fault struct {
	phase  phase
	err    error
	broken bool // the connection is of no use, whatever err says
}

// reply is the server's own answer, nil when there was none.
func (f *fault) reply() *textproto.Error {
	if f == nil {
		return nil
	}
	e, _ := errors.AsType[*textproto.Error](f.err)
	return e
}

// reusable says whether the connection is in a known state: the server answered, and is not about
// to close (421, RFC 5321 section 3.8).
func (f *fault) reusable() bool {
	if errors.Is(f.err, errNoSMTPUTF8) {
		return true
	}
	r := f.reply()
	return r != nil && r.Code != 421 && !f.broken
}

// stale says that a kept connection was broken before the server had the mail, so that a new one
// may try. A 421 to MAIL is the server's word for having closed an idle connection.
func (f *fault) stale() bool {
	if f.phase == inDot || errors.Is(f.err, errNoSMTPUTF8) {
		return false
	}
	if r := f.reply(); r != nil {
		return f.phase == inMail && r.Code == 421
	}
	return !timeout(f.err)
}

func timeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func (s *settings) failure(code string, class channels.Class, line string) *channels.Failure {
	return &channels.Failure{Kind: "email", Provider: s.provider, Code: code, Class: class, Line: s.line(line)}
}

// explain reads a fault. Err is kept only where it is ours: the server's words may repeat the
// address or the login, and only Line has them masked.
func (s *settings) explain(ctx context.Context, f *fault) *channels.Failure {
	err := f.err
	if token, ok := errors.AsType[*tokenError](err); ok {
		return s.noToken(ctx, token.error)
	}
	if ctx.Err() != nil {
		err = ctx.Err() // the broken connection is our own doing
	}
	if r := f.reply(); r != nil {
		out := s.readReply(f.phase, r)
		if f.phase == inDot && r.Code < 400 { // no refusal: the server may have the mail
			out.Class, out.Maybe = channels.Unknown, true
		}
		return out
	}
	switch {
	case f.phase == inDot:
		out := s.failure("net:eof-after-data", channels.Unknown, "no answer after the mail was sent: "+err.Error())
		if timeout(err) || ctx.Err() != nil {
			out.Code = "net:timeout-after-data"
		}
		out.Maybe, out.Err = true, ours(err)
		return out
	case errors.Is(err, errNoSMTPUTF8):
		return s.failure("553 5.6.7", channels.BadTarget, err.Error())
	case errors.Is(err, errNoStartTLS), errors.Is(err, errNoAuth), errors.Is(err, errNoMech):
		return s.failure("net:not-offered", channels.Config, err.Error())
	case f.phase <= inGreeting && dropped(err):
		out := s.failure("net:eof-greeting", channels.Temporary, err.Error())
		out.Err = err
		return out
	}
	out := channels.FromNet("email", s.provider, err, false) // nothing has been handed over yet
	out.Line = s.line(out.Line)
	if f.phase > inTLS && out.Code == "net:timeout-connect" {
		out.Code = "net:timeout-response" // connected it was
	}
	out.Err = ours(err)
	if f.phase == inAuth {
		out.Err = nil // may repeat a challenge
	}
	return out
}

// ours keeps an error for the chain unless it quotes the server, as that of a malformed reply does.
func ours(err error) error {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return nil
	}
	return err
}

// dropped: the far side closed the connection.
func dropped(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (s *settings) readReply(p phase, r *textproto.Error) *channels.Failure {
	text := oneLine(r.Msg)
	enhanced := enhancedCode(r.Code, text)
	code := fmt.Sprintf("%03d", r.Code)
	if enhanced != "" {
		code += " " + enhanced
	}
	return s.failure(code, classify(p, r.Code, enhanced, text), fmt.Sprintf("%03d %s", r.Code, text))
}

var leading = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}(?:\s+|$)`)

// oneLine joins the lines of a reply; the enhanced code that every line repeats (RFC 2034
// section 4) is kept once.
func oneLine(msg string) string {
	lines := strings.Split(msg, "\n")
	first := leading.FindString(lines[0])
	for i := range lines[1:] {
		if first != "" {
			lines[i+1] = strings.TrimPrefix(lines[i+1], first)
		}
	}
	return strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

var enhancedPattern = regexp.MustCompile(`(?:^|[^\d.])([45]\.\d{1,3}\.\d{1,3})(?:$|[^\d.]|\.(?:\s|$))`)

// enhancedCode is the enhanced status code (RFC 3463) in a reply's text, "" without one. go-mail
// looks for it only where the server announced it, and many send it unannounced. Its class must be
// the reply's own: "5.9.10" inside a 4xx is something else.
func enhancedCode(code int, text string) string {
	for _, m := range enhancedPattern.FindAllStringSubmatch(text, -1) {
		if int(m[1][0]-'0') == code/100 {
			return m[1]
		}
	}
	return ""
}

var (
	// Providers write their limits as 5xx too (facts: smtp.md section 2, "Classification order").
	limits = regexp.MustCompile(`(?i)rate limit|too many (?:messages|emails|connections)|frequency|frequently|` +
		`SubmissionQuotaExceeded|daily .{0,20}limit|sending limit|sending quota|sender thread limit|unusual rate|` +
		`connection limit|concurrent connection|throttl|\b(?:MI:STC|MI:SFQ|RP:TRC|RP:QRC|HL:ICC)\b`)
	fullBox = regexp.MustCompile(`(?i)(?:mailbox|inbox).{0,40}(?:full|quota)|over ?quota`)

	authCodes = []string{"5.7.8", "5.7.9", "5.7.12", "5.7.13", "5.7.14"}
)

// classify is what a refusal means when nobody knows the server's words any better (facts: smtp.md
// sections 1 and 2).
func classify(p phase, code int, enhanced, text string) channels.Class {
	subject, detail, _ := strings.Cut(strings.TrimLeft(enhanced[min(1, len(enhanced)):], "."), ".")
	switch {
	case code == 432, subject == "7" && detail == "28", enhanced == "5.4.5", enhanced == "4.4.5",
		limits.MatchString(text) && !fullBox.MatchString(text):
		return channels.Throttled
	case code < 500: // below 400: a positive reply of the wrong kind, the dialogue is out of step
		return channels.Temporary
	case slices.Contains(authCodes, enhanced):
		return channels.Auth
	case subject == "7" && (detail == "10" || detail == "11"), code == 530, code == 538:
		return channels.Config // TLS or a login is missing
	}
	switch p {
	case inConnect, inGreeting, inHello:
		if subject == "7" {
			return channels.Config // our IP is not welcome
		}
		return channels.Temporary
	case inTLS:
		return channels.Config
	case inAuth:
		return channels.Auth
	case inMail:
		return channels.Config
	}
	switch {
	case subject == "1", subject == "2" && detail != "3":
		return channels.BadTarget
	case subject == "6", enhanced == "5.3.4", enhanced == "5.2.3":
		return channels.Content
	case subject == "7":
		return channels.Permanent // policy: the text says which
	case p == inRcpt:
		return channels.BadTarget
	case code == 552:
		return channels.Content
	}
	return channels.Permanent
}

// unbuilt explains why no mail could be made of a delivery.
func (s *settings) unbuilt(err error) *channels.Failure {
	switch {
	case errors.Is(err, errAddress):
		return s.failure("553 5.1.3", channels.BadTarget, "收件地址不是有效的邮箱地址 / the recipient's address is not a mail address")
	case errors.Is(err, errLineBreak):
		return s.failure("dispatcher:line-break", channels.Content, "主题、姓名或地址中含有换行或控制字符 / "+err.Error())
	case errors.Is(err, errNoWayOut):
		return s.failure("dispatcher:no-unsubscribe", channels.Config, "营销邮件没有退订方式 / "+err.Error())
	case errors.Is(err, errEmpty):
		return s.failure("dispatcher:empty-message", channels.Content, "邮件没有正文 / "+err.Error())
	default:
		return s.failure("dispatcher:internal", channels.Temporary, err.Error())
	}
}

// noSlot: all connections were in use until the context ended. Nothing was sent, and nothing is
// wrong with the delivery.
func (s *settings) noSlot(err error) *channels.Failure {
	f := s.failure("net:busy", channels.Throttled, "邮件连接全部占用 / all connections to the mail server are in use")
	if errors.Is(err, context.Canceled) {
		f.Code, f.Class, f.Line = "net:cancelled", channels.Temporary, err.Error()
	}
	f.Err = err
	return f
}

// line makes words safe to show: beyond what [channels.Line] masks, a server may quote the login.
func (s *settings) line(words string) string {
	b64 := base64.StdEncoding.EncodeToString
	if len(s.password) >= 4 {
		words = strings.NewReplacer(
			s.password, "***",
			b64([]byte(s.password)), "***",
			b64([]byte("\x00"+s.Username+"\x00"+s.password)), "***",
		).Replace(words)
	}
	if s.tokens != nil {
		for _, secret := range s.tokens.secrets() {
			if len(secret) >= 4 {
				words = strings.ReplaceAll(words, secret, "***")
			}
		}
	}
	return channels.Line(words)
}

// queueIDs are the forms in which servers name a mail they took, most telling first: Postfix and
// most others, Exchange, Exim, Gmail.
var queueIDs = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\bqueued as (\S+)`),
	regexp.MustCompile(`\bInternalId=(\d+)`),
	regexp.MustCompile(`(?i)\bid=([\w-]+)`),
	regexp.MustCompile(`\bOK\s+\d+\s+(\S+)`),
}

// queueID is the server's id for the mail in the text of its 250, "" when it gives none.
func queueID(reply string) string {
	for _, re := range queueIDs {
		if m := re.FindStringSubmatch(reply); m != nil {
			return strings.TrimRight(m[1], ".,;)>")
		}
	}
	return ""
}
