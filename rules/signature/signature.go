// Package signature judges rules 9 and 10 of the carriers: an SMS bears exactly one signature, and
// the signature has at most 12 characters.
//
// Where the provider puts the signature in front of the text as 【…】, the text itself must hold no
// bracketed name that a carrier would read as another (help.aliyun.com/document_detail/463270.html:
// no 【】 anywhere in a template, no [ ] at its start or end). Where none is known, the text is judged as
// a whole SMS that brings its own: what looks like another company's name blocks, what a person has
// to decide is a hit for review.
package signature

import (
	"fmt"
	"slices"
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

// Config is the section guards.signature.
type Config struct {
	// Max is the longest signature allowed, in code points, 2..12; default what the provider allows.
	Max *strictyaml.Int `yaml:"max"`
	// Profile names the provider whose rules hold (aliyun, tencent, huawei); default the channel's own.
	Profile rules.Profile `yaml:"profile"`
}

type guard struct {
	max     int // 0: the provider's
	profile rules.Profile
}

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := guard{profile: c.Profile}
	if err := c.Profile.Check(); err != nil {
		return nil, err
	}
	if p := rules.ProviderOf(string(c.Profile)); c.Max != nil {
		if g.max = int(*c.Max); g.max < p.SignatureMin || g.max > p.SignatureMax {
			return nil, fmt.Errorf("max is %d, want %d..%d: the carriers refuse longer signatures", g.max, p.SignatureMin, p.SignatureMax)
		}
	}
	return g, nil
}

// Judge suppresses an SMS whose signature is not fit, or whose text holds another.
func (g guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" {
		return rules.Verdict{}
	}
	p := g.profile.For(in)
	if g.max != 0 {
		p.SignatureMax = min(p.SignatureMax, g.max)
	}
	if in.Delivery.Message.Text == "" && in.Signature == "" {
		return rules.Verdict{} // nothing to judge
	}
	j := judgement{Provider: p, source: in.Delivery.Message.Text, text: []rune(in.Delivery.Message.Text), recipient: in.Delivery.To.Name}
	if in.Signature != "" {
		j.added(in.Signature)
	} else {
		j.whole()
	}
	return rules.Judged(j.hits)
}

// judgement is the work on one text.
type judgement struct {
	rules.Provider
	source    string // the text
	text      []rune
	recipient string
	hits      []schemas.Hit
}

func (j *judgement) hit(r reason, start, end int) {
	j.hits = append(j.hits, rules.HitAt(r.rule, r.action, "text", j.source, start, end, r.advice))
}

// added judges a text in front of which the provider puts a signature.
func (j *judgement) added(name string) {
	runes := []rune(name)
	say := func(r reason, start, end int) {
		j.hits = append(j.hits, rules.HitAt(r.rule, r.action, "signature", name, start, end, r.advice))
	}
	if i := badCharacter(runes); i >= 0 {
		say(badSign, i, i+1)
	} else if n := len(runes); n < j.SignatureMin || n > j.SignatureMax {
		say(badLength(n, j.SignatureMin, j.SignatureMax), 0, n)
	} else if doubt, ok := doubtful(runes, j.text); ok {
		say(doubt, 0, n)
	}
	groups, loose := find(j.text)
	for _, s := range groups {
		if string(visible(j.text[s.start+1:s.end-1])) == name {
			j.hit(ownAgain, s.start, s.end)
		} else {
			j.hit(second, s.start, s.end)
		}
	}
	if len(loose) > 0 {
		j.hit(looseBracket, loose[0], loose[0]+1)
	}
}

// whole judges a complete SMS as it would arrive. Its own signature is the bracketed group at an edge that
// looks most like one; every other group is judged beside it.
func (j *judgement) whole() {
	groups, loose := find(j.text)
	if len(loose) > 0 {
		r := looseBracket
		r.rule = RuleLength
		j.hit(r, loose[0], loose[0]+1)
	}
	own := j.own(groups)
	var name []rune
	switch {
	case own >= 0:
		name = j.name(groups[own])
		j.judgeOwn(groups[own])
	case len(loose) == 0:
		j.hit(noSignature, 0, 0)
	}
	for i, s := range groups {
		if i != own {
			j.hit(j.beside(s, groups, own, name), s.start, s.end)
		} else if nested(j.text[s.start+1 : s.end-1]) {
			j.hit(doubled, s.start, s.end)
		}
	}
	slices.SortStableFunc(j.hits, func(a, b schemas.Hit) int { return a.Start - b.Start })
}

// name is what a reader sees between the brackets, spaces at the ends left out.
func (j *judgement) name(s group) []rune {
	name := visible(j.text[s.start+1 : s.end-1])
	name = slices.DeleteFunc(name, func(r rune) bool { return strings.ContainsRune(openEdge+closeEdge, r) })
	return []rune(strings.TrimSpace(string(name)))
}

