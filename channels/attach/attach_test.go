package attach

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var pdf = []byte("%PDF-1.7\n对账单\n%%EOF\n")

func hashOf(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }

func env(t testing.TB) channels.Env { return channels.Env{Dir: t.TempDir(), Log: zap.NewNop()} }

func open(t testing.TB, cfg Config, e channels.Env, objects Opener) *Store {
	t.Helper()
	s, err := Open(cfg, e, objects)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// one fetches a single file.
func one(t testing.TB, s *Store, a schemas.Attachment) channels.File {
	t.Helper()
	got := s.Fetch(t.Context(), "acme", []schemas.Attachment{a})
	defer got.Close()
	return got.Files[0]
}

func put(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "secret.pdf", pdf)
	put(t, e.Dir, "files/2026/对账单 11.pdf", pdf)
	root := filepath.Join(e.Dir, "files")
	for name, target := range map[string]string{"out.pdf": "../secret.pdf", "in.pdf": "2026/对账单 11.pdf", "absolute.pdf": filepath.Join(e.Dir, "secret.pdf"), "up": ".."} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Config{File: File{Root: "files"}}, e, nil)
	for _, tt := range []struct {
		url  string
		want channels.Lack
	}{
		{"file:///2026/%E5%AF%B9%E8%B4%A6%E5%8D%95%2011.pdf", ""},
		{"file:///in.pdf", ""}, // a link inside is as good as the file
		{"file:///out.pdf", channels.Denied},
		{"file:///absolute.pdf", channels.Denied},
		{"file:///up/secret.pdf", channels.Denied},
		{"file:///../secret.pdf", channels.Denied},
		{"file:///2026/%2e%2e/%2e%2e/secret.pdf", channels.Denied},
		{"file://" + root + "/in.pdf", channels.NotFound}, // the root is the root
		{"file:///none.pdf", channels.NotFound},
		{"file:///2026", channels.Denied}, // a folder
		{"https://example.com/a.pdf", channels.NotSetUp},
		{"s3://b/a.pdf", channels.NotSetUp},
		{"object://b/a.pdf", channels.NotSetUp},
	} {
		got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: tt.url})
		if got.Lack != tt.want || tt.want == "" && (!bytes.Equal(got.Data, pdf) || got.SHA256 != hashOf(pdf) || got.Size != len(pdf) || got.Type != "application/pdf") {
			t.Errorf("%s: %q (%s), %d bytes, want %q", tt.url, got.Lack, got.Line, len(got.Data), tt.want)
		}
		if strings.Contains(got.Line, e.Dir) {
			t.Errorf("%s: the line shows where the folder is: %s", tt.url, got.Line)
		}
	}
	if err := os.RemoveAll(root); err != nil { // not mounted any more
		t.Fatal(err)
	}
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "file:///in.pdf"}); got.Lack != channels.Unreachable {
		t.Errorf("without its root: %q, want a storage that is down", got.Lack)
	}
}

// A network file system that hangs holds some reads for good, never all of the process.
func TestFolderThatHangs(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "a.pdf", pdf)
	s := open(t, Config{File: File{Root: "."}}, e, nil)
	f := s.sources["file"].(*folder)
	for range maxReads {
		f.hung <- struct{}{}
	}
	a := schemas.Attachment{Name: "a.pdf", URL: "file:///a.pdf"}
	if got := one(t, s, a); got.Lack != channels.Unreachable {
		t.Errorf("%q", got.Lack)
	}
	<-f.hung
	for range 3 { // each read gives its place back
		got := one(t, s, a)
		if got.Lack != "" {
			t.Fatalf("%q (%s)", got.Lack, got.Line)
		}
		f.hung <- struct{}{} // waits until the reader is through
		<-f.hung
	}
}

func TestTenantsAreKeptApart(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "acme/a.pdf", pdf)
	put(t, e.Dir, "acme-2/a.pdf", pdf)
	s := open(t, Config{File: File{Root: "."}, ByTenant: true}, e, nil)
	for at, want := range map[string]channels.Lack{"acme/a.pdf": "", "acme-2/a.pdf": channels.Denied, "a.pdf": channels.Denied} {
		if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "file:///" + at}); got.Lack != want {
			t.Errorf("%s: %q, want %q", at, got.Lack, want)
		}
	}
}

