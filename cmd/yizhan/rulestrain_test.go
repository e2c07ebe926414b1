package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// labelled are messages to learn from: rule 4 without a term of the lexicons, and clean ones.
func labelled() string {
	var b strings.Builder
	for i, first := range []string{"松石岛夜里开船，", "松石岛傍晚开船，", "松石岛清早开船，", "采购单待您审批，", "会议改到下午三点，", "设备已完成保养，"} {
		for _, last := range []string{"请准时", "谢谢", "明天见", "辛苦了", "祝顺利"} {
			label := `"cats":["4","x_other"],"label":"spam"`
			if i >= 3 {
				label = `"label":"ham"`
			}
			fmt.Fprintf(&b, "{\"text\":\"%s%s\",%s}\n", first, last, label)
		}
	}
	b.WriteString("\n" + `{"text":"别的内容","rules":["x_other"]}` + "\n" + `{"text":"船票已寄出，请查收","rules":["3"]}` + "\n")
	return b.String()
}

// TestRulesTrain: a model is learned, told about in both languages, and used by lint to send messages to review.
func TestRulesTrain(t *testing.T) {
	dir := t.TempDir()
	data, model := filepath.Join(dir, "data.jsonl"), filepath.Join(dir, "score.bin")
	if err := os.WriteFile(data, []byte(labelled()), 0o600); err != nil {
		t.Fatal(err)
	}
	seconds := regexp.MustCompile(`[0-9.]+( s| 秒)`)
	for _, l := range []string{"zh", "en"} {
		serve(t)
		r := yizhan(t, "", "rules", "train", "--out", model, "--false-positives", "5%", data, "--lang", l)
		r.out = seconds.ReplaceAllString(r.out, "0.1$1")
		golden(t, "rules-train-"+l, r, []string{"rules", "train", "--out", "score.bin", "--false-positives", "5%", "data.jsonl", "--lang", l}, dir+string(filepath.Separator), "")
	}
	first, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	r := yizhan(t, "", "rules", "train", "--out", model, "--false-positives", "5%", data, "-o", "json")
	var got struct {
		File    string         `json:"file"`
		Size    int            `json:"size"`
		Texts   int            `json:"texts"`
		Clean   int            `json:"clean"`
		Skipped int            `json:"skipped"`
		Unknown map[string]int `json:"unknown"`
		Share   float64        `json:"reviewed_share"`
		Rules   []struct {
			Rule      string  `json:"rule"`
			Examples  int     `json:"examples"`
			Recall    float64 `json:"recall"`
			Precision float64 `json:"precision"`
			Learned   bool    `json:"learned"`
		} `json:"rules"`
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, %v: %s%s", r.code, err, r.out, r.err)
	}
	if got.Texts != 31 || got.Clean != 15 || got.Skipped != 1 || got.Unknown["x_other"] != 16 || got.Share > 0 || got.Size != len(first) || got.File != model {
		t.Errorf("%+v", got)
	}
	if one := got.Rules[3]; one.Rule != "4" || one.Examples != 15 || !one.Learned || one.Recall < 0.9 || one.Precision < 0.9 {
		t.Errorf("%+v", one)
	}
	if again, err := os.ReadFile(model); err != nil || string(again) != string(first) {
		t.Errorf("the same data gave another model (%v)", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("%v is left over, %v", left, err)
	}

	name := filepath.Join(dir, "rules.yaml")
	for config, want := range map[string]string{
		"guards: {content: }":                                     "pass",
		"guards: {content: {score: score.bin}}":                   "review",
		"guards: {content: {score: score.bin, review: suppress}}": "review",
		"guards: {content: {score: score.bin, gambling: pass}}":   "pass",
	} {
		if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		r := yizhan(t, "", "lint", "松石岛明早开船，请准时", "--rules", name, "--signature", "华星科技")
		if r.code != exitOK || !strings.HasPrefix(r.out, want) || (want == "review") != strings.Contains(r.out, "the message as a whole resembles") {
			t.Errorf("%s: exit %d, %s%s; want %s", config, r.code, r.out, r.err, want)
		}
	}
	// A changed model is taken like a changed lexicon.
	if err := os.WriteFile(name, []byte("guards: {content: {score: score.bin}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := openRulesWith(name, "", nil); err != nil || !slices.Equal(r.book.Files(), []string{"score.bin"}) {
		t.Errorf("the files to watch are %v, %v", r.book.Files(), err)
	}
}

// TestRulesTrainMistakes: each names the line and the field, in both languages, and leaves no model.
func TestRulesTrainMistakes(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "score.bin")
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("good.jsonl", labelled())
	const ok = `{"text":"a","rules":[]}` + "\n"
	for _, tt := range []struct {
		args   []string
		code   int
		en, zh string
	}{
		{[]string{"--out", model, write("kind.jsonl", ok+`{"text":"a","rules":"5"}`)}, exitProblem, "kind.jsonl, line 2: rules has the wrong type", "kind.jsonl 第 2 行：字段 rules"},
		{[]string{"--out", model, write("text.jsonl", ok+"\n"+`{"rules":[]}`)}, exitProblem, "line 3: text (a string) is missing", "第 3 行：缺少 text"},
		{[]string{"--out", model, write("json.jsonl", "x")}, exitProblem, "line 1: not a JSON object", "第 1 行：不是 JSON 对象"},
		{[]string{"--out", model, write("long.jsonl", ok+strings.Repeat("x", maxJSONLine+2))}, exitProblem, "line 2: the line is longer than 1 MiB", "第 2 行：该行超过 1 MiB"},
		{[]string{"--out", model, write("few.jsonl", ok)}, exitProblem, "needs at least 10 examples", "至少需要 10 条样例"},
		{[]string{"--out", model, write("none.jsonl", "")}, exitProblem, "there are no clean messages", "没有合规消息"},
		{[]string{"--out", filepath.Join(dir, "absent", "score.bin"), good}, exitProblem, "the model cannot be written", "无法写入模型"},
		{[]string{"--out", model, filepath.Join(dir, "absent.jsonl")}, exitUsage, "cannot open the file", "无法打开文件"},
		{[]string{"--out", model}, exitUsage, "missing the files", "缺少标注消息"},
		{[]string{good}, exitUsage, "--out", "--out"},
		{[]string{"--out", model, good, "--false-positives", "0.1"}, exitUsage, "--false-positives must be", "--false-positives 须为"},
		{[]string{"--out", model, good, "--false-positives", "11%"}, exitUsage, "--false-positives must be", "--false-positives 须为"},
		{[]string{"--out", model, good, "--false-positives", "NaN%"}, exitUsage, "--false-positives must be", "--false-positives 须为"},
	} {
		for l, want := range map[string]string{"en": tt.en, "zh": tt.zh} {
			serve(t)
			r := yizhan(t, "", append([]string{"rules", "train", "--lang", l}, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.err, want) {
				t.Errorf("%v: exit %d, %s; want exit %d and %q", tt.args, r.code, r.err, tt.code, want)
			}
		}
	}
	if _, err := os.Stat(model); err == nil {
		t.Error("there is a model all the same")
	}
}
