package content

import (
	"slices"
	"sync"
)

// Hit is one term found in a text.
type Hit struct {
	Term               int32 // see [Judge.Term]
	Rule               Rule
	Via                Via
	Start, End         int // bytes
	RuneStart, RuneEnd int // code points
	Points             int
	Action             Action // what its rule came to
}

// Scorer weighs a text as a whole. Its word alone may only ask for a review.
type Scorer interface {
	// Score says which rule the text most likely breaks, and how far over the scorer's threshold it is;
	// not above 0 means none.
	Score(text string) (Rule, float64)
}

// scratch is what judging one text needs; it is pooled.
type scratch struct {
	hits  []raw
	index []int32 // by term: its place in tally, + 1
	tally []tally
}

// tally counts the hits of one term inside the window.
type tally struct{ trusted, doubtful, disguised int32 }

var pool = sync.Pool{New: func() any { return new(scratch) }}

// NoTerm is the term of a hit that a [Scorer] made: its span is the whole text.
const NoTerm = -1

// UseScorer lets a scorer ask for reviews. Call it before the judge is used.
func (j *Judge) UseScorer(s Scorer) { j.scorer = s }

// Judge says what a text of a class deserves, and appends to dst the hits of every rule that reached review
// or block, in the order of the text. It allocates nothing but room in dst.
func (j *Judge) Judge(dst []Hit, text string, class Class) (Action, []Hit) {
	sc := pool.Get().(*scratch)
	defer pool.Put(sc)
	action, dst := j.judge(sc, dst, text, class)
	if action == ActionPass && j.scorer != nil && text != "" {
		rule, margin := j.scorer.Score(text)
		if action = min(ActionReview, policyOf(class)[rule].strongest); margin > 0 && action > ActionPass {
			return action, append(dst, Hit{Term: NoTerm, Rule: rule, End: len(text), RuneEnd: leads(text), Action: action})
		}
		action = ActionPass
	}
	return action, dst
}

func (j *Judge) judge(sc *scratch, dst []Hit, text string, class Class) (Action, []Hit) {
	sc.hits = j.scan(text, sc.hits[:0])
	if !j.accuses(sc.hits) {
		return ActionPass, dst
	}
	sc.hits = j.prune(text, sc.hits)
	var reached [ruleCount]Action
	most := j.weigh(sc, policyOf(class), &reached)
	if most == ActionPass {
		return ActionPass, dst
	}
	return most, j.report(dst, text, sc.hits, &reached)
}

// accuses says whether a hit speaks for a rule. Most messages with hits have only cues, which alone mean nothing.
func (j *Judge) accuses(hits []raw) bool {
	for i := range hits {
		if j.terms[hits[i].term].accuses {
			return true
		}
	}
	return false
}

// All appends every hit of every rule, whatever it counts: what a term would find. Action is pass.
func (j *Judge) All(dst []Hit, text string) []Hit {
	hits := j.prune(text, j.scan(text, nil))
	for i := range hits {
		h := &hits[i]
		t := &j.terms[h.term]
		for _, w := range j.weights[t.from:t.to] {
			dst = append(dst, Hit{Term: h.term, Rule: w.rule, Via: h.via, Start: int(h.start), End: int(h.end), Points: int(w.points)})
		}
	}
	runes(text, dst)
	return dst
}

// prune sorts the hits and takes out those that a legitimate word covers, and repetitions.
func (j *Judge) prune(text string, hits []raw) []raw {
	slices.SortFunc(hits, func(a, b raw) int {
		switch {
		case a.start != b.start:
			return int(a.start - b.start)
		case a.end != b.end:
			return int(a.end - b.end)
		case a.term != b.term:
			return int(a.term - b.term)
		default:
			return int(a.via) - int(b.via)
		}
	})
	n := 0
	for i := range hits {
		h := hits[i]
		if n > 0 && hits[n-1].term == h.term && hits[n-1].start == h.start && hits[n-1].end == h.end {
			continue
		}
		if (h.via >= ViaPinyin || j.terms[h.term].checkAllow) && j.void(text, int(h.start), int(h.end), h.via) {
			continue
		}
		hits[n] = h
		n++
	}
	return hits[:n]
}

// sums is what the terms inside the window come to for one rule.
type sums struct {
	trusted   int // points of terms found in a trusted way
	doubtful  int // points of terms found in doubtful ways only
	positive  int // how many terms with positive points
	disguised int // how many of them were disguised
	strong    int // how many trusted ones weigh blockAt alone
}