// Size and hash are what the event says, or the file does not go.
func TestBoundsAndHash(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "a.pdf", pdf)
	put(t, e.Dir, "empty.txt", nil)
	s := open(t, Config{File: File{Root: "."}, MaxFileBytes: int64(len(pdf)), MaxTotalBytes: int64(2*len(pdf)) + 1, MemoryBytes: 1000}, e, nil)
	for _, tt := range []struct {
		a    schemas.Attachment
		want channels.Lack
	}{
		{schemas.Attachment{SHA256: hashOf(pdf), Size: len(pdf)}, ""},
		{schemas.Attachment{SHA256: hashOf(nil)}, channels.Altered},
		{schemas.Attachment{Size: len(pdf) - 1}, channels.Altered},
		{schemas.Attachment{Size: len(pdf) + 1}, channels.TooLarge},
		{schemas.Attachment{Name: "empty.txt", URL: "file:///empty.txt", SHA256: hashOf(nil)}, ""},
		{schemas.Attachment{Name: "empty.pdf", URL: "file:///empty.txt"}, channels.WrongType},
	} {
		if tt.a.URL == "" {
			tt.a.Name, tt.a.URL = "a.pdf", "file:///a.pdf"
		}
		if got := one(t, s, tt.a); got.Lack != tt.want {
			t.Errorf("%+v: %q (%s), want %q", tt.a, got.Lack, got.Line, tt.want)
		}
	}
	put(t, e.Dir, "a.pdf", append(pdf, '\n'))
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "file:///a.pdf"}); got.Lack != channels.TooLarge {
		t.Errorf("one byte too many: %q", got.Lack)
	}
	put(t, e.Dir, "a.pdf", pdf)
	a := schemas.Attachment{Name: "a.pdf", URL: "file:///a.pdf"}
	got := s.Fetch(t.Context(), "acme", []schemas.Attachment{a, a, a})
	defer got.Close()
	if got.Files[0].Lack != "" || got.Files[1].Lack != "" || got.Files[2].Lack != channels.TooLarge {
		t.Errorf("three of which two fit: %q %q %q", got.Files[0].Lack, got.Files[1].Lack, got.Files[2].Lack)
	}
}

func TestTypes(t *testing.T) {
	png := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
	page := []byte("<!DOCTYPE html><html><body>请登录</body></html>")
	zip := []byte("PK\x03\x04\x14\x00\x00\x00")
	program := append([]byte("MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff"), make([]byte, 100)...)
	for _, tt := range []struct {
		name, declared, cid string
		data                []byte
		media               string
		want                channels.Lack
	}{
		{"a.pdf", "", "", pdf, "application/pdf", ""},
		{"a.pdf", "application/pdf", "", page, "", channels.WrongType}, // a log-in page instead of the file
		{"a.pdf", "", "", []byte("not found"), "", channels.WrongType},
		{"a.xlsx", "", "", page, "", channels.WrongType},
		{"a.csv", "text/csv", "", page, "", channels.WrongType},
		{"a.html", "", "", page, "text/html", ""},
		{"a.xlsx", "", "", zip, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ""},
		{"发票.ofd", "", "", zip, "application/ofd", ""},
		{"a.xlsx", "", "", pdf, "", channels.WrongType},
		{"a.xls", "application/vnd.ms-excel", "", []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "application/vnd.ms-excel", ""},
		{"a.csv", "text/csv; charset=gbk", "", []byte("\xc3\xfb\xb3\xc6,1\n"), "text/csv", ""},
		{"a", "", "", png, "image/png", ""},
		{"a.pdf", "application/octet-stream", "", pdf, "application/pdf", ""},
		{"logo.png", "image/png", "logo", png, "image/png", ""},
		{"logo.png", "image/png", "logo", pdf, "", channels.WrongType},
		{"logo", "", "logo", pdf, "", channels.WrongType},
		{"logo.svg", "", "logo", []byte("<svg/>"), "", channels.WrongType}, // may hold scripts
		{"a.exe", "application/pdf", "", pdf, "", channels.Executable},
		{"a.pdf.JS ", "", "", pdf, "", channels.Executable},
		{"a.bat.", "", "", pdf, "", channels.Executable},
		{"a.pdf", "", "", program, "", channels.Executable},
		{"a.bin", "application/octet-stream", "", []byte("\x7fELF\x02"), "", channels.Executable},
		{"run.txt", "", "", []byte("#!/bin/sh\n"), "", channels.Executable},
		{"MZ.txt", "text/plain", "", []byte("MZ 是一个缩写"), "text/plain", ""},
	} {
		e := env(t)
		put(t, e.Dir, "x", tt.data)
		s := open(t, Config{File: File{Root: "."}}, e, nil)
		got := one(t, s, schemas.Attachment{Name: tt.name, URL: "file:///x", Type: tt.declared, CID: tt.cid})
		if got.Lack != tt.want || tt.want == "" && got.Type != tt.media {
			t.Errorf("%s (%s): %q %q (%s), want %q %q", tt.name, tt.declared, got.Lack, got.Type, got.Line, tt.want, tt.media)
		}
	}
	e := env(t)
	put(t, e.Dir, "x", pdf)
	put(t, e.Dir, "y", png)
	s := open(t, Config{File: File{Root: "."}, Types: []string{"image/*"}}, e, nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "file:///x"}); got.Lack != channels.WrongType {
		t.Errorf("a type that is not listed: %q", got.Lack)
	}
	if got := one(t, s, schemas.Attachment{Name: "a.png", URL: "file:///y"}); got.Lack != "" {
		t.Errorf("a type that is listed: %q", got.Lack)
	}
}

