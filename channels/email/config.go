package email

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/mail"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
)

// Config is the section of a channel of kind email in yizhan.yaml.
type Config struct {
	channels.Common `yaml:",inline"`

	Host string `yaml:"host"`
	// Port defaults to what TLS usually listens on: 465 implicit, 587 starttls, 25 none.
	Port int `yaml:"port,omitempty"`
	// TLS is implicit (RFC 8314, the default), starttls (RFC 3207, never falls back to clear text) or none.
	TLS string `yaml:"tls,omitempty"`
	// Insecure allows tls: none to a host other than this machine: an internal relay without a
	// login. Credentials never go there in clear.
	Insecure bool `yaml:"insecure,omitempty"`

	Username     string `yaml:"username,omitempty"` // empty: no login
	PasswordFile string `yaml:"password_file,omitempty"`
	PasswordEnv  string `yaml:"password_env,omitempty"`
	// Auth is auto (the default: PLAIN, LOGIN or CRAM-MD5, whichever the server offers first in
	// this order), plain, login, cram-md5, or xoauth2, which takes a token of OAuth instead of a password.
	Auth  string `yaml:"auth,omitempty"`
	OAuth *OAuth `yaml:"oauth,omitempty"`

	From    string `yaml:"from"` // "ERP 通知 <erp@example.com>"
	ReplyTo string `yaml:"reply_to,omitempty"`
	// Connections bounds the connections to the server, those in use and those kept for the next
	// mail together; 4 by default, or what the provider allows one mailbox, see mailboxes.
	Connections int `yaml:"connections,omitempty"`
	// HELO is the name given in EHLO; the machine's own by default.
	HELO string `yaml:"helo,omitempty"`
	// AttachmentsMissing is what becomes of a mail whose file cannot be had: send (the default) sends it
	// without and says so in it, fail makes it a dead letter.
	AttachmentsMissing string `yaml:"attachments_missing,omitempty"`
	// AttachmentsAttempts is the attempt that goes without a file that is not there yet or whose storage is
	// down; 6 by default, 1: no waiting.
	AttachmentsAttempts int `yaml:"attachments_attempts,omitempty"`
	// CAFile holds PEM certificates trusted besides the system's: a server with a private CA.
	CAFile string `yaml:"ca_file,omitempty"`

	Receipts    channels.Receipts `yaml:"receipts,omitempty"` // bounced mails over HTTP
	Bounces     Bounces           `yaml:"bounces,omitempty"`  // bounced mails in a folder
	DKIM        *DKIM             `yaml:"dkim,omitempty"`
	Unsubscribe *Unsubscribe      `yaml:"unsubscribe,omitempty"`
}

const (
	defaultConnections = 4
	maxConnections     = 64
	defaultTimeout     = 60 * time.Second
)

var defaultPort = map[string]int{"implicit": 465, "starttls": 587, "none": 25}

// settings is a Config that has been checked, with its files read.
type settings struct {
	Config
	addr     string // host:port
	password string
	from     *mail.Address
	replyTo  *mail.Address
	tls      *tls.Config // nil for tls: none
	provider string
	log      *zap.Logger
	tokens   *tokens        // nil without xoauth2
	dkim     *signer        // nil without dkim
	unsub    *unsubscriber  // nil without a link
	files    channels.Files // nil when no storage is set up
}

