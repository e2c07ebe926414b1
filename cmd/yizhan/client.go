package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	requestTimeout = 30 * time.Second // one request and its answer
	maxAnswer      = 32 << 20         // bytes of one answer that we read
	maxKeyFile     = 4 << 10
)

// pause waits for d or until ctx ends. Tests replace it, so that they need not wait.
var pause = func(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// client speaks the HTTP API of one server.
type client struct {
	base string // without a slash at the end
	key  string // "<key id>.<secret>"; empty: none
	http *http.Client
}

func newClient(cmd *cobra.Command) (*client, error) {
	server, _ := cmd.Flags().GetString("server")
	keyFile, _ := cmd.Flags().GetString("key-file")
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, usageError("--server 应为 http:// 或 https:// 开头的地址，例如 "+defaultServer, "--server must be an http:// or https:// URL such as "+defaultServer)
	}
	c := &client{base: strings.TrimRight(u.String(), "/"), http: &http.Client{
		Timeout: requestTimeout,
		// The API never redirects: who does is a proxy's sign-in page, and must not get the key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if keyFile == "" {
		return c, nil
	}
	if c.key, err = readKey(keyFile); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, usageError("不能通过未加密的 http 向其他主机发送密钥", "the key must not travel to another host over plain http").
			withHint("把 --server 改为 https:// 地址", "use an https:// URL for --server")
	}
	return c, nil
}

func readKey(name string) (string, error) {
	bad := usageError("无法读取密钥文件", "the key file cannot be read").withHint(
		"检查 --key-file 或环境变量 "+keyFileEnv, "look at --key-file or the environment variable "+keyFileEnv)
	f, err := os.Open(name)
	if err != nil {
		return "", bad.because(unreadable(err))
	}
	defer func() { _ = f.Close() }() // read only: nothing to lose
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", bad.because(unreadable(err))
	}
	key := strings.TrimSpace(string(b))
	id, secret, ok := strings.Cut(key, ".")
	if !ok || id == "" || secret == "" || strings.ContainsAny(key, " \t\r\n") {
		// Without the content: half of it is the secret.
		return "", usageError("密钥文件的内容应为一行“密钥编号.密钥”", `the key file must hold one line "<key id>.<secret>"`)
	}
	return key, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes one request. The error is a [*cliError] or the context's own; every answer below 500 that
// is Yizhan's comes back as an answer.
func (c *client) call(ctx context.Context, method, path string, query url.Values, mediaType string, body []byte) (*answer, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, usageError("地址无效", "not a valid address").because(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Language", lang)
	req.Header.Set("User-Agent", "yizhan-cli")
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.noAnswer(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.noAnswer(ctx, err)
	}
	if len(b) > maxAnswer {
		return nil, problemError("服务器的答复过大", "the server's answer is too large").withHint("缩小查询范围，例如 --limit", "ask for less, for example with --limit")
	}
	a := &answer{resp.StatusCode, resp.Header, b}
	switch media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
	case media == "application/json" && a.status < 300, media == "application/problem+json" && a.status >= 400:
		return a, nil
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return a, nil // of a proxy; the caller may try again
	default:
		return nil, unreachable(fmt.Sprintf("%s 的答复不像是驿站的（HTTP %d）", c.base, a.status), fmt.Sprintf("what answers at %s is not Yizhan (HTTP %d)", c.base, a.status)).
			withHint("检查 --server 的地址，以及中间是否有代理或登录页面", "check --server, and whether a proxy or a sign-in page stands in between")
	}
}

func unreachable(zh, en string) *cliError {
	return &cliError{code: exitUnreachable, text: schemas.Text{Zh: zh, En: en}}
}

// badAnswer is the error of an answer that is not what was asked for; err, of its decoding, may be nil.
func badAnswer(err error) error {
	e := unreachable("无法读懂服务器的答复", "the server's answer cannot be read").
		withHint("客户端与服务器的版本是否一致？", "are client and server of the same version?")
	if err != nil {
		return e.because(err)
	}
	return e
}

