package main

import (
	"context"
	"html"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

// From the mail to the refusal: the reader opens the link of a promotion, presses the button, and gets no more
// promotions; invoices still arrive.
func TestUnsubscribeFromTheMail(t *testing.T) {
	var mu sync.Mutex
	var mails []sandbox.Item
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(mails)
	}
	nth := func(n int) map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return mails[n].Headers
	}
	relay, err := sandbox.StartSMTP(sandbox.SMTPConfig{}, func(i sandbox.Item) {
		mu.Lock()
		mails = append(mails, i)
		mu.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := configDir(t)
	_, port, _ := net.SplitHostPort(relay.Addr().String())
	for name, doc := range map[string]string{
		"yizhan.yaml": `
http: {auth: none}
tenants: [acme]
channels:
  mail: {kind: email, host: 127.0.0.1, port: ` + port + `, tls: none, from: erp@example.com,
    unsubscribe: {url: 'http://` + ln.Addr().String() + `/v1/unsubscribe/{token}', secret_file: mail}}
`,
		"rules.yaml": `
routes: [{name: all, send: [mail]}]
guards: {quiet_hours: [{category: marketing, allow: "00:00-24:00", zone: Asia/Shanghai}]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := loadConfig(filepath.Join(dir, "yizhan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.listener = ln
	s, err := openService(context.Background(), c, roles, map[string]http.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	base := start(t, s).base

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := postAs(ctx, base+"/v1/consents", "application/json", map[string]any{
		"tenant": "acme", "email": "wang@example.com", "state": "in", "time": time.Now().Add(-time.Hour).Format(time.RFC3339), "how": "form", "text": "member page",
	}, http.StatusOK); err != nil {
		t.Fatal(err)
	}
	send := func(id, category string) {
		publish(t, base, map[string]any{
			"specversion": "1.0", "id": id, "source": "/crm", "type": "erp.crm.news", "tenant": "acme",
			"data": map[string]any{
				"category": category, "to": []any{map[string]any{"email": "Wang@Example.com"}},
				"content": map[string]any{"subject": "配件目录", "text": "新的配件目录已上线，欢迎查看。"},
			},
		})
	}
	send("n-1", "marketing")
	eventually(t, "the promotion arrives", func() bool { return count() == 1 })
	header := nth(0)["List-Unsubscribe"]
	link := regexp.MustCompile(`<(http[^>]+)>`).FindStringSubmatch(header)
	if link == nil || strings.Contains(strings.ToLower(header), "wang") || nth(0)["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click" {
		t.Fatalf("headers %v", nth(0))
	}
	page := fetchPage(t, http.MethodGet, link[1], nil)
	field := regexp.MustCompile(`name="([^"]+)" value="([^"]+)"`).FindStringSubmatch(page)
	if field == nil {
		t.Fatalf("no form:\n%s", page)
	}
	send("n-2", "marketing")
	eventually(t, "opening the page changes nothing", func() bool { return count() == 2 })
	fetchPage(t, http.MethodPost, link[1], url.Values{html.UnescapeString(field[1]): {html.UnescapeString(field[2])}})

	send("n-3", "marketing")
	send("n-4", "notification")
	eventually(t, "the refusal is on the promotion's record", func() bool {
		return strings.Contains(fetchPage(t, http.MethodGet, base+"/v1/events/n-3", nil), "opt-out")
	})
	eventually(t, "the notification arrives", func() bool { return count() == 3 })
	if h := nth(2); h["List-Unsubscribe"] != "" {
		t.Errorf("a notification with %v", h)
	}
}

func fetchPage(t *testing.T, method, address string, form url.Values) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	if err := res.Write(&b); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK && !strings.Contains(address, "/v1/events/") {
		t.Fatalf("%s %s: %s", method, address, b.String())
	}
	return b.String()
}
