package ingest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Config is the sections http, keys and tenants of yizhan.yaml; decode them strictly, then call
// [Config.Defaults].
type Config struct {
	HTTP HTTP  `yaml:"http,omitempty"`
	Keys []Key `yaml:"keys,omitempty"`
	// Tenants lists who may be named in an event; empty means only "default".
	Tenants []string `yaml:"tenants,omitempty"`
	// Receipts are the sections receipts of the channels that have one.
	Receipts map[string]channels.Receipts `yaml:"-"`
	// Dir is the folder of yizhan.yaml: relative files start here.
	Dir string `yaml:"-"`
	// NoPublish and NoOperate leave the producers' or the operators' paths out, for a process without
	// that role.
	NoPublish, NoOperate bool `yaml:"-"`
	// Upload is where PUT /v1/attachments stores files.
	Upload Upload `yaml:"-"`
}

// Upload is a bucket of the broker's object store.
type Upload struct {
	Bucket  string        // "": nothing is taken in
	MaxFile int64         // bytes of one file
	MaxAge  time.Duration // after which a file is deleted
}

// HTTP is the section http.
type HTTP struct {
	Listen      string   `yaml:"listen,omitempty"` // host:port
	Auth        string   `yaml:"auth,omitempty"`   // keys | none; none on a loopback address only
	TLSCertFile string   `yaml:"tls_cert_file,omitempty"`
	TLSKeyFile  string   `yaml:"tls_key_file,omitempty"`
	MaxBody     int64    `yaml:"max_body,omitempty"`  // bytes of a whole request
	MaxBatch    int      `yaml:"max_batch,omitempty"` // events of one request
	Trusted     []string `yaml:"trusted_proxies,omitempty"`
}

// The values of http.auth.
const (
	AuthKeys = "keys"
	AuthNone = "none"
)

// Key is what a producer or an operator's program signs in with.
type Key struct {
	ID string `yaml:"id"` // 1 to 64 of A-Z a-z 0-9 _ -
	// SecretFile or SecretEnv holds one secret a line, two while rotating; each has at least 24
	// bytes, as text or as whsec_ and base64 (Standard Webhooks).
	SecretFile string   `yaml:"secret_file,omitempty"`
	SecretEnv  string   `yaml:"secret_env,omitempty"`
	Roles      []string `yaml:"roles,omitempty"`    // publish, operate, export; default publish
	Tenants    []string `yaml:"tenants,omitempty"`  // "*" = all; default "default"
	Types      []string `yaml:"types,omitempty"`    // globs over event types, "erp.*"; default all
	Networks   []string `yaml:"networks,omitempty"` // CIDR or address of the caller; default all
	// NotBefore and Expires bound the time in which the key is valid; zero means no bound.
	NotBefore time.Time `yaml:"not_before,omitempty"`
	Expires   time.Time `yaml:"expires,omitempty"`
}

// The roles of a key.
const (
	RolePublish = "publish" // POST /v1/events
	RoleOperate = "operate" // everything else that needs a key
	RoleExport  = "export"  // GET /v1/events: whole events, numbers in clear
)

const (
	minSecret  = 24 // bytes; Standard Webhooks, "Signature scheme"
	maxSecrets = 2  // the current one and the one that replaces it
)

// Defaults fills what the file left out.
func (c *Config) Defaults() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.HTTP.Listen, "127.0.0.1:8480")
	set(&c.HTTP.Auth, AuthKeys)
	if c.HTTP.MaxBody == 0 {
		c.HTTP.MaxBody = 1 << 20
	}
	if c.HTTP.MaxBatch == 0 {
		c.HTTP.MaxBatch = 1000
	}
	if len(c.Tenants) == 0 {
		c.Tenants = []string{schemas.DefaultTenant}
	}
}

// Check reads the secrets and says everything that is wrong with the configuration. The error is a
// [*schemas.Invalid] whose texts name the key; it never repeats a secret.
func (c Config) Check() error {
	c.Defaults()
	_, err := c.open()
	return err
}

