package content

import (
	"strings"
	"sync"
	"unicode/utf8"
)

//go:generate go -C gen run . -ucd /usr/share/unicode -o ../fold_data.go

// An entry says of a character, in one word, what the scanner needs to know:
//
//	bits 0-15   the folded code: the simplified, lower-case, compatible character of the BMP; digit for
//	            every digit; other for Han outside the BMP. Of separators only a few have one.
//	bits 16-24  the syllable of Mandarin that it is read as, 0 for none
//	bit  25     slow: not a plain ideograph, see the class
//	bits 26-28  the class
//	bit  29     changed: written other than by width or case alone
//	bit  30     single: a term of one character begins (and ends) here; differs from judge to judge
//	bit  31     spoken: digits are spelt with it (幺, 零)
type entry = uint32

const (
	codeMask = 1<<16 - 1
	sylShift = 16
	sylMask  = 1<<9 - 1
	slow     = 1 << 25
	changed  = 1 << 29
	single   = 1 << 30
	spoken   = 1 << 31

	classShift = 26
	classMask  = 7 << classShift
)

// The classes of characters.
const (
	plain    = iota << classShift // ideographs, and letters of other scripts
	latin                         // a-z and what looks like them
	figure                        // a digit of any script and shape
	deleted                       // leaves no trace: zero-width, marks, emoji
	space                         // separates, and is often put in innocently
	odd                           // separates, and is seldom put inside a word
	sentence                      // ends a clause
	newline
)

const (
	digit = '0'    // the code of every digit
	other = 0xFFFF // the code of a character outside the BMP that folds to none inside it
	wild  = 1      // stands in a term for what is between its two parts
)

const (
	entryOdd     = odd | slow
	entryDeleted = deleted | slow
	entryOther   = plain | other
)

func codeOf(e entry) uint16     { return uint16(e & codeMask) }
func sylOf(e entry) uint16      { return uint16(e >> sylShift & sylMask) }
func classOf(e entry) uint32    { return e & classMask }
func isKept(e entry) bool       { return classOf(e) < deleted }
func isIdeograph(e entry) bool  { return e&slow == 0 && e != 0 }
func isAlnum(e entry) bool      { return classOf(e) == latin || classOf(e) == figure }
func isSeparator(e entry) bool  { return classOf(e) > deleted }
func isLatinCode(c uint16) bool { return 'a' <= c && c <= 'z' }

// clauseMarks end a clause: a word does not go on behind them.
const clauseMarks = "，。！？；：、,;:?｡､﹐﹑﹒﹔﹕﹖﹗︐︑︒︓︔︕︖;"

// base is what all judges share: entries without bit single.
type base struct {
	bmp    [1 << 16]entry
	astral [(astralEnd - 0x10000) >> 8]*[256]entry
	values map[rune]byte // of digits that are not ASCII, up to 20, and of spoken ones

	names    []string            // of syllables, by their number
	letters  table               // a syllable's letters, packed → its number
	readings map[uint16][]uint16 // further readings
	shapes   map[uint16]string   // code → the characters of similar shape, itself among them
}

// astralEnd bounds the planes with entries of their own: letters, emoji, Han.
const astralEnd = 0x32400

var shared = sync.OnceValue(newBase)

func newBase() *base {
	b := &base{values: make(map[rune]byte), readings: make(map[uint16][]uint16), shapes: make(map[uint16]string)}
	han := new([256]entry) // every page of Han outside the BMP that nothing folds from
	for i := range han {
		han[i] = entryOther
	}
	for i := range b.bmp {
		b.bmp[i] = entryOdd
	}
	for i := range b.astral {
		b.astral[i] = han
		if i < 0x100 {
			page := new([256]entry)
			for k := range page {
				page[k] = entryOdd
			}
			b.astral[i] = page
		}
	}
	for _, r := range deletedRanges {
		for c := r[0]; c <= r[1] && c < astralEnd; c++ {
			b.set(c, entryDeleted)
		}
	}
	for _, r := range keptRanges {
		for c := r[0]; c <= r[1] && c < 0x20000; c++ {
			if c <= 0xFFFF {
				b.set(c, entry(c))
			} else {
				b.set(c, entryOther)
			}
		}
	}
	pairs(foldedOthers, func(from, to rune) { b.set(from, entry(to)|changed) })
	pairs(foldedLetters, func(from, to rune) {
		e := entry(to) | latin | slow
		if to != fullWidth(from)|0x20 {
			e |= changed
		}
		b.set(from, e)
	})
	pairs(foldedDigits, func(from, to rune) {
		b.values[from] = byte(to - '0')
		e := entry(digit | figure | slow)
		if fullWidth(from) != to {
			e |= changed
		}
		b.set(from, e)
	})
	for c := rune('a'); c <= 'z'; c++ {
		b.set(c, entry(c)|latin|slow)
	}
	for c := rune('0'); c <= '9'; c++ {
		b.set(c, digit|figure|slow)
	}
	for _, c := range " \t\u00a0\u3000\u2002\u2003\u2009()[]（）【】［］\"'“”‘’《》〈〉「」『』" {
		b.set(c, space|slow)
	}
	b.set('\r', space|slow|'\r')
	b.set('\\', entryOdd|'\\')
	b.set('＼', entryOdd|'\\')
	b.set('/', entryOdd|'/')
	b.set('／', entryOdd|'/')
	b.set('.', entryOdd|'.')
	b.set('．', entryOdd|'.')
	for _, c := range clauseMarks {
		b.set(c, sentence|slow)
	}
	b.set(',', sentence|slow|',')
	b.set('，', sentence|slow|',')
	for _, c := range "\n\v\f\u0085\u2028\u2029" {
		b.set(c, newline|slow)
	}
	b.sounds()
	pairs(spokenDigits, func(from, to rune) {
		b.values[from] = byte(to - '0')
		b.bmp[from] |= spoken
	})
	// A traditional or compatible form sounds and counts as what it folds to.
	for i, e := range b.bmp {
		if classOf(e) == plain {
			to := b.bmp[e&codeMask]
			b.bmp[i] = e&^(sylMask<<sylShift) | to&(sylMask<<sylShift|spoken)
		}
	}
	for line := range strings.Lines(similarShapes) {
		line = strings.TrimSuffix(line, "\n")
		for _, c := range line {
			b.shapes[b.code(c)] = line
		}
	}
	return b
}

