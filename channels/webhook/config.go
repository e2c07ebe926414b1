package webhook

import (
	"crypto/tls"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/guard"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	defaultSlots = 16
	// A robot takes some messages a minute, and WeCom refuses calls side by side (45033).
	defaultRobotSlots = 4
	defaultTimeout    = 15 * time.Second // the lower end of what Standard Webhooks gives a receiver
)

// Config is a channel's section of yizhan.yaml.
type Config struct {
	channels.Common `yaml:",inline"`

	Format string `yaml:"format,omitempty"` // "" is "standard"
	// The address: in clear, or from a file or an environment variable when it is itself a credential.
	URL     string `yaml:"url,omitempty"`
	URLFile string `yaml:"url_file,omitempty"`
	URLEnv  string `yaml:"url_env,omitempty"`
	// The signing secret; of Standard Webhooks several, separated by white space, while it is rotated.
	SecretFile string `yaml:"secret_file,omitempty"`
	SecretEnv  string `yaml:"secret_env,omitempty"`
	// AllowPrivate lets the configured address lie in a private network or on this machine, on any port, and be http.
	AllowPrivate bool `yaml:"allow_private,omitempty"`
	// Destinations lets events name the address; without hosts they may not.
	Destinations Destinations `yaml:"destinations,omitempty"`
	// CAFile holds PEM certificates to trust beside the system's.
	CAFile string `yaml:"ca_file,omitempty"`
	// CertFile and KeyFile are the client certificate (PEM) for receivers that ask for one.
	CertFile string `yaml:"cert_file,omitempty"`
	KeyFile  string `yaml:"key_file,omitempty"`
	// Proxy is an HTTP proxy, http://host:port; from a file when it holds a user name and password.
	Proxy     string `yaml:"proxy,omitempty"`
	ProxyFile string `yaml:"proxy_file,omitempty"`

	// For robots.
	Message string `yaml:"message,omitempty"` // text, markdown, card; "" is markdown
	Keyword string `yaml:"keyword,omitempty"` // put in front of a message that lacks it
	At      At     `yaml:"at,omitempty"`      // who is mentioned
}

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
	open, ok := formats[cfg.Format]
	if !ok {
		return nil, channels.BadSetting("format",
			"未知的格式“"+cfg.Format+"”，可用的有："+known(), "unknown format \""+cfg.Format+"\"; known are: "+known())
	}
	secret, err := env.Secret(cfg.SecretFile, cfg.SecretEnv)
	if err != nil {
		return nil, channels.BadSetting("secret_file", "无法读取密钥："+err.Error(), err.Error())
	}
	f, err := open(&cfg, strings.TrimSpace(secret))
	if err != nil {
		return nil, err
	}
	return connect(env, cfg, f)
}