// far is an HTTP storage that misbehaves by path.
func far(t *testing.T, overTLS bool) (srv *httptest.Server, hits *atomic.Int64) {
	t.Helper()
	hits = new(atomic.Int64)
	ended := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		switch strings.TrimPrefix(r.URL.Path, "/") {
		case "a.pdf":
			_, _ = w.Write(pdf)
		case "none.pdf":
			http.NotFound(w, r)
		case "forbidden.pdf":
			w.WriteHeader(http.StatusForbidden)
		case "busy.pdf":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "moved.pdf":
			http.Redirect(w, r, "/a.pdf", http.StatusFound)
		case "short.pdf": // promises more than it gives
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(pdf)
		case "huge.pdf": // says that it is huge
			w.Header().Set("Content-Length", "99999999999")
			_, _ = w.Write(pdf)
		case "endless.pdf": // says nothing and never ends
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat(pdf, 1000)); err != nil {
					return
				}
			}
		case "hang.pdf":
			select {
			case <-r.Context().Done():
			case <-ended:
			}
		case "drip.pdf":
			for i := 0; r.Context().Err() == nil; i++ {
				_, _ = w.Write(pdf[i%len(pdf) : i%len(pdf)+1])
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-ended:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		case "cut.pdf":
			_, _ = w.Write(pdf[:5])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	srv = httptest.NewUnstartedServer(h)
	if overTLS {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(func() { close(ended); srv.CloseClientConnections(); srv.Close() })
	return srv, hits
}

var faults = map[string]channels.Lack{
	"a.pdf": "", "none.pdf": channels.NotFound, "forbidden.pdf": channels.Denied, "busy.pdf": channels.Unreachable, "moved.pdf": channels.Denied,
	"short.pdf": channels.Unreachable, "huge.pdf": channels.TooLarge, "endless.pdf": channels.TooLarge, "hang.pdf": channels.Unreachable,
	"drip.pdf": channels.Unreachable, "cut.pdf": channels.Unreachable,
}

func TestHTTPStorageMisbehaves(t *testing.T) {
	srv, _ := far(t, false)
	s := open(t, Config{HTTPS: HTTPS{Hosts: []string{"*"}, AllowPrivate: true}, Timeout: time.Second, MaxFileBytes: 1 << 20}, env(t), nil)
	for name, want := range faults {
		t.Run(name, func(t *testing.T) {
			got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: srv.URL + "/" + name + "?sig=s3cret"})
			if got.Lack != want || want == "" && !bytes.Equal(got.Data, pdf) {
				t.Errorf("%q (%s), want %q", got.Lack, got.Line, want)
			}
			if strings.Contains(got.Line, "s3cret") {
				t.Errorf("the line shows the signature: %s", got.Line)
			}
		})
	}
	if free := s.memory.TryAcquire(defaultMemory); !free {
		t.Error("some memory was not given back")
	}
}

