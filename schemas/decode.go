package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how many arrays and objects of a document may nest.
const maxDepth = 32

// strict refuses unknown members; duplicate names and invalid UTF-8 are refused anyway. Names are
// case-sensitive.
var strict = json.RejectUnknownMembers(true)

// DecodeEvent reads a CloudEvents 1.0 event in structured JSON mode (CloudEvents JSON format §3),
// checks and normalises it, see [Event.Check]. Null, and for text the empty string, count as absent.
// The error is an [*Invalid] with every problem.
func DecodeEvent(b []byte) (*Event, error) { return decode[Event](b, "event.schema.json") }

// DecodeDelivery reads a delivery as [Encode] wrote it. The error is an [*Invalid].
func DecodeDelivery(b []byte) (*Delivery, error) { return decode[Delivery](b, "delivery.schema.json") }

// DecodeDeadLetter reads a dead letter as [Encode] wrote it. The error is an [*Invalid].
func DecodeDeadLetter(b []byte) (*DeadLetter, error) {
	return decode[DeadLetter](b, "dead-letter.schema.json")
}

// Encode writes the wire form, the same bytes for the same value. The error is that of a value that
// JSON cannot hold, such as invalid UTF-8 or a NaN in params.
func Encode[T Event | Delivery | DeadLetter](v *T) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", *v, err)
	}
	return b, nil
}

// document is what has a schema of its own.
type document[T any] interface {
	*T
	Check() []Problem
}

func decode[T any, P document[T]](b []byte, schema string) (P, error) {
	v := P(new(T))
	err := json.Unmarshal(b, v, strict)
	if err == nil && tooDeepAt(b) < 0 && len(v.Check()) == 0 {
		return v, nil
	}
	return nil, &Invalid{tidy(problems[T, P](b, schema))}
}

// DecodeBatch reads a JSON array of events (CloudEvents JSON format §4) of at most max. It is all or
// nothing: the error is an [*Invalid] whose pointers start with the event's index, "/3/data/to".
func DecodeBatch(b []byte, max int) ([]*Event, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(b))
	if kind := dec.PeekKind(); kind != '[' {
		if p := syntaxProblem(b); p != nil {
			return nil, &Invalid{[]Problem{*p}}
		}
		return nil, &Invalid{[]Problem{{"", "type", wrongType(kindName(kind), []string{"array"}).Text}}}
	}
	var (
		events   = []*Event{}
		problems []Problem
	)
	_, err := dec.ReadToken()
	for i := 0; err == nil && dec.PeekKind() != ']'; i++ {
		var one jsontext.Value
		if one, err = dec.ReadValue(); err != nil {
			break
		}
		if i == max {
			e := tooManyEvents(max)
			return nil, &Invalid{[]Problem{{"", e.Keyword, e.Text}}}
		}
		event, err := DecodeEvent(one)
		if bad, ok := errors.AsType[*Invalid](err); ok && len(problems) < maxProblems {
			for _, p := range bad.Problems {
				p.Pointer = "/" + strconv.Itoa(i) + p.Pointer
				problems = append(problems, p)
			}
		}
		events = append(events, event)
	}
	if err == nil {
		if _, err = dec.ReadToken(); err == nil {
			_, err = dec.ReadToken()
		}
	}
	if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if p := syntaxProblem(b); p != nil {
			return nil, &Invalid{[]Problem{*p}}
		}
		return nil, fmt.Errorf("decode batch: %w", err)
	}
	if problems != nil {
		return nil, &Invalid{tidy(problems)}
	}
	return events, nil
}

func tooManyEvents(most int) *ValueError {
	return wrong("maxItems", "一批最多 %d 个事件，请分批提交", "a batch holds at most %d events; split it", most)
}

