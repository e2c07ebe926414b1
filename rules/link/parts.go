package link

import (
	"bytes"
	"errors"
	stdhtml "html"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/html"

	"github.com/yizhan-dev/yizhan/schemas"
)

// part is one text of a message with the URLs in it.
type part struct {
	field string // as [schemas.Hit] names it
	group string // fields in which the same URL is told once
	text  string
	links []located
}

// maxLinks bounds the links of a message that are judged. Of more than that, the message says so, which takes
// one link more: no further one is even looked for.
const maxLinks = 1000

// located is a URL and where the text has it, in bytes. In HTML the text may write it otherwise (&amp;).
type located struct {
	span
	url string
}

// parts are the texts of a message that have URLs, with maxLinks+1 of them at most.
func parts(m *schemas.Message) []part {
	var out []part
	left := maxLinks + 1
	add := func(p part) {
		if len(p.links) > 0 {
			out = append(out, p)
			left -= len(p.links)
		}
	}
	add(plainPart("subject", "subject", m.Subject, left))
	add(plainPart("text", "text", m.Text, left))
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		add(plainPart("params/"+name, "text", m.Params[name], left))
	}
	add(part{"html", "html", m.HTML, inHTML(m.HTML, false, left)})
	return append(out, inPayload(m.Payload, left)...)
}

func plainPart(field, group, text string, most int) part {
	p := part{field: field, group: group, text: text}
	for _, s := range find(text, most) {
		p.links = append(p.links, located{s, text[s.start:s.end]})
	}
	return p
}

// attributes of HTML that lead somewhere when a person clicks, or when a mail program loads or goes there
// by itself.
var attributes = []string{"href", "src", "action", "formaction", "background", "poster", "data", "xlink:href", "cite"}

// prose are attributes with several URLs, or with text around one.
var prose = []string{"srcset", "content", "ping"}

// inHTML finds the URLs of an HTML mail that a person can follow: in its text and in attributes that lead
// somewhere. Scripts and styles are no text; the namespace of a document is no link. In a conditional comment
// no further one is looked for.
func inHTML(s string, conditional bool, most int) []located {
	var out []located
	if s == "" || most <= 0 {
		return out
	}
	z := html.NewTokenizer(strings.NewReader(s))
	at := 0
	skip := false // within <script> or <style>
	for {
		kind := z.Next()
		if kind == html.ErrorToken || len(out) >= most {
			return out // the end of the text, nothing else can fail; or more than anybody looks at
		}
		// Raw is valid until the token is looked at, and the tokenizer lets nothing out.
		raw := string(z.Raw())
		start := at
		at += len(raw)
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			skip = kind == html.StartTagToken && (string(name) == "script" || string(name) == "style")
			in := writing{raw: raw, start: start}
			for more && len(out) < most {
				var key, value []byte
				key, value, more = z.TagAttr()
				switch {
				case slices.Contains(prose, string(key)):
					out = append(out, in.locate(string(value), most-len(out))...)
				case slices.Contains(attributes, string(key)):
					out = append(out, in.attribute(string(value), most-len(out))...)
				}
			}
		case html.EndTagToken:
			skip = false
		case html.TextToken:
			if !skip {
				in := writing{raw: raw, start: start}
				out = append(out, in.locate(stdhtml.UnescapeString(raw), most-len(out))...)
			}
		case html.CommentToken:
			// Outlook shows what stands in <!--[if mso]> … <![endif]-->.
			if _, inner, ok := strings.Cut(raw, "]>"); ok && !conditional && strings.HasPrefix(raw, "<!--[if") {
				offset := start + len(raw) - len(inner)
				for _, l := range inHTML(strings.TrimSuffix(inner, "-->"), true, most-len(out)) {
					out = append(out, located{span{l.start + offset, l.end + offset}, l.url})
				}
			}
		}
	}
}

// writing is how HTML writes the values of one token, and how far it was read. Values are looked for in their
// order, so that all of them together cost one pass.
type writing struct {
	raw   string
	start int // of raw in the text
	from  int // in raw
	lost  bool
}

// locate finds the URLs of value, at most so many.
func (w *writing) locate(value string, most int) []located {
	var out []located
	for _, s := range find(value, most) {
		out = append(out, located{w.place(value[s.start:s.end]), value[s.start:s.end]})
	}
	return out
}

// attribute is the URL that value is, as a browser reads it, whatever characters it has; or the URLs in it,
// when it leads nowhere itself (javascript:, data:, a name within the page).
func (w *writing) attribute(value string, most int) []located {
	value = strings.TrimFunc(value, func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) })
	url := browsed(value)
	if url == "" {
		return w.locate(value, most)
	}
	return []located{{w.place(value), url}}
}

// maxTries bounds the places at which the writing of one value is looked for.
const maxTries = 8

// place is where raw writes value. After one that raw writes in a way of its own, all have the span of raw: to
// search the rest in vain for each would take time that grows with the square of the text.
func (w *writing) place(value string) span {
	head, _, _ := strings.Cut(value, "&")
	for try, at := 0, w.from; !w.lost && head != "" && try < maxTries; try++ {
		i := strings.Index(w.raw[at:], head)
		if i < 0 {
			break
		}
		at += i
		if n := written(w.raw[at:], value); n > 0 {
			w.from = at + n
			return span{w.start + at, w.start + at + n}
		}
		at += len(head)
	}
	w.lost = true
	return span{w.start, w.start + len(w.raw)}
}

// maxEntity bounds a character reference; &#0000038; and &CounterClockwiseContourIntegral; fit.
const maxEntity = 40

// written is how many bytes of raw, from its beginning, write value; 0 when it writes something else.
func written(raw, value string) int {
	n := 0
	for value != "" {
		if n >= len(raw) {
			return 0
		}
		if raw[n] == '&' {
			if end := strings.IndexByte(raw[n:min(len(raw), n+maxEntity)], ';') + 1; end > 0 {
				if c := stdhtml.UnescapeString(raw[n : n+end]); c[0] != '&' || end > 1 && c == "&" {
					if !strings.HasPrefix(value, c) {
						return 0
					}
					n, value = n+end, value[len(c):]
					continue
				}
			}
		}
		if raw[n] != value[0] {
			return 0
		}
		n, value = n+1, value[1:]
	}
	return n
}

// inPayload finds the URLs in the texts of a webhook's data. The event's own names are no links (source is often
// written as one), and attachments are references that the receiver fetches.
func inPayload(payload []byte, most int) []part {
	var out []part
	if len(payload) == 0 {
		return out
	}
	dec := jsontext.NewDecoder(bytes.NewReader(payload))
	for most > 0 {
		token, err := dec.ReadToken()
		if err != nil {
			if !errors.Is(err, io.EOF) { // not JSON: still a text
				if p := plainPart("payload", "payload", string(payload), most); len(p.links) > 0 {
					return []part{p}
				}
			}
			return out
		}
		if kind, n := dec.StackIndex(dec.StackDepth()); token.Kind() != '"' || kind == '{' && n%2 == 1 {
			continue // no text, or the name of a member
		}
		pointer := string(dec.StackPointer())
		if strings.HasPrefix(pointer, "/event/") || strings.HasPrefix(pointer, "/attachments/") {
			continue
		}
		if p := plainPart("payload"+pointer, "payload", token.String(), most); len(p.links) > 0 {
			out = append(out, p)
			most -= len(p.links)
		}
	}
	return out
}
