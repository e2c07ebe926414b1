// Package webhook posts deliveries to an HTTP endpoint of somebody else.
//
// The endpoint's address comes from configuration and its name from DNS, so it is checked when
// connecting: no address inside, unless the operator allows it, and never one for cloud metadata.
// A repeat does no harm: the receiver knows a message again by its webhook-id.
package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	kind     = "webhook"
	provider = "generic"

	defaultSlots   = 16
	defaultTimeout = 15 * time.Second // the lower end of what Standard Webhooks gives a receiver
	maxAnswer      = 64 << 10
)

// Config is a channel's section of yizhan.yaml.
type Config struct {
	channels.Common `yaml:",inline"`

	Format string `yaml:"format,omitempty"` // "" is "standard"
	// The address: in clear, or from a file or an environment variable when it is itself a credential.
	URL     string `yaml:"url,omitempty"`
	URLFile string `yaml:"url_file,omitempty"`
	URLEnv  string `yaml:"url_env,omitempty"`
	// The signing secret; several, separated by white space, while it is rotated.
	SecretFile string `yaml:"secret_file,omitempty"`
	SecretEnv  string `yaml:"secret_env,omitempty"`
	// AllowPrivate lets the address lie in a private network or on this machine, on any port, and be http.
	AllowPrivate bool `yaml:"allow_private,omitempty"`
	// CAFile holds PEM certificates to trust beside the system's.
	CAFile string `yaml:"ca_file,omitempty"`
}

// format is what one kind of receiver wants to be sent, and how it says no.
type format interface {
	request(d *schemas.Delivery, now time.Time) (body []byte, header http.Header, err error)
	// read judges an answer; nil is acceptance.
	read(status int, header http.Header, body []byte, now time.Time) *channels.Failure
}

// formats are the kinds of receivers, each opened with its secret.
var formats = map[string]func(secret string) (format, error){
	"standard": newStandard,
}

// Channel posts to one endpoint. Safe for concurrent use.
type Channel struct {
	traits channels.Traits
	format format
	url    *url.URL
	client *http.Client
	check  control // of every address that is connected to
	roots  *x509.CertPool
	now    func() time.Time
}

var _ channels.Factory = New

// New opens the channel; it makes no connection. The error is a [schemas.Invalid] where a setting
// cannot be used, and never contains the secret or the address.
func New(env channels.Env, decode func(into any) error) (channels.Channel, error) {
	var cfg Config
	if err := decode(&cfg); err != nil {
		return nil, err
	}
	if err := cfg.Common.Check(); err != nil {
		return nil, err
	}
	if cfg.Format == "" {
		cfg.Format = "standard"
	}
	if cfg.Slots == 0 {
		cfg.Slots = defaultSlots
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	open, ok := formats[cfg.Format]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
		return nil, channels.BadSetting("format",
			"未知的格式“"+cfg.Format+"”，可用的有："+known, "unknown format \""+cfg.Format+"\"; known are: "+known)
	}
	secret, err := env.Secret(cfg.SecretFile, cfg.SecretEnv)
	if err != nil {
		return nil, channels.BadSetting("secret_file", "无法读取密钥："+err.Error(), err.Error())
	}
	f, err := open(secret)
	if err != nil {
		return nil, err
	}
	r := public
	switch {
	case cfg.AllowPrivate:
		r = everywhere
	case env.Simulated:
		r = publicAndMe
	}
	u, err := address(env, cfg, r)
	if err != nil {
		return nil, err
	}
	roots, err := roots(env, cfg.CAFile)
	if err != nil {
		return nil, err
	}
	// Every slot of every priority may call at once.
	conns, check := cfg.Slots*len(schemas.Priorities), guard(r)
	return &Channel{
		traits: channels.Traits{Kind: kind, Provider: provider, Address: channels.None, Idempotent: true, Slots: cfg.Slots, Timeout: cfg.Timeout},
		format: f,
		url:    u,
		check:  check,
		roots:  roots,
		client: &http.Client{
			Transport: newTransport(check, roots, conns, cfg.Timeout),
			// Followed, a redirect would carry the message to an address that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: time.Now,
	}, nil
}

// address reads and checks the URL. No error shows it: a path or query is often the credential.
func address(env channels.Env, cfg Config, r reach) (*url.URL, error) {
	s := cfg.URL
	if cfg.URLFile != "" || cfg.URLEnv != "" {
		if s != "" {
			return nil, channels.BadSetting("url", "url、url_file、url_env 只能填写一个", "give only one of url, url_file and url_env")
		}
		var err error
		if s, err = env.Secret(cfg.URLFile, cfg.URLEnv); err != nil {
			return nil, channels.BadSetting("url_file", "无法读取地址："+err.Error(), err.Error())
		}
	}
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, channels.BadSetting("url", "请填写完整的 https 地址", "give a complete https address")
	case u.User != nil:
		return nil, channels.BadSetting("url", "地址中不得包含用户名和密码", "the address must not hold a user name or password")
	case u.Scheme == "http" && r != everywhere && !(r == publicAndMe && isLoopback(u.Hostname())):
		return nil, channels.BadSetting("url",
			"地址必须使用 https；内网地址如需使用 http，请设置 allow_private: true",
			"the address must be https; for http within your own network set allow_private: true")
	}
	u.Fragment = ""
	return u, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// roots are the certificates to trust; nil is the system's.
func roots(env channels.Env, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := env.Secret(file, "")
	if err != nil {
		return nil, channels.BadSetting("ca_file", "无法读取证书文件："+err.Error(), err.Error())
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, channels.BadSetting("ca_file", "文件中没有可用的 PEM 证书", "there is no PEM certificate in the file")
	}
	return pool, nil
}

// Traits says what the dispatcher must know of the channel.
func (c *Channel) Traits() channels.Traits { return c.traits }

// Close ends the idle connections.
func (c *Channel) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Send posts the delivery once. Every error is a *channels.Failure.
func (c *Channel) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	req, err := c.request(d)
	if err != nil {
		return channels.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	ctx, written := channels.TraceWritten(ctx)
	resp, err := c.client.Do(req.WithContext(ctx))
	if err != nil {
		return channels.Receipt{}, channels.FromNet(kind, provider, err, written())
	}
	defer resp.Body.Close()
	// Of a longer or broken answer, the beginning and the status still count.
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if f := c.format.read(resp.StatusCode, resp.Header, answer, c.now()); f != nil {
		f.Line = c.hide(f.Line)
		return channels.Receipt{}, f
	}
	return channels.Receipt{ID: d.ID, Reply: channels.Line(resp.Status)}, nil
}

// request makes the one request of a delivery.
func (c *Channel) request(d *schemas.Delivery) (*http.Request, error) {
	body, header, err := c.format.request(d, c.now())
	if err != nil { // the payload is no JSON; its text would show it
		return nil, &channels.Failure{Kind: kind, Provider: "dispatcher", Code: "dispatcher:bad-payload", Class: channels.Content}
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "Yizhan")
	return &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		// A kept connection that turns out dead before anything was written is replaced.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}, nil
}

// hide takes what may be a credential, the path and query of our own address, out of an answer's words.
func (c *Channel) hide(line string) string {
	for _, s := range []string{c.url.RequestURI(), c.url.EscapedPath(), c.url.Path} {
		if len(s) > 1 {
			line = strings.ReplaceAll(line, s, "/…")
		}
	}
	return line
}
