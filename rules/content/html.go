package content

import (
	"sort"
	"strings"

	"golang.org/x/net/html"
)

// visible is what a reader sees of HTML, and where each piece of it stands in the source.
type visible struct {
	text   string
	pieces []piece // in the order of the text
}

// piece maps text from one offset on to the source: one to one, or all of it to one place (an entity).
type piece struct{ text, source, size int }

// lineTags begin a new line.
var lineTags = map[string]bool{
	"p": true, "div": true, "br": true, "li": true, "tr": true, "td": true, "th": true, "table": true, "ul": true, "ol": true, "hr": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "title": true, "blockquote": true, "section": true, "pre": true,
}

// see reads HTML as a mail program does: tags, comments, scripts and styles are gone, entities resolved. Comments
// for Outlook and attributes that are shown (alt and the like) come behind the text, each by itself: only some readers see
// them, and for the others they must not tear a word apart.
func see(source string) visible {
	var s seer
	s.read(source, 0, false)
	for i := 0; i < len(s.asides); i++ {
		a := s.asides[i]
		if a.source == "" {
			continue // nothing, and perhaps behind the last byte
		}
		s.put("\n\n", a.at, 1) // more than a word goes on across
		if a.markup {
			s.read(a.source, a.at, true) // may add asides of its own
		} else {
			s.unescape(a.source, a.at)
		}
	}
	s.v.text = s.b.String()
	return s.v
}

// seer collects what is seen.
type seer struct {
	v      visible
	b      strings.Builder
	asides []aside
}

// aside is a piece of the source that only some readers see.
type aside struct {
	source string
	at     int
	markup bool // HTML, else a value
}

func (s *seer) put(text string, at, size int) {
	if text != "" {
		s.v.pieces = append(s.v.pieces, piece{s.b.Len(), at, size})
		s.b.WriteString(text)
	}
}

// read enters source, which stands at offset from. The tokenizer knows what browsers make of quoted marks, of comments
// that end strangely and of elements without markup inside; it lets no byte out, so that lengths give the offsets.
func (s *seer) read(source string, from int, conditional bool) {
	z := html.NewTokenizer(strings.NewReader(source))
	skip := false // within <script> or <style>
	verbatim := false
	for at := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return // the end, nothing else can fail
		}
		raw := source[at : at+len(z.Raw())]
		start := from + at
		at += len(raw)
		switch kind {
		case html.TextToken:
			switch {
			case skip:
			case verbatim:
				s.put(raw, start, 0)
			default:
				s.unescape(raw, start)
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			b, more := z.TagName()
			name := string(b)
			if lineTags[name] {
				s.put("\n", start, len(raw))
			}
			open := kind != html.EndTagToken // browsers take <script/> for <script>
			skip = open && (name == "script" || name == "style")
			verbatim = open && (name == "xmp" || name == "plaintext" || name == "iframe" || name == "noembed" || name == "noframes")
			if open && name == "noscript" {
				z.NextIsNotRawText() // mail programs run no scripts
			}
			if open && more {
				s.attributes(name, raw, start)
			}
		case html.CommentToken:
			// Outlook shows what stands in <!--[if mso]> … <![endif]-->.
			if _, inner, ok := strings.Cut(raw, "]>"); ok && !conditional && strings.HasPrefix(raw, "<!--[if") {
				s.asides = append(s.asides, aside{strings.TrimSuffix(inner, "-->"), start + len(raw) - len(inner), true})
			}
		}
	}
}

// attributes enters what a tag shows by its attributes. The tokenizer has their values, but not their places.
func (s *seer) attributes(element, tag string, start int) {
	const spaces = " \t\r\n\f"
	until := func(i int, marks string) int {
		if k := strings.IndexAny(tag[i:], marks); k >= 0 {
			return i + k
		}
		return len(tag)
	}
	past := func(i int, chars string) int { return len(tag) - len(strings.TrimLeft(tag[i:], chars)) }
	var shown []aside
	for i := until(1, spaces+"/>"); ; {
		if i = past(i, spaces+"/"); i >= len(tag) || tag[i] == '>' {
			break
		}
		end := min(len(tag), until(min(len(tag), i+1), spaces+"/>="))
		key := strings.ToLower(tag[i:end])
		if i = past(end, spaces); i >= len(tag) || tag[i] != '=' {
			continue // no value
		}
		if i = past(i+1, spaces); i >= len(tag) {
			break
		}
		from, to := i, until(i, spaces+">")
		i = to
		if q := tag[from]; q == '"' || q == '\'' {
			from++
			to = until(from, string(q))
			i = min(len(tag), to+1)
		}
		if value := tag[from:to]; shows(element, key) {
			shown = append(shown, aside{value, start + from, false})
		} else if element == "input" && key == "type" && strings.EqualFold(value, "hidden") {
			return
		}
	}
	s.asides = append(s.asides, shown...)
}

// shows says whether readers see the value of an attribute: beside the pointer, or in place of an image or an entry.
func shows(element, key string) bool {
	switch key {
	case "title", "alt", "placeholder":
		return true
	case "value":
		return element == "input"
	}
	return false
}

// maxName is longer than the name of any entity.
const maxName = 40

// unescape enters text whose entities stand for characters, with ; behind them or without.
func (s *seer) unescape(text string, at int) {
	for i := 0; i < len(text); {
		rest := text[i:]
		if rest[0] != '&' {
			k := strings.IndexByte(rest, '&')
			if k < 0 {
				k = len(rest)
			}
			s.put(rest[:k], at+i, 0)
			i += k
			continue
		}
		n := 1
		if strings.HasPrefix(rest, "&#") {
			n = 2
		}
		for n < len(rest) && isAlnumByte(rest[n]) && (rest[1] == '#' || n < maxName) {
			n++
		}
		if n < len(rest) && rest[n] == ';' {
			n++
		}
		// Whatever stays as it is behind the entity (&#20449abc, &nbspabc) has its own place.
		written, means := rest[:n], html.UnescapeString(rest[:n])
		k := 0
		for k < min(len(written), len(means)) && written[len(written)-1-k] == means[len(means)-1-k] {
			k++
		}
		s.put(means[:len(means)-k], at+i, len(written)-k)
		s.put(means[len(means)-k:], at+i+len(written)-k, 0)
		i += n
	}
}

func isAlnumByte(c byte) bool { return isLetterByte(c) || '0' <= c && c <= '9' }

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
	return min(from, to), max(from, to) // an aside may stand before the text
}

func (v visible) index(at int) int {
	return max(0, sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].text > at })-1)
}
