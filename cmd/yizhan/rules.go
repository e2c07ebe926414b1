package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// maxRulesFile bounds the files that these commands read, in bytes.
const maxRulesFile = 4 << 20

const (
	defaultRulesFile  = "rules.yaml"
	defaultConfigFile = "yizhan.yaml"
)

func rulesCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: tr("检查和试运行规则文件", "Check and try out the rules file")}
	cmd.AddCommand(rulesCheckCmd(), rulesExplainCmd(), rulesTestCmd(), rulesTrainCmd(), backtestCmd())
	return cmd
}

func rulesCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("check [文件]", "check [FILE]"),
		Short: tr("检查规则文件，列出路由、模板和规则", "Check the rules file and list routes, templates and guards"),
		Long: tr("检查规则文件（默认为 ./rules.yaml）。找到进程配置文件时，还会核对通道名称以及模板是否满足通道的要求。\n模板自身的文字按最严格的标准检查（变量以“某某某某”代替）；有模板会被拦截时，退出码为 1。",
			"Check the rules file (default ./rules.yaml). Where the process's configuration is found, channel names\nand what each channel needs of a template are checked as well. The templates' own words are judged as strictly as\nthe rules can, with 某某某某 for each variable; the exit code is 1 when one of them would be blocked."),
		Example: "  yizhan rules check\n  yizhan rules check rules.yaml --config yizhan.yaml\n  yizhan rules check --sample traffic.ndjson",
		Args:    atMost(1),
	}
	config := configFlag(cmd)
	sample := cmd.Flags().String("sample", "", tr("用样例消息（`FILE`：每行一条短信、{\"text\"} 或事件）比较规则改动前后的判断", "compare the rules before and after on sample traffic, `FILE`: an SMS, {\"text\"} or event a line"))
	against := cmd.Flags().String("against", "", tr("--sample 的比较对象：改动前的规则文件（`FILE`），默认为不用各项规则所引用的文件", "what --sample compares with: the rules before, `FILE`; default: these without the files that its guards name"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := defaultRulesFile
		if len(args) == 1 {
			name = args[0]
		}
		if *against != "" && *sample == "" {
			return usageError("--against 须与 --sample 同用", "--against needs --sample")
		}
		r, err := openRules(cmd, name, *config)
		if err != nil {
			return err
		}
		u := newUI(cmd)
		if *sample != "" {
			return r.compareSample(cmd, u, *sample, *against)
		}
		linted := r.lintTemplates(r.text, rules.Draft{})
		if u.json {
			err = u.printJSON(r.overview(linted))
		} else {
			r.print(u, linted)
		}
		if err == nil && strongest(linted) == rules.ReportBlock {
			err = errFound
		}
		return err
	}
	return cmd
}

// strongest is the strongest action of the texts.
func strongest(texts []lintedText) string {
	action := rules.ReportPass
	for i := range texts {
		action = rules.Stronger(action, texts[i].Action)
	}
	return action
}

func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("config", "", tr("进程配置文件（`FILE`），默认为规则文件同目录下的 "+defaultConfigFile+"（如有）",
		"the process's configuration `FILE`; default "+defaultConfigFile+" beside the rules file, if there is one"))
}

// channelSection is what the rules need to know of a channel in yizhan.yaml.
type channelSection struct {
	Kind      string `yaml:"kind"`
	Provider  string `yaml:"provider"`
	API       string `yaml:"api"`
	Signature string `yaml:"signature"`
	attaches  string // the schemes that a mail channel fetches
	Providers []struct {
		Provider string `yaml:"provider"`
		API      string `yaml:"api"`
	} `yaml:"providers"`
}

// profile is the SMS provider, or the providers, whose rules hold, as the opened channel would name them.
func (c channelSection) profile() string {
	name := func(provider, api string) string {
		if provider == "httpapi" {
			return api // a description of one's own has no profile: the strict one holds
		}
		return provider
	}
	if len(c.Providers) == 0 {
		return name(c.Provider, c.API)
	}
	var names []string
	for _, p := range c.Providers {
		names = append(names, name(p.Provider, p.API))
	}
	return strings.Join(names, "+")
}

// rulesFile is a compiled rules file and its text, for showing.
type rulesFile struct {
	name     string
	text     string // of the file
	config   string // yizhan.yaml, "" when there is none
	book     *rules.Book
	source   rulesSource
	channels map[string]channelSection // of config
}

