package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTypesAndSchemasAgree compares the members of every Go struct on the wire with the properties
// of its place in the schema, both ways, and the JSON type of each.
func TestTypesAndSchemasAgree(t *testing.T) {
	for _, tt := range []struct {
		file string
		typ  reflect.Type
	}{
		{"event.schema.json", reflect.TypeFor[Event]()},
		{"delivery.schema.json", reflect.TypeFor[Delivery]()},
		{"dead-letter.schema.json", reflect.TypeFor[DeadLetter]()},
	} {
		t.Run(tt.file, func(t *testing.T) {
			a := agreement{t: t, seen: map[string]bool{}}
			a.members(baseURL+tt.file, compile().sources[baseURL+tt.file].(map[string]any), tt.typ)
			if len(a.seen) < 4 {
				t.Errorf("compared only %v", a.seen)
			}
		})
	}
}

type agreement struct {
	t    *testing.T
	seen map[string]bool
}

// resolve follows $ref, and the one branch of an anyOf that is not null.
func (a agreement) resolve(file string, node any) (string, map[string]any) {
	m, ok := node.(map[string]any)
	if !ok {
		a.t.Fatalf("%s: %v is no schema", file, node)
	}
	if ref, ok := m["$ref"].(string); ok {
		name, fragment, _ := strings.Cut(ref, "#")
		if name != "" {
			file = baseURL + name
		}
		node := compile().sources[file]
		for part := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
			if part != "" {
				node = node.(map[string]any)[part]
			}
		}
		return a.resolve(file, node)
	}
	if list, ok := m["anyOf"].([]any); ok && m["properties"] == nil {
		for _, branch := range list {
			if b := branch.(map[string]any); b["type"] != "null" {
				return a.resolve(file, b)
			}
		}
	}
	return file, m
}

func (a agreement) members(file string, node map[string]any, typ reflect.Type) {
	if a.seen[typ.Name()] {
		return
	}
	a.seen[typ.Name()] = true
	if node["additionalProperties"] != false {
		a.t.Errorf("%s: additionalProperties is not false", typ)
	}
	properties, _ := node["properties"].(map[string]any)
	inGo := map[string]reflect.Type{}
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		inGo[name] = typ.Field(i).Type
	}
	got, want := slices.Sorted(maps.Keys(inGo)), slices.Sorted(maps.Keys(properties))
	if !slices.Equal(got, want) {
		a.t.Errorf("%s: Go has %v, the schema %v", typ, got, want)
	}
	for name, field := range inGo {
		if properties[name] != nil {
			a.value(typ.Name()+"."+name, file, properties[name], field)
		}
	}
}

func (a agreement) value(where, file string, node any, typ reflect.Type) {
	file, m := a.resolve(file, node)
	if typ == reflect.TypeFor[Raw]() {
		return // any JSON
	}
	if m["description"] == nil && !strings.Contains(where, "[]") && !strings.HasSuffix(where, ".zh") && !strings.HasSuffix(where, ".en") {
		a.t.Errorf("%s has no description", where)
	}
	want := "string"
	switch {
	case typ == reflect.TypeFor[time.Time](), typ == reflect.TypeFor[[]byte]():
	case typ.Kind() == reflect.Pointer:
		typ, want = typ.Elem(), "object"
		a.members(file, m, typ)
	case typ.Kind() == reflect.Struct:
		want = "object"
		a.members(file, m, typ)
	case typ.Kind() == reflect.Slice:
		want = "array"
		a.value(where+"[]", file, m["items"], typ.Elem())
	case typ.Kind() == reflect.Map:
		want = "object"
	case typ.Kind() == reflect.Int, typ.Kind() == reflect.Uint64:
		want = "integer"
	}
	if m["type"] == nil && m["enum"] != nil {
		return // values of several types, strings among them
	}
	if got := m["type"]; got != want && !reflect.DeepEqual(got, []any{want, "null"}) {
		a.t.Errorf("%s: the schema has type %v, Go %s", where, got, want)
	}
	if typ == reflect.TypeFor[time.Time]() && m["format"] != "date-time" {
		a.t.Errorf("%s: a time without format date-time", where)
	}
}

