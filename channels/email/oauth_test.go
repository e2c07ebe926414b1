package email

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/oauth2"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

const clientSecret = "cl1ent~Secret"

// endpoint is a token endpoint. answer may be replaced; by default each request gets a new token.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	forms  []url.Values
	answer func(n int, form url.Values) (status int, body string)
}

func startEndpoint(t testing.TB) *endpoint {
	t.Helper()
	e := &endpoint{answer: func(n int, _ url.Values) (int, string) {
		return 200, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, n)
	}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		e.mu.Lock()
		e.forms = append(e.forms, r.PostForm)
		status, body := e.answer(len(e.forms), r.PostForm)
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) asked() []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]url.Values(nil), e.forms...)
}

func (e *endpoint) section(t testing.TB, dir string) func(*Config) {
	write(t, dir, "client-secret", []byte(clientSecret))
	return func(c *Config) {
		c.Username, c.PasswordFile, c.Auth = user, "", "xoauth2"
		c.OAuth = &OAuth{
			Flow: "client_credentials", TokenURL: e.URL + "/token", ClientID: "app-1", ClientSecretFile: "client-secret",
			Scope: "https://outlook.office365.com/.default",
		}
	}
}

// openOAuth opens a channel to a server that takes the tokens that good says; heard gets each login.
func openOAuth(t testing.TB, e *endpoint, good func(token string) bool) (ch channels.Channel, heard func() []string) {
	t.Helper()
	var mu sync.Mutex
	var logins []string
	s := play(t, func(s *script, c *textproto.Conn) {
		_ = c.PrintfLine("220 far.example.com ESMTP")
		for {
			line, err := c.ReadLine()
			if err != nil {
				return
			}
			switch verb, rest, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				_ = c.PrintfLine("250-far.example.com\r\n250 AUTH PLAIN XOAUTH2")
			case "AUTH":
				raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "XOAUTH2 "))
				token := strings.TrimSuffix(strings.TrimPrefix(string(raw), "user="+user+"\x01auth=Bearer "), "\x01\x01")
				mu.Lock()
				logins = append(logins, token)
				mu.Unlock()
				if good(token) {
					_ = c.PrintfLine("235 2.7.0 Accepted")
					continue
				}
				_ = c.PrintfLine("334 eyJzdGF0dXMiOiI0MDEifQ==")
				if line, _ := c.ReadLine(); line != "" { // RFC-less protocol: an empty answer ends it
					t.Errorf("answered the error with %q", line)
				}
				_ = c.PrintfLine("535 5.7.3 Authentication unsuccessful, token %s", token)
			case "DATA":
				_ = c.PrintfLine("354 go on")
				_, _ = c.ReadDotBytes()
				_ = c.PrintfLine("250 2.0.0 Ok")
			case "QUIT":
				_ = c.PrintfLine("221 Bye")
				return
			default:
				_ = c.PrintfLine("250 2.0.0 Ok")
			}
		}
	})
	ch = openScript(t, s, func(c *Config) {
		e.section(t, t.TempDir())(c)
		c.OAuth.ClientSecretFile, c.OAuth.ClientSecretEnv = "", "YIZHAN_TEST_CLIENT_SECRET"
	})
	return ch, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), logins...)
	}
}

// The contract, logged in with a token.
func TestContractXOAUTH2(t *testing.T) {
	channeltest.Contract(t, channeltest.Rig{
		Kind: "email", Address: channels.Email, Secrets: []string{clientSecret, "token-1"},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			far := startFar(t, "starttls")
			return openFar(t, env, far, startEndpoint(t).section(t, env.Dir)), far
		},
	})
}