func TestHTTPSGoesThroughTheGuard(t *testing.T) {
	srv, hits := far(t, true)
	u, _ := url.Parse(srv.URL)
	for _, host := range []string{u.Host, "localhost:" + u.Port(), "[::ffff:127.0.0.1]:" + u.Port(), "169.254.169.254", "10.0.0.1"} {
		s := open(t, Config{HTTPS: HTTPS{Hosts: []string{"*"}}}, env(t), nil)
		if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "https://" + host + "/a.pdf"}); got.Lack != channels.Denied || !strings.Contains(got.Line, "prohibited") {
			t.Errorf("%s: %q (%s)", host, got.Lack, got.Line)
		}
	}
	s := open(t, Config{HTTPS: HTTPS{Hosts: []string{"files.example.com", "*.example.org"}, AllowPrivate: true}}, env(t), nil)
	for _, host := range []string{u.Host, "evilfiles.example.com", "files.example.com.evil.com", "example.org", "a.example.organisation.com"} {
		if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "https://" + host + "/a.pdf"}); got.Lack != channels.Denied || !strings.Contains(got.Line, "hosts") {
			t.Errorf("%s: %q (%s), want a host that is not listed", host, got.Lack, got.Line)
		}
	}
	s = open(t, Config{HTTPS: HTTPS{Hosts: []string{"*"}}}, env(t), nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "http://files.example.com/a.pdf"}); got.Lack != channels.NotSetUp {
		t.Errorf("http without allow_private: %q", got.Lack)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests arrived", hits.Load())
	}
	// A certificate that nobody vouches for is a storage that is down; with its CA it is trusted.
	s = open(t, Config{HTTPS: HTTPS{Hosts: []string{"127.0.0.1"}, AllowPrivate: true}}, env(t), nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: srv.URL + "/a.pdf"}); got.Lack != channels.Unreachable || !strings.Contains(got.Line, "certificate") {
		t.Errorf("an unknown CA: %q (%s)", got.Lack, got.Line)
	}
	e := env(t)
	put(t, e.Dir, "ca.pem", certificatePEM(srv))
	s = open(t, Config{HTTPS: HTTPS{Hosts: []string{"127.0.0.1"}, AllowPrivate: true, CAFile: "ca.pem"}}, e, nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: srv.URL + "/a.pdf"}); got.Lack != "" {
		t.Errorf("with its CA: %q (%s)", got.Lack, got.Line)
	}
}

// object is what the broker's object store answers.
type object struct {
	io.Reader
	closed *atomic.Bool
}

func (o object) Close() error { o.closed.Store(true); return nil }

func TestObjectStore(t *testing.T) {
	var closed atomic.Bool
	s := open(t, Config{Object: Object{Buckets: []string{"attachments"}}}, env(t), func(_ context.Context, bucket, name string) (io.ReadCloser, int64, error) {
		switch name {
		case "acme/a.pdf":
			return object{bytes.NewReader(pdf), &closed}, int64(len(pdf)), nil
		case "broken.pdf":
			return object{io.MultiReader(bytes.NewReader(pdf), errReader{}), &closed}, int64(len(pdf)), nil
		}
		return nil, 0, errors.Join(errors.New("bucket "+bucket), fs.ErrNotExist)
	})
	for at, want := range map[string]channels.Lack{
		"attachments/acme/a.pdf": "", "attachments/none.pdf": channels.NotFound, "attachments/broken.pdf": channels.Unreachable, "KV_secrets/acme/a.pdf": channels.Denied,
	} {
		if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "object://" + at}); got.Lack != want {
			t.Errorf("%s: %q (%s), want %q", at, got.Lack, got.Line, want)
		}
	}
	if !closed.Load() {
		t.Error("the object was not closed")
	}
	// Of what was uploaded, each tenant reaches its own, also without by_tenant.
	s = open(t, Config{Object: Object{Upload: "uploads"}}, env(t), func(context.Context, string, string) (io.ReadCloser, int64, error) {
		return io.NopCloser(bytes.NewReader(pdf)), int64(len(pdf)), nil
	})
	for at, want := range map[string]channels.Lack{"uploads/acme/a.pdf": "", "uploads/other/a.pdf": channels.Denied, "uploads/a.pdf": channels.Denied} {
		if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "object://" + at}); got.Lack != want {
			t.Errorf("%s: %q (%s), want %q", at, got.Lack, got.Line, want)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("nats: the digest does not match") }

// The memory of the whole process is bounded: who finds none waits for it, and no longer than the time limit.
func TestMemoryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1000
		var now, peak atomic.Int64
		body := bytes.Repeat([]byte("a"), size)
		s, err := Open(Config{
			Object: Object{Buckets: []string{"bb"}}, MaxFileBytes: size, MaxTotalBytes: size, MemoryBytes: 3 * size, Timeout: 10 * time.Second,
		}, channels.Env{}, func(context.Context, string, string) (io.ReadCloser, int64, error) {
			n := now.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			return io.NopCloser(bytes.NewReader(body)), size, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		fetch := func() *channels.Fetched {
			return s.Fetch(t.Context(), "acme", []schemas.Attachment{{Name: "a.txt", URL: "object://bb/a"}})
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got := fetch()
				if got.Files[0].Lack != "" {
					t.Errorf("%q (%s)", got.Files[0].Lack, got.Files[0].Line)
				}
				time.Sleep(time.Second) // the mail is being sent
				now.Add(-1)
				got.Close()
				got.Close() // twice is once
			})
		}
		wg.Wait()
		if p := peak.Load(); p > 3 {
			t.Errorf("%d files in memory at once, want at most 3", p)
		}
		held := []*channels.Fetched{fetch(), fetch(), fetch()}
		begun := time.Now()
		if got := fetch(); got.Files[0].Lack != channels.Unreachable || time.Since(begun) != 10*time.Second {
			t.Errorf("%q after %s, want to give up after 10s", got.Files[0].Lack, time.Since(begun))
		}
		for _, h := range held {
			h.Close()
		}
		if got := fetch(); got.Files[0].Lack != "" {
			t.Errorf("after the others went: %q", got.Files[0].Lack)
		}
	})
}

