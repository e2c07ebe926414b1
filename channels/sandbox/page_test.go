package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func openSandbox(t *testing.T) (*Sandbox, string) {
	t.Helper()
	s, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, server.URL
}

func do(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestPageInBothLanguages(t *testing.T) {
	s, url := openSandbox(t)
	s.Inbox().Add(Item{Kind: "email", To: "wang@example.com", Subject: "<script>alert(1)</script>", Text: "您的账单已到期"})
	for _, c := range []struct{ query, accept, want, not string }{
		{"?lang=zh", "", "沙箱收件箱", "Sandbox inbox"},
		{"?lang=en", "zh-CN", "Sandbox inbox", "沙箱收件箱"},
		{"", "zh-CN,zh;q=0.9,en;q=0.8", "沙箱收件箱", "Sandbox inbox"},
		{"", "en-GB", "Sandbox inbox", "沙箱收件箱"},
		{"", "", "Sandbox inbox", "沙箱收件箱"},
		{"?kind=sms&lang=en", "", "No message has arrived yet.", "wang@example.com"},
	} {
		resp, body := do(t, "GET", url+"/sandbox/"+c.query, "Accept-Language", c.accept)
		if resp.StatusCode != 200 || !strings.Contains(body, c.want) || strings.Contains(body, c.not) {
			t.Errorf("%q, %q: %d, want %q and no %q", c.query, c.accept, resp.StatusCode, c.want, c.not)
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, " style=") || strings.Contains(body, "<style") || strings.Contains(body, " onclick=") {
			t.Errorf("%q: the page has inline script or style, or a message's markup", c.query)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self'") {
			t.Errorf("CSP = %q", csp)
		}
	}
	for _, name := range []string{"inbox.css", "inbox.js"} {
		resp, body := do(t, "GET", url+"/sandbox/"+name)
		kind := resp.Header.Get("Content-Type")
		if resp.StatusCode != 200 || body == "" || !strings.HasPrefix(kind, "text/") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, kind)
		}
		if strings.Contains(body, "http://") || strings.Contains(body, "https://") {
			t.Errorf("%s loads something from outside", name)
		}
	}
}

func TestInboxOverHTTP(t *testing.T) {
	s, url := openSandbox(t)
	for n := range 5 {
		s.Inbox().Add(Item{Kind: "sms", To: fmt.Sprint(n), Delivery: "d"})
	}
	type list struct {
		Items []struct{ Kind, To, Delivery string }
		Total int
		Next  string
	}
	get := func(query string) (l list) {
		t.Helper()
		resp, body := do(t, "GET", url+"/sandbox/inbox"+query)
		if err := json.Unmarshal([]byte(body), &l); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s, %v", resp.StatusCode, body, err)
		}
		return l
	}
	first := get("?limit=3&kind=sms&delivery=d")
	second := get("?limit=3&kind=sms&delivery=d&cursor=" + first.Next)
	if len(first.Items) != 3 || first.Total != 5 || first.Items[0].To != "4" || len(second.Items) != 2 || second.Items[1].To != "0" || second.Next != "" {
		t.Errorf("pages = %+v, %+v", first, second)
	}
	if l := get("?to=nobody"); l.Items == nil || len(l.Items) != 0 {
		t.Errorf("an empty list = %+v, want [] and not null", l)
	}
	for _, q := range []string{"?limit=0", "?limit=x", "?cursor=-1"} {
		resp, body := do(t, "GET", url+"/sandbox/inbox"+q, "Accept-Language", "zh")
		if resp.StatusCode != 400 || !strings.Contains(body, "正整数") {
			t.Errorf("%s = %d %s", q, resp.StatusCode, body)
		}
	}
	if resp, _ := do(t, "DELETE", url+"/sandbox/inbox", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("DELETE from another site = %d, want 403", resp.StatusCode)
	}
	if l := get(""); l.Total != 5 {
		t.Errorf("total = %d, want 5", l.Total)
	}
	if resp, _ := do(t, "DELETE", url+"/sandbox/inbox"); resp.StatusCode != 204 {
		t.Errorf("DELETE = %d", resp.StatusCode)
	}
	if l := get(""); l.Total != 0 {
		t.Errorf("total after DELETE = %d", l.Total)
	}
}

