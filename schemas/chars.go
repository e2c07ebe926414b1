package schemas

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

func digit(c byte) bool    { return c >= '0' && c <= '9' }
func lower(c byte) bool    { return c >= 'a' && c <= 'z' }
func letter(c byte) bool   { return lower(c | 0x20) }
func alnum(c byte) bool    { return digit(c) || letter(c) }
func hostByte(c byte) bool { return alnum(c) || c == '-' }
func wordByte(c byte) bool { return alnum(c) || c == '_' || c == '-' }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// named says whether s is 1 to most bytes, the first of one kind, the rest of another.
func named(s string, most int, first, rest func(byte) bool) bool {
	return s != "" && len(s) <= most && first(s[0]) && all(s[1:], rest)
}

func isTenant(s string) bool {
	return named(s, 63, func(c byte) bool { return lower(c) || digit(c) },
		func(c byte) bool { return lower(c) || digit(c) || c == '_' || c == '-' })
}

func isChannel(s string) bool { return named(s, 63, alnum, wordByte) }

func isParam(s string) bool {
	return named(s, 64, func(c byte) bool { return letter(c) || c == '_' },
		func(c byte) bool { return alnum(c) || c == '_' })
}

func isType(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || !all(word, wordByte) {
			return false
		}
	}
	return true
}

func isLocale(s string) bool {
	first, rest, more := strings.Cut(s, "-")
	if len(first) < 2 || len(first) > 8 || !all(first, letter) {
		return false
	}
	for more {
		first, rest, more = strings.Cut(rest, "-")
		if first == "" || len(first) > 8 || !all(first, alnum) {
			return false
		}
	}
	return true
}

func isSHA256(s string) bool {
	return len(s) == 64 && all(s, func(c byte) bool { return digit(c) || (c|0x20 >= 'a' && c|0x20 <= 'f') })
}

// isCID is the part of RFC 2392's content ids that every mail program takes: a word, or word@domain.
func isCID(s string) bool {
	word, domain, at := strings.Cut(s, "@")
	ok := func(c byte) bool { return wordByte(c) || c == '.' || c == '+' }
	return word != "" && all(word, ok) && (!at || domain != "" && all(domain, ok))
}

func isDeliveryID(s string) bool {
	return len(s) == 29 && all(s, func(c byte) bool { return lower(c) || (c >= '2' && c <= '7') })
}

// visible says whether r may stand in an address: not a space, a control or a format character.
func visible(r rune) bool {
	return r != utf8.RuneError && unicode.IsGraphic(r) && !unicode.IsSpace(r)
}

// isURIReference is RFC 3986 §4.1: its characters, whole percent-triplets, and what net/url can parse.
func isURIReference(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case !alnum(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) < 0:
			return false
		}
	}
	_, err := url.Parse(s)
	return err == nil
}

func isHex(c byte) bool { return digit(c) || (c|0x20 >= 'a' && c|0x20 <= 'f') }

func hasControlIn(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f || c >= utf8.RuneSelf {
			return strings.ContainsFunc(s[i:], control)
		}
	}
	return false
}

// line checks a text that stands on one line: at most most characters, no control characters.
func line(s string, most int) *ValueError {
	if len(s) > most {
		if n := utf8.RuneCountInString(s); n > most {
			return tooLong(most, n)
		}
	}
	if hasControlIn(s) {
		return hasControl()
	}
	return nil
}

// prose checks a text of many lines: at most most characters, no NUL.
func prose(s string, most int) *ValueError {
	if len(s) > most {
		if n := utf8.RuneCountInString(s); n > most {
			return tooLong(most, n)
		}
	}
	if strings.IndexByte(s, 0) >= 0 {
		return nulForm
	}
	return nil
}
