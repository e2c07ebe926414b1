// Package signature judges rules 9 and 10 of the carriers: an SMS bears exactly one signature, and
// the signature has at most 12 characters.
//
// The provider puts the signature in front of the text as 【…】, so the text itself must hold no
// bracketed name that a carrier would read as another (help.aliyun.com/document_detail/463270.html:
// no 【】 anywhere in a template, no [ ] at its start or end).
package signature

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// The ids of the rules.
const (
	RuleOne    = "9"
	RuleLength = "10"
)

// minLength and maxLength bound a signature, in code points: 2-12 Chinese characters, Latin letters
// and digits, no symbols and no spaces (alibabacloud.com/help/tc/sms/user-guide/sms-signature).
const (
	minLength = 2
	maxLength = 12
)

// maxEdge is how long a bracketed group at the edge of a text may be, in code points without the
// brackets, and still be read as a signature.
const maxEdge = 20

// Config is the section guards.signature.
type Config struct {
	// Max is the longest signature allowed, in code points, 2..12; default 12. Providers may be stricter.
	Max *strictyaml.Int `yaml:"max"`
}

type guard struct{ max int }

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := guard{max: maxLength}
	if c.Max != nil {
		g.max = int(*c.Max)
	}
	if g.max < minLength || g.max > maxLength {
		return nil, fmt.Errorf("max is %d, want %d..%d: the carriers refuse longer signatures", g.max, minLength, maxLength)
	}
	return g, nil
}

// Judge suppresses an SMS whose signature is not fit, or whose text holds another. Without
// in.Signature (the provider's account adds one of its own, or the text brings one) a single 【…】
// at the start or the end of the text is taken for the signature and judged.
func (g guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" || in.Delivery == nil {
		return rules.Verdict{}
	}
	text := []rune(in.Delivery.Message.Text)
	groups := find(text)
	var hits []schemas.Hit
	if in.Signature != "" {
		hits = g.judgeName("signature", []rune(in.Signature), 0)
	} else if i := own(text, groups); i >= 0 {
		s := groups[i]
		groups = append(groups[:i:i], groups[i+1:]...)
		hits = g.judgeName("text", text[s.start+1:s.end-1], s.start+1)
	}
	for _, s := range groups {
		hits = append(hits, schemas.Hit{
			Rule: RuleOne, Action: "block", Field: "text", Start: s.start, End: s.end,
			Text: string(text[s.start:s.end]), Advice: schemas.Text{
				Zh: "短信只能有一个签名，且由服务商自动加在最前面；请从正文中删除该括号内容，需要引用时改用「」或《》",
				En: "an SMS bears one signature, which the provider puts in front; take this bracketed part out of the text, or quote with 「」 or 《》 instead",
			},
		})
	}
	if len(hits) == 0 {
		return rules.Verdict{}
	}
	return rules.Verdict{Action: rules.Suppress, Rule: hits[0].Rule, Hits: hits}
}

func (g guard) judgeName(field string, name []rune, offset int) []schemas.Hit {
	hit := func(start, end int, zh, en string) []schemas.Hit {
		return []schemas.Hit{{
			Rule: RuleLength, Action: "block", Field: field, Start: offset + start, End: offset + end,
			Text: string(name[start:end]), Advice: schemas.Text{Zh: zh, En: en},
		}}
	}
	for i, r := range name {
		if !allowed(r) && !joins(name, i) {
			return hit(i, i+1, "签名只能由汉字、英文字母和数字组成，不含括号、空格和符号（括号由服务商添加）",
				"a signature consists of Chinese characters, Latin letters and digits; no brackets (the provider adds them), spaces or symbols")
		}
	}
	if len(name) < minLength || len(name) > g.max {
		return hit(0, len(name), fmt.Sprintf("签名共 %d 个字，应为 %d 至 %d 个字；请更换签名并重新报备", len(name), minLength, g.max),
			fmt.Sprintf("the signature has %d characters, want %d to %d; choose another and file it again", len(name), minLength, g.max))
	}
	return nil
}

