package schemas

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// A refusal reports everything at once, so that a developer needs one round, not ten. The fast path
// stops at the first mistake; here the schema judges the whole document, what it cannot read is
// blanked, and Check judges the meaning of the rest.

// maxProblems bounds the answer to a hopeless document.
const maxProblems = 100

// problems lists what is wrong with a document that the fast path refused; it is never empty.
func problems[T any, P document[T]](b []byte, schema string) []Problem {
	if p := syntaxProblem(b); p != nil {
		return []Problem{*p}
	}
	tree, err := generic(b)
	if err != nil {
		return []Problem{undecodable(err)}
	}
	unreadable, other := violations(schema, tree)
	for _, p := range unreadable {
		tree = blank(tree, strings.Split(p.Pointer, "/")[1:])
	}
	found := unreadable
	v := P(new(T))
	if err := remarshal(tree, v); err != nil {
		found = append(found, undecodable(err))
	} else {
		for _, p := range v.Check() {
			if !slices.ContainsFunc(unreadable, func(q Problem) bool { return q.covers(p) }) {
				found = append(found, p)
			}
		}
	}
	for _, p := range other {
		if !slices.ContainsFunc(found, func(q Problem) bool { return q.Pointer == p.Pointer }) &&
			!slices.ContainsFunc(unreadable, func(q Problem) bool { return q.covers(p) }) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		// The tree is what the bytes say but for numbers: 1.0 for a whole number ends here.
		found = append(found, undecodable(json.Unmarshal(b, v, strict)))
	}
	return found
}

// covers says whether q explains p as well: p stands at or below what q could not read, or is about
// the lack of what q blanked.
func (q Problem) covers(p Problem) bool {
	return p.Pointer == q.Pointer || strings.HasPrefix(p.Pointer, q.Pointer+"/") ||
		q.Keyword != "unknown" && strings.HasPrefix(q.Pointer, p.Pointer+"/")
}

// tidy orders problems by place, drops repeats and keeps at most maxProblems, each fit to be shown.
func tidy(ps []Problem) []Problem {
	for i := range ps {
		ps[i].Pointer = shortPointer(ps[i].Pointer)
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(comparePointers(a.Pointer, b.Pointer), cmp.Compare(a.Keyword, b.Keyword))
	})
	ps = slices.CompactFunc(ps, func(a, b Problem) bool { return a.Pointer == b.Pointer && a.Keyword == b.Keyword })
	return ps[:min(len(ps), maxProblems)]
}

func comparePointers(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(x, y string) int {
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(i, j)
		}
		return cmp.Compare(x, y)
	})
}

// digitRuns finds what may be a phone number in a member's name.
var digitRuns = regexp.MustCompile(`\d{7,}`)

const maxPointer = 512

// shortPointer bounds a pointer and masks numbers in it: names come from the input, and problems are logged.
func shortPointer(s string) string {
	if len(s) > maxPointer {
		s = strings.ToValidUTF8(s[:maxPointer], "") + "…"
	}
	return digitRuns.ReplaceAllStringFunc(s, MaskNumber)
}

func undecodable(err error) Problem {
	p := Problem{"", "type", Text{"值的类型或格式不符", "the value has the wrong type or form"}}
	if bad, ok := errors.AsType[*json.SemanticError](err); ok {
		p.Pointer = string(bad.JSONPointer)
	}
	return p
}

// clamped reads numbers into float64: a schema validator that takes 1e999999999 at its word would
// compute it.
var clamped = json.WithUnmarshalers(json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *any) error {
	if dec.PeekKind() != '0' {
		return errors.ErrUnsupported // any other kind is read as usual
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	// Out of range is ±Inf, and the grammar was checked by ReadValue: no other error is left.
	f, _ := strconv.ParseFloat(string(raw), 64)
	*v = max(-math.MaxFloat64, min(f, math.MaxFloat64))
	return nil
}))

// generic is the document as plain values.
func generic(b []byte) (tree any, err error) {
	err = json.Unmarshal(b, &tree, clamped)
	return tree, err
}

func remarshal(tree, into any) error {
	b, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// blank sets the value at the path to null, which every Go type reads as absent.
func blank(tree any, path []string) any {
	if len(path) == 0 {
		return nil
	}
	switch v := tree.(type) {
	case map[string]any:
		name := unescape.Replace(path[0])
		if item, ok := v[name]; ok {
			v[name] = blank(item, path[1:])
		}
	case []any:
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(v) {
			v[i] = blank(v[i], path[1:])
		}
	}
	return tree
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// ours are the schemas that the decoders use.
var ours = []string{"event.schema.json", "delivery.schema.json", "dead-letter.schema.json"}

type compiled struct {
	schemas map[string]*jsonschema.Schema // by file name
	sources map[string]any                // parsed files by $id
}

// compile reads the embedded schemas once. They are part of the binary, so a mistake in them is a
// bug that the first test run meets: it panics.
var compile = sync.OnceValue(func() compiled {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	// The formats are judged by the code that decodes them, so that both paths agree.
	c.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: formatDateTime})
	c.RegisterFormat(&jsonschema.Format{Name: "uri-reference", Validate: formatURIReference})
	all := compiled{map[string]*jsonschema.Schema{}, map[string]any{}}
	for _, name := range ours {
		b, _ := File(name)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err == nil {
			err = c.AddResource(baseURL+name, doc)
		}
		if err != nil {
			panic(err)
		}
		all.sources[baseURL+name] = doc
	}
	for _, name := range ours {
		all.schemas[name] = c.MustCompile(baseURL + name)
	}
	return all
})

