package email

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// this order), plain, login or cram-md5.
	Auth string `yaml:"auth,omitempty"`

	From    string `yaml:"from"` // "ERP 通知 <erp@example.com>"
	ReplyTo string `yaml:"reply_to,omitempty"`
	// Connections bounds the connections to the server, those in use and those kept for the next
	// mail together; 4 by default. Exchange Online allows 3 for one mailbox (facts: smtp.md section 3).
	Connections int `yaml:"connections,omitempty"`
	// HELO is the name given in EHLO; the machine's own by default.
	HELO string `yaml:"helo,omitempty"`
	// CAFile holds PEM certificates trusted besides the system's: a server with a private CA.
	CAFile string `yaml:"ca_file,omitempty"`
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
}

// settle fills in the defaults, reads the files and refuses what cannot work or is not safe.
func (c Config) settle(env channels.Env) (*settings, error) {
	if c.TLS == "" {
		c.TLS = "implicit"
	}
	if c.Auth == "" {
		c.Auth = "auto"
	}
	if c.Connections == 0 {
		c.Connections = defaultConnections
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
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &settings{Config: c, addr: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), provider: provider(c.Host)}
	var err error
	if s.from, err = ownAddress(c.From); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if c.ReplyTo != "" {
		if s.replyTo, err = ownAddress(c.ReplyTo); err != nil {
			return nil, fmt.Errorf("reply_to: %w", err)
		}
	}
	if s.password, err = env.Secret(c.PasswordFile, c.PasswordEnv); err != nil {
		return nil, err
	}
	if (c.Username == "") != (s.password == "") {
		return nil, errors.New("username and password_file (or password_env) go together")
	}
	if c.TLS != "none" {
		if s.tls, err = c.tlsConfig(env.Dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c Config) check() error {
	switch {
	case c.Host == "" || strings.ContainsAny(c.Host, ":/@ \t\r\n") && net.ParseIP(c.Host) == nil:
		return fmt.Errorf("host %q: want the mail server's name, without scheme or port", c.Host)
	case defaultPort[c.TLS] == 0:
		return fmt.Errorf("tls %q: want implicit, starttls or none", c.TLS)
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("port %d: want 1 to 65535", c.Port)
	case !slices.Contains([]string{"auto", "plain", "login", "cram-md5"}, c.Auth):
		return fmt.Errorf("auth %q: want auto, plain, login or cram-md5", c.Auth)
	case c.Connections < 1 || c.Connections > maxConnections:
		return fmt.Errorf("connections %d: want 1 to %d", c.Connections, maxConnections)
	case c.Slots < 1 || c.Timeout < 0:
		return errors.New("slots and timeout must be positive")
	case c.From == "":
		return errors.New(`from is missing: "ERP 通知 <erp@example.com>"`)
	case strings.ContainsAny(c.HELO, " \t\r\n"):
		return fmt.Errorf("helo %q: want a host name", c.HELO)
	case c.TLS != "none" || loopback(c.Host):
		return nil
	case c.Username != "":
		return errors.New("tls: none would send the password in clear: use implicit or starttls")
	case !c.Insecure:
		return errors.New("tls: none to another machine needs insecure: true")
	}
	return nil
}

func (c Config) tlsConfig(dir string) (*tls.Config, error) {
	conf := &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return conf, nil
	}
	file := c.CAFile
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
		conf.RootCAs = x509.NewCertPool()
	}
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", c.CAFile)
	}
	return conf, nil
}

// ownAddress is an address of ours: it must do at every server, also at one without SMTPUTF8.
func ownAddress(s string) (*mail.Address, error) {
	a, err := parseAddress(s)
	if err == nil && !ascii(a.Address) {
		return nil, fmt.Errorf("%w: the part before the @ must be ASCII", errAddress)
	}
	return a, err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// heloName is the machine's name where servers will take it for one; "localhost" otherwise.
func heloName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsAny(name, "_ ") {
		return "localhost"
	}
	return name
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
