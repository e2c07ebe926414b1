package link

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Whatever a message has, no more links are looked for than are judged, and one more to tell so.
func TestLinksAreBounded(t *testing.T) {
	many := strings.Repeat("http://a.cn/?x&#38;y ", 12000)
	payload, err := json.Marshal(map[string]any{"a": many, "b": strings.Split(strings.TrimSpace(many), " ")})
	if err != nil {
		t.Fatal(err)
	}
	half := manyLinks(600)
	for name, m := range map[string]schemas.Message{
		"text":        {Text: many},
		"html":        {HTML: many},
		"attributes":  {HTML: strings.Repeat("<a href='http://a.cn/?x&#38;y'>", 12000)},
		"srcset":      {HTML: "<img srcset='" + many + "'>"},
		"conditional": {HTML: "<!--[if mso]>" + many + "<![endif]-->"},
		"payload":     {Payload: payload},
		"together":    {Subject: half, Text: half, HTML: half, Params: map[string]string{"a": half, "b": half}, Payload: payload},
	} {
		n := 0
		for _, p := range parts(&m) {
			n += len(p.links)
		}
		if n != maxLinks+1 {
			t.Errorf("%s: %d links", name, n)
		}
		if v := mustOpen(t, "").Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Message: m}}); codes(v) != "review many" {
			t.Errorf("%s: %s", name, codes(v))
		}
	}
}

// A hit in HTML shows the place that writes the URL, in whatever way. What writes it in a way that is not
// followed costs the search for what stands behind it.
func TestPlaceInHTML(t *testing.T) {
	for html, want := range map[string][]string{
		"见 http://a.cn/?x&y 和 http://a.cn/?x&amp;y":              {"http://a.cn/?x&y", "http://a.cn/?x&amp;y"},
		"http://a.cn/?x&#38;y http://a.cn/?x&#x26;y&lt;":         {"http://a.cn/?x&#38;y", "http://a.cn/?x&#x26;y"},
		"http://a.cn/?x&ampy http://b.cn/":                       {"http://a.cn/?x&ampy http://b.cn/", "http://a.cn/?x&ampy http://b.cn/"},
		"http&#58;//a.cn/ http://b.cn/":                          {"http&#58;//a.cn/ http://b.cn/", "http&#58;//a.cn/ http://b.cn/"},
		"<a title='http://a.cn/?x' href='http://a.cn/?x&amp;y'>": {"http://a.cn/?x&amp;y"},
		"<a href='http://a.cn/' src='http://a.cn/'>http://b.cn/": {"http://a.cn/", "http://a.cn/", "http://b.cn/"},
	} {
		var got []string
		end := 0
		for _, l := range inHTML(html, false, maxLinks) {
			if got = append(got, html[l.start:l.end]); l.start < end && l.end-l.start < 20 {
				t.Errorf("%s: two links at %d", html, l.start)
			}
			end = l.end
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\ngot  %q\nwant %q", html, got, want)
		}
	}
}
