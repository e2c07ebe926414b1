package schemas

import (
	"strings"
	"unicode/utf8"
)

// MaskNumber hides the middle of a phone number as Chinese operators do: 138****8000, and the
// country code stays: +86138****8000 → 138****8000. Anything else keeps two characters at each end.
func MaskNumber(s string) string {
	s = strings.TrimSpace(s)
	s = strings.TrimPrefix(s, "+86")
	if utf8.RuneCountInString(s) < 7 {
		return strings.Repeat("*", utf8.RuneCountInString(s))
	}
	r := []rune(s)
	head, tail := 3, 4
	if len(r) < 10 {
		head, tail = 2, 2
	}
	return string(r[:head]) + "****" + string(r[len(r)-tail:])
}

// MaskEmail keeps the first character and the domain: w***@example.com.
func MaskEmail(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 {
		return "***"
	}
	_, n := utf8.DecodeRuneInString(s)
	return s[:n] + "***" + s[at:]
}

// Masked is the recipient as shown in lists, logs and traces.
func (r Recipient) Masked(channel string) string {
	switch {
	case r.Webhook != "":
		return r.Webhook
	case channel == "phone" && r.Phone != "":
		return MaskNumber(r.Phone)
	case channel == "email" && r.Email != "":
		return MaskEmail(r.Email)
	}
	return "-"
}
