package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/content/score"
)

// Bounds of what a model is learned from: it is held in memory.
const (
	maxTrainLines = 1_000_000
	maxTrainBytes = 512 << 20 // of all files together
)

// maxFalsePositives bounds the flag: more than this and a review means nothing.
const maxFalsePositives = 10 // percent

func rulesTrainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("train --out 模型 数据.jsonl...", "train --out FILE DATA.jsonl..."),
		Short: tr("用自有的标注消息训练评分模型，供 guards.content.score 使用", "Learn a score from labelled messages of your own, for guards.content.score"),
		Long: tr(`从标注消息训练评分模型。每行一个 JSON 对象：{"text":"…","rules":["5"]}，rules 为违反的规则编号（1–8、11、x），
合规消息写 []；也接受 "cats"（同 rules）和 "label":"ham"（合规）。其他字段忽略。
模型只会把消息标为待复核，从不单独拦截。报告中的数字来自模型未学习过的消息。相同的数据和 --seed 得到相同的模型。`,
			`Learns a score from labelled messages, a JSON object a line: {"text":"…","rules":["5"]}, where rules are the ids of
the rules that it breaks (1-8, 11, x), [] for a clean message. "cats" is taken as rules, and "label":"ham" as clean;
other members are ignored. The model may send messages to review and never blocks one. The figures of the report are
of messages that were not learned from. The same data and --seed give the same model.`),
		Example: "  yizhan rules train --out score.bin messages.jsonl\n  yizhan rules train --out score.bin --false-positives 0.05% a.jsonl b.jsonl",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("缺少标注消息的文件", "missing the files of labelled messages")
			}
			return nil
		},
	}
	f := cmd.Flags()
	out := f.String("out", "", tr("写入模型的文件（`FILE`）", "`FILE` to write the model to"))
	share := f.String("false-positives", "0.1%", tr("合规消息中允许进入复核的比例（`比例`）", "`SHARE` of clean messages that may be sent to review"))
	seed := f.Uint64("seed", 1, tr("学习顺序的随机种子（`N`）", "seed `N` of the order of learning"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *out == "" {
			return usageError("须用 --out 指定模型文件", "name the file of the model with --out")
		}
		allowed, err := parseShare(*share)
		if err != nil {
			return err
		}
		t := &training{u: newUI(cmd), started: time.Now(), File: *out, FalsePositives: allowed, Unknown: map[string]int{}}
		return t.run(cmd.Context(), args, *seed)
	}
	return cmd
}

// parseShare reads --false-positives, a percentage; the result is a share of 1.
func parseShare(s string) (float64, error) {
	share, ok := percent(strings.TrimSpace(s))
	if !ok || share == 0 || share > maxFalsePositives {
		return 0, usageError("--false-positives 须为大于 0%、不超过 10% 的百分数，例如 0.1%", "--false-positives must be a percentage above 0% and at most 10%, such as 0.1%")
	}
	return share / 100, nil
}

// training is one run; its exported fields are `-o json`.
type training struct {
	u        *ui
	started  time.Time
	bar      *progress
	examples []score.Example

	File           string         `json:"file"`
	Size           int            `json:"size"`            // of the file, bytes
	Texts          int            `json:"texts"`           // learned from
	Skipped        int            `json:"skipped"`         // lines whose rules are all unknown
	Unknown        map[string]int `json:"unknown"`         // rule ids that are none, and how often
	FalsePositives float64        `json:"false_positives"` // share that was allowed
	Share          float64        `json:"reviewed_share"`  // share of clean messages sent to review
	Seconds        float64        `json:"seconds"`
	*score.Report
	Figures []trainedRule `json:"rules"`
}

// trainedRule is a rule's report with its shares.
type trainedRule struct {
	score.RuleReport
	Recall    float64 `json:"recall"`
	Precision float64 `json:"precision"`
}

func (t *training) run(ctx context.Context, files []string, seed uint64) error {
	t.bar = t.u.progress()
	defer t.bar.clear()
	left := int64(maxTrainBytes)
	for _, name := range files {
		size, err := t.read(ctx, name, left)
		if err != nil {
			return err
		}
		left -= size
	}
	model, report, err := score.Train(ctx, t.examples, score.Options{Seed: seed, FalsePositives: t.FalsePositives, Progress: func(done, total int) {
		t.bar.set(int64(done), int64(total), tr("学习中", "learning"))
	}})
	if wrong, ok := errors.AsType[*score.Error](err); ok {
		return problemError(wrong.Zh, wrong.En)
	} else if err != nil {
		return err
	}
	b := model.Encode()
	if err := replaceFile(t.File, b); err != nil {
		return problemError("无法写入模型", "the model cannot be written").because(err)
	}
	t.bar.clear()
	t.Size, t.Texts, t.Report = len(b), len(t.examples), report
	t.Share = float64(report.Reviewed) / float64(report.Clean)
	for _, r := range report.Rules {
		t.Figures = append(t.Figures, trainedRule{r, r.Recall(), r.Precision()})
	}
	t.Seconds = time.Since(t.started).Seconds()
	if t.u.json {
		return t.u.printJSON(t)
	}
	t.print()
	return nil
}

