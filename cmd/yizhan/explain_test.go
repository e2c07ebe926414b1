package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

// What a person sees, in both languages; nothing is asked of a server.
func TestExplainCommand(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		for name, args := range map[string][]string{
			"reply":    {"explain", "550", "5.1.1", "User", "unknown"},
			"provider": {"explain", "dingtalk", "310000"},
			"limit":    {"explain", "sms", "LimitExceeded.PhoneNumberDailyLimit", "--provider", "tencent"},
			"moment":   {"explain", "email", "550 no", "--context", "AUTH"},
			"unknown":  {"explain", "email", "580 wubba lubba 13800138000"},
		} {
			a := serve(t)
			args = append(slices.Clone(args), "--lang", l)
			golden(t, "explain-"+name+"-"+l, yizhan(t, "", args...), args)
			if len(a.requests) > 0 {
				t.Errorf("%v asked the server: %v", args, a.requests)
			}
		}
	}
}

// Exit codes: 0 known, 1 not known, 2 usage.
func TestExplainExitCodes(t *testing.T) {
	serve(t)
	table := filepath.Join(t.TempDir(), "own.csv")
	if err := os.WriteFile(table, []byte(strings.Join(explain.Header()[:9], ",")+"\nsms,acme,E42,auth,Ours,Do it,自有,处理,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(lines, []byte("550 5.1.1 User unknown\n\nisv.AMOUNT_NOT_ENOUGH\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in   string
		args []string
		code int
		out  string
	}{
		{"", []string{"550"}, exitOK, "Mailbox unavailable"},
		{"", []string{"wubba lubba"}, exitProblem, "not known"},
		{"", []string{"acme", "E42"}, exitProblem, "not known"},
		{"", []string{"sms", "E42", "--provider", "acme", "--table", table}, exitOK, "Ours"},
		{"", []string{"--file", lines}, exitOK, "balance"},
		{"E42\n", []string{"sms", "--file", "-", "--provider", "acme", "--table", table}, exitOK, "Ours"},
		{"550\nwubba\n", []string{"--file", "-", "-o", "json"}, exitProblem, `"known": false`},
		{"", nil, exitUsage, ""},
		{"", []string{"550", "--jsonl"}, exitUsage, ""},
		{"", []string{"550", "x", "--file", lines}, exitUsage, ""},
		{"", []string{"--jsonl", "-o", "json"}, exitUsage, ""},
		{"", []string{"550", "--table", lines}, exitProblem, ""},
		{"", []string{"550", "--table", "absent.csv"}, exitProblem, ""},
		{"", []string{"--file", "absent.txt"}, exitProblem, ""},
		{strings.Repeat("x", maxExplainLine+1), []string{"--file", "-"}, exitProblem, ""},
	} {
		r := yizhan(t, tt.in, append([]string{"explain"}, tt.args...)...)
		if r.code != tt.code || !strings.Contains(r.out, tt.out) {
			t.Errorf("%v: exit %d, want %d: %s%s", tt.args, r.code, tt.code, r.out, r.err)
		}
	}
}

// --jsonl answers line by line; a bad line is told with its number and ends nothing.
func TestExplainJSONL(t *testing.T) {
	serve(t)
	in := `{"id":"a","channel":"sms","provider":"aliyun","line":"isv.AMOUNT_NOT_ENOUGH","context":""}
{"id":2,"line":"550 denied","channel":"email","context":"in reply to AUTH"}
no json
{"id":"c","line":"wubba lubba dub dub"}
{"id":"d"}

{"id":"e","line":"` + strings.Repeat("x", maxJSONLine) + `"}
`
	r := yizhan(t, in, "explain", "--jsonl")
	if r.code != exitProblem {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	type answer struct {
		ID                 any               `json:"id"`
		Line               int               `json:"line"`
		Error              map[string]string `json:"error"`
		channels.Explained `json:",inline"`
	}
	var got []answer
	for line := range strings.Lines(r.out) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, a)
	}
	if len(got) != 6 {
		t.Fatalf("%d answers: %s", len(got), r.out)
	}
	if a := got[0]; a.ID != "a" || !a.Known || a.Class != channels.Config || a.Retry != "no" || a.Owner != "channel-owner" || a.RemedyZh == "" || a.Row != "sms/aliyun/isv.AMOUNT_NOT_ENOUGH" {
		t.Errorf("%+v", a)
	}
	if a := got[1]; a.ID != 2.0 || a.Class != channels.Auth {
		t.Errorf("%+v", a)
	}
	for i, line := range map[int]int{2: 3, 4: 5, 5: 7} {
		if a := got[i]; a.ID != nil || a.Line != line || a.Error["en"] == "" || a.Error["zh"] == "" {
			t.Errorf("line %d: %+v", line, a)
		}
	}
	if a := got[3]; a.Known || a.CauseEn == "" {
		t.Errorf("%+v", a)
	}
}