// TestEnumsAgree: the schema's words are the words of Go.
func TestEnumsAgree(t *testing.T) {
	enum := func(file string, path ...string) (out []string) {
		node := compile().sources[baseURL+file].(map[string]any)
		for _, p := range path {
			node = node[p].(map[string]any)
		}
		for _, v := range node["enum"].([]any) {
			if s, ok := v.(string); ok && s != "" {
				out = append(out, s)
			}
		}
		return out
	}
	str := func(v any) (out []string) {
		for i := range reflect.ValueOf(v).Len() {
			out = append(out, reflect.ValueOf(v).Index(i).String())
		}
		return out
	}
	for _, tt := range []struct{ got, want []string }{
		{enum("event.schema.json", "$defs", "data", "properties", "category"), str(Categories)},
		{enum("event.schema.json", "$defs", "data", "properties", "priority"), str(Priorities)},
		{enum("delivery.schema.json", "properties", "category"), str(Categories)},
		{enum("delivery.schema.json", "properties", "priority"), str(Priorities)},
		{enum("delivery.schema.json", "$defs", "alternative", "properties", "when"), []string{WhenFailed, WhenOverCap}},
		{enum("delivery.schema.json", "$defs", "message", "properties", "param_kinds", "additionalProperties"), str(ParamKinds)},
		{enum("dead-letter.schema.json", "properties", "state"), []string{string(Dead)}},
		{enum("dead-letter.schema.json", "$defs", "cause", "properties", "class"), causeClasses},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("schema %v, Go %v", tt.got, tt.want)
		}
	}
}

func TestFiles(t *testing.T) {
	names := Files()
	for _, want := range ours {
		if !slices.Contains(names, want) {
			t.Errorf("Files() = %v, without %s", names, want)
		}
	}
	for _, name := range names {
		b, ok := File(name)
		var head struct {
			Schema string `json:"$schema"`
			ID     string `json:"$id"`
		}
		if err := json.Unmarshal(b, &head); !ok || err != nil || head.ID != baseURL+name ||
			head.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: %v, $id %q, $schema %q", name, err, head.ID, head.Schema)
		}
	}
	for _, name := range []string{"", "nothing.schema.json", "../go.mod", "strictyaml/yaml.go"} {
		if _, ok := File(name); ok {
			t.Errorf("File(%q) is there", name)
		}
	}
}

