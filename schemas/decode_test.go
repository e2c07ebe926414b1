package schemas

import (
	"bytes"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

var update = flag.Bool("update", false, "write what the decoders say into testdata")

const dashes = "\n----------\n"

// TestGolden reads testdata/<decoder>-<case>.txt: the input, a line of dashes, what comes of it.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d golden files, %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in, want, ok := strings.Cut(string(file), dashes)
			if !ok {
				t.Fatal("no line of dashes")
			}
			decoder, _, _ := strings.Cut(name, "-")
			got := outcome(t, decoder, in)
			if strings.Contains(got, "does not match the JSON Schema") {
				t.Errorf("a problem has no words of its own:\n%s", got)
			}
			if *update {
				if err := os.WriteFile(path, []byte(in+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func outcome(t *testing.T, decoder, in string) string {
	switch b := []byte(in); decoder {
	case "event":
		e, err := DecodeEvent(b)
		return said(t, e, err)
	case "batch":
		events, err := DecodeBatch(b, 3)
		if err != nil {
			return said[Event](t, nil, err)
		}
		out := fmt.Sprintln(len(events), "events")
		for _, e := range events {
			out += said(t, e, nil)
		}
		return out
	case "binary":
		head, body, _ := strings.Cut(in, "\n\n")
		var names []string
		values := map[string]string{}
		for line := range strings.Lines(head) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			names, values[name] = append(names, name), value
		}
		e, err := DecodeBinary(func(name string) string { return values[name] }, names, []byte(body))
		return said(t, e, err)
	case "delivery":
		d, err := DecodeDelivery(b)
		return said(t, d, err)
	case "dead":
		l, err := DecodeDeadLetter(b)
		return said(t, l, err)
	}
	t.Fatalf("no decoder %q", decoder)
	return ""
}

// said is the normalised document, indented, or the problems.
func said[T Event | Delivery | DeadLetter](t *testing.T, v *T, err error) string {
	if err != nil {
		var b strings.Builder
		for _, p := range problemsOf(t, err) {
			fmt.Fprintf(&b, "%q %s\n    %s\n    %s\n", p.Pointer, p.Keyword, p.Zh, p.En)
		}
		return b.String()
	}
	b, err := Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	indented := jsontext.Value(b)
	if err := indented.Indent(); err != nil {
		t.Fatal(err)
	}
	return string(indented) + "\n"
}

// TestNotText: what no golden file can hold.
func TestNotText(t *testing.T) {
	for _, tt := range []struct{ name, in, keyword, en string }{
		{"empty", "", "syntax", "nothing there: want JSON"},
		{"blank", " \r\n", "syntax", "nothing there: want JSON"},
		{"byte order mark", "\xef\xbb\xbf{}", "syntax", "JSON must not start with a byte order mark at byte offset 0"},
		{"GBK", "{\"id\":\"\xbb\xaa\xd0\xc7\"}", "encoding", "not UTF-8 (was it sent as GBK?) at byte offset 7"},
		{"half a surrogate pair", `{"id":"\ud800"}`, "syntax", "not valid JSON at byte offset 7"},
		{"two documents", "{} {}", "syntax", "not valid JSON at byte offset 3"},
		{"brackets", strings.Repeat("[", 100_000), "depth", "JSON nests deeper than 32 levels at byte offset 32"},
	} {
		for decoder, decode := range map[string]func() error{
			"event":    func() error { _, err := DecodeEvent([]byte(tt.in)); return err },
			"batch":    func() error { _, err := DecodeBatch([]byte(tt.in), 10); return err },
			"delivery": func() error { _, err := DecodeDelivery([]byte(tt.in)); return err },
		} {
			if p := problemsOf(t, decode()); p[0].Keyword != tt.keyword || p[0].En != tt.en {
				t.Errorf("%s as %s: %+v, want %s: %s", tt.name, decoder, p[0], tt.keyword, tt.en)
			}
		}
	}
}

// TestProblemsAreBounded: a hopeless or hostile document gets a short answer, without personal data.
func TestProblemsAreBounded(t *testing.T) {
	var members []string
	for i := range 5000 {
		members = append(members, fmt.Sprintf(`"%d%s":1`, 13800138000+i, strings.Repeat("x", 1000)))
	}
	_, err := DecodeEvent([]byte("{" + strings.Join(members, ",") + "}"))
	problems := problemsOf(t, err)
	size := 0
	for _, p := range problems {
		size += len(p.Pointer) + len(p.Zh) + len(p.En)
		if s := p.Pointer + p.Zh + p.En; strings.Contains(s, "1380013") {
			t.Fatalf("a number in clear: %s", s)
		}
	}
	if len(problems) != maxProblems || size > 200_000 {
		t.Errorf("%d problems of %d bytes", len(problems), size)
	}
}

// TestNoValueInProblems: addresses, parameters and texts of a refused event stay out of its error.
func TestNoValueInProblems(t *testing.T) {
	secret := []string{"12345678901", "not-an-address", "s3cret", "0010-2345"}
	_, err := DecodeEvent([]byte(`{"specversion":"1.0","id":"1","source":"/a","type":"a","data":{"category":"s3cret","priority":"s3cret",
		"to":[{"phone":"12345678901"},{"email":"not-an-address"},{"phone":"0010-2345"},{"webhook":"s3cret s3cret"}],
		"content":{"subject":"s3cret\n","text":"s3cret\u0000"},"expires":"s3cret","attachments":[{"name":"a","url":"https://s3cret:s3cret@x/"}]}}`))
	for _, p := range problemsOf(t, err) {
		for _, s := range secret {
			if strings.Contains(p.Pointer+p.Zh+p.En, s) {
				t.Errorf("%q is quoted in %+v", s, p)
			}
		}
	}
	if len(problemsOf(t, err)) < 9 {
		t.Errorf("only %d problems", len(problemsOf(t, err)))
	}
}

// TestEncodeRefuses what JSON cannot hold, rather than writing something else.
func TestEncodeRefuses(t *testing.T) {
	if b, err := Encode(&Event{ID: "\xff"}); err == nil {
		t.Errorf("Encode wrote %s", b)
	}
}

// TestNearest: a misspelt member is met with the right one, and a strange one is not.
func TestNearest(t *testing.T) {
	known := []string{"category", "to", "template", "params", "not_before", "expires", "attachments"}
	for in, want := range map[string]string{
		"Category": "category", "notBefore": "not_before", "NotBefore": "not_before", "categroy": "category", "parms": "params",
		"expire": "expires", "attachment": "attachments", "x": "", "tp": "", "mobile": "", strings.Repeat("a", 1000): "",
	} {
		if got := nearest(in, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// seeds are the inputs of the golden files of one decoder.
func seeds(f *testing.F, decoder string) (out []string) {
	paths, err := filepath.Glob("testdata/" + decoder + "-*.txt")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		in, _, _ := strings.Cut(string(b), dashes)
		out = append(out, in)
	}
	return out
}

// survives checks that a decoded document encodes to bytes that decode to the same.
func survives[T Event | Delivery](t *testing.T, v *T, decode func([]byte) (*T, error)) {
	t.Helper()
	first, err := Encode(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	again, err := decode(first)
	if err != nil {
		t.Fatalf("decode %s: %v", first, err)
	}
	second, err := Encode(again)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%v: %s became %s", err, first, second)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, s := range append(seeds(f, "event"), fullDocuments["event.schema.json"]) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		agree(t, "event.schema.json", b, err)
		if err == nil {
			survives(t, e, DecodeEvent)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	for _, s := range seeds(f, "batch") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := DecodeBatch(b, 3)
		if err != nil {
			problemsOf(t, err)
			return
		}
		if len(events) > 3 {
			t.Fatalf("%d events, more than asked for", len(events))
		}
		for _, e := range events {
			survives(t, e, DecodeEvent)
		}
	})
}

func FuzzDecodeBinary(f *testing.F) {
	f.Add("1", "/erp", "erp.invoice.due", "acme", "application/json", "ce-subject", "%E5%8D%8E", []byte(`{"category":"alert","to":[{"webhook":"ops"}],"template":"t"}`))
	f.Add("%22", "\"/a\"", "a", "", "", "CE-data", "{}", []byte(`{},"id":"x"`))
	f.Fuzz(func(t *testing.T, id, source, typ, tenant, contentType, name, value string, body []byte) {
		headers := map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-source": source, "ce-type": typ, "ce-tenant": tenant, "Content-Type": contentType, name: value}
		var names []string
		for name := range headers {
			names = append(names, name)
		}
		slices.Sort(names)
		e, err := DecodeBinary(func(name string) string { return headers[name] }, names, body)
		if err != nil {
			problemsOf(t, err)
			return
		}
		survives(t, e, DecodeEvent)
		if want, bad := headerText(id); name != "ce-id" && (bad != nil || e.ID != want) {
			t.Fatalf("id %q became %q", id, e.ID)
		}
	})
}

func FuzzDecodeDelivery(f *testing.F) {
	for _, s := range append(seeds(f, "delivery"), fullDelivery) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDelivery(b)
		agree(t, "delivery.schema.json", b, err)
		if err == nil {
			survives(t, d, DecodeDelivery)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"13800138000", "+852 9123 4567", "wang@例子.中国", "a@xn--a.b", "１３８００１３８０００", "a@ß.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if phone, err := NormalizePhone(s); err == nil {
			if again, err := NormalizePhone(phone); err != nil || again != phone || phone[0] != '+' || !all(phone[1:], digit) {
				t.Fatalf("phone %q → %q → %q, %v", s, phone, again, err)
			}
		}
		if email, err := CheckEmail(s); err == nil {
			again, err := CheckEmail(email)
			if err != nil || again != email || len(email) > maxMailbox || strings.ContainsFunc(email, unicode.IsControl) {
				t.Fatalf("email %q → %q → %q, %v", s, email, again, err)
			}
		}
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	in, _, _ := strings.Cut(golden(b, "event-full"), dashes)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := DecodeEvent([]byte(in)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEventRefused(b *testing.B) {
	in, _, _ := strings.Cut(golden(b, "event-everything-wrong"), dashes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEvent([]byte(in)); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkDecodeDelivery(b *testing.B) {
	in, _, _ := strings.Cut(golden(b, "delivery-ok"), dashes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeDelivery([]byte(in)); err != nil {
			b.Fatal(err)
		}
	}
}

func golden(b *testing.B, name string) string {
	file, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		b.Fatal(err)
	}
	return string(file)
}

// What the reference parser takes names one file below a root, whatever bytes come.
func FuzzAttachment(f *testing.F) {
	for _, s := range []string{"file:///a/b.pdf", "file:///../a", "s3://b/k%2F..%2Fx", "object://b/%00", "https://e.com/", "HTTPS://e.com/a", "file:a", "file:////a"} {
		f.Add("a.pdf", s, "logo@erp")
	}
	f.Fuzz(func(t *testing.T, name, address, cid string) {
		e := Event{Data: Data{Attachment: []Attachment{{Name: name, URL: address, CID: cid}}}}
		for _, p := range e.Check() {
			if strings.HasPrefix(p.Pointer, "/data/attachments") {
				return
			}
		}
		a := e.Data.Attachment[0]
		if strings.ContainsAny(name+cid, "/\\\r\n\x00") || name == "" {
			t.Errorf("name %q, cid %q", name, cid)
		}
		u, err := url.Parse(address)
		if err != nil || a.Scheme() != u.Scheme || u.User != nil {
			t.Fatalf("%q: scheme %q, %v", address, a.Scheme(), err)
		}
		if path := strings.TrimPrefix(u.Path, "/"); !a.Linkable() && (!filepath.IsLocal(filepath.FromSlash(path)) || path == "" || u.RawQuery != "") {
			t.Errorf("%q names %q", address, path)
		}
	})
}
