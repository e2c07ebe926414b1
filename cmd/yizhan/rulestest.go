package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/schemas"
)

// goldenExt is the ending of the file that says what is expected of the event in the .json file beside it.
const goldenExt = ".golden"

// maxCases bounds one run: a folder with more is not one of cases.
const maxCases = 10_000

func rulesTestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("test [目录|文件…]", "test [DIR|FILE…]"),
		Short: tr("用预期结果检验规则：路由、通道、规则和文字是否与 .golden 文件一致", "Check the rules against expected results: routes, channels, guards and texts as the .golden files say"),
		Long: tr("每个用例是一个事件文件 name.json 和旁边的预期文件 name.golden。目录中的所有 .json 都是用例；默认为当前目录。\n"+
			"结果不同则显示差异，退出码为 1；--update 改写预期文件，请检查改动后再提交。\n"+
			"假定的时间写在预期文件的 at 一行；新用例取 --at，否则取事件的 time。\n只给一个没有预期文件的事件时，与 yizhan rules explain 相同。",
			"A case is an event, name.json, and what is expected of it, name.golden beside it. Every .json in a folder is a case;\n"+
				"default is the current folder. A difference is shown and ends in exit code 1; --update rewrites the expected files:\n"+
				"look at the change before you commit it. The time to pretend stands in the line at of the expected file; a new case\n"+
				"takes --at, or the event's own time. A single event without an expected file is explained, as by yizhan rules explain."),
		Example: "  yizhan rules test cases/ --rules rules.yaml\n  yizhan rules test cases/ --update\n  yizhan rules test event.json --at 2026-11-23T22:30:00+08:00",
	}
	f := newExplainFlags(cmd)
	update := cmd.Flags().Bool("update", false, tr("改写预期文件", "write the expected files"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			args = []string{"."}
		}
		files, err := caseFiles(args)
		if err != nil {
			return err
		}
		if len(args) == 1 && len(files) == 1 && files[0] == args[0] && !*update && !exists(goldenOf(files[0])) {
			event, err := readEvent(files[0])
			if err != nil {
				return err
			}
			return f.explain(cmd, event, time.Time{})
		}
		if *f.at != "" && !*update {
			return usageError("假定的时间写在预期文件的 at 一行", "the time to pretend stands in the line at of the expected file").
				withHint("加 --update 可改写，或用 yizhan rules explain", "--update rewrites it; or use yizhan rules explain")
		}
		r, err := openRules(cmd, *f.rules, *f.config)
		if err != nil {
			return err
		}
		return r.testAll(newUI(cmd), files, *f.at, *update)
	}
	return cmd
}

func goldenOf(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) + goldenExt }

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// caseFiles lists the events' files that the arguments name, each once. Hidden folders are left out.
func caseFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		err := filepath.WalkDir(arg, func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fileError(err)
			case e.IsDir() && name != arg && strings.HasPrefix(e.Name(), "."):
				return fs.SkipDir
			case !e.IsDir() && (name == arg || filepath.Ext(name) == ".json") && !slices.Contains(files, name):
				files = append(files, name)
			}
			if len(files) > maxCases {
				return problemError(fmt.Sprintf("超过 %d 个文件", maxCases), fmt.Sprintf("there are more than %d files", maxCases)).
					withHint("请逐个子目录运行", "run its folders one by one")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, usageError("没有找到事件文件（.json）", "there are no events' files (.json)")
	}
	return files, nil
}

// caseResult is what became of one case.
type caseResult struct {
	File   string   `json:"file"`
	Result string   `json:"result"`         // same, differs, new (no expected file), updated
	Diff   []string `json:"diff,omitempty"` // lines behind "- " (expected), "+ " (now) or "  "
}

// testAll runs every case.
func (r *rulesFile) testAll(u *ui, files []string, at string, update bool) error {
	out := struct {
		Cases []caseResult `json:"cases"`
		Bad   int          `json:"bad"` // differ, or have no expected file
	}{Cases: []caseResult{}}
	for _, file := range files {
		one, err := r.testCase(file, at, update)
		if err != nil {
			return err
		}
		if one.Result == "differs" || one.Result == "new" {
			out.Bad++
		}
		out.Cases = append(out.Cases, one)
	}
	if u.json {
		if err := u.printJSON(out); err != nil {
			return err
		}
	} else {
		for _, one := range out.Cases {
			one.print(u)
		}
		u.printf(tr("\n共 %d 个用例，%d 个不符\n", "\n%d cases, %d not as expected\n"), len(out.Cases), out.Bad)
	}
	if out.Bad > 0 {
		return errFound
	}
	return nil
}

var resultWords = map[string]struct {
	schemas.Text
	color
}{
	"same":    {schemas.Text{Zh: "一致", En: "ok"}, green},
	"differs": {schemas.Text{Zh: "不同", En: "differs"}, red},
	"new":     {schemas.Text{Zh: "没有预期文件，加 --update 生成", En: "no expected file; --update writes it"}, red},
	"updated": {schemas.Text{Zh: "已改写", En: "written"}, yellow},
}

func (c *caseResult) print(u *ui) {
	word := resultWords[c.Result]
	u.printf("%s  %s\n", clean(c.File), u.paint(word.color, say(word.Text)))
	for _, line := range c.Diff {
		color := plain
		switch line[0] {
		case '-':
			color = red
		case '+':
			color = green
		}
		u.printf("    %s\n", u.paint(color, clean(line)))
	}
}

