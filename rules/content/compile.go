package content

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Via is how a term was written.
type Via uint8

// The ways, most trusted first. From ViaHomophoneAll on they are doubtful: such a hit alone never blocks.
const (
	ViaPlain        Via = iota // as in the lexicon, whatever the width and case
	ViaFold                    // traditional or compatible characters, letters that look alike
	ViaHidden                  // with invisible characters or emoji inside
	ViaGap                     // with separators inside
	ViaAlias                   // another spelling from the lexicon
	ViaSplit                   // characters written as their parts
	ViaPinyin                  // syllables in Latin letters, whole or in part
	ViaHomophone               // characters that sound alike, at least one true
	ViaHomophoneAll            // only characters that sound alike
	ViaInitials                // first letters of syllables, whole or in part
	ViaInsert                  // a digit or letter between the characters
	ViaReversed
	ViaShape // one character replaced by one of similar shape
)

var viaNames = [...]string{
	"", "fold", "hidden", "gap", "alias", "split", "pinyin", "homophone", "homophone-all", "initials", "insert", "reversed", "shape",
}

// String is the way's name in verdicts.
func (v Via) String() string { return viaNames[v] }

// Doubtful says whether a hit by this way may be chance.
func (v Via) Doubtful() bool { return v >= ViaHomophoneAll }

// Bounds of what one term grows into.
const (
	maxSpellings = 48 // by aliases and split characters
	maxSounds    = 8  // by characters with several readings
	maxShapes    = 64 // by characters of similar shape
)

// minShapePoints are what a term must weigh for its look-alikes to be sought: half of fewer would tell nothing.
const minShapePoints = 60

// Judge finds terms and says what they mean for a message. It never changes after [Compile] and is safe
// for concurrent use.
type Judge struct {
	*base
	bmp     [1 << 16]entry // the base's entries, with single
	version string

	terms    []term
	weights  []weight // of all terms; a term has a range
	specials [specialCount]int32

	// Pairs of neighbouring codes that may begin a pattern, hashed to bits: most text never passes it.
	pairBits [1 << (pairHashBits - 5)]uint32
	// Pairs of syllables that may begin a term by sound: one bit a pair.
	soundBits [1 << (18 - 6)]uint64
	// The kinds of characters, 0 for separators, and a bit for each pair of kinds that holds a pair of either.
	kinds    [1 << 16]uint16
	kindBits [kindWords]uint64
	// Syllables that begin a term by sound, and the first two letters of such syllables.
	soundFirst   [sylMask + 1]bool
	soundLetters [1 << 10]bool

	pairs    table // first two codes → node
	edges    table // node, code → node
	nodes    []int32
	patterns []pattern
	parts    [][]uint16 // of patterns that have two

	singles map[uint16]int32 // patterns of one code

	soundPairs table // two syllables → node
	soundEdges table // node, syllable → node
	soundNodes []int32
	sounds     []sound

	allow  allowed
	scorer Scorer
}

type term struct {
	text       string // as written
	codes      []uint16
	from, to   int32 // in weights
	peak       int16 // the most points under any rule
	checkAllow bool
	accuses    bool // has positive points under a rule
	most       int  // all its positive points, of whatever rule
	flags      termFlags
}

type weight struct {
	rule   Rule
	cue    bool // counts beside a topic only
	points int16
}

// pattern is one spelling of a term.
type pattern struct {
	term   int32
	next   int32 // another one with the same codes, -1 for none
	part   int32 // the other part in parts, -1 for none
	n      uint8 // characters, of the part that is in the trie
	via    Via
	tail   uint8 // tailID, tailNum: what must come behind it, 0 for nothing
	behind bool  // the other part stands behind this one
	flags  termFlags
	first  uint16 // the codes at the ends, of the whole
	last   uint16
}

// sound is a term in a list of those that sound the same.
type sound struct{ term, next int32 }

// Compile makes a judge of lexicon files. A later file overrides terms of an earlier one; 0 points switch a
// term off. Everything else adds up.
func Compile(files ...*File) (*Judge, error) {
	b := shared()
	j := &Judge{base: b, bmp: b.bmp, singles: make(map[uint16]int32), nodes: []int32{-1}, soundNodes: []int32{-1}}
	for i := range j.specials {
		j.specials[i] = -1
	}
	var names []string
	var c compiler
	c.Judge = j
	c.index = make(map[string]int32)
	for _, f := range files {
		names = append(names, f.Lexicon+"@"+f.Version)
		c.add(f)
	}
	j.version = strings.Join(names, " ")
	if len(c.list) >= 1<<24 {
		return nil, fmt.Errorf("%d terms are too many", len(c.list))
	}
	c.build()
	return j, nil
}

