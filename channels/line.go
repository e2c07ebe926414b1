package channels

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/schemas"
)

const maxLine = 1024

var (
	digits  = regexp.MustCompile(`\d[\d \-]{5,}\d`)
	mobile  = regexp.MustCompile(`1[3-9](?:[ \-._]?\d){9}`)
	date    = regexp.MustCompile(`^(19|20)\d\d-(0[1-9]|1[0-2])-([0-2]\d|3[01])( \d{1,2})?$`)
	mailbox = regexp.MustCompile(`[^\s<>@"',;:()\[\]]+@[^\s<>@"',;:()\[\]]+`)
	query   = regexp.MustCompile(`(https?://[^\s?"']*)\?[^\s"']*`)
)

// Line makes a third party's words safe to store, log and show: one line, at most 1 KiB, valid
// UTF-8, URL queries dropped, mailboxes and phone-like numbers masked.
func Line(s string) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		if r >= '０' && r <= '９' { // a number in full-width digits is one all the same
			return r - '０' + '0'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = query.ReplaceAllString(s, "$1")
	s = mailbox.ReplaceAllStringFunc(s, schemas.MaskEmail)
	s = mobile.ReplaceAllStringFunc(s, schemas.MaskNumber)
	s = digits.ReplaceAllStringFunc(s, func(n string) string {
		if date.MatchString(n) {
			return n
		}
		return schemas.MaskNumber(n)
	})
	if len(s) > maxLine {
		s = s[:maxLine-3]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return s
}

// MaskedHit is a hit whose pieces of the message are as [Line] makes them, for strangers and logs.
func MaskedHit(h schemas.Hit) schemas.Hit {
	h.Text, h.Term, h.Cue = Line(h.Text), Line(h.Term), Line(h.Cue)
	return h
}
