package content

import (
	"unicode/utf8"
)

// raw is one spelling of a term found in a text.
type raw struct {
	start, end int32 // bytes
	k          int32 // how many characters were kept before it
	term       int32
	via        Via
	disguise   bool // separated by what nobody puts inside a word
}

// maxRaw bounds what is kept of one text. A text with more has long been decided.
const maxRaw = 1 << 14

// gap is what stands between two kept characters.
type gap uint8

const (
	gapHidden gap = 1 << iota // deleted characters
	gapSpace                  // separators that come by innocently
	gapOdd                    // other separators
	gapClause                 // one mark that ends a clause
	gapFar                    // more than a word could bear
	gapOne                    // with gapSpace or gapOdd: a single one
)

const gapJoin = gapSpace | gapOdd | gapClause

// maxGap is how many separators may stand between two characters of one word.
const maxGap = 3

// scan finds every spelling of every term.
func (j *Judge) scan(s string, hits []raw) []raw {
	var (
		prev   entry // the last kept character
		prevAt int
		k      int32
	)
	for i := 0; i < len(s); {
		i, prev, prevAt, k = j.skim(s, i, prev, prevAt, k)
		if i == len(s) {
			break
		}
		e, size := j.at(&j.bmp, s, i)
		switch class := classOf(e); {
		case class == latin:
			hits, i, prev, prevAt, k = j.word(s, i, prev, prevAt, k, hits)
			continue
		case class == figure:
			var end int
			hits, end = j.number(s, i, k, hits)
			hits = j.pair(s, prev, prevAt, e, end, k-1, hits)
			if e&single != 0 {
				hits = j.one(s, i, end, e, k, hits)
			}
			if end-i <= utf8.UTFMax && isIdeograph(prev) {
				hits = j.inserted(s, prevAt, prev, i, end, k-1, hits)
			}
			prev, prevAt, i = e, i, end
			k++
			continue
		case class != plain:
			if codeOf(e) == '\\' {
				if v, n := j.backslash(s, i, size); n > 0 {
					hits = j.pair(s, prev, prevAt, v, i+n, k-1, hits)
					if v&single != 0 {
						hits = j.one(s, i, i+n, v, k, hits)
					}
					prev, prevAt = v, i
					k++
					size = n
				}
			}
			i += size
			continue
		}
		hits = j.pair(s, prev, prevAt, e, i+size, k-1, hits)
		if j.maySound(prev, e) {
			hits = j.soundsLike(s, prevAt, i+size, soundPair(prev, e), k-1, hits)
		}
		if e&single != 0 {
			hits = j.one(s, i, i+size, e, k, hits)
		}
		prev, prevAt = e, i
		k++
		i += size
	}
	return hits
}

// pair enters the patterns that begin with the kept character at s[at] and e behind it, which ends at s[:end], if
// there are any. It looks one character further first: few pairs go on to a term.
func (j *Judge) pair(s string, first entry, at int, e entry, end int, k int32, hits []raw) []raw {
	if first == 0 || !j.mayPair(first, e) {
		return hits
	}
	node, ok := j.pairs.get(uint64(codeOf(first))<<16 | uint64(codeOf(e)))
	switch {
	case ok:
		if j.nodes[node] < 0 && end < len(s) {
			if e, _ := j.at(&j.bmp, s, end); isIdeograph(e) {
				if _, ok := j.edges.get(uint64(node)<<16 | uint64(codeOf(e))); !ok {
					return hits
				}
			}
		}
		return j.match(s, at, node, k, hits)
	case first&spoken != 0 && (e&spoken != 0 || classOf(e) == figure), classOf(first) == figure && e&spoken != 0:
		return j.spelt(s, at, k, hits)
	}
	return hits
}

// backslash reads \/ as the letter v; n is its length in bytes, 0 when it is none.
func (j *Judge) backslash(s string, i, size int) (v entry, n int) {
	if i+size >= len(s) {
		return 0, 0
	}
	if e, more := j.at(&j.bmp, s, i+size); codeOf(e) == '/' {
		return j.bmp['v'] | changed, size + more
	}
	return 0, 0
}

