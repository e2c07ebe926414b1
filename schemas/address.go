package schemas

import (
	"strings"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/width"
)

// Lengths of a mail address in octets: RFC 5321 §4.5.3.1.1 (local part), and the path of §4.5.3.1.3
// without its angle brackets.
const (
	maxLocalPart = 64
	maxMailbox   = 254
)

// maxPhone bounds what people write around the at most 15 digits of a number (ITU-T E.164).
const maxPhone = 40

var (
	phoneForm = wrong("phone", "不是有效的手机号码", "is not a valid mobile number")
	phoneSign = wrong("phone", "手机号码只能包含数字、空格和连字符；境外号码以 + 和国家码开头", "a mobile number holds only digits, spaces and hyphens; start a number abroad with + and the country code")
	phoneLand = wrong("phone", "不是手机号码（像是固定电话或 400/800 等服务号码），收不到短信", "is not a mobile number (it looks like a landline or a 400/800 service number) and cannot receive SMS")

	emailForm   = wrong("email", "不是有效的邮箱地址，应形如 name@example.com，不带显示名和尖括号", "is not a mail address; write name@example.com without display name or angle brackets")
	emailDomain = wrong("email", "邮箱地址的域名无效，应为完整域名，例如 example.com", "the mail address needs a valid, fully qualified domain such as example.com")
	emailLong   = wrong("email", "邮箱地址过长（@ 之前最多 64 字节，全长最多 254 字节）", "the mail address is too long (at most 64 bytes before the @, 254 in all)")
)

// NormalizePhone turns a mobile number in any common form (full-width digits, spaces, hyphens,
// 0086, 86, +86) into E.164, "+8613800138000"; a number without a country code is a mainland
// Chinese one. Every mainland 1[3-9]xxxxxxxxx is taken, also under a prefix that the numbering plan
// (github.com/nyaruka/phonenumbers) does not know yet: carriers open new ones. Landlines and service
// numbers are refused. The error is a [*ValueError] and does not hold the number.
func NormalizePhone(s string) (e164 string, err error) {
	e164, wrong := normalizePhone(s)
	if wrong != nil {
		return "", wrong
	}
	return e164, nil
}

func normalizePhone(s string) (string, *ValueError) {
	if bare, ok := MainlandNumber(s); ok {
		return "+86" + bare, nil
	}
	n, ok := phoneDigits(s)
	if !ok {
		return "", phoneSign
	}
	if rest, ok := strings.CutPrefix(n, "00"); ok {
		n = "+" + rest
	}
	for _, prefix := range []string{"", "86", "+86", "0", "+860"} {
		if bare, ok := strings.CutPrefix(n, prefix); ok && mainland(bare) {
			return "+86" + bare, nil
		}
	}
	p, err := phonenumbers.Parse(n, "CN")
	if err != nil || !phonenumbers.IsValidNumber(p) {
		return "", phoneForm
	}
	switch phonenumbers.GetNumberType(p) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE, phonenumbers.PERSONAL_NUMBER, phonenumbers.VOIP:
		return phonenumbers.Format(p, phonenumbers.E164), nil
	default:
		return "", phoneLand
	}
}

// MainlandNumber returns the bare 11 digits of a mainland Chinese mobile number in E.164, the form
// that mainland SMS providers take; ok is false for every other number.
func MainlandNumber(e164 string) (bare11 string, ok bool) {
	bare, ok := strings.CutPrefix(e164, "+86")
	if !ok || !mainland(bare) {
		return "", false
	}
	return bare, true
}

func mainland(s string) bool {
	return len(s) == 11 && s[0] == '1' && s[1] >= '3' && s[1] <= '9' && all(s, digit)
}

// phoneDigits drops what people write between digits and folds full-width forms; false when
// anything else than digits and one leading + is left.
func phoneDigits(s string) (string, bool) {
	if len(s) > 4*maxPhone || utf8.RuneCountInString(s) > maxPhone {
		return "", false
	}
	var b strings.Builder
	for _, r := range width.Narrow.String(s) {
		switch {
		case r >= '0' && r <= '9', r == '+' && b.Len() == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" -().\u00a0\u3000\u2010\u2011\u2012\u2013\u2014\u2212", r):
		default:
			return "", false
		}
	}
	return b.String(), b.Len() > 0
}

// CheckEmail checks an addr-spec (RFC 5322 §3.4.1) in its dot-atom form and returns it with the
// domain in lower case and A-labels (RFC 5891, Lookup profile). Spaces around it are dropped. The
// local part may hold UTF-8 (RFC 6531): whether the server takes that, its channel knows. Quoted
// local parts and domain literals are refused: no mailbox that people use needs them, and they are
// where header injection hides. The error is a [*ValueError] and does not hold the address.
func CheckEmail(s string) (normalised string, err error) {
	normalised, wrong := checkEmail(s)
	if wrong != nil {
		return "", wrong
	}
	return normalised, nil
}

func checkEmail(s string) (string, *ValueError) {
	s = strings.Trim(s, " \u3000")
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || !utf8.ValidString(s) {
		return "", emailForm
	}
	local, domain := s[:at], s[at+1:]
	if len(local) > maxLocalPart || len(domain) > maxMailbox {
		return "", emailLong
	}
	if !dotAtom(local) {
		return "", emailForm
	}
	domain, ok := asciiDomain(domain)
	if !ok {
		return "", emailDomain
	}
	if len(local)+1+len(domain) > maxMailbox {
		return "", emailLong
	}
	return local + "@" + domain, nil
}

// dotAtom is RFC 5322 §3.2.3 with the UTF-8 of RFC 6532 §3.2, less its spaces and invisible characters.
func dotAtom(s string) bool {
	prev := '.'
	for _, r := range s {
		switch {
		case r == '.':
			if prev == '.' {
				return false
			}
		case r < utf8.RuneSelf:
			if !alnum(byte(r)) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) {
				return false
			}
		case !visible(r):
			return false
		}
		prev = r
	}
	return prev != '.'
}

// asciiDomain is the domain as it goes into DNS; false when it is none, or not fully qualified
// (RFC 5321 §2.3.5).
func asciiDomain(s string) (string, bool) {
	if !isDomain(s, false) {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil || !isDomain(a, true) {
			return "", false
		}
		// A second pass must change nothing, or the address would not survive its own wire form.
		if again, err := idna.Lookup.ToASCII(a); err != nil || again != a {
			return "", false
		}
		return a, true
	}
	return strings.ToLower(s), true
}

// isDomain says whether s is a host name of at least two letter-digit-hyphen labels (RFC 1123 §2.1),
// the last not a number. A-labels, which only idna can judge, count when alabels is set.
func isDomain(s string, alabels bool) bool {
	labels := 0
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !all(label, hostByte) {
			return false
		}
		if !alabels && len(label) >= 4 && label[2:4] == "--" {
			return false
		}
		labels++
	}
	return labels > 1 && len(s) <= 253 && !all(s[strings.LastIndexByte(s, '.')+1:], digit)
}