// opened is a configuration made ready for use.
type opened struct {
	keys    map[string]*key
	trusted []netip.Prefix
	doors   map[string]*door
}

// key is a [Key] made ready for use.
type key struct {
	Key
	secrets  []secret
	networks []netip.Prefix
}

// secret is one line of a secret file.
type secret struct {
	text string // as written: what a bearer presents
	key  []byte // what signatures are made with
}

var (
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	tenantForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
)

// collector gathers problems of the configuration.
type collector []schemas.Problem

func (p *collector) add(pointer, zh, en string, args ...any) {
	*p = append(*p, schemas.Problem{Pointer: pointer, Keyword: "setting", Text: text(zh, en, args...)})
}

// text builds a sentence; both formats take the same arguments.
func text(zh, en string, args ...any) schemas.Text {
	if len(args) == 0 {
		return schemas.Text{Zh: zh, En: en}
	}
	return schemas.Text{Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)}
}

func (c Config) open() (opened, error) {
	var (
		ps collector
		o  = opened{keys: map[string]*key{}}
	)
	o.trusted = c.HTTP.check(&ps)
	o.doors = c.doors(&ps)
	for i, t := range c.Tenants {
		if !tenantForm.MatchString(t) {
			ps.add("/tenants/"+strconv.Itoa(i), "租户名 %q 应以小写字母或数字开头，只用小写字母、数字、_ 和 -，最多 63 个字符",
				"tenant %q: want a-z or 0-9 first, then only a-z, 0-9, _ and -, at most 63 characters", t)
		}
	}
	for i, k := range c.Keys {
		if o.keys[k.ID] != nil {
			ps.add(fmt.Sprintf("/keys/%d/id", i), "密钥 %q 重复", "key %q occurs twice", k.ID)
			continue
		}
		o.keys[k.ID] = k.open(&ps, fmt.Sprintf("/keys/%d", i), c)
	}
	if len(ps) > 0 {
		return o, &schemas.Invalid{Problems: ps}
	}
	return o, nil
}

func (h HTTP) check(ps *collector) []netip.Prefix {
	host, _, err := net.SplitHostPort(h.Listen)
	if err != nil {
		ps.add("/http/listen", "监听地址 %q 应为 主机:端口", "listen address %q: want host:port", h.Listen)
	}
	switch {
	case h.Auth == AuthNone && err == nil && !loopbackHost(host):
		ps.add("/http/auth", "auth: none 只能用于回环地址（如 127.0.0.1），而监听地址是 %s：任何人都能发送消息",
			"auth: none is for a loopback address such as 127.0.0.1 only, and this listens on %s: anybody could send", h.Listen)
	case h.Auth != AuthNone && h.Auth != AuthKeys:
		ps.add("/http/auth", "auth 只能是 keys 或 none", "auth must be keys or none")
	}
	if (h.TLSCertFile == "") != (h.TLSKeyFile == "") {
		ps.add("/http/tls_cert_file", "tls_cert_file 与 tls_key_file 必须同时填写", "tls_cert_file and tls_key_file go together")
	}
	if h.MaxBody < 1 || h.MaxBody > maxBodies {
		ps.add("/http/max_body", "max_body 应在 1 到 %d 字节之间", "max_body must be 1 to %d bytes", maxBodies)
	}
	if h.MaxBatch < 1 || h.MaxBatch > 100_000 {
		ps.add("/http/max_batch", "max_batch 应在 1 到 100000 之间", "max_batch must be 1 to 100000")
	}
	return prefixes(ps, "/http/trusted_proxies", "trusted_proxies", "trusted_proxies", h.Trusted)
}

// prefixes reads networks; a bare address is a network of one.
func prefixes(ps *collector, pointer, zh, en string, list []string) []netip.Prefix {
	var out []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				ps.add(fmt.Sprintf("%s/%d", pointer, i), zh+"：%q 不是网段，应如 10.0.0.0/8", en+": %q is no network; want one such as 10.0.0.0/8", s)
				continue
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		out = append(out, p.Masked())
	}
	return out
}

