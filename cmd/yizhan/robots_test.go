package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// toWebhooks is an event with ready text for webhooks.
func toWebhooks(id, text string, to ...map[string]any) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": id, "source": devSource, "type": "erp.test", "tenant": "acme",
		"data": map[string]any{"category": "alert", "to": to, "content": map[string]any{"subject": "库存告警 " + id, "text": text}},
	}
}

// ended waits until an event's deliveries have come to rest, and returns them.
func (r *running) ended(t *testing.T, id string) []ledger.DeliveryStory {
	t.Helper()
	var stories []ledger.Story
	eventually(t, id+" comes to rest", func() bool {
		var err error
		if stories, err = r.Ledger.Stories(context.Background(), "acme", devSource, id, lang, r.Explain); err != nil {
			t.Fatal(err)
		}
		return len(stories) == 1 && !stories[0].Open
	})
	return stories[0].Deliveries
}

// One event to the robots of four platforms, and what becomes of messages that they refuse, or never answer with a code.
func TestRobotsFromEventToGroup(t *testing.T) {
	s, sb := openDevService(t, t.TempDir())
	r := start(t, s)
	publish(t, r.base, toWebhooks("all", "M8 螺栓仅剩 **120** 件\n[查看单据](https://erp.huaxing.example/po/1)",
		map[string]any{"webhook": "dingtalk"}, map[string]any{"webhook": "wecom"}, map[string]any{"webhook": "feishu"}, map[string]any{"webhook": "slack"}))
	for _, d := range r.ended(t, "all") {
		if d.State != schemas.Accepted {
			t.Errorf("%s: %s", d.Channel, d.State)
		}
	}
	for _, platform := range []string{"dingtalk", "wecom", "feishu", "slack"} {
		items, total, _ := sb.Inbox().List(sandbox.Filter{To: platform}, 1, 0)
		if total != 1 || !strings.Contains(items[0].Subject+items[0].Text, "库存告警 all") || !strings.Contains(items[0].Text, "https://erp.huaxing.example/po/1") {
			t.Errorf("%s: %d in the inbox, %+v", platform, total, items)
		}
	}
	for id, c := range map[string]struct {
		word, code, class string
		attempts, posted  int
	}{
		"refused":   {"[simulate 430102]", "430102", "content", 1, 0},
		"no-code":   {"[simulate html]", "dispatcher:http-200-no-code", "uncertain", 2, 0},
		"cut-short": {"[simulate cut]", "net:reset", "uncertain", 2, 2},
	} {
		sb.Inbox().Clear()
		publish(t, r.base, toWebhooks(id, c.word, map[string]any{"webhook": "dingtalk"}))
		ds := r.ended(t, id)
		if len(ds) != 1 || ds[0].State != schemas.Dead || ds[0].Attempts != c.attempts {
			t.Errorf("%s: %+v, want a dead letter after %d attempts", id, ds, c.attempts)
		}
		if why := ds[0].Cause; why == nil || why.Code != c.code || why.Class != c.class || why.Provider != "dingtalk" || why.RemedyZh == "" {
			t.Errorf("%s: cause %+v, want %s, %s", id, why, c.code, c.class)
		}
		if _, total, _ := sb.Inbox().List(sandbox.Filter{To: "dingtalk"}, 10, 0); total != c.posted {
			t.Errorf("%s: posted %d times, want %d", id, total, c.posted)
		}
	}
}

// An event names addresses of its own: each is a delivery, and none leads where the channel does not allow it.
func TestEventsNameAddresses(t *testing.T) {
	var arrived atomic.Int32
	inner := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	t.Cleanup(inner.Close)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"hook": "whsec_" + strings.Repeat("aHVudGVy", 4), "rules.yaml": "routes: []\n", "number.key": strings.Repeat("k", 40),
		"yizhan.yaml": `
broker: {data_dir: data}
http: {listen: "127.0.0.1:0", auth: none}
tenants: [acme]
number_key_file: number.key
channels:
  partners: {kind: webhook, destinations: {hosts: ["*.example.com"]}, secret_file: hook, allow_private: true}
  plain: {kind: webhook, url: "https://partner.example.com/", secret_file: hook}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := loadConfig(filepath.Join(dir, "yizhan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openService(context.Background(), c, roles, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, s)
	publish(t, r.base, toWebhooks("named", "x",
		map[string]any{"webhook": "partners", "url": inner.URL + "/token7391"},
		map[string]any{"webhook": "partners", "url": "https://169.254.169.254/latest/meta-data"},
		map[string]any{"webhook": "partners", "url": "https://metadata.example.net/token7391"},
		map[string]any{"webhook": "partners"},
		map[string]any{"webhook": "plain", "url": "https://api.example.com/"},
	))
	ds := r.ended(t, "named")
	if len(ds) != 5 {
		t.Fatalf("%d deliveries, want 5", len(ds))
	}
	for _, d := range ds {
		if d.State != schemas.Dead || d.Cause == nil || d.Cause.Code != "dispatcher:bad-destination" || d.Cause.Class != "recipient" {
			t.Errorf("%s: %s, %+v, want dead: dispatcher:bad-destination", d.To, d.State, d.Cause)
		}
		if strings.Contains(d.To, "7391") || !strings.HasPrefix(d.To, "p") {
			t.Errorf("the trace shows %q", d.To)
		}
	}
	if arrived.Load() != 0 {
		t.Error("an event's address led inside")
	}
	answer := answerTo(t, r.base, toWebhooks("wrong", "x", map[string]any{"webhook": "partners", "url": "http://api.example.com/"}))
	if !strings.Contains(answer, "422") || !strings.Contains(answer, "/data/to/0/url") {
		t.Errorf("an http address: %s", answer)
	}
}
