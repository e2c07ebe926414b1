package link

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

// span is a part of a text, in bytes.
type span struct{ start, end int }

// maxURL bounds one URL, in bytes; what is longer is cut there.
const maxURL = 32 << 10

// find returns the URLs of a text, in order and without overlaps: those with a scheme, and names of hosts
// that a phone or mail program makes clickable (t.cn/AbC, www.example.com). One within the query of another is a
// part of it. It stops after so many.
func find(s string, most int) []span {
	var out []span
	for i := 0; i < len(s) && len(out) < most; {
		k := strings.IndexAny(s[i:], ":.")
		if k < 0 {
			break
		}
		k += i
		u, next := span{}, k+1
		if s[k] == '.' {
			u, next = bare(s, i, k)
		} else if strings.HasPrefix(s[k:], "://") {
			u = withScheme(s, i, k)
		}
		if u.end > u.start {
			out = append(out, u)
			next = u.end
		}
		i = next
	}
	return out
}

// withScheme is the URL around s[k:], which begins with ://. Nothing before from belongs to it.
func withScheme(s string, from, k int) span {
	start := k
	for start > from && (alnum(s[start-1]) || strings.IndexByte("+-.", s[start-1]) >= 0) {
		start--
	}
	// Letters that stand right before a scheme are not of it: 详见http://, but also abchttps://.
	for _, known := range []string{"https", "http", "k3cloud"} {
		if k-start >= len(known) && strings.EqualFold(s[k-len(known):k], known) {
			start = k - len(known)
			break
		}
	}
	for start < k && !letter(s[start]) {
		start++
	}
	if start == k {
		return span{}
	}
	end := tail(s, authority(s, k+3))
	if end <= k+3 {
		return span{}
	}
	return span{start, end}
}

// authority is the end of host and port that begin at i.
func authority(s string, i int) int {
	label := i
	for j := i; j < len(s) && j-i < maxURL; {
		if c := s[j]; c < utf8.RuneSelf {
			if !alnum(c) && strings.IndexByte("-._~%!$&'()*+,;=:@[]", c) < 0 || comesAgain(s, j) {
				return j
			}
			j++
			if c == '.' || c == '@' {
				label = j
			}
			continue
		}
		// A letter that is not ASCII may be of the name (例子.中国, or a look-alike); Chinese right after
		// a Latin label is the sentence going on: https://erp.example.com查看.
		r, n := utf8.DecodeRuneInString(s[j:])
		if !unicode.IsLetter(r) && !unicode.IsMark(r) || cjk(r) && label < j && s[label] < utf8.RuneSelf {
			return j
		}
		j += n
	}
	return min(len(s), i+maxURL)
}

// tail is the end of path, query and fragment that begin at i, without the punctuation of the sentence around.
func tail(s string, i int) int {
	j, query := i, false
	if i < len(s) && strings.IndexByte("/?#\\", s[i]) >= 0 {
		for j < len(s) && j-i < maxURL {
			c := s[j]
			if c >= utf8.RuneSelf {
				n := 0
				if query {
					n = between(s[j:])
				} else if s[j-1] == '/' {
					n = names(s[j:])
				}
				if n == 0 {
					break
				}
				j += n
				continue
			}
			if !alnum(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=%{}|^\\", c) < 0 || comesAgain(s, j) {
				break
			}
			query = query || c == '?' || c == '#'
			j++
		}
	}
	for j > i && strings.IndexByte(".,;:!?'*{}|^\\", s[j-1]) >= 0 {
		j--
	}
	for _, pair := range []string{"()", "[]"} {
		if j > i && s[j-1] == pair[1] && strings.Count(s[i:j], pair[:1]) < strings.Count(s[i:j], pair[1:]) {
			j--
		}
	}
	if j == i { // the authority's own end: https://erp.example.com.
		for j > 0 && strings.IndexByte(".,;:!'()*", s[j-1]) >= 0 {
			j--
		}
	}
	return j
}

