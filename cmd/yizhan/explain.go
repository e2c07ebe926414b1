package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/schemas"
)

const maxExplainLine = 64 << 10 // bytes of a line of text

func explainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("explain [通道] 代码或原文", "explain [CHANNEL] CODE-or-LINE"),
		Short: tr("解释第三方返回的错误：原因、由谁处理、怎么办", "Explain what a third party answered: cause, whose job, what now"),
		Long: tr(`解释一个错误码或一行原文：SMTP 答复、短信平台错误码与回执、机器人 errcode、HTTP 状态、各种语言的网络与证书异常。
不连接服务器。“通道”可以是 email、sms、webhook、bot、dispatcher 或服务商名；不写则按原文判断。
--file 逐行解释一个文件（- 为标准输入）。退出码：0 全部认识，1 有不认识的，2 用法错误。

--jsonl 从标准输入逐行读取 {"id","channel","provider","line","context"}，每行输出一个结果；每行都有结果时退出码为 0。
--unknown 向服务查询死信中不认识的答复，输出可补全后用作 explain: 的 CSV。`,
			`Explains a code or a line: SMTP replies, codes and receipts of SMS platforms, errcodes of robots, HTTP statuses,
network and certificate errors of any runtime. No server is asked. CHANNEL is email, sms, webhook, bot, dispatcher or
a provider's name; without it the line tells. --file explains a file line by line (-: standard input).
Exit codes: 0 all known, 1 a line is not known, 2 usage.

--jsonl reads lines {"id","channel","provider","line","context"} from standard input and writes one line for each;
the exit code is 0 when every line got its answer. --unknown asks the server which replies behind dead letters no row
knows, and writes CSV to be completed and named by explain: in yizhan.yaml.`),
		Example: "  yizhan explain 550 5.1.1 User unknown\n  yizhan explain sms isv.SMS_SIGNATURE_ILLEGAL\n  yizhan explain dingtalk 310000 --lang zh\n" +
			"  yizhan explain --file mail.log\n  yizhan explain --unknown > diagnoses.csv",
	}
	f := cmd.Flags()
	provider := f.String("provider", "", tr("服务商（`PROVIDER`），如 aliyun、exchange、dingtalk", "`PROVIDER`, such as aliyun, exchange, dingtalk"))
	moment := f.String("context", "", tr("答复出现的阶段（`WHEN`），如 greeting、AUTH、RCPT、DATA", "`WHEN` it was said: greeting, AUTH, MAIL FROM, RCPT, DATA"))
	table := f.String("table", "", tr("另加自己的诊断表（`FILE`，CSV）", "rows of your own before ours, a CSV `FILE`"))
	file := f.String("file", "", tr("逐行解释该文件（`FILE`），- 为标准输入", "explain each line of `FILE`, - is standard input"))
	jsonl := f.Bool("jsonl", false, tr("标准输入和输出均为 JSON 行", "JSON lines in and out"))
	unknown := f.Bool("unknown", false, tr("列出服务端不认识的答复", "list the replies that the server does not know"))
	complete := func(channel string) []string { return explain.Default().Providers(channel) }
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return append(explain.Channels(), complete("")...), cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("provider", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return complete(strings.Join(args[:min(len(args), 1)], "")), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		output, _ := cmd.Flags().GetString("output")
		modes := 0
		for _, on := range []bool{*jsonl, *unknown, *file != "", len(args) > 0} {
			if on {
				modes++
			}
		}
		switch {
		case *jsonl && output != "table":
			return usageError("--jsonl 不能与 -o 同用", "--jsonl does not go with -o")
		case modes == 0:
			return usageError("缺少要解释的代码或原文", "missing a code or line to explain")
		case modes > 1 && (*jsonl || *unknown || *file != "" && (len(args) > 1 || !isPlace(args[0]))):
			return usageError("代码或原文、--file、--jsonl、--unknown 只能选一个", "give one of: a code or line, --file, --jsonl, --unknown")
		case *unknown:
			return unknownReplies(cmd)
		}
		t, err := explainTable(*table)
		if err != nil {
			return err
		}
		e := &explaining{ui: newUI(cmd), table: t, about: channels.Quote{Provider: *provider, Context: *moment}}
		switch {
		case *jsonl:
			return jsonLines(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), e.line)
		case *file != "":
			e.about.Channel = strings.Join(args, "")
			return e.file(cmd.Context(), cmd.InOrStdin(), *file)
		}
		if len(args) > 1 && isPlace(args[0]) {
			e.about.Channel, args = args[0], args[1:]
		}
		return e.show([]string{strings.Join(args, " ")})
	}
	return cmd
}

