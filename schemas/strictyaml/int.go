package strictyaml

import (
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Int is a whole number. A plain int field takes 7.5 for 7 without a word; an Int refuses it, and
// numbers in quotes, with line and column.
type Int int

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (i *Int) UnmarshalYAML(n ast.Node) error {
	if v, ok := n.(*ast.IntegerNode); ok {
		switch x := v.Value.(type) {
		case int64:
			if x >= math.MinInt32 && x <= math.MaxInt32 {
				*i = Int(x)
				return nil
			}
		case uint64:
			if x <= math.MaxInt32 {
				*i = Int(x)
				return nil
			}
		}
	}
	return &yaml.SyntaxError{Message: "want a whole number", Token: n.GetToken()}
}
