package content

import (
	"html"
	"sort"
	"strings"
)

// visible is what a reader sees of HTML, and where each piece of it stands in the source.
type visible struct {
	text   string
	pieces []piece // in order
}

// piece maps text from one offset on to the source: one to one, or all of it to one place (an entity).
type piece struct{ text, source, size int }

// lineTags begin a new line.
var lineTags = map[string]bool{
	"p": true, "div": true, "br": true, "li": true, "tr": true, "td": true, "th": true, "table": true, "ul": true, "ol": true, "hr": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "title": true, "blockquote": true, "section": true, "pre": true,
}

// see strips tags, comments, scripts and styles from HTML and resolves entities.
func see(source string) visible {
	var v visible
	var b strings.Builder
	put := func(s string, at, size int) {
		if s != "" {
			v.pieces = append(v.pieces, piece{b.Len(), at, size})
			b.WriteString(s)
		}
	}
	for i := 0; i < len(source); {
		switch rest := source[i:]; {
		case strings.HasPrefix(rest, "<!--"):
			i = after(source, i, "-->")
		case rest[0] == '<' && len(rest) > 1 && (isLetterByte(rest[1]) || rest[1] == '/' || rest[1] == '!' || rest[1] == '?'):
			name := strings.ToLower(strings.TrimLeft(rest[1:min(len(rest), 16)], "/"))
			if k := strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }); k >= 0 {
				name = name[:k]
			}
			end := after(source, i, ">")
			if rest[1] != '/' && (name == "script" || name == "style") {
				end = skipElement(source, end, name)
			}
			if lineTags[name] {
				put("\n", i, end-i)
			}
			i = end
		case rest[0] == '&':
			k := strings.IndexByte(rest[:min(len(rest), 32)], ';')
			if k < 0 {
				k = 0
			}
			entity := rest[:k+1]
			put(html.UnescapeString(entity), i, len(entity))
			i += len(entity)
		default:
			k := strings.IndexAny(rest[1:], "<&")
			if k < 0 {
				k = len(rest) - 1
			}
			put(rest[:k+1], i, 0)
			i += k + 1
		}
	}
	v.text = b.String()
	return v
}

func after(s string, i int, mark string) int {
	if k := strings.Index(s[i:], mark); k >= 0 {
		return i + k + len(mark)
	}
	return len(s)
}

// skipElement is the end of the element whose opening tag ends at s[:i].
func skipElement(s string, i int, name string) int {
	for at := i; at < len(s); at++ {
		at = after(s, at, "</") // behind it, or the end
		if len(s)-at >= len(name) && strings.EqualFold(s[at:at+len(name)], name) {
			return after(s, at, ">")
		}
		at--
	}
	return len(s)
}

// span is the source of text[start:end].
func (v visible) span(start, end int) (from, to int) {
	if len(v.pieces) == 0 {
		return 0, 0
	}
	last := v.pieces[v.index(end-1)]
	first := v.pieces[v.index(start)]
	from, to = first.source, last.source+last.size
	if first.size == 0 {
		from += start - first.text
	}
	if last.size == 0 {
		to += end - last.text
	}
	return from, to
}

func (v visible) index(at int) int {
	return max(0, sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].text > at })-1)
}
