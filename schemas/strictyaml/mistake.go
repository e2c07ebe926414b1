package strictyaml

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Mistake is one mistake in a document and its place.
type Mistake struct {
	schemas.Text
	// Line and Column begin with 1; both are 0 when the mistake has no place of its own.
	Line, Column int
	// Excerpt shows the lines around, the place marked, and values that may be secrets as ***.
	Excerpt string
}

// Error is "[line:column] sentence" in English, and the excerpt below it.
func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.En
	}
	return fmt.Sprintf("[%d:%d] %s\n%s", m.Line, m.Column, m.En, m.Excerpt)
}

func mistake(t *token.Token, zh, en string) *Mistake {
	m := &Mistake{Text: schemas.Text{Zh: zh, En: en}}
	if t == nil || t.Position == nil {
		return m
	}
	m.Line, m.Column = t.Position.Line, t.Position.Column
	_, excerpt, _ := strings.Cut(yaml.FormatErrorWithToken("", t, false, true), "\n")
	m.Excerpt = strings.TrimRight(mask(excerpt), "\n")
	return m
}

// tidy makes a [*Mistake] of the library's errors.
func tidy(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return err
	}
	t := e.GetToken()
	switch {
	case t == nil:
	case errors.As(err, new(*yaml.UnknownFieldError)):
		return mistake(t, fmt.Sprintf("未知的键 %q", t.Value), e.GetMessage())
	case errors.As(err, new(*yaml.DuplicateKeyError)):
		return mistake(t, fmt.Sprintf("键 %q 重复", t.Value), e.GetMessage())
	}
	return mistake(t, "YAML 写法有误："+e.GetMessage(), e.GetMessage())
}

// At is a mistake found after decoding, at the place of a JSON pointer (RFC 6901) in the document
// b: that of the key, or of the nearest one above when it is not there.
func At(b []byte, pointer string, text schemas.Text) *Mistake {
	var at *token.Token
	if file, err := parser.ParseBytes(b, 0); err == nil && len(file.Docs) > 0 {
		n := file.Docs[0].Body
		for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			var t *token.Token
			if t, n = step(n, strings.NewReplacer("~1", "/", "~0", "~").Replace(part)); t == nil {
				break
			}
			at = t
		}
	}
	return mistake(at, text.Zh, text.En)
}

// step goes one token of a pointer down; nil when there is nothing.
func step(n ast.Node, part string) (*token.Token, ast.Node) {
	n = bare(n)
	if list, ok := n.(*ast.SequenceNode); ok {
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(list.Values) {
			return list.Values[i].GetToken(), list.Values[i]
		}
		return nil, nil
	}
	for _, e := range entries(n) {
		if t := e.Key.GetToken(); t != nil && t.Value == part {
			return t, e.Value
		}
	}
	return nil, nil
}

// Secrets belong in files of their own. Who writes one into the document all the same finds it
// refused, and must not find it in the log.
var (
	secretKey = `["']?[\w-]*(?:password|passwd|secret|token|credential|access_key|api_?key|url)[\w-]*["']?`
	inline    = regexp.MustCompile(`(?i)(` + secretKey + `)(\s*:(?:\s+|$))("(?:[^"\\]|\\.)*"?|'[^']*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,}][^,}]*|$)`)
	numbered  = regexp.MustCompile(`^(>?\s*\d+ \| ?)(.*)$`)
)

// mask hides in an excerpt the values of keys that look like those of secrets, further lines of
// such a value included. Names of files and of environment variables are none.
func mask(excerpt string) string {
	lines := strings.Split(excerpt, "\n")
	hidden := -1 // indent of the key whose value goes on below
	for i, line := range lines {
		m := numbered.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		text := m[2]
		indent := len(text) - len(strings.TrimLeft(text, " "))
		below := indent > hidden || indent == hidden && strings.HasPrefix(text[indent:], "-") || strings.TrimSpace(text) == ""
		if hidden >= 0 && below {
			lines[i] = m[1] + strings.Repeat(" ", indent) + "***"
			continue
		}
		hidden = -1
		lines[i] = m[1] + inline.ReplaceAllStringFunc(text, func(s string) string {
			p := inline.FindStringSubmatch(s)
			if k := strings.Trim(p[1], `"'`); strings.HasSuffix(k, "_file") || strings.HasSuffix(k, "_env") {
				return s
			}
			hidden = indent
			return p[1] + p[2] + "***"
		})
	}
	return strings.Join(lines, "\n")
}