// TestExamplesDecode: what the schemas show as examples is accepted.
func TestExamplesDecode(t *testing.T) {
	for file, accept := range map[string]func([]byte) error{
		"event.schema.json":       func(b []byte) error { _, err := DecodeEvent(b); return err },
		"delivery.schema.json":    func(b []byte) error { _, err := DecodeDelivery(b); return err },
		"dead-letter.schema.json": func(b []byte) error { _, err := DecodeDeadLetter(b); return err },
	} {
		b, _ := File(file)
		var doc struct {
			Examples []json.RawMessage `json:"examples"`
		}
		if err := json.Unmarshal(b, &doc); err != nil || len(doc.Examples) == 0 {
			t.Fatalf("%s: %v, %d examples", file, err, len(doc.Examples))
		}
		for _, example := range doc.Examples {
			if err := accept(example); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// meaning are the keywords of rules that the schemas do not say: about values, not about shape.
var meaning = []string{"phone", "email", "address", "template", "content", "order", "media-type", "uri", "depth", "time"}

// agree checks one document on both paths: what decodes is valid under the schema, and what the
// schema takes is refused for its meaning only.
func agree(t *testing.T, schema string, b []byte, err error) {
	t.Helper()
	valid := false
	if syntaxProblem(b) == nil {
		tree, treeErr := generic(b)
		if treeErr != nil {
			t.Fatalf("generic: %v for %q", treeErr, b)
		}
		valid = compile().schemas[schema].Validate(tree) == nil
	}
	if err == nil {
		if !valid {
			t.Fatalf("decodes, but the schema refuses it: %q", b)
		}
		return
	}
	bad := problemsOf(t, err)
	shape := slices.ContainsFunc(bad, func(p Problem) bool { return !slices.Contains(meaning, p.Keyword) })
	if valid && shape {
		t.Fatalf("the schema takes it, Go refuses its shape: %+v in %q", bad, b)
	}
	for _, p := range bad {
		if p.Keyword == "schema" || p.Zh == "" || p.En == "" {
			t.Fatalf("a problem without words of its own: %+v in %q", p, b)
		}
	}
}

func problemsOf(t *testing.T, err error) []Problem {
	t.Helper()
	bad, ok := errors.AsType[*Invalid](err)
	if !ok || len(bad.Problems) == 0 || len(bad.Problems) > maxProblems {
		t.Fatalf("error is %T with %+v, want *Invalid with problems", err, bad)
	}
	return bad.Problems
}

// TestFastPathAndSchemaAgree changes one place of a full event at a time and asks both paths.
func TestFastPathAndSchemaAgree(t *testing.T) {
	values := []any{
		nil, "", " ", "x", "X_1-a", "a.b", "a..b", "中文", "a\nb", "a\x00b", "a\u2028b", "%zz", "high", "1.0",
		"2026-11-23T09:00:00+08:00", "2026-11-23 09:00", "0001-01-01T00:00:00Z", "13800138000", "wang@example.com", "zh-CN", "zh_CN", "https://example.com/a", "application/json", "text/plain",
		strings.Repeat("a", 64), strings.Repeat("é", 65), strings.Repeat("a", 129), strings.Repeat("中", 256), strings.Repeat("a", 1025),
		0, 1.5, -1, 1e300, true,
		[]any{},
		[]any{nil},
		[]any{"a"},
		[]any{1},
		[]any{map[string]any{}},
		map[string]any{},
		map[string]any{"a": nil},
		map[string]any{"name": "a", "url": "b"},
		slices.Repeat([]any{"a"}, 101),
	}
	for file, decode := range map[string]func([]byte) error{
		"event.schema.json":       func(b []byte) error { _, err := DecodeEvent(b); return err },
		"delivery.schema.json":    func(b []byte) error { _, err := DecodeDelivery(b); return err },
		"dead-letter.schema.json": func(b []byte) error { _, err := DecodeDeadLetter(b); return err },
	} {
		full := fullDocuments[file]
		if err := decode([]byte(full)); err != nil {
			t.Fatalf("%s: the full document: %v", file, err)
		}
		tried := 0
		for _, path := range places(t, full) {
			if i := slices.Index(path, any("delivery")); i >= 0 && len(path) > i+1 {
				continue // deliveries have their own turn
			}
			for _, v := range append(values, struct{}{}) {
				var tree any
				if err := json.Unmarshal([]byte(full), &tree); err != nil {
					t.Fatal(err)
				}
				_, remove := v.(struct{})
				tree = set(tree, path, v, remove)
				b, err := json.Marshal(tree)
				if err != nil {
					t.Fatal(err)
				}
				agree(t, file, b, decode(b))
				tried++
			}
		}
		if tried < 500 {
			t.Errorf("%s: only %d changes tried", file, tried)
		}
	}
}

// places lists the path of every value in a document, and one unknown member in every object.
func places(t *testing.T, doc string) (out [][]any) {
	var tree any
	dec := json.NewDecoder(bytes.NewReader([]byte(doc)))
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var visit func(v any, at []any)
	visit = func(v any, at []any) {
		out = append(out, at)
		switch v := v.(type) {
		case map[string]any:
			out = append(out, append(slices.Clip(at), "extra"))
			for name, item := range v {
				visit(item, append(slices.Clip(at), name))
			}
		case []any:
			for i, item := range v {
				visit(item, append(slices.Clip(at), i))
			}
		}
	}
	visit(tree, nil)
	return out
}

// TestBoundsAgree: at a bound both paths accept, one beyond it both refuse.
func TestBoundsAgree(t *testing.T) {
	event := func(data string) string {
		return `{"specversion":"1.0","id":"1","source":"/a","type":"a","data":{"category":"alert","to":[{"webhook":"ops"}],` + data + `}}`
	}
	list := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"p%d":1`, i)
		}
		return b.String()[1:]
	}
	for _, tt := range []struct {
		name  string
		bound int
		doc   func(n int) string
	}{
		{"text", maxText, func(n int) string { return event(`"content":{"text":"` + strings.Repeat("中", n) + `"}`) }},
		{"html", maxHTML, func(n int) string { return event(`"content":{"html":"` + strings.Repeat("a", n) + `"}`) }},
		{"subject", 255, func(n int) string {
			return event(`"content":{"text":"x","subject":"` + strings.Repeat("中", n) + `"}`)
		}},
		{"param", maxParamText, func(n int) string {
			return event(`"template":"t","params":{"a":"` + strings.Repeat("中", n) + `"}`)
		}},
		{"param name", 64, func(n int) string { return event(`"template":"t","params":{"` + strings.Repeat("a", n) + `":1}`) }},
		{"params", maxParams, func(n int) string { return event(`"template":"t","params":{` + members(n) + `}`) }},
		{"param members", maxParams, func(n int) string { return event(`"template":"t","params":{"a":{` + members(n) + `}}`) }},
		{"param items", maxParamItems, func(n int) string { return event(`"template":"t","params":{"a":[` + list(n, "1") + `]}`) }},
		{"param number", maxExact, func(n int) string { return event(`"template":"t","params":{"a":-` + strconv.Itoa(n) + `}`) }},
		{"channels", maxChannels, func(n int) string { return event(`"template":"t","channels":[` + list(n, `"sms"`) + `]`) }},
		{"attachments", maxAttachments, func(n int) string {
			return event(`"template":"t","attachments":[` + list(n, `{"name":"a","url":"object://b/a"}`) + `]`)
		}},
		{"cid", maxCID, func(n int) string {
			return event(`"template":"t","attachments":[{"name":"a","url":"s3://b/a","cid":"` + strings.Repeat("a", n) + `"}]`)
		}},
		{"attachment size", maxExact, func(n int) string {
			return event(`"template":"t","attachments":[{"name":"a","url":"file:///a","size":` + strconv.Itoa(n) + `}]`)
		}},
		{"recipients", maxRecipients, func(n int) string {
			return strings.Replace(event(`"template":"t"`), `{"webhook":"ops"}`, list(n, `{"phone":"13800138000"}`), 1)
		}},
		{"tags", maxTags, func(n int) string {
			return strings.Replace(event(`"template":"t"`), `"ops"`, `"ops","tags":[`+list(n, `"a"`)+`]`, 1)
		}},
		{"source", maxSource, func(n int) string {
			return strings.Replace(event(`"template":"t"`), `"/a"`, `"`+strings.Repeat("a", n)+`"`, 1)
		}},
	} {
		in := []byte(tt.doc(tt.bound))
		_, err := DecodeEvent(in)
		if err != nil {
			t.Errorf("%s of %d: %v", tt.name, tt.bound, err)
		}
		agree(t, "event.schema.json", in, err)
		in = []byte(tt.doc(tt.bound + 1))
		if _, err = DecodeEvent(in); err == nil {
			t.Errorf("%s of %d is accepted", tt.name, tt.bound+1)
		}
		tree, treeErr := generic(in)
		if treeErr != nil || compile().schemas["event.schema.json"].Validate(tree) == nil {
			t.Errorf("%s of %d: the schema takes it (%v)", tt.name, tt.bound+1, treeErr)
		}
	}
}

func set(tree any, path []any, to any, remove bool) any {
	if len(path) == 0 {
		if remove {
			return nil
		}
		return to
	}
	switch at := path[0].(type) {
	case string:
		if m := tree.(map[string]any); remove && len(path) == 1 {
			delete(m, at)
		} else {
			m[at] = set(m[at], path[1:], to, remove)
		}
	case int:
		l := tree.([]any)
		l[at] = set(l[at], path[1:], to, remove)
	}
	return tree
}

const fullDelivery = `{"id":"aaaaaaaaaaaaabbbbbbbbbbbbbbbb","event":{"source":"/erp","id":"1","type":"erp.invoice.due","time":"2026-11-23T09:00:00+08:00"},
"tenant":"acme","channel":"sms","category":"notification","priority":"high","to":{"name":"王芳","phone":"+8613800138000","tags":["a"]},
"message":{"template":"t","subject":"s","text":"x","html":"<p>x","code":"SMS_1","params":{"a":"b"},"codes":{"tencent":"1234"},"param_order":["a"],"param_kinds":{"a":"name"},"signature":"华星科技","payload":{"any":[1]},"at":["+8613800138000"],
"attachments":[{"name":"a.pdf","url":"object://attachments/a.pdf"}]},
"route":"r","not_before":"2026-11-23T09:00:00Z","expires":"2026-11-24T09:00:00Z","planned_at":"2026-11-23T09:00:00Z","traceparent":"x",
"else":[{"when":"failed","delivery":{"id":"aaaaaaaaaaaaacccccccccccccccc","event":{"source":"/erp","id":"1","type":"a"},"tenant":"acme","channel":"mail",
"category":"notification","priority":"bulk","to":{"email":"wang@example.com"},"message":{"text":"x"},"planned_at":"2026-11-23T09:00:00Z"}}]}`

var fullDocuments = map[string]string{
	"event.schema.json": `{"specversion":"1.0","id":"1","source":"/erp","type":"erp.invoice.due","subject":"AR-1","time":"2026-11-23T09:00:00+08:00",
"datacontenttype":"application/json","dataschema":"https://example.com/s","tenant":"acme","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=b",
"data":{"category":"alert","to":[{"name":"王芳","phone":"13800138000","email":"wang@example.com","locale":"zh-CN","tags":["finance"]},{"webhook":"ops","url":"https://api.example.com/hook"}],
"template":"t","params":{"a":"x","n":1.5,"b":true,"rows":[{"名称":"x"},["y"]]},"channels":["sms"],"priority":"normal","not_before":"2026-11-23T09:05:00+08:00",
"expires":"2026-11-24T18:00:00+08:00","attachments":[{"name":"a.pdf","url":"https://example.com/a.pdf","sha256":"` + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" + `","type":"application/pdf","size":9},{"name":"logo.png","url":"file:///erp/logo.png","type":"image/png","cid":"logo@erp"}]}}`,
	"delivery.schema.json": fullDelivery,
	"dead-letter.schema.json": `{"id":"aaaaaaaaaaaaabbbbbbbbbbbbbbbb","time":"2026-11-23T09:00:00Z","tenant":"acme","channel":"-","state":"dead","attempts":3,"replay":1,
"cause":{"kind":"sms","provider":"aliyun","code":"isv.X","class":"content","line":"no","hits":[{"rule":"9","action":"block","field":"text","start":0,"end":3,"text":"x","advice":{"zh":"改","en":"change"}}]},
"delivery":` + fullDelivery + `,"event":"e30=","headers":{"Ce-Id":"1"},"fence":9}`,
}
