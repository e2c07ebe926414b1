package content

// allowed are legitimate words around tempting ones: a term inside one, or half inside, is no hit.
type allowed struct {
	words []allowWord
	index table // the first two codes → the first word in words that begins so, + 1
	codes map[uint16]bool
	first [1 << 10]uint64 // one bit for each first code
	max   int             // codes of the longest
}

type allowWord struct {
	codes []uint16
	sound bool  // only against hits by sound or shape (@not)
	next  int32 // -1 for none
}

func (a *allowed) add(word string, sound bool) {
	if c := codes(word); len(c) >= 2 {
		a.words = append(a.words, allowWord{c, sound, -1})
	}
}

func (a *allowed) build() {
	a.index = newTable(len(a.words))
	a.codes = make(map[uint16]bool)
	for i := range a.words {
		w := &a.words[i]
		key := uint64(w.codes[0])<<16 | uint64(w.codes[1])
		if head, ok := a.index.get(key); ok {
			w.next = int32(head)
		}
		a.index.put(key, uint32(i))
		a.first[w.codes[0]>>6] |= 1 << (w.codes[0] & 63)
		a.max = max(a.max, len(w.codes))
		if !w.sound {
			for _, c := range w.codes {
				a.codes[c] = true
			}
		}
	}
}

// touches says whether a word could overlap the term.
func (a *allowed) touches(term []uint16) bool {
	for _, c := range term {
		if a.codes[c] {
			return true
		}
	}
	return false
}

// void says whether a legitimate word covers the hit at s[start:end], or part of it.
func (j *Judge) void(s string, start, end int, via Via) bool {
	a := &j.allow
	if len(a.words) == 0 {
		return false
	}
	// Words that begin before the hit, and inside it.
	at := start
	for n := 1; n < a.max; n++ {
		from, ok := j.kept(s, at)
		if !ok {
			break
		}
		at = from
		if j.covers(s, at, start, end, via) {
			return true
		}
	}
	for at = start; at < end; {
		if j.covers(s, at, start, end, via) {
			return true
		}
		_, size := j.at(&j.bmp, s, at)
		at += size
	}
	return false
}

// kept is the start of the character kept right before s[:i], nothing or only invisible ones between.
func (j *Judge) kept(s string, i int) (int, bool) {
	for i > 0 {
		e, size := j.before(&j.bmp, s, i)
		i -= size
		if isKept(e) {
			return i, true
		}
		if classOf(e) != deleted {
			return 0, false
		}
	}
	return 0, false
}

// covers says whether a word begins at s[at] and overlaps the hit without lying strictly inside it.
func (j *Judge) covers(s string, at, start, end int, via Via) bool {
	a := &j.allow
	e, size := j.at(&j.bmp, s, at)
	c := codeOf(e)
	if !isKept(e) || a.first[c>>6]>>(c&63)&1 == 0 {
		return false
	}
	second, i := j.adjacent(s, at+size)
	if i < 0 {
		return false
	}
	head, ok := a.index.get(uint64(c)<<16 | uint64(second))
	if !ok {
		return false
	}
	for w := int32(head); w >= 0; w = a.words[w].next {
		word := &a.words[w]
		if word.sound && via < ViaPinyin {
			continue
		}
		k, stop := 2, i
		for ; k < len(word.codes) && stop >= 0; k++ {
			var code uint16
			if code, stop = j.adjacent(s, stop); stop >= 0 && code != word.codes[k] {
				stop = -1
			}
		}
		if stop > start && (at < start || stop > end || at == start && stop == end) {
			return true
		}
	}
	return false
}

// adjacent is the code of the kept character at s[i], and its end; -1 when a separator or the end comes first.
func (j *Judge) adjacent(s string, i int) (uint16, int) {
	digits := false
	var code uint16
	for i < len(s) {
		e, size := j.at(&j.bmp, s, i)
		switch {
		case classOf(e) == figure:
			digits, code = true, digit
		case digits:
			return code, i
		case isKept(e):
			return codeOf(e), i + size
		case classOf(e) != deleted:
			return 0, -1
		}
		i += size
	}
	if digits {
		return code, i
	}
	return 0, -1
}
