package attach

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// bucketStore is a [source] that speaks S3. Its address is the operator's own, so it needs no guard.
type bucketStore struct {
	endpoint  *url.URL
	pathStyle bool
	buckets   []string
	key       signer
	client    *http.Client
	now       func() time.Time
}

func openS3(c S3, env channels.Env) (*bucketStore, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	id, err := env.Secret(c.AccessKeyIDFile, c.AccessKeyIDEnv)
	if err != nil || id == "" {
		return nil, badKey("s3/access_key_id_file", err)
	}
	secret, err := env.Secret(c.AccessKeySecretFile, c.AccessKeySecretEnv)
	if err != nil || secret == "" {
		return nil, badKey("s3/access_key_secret_file", err)
	}
	roots, err := env.Roots("s3/ca_file", c.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSHandshakeTimeout: connectTimeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost: maxConns, MaxIdleConnsPerHost: maxConns, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true, // the length that is announced is that of the file
	}
	return &bucketStore{
		endpoint: endpoint, pathStyle: c.PathStyle, buckets: c.Buckets, key: signer{id: id, secret: secret, region: c.Region},
		client: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		now:    time.Now,
	}, nil
}

const connectTimeout = 5 * time.Second

func badKey(key string, err error) error {
	if err == nil {
		return channels.BadSetting(key, "请填写访问密钥的文件或环境变量", "give a file or an environment variable that holds the key")
	}
	return channels.BadSetting(key, "无法读取访问密钥："+err.Error(), err.Error())
}

func (b *bucketStore) open(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	bucket, object := u.Host, strings.TrimPrefix(u.Path, "/")
	if !slices.Contains(b.buckets, bucket) {
		return nil, 0, lackf(channels.Denied, "bucket %s is not among attachments.s3.buckets", bucket)
	}
	at := *b.endpoint
	at.Path = "/" + object
	if b.pathStyle {
		at.Path = "/" + bucket + "/" + object
	} else {
		at.Host = bucket + "." + at.Host
	}
	at.RawPath = escaped(at.Path) // the signature counts every byte of it
	header := http.Header{}
	b.key.sign(http.MethodGet, &at, header, emptyHash, b.now())
	res, err := get(ctx, b.client, &at, header)
	if err != nil {
		return nil, 0, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, res.ContentLength, nil
	}
	defer res.Body.Close()
	var said struct {
		Code string `xml:"Code"`
	}
	_ = xml.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said) // without it the status must do
	if strings.ContainsFunc(said.Code, func(r rune) bool { return r < '0' || r > 'z' }) || len(said.Code) > 64 {
		said.Code = ""
	}
	switch said.Code {
	case "NoSuchBucket": // a 404 that waiting does not cure
		return nil, 0, lackf(channels.Denied, "HTTP %d %s", res.StatusCode, said.Code)
	case "SlowDown", "RequestTimeout":
		return nil, 0, lackf(channels.Unreachable, "HTTP %d %s", res.StatusCode, said.Code)
	}
	return nil, 0, status(res.StatusCode, said.Code)
}

// signer makes AWS Signature Version 4 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
type signer struct{ id, secret, region string }

// emptyHash is the SHA-256 of a request without a body.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign adds the headers that prove who asks. All of header and the host are signed.
func (k signer) sign(method string, u *url.URL, header http.Header, bodyHash string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	header.Set("X-Amz-Date", stamp)
	header.Set("X-Amz-Content-Sha256", bodyHash)
	values := map[string]string{"host": u.Host}
	names := []string{"host"}
	for name := range header {
		lower := strings.ToLower(name)
		names, values[lower] = append(names, lower), strings.TrimSpace(header.Get(name))
	}
	slices.Sort(names)
	var list strings.Builder
	for _, name := range names {
		list.WriteString(name + ":" + values[name] + "\n")
	}
	signed := strings.Join(names, ";")
	query := strings.ReplaceAll(u.Query().Encode(), "+", "%20")
	request := strings.Join([]string{method, u.EscapedPath(), query, list.String(), signed, bodyHash}, "\n")
	scope := stamp[:8] + "/" + k.region + "/s3/aws4_request"
	hash := sha256.Sum256([]byte(request))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(hash[:])}, "\n")
	key := []byte("AWS4" + k.secret)
	for _, part := range []string{stamp[:8], k.region, "s3", "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+k.id+"/"+scope+",SignedHeaders="+signed+",Signature="+hex.EncodeToString(key))
}

// escaped is the path as the signature counts it: all but letters, digits, - . _ ~ and the slashes.
func escaped(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}
