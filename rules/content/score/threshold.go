package score

import (
	"cmp"
	"math"
	"slices"
)

// never is a threshold that no score reaches.
const never = math.MaxFloat32 / 2

// calibrate chooses the thresholds of the model and tells how it does.
//
// Thresholds chosen on scores would look better on the same scores than on others. So for each fold thresholds are
// chosen on the other folds, and a margin, one number for all rules, is added until the clean messages that are
// reached so are no more than allowed. The model's thresholds are chosen on all folds, with the same margin.
func (t *trainer) calibrate(m *Model) *Report {
	var chosen [folds][ruleCount]float32
	for k := range chosen {
		chosen[k] = t.choose(k)
	}
	var over []float32 // how far clean messages are over the thresholds
	for i := range t.examples {
		if !t.examples[i].clean() {
			continue
		}
		most := float32(-math.MaxFloat32)
		for r, l := range t.logits[i] {
			most = max(most, l-chosen[t.fold[i]][r])
		}
		over = append(over, most)
	}
	slices.SortFunc(over, func(a, b float32) int { return cmp.Compare(b, a) })
	margin := float32(0)
	if allowed := t.allowed(t.clean); allowed < len(over) {
		margin = max(0, over[allowed])
	}
	m.threshold = t.choose(-1)
	for r := range m.threshold {
		m.threshold[r] += margin
	}
	return t.report(&chosen, margin)
}

func (t *trainer) allowed(clean int) int { return int(t.options.FalsePositives * float64(clean)) }

func (t *trainer) report(chosen *[folds][ruleCount]float32, margin float32) *Report {
	out := &Report{Clean: t.clean}
	for r, id := range Rules {
		out.Rules = append(out.Rules, RuleReport{Rule: id, Examples: t.count[r], Learned: t.count[r] >= minExamples})
	}
	for i := range t.examples {
		e := &t.examples[i]
		reviewed := false
		for r, l := range t.logits[i] {
			if l <= chosen[t.fold[i]][r]+margin {
				continue
			}
			one := &out.Rules[r]
			one.Accused++
			if slices.Contains(e.Rules, r) {
				one.Caught++
			}
			if e.clean() {
				one.Reviewed++
				reviewed = true
			}
		}
		if reviewed {
			out.Reviewed++
		}
	}
	return out
}

// ahead is how many clean messages a step may take in at once: the next one alone often gains nothing.
const ahead = 8

// scored is the place of an example in the order of one rule's scores.
type scored struct {
	example int
	logit   float32
}

// choose is the thresholds at which as many examples of the rules as possible are over them, and no more clean
// messages than allowed, all rules together. Examples of one fold are left out.
func (t *trainer) choose(without int) (out [ruleCount]float32) {
	var clean, guilty [ruleCount][]scored
	n := 0
	for i := range t.examples {
		if t.fold[i] == without {
			continue
		}
		if t.examples[i].clean() {
			n++
			for r, l := range t.logits[i] {
				clean[r] = append(clean[r], scored{i, l})
			}
		}
		for _, r := range t.examples[i].Rules {
			guilty[r] = append(guilty[r], scored{i, t.logits[i][r]})
		}
	}
	for r := range clean {
		for _, list := range [][]scored{clean[r], guilty[r]} {
			slices.SortFunc(list, func(a, b scored) int {
				return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.example, b.example))
			})
		}
	}
	var at [ruleCount]int // clean messages over each rule's threshold
	hit := make(map[int]bool)
	for left := t.allowed(n); left > 0; {
		rule, step, best := -1, 0, 0.0
		for r := range clean {
			now := caught(guilty[r], level(clean[r], at[r]))
			for j := 1; j <= min(ahead, left) && at[r]+j <= len(clean[r]); j++ {
				if gain := float64(caught(guilty[r], level(clean[r], at[r]+j))-now) / float64(j); gain > best {
					rule, step, best = r, j, gain
				}
			}
		}
		if rule < 0 {
			break
		}
		for _, c := range clean[rule][at[rule] : at[rule]+step] {
			if !hit[c.example] {
				hit[c.example] = true
				left--
			}
		}
		at[rule] += step
	}
	for r := range out {
		if out[r] = level(clean[r], at[r]); t.count[r] < minExamples {
			out[r] = never
		}
	}
	return out
}

// level is the threshold over which the first n clean messages are.
func level(clean []scored, n int) float32 {
	switch {
	case len(clean) == 0:
		return never
	case n < len(clean):
		return clean[n].logit
	default:
		return -math.MaxFloat32 / 4 // below all scores but that of a text too short for one
	}
}

// caught counts the examples over a threshold.
func caught(guilty []scored, threshold float32) int {
	n, _ := slices.BinarySearchFunc(guilty, threshold, func(s scored, t float32) int { return cmp.Compare(t, s.logit) })
	return n
}
