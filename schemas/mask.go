package schemas

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaskNumber hides the middle of a phone number. A mainland mobile number is shown as Chinese
// operators do, without its country code: +8613800138000 → 138****8000. Of anything else at most
// half of the digits and letters stay, +85291234567 → +852****67, and of fewer than 7 none.
func MaskNumber(s string) string {
	s = strings.TrimSpace(s)
	var kept []rune
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			kept = append(kept, r)
		}
	}
	n := len(kept)
	if n < 7 {
		return strings.Repeat("*", n)
	}
	bare := strings.TrimPrefix(strings.TrimPrefix(string(kept), "00"), "86")
	if mainland(bare) {
		return bare[:3] + "****" + bare[7:]
	}
	head, tail := min((n+1)/4, 4), min(n/4, 4)
	plus := ""
	if s[0] == '+' {
		plus = "+"
	}
	return plus + string(kept[:head]) + "****" + string(kept[n-tail:])
}

// MaskEmail keeps the first character and the domain, w***@example.com; of a local part of one
// character nothing stays.
func MaskEmail(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 {
		return "***"
	}
	_, n := utf8.DecodeRuneInString(s)
	if n >= at {
		n = 0
	}
	return s[:n] + "***" + s[at:]
}

// host is the host of an address: the rest may be a credential.
func host(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	rest, _, _ = strings.Cut(rest, "/")
	rest, _, _ = strings.Cut(rest, "?")
	return rest[strings.LastIndexByte(rest, '@')+1:]
}

// Masked is the recipient as shown in lists, logs and traces.
func (r Recipient) Masked(channel string) string {
	switch {
	case r.Webhook != "" && r.URL != "":
		return r.Webhook + " " + host(r.URL)
	case r.Webhook != "":
		return r.Webhook
	case channel == "phone" && r.Phone != "":
		return MaskNumber(r.Phone)
	case channel == "email" && r.Email != "":
		return MaskEmail(r.Email)
	}
	return "-"
}
