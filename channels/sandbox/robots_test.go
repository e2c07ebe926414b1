package sandbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that a test turns; many goroutines read it.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func openRobots(t *testing.T, keywords ...string) (*Robots, *Inbox, *clock) {
	t.Helper()
	c, inbox := &clock{}, &Inbox{}
	c.ns.Store(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC).UnixNano())
	s, err := StartRobots(RobotsConfig{Keywords: keywords, Now: c.now}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, inbox, c
}

// say posts a text as the platform wants it, signed at the given time.
func say(t *testing.T, s *Robots, platform, text string, at time.Time) string {
	t.Helper()
	address, secret := s.RobotURL(platform), s.Secret(platform)
	sum := func(key, message string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(message))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	var body string
	switch platform {
	case "dingtalk":
		stamp := fmt.Sprint(at.UnixMilli())
		address += "&timestamp=" + stamp + "&sign=" + url.QueryEscape(sum(secret, stamp+"\n"+secret))
		body = fmt.Sprintf(`{"msgtype":"text","text":{"content":%s}}`, quote(text))
	case "wecom":
		body = fmt.Sprintf(`{"msgtype":"text","text":{"content":%s}}`, quote(text))
	case "feishu":
		stamp := fmt.Sprint(at.Unix())
		body = fmt.Sprintf(`{"timestamp":"%s","sign":"%s","msg_type":"text","content":{"text":%s}}`, stamp, sum(stamp+"\n"+secret, ""), quote(text))
	case "slack":
		body = fmt.Sprintf(`{"text":%s}`, quote(text))
	}
	return post(t, address, body)
}

func post(t *testing.T, address, body string) string {
	t.Helper()
	resp, err := http.Post(address, "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, answer)
}

func TestRobotsTakeAndShow(t *testing.T) {
	s, inbox, c := openRobots(t)
	for _, platform := range s.Platforms() {
		got := say(t, s, platform, "库存不足", c.now())
		if !strings.HasPrefix(got, "200 ") {
			t.Errorf("%s: %s", platform, got)
		}
		items, total, _ := inbox.List(Filter{To: platform}, 1, 0)
		if total != 1 || items[0].Text != "库存不足" || items[0].Kind != "webhook" || s.Taken(platform) != 1 {
			t.Errorf("%s: inbox %+v, taken %d", platform, items, s.Taken(platform))
		}
	}
}

func TestRobotsCheckSignatureAndClock(t *testing.T) {
	s, _, c := openRobots(t)
	for platform, code := range map[string]string{"dingtalk": "310000", "feishu": "19021"} {
		for _, off := range []time.Duration{-61 * time.Minute, 61 * time.Minute} {
			if got := say(t, s, platform, "x", c.now().Add(off)); !strings.Contains(got, code) {
				t.Errorf("%s, signed %v off: %s, want %s", platform, off, got, code)
			}
		}
		if got := say(t, s, platform, "x", c.now().Add(-59*time.Minute)); strings.Contains(got, code) {
			t.Errorf("%s, signed 59 minutes ago: %s", platform, got)
		}
	}
	if got := post(t, s.RobotURL("dingtalk")+"&timestamp=1&sign=wrong", `{"msgtype":"text","text":{"content":"x"}}`); !strings.Contains(got, "sign not match") {
		t.Errorf("a wrong signature: %s", got)
	}
	for platform, code := range map[string]string{"dingtalk": "300005", "wecom": "93000", "feishu": "19001", "slack": "no_service"} {
		address := s.RobotURL(platform)
		if got := post(t, address[:len(address)-1]+"!", `{"msgtype":"text","text":{"content":"x"}}`); !strings.Contains(got, code) {
			t.Errorf("%s, another token: %s, want %s", platform, got, code)
		}
	}
}

func TestRobotsAskForAKeyword(t *testing.T) {
	s, _, c := openRobots(t, "告警", "alert")
	for platform, code := range map[string]string{"dingtalk": "310000", "feishu": "19024"} {
		if got := say(t, s, platform, "库存不足", c.now()); !strings.Contains(got, code) {
			t.Errorf("%s without a keyword: %s, want %s", platform, got, code)
		}
		if got := say(t, s, platform, "库存告警", c.now()); strings.Contains(got, code) {
			t.Errorf("%s with a keyword: %s", platform, got)
		}
	}
}

// The real windows, with a clock of our own.
func TestRobotsLimits(t *testing.T) {
	s, _, c := openRobots(t)
	run := func(platform string, n int) (refused string) {
		for range n {
			if got := say(t, s, platform, "x", c.now()); strings.Contains(got, "exceed") || strings.Contains(got, "freq") || strings.Contains(got, "429") {
				return got
			}
		}
		return ""
	}
	if got := run("dingtalk", 20); got != "" {
		t.Errorf("20 to DingTalk: %s", got)
	}
	if got := run("dingtalk", 1); !strings.Contains(got, "130101") {
		t.Errorf("the 21st to DingTalk: %s, want 130101", got)
	}
	c.advance(9 * time.Minute)
	if got := run("dingtalk", 1); !strings.Contains(got, "130101") {
		t.Errorf("9 minutes after the 21st: %s, want 130101", got)
	}
	c.advance(time.Minute)
	if got := run("dingtalk", 1); got != "" {
		t.Errorf("10 minutes after the 21st: %s", got)
	}
	if got := run("wecom", 20); got != "" {
		t.Errorf("20 to WeCom: %s", got)
	}
	if got := run("wecom", 1); !strings.Contains(got, "45009") {
		t.Errorf("the 21st to WeCom: %s, want 45009", got)
	}
	c.advance(time.Minute)
	if got := run("wecom", 1); got != "" {
		t.Errorf("a minute later: %s", got)
	}
	for range 20 {
		if got := run("feishu", 5); got != "" {
			t.Fatalf("5 a second to Feishu: %s", got)
		}
		c.advance(time.Second)
	}
	if got := run("feishu", 1); !strings.Contains(got, "11232") {
		t.Errorf("the 101st to Feishu within a minute: %s, want 11232", got)
	}
	if got := run("slack", 6); !strings.Contains(got, "429") {
		t.Errorf("6 at once to Slack: %s, want 429", got)
	}
}

// Every code of a platform can be had by its word, and stands in both manuals; so do the other words.
func TestRobotsFateByWord(t *testing.T) {
	s, inbox, c := openRobots(t)
	for _, platform := range s.Platforms() {
		for _, code := range RobotCodes(platform) {
			c.advance(time.Minute)
			if got := say(t, s, platform, "[simulate "+code+"]", c.now()); !strings.Contains(got, code) {
				t.Errorf("%s: %s, want %s", platform, got, code)
			}
		}
	}
	if _, total, _ := inbox.List(Filter{}, 1, 0); total != 0 {
		t.Errorf("%d messages were posted", total)
	}
	for lang, file := range manuals {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page := string(b)
		for _, k := range RobotCases() {
			if !strings.Contains(page, "`"+k.Number+"`") || !strings.Contains(page, "`"+k.Code+"`") {
				t.Errorf("%s: no row for %s with %s", file, k.Number, k.Code)
			}
		}
		for _, platform := range s.Platforms() {
			row := cells(t, file)[platform]
			for _, code := range RobotCodes(platform) {
				if !strings.Contains(row, "`"+code+"`") {
					t.Errorf("%s (%s): the row of %s lacks %s: %s", file, lang, platform, code, row)
				}
			}
		}
	}
}