// next reads the first kept character at or behind s[i], and what stands before it. A run of digits is one
// character. ok is false at the end of the text.
func (j *Judge) next(s string, i int) (e entry, start, end int, g gap, ok bool) {
	separators, breaks := 0, 0
	for i < len(s) {
		e, size := j.at(&j.bmp, s, i)
		if isKept(e) {
			if separators > maxGap {
				return 0, 0, 0, g | gapFar, false
			}
			if separators == 1 {
				g |= gapOne
			}
			end = i + size
			if classOf(e) == figure {
				end = j.run(s, end)
			}
			return e, i, end, g, true
		}
		switch classOf(e) {
		case deleted:
			g |= gapHidden
		case space:
			if codeOf(e) != '\r' {
				g |= gapSpace
				separators++
			}
		case newline:
			if separators > 0 || breaks > 0 {
				g |= gapFar // a line break and more: another line
			}
			g |= gapSpace
			separators++
			breaks++
		case sentence:
			if g&gapClause != 0 {
				g |= gapFar
			}
			g |= gapClause
			separators++
		default:
			if codeOf(e) == '\\' {
				if v, n := j.backslash(s, i, size); n > 0 {
					if separators > maxGap {
						return 0, 0, 0, g | gapFar, false
					}
					return v, i, i + n, g, true
				}
			}
			g |= gapOdd
			separators++
		}
		if breaks > 0 && separators > 1 {
			g |= gapFar
		}
		if g&gapFar != 0 {
			return 0, 0, 0, g, false
		}
		i += size
	}
	return 0, 0, 0, g, false
}

// run is the end of the run of digits whose first digit ends at s[:i]: it goes on over up to three
// separators, and over a comma.
func (j *Judge) run(s string, i int) int {
	end := i
	for n := 0; i < len(s); {
		if c := s[i]; '0' <= c && c <= '9' {
			i++
			end, n = i, 0
			continue
		}
		e, size := j.at(&j.bmp, s, i)
		if codeOf(e) == '\\' {
			if _, v := j.backslash(s, i, size); v > 0 {
				return end // a letter
			}
		}
		i += size
		switch class := classOf(e); {
		case class == figure:
			end, n = i, 0
		case class == deleted:
		case class == space, class == odd, class == sentence && codeOf(e) == ',' && n == 0:
			if n++; n > maxGap {
				return end
			}
		default:
			return end
		}
	}
	return end
}

// state is what was seen on the way from a pattern's first character to its last.
type state struct {
	gaps    gap
	changed bool
	joined  bool // some two characters stand side by side
}

// step takes the character at start, reached over g from one of class before.
func (st *state) step(before, e entry, g gap) {
	if e&changed != 0 {
		st.changed = true
	}
	if g&gapJoin == gapSpace && g&gapOne != 0 && g&gapHidden == 0 && isAlnum(before) != isAlnum(e) {
		g = 0 // a space between Chinese and Latin is good style
	}
	if g&gapJoin == 0 {
		st.joined = true
	}
	st.gaps |= g
}

// match enters the patterns that begin at s[at], whose first two characters lead to node.
func (j *Judge) match(s string, at int, node uint32, k int32, hits []raw) []raw {
	before, start, end, _, _ := j.next(s, at)
	st := state{changed: before&changed != 0}
	e, _, end, g, ok := j.next(s, end)
	if !ok {
		return hits
	}
	for n := uint8(2); ; n++ {
		st.step(before, e, g)
		before = e
		for p := j.nodes[node]; p >= 0; p = j.patterns[p].next {
			hits = j.found(s, &j.patterns[p], start, end, k, n, st, hits)
		}
		if e, _, end, g, ok = j.next(s, end); !ok {
			return hits
		}
		if node, ok = j.edges.get(uint64(node)<<16 | uint64(codeOf(e))); !ok {
			return hits
		}
	}
}

// found judges whether a spelling counts where it stands, and enters it.
func (j *Judge) found(s string, p *pattern, start, end int, k int32, n uint8, st state, hits []raw) []raw {
	if st.gaps&gapJoin != 0 {
		if p.flags&flagExact != 0 {
			return hits
		}
		if st.gaps&gapClause != 0 && (n < 3 || st.joined) {
			return hits
		}
	}
	if p.part >= 0 {
		var ok bool
		if start, end, ok = j.withPart(s, p, start, end, &st); !ok {
			return hits
		}
	}
	if p.flags&flagOpen == 0 && !(j.opens(s, p, start) && (p.tail != 0 || j.closes(s, p.last, end))) {
		return hits
	}
	if p.tail != 0 {
		if end = j.tailEnd(s, end, p.tail); end < 0 {
			return hits
		}
	}
	via := p.via
	switch {
	case st.gaps&gapJoin != 0:
		via = max(via, ViaGap)
	case st.gaps&gapHidden != 0:
		via = max(via, ViaHidden)
	case st.changed:
		via = max(via, ViaFold)
	}
	return enter(hits, raw{int32(start), int32(end), k, p.term, via, st.gaps&(gapOdd|gapClause) != 0})
}

