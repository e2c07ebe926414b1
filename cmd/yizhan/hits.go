package main

import (
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// hitLine is one hit on one line, wherever hits are shown.
func hitLine(h schemas.Hit) string { return say(rules.Describe(h)) }

// advice is what was advised already: several hits of a rule ask for the same, which is told once.
type advice []string

// of is what to do about a hit, "" when that was told.
func (a *advice) of(h schemas.Hit) string {
	s := say(h.Advice)
	if slices.ContainsFunc(*a, func(told string) bool { return strings.HasPrefix(told, s) }) {
		return ""
	}
	*a = append(*a, s)
	return s
}

// line is hitLine and what to do about it.
func (a *advice) line(h schemas.Hit) string {
	if s := a.of(h); s != "" {
		return hitLine(h) + tr("：", ": ") + s
	}
	return hitLine(h)
}

// contextWidth is how much of a long line is shown around a match, in columns of a terminal.
const contextWidth = 76

// mark prints the line of text that holds the hit, and carets under the match.
func (u *ui) mark(text string, h schemas.Hit, c color) {
	runes := []rune(text)
	if h.Start < 0 || h.End > len(runes) || h.Start >= h.End {
		return
	}
	begin, end := h.Start, h.End // of the line
	for begin > 0 && runes[begin-1] != '\n' {
		begin--
	}
	for i := h.Start; i < h.End; i++ { // a match over several lines is shown as far as its first
		if runes[i] == '\n' {
			end = i
			break
		}
	}
	last := end
	for end < len(runes) && runes[end] != '\n' {
		end++
	}
	show := func(part []rune) string {
		return strings.ReplaceAll(strings.TrimSuffix(clean(string(part)), "\r"), "\t", " ")
	}
	before, match, after := show(runes[begin:h.Start]), show(runes[h.Start:last]), show(runes[last:end])
	if columns(before) > contextWidth/2 {
		before = "…" + lastColumns(before, contextWidth/2)
	}
	after = clip(after, max(contextWidth-columns(before)-columns(match), 8))
	u.printf("  %s%s%s\n  %s%s\n", before, u.paint(c, match), after, strings.Repeat(" ", columns(before)), u.paint(c, strings.Repeat("^", max(columns(match), 1))))
}

// lastColumns is the end of s, at most n columns of it.
func lastColumns(s string, n int) string {
	runes := []rune(s)
	for i := len(runes) - 1; i >= 0; i-- {
		if n -= columns(string(runes[i])); n < 0 {
			return string(runes[i+1:])
		}
	}
	return s
}

// reportColor is red for what does not go out, yellow for what a person should look at.
func reportColor(action string) color {
	switch action {
	case rules.ReportBlock:
		return red
	case rules.ReportReview, rules.ReportHold:
		return yellow
	}
	return green
}

// reportWords are the actions of a report as people say them.
var reportWords = map[string]schemas.Text{
	rules.ReportPass: {Zh: "通过", En: "pass"}, rules.ReportHold: {Zh: "等待", En: "wait"},
	rules.ReportReview: {Zh: "待复核", En: "review"}, rules.ReportBlock: {Zh: "拦截", En: "block"},
}
