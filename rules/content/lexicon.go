package content

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The rules that terms stand under, by their index in this list; [Rule.String] is the product's id.
var ruleIDs = [...]string{"1", "2", "3", "4", "5", "6", "7", "8", "11", "x", "*"}

// Rule is a rule of the carriers about content.
type Rule uint8

// The rules. RuleAny is no rule: its terms count for every rule that found something.
const (
	RuleMarketing Rule = iota // 1: marketing without consent
	RuleContact               // 2: leading people to WeChat, QQ, private contacts
	RuleDating                // 3
	RuleGambling              // 4
	RuleFinance               // 5: securities, loans, dunning
	RuleReward                // 6: cash back for reviews, gifts, red packets
	RuleHealth                // 7: health products, medicine
	RuleFuneral               // 8
	RuleSensitive             // 11: pornography, terror, politics
	RuleFraud                 // x: forged invoices and certificates, phishing
	RuleAny
)

const ruleCount = int(RuleAny)

// String is the rule's id in verdicts and lexicons.
func (r Rule) String() string { return ruleIDs[r] }

// File is one lexicon file, parsed.
type File struct {
	Name    string // of the file, for messages
	Lexicon string // of the lexicon, from @lexicon
	Version string

	terms   []termLine
	allow   []string
	not     []string
	alias   []substitution
	split   []substitution
	at      map[termKey]int // line of each term
	version string
}

type termKey struct {
	rule Rule
	term string // folded
}

type termLine struct {
	termKey
	written string
	points  int8
	flags   termFlags
}

// substitution writes one word or character as others.
type substitution struct {
	of string
	as []string
}

type termFlags uint8

const (
	flagHomophone termFlags = 1 << iota // h: also written with homophones and in pinyin
	flagPinyin                          // p: also written in pinyin
	flagExact                           // x: only written plainly, without gaps
	flagOpen                            // o: a Latin end need not be the end of a word
)

// Bounds of a lexicon, so that a mistaken file cannot eat the memory.
const (
	maxPoints    = 20
	maxTermRunes = 24
	maxFileBytes = 8 << 20
	minPoints    = -20
)

// specials are terms that stand for a shape instead of a spelling.
var specials = map[string]special{
	"<mobile>": specialMobile, "<mobile!>": specialDisguised, "<tel>": specialTel, "<num>": specialNum, "<url>": specialURL, "<id>": specialID,
}

type special int

const (
	specialMobile special = iota
	specialDisguised
	specialTel
	specialNum
	specialURL
	specialID
	specialCount
)

//go:embed lexicon
var embedded embed.FS