// settle fills in the defaults, reads the files and refuses what cannot work or is not safe. The
// error is a [schemas.Invalid] and never contains the password.
func (c Config) settle(env channels.Env) (*settings, error) {
	if err := c.Common.Check(); err != nil {
		return nil, err
	}
	if c.TLS == "" {
		c.TLS = "implicit"
	}
	if c.Auth == "" {
		c.Auth = "auto"
	}
	if c.Connections == 0 {
		c.Connections = defaultConnections
		if m := mailboxOf(c.Host); m != nil {
			c.Connections = m.connections
		}
	}
	if m := mailboxOf(c.Host); m != nil && c.Rate.Count == 0 {
		c.Rate = m.rate
	}
	if c.Slots == 0 {
		c.Slots = c.Connections
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Port == 0 {
		c.Port = defaultPort[c.TLS]
	}
	if c.HELO == "" {
		c.HELO = heloName()
	}
	if c.AttachmentsMissing == "" {
		c.AttachmentsMissing = missingSend
	}
	if c.AttachmentsAttempts == 0 {
		c.AttachmentsAttempts = defaultAttempts
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.Receipts.Check(false); err != nil {
		return nil, err
	}
	if err := c.Bounces.settle(env); err != nil {
		return nil, err
	}
	if env.Log == nil {
		env.Log = zap.NewNop()
	}
	s := &settings{Config: c, addr: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), provider: provider(c.Host), log: env.Log, files: env.Files}
	var err error
	if s.from, err = ownAddress("from", c.From); err != nil {
		return nil, err
	}
	if c.ReplyTo != "" {
		if s.replyTo, err = ownAddress("reply_to", c.ReplyTo); err != nil {
			return nil, err
		}
	}
	if s.password, err = env.Secret(c.PasswordFile, c.PasswordEnv); err != nil {
		return nil, channels.BadSetting("password_file", "无法读取密码："+err.Error(), err.Error())
	}
	switch {
	case c.Auth == "xoauth2":
		if s.tokens, err = c.openTokens(env, s.password); err != nil {
			return nil, err
		}
	case c.OAuth != nil:
		return nil, channels.BadSetting("oauth", "只有 auth: xoauth2 才使用 oauth", "only auth: xoauth2 uses oauth")
	case (c.Username == "") != (s.password == ""):
		return nil, channels.BadSetting("username", "username 与 password_file（或 password_env）必须同时填写",
			"username and password_file (or password_env) go together")
	}
	if c.DKIM != nil {
		if s.dkim, err = c.DKIM.open(env, s.from); err != nil {
			return nil, err
		}
	}
	if c.Unsubscribe != nil {
		if s.unsub, err = c.Unsubscribe.open(env); err != nil {
			return nil, err
		}
	}
	if c.TLS != "none" {
		s.tls = &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}
		if s.tls.RootCAs, err = env.Roots("ca_file", c.CAFile); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// check refuses what no file needs to be read for.
func (c Config) check() error {
	switch {
	case c.Host == "" || strings.ContainsAny(c.Host, ":/@ \t\r\n") && net.ParseIP(c.Host) == nil:
		return channels.BadSetting("host", "请填写邮件服务器的主机名，不含协议和端口", "want the mail server's name, without scheme or port")
	case defaultPort[c.TLS] == 0:
		return channels.BadSetting("tls", "只能是 implicit、starttls 或 none", "want implicit, starttls or none")
	case c.Port < 1 || c.Port > 65535:
		return channels.BadSetting("port", "端口须在 1 到 65535 之间", "want 1 to 65535")
	case !slices.Contains([]string{"auto", "plain", "login", "cram-md5", "xoauth2"}, c.Auth):
		return channels.BadSetting("auth", "只能是 auto、plain、login、cram-md5 或 xoauth2", "want auto, plain, login, cram-md5 or xoauth2")
	case c.Connections < 1 || c.Connections > maxConnections:
		return channels.BadSetting("connections", fmt.Sprintf("连接数须在 1 到 %d 之间", maxConnections), fmt.Sprintf("want 1 to %d", maxConnections))
	case mailboxOf(c.Host) != nil && c.Connections > mailboxOf(c.Host).connections:
		n := mailboxOf(c.Host).connections
		return channels.BadSetting("connections", fmt.Sprintf("此服务商只允许一个邮箱同时建立 %d 个连接，更多的会被拒绝（432 4.3.2）", n),
			fmt.Sprintf("this provider allows one mailbox %d connections and refuses more (432 4.3.2)", n))
	case c.From == "":
		return channels.BadSetting("from", "请填写发件人，如“ERP 通知 <erp@example.com>”", `from is missing: "ERP 通知 <erp@example.com>"`)
	case strings.ContainsAny(c.HELO, " \t\r\n"):
		return channels.BadSetting("helo", "应为主机名", "want a host name")
	case c.AttachmentsMissing != missingSend && c.AttachmentsMissing != missingFail:
		return channels.BadSetting("attachments_missing", "只能是 send 或 fail", "want send or fail")
	case c.AttachmentsAttempts < 1 || c.AttachmentsAttempts > maxAttempts:
		return channels.BadSetting("attachments_attempts", fmt.Sprintf("应在 1 到 %d 之间", maxAttempts), fmt.Sprintf("want 1 to %d", maxAttempts))
	case c.TLS != "none" || channels.Loopback(c.Host):
		return nil
	case c.Username != "":
		return channels.BadSetting("tls", "tls: none 会以明文发送密码，请使用 implicit 或 starttls",
			"tls: none would send the password in clear: use implicit or starttls")
	case !c.Insecure:
		return channels.BadSetting("tls", "对其他主机使用 tls: none 须同时设置 insecure: true", "tls: none to another machine needs insecure: true")
	}
	return nil
}

// ownAddress is an address of ours: it must do at every server, also at one without SMTPUTF8. key
// is the setting that holds it.
func ownAddress(key, s string) (*mail.Address, error) {
	a, err := parseAddress(s)
	switch {
	case err != nil:
		return nil, channels.BadSetting(key, "不是有效的邮件地址，应如“ERP 通知 <erp@example.com>”", err.Error())
	case !ascii(a.Address):
		return nil, channels.BadSetting(key, "邮件地址 @ 之前的部分只能使用英文字符", errAddress.Error()+": the part before the @ must be ASCII")
	}
	return a, nil
}

// heloName is the machine's name where servers will take it for one; "localhost" otherwise.
func heloName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsAny(name, "_ ") {
		return "localhost"
	}
	return name
}

// mailbox is what a provider allows one mailbox.
type mailbox struct {
	hosts       []string
	connections int
	rate        channels.Rate // more is put off by the provider, into the minutes that follow
}

// mailboxes are the providers that publish their limits (facts: smtp.md section 3; 21Vianet is taken to have those of the
// global service). Relays of the same providers have other limits, so the whole name counts.
var mailboxes = []mailbox{
	{[]string{"smtp.office365.com", "smtp.partner.outlook.cn"}, 3, channels.Rate{Count: 30, Per: time.Minute}},
}

func mailboxOf(host string) *mailbox {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for i, m := range mailboxes {
		if slices.Contains(m.hosts, host) {
			return &mailboxes[i]
		}
	}
	return nil
}

// above says whether a is faster than b.
func above(a, b channels.Rate) bool {
	return float64(a.Count)*b.Per.Seconds() > float64(b.Count)*a.Per.Seconds()
}

// providers are known by the suffix of the server's name (facts: README, matching order). Order
// counts: the first match wins.
var providers = []struct{ suffix, name string }{
	{"office365.com", "exchange"},
	{"outlook.com", "exchange"}, // also protection.outlook.com
	{"partner.outlook.cn", "exchange"},
	{"gmail.com", "gmail"},
	{"google.com", "gmail"},
	{"qq.com", "qq"}, // also exmail.qq.com
	{"163.com", "netease"},
	{"126.com", "netease"},
	{"yeah.net", "netease"},
	{"netease.com", "netease"},
	{"qiye.aliyun.com", "aliyun-qiye"},
	{"mxhichina.com", "aliyun-qiye"},
}

// provider names whose words the server speaks; "generic" when that is not known.
func provider(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if strings.HasPrefix(host, "smtpdm") && strings.HasSuffix(host, ".aliyun.com") {
		return "aliyun-dm"
	}
	for _, p := range providers {
		if host == p.suffix || strings.HasSuffix(host, "."+p.suffix) {
			return p.name
		}
	}
	return "generic"
}