// --unknown writes rows that need only words to be a table of one's own.
func TestExplainUnknown(t *testing.T) {
	a := serve(t)
	a.answers["GET /v1/explain/unknown"] = `{"items":[
{"kind":"email","shape":"550 5.7.1 Service from # refused","class":"permanent","count":3,"first":"2026-11-25T00:00:00Z","last":"2026-11-25T00:00:00Z","letter":"x"},
{"kind":"webhook","provider":"dingtalk","code":"999","shape":"zork","class":"permanent","count":1,"first":"2026-11-25T00:00:00Z","last":"2026-11-25T00:00:00Z","letter":"y"}],"complete":false}`
	r := yizhan(t, "", "explain", "--unknown")
	rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if r.code != exitOK || err != nil || len(rows) != 3 || !strings.Contains(r.err, "not looked at") {
		t.Fatalf("exit %d, %v: %s%s", r.code, err, r.out, r.err)
	}
	for i, want := range []string{"email/generic/says:550 5.7.1 service from*refused", "bot/dingtalk/999"} {
		if got := strings.Join(rows[i+1][:3], "/"); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	for i, row := range rows {
		if i > 0 {
			copy(row[4:8], []string{"cause", "remedy", "原因", "办法"})
		}
		_ = w.Write(row)
	}
	w.Flush()
	table, err := explain.Load(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if d := table.ExplainLine(channels.Quote{Channel: "email", Text: "550 5.7.1 Service from 203.0.113.9 refused"}); d.Cause.En != "cause" {
		t.Errorf("the completed row is not used: %+v", d)
	}
}

// Names of channels and providers are completed.
func TestExplainCompletion(t *testing.T) {
	serve(t)
	if r := yizhan(t, "", "__complete", "explain", "d"); !strings.Contains(r.out, "dingtalk\n") || !strings.Contains(r.out, "dispatcher\n") {
		t.Errorf("%s", r.out)
	}
	if r := yizhan(t, "", "__complete", "explain", "sms", "--provider", ""); !strings.Contains(r.out, "tencent\n") || strings.Contains(r.out, "exchange\n") {
		t.Errorf("%s", r.out)
	}
}

// A broken table of one's own is told by `config check`, by the setting and the line.
func TestOwnDiagnosesAreChecked(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "yizhan.yaml")
	write := func(name, doc string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("yizhan.yaml", "http: {auth: none}\nexplain: own.csv\n")
	write("rules.yaml", "routes: []\n")
	header := strings.Join(explain.Header(), ",") + "\n"
	for _, tt := range []struct{ csv, want string }{
		{header + "sms,acme,E1,fatal,a,b,甲,乙,us\n", `yizhan.yaml:2:1: explain: line 2: unknown class "fatal"`},
		{"", "the file is empty"},
	} {
		write("own.csv", tt.csv)
		if r := yizhan(t, "", "config", "check", conf, "--lang", "en"); r.code != exitProblem || !strings.Contains(r.err, tt.want) {
			t.Errorf("exit %d: %s", r.code, r.err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "own.csv")); err != nil {
		t.Fatal(err)
	}
	if r := yizhan(t, "", "config", "check", conf, "--lang", "zh"); r.code != exitProblem || !strings.Contains(r.err, "读不到诊断表") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

// A changed table is taken into use, a broken one reported while the last good one stays.
func TestOwnDiagnosesAreReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "own.csv")
	core, logs := observer.New(zapcore.InfoLevel)
	s := &service{conf: &config{Explain: file}, log: zap.New(core)}
	at := time.Now()
	write := func(class string) {
		t.Helper()
		at = at.Add(time.Minute)
		doc := strings.Join(explain.Header()[:9], ",") + "\nsms,acme,E1," + class + ",a,b,甲,乙,us\n"
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	class := func() channels.Class {
		return s.table.Load().Explain(&channels.Failure{Kind: "sms", Provider: "acme", Code: "E1"}).Class
	}
	write("auth")
	if err := s.loadTable(); err != nil || class() != channels.Auth {
		t.Fatalf("%v", err)
	}
	write("config")
	s.watchTable()
	if class() != channels.Config || logs.FilterMessage("diagnoses reloaded").Len() != 1 {
		t.Errorf("class %s, %v", class(), logs.All())
	}
	write("fatal")
	s.watchTable()
	s.watchTable()
	if class() != channels.Config || logs.FilterMessageSnippet("broken").Len() != 1 {
		t.Errorf("class %s, %v", class(), logs.All())
	}
}
