// Package content judges the words of a message by the carriers' rules 1-8, 11 and x, before money is spent.
//
// A text is folded and searched in one pass: width, case, traditional and look-alike characters are one to
// the scanner, invisible characters and separators do not hide a word, and its other spellings (aliases, split
// characters, pinyin, homophones) are sought as well. What is found counts in points; terms of a rule that
// stand close together add up. The class of the message decides what the sum means.
package content

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Config is the section guards.content.
type Config struct {
	// What a rule may do at most: block, review or pass. Left out, the class decides: rule 1 asks for a review, and
	// blocks marketing without consent; all others block.
	Marketing string `yaml:"marketing"`
	Contact   string `yaml:"contact"`
	Dating    string `yaml:"dating"`
	Gambling  string `yaml:"gambling"`
	Finance   string `yaml:"finance"`
	Reward    string `yaml:"reward"`
	Health    string `yaml:"health"`
	Funeral   string `yaml:"funeral"`
	Sensitive string `yaml:"sensitive"`
	Fraud     string `yaml:"fraud"`
	// Lexicons are files of one's own, read after those of the program; Tenants has more for single tenants.
	Lexicons []string            `yaml:"lexicons"`
	Tenants  map[string][]string `yaml:"tenants"`
	// Score is a file of `yizhan rules train`. What it has learned may ask for a review, no more.
	Score string `yaml:"score"`
	// Classes say what kind of business message an event is; the first that fits counts.
	Classes []ClassRule `yaml:"classes"`
	// Review is what becomes of a message that a person should look at: send (default) or suppress.
	Review string `yaml:"review"`
}

// ClassRule gives events of a type, or messages of a template, a class. A type may hold * for anything.
type ClassRule struct {
	Type     string `yaml:"type"`
	Template string `yaml:"template"`
	Class    Class  `yaml:"class"`
}

type guard struct {
	judge    *Judge
	tenants  map[string]*Judge
	classes  []ClassRule
	limit    [ruleCount]Action
	set      [ruleCount]bool
	suppress bool
}

// own is the judge of the program's own lexicons, made when first needed.
var own = sync.OnceValues(func() (*Judge, error) {
	files, err := Embedded()
	if err != nil {
		return nil, err
	}
	return Compile(files...)
})

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, env rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := &guard{classes: c.Classes, tenants: make(map[string]*Judge)}
	for r, s := range [ruleCount]string{
		c.Marketing, c.Contact, c.Dating, c.Gambling, c.Finance, c.Reward, c.Health, c.Funeral, c.Sensitive, c.Fraud,
	} {
		switch s {
		case "":
			continue
		case "block":
			g.limit[r] = ActionBlock
		case "review":
			g.limit[r] = ActionReview
		case "pass":
			g.limit[r] = ActionPass
		default:
			return nil, fmt.Errorf("%s is %q, want block, review or pass", ruleKeys[r], s)
		}
		g.set[r] = true
	}
	switch c.Review {
	case "", "send":
	case "suppress":
		g.suppress = true
	default:
		return nil, fmt.Errorf("review is %q, want send or suppress", c.Review)
	}
	for i, e := range c.Classes {
		if _, err := path.Match(e.Type, ""); err != nil || (e.Type == "") == (e.Template == "") {
			return nil, fmt.Errorf("classes: entry %d: want either a type, such as erp.invoice.*, or a template", i+1)
		}
		if !slices.Contains(Classes, e.Class) {
			return nil, fmt.Errorf("classes: entry %d: unknown class %q; known are %v", i+1, e.Class, Classes)
		}
	}
	var err error
	if g.judge, err = own(); err != nil {
		return nil, err
	}
	files, err := readAll(c.Lexicons, env)
	if err != nil {
		return nil, err
	}
	if g.judge, err = with(g.judge, files); err != nil {
		return nil, err
	}
	scorer, err := readScore(c.Score, env)
	if err != nil {
		return nil, err
	}
	for tenant, names := range c.Tenants {
		more, err := readAll(names, env)
		if err != nil {
			return nil, fmt.Errorf("tenants: %s: %w", tenant, err)
		}
		if g.tenants[tenant], err = with(g.judge, slices.Concat(files, more)); err != nil {
			return nil, err
		}
		g.tenants[tenant] = g.tenants[tenant].scored(scorer)
	}
	g.judge = g.judge.scored(scorer)
	return g, nil
}

