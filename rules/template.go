package rules

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// reserved are the names that texts use for what is not a parameter: .to.name, .to.locale, and
// .event.id, .type, .time, .source, .subject.
var reserved = []string{"event", "to"}

// functions is all that a template may call: comparison and logic, index and len for lists, printf
// for numbers, and date.
var functions = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "printf", "date"}

// templateFuncs is our own among them: {{date "2006-01-02 15:04" .event.time}} writes an RFC 3339
// time (or a date, 2026-11-30) in another layout (Go's reference time), in the zone it was given in.
var templateFuncs = template.FuncMap{"date": func(layout, value string) (string, error) {
	for _, known := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(known, value); err == nil {
			return t.Format(layout), nil
		}
	}
	return "", errors.New("not an RFC 3339 time or date") // without the value: errors are stored and shown
}}

// templateSet is the texts of one template by channel name or kind.
type templateSet map[string]*compiled

// find looks the text up by the channel's name first, then by its kind.
func (s templateSet) find(channel, kind string) *compiled {
	if t := s[channel]; t != nil {
		return t
	}
	return s[kind]
}

type templateSource struct {
	Code str `yaml:"code"`
	// Codes are the template's codes at further providers, by the provider's name.
	Codes   map[string]str `yaml:"codes"`
	Params  []Param        `yaml:"params"`
	Text    str            `yaml:"text"`
	Subject str            `yaml:"subject"`
	HTML    str            `yaml:"html"`
}

// executor is what text and HTML templates have in common.
type executor interface {
	Execute(w io.Writer, data any) error
}

// compiled is one template for one channel or kind.
type compiled struct {
	spot
	code                string
	codes               map[string]string // by provider; nil: none
	source              string            // the text as the file writes it
	params              []string          // the provider's variables, all required
	kinds               map[string]schemas.ParamKind
	needs               []string          // every parameter without which rendering fails for sure, sorted
	text, subject, html executor          // nil: absent
	statics             []schemas.Message // the words without values, see statics
}

func (b *Book) addTemplates(sources map[string]map[string]strictyaml.Section) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if name == "" {
			errs = append(errs, errors.New("templates: a template needs a name"))
		}
		if len(sources[name]) == 0 {
			errs = append(errs, fmt.Errorf("templates.%s: holds no text for any channel", name))
		}
		b.templates[name] = make(templateSet)
		for _, key := range slices.Sorted(maps.Keys(sources[name])) {
			section := sources[name][key]
			t, err := compileTemplate(section)
			if err != nil {
				errs = append(errs, fmt.Errorf("templates.%s.%s: %w", name, key, err))
				continue
			}
			b.templates[name][key] = t
			if !slices.Contains(kindNames, key) {
				b.named = append(b.named, mention{t.spot, key, "templates." + name})
			}
		}
	}
	return errors.Join(errs...)
}

func compileTemplate(section strictyaml.Section) (*compiled, error) {
	var src templateSource
	if err := section.Decode(&src); err != nil {
		return nil, err
	}
	t := &compiled{spot: where(section), code: src.Code.s, source: src.Text.s}
	if src.Text.s == "" && src.HTML.s == "" {
		return nil, t.errorf("needs text or html")
	}
	for provider, code := range src.Codes {
		if provider == "" || code.s == "" {
			return nil, code.errorf("codes wants a provider's name and the template's code there")
		}
		if t.codes == nil {
			t.codes = make(map[string]string)
		}
		t.codes[provider] = code.s
	}
	for _, p := range src.Params {
		switch {
		case p.Name == "" || slices.Contains(reserved, p.Name):
			return nil, p.errorf("%q cannot be the name of a parameter", p.Name)
		case slices.Contains(t.params, p.Name):
			return nil, p.errorf("parameter %q is listed twice", p.Name)
		}
		t.params = append(t.params, p.Name)
		if p.Kind != "" {
			if t.kinds == nil {
				t.kinds = make(map[string]schemas.ParamKind)
			}
			t.kinds[p.Name] = p.Kind
		}
	}
	var all names
	var words [3][]string
	for i, field := range []struct {
		name string
		src  str
		into *executor
		html bool
	}{{"subject", src.Subject, &t.subject, false}, {"text", src.Text, &t.text, false}, {"html", src.HTML, &t.html, true}} {
		if field.src.s == "" {
			continue
		}
		var err error
		if *field.into, words[i], err = all.parse(field.name, field.src.s, field.html); err != nil {
			return nil, field.src.errorf("%w", err)
		}
	}
	t.statics = combine(words[0], words[1], words[2])
	if t.filed() {
		for name := range all.any {
			if !slices.Contains(t.params, name) {
				// The judge would read another text than the one that the provider sends.
				return nil, src.Text.errorf("uses %q, which params does not list: the provider's template %s cannot know it", name, t.anyCode())
			}
		}
	}
	for _, name := range t.params {
		all.sure(name)
	}
	for _, name := range reserved {
		delete(all.always, name)
	}
	t.needs = slices.Sorted(maps.Keys(all.always))
	return t, nil
}

// filed says whether a provider holds the text.
func (t *compiled) filed() bool { return t.anyCode() != "" }

// anyCode is the template's code at one of its providers, to speak of.
func (t *compiled) anyCode() string {
	if t.code != "" || len(t.codes) == 0 {
		return t.code
	}
	return t.codes[slices.Min(slices.Collect(maps.Keys(t.codes)))]
}

