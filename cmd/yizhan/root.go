package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// commands lists what the program can do, in the order in which the help shows it.
func commands() []*cobra.Command {
	return []*cobra.Command{
		devCmd(), serveCmd(), configCmd(), rulesCmd(), lintCmd(),
		previewCmd(), doctorCmd(), channelsCmd(),
		publishCmd(), attachCmd(), traceCmd(), deadCmd(), replayCmd(), explainCmd(), consentCmd(), mailLoginCmd(),
		versionCmd(),
	}
}

// run is the program: arguments and streams in, exit code out.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	lang = chooseLang(args)
	started := false
	root := newRoot() //nolint:contextcheck // the commands take theirs from ExecuteContext
	results := &sink{Writer: out}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(results)
	root.SetErr(errw)
	finish(root, &started)
	err := root.ExecuteContext(ctx)
	if err == nil && results.err != nil {
		err = problemError("无法写出结果", "the output cannot be written").because(results.err)
	}
	return report(errw, err, started)
}

const (
	defaultServer = "http://127.0.0.1:8480"
	serverEnv     = "YIZHAN_SERVER"
	keyFileEnv    = "YIZHAN_KEY_FILE"
)

// alsoWrites is the annotation of a command that knows one more format for -o.
const alsoWrites = "also-writes"

func newRoot() *cobra.Command {
	cobra.EnableCommandSorting = false // the order of commands is the one in which people need them
	root := &cobra.Command{
		Use:   "yizhan",
		Short: tr("驿站：面向 ERP 的通知分发", "Yizhan: notifications for ERP systems"),
		Long: tr("驿站接收 ERP 的业务事件，按规则通过邮件、短信和 Webhook 发出通知，并如实说明每一条的结果。",
			"Yizhan takes the events of an ERP, sends notifications by mail, SMS and webhook as the rules say,\nand tells the truth about what became of each."),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if l, _ := cmd.Flags().GetString("lang"); cmd.Flags().Changed("lang") {
				if err := checkLang(l); err != nil {
					return err
				}
			}
			if o, _ := cmd.Flags().GetString("output"); o != "table" && o != "json" {
				if also := cmd.Annotations[alsoWrites]; also != "" && o != also {
					return usageError("-o 只能是 table、json 或 "+also, "-o must be table, json or "+also)
				} else if also == "" {
					return usageError("-o 只能是 table 或 json", "-o must be table or json")
				}
			}
			return nil
		},
	}
	server := os.Getenv(serverEnv)
	if server == "" {
		server = defaultServer
	}
	f := root.PersistentFlags()
	f.StringP("output", "o", "table", tr("输出格式（`table|json`）", "output format, `table|json`"))
	f.String("lang", lang, tr("语言（`zh|en`），默认取自 LC_ALL、LANG", "language, `zh|en`; default from LC_ALL, LANG"))
	f.String("server", server, tr("驿站服务的 `URL`；环境变量 "+serverEnv, "`URL` of the server; environment "+serverEnv))
	f.String("key-file", os.Getenv(keyFileEnv), tr("密钥文件（`FILE`），内容为“密钥编号.密钥”；环境变量 "+keyFileEnv, "`FILE` that holds \"<key id>.<secret>\"; environment "+keyFileEnv))
	f.BoolP("help", "h", false, tr("显示帮助", "show help"))
	root.AddCommand(commands()...)
	return root
}

// finish gives the whole tree its language and its manners.
func finish(root *cobra.Command, started *bool) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	cobra.AddTemplateFunc("alignFlags", alignFlags)
	root.SetUsageTemplate(usageTemplate())
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Use = tr("help [命令]", "help [command]")
			c.Short, c.Long = tr("查看命令的帮助", "Help about a command"), ""
		case "completion":
			c.Short = tr("生成命令行补全脚本", "Generate a completion script for your shell")
			c.Long = c.Short
			for _, shell := range c.Commands() {
				shell.Short = fmt.Sprintf(tr("生成 %s 的补全脚本", "Generate the completion script for %s"), shell.Name())
			}
		}
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError("命令行参数有误", "the command line is wrong").because(err)
	})
	each(root, func(c *cobra.Command) {
		c.DisableFlagsInUseLine = true
		c.Short = capital(c.Short)
		if c.HasSubCommands() && !c.Runnable() {
			c.Args = noSuchCommand
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			return
		}
		if run := c.RunE; run != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				*started = true
				return run(c, args)
			}
		}
	})
}

func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// noSuchCommand is the Args of a command that has only subcommands.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := usageError(fmt.Sprintf("没有名为“%s”的命令", args[0]), fmt.Sprintf("there is no command %q", args[0]))
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		path := c.CommandPath() + " " + near[0]
		return e.withHint("是否想用 "+path+"？", "did you mean "+path+"?")
	}
	return e.withHint(c.CommandPath()+" --help 列出所有命令", c.CommandPath()+" --help lists the commands")
}

// atMost is the Args of a command that takes up to n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return usageError("多余的参数："+strings.Join(args[n:], " "), "too many arguments: "+strings.Join(args[n:], " "))
	}
}

// exactlyOne is the Args of a command that takes one argument.
func exactlyOne(zh, en string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError("缺少"+zh, "missing "+en)
		}
		return atMost(1)(c, args)
	}
}

// alignFlags lines pflag's list of flags up by what a terminal shows: pflag counts bytes.
func alignFlags(usages string) string {
	const gap = "   " // what pflag puts before a usage, at least
	lines := strings.Split(strings.TrimRight(usages, " \n"), "\n")
	names, widest := make([]string, len(lines)), 0
	for i, line := range lines {
		dashes := strings.Index(line, "--")
		if dashes < 0 {
			continue
		}
		if n := strings.Index(line[dashes:], gap); n > 0 {
			names[i] = line[:dashes+n]
			lines[i] = strings.TrimLeft(line[dashes+n:], " ")
			widest = max(widest, columns(names[i]))
		}
	}
	for i, name := range names {
		if name != "" {
			lines[i] = pad(name, widest) + gap + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// usageTemplate is cobra's, less what we do not use, in both languages.
func usageTemplate() string {
	usage, commands := tr("用法：", "Usage:"), tr("命令：", "Commands:")
	examples, flags, global := tr("示例：", "Examples:"), tr("选项：", "Flags:"), tr("全局选项：", "Global flags:")
	command := tr("<命令>", "<command>")
	more := tr("“{{.CommandPath}} <命令> --help”查看单个命令的帮助。", `"{{.CommandPath}} <command> --help" tells more about a command.`)
	return usage + `{{if .HasAvailableSubCommands}}
  {{.CommandPath}} ` + command + `{{else}}
  {{.UseLine}}{{end}}{{if .HasExample}}

` + examples + `
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

` + commands + `{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

` + flags + `
{{.LocalFlags.FlagUsages | alignFlags}}{{end}}{{if .HasAvailableInheritedFlags}}

` + global + `
{{.InheritedFlags.FlagUsages | alignFlags}}{{end}}{{if .HasAvailableSubCommands}}

` + more + `{{end}}
`
}