// noAnswer words an error of the transport.
func (c *client) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL holds the event's id
	}
	e := unreachable("无法连接驿站服务 "+c.base, "cannot reach Yizhan at "+c.base).because(err)
	var netErr net.Error
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e.withHint("服务器证书不是由受信任的机构签发：请在系统中安装其 CA 证书", "the server's certificate is of no trusted authority: install its CA on this machine")
	}
	if errors.As(err, &netErr) && netErr.Timeout() {
		e.text = schemas.Text{Zh: "驿站服务 " + c.base + " 没有及时答复", En: "no answer in time from Yizhan at " + c.base}
		return e.withHint("检查网络和服务器负载；未确认的请求可以放心重试", "check the network and the server's load; it is safe to try again")
	}
	return e.withHint("yizhan dev（或 serve）是否正在运行？--server 或环境变量 "+serverEnv+" 是否正确？",
		"is `yizhan dev` (or serve) running? is --server or "+serverEnv+" right?")
}

// problem is an RFC 9457 answer.
type problem struct {
	Type     string            `json:"type"`
	Title    string            `json:"title"`
	Status   int               `json:"status"`
	Detail   string            `json:"detail"`
	Problems []schemas.Problem `json:"problems"`
}

// refusal turns an answer of 400 and more into an error; nil for the others.
func (a *answer) refusal() *cliError {
	if a.status < 400 {
		return nil
	}
	var p problem
	_ = json.Unmarshal(a.body, &p) // a proxy's page has no words for us
	said := p.Title
	if p.Detail != "" {
		said += tr("：", ": ")
		if p.Title == "" {
			said = ""
		}
		said += p.Detail
	}
	if said == "" {
		said = fmt.Sprintf("HTTP %d %s", a.status, http.StatusText(a.status))
	}
	e := problemError(said, said)
	e.problems = p.Problems
	switch {
	case slices.ContainsFunc(p.Problems, func(p schemas.Problem) bool { return p.Pointer == "/where" }):
		e.code = exitUsage // what is wrong came from the command line
	case a.status >= 500:
		e.code = exitUnreachable
		e.text = schemas.Text{Zh: "服务暂时无法处理请求：" + said, En: "the server cannot answer now: " + said}
		e.hint = schemas.Text{Zh: "稍后重试；查看服务器的 /readyz 和日志", En: "try again later; look at /readyz and the server's log"}
	case a.status == http.StatusTooManyRequests:
		e.hint = schemas.Text{Zh: "稍后重试，或延长 --timeout", En: "try again later, or with a longer --timeout"}
	case a.status == http.StatusUnauthorized:
		e.hint = schemas.Text{Zh: "用 --key-file 或环境变量 " + keyFileEnv + " 指定密钥", En: "name a key with --key-file or " + keyFileEnv}
	case a.status == http.StatusForbidden:
		e.hint = schemas.Text{Zh: "此密钥没有相应权限：请管理员核对其角色、租户、事件类型和网段", En: "the key lacks a right: have its roles, tenants, event types and networks checked"}
	}
	return e
}

// get reads path into v, and returns the answer's own bytes as well.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, path, query, nil, v)
}

// post sends in and reads the answer into v.
func (c *client) post(ctx context.Context, path string, in, v any) error {
	body, err := json.Marshal(in, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = c.exchange(ctx, http.MethodPost, path, nil, body, v)
	return err
}

func (c *client) exchange(ctx context.Context, method, path string, query url.Values, body []byte, v any) ([]byte, error) {
	mediaType := ""
	if body != nil {
		mediaType = "application/json"
	}
	a, err := c.call(ctx, method, path, query, mediaType, body)
	if err != nil {
		return nil, err
	}
	if e := a.refusal(); e != nil {
		return nil, &statusError{a.status, e}
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return nil, badAnswer(err)
	}
	return a.body, nil
}

// statusError is a refusal with its HTTP status, for callers that treat one of them in their own way.
type statusError struct {
	status int
	*cliError
}

func (e *statusError) Unwrap() error { return e.cliError }

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.status == status
}

// setValue sets a parameter of a query, and none when the value is empty.
func setValue(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// idPath is an event's or a letter's own path: its id may hold slashes.
func idPath(prefix, id string) string { return prefix + url.PathEscape(id) }
