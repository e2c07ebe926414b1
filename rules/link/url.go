package link

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is a URL in its parts. Nothing is refused: what a strict parser would not take may still open.
type address struct {
	scheme   string // lower case; "" when the text does not write one
	userinfo string
	host     string // lower case, in Unicode, without port
	port     string
	path     string
	params   []param // of path, query and fragment
}

// param is one name=value of a URL, percent-encoding undone. The name is in lower case.
type param struct{ name, value string }

func split(s string) address {
	var a address
	scheme, rest := cutScheme(s)
	a.scheme = strings.ToLower(scheme)
	end := strings.IndexAny(rest, "/?#\\")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		a.userinfo, authority = authority[:at], authority[at+1:]
	}
	a.host, a.port = hostPort(authority)
	a.host = toUnicode(a.host)
	rest, fragment, _ := strings.Cut(rest, "#")
	path, query, _ := strings.Cut(rest, "?")
	a.path, path, _ = strings.Cut(path, ";")
	for part := range strings.SplitSeq(path, ";") { // ;jsessionid=…
		a.add(part, "/")
	}
	a.add(query, "&")
	if _, after, ok := strings.Cut(fragment, "?"); ok { // #/login?token=…
		fragment = after
	}
	a.add(fragment, "&")
	return a
}

// cutScheme is what stands before and behind ://, if that begins the URL; in /go?to=https://a.cn it does not.
func cutScheme(s string) (scheme, rest string) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok && strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") == "" {
		return scheme, rest
	}
	return "", s
}

// browsed is the URL to which a browser goes from an attribute's value; "" when the value is none, or one
// without a host and a path. (URL Standard, url.spec.whatwg.org, 4.4: tabs and line breaks count for nothing, \ is a /,
// and of the slashes behind https: there may be any number.) Behind // a mail program takes https. A name of a host
// alone counts as one, since mail programs put http:// in front.
func browsed(value string) string {
	s := strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(value[:min(len(value), maxURL)])
	end := strings.IndexAny(s, "?#")
	if end < 0 {
		end = len(s)
	}
	slashed := strings.ReplaceAll(s[:end], "\\", "/") + s[end:]
	scheme, rest, ok := strings.Cut(slashed, ":")
	switch lower := strings.ToLower(scheme); {
	case ok && (lower == "http" || lower == "https"):
	case strings.HasPrefix(slashed, "//"):
		scheme, rest = "https", slashed
	case strings.HasPrefix(slashed, "/"), strings.HasPrefix(slashed, "?"):
		return slashed // below a <base>
	default: // a scheme of its own, or a host alone
		if u := find(s, 1); len(u) > 0 && u[0].start == 0 {
			return s
		}
		return ""
	}
	if rest = strings.TrimLeft(rest, "/"); rest == "" {
		return ""
	}
	return scheme + "://" + rest
}

// maxParams bounds what is looked at in one URL.
const maxParams = 100

func (a *address) add(query, separator string) {
	for part := range strings.SplitSeq(query, separator) {
		if part == "" || len(a.params) >= maxParams {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			name, value = "", part
		}
		name = strings.TrimPrefix(strings.ToLower(unescape(name)), "amp;") // &amp; in a text that is no HTML
		a.params = append(a.params, param{name, unescape(value)})
	}
}

// get is the value of a parameter.
func (a *address) get(name string) (string, bool) {
	for _, p := range a.params {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

func hostPort(s string) (host, port string) {
	s = strings.ToLower(unescape(s))
	if strings.HasPrefix(s, "[") {
		host, port, _ = strings.Cut(s[1:], "]")
		return host, strings.TrimPrefix(port, ":")
	}
	host, port, _ = strings.Cut(s, ":")
	return strings.TrimRight(host, "."), port
}

// toUnicode undoes Punycode (xn--…) where it can be undone.
func toUnicode(host string) string {
	if !strings.Contains(host, "xn--") {
		return host
	}
	if u, err := idna.Punycode.ToUnicode(host); err == nil && utf8.ValidString(u) {
		return u
	}
	return host
}

// unescape undoes percent-encoding and leaves alone what is none.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// numeric says whether a host is an IP address in any form that browsers take: 10.0.0.1, 2130706433,
// 0x7f000001, 0177.0.0.1, ::1.
func numeric(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || last != "" && strings.Trim(last, "0123456789") == ""
}

// lookAlike says whether a host has letters that pass for others: anything but ASCII and the scripts of
// Chinese, Japanese and Korean. No company here is called аpple.com with a Cyrillic а.
func lookAlike(host string) bool {
	for _, r := range host {
		if r >= utf8.RuneSelf && !cjk(r) && r != '·' && !unicode.IsMark(r) && r != 'ー' {
			return true
		}
	}
	return strings.Contains(host, "xn--") // Punycode that nobody can read
}

// maxShown is how much of a URL a hit shows, in code points.
const maxShown = 120

// masked is the URL as people may see it in a trace: host and path stay; every value and whatever looks like a
// token is gone.
func masked(s string) string {
	a := split(s)
	var b strings.Builder
	if a.scheme != "" {
		b.WriteString(a.scheme + "://")
	}
	if a.userinfo != "" {
		b.WriteString("***@")
	}
	if strings.ContainsRune(a.host, ':') {
		b.WriteString("[" + a.host + "]")
	} else {
		b.WriteString(a.host)
	}
	if a.port != "" && strings.Trim(a.port, "0123456789") == "" {
		b.WriteString(":" + a.port)
	} else if a.port != "" { // rather the half of a password
		b.WriteString(":***")
	}
	for i, part := range strings.Split(a.path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if tokenish(unescape(part)) || strings.Contains(part, "@") {
			part = "***"
		}
		b.WriteString(part)
	}
	separator := "?"
	for _, p := range a.params {
		name := p.name
		if isValue(name) {
			name = "***"
		}
		if name != "" {
			name += "="
		}
		b.WriteString(separator + name + "***")
		separator = "&"
	}
	r := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, b.String()))
	if len(r) > maxShown {
		r = append(r[:maxShown-1], '…')
	}
	return string(r)
}

// isValue says whether what stands where the name of a parameter should is rather a value, which nobody may see.
func isValue(name string) bool { return len(name) > 24 || tokenish(name) }

// tokenish says whether a value looks made by a machine in order not to be guessed: long, of the letters of
// base64 or hexadecimal, digits among them.
func tokenish(s string) bool {
	if len(s) < 16 {
		return false
	}
	letters, digits := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case letter(c):
			letters++
		case '0' <= c && c <= '9':
			digits++
		case strings.IndexByte("-._~+/= ", c) < 0:
			return false
		}
	}
	// A name such as purchase-order-2026-11-23 has letters and digits too, in words.
	return letters > 0 && digits >= 2 && longest(s) >= 12
}

// longest is the length of the longest part without a separator.
func longest(s string) int {
	n := 0
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("-._~ ", r) }) {
		n = max(n, len(part))
	}
	if strings.Count(s, "-") == 4 && len(s) == 36 { // a UUID
		return len(s)
	}
	return n
}
