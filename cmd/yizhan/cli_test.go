package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

func init() {
	zone = time.FixedZone("CST", 8*3600) // what an operator in China sees
}

// result is one run of the program.
type result struct {
	code     int
	out, err string
}

func yizhan(t testing.TB, in string, args ...string) result {
	t.Helper()
	return yizhanFrom(t, strings.NewReader(in), args...)
}

func yizhanFrom(t testing.TB, in io.Reader, args ...string) result {
	t.Helper()
	defer func(l string) { lang = l }(lang) // run chooses one for the process
	var out, errw bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code := run(ctx, args, in, &out, &errw)
	return result{code, out.String(), errw.String()}
}

// golden compares a run with testdata/cli/<name>.txt, where a person can read it.
func golden(t *testing.T, name string, r result, args []string, hide ...string) {
	t.Helper()
	goldenText(t, name, strings.NewReplacer(hide...).Replace(transcript(r, args)))
}

// transcript is a run as a terminal shows it.
func transcript(r result, args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quoteArg(a)
	}
	got := fmt.Sprintf("$ yizhan %s\n%s", strings.Join(quoted, " "), r.out)
	if r.err != "" {
		got += "--- stderr\n" + r.err
	}
	return got + fmt.Sprintf("--- exit %d\n", r.code)
}

// goldenText compares a text with testdata/cli/<name>.txt.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "cli", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and look at the change)\n--- got\n%s--- want\n%s", file, got, want)
	}
}

// api plays the server.
type api struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string          // method, path and media type or body, as the test wants to see them
	answers  map[string]string // "GET /v1/…" → JSON
	queue    []func(w http.ResponseWriter, r *http.Request) bool
	seen     map[string]bool // events accepted so far
	batches  []int           // their sizes
}

// serve starts the server and makes it the default one of the program.
func serve(t testing.TB) *api {
	t.Helper()
	a := &api{answers: map[string]string{}, seen: map[string]bool{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	t.Setenv(serverEnv, a.URL)
	t.Setenv(keyFileEnv, "")
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		t.Setenv(name, "")
	}
	return a
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI())
	if len(a.queue) > 0 {
		next := a.queue[0]
		a.queue = a.queue[1:]
		if next(w, r) {
			return
		}
	}
	if r.Method == http.MethodPost && r.URL.Path == "/v1/events" {
		a.events(w, r)
		return
	}
	body, ok := a.answers[r.Method+" "+r.URL.EscapedPath()]
	if !ok {
		writeProblem(w, http.StatusNotFound, "Not found", nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

func (a *api) events(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20+1))
	if err != nil || len(body) > 1<<20 {
		writeProblem(w, http.StatusRequestEntityTooLarge, "Too large", nil)
		return
	}
	var events []*schemas.Event
	if r.Header.Get("Content-Type") == "application/cloudevents-batch+json" {
		events, err = schemas.DecodeBatch(body, 1000)
	} else {
		events = make([]*schemas.Event, 1)
		events[0], err = schemas.DecodeEvent(body)
	}
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
		writeProblem(w, http.StatusUnprocessableEntity, "Invalid event", bad.Problems)
		return
	}
	type accepted struct {
		ID        string `json:"id"`
		Source    string `json:"source"`
		Duplicate bool   `json:"duplicate"`
	}
	var out struct {
		Accepted []accepted `json:"accepted"`
	}
	for _, e := range events {
		key := e.Source + " " + e.ID
		out.Accepted = append(out.Accepted, accepted{e.ID, e.Source, a.seen[key]})
		a.seen[key] = true
	}
	a.batches = append(a.batches, len(events))
	writeJSON(w, http.StatusAccepted, "application/json", out)
}

func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, v)
}

func writeProblem(w http.ResponseWriter, status int, title string, problems []schemas.Problem) {
	writeJSON(w, status, "application/problem+json", problem{Type: "about:blank", Title: title, Status: status, Problems: problems})
}

