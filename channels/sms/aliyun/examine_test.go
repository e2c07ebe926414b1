package aliyun

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
)

// What each answer of Aliyun's means for the steps; and that only questions are asked.
func TestExamine(t *testing.T) {
	const allGood = `{"Code":"OK","Message":"OK","SignStatus":1,"TemplateStatus":1}`
	refuse := func(status int, code string) string {
		return fmt.Sprintf(`%d {"Code":%q,"Message":"no","RequestId":"1"}`, status, code)
	}
	for _, tt := range []struct {
		name           string
		sign, template string // answers, with a status other than 200 in front
		want           map[string]string
	}{
		{"all is well", allGood, allGood, map[string]string{"account": "ok", "signature": "ok", "template.SMS_1": "ok"}},
		{"under review", `{"Code":"OK","SignStatus":0}`, `{"Code":"OK","TemplateStatus":0}`, map[string]string{
			"account": "ok", "signature": "fail isv.SIGN_STATE_ILLEGAL", "template.SMS_1": "fail isv.SMS_TEMPLATE_ILLEGAL",
		}},
		{"refused", `{"Code":"OK","SignStatus":2,"Reason":"资质不全"}`, allGood, map[string]string{"signature": "fail isv.SIGN_STATE_ILLEGAL", "template.SMS_1": "ok"}},
		{"cancelled", `{"Code":"OK","SignStatus":10}`, allGood, map[string]string{"signature": "fail isv.SIGN_STATE_ILLEGAL"}},
		{"a state of tomorrow", `{"Code":"OK","SignStatus":77}`, allGood, map[string]string{"signature": "skip"}},
		{"no such signature", `{"Code":"isv.SMS_SIGNATURE_ILLEGAL","Message":"no"}`, allGood, map[string]string{"account": "ok", "signature": "fail isv.SMS_SIGNATURE_ILLEGAL", "template.SMS_1": "ok"}},
		{"no such template", allGood, `{"Code":"isv.SMS_TEMPLATE_ILLEGAL","Message":"no"}`, map[string]string{"template.SMS_1": "fail isv.SMS_TEMPLATE_ILLEGAL"}},
		{"wrong key", refuse(404, "InvalidAccessKeyId.NotFound"), allGood, map[string]string{"account": "fail InvalidAccessKeyId.NotFound", "signature": ""}},
		{"wrong secret", refuse(400, "SignatureDoesNotMatch"), allGood, map[string]string{"account": "fail SignatureDoesNotMatch", "signature": ""}},
		{"our clock is wrong", refuse(400, "InvalidTimeStamp.Expired"), allGood, map[string]string{"account": "fail InvalidTimeStamp.Expired"}},
		{"may send, not ask", `{"Code":"isp.RAM_PERMISSION_DENY","Message":"no"}`, allGood, map[string]string{"account": "warn", "signature": ""}},
		{"out of order", "503 <html>", allGood, map[string]string{"account": "fail http:503"}},
		{"no JSON", "hello", allGood, map[string]string{"account": "fail dispatcher:http-200-no-code"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var actions []string
			far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				action := r.FormValue("Action")
				mu.Lock()
				actions = append(actions, action)
				mu.Unlock()
				said := map[string]string{"QuerySmsSign": tt.sign, "QuerySmsTemplate": tt.template}[action]
				status := http.StatusOK
				if n, rest, ok := strings.Cut(said, " "); ok && len(n) == 3 {
					_, _ = fmt.Sscan(n, &status)
					said = rest
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(said))
			}))
			t.Cleanup(far.Close)
			got := map[string]string{}
			openAt(t, far.URL).Examine(t.Context(), &channels.Examination{
				Resolver: net.DefaultResolver, Limit: 5 * time.Second, Now: time.Now, Codes: []string{"SMS_1"},
				Report: func(s channels.Step) {
					got[s.ID] = string(s.Level)
					if s.Failure != nil {
						got[s.ID] += " " + s.Failure.Code
					}
					if strings.Contains(s.Seen.Zh+s.Seen.En, "canary") {
						t.Error("the secret is shown")
					}
				},
			})
			for id, want := range tt.want {
				if got[id] != want {
					t.Errorf("%s: %q, want %q", id, got[id], want)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(actions, "SendSms") {
				t.Error("a message was sent")
			}
		})
	}
}

func openAt(t *testing.T, endpoint string) *Channel {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"id", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("canary-"+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ch, err := New(channels.Env{Name: "sms", Dir: dir, Log: zap.NewNop()}, func(into any) error {
		*into.(*Config) = Config{Signature: "华星科技", Endpoint: endpoint, AccessKeyIDFile: "id", AccessKeySecretFile: "secret"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	return ch.(*Channel)
}