type compiler struct {
	*Judge
	list  []collected
	index map[string]int32
	alias []substitution
	split []substitution
	keys  []uint32 // pairs for pairBits
	// spellings that begin with a code, to find a term's in no time
	aliasBy, splitBy map[rune][]substitution
}

type collected struct {
	written string
	term    string // folded
	topic   [len(ruleIDs)]int16
	cue     [len(ruleIDs)]int16
	flags   termFlags
}

func (c *compiler) add(f *File) {
	for _, t := range f.terms {
		i, ok := c.index[t.term]
		if !ok {
			i = int32(len(c.list))
			c.index[t.term] = i
			c.list = append(c.list, collected{written: t.written, term: t.term})
		}
		if t.cue {
			c.list[i].cue[t.rule] = t.points
		} else {
			c.list[i].topic[t.rule] = t.points
		}
		c.list[i].flags |= t.flags
	}
	c.alias = append(c.alias, f.alias...)
	c.split = append(c.split, f.split...)
	for _, w := range f.allow {
		c.allow.add(w, false)
	}
	for _, w := range f.not {
		c.allow.add(w, true)
	}
}

func (c *compiler) build() {
	c.aliasBy, c.splitBy = by(c.alias), by(c.split)
	n := len(c.list)
	c.pairs, c.edges, c.soundPairs, c.soundEdges = newTable(2*n), newTable(4*n), newTable(n/2), newTable(n)
	c.allow.build()
	for i := range c.list {
		c.term(&c.list[i])
	}
	c.spokenPairs()
	if len(c.singles) > 0 {
		for r, e := range c.bmp {
			if _, ok := c.singles[codeOf(e)]; ok && isKept(e) {
				c.bmp[r] |= single
			}
		}
	}
	c.fillKinds()
}

func by(subs []substitution) map[rune][]substitution {
	m := make(map[rune][]substitution)
	for _, s := range subs {
		r := []rune(s.of)[0]
		m[r] = append(m[r], s)
	}
	return m
}

func (c *compiler) term(t *collected) {
	id := int32(len(c.terms))                                                 //nolint:gosec // bounded in Compile
	out := term{text: t.written, flags: t.flags, from: int32(len(c.weights))} //nolint:gosec // bounded
	for r := range ruleIDs {
		for _, w := range []weight{{Rule(r), false, t.topic[r]}, {Rule(r), true, t.cue[r]}} { //nolint:gosec // an index of ruleIDs
			if w.points != 0 {
				c.weights = append(c.weights, w)
				out.peak = max(out.peak, w.points)
				out.most += int(max(w.points, 0))
				// Cues alone come to something for marketing only.
				out.accuses = out.accuses || w.points > 0 && (!w.cue || w.rule == RuleAny || w.rule == RuleMarketing)
			}
		}
	}
	out.to = int32(len(c.weights))
	if out.from == out.to {
		return // switched off
	}
	if s, ok := specials[t.term]; ok {
		c.specials[s] = id
		c.terms = append(c.terms, out)
		return
	}
	out.codes = codes(t.term)
	out.checkAllow = c.allow.touches(out.codes)
	c.terms = append(c.terms, out)
	for _, s := range c.spellings(t) {
		c.pattern(s.text, pattern{term: id, via: s.via, flags: t.flags})
	}
	if slices.ContainsFunc(out.codes, func(c uint16) bool { return c <= tailNum }) {
		return
	}
	if t.flags&(flagHomophone|flagPinyin) != 0 {
		c.sound(id, out.codes, t.flags)
	}
	if t.flags&flagHomophone != 0 && out.peak > 0 {
		c.doubtful(id, out)
	}
}

func codes(s string) []uint16 {
	var out []uint16
	for _, r := range s {
		out = append(out, uint16(r))
	}
	return out
}

type spelling struct {
	text string
	via  Via
}

