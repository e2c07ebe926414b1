package attach

import (
	"fmt"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/yizhan-dev/yizhan/channels"
)

// Config is the section attachments of yizhan.yaml. A kind of storage is off until it is set up.
type Config struct {
	File   File   `yaml:"file,omitempty"`
	HTTPS  HTTPS  `yaml:"https,omitempty"`
	S3     S3     `yaml:"s3,omitempty"`
	Object Object `yaml:"object,omitempty"`
	// ByTenant: the path of a file, s3 or object URL must begin with a folder named like the event's tenant.
	ByTenant bool `yaml:"by_tenant,omitempty"`
	// Types are the media types that may be sent, "application/pdf" or "image/*"; empty: all but programs.
	Types []string `yaml:"types,omitempty"`
	// MaxFileBytes bounds one file, MaxTotalBytes those of one message together, MemoryBytes those of all
	// messages that this process is sending.
	MaxFileBytes  int64 `yaml:"max_file_bytes,omitempty"`
	MaxTotalBytes int64 `yaml:"max_total_bytes,omitempty"`
	MemoryBytes   int64 `yaml:"memory_bytes,omitempty"`
	// Timeout bounds the fetching of all files of one message.
	Timeout time.Duration `yaml:"timeout,omitempty"`
}

// File is a folder; file:///a/b.pdf is a/b.pdf below it.
type File struct {
	Root string `yaml:"root,omitempty"`
}

// HTTPS is servers of others.
type HTTPS struct {
	// Hosts may be fetched from: "files.example.com", "*.example.com" (also deeper), or "*" for any.
	Hosts []string `yaml:"hosts,omitempty"`
	// AllowPrivate lets them lie in a private network or on this machine, on any port, and be http.
	AllowPrivate bool   `yaml:"allow_private,omitempty"`
	CAFile       string `yaml:"ca_file,omitempty"` // PEM certificates to trust besides the system's
}

// S3 is a storage with Amazon's interface: OSS, COS, OBS, MinIO, Ceph.
type S3 struct {
	Endpoint string `yaml:"endpoint,omitempty"` // https://oss-cn-hangzhou.aliyuncs.com
	Region   string `yaml:"region,omitempty"`   // as the signature wants it
	// Buckets may be fetched from.
	Buckets []string `yaml:"buckets,omitempty"`
	// PathStyle puts the bucket into the path instead of the host's name, as MinIO wants it.
	PathStyle           bool   `yaml:"path_style,omitempty"`
	AccessKeyIDFile     string `yaml:"access_key_id_file,omitempty"`
	AccessKeyIDEnv      string `yaml:"access_key_id_env,omitempty"`
	AccessKeySecretFile string `yaml:"access_key_secret_file,omitempty"`
	AccessKeySecretEnv  string `yaml:"access_key_secret_env,omitempty"`
	CAFile              string `yaml:"ca_file,omitempty"` // PEM certificates to trust besides the system's
}

// Object is the object store of the broker.
type Object struct {
	Buckets []string `yaml:"buckets,omitempty"` // that may be fetched from
	// Upload is the bucket in which PUT /v1/attachments stores files, in a folder for each tenant; it is made at the
	// start and may be fetched from. Empty: nothing is taken in.
	Upload   string        `yaml:"upload,omitempty"`
	MaxAge   time.Duration `yaml:"max_age,omitempty"`   // after which an uploaded file is deleted
	MaxBytes int64         `yaml:"max_bytes,omitempty"` // of all uploaded files together
}

// readable are the buckets that may be fetched from.
func (o Object) readable() []string {
	if o.Upload == "" {
		return o.Buckets
	}
	return append(slices.Clone(o.Buckets), o.Upload)
}

const (
	mib             = 1 << 20
	defaultFile     = 10 * mib
	defaultTotal    = 20 * mib
	defaultMemory   = 128 * mib
	mostTotal       = 100 * mib // more than any mail server takes
	shortestTimeout = time.Second
	longestTimeout  = 5 * time.Minute
	defaultAge      = 30 * 24 * time.Hour
	shortestAge     = time.Hour
	longestAge      = 5 * 365 * 24 * time.Hour
	defaultUploads  = 10 << 30
)

