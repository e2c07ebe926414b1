package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// maxLintFiles bounds how many files of a folder are read.
const maxLintFiles = 10_000

// lintable are the endings of the files that are read from a folder.
var lintable = []string{".txt", ".yaml", ".yml"}

// fileLike is an argument that begins or ends as the name of a file or folder does.
var fileLike = regexp.MustCompile(`(?i)^(~|\.{1,2})?[/\\]|\.(txt|html?|ya?ml|json|jsonl|ndjson|csv|md)$`)

// namesFile says whether an argument that is no file was meant as one: a mistyped name must not pass as a text.
// Sentences have punctuation or spaces, 您的订单/运单已发货。, and a link is what a text may well consist of.
func namesFile(arg string) bool {
	switch {
	case strings.ContainsAny(arg, "，。！？；：、【】《》“”\r\n") || strings.Contains(arg, "://"):
		return false
	case fileLike.MatchString(arg):
		return true
	}
	return strings.ContainsAny(arg, `/\`) && !strings.ContainsFunc(arg, unicode.IsSpace)
}

// collect judges what the arguments name.
func (l *linter) collect(args []string) ([]lintedText, error) {
	var out []lintedText
	for _, arg := range args {
		texts, err := l.argument(arg)
		if err != nil {
			return nil, err
		}
		out = append(out, texts...)
	}
	if len(out) == 0 {
		return nil, problemError("没有找到可检查的文字", "there is no text to check").withHint("目录中只读取 .txt 和含 templates 的 .yaml", "of a folder, .txt files and .yaml files with templates are read")
	}
	return out, nil
}

func (l *linter) argument(arg string) ([]lintedText, error) {
	if arg == "-" {
		text, err := readText(tr("标准输入", "standard input"), l.cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		return l.fileTexts("-", text), nil
	}
	info, err := os.Stat(arg)
	switch {
	case err != nil && namesFile(arg):
		return nil, fileError(err)
	case err != nil:
		return []lintedText{l.judge("", 0, arg)}, nil
	case info.IsDir():
		return l.folder(arg)
	}
	return l.file(arg, true)
}

func (l *linter) folder(dir string) ([]lintedText, error) {
	var out []lintedText
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fileError(err)
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.Type().IsRegular() || !slices.Contains(lintable, strings.ToLower(filepath.Ext(path))):
			return nil
		}
		if files++; files > maxLintFiles {
			return problemError("目录中的文件超过 10000 个", "the folder holds more than 10,000 files").withHint("请逐个子目录检查", "check its folders one by one")
		}
		texts, err := l.file(path, false)
		out = append(out, texts...)
		return err
	})
	return out, err
}

// file judges a file. named: it was given by its name, so it must hold something.
func (l *linter) file(name string, named bool) ([]lintedText, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	text, err := readText(name, f)
	if err != nil {
		return nil, err
	}
	if ext := strings.ToLower(filepath.Ext(name)); ext != ".yaml" && ext != ".yml" {
		return l.fileTexts(name, text), nil
	}
	var top struct {
		Templates map[string]strictyaml.Section `yaml:"templates"`
	}
	var whole strictyaml.Section
	if err := strictyaml.Decode([]byte(text), &whole); err == nil {
		_ = whole.Peek(&top) // what is no rules file has no templates
	} else if named || strings.Contains("\n"+text, "\ntemplates:") { // its templates would go unjudged
		return nil, problemError(name+" 有误", name+" has mistakes").because(err)
	}
	if len(top.Templates) == 0 {
		if named {
			return nil, problemError(name+" 中没有模板", name+" holds no templates").withHint("规则文件的模板写在 templates 之下", "a rules file has its templates under templates")
		}
		return nil, nil
	}
	return l.templates(name, text)
}

// fileTexts judges a text file: the whole of it is one message, or with --lines each of its lines.
func (l *linter) fileTexts(name, text string) []lintedText {
	src := &fileText{text}
	offset := 0
	if rest, ok := strings.CutPrefix(text, "\ufeff"); ok {
		text, offset = rest, 1
	}
	add := func(line, offset int, text string) lintedText {
		t := l.judge(name, line, text)
		t.offset, t.source = offset, src
		return t
	}
	if !l.lines {
		return []lintedText{add(0, offset, strings.TrimRight(text, "\r\n"))}
	}
	var out []lintedText
	line := 0
	for s := range strings.SplitSeq(text, "\n") {
		line++
		if one := strings.TrimSuffix(s, "\r"); strings.TrimSpace(one) != "" {
			out = append(out, add(line, offset, one))
		}
		offset += utf8.RuneCountInString(s) + 1
	}
	return out
}

// templates judges the templates of a rules file under its own guards, unless --rules names others.
func (l *linter) templates(name, text string) ([]lintedText, error) {
	r, err := openRules(l.cmd, name, "")
	if err != nil {
		return nil, err
	}
	if l.rulesName != "" {
		r.book = r.book.WithGuards(l.book)
	}
	if r.config == "" && (l.draft.Signature != "" || l.draft.Provider != "") {
		r.channels = map[string]channelSection{"sms": {Kind: "sms", Provider: l.draft.Provider, Signature: l.draft.Signature}}
	}
	return r.lintTemplates(text, l.draft), nil
}

// lintTemplates judges the words of every template of the file.
func (r *rulesFile) lintTemplates(text string, as rules.Draft) []lintedText {
	known := make(map[string]rules.Channel, len(r.channels))
	for name, c := range r.channels {
		known[name] = channelOf(c)
	}
	return templateTexts(r.name, text, r.book.LintTemplates(known, as))
}

// templateTexts are the reports of the templates of one file.
func templateTexts(name, text string, reports []rules.TemplateReport) []lintedText {
	src := &fileText{text}
	out := make([]lintedText, 0, len(reports))
	for _, t := range reports {
		out = append(out, lintedText{
			File: name, Line: t.Line, Template: t.Template, For: t.For, Channel: t.Channel, Report: t.Report,
			message: t.Message, column: t.Column, source: src,
		})
	}
	return out
}

// lintedTemplates prints the templates that have hits, and how many there are.
func (u *ui) lintedTemplates(texts []lintedText) {
	counts := map[string]int{}
	for i := range texts {
		if counts[texts[i].Action]++; len(texts[i].Hits) > 0 {
			texts[i].print(u)
		}
	}
	if len(texts) > 0 {
		u.printf("%s%s\n", tr("模板文字：", "words of the templates: "), countLine(len(texts), counts))
	}
}
