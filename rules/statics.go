package rules

import (
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/yizhan-dev/yizhan/schemas"
)

// placeholder stands for a value in a template's own words: of a common length, with no meaning, and
// in a script that a carrier's phone shows as it is.
const placeholder = "某某某某"

// maxStatics bounds the readings of one text that are judged; a template with more branches is judged by
// its first ones.
const maxStatics = 32

// statics are the readings of a text without its values: one with every condition true and every list
// with one element, and one more for each {{else}}, so that each word of the file stands in at least one.
func statics(root *parse.ListNode) []string {
	elses := findElses(root, nil)
	out := []string{reading(root, nil)}
	for _, path := range elses[:min(len(elses), maxStatics-1)] {
		if s := reading(root, path); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// turns says of which branches the {{else}} is read.
type turns map[*parse.BranchNode]bool

func branchOf(node parse.Node) *parse.BranchNode {
	switch node := node.(type) {
	case *parse.IfNode:
		return &node.BranchNode
	case *parse.WithNode:
		return &node.BranchNode
	case *parse.RangeNode:
		return &node.BranchNode
	}
	return nil
}

// findElses lists the turns that lead to each {{else}} under list.
func findElses(list *parse.ListNode, before turns) []turns {
	if list == nil {
		return nil
	}
	var out []turns
	for _, node := range list.Nodes {
		b := branchOf(node)
		if b == nil {
			continue
		}
		out = append(out, findElses(b.List, before)...)
		if b.ElseList != nil {
			here := turns{b: true}
			maps.Copy(here, before)
			out = append(append(out, here), findElses(b.ElseList, here)...)
		}
	}
	return out
}

func reading(list *parse.ListNode, at turns) string {
	if list == nil {
		return ""
	}
	var s strings.Builder
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.TextNode:
			s.Write(node.Text)
		case *parse.ActionNode:
			if node.Pipe == nil || len(node.Pipe.Decl) == 0 { // {{$x := …}} prints nothing
				s.WriteString(placeholder)
			}
		default:
			if b := branchOf(node); b != nil && at[b] {
				s.WriteString(reading(b.ElseList, at))
			} else if b != nil {
				s.WriteString(reading(b.List, at))
			}
		}
	}
	return s.String()
}

// TemplateReport is what the guards say of a template's own words, with 某某某某 for each value.
type TemplateReport struct {
	Template string `json:"template"`
	For      string `json:"for"` // the key in the file: a channel or a kind
	Channel  string `json:"channel,omitzero"`
	// Line and Column are where the text's section stands in rules.yaml, from 1; 0 when not known.
	Line    int             `json:"line,omitzero"`
	Column  int             `json:"column,omitzero"`
	Message schemas.Message `json:"-"` // what was judged, of the reading with the strongest report
	Report
}

// LintTemplates judges the words of every template, without values. channels are the configured ones by
// name; a text for a kind is judged for each provider and signature among them, or for the kind alone
// where there is none. A category or class of as may excuse a word, and its time makes a clock; with
// the zero Draft nothing does, which is the strictest.
func (b *Book) LintTemplates(channels map[string]Channel, as Draft) []TemplateReport {
	var out []TemplateReport
	for _, name := range slices.Sorted(maps.Keys(b.templates)) {
		for _, key := range slices.Sorted(maps.Keys(b.templates[name])) {
			t := b.templates[name][key]
			for _, use := range usesOf(key, b.templates[name], channels) {
				r := TemplateReport{Template: name, For: key, Channel: use.name, Report: Report{Action: ReportPass}}
				r.Line, r.Column = t.place()
				for i, m := range t.statics {
					as.Kind, as.Provider, as.Signature, as.Message = use.Kind, use.Provider, use.Signature, m
					as.Message.Template = name
					one := b.Lint(as.Input())
					if i == 0 || Stronger(r.Action, one.Action) != r.Action {
						r.Report, r.Message = one, m
					}
				}
				out = append(out, r)
			}
		}
	}
	return out
}

// WithGuards is the book with the guards of another: its templates under somebody else's rules.
func (b *Book) WithGuards(of *Book) *Book {
	out := *b
	out.guards, out.reservers = of.guards, of.reservers
	return &out
}

type use struct {
	name string
	Channel
}

// usesOf are the channels that a text of a template serves, one for each provider and signature.
func usesOf(key string, set templateSet, channels map[string]Channel) []use {
	if c, ok := channels[key]; ok {
		return []use{{key, c}}
	}
	var out []use
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		c := channels[name]
		if c.Kind == key && set[name] == nil && !slices.ContainsFunc(out, func(u use) bool { return u.Channel == c }) {
			out = append(out, use{name, c})
		}
	}
	if len(out) == 0 {
		c := Channel{Kind: guessKind(key)}
		if c.Kind == kindSMS {
			c.Signature = placeholder // whichever it is, the provider puts one in front
		}
		out = []use{{"", c}}
	}
	return out
}

// guessKind is the kind that a key of a template means where the channels are not known.
func guessKind(key string) string {
	if slices.Contains(kindNames, key) {
		return key
	}
	return map[string]string{"mail": kindEmail}[key]
}

// combine makes the messages to judge of the readings of the three fields.
func combine(subject, text, html []string) []schemas.Message {
	var out []schemas.Message
	at := func(list []string, i int) string {
		if len(list) == 0 {
			return ""
		}
		return list[min(i, len(list)-1)]
	}
	for i := range max(len(subject), len(text), len(html)) {
		out = append(out, schemas.Message{Subject: at(subject, i), Text: at(text, i), HTML: at(html, i)})
	}
	return out
}
