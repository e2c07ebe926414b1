package content

import (
	"math/bits"
	"slices"
	"sync"
)

// Hit is one term found in a text.
type Hit struct {
	Term               int32 // see [Judge.Term]
	Rule               Rule  // RuleAny for a cue of every rule
	Cue                bool  // counted beside the topic, no offence of its own
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
	action, dst := j.judgeTerms(dst, text, class)
	if action == ActionPass && j.scorer != nil && text != "" {
		rule, margin := j.scorer.Score(text)
		if action = min(ActionReview, policyOf(class)[rule].strongest); margin > 0 && action > ActionPass {
			return action, append(dst, Hit{Term: NoTerm, Rule: rule, End: len(text), RuneEnd: leads(text), Action: action})
		}
		action = ActionPass
	}
	return action, dst
}

// judgeTerms is Judge without the scorer.
func (j *Judge) judgeTerms(dst []Hit, text string, class Class) (Action, []Hit) {
	sc := pool.Get().(*scratch)
	defer pool.Put(sc)
	return j.judge(sc, dst, text, class)
}

func (j *Judge) judge(sc *scratch, dst []Hit, text string, class Class) (Action, []Hit) {
	sc.hits = j.scan(text, sc.hits[:0])
	if !j.mayReach(sc.hits) {
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

// mayReach says whether the hits can come to anything: most messages with hits have only cues of transactions, or
// too little. It takes every point of theirs for points of one rule.
func (j *Judge) mayReach(hits []raw) bool {
	accused, sum, disguise := false, 0, 0
	for i := range hits {
		t := &j.terms[hits[i].term]
		accused = accused || t.accuses
		sum += t.most
		if hits[i].via > ViaFold {
			disguise = disguisePoints
		}
	}
	return accused && sum+disguise >= reviewAt
}

// All appends every hit of every rule, whatever it counts: what a term would find. Action is pass.
func (j *Judge) All(dst []Hit, text string) []Hit {
	hits := j.prune(text, j.scan(text, nil))
	for i := range hits {
		h := &hits[i]
		t := &j.terms[h.term]
		for _, w := range j.weights[t.from:t.to] {
			dst = append(dst, Hit{Term: h.term, Rule: w.rule, Cue: w.cue, Via: h.via, Start: int(h.start), End: int(h.end), Points: int(w.points)})
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
		h := &hits[i]
		if n > 0 && hits[n-1].term == h.term && hits[n-1].start == h.start && hits[n-1].end == h.end {
			continue
		}
		if (h.via >= ViaPinyin || j.terms[h.term].checkAllow) && j.void(text, int(h.start), int(h.end), h.via) {
			continue
		}
		if n < i {
			hits[n] = *h
		}
		n++
	}
	return hits[:n]
}

// sums is what the terms inside the window come to for one rule.
type sums struct {
	strong    int // points of topic terms that weigh blockAt alone
	topic     int // points of its other topic terms
	cue       int // points of its cues
	doubtful  int // points of topic terms found in doubtful ways only
	found     int // how many topic terms were found
	disguised int // how many terms were disguised
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
			reached[r] = max(reached[r], decide(Rule(r), &all[r], &all[RuleAny], line[r])) //nolint:gosec // an index of ruleIDs
			most = max(most, reached[r])
		}
	}
	return most
}

// decide says what the sums come to for a rule.
func decide(r Rule, s, anyRule *sums, p policy) Action {
	cue := s.cue + anyRule.cue
	action := ActionPass
	if r == RuleMarketing {
		if anyRule.disguised > 0 {
			cue += disguisePoints
		}
		if cue >= marketingAt+p.shift {
			action = ActionBlock
		}
		return min(action, p.strongest)
	}
	if s.found == 0 {
		return ActionPass
	}
	shift := p.shift
	if s.strong > 0 && p.single {
		shift = 0
	}
	sum := s.strong + capped(s.topic, topicCap[r]) + min(cue, cueCap)
	if s.disguised > 0 {
		sum += disguisePoints
	}
	switch {
	case sum >= blockAt+shift:
		action = ActionBlock
	case sum+s.doubtful/2 >= reviewAt+shift, p.formal && s.strong+s.topic >= reviewAt:
		action = ActionReview
	}
	return min(action, p.strongest)
}

func capped(points, most int) int {
	if points > most {
		return most + (points-most)/beyondCap
	}
	return points
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
	if j.doubtful(h) {
		after.doubtful += by
	} else {
		after.trusted += by
		after.disguised += by * disguised(h)
	}
	sc.tally[i] = after
	t := &j.terms[h.term]
	for _, w := range j.weights[t.from:t.to] {
		before.add(&all[w.rule], w, -1)
		after.add(&all[w.rule], w, 1)
	}
}

// doubtful says whether a hit may be chance: two characters, one of which only sounds like the term's, often
// are another word.
func (j *Judge) doubtful(h *raw) bool {
	return h.via.Doubtful() || h.via == ViaHomophone && len(j.terms[h.term].codes) <= 2
}

// disguised is 1 for a hit that was written to get past a filter. Traditional characters, spaces and line breaks
// come by innocently; so do the short forms that people really use (扣扣, vx).
func disguised(h *raw) int32 {
	switch h.via {
	case ViaHidden, ViaSplit, ViaPinyin, ViaHomophone:
		return 1
	case ViaGap:
		if h.disguise {
			return 1
		}
	}
	return 0
}

func (t tally) add(s *sums, w weight, by int) {
	points := int(w.points) * by
	switch {
	case t.trusted == 0 && (t.doubtful == 0 || w.points < 0):
		return
	case w.cue:
		if t.trusted > 0 {
			s.cue += points
		} else {
			s.cue += points / 2
		}
	case t.trusted == 0:
		s.doubtful += points
	case w.points >= blockAt:
		s.strong += points
	default:
		s.topic += points
	}
	if w.points > 0 && !w.cue {
		s.found += by
	}
	if t.disguised > 0 && (w.points >= disguiseMinimum || w.cue && w.points >= disguiseMinimum/2) {
		s.disguised += by
	}
}

// report appends the topic terms of the rules that reached something, and the cues that helped them.
func (j *Judge) report(dst []Hit, text string, hits []raw, reached *[ruleCount]Action) []Hit {
	from := len(dst)
	topic := slices.ContainsFunc(reached[RuleMarketing+1:], func(a Action) bool { return a > ActionPass })
	for i := range hits {
		h := &hits[i]
		t := &j.terms[h.term]
		for _, w := range j.weights[t.from:t.to] {
			rule, cue, action := w.rule, w.cue, ActionPass
			switch {
			case w.points <= 0:
				continue
			case w.rule == RuleAny || w.rule == RuleMarketing:
				if reached[RuleMarketing] > ActionPass {
					rule, cue = RuleMarketing, false
				} else if !topic || w.rule == RuleMarketing {
					continue
				}
			case reached[w.rule] == ActionPass:
				continue
			}
			if rule != RuleAny {
				action = reached[rule]
			}
			dst = append(dst, Hit{Term: h.term, Rule: rule, Cue: cue, Via: h.via, Start: int(h.start), End: int(h.end), Points: int(w.points), Action: action})
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
	n := len(s)
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | // one load
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		n -= bits.OnesCount64(w >> 7 &^ (w >> 6) & 0x0101010101010101) // the bytes 10xxxxxx
	}
	for i := range len(s) {
		if s[i]&0xC0 == 0x80 {
			n--
		}
	}
	return n
}