// fits says what a text lacks, or has too much, for a kind of channel.
func (t *compiled) fits(kind string) error {
	switch {
	case kind == kindSMS && t.text == nil:
		return errors.New("an SMS needs text, the whole of it as the provider will send it (it is what the rules judge)")
	case kind == kindSMS && (t.subject != nil || t.html != nil):
		return errors.New("an SMS has no subject and no html")
	case kind != kindSMS && t.filed():
		return errors.New("code is for SMS only")
	case kind == kindEmail && t.subject == nil:
		return errors.New("a mail needs a subject")
	case kind == kindWebhook && t.text == nil:
		return errors.New("a webhook message needs text")
	}
	return nil
}

// short is ${name}, as SMS providers write their templates; ${{.amount}} is a dollar and a field.
var (
	short     = regexp.MustCompile(`\$\{([^{}]*)\}`)
	shortName = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`)
)

// names collects the parameters that texts use.
type names struct {
	always map[string]bool // evaluated in every rendering
	any    map[string]bool // in some
}

func (n *names) sure(name string) {
	n.add(name, true)
}

func (n *names) add(name string, always bool) {
	if n.any == nil {
		n.any, n.always = make(map[string]bool), make(map[string]bool)
	}
	n.any[name] = true
	if always {
		n.always[name] = true
	}
}

// parse compiles one field and notes the parameters it uses; words are its readings without values.
func (n *names) parse(field, source string, html bool) (_ executor, words []string, _ error) {
	source = strings.TrimRight(source, "\r\n") // the end of a YAML block, not of the message
	if field == "subject" && strings.ContainsAny(source, "\r\n") {
		return nil, nil, errors.New("a subject is one line")
	}
	var bad error
	source = short.ReplaceAllStringFunc(source, func(s string) string {
		name := s[2 : len(s)-1]
		if !shortName.MatchString(name) {
			bad = fmt.Errorf("%s: %s is not ${name}", field, s)
		}
		return "{{." + name + "}}"
	})
	if bad != nil {
		return nil, nil, bad
	}
	// Text templates parse HTML sources just as well; the walk sees them before the escaper adds its own functions.
	text, err := template.New(field).Option("missingkey=error").Funcs(templateFuncs).Parse(source)
	if err != nil {
		return nil, nil, err
	}
	if len(text.Templates()) > 1 {
		return nil, nil, fmt.Errorf("%s: define and block are not available", field)
	}
	if text.Tree == nil || text.Root == nil {
		return nil, nil, fmt.Errorf("%s: is empty", field)
	}
	if err := n.walk(text.Tree, text.Root, true, true); err != nil {
		return nil, nil, err
	}
	words = statics(text.Root)
	if !html {
		return text, words, nil
	}
	page, err := htmltemplate.New(field).Option("missingkey=error").Funcs(htmltemplate.FuncMap(templateFuncs)).Parse(source)
	if err != nil {
		return nil, nil, err
	}
	// The escaper runs at the first execution; what it refuses is a mistake in the file.
	if e, ok := errors.AsType[*htmltemplate.Error](page.Execute(io.Discard, nil)); ok && e.ErrorCode != htmltemplate.OK {
		return nil, nil, e
	}
	return page, words, nil
}

// walk visits a syntax tree. top says that the dot is the data itself, not an element of a range
// or the value of a with; always that the node is evaluated in every rendering.
func (n *names) walk(tree *parse.Tree, node parse.Node, top, always bool) error {
	switch node := node.(type) {
	case *parse.ListNode:
		if node == nil {
			return nil
		}
		for _, child := range node.Nodes {
			if err := n.walk(tree, child, top, always); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return n.walk(tree, node.Pipe, top, always)
	case *parse.IfNode:
		return n.branch(tree, &node.BranchNode, top, top, always)
	case *parse.WithNode:
		return n.branch(tree, &node.BranchNode, false, top, always)
	case *parse.RangeNode:
		return n.branch(tree, &node.BranchNode, false, top, always)
	case *parse.PipeNode:
		if node == nil {
			return nil
		}
		for _, cmd := range node.Cmds {
			if err := n.command(tree, cmd, top, always); err != nil {
				return err
			}
		}
	case *parse.FieldNode:
		if top {
			n.add(node.Ident[0], always)
		}
	case *parse.VariableNode:
		if node.Ident[0] == "$" && len(node.Ident) > 1 {
			n.add(node.Ident[1], always)
		}
	case *parse.ChainNode:
		return n.walk(tree, node.Node, top, always)
	case *parse.IdentifierNode:
		if !slices.Contains(functions, node.Ident) {
			return fmt.Errorf("%s: function %q is not available; known are %s", location(tree, node), node.Ident, strings.Join(functions, ", "))
		}
	case *parse.TemplateNode:
		return fmt.Errorf("%s: template is not available", location(tree, node))
	}
	return nil
}

func (n *names) branch(tree *parse.Tree, b *parse.BranchNode, topInside, top, always bool) error {
	if err := n.walk(tree, b.Pipe, top, always); err != nil {
		return err
	}
	if err := n.walk(tree, b.List, topInside, false); err != nil {
		return err
	}
	if b.ElseList == nil {
		return nil
	}
	return n.walk(tree, b.ElseList, top, false)
}

func (n *names) command(tree *parse.Tree, cmd *parse.CommandNode, top, always bool) error {
	lazy := false
	if id, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		lazy = id.Ident == "and" || id.Ident == "or" // they stop at the first argument that decides
	}
	for i, arg := range cmd.Args {
		if err := n.walk(tree, arg, top, always && (!lazy || i < 2)); err != nil {
			return err
		}
	}
	return nil
}

func location(tree *parse.Tree, node parse.Node) string {
	at, _ := tree.ErrorContext(node)
	return at
}