// connect gives a format its address and its connections.
func connect(env channels.Env, cfg Config, f format) (channels.Channel, error) {
	r, isRobot := f.(*robot)
	if cfg.Slots == 0 {
		cfg.Slots = defaultSlots
		if isRobot {
			cfg.Slots = defaultRobotSlots
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	events := len(cfg.Destinations.Hosts) > 0
	if events {
		if isRobot {
			return nil, channels.BadSetting("destinations", "destinations 只用于 format: standard", "destinations is for format: standard only")
		}
		if err := cfg.Destinations.check(); err != nil {
			return nil, err
		}
	}
	w := way{conns: cfg.Slots * len(schemas.Priorities), answer: cfg.Timeout} // every slot of every priority may call at once
	if env.Simulated {
		w.reach = guard.PublicAndMe
	}
	var err error
	if w.roots, err = env.Roots("ca_file", cfg.CAFile); err != nil {
		return nil, err
	}
	if w.cert, err = certificate(env, cfg); err != nil {
		return nil, err
	}
	if w.proxy, err = proxy(env, cfg); err != nil {
		return nil, err
	}
	ch := &Channel{
		traits: channels.Traits{Kind: kind, Provider: f.provider(), Address: channels.None, Idempotent: !isRobot, Slots: cfg.Slots, Timeout: cfg.Timeout},
		format: f, log: env.Log, now: time.Now,
	}
	if ch.log == nil {
		ch.log = zap.NewNop()
	}
	if events {
		ch.destinations, ch.away = &cfg.Destinations, w.client()
	}
	if cfg.AllowPrivate {
		w.reach = guard.Everywhere
	}
	if ch.url, err = address(env, cfg, w.reach); err != nil {
		return nil, err
	}
	ch.way, ch.client = w, w.client()
	if s, ok := f.(standard); ok {
		for _, key := range s.keys {
			if k, ok := key.(private); ok {
				ch.log.Info("receivers verify with this public key", zap.String("public_key", k.public()))
			}
		}
	}
	if !isRobot {
		return ch, nil
	}
	ch.traits.Mentions = r.at.Recipients
	key, err := r.budget(ch.url)
	if err != nil {
		return nil, err
	}
	return &Robot{Channel: ch, robot: r, key: key}, nil
}

// address reads and checks the URL. No error shows it: a path or query is often the credential.
func address(env channels.Env, cfg Config, r guard.Reach) (*url.URL, error) {
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
	if s == "" && len(cfg.Destinations.Hosts) > 0 {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil || u.Hostname() == "" || !isPort(u.Port()) || u.Scheme != "https" && u.Scheme != "http":
		return nil, channels.BadSetting("url", "请填写完整的 https 地址", "give a complete https address")
	case u.User != nil:
		return nil, channels.BadSetting("url", "地址中不得包含用户名和密码", "the address must not hold a user name or password")
	case u.Scheme == "http" && r != guard.Everywhere && !(r == guard.PublicAndMe && channels.Loopback(u.Hostname())):
		return nil, channels.BadSetting("url",
			"地址必须使用 https；内网地址如需使用 http，请设置 allow_private: true",
			"the address must be https; for http within your own network set allow_private: true")
	}
	u.Fragment = ""
	return u, nil
}

// certificate is what we show to receivers that want to know who calls; nil is none.
func certificate(env channels.Env, cfg Config) (*tls.Certificate, error) {
	if cfg.CertFile == "" && cfg.KeyFile == "" {
		return nil, nil
	}
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, channels.BadSetting("cert_file", "cert_file 和 key_file 须同时填写", "give both cert_file and key_file")
	}
	cert, err := env.Secret(cfg.CertFile, "")
	if err != nil {
		return nil, channels.BadSetting("cert_file", "无法读取证书文件："+err.Error(), err.Error())
	}
	key, err := env.Secret(cfg.KeyFile, "")
	if err != nil {
		return nil, channels.BadSetting("key_file", "无法读取私钥文件："+err.Error(), err.Error())
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return nil, channels.BadSetting("cert_file", "证书与私钥无法使用：须为 PEM 格式且互相匹配", "certificate and key cannot be used: both are PEM, and belong together")
	}
	return &pair, nil
}

// proxy reads and checks the proxy's URL. No error shows it.
func proxy(env channels.Env, cfg Config) (*url.URL, error) {
	s := cfg.Proxy
	if cfg.ProxyFile != "" {
		if s != "" {
			return nil, channels.BadSetting("proxy", "proxy 和 proxy_file 只能填写一个", "give only one of proxy and proxy_file")
		}
		var err error
		if s, err = env.Secret(cfg.ProxyFile, ""); err != nil {
			return nil, channels.BadSetting("proxy_file", "无法读取代理地址："+err.Error(), err.Error())
		}
	}
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, channels.BadSetting("proxy", "代理地址应为 http://主机:端口", "a proxy is http://host:port")
	case u.User != nil && cfg.ProxyFile == "":
		return nil, channels.BadSetting("proxy", "带用户名和密码的代理地址请放入 proxy_file", "put a proxy address with user name and password into proxy_file")
	}
	return u, nil
}