// spellings are the term and what aliases and splits make of it, at most two aliases at once.
func (c *compiler) spellings(t *collected) []spelling {
	all := []spelling{{t.term, ViaPlain}}
	if t.flags&flagExact != 0 {
		return all
	}
	number := t.term[len(t.term)-1] == tailNum
	seen := map[string]bool{t.term: true}
	grow := func(of map[rune][]substitution, via Via, rounds int) {
		for from, round := 0, 0; round < rounds; round++ {
			end := len(all)
			for _, s := range all[from:end] {
				for i, r := range s.text {
					for _, sub := range of[r] {
						if !strings.HasPrefix(s.text[i:], sub.of) {
							continue
						}
						for _, as := range sub.as {
							if number && as[0] < utf8.RuneSelf {
								continue // short forms before a number are document numbers: WX-10293
							}
							text := s.text[:i] + as + s.text[i+len(sub.of):]
							if len(all) < maxSpellings && !seen[text] {
								seen[text] = true
								all = append(all, spelling{text, via})
							}
						}
					}
				}
			}
			from = end
		}
	}
	if len(c.alias) > 0 {
		grow(c.aliasBy, ViaAlias, 2)
	}
	if len(c.split) > 0 {
		grow(c.splitBy, ViaSplit, 4)
	}
	return all
}

// pattern enters one spelling.
func (c *compiler) pattern(text string, p pattern) {
	seq := codes(text)
	p.next, p.part = -1, -1
	if n := len(seq) - 1; seq[n] == tailID || seq[n] == tailNum {
		p.tail, seq = uint8(seq[n]), seq[:n] //nolint:gosec // 2 or 3
	}
	p.first, p.last = seq[0], seq[len(seq)-1]
	if i := slices.Index(seq, wild); i > 0 {
		// The longer part is looked for; the other one when it is there.
		a, b := seq[:i], seq[i+1:]
		p.part = int32(len(c.parts))
		if p.behind = len(a) > len(b); p.behind {
			seq = a
			c.parts = append(c.parts, b)
		} else {
			seq = b
			c.parts = append(c.parts, a)
		}
	}
	p.n = uint8(len(seq))
	if len(seq) == 1 {
		head, ok := c.singles[seq[0]]
		if !ok {
			head = -1
		}
		c.singles[seq[0]] = c.enter(head, p)
		return
	}
	c.pair(seq[0], seq[1])
	key := uint64(seq[0])<<16 | uint64(seq[1])
	node := c.step(&c.pairs, key)
	for _, code := range seq[2:] {
		node = c.step(&c.edges, uint64(node)<<16|uint64(code))
	}
	c.nodes[node] = c.enter(c.nodes[node], p)
}

func (c *compiler) pair(a, b uint16) { c.keys = append(c.keys, uint32(a)<<16|uint32(b)) }

func (c *compiler) step(t *table, key uint64) uint32 {
	node, ok := t.get(key)
	if !ok {
		node = uint32(len(c.nodes))
		c.nodes = append(c.nodes, -1)
		t.put(key, node)
	}
	return node
}

// enter puts p into the list at head, unless the term is there already in a way as good.
func (c *compiler) enter(head int32, p pattern) int32 {
	for i := head; i >= 0; i = c.patterns[i].next {
		if c.patterns[i].term == p.term && c.patterns[i].part < 0 && p.part < 0 && c.patterns[i].tail == p.tail {
			c.patterns[i].via = min(c.patterns[i].via, p.via)
			return head
		}
	}
	p.next = head
	c.patterns = append(c.patterns, p)
	return int32(len(c.patterns) - 1)
}