func TestTheMailServerCanBeSwitchedOff(t *testing.T) {
	s, url := openSandbox(t)
	reachable := func() bool {
		c, err := net.Dial("tcp", s.SMTPAddr().String())
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for _, down := range []bool{true, false} {
		if resp, body := do(t, "POST", fmt.Sprintf("%s/sandbox/smtp?down=%v", url, down)); resp.StatusCode != 200 {
			t.Fatalf("down=%v: %d %s", down, resp.StatusCode, body)
		}
		if reachable() == down {
			t.Errorf("down=%v: the server is reachable: %v", down, !down)
		}
	}
	if resp, _ := do(t, "POST", url+"/sandbox/smtp"); resp.StatusCode != 400 {
		t.Errorf("without down: %d, want 400", resp.StatusCode)
	}
}

func TestCredentialsAreOfOneRun(t *testing.T) {
	a, _ := openSandbox(t)
	b, _ := openSandbox(t)
	if a.Credentials() == b.Credentials() || a.Credentials().AccessKeySecret == "" || a.Credentials().Password == b.Credentials().Password {
		t.Error("two sandboxes share credentials")
	}
	if !strings.HasPrefix(a.WebhookURL("ok"), "http://127.0.0.1:") || !strings.HasSuffix(a.WebhookURL("ok"), "/hook/ok") || !strings.HasPrefix(a.SMSEndpoint(), "http://127.0.0.1:") {
		t.Errorf("addresses: %s %s", a.WebhookURL("ok"), a.SMSEndpoint())
	}
	if _, err := Start(Config{WebhookAddr: "192.0.2.1:80"}); err == nil {
		t.Error("a stand-in listens beyond loopback")
	}
}

// What came with a mail is shown and can be saved; the browser never shows or runs it.
func TestFilesOfAMail(t *testing.T) {
	s, url := openSandbox(t)
	raw := strings.ReplaceAll(`From: erp@example.com
Subject: x
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=UTF-8

<img src="cid:logo">
--r
Content-Type: image/png; name="logo.png"
Content-Disposition: inline; filename="logo.png"
Content-ID: <logo>
Content-Transfer-Encoding: base64

iVBORw==
--r--
--m
Content-Type: text/html; name="x.html"
Content-Disposition: attachment; filename*=UTF-8''%E5%AF%B9%3Cscript%3E%22.html

<script>alert(1)</script>
--m--
`, "\n", "\r\n")
	s.Inbox().Add(Item{Kind: "sms"})
	s.Inbox().Add(readMail([]byte(raw)))
	var list struct {
		Items []struct {
			HTML  string
			Files []struct {
				Name, Type, SHA256, CID, URL string
				Size                         int
			}
		}
	}
	_, body := do(t, "GET", url+"/sandbox/inbox?kind=email")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Items) != 1 || len(list.Items[0].Files) != 2 {
		t.Fatalf("%v %s", err, body)
	}
	logo, page := list.Items[0].Files[0], list.Items[0].Files[1]
	if logo.Name != "logo.png" || logo.Type != "image/png" || logo.CID != "logo" || logo.Size != 4 || len(logo.SHA256) != 64 {
		t.Errorf("image %+v", logo)
	}
	if page.Name != `对<script>".html` || page.Type != "text/html" || page.CID != "" || !strings.Contains(list.Items[0].HTML, "cid:logo") {
		t.Errorf("file %+v, html %q", page, list.Items[0].HTML)
	}
	resp, got := do(t, "GET", url+page.URL)
	h := resp.Header
	if resp.StatusCode != 200 || got != "<script>alert(1)</script>" || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename*=") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%d %q %v", resp.StatusCode, got, h)
	}
	for _, path := range []string{"2/files/2", "2/files/-1", "1/files/0", "3/files/0", "0/files/0", "x/files/y"} {
		if resp, _ := do(t, "GET", url+"/sandbox/inbox/"+path); resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	_, html := do(t, "GET", url+"/sandbox/?lang=zh")
	if !strings.Contains(html, `<a href="inbox/2/files/1" download>对&lt;script&gt;&#34;.html</a>`) || !strings.Contains(html, "内嵌图片") || strings.Contains(html, "<script>\"") {
		t.Errorf("page %s", html)
	}
	s.Inbox().Clear()
	if resp, _ := do(t, "GET", url+page.URL); resp.StatusCode != 404 {
		t.Errorf("after clearing: %d", resp.StatusCode)
	}
}
