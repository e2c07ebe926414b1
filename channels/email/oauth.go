package email

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/yizhan-dev/yizhan/channels"
)

// OAuth is the section oauth: where the tokens of auth: xoauth2 come from (RFC 6749).
type OAuth struct {
	// Flow is client_credentials (RFC 6749 section 4.4: the program signs in as itself) or device (RFC 8628: a person
	// has signed in once, see [Login], and the refresh token that this left is used since).
	Flow     string `yaml:"flow"`
	TokenURL string `yaml:"token_url"` // https; http on this machine only
	// DeviceURL is where Login asks for a code; not needed for a refresh token that was got elsewhere.
	DeviceURL string `yaml:"device_url,omitempty"`
	ClientID  string `yaml:"client_id"`
	// ClientSecretFile or ClientSecretEnv; a public client, which only the device flow knows, has none.
	ClientSecretFile string `yaml:"client_secret_file,omitempty"`
	ClientSecretEnv  string `yaml:"client_secret_env,omitempty"`
	Scope            string `yaml:"scope,omitempty"` // several are separated by blanks
	// RefreshTokenFile is read before every use and written, mode 0600, when the provider replaces the token.
	RefreshTokenFile string `yaml:"refresh_token_file,omitempty"`
}

const (
	flowClient = "client_credentials"
	flowDevice = "device"

	tokenTimeout = 15 * time.Second
	// A token is replaced this long before it ends, so that one refused or late answer of the token endpoint
	// stops no mail. It stays in use while the endpoint fails.
	tokenAhead = 5 * time.Minute
	// tokenLeast is what a token must still be good for: the login and the mail after it.
	tokenLeast = 30 * time.Second
	// tokenPause is how long a refusal of the endpoint stands for those that ask next: a backlog of mails
	// must not become a backlog of requests.
	tokenPause = 10 * time.Second
	maxToken   = 16 << 10 // bytes of a refresh token
)

// tokens keeps the access token of a mailbox. Safe for concurrent use.
type tokens struct {
	fetch  func(ctx context.Context) (*oauth2.Token, error)
	turn   chan struct{} // held by the one who asks the endpoint
	secret string        // the client's

	mu     sync.Mutex
	kept   *oauth2.Token
	err    error // of the last request
	failed time.Time
}

var errNotLoggedIn = errors.New("nobody has signed in for this channel yet, or the refresh token is gone")

// tokenError is what kept us from having a token.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error { return e.error }

// openTokens checks the section and reads its secret.
func (c Config) openTokens(env channels.Env, password string) (*tokens, error) {
	o := c.OAuth
	switch {
	case o == nil:
		return nil, channels.BadSetting("oauth", "auth: xoauth2 须填写 oauth", "auth: xoauth2 needs oauth")
	case password != "":
		return nil, channels.BadSetting("password_file", "auth: xoauth2 用令牌登录，不使用密码", "auth: xoauth2 logs in with a token and takes no password")
	case c.Username == "":
		return nil, channels.BadSetting("username", "auth: xoauth2 须填写邮箱地址", "auth: xoauth2 needs the address of the mailbox")
	case o.Flow != flowClient && o.Flow != flowDevice:
		return nil, channels.BadSetting("oauth/flow", "只能是 client_credentials 或 device", "want client_credentials or device")
	case !safeURL(o.TokenURL):
		return nil, channels.BadSetting("oauth/token_url", "须为 https 地址", "want an https address")
	case o.DeviceURL != "" && !safeURL(o.DeviceURL):
		return nil, channels.BadSetting("oauth/device_url", "须为 https 地址", "want an https address")
	case o.ClientID == "":
		return nil, channels.BadSetting("oauth/client_id", "请填写应用的 client id", "the application's client id is missing")
	case o.Flow == flowDevice && o.RefreshTokenFile == "":
		return nil, channels.BadSetting("oauth/refresh_token_file", "flow: device 须填写保存刷新令牌的文件", "flow: device needs the file that keeps the refresh token")
	case o.Flow == flowClient && (o.RefreshTokenFile != "" || o.DeviceURL != ""):
		return nil, channels.BadSetting("oauth/flow", "refresh_token_file 和 device_url 只用于 flow: device", "only flow: device uses refresh_token_file and device_url")
	}
	secret, err := env.Secret(o.ClientSecretFile, o.ClientSecretEnv)
	if err == nil && secret == "" && o.Flow == flowClient {
		err = errors.New("client_credentials needs a client secret")
	}
	if err != nil {
		return nil, channels.BadSetting("oauth/client_secret_file", "无法读取客户端密钥："+err.Error(), err.Error())
	}
	client := tokenClient()
	t := &tokens{turn: make(chan struct{}, 1), secret: secret}
	if o.Flow == flowClient {
		conf := clientcredentials.Config{
			ClientID: o.ClientID, ClientSecret: secret, TokenURL: o.TokenURL, Scopes: strings.Fields(o.Scope), AuthStyle: oauth2.AuthStyleInParams,
		}
		t.fetch = func(ctx context.Context) (*oauth2.Token, error) {
			return conf.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
		}
		return t, nil
	}
	keeper := &refreshToken{conf: o.config(t.secret), file: env.Path(o.RefreshTokenFile), log: env.Log}
	t.fetch = func(ctx context.Context) (*oauth2.Token, error) {
		return keeper.exchange(context.WithValue(ctx, oauth2.HTTPClient, client))
	}
	return t, nil
}

