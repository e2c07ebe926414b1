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
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = query.ReplaceAllString(s, "$1")
	s = mailbox.ReplaceAllStringFunc(s, schemas.MaskEmail)
	s = digits.ReplaceAllStringFunc(s, schemas.MaskNumber)
	if len(s) > maxLine {
		s = s[:maxLine-3]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return s
}