func formatDateTime(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	quoted, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return err
	}
	return json.Unmarshal(quoted, new(time.Time))
}

func formatURIReference(v any) error {
	if s, ok := v.(string); ok && !isURIReference(s) {
		return uriForm
	}
	return nil
}

// violations runs the schema. unreadable are violations that the Go types cannot hold, or that
// explain an absence; other are those that Check finds as well, in better words.
func violations(schema string, tree any) (unreadable, other []Problem) {
	bad, ok := errors.AsType[*jsonschema.ValidationError](compile().schemas[schema].Validate(tree))
	if !ok {
		return nil, nil
	}
	walk(bad, func(e *jsonschema.ValidationError) {
		at := make([]any, len(e.InstanceLocation))
		for i, s := range e.InstanceLocation {
			at[i] = s
		}
		here := pointer("", at...)
		hard := func(p string, err *ValueError) {
			unreadable = append(unreadable, Problem{p, err.Keyword, err.Text})
		}
		soft := func(err *ValueError) { other = append(other, Problem{here, err.Keyword, err.Text}) }
		if max(len(unreadable), len(other)) >= maxProblems {
			return
		}
		switch k := e.ErrorKind.(type) {
		case *kind.AdditionalProperties:
			known := members(e.SchemaURL)
			slices.Sort(k.Properties)
			for _, name := range k.Properties[:min(len(k.Properties), maxProblems)] {
				hard(pointer(here, name), unknown(here, name, known))
			}
		case *kind.Required:
			for _, name := range k.Missing {
				hard(pointer(here, name), missing(name))
			}
		case *kind.Type:
			if name := lastName(e.InstanceLocation); k.Got == "null" && len(k.Want) == 1 && name != "" {
				hard(here, missing(name))
				return
			}
			hard(here, wrongType(k.Got, k.Want))
		case *kind.Format:
			if k.Want == "date-time" {
				hard(here, timeForm)
				return
			}
			soft(uriForm)
		case *kind.Minimum:
			if k.Want.Sign() == 0 {
				soft(belowZero)
				return
			}
			hard(here, numberRange)
		case *kind.Maximum:
			hard(here, numberRange)
		case *kind.Enum:
			if k.Got == nil || !isString(k.Got) {
				hard(here, notOneOf(words(k.Want)))
				return
			}
			soft(notOneOf(words(k.Want)))
		case *kind.MaxLength:
			soft(tooLong(k.Want, k.Got))
		case *kind.MaxItems:
			soft(tooMany(k.Want, k.Got))
		default:
			soft(wrong("schema", "不符合 JSON Schema 的约束", "does not match the JSON Schema"))
		}
	})
	return unreadable, other
}

// walk visits the leaves of a validation error. Of "null or something" it visits the something; any
// other anyOf is a rule that Check words better.
func walk(e *jsonschema.ValidationError, visit func(*jsonschema.ValidationError)) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf:
		for _, c := range e.Causes {
			if t, ok := c.ErrorKind.(*kind.Type); ok && slices.Equal(t.Want, []string{"null"}) {
				for _, other := range e.Causes {
					if other != c {
						walk(other, visit)
					}
				}
				return
			}
		}
		visit(e)
	case *kind.PropertyNames:
		// Its location is a slice that the validator goes on writing to; Check names these members.
	default:
		if len(e.Causes) == 0 {
			visit(e)
		}
		for _, c := range e.Causes {
			walk(c, visit)
		}
	}
}

// lastName is the member's name at the end of a location, "" for an array's element and the root.
func lastName(at []string) string {
	if len(at) == 0 {
		return ""
	}
	name := at[len(at)-1]
	if _, err := strconv.Atoi(name); err == nil {
		return ""
	}
	return name
}

func isString(v any) bool { _, ok := v.(string); return ok }

func words(list []any) []string {
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// members are the names that the object at a schema location may have.
func members(schemaURL string) []string {
	file, fragment, _ := strings.Cut(schemaURL, "#")
	node := compile().sources[file]
	for part := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		if m, ok := node.(map[string]any); ok && part != "" {
			node = m[unescape.Replace(part)]
		}
	}
	m, _ := node.(map[string]any)
	properties, _ := m["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// unknown words a member that nobody knows, with the likeliest name that was meant.
func unknown(parent, name string, known []string) *ValueError {
	if parent == "" && name == "data_base64" {
		return wrong("unknown", "不支持 data_base64，请在 data 中直接写 JSON 对象", "data_base64 is not supported: write the JSON object itself into data")
	}
	e := wrong("unknown", "没有名为“%s”的字段", "there is no member %q here", shown(name))
	if near := nearest(name, known); near != "" {
		e.Zh += "，是否想写“" + near + "”？"
		e.En += "; did you mean " + strconv.Quote(near) + "?"
		return e
	}
	if parent == "" && slices.Contains(members(baseURL+"event.schema.json#/$defs/data"), name) {
		e.Zh += "，它应写在 data 之内"
		e.En += "; it belongs inside data"
		return e
	}
	e.Zh += "；可用字段：" + strings.Join(known, "、")
	e.En += "; known are " + strings.Join(known, ", ")
	return e
}