// The one published example of the mechanism (Google's and Microsoft's documentation have it both).
func TestXOAUTH2Vector(t *testing.T) {
	heard := make(chan string, 1)
	s := play(t, func(_ *script, c *textproto.Conn) {
		_ = c.PrintfLine("220 far.example.com ESMTP")
		_, _ = c.ReadLine()
		_ = c.PrintfLine("250-far.example.com\r\n250 AUTH XOAUTH2")
		line, _ := c.ReadLine()
		heard <- line
	})
	e := startEndpoint(t)
	e.answer = func(int, url.Values) (int, string) {
		return 200, `{"access_token":"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg","token_type":"Bearer","expires_in":3600}`
	}
	t.Setenv("YIZHAN_TEST_CLIENT_SECRET", clientSecret)
	ch := openScript(t, s, func(c *Config) {
		e.section(t, t.TempDir())(c)
		c.OAuth.ClientSecretFile, c.OAuth.ClientSecretEnv, c.Username = "", "YIZHAN_TEST_CLIENT_SECRET", "someuser@example.com"
	})
	_, _ = ch.Send(t.Context(), channeltest.Delivery(1))
	const want = "AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
	if got := <-heard; got != want {
		t.Errorf("said %q\nwant %q", got, want)
	}
}

// Many mails at once need one token; the request is what RFC 6749 section 4.4.2 asks for.
func TestOneTokenForAll(t *testing.T) {
	t.Setenv("YIZHAN_TEST_CLIENT_SECRET", clientSecret)
	e := startEndpoint(t)
	ch, _ := openOAuth(t, e, func(token string) bool { return token == "token-1" })
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	asked := e.asked()
	if len(asked) != 1 {
		t.Fatalf("%d requests for a token, want 1", len(asked))
	}
	want := url.Values{"grant_type": {"client_credentials"}, "client_id": {"app-1"}, "client_secret": {clientSecret}, "scope": {"https://outlook.office365.com/.default"}}
	if got := asked[0].Encode(); got != want.Encode() {
		t.Errorf("asked with %s", strings.ReplaceAll(got, url.QueryEscape(clientSecret), "***"))
	}
}

// A token that the mail server refuses before its time is replaced once; when that does not help, the login is wrong.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Setenv("YIZHAN_TEST_CLIENT_SECRET", clientSecret)
	e := startEndpoint(t)
	var mu sync.Mutex
	valid := "token-1"
	ch, heard := openOAuth(t, e, func(token string) bool {
		mu.Lock()
		defer mu.Unlock()
		return token == valid
	})
	revoke := func(next string) {
		mu.Lock()
		valid = next
		mu.Unlock()
		ch.(*channel).pool.forget()
	}
	for n, next := range []string{"token-1", "token-2"} {
		revoke(next)
		if _, err := ch.Send(t.Context(), channeltest.Delivery(n)); err != nil {
			t.Fatal(err)
		}
	}
	revoke("none")
	_, err := ch.Send(t.Context(), channeltest.Delivery(3))
	if f := failure(t, err); f.Code != "535 5.7.3" || f.Class != channels.Auth || strings.Contains(err.Error(), "token-") {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(heard(), " "); got != "token-1 token-1 token-2 token-2 token-3" {
		t.Errorf("logged in with %s", got)
	}
}

