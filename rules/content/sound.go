package content

// maxSound is how many syllables a term may have to be found by sound.
const maxSound = maxTermRunes

// walk is the way through a text by sound.
type walk struct {
	s     string
	start int
	k     int32
	chars [maxSound]uint16 // the characters taken; 0 for a syllable in letters
	gaps  gap
	steps int
}

// soundKey is the key in soundEdges of the way from node by a syllable.
func soundKey(node uint32, syl uint16) uint64 { return uint64(node)<<9 | uint64(syl) }

// maxSteps bounds how many ways of cutting letters into syllables are tried.
const maxSteps = 64

// sounding enters the terms that sound like what begins at s[at].
func (j *Judge) sounding(s string, at int, k int32, hits []raw) []raw {
	w := walk{s: s, start: at, k: k}
	return j.hear(&w, 0, at, 0, plain, hits)
}

// soundsLike enters the terms that sound like what begins at s[at] with two ideographs, of which the second ends
// at s[:end] and whose syllables are pair. It looks one syllable further first: few pairs go on to a term.
func (j *Judge) soundsLike(s string, at, end int, pair uint32, k int32, hits []raw) []raw {
	node, ok := j.soundPairs.get(uint64(pair))
	if !ok {
		return hits
	}
	if j.soundNodes[node] < 0 && end < len(s) {
		if e, _ := j.at(&j.bmp, s, end); isIdeograph(e) {
			if _, ok := j.soundEdges.get(soundKey(node, sylOf(e))); !ok {
				return hits
			}
		}
	}
	return j.sounding(s, at, k, hits)
}

// hear goes on from node, with depth syllables behind it, at s[i].
func (j *Judge) hear(w *walk, node uint32, i, depth int, before uint32, hits []raw) []raw {
	if w.steps++; w.steps > maxSteps || depth == maxSound {
		return hits
	}
	e, start, end, g, ok := j.next(w.s, i)
	if !ok {
		return hits
	}
	if depth == 0 {
		g = 0
	}
	class := classOf(e)
	if class == plain {
		syl := sylOf(e)
		to, ok := j.soundEdges.get(soundKey(node, syl))
		if syl == 0 || !ok || before == plain && g&gapJoin != 0 {
			return hits
		}
		gaps := w.gaps
		w.take(depth, codeOf(e), g)
		hits = j.heard(w, to, end, depth+1, hits)
		hits = j.hear(w, to, end, depth+1, plain, hits)
		w.gaps = gaps
		return hits
	}
	if class != latin {
		return hits
	}
	if depth == 0 && !j.opens(w.s, &pattern{first: 'a'}, start) || before == latin && g&gapHidden != 0 {
		return hits
	}
	// The letter itself, which belongs to a term such as 加VX.
	if to, ok := j.soundEdges.get(soundKey(node, letterSounds+codeOf(e)-'a')); ok {
		gaps := w.gaps
		w.take(depth, codeOf(e), g)
		hits = j.heard(w, to, end, depth+1, hits)
		hits = j.hear(w, to, end, depth+1, plain, hits)
		w.gaps = gaps
	}
	// Letters: every prefix that is a syllable on a way to a term.
	var packed uint64
	at := start
	for n := 0; n < maxSyllable && at < len(w.s); n++ {
		e, size := j.at(&j.bmp, w.s, at)
		if classOf(e) != latin {
			break
		}
		at += size
		packed = packed<<5 | uint64(codeOf(e)-'a'+1)
		syl, ok := j.letters.get(packed)
		if !ok {
			continue
		}
		to, ok := j.soundEdges.get(soundKey(node, uint16(syl)))
		if !ok {
			continue
		}
		gaps := w.gaps
		w.take(depth, 0, g)
		hits = j.heard(w, to, at, depth+1, hits)
		hits = j.hear(w, to, at, depth+1, latin, hits)
		w.gaps = gaps
	}
	return hits
}

func (w *walk) take(depth int, code uint16, g gap) {
	w.chars[depth] = code
	w.gaps |= g
}

// heard enters the terms that end at s[:end].
func (j *Judge) heard(w *walk, node uint32, end, depth int, hits []raw) []raw {
	for l := j.soundNodes[node]; l >= 0; l = j.sounds[l].next {
		t := &j.terms[j.sounds[l].term]
		var letters, same, alike int
		for i, code := range t.codes {
			switch w.chars[i] {
			case 0:
				letters++
			case code:
				same++
			default:
				alike++
			}
		}
		via := ViaHomophoneAll
		switch {
		case same == depth:
			continue // written plainly: match finds it
		case alike == 0:
			via = ViaPinyin
		case t.flags&flagHomophone == 0:
			continue
		case same > 0:
			via = ViaHomophone
		}
		// Letters that stop in the middle of a word are another word.
		if last := w.chars[depth-1]; (last == 0 || isLatinCode(last)) && !j.closes(w.s, 'a', end) {
			continue
		}
		if letters == 0 && w.gaps&gapJoin != 0 {
			continue
		}
		hits = enter(hits, raw{int32(w.start), int32(end), w.k, j.sounds[l].term, via, true})
	}
	return hits
}
