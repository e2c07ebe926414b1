package strictyaml

import (
	"encoding"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/yizhan-dev/yizhan/schemas"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// check compares a node with the Go type that is to hold it. The library is generous: it reads 7.5
// and "7" as 7, and 10086 as text. Of unknown keys it says nothing; decoding does. Types with an
// UnmarshalYAML of their own judge for themselves. key is the name to speak of.
func check(n ast.Node, t reflect.Type, key string) error {
	n = bare(n)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n == nil || leaveAlone(n) || t.Kind() == reflect.Interface {
		return nil
	}
	if _, own := reflect.PointerTo(t).MethodByName("UnmarshalYAML"); own {
		return nil
	}
	bad := func(zh, en string) error {
		if key != "" {
			zh, en = key+"："+zh, key+": "+en
		}
		return mistake(n.GetToken(), zh, en)
	}
	switch {
	case t == durationType:
		if s, ok := text(n); ok {
			if _, err := time.ParseDuration(s); err == nil {
				return nil
			}
		}
		return bad("应为时长，如 15s、10m、2h", "want a duration such as 15s, 10m or 2h")
	case t == timeType:
		if s, ok := text(n); ok {
			if _, err := time.Parse(time.RFC3339, s); err == nil {
				return nil
			}
		}
		return bad("应为带时区的时间，如 2026-11-23T09:00:00+08:00", "want a time with its zone, such as 2026-11-23T09:00:00+08:00")
	case reflect.PointerTo(t).Implements(textType):
		s, ok := text(n)
		if !ok {
			return bad("应为文本，数字请加引号", "want a string; put numbers in quotes")
		}
		err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		if invalid, ok := errors.AsType[*schemas.Invalid](err); ok && len(invalid.Problems) > 0 {
			return bad(invalid.Problems[0].Zh, invalid.Problems[0].En)
		} else if err != nil {
			return bad("无效的值："+err.Error(), err.Error())
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkStruct(n, t, bad)
	case reflect.Map:
		if !mapping(n) {
			return bad("应为一组“键: 值”", "want keys and values")
		}
		for _, e := range entries(n) {
			if err := check(e.Value, t.Elem(), name(e)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return bad("应为列表，如 [a, b]", "want a list such as [a, b]")
		}
		for _, v := range list.Values {
			if err := check(v, t.Elem(), key); err != nil {
				return err
			}
		}
	case reflect.String:
		if _, ok := text(n); !ok {
			return bad("应为文本，数字请加引号", "want a string; put numbers in quotes")
		}
	case reflect.Bool:
		if _, ok := n.(*ast.BoolNode); !ok {
			return bad("应为 true 或 false", "want true or false")
		}
	case reflect.Float32, reflect.Float64:
		switch n.(type) {
		case *ast.FloatNode, *ast.IntegerNode:
		default:
			return bad("应为数字", "want a number")
		}
	default: // whole numbers
		if _, ok := n.(*ast.IntegerNode); !ok {
			return bad("应为整数", "want a whole number")
		}
	}
	return nil
}

func checkStruct(n ast.Node, t reflect.Type, bad func(zh, en string) error) error {
	if !mapping(n) {
		return bad("应为一组“键: 值”", "want keys and values")
	}
	fields := map[string]reflect.StructField{}
	collect(t, fields)
	for _, e := range entries(n) {
		f, ok := fields[name(e)]
		if !ok {
			continue
		}
		if err := check(e.Value, f.Type, name(e)); err != nil {
			return err
		}
		// Left out and 0 are the same to the program, which then takes its default. Who writes 0 means 0.
		if strings.Contains(f.Tag.Get("yaml"), ",omitempty") && zero(e.Value, f.Type) {
			return mistake(e.Value.GetToken(), name(e)+"：不能为 0；不写此键即使用默认值", name(e)+": cannot be 0; leave the key out for its default")
		}
	}
	return nil
}

// collect lists a struct's fields by key, those of inline structs included.
func collect(t reflect.Type, fields map[string]reflect.StructField) {
	for f := range t.Fields() {
		tag := f.Tag.Get("yaml")
		key, options, _ := strings.Cut(tag, ",")
		switch {
		case options == "inline":
			collect(f.Type, fields)
		case !f.IsExported() || tag == "-":
		case key == "":
			fields[strings.ToLower(f.Name)] = f
		default:
			fields[key] = f
		}
	}
}

func zero(n ast.Node, t reflect.Type) bool {
	switch n := bare(n).(type) {
	case *ast.IntegerNode:
		return n.Value == int64(0) || n.Value == uint64(0)
	case *ast.FloatNode:
		return n.Value == 0
	case *ast.StringNode:
		d, err := time.ParseDuration(n.Value)
		return t == durationType && err == nil && d == 0
	}
	return false
}

// bare is the node without its anchor.
func bare(n ast.Node) ast.Node {
	if a, ok := n.(*ast.AnchorNode); ok {
		return a.Value
	}
	return n
}

// leaveAlone: null is an absent value; aliases and tags are judged by the decoder.
func leaveAlone(n ast.Node) bool {
	switch n.(type) {
	case *ast.NullNode, *ast.AliasNode, *ast.TagNode:
		return true
	}
	return false
}

func text(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	}
	return "", false
}

func mapping(n ast.Node) bool {
	_, ok := n.(ast.MapNode)
	return ok
}

// entries are a mapping's; nil of anything else.
func entries(n ast.Node) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode: // one entry
		return []*ast.MappingValueNode{m}
	}
	return nil
}

func name(e *ast.MappingValueNode) string {
	if t := e.Key.GetToken(); t != nil {
		return t.Value
	}
	return ""
}