// isPlace says whether a word names a channel or a provider of the table.
func isPlace(word string) bool {
	word = strings.ToLower(word)
	return slices.Contains(explain.Channels(), word) || slices.Contains(explain.Default().Providers(""), word)
}

// explainTable is the table with the rows of a file before ours; "" is ours alone.
func explainTable(name string) (*explain.Table, error) {
	if name == "" {
		return explain.Default(), nil
	}
	t, err := loadTable(name)
	if invalid, ok := errors.AsType[*schemas.Invalid](err); ok {
		e := problemError("诊断表有误："+name, "the table of diagnoses is wrong: "+name)
		e.problems = invalid.Problems
		return nil, e
	}
	if err != nil {
		return nil, problemError("读不到诊断表："+name, "the table of diagnoses cannot be read: "+name).because(unreadable(err))
	}
	return t, nil
}

// loadTable reads a user's rows; explain.Load bounds them.
func loadTable(name string) (*explain.Table, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing to lose
	return explain.Load(f)
}

// explaining is one call of `yizhan explain`.
type explaining struct {
	ui    *ui
	table *explain.Table
	about channels.Quote // what the flags say of every line
}

func (e *explaining) explain(line string) channels.Diagnosis {
	q := e.about
	q.Text = line
	return e.table.ExplainLine(q)
}

// quoteLine is one line of --jsonl. What else stands in it is for others and is not looked at.
type quoteLine struct {
	ID       jsontext.Value `json:"id"` // a string or a number, given back as it came
	Channel  string         `json:"channel"`
	Provider string         `json:"provider"`
	Line     *string        `json:"line"`
	Context  string         `json:"context"`
}

// answerLine is one line of its output.
type answerLine struct {
	ID                 jsontext.Value `json:"id"`
	channels.Explained `json:",inline"`
}

var lineNoLine = schemas.Text{Zh: "缺少 id（字符串或数字）或 line（字符串）", En: "id (a string or a number) or line (a string) is missing"}

func (e *explaining) line(raw []byte) (any, *schemas.Text) {
	if raw == nil {
		return nil, &lineTooLong
	}
	var in quoteLine
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, &lineNotJSON
	}
	if k := in.ID.Kind(); k != '"' && k != '0' || in.Line == nil {
		return nil, &lineNoLine
	}
	q := channels.Quote{
		Channel: cmp.Or(in.Channel, e.about.Channel), Provider: cmp.Or(in.Provider, e.about.Provider), Text: *in.Line,
		Context: cmp.Or(in.Context, e.about.Context),
	}
	return answerLine{in.ID, e.table.ExplainLine(q).Explained()}, nil
}

