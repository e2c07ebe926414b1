package rules

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/schemas"
)

// HitAt is a hit on what stands in text from start to end, in code points; the span in bytes and the
// matched text follow from it. A span outside the text is cut to it.
func HitAt(rule, action, field, text string, start, end int, advice schemas.Text) schemas.Hit {
	n, from, to := 0, len(text), len(text)
	for i := range text {
		if n == start {
			from = i
		}
		if n == end {
			to = i
			break
		}
		n++
	}
	return HitAtBytes(rule, action, field, text, min(from, to), to, advice)
}

// HitAtBytes is [HitAt] for a span in bytes, which must lie inside the text.
func HitAtBytes(rule, action, field, text string, start, end int, advice schemas.Text) schemas.Hit {
	n := utf8.RuneCountInString(text[:start])
	return schemas.Hit{
		Rule: rule, Action: action, Field: field, Start: n, End: n + utf8.RuneCountInString(text[start:end]),
		StartByte: start, EndByte: end, Text: text[start:end], Advice: advice,
	}
}

// Judged is the verdict that hits ask for: Suppress in the name of the first that blocks, else Pass.
func Judged(hits []schemas.Hit) Verdict {
	for _, h := range hits {
		if h.Action == ReportBlock {
			return Verdict{Action: Suppress, Rule: h.Rule, Hits: hits}
		}
	}
	return Verdict{Hits: hits}
}

// DecodeAction reads a guard's section that is one word: what its hits ask for, [ReportBlock] or [ReportReview], which
// is the default, or [ReportPass], with which it looks for nothing.
func DecodeAction(decode func(into any) error) (string, error) {
	var action string
	if err := decode(&action); err != nil {
		return "", err
	}
	switch action = cmp.Or(action, ReportReview); action {
	case ReportBlock, ReportReview, ReportPass:
		return action, nil
	}
	return "", fmt.Errorf("want block, review or pass, not %q", action)
}

// DecisiveFirst orders the hits of a verdict in the name of rule so that those that explain it come first: a verdict
// also has the hits of rules that forbid as well or only ask for a look, and those may have been heard before. Hits
// of equal weight stay in their order.
func DecisiveFirst(hits []schemas.Hit, rule string) []schemas.Hit {
	weight := func(h schemas.Hit) int {
		switch {
		case h.Rule == rule && h.Action != ReportReview:
			return 0
		case h.Rule == rule: // it may forbid what it only asks to look at
			return 1
		case h.Action != ReportReview:
			return 2
		}
		return 3
	}
	return slices.SortedStableFunc(slices.Values(hits), func(a, b schemas.Hit) int { return cmp.Compare(weight(a), weight(b)) })
}