// weigh slides the window over the hits and notes the strongest action that each rule reached.
func (j *Judge) weigh(sc *scratch, line *[ruleCount]policy, reached *[ruleCount]Action) (most Action) {
	if len(sc.index) < len(j.terms) {
		sc.index = make([]int32, len(j.terms))
	}
	defer func() {
		for i := range sc.hits {
			sc.index[sc.hits[i].term] = 0
		}
	}()
	sc.tally = sc.tally[:0]
	var all [len(ruleIDs)]sums
	first := 0
	for i := range sc.hits {
		j.count(sc, &all, &sc.hits[i], 1)
		for ; sc.hits[i].k-sc.hits[first].k > window; first++ {
			j.count(sc, &all, &sc.hits[first], -1)
		}
		if i+1 < len(sc.hits) && sc.hits[i+1].k-sc.hits[first].k <= window {
			continue // the sum is not complete yet
		}
		for r := range reached {
			reached[r] = max(reached[r], decide(&all[r], &all[RuleAny], line[r]))
			most = max(most, reached[r])
		}
	}
	return most
}

// decide says what the sums come to for a rule.
func decide(s, anyRule *sums, p policy) Action {
	if s.positive == 0 {
		return ActionPass
	}
	sum := s.trusted + anyRule.trusted
	if s.disguised > 0 {
		sum += disguisePoints
	}
	shift := p.shift
	if s.strong > 0 && p.single {
		shift = min(shift, 0)
	}
	action := ActionPass
	switch {
	case sum >= blockAt+shift:
		action = ActionBlock
	case sum+s.doubtful/2 >= reviewAt+shift:
		action = ActionReview
	}
	return min(action, p.strongest)
}

// count adds a hit to the sums, or takes it out again. A term counts once, by its most trusted way.
func (j *Judge) count(sc *scratch, all *[len(ruleIDs)]sums, h *raw, by int32) {
	i := sc.index[h.term] - 1
	if i < 0 {
		sc.tally = append(sc.tally, tally{})
		i = int32(len(sc.tally) - 1)
		sc.index[h.term] = i + 1
	}
	before := sc.tally[i]
	after := before
	switch {
	case h.via.Doubtful():
		after.doubtful += by
	default:
		after.trusted += by
		if h.disguise && (h.via == ViaGap || h.via > ViaGap) || h.via == ViaHidden || h.via > ViaGap {
			after.disguised += by
		}
	}
	sc.tally[i] = after
	t := &j.terms[h.term]
	for _, w := range j.weights[t.from:t.to] {
		before.add(&all[w.rule], w, -1)
		after.add(&all[w.rule], w, 1)
	}
}

func (t tally) add(s *sums, w weight, by int) {
	points := int(w.points) * by
	switch {
	case t.trusted > 0:
		s.trusted += points
		if w.points >= blockAt {
			s.strong += by
		}
		if w.points >= disguiseMinimum && t.disguised > 0 {
			s.disguised += by
		}
	case t.doubtful > 0 && w.points > 0:
		s.doubtful += points
	default:
		return
	}
	if w.points > 0 {
		s.positive += by
	}
}

// report appends the positive hits of the rules that reached something.
func (j *Judge) report(dst []Hit, text string, hits []raw, reached *[ruleCount]Action) []Hit {
	from := len(dst)
	for i := range hits {
		h := &hits[i]
		t := &j.terms[h.term]
		for _, w := range j.weights[t.from:t.to] {
			if w.points > 0 && w.rule != RuleAny && reached[w.rule] > ActionPass {
				dst = append(dst, Hit{
					Term: h.term, Rule: w.rule, Via: h.via, Start: int(h.start), End: int(h.end), Points: int(w.points), Action: reached[w.rule],
				})
			}
		}
	}
	runes(text, dst[from:])
	return dst
}

// runes fills in the offsets in code points of hits sorted by their start.
func runes(text string, hits []Hit) {
	at, n := 0, 0
	for i := range hits {
		h := &hits[i]
		n += leads(text[at:h.Start])
		at = h.Start
		h.RuneStart = n
		h.RuneEnd = n + leads(text[h.Start:h.End])
	}
}

// leads counts the bytes that begin a character. In UTF-8 that is the number of code points, and faster than
// decoding them.
func leads(s string) int {
	n := 0
	for i := range len(s) {
		if s[i]&0xC0 != 0x80 {
			n++
		}
	}
	return n
}
