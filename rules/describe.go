package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Describe is a hit in one sentence, wherever hits are told: the rule's name, the matched text and its
// place in code points counted from 1 as people do, what it means, how it is disguised, what made it
// count, and whose words they are. The text is a piece of the message: mask it first where strangers
// or logs may see it. The advice is not in it.
func Describe(h schemas.Hit) schemas.Text {
	t := RuleName(h.Rule)
	add := func(zh, en string) { t.Zh, t.En = t.Zh+zh, t.En+en }
	if h.Text != "" {
		q := quote(h.Text)
		add("：“"+q+"”", ": \""+q+"\"")
	}
	if h.Field != "" {
		name, zh, en := FieldName(h.Field), "", ""
		switch {
		case h.End == h.Start+1:
			zh, en = fmt.Sprintf("第 %d 字", h.End), fmt.Sprintf(", character %d", h.End)
		case h.End > h.Start:
			zh, en = fmt.Sprintf("第 %d–%d 字", h.Start+1, h.End), fmt.Sprintf(", characters %d–%d", h.Start+1, h.End)
		}
		if zh != "" && name.Zh[len(name.Zh)-1] < 0x80 {
			zh = " " + zh
		}
		add("（"+name.Zh+zh+"）", " ("+name.En+en+")")
	}
	if h.Term != "" && h.Term != h.Text {
		q := quote(h.Term)
		add("，即“"+q+"”", ", that is \""+q+"\"")
	}
	if h.Via != "" {
		via := DisguiseName(h.Via)
		add("，伪装："+via.Zh, ", disguised: "+via.En)
	}
	if h.Cue != "" {
		q := quote(h.Cue)
		add("，依据：“"+q+"”", ", beside \""+q+"\"")
	}
	if h.Origin != "" && h.Origin != h.Field {
		from := FieldName(h.Origin)
		add("，出自"+from.Zh, ", from the "+from.En)
	}
	return t
}

// quote shows what is invisible in s too: that is how terms are disguised.
func quote(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