// rulesSource is the part of rules.yaml that is listed; the book itself is compiled.
type rulesSource struct {
	Routes []struct {
		Name     string   `yaml:"name" json:"name"`
		When     string   `yaml:"when" json:"when,omitzero"`
		Send     []string `yaml:"send" json:"send"`
		Fallback []string `yaml:"fallback" json:"fallback,omitzero"`
	} `yaml:"routes"`
	Guards    map[string]strictyaml.Section `yaml:"guards"`
	Templates map[string]map[string]struct {
		Code   string            `yaml:"code"`
		Codes  map[string]string `yaml:"codes"`
		Params []rules.Param     `yaml:"params"`
	} `yaml:"templates"`
}

// codes are a template's codes as people read them: SMS_1, tencent 1234567.
func codes(code string, others map[string]string) string {
	var out []string
	if code != "" {
		out = append(out, code)
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		out = append(out, name+" "+others[name])
	}
	return strings.Join(out, ", ")
}

// openRules loads and checks a rules file. config names yizhan.yaml; empty looks for it.
func openRules(cmd *cobra.Command, name, config string) (*rulesFile, error) {
	config, err := findConfig(name, config, cmd.Flags().Changed("config"))
	if err != nil {
		return nil, err
	}
	r, err := openRulesWith(name, config, nil)
	switch {
	case err == nil || name != defaultRulesFile:
		return r, err
	case cmd.Flags().Lookup("rules") == nil:
		return nil, orName(err, name, "指定文件", "name the file")
	}
	return nil, orName(err, name, "用 --rules 指定", "name it with --rules")
}

// orName adds to the error of a default file that is not there how to name another.
func orName(err error, file, zh, en string) error {
	if bad, ok := errors.AsType[*cliError](err); ok && !exists(file) {
		return bad.withHint(zh+"，或在它所在的目录运行", en+", or run in its folder")
	}
	return err
}

// openRulesWith is openRules with the configuration as given, "" for none, and a store for the daily cap.
func openRulesWith(name, config string, caps rules.Store) (*rulesFile, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	r := &rulesFile{name: name, text: string(b), config: config}
	if r.book, err = rules.Load(b, guardFactories(), reserverFactories(), rules.Env{Read: readBeside(name), Caps: caps}); err != nil {
		return nil, problemError(name+" 有误", name+" has mistakes").because(err)
	}
	var whole strictyaml.Section
	if err := errors.Join(strictyaml.Decode(b, &whole), whole.Peek(&r.source)); err != nil {
		return nil, problemError(name+" 有误", name+" has mistakes").because(err)
	}
	if r.config == "" {
		return r, nil
	}
	if r.channels, err = readChannels(r.config); err != nil {
		return nil, err
	}
	kinds := make(map[string]string, len(r.channels))
	for name, c := range r.channels {
		kinds[name] = c.Kind
	}
	if err := r.book.Check(kinds); err != nil {
		return nil, problemError(name+" 与 "+r.config+" 不一致", name+" does not fit "+r.config).because(err)
	}
	return r, nil
}

// findConfig is the configuration beside the rules file, unless one is named.
func findConfig(rulesName, config string, named bool) (string, error) {
	if named {
		return config, nil
	}
	name := filepath.Join(filepath.Dir(rulesName), defaultConfigFile)
	switch _, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fileError(err)
	}
	return name, nil
}

func readChannels(name string) (map[string]channelSection, error) {
	c, err := loadConfig(name)
	if err != nil {
		return nil, err
	}
	out := make(map[string]channelSection, len(c.Channels))
	for channel, section := range c.Channels {
		var one channelSection
		if err := section.Peek(&one); err != nil {
			return nil, problemError(name+" 有误", name+" has mistakes").because(err)
		}
		if one.Kind == "email" {
			one.attaches = c.Attachments.Schemes()
		}
		out[channel] = one
	}
	return out, nil
}

func readBounded(name string) ([]byte, error) {
	if s, err := os.Stat(name); err != nil {
		return nil, fileError(err)
	} else if s.Size() > maxRulesFile {
		return nil, problemError(name+" 超过 4 MiB", name+" is larger than 4 MiB")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(err)
	}
	return b, nil
}

// fileError is the error of a file that cannot be read.
func fileError(err error) error {
	return usageError("无法打开文件", "cannot open the file").because(unreadable(err))
}

// unreadable words why a file cannot be read, with its name: in the reader's language what people meet, else as
// the system says it.
func unreadable(err error) error {
	at, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return errors.New(tr(at.Path+" 不存在", at.Path+" does not exist"))
	case errors.Is(err, fs.ErrPermission):
		return errors.New(tr("没有权限读取 "+at.Path, at.Path+" may not be read"))
	}
	return fmt.Errorf("%s: %w", at.Path, at.Err)
}