// What the token endpoint says is a failure with its code, in the words of the table, without a secret.
func TestTokenEndpointFailures(t *testing.T) {
	t.Setenv("YIZHAN_TEST_CLIENT_SECRET", clientSecret)
	for _, tt := range []struct {
		name   string
		status int
		body   string
		code   string
		class  channels.Class // as the table has it
		after  time.Duration
	}{
		{
			"wrong secret", 401,
			`{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app 'app-1'. Trace ID: 0f1a Timestamp: 2026-11-23 04:00:00Z","error_codes":[7000215]}`,
			"AADSTS7000215", channels.Auth, 0,
		},
		{"expired secret", 401, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app 'app-1' are expired."}`, "AADSTS7000222", channels.Auth, 0},
		{"no such application", 400, `{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'app-1' was not found"}`, "AADSTS700016", channels.Config, 0},
		{"no such tenant", 400, `{"error":"invalid_request","error_description":"AADSTS90002: Tenant 'x' not found."}`, "AADSTS90002", channels.Config, 0},
		{"a code nobody knows", 400, `{"error":"invalid_grant","error_description":"AADSTS99999: Something new."}`, "AADSTS99999", channels.Auth, 0},
		{"no code", 400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, "invalid_grant", channels.Auth, 0},
		{"scope", 400, `{"error":"invalid_scope"}`, "invalid_scope", channels.Config, 0},
		{"busy", 503, `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again."}`, "AADSTS90033", channels.Temporary, 0},
		{"down", 502, `<html>`, "net:token", channels.Temporary, 0},
		{"throttled", 429, ``, "net:token", channels.Temporary, 0},
		{"redirect", 302, ``, "net:token", channels.Temporary, 0},
		{"no token", 200, `{}`, "net:token", channels.Temporary, 0},
		{"garbage", 200, `}`, "net:token", channels.Temporary, 0},
		{"words in place of a code", 400, `{"error":"` + strings.Repeat("not for you, 13800138000! ", 1000) + `"}`, "net:token", channels.Temporary, 0},
		{"secret repeated", 401, `{"error":"invalid_client","error_description":"no ` + clientSecret + ` here"}`, "invalid_client", channels.Auth, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEndpoint(t)
			e.answer = func(int, url.Values) (int, string) { return tt.status, tt.body }
			ch, heard := openOAuth(t, e, func(string) bool { return true })
			for range 3 {
				_, err := ch.Send(t.Context(), channeltest.Delivery(1))
				f := failure(t, err)
				d := explain.Default().Explain(f)
				if f.Code != tt.code || d.Class != tt.class || f.Maybe {
					t.Errorf("got %q, class %q (%s); want %q %q: %s", f.Code, f.Class, d.Class, tt.code, tt.class, f.Line)
				}
				if strings.Contains(err.Error(), clientSecret) || !strings.HasPrefix(f.Line, strings.TrimPrefix(tt.code, "net:")) {
					t.Errorf("line %q", f.Line)
				}
				if !d.Known && tt.name != "a code nobody knows" {
					t.Errorf("not known: %s", d.Cause.En)
				}
			}
			if n := len(e.asked()); n != 1 {
				t.Errorf("three mails asked %d times, want once: the refusal stands for a while", n)
			}
			if len(heard()) != 0 {
				t.Error("a login without a token")
			}
		})
	}
}

func TestTokenEndpointUnreachable(t *testing.T) {
	t.Setenv("YIZHAN_TEST_CLIENT_SECRET", clientSecret)
	e := startEndpoint(t)
	e.Close()
	ch, _ := openOAuth(t, e, func(string) bool { return true })
	_, err := ch.Send(t.Context(), channeltest.Delivery(1))
	if f := failure(t, err); f.Code != "net:token" || f.Class != channels.Temporary || strings.Contains(f.Line, clientSecret) {
		t.Errorf("got %v", err)
	}
}

// stub are tokens whose endpoint is a function.
func stub(fetch func(ctx context.Context) (*oauth2.Token, error)) *tokens {
	return &tokens{turn: make(chan struct{}, 1), fetch: fetch}
}

// A token is replaced before it ends; while the endpoint fails the old one serves to its end.
func TestTokenIsReplacedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, down := 0, false
		tk := stub(func(context.Context) (*oauth2.Token, error) {
			asked++
			if down {
				return nil, errors.New("down")
			}
			return &oauth2.Token{AccessToken: fmt.Sprint("t", asked), Expiry: time.Now().Add(time.Hour)}, nil
		})
		get := func(refused, want string, wantAsked int) {
			t.Helper()
			got, _, err := tk.get(t.Context(), refused)
			if got != want || (err == nil) != (want != "") || asked != wantAsked {
				t.Errorf("got %q, %v after %d requests; want %q after %d", got, err, asked, want, wantAsked)
			}
		}
		get("", "t1", 1)
		time.Sleep(54 * time.Minute)
		get("", "t1", 1)
		time.Sleep(2 * time.Minute)
		down = true
		get("", "t1", 2) // due, but the endpoint fails
		get("", "t1", 2) // and is left alone for a while
		time.Sleep(tokenPause)
		get("", "t1", 3)
		down = false
		time.Sleep(tokenPause)
		get("", "t4", 4)
		down = true
		get("t4", "", 5) // refused by the mail server: the endpoint must say
		time.Sleep(time.Hour)
		get("", "", 6)
		down = false
		get("", "", 6)
		time.Sleep(tokenPause)
		get("", "t7", 7)
	})
}

