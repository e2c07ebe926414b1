// Package strictyaml reads configuration so that a mistake is found where it was made: unknown
// keys, wrong types and duplicate keys are errors with line, column and the lines around them.
package strictyaml

import (
	"bytes"
	"errors"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Decode reads one document into v. An empty document leaves v as it is.
func Decode(b []byte, v any) error {
	err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(v)
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

// Decode reads the section strictly into v; an absent one leaves v as it is.
func (s Section) Decode(v any) error {
	if s.node == nil {
		return nil
	}
	return tidy(yaml.NodeToValue(s.node, v, yaml.Strict()))
}

// Peek reads what v knows and ignores the rest.
func (s Section) Peek(v any) error {
	if s.node == nil {
		return nil
	}
	return tidy(yaml.NodeToValue(s.node, v))
}

// ToJSON converts a document to JSON, for checking it against a JSON Schema.
func ToJSON(b []byte) ([]byte, error) {
	if _, err := parser.ParseBytes(b, 0); err != nil {
		return nil, tidy(err)
	}
	return yaml.YAMLToJSON(b)
}

func tidy(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(yaml.FormatError(err, false, true))
}