// sound enters what the term sounds like.
func (c *compiler) sound(id int32, seq []uint16, flags termFlags) {
	if len(seq) < 2 || !slices.ContainsFunc(seq, func(code uint16) bool { return !isLatinCode(code) }) {
		return
	}
	ways := [][]uint16{nil}
	for _, code := range seq {
		readings := c.read(code)
		if len(readings) == 0 {
			return // a digit
		}
		var next [][]uint16
		for _, w := range ways {
			for _, syl := range readings {
				if len(next) < maxSounds {
					next = append(next, append(slices.Clip(w), syl))
				}
			}
		}
		ways = next
	}
	for _, way := range ways {
		node := uint32(0)
		for i, syl := range way {
			to, ok := c.soundEdges.get(soundKey(node, syl))
			if !ok {
				to = uint32(len(c.soundNodes))
				c.soundNodes = append(c.soundNodes, -1)
				c.soundEdges.put(soundKey(node, syl), to)
			}
			if node = to; i == 1 {
				c.soundPairs.put(uint64(way[0])<<9|uint64(way[1]), node)
			}
		}
		c.sounds = append(c.sounds, sound{id, c.soundNodes[node]})
		c.soundNodes[node] = int32(len(c.sounds) - 1)
		c.soundFirst[way[0]] = true
		var name string
		if way[0] >= letterSounds {
			name = string(rune('a' + way[0] - letterSounds))
		} else {
			name = c.names[way[0]]
		}
		for next := byte('a'); next <= 'z'; next++ { // the one letter of 饿 may be followed by any
			if len(name) == 1 || name[1] == next {
				c.soundLetters[letters2(uint16(name[0]), uint16(next))] = true
			}
		}
		if flags&flagHomophone != 0 || len(way) > 2 {
			i := uint32(way[0])<<9 | uint32(way[1])
			c.soundBits[i>>6] |= 1 << (i & 63)
		}
	}
}

// letters2 is the index of two Latin letters in soundLetters.
func letters2(a, b uint16) int { return int(a-'a')<<5 | int(b-'a') }

// read are the syllables of a code; a letter sounds like itself.
func (b *base) read(code uint16) []uint16 {
	if isLatinCode(code) {
		return []uint16{letterSounds + code - 'a'}
	}
	first := sylOf(b.bmp[code])
	if first == 0 {
		return nil
	}
	return append([]uint16{first}, b.readings[code]...)
}

// doubtful enters the spellings that are looked for but not trusted.
func (c *compiler) doubtful(id int32, t term) {
	n := len(t.codes)
	if n < 2 {
		return
	}
	add := func(seq []uint16, via Via) {
		var s strings.Builder
		for _, code := range seq {
			s.WriteRune(rune(code))
		}
		c.pattern(s.String(), pattern{term: id, via: via, flags: t.flags | flagExact})
	}
	initial := make([]uint16, n)
	sounds := true
	for i, code := range t.codes {
		if syl := sylOf(c.base.bmp[code]); syl != 0 {
			initial[i] = uint16(c.names[syl][0])
		} else {
			initial[i], sounds = code, sounds && isLatinCode(code)
		}
	}
	if sounds {
		add(initial, ViaInitials)
		for i := range t.codes { // one letter, the rest true
			if seq := slices.Clone(t.codes); seq[i] != initial[i] {
				seq[i] = initial[i]
				add(seq, ViaInitials)
			}
			if n > 2 { // one true, the rest letters
				seq := slices.Clone(initial)
				seq[i] = t.codes[i]
				add(seq, ViaInitials)
			}
		}
	}
	back := slices.Clone(t.codes)
	slices.Reverse(back)
	if !slices.Equal(back, t.codes) {
		add(back, ViaReversed)
	}
	if n > 2 { // the characters in turn: 一送一买
		add(append(slices.Clone(t.codes[1:]), t.codes[0]), ViaReversed)
	}
	if t.peak < minShapePoints {
		return
	}
	shapes := 0
	for i, code := range t.codes {
		for _, r := range c.shapes[code] {
			if to := c.code(r); to != code && shapes < maxShapes {
				shapes++
				seq := slices.Clone(t.codes)
				seq[i] = to
				add(seq, ViaShape)
			}
		}
	}
}

// spokenPairs lets runs of spelt digits pass the filter: 一三八…
func (c *compiler) spokenPairs() {
	if c.specials[specialDisguised] < 0 {
		return
	}
	var all []uint16
	pairs(spokenDigits, func(r, _ rune) { all = append(all, c.code(r)) })
	for _, a := range all {
		c.pair(a, digit)
		c.pair(digit, a)
		for _, b := range all {
			c.pair(a, b)
		}
	}
}

// Term is the i-th term as its lexicon writes it; "" for [NoTerm].
func (j *Judge) Term(i int32) string {
	if i == NoTerm {
		return ""
	}
	return j.terms[i].text
}

// Len is the number of terms in force.
func (j *Judge) Len() int { return len(j.terms) }

// Version names the lexicons and their versions.
func (j *Judge) Version() string { return j.version }
