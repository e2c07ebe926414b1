package link

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFind(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           nil,
		"。.":                         nil,
		"详见http://a.cn/b。谢谢":         {"http://a.cn/b"},
		"https://erp.example.com查看":  {"https://erp.example.com"},
		"https://erp.example.com/单据": {"https://erp.example.com/"},
		"https://erp.example.com.":   {"https://erp.example.com"},
		"（https://a.cn/b?c=1&d=2）":   {"https://a.cn/b?c=1&d=2"},
		"(https://a.cn/b_(c))":       {"https://a.cn/b_(c)"},
		"see https://a.cn/b, then https://c.cn/d.":        {"https://a.cn/b", "https://c.cn/d"},
		"https://a.cn,https://b.cn;http://c.cn/":          {"https://a.cn", "https://b.cn", "http://c.cn/"},
		"https://a.cn/?u=http://b.cn/x":                   {"https://a.cn/?u=http://b.cn/x"},
		"HTTPS://A.CN/X":                                  {"HTTPS://A.CN/X"},
		"K3cloud://erp/x?ud=1":                            {"K3cloud://erp/x?ud=1"},
		"abchttps://a.cn":                                 {"https://a.cn"},
		"weixin://dl/business/?t=1":                       {"weixin://dl/business/?t=1"},
		"http://erpserver/K3Cloud/":                       {"http://erpserver/K3Cloud/"},
		"https://[2001:db8::1]:8443/a":                    {"https://[2001:db8::1]:8443/a"},
		"https://例子.中国/a":                                 {"https://例子.中国/a"},
		"https://\u0430pple.com/a":                        {"https://\u0430pple.com/a"},
		"https://a.cn/x?name=张三&token=1 好":                {"https://a.cn/x?name=张三&token=1"},
		"https://a.cn/x?name=张三 &token=1":                 {"https://a.cn/x?name="},
		"https://a.cn/x?a=1请在今天办理":                        {"https://a.cn/x?a=1"},
		"见https://a.cn/登录?access_token=1，请点击":             {"https://a.cn/登录?access_token=1"},
		"https://a.cn/系统/v1.2/登录?a=1 好":                   {"https://a.cn/系统/v1.2/登录?a=1"},
		"https://a.cn/登录?是不是a=1":                          {"https://a.cn/"},
		"https://a.cn/登录，或?a=1":                           {"https://a.cn/"},
		"https://a.cn/或b.cn/?x=1":                         {"https://a.cn/", "b.cn/?x=1"},
		"https://a.cn/请看http://b.cn/?x=1":                 {"https://a.cn/", "http://b.cn/?x=1"},
		"https://a.cn/登录?":                                {"https://a.cn/"},
		"https://user:pw@a.cn/":                           {"https://user:pw@a.cn/"},
		"https://":                                        nil,
		"https://...":                                     nil,
		"://a.cn/b":                                       nil,
		"点t.cn/A6x，或a.b.com:8080/c。":                      {"t.cn/A6x", "a.b.com:8080/c"},
		"登录www.example.top，或erp.example.com。":             {"www.example.top", "erp.example.com"},
		"wang@mail.example.com a.b@example.com":           nil,
		"v1.2.3，12.5元，2026.11.23，PO-2026.11，192.168.1.1":  nil,
		"main.go readme.md/x.txt a.pdf e.g. U.S. 合同.docx": {"readme.md/x.txt"}, // .md is Moldova's
		"公司.com":                                          nil,
		"a.com":                                           {"a.com"},
		"x.unknowntld/a":                                  nil,
		"a..com/b":                                        nil,
	} {
		var got []string
		for _, s := range find(text, maxLinks) {
			got = append(got, text[s.start:s.end])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"https://a.cn/b?c=张&d", "a.com", "x.https://y", "https://\u0430.com,http://b", "((https://a.cn/)))", "a.b.c.d.e/f", "%68ttps://a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		end := 0
		for _, u := range find(s, maxLinks) {
			if u.start < end || u.end <= u.start || u.end > len(s) {
				t.Fatalf("%+v of %q", u, s)
			}
			end = u.end
			if url := s[u.start:u.end]; utf8.ValidString(s) && !utf8.ValidString(url) {
				t.Fatalf("%q cuts a character", url)
			} else if m := masked(url); !utf8.ValidString(m) || strings.ContainsAny(m, "\r\n\x1b") || utf8.RuneCountInString(m) > maxShown {
				t.Fatalf("%q is shown as %q", url, m)
			}
		}
		// With a known host in front, a URL is found whatever follows.
		if u := find("https://erp.example.com/"+s, maxLinks); len(u) == 0 || u[0].start != 0 || u[0].end < len("https://erp.example.com") {
			t.Fatalf("%q: %+v", s, u)
		}
	})
}

func TestShortenersAreHosts(t *testing.T) {
	if len(shorteners) < 40 || !shorteners["t.cn"] || !shorteners["bit.ly"] {
		t.Fatalf("%d hosts", len(shorteners))
	}
	for host := range shorteners {
		if s := find(host+"/a", maxLinks); len(s) != 1 || strings.ToLower(host) != host {
			t.Errorf("%q is no host that can be found", host)
		}
	}
}