// comesAgain says whether s[j] is a comma or semicolon between two URLs.
func comesAgain(s string, j int) bool {
	if s[j] != ',' && s[j] != ';' {
		return false
	}
	rest := s[j+1 : min(len(s), j+10)]
	for _, scheme := range []string{"http://", "https://"} {
		if len(rest) >= len(scheme) && strings.EqualFold(rest[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// between is the length of a piece of text that is not ASCII and stands inside a query: a value that nobody
// encoded (name=张三&token=…). 0 when the query does not go on behind it.
func between(s string) int {
	for i, r := range s {
		switch {
		case i > 256:
			return 0
		case r == '&' || r == '=':
			return i
		case r < utf8.RuneSelf && !alnum(byte(r)) && r != '%' && r != '-' && r != '_',
			r >= utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsNumber(r):
			return 0
		}
	}
	return 0
}

// names is the length of a piece of a path that begins with a letter that is not ASCII: names that nobody
// encoded (/登录?token=…). 0 when no query with a name=value follows: then it is the sentence going on. A dot behind such a
// letter would be of another host: /或b.cn/?x=1.
func names(s string) int {
	foreign := false // in this name of the path
	for i, r := range s {
		switch {
		case i > 256:
			return 0
		case r == '?':
			n := i + 1
			for n < len(s) && n-i < 64 && (alnum(s[n]) || strings.IndexByte("-_.", s[n]) >= 0) {
				n++
			}
			if n == i+1 || n == len(s) || s[n] != '=' {
				return 0
			}
			return i
		case r == '/':
			foreign = false
		case r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsNumber(r)):
			foreign = true
		case r >= utf8.RuneSelf, r == '.' && foreign, !alnum(byte(r)) && strings.IndexByte("-._~%", byte(r)) < 0:
			return 0
		}
	}
	return 0
}

// plain are top-level domains under which a name alone is read as an address.
var plain = map[string]bool{"com": true, "cn": true, "net": true, "org": true, "gov": true, "edu": true}

// bare is the host name around the dot s[k] with what follows it, when people and programs would take it for
// an address; else nothing, and where to go on looking.
func bare(s string, from, k int) (span, int) {
	start, end := k, k+1
	for start > from && k-start < maxHost && (alnum(s[start-1]) || s[start-1] == '-') {
		start--
	}
	for end < len(s) && end-k < maxHost && (alnum(s[end]) || s[end] == '-' || s[end] == '.') {
		end++
	}
	next, host := end, strings.TrimRight(s[start:end], ".-")
	if strings.HasPrefix(s[end:], "://") { // the end of it is a scheme
		return span{}, k + 1
	}
	end = start + len(host)
	// What stands beside: the rest of a mail address, a path, an encoded text, a name of another alphabet.
	if start > 0 && strings.IndexByte("@/_%=\\.", s[start-1]) >= 0 || end < len(s) && strings.IndexByte("@_%\\", s[end]) >= 0 {
		return span{}, next
	}
	host = strings.ToLower(host)
	top := host[strings.LastIndexByte(host, '.')+1:]
	if len(top) == len(host) || strings.Contains(host, "..") || !alnum(host[0]) || strings.Trim(top, "abcdefghijklmnopqrstuvwxyz") != "" {
		return span{}, next
	}
	if _, known := publicsuffix.PublicSuffix(host); !known {
		return span{}, next
	}
	path := end
	if path < len(s) && s[path] == ':' {
		for path++; path < len(s) && '0' <= s[path] && s[path] <= '9'; path++ {
		}
	}
	if path < len(s) && (s[path] == '/' || s[path] == '?') {
		return span{start, tail(s, path)}, next
	}
	if plain[top] || strings.HasPrefix(host, "www.") {
		return span{start, end}, next
	}
	return span{}, next
}

// maxHost is the longest name of a host (RFC 1035).
const maxHost = 253

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func alnum(c byte) bool { return letter(c) || '0' <= c && c <= '9' }

// cjk says whether a letter is of the scripts in which Chinese, Japanese and Korean sentences are written.
func cjk(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo)
}
