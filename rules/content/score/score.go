// Package score weighs a Chinese text as a whole, by weights learned from labelled messages of the user's own.
//
// The features are the 1 to 3 characters that stand together, hashed: no text can be read back from a model.
// Each rule has a logistic regression of its own. A score is evidence of resemblance and no more, so who uses it
// may ask for a look at the message, and must not stop it.
package score

import (
	"math"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Rules are the ids of the rules that a model knows, in the order of its weights.
var Rules = [...]string{"1", "2", "3", "4", "5", "6", "7", "8", "11", "x"}

const (
	ruleCount  = len(Rules)
	bucketBits = 16
	buckets    = 1 << bucketBits
	// minRunes: a name or a number alone resembles nothing.
	minRunes = 6
	// maxRunes bounds the work for a long mail; what it is about shows early.
	maxRunes = 4000
)

// weights are those of one bucket. They stand together: a feature costs one line of the cache.
type weights [ruleCount]int8

// Model is what was learned. It is only read, and many goroutines may.
type Model struct {
	weights   []weights
	scale     [ruleCount]float32 // of one step of the rule's weights
	bias      [ruleCount]float32
	threshold [ruleCount]float32
}

// Score says which of [Rules] the text resembles most, and how far over that rule's threshold it is, in logits;
// not above 0 means none. It allocates nothing.
func (m *Model) Score(text string) (rule int, margin float64) {
	logits, ok := m.logits(text)
	if !ok {
		return 0, math.Inf(-1)
	}
	margin = math.Inf(-1)
	for r, l := range logits {
		if over := float64(l - m.threshold[r]); over > margin {
			rule, margin = r, over
		}
	}
	return rule, margin
}

// logits are the scores of all rules; false for a text that is too short for any.
func (m *Model) logits(text string) (out [ruleCount]float32, ok bool) {
	var sums [ruleCount]int32
	n := 0
	var f features
	for f.reset(text); f.next(); {
		for _, b := range f.found() {
			w := &m.weights[b]
			for r := range sums {
				sums[r] += int32(w[r])
			}
			n++
		}
	}
	if f.runes < minRunes {
		return out, false
	}
	// Divided by the length of the vector, a long text weighs no more than a short one.
	norm := 1 / float32(math.Sqrt(float64(n)))
	for r := range out {
		out[r] = float32(sums[r])*m.scale[r]*norm + m.bias[r]
	}
	return out, true
}

// features reads a text character by character, and gives for each the buckets of the 1 to 3 characters that end
// with it.
type features struct {
	text   string
	rest   []byte // of the decomposition of a character
	keys   [3]uint64
	bucket [3]uint32
	runes  int
}

func (f *features) reset(text string) { *f = features{text: text} }

// next goes on to the next character that counts.
func (f *features) next() bool {
	for f.runes < maxRunes {
		r := f.rune()
		if r == 0 {
			return false
		}
		if r = plain(r); r == 0 {
			continue
		}
		k := uint64(r)
		// A character has 21 bits, so three of them are a key without collisions.
		f.keys[2] = f.keys[1]<<21 | k
		f.keys[1] = f.keys[0]<<21 | k
		f.keys[0] = k
		f.runes++
		for i := range min(f.runes, len(f.keys)) {
			f.bucket[i] = bucketOf(f.keys[i])
		}
		return true
	}
	return false
}

// found are the buckets of the character that next went to.
func (f *features) found() []uint32 { return f.bucket[:min(f.runes, len(f.bucket))] }

// rune takes the next character off the text, compatibility forms decomposed; 0 at the end.
func (f *features) rune() rune {
	if len(f.rest) > 0 {
		r, size := utf8.DecodeRune(f.rest)
		f.rest = f.rest[size:]
		return r
	}
	for f.text != "" {
		r, size := utf8.DecodeRuneInString(f.text)
		here := f.text[:size]
		f.text = f.text[size:]
		switch {
		case r == 0:
			continue // 0 is the end
		case r < utf8.RuneSelf, r >= 0x3400 && r <= 0x9FFF: // nearly all of a text: nothing to decompose
			return r
		case r >= 0xFF01 && r <= 0xFF5E: // full width
			return r - 0xFEE0
		}
		d := norm.NFKD.PropertiesString(here).Decomposition()
		if len(d) == 0 {
			return r
		}
		r, size = utf8.DecodeRune(d)
		f.rest = d[size:]
		return r
	}
	return 0
}

// plain is the character that counts for r, 0 for none: upper and lower case are one, and so are all digits,
// because which number it is says nothing and must not be learned by heart.
func plain(r rune) rune {
	switch {
	case r >= 0x3400 && r <= 0x9FFF:
		return r
	case r >= 'a' && r <= 'z':
		return r
	case r >= 'A' && r <= 'Z':
		return r + 'a' - 'A'
	case r >= '0' && r <= '9':
		return '0'
	case r <= ' ', r == utf8.RuneError:
		return 0
	case r < utf8.RuneSelf:
		return r
	case unicode.Is(unicode.Nd, r):
		return '0'
	case unicode.In(r, unicode.Mn, unicode.Cf, unicode.Zs, unicode.Zl, unicode.Zp, unicode.Cc):
		return 0
	}
	return unicode.ToLower(r)
}

func bucketOf(key uint64) uint32 {
	key ^= key >> 29
	return uint32(key * 0x9E3779B97F4A7C15 >> (64 - bucketBits)) //nolint:gosec // bucketBits bits
}