// Who waits for another's request goes when its own time is up, and does not spoil it for the rest.
func TestTokenWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tk := stub(func(ctx context.Context) (*oauth2.Token, error) {
			asked++
			select {
			case <-time.After(10 * time.Second):
				return &oauth2.Token{AccessToken: "late"}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _, _, _ = tk.get(short, "") }() // the first asks, and gives up
		synctest.Wait()
		begun := time.Now()
		if _, _, err := tk.get(short, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if token, _, err := tk.get(t.Context(), ""); token != "late" || err != nil || asked != 2 {
			t.Errorf("got %q, %v after %d requests: one caller's end must not stand for the endpoint's refusal", token, err, asked)
		}
	})
}

func deviceConfig(e *endpoint) *OAuth {
	return &OAuth{
		Flow: "device", TokenURL: e.URL + "/token", DeviceURL: e.URL + "/devicecode", ClientID: "app-1",
		Scope: "https://outlook.office.com/SMTP.Send offline_access", RefreshTokenFile: "refresh-token",
	}
}

// settled is the settings of a channel with flow: device in dir.
func settled(t testing.TB, e *endpoint, dir string, log *zap.Logger) *settings {
	t.Helper()
	s, err := Config{Host: "smtp.office365.com", TLS: "starttls", Username: user, Auth: "xoauth2", From: user, OAuth: deviceConfig(e)}.settle(channels.Env{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The refresh token is read when it is needed, and its successor replaces it in the file.
func TestRefreshTokenIsReplaced(t *testing.T) {
	e := startEndpoint(t)
	e.answer = func(n int, form url.Values) (int, string) {
		if got := form.Get("refresh_token"); got != fmt.Sprint("r", n) {
			return 400, `{"error":"invalid_grant","error_description":"` + got + `"}`
		}
		return 200, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%d","expires_in":3600}`, n, n+1)
	}
	dir := t.TempDir()
	s := settled(t, e, dir, zap.NewNop())
	_, _, err := s.tokens.get(t.Context(), "")
	if f := s.explain(t.Context(), &fault{phase: inAuth, err: err}); f.Code != "dispatcher:mail-login" || f.Class != channels.Auth {
		t.Errorf("before anybody has signed in: %v", f)
	}
	s.tokens.failed = time.Time{}
	write(t, dir, "refresh-token", []byte("r1\n"))
	for n, refused := range []string{"", "a1", "a2"} {
		if token, _, err := s.tokens.get(t.Context(), refused); token != fmt.Sprint("a", n+1) {
			t.Fatalf("%q, %v", token, err)
		}
	}
	b, _ := os.ReadFile(filepath.Join(dir, "refresh-token"))
	info, err := os.Stat(filepath.Join(dir, "refresh-token"))
	if err != nil || strings.TrimSpace(string(b)) != "r4" || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds %q, mode %v, %v; want r4, 0600", b, info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".refresh-token-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// A successor that cannot be written is used all the same, and the log says so without showing it.
func TestRefreshTokenThatCannotBeWritten(t *testing.T) {
	e := startEndpoint(t)
	e.answer = func(n int, form url.Values) (int, string) {
		return 200, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"successor-%d-of-%s","expires_in":3600}`, n, n, form.Get("refresh_token"))
	}
	dir := t.TempDir()
	core, logs := observer.New(zap.WarnLevel)
	conf := deviceConfig(e).config("")
	// A file is a directory's child here, and its directory is gone once it has been read: root may write anywhere else.
	r := &refreshToken{conf: conf, file: filepath.Join(dir, "sub", "token"), log: zap.New(core)}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sub"), "token", []byte("r1"))
	e.answer = func(inner func(int, url.Values) (int, string)) func(int, url.Values) (int, string) {
		return func(n int, form url.Values) (int, string) {
			if n == 1 {
				_ = os.RemoveAll(filepath.Join(dir, "sub"))
			}
			return inner(n, form)
		}
	}(e.answer)
	if _, err := r.exchange(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sub"), "token", []byte("r1"))
	if _, err := r.exchange(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.asked()[1].Get("refresh_token"); got != "successor-1-of-r1" {
		t.Errorf("the second request used %q", got)
	}
	if logs.Len() != 1 || strings.Contains(fmt.Sprint(logs.All()), "successor") {
		t.Errorf("log: %v", logs.All())
	}
	write(t, filepath.Join(dir, "sub"), "token", []byte("signed-in-again"))
	if _, err := r.exchange(t.Context()); err != nil || e.asked()[2].Get("refresh_token") != "signed-in-again" {
		t.Errorf("a new login is not used: %v, %v", e.asked()[2], err)
	}
}

// roundTrips is a far side without a socket, so that the waits of the device flow are virtual.
type roundTrips func(*http.Request) (int, string)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	status, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestDeviceLogin(t *testing.T) {
	for _, tt := range []struct {
		name  string
		polls []string // answers of the token endpoint; the last one is repeated
		code  string   // of the failure
		file  string
	}{
		{"signed in at the third look", []string{`{"error":"authorization_pending"}`, `{"error":"slow_down"}`, `{"access_token":"a","refresh_token":"the-refresh-token","expires_in":3600}`}, "", "the-refresh-token\n"},
		{"refused", []string{`{"error":"authorization_pending"}`, `{"error":"authorization_declined","error_description":"AADSTS50105: no"}`}, "AADSTS50105", ""},
		{"never", []string{`{"error":"authorization_pending"}`}, "expired_token", ""},
		{"no refresh token", []string{`{"access_token":"a","expires_in":3600}`}, "scope", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls := 0
				client := &http.Client{Transport: roundTrips(func(r *http.Request) (int, string) {
					if r.URL.Path == "/devicecode" {
						return 200, `{"device_code":"dev","user_code":"ABCD-1234","verification_uri":"https://microsoft.com/devicelogin","expires_in":900,"interval":5}`
					}
					body := tt.polls[min(polls, len(tt.polls)-1)]
					polls++
					if strings.Contains(body, `"error"`) {
						return 400, body
					}
					return 200, body
				})}
				dir := t.TempDir()
				e := &endpoint{Server: &httptest.Server{URL: "https://login.example.com"}}
				s := settled(t, e, dir, zap.NewNop())
				var shown DeviceCode
				err := s.login(context.WithValue(t.Context(), oauth2.HTTPClient, client), s.OAuth.config(""), filepath.Join(dir, "refresh-token"), func(c DeviceCode) { shown = c })
				if shown.Code != "ABCD-1234" || shown.URL != "https://microsoft.com/devicelogin" || time.Until(shown.Expires) > 15*time.Minute {
					t.Errorf("shown %+v", shown)
				}
				if tt.code == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.code) {
					t.Errorf("login = %v, want %q", err, tt.code)
				}
				b, _ := os.ReadFile(filepath.Join(dir, "refresh-token"))
				if string(b) != tt.file {
					t.Errorf("the file holds %q", b)
				}
			})
		})
	}
}

func TestOAuthSettings(t *testing.T) {
	const start = "{host: smtp.office365.com, tls: starttls, from: a@example.com, username: a@example.com, auth: xoauth2, "
	const client = "flow: client_credentials, token_url: 'https://login.example.com/token', client_id: app, client_secret_env: YIZHAN_TEST_MAIL_PASSWORD"
	const device = "flow: device, token_url: 'https://login.example.com/token', client_id: app"
	for _, tt := range []struct{ yaml, want string }{
		{start + "oauth: {" + client + "}}", ""},
		{start + "oauth: {" + device + ", refresh_token_file: r}}", ""},
		{start + "oauth: {" + strings.Replace(client, "https://login.example.com", "http://127.0.0.1:80", 1) + "}}", ""},
		{start + "}", "/oauth: auth: xoauth2 needs oauth"},
		{strings.Replace(start, "xoauth2", "auto", 1) + "oauth: {" + client + "}}", "/oauth: only auth: xoauth2"},
		{strings.Replace(start, "username: a@example.com, ", "", 1) + "oauth: {" + client + "}}", "/username: "},
		{start + "password_env: YIZHAN_TEST_MAIL_PASSWORD, oauth: {" + client + "}}", "/password_file: "},
		{start + "oauth: {" + strings.Replace(client, "client_credentials", "password", 1) + "}}", "/oauth/flow: "},
		{start + "oauth: {" + strings.Replace(client, "https:", "http:", 1) + "}}", "/oauth/token_url: "},
		{start + "oauth: {" + strings.Replace(client, "https://login", "https://u:p@login", 1) + "}}", "/oauth/token_url: "},
		{start + "oauth: {" + strings.Replace(client, "client_id: app, ", "", 1) + "}}", "/oauth/client_id: "},
		{start + "oauth: {" + strings.Replace(client, ", client_secret_env: YIZHAN_TEST_MAIL_PASSWORD", "", 1) + "}}", "/oauth/client_secret_file: "},
		{start + "oauth: {" + client + ", refresh_token_file: r}}", "/oauth/flow: "},
		{start + "oauth: {" + device + "}}", "/oauth/refresh_token_file: "},
		{start + "oauth: {" + device + ", refresh_token_file: r, device_url: 'ftp://x'}}", "/oauth/device_url: "},
		{start + "oauth: {" + client + "}, connections: 4}", "/connections: this provider allows one mailbox 3 connections"},
	} {
		_, err := settleYAML(t, tt.yaml)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.yaml, err, tt.want)
		}
	}
}

// What a mailbox is allowed is the default; who asks for a higher rate is told.
func TestMailboxLimits(t *testing.T) {
	for host, want := range map[string]string{
		"smtp.office365.com": "3 30/m", "SMTP.partner.outlook.cn.": "3 30/m",
		"example-com.mail.protection.outlook.com": "4 ", "smtp.exmail.qq.com": "4 ",
	} {
		s, err := settleYAML(t, "{host: "+host+", from: a@example.com}")
		if err != nil {
			t.Fatal(err)
		}
		rate, _ := s.Rate.MarshalText()
		if got := fmt.Sprint(s.Connections, " ", string(rate)); got != want {
			t.Errorf("%s: connections and rate %q, want %q", host, got, want)
		}
		if tr := (&channel{settings: s}).Traits(); tr.Rate != s.Rate || tr.Slots != s.Connections {
			t.Errorf("%s: traits %+v", host, tr)
		}
	}
	for rate, warned := range map[channels.Rate]int{{Count: 30, Per: time.Minute}: 0, {Count: 1, Per: time.Second}: 1, {Count: 1800, Per: time.Hour}: 0, {Count: 1801, Per: time.Hour}: 1} {
		core, logs := observer.New(zap.WarnLevel)
		ch, err := New(channels.Env{Log: zap.New(core)}, func(into any) error {
			*into.(*Config) = Config{Common: channels.Common{Rate: rate}, Host: "smtp.office365.com", From: user}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = ch.Close()
		if logs.Len() != warned {
			t.Errorf("%v: %d warnings, want %d", rate, logs.Len(), warned)
		}
	}
}