func TestSettings(t *testing.T) {
	e := env(t)
	put(t, e.Dir, "id", []byte("AKID"))
	put(t, e.Dir, "secret", []byte("s3cret"))
	put(t, e.Dir, "files/a", nil)
	good := S3{Endpoint: "http://minio:9000", Region: "us-east-1", Buckets: []string{"erp"}, AccessKeyIDFile: "id", AccessKeySecretFile: "secret"}
	with := func(change func(*S3)) Config { c := good; change(&c); return Config{S3: c} }
	for _, tt := range []struct {
		cfg  Config
		want string // the setting that is wrong; "" for none, then the schemes
		on   string
	}{
		{Config{}, "", ""},
		{Config{File: File{Root: "files"}, HTTPS: HTTPS{Hosts: []string{"*"}}, S3: good, Object: Object{Buckets: []string{"attachments"}}}, "", "file https object s3"},
		{Config{HTTPS: HTTPS{Hosts: []string{"10.0.0.1", "[fd12::1]", "*.b.com"}, AllowPrivate: true}}, "", "http https"},
		{Config{File: File{Root: "none"}}, "/file/root", ""},
		{Config{File: File{Root: "id"}}, "/file/root", ""},
		{Config{HTTPS: HTTPS{Hosts: []string{"https://a.com"}}}, "/https/hosts/0", ""},
		{Config{HTTPS: HTTPS{AllowPrivate: true}}, "/https/hosts", ""},
		{Config{HTTPS: HTTPS{Hosts: []string{"*"}, CAFile: "id"}}, "/https/ca_file", ""},
		{Config{Object: Object{Buckets: []string{"a/b"}}}, "/object/buckets/0", ""},
		{Config{Object: Object{Upload: "attachments"}}, "", "object"},
		{Config{Object: Object{Upload: "a.b"}}, "/object/upload", ""},
		{Config{Object: Object{Upload: "a", MaxAge: time.Minute}}, "/object/max_age", ""},
		{Config{Object: Object{Upload: "a", MaxBytes: 1}}, "/object/max_bytes", ""},
		{Config{MaxFileBytes: -1}, "/max_file_bytes", ""},
		{Config{MaxFileBytes: 30 << 20}, "/max_file_bytes", ""},
		{Config{MaxTotalBytes: 1 << 30}, "/max_total_bytes", ""},
		{Config{MemoryBytes: 1}, "/memory_bytes", ""},
		{Config{Timeout: time.Hour}, "/timeout", ""},
		{Config{Types: []string{"image/*", "pdf"}}, "/types/1", ""},
		{with(func(c *S3) { c.Endpoint = "minio:9000" }), "/s3/endpoint", ""},
		{with(func(c *S3) { c.Endpoint = "https://minio/erp" }), "/s3/endpoint", ""},
		{with(func(c *S3) { c.Endpoint = "" }), "/s3/endpoint", ""},
		{with(func(c *S3) { c.Region = "" }), "/s3/region", ""},
		{with(func(c *S3) { c.Buckets = nil }), "/s3/buckets", ""},
		{with(func(c *S3) { c.AccessKeyIDFile = "none" }), "/s3/access_key_id_file", ""},
		{with(func(c *S3) { c.AccessKeySecretFile = "" }), "/s3/access_key_secret_file", ""},
	} {
		s, err := Open(tt.cfg, e, nil)
		if tt.want == "" {
			if err != nil || s.Schemes() != tt.on || tt.cfg.Schemes() != tt.on {
				t.Errorf("%+v: %v", tt.cfg, err)
			}
			continue
		}
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != tt.want || bad.Problems[0].Zh == "" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, want a problem of %s", tt.cfg, err, tt.want)
		}
	}
}
