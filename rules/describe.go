package rules

import (
	"fmt"
	"regexp"
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
		zh, en := spell(h.Term)
		add("，即“"+zh+"”", ", that is \""+en+"\"")
	}
	if h.Via != "" {
		via := DisguiseName(h.Via)
		add("，伪装："+via.Zh, ", disguised: "+via.En)
	}
	if h.Cue != "" {
		zh, en := spell(h.Cue)
		add("，依据：“"+zh+"”", ", beside \""+en+"\"")
	}
	if h.Origin != "" && h.Origin != h.Field {
		from := FieldName(h.Origin)
		add("，出自"+from.Zh, ", from the "+from.En)
	}
	return t
}

var (
	// kinds are the notation of a lexicon's terms (rules/content/lexicon/README.md) in words.
	kindsZh = strings.NewReplacer("<id>", "〈账号〉", "<num>", "〈号码〉", "<mobile>", "〈手机号〉", "<mobile!>", "〈手机号〉", "<tel>", "〈电话〉", "<url>", "〈网址〉", "#", "〈数字〉")
	kindsEn = strings.NewReplacer("<id>", "<account>", "<num>", "<number>", "<mobile>", "<mobile number>", "<mobile!>", "<mobile number>", "<tel>", "<phone number>", "<url>", "<web address>", "#", "<digits>")
	// gap is the place in a term where other words may stand. A host has none: it is not in Chinese.
	gap = regexp.MustCompile(`(\p{Han})\.(\p{Han})`)
)

// spell is a term, or several, in words.
func spell(term string) (zh, en string) {
	term = gap.ReplaceAllString(quote(term), "$1…$2")
	return kindsZh.Replace(term), kindsEn.Replace(term)
}

// quote shows what is invisible in s too: that is how terms are disguised.
func quote(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