// Defaults fills what the file left out.
func (c *Config) Defaults() {
	for _, d := range []struct {
		p *int64
		v int64
	}{{&c.MaxFileBytes, defaultFile}, {&c.MaxTotalBytes, defaultTotal}, {&c.MemoryBytes, defaultMemory}, {&c.Object.MaxBytes, defaultUploads}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Object.MaxAge == 0 {
		c.Object.MaxAge = defaultAge
	}
}

// Schemes are the schemes of URLs that are set up, separated by spaces.
func (c Config) Schemes() string {
	var out []string
	for _, s := range []struct {
		name string
		on   bool
	}{
		{"file", c.File.Root != ""},
		{"http", len(c.HTTPS.Hosts) > 0 && c.HTTPS.AllowPrivate},
		{"https", len(c.HTTPS.Hosts) > 0},
		{"object", len(c.Object.readable()) > 0},
		{"s3", c.S3.Endpoint != ""},
	} {
		if s.on {
			out = append(out, s.name)
		}
	}
	return strings.Join(out, " ")
}

// Open opens the storage; it makes no connection. objects opens what object URLs name. The error is a
// [*schemas.Invalid] where a setting cannot be used.
func Open(cfg Config, env channels.Env, objects Opener) (*Store, error) {
	cfg.Defaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, sources: map[string]source{}, schemes: cfg.Schemes(), memory: semaphore.NewWeighted(cfg.MemoryBytes)}
	if cfg.File.Root != "" {
		f, err := openFolder(cfg.File, env)
		if err != nil {
			return nil, err
		}
		s.sources["file"] = f
	}
	if len(cfg.HTTPS.Hosts) > 0 {
		h, err := openWeb(cfg.HTTPS, env)
		if err != nil {
			return nil, err
		}
		s.sources["https"] = h
		if cfg.HTTPS.AllowPrivate {
			s.sources["http"] = h
		}
		s.closers = append(s.closers, h.client.CloseIdleConnections)
	}
	if cfg.S3.Endpoint != "" {
		b, err := openS3(cfg.S3, env)
		if err != nil {
			return nil, err
		}
		s.sources["s3"] = b
		s.closers = append(s.closers, b.client.CloseIdleConnections)
	}
	if buckets := cfg.Object.readable(); len(buckets) > 0 {
		s.sources["object"] = &objectStore{buckets: buckets, opener: objects}
	}
	return s, nil
}

var (
	hostPattern   = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])$`)
	storeName     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`) // as NATS takes it
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$`)
)

func (c Config) check() error {
	bytes := func(key string, n, low, high int64) error {
		if n >= low && n <= high {
			return nil
		}
		return channels.BadSetting(key, fmt.Sprintf("应在 %d 到 %d 字节之间", low, high), fmt.Sprintf("want %d to %d bytes", low, high))
	}
	for _, err := range []error{
		bytes("max_total_bytes", c.MaxTotalBytes, 1, mostTotal),
		bytes("max_file_bytes", c.MaxFileBytes, 1, c.MaxTotalBytes),
		bytes("memory_bytes", c.MemoryBytes, c.MaxTotalBytes, 1<<40),
		bytes("object/max_bytes", c.Object.MaxBytes, c.MaxFileBytes, 1<<50),
	} {
		if err != nil {
			return err
		}
	}
	if c.Timeout < shortestTimeout || c.Timeout > longestTimeout {
		return channels.BadSetting("timeout", "应在 1s 到 5m 之间", "want 1s to 5m")
	}
	switch {
	case c.Object.MaxAge < shortestAge || c.Object.MaxAge > longestAge:
		return channels.BadSetting("object/max_age", "应在 1h 到 43800h 之间", "want 1h to 43800h")
	case c.Object.Upload != "" && !storeName.MatchString(c.Object.Upload):
		return channels.BadSetting("object/upload", "只能使用字母、数字、_ 和 -", "want letters, digits, _ and -")
	}
	for i, t := range c.Types {
		media, params, err := mime.ParseMediaType(strings.Replace(t, "/*", "/x", 1))
		if err != nil || len(params) > 0 || !strings.Contains(media, "/") {
			return channels.BadSetting(fmt.Sprintf("types/%d", i), "应为媒体类型，如 application/pdf 或 image/*", "want a media type such as application/pdf or image/*")
		}
	}
	for i, h := range c.HTTPS.Hosts {
		if !hostPattern.MatchString(h) {
			return channels.BadSetting(fmt.Sprintf("https/hosts/%d", i), "应为小写的主机名、*.域名 或 *，不含协议和端口", "want a host name in lower case, *.domain or *, without scheme or port")
		}
	}
	if len(c.HTTPS.Hosts) == 0 && (c.HTTPS.AllowPrivate || c.HTTPS.CAFile != "") {
		return channels.BadSetting("https/hosts", "请列出允许的主机；* 表示任意主机", "list the hosts that are allowed; * is any")
	}
	for at, list := range map[string][]string{"s3/buckets": c.S3.Buckets, "object/buckets": c.Object.Buckets} {
		if i := slices.IndexFunc(list, func(b string) bool { return !bucketPattern.MatchString(b) }); i >= 0 {
			return channels.BadSetting(fmt.Sprintf("%s/%d", at, i), "应为存储桶名称", "want the name of a bucket")
		}
	}
	return c.S3.check()
}

func (c S3) check() error {
	if c.Endpoint == "" {
		if c.Region != "" || len(c.Buckets) > 0 || c.AccessKeyIDFile+c.AccessKeyIDEnv != "" {
			return channels.BadSetting("s3/endpoint", "请填写对象存储的地址", "give the address of the storage")
		}
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return channels.BadSetting("s3/endpoint", "应为 https://主机 或 http://主机[:端口]，不含路径", "want https://host or http://host[:port] without a path")
	case len(c.Buckets) == 0:
		return channels.BadSetting("s3/buckets", "请列出允许读取的存储桶", "list the buckets that may be read")
	case c.Region == "":
		return channels.BadSetting("s3/region", "请填写地域，如 cn-hangzhou（MinIO 默认为 us-east-1）", "give the region, such as cn-hangzhou (MinIO: us-east-1)")
	}
	return nil
}
