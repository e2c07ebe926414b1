package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// linter is one call of `yizhan lint`: the rules, and what is known of the texts.
type linter struct {
	cmd       *cobra.Command
	book      *rules.Book
	rulesName string // --rules, "" when not given
	draft     rules.Draft
	lines     bool
	strict    bool
}

func lintCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("lint 文字|文件|目录|-", "lint TEXT|FILE|DIR|-"),
		Short: tr("按运营商规则检查短信文字：触发哪条规则、在哪里、怎么改", "Hold a text against the carriers' rules: which rule, where, what to write instead"),
		Long: tr(`检查一段文字、一个文件（.txt 为短信正文，.yaml 为规则文件中的模板）、一个目录下的所有此类文件，
或标准输入（-）。不连接服务器。默认使用当前目录的 rules.yaml；没有时使用内置规则。
退出码：0 通过，1 有内容被拦截（加 --strict 时待复核也算），2 用法错误。

--jsonl 从标准输入逐行读取 {"id","text","msg_class","signature"}，每行输出一个结果；每行都有结论时退出码为 0。`,
			`Checks a text, a file (.txt: the text of a message; .yaml: the templates of a rules file), all such files of a
folder, or standard input (-). No server is asked. The rules are those of ./rules.yaml, or the built-in ones.
Exit codes: 0 pass, 1 something is blocked (with --strict also: to be reviewed), 2 usage.

--jsonl reads lines {"id","text","msg_class","signature"} from standard input and writes one line for each; the
exit code is 0 when every line got its verdict.`),
		Example: "  yizhan lint \"您的账单已到期，请及时付款。\" --signature 华星科技\n  yizhan lint templates/ -o sarif > lint.sarif\n" +
			"  yizhan lint rules.yaml --lang zh\n  yizhan lint --jsonl < messages.jsonl > verdicts.jsonl",
		Annotations: map[string]string{alsoWrites: "sarif"},
	}
	f := cmd.Flags()
	signature := f.String("signature", "", tr("短信签名（`签名`），不带括号；不写则按正文自带的签名判断", "SMS `SIGNATURE` without brackets; without it, the text's own is judged"))
	provider := f.String("provider", "", tr("短信服务商（`aliyun|tencent|huawei`）", "SMS provider, `aliyun|tencent|huawei`"))
	class := f.String("class", "", tr("业务类型（`CLASS`）：", "`CLASS` of the message: ")+strings.Join(rules.Classes, ", "))
	category := f.String("category", "", tr("消息类别（`CATEGORY`）：", "`CATEGORY` of the message: ")+strings.Join(strs(schemas.Categories), ", "))
	name := f.String("rules", "", tr("规则文件（`FILE`），默认为 ./rules.yaml（如有），否则为内置规则", "rules `FILE`; default ./rules.yaml, or the built-in rules without one"))
	at := f.String("at", "", tr("假定的发送时间（`TIME`）；不写则不判断时段和有效期", "pretend to send at this `TIME`; without it hours and expiry are not judged"))
	lines := f.Bool("lines", false, tr("文本文件和标准输入中每行是一条消息", "each line of a text file or standard input is a message"))
	jsonl := f.Bool("jsonl", false, tr("标准输入和输出均为 JSON 行", "JSON lines in and out"))
	strict := f.Bool("strict", false, tr("待复核也以退出码 1 结束", "exit 1 also for what a person should review"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l := &linter{cmd: cmd, rulesName: *name, lines: *lines, strict: *strict, draft: rules.Draft{
			Kind: "sms", Signature: *signature, Provider: *provider, Class: *class, Category: schemas.Category(*category),
		}}
		if err := l.check(*at, len(args), *jsonl); err != nil {
			return err
		}
		var err error
		if l.book, err = l.defaultBook(); err != nil {
			return err
		}
		if *jsonl {
			return l.jsonl(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}
		texts, err := l.collect(args)
		if err != nil {
			return err
		}
		return l.show(texts)
	}
	return cmd
}

func strs[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// check holds the flags against what they may say.
func (l *linter) check(at string, args int, jsonl bool) error {
	oneOf := func(flag, value string, known []string) error {
		if value == "" || slices.Contains(known, value) {
			return nil
		}
		list := strings.Join(known, ", ")
		return usageError("--"+flag+" 只能是 "+list, "--"+flag+" must be one of "+list)
	}
	err := cmp.Or(oneOf("provider", l.draft.Provider, rules.Providers()), oneOf("class", l.draft.Class, rules.Classes), oneOf("category", string(l.draft.Category), strs(schemas.Categories)))
	if err != nil {
		return err
	}
	if at != "" {
		now, err := parseAt(at)
		if err != nil {
			return err
		}
		l.draft.Now = now
	}
	output, _ := l.cmd.Flags().GetString("output")
	switch {
	case jsonl && args > 0:
		return usageError("--jsonl 从标准输入读取，不接受文件或文字", "--jsonl reads standard input and takes no file or text")
	case jsonl && (output != "table" || l.lines):
		return usageError("--jsonl 不能与 -o 或 --lines 同用", "--jsonl goes with neither -o nor --lines")
	case !jsonl && args == 0:
		return usageError("缺少要检查的文字、文件或目录", "missing a text, a file or a folder to check")
	}
	return nil
}

// defaultBook is the rules of --rules, of ./rules.yaml, or the built-in ones.
func (l *linter) defaultBook() (*rules.Book, error) {
	name := l.rulesName
	if name == "" {
		if _, err := os.Stat(defaultRulesFile); err != nil {
			return rules.Load(nil, guardFactories(), reserverFactories(), rules.Env{})
		}
		name = defaultRulesFile
	}
	r, err := openRules(l.cmd, name, "")
	if err != nil {
		return nil, err
	}
	return r.book, nil
}

// lintedText is one text, what the guards say of it, and where it stands.
type lintedText struct {
	File     string `json:"file,omitzero"` // "" for a text that was an argument, "-" for standard input
	Line     int    `json:"line,omitzero"` // from 1, where the file holds several
	Template string `json:"template,omitzero"`
	For      string `json:"for,omitzero"`
	Channel  string `json:"channel,omitzero"`
	rules.Report
	message schemas.Message
	offset  int       // code points before the text in the file
	column  int       // of a template's section
	source  *fileText // the file's own text; nil for an argument
}

// fileText is what a file holds, shared by its texts.
type fileText struct{ text string }

func (l *linter) judge(file string, line int, text string) lintedText {
	d := l.draft
	d.Message.Text = text
	return lintedText{File: file, Line: line, message: d.Message, Report: l.book.Lint(d.Input())}
}

// lintOutput is `lint -o json`.
type lintOutput struct {
	Action string         `json:"action"` // the strongest of all
	Counts map[string]int `json:"counts"`
	Texts  []lintedText   `json:"texts"`
}

func (l *linter) show(texts []lintedText) error {
	out := lintOutput{Action: rules.ReportPass, Counts: map[string]int{}, Texts: texts}
	for i := range texts {
		out.Action = rules.Stronger(out.Action, texts[i].Action)
		out.Counts[texts[i].Action]++
		if texts[i].Hits == nil {
			texts[i].Hits = []schemas.Hit{}
		}
	}
	u := newUI(l.cmd)
	output, _ := l.cmd.Flags().GetString("output")
	var err error
	switch output {
	case "json":
		err = u.printJSON(out)
	case "sarif":
		err = u.printJSON(sarifOf(texts))
	default:
		u.linted(out)
	}
	if err == nil && (out.Action == rules.ReportBlock || l.strict && out.Action == rules.ReportReview) {
		err = errFound
	}
	return err
}

// linted prints the texts that have hits, and how many there were.
func (u *ui) linted(out lintOutput) {
	for i := range out.Texts {
		t := &out.Texts[i]
		if len(t.Hits) > 0 || len(out.Texts) == 1 {
			t.print(u)
		}
	}
	if len(out.Texts) > 1 {
		u.printf("%s\n", countLine(len(out.Texts), out.Counts))
	}
}

func countLine(n int, counts map[string]int) string {
	line := fmt.Sprintf(tr("共检查 %d 条：拦截 %d，待复核 %d，通过 %d", "%d texts: %d blocked, %d to review, %d pass"),
		n, counts[rules.ReportBlock], counts[rules.ReportReview], counts[rules.ReportPass])
	if held := counts[rules.ReportHold]; held > 0 {
		line += fmt.Sprintf(tr("，等待 %d", ", %d wait"), held)
	}
	return line
}

// title says where a text stands.
func (t *lintedText) title() string {
	var parts []string
	where := t.File
	if where == "-" {
		where = tr("标准输入", "standard input")
	}
	if where != "" {
		if t.Line > 0 {
			where += fmt.Sprintf(":%d", t.Line)
		}
		parts = append(parts, where)
	}
	if t.Template != "" {
		use := t.Template + " / " + t.For
		if t.Channel != "" && t.Channel != t.For {
			use += tr("（", " (") + t.Channel + tr("）", ")")
		}
		parts = append(parts, tr("模板 ", "template ")+use)
	}
	return strings.Join(parts, "  ")
}

func (t *lintedText) print(u *ui) {
	head := u.paint(reportColor(t.Action), say(reportWords[t.Action]))
	if title := t.title(); title != "" {
		head = u.paint(bold, clean(title)) + "  " + head
	}
	if t.Size != nil {
		head += fmt.Sprintf(tr("，%d 字，%d 条短信", ", %d characters, SMS parts: %d"), t.Size.Characters, t.Size.Parts)
	}
	u.printf("%s\n", head)
	var told advice
	for _, h := range bySeverity(t.Hits) {
		c := reportColor(h.Action)
		switch h.Field {
		case "text":
			u.mark(t.message.Text, h, c)
		case "subject":
			u.mark(t.message.Subject, h, c)
		case "html":
			u.mark(t.message.HTML, h, c)
		}
		u.printf("  %s %s\n", u.paint(c, say(reportWords[h.Action])), clean(oneLine(hitLine(h))))
		if s := told.of(h); s != "" {
			u.printf("  %s%s\n", tr("建议：", "advice: "), clean(oneLine(s)))
		}
		u.printf("\n")
	}
}

// bySeverity are the hits with those that block first, then those to review; of the same action as they stood.
func bySeverity(hits []schemas.Hit) []schemas.Hit {
	return slices.SortedStableFunc(slices.Values(hits), func(a, b schemas.Hit) int {
		switch {
		case a.Action == b.Action:
			return 0
		case rules.Stronger(a.Action, b.Action) == a.Action:
			return -1
		}
		return 1
	})
}

// readText reads a text of at most maxRulesFile bytes.
func readText(name string, in io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxRulesFile+1))
	switch {
	case err != nil:
		return "", problemError("读取失败："+name, "cannot read "+name).because(err)
	case len(b) > maxRulesFile:
		return "", problemError(name+" 超过 4 MiB", name+" is larger than 4 MiB")
	case !utf8.Valid(b):
		return "", problemError(name+" 不是 UTF-8 编码", name+" is not UTF-8").withHint("请另存为 UTF-8（GBK 文件可用 iconv -f GBK -t UTF-8 转换）", "save it as UTF-8; iconv -f GBK -t UTF-8 converts GBK")
	}
	return string(b), nil
}