// overview is `rules check -o json`.
func (r *rulesFile) overview(linted []lintedText) any {
	type template struct {
		Name   string        `json:"name"`
		For    string        `json:"for"`
		Code   string        `json:"code,omitzero"`
		Params []string      `json:"params,omitzero"`
		Action string        `json:"action"`         // what the guards say of its words: pass, review, block
		Hits   []schemas.Hit `json:"hits,omitempty"` // of all channels that it serves
	}
	type guard struct {
		Name string `json:"name"`
		Set  bool   `json:"set"` // has a section of its own; otherwise its defaults hold
		// Settings is that section.
		Settings jsontext.Value `json:"settings,omitzero"`
	}
	out := struct {
		File      string     `json:"file"`
		Config    string     `json:"config,omitzero"`
		Routes    any        `json:"routes"`
		Templates []template `json:"templates"`
		Guards    []guard    `json:"guards"`
	}{File: r.name, Config: r.config, Routes: r.source.Routes, Templates: []template{}, Guards: []guard{}}
	for _, name := range slices.Sorted(maps.Keys(r.source.Templates)) {
		for _, key := range slices.Sorted(maps.Keys(r.source.Templates[name])) {
			t := r.source.Templates[name][key]
			one := template{Name: name, For: key, Code: t.Code, Params: paramNames(t.Params), Action: rules.ReportPass}
			for i := range linted {
				if l := &linted[i]; l.Template == name && l.For == key {
					one.Action, one.Hits = rules.Stronger(one.Action, l.Action), append(one.Hits, l.Hits...)
				}
			}
			out.Templates = append(out.Templates, one)
		}
	}
	for _, name := range guardNames() {
		out.Guards = append(out.Guards, guard{name, r.source.Guards[name].Present(), r.guardSettings(name)})
	}
	return out
}

// paramNames are a template's parameters as the file writes them, with the kind of each that has one.
func paramNames(params []rules.Param) []string {
	var out []string
	for _, p := range params {
		out = append(out, p.String())
	}
	return out
}

// guardSettings is a guard's section of the file as JSON on one line, nil when it has none.
func (r *rulesFile) guardSettings(name string) jsontext.Value {
	var v any
	if section := r.source.Guards[name]; !section.Present() || section.Peek(&v) != nil {
		return nil
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return b
}

// guardNames lists the rules of this binary, those with state last, as a [rules.Book] asks them.
func guardNames() []string {
	return slices.Concat(slices.Sorted(maps.Keys(guardFactories())), slices.Sorted(maps.Keys(reserverFactories())))
}

func (r *rulesFile) print(u *ui, linted []lintedText) {
	t := newTable(tr("路由", "ROUTE"), tr("条件", "WHEN"), tr("通道", "SEND"), tr("备用", "FALLBACK"))
	for _, route := range r.source.Routes {
		when := route.When
		if when == "" {
			when = tr("（所有事件）", "(every event)")
		}
		t.add(route.Name, clip(oneLine(when), 60), strings.Join(route.Send, ", "), strings.Join(route.Fallback, ", "))
	}
	if len(t.rows) == 0 {
		t.add(tr("（无）", "(none)"), tr("只有自带通道或 Webhook 收件人的事件会被发送", "only events that name channels or webhooks themselves are sent"), "", "")
	}
	t.print(u, "")

	t = newTable(tr("模板", "TEMPLATE"), tr("适用", "FOR"), tr("服务商模板", "CODE"), tr("参数", "PARAMS"))
	for _, name := range slices.Sorted(maps.Keys(r.source.Templates)) {
		for _, key := range slices.Sorted(maps.Keys(r.source.Templates[name])) {
			src := r.source.Templates[name][key]
			t.add(name, key, codes(src.Code, src.Codes), strings.Join(paramNames(src.Params), ", "))
		}
	}
	if len(t.rows) > 0 {
		u.printf("\n")
		t.print(u, "")
	}

	t = newTable(tr("规则", "GUARD"), tr("设置", "SETTINGS"))
	for _, name := range guardNames() {
		settings := tr("（默认值）", "(default)")
		if s := r.guardSettings(name); s != nil {
			settings = string(s)
		}
		t.add(name, settings)
	}
	u.printf("\n")
	t.print(u, "")

	u.printf("\n")
	u.lintedTemplates(linted)

	checked := fmt.Sprintf(tr("通道已与 %s 核对", "channels checked against %s"), r.config)
	if r.config == "" {
		checked = tr("通道名称未核对：没有找到 "+defaultConfigFile+"，可用 --config 指定", "channel names not checked: no "+defaultConfigFile+" found, name one with --config")
	}
	verdict := tr("%s 检查通过；%s", "%s is valid; %s")
	if strongest(linted) == rules.ReportBlock {
		verdict = tr("%s 格式正确，但有模板的文字会被拦截；%s", "%s is well-formed, but the words of a template would be blocked; %s")
	}
	u.printf("%s\n", fmt.Sprintf(verdict, r.name, checked))
}
