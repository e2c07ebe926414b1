package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

func lintFile(name string) string { return filepath.Join("testdata", "lint", name) }

// TestLintGolden: what a rule owner reads, in both languages.
func TestLintGolden(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		args []string
		code int
	}{
		{"pass", "", []string{"您的账单已到期，请及时付款。", "--signature", "华星科技"}, exitOK},
		{"block", "", []string{"您的订单【星河】已发货", "--signature", "华星科技！"}, exitProblem},
		{"stdin", "【云栈】入库单已审核\n\n【云栈】出库单已审核【星河】\n", []string{"-", "--lines"}, exitProblem},
		{"folder", "", []string{lintFile("texts"), "--lines"}, exitProblem},
		{"no-such-file", "", []string{"absent.txt"}, exitUsage},
		{"wrong-class", "", []string{"x", "--class", "invoices"}, exitUsage},
		{"night", "", []string{"上新通知", "--category", "marketing", "--at", "2026-11-23T23:00:00+08:00"}, exitOK},
	} {
		for _, l := range []string{"zh", "en"} {
			serve(t)
			args := append([]string{"lint"}, append(tt.args, "--lang", l)...)
			r := yizhan(t, tt.in, args...)
			golden(t, "lint-"+tt.name+"-"+l, r, args)
			if r.code != tt.code {
				t.Errorf("%s: exit %d, want %d", tt.name, r.code, tt.code)
			}
		}
	}
}

// everything is a text with hits that use every member, as a content rule would report them.
func everything() []lintedText {
	text := "您好，" + strings.Repeat("无", 40) + "抵押贷\u200b款当天到账\nvx同号：abc 详询"
	at := func(s string) (start, end int) {
		before, _, _ := strings.Cut(text, s)
		start = utf8.RuneCountInString(before)
		return start, start + utf8.RuneCountInString(s)
	}
	one, two := schemas.Hit{
		Rule: "5", Action: "block", Field: "text", Text: "贷\u200b款", Term: "贷款", Via: "hidden", Cue: "抵押", Origin: "params/remark",
		Advice: schemas.Text{Zh: "删除贷款内容", En: "take the loan out"},
	}, schemas.Hit{Rule: "2", Action: "review", Field: "text", Text: "vx", Term: "微信", Via: "alias", Origin: "template"}
	one.Start, one.End = at(one.Text)
	two.Start, two.End = at(two.Text)
	three := schemas.Hit{Rule: "unsubscribe", Action: "review", Advice: schemas.Text{Zh: "末尾加“拒收请回复R”", En: "end it with 拒收请回复R"}}
	return []lintedText{{
		File: "a 1.txt", message: schemas.Message{Text: text}, source: &fileText{"\ufeff" + text}, offset: 1,
		Report: rules.Report{Action: "block", Hits: []schemas.Hit{one, two, three}, Size: &rules.Size{Characters: 66, Parts: 1}},
	}}
}

// TestLintTellsAll: every member of a hit reaches the reader, and the carets stand under the match,
// also behind wide characters and with characters of no width in it.
func TestLintTellsAll(t *testing.T) {
	defer func(l string) { lang = l }(lang)
	for _, lang = range []string{"zh", "en"} {
		var out bytes.Buffer
		texts := everything()
		texts[0].print(&ui{out: &out})
		golden(t, "lint-everything-"+lang, result{out: out.String()}, nil)
		lines := strings.Split(out.String(), "\n")
		for i, line := range lines {
			if carets := strings.TrimLeft(line, " "); carets != "" && strings.Trim(carets, "^") == "" {
				match := []string{"贷\u200b款", "vx"}
				shown := lines[i-1]
				before, _, ok := strings.Cut(shown, match[0])
				width := columns(match[0])
				if !ok {
					before, _, ok = strings.Cut(shown, match[1])
					width = columns(match[1])
				}
				if !ok || columns(before) != len(line)-len(carets) || len(carets) != width {
					t.Errorf("the carets stand wrong:\n%s\n%s", shown, line)
				}
			}
		}
	}
}