// sounds numbers the syllables and gives each character its own.
func (b *base) sounds() {
	b.names = []string{""}
	b.letters = newTable(512)
	for line := range strings.Lines(syllables) {
		name, chars, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n := uint16(len(b.names))
		b.names = append(b.names, name)
		b.letters.put(pack(name), uint32(n))
		for _, c := range chars {
			b.bmp[c] |= entry(n) << sylShift
		}
	}
	if len(b.names) > letterSounds {
		panic("content: more syllables than an entry has bits for")
	}
	for line := range strings.Lines(otherReadings) {
		name, chars, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, ok := b.letters.get(pack(name))
		if !ok {
			continue // no character is read so first: as good as never
		}
		for _, c := range chars {
			b.readings[b.code(c)] = append(b.readings[b.code(c)], uint16(n))
		}
	}
}

// pack makes a number of up to six letters a-z; 0 when there are more.
func pack(letters string) uint64 {
	if len(letters) > maxSyllable {
		return 0
	}
	var n uint64
	for i := range len(letters) {
		n = n<<5 | uint64(letters[i]-'a'+1)
	}
	return n
}

// letterSounds is the number of the letter a as a sound of its own: letters of a term such as 加VX are walked
// like syllables.
const letterSounds = sylMask - 26

// maxSyllable is the length of the longest syllable: zhuang.
const maxSyllable = 6

func pairs(s string, each func(from, to rune)) {
	for len(s) > 0 {
		from, n := utf8.DecodeRuneInString(s)
		to, m := utf8.DecodeRuneInString(s[n:])
		each(from, to)
		s = s[n+m:]
	}
}

// fullWidth is the ASCII character of a full-width form, any other character itself.
func fullWidth(r rune) rune {
	if '！' <= r && r <= '～' {
		return r - '！' + '!'
	}
	return r
}

func (b *base) set(r rune, e entry) {
	if r <= 0xFFFF {
		b.bmp[r] = e
		return
	}
	page := &b.astral[(r-0x10000)>>8]
	if *page == b.astral[len(b.astral)-1] && r >= 0x20000 { // shared by all Han: take one of its own
		own := **page
		*page = &own
	}
	(*page)[r&0xff] = e
}

func (b *base) code(r rune) uint16 {
	if r <= 0xFFFF {
		return codeOf(b.bmp[r])
	}
	return other
}

// at reads the character at s[i] with the entries of bmp, which are the base's or a judge's. A byte that is
// not UTF-8 separates.
func (b *base) at(bmp *[1 << 16]entry, s string, i int) (e entry, size int) {
	c := s[i]
	if c < utf8.RuneSelf {
		return bmp[c], 1
	}
	if c-0xE1 < 0xF0-0xE1 && i+2 < len(s) { // most ideographs
		if b1, b2 := s[i+1], s[i+2]; (b1^0x80)|(b2^0x80) < 0x40 {
			return bmp[uint16(c)<<12|uint16(b1&0x3F)<<6|uint16(b2&0x3F)], 3
		}
	}
	r, size := utf8.DecodeRuneInString(s[i:])
	return b.of(bmp, r, size), size
}

// before reads the character that ends at s[:i].
func (b *base) before(bmp *[1 << 16]entry, s string, i int) (e entry, size int) {
	if i >= 3 {
		if c, b1, b2 := s[i-3], s[i-2], s[i-1]; c-0xE1 < 0xF0-0xE1 && (b1^0x80)|(b2^0x80) < 0x40 {
			return bmp[uint16(c)<<12|uint16(b1&0x3F)<<6|uint16(b2&0x3F)], 3
		}
	}
	r, size := utf8.DecodeLastRuneInString(s[:i])
	return b.of(bmp, r, size), size
}

func (b *base) of(bmp *[1 << 16]entry, r rune, size int) entry {
	switch {
	case r == utf8.RuneError && size <= 1:
		return entryOdd
	case r <= 0xFFFF:
		return bmp[r]
	case r < astralEnd:
		return b.astral[(r-0x10000)>>8][r&0xff]
	case 0xE0000 <= r && r <= 0xE0FFF: // tags and variation selectors
		return entryDeleted
	default:
		return entryOdd
	}
}
