package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/backtest"
	"github.com/yizhan-dev/yizhan/schemas"
)

func backtestFile(name string) string { return filepath.Join("testdata", "backtest", name) }

func backtestArgs(more ...string) []string {
	return append([]string{"rules", "backtest", "--rules", backtestFile("rules.new.yaml"), "--against", backtestFile("rules.yaml"), "--events", backtestFile("events.ndjson")}, more...)
}

func TestBacktest(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		for name, more := range map[string][]string{"table": nil, "markdown": {"--markdown", "--examples", "1"}} {
			serve(t)
			args := backtestArgs(append(more, "--lang", l)...)
			r := yizhan(t, "", args...)
			golden(t, "rules-backtest-"+name+"-"+l, r, args)
			if r.code != exitProblem {
				t.Errorf("exit %d", r.code)
			}
			for _, number := range []string{"13800138000", "13900139000", "wang@"} {
				if strings.Contains(r.out+r.err, number) {
					t.Errorf("the report tells %s", number)
				}
			}
		}
	}
}

func TestBacktestInJSON(t *testing.T) {
	serve(t)
	r := yizhan(t, "", backtestArgs("-o", "json", "--allow-change", "5", "--price", "0.05")...)
	var got backtestResult
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	// The promotion of 22:30 is too late in the morning; the third invoice is over the lower cap and goes by mail.
	if got.Count(backtest.NewlyBlocked) != 1 || got.Count(backtest.NewlyOverCap) != 1 || got.Worse != 2 || got.Allowed != 5 || !got.OK || r.code != exitOK {
		t.Errorf("exit %d, %+v", r.code, got)
	}
	// Old: two promotions of a part and three invoices of two. New: one promotion and two invoices of a part.
	if got.Old.Parts != 8 || got.New.Parts != 3 || got.OldCost != 0.4 || got.NewCost != 0.15 {
		t.Errorf("parts %d and %d, cost %v and %v", got.Old.Parts, got.New.Parts, got.OldCost, got.NewCost)
	}
	if got.Events.Duplicates != 1 || got.Events.Wrong != 1 || got.Events.Rerouted != 1 || got.Events.Used != 7 {
		t.Errorf("%+v", got.Events)
	}
}

