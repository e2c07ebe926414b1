package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// spot remembers where a value stands in rules.yaml, so that a mistake found after parsing (a
// condition that does not compile, a channel that does not exist) is shown at its place as well.
type spot struct{ node ast.Node }

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *spot) UnmarshalYAML(n ast.Node) error {
	s.node = n
	return nil
}

// where is the place of a section.
func where(section strictyaml.Section) (s spot) {
	_ = section.Peek(&s) // keeping a node cannot fail
	return s
}

func (s spot) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if s.node == nil || s.node.GetToken() == nil {
		return err
	}
	at := &yaml.SyntaxError{Message: err.Error(), Token: s.node.GetToken()}
	return errors.New(yaml.FormatError(at, false, true))
}

// place is the spot's line and column, from 1; 0, 0 when it is not known.
func (s spot) place() (line, column int) {
	if s.node == nil || s.node.GetToken() == nil || s.node.GetToken().Position == nil {
		return 0, 0
	}
	at := s.node.GetToken().Position
	return at.Line, at.Column
}

// str is a string of rules.yaml and its place. Unlike a plain string field it refuses numbers and
// booleans: a channel called 10086 or a text called yes is written in quotes.
type str struct {
	spot
	s string
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *str) UnmarshalYAML(n ast.Node) error {
	s.node = n
	switch v := n.(type) {
	case *ast.StringNode:
		s.s = v.Value
	case *ast.LiteralNode:
		s.s = v.Value.Value
	default:
		return &yaml.SyntaxError{Message: "want a string; put it in quotes", Token: n.GetToken()}
	}
	return nil
}

func values(in []str) []string {
	var out []string
	for _, s := range in {
		out = append(out, s.s)
	}
	return out
}

// Param is an entry of a template's params: a name, or {name: kind}.
type Param struct {
	spot
	Name string
	Kind schemas.ParamKind // "" when the file does not say
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (p *Param) UnmarshalYAML(n ast.Node) error {
	var entry *ast.MappingValueNode
	switch v := n.(type) {
	case *ast.MappingValueNode:
		entry = v
	case *ast.MappingNode:
		if len(v.Values) == 1 {
			entry = v.Values[0]
		}
	case *ast.StringNode, *ast.LiteralNode:
		var s str
		err := s.UnmarshalYAML(n)
		p.spot, p.Name = s.spot, s.s
		return err
	}
	if entry == nil {
		return &yaml.SyntaxError{Message: "want a parameter's name, or {name: kind}; put numbers in quotes", Token: n.GetToken()}
	}
	p.node, p.Name = entry.Key, entry.Key.GetToken().Value
	kind, ok := entry.Value.(*ast.StringNode)
	if ok {
		p.Kind = schemas.ParamKind(kind.Value)
	}
	if !slices.Contains(schemas.ParamKinds, p.Kind) {
		return &yaml.SyntaxError{Message: fmt.Sprintf("%s: want a kind, one of %v", p.Name, schemas.ParamKinds), Token: entry.Value.GetToken()}
	}
	return nil
}

// String is the entry as it is written.
func (p Param) String() string {
	if p.Kind == "" {
		return p.Name
	}
	return p.Name + ": " + string(p.Kind)
}