// file explains a file or standard input line by line.
func (e *explaining) file(ctx context.Context, in io.Reader, name string) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return problemError("读取失败："+name, "cannot read "+name).because(unreadable(err))
		}
		defer func() { _ = f.Close() }() // read only: nothing to lose
		in = f
	}
	// A file of any length: only the lines of one page are in memory.
	const page = 256
	lines, unknown := make([]string, 0, page), false
	flush := func() error {
		err := e.show(lines)
		lines = lines[:0]
		if errors.Is(err, errFound) {
			unknown, err = true, nil
		}
		return cmp.Or(err, ctx.Err())
	}
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxExplainLine)
	for s.Scan() {
		line := strings.ToValidUTF8(strings.TrimSpace(s.Text()), "�")
		if line == "" {
			continue
		}
		if lines = append(lines, line); len(lines) == page {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := s.Err(); err != nil {
		return problemError("读取失败："+name+"（每行最多 64 KiB）", "cannot read "+name+" (a line may have 64 KiB)").because(err)
	}
	if err := flush(); err != nil {
		return err
	}
	if unknown {
		return errFound
	}
	return nil
}

// explainedLine is an answer in -o json.
type explainedLine struct {
	Line               string `json:"line"`
	channels.Explained `json:",inline"`
}

// show prints what the lines mean; -o json writes one object a line.
func (e *explaining) show(lines []string) error {
	var err error
	for i, line := range lines {
		d := e.explain(line)
		if !d.Known {
			err = errFound
		}
		if e.ui.json {
			if werr := e.ui.printJSON(explainedLine{line, d.Explained()}); werr != nil {
				return werr
			}
			continue
		}
		if i > 0 {
			e.ui.printf("\n")
		}
		e.ui.explained(line, d)
	}
	return err
}

// classWords are the classes as an operator says them.
var classWords = map[channels.Class]schemas.Text{
	channels.Temporary: {Zh: "暂时性故障", En: "temporary"},
	channels.Throttled: {Zh: "限流", En: "throttled"},
	channels.Auth:      {Zh: "凭证问题", En: "credentials"},
	channels.Config:    {Zh: "配置问题", En: "configuration"},
	channels.Content:   {Zh: "内容问题", En: "content"},
	channels.BadTarget: {Zh: "收件地址问题", En: "recipient"},
	channels.Permanent: {Zh: "永久拒绝", En: "permanent"},
	channels.Unknown:   {Zh: "结果未知", En: "outcome unknown"},
}

func (u *ui) explained(line string, d channels.Diagnosis) {
	head := say(classWords[d.Class])
	c := yellow
	if !d.Known {
		head, c = tr("不认识", "not known")+tr("；", "; ")+head, red
	}
	u.printf("%s  %s\n", u.paint(bold, clean(clip(oneLine(line), 100))), u.paint(c, head))
	t := newTable()
	t.add(tr("发生了什么", "What happened"), capital(say(d.Cause)))
	t.add(tr("由谁处理", "Whose job"), capital(ownerWord(d.Owner)))
	t.add(tr("现在怎么办", "What now"), capital(say(d.Remedy)))
	t.also(say(d.Also), say(d.When), d.Source)
	t.print(u, "  ")
}

// also adds what a diagnosis says beyond cause, owner and remedy.
func (t *table) also(check, when, source string) {
	for _, row := range []struct{ name, text string }{
		{tr("另请检查", "Also check"), check},
		{tr("重试时机", "Retry"), when},
		{tr("依据", "Source"), source},
	} {
		if row.text != "" {
			t.add(row.name, row.text)
		}
	}
}

// unknownReplies writes the replies that no row knows as rows to be completed.
func unknownReplies(cmd *cobra.Command) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var got struct {
		Items    []ingest.UnknownReply `json:"items"`
		Complete bool                  `json:"complete"`
	}
	body, err := c.get(cmd.Context(), "/v1/explain/unknown", nil, &got)
	if err != nil {
		return err
	}
	u := newUI(cmd)
	if u.json {
		return u.printJSON(jsontext.Value(body))
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write(explain.Header()) // into memory
	for _, r := range got.Items {
		_ = w.Write(rowFor(r))
	}
	w.Flush()
	u.printf("%s", out.String())
	if !got.Complete {
		u.note(tr("死信过多，仅列出其中一部分", "there are too many dead letters; some were not looked at"))
	}
	return nil
}

// rowFor is a row with everything that is known of a reply; class is the dispatcher's guess, cause and
// remedy are for the owner to write.
func rowFor(r ingest.UnknownReply) []string {
	code := r.Code
	if r.Kind == "email" || code == "" || strings.Contains(code, "#") {
		code = explain.Phrase(r.Shape)
	}
	row := make([]string, len(explain.Header()))
	copy(row, []string{
		explain.Default().ChannelOf(r.Kind, r.Provider), cmp.Or(strings.ToLower(r.Provider), "generic"), code, string(r.Class), "", "", "", "", clean(r.Shape),
	})
	return row
}