// read takes in the examples of a file of at most so many bytes, and says how many it had.
func (t *training) read(ctx context.Context, name string, most int64) (int64, error) {
	f, err := openFile(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines, size := bufio.NewReaderSize(f, maxJSONLine+1), int64(0)
	for n := 1; ; n++ {
		raw, err := lines.ReadSlice('\n')
		size += int64(len(raw))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return 0, lineError(name, n, lineTooLong.Zh, lineTooLong.En)
		case err != nil && !errors.Is(err, io.EOF):
			return 0, problemError("读取失败："+name, "cannot read "+name).because(err)
		case size > most:
			return 0, problemError("标注消息总计超过 512 MiB", "the labelled messages are more than 512 MiB")
		case len(t.examples) >= maxTrainLines:
			return 0, problemError("标注消息超过 100 万条", "there are more than a million labelled messages")
		}
		if raw = bytes.TrimSpace(raw); len(raw) > 0 {
			e, unknown, ok, err := score.Parse(raw)
			if wrong, bad := errors.AsType[*score.Error](err); bad {
				return 0, lineError(name, n, wrong.Zh, wrong.En)
			}
			for _, id := range unknown {
				t.Unknown[id]++
			}
			if ok {
				t.examples = append(t.examples, e)
			} else {
				t.Skipped++
			}
		}
		if err != nil {
			return size, nil
		}
		if n%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			t.bar.set(size, f.size, fmt.Sprintf(tr("读取 %s", "reading %s"), name))
		}
	}
}

func lineError(name string, n int, zh, en string) error {
	return problemError(fmt.Sprintf("%s 第 %d 行：%s", name, n, zh), fmt.Sprintf("%s, line %d: %s", name, n, en))
}

// replaceFile writes a file whole or not at all: a running service may read it at any time.
func replaceFile(name string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err = cmp.Or(err, f.Chmod(0o644), f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (t *training) print() {
	shown := func(r score.RuleReport, share float64) string {
		if !r.Learned {
			return "-"
		}
		return fmt.Sprintf("%.1f%%", 100*share)
	}
	table := newTable(tr("规则", "RULE"), tr("样例", "EXAMPLES"), tr("召回率", "RECALL"), tr("精确率", "PRECISION"), tr("合规消息被复核", "CLEAN REVIEWED"))
	table.numbers = true
	for _, r := range t.Figures {
		table.add(say(rules.RuleName(r.Rule)), r.Examples, shown(r.RuleReport, r.Recall), shown(r.RuleReport, r.Precision), r.RuleReport.Reviewed)
	}
	table.print(t.u, "")
	t.u.printf(tr("\n共学习 %s 条消息，其中合规 %s 条；对没有学习过的消息，合规而被复核的有 %d 条（%.2f%%，上限 %.2f%%）\n",
		"\n%s messages learned from, %s of them clean; sent to review without having been learned from: %d of the clean ones (%.2f%%, at most %.2f%%)\n"),
		thousands(t.Texts), thousands(t.Clean), t.Reviewed, 100*t.Share, 100*t.FalsePositives)
	var few []string
	for _, r := range t.Figures {
		if !r.Learned {
			few = append(few, r.Rule)
		}
	}
	if len(few) > 0 {
		t.u.printf(tr("样例不足 10 条、未学习的规则：%s\n", "rules with fewer than 10 examples, not learned: %s\n"), strings.Join(few, ", "))
	}
	if len(t.Unknown) > 0 {
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(t.Unknown)) {
			ids = append(ids, fmt.Sprintf("%s (%d)", id, t.Unknown[id]))
		}
		t.u.printf(tr("未知的规则编号已忽略：%s；因此跳过 %s 行\n", "unknown rule ids were left out: %s; lines skipped for it: %s\n"), clean(clip(strings.Join(ids, ", "), contextWidth)), thousands(t.Skipped))
	}
	t.u.printf(tr("%s 已写入，%d KiB，用时 %.1f 秒\n", "%s written, %d KiB, in %.1f s\n"), t.File, t.Size>>10, t.Seconds)
}
