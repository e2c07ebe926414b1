package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func eventJSON(id, phone string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/erp/test","type":"erp.invoice.due","data":{"category":"notification","to":[{"phone":%q}],"template":"due"}}`, id, phone)
}

func TestPublishForms(t *testing.T) {
	one, two := eventJSON("1", "13800138000"), eventJSON("2", "13800138001")
	pretty := strings.NewReplacer(`,"`, ",\n \"", `{"specversion`, "{\n \"specversion").Replace(one)
	tests := []struct {
		name, in string
		sizes    []int
	}{
		{"object", one, []int{1}},
		{"pretty object", pretty, []int{1}},
		{"pretty objects", pretty + "\n" + strings.ReplaceAll(pretty, `"id":"1"`, `"id":"2"`), []int{2}},
		{"array", "[" + one + ",\n " + two + "]", []int{2}},
		{"ndjson", one + "\n\n" + two + "\r\n", []int{2}},
		{"byte order mark", "\ufeff" + one + "\n" + two, []int{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := serve(t)
			r := yizhan(t, tt.in, "publish")
			n := 0
			for _, s := range tt.sizes {
				n += s
			}
			if want := fmt.Sprintf("accepted %d, duplicates 0, refused 0\n", n); r.code != exitOK || r.out != want || r.err != "" {
				t.Errorf("exit %d, out %q, err %q; want %q", r.code, r.out, r.err, want)
			}
			if !slices.Equal(a.batches, tt.sizes) {
				t.Errorf("batches of %v, want %v", a.batches, tt.sizes)
			}
			if r := yizhan(t, tt.in, "publish", "--lang", "zh", "-"); r.out != fmt.Sprintf("已受理 0 条，重复 %d 条，被拒 0 条\n", n) {
				t.Errorf("again: %q", r.out)
			}
		})
	}
}

// The good lines of a file go although others are bad, and each bad one is named by its line.
func TestPublishNamesBadLines(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		for _, o := range []string{"table", "json"} {
			t.Run(l+" "+o, func(t *testing.T) {
				a := serve(t)
				file := filepath.Join(t.TempDir(), "events.ndjson")
				lines := []string{
					`{"specversion":`,
					eventJSON("1", "13800138000"),
					eventJSON("2", "12345"),
					"",
					eventJSON("1", "13800138000"),
					"not json",
					eventJSON("3", "13800138002"),
					`{"pad":"` + strings.Repeat("x", maxItem) + `"}`,
					eventJSON("4", "13800138003"),
				}
				if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
					t.Fatal(err)
				}
				args := []string{"publish", file, "--lang", l, "-o", o}
				golden(t, "publish-bad-lines-"+l+"-"+o, yizhan(t, "", args...), args, file, "events.ndjson")
				for _, id := range []string{"1", "3", "4"} {
					if !a.seen["/erp/test "+id] {
						t.Errorf("event %s did not arrive", id)
					}
				}
			})
		}
	}
}

// endless makes lines without holding them.
type endless struct {
	n, max int
	rest   string
}