func TestExitCodesAndErrors(t *testing.T) {
	down := httptest.NewServer(nil)
	down.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Query().Get("source") == "502" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, "<html>sign in</html>")
	}))
	defer proxy.Close()
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("only-a-secret-without-id"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("erp1.s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		code int
		want string // in stderr
	}{
		{[]string{"trace", "x", "--server", down.URL}, exitUnreachable, "is `yizhan dev` (or serve) running?"},
		{[]string{"trace", "x", "--server", down.URL, "--lang", "zh"}, exitUnreachable, "无法连接驿站服务"},
		{[]string{"trace", "x", "--server", proxy.URL}, exitUnreachable, "is not Yizhan (HTTP 200)"},
		{[]string{"trace", "x", "--source", "502", "--server", proxy.URL}, exitUnreachable, "HTTP 502 Bad Gateway"},
		{[]string{"trace", "x"}, exitProblem, "there is no such event"},
		{[]string{"trace", "x", "--lang=zh"}, exitProblem, "没有找到这个事件"},
		{[]string{"dead", "show", "x"}, exitProblem, "there is no such dead letter"},
		{[]string{"trace"}, exitUsage, "missing the event's id"},
		{[]string{"trace", "a", "b"}, exitUsage, "too many arguments: b"},
		{[]string{"trcae"}, exitUsage, "did you mean yizhan trace?"},
		{[]string{"dead", "sho"}, exitUsage, "did you mean yizhan dead show?"},
		{[]string{"trace", "x", "--nonsense"}, exitUsage, "unknown flag: --nonsense"},
		{[]string{"trace", "x", "--nonsense", "--lang", "zh"}, exitUsage, "命令行参数有误"},
		{[]string{"version", "--lang", "fr"}, exitUsage, "--lang must be zh or en"},
		{[]string{"version", "-o", "xml"}, exitUsage, "-o must be table or json"},
		{[]string{"trace", "x", "--server", "localhost:8480"}, exitUsage, "--server must be"},
		{[]string{"trace", "x", "--key-file", secret}, exitUsage, "<key id>.<secret>"},
		{[]string{"trace", "x", "--key-file", key, "--server", "http://yizhan.example.com"}, exitUsage, "plain http"},
		{[]string{"replay", "--confirm", "3"}, exitUsage, "a replay needs a reason"},
		{[]string{"replay", "a", "--where", "channel=sms"}, exitUsage, "not both"},
		{[]string{"replay", "--confirm", "0"}, exitUsage, "--confirm must be more than 0"},
		{[]string{"dead", "ls", `to="a`}, exitUsage, "double quote"},
		{[]string{"publish", "no-such-file.json"}, exitUsage, "cannot open the file"},
		{[]string{"version"}, exitOK, ""},
		{[]string{"--help"}, exitOK, ""},
		{[]string{"dead"}, exitOK, ""},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			serve(t)
			r := yizhan(t, "", tt.args...)
			if r.code != tt.code || !strings.Contains(r.err, tt.want) {
				t.Errorf("exit %d, stderr %q; want exit %d and %q", r.code, r.err, tt.code, tt.want)
			}
			for _, s := range []string{"only-a-secret", "s3cr3t"} {
				if strings.Contains(r.err+r.out, s) {
					t.Errorf("the secret is shown: %s", r.err)
				}
			}
		})
	}
}

