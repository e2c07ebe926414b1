// Package strictyaml reads configuration so that a mistake is found where it was made: unknown
// keys, wrong types and duplicate keys are errors with line, column and the lines around them.
package strictyaml

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Decode reads one document into v. An empty document leaves v as it is, and so does null for a
// single value. A value of another type than v's is an error, nothing is converted: 7.5 is no whole
// number and 10086 no text; an explicit 0 is one where the field is omitempty, since the program
// could not tell it from an absent one. The error of a bad document is a [*Mistake].
func Decode(b []byte, v any) error {
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return tidy(err)
	}
	for i, doc := range file.Docs {
		if i > 0 && doc.Body != nil { // the library would read the first and forget the rest
			return mistake(doc.Body.GetToken(), "只能有一个 YAML 文档", "want one YAML document only")
		}
		if err := check(doc.Body, reflect.TypeOf(v), ""); err != nil {
			return err
		}
	}
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return tidy(err)
}

// Section is a part of a document that is decoded later, by whoever owns it. The zero Section is
// an absent one.
type Section struct{ node ast.Node }

// UnmarshalYAML keeps the node, and with it the positions for later errors.
func (s *Section) UnmarshalYAML(n ast.Node) error {
	s.node = n
	return nil
}

// Present says whether the section was there at all.
func (s Section) Present() bool { return s.node != nil }

// Decode reads the section into v as strictly as the function [Decode]; an absent one leaves v as it is.
func (s Section) Decode(v any) error { return s.read(v, yaml.Strict()) }

// Peek reads what v knows and ignores the rest.
func (s Section) Peek(v any) error { return s.read(v) }

func (s Section) read(v any, opts ...yaml.DecodeOption) error {
	if s.node == nil {
		return nil
	}
	if err := check(s.node, reflect.TypeOf(v), ""); err != nil {
		return err
	}
	return tidy(yaml.NodeToValue(s.node, v, opts...))
}

// ToJSON converts a document to JSON, for checking it against a JSON Schema.
func ToJSON(b []byte) ([]byte, error) {
	if _, err := parser.ParseBytes(b, 0); err != nil {
		return nil, tidy(err)
	}
	return yaml.YAMLToJSON(b)
}

// Without is the section without some of its keys, for a reader that does not know them.
func (s Section) Without(keys ...string) Section {
	return s.with(slices.DeleteFunc(slices.Clone(entries(s.node)), func(e *ast.MappingValueNode) bool { return slices.Contains(keys, name(e)) }))
}

// Or is the section with those of the keys that it lacks taken over from another, places included.
func (s Section) Or(from Section, keys ...string) Section {
	values := slices.Clone(entries(s.node))
	for _, e := range entries(from.node) {
		if slices.Contains(keys, name(e)) && !slices.ContainsFunc(values, func(own *ast.MappingValueNode) bool { return name(own) == name(e) }) {
			values = append(values, e)
		}
	}
	return s.with(values)
}

// with is the section with other entries; one that is no mapping stays as it is, for its reader to refuse.
func (s Section) with(values []*ast.MappingValueNode) Section {
	if !mapping(s.node) {
		return s
	}
	m := &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: s.node.GetToken(), Values: values}
	if own, ok := s.node.(*ast.MappingNode); ok {
		m.Start, m.IsFlowStyle = own.Start, own.IsFlowStyle
	}
	return Section{m}
}