func (o *OAuth) config(secret string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: secret, Scopes: strings.Fields(o.Scope),
		Endpoint: oauth2.Endpoint{TokenURL: o.TokenURL, DeviceAuthURL: o.DeviceURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// tokenClient follows no redirect: the request holds the client's secret. The library reads at most 1 MiB.
func tokenClient() *http.Client {
	return &http.Client{
		Timeout:       tokenTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
			// One request an hour: a kept connection would only be one more that has gone stale.
			DisableKeepAlives: true, TLSHandshakeTimeout: connectTimeout, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

func safeURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && channels.Loopback(u.Hostname()))
}

// get returns a token other than refused, and whether it is an older one that was kept. Only one caller at a time
// asks the endpoint; the others wait for what it gets, as long as their context allows.
func (t *tokens) get(ctx context.Context, refused string) (token string, kept bool, err error) {
	if token, fresh := t.look(refused); fresh {
		return token, true, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", false, &tokenError{ctx.Err()}
	}
	token, fresh := t.look(refused)
	if fresh {
		return token, true, nil
	}
	t.mu.Lock()
	err = t.err
	if time.Since(t.failed) >= tokenPause {
		err = nil
	}
	t.mu.Unlock()
	if err == nil {
		var got *oauth2.Token
		if got, err = t.fetch(ctx); err == nil {
			t.mu.Lock()
			t.kept, t.err = got, nil
			t.mu.Unlock()
			return got.AccessToken, false, nil
		}
		if ctx.Err() == nil { // else it is the caller's failure, not the endpoint's
			t.mu.Lock()
			t.err, t.failed = err, time.Now()
			t.mu.Unlock()
		}
	}
	if token != "" { // not fresh, but good
		return token, true, nil
	}
	return "", false, &tokenError{err}
}

// look returns the kept token when it can be used, and whether it is too early to replace it.
func (t *tokens) look(refused string) (token string, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil || t.kept.AccessToken == refused {
		return "", false
	}
	left := tokenAhead + 1 // a token without an end is replaced when it is refused
	if !t.kept.Expiry.IsZero() {
		left = time.Until(t.kept.Expiry)
	}
	if left < tokenLeast {
		return "", false
	}
	return t.kept.AccessToken, left > tokenAhead
}

// secrets are what must be shown nowhere.
func (t *tokens) secrets() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		return []string{t.secret}
	}
	return []string{t.secret, t.kept.AccessToken, t.kept.RefreshToken}
}

// refreshToken is the file of a refresh token. Only the holder of tokens.turn uses it.
type refreshToken struct {
	conf *oauth2.Config
	file string
	log  *zap.Logger
	// A successor that could not be written, and what the file says in its place.
	unwritten, instead string
}

// exchange gets an access token for the refresh token, and keeps the new refresh token when there is one
// (RFC 6749 section 6).
func (r *refreshToken) exchange(ctx context.Context) (*oauth2.Token, error) {
	now, err := readToken(r.file)
	if err != nil {
		return nil, err
	}
	use := now
	if r.unwritten != "" && r.instead == now {
		use = r.unwritten
	}
	token, err := r.conf.TokenSource(ctx, &oauth2.Token{RefreshToken: use}).Token()
	if err != nil {
		return nil, err
	}
	if next := token.RefreshToken; next != "" && next != use {
		if err := writeToken(r.file, next); err != nil {
			r.unwritten, r.instead = next, now
			r.log.Warn("the provider has replaced the refresh token, and the new one cannot be written; it is lost when this process ends",
				zap.String("file", r.file), zap.Error(err))
		}
	}
	return token, nil
}

func readToken(file string) (string, error) {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", errNotLoggedIn
	}
	if err == nil && info.Size() > maxToken {
		err = fmt.Errorf("%s: larger than %d bytes", file, maxToken)
	}
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(b)); s != "" {
		return s, nil
	}
	return "", errNotLoggedIn
}

// writeToken replaces the file as a whole: a token half written is a mailbox locked out.
func writeToken(file, token string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".refresh-token-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.WriteString(token + "\n")
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	return err
}