// ruleKeys are the rules' names in the section.
var ruleKeys = [ruleCount]string{"marketing", "contact", "dating", "gambling", "finance", "reward", "health", "funeral", "sensitive", "fraud"}

func readAll(names []string, env rules.Env) ([]*File, error) {
	var files []*File
	for _, name := range names {
		b, err := env.Read(name)
		if err != nil {
			return nil, fmt.Errorf("lexicon %s: %w", name, err)
		}
		f, err := Parse(name, b)
		if err != nil {
			return nil, fmt.Errorf("lexicon: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// with is the judge of the program's lexicons and the files.
func with(j *Judge, files []*File) (*Judge, error) {
	if len(files) == 0 {
		return j, nil
	}
	embedded, err := Embedded()
	if err != nil {
		return nil, err
	}
	return Compile(slices.Concat(embedded, files)...)
}

// Judge suppresses a message that a rule blocks, and lets one that a person should look at pass with its
// hits. Values of variables are judged by themselves as well; disguises and accounts that are only doubtful in a text
// are refused where the sender can put any words ([trial.strictly]).
func (g *guard) Judge(in rules.Input) rules.Verdict {
	if in.Delivery == nil {
		return rules.Verdict{}
	}
	d := in.Delivery
	v := trial{judge: g.judge, guard: g, class: g.class(in), params: d.Message.Params}
	if j, ok := g.tenants[d.Tenant]; ok {
		v.judge = j
	}
	v.template = d.Message.Template != "" && in.Kind == "sms"
	switch in.Kind {
	case "sms":
		v.text("text", d.Message.Text)
	case "email":
		v.text("subject", d.Message.Subject)
		v.text("text", d.Message.Text)
		v.html(d.Message.HTML)
	case "webhook":
		var p rules.Payload
		if json.Unmarshal(d.Message.Payload, &p) == nil && p.Content != nil {
			v.text("subject", p.Content.Subject)
			v.text("text", p.Content.Text)
			v.html(p.Content.HTML)
		}
	}
	for _, name := range v.names() {
		v.variable(name, v.params[name])
	}
	if len(v.hits) == 0 {
		return rules.Verdict{}
	}
	verdict := rules.Verdict{Rule: v.rule.String(), Hits: v.hits}
	if v.action == ActionBlock || v.found == ActionReview && g.suppress {
		verdict.Action = rules.Suppress
	}
	return verdict
}

// class is what kind of business message this is.
func (g *guard) class(in rules.Input) Class {
	if in.Class != "" {
		return Class(in.Class)
	}
	d := in.Delivery
	for _, c := range g.classes {
		if c.Template != "" && c.Template == d.Message.Template {
			return c.Class
		}
		if ok, err := path.Match(c.Type, d.Event.Type); c.Type != "" && ok && err == nil {
			return c.Class
		}
	}
	switch d.Category {
	case schemas.Verification:
		return ClassVerification
	case schemas.Alert:
		return ClassITAlert
	case schemas.Marketing:
		return ClassMarketingOptIn // whoever has not agreed is stopped by the rule consent, right before the call
	default:
		return ClassUnknown
	}
}

// trial is the judgement of one delivery.
type trial struct {
	guard    *guard
	judge    *Judge
	class    Class
	params   map[string]string
	template bool
	action   Action // of terms and scorer
	found    Action // of terms alone
	rule     Rule
	hits     []schemas.Hit
}

// names are the variables, in order.
func (v *trial) names() []string {
	var names []string
	for name := range v.params {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// strictRules are those for which a doubtful variable may be refused, see [trial.strictly]. The others are left to the sum
// of the text: a customer may well be called 诚信小额贷款公司 or 龙泉陵园管理处.
var strictRules = []Rule{RuleContact, RuleDating, RuleGambling, RuleSensitive}

// strictly says whether a hit in a variable's value is no name that merely sounds like an offence (太阳城小学, 冰毒检测试剂盒):
// somebody disguised it, or it has an account, or it is an instruction to add one and little else.
func (v *trial) strictly(value string, h *Hit) bool {
	if !slices.Contains(strictRules, h.Rule) {
		return false
	}
	switch h.Via { // not aliases (V型皮带 for 微信) nor what may be chance
	case ViaHidden, ViaGap, ViaSplit, ViaPinyin, ViaHomophone:
		return true
	}
	codes := v.judge.terms[max(h.Term, 0)].codes
	switch {
	case h.Term == NoTerm:
		return false
	case len(codes) == 0 || codes[len(codes)-1] <= tailNum: // <mobile>, 微信<id>
		return true
	}
	long := 2 * (h.RuneEnd - h.RuneStart)
	if h.Via > ViaFold { // 加微 alone, but not 加微光电
		long /= 2
	}
	return h.Rule == RuleContact && long >= leads(value) && instructs(string(utf16.Decode(codes)))
}

// instructs says whether a term asks people to add an account.
func instructs(term string) bool {
	for _, verb := range []string{"加", "关注", "扫"} {
		if _, what, ok := strings.Cut(term, verb); ok {
			for _, account := range []string{"微信", "qq", "公众号"} {
				if strings.Contains(what, account) {
					return true
				}
			}
		}
	}
	return false
}

// allowed is what the settings make of a rule's action.
func (v *trial) allowed(r Rule, a Action, strict bool) Action {
	if strict && a == ActionReview {
		a = ActionBlock
	}
	if v.guard.set[r] {
		a = min(a, v.guard.limit[r])
	}
	return a
}

func (v *trial) text(field, text string) {
	if text == "" {
		return
	}
	var room [32]Hit
	_, hits := v.judge.Judge(room[:0], text, v.class)
	v.enter(field, text, hits, false, nil)
}

func (v *trial) variable(name, value string) {
	if value == "" {
		return
	}
	var room [32]Hit
	// Without the scorer: it has learned what whole messages look like, and what is doubtful may block here.
	_, hits := v.judge.judgeTerms(room[:0], value, v.class)
	v.enter("params/"+name, value, hits, true, nil)
}

func (v *trial) html(source string) {
	if source == "" {
		return
	}
	seen := see(source)
	var room [32]Hit
	_, hits := v.judge.Judge(room[:0], seen.text, v.class)
	v.enter("html", seen.text, hits, false, &places{visible: seen, source: source})
}

// places finds hits of what is seen in the source. It counts characters on from the hit before: those of a long mail
// are not counted anew for each hit.
type places struct {
	visible
	source string
	at, n  int // n characters stand before source[:at]
}

func (p *places) of(h *Hit) (start, end, startByte, endByte int) {
	startByte, endByte = p.span(h.Start, h.End)
	if h.Term == NoTerm {
		startByte, endByte = 0, len(p.source)
	}
	if startByte >= p.at {
		p.n += utf8.RuneCountInString(p.source[p.at:startByte])
	} else { // an aside, which comes behind the text
		p.n -= utf8.RuneCountInString(p.source[startByte:p.at])
	}
	p.at = startByte
	return p.n, p.n + utf8.RuneCountInString(p.source[startByte:endByte]), startByte, endByte
}

// enter takes over the hits of one field. For HTML, text is what is seen of it: a number in a hit is masked as it is read,
// tags inside it or not, and a variable's value is found although it was escaped.
func (v *trial) enter(field, text string, hits []Hit, strict bool, in *places) {
	named := hits[:min(len(hits), maxNamed)]
	for i := range hits {
		h := &hits[i]
		if h.Cue {
			continue
		}
		action := v.allowed(h.Rule, h.Action, strict && v.strictly(text, h))
		if action == ActionPass {
			continue
		}
		if action > v.action {
			v.action, v.rule = action, h.Rule
		}
		if h.Term != NoTerm { // resemblance stops nothing, whatever becomes of reviews
			v.found = max(v.found, action)
		}
		if i >= len(named) || len(v.hits) >= maxHits || inside(named, i) {
			continue
		}
		origin, written, advice := field, "", h.Rule.resembles()
		if h.Term == NoTerm { // the whole message is nobody's in particular, and is not repeated
			origin = ""
		} else {
			written, advice = masked(text[h.Start:h.End]), h.Rule.advise(h.Via)
			if !strict {
				origin = v.origin(text, h)
			}
		}
		start, end, startByte, endByte := h.RuneStart, h.RuneEnd, h.Start, h.End
		if in != nil {
			start, end, startByte, endByte = in.of(h)
		}
		v.hits = append(v.hits, schemas.Hit{
			Rule: h.Rule.String(), Action: action.String(), Field: field,
			Start: start, End: end, StartByte: startByte, EndByte: endByte,
			Text: written, Term: v.judge.Term(h.Term), Via: h.Via.String(), Cue: v.cue(named, h),
			Origin: origin, Advice: advice,
		})
	}
}

// inside says whether the i-th hit tells a reader nothing new: it lies within another one of its rule (贷 in 贷款), or
// repeats it.
func inside(hits []Hit, i int) bool {
	h := &hits[i]
	return slices.ContainsFunc(hits, func(o Hit) bool {
		return o.Rule == h.Rule && !o.Cue && o.Start <= h.Start && h.End <= o.End && o.End-o.Start > h.End-h.Start
	}) || slices.ContainsFunc(hits[:i], func(o Hit) bool {
		return o.Rule == h.Rule && !o.Cue && o.Start == h.Start && o.End == h.End
	})
}

// maxHits is how many hits a verdict names: it is stored with the delivery. The action is that of all.
const maxHits = 50

// maxNamed is how many hits of a text are looked through for those to name.
const maxNamed = 1024

// maxCues is how many other terms a hit names.
const maxCues = 3

// minCue are the points from which a term is worth naming beside another.
const minCue = 10

// cue are the weightiest other terms that speak against the message by the hit's rule, in words of their own.
func (v *trial) cue(hits []Hit, of *Hit) string {
	var others []*Hit
	for i := range hits {
		if h := &hits[i]; (h.Rule == of.Rule || h.Rule == RuleAny) && h.Points >= minCue {
			others = append(others, h)
		}
	}
	slices.SortStableFunc(others, func(a, b *Hit) int { return b.Points - a.Points })
	told, words := []*Hit{of}, []string(nil)
	for _, h := range others {
		if len(words) == maxCues {
			break
		}
		if !slices.ContainsFunc(told, func(o *Hit) bool { return h.Term == o.Term || h.Start < o.End && o.Start < h.End }) {
			told, words = append(told, h), append(words, v.judge.Term(h.Term))
		}
	}
	return strings.Join(words, "、")
}

// origin says whose words the hit is: of the variable with the longest value that stands there, else the
// template's.
func (v *trial) origin(text string, h *Hit) string {
	longest, from := 0, ""
	for _, name := range v.names() {
		value := v.params[name]
		if len(value) <= longest {
			continue
		}
		for at := 0; ; {
			i := strings.Index(text[at:], value)
			if i < 0 || at+i >= h.End {
				break
			}
			if at += i + len(value); at > h.Start {
				longest, from = len(value), "params/"+name
				break
			}
		}
	}
	switch {
	case from != "":
		return from
	case v.template:
		return "template"
	default:
		return ""
	}
}

// minNumber is the length from which a run of digits is taken for a phone number.
const minNumber = 7

// masked hides phone numbers, which reach no log and no verdict.
func masked(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i
		n := 0
		for k := i; k < len(s); {
			e, size := shared().at(&shared().bmp, s, k)
			if classOf(e) == figure || e&spoken != 0 {
				n++
				end = k + size
			} else if isKept(e) || n == 0 {
				break
			}
			k += size
		}
		if n >= minNumber {
			b.WriteString(schemas.MaskNumber(s[i:end]))
			i = end
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+size])
		i += size
	}
	return b.String()
}