// testCase runs one case and, with update, writes its expected file.
func (r *rulesFile) testCase(file, at string, update bool) (caseResult, error) {
	raw, err := readBounded(file)
	if err != nil {
		return caseResult{}, err
	}
	golden, result := goldenOf(file), caseResult{File: file}
	expected, err := readBounded(golden)
	known := err == nil
	if !known && exists(golden) {
		return result, err
	}
	if !known && !update {
		result.Result = "new"
		return result, nil
	}
	event, err := schemas.DecodeEvent(raw)
	bad, isBad := errors.AsType[*schemas.Invalid](err)
	got := ""
	switch {
	case isBad: // also a result that an owner may want to hold fast
		got = refusedGolden(bad)
	case err != nil:
		return result, problemError(file, file).because(err)
	default:
		now, err := caseTime(file, string(expected), at, event)
		if err != nil {
			return result, err
		}
		t, err := r.try(event, now)
		if err != nil {
			return result, err
		}
		got = t.golden()
	}
	want := strings.ReplaceAll(string(expected), "\r\n", "\n") // git on Windows may have changed them
	switch {
	case known && got == want:
		result.Result = "same"
	case update:
		result.Result = "updated"
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil { // for the repository
			return result, problemError("无法写入 "+golden, "cannot write "+golden).because(err)
		}
	default:
		result.Result = "differs"
		result.Diff = diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
	}
	return result, nil
}

const atLine = "at: "

// caseTime is the instant that a case pretends: of the command line, of its expected file, or the event's own.
func caseTime(file, expected, at string, e *schemas.Event) (time.Time, error) {
	if at != "" {
		return parseAt(at)
	}
	for line := range strings.Lines(expected) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), atLine); ok {
			t, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return t, problemError(goldenOf(file)+"：at 应为 2026-11-23T22:30:00+08:00", goldenOf(file)+": at must look like 2026-11-23T22:30:00+08:00")
			}
			return t, nil
		}
	}
	if e.Time.IsZero() {
		return e.Time, problemError(file+" 的事件没有 time", "the event of "+file+" has no time").
			withHint("在事件中写明 time，或用 --update --at 指定", "give the event one, or name one with --update --at")
	}
	return e.Time, nil
}

const goldenHead = "# yizhan rules test --update writes this file; only the time after at is yours to change.\n"

func refusedGolden(bad *schemas.Invalid) string {
	var b strings.Builder
	b.WriteString(goldenHead)
	for _, p := range bad.Problems {
		fmt.Fprintf(&b, "refused: %s %s\n", p.Pointer, p.Keyword)
	}
	return b.String()
}

// golden writes a trial down for comparing: the same in every language and zone, and silent about guards
// that have nothing to say, so that a new guard or a better wording of advice breaks no case.
func (t *trial) golden() string {
	var b strings.Builder
	stamp := func(at time.Time) string { return at.In(t.At.Location()).Format(time.RFC3339) }
	b.WriteString(goldenHead)
	fmt.Fprintf(&b, "%s%s\nevent: %s\nroute: %s\n", atLine, stamp(t.At), oneLine(t.Event), cmp.Or(t.Route, "-"))
	for _, p := range t.Problems {
		fmt.Fprintf(&b, "problem: %s\n", oneLine(p.En))
	}
	until := func(action string, at time.Time) string {
		if action == "hold" {
			action += " until " + stamp(at)
		}
		return action
	}
	for _, d := range t.Deliveries {
		fmt.Fprintf(&b, "\n%s to %s: %s\n", d.Channel, d.To, until(d.Action, d.Until))
		if d.Problem != nil {
			fmt.Fprintf(&b, "  problem: %s\n", oneLine(d.Problem.En))
		}
		for _, g := range d.Guards {
			if g.Action != "send" || len(g.Hits) > 0 {
				fmt.Fprintf(&b, "  guard %s: %s\n", g.Name, until(g.Action, g.Until))
			}
			for _, h := range g.Hits {
				fmt.Fprintf(&b, "    rule %s %s", h.Rule, h.Action)
				if h.Field != "" {
					fmt.Fprintf(&b, ", %s %d-%d %q", h.Field, h.Start, h.End, h.Text)
				}
				b.WriteByte('\n')
			}
		}
		for _, e := range d.Else {
			fmt.Fprintf(&b, "  else %s: %s\n", e.When, e.Channel)
		}
		writeMessage(&b, d.Message)
	}
	return b.String()
}

func writeMessage(b *strings.Builder, m *schemas.Message) {
	if m == nil {
		return
	}
	for _, f := range []struct{ name, value string }{
		{"signature", m.Signature}, {"code", m.Code}, {"subject", m.Subject}, {"text", m.Text}, {"html", m.HTML}, {"json", string(m.Payload)},
	} {
		if f.value == "" {
			continue
		}
		lines := strings.Split(strings.TrimRight(f.value, "\n"), "\n")
		fmt.Fprintf(b, "  %s: %s\n", f.name, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		fmt.Fprintf(b, "  param %s: %s\n", name, oneLine(m.Params[name]))
	}
}

// diffContext is how many lines that are the same stand around a difference.
const diffContext = 2

// diff compares lines: "- " expected only, "+ " got only, "  " the same. It is quadratic, and made for
// files of a screen or two; beyond maxDiff lines only their numbers are told.
func diff(want, got []string) []string {
	const maxDiff = 2000
	if len(want) > maxDiff || len(got) > maxDiff {
		return []string{fmt.Sprintf("- %d lines", len(want)), fmt.Sprintf("+ %d lines", len(got))}
	}
	// common[i][j] is the length of the longest common subsequence of want[i:] and got[j:].
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var all []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			all = append(all, "  "+want[i])
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			all = append(all, "- "+want[i])
			i++
		default:
			all = append(all, "+ "+got[j])
			j++
		}
	}
	var out []string
	for i, line := range all {
		near := all[max(0, i-diffContext):min(len(all), i+diffContext+1)]
		if slices.ContainsFunc(near, func(s string) bool { return s[0] != ' ' }) {
			out = append(out, line)
		}
	}
	return out
}