// DeviceCode is what a person needs to sign in: the page to open, and the code to enter there.
type DeviceCode struct {
	URL, Code string
	Expires   time.Time
}

// Login signs a person in for a channel with flow: device and writes its refresh token file. show is called
// once; Login then waits until the person has finished, the code has expired or ctx ends. The error is a
// [*schemas.Invalid] for wrong settings, else a [*channels.Failure].
func Login(ctx context.Context, env channels.Env, decode func(any) error, show func(DeviceCode)) error {
	var c Config
	if err := decode(&c); err != nil {
		return err
	}
	s, err := c.settle(env)
	switch {
	case err != nil:
		return err
	case s.tokens == nil || s.OAuth.Flow != flowDevice:
		return channels.BadSetting("oauth/flow", "只有 flow: device 需要登录", "only flow: device needs somebody to sign in")
	case s.OAuth.DeviceURL == "":
		return channels.BadSetting("oauth/device_url", "登录须填写 device_url", "signing in needs device_url")
	}
	return s.login(context.WithValue(ctx, oauth2.HTTPClient, tokenClient()), s.OAuth.config(s.tokens.secret), env.Path(s.OAuth.RefreshTokenFile), show)
}

func (s *settings) login(ctx context.Context, conf *oauth2.Config, file string, show func(DeviceCode)) error {
	code, err := conf.DeviceAuth(ctx)
	if err != nil {
		return s.noToken(ctx, err)
	}
	show(DeviceCode{URL: code.VerificationURI, Code: code.UserCode, Expires: code.Expiry})
	token, err := conf.DeviceAccessToken(ctx, code)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return s.failure("expired_token", channels.Auth, "expired_token: nobody has signed in before the code expired")
	}
	if err != nil {
		return s.noToken(ctx, err)
	}
	if token.RefreshToken == "" {
		return channels.BadSetting("oauth/scope", "服务商没有给出刷新令牌：scope 中须含 offline_access", "the provider gave no refresh token: the scope needs offline_access")
	}
	if err := writeToken(file, token.RefreshToken); err != nil {
		return channels.BadSetting("oauth/refresh_token_file", "无法写入："+err.Error(), err.Error())
	}
	return nil
}

// codeToken: the token endpoint did not answer, or not as RFC 6749 wants.
const codeToken = "net:token"

// aadsts is a code of Microsoft's sign-in service, in the description of an OAuth error.
var aadsts = regexp.MustCompile(`\bAADSTS\d{4,8}\b:?\s*`)

// codeForm is any error code of RFC 6749 and RFC 8628; words in its place are somebody else's answer.
var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// noToken explains why there is no token. The code is Microsoft's own where there is one, else that of OAuth
// (RFC 6749 section 5.2).
func (s *settings) noToken(ctx context.Context, err error) *channels.Failure {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, errNotLoggedIn) {
		return s.failure("dispatcher:mail-login", channels.Auth, err.Error())
	}
	said, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		f := channels.FromNet("email", s.provider, err, false)
		if _, isFile := errors.AsType[*os.PathError](err); isFile {
			return s.failure("dispatcher:mail-login", channels.Auth, err.Error())
		}
		if f.Code != "net:cancelled" {
			f.Code, f.Class = codeToken, channels.Temporary
		}
		f.Line = s.line("token endpoint: " + f.Line)
		return f
	}
	words := said.ErrorDescription
	code := strings.TrimRight(aadsts.FindString(words+" "+string(said.Body[:min(len(said.Body), 4<<10)])), ": \t\r\n")
	class := channels.Auth
	switch status := said.Response.StatusCode; {
	case code == "" && (status == http.StatusTooManyRequests || status >= 500 || !codeForm.MatchString(said.ErrorCode)):
		f := s.failure(codeToken, channels.Temporary, fmt.Sprintf("token endpoint answers HTTP %d %s", status, http.StatusText(status)))
		f.After = channels.RetryAfter(said.Response.Header.Get("Retry-After"), time.Now())
		return f
	case status == http.StatusTooManyRequests, status >= 500:
		class = channels.Temporary
	case said.ErrorCode == "temporarily_unavailable", said.ErrorCode == "server_error":
		class = channels.Temporary
	case said.ErrorCode == "invalid_scope", said.ErrorCode == "invalid_request", said.ErrorCode == "unsupported_grant_type":
		class = channels.Config
	}
	if code == "" {
		code = said.ErrorCode
	}
	// The mask would take the code for a phone number, so it is put in front of the masked words.
	line := s.line(strings.TrimSpace(said.ErrorCode + ": " + aadsts.ReplaceAllString(words, "")))
	if !strings.HasPrefix(line, code) {
		line = code + " " + line
	}
	return &channels.Failure{Kind: "email", Provider: s.provider, Code: code, Class: class, Line: line}
}
