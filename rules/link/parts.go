package link

import (
	"bytes"
	"errors"
	stdhtml "html"
	"io"
	"maps"
	"slices"
	"strings"

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

// maxLinks bounds the links of a message that are judged. Of more than that, the message says so.
const maxLinks = 1000

// located is a URL and where the text has it, in bytes. In HTML the text may write it otherwise (&amp;).
type located struct {
	span
	url string
}

// parts are the texts of a message that have URLs.
func parts(m *schemas.Message) []part {
	var out []part
	add := func(p part) {
		if len(p.links) > 0 {
			out = append(out, p)
		}
	}
	add(plainPart("subject", "subject", m.Subject))
	add(plainPart("text", "text", m.Text))
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		add(plainPart("params/"+name, "text", m.Params[name]))
	}
	add(part{"html", "html", m.HTML, inHTML(m.HTML, false)})
	out = append(out, inPayload(m.Payload)...)
	return out
}

func plainPart(field, group, text string) part {
	p := part{field: field, group: group, text: text}
	for _, s := range find(text) {
		p.links = append(p.links, located{s, text[s.start:s.end]})
	}
	return p
}

// attributes of HTML that lead somewhere when a person clicks, or when a mail program loads or goes there
// by itself.
var attributes = []string{"href", "src", "srcset", "action", "formaction", "background", "poster", "data", "content", "xlink:href", "ping", "cite"}

// inHTML finds the URLs of an HTML mail that a person can follow: in its text and in attributes that lead
// somewhere. Scripts and styles are no text; the namespace of a document is no link. In a conditional comment
// no further one is looked for.
func inHTML(s string, conditional bool) []located {
	var out []located
	if s == "" {
		return out
	}
	z := html.NewTokenizer(strings.NewReader(s))
	at := 0
	skip := false // within <script> or <style>
	for {
		kind := z.Next()
		if kind == html.ErrorToken || len(out) > maxLinks {
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
			for more && len(out) <= maxLinks {
				var key, value []byte
				key, value, more = z.TagAttr()
				if slices.Contains(attributes, string(key)) {
					out = append(out, locate(raw, start, strings.TrimSpace(string(value)))...)
				}
			}
		case html.EndTagToken:
			skip = false
		case html.TextToken:
			if !skip {
				out = append(out, locate(raw, start, stdhtml.UnescapeString(raw))...)
			}
		case html.CommentToken:
			// Outlook shows what stands in <!--[if mso]> … <![endif]-->.
			if _, inner, ok := strings.Cut(raw, "]>"); ok && !conditional && strings.HasPrefix(raw, "<!--[if") {
				offset := start + len(raw) - len(inner)
				for _, l := range inHTML(strings.TrimSuffix(inner, "-->"), true) {
					out = append(out, located{span{l.start + offset, l.end + offset}, l.url})
				}
			}
		}
	}
}

// locate finds the URLs of value, which raw writes in HTML from start on. A URL that raw writes in a way of its
// own has the span of all of raw.
func locate(raw string, start int, value string) []located {
	var out []located
	from := 0
	for _, s := range find(value) {
		url := value[s.start:s.end]
		whole := span{start, start + len(raw)}
		for _, form := range []string{url, strings.ReplaceAll(url, "&", "&amp;")} {
			if i := strings.Index(raw[from:], form); i >= 0 {
				whole = span{start + from + i, start + from + i + len(form)}
				from += i + len(form)
				break
			}
		}
		out = append(out, located{whole, url})
	}
	return out
}

// inPayload finds the URLs in the texts of a webhook's data. The event's own names are no links (source is often
// written as one), and attachments are references that the receiver fetches.
func inPayload(payload []byte) []part {
	var out []part
	if len(payload) == 0 {
		return out
	}
	dec := jsontext.NewDecoder(bytes.NewReader(payload))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			if !errors.Is(err, io.EOF) { // not JSON: still a text
				if p := plainPart("payload", "payload", string(payload)); len(p.links) > 0 {
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
		if p := plainPart("payload"+pointer, "payload", token.String()); len(p.links) > 0 {
			out = append(out, p)
		}
	}
}