// own is the index of the group that looks most like the signature; -1 when no group stands at an edge.
func (j *judgement) own(groups []group) int {
	best, least := -1, 0
	for i, s := range groups {
		if !s.head && !s.tail {
			continue
		}
		name, doubts := j.name(s), 0
		if sentence(name) || len(name) > 1 && reference(name) {
			doubts += 16
		}
		if !s.lenticular {
			doubts += 8
		}
		if person(name) {
			doubts += 4
		}
		if len(name) < j.SignatureMin {
			doubts += 2
		}
		if abbreviation(name) {
			doubts++
		}
		// At the start the first counts, at the end the last.
		if best < 0 || doubts < least || doubts == least && !groups[best].head {
			best, least = i, doubts
		}
	}
	return best
}

func (j *judgement) judgeOwn(s group) {
	start, end := s.start+1, s.end-1
	inside := j.text[start:end]
	name := visible(inside)
	if nested(inside) {
		return // said as a whole
	}
	if !s.lenticular {
		j.hit(wrongBrackets, s.start, s.end)
	}
	if len(name) < len(inside) {
		j.hit(hidden, start, end)
	}
	n, bad := len(name), badCharacter(name)
	words := sentence(name) // 【开票通知】 alone may be a registered signature; beside another it is a heading
	switch {
	case strings.TrimSpace(string(name)) == "":
		j.hit(empty, s.start, s.end)
	case n > j.SignatureMax && s.lenticular && !request(name) && !reference(name):
		j.hit(badLength(n, j.SignatureMin, j.SignatureMax), start, end)
	case request(name) || bad >= 0 || words && !s.lenticular || n < j.SignatureMin || n > j.SignatureMax: // 【急】, [SO-2026-000018]
		j.hit(notAName, start, end)
	default:
		rest := slices.Concat(j.text[:s.start], j.text[s.end:])
		if doubt, ok := doubtful(name, rest); ok {
			j.hit(doubt, start, end)
		}
	}
}

// beside judges a group that is not the signature. name is the signature's; nil without one.
func (j *judgement) beside(s group, groups []group, own int, name []rune) reason {
	inside := j.name(s)
	switch {
	case !s.head && !s.tail:
		return inMiddle
	case len(inside) == 0:
		return second
	case nested(j.text[s.start+1 : s.end-1]):
		return doubled
	case sentence(inside), reference(inside), len(inside) > maxEdge, slices.Contains(pictures, string(inside)):
		return notSecond
	case akin(inside, name):
		return sameSender
	case person(inside), j.recipient != "" && string(inside) == j.recipient:
		return notSecond
	case abbreviation(inside) && han(name), abbreviation(name) && han(inside):
		return sameSender // 【云栈】…[YZ]: two letters name no company of their own
	case len(inside) > 1 && j.outside(groups, inside):
		return notSecond
	case !s.lenticular && own >= 0 && s.head != groups[own].head:
		return farBrackets
	}
	return second
}

// outside says that the text has the words outside all brackets as well.
func (j *judgement) outside(groups []group, words []rune) bool {
	at := 0
	for _, s := range append(slices.Clip(groups), group{start: len(j.text)}) {
		if strings.Contains(string(j.text[at:s.start]), string(words)) {
			return true
		}
		at = s.end
	}
	return false
}

// doubtful finds what carriers accept from some and not from others. rest is the text without the signature.
func doubtful(name, rest []rune) (reason, bool) {
	lower := strings.ToLower(string(name))
	switch {
	case only(name, digit):
		return digitsOnly, true
	case only(name, latin) && !han(rest):
		return latinOnly, true
	case strings.Contains(lower, "测试"), strings.Contains(lower, "test"):
		return forTests, true
	case person(name):
		return personal, true
	}
	return reason{}, false
}

// abbreviation is two letters, which stand for a company whose name is written elsewhere.
func abbreviation(name []rune) bool {
	return len(name) == 2 && only(name, func(r rune) bool { return latin(r) && !digit(r) })
}

func nested(inside []rune) bool {
	return strings.ContainsAny(string(inside), openAnywhere+closeAnywhere)
}

// badCharacter is the place of the first character that no signature has; -1 when there is none.
func badCharacter(name []rune) int {
	for i, r := range name {
		if !unicode.Is(unicode.Han, r) && !latin(r) && !joins(name, i) {
			return i
		}
	}
	return -1
}

// joins says whether name[i] is the middle dot inside a name, as in 云栈·星河: part of the spelling
// of a registered name rather than a symbol around it.
func joins(name []rune, i int) bool {
	fits := func(r rune) bool { return unicode.Is(unicode.Han, r) || latin(r) }
	return name[i] == '·' && i > 0 && i < len(name)-1 && fits(name[i-1]) && fits(name[i+1])
}
