package ingest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

func uploads(cfg Config) Config {
	cfg.Upload = Upload{Bucket: "attachments", MaxFile: 64 << 10, MaxAge: time.Hour}
	return cfg
}

func TestUpload(t *testing.T) {
	r := newRig(t)
	if err := r.d.Broker.MakeBucket(t.Context(), "attachments", time.Hour, 200<<10); err != nil {
		t.Fatal(err)
	}
	if err := r.d.Broker.MakeBucket(t.Context(), "attachments", time.Hour, 200<<10); err != nil {
		t.Fatalf("the bucket is there already: %v", err)
	}
	url := r.serve(uploads(open()))
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // of "test"
	put := func(path, media, body string) (int, schemas.Attachment, string) {
		t.Helper()
		res := request{method: http.MethodPut, url: url + "/v1/attachments/" + path, media: media, body: body}.do(t)
		var a schemas.Attachment
		_ = json.Unmarshal(res.body, &a)
		return res.StatusCode, a, string(res.body)
	}
	for range 2 { // again is the same object
		status, a, said := put("%E5%AF%B9%E8%B4%A6%E5%8D%95%2011.txt?tenant=acme", "text/plain; charset=utf-8", "test")
		want := schemas.Attachment{Name: "对账单 11.txt", URL: "object://attachments/acme/" + hash, SHA256: hash, Type: "text/plain", Size: 4}
		if status != http.StatusCreated || a != want {
			t.Fatalf("%d %s, want %+v", status, said, want)
		}
	}
	body, size, err := r.d.Broker.OpenObject(t.Context(), "attachments", "acme/"+hash)
	if err != nil || size != 4 {
		t.Fatal(size, err)
	}
	got, err := io.ReadAll(body)
	if err != nil || string(got) != "test" || body.Close() != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"attachments/acme/none", "none/a"} {
		bucket, object, _ := strings.Cut(name, "/")
		if _, _, err := r.d.Broker.OpenObject(t.Context(), bucket, object); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want no such file", name, err)
		}
	}
	if status, a, _ := put("a.bin", "application/octet-stream", "test"); status != http.StatusCreated || a.Type != "" || a.URL != "object://attachments/default/"+hash {
		t.Errorf("%d %+v, want the default tenant and no type", status, a)
	}
	for _, tt := range []struct {
		path, body, want string
		status           int
	}{
		{"a.txt", "", "the file is empty", 422},
		{"a%2Fb.txt", "x", "/name", 422},
		{"%E2%80%AEfdp.exe", "x", "/name", 422},
		{"a.txt?tenant=unknown", "x", "/tenant", 422},
		{"a.txt", strings.Repeat("x", 64<<10+1), "larger than 65536 bytes", 413},
	} {
		if status, _, said := put(tt.path, "", tt.body); status != tt.status || !strings.Contains(said, tt.want) {
			t.Errorf("%s: %d %s, want %d %s", tt.path, status, said, tt.status, tt.want)
		}
	}
	// A full bucket says so, and refuses rather than drop what mails are going to need.
	full := false
	for i := range 10 {
		status, _, said := put("a.txt", "", strings.Repeat(string(rune('a'+i)), 60<<10))
		if full = status == http.StatusInsufficientStorage; full {
			break
		}
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, said)
		}
	}
	if !full {
		t.Error("the bucket has no end")
	}
}

func TestUploadNeedsAKeyOfTheTenant(t *testing.T) {
	r := newRig(t)
	if err := r.d.Broker.MakeBucket(t.Context(), "attachments", time.Hour, 1<<20); err != nil {
		t.Fatal(err)
	}
	cfg := keyed(t)
	url := r.serve(uploads(cfg))
	put := func(auth, tenant string) int {
		h := map[string]string{}
		if auth != "" {
			h["Authorization"] = "Bearer " + auth
		}
		return request{method: http.MethodPut, url: url + "/v1/attachments/a.txt?tenant=" + tenant, body: "x", header: h}.do(t).StatusCode
	}
	for _, tt := range []struct {
		auth, tenant string
		want         int
	}{
		{"", "acme", 401},
		{"acme.wrong", "acme", 401},
		{"acme." + secretOne, "acme", 201},
		{"acme." + secretOne, "default", 403},
		{"acme." + secretOne, "", 403}, // the default tenant
		{"all." + secretOne, "", 201},
		{"reader." + secretOne, "acme", 403},
	} {
		if got := put(tt.auth, tt.tenant); got != tt.want {
			t.Errorf("%.6s for %q: %d, want %d", tt.auth, tt.tenant, got, tt.want)
		}
	}
	url = r.serve(cfg)
	if got := put("acme."+secretOne, "acme"); got != 404 {
		t.Errorf("without a bucket: %d", got)
	}
}
