package attach

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

func certificatePEM(srv *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

// The examples of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
func TestSignature(t *testing.T) {
	k := signer{id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1"}
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		url, rng, signed, want string
	}{
		{"https://examplebucket.s3.amazonaws.com/test.txt", "bytes=0-9", "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"https://examplebucket.s3.amazonaws.com/?lifecycle", "", "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", "", "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if tt.rng != "" {
			h.Set("Range", tt.rng)
		}
		k.sign(http.MethodGet, u, h, emptyHash, now)
		want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + tt.signed + ",Signature=" + tt.want
		if got := h.Get("Authorization"); got != want {
			t.Errorf("%s:\n%s, want\n%s", tt.url, got, want)
		}
	}
}

// bucket is a storage that checks what it is asked: host, path byte by byte, signature.
func bucket(t *testing.T) (*httptest.Server, S3) {
	t.Helper()
	k := signer{id: "AKID", secret: "s3cret", region: "cn-hangzhou"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stamp, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		again := http.Header{}
		k.sign(r.Method, &url.URL{Host: r.Host, Path: r.URL.Path, RawPath: strings.SplitN(r.RequestURI, "?", 2)[0]}, again, emptyHash, stamp)
		refuse := func(status int, code string) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>13800138000</Message></Error>`, code)
		}
		switch {
		case err != nil || again.Get("Authorization") != r.Header.Get("Authorization"):
			refuse(403, "SignatureDoesNotMatch")
		case r.URL.Path == "/erp/2026/对账单 (11)+a.pdf" && strings.HasPrefix(r.RequestURI, "/erp/2026/%E5%AF%B9%E8%B4%A6%E5%8D%95%20%2811%29%2Ba.pdf"):
			_, _ = w.Write(pdf)
		case strings.HasPrefix(r.URL.Path, "/gone/"):
			refuse(404, "NoSuchBucket")
		case r.URL.Path == "/erp/slow.pdf":
			refuse(503, "SlowDown")
		case r.URL.Path == "/erp/private.pdf":
			refuse(403, "AccessDenied")
		case r.URL.Path == "/erp/page.pdf":
			w.WriteHeader(404)
			_, _ = w.Write([]byte("<html>proxy"))
		default:
			refuse(404, "NoSuchKey")
		}
	}))
	t.Cleanup(srv.Close)
	return srv, S3{Endpoint: srv.URL, Region: "cn-hangzhou", Buckets: []string{"erp", "gone"}, PathStyle: true, AccessKeyIDFile: "id", AccessKeySecretFile: "secret"}
}

func TestS3(t *testing.T) {
	_, cfg := bucket(t)
	e := env(t)
	put(t, e.Dir, "id", []byte("AKID\n"))
	put(t, e.Dir, "secret", []byte("s3cret\n"))
	s := open(t, Config{S3: cfg}, e, nil)
	for at, want := range map[string]struct {
		lack channels.Lack
		line string
	}{
		"erp/2026/%E5%AF%B9%E8%B4%A6%E5%8D%95%20(11)%2Ba.pdf": {"", ""},
		"erp/none.pdf":    {channels.NotFound, "HTTP 404 NoSuchKey"},
		"erp/page.pdf":    {channels.NotFound, "HTTP 404"},
		"gone/a.pdf":      {channels.Denied, "HTTP 404 NoSuchBucket"},
		"erp/slow.pdf":    {channels.Unreachable, "HTTP 503 SlowDown"},
		"erp/private.pdf": {channels.Denied, "HTTP 403 AccessDenied"},
		"other/a.pdf":     {channels.Denied, "bucket other is not among attachments.s3.buckets"},
	} {
		got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "s3://" + at})
		if got.Lack != want.lack || got.Line != want.line || want.lack == "" && !bytes.Equal(got.Data, pdf) {
			t.Errorf("%s: %q (%s), want %q (%s)", at, got.Lack, got.Line, want.lack, want.line)
		}
	}
	put(t, e.Dir, "secret", []byte("other"))
	s = open(t, Config{S3: cfg}, e, nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "s3://erp/none.pdf"}); got.Lack != channels.Denied || got.Line != "HTTP 403 SignatureDoesNotMatch" {
		t.Errorf("a wrong key: %q (%s)", got.Lack, got.Line)
	}
}

// Without path_style the bucket is part of the host's name, as Aliyun OSS wants it.
func TestS3HostStyle(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "id", []byte("AKID"))
	b, err := openS3(S3{Endpoint: "https://oss-cn-hangzhou.aliyuncs.com", Region: "oss-cn-hangzhou", Buckets: []string{"erp"}, AccessKeyIDFile: "id", AccessKeySecretFile: "id"}, e)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	b.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r.Method + " " + r.URL.String()
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	})
	u, _ := url.Parse("s3://erp/a/b.pdf")
	if _, _, err := b.open(t.Context(), u); whyNot(err) != channels.NotFound {
		t.Error(err)
	}
	if asked != "GET https://erp.oss-cn-hangzhou.aliyuncs.com/a/b.pdf" {
		t.Error(asked)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
