package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// wrongSettings is the error of a yizhan.yaml that cannot be used: every mistake found, with its
// place, in the language of the process.
type wrongSettings struct {
	file     string
	mistakes []*strictyaml.Mistake
}

// Error is "yizhan.yaml:5:5: sentence" for each mistake, the lines around it below.
func (e *wrongSettings) Error() string {
	var b strings.Builder
	for i, m := range e.mistakes {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.file)
		if m.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
		}
		b.WriteString(tr("：", ": ") + say(m.Text))
		if m.Excerpt != "" {
			b.WriteString("\n" + m.Excerpt)
		}
	}
	return b.String()
}

// wrong places err in the file. at is the JSON pointer of the section that it is about.
func (c *config) wrong(at string, err error) error {
	if err == nil {
		return nil
	}
	out := &wrongSettings{file: c.file}
	if placed, ok := errors.AsType[*wrongSettings](err); ok {
		return placed
	}
	if m, ok := errors.AsType[*strictyaml.Mistake](err); ok {
		out.mistakes = append(out.mistakes, m)
		return out
	}
	problems := []schemas.Problem{{Text: schemas.Text{Zh: err.Error(), En: err.Error()}}}
	if invalid, ok := errors.AsType[*schemas.Invalid](err); ok && len(invalid.Problems) > 0 {
		problems = invalid.Problems
	}
	for _, p := range problems {
		pointer := at + p.Pointer
		text := p.Text
		if key := strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."); key != "" {
			text = schemas.Text{Zh: key + "：" + text.Zh, En: key + ": " + text.En}
		}
		out.mistakes = append(out.mistakes, strictyaml.At(c.source, pointer, text))
	}
	return out
}

// setting is a problem of one setting that has not been placed yet.
func setting(pointer, zh, en string) error {
	return &schemas.Invalid{Problems: []schemas.Problem{{Pointer: pointer, Keyword: "setting", Text: schemas.Text{Zh: zh, En: en}}}}
}
