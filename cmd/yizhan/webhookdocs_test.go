package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
)

var marked = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks are the pieces of a page that are marked as written in a language.
func blocks(t *testing.T, file, language string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marked.FindAllStringSubmatch(string(b), -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no %s", file, language)
	}
	return out
}

// Every configuration in the manual of webhooks opens, and its rules load; both languages show the same.
func TestWebhookManual(t *testing.T) {
	var shown [2][]string
	for i, file := range []string{"../../docs/webhooks.md", "../../docs/webhooks.zh-CN.md"} {
		for _, doc := range blocks(t, file, "yaml") {
			if strings.HasPrefix(doc, "routes:") {
				if _, err := rules.Load([]byte(doc), guardFactories(), reserverFactories(), rules.Env{}); err != nil {
					t.Errorf("%s: %v\n%s", file, err, doc)
				}
				continue
			}
			dir := t.TempDir()
			for name, content := range map[string]string{
				"partner": "whsec_" + strings.Repeat("aHVudGVy", 4), "partners": "whsk_" + strings.Repeat("AAAA", 10) + "AAA=", "bank": "whsec_" + strings.Repeat("aHVudGVy", 4),
				"ops-secret": "SECx", "finance-secret": "x",
				"ops-url": "https://oapi.dingtalk.com/robot/send?access_token=x", "sales-url": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x",
				"finance-url": "https://open.feishu.cn/open-apis/bot/v2/hook/x", "devops-url": "https://hooks.slack.com/services/x",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// The certificates of the example are nobody's.
			tried := regexp.MustCompile(`(?m)^    (ca|cert|key)_file:.*\n`).ReplaceAllString(doc, "")
			if err := tryConfig(t, dir, strings.ReplaceAll(tried, "/run/secrets/", "")); err != nil {
				t.Errorf("%s: %v\n%s", file, err, doc)
			}
		}
		comment := regexp.MustCompile(` +#.*`)
		for _, language := range []string{"yaml", "json", "python", "csharp", "java", "go"} {
			for _, b := range blocks(t, file, language) {
				shown[i] = append(shown[i], comment.ReplaceAllString(b, ""))
			}
		}
	}
	if !slices.Equal(shown[0], shown[1]) {
		t.Error("the two manuals show different code")
	}
}

// The Go code of the manual verifies the vector of the Standard Webhooks libraries, and refuses what differs.
func TestWebhookManualVerifies(t *testing.T) {
	dir := t.TempDir()
	code := strings.Replace(blocks(t, "../../docs/webhooks.md", "go")[0], "package hook", "package main", 1)
	main := `package main

import (
	"net/http"
	"os"
	"time"
)

func main() {
	h := http.Header{}
	h.Set("webhook-id", os.Args[1])
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,x v2,y v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	if Verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", h, []byte(os.Args[2]), time.Unix(1614265330, 0)) {
		os.Stdout.WriteString("yes")
	} else {
		os.Stdout.WriteString("no")
	}
}
`
	for name, content := range map[string]string{"go.mod": "module hook\n\ngo 1.24\n", "verify.go": code, "main.go": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "verify", ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	got := map[string]string{}
	for name, args := range map[string][]string{"the vector": {id, body}, "another id": {"msg_x", body}, "another body": {id, "{}"}} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "verify"), args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(out)
	}
	if want := map[string]string{"the vector": "yes", "another id": "no", "another body": "no"}; !maps.Equal(got, want) {
		t.Errorf("verified %v, want %v", fmt.Sprint(got), want)
	}
}
