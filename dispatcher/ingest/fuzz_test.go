package ingest

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Whatever is posted: no panic, no 5xx, every refusal is a problem, and what is accepted can be stored
// and read again.
func FuzzPostEvents(f *testing.F) {
	s := bare(f, open(), zap.NewNop())
	accept := s.accept
	s.accept = func(ctx context.Context, events []*schemas.Event) ([]Accepted, error) {
		for _, e := range events {
			b, err := schemas.Encode(e)
			if err != nil {
				panic(err)
			}
			if _, err := schemas.DecodeEvent(b); err != nil {
				panic(err)
			}
		}
		return accept(ctx, events)
	}
	h, err := s.handler(nil)
	if err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		body, _, _ := strings.Cut(string(b), "\n----\n")
		f.Add("application/json", "", "", []byte(body))
		f.Add("application/json", "1.0", "%E4%BD%A0", []byte(body))
	}
	f.Add("application/json", "", "", []byte(event("x")))
	f.Add("application/cloudevents-batch+json", "", "", []byte("["+event("x")+"]"))
	f.Fuzz(func(t *testing.T, media, spec, id string, body []byte) {
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(string(body)))
		r.Host = "localhost"
		r.Header.Set("Content-Type", media)
		if spec != "" {
			r.Header.Set("Ce-Specversion", spec)
			r.Header.Set("Ce-Id", id)
			r.Header.Set("Ce-Source", "/fuzz")
			r.Header.Set("Ce-Type", "erp.fuzz")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if w.Code == 202 {
			return
		}
		var p problemBody
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
			t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
		}
	})
}

// Signed or not, no header makes the server fall over, and nobody gets in without a secret.
func FuzzAuthenticate(f *testing.F) {
	h, err := bare(f, keyed(f), zap.NewNop()).handler(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer acme.", "", "", "", "", "127.0.0.1:1")
	f.Add("", "acme", "12345678", "1", "v1,AAAA", "[::1]:1")
	f.Fuzz(func(t *testing.T, authorization, key, id, stamp, signature, from string) {
		r := httptest.NewRequest("POST", "/v1/events", strings.NewReader("{}"))
		r.RemoteAddr = from
		for n, v := range map[string]string{
			"Content-Type": "application/json", "Authorization": authorization, "Yizhan-Key": key, "Webhook-Id": id,
			"Webhook-Timestamp": stamp, "Webhook-Signature": signature,
		} {
			r.Header.Set(n, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 401 && w.Code != 403 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}