// TestLintTellsTheWorstFirst: what blocks stands before what to review, each in the order of the message.
func TestLintTellsTheWorstFirst(t *testing.T) {
	var hits []schemas.Hit
	for i, action := range []string{"hold", "review", "block", "review", "block"} {
		hits = append(hits, schemas.Hit{Rule: fmt.Sprint("r", i), Action: action})
	}
	var out bytes.Buffer
	(&lintedText{Report: rules.Report{Action: "block", Hits: hits}}).print(&ui{out: &out})
	if got := strings.Join(regexp.MustCompile(`r\d`).FindAllString(out.String(), -1), " "); got != "r2 r4 r1 r3 r0" {
		t.Errorf("%s\n%s", got, out.String())
	}
	if hits[0].Rule != "r0" {
		t.Error("the hits themselves are sorted")
	}
}

// TestSARIF: the log has the shape that code scanning reads (SARIF 2.1.0 §3), and every region covers
// what was matched in the file.
func TestSARIF(t *testing.T) {
	serve(t)
	args := []string{"lint", lintFile("texts"), "--lines", "-o", "sarif"}
	r := yizhan(t, "", args...)
	if r.code != exitProblem {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string `json:"name"`
					Rules []struct {
						ID               string            `json:"id"`
						ShortDescription map[string]string `json:"shortDescription"`
						Properties       schemas.Text      `json:"properties"`
					} `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			ColumnKind string `json:"columnKind"`
			Results    []struct {
				RuleID    string            `json:"ruleId"`
				RuleIndex int               `json:"ruleIndex"`
				Level     string            `json:"level"`
				Message   map[string]string `json:"message"`
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation map[string]string `json:"artifactLocation"`
						Region           struct {
							StartLine   int               `json:"startLine"`
							StartColumn int               `json:"startColumn"`
							EndLine     int               `json:"endLine"`
							EndColumn   int               `json:"endColumn"`
							CharOffset  int               `json:"charOffset"`
							CharLength  int               `json:"charLength"`
							Snippet     map[string]string `json:"snippet"`
						} `json:"region"`
					} `json:"physicalLocation"`
				} `json:"locations"`
			} `json:"results"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(r.out), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 || log.Runs[0].ColumnKind != "unicodeCodePoints" {
		t.Fatalf("%+v", log)
	}
	run := log.Runs[0]
	for i, rule := range run.Tool.Driver.Rules {
		if rule.ID == "" || rule.ShortDescription["text"] == "" || rule.Properties.Zh == "" || rule.Properties.En == "" {
			t.Errorf("rule %d: %+v", i, rule)
		}
	}
	if run.Tool.Driver.Name != "yizhan" || len(run.Results) < 4 {
		t.Fatalf("%+v", run)
	}
	files := map[string]bool{}
	for _, res := range run.Results {
		if run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID || res.Message["text"] == "" || len(res.Locations) != 1 {
			t.Errorf("%+v", res)
		}
		if res.RuleID != "9" { // about the message as a whole
			continue
		}
		at := res.Locations[0].PhysicalLocation
		uri := at.ArtifactLocation["uri"]
		files[uri] = true
		b, err := os.ReadFile(filepath.FromSlash(uri))
		if err != nil {
			t.Fatal(err)
		}
		runes, g := []rune(string(b)), at.Region
		if got := string(runes[g.CharOffset : g.CharOffset+g.CharLength]); got == "" || got != g.Snippet["text"] {
			t.Errorf("%s: the offsets cover %q, the snippet %q", uri, got, g.Snippet["text"])
		}
		line := []rune(strings.Split(string(b), "\n")[g.StartLine-1])
		if got := string(line[g.StartColumn-1 : g.EndColumn-1]); g.EndLine != g.StartLine || got != g.Snippet["text"] {
			t.Errorf("%s: the columns cover %q, the snippet %q", uri, got, g.Snippet["text"])
		}
	}
	if len(files) != 3 {
		t.Errorf("results are about %v", files)
	}
}

func TestSARIFOfEverything(t *testing.T) {
	log := sarifOf(everything())
	for i, want := range []struct {
		level           string
		line, column, n int
	}{{"error", 1, 46 + 1, 3}, {"warning", 2, 1, 2}, {"warning", 1, 2, 0}} {
		r := log.Runs[0].Results[i]
		at := r.Locations[0].PhysicalLocation
		if r.Level != want.level || at.Region.StartLine != want.line || at.Region.StartColumn != want.column || *at.Region.CharLength != want.n || at.ArtifactLocation.URI != "a%201.txt" {
			t.Errorf("%d: %s %+v at %+v", i, r.Level, at.ArtifactLocation, at.Region)
		}
	}
}

func TestOutputFormats(t *testing.T) {
	serve(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"rules", "check", "-o", "sarif"}, "-o must be table or json"},
		{[]string{"lint", "x", "-o", "xml"}, "-o must be table, json or sarif"},
		{[]string{"lint"}, "missing a text"},
		{[]string{"lint", "--jsonl", "x"}, "takes no file or text"},
		{[]string{"lint", "--jsonl", "-o", "json"}, "neither -o nor --lines"},
		{[]string{"lint", "x", "--provider", "aliyn"}, "must be one of aliyun"},
		{[]string{"lint", "./texts"}, "cannot open the file"},
	} {
		if r := yizhan(t, "", tt.args...); r.code != exitUsage || !strings.Contains(r.err, tt.want) {
			t.Errorf("%v: exit %d, %s", tt.args, r.code, r.err)
		}
	}
}