func enter(hits []raw, r raw) []raw {
	if len(hits) >= maxRaw {
		return hits
	}
	return append(hits, r)
}

// maxTailGap is how many characters may stand between a word and the id behind it: 微信号：abc123.
const maxTailGap = 3

// tailEnd is the end of the id or number that comes behind s[:i], -1 when there is none.
func (j *Judge) tailEnd(s string, i int, tail uint8) int {
	for n := 0; i < len(s) && n <= maxTailGap; n++ {
		e, size := j.at(&j.bmp, s, i)
		switch {
		case classOf(e) == newline:
			return -1
		case tail == tailNum && classOf(e) == figure:
			end, count := j.run(s, i+size), 0
			for at := i; at < end; {
				e, size := j.at(&j.bmp, s, at)
				if classOf(e) == figure {
					count++
				}
				at += size
			}
			if count >= 5 && count <= 12 {
				return end
			}
			return -1
		case classOf(e) == latin && size == 1:
			if tail != tailID {
				return -1
			}
			return handleEnd(s, i)
		case isKept(e) && codeOf(e) != '号' && codeOf(e) != '是' && codeOf(e) != '为':
			return -1
		}
		i += size
	}
	return -1
}

// handleEnd is the end of the account name that begins at s[i]: a letter, then 4 to 19 letters, digits, _ and -,
// at least one digit or sign among them, so that it is no word; -1 when there is none.
func handleEnd(s string, i int) int {
	end, signs := i+1, 0
	for end < len(s) && (isTokenByte(s[end]) && s[end] != '.') {
		if !isLetterByte(s[end]) {
			signs++
		}
		end++
	}
	if n := end - i; n < 5 || n > 20 || signs == 0 || end < len(s) && s[end] == '.' {
		return -1
	}
	return end
}

// opens says whether the pattern may begin at s[i]: a Latin letter has no letter or digit before it, but 138…QQ：516…
// is two numbers.
func (j *Judge) opens(s string, p *pattern, i int) bool {
	if !isLatinCode(p.first) || i == 0 {
		return true
	}
	e, _ := j.before(&j.bmp, s, i)
	return !isAlnum(e) || p.tail == tailNum && classOf(e) == figure
}

// closes says whether a word may end at s[:i] with code.
func (j *Judge) closes(s string, code uint16, i int) bool {
	if !isLatinCode(code) || i >= len(s) {
		return true
	}
	e, _ := j.at(&j.bmp, s, i)
	return !isAlnum(e)
}

// maxBetween is how many characters may stand between the two parts of a term with a dot.
const maxBetween = 6

// withPart looks for the other part of a pattern, in the same clause, and widens the span over it.
func (j *Judge) withPart(s string, p *pattern, start, end int, st *state) (from, to int, ok bool) {
	part := j.parts[p.part]
	if p.behind {
		at := end
		for between := 0; between <= maxBetween; between++ {
			if stop, ok := j.spells(s, at, part, st); ok {
				return start, stop, true
			}
			_, _, stop, g, ok := j.next(s, at)
			if !ok || g&gapClause != 0 {
				return 0, 0, false
			}
			at = stop
		}
		return 0, 0, false
	}
	at := start
	for between := 0; between <= maxBetween+len(part)-1; between++ {
		var ok bool
		if at, ok = j.previous(s, at); !ok {
			return 0, 0, false
		}
		var seen state
		if stop, ok := j.spells(s, at, part, &seen); ok && stop <= start && between >= len(part)-1 {
			st.gaps |= seen.gaps
			st.changed = st.changed || seen.changed
			return at, end, true
		}
	}
	return 0, 0, false
}