func TestBacktestExitCodes(t *testing.T) {
	in, err := os.ReadFile(backtestFile("events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	same := []string{"rules", "backtest", "--rules", backtestFile("rules.yaml"), "--against", backtestFile("rules.yaml"), "--events"}
	for _, tt := range []struct {
		args []string
		code int
		want string // in stdout or stderr
	}{
		{append(same, "-"), exitOK, "nothing changes"},
		{append(same, empty), exitProblem, "nothing there"},
		{append(same, "-", "--until", "2026-11-01T00:00:00+08:00"), exitProblem, "there are no events to test with"},
		{append(same, "-", "--since", "2026-11-23T09:10:00+08:00"), exitOK, "outside the chosen time: 5"},
		{backtestArgs("--allow-change", "2"), exitOK, "passed"},
		{backtestArgs("--allow-change", "1"), exitProblem, "failed"},
		{backtestArgs("--allow-change", "40%"), exitOK, "2 newly blocked or over the cap, 2 allowed"},
		{backtestArgs("--allow-change", "-1"), exitUsage, "--allow-change"},
		{backtestArgs("--allow-change", "101%"), exitUsage, "--allow-change"},
		{backtestArgs("--since", "soon"), exitUsage, "--since must look like"},
		{backtestArgs("--price", "-1"), exitUsage, "--price"},
		{backtestArgs("--examples", "-1"), exitUsage, "--examples"},
		{backtestArgs("--workers", "-1"), exitUsage, "--workers"},
		{backtestArgs("--from-stream"), exitUsage, "either --events or --from-stream"},
		{backtestArgs("--tenant", "acme"), exitUsage, "--tenant"},
		{[]string{"rules", "backtest", "--events", "-"}, exitUsage, "missing --rules"},
		{[]string{"rules", "backtest", "--rules", backtestFile("nowhere.yaml"), "--against", backtestFile("rules.yaml"), "--events", "-"}, exitUsage, "cannot open"},
		{[]string{"rules", "backtest", "--rules", ruleFile("broken.yaml"), "--against", backtestFile("rules.yaml"), "--events", "-"}, exitProblem, "broken.yaml has mistakes"},
	} {
		serve(t)
		r := yizhan(t, string(in), tt.args...)
		if r.code != tt.code || !strings.Contains(r.out+r.err, tt.want) {
			t.Errorf("%v: exit %d, %s%s; want exit %d and %q", tt.args, r.code, r.out, r.err, tt.code, tt.want)
		}
	}
}

// The server's events come by page, at the time at which it stored them.
func TestBacktestFromStream(t *testing.T) {
	a := serve(t)
	raw, err := os.ReadFile(backtestFile("events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	item := func(i int) string {
		return fmt.Sprintf(`{"stored":"2026-11-23T12:%02d:00+08:00","event":%s}`, i, lines[i])
	}
	for _, body := range []string{`{"items":[` + item(0) + `],"next":"7"}`, `{"items":[],"next":"9"}`, `{"items":[` + item(1) + `,` + item(2) + `]}`} {
		a.queue = append(a.queue, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
			return true
		})
	}
	args := []string{"rules", "backtest", "--rules", backtestFile("rules.new.yaml"), "--against", backtestFile("rules.yaml"), "--from-stream", "--tenant", "acme", "--since", "2026-11-23T00:00:00+08:00", "-o", "json"}
	r := yizhan(t, "", args...)
	var got backtestResult
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%v: %s", err, r.err)
	}
	// Stored at noon, the promotion of the night before is past its eight hours.
	if got.Events.Used != 3 || got.Count(backtest.NewlyBlocked) != 1 {
		t.Errorf("%+v %+v", got.Events, got.Changes)
	}
	want := []string{
		"GET /v1/events?since=2026-11-23T00%3A00%3A00%2B08%3A00&tenant=acme",
		"GET /v1/events?cursor=7&since=2026-11-23T00%3A00%3A00%2B08%3A00&tenant=acme", "GET /v1/events?cursor=9&since=2026-11-23T00%3A00%3A00%2B08%3A00&tenant=acme",
	}
	if strings.Join(a.requests, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked %q", a.requests)
	}
	if r := yizhan(t, "", args...); r.code != exitProblem || !strings.Contains(r.err, "does not hand out its events") {
		t.Errorf("of a server that cannot: exit %d, %s", r.code, r.err)
	}
}

func TestExplain(t *testing.T) {
	raw, err := os.ReadFile(ruleFile("event.json"))
	if err != nil {
		t.Fatal(err)
	}
	file := yizhanOut(t, "rules", "test", ruleFile("event.json"), "--rules", ruleFile("rules.yaml"), "--at", "2026-11-23T22:30:00+08:00")
	if got := yizhanOut(t, "rules", "explain", ruleFile("event.json"), "--rules", ruleFile("rules.yaml"), "--at", "2026-11-23T22:30:00+08:00"); got != file {
		t.Errorf("explain:\n%s\ntest:\n%s", got, file)
	}
	a := serve(t)
	if r := yizhan(t, string(raw), "rules", "explain", "-", "--rules", ruleFile("rules.yaml"), "--at", "2026-11-23T22:30:00+08:00"); r.out != file {
		t.Errorf("from standard input:\n%s%s", r.out, r.err)
	}
	// By its id, at the time at which the server stored it.
	a.answers["GET /v1/events"] = `{"items":[{"stored":"2026-11-23T22:30:00+08:00","event":` + string(raw) + `}]}`
	if r := yizhan(t, "", "rules", "explain", "AR-1", "--source", "/erp/acme", "--rules", ruleFile("rules.yaml")); r.out != file {
		t.Errorf("by its id:\n%s%s", r.out, r.err)
	}
	if got := a.requests[len(a.requests)-1]; got != "GET /v1/events?id=AR-1&source=%2Ferp%2Facme" {
		t.Errorf("asked %s", got)
	}
	for body, want := range map[string]string{
		`{"items":[]}`: "the server keeps no event with this id",
		`{"items":[{"stored":"2026-11-23T22:30:00+08:00","event":` + string(raw) + `},{"stored":"2026-11-23T22:30:00+08:00","event":` + strings.Replace(string(raw), "/erp/acme", "/erp/other", 1) + `}]}`: "/erp/acme, /erp/other",
	} {
		a.answers["GET /v1/events"] = body
		if r := yizhan(t, "", "rules", "explain", "AR-1", "--rules", ruleFile("rules.yaml")); r.code == exitOK || !strings.Contains(r.err, want) {
			t.Errorf("exit %d, %s; want %q", r.code, r.err, want)
		}
	}
}

func yizhanOut(t *testing.T, args ...string) string {
	t.Helper()
	serve(t)
	r := yizhan(t, "", args...)
	if r.code != exitOK {
		t.Fatalf("%v: exit %d, %s", args, r.code, r.err)
	}
	return r.out
}

// The documented cases hold, whatever the language and zone; a difference is shown and written on demand only.
func TestRulesCases(t *testing.T) {
	example := filepath.Join("..", "..", "docs", "examples", "rules-tests")
	for _, l := range []string{"zh", "en"} {
		serve(t)
		r := yizhan(t, "", "rules", "test", example, "--rules", filepath.Join(example, "rules.yaml"), "--lang", l)
		if r.code != exitOK || strings.Count(r.out, "\n") != 5 {
			t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	rulesName := filepath.Join(dir, "rules.yaml")
	b, err := os.ReadFile(rulesName)
	if err == nil {
		err = os.WriteFile(rulesName, []byte(strings.Replace(string(b), "08:00-21:00", "08:00-23:00", 1)), 0o600)
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, "second-signature.golden"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"zh", "en"} {
		serve(t)
		args := []string{"rules", "test", dir, "--rules", rulesName, "--lang", l}
		golden(t, "rules-test-cases-"+l, yizhan(t, "", args...), args, dir, "DIR")
	}
	if _, err := os.Stat(filepath.Join(dir, "second-signature.golden")); err == nil {
		t.Fatal("written without --update")
	}
	for _, want := range []string{"written", "ok"} {
		serve(t)
		args := []string{"rules", "test", dir, "--rules", rulesName}
		if want == "written" {
			args = append(args, "--update")
		}
		if r := yizhan(t, "", args...); r.code != exitOK || !strings.Contains(r.out, "second-signature.json  "+want) {
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	}
	serve(t)
	if r := yizhan(t, "", "rules", "test", dir, "--rules", rulesName, "--at", "2026-11-23 12:00"); r.code != exitUsage {
		t.Errorf("--at with expected files: exit %d", r.code)
	}
	if r := yizhan(t, "", "rules", "test", filepath.Join(dir, "none"), "--rules", rulesName); r.code != exitUsage {
		t.Errorf("nothing there: exit %d", r.code)
	}
	wrong := filepath.Join(dir, "wrong.json")
	if err := os.WriteFile(wrong, []byte(`{"specversion":"1.0","id":"x","source":"/erp","type":"t","data":{"category":"alert","to":[{"phone":"1"}],"content":{"text":"x"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := yizhan(t, "", "rules", "test", dir, "--rules", rulesName, "--update"); r.code != exitOK {
		t.Errorf("an event that is refused can be expected: exit %d, %s", r.code, r.err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "wrong.golden")); err != nil || !strings.Contains(string(b), "refused: /data/to/0/phone phone\n") {
		t.Errorf("%s %v", b, err)
	}
}

func TestDiff(t *testing.T) {
	got := diff(strings.Split("a b c d e f g h", " "), strings.Split("a b c x e f g h i", " "))
	if s := strings.Join(got, ","); s != "  b,  c,- d,+ x,  e,  f,  g,  h,+ i" {
		t.Error(s)
	}
	if d := diff([]string{"a"}, []string{"a"}); len(d) != 0 {
		t.Error(d)
	}
}

func TestBilledParts(t *testing.T) {
	for _, tt := range []struct {
		signature string
		text      int
		want      int
	}{{"华星科技", 64, 1}, {"华星科技", 65, 2}, {"", 70, 1}, {"", 71, 2}, {"", 134, 2}, {"", 135, 3}, {"", 0, 0}} {
		if got := billedParts(rules.Input{Signature: tt.signature, Delivery: &schemas.Delivery{Message: schemas.Message{Text: strings.Repeat("字", tt.text)}}}); got != tt.want {
			t.Errorf("%q and %d: %d parts, want %d", tt.signature, tt.text, got, tt.want)
		}
	}
}