func TestLintInJSON(t *testing.T) {
	serve(t)
	r := yizhan(t, "", "lint", "您的【星河】", "好", "-o", "json", "--signature", "华星")
	var out lintOutput
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatal(err)
	}
	if r.code != exitProblem || out.Action != "block" || out.Counts["block"] != 1 || out.Counts["pass"] != 1 || len(out.Texts) != 2 || out.Texts[1].Hits == nil {
		t.Errorf("exit %d, %s", r.code, r.out)
	}
	if h := out.Texts[0].Hits[0]; h.Rule != "9" || h.Start != 2 || h.End != 6 || h.Advice.Zh == "" {
		t.Errorf("%+v", h)
	}
}

// TestLintRefusesOtherEncodings: a GBK file judged as it is would pass unread.
func TestLintRefusesOtherEncodings(t *testing.T) {
	serve(t)
	file := filepath.Join(t.TempDir(), "gbk.txt")
	if err := os.WriteFile(file, []byte("\xb4\xfb\xbf\xee"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := yizhan(t, "", "lint", file); r.code != exitProblem || !strings.Contains(r.err, "is not UTF-8") {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
}

// TestJSONL: one line out for each line in, in order, whatever else stands in it; what cannot be read says
// where and why, and costs no other line.
func TestJSONL(t *testing.T) {
	serve(t)
	in := strings.Join([]string{
		`{"id":"a","text":"【云栈】您好","category":"5","label":"spam"}`,
		`{"id":7,"text":"您好【星河】到期","msg_class":"invoice","signature":"云栈"}`,
		``,
		`{"id":"b","text":"x","msg_class":"structural"}`,
		`not json`,
		`{"id":"c"}`,
		`{"text":"x"}`,
		`{"id":"d","text":"` + strings.Repeat("长", 1<<20/3) + `"}`,
		`{"id":"e","text":"𝐐【星】河"}`,
	}, "\n")
	r := yizhan(t, in, "lint", "--jsonl")
	golden(t, "lint-jsonl", result{code: r.code, out: r.out, err: r.err}, []string{"lint", "--jsonl"})
	if r.code != exitProblem {
		t.Errorf("exit %d", r.code)
	}
}

// TestJSONLKeepsOrder: many batches are judged side by side and written as they came.
func TestJSONLKeepsOrder(t *testing.T) {
	serve(t)
	const n = 20_000
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, `{"id":%d,"text":"您的账单已到期"}`+"\n", i)
	}
	r := yizhan(t, in.String(), "lint", "--jsonl")
	i := 0
	for line := range strings.SplitSeq(strings.TrimSpace(r.out), "\n") {
		if !strings.HasPrefix(line, fmt.Sprintf(`{"id":%d,`, i)) {
			t.Fatalf("line %d is %s", i, line)
		}
		i++
	}
	if i != n || r.code != exitOK {
		t.Errorf("%d lines, exit %d", i, r.code)
	}
}

// TestJSONLAnswersAtOnce: a line is answered before the next one comes, so that a program can ask
// line by line.
func TestJSONLAnswersAtOnce(t *testing.T) {
	serve(t)
	l := &linter{draft: rules.Draft{Kind: "sms"}}
	var err error
	if l.book, err = l.defaultBook(); err != nil {
		t.Fatal(err)
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- l.jsonl(context.Background(), inR, outW)
		outW.Close()
	}()
	answers := bufio.NewScanner(outR)
	for i := range 3 {
		if _, err := fmt.Fprintf(inW, `{"id":%d,"text":"您好"}`+"\n", i); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() || !strings.HasPrefix(answers.Text(), fmt.Sprintf(`{"id":%d,"action":`, i)) {
			t.Fatalf("answer %d: %s", i, answers.Text())
		}
	}
	inW.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func FuzzJSONLine(f *testing.F) {
	for _, s := range []string{`{"id":"a","text":"【云栈】您好"}`, `{"id":1,"text":"","signature":"\u200b"}`, `[]`, `{"id":null,"text":"x"}`, "\xff"} {
		f.Add([]byte(s))
	}
	l := &linter{draft: rules.Draft{Kind: "sms"}}
	book, err := rules.Load(nil, guardFactories(), reserverFactories(), rules.Env{})
	if err != nil {
		f.Fatal(err)
	}
	l.book = book
	f.Fuzz(func(t *testing.T, line []byte) {
		j := judgeBatch(&lineBatch{first: 1, lines: [][]byte{line}}, func(raw []byte) (any, *schemas.Text) { return l.judgeLine(raw) })
		if len(j.text) == 0 {
			return // a blank line
		}
		var out struct {
			Hits []lineHit `json:"hits"`
		}
		if err := json.Unmarshal(j.text, &out); err != nil {
			t.Fatalf("%s: %v", j.text, err)
		}
		var in textLine
		if json.Unmarshal(line, &in) != nil || in.Text == nil {
			return
		}
		for _, h := range out.Hits {
			if n := utf8.RuneCountInString(*in.Text); h.Field == "text" && (h.Start < 0 || h.End > n || h.Start > h.End) {
				t.Fatalf("%+v is outside of %d characters", h, n)
			}
		}
	})
}

func BenchmarkJSONL(b *testing.B) {
	book, err := rules.Load(nil, guardFactories(), reserverFactories(), rules.Env{})
	if err != nil {
		b.Fatal(err)
	}
	l := &linter{draft: rules.Draft{Kind: "sms"}, book: book}
	in := strings.Repeat(`{"id":"a","text":"【云栈】华星贸易，您的账单将于11月30日到期，请及时付款。"}`+"\n", 10_000)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if err := l.jsonl(context.Background(), strings.NewReader(in), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "lines/s")
}

// TestSARIFKeepsMasks: what a hit masks or leaves out does not come back as a snippet; and the index finds places.
func TestSARIFKeepsMasks(t *testing.T) {
	text := &lintedText{message: schemas.Message{Text: "一\n见t.cn/secret"}}
	ix := indexText(text.message.Text)
	for masked, snippet := range map[string]bool{"": false, "t.cn/***": false, "t.cn/secret": true} {
		r := text.region(ix, schemas.Hit{Field: "text", Start: 3, End: 14, Text: masked})
		if (r.Snippet != nil) != snippet || r.StartLine != 2 || r.StartColumn != 2 || r.EndLine != 2 || r.EndColumn != 13 {
			t.Errorf("%q: %+v", masked, r)
		}
	}
}

func TestNamesFile(t *testing.T) {
	for arg, want := range map[string]bool{
		"templatez/": true, "短信模板.txt": true, "templates/sms.html": true, "./a": true, "rules.yaml": true, `a\b.TXT`: true,
		"您的订单/运单已发货。": false, "您的账单已到期": false, "https://t.cn/a1": false, "pay 10/month now": false, "【云栈】已发货": false,
	} {
		if namesFile(arg) != want {
			t.Errorf("%q: %v, want %v", arg, !want, want)
		}
	}
	if r := yizhan(t, "", "lint", "templatez/"); r.code != exitUsage {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

// TestBrokenYAMLInAFolder: a file that cannot be read is told, not left out.
func TestBrokenYAMLInAFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("templates:\n  a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := yizhan(t, "", "lint", dir); r.code != exitProblem || !strings.Contains(r.err, "bad.yaml") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}
