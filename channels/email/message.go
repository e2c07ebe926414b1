package email

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// mailing is a mail as it goes over the wire, and whom it goes to.
type mailing struct {
	raw []byte
	to  *netmail.Address
}

// compose makes the mail for d with its files, signed where the channel signs. All of it is made before the server hears of it:
// what cannot be made costs no transaction, and a second connection gets the same bytes.
func (s *settings) compose(d *schemas.Delivery, files []channels.File, now time.Time) (mailing, error) {
	msg, to, err := s.assemble(d, files, now)
	if err != nil {
		return mailing{}, err
	}
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return mailing{}, err
	}
	raw := b.Bytes()
	if s.dkim != nil {
		if raw, err = s.dkim.sign(raw); err != nil {
			return mailing{}, err
		}
	}
	return mailing{raw, to}, nil
}

// build makes the mail for d. Everything but Date is the same for every attempt, so that a
// receiver that sees it twice can tell by the Message-ID.
func (s *settings) build(d *schemas.Delivery, now time.Time) (*mail.Msg, *netmail.Address, error) {
	msg, to, err := s.header(d, now)
	if err != nil {
		return nil, nil, err
	}
	if d.Message.Text != "" {
		msg.SetBodyString(mail.TypeTextPlain, crlf(d.Message.Text))
		if d.Message.HTML != "" {
			msg.AddAlternativeString(mail.TypeTextHTML, crlf(d.Message.HTML))
		}
	} else {
		msg.SetBodyString(mail.TypeTextHTML, crlf(d.Message.HTML))
	}
	return msg, to, nil
}

// assemble is build for a mail with files, as they were fetched for this attempt.
func (s *settings) assemble(d *schemas.Delivery, files []channels.File, now time.Time) (io.WriterTo, *netmail.Address, error) {
	told := *d
	told.Message = excuse(d.Message, d.To, files)
	with := present(files)
	if len(with) == 0 {
		return s.build(&told, now)
	}
	head, to, err := s.header(&told, now)
	if err != nil {
		return nil, nil, err
	}
	return newLetter(head, d.ID, told.Message, with), to, nil
}

// header makes the mail without its body.
func (s *settings) header(d *schemas.Delivery, now time.Time) (*mail.Msg, *netmail.Address, error) {
	for _, v := range []string{d.To.Name, d.To.Email, d.Message.Subject} {
		if strings.ContainsFunc(v, forbidden) {
			return nil, nil, errLineBreak
		}
	}
	if d.Message.Text == "" && d.Message.HTML == "" {
		return nil, nil, errEmpty
	}
	to, err := recipient(d.To)
	if err != nil {
		return nil, nil, err
	}
	refuse, err := s.refusable(d)
	if err != nil {
		return nil, nil, err
	}
	msg := mail.NewMsg(
		mail.WithNoDefaultUserAgent(),
		mail.WithEncoding(encoding(d.Message)),
		mail.WithBoundary("yizhan-"+d.ID),
	)
	msg.SetAddrHeaderFromMailAddress(mail.HeaderFrom, s.from)
	msg.SetAddrHeaderFromMailAddress(mail.HeaderTo, to)
	if s.replyTo != nil {
		msg.SetAddrHeaderFromMailAddress(mail.HeaderReplyTo, s.replyTo)
	}
	msg.SetMessageIDWithValue(d.ID + "@" + domainOf(s.from))
	msg.SetDateWithValue(now)
	msg.Subject(d.Message.Subject)
	// RFC 3834 section 5 and MS-OXCMAIL 2.1.3.2.20: nobody's absence note comes back to us.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	if refuse != "" {
		msg.SetGenHeaderPreformatted("List-Unsubscribe", refuse)
		msg.SetGenHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
	return msg, to, nil
}

// forbidden characters in a header could begin another header, or a command.
func forbidden(r rune) bool { return unicode.IsControl(r) && r != '\t' }

// crlf gives text the line ends that RFC 2045 section 6.8 wants under base64.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

var (
	errLineBreak = errors.New("a line break or control character in the subject, the name or the address")
	errEmpty     = errors.New("neither text nor html")
	errAddress   = errors.New("not a mail address")
)

// encoding is base64 for a text mostly outside ASCII, where quoted-printable would triple it.
func encoding(m schemas.Message) mail.Encoding {
	high := 0
	for _, s := range []string{m.Subject, m.Text, m.HTML} {
		for i := range len(s) {
			if s[i] >= utf8.RuneSelf {
				high++
			}
		}
	}
	if 4*high > len(m.Subject)+len(m.Text)+len(m.HTML) {
		return mail.EncodingB64
	}
	return mail.EncodingQP
}

// recipient is the person's name and address, the domain in its ASCII form.
func recipient(r schemas.Recipient) (*netmail.Address, error) {
	a, err := parseAddress(r.Email)
	if err != nil {
		return nil, err
	}
	if r.Name != "" {
		a.Name = r.Name
	}
	return a, nil
}

// parseAddress reads "Name <local@domain>" and turns an international domain into A-labels
// (RFC 5891), which every server takes. Errors do not repeat the address.
func parseAddress(s string) (*netmail.Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, errAddress
	}
	at := strings.LastIndexByte(a.Address, '@')
	domain := a.Address[at+1:]
	if !ascii(domain) {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, fmt.Errorf("%w: its domain is not valid", errAddress)
		}
	}
	a.Address = a.Address[:at+1] + domain
	if strings.ContainsFunc(a.Address, unicode.IsControl) {
		return nil, errAddress
	}
	return a, nil
}

// domainOf is what stands behind the @ of an address.
func domainOf(a *netmail.Address) string { return a.Address[strings.LastIndexByte(a.Address, '@')+1:] }

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// path is the address as MAIL and RCPT want it, quoted where it must be.
func path(a *netmail.Address) string {
	return (&netmail.Address{Address: a.Address}).String()
}