// DecodeBinary reads an event in binary mode: each context attribute in a ce-<name> header,
// datacontenttype in Content-Type, the body is the data (CloudEvents HTTP binding §3.1, NATS binding
// §3.1). names lists the message's headers in any case; header returns the value of one of them.
// Values are unquoted and percent-decoded once. The error is an [*Invalid] whose pointers are those
// of the structured form: "/source", "/data/to/0".
func DecodeBinary(header func(name string) string, names []string, body []byte) (*Event, error) {
	var (
		problems []Problem
		doc      = []byte{'{'}
		seen     = map[string]bool{}
	)
	for _, name := range names {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		switch {
		case ok && headerless[attribute] != nil:
			problems = append(problems, Problem{pointer("", attribute), "unknown", *headerless[attribute]})
			continue
		case !ok && !strings.EqualFold(name, "content-type"):
			continue
		}
		value, bad := header(name), (*ValueError)(nil)
		if ok {
			value, bad = headerText(value)
		} else if attribute = "datacontenttype"; !utf8.ValidString(value) {
			value, bad = "", notHeaderText
		}
		if seen[attribute] {
			bad = wrong("duplicate", "该属性出现了多个消息头", "more than one header holds this attribute")
		}
		if seen[attribute] = true; bad != nil {
			problems = append(problems, Problem{pointer("", attribute), bad.Keyword, bad.Text})
			continue
		}
		doc = member(doc, attribute, value)
	}
	if p := syntaxProblem(body); p != nil {
		p.Pointer = "/data" + p.Pointer
		problems = append(problems, *p)
	}
	if problems != nil {
		return nil, &Invalid{tidy(problems)}
	}
	doc = append(append(append(doc, `"data":`...), body...), '}')
	return DecodeEvent(doc)
}

// headerless are the members of the structured form that no ce- header may hold.
var headerless = map[string]*Text{
	"datacontenttype": {"二进制模式下数据类型写在 Content-Type 头中", "in binary mode the data's type stands in the Content-Type header"},
	"data":            {"二进制模式下 data 就是消息体，不能写在消息头中", "in binary mode data is the body, not a header"},
	"data_base64":     {"二进制模式下 data 就是消息体，不能写在消息头中", "in binary mode data is the body, not a header"},
}

// member appends "name":"value", to a JSON object; the value is valid UTF-8.
func member(doc []byte, name, value string) []byte {
	for _, s := range []string{strings.ToValidUTF8(name, "\uFFFD"), value} {
		quoted, err := jsontext.AppendQuote(doc, s)
		if err != nil {
			panic(err) // AppendQuote fails on invalid UTF-8 only
		}
		doc = append(quoted, ':')
	}
	doc[len(doc)-1] = ','
	return doc
}

var notHeaderText = wrong("encoding", "消息头应为百分号编码的 UTF-8 文本", "the header must be percent-encoded UTF-8")

// headerText is the decoding of CloudEvents HTTP binding §3.1.3.2: first the quotes of older
// senders, then one round of percent-decoding, which must give valid UTF-8.
func headerText(s string) (string, *ValueError) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for in, i := s[1:len(s)-1], 0; i < len(in); i++ {
			if in[i] == '\\' && i+1 < len(in) {
				i++
			}
			b.WriteByte(in[i])
		}
		s = b.String()
	}
	text, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(text) {
		return "", notHeaderText
	}
	return text, nil
}

// tooDeepAt is the offset of the first bracket that nests deeper than maxDepth, or -1.
func tooDeepAt(b []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

// syntaxProblem is why b is no JSON document that we read at all, nil when it is one. Its offset
// counts bytes from 0.
func syntaxProblem(b []byte) *Problem {
	at := func(keyword, zh, en string, offset int) *Problem {
		return &Problem{"", keyword, wrong(keyword, zh+"（第 %d 字节处）", en+" at byte offset %d", offset).Text}
	}
	switch rest := bytes.TrimLeft(b, " \t\r\n"); {
	case len(rest) == 0:
		return &Problem{"", "syntax", Text{"内容为空，应为 JSON", "nothing there: want JSON"}}
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return at("syntax", "JSON 前不能有字节顺序标记（BOM）", "JSON must not start with a byte order mark", 0)
	case !utf8.Valid(b):
		i := 0
		for r, n := utf8.DecodeRune(b); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRune(b[i:]) {
			i += n
		}
		return at("encoding", "不是 UTF-8 编码（是否以 GBK 编码发送？）", "not UTF-8 (was it sent as GBK?)", i)
	}
	if i := tooDeepAt(b); i >= 0 {
		return at("depth", "JSON 嵌套超过 "+strconv.Itoa(maxDepth)+" 层", "JSON nests deeper than "+strconv.Itoa(maxDepth)+" levels", i)
	}
	var v jsontext.Value
	err := json.Unmarshal(b, &v)
	bad, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return nil
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		p := at("duplicate", "字段重复", "the member occurs twice,", int(bad.ByteOffset))
		p.Pointer = string(bad.JSONPointer)
		return p
	}
	p := at("syntax", "JSON 语法错误", "not valid JSON", int(bad.ByteOffset))
	p.Pointer = string(bad.JSONPointer)
	return p
}

// kindName is the JSON Schema name of a kind of value.
func kindName(k jsontext.Kind) string {
	switch k {
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	default:
		return "null"
	}
}
