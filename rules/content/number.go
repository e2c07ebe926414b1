package content

import (
	"strings"
	"unicode/utf8"
)

// maxDigits is how many digits of a run are looked at.
const maxDigits = 24

// digits is a run of digits as values.
type digits struct {
	value [maxDigits]byte // ASCII
	n     int             // may be more than maxDigits
	// groups are the lengths of what separators divide; single digits by themselves are a disguise.
	groups, shortest int
	amount           bool // a point or comma inside
	odd              bool // a digit of another shape than ASCII or full width
}

func (d *digits) add(value int, group *int) {
	if value > 9 {
		d.add(value/10, group)
		value %= 10
	}
	if d.n < maxDigits {
		d.value[d.n] = byte('0' + value)
	}
	d.n++
	*group++
}

func (d *digits) close(group *int) {
	if *group == 0 {
		return
	}
	if d.groups == 0 || *group < d.shortest {
		d.shortest = *group
	}
	d.groups++
	*group = 0
}

// mobile says whether these are a mobile number, with or without 86 before it.
func (d *digits) mobile() bool {
	v := d.value[:min(d.n, maxDigits)]
	if d.n == 13 && v[0] == '8' && v[1] == '6' {
		v = v[2:]
	} else if d.n != 11 {
		return false
	}
	return v[0] == '1' && v[1] >= '3'
}

// tel says whether these are the number of a fixed line or of a service.
func (d *digits) tel() bool {
	v := d.value[:min(d.n, maxDigits)]
	switch {
	case d.n >= 10 && d.n <= 12 && v[0] == '0':
		return v[1] != '0'
	case d.n == 10:
		return (v[0] == '4' || v[0] == '8') && v[1] == '0' && v[2] == '0'
	case d.n == 5:
		return v[0] == '9' && v[1] == '5'
	}
	return false
}

// number takes the run of digits that begins at s[i] and enters it if it is a number that people are
// reached by. end is where the run ends.
func (j *Judge) number(s string, i int, k int32, hits []raw) (_ []raw, end int) {
	// Most runs are short: 3 pieces, 2026.
	c := i
	for c < len(s) && '0' <= s[c] && s[c] <= '9' {
		c++
	}
	if c > i && c-i < 4 && c < len(s) && s[c] >= 0xE3 && s[c] <= 0xE9 && s[c] != 0xE3 {
		return hits, c // an ideograph follows
	}
	end = j.run(s, i)
	if end-i < 5 || end-i > 8*maxDigits {
		return hits, end
	}
	var d digits
	group := 0
	for at := i; at < end; {
		if c := s[at]; '0' <= c && c <= '9' {
			d.add(int(c-'0'), &group)
			at++
			continue
		}
		e, size := j.at(&j.bmp, s, at)
		switch {
		case classOf(e) == figure:
			d.add(j.digit(s, at), &group)
			d.odd = d.odd || e&changed != 0
		case isSeparator(e):
			d.close(&group)
			d.amount = d.amount || codeOf(e) == '.' || codeOf(e) == ','
		}
		at += size
	}
	d.close(&group)
	if d.n < 5 || d.n > 13 {
		return hits, end
	}
	var before, after entry
	if i > 0 {
		before, _ = j.before(&j.bmp, s, i)
	}
	if end < len(s) {
		after, _ = j.at(&j.bmp, s, end)
	}
	if after&spoken != 0 || before&spoken != 0 && d.n >= 3 {
		return hits, end // part of a longer one, which spelt takes
	}
	singly := d.groups >= 5 && d.groups >= d.n-2
	kind := specialNum
	switch {
	case d.amount && !singly:
		return hits, end
	case d.odd || singly:
		kind = specialDisguised
	case d.mobile():
		kind = specialMobile
	case classOf(before) == latin && !strings.ContainsRune("qvx", rune(codeOf(before))):
		return hits, end // a document number: PO2026001
	case d.tel():
		kind = specialTel
	case d.n > 12 || d.groups > 1 && d.shortest < 3: // dates
		return hits, end
	}
	return j.special(kind, i, end, k, hits), end
}

// digit is the value of the digit, or of the character that spells one, at s[i].
func (j *Judge) digit(s string, i int) int {
	r, _ := utf8.DecodeRuneInString(s[i:])
	if '0' <= r && r <= '9' {
		return int(r - '0')
	}
	if n, ok := j.values[r]; ok {
		return int(n)
	}
	return int(j.values[rune(j.code(r))])
}

func (j *Judge) special(kind special, start, end int, k int32, hits []raw) []raw {
	id := j.specials[kind]
	if id < 0 {
		return hits
	}
	via := ViaPlain
	if kind == specialDisguised {
		via = ViaFold
	}
	return enter(hits, raw{int32(start), int32(end), k, id, via, kind == specialDisguised})
}

// minSpelt is how many spelt digits in a row are a number to call; fewer are years, dates, lists.
const minSpelt = 7

