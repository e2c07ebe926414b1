package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// hitLine is one hit on one line, wherever hits are shown: the rule's name, the matched text and its
// place in code points counted from 1 as people do, what it means, how it is disguised, what made it
// count, and whose words they are.
func hitLine(h schemas.Hit) string {
	s := say(rules.RuleName(h.Rule))
	if h.Text != "" {
		s += tr("：", ": ") + quoted(h.Text)
	}
	if h.Field != "" {
		field := say(rules.FieldName(h.Field))
		switch {
		case h.End == h.Start+1:
			s += fmt.Sprintf(tr("（%s第 %d 字）", " (%s, character %d)"), spacedZh(field), h.End)
		case h.End > h.Start:
			s += fmt.Sprintf(tr("（%s第 %d–%d 字）", " (%s, characters %d–%d)"), spacedZh(field), h.Start+1, h.End)
		default:
			s += fmt.Sprintf(tr("（%s）", " (%s)"), field)
		}
	}
	if h.Term != "" && h.Term != h.Text {
		s += tr("，即", ", that is ") + quoted(h.Term)
	}
	if h.Via != "" {
		s += tr("，伪装：", ", disguised: ") + say(rules.DisguiseName(h.Via))
	}
	if h.Cue != "" {
		s += tr("，依据：", ", beside ") + quoted(h.Cue)
	}
	if h.Origin != "" && h.Origin != h.Field {
		s += tr("，出自", ", from ") + tr("", "the ") + say(rules.FieldName(h.Origin))
	}
	return s
}

// hitAdvice is hitLine and what to do about it.
func hitAdvice(h schemas.Hit) string {
	if advice := say(h.Advice); advice != "" {
		return hitLine(h) + tr("：", ": ") + advice
	}
	return hitLine(h)
}

// quoted shows a piece of a message, what is invisible in it too: that is how terms are disguised.
func quoted(s string) string {
	q := strconv.Quote(s)
	if lang == "zh" {
		return "“" + q[1:len(q)-1] + "”"
	}
	return q
}

// spacedZh puts a space after a word in Latin letters that Chinese follows.
func spacedZh(s string) string {
	if lang == "zh" && s != "" && s[len(s)-1] < 0x80 {
		return s + " "
	}
	return s
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
