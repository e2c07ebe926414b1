// Package characters finds what an SMS should not hold: emoji, symbols, traditional characters and such as
// nobody sees. Providers refuse templates with them (help.aliyun.com/document_detail/463270.html), and
// phones show boxes in their place. It tells what to write instead.
package characters

//go:generate go run gen.go -ucd /usr/share/unicode

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Rule is the rule as verdicts name it.
const Rule = "characters"

// maxHits bounds what is told of one text.
const maxHits = 20

type guard struct{ action string }

// New opens the guard; it is a [rules.GuardFactory]. The section guards.characters is one word, see
// [rules.DecodeAction].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	action, err := rules.DecodeAction(decode)
	return guard{action}, err
}

// Judge looks at the text of an SMS to a number of the mainland; of neighbours of one class it makes one hit.
func (g guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" || g.action == rules.ReportPass || rules.International(in.Delivery.To.Phone) {
		return rules.Verdict{}
	}
	m := &in.Delivery.Message
	var hits []schemas.Hit
	for _, s := range find(m.Text) {
		h := rules.HitAt(Rule, g.action, "text", m.Text, s.start, s.end, schemas.Text{})
		h.Advice = s.class.advise(h.Text)
		h.Origin = origin(m, h.StartByte, h.EndByte)
		hits = append(hits, h)
	}
	return rules.Judged(hits)
}

// origin says which variable the bytes of the text come from.
func origin(m *schemas.Message, start, end int) string {
	if len(m.Params) == 0 {
		return ""
	}
	found := "template"
	for name, value := range m.Params {
		if !strings.Contains(value, m.Text[start:end]) {
			continue
		}
		for at, i := 0, 0; i >= 0 && at <= start; at += i + 1 {
			if i = strings.Index(m.Text[at:], value); i >= 0 && at+i <= start && end <= at+i+len(value) {
				if field := "params/" + name; found == "template" || field < found {
					found = field
				}
				break
			}
		}
	}
	return found
}

// span is a run of characters of one class, in code points.
type span struct {
	class      *class
	start, end int
}

func find(text string) (out []span) {
	i := 0
	for _, r := range text {
		c := classOf(r)
		if n := len(out); n > 0 && out[n-1].end == i && out[n-1].class.joins(c) {
			out[n-1].end++
		} else if c != nil {
			if n == maxHits {
				return out
			}
			out = append(out, span{c, i, i + 1})
		}
		i++
	}
	return out
}

// class is a kind of characters with what to do about them. A %s in the advice stands for what to write
// instead.
type class struct {
	zh, en  string
	instead func(r rune) string // nil: there is nothing to write in its place
}

func (c *class) advise(text string) schemas.Text {
	if c.instead == nil {
		return schemas.Text{Zh: c.zh, En: c.en}
	}
	var b strings.Builder
	for _, r := range text {
		b.WriteString(c.instead(r))
	}
	return rules.Textf(c.zh, c.en, b.String())
}

// joins says whether a character of class next goes on with a run of c: an emoji may consist of several,
// joined by such as cannot be seen.
func (c *class) joins(next *class) bool {
	return next == c || c == emoji && next == unseen
}

func compatible(r rune) string { return norm.NFKC.String(string(r)) }

var (
	emoji = &class{
		zh: "短信中不能有表情符号，请删除或改写成文字",
		en: "an SMS takes no emoji; delete it or write words",
	}
	unseen = &class{
		zh: "含有看不见的字符（如零宽空格、控制字符），请删除",
		en: "characters that nobody sees (zero-width space, control characters); delete them",
	}
	broken = &class{
		zh: "含有乱码或自造字，收件人看不到，请改写",
		en: "broken or private characters, which the recipient cannot see; write something else",
	}
	brackets = &class{
		zh: "短信模板不能使用这种括号，请改用《》或“”",
		en: "templates take no such brackets; use 《》 or “”",
	}
	arrow = &class{
		zh: "短信模板不能使用箭头，请写成“至”“到”等文字",
		en: "templates take no arrows; write 至 or 到",
	}
	symbol = &class{
		zh: "短信模板不能使用特殊符号，请删除；列举时用 1、2、3、",
		en: "templates take no special symbols; delete it, and number lists with 1、2、3、",
	}
	numbered = &class{
		zh: "短信模板不能使用带圈、带括号的字符，请写成“%s”",
		en: "templates take no encircled characters; write %s",
		instead: func(r rune) string {
			s := strings.Trim(compatible(r), "().")
			if '0' <= r && r <= '9' || unicode.IsLetter(r) || s == "" {
				return string(r)
			}
			return s
		},
	}
	raised = &class{
		zh:      "短信模板不能使用上下标，请写成“%s”，或写成文字（m² 写成平方米）",
		en:      "templates take no superscripts and subscripts; write %s, or words (平方米 for m²)",
		instead: compatible,
	}
	packed = &class{
		zh:      "短信模板不能使用组合字符，请写成“%s”",
		en:      "templates take no characters that pack several into one; write %s",
		instead: compatible,
	}
	traditional = &class{
		zh:      "短信模板不能使用繁体字，请写成“%s”",
		en:      "templates take no traditional characters; write %s",
		instead: func(r rune) string { return string(simplified()[r]) },
	}
)

// simplified maps each traditional character to its simplified form.
var simplified = sync.OnceValue(func() map[rune]rune {
	list := []rune(pairs)
	m := make(map[rune]rune, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
})

// classOf is the class of a character, nil when an SMS may hold it.
func classOf(r rune) *class {
	switch {
	case r < 0x7f:
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return unseen
		}
		return nil
	case 0x4e00 <= r && r <= 0x9fff, 0x3400 <= r && r <= 0x4dbf:
		if simplified()[r] != 0 {
			return traditional
		}
		return nil
	case strings.ContainsRune("°℃℉№¥￥£€×÷±", r):
		return nil // units and signs of business letters, which no provider's page forbids
	case strings.ContainsRune("「」『』〖〗﹁﹂﹃﹄｢｣", r):
		return brackets
	case r == utf8.RuneError, unicode.Is(unicode.Co, r):
		return broken
	case r == '\ufe0f', r == '\u20e3': // make an emoji of the character before them
		return emoji
	case unicode.In(r, unicode.Cf, unicode.Cc, unicode.Variation_Selector):
		return unseen
	case 0x1f000 <= r && r <= 0x1faff && !(0x1f100 <= r && r <= 0x1f1e5):
		return emoji
	case strings.ContainsRune("¹²³", r), 0x2070 <= r && r <= 0x209f:
		return raised
	case 0x2460 <= r && r <= 0x24ff, 0x2776 <= r && r <= 0x2793, 0x3200 <= r && r <= 0x32ff, 0x1f100 <= r && r <= 0x1f1e5:
		return numbered
	case 0x3300 <= r && r <= 0x33ff:
		return packed
	case 0x2190 <= r && r <= 0x21ff, 0x27f0 <= r && r <= 0x27ff, 0x2900 <= r && r <= 0x297f, 0x2b00 <= r && r <= 0x2b11, 0x2794 <= r && r <= 0x27be:
		return arrow
	case strings.ContainsRune("※•‣⁃∙", r), unicode.Is(unicode.So, r), 0x2500 <= r && r <= 0x27bf, 0x2b12 <= r && r <= 0x2bff:
		return symbol
	}
	return nil
}