// spelt enters a number that is spelt with characters, in whole or in part, and begins at s[start].
func (j *Judge) spelt(s string, start int, k int32, hits []raw) []raw {
	if start > 0 {
		if e, _ := j.before(&j.bmp, s, start); e&spoken != 0 || classOf(e) == figure {
			return hits // seen from its start already
		}
	}
	var d digits
	group, at, end, words := 0, start, start, 0
	for n := 0; at < len(s) && d.n <= maxDigits; {
		e, size := j.at(&j.bmp, s, at)
		switch {
		case classOf(e) == figure:
			d.add(j.digit(s, at), &group)
			end, n = at+size, 0
		case e&spoken != 0:
			d.add(j.digit(s, at), &group)
			end, n = at+size, 0
			words++
		case classOf(e) == space, classOf(e) == odd:
			n++
		case classOf(e) != deleted:
			n = maxGap + 1
		}
		if n > maxGap {
			break
		}
		at += size
	}
	// Anything else is counting, a date, a measure.
	if words == 0 || d.n < minSpelt || !d.mobile() && !d.tel() {
		return hits
	}
	return j.special(specialDisguised, start, end, k, hits)
}

// maxToken bounds an address or an id.
const maxToken = 256

// token enters what Latin letters at s[start:end] are part of: an address, an id, a number with letters for
// digits.
func (j *Judge) token(s string, start, end int, k int32, hits []raw) []raw {
	if j.specials[specialURL] < 0 && j.specials[specialID] < 0 && j.specials[specialDisguised] < 0 {
		return hits
	}
	from := start
	for from > 0 && start-from < maxToken && isTokenByte(s[from-1]) {
		from--
	}
	for from < start && (s[from] == '.' || s[from] == '-' || s[from] == '_') {
		from++
	}
	for i := from; i < start; i++ {
		if isLetterByte(s[i]) {
			return hits // an earlier word took it
		}
	}
	to := start
	letters, figures, likeDigits := 0, 0, 0
	dots := 0
	for to < len(s) && to-from < maxToken && isTokenByte(s[to]) {
		to++
	}
	for to > start && (s[to-1] == '.' || s[to-1] == '-' || s[to-1] == '_') {
		to--
	}
	if to == start {
		return hits // not ASCII
	}
	if from >= 3 && s[from-3:from] == "://" {
		return hits // the scheme's word took it
	}
	word := s[from:to]
	for i := range len(word) {
		switch c := word[i]; {
		case strings.IndexByte("oOlI", c) >= 0:
			letters++
			likeDigits++
		case isLetterByte(c):
			letters++
		case '0' <= c && c <= '9':
			figures++
		case c == '.':
			dots++
		}
	}
	switch n := letters + figures; {
	case isAddress(s, from, to, dots):
		for to < len(s) && to-from < maxToken && s[to] > ' ' && s[to] < 0x7f {
			to++
		}
		return j.special(specialURL, from, to, k, hits)
	case letters == likeDigits && figures >= 3 && n >= minSpelt && n <= 13 && dots == 0:
		return j.special(specialDisguised, from, to, k, hits)
	case letters > 0 && figures > 0 && len(word) >= 6 && len(word) <= 20 && dots == 0:
		return j.special(specialID, from, to, k, hits)
	}
	return hits
}

func isLetterByte(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isTokenByte(c byte) bool {
	return isLetterByte(c) || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// topLevels are the ends of host names that stand in messages without http:// before them.
var topLevels = map[string]bool{
	"com": true, "cn": true, "net": true, "org": true, "cc": true, "vip": true, "top": true, "xyz": true, "me": true, "io": true, "club": true,
	"shop": true, "site": true, "info": true, "biz": true, "tv": true, "link": true, "ink": true, "ltd": true, "wang": true, "co": true,
	"hk": true, "tw": true, "us": true, "app": true, "icu": true, "online": true, "fun": true, "pw": true, "im": true, "mobi": true, "asia": true,
	"store": true, "live": true, "win": true, "bid": true, "ren": true, "so": true, "tk": true, "la": true, "cool": true, "work": true, "pro": true,
}

// isAddress says whether s[from:to] begins a web address.
func isAddress(s string, from, to, dots int) bool {
	word := s[from:to]
	switch {
	case len(word) <= 5 && (strings.EqualFold(word, "http") || strings.EqualFold(word, "https")):
		return strings.HasPrefix(s[to:], "://")
	case dots == 0 || from > 0 && s[from-1] == '@' || to < len(s) && s[to] == '@': // mail addresses
		return false
	case len(word) > 4 && strings.EqualFold(word[:4], "www."):
		return true
	}
	end := word[strings.LastIndexByte(word, '.')+1:]
	if len(end) > 6 {
		return false
	}
	var lower [6]byte
	for i := range len(end) {
		lower[i] = end[i] | 0x20
	}
	return topLevels[string(lower[:len(end)])]
}
