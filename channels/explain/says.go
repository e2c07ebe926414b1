package explain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Phrases match meaning rather than wording. "says:a|b*c" holds alternatives; in each, the pieces
// between asterisks occur in this order, one within maxGap bytes of the other. Text and phrases are
// compared as [normal] makes them, and a piece in Latin letters is whole words: "full" is not found in
// "successfully". A piece that ends in "~" also begins words: "greylist~" is found in "greylisting".
//
// They are also what makes the table fast enough for every failed attempt: a substring search costs a
// hundredth of an expression that ignores case.

// maxGap is how far apart, in bytes of the normalised text, two pieces of a phrase may be.
const maxGap = 60

type piece struct {
	text       string
	gram       uint16 // of its first bytes
	open       bool   // may go on within the word
	head, tail bool   // begins, ends with a Latin letter or digit: must begin, end there
}

// phrase is pieces in order.
type phrase []piece

// compilePhrases reads what follows "says:".
func compilePhrases(s string) []phrase {
	var all []phrase
	for alternative := range strings.SplitSeq(s, "|") {
		var p phrase
		for part := range strings.SplitSeq(alternative, "*") {
			part, open := strings.CutSuffix(strings.TrimSpace(part), "~")
			if part = normal(part); part == "" {
				continue
			}
			p = append(p, piece{part, gram(part), open, wordByte(part[0]), wordByte(part[len(part)-1])})
		}
		if len(p) > 0 {
			all = append(all, p)
		}
	}
	return all
}

func wordByte(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9'
}

// normal is a text as phrases see it: lower case, one space for whatever is neither letter nor digit nor
// one of ". : / # @ %", and no apostrophes.
func normal(s string) string { return spaced(s, false) }

// spaced is normal; apart also takes words apart that were run together: PhoneNumberInBlacklist, SSLHandshake.
func spaced(s string, apart bool) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	space, before := true, rune(0)
	for i, r := range s {
		switch {
		case 'A' <= r && r <= 'Z':
			next := byte(0)
			if i+1 < len(s) {
				next = s[i+1]
			}
			if apart && !space && ('a' <= before && before <= 'z' || 'A' <= before && before <= 'Z' && 'a' <= next && next <= 'z') {
				b.WriteByte(' ')
			}
			b.WriteRune(r + 'a' - 'A')
			space = false
		case r < utf8.RuneSelf && wordByte(byte(r)), strings.ContainsRune(".:/#@%", r):
			b.WriteRune(r)
			space = false
		case r == '\'' || r == '’': // doesn't
		case r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(unicode.ToLower(r))
			space = false
		case !space:
			b.WriteByte(' ')
			space = true
		}
		before = r
	}
	return strings.TrimSuffix(b.String(), " ")
}

// wordsOf is a text for phrases to be looked for: as it is written and, where that differs, with its words
// taken apart as well, too far behind for one phrase to reach from the one into the other.
func wordsOf(s string) string {
	whole, apart := spaced(s, false), spaced(s, true)
	if whole == apart {
		return whole
	}
	return apart + strings.Repeat(" ", maxGap+1) + whole
}

// grams holds which runs of three bytes occur in a text, roughly: most phrases are ruled out by one look
// at it, so that the table may grow.
type grams [gramBits / 64]uint64

const gramBits = 1 << 12

// gram is the place of the first three bytes of s; 0 for a shorter one, which is always looked for.
func gram(s string) uint16 {
	if len(s) < 3 {
		return 0
	}
	h := (uint32(s[0])<<16 | uint32(s[1])<<8 | uint32(s[2])) * 2654435761
	return uint16(h>>20) | 1
}

func gramsOf(text string) *grams {
	var g grams
	g.set(0)
	for i := range len(text) - 2 {
		g.set(gram(text[i:]))
	}
	return &g
}

func (g *grams) set(at uint16)      { g[at/64] |= 1 << (at % 64) }
func (g *grams) has(at uint16) bool { return g[at/64]&(1<<(at%64)) != 0 }

// may says whether every piece may occur.
func (g *grams) may(p phrase) bool {
	for i := range p {
		if !g.has(p[i].gram) {
			return false
		}
	}
	return true
}

// in says whether the phrase occurs in a normalised text.
func (p phrase) in(text string) bool {
	for from := 0; ; {
		end := p[0].find(text, from, len(text))
		if end < 0 {
			return false
		}
		if p[1:].follow(text, end) {
			return true
		}
		from = end - len(p[0].text) + 1
	}
}

// follow says whether the pieces come after a place in the text, each near the one before.
func (p phrase) follow(text string, from int) bool {
	for i := range p {
		if from = p[i].find(text, from, from+maxGap+len(p[i].text)); from < 0 {
			return false
		}
	}
	return true
}

// find is where the first occurrence that lies between from and to ends, or -1.
func (p *piece) find(text string, from, to int) int {
	to = min(to, len(text))
	for from < to {
		i := strings.Index(text[from:to], p.text)
		if i < 0 {
			return -1
		}
		start, end := from+i, from+i+len(p.text)
		if (!p.head || start == 0 || !wordByte(text[start-1])) && (p.open || !p.tail || end == len(text) || !wordByte(text[end])) {
			return end
		}
		from = start + 1
	}
	return -1
}

// Phrase writes "says:" with the words of a line in which # stands for what varies.
func Phrase(shape string) string {
	var pieces []string
	for part := range strings.SplitSeq(shape, "#") {
		if part = normal(part); part != "" {
			pieces = append(pieces, part)
		}
	}
	return phrases + strings.Join(pieces, "*")
}