func (e *endless) Read(b []byte) (int, error) {
	if e.rest == "" {
		if e.n == e.max {
			return 0, io.EOF
		}
		e.n++
		e.rest = eventJSON(fmt.Sprint("e", e.n), "13800138000") + "\n"
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestPublishStreamsInBatches(t *testing.T) {
	a := serve(t)
	const n = 8000 // more than the buffer holds
	r := yizhanFrom(t, &endless{max: n}, "publish", "-o", "json")
	var sum published
	if err := json.Unmarshal([]byte(r.out), &sum); err != nil || sum.Accepted != n || r.code != exitOK {
		t.Fatalf("exit %d, %+v, %v, %s", r.code, sum, err, r.err)
	}
	if slices.Max(a.batches) > batchEvents {
		t.Errorf("a batch of %d, want at most %d", slices.Max(a.batches), batchEvents)
	}
}

// What a pipe has handed out is sent although the pipe stays open.
func TestPublishDoesNotHoldBackAPipe(t *testing.T) {
	a := serve(t)
	arrived := make(chan struct{})
	a.queue = append(a.queue, func(http.ResponseWriter, *http.Request) bool { close(arrived); return false })
	in, w := io.Pipe()
	done := make(chan result, 1)
	go func() { done <- yizhanFrom(t, in, "publish") }()
	_, _ = io.WriteString(w, eventJSON("1", "13800138000")+"\n")
	select {
	case <-arrived:
	case <-time.After(20 * time.Second):
		t.Error("the first event waits for the second")
	}
	_ = w.Close()
	if r := <-done; r.out != "accepted 1, duplicates 0, refused 0\n" {
		t.Errorf("%+v", r)
	}
}

func TestPublishBadDocuments(t *testing.T) {
	one := eventJSON("1", "13800138000")
	for _, tt := range []struct{ name, in, out, err string }{
		{"empty", " \n", "accepted 0, duplicates 0, refused 1\n", "stdin: nothing there"},
		{"cut array", "[" + one + ", {\"a\":", "accepted 1, duplicates 0, refused 1\n", "stdin[1]: not valid JSON"},
		{"wrong array", "[" + one + " 7]", "accepted 1, duplicates 0, refused 1\n", "stdin[1]: not valid JSON"},
		{"giant in array", "[" + one + `,"` + strings.Repeat("x", 3*maxItem) + `"]`, "accepted 1, duplicates 0, refused 1\n", "larger than 1 MiB"},
		{"not an event", `"hello"`, "accepted 0, duplicates 0, refused 1\n", "stdin:1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t)
			r := yizhan(t, tt.in, "publish")
			if r.code != exitProblem || r.out != tt.out || !strings.Contains(r.err, tt.err) {
				t.Errorf("exit %d, out %q, err %q; want %q and %q", r.code, r.out, r.err, tt.out, tt.err)
			}
		})
	}
}

// fakePause makes waiting take no time and returns what was waited for.
func fakePause(t *testing.T) *[]time.Duration {
	t.Helper()
	var waits []time.Duration
	real := pause
	pause = func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return ctx.Err()
	}
	t.Cleanup(func() { pause = real })
	return &waits
}

func busy(status int, after string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", after)
		writeProblem(w, status, "busy", nil)
		return true
	}
}

func TestPublishWaitsWhileTheServerIsBusy(t *testing.T) {
	a, waits := serve(t), fakePause(t)
	a.queue = append(a.queue, busy(http.StatusTooManyRequests, "7"), busy(http.StatusServiceUnavailable, ""))
	r := yizhan(t, eventJSON("1", "13800138000"), "publish")
	if r.code != exitOK || !slices.Equal(*waits, []time.Duration{7 * time.Second, time.Second}) {
		t.Errorf("%+v, waited %v", r, *waits)
	}
}

func TestPublishGivesUpAtItsDeadline(t *testing.T) {
	a, waits := serve(t), fakePause(t)
	for range 10 {
		a.queue = append(a.queue, busy(http.StatusServiceUnavailable, "20"))
	}
	r := yizhan(t, eventJSON("1", "13800138000"), "publish", "--timeout", "50s")
	if r.code != exitUnreachable || len(*waits) != 2 || !strings.Contains(r.err, "the server cannot answer now: busy") {
		t.Errorf("%+v, waited %v", r, *waits)
	}
}

// A key that is refused says nothing about the events: the command ends instead of naming each of them.
func TestPublishStopsWhenTheKeyIsRefused(t *testing.T) {
	a := serve(t)
	for range 3 {
		a.queue = append(a.queue, func(w http.ResponseWriter, _ *http.Request) bool {
			writeProblem(w, http.StatusUnauthorized, "Unknown key", nil)
			return true
		})
	}
	r := yizhan(t, eventJSON("1", "13800138000")+"\n"+eventJSON("2", "13800138000"), "publish")
	if r.code != exitProblem || len(a.requests) != 1 || !strings.Contains(r.err, "--key-file") {
		t.Errorf("%+v after %d requests", r, len(a.requests))
	}
}

func FuzzSource(f *testing.F) {
	for _, s := range []string{"", "[", "[{}]", "{}\n{}", "{\n}\n", "\ufeff[1,2", "{\"a\"\n:1}x", "x\n{}", "[1 2]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSource("f", strings.NewReader(string(b)))
		for range len(b) + 3 {
			it, err := s.next()
			if err == nil && len(it.raw) == 0 {
				t.Fatal("an empty item")
			}
			if bad, ok := errors.AsType[*badItem](err); errors.Is(err, io.EOF) || ok && bad.last {
				return
			}
		}
		t.Fatalf("never ends: %q", b)
	})
}
