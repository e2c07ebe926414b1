package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// provider is an authorization server (RFC 8628) whose token endpoint gives the answer.
func provider(t *testing.T, status int, answer string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/devicecode" {
			_, _ = w.Write([]byte(`{"device_code":"d","user_code":"ABCD-1234","verification_uri":"https://login.example.com/device","expires_in":900,"interval":1}`))
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestMailLogin(t *testing.T) {
	const good = `{"access_token":"a","refresh_token":"the-refresh-token","expires_in":3600}`
	for _, tt := range []struct {
		name, lang    string
		status        int
		answer        string
		args          []string
		code          int
		says, written string
	}{
		{"signed in", "en", 200, good, []string{"mail"}, exitOK, "Signed in", "the-refresh-token\n"},
		{"JSON", "en", 200, good, []string{"mail", "-o", "json"}, exitOK, `"channel": "mail"`, "the-refresh-token\n"},
		{"code used up", "zh", 400, `{"error":"expired_token","error_description":"AADSTS70020: expired"}`, []string{"mail"}, exitProblem, "登录没有完成：AADSTS70020", ""},
		{"refused", "en", 400, `{"error":"invalid_client","error_description":"AADSTS7000215: no"}`, []string{"mail"}, exitProblem, "hint: ", ""},
		{"no refresh token", "zh", 200, `{"access_token":"a"}`, []string{"mail"}, exitProblem, "offline_access", ""},
		{"no such channel", "zh", 0, "", []string{"post"}, exitUsage, "没有名为 post 的邮件通道", ""},
		{"no mail channel", "en", 0, "", []string{"hook"}, exitUsage, "there is no mail channel hook", ""},
		{"another flow", "en", 0, "", []string{"plain"}, exitProblem, "channels.plain.oauth.flow: only flow: device", ""},
		{"no channel named", "en", 0, "", nil, exitUsage, "missing the channel's name", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := provider(t, tt.status, tt.answer)
			dir := configDir(t)
			file := filepath.Join(dir, "yizhan.yaml")
			doc := `channels:
  mail: {kind: email, host: smtp.office365.com, tls: starttls, from: erp@example.com, username: erp@example.com, auth: xoauth2,
    oauth: {flow: device, token_url: '` + at + `/token', device_url: '` + at + `/devicecode', client_id: app, refresh_token_file: refresh}}
  plain: {kind: email, host: smtp.example.com, from: erp@example.com}
  hook: {kind: webhook, url: 'https://partner.example.com/hook', secret_file: hook}
`
			if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
				t.Fatal(err)
			}
			r := yizhan(t, "", append([]string{"mail-login", "-c", file, "--lang", tt.lang}, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.out+r.err, tt.says) {
				t.Errorf("exit code %d, want %d\n%s%s", r.code, tt.code, r.out, r.err)
			}
			if tt.status != 0 && (!strings.Contains(r.err, "ABCD-1234") || !strings.Contains(r.err, "https://login.example.com/device")) {
				t.Errorf("no address or code in\n%s", r.err)
			}
			if strings.Contains(r.out+r.err, "the-refresh-token") {
				t.Error("the token is shown")
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "refresh")); string(b) != tt.written {
				t.Errorf("written: %q", b)
			}
		})
	}
}