// Embedded parses the lexicons that come with the program, in the order of their names.
func Embedded() ([]*File, error) {
	names, err := fs.Glob(embedded, "lexicon/*.txt")
	if err != nil {
		return nil, err
	}
	var files []*File
	for _, name := range names {
		b, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := Parse(strings.TrimPrefix(name, "lexicon/"), b)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// ParseError is one mistake in a lexicon file, with its place.
type ParseError struct {
	File         string
	Line, Column int // from 1; the column in characters
	Zh, En       string
}

// Error names the place and says in both languages what was wanted.
func (e *ParseError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s / %s", e.File, e.Line, e.Column, e.Zh, e.En)
}

var versionLine = regexp.MustCompile(`^([A-Za-z0-9_.-]+)\s+(\S+)$`)

// Parse reads a lexicon file; lexicon/README.md describes the format. The error holds every mistake found,
// each a [*ParseError].
func Parse(name string, b []byte) (*File, error) {
	p := parser{File: &File{Name: name, at: make(map[termKey]int)}, base: shared(), rule: -1}
	if len(b) > maxFileBytes {
		p.fail(1, "文件超过 8 MiB", "the file is larger than 8 MiB")
		return nil, errors.Join(p.errs...)
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	for line := range strings.Lines(text) {
		p.n++
		if !utf8.ValidString(line) {
			p.fail(1, "不是 UTF-8 编码", "not UTF-8")
			continue
		}
		p.raw = strings.TrimRight(line, " \t\r\n")
		switch s := strings.TrimLeft(p.raw, " \t"); {
		case s == "" || s[0] == '#':
		case s[0] == '@':
			p.header(s[1:])
		case p.section == nil:
			p.fail(1, "第一节须为 @lexicon 名称 版本，其后为 @rule、@allow、@alias、@split 或 @not",
				"want @lexicon NAME VERSION first, then @rule, @allow, @alias, @split or @not")
			p.section = func(string) {}
		default:
			p.section(s)
		}
		if len(p.errs) >= 20 {
			break
		}
	}
	if p.Lexicon == "" && len(p.errs) == 0 {
		p.n = 1
		p.fail(1, "文件首行须为 @lexicon 名称 版本", "the file must begin with @lexicon NAME VERSION")
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.File, nil
}

type parser struct {
	*File
	base    *base
	n       int // line
	raw     string
	rule    int
	section func(string)
	errs    []error
}

func (p *parser) fail(column int, zh, en string) {
	p.errs = append(p.errs, &ParseError{p.Name, p.n, column, zh, en})
}

// column is where part begins in the line, in characters.
func (p *parser) column(part string) int {
	return utf8.RuneCountInString(p.raw[:max(0, strings.Index(p.raw, part))]) + 1
}

func (p *parser) header(s string) {
	word, rest, _ := strings.Cut(s, " ")
	rest, _, _ = strings.Cut(rest, " #")
	rest = strings.TrimSpace(rest)
	if p.Lexicon == "" && word != "lexicon" {
		p.fail(1, "文件首行须为 @lexicon 名称 版本", "the file must begin with @lexicon NAME VERSION")
		p.Lexicon = "?"
	}
	switch word {
	case "lexicon":
		m := versionLine.FindStringSubmatch(rest)
		if m == nil || p.Lexicon != "" {
			p.fail(1, "应为 @lexicon 名称 版本，例如 @lexicon finance 2026-11-25，且每个文件只写一次", "want @lexicon NAME VERSION, such as @lexicon finance 2026-11-25, once in a file")
			return
		}
		p.Lexicon, p.Version = m[1], m[2]
	case "rule":
		p.section = p.term
		for i, id := range ruleIDs {
			if id == rest {
				p.rule = i
				return
			}
		}
		p.rule = ruleCount
		p.fail(p.column(rest), fmt.Sprintf("没有规则 %q，应为 %s", rest, strings.Join(ruleIDs[:], " ")), fmt.Sprintf("there is no rule %q; want one of %s", rest, strings.Join(ruleIDs[:], " ")))
	case "allow":
		p.section = func(s string) { p.word(s, &p.allow) }
	case "not":
		p.section = func(s string) { p.word(s, &p.not) }
	case "alias":
		p.section = func(s string) { p.substitute(s, &p.alias) }
	case "split":
		p.section = func(s string) { p.substitute(s, &p.split) }
	default:
		p.fail(1, fmt.Sprintf("未知的节 @%s，应为 @rule、@allow、@alias、@split 或 @not", word), fmt.Sprintf("unknown section @%s; want @rule, @allow, @alias, @split or @not", word))
		p.section = func(string) {}
	}
}

func (p *parser) term(s string) {
	f := strings.Fields(s)
	if len(f) < 2 || len(f) > 3 {
		p.fail(1, "应为：词条 分值 [标志]，例如 贷款 6 h", "want TERM POINTS [FLAGS], such as 贷款 6 h")
		return
	}
	points, err := strconv.Atoi(f[1])
	if err != nil || points < minPoints || points > maxPoints {
		p.fail(p.column(f[1]), fmt.Sprintf("分值 %q 应为 %d 至 %d 的整数", f[1], minPoints, maxPoints), fmt.Sprintf("points are %q, want a whole number %d…%d", f[1], minPoints, maxPoints))
		return
	}
	var flags termFlags
	if len(f) == 3 {
		for _, c := range f[2] {
			i := strings.IndexRune("hpxo", c)
			if i < 0 {
				p.fail(p.column(f[2]), fmt.Sprintf("未知标志 %q，应为 h、p、x、o", c), fmt.Sprintf("unknown flag %q, want h, p, x, o", c))
				return
			}
			flags |= 1 << i
		}
	}
	key := termKey{Rule(p.rule), f[0]}
	if _, ok := specials[f[0]]; !ok {
		folded, ok := p.folded(f[0], true)
		if !ok {
			return
		}
		key.term = folded
	}
	if line, twice := p.at[key]; twice {
		p.fail(1, fmt.Sprintf("词条 %q 已在第 %d 行写过", f[0], line), fmt.Sprintf("the term %q stands in line %d already", f[0], line))
		return
	}
	p.at[key] = p.n
	p.terms = append(p.terms, termLine{key, f[0], int8(points), flags})
}

func (p *parser) word(s string, to *[]string) {
	for _, w := range strings.Fields(s) {
		if folded, ok := p.folded(w, false); ok {
			*to = append(*to, folded)
		}
	}
}

func (p *parser) substitute(s string, to *[]substitution) {
	of, as, ok := strings.Cut(s, "=")
	words := strings.Fields(as)
	if !ok || len(words) == 0 {
		p.fail(1, "应为：原词 = 写法 写法 …", "want WORD = SPELLING SPELLING …")
		return
	}
	sub := substitution{}
	if sub.of, ok = p.folded(strings.TrimSpace(of), false); !ok {
		return
	}
	for _, w := range words {
		if folded, ok := p.folded(w, false); ok {
			sub.as = append(sub.as, folded)
		}
	}
	*to = append(*to, sub)
}

// folded is the word as the scanner sees it: one character a code, wild for the dot. A character that folding
// drops would make a term that means something else than it says.
func (p *parser) folded(word string, isTerm bool) (string, bool) {
	var out []rune
	dots := 0
	for i, r := range word {
		e, _ := p.base.at(&p.base.bmp, word, i)
		switch {
		case r == '.' && isTerm:
			out = append(out, wild)
			dots++
		case r == '#' && isTerm, classOf(e) == figure:
			if len(out) == 0 || out[len(out)-1] != digit {
				out = append(out, digit)
			}
		case isKept(e):
			out = append(out, rune(codeOf(e)))
		default:
			p.fail(p.column(word)+utf8.RuneCountInString(word[:i]),
				fmt.Sprintf("%q 中的字符 %q 会被忽略，请去掉；# 代表一串数字，. 代表中间可隔几个字", word, r),
				fmt.Sprintf("the character %[2]q in %[1]q would be ignored, leave it out; # is a run of digits, . stands for a few characters in between", word, r))
			return "", false
		}
	}
	switch n := len(out); {
	case n == 0:
		p.fail(1, "等号左侧不能为空", "want a word left of =")
	case n > maxTermRunes:
		p.fail(p.column(word), fmt.Sprintf("%q 超过 %d 个字", word, maxTermRunes), fmt.Sprintf("%q has more than %d characters", word, maxTermRunes))
	case dots > 1 || dots == 1 && (out[0] == wild || out[n-1] == wild):
		p.fail(p.column(word), fmt.Sprintf("%q 中只能有一个 .，且须在两部分之间", word), fmt.Sprintf("%q may have one . and only between two parts", word))
	default:
		return string(out), true
	}
	return "", false
}
