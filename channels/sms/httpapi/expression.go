package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml"
	yamlast "github.com/goccy/go-yaml/ast"
)

// scope is what expressions see.
type scope struct {
	Status  int               `expr:"status"`
	Headers map[string]string `expr:"headers"` // by lower-case name
	Body    any               `expr:"body"`    // objects are maps, numbers int or float, a body that is text a string
	Item    any               `expr:"item"`    // one record of a list
}

const maxNodes = 300

// expression is one of expr-lang. One that fails on what a provider answered (a field that is missing, an index
// beyond the end) has no value: that is an answer like any other.
type expression struct {
	source  string
	program *vm.Program
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (e *expression) UnmarshalYAML(n yamlast.Node) error {
	switch v := n.(type) {
	case *yamlast.StringNode:
		e.source = v.Value
	case *yamlast.LiteralNode:
		e.source = v.Value.Value
	default:
		return &yaml.SyntaxError{Message: "want an expression; put it in quotes", Token: n.GetToken()}
	}
	// now is out: what an answer means does not depend on when it is read.
	program, err := expr.Compile(e.source, expr.Env(scope{}), expr.MaxNodes(maxNodes), expr.DisableBuiltin("now"))
	if err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	e.program = program
	return nil
}

func (e expression) given() bool { return e.source != "" }

// looksAt says whether e names a variable.
func (e expression) looksAt(variable string) bool {
	tree, err := parser.Parse(e.source)
	if err != nil {
		return false
	}
	f := &finder{name: variable}
	ast.Walk(&tree.Node, f)
	return f.found
}

type finder struct {
	name  string
	found bool
}

func (f *finder) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok && id.Value == f.name {
		f.found = true
	}
}

func (e expression) eval(at scope) any {
	if e.program == nil {
		return nil
	}
	v, err := expr.Run(e.program, at)
	if err != nil {
		return nil
	}
	return v
}

func (e expression) isTrue(at scope) bool {
	v, _ := e.eval(at).(bool)
	return v
}

// str is the value as text: "" for none, and for what is neither text nor a number.
func (e expression) str(at scope) string {
	switch v := e.eval(at).(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// china is UTC+8 all year.
var china = time.FixedZone("UTC+8", 8*60*60)

// when is the value as a time: RFC 3339, a Chinese provider's "2006-01-02 15:04:05" or its digits alone (UTC+8), or
// a Unix time in seconds or milliseconds; zero when it is none of these.
func (e expression) when(at scope) time.Time {
	s := strings.TrimSpace(e.str(at))
	for _, layout := range []string{time.RFC3339, time.DateTime, "20060102150405"} {
		if t, err := time.ParseInLocation(layout, s, china); err == nil {
			return t
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n <= 0:
		return time.Time{}
	case n > 1e11:
		return time.UnixMilli(n)
	}
	return time.Unix(n, 0)
}
