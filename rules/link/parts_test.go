package link

import (
	"slices"
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
		if v := open(t, "").Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Message: m}}); codes(v) != "review many" {
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
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", html, got, want)
		}
	}
}

// The value of an attribute is one URL, read as browsers read it; in a text a URL ends where people see its end.
func TestAttributes(t *testing.T) {
	const query = "?access_token=abcdefgh"
	for value, want := range map[string][]string{
		"//erp.example.com/" + query:                 {"https://erp.example.com/" + query},
		`\\\\erp.example.com\x` + query:              {"https://erp.example.com/x" + query},
		`/\erp.example.com/` + query:                 {"https://erp.example.com/" + query},
		`https:\\erp.example.com\a` + query:          {"https://erp.example.com/a" + query},
		"https:/erp.example.com/" + query:            {"https://erp.example.com/" + query},
		"https:erp.example.com/" + query:             {"https://erp.example.com/" + query},
		"HTTP:///erp.example.com/" + query:           {"HTTP://erp.example.com/" + query},
		" \nhttps://erp.example.com/" + query + "\t": {"https://erp.example.com/" + query},
		"ht\ntps://erp.exa\tmple.com/\r\n" + query:   {"https://erp.example.com/" + query},
		"https://erp.example.com/&Tab;&#10;" + query: {"https://erp.example.com/" + query},
		"https://erp.example.com/登录" + query:         {"https://erp.example.com/登录" + query},
		"https://erp.example.com/a b" + query:        {"https://erp.example.com/a b" + query},
		"https://erp.example.com/，请" + query:         {"https://erp.example.com/，请" + query},
		"/a b" + query:                               {"/a b" + query},
		"erp.example.com/a b" + query:                {"erp.example.com/a b" + query},
		"k3cloud://erp/登录" + query:                   {"k3cloud://erp/登录" + query},
		"https://a.cn/?x=a\\b":                       {"https://a.cn/?x=a\\b"},
		"//":                                         nil,
		"https:":                                     nil,
		"#top":                                       nil,
		"mailto:wang@example.com":                    nil,
		"tel:+8613800000000":                         nil,
		"cid:logo@example":                           nil,
		"data:image/png;base64,AAAA":                 nil,
		"javascript:location=\"https://a.cn/b\"":     {"https://a.cn/b"},
	} {
		for _, name := range []string{"href", "src", "action", "formaction"} {
			var got []string
			for _, l := range inHTML("<a "+name+"='"+value+"'>", false, maxLinks) {
				got = append(got, l.url)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s=%q\ngot  %q\nwant %q", name, value, got, want)
			}
		}
	}
	for html, want := range map[string][]string{
		"<img srcset='https://a.cn/1 1x, https://a.cn/2 2x'>":       {"https://a.cn/1", "https://a.cn/2"},
		"<meta content='0;url=https://a.cn/登录" + query + "'>":       {"https://a.cn/登录" + query},
		"<a ping='https://a.cn/1 https://b.cn/2'>":                  {"https://a.cn/1", "https://b.cn/2"},
		"<p>见https://a.cn/登录" + query + "，或https://a.cn/单据。</p>":    {"https://a.cn/登录" + query, "https://a.cn/"},
		"<a href='https://a.cn/登录" + query + "'>https://a.cn/x</a>": {"https://a.cn/登录" + query, "https://a.cn/x"},
	} {
		var got []string
		for _, l := range inHTML(html, false, maxLinks) {
			got = append(got, l.url)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", html, got, want)
		}
	}
}

// However an attribute writes where it leads, allow_hosts sees the host, login links are seen, and the hit shows
// the place.
func TestAttributesAreJudged(t *testing.T) {
	for value, want := range map[string]string{
		"//evil.example/x":                                   "review host",
		`https:\\evil.example/x`:                             "review host",
		"https:/evil.example":                                "review host",
		"https:evil.example":                                 "review host",
		"https://ev\nil.example/":                            "review host",
		"//erp.example.com/":                                 "",
		"/go?next=https://evil.example/":                     "review host",
		"//erp.example.com/?access_token=abcdefgh":           "review token",
		`https:\\erp.example.com/?access_token=abcdefgh`:     "review token",
		"https:/erp.example.com/?access_token=abcdefgh":      "review token",
		"https://erp.exam\nple.com/?access_\ttoken=abcdefgh": "review token",
		"https://erp.example.com/登录?access_token=abcdefgh":   "review token",
		"https://erp.example.com/a b?access_token=abcdefgh":  "review token",
		"/a b?access_token=abcdefgh":                         "review token",
		"//evil.example/a b?access_token=abcdefgh":           "review host, review token",
	} {
		m := schemas.Message{HTML: "<p>好</p><a class=x href='" + value + "'>看</a>"}
		v := open(t, "{allow_hosts: [erp.example.com]}").Judge(rules.Input{Kind: "email", Now: now, Delivery: &schemas.Delivery{Category: schemas.Notification, Message: m}})
		if got := codes(v); got != want {
			t.Errorf("%q\ngot  %s\nwant %s", value, got, want)
		}
		for _, h := range v.Hits {
			if m.HTML[h.StartByte:h.EndByte] != value || strings.Contains(h.Text, "abcdefgh") {
				t.Errorf("%q: %+v", value, h)
			}
		}
	}
}