func (k Key) open(ps *collector, pointer string, c Config) *key {
	out := &key{Key: k}
	fail := func(name, zh, en string, args ...any) {
		ps.add(pointer+"/"+name, "密钥 "+strconv.Quote(k.ID)+"："+zh, "key "+strconv.Quote(k.ID)+": "+en, args...)
	}
	if !keyForm.MatchString(k.ID) {
		fail("id", "id 只用字母、数字、_ 和 -，1 到 64 个字符", "an id holds 1 to 64 letters, digits, _ and -")
		return out
	}
	var err error
	if out.secrets, err = k.secrets(c.Dir); err != nil {
		e, ok := errors.AsType[*secretError](err)
		if !ok {
			e = &secretError{text("无法读取密钥：%v", "the secret cannot be read: %v", err)}
		}
		ps.add(pointer+"/secret_file", "密钥 %[1]q：%[2]s", "key %[1]q: %[3]s", k.ID, e.Zh, e.En)
	}
	if len(out.Roles) == 0 {
		out.Roles = []string{RolePublish}
	}
	for i, r := range out.Roles {
		if r != RolePublish && r != RoleOperate && r != RoleExport {
			fail(fmt.Sprintf("roles/%d", i), "角色只能是 publish、operate 或 export", "a role is publish, operate or export")
		}
	}
	if len(out.Tenants) == 0 {
		out.Tenants = []string{schemas.DefaultTenant}
	}
	for i, t := range out.Tenants {
		if t != "*" && !slices.Contains(c.Tenants, t) {
			fail(fmt.Sprintf("tenants/%d", i), "租户 %q 不在 tenants 列表中", "tenant %q is not in the list tenants", t)
		}
	}
	for i, glob := range k.Types {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			fail(fmt.Sprintf("types/%d", i), "%q 不是有效的通配符，应如 erp.*", "%q is no glob; want one such as erp.*", glob)
		}
	}
	out.networks = prefixes(ps, pointer+"/networks", "密钥 "+k.ID, "key "+k.ID, k.Networks)
	if !k.Expires.IsZero() && !k.Expires.After(k.NotBefore) {
		fail("expires", "失效时间须晚于 not_before", "expires must be later than not_before")
	}
	return out
}

type secretError struct{ schemas.Text }

func (e *secretError) Error() string { return e.En }

func badSecret(zh, en string, args ...any) error { return &secretError{text(zh, en, args...)} }

// secrets reads the key's secrets, current ones and those they replace.
func (k Key) secrets(dir string) ([]secret, error) {
	raw, err := channels.Env{Dir: dir}.Secret(k.SecretFile, k.SecretEnv)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		why := text("%[1]v", "%[1]v", file.Err)
		if errors.Is(err, fs.ErrNotExist) {
			why = text("文件不存在", "there is no such file")
		}
		return nil, badSecret("无法读取密钥文件 %[1]s：%[2]s", "the secret file %[1]s cannot be read: %[3]s", file.Path, why.Zh, why.En)
	}
	if err != nil {
		return nil, err
	}
	var out []secret
	for line := range strings.Lines(raw) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		s := secret{text: line, key: []byte(line)}
		if b64, ok := strings.CutPrefix(line, "whsec_"); ok {
			if s.key, err = base64.StdEncoding.DecodeString(b64); err != nil {
				return nil, badSecret("whsec_ 之后应为 Base64", "what follows whsec_ must be base64")
			}
		}
		if len(s.key) < minSecret {
			return nil, badSecret("密钥太短：至少 %d 字节，实际 %d", "a secret is too short: at least %d bytes, this has %d", minSecret, len(s.key))
		}
		out = append(out, s)
	}
	switch {
	case len(out) == 0:
		return nil, badSecret("缺少密钥：请填写 secret_file 或 secret_env", "no secret: give secret_file or secret_env")
	case len(out) > maxSecrets:
		return nil, badSecret("最多 %d 个密钥（轮换时新旧各一行），实际 %d 个", "at most %d secrets (the old and the new one while rotating), this has %d", maxSecrets, len(out))
	}
	return out, nil
}

// loopbackHost says whether only this machine can reach, or be meant by, the host.
func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