// spells says whether part stands at or behind s[at], in the clause.
func (j *Judge) spells(s string, at int, part []uint16, st *state) (end int, ok bool) {
	seen := *st
	var before entry
	for i, code := range part {
		e, _, stop, g, ok := j.next(s, at)
		if !ok || codeOf(e) != code || g&gapClause != 0 {
			return 0, false
		}
		if i > 0 {
			seen.step(before, e, g)
		} else if e&changed != 0 {
			seen.changed = true
		}
		before, at = e, stop
	}
	*st = seen
	return at, true
}

// previous is the start of the last kept character before s[:i] in the clause.
func (j *Judge) previous(s string, i int) (at int, ok bool) {
	figures := false
	for n := 0; i > 0; {
		e, size := j.before(&j.bmp, s, i)
		switch class := classOf(e); {
		case class == figure:
			at, figures, n = i-size, true, 0
		case figures && class > deleted && n < maxGap && class != newline && (class != sentence || codeOf(e) == ','):
			n++
		case figures:
			return at, true
		case isKept(e):
			return i - size, true
		case class == sentence, class == newline && n > 0:
			return 0, false
		case class != deleted:
			if n++; n > maxGap {
				return 0, false
			}
		}
		i -= size
	}
	return at, figures
}

// one enters the terms of a single character.
func (j *Judge) one(s string, start, end int, e entry, k int32, hits []raw) []raw {
	head, ok := j.singles[codeOf(e)]
	if !ok {
		return hits
	}
	for p := head; p >= 0; p = j.patterns[p].next {
		hits = j.found(s, &j.patterns[p], start, end, k, 1, state{changed: e&changed != 0}, hits)
	}
	return hits
}

// word takes a run of Latin letters without gaps that begins at s[i].
func (j *Judge) word(s string, i int, prev entry, prevAt int, k int32, hits []raw) ([]raw, int, entry, int, int32) {
	start, before, beforeAt, first := i, prev, prevAt, k
	n, end := 0, i
	var letters [2]uint16
	for i < len(s) {
		e, size := j.at(&j.bmp, s, i)
		if classOf(e) == deleted {
			i += size
			continue
		}
		if classOf(e) != latin {
			break
		}
		hits = j.pair(s, prev, prevAt, e, i+size, k-1, hits)
		if e&single != 0 {
			hits = j.one(s, i, i+size, e, k, hits)
		}
		prev, prevAt = e, i
		i += size
		end = i
		if n < len(letters) {
			letters[n] = codeOf(e)
		}
		n++
		k++
	}
	if len(j.soundNodes) > 1 {
		if isIdeograph(before) && j.soundFirst[sylOf(before)] {
			hits = j.sounding(s, beforeAt, first-1, hits)
		}
		if n > 1 && j.soundLetters[letters2(letters[0], letters[1])] || n == 1 {
			hits = j.sounding(s, start, first, hits)
		}
	}
	hits = j.token(s, start, end, first, hits)
	if n == 1 && isIdeograph(before) {
		hits = j.inserted(s, beforeAt, before, start, end, first-1, hits)
	}
	return hits, end, prev, prevAt, k
}

// inserted enters terms with single digits or letters between their characters, of which one stands at
// s[from:to] behind the ideograph at s[at].
func (j *Judge) inserted(s string, at int, first entry, from, to int, k int32, hits []raw) []raw {
	if to >= len(s) || utf8.RuneCountInString(s[from:to]) != 1 {
		return hits
	}
	second, size := j.at(&j.bmp, s, to)
	if !isIdeograph(second) || !j.mayPair(first, second) {
		return hits
	}
	if _, direct := j.before(&j.bmp, s, from); at+direct != from {
		return hits
	}
	node, ok := j.pairs.get(uint64(codeOf(first))<<16 | uint64(codeOf(second)))
	end := to + size
	for ok {
		for p := j.nodes[node]; p >= 0; p = j.patterns[p].next {
			if q := &j.patterns[p]; q.via == ViaPlain && q.part < 0 && q.flags&flagExact == 0 {
				hits = enter(hits, raw{int32(at), int32(end), k, q.term, ViaInsert, false})
			}
		}
		if end >= len(s) {
			break
		}
		e, size := j.at(&j.bmp, s, end)
		if isAlnum(e) && end+size < len(s) {
			end += size
			e, size = j.at(&j.bmp, s, end)
		}
		if !isIdeograph(e) {
			break
		}
		end += size
		node, ok = j.edges.get(uint64(node)<<16 | uint64(codeOf(e)))
	}
	return hits
}