func TestKeyIsSentAsBearer(t *testing.T) {
	a := serve(t)
	var got string
	a.queue = append(a.queue, func(_ http.ResponseWriter, r *http.Request) bool {
		got = r.Header.Get("Authorization") + " " + r.Header.Get("Accept-Language")
		return false
	})
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("erp1.s3cr3t\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyFileEnv, file)
	yizhan(t, "", "trace", "x", "--lang", "zh")
	if got != "Bearer erp1.s3cr3t zh" {
		t.Errorf("got headers %q", got)
	}
}

func TestLanguageOfTheLocale(t *testing.T) {
	for _, tt := range []struct{ lcAll, lcMessages, lang, want string }{
		{"", "", "", "en"},
		{"", "", "zh_CN.UTF-8", "zh"},
		{"", "", "C.UTF-8", "en"},
		{"en_US.UTF-8", "", "zh_CN.UTF-8", "en"},
		{"", "zh_TW", "en_US", "zh"},
	} {
		t.Setenv("LC_ALL", tt.lcAll)
		t.Setenv("LC_MESSAGES", tt.lcMessages)
		t.Setenv("LANG", tt.lang)
		if got := chooseLang([]string{"trace", "--", "--lang", "zh"}); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestHelpIsBilingual(t *testing.T) {
	serve(t)
	for _, args := range [][]string{{"trace", "--help", "--lang", "zh"}, {"trace", "--help", "--lang", "en"}} {
		golden(t, "help-trace-"+args[3], yizhan(t, "", args...), args, os.Getenv(serverEnv), defaultServer)
	}
	r := yizhan(t, "", "--help", "--lang", "zh")
	for _, want := range []string{"命令：", "publish", "提交事件", "completion", "生成命令行补全脚本", "输出格式"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the help does not say %q:\n%s", want, r.out)
		}
	}
	if r := yizhan(t, "", "completion", "bash"); r.code != exitOK || !strings.Contains(r.out, "yizhan") {
		t.Errorf("completion: exit %d", r.code)
	}
}

func TestVersion(t *testing.T) {
	serve(t)
	var v versions
	r := yizhan(t, "", "version", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Version == "" || !strings.HasPrefix(v.Go, "go1.") || v.NATS == "" {
		t.Errorf("%v, %+v", err, v)
	}
}

func TestColumnsLineUp(t *testing.T) {
	var out bytes.Buffer
	u := &ui{out: &out}
	tb := newTable("NAME", "名称", "X")
	tb.add("a", "中文字符", "|")
	tb.add("王芳", "b", "|")
	tb.add("e\u0301\u200b", "ＡＢ", "|")
	tb.add("a\x1b[31mb", "", "|")
	tb.print(u, "")
	at := -1
	for line := range strings.Lines(out.String()) {
		before, _, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		if !ok {
			continue
		}
		if n := columns(before); at < 0 {
			at = n
		} else if n != at {
			t.Errorf("%q ends at column %d, want %d", before, n, at)
		}
	}
	if at < 0 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("bad table:\n%q", out.String())
	}
}

func TestClipCountsColumns(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{{"中文字符", 8, "中文字符"}, {"中文字符串", 8, "中文字…"}, {"abcdef", 4, "abc…"}, {"", 3, ""}} {
		if got := clip(tt.in, tt.n); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestQuoteArg(t *testing.T) {
	for in, want := range map[string]string{
		"channel=sms":     "channel=sms",
		"since=2h to=1*3": `"since=2h to=1*3"`,
		`a="b c"`:         `'a="b c"'`,
		"it's $5":         `'it'\''s $5'`,
		"":                `""`,
	} {
		if got := quoteArg(in); got != want {
			t.Errorf("quoteArg(%q) = %s, want %s", in, got, want)
		}
	}
}

// Rewritten lines and colours are for terminals; a log or a pipe must stay readable.
func TestTerminalOnlyOutput(t *testing.T) {
	for _, tt := range []struct {
		name     string
		u        ui
		bar, sgr string
	}{
		{"terminal", ui{color: true, live: true}, "\r\x1b[K[############............]  50%  note\r\x1b[K", "\x1b[31mx\x1b[0m"},
		{"pipe", ui{}, "", "x"},
		{"json", ui{json: true, live: true}, "", "x"},
	} {
		var errw bytes.Buffer
		tt.u.err = &errw
		p := tt.u.progress()
		p.set(1, 2, "note")
		p.set(2, 2, "too soon after the first")
		p.clear()
		if errw.String() != tt.bar || tt.u.paint(red, "x") != tt.sgr {
			t.Errorf("%s: %q, %q", tt.name, errw.String(), tt.u.paint(red, "x"))
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestLostOutputIsAnError(t *testing.T) {
	serve(t)
	defer func(l string) { lang = l }(lang)
	var errw bytes.Buffer
	code := run(context.Background(), []string{"version"}, strings.NewReader(""), fullDisk{}, &errw)
	if code != exitProblem || !strings.Contains(errw.String(), "the output cannot be written: no space left") {
		t.Errorf("exit %d, %s", code, errw.String())
	}
}
