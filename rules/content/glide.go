package content

import "math/bits"

// Most pairs of neighbouring characters begin nothing, and most of a text is such pairs. Two filters stand before
// the tables that know: pairBits by codes and soundBits by syllables. Before both of them is one that is coarser, but
// needs no more than one look for either: the kind of a character is its syllable and the last bits of its code, and
// 2048 kinds are few enough for a bit for each pair of them.
const (
	kindLen   = 11
	kindsOf   = 1 << (kindLen - 9) // kinds of one syllable
	kindNone  = 0                  // of separators
	kindStop  = 1                  // of what is not for glide: it may follow no kind
	kindWords = 1 << (2*kindLen - 6)

	pairHashBits = 21 // 2 million bits, of which even 40,000 pairs set only 2 %
)

// kindOf is the kind of what folds to code.
func (j *Judge) kindOf(code uint32) uint32 {
	syl := j.bmp[code&codeMask] >> sylShift & sylMask
	if syl == 0 {
		syl = sylMask ^ code>>2&0x1F // no character's
	}
	return syl*kindsOf | code%kindsOf
}

// fillKinds makes the filters, when all terms are known.
func (c *compiler) fillKinds() {
	for r, e := range c.bmp {
		switch {
		// What is below U+1000 is not written in three bytes, or may be an overlong form of fewer.
		case r < 0x1000, isAlnum(e), classOf(e) == deleted, codeOf(e) == '\\', isKept(e) && e&single != 0:
			c.kinds[r] = kindStop
		case isKept(e):
			c.kinds[r] = uint16(c.kindOf(e & codeMask))
		}
	}
	for a := range uint32(1 << kindLen) {
		c.begins(a, kindStop)
	}
	for _, key := range c.keys {
		a, b := key>>16, key&codeMask
		h := pairHash(a, b)
		c.pairBits[h>>5] |= 1 << (h & 31)
		c.begins(c.kindOf(a), c.kindOf(b))
	}
	for x := range uint32(len(c.soundBits) * 64) {
		if c.soundBits[x>>6]>>(x&63)&1 == 0 {
			continue
		}
		for n := range uint32(kindsOf * kindsOf) { // whatever the codes end with
			c.begins(x>>9*kindsOf|n%kindsOf, x&sylMask*kindsOf|n/kindsOf)
		}
	}
}

func (c *compiler) begins(a, b uint32) {
	x := a<<kindLen | b
	c.kindBits[x>>6] |= 1 << (x & 63)
}

// skim goes over ideographs and separators from s[i] on as long as nothing can begin there.
func (j *Judge) skim(s string, i int, prev entry, prevAt int, k int32) (end int, last entry, lastAt int, n int32) {
	for {
		rest, separators := j.glide(s[i:], j.kindOf(prev&codeMask))
		kept := uint(len(s)-rest-i)/3 - uint(separators)
		i = len(s) - rest
		if kept > 0 {
			k += int32(kept) //nolint:gosec // no longer than the text
			prevAt = i - 3
			for j.kinds[three(s, prevAt)] == kindNone {
				prevAt -= 3
			}
			prev = j.bmp[three(s, prevAt)]
		}
		if i == len(s) {
			break
		}
		e, size := j.at(&j.bmp, s, i)
		if isKept(e) {
			if classOf(e) != plain || e&single != 0 || j.mayPair(prev, e) || j.maySound(prev, e) {
				break
			}
			prev, prevAt = e, i
			k++
		} else if classOf(e) == deleted || codeOf(e) == '\\' {
			break
		}
		i += size
	}
	return i, prev, prevAt, k
}

// glide goes over characters of three bytes, behind one of kind prev, as long as no pair of their kinds may begin
// anything. It returns how many bytes are left, and how many of the characters were separators. Most of a clean text
// is read by this loop alone, so it does as little as it can: it takes two characters at once, and has no branch that
// depends on which they are.
func (j *Judge) glide(s string, prev uint32) (rest, separators int) {
	n := uint32(0)
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | // one load
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if w&0xC0C0F0C0C0F0 != 0x8080E08080E0 {
			break
		}
		// The same shifts put both characters together from their bits.
		w = w&0x00000F00000F<<12 | w>>2&0x0FC0000FC0 | w>>16&0x3F00003F
		a, b := uint32(j.kinds[uint16(w)]), uint32(j.kinds[uint16(w>>24)])
		// A separator leaves the kind before it, for the pair around it. Commas come unforeseen: so no branch.
		none := uint32(int32(a-1) >> 31) // all ones for kindNone
		mid := a | prev&none
		x, y := prev<<kindLen|a, mid<<kindLen|b
		if j.kindBits[x>>6%kindWords]&(1<<(x&63)) != 0 || j.kindBits[y>>6%kindWords]&(1<<(y&63)) != 0 {
			break
		}
		n -= none
		none = uint32(int32(b-1) >> 31)
		n -= none
		prev = b | mid&none
		s = s[6:]
	}
	return len(s), int(n)
}

// three is the character of three bytes at s[i].
func three(s string, i int) uint16 {
	return uint16(s[i])<<12 | uint16(s[i+1]&0x3F)<<6 | uint16(s[i+2]&0x3F)
}

// soundPair is the index of two characters' syllables in soundBits.
func soundPair(a, b entry) uint32 { return a>>(sylShift-9)&(sylMask<<9) | b>>sylShift&sylMask }

// maySound says whether a term may begin with the sound of the pair.
func (j *Judge) maySound(first, second entry) bool {
	x := soundPair(first, second)
	return j.soundBits[x>>6]>>(x&63)&1 != 0
}

// pairHash is the index of two codes in pairBits.
func pairHash(a, b uint32) uint32 {
	const factor = 0x9E3779B1
	return (bits.RotateLeft32(a*factor, 16) ^ b*factor) >> (32 - pairHashBits)
}

// mayPair says whether a pattern may begin with the pair.
func (j *Judge) mayPair(first, second entry) bool {
	h := pairHash(first&codeMask, second&codeMask)
	return j.pairBits[h>>5]>>(h&31)&1 != 0
}