func allowed(r rune) bool {
	return unicode.Is(unicode.Han, r) || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// joins says whether name[i] is the middle dot inside a name, as in 云栈·星河: part of the spelling
// of a registered name rather than a symbol around it.
func joins(name []rune, i int) bool {
	return name[i] == '·' && i > 0 && i < len(name)-1 && allowed(name[i-1]) && allowed(name[i+1])
}

// span is a bracketed group, brackets included, in code points.
type span struct{ start, end int }

// Lenticular brackets, upright and vertical, make a signature anywhere; the others only at the edges of
// a text, since 国发〔2026〕5号 or [PO-123] in the middle is plain writing.
const (
	openAnywhere, closeAnywhere = "【︻", "】︼"
	openEdge, closeEdge         = openAnywhere + "〖︗[［﹝〔︹", closeAnywhere + "〗︘]］﹞〕︺"
)

// find returns the groups a carrier may read as signatures, in order and without overlaps.
func find(text []rune) []span {
	var out []span
	first, last := edges(text)
	for i := 0; i < len(text); i++ {
		switch {
		case strings.ContainsRune(openAnywhere, text[i]):
			// 【【云栈】】 is one group up to its last bracket.
			if end := closing(text, i); end > 0 {
				out = append(out, span{i, end})
				i = end - 1
				if i+1 > first {
					first = skip(text, i+1)
				}
			}
		case i == first && strings.ContainsRune(openEdge, text[i]):
			if end := edgeEnd(text, i); end > 0 {
				out = append(out, span{i, end})
				i = end - 1
				first = skip(text, end) // [云栈][星河]: the second stands at the start as well
			}
		}
	}
	if last >= 0 && strings.ContainsRune(closeEdge, text[last]) {
		if start := edgeStart(text, last); start >= 0 && (len(out) == 0 || start >= out[len(out)-1].end) {
			out = append(out, span{start, last + 1})
		}
	}
	return out
}

// closing is the end of the lenticular group opened at i, 0 when it is never closed.
func closing(text []rune, i int) int {
	depth := 0
	for j := i; j < len(text); j++ {
		switch {
		case strings.ContainsRune(openAnywhere, text[j]):
			depth++
		case strings.ContainsRune(closeAnywhere, text[j]):
			if depth--; depth == 0 {
				return j + 1
			}
		}
	}
	if depth > 1 { // more opened than closed: up to the first bracket that closes
		for j := i; j < len(text); j++ {
			if strings.ContainsRune(closeAnywhere, text[j]) {
				return j + 1
			}
		}
	}
	return 0
}

func edgeEnd(text []rune, i int) int {
	for j, n := i+1, 0; j < len(text) && n <= maxEdge; j++ {
		if strings.ContainsRune(closeEdge, text[j]) {
			return j + 1
		}
		if !invisible(text[j]) {
			n++
		}
	}
	return 0
}

func edgeStart(text []rune, i int) int {
	for j, n := i-1, 0; j >= 0 && n <= maxEdge; j-- {
		if strings.ContainsRune(openEdge, text[j]) {
			return j
		}
		if !invisible(text[j]) {
			n++
		}
	}
	return -1
}

// own is the one group that can be the text's own signature: 【…】 at the start, else at the end; -1 for none.
func own(text []rune, groups []span) int {
	first, last := edges(text)
	for i, s := range groups {
		if text[s.start] == '【' && text[s.end-1] == '】' && s.start == first {
			return i
		}
	}
	if n := len(groups) - 1; n >= 0 && text[groups[n].start] == '【' && groups[n].end == last+1 {
		return n
	}
	return -1
}

// edges are the first and the last visible character; -1 for last when there is none.
func edges(text []rune) (first, last int) {
	last = len(text) - 1
	for last >= 0 && (invisible(text[last]) || unicode.IsSpace(text[last])) {
		last--
	}
	return skip(text, 0), last
}

func skip(text []rune, i int) int {
	for i < len(text) && (invisible(text[i]) || unicode.IsSpace(text[i])) {
		i++
	}
	return i
}

// invisible characters hide brackets from naive checks: format characters (zero-width space and
// joiners, soft hyphen, BOM), variation selectors and the Hangul fillers.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector) || r == '\u034f' || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0'
}
