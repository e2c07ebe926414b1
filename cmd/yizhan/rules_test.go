package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

func ruleFile(name string) string { return filepath.Join("testdata", "rules", name) }

func TestRulesCheck(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		serve(t)
		args := []string{"rules", "check", ruleFile("rules.yaml"), "--lang", l}
		golden(t, "rules-check-"+l, yizhan(t, "", args...), args)
	}
}

func TestRulesCheckFindsMistakes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{ruleFile("broken.yaml")}, exitProblem, []string{"broken.yaml has mistakes", "[3:11]", "typo"}},
		{[]string{ruleFile("stranger.yaml")}, exitProblem, []string{"stranger.yaml does not fit", "[2:24]", `"pager"`}},
		{[]string{ruleFile("absent.yaml")}, exitUsage, []string{"cannot open the file"}},
		{[]string{ruleFile("rules.yaml"), "--config", ruleFile("absent.yaml")}, exitProblem, []string{"the configuration cannot be read"}},
	} {
		serve(t)
		r := yizhan(t, "", append([]string{"rules", "check"}, tt.args...)...)
		for _, want := range tt.want {
			if r.code != tt.code || !strings.Contains(r.err, want) {
				t.Errorf("%v: exit %d, %s; want exit %d and %q", tt.args, r.code, r.err, tt.code, want)
			}
		}
	}
}

// TestRulesCheckJudgesTemplates: a template that would never be sent is a problem found before anything is sent.
func TestRulesCheckJudgesTemplates(t *testing.T) {
	serve(t)
	r := yizhan(t, "", "rules", "check", ruleFile("rules.yaml"), "-o", "json")
	var got struct {
		Templates []struct {
			Name   string        `json:"name"`
			For    string        `json:"for"`
			Action string        `json:"action"`
			Hits   []schemas.Hit `json:"hits"`
		} `json:"templates"`
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if r.code != exitProblem {
		t.Errorf("exit %d", r.code)
	}
	for _, one := range got.Templates {
		want := map[string]string{"shout": "block", "invoice-due": "pass"}[one.Name]
		if want != "" && (one.Action != want || (len(one.Hits) > 0) != (want == "block")) {
			t.Errorf("%+v", one)
		}
	}
}

// TestRulesCheckOnASample: what a change of the rules does to traffic is counted and shown, masked.
func TestRulesCheckOnASample(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	old := write("old.yaml", "guards: {signature: {max: 12}}")
	now := write("new.yaml", "guards: {signature: {max: 4}}\nroutes: [{name: all, send: [sms]}]\ntemplates: {t: {sms: {text: '【华星科技有限】请联系${phone}'}, mail: {subject: s, text: x}}}")
	sample := write("sample.ndjson", strings.Join([]string{
		"【云栈】您的账单已到期", "【华星科技集团】您的账单已到期，电话 13800138000", "",
		`{"id":1,"text":"【华星科技有限公司】您好","msg_class":"invoice"}`,
		`{"specversion":"1.0","id":"a","source":"/erp","type":"x","data":{"category":"notification","to":[{"phone":"13800138000"}],"template":"t","params":{"phone":"13900139000"}}}`,
		`{"something":"else"}`, strings.Repeat("长", maxItem),
	}, "\n"))
	for _, l := range []string{"zh", "en"} {
		serve(t)
		args := []string{"rules", "check", now, "--sample", sample, "--against", old, "--lang", l}
		r := yizhan(t, "", args...)
		golden(t, "rules-sample-"+l, r, []string{"rules", "check", "new.yaml", "--sample", "sample.ndjson", "--against", "old.yaml", "--lang", l}, dir, ".")
		if r.code != exitOK || strings.Contains(r.out, "13800138000") || strings.Contains(r.out, "13900139000") {
			t.Errorf("exit %d, %s", r.code, r.out)
		}
	}
	one := write("one.ndjson", "您好\n{}\n")
	if r := yizhan(t, "", "rules", "check", now, "--sample", one, "--against", old); r.code != exitOK || !strings.HasSuffix(r.out, "\n1 message compared; 1 line holds no message that can be judged\n") {
		t.Errorf("exit %d, %s%s", r.code, r.out, r.err)
	}
	if r := yizhan(t, "", "rules", "check", now, "--against", old); r.code != exitUsage {
		t.Errorf("--against alone: exit %d", r.code)
	}
	if r := yizhan(t, "", "rules", "check", now, "--sample", sample); r.code != exitUsage || !strings.Contains(r.err, "name no files") {
		t.Errorf("nothing to compare: exit %d, %s", r.code, r.err)
	}
}

// TestSampleOfNothing: a sample in which nothing could be compared does not pass, and the first bad lines are named.
func TestSampleOfNothing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	book := write("rules.yaml", "routes: [{name: other, when: 'event.type == \"y\"', send: [sms]}]")
	mute := `{"specversion":"1.0","id":"a","source":"/erp","type":"x","data":{"category":"notification","to":[{"phone":"13800138000"}],"content":{"text":"x"}}}`
	sample := write("sample.ndjson", strings.Join([]string{"", `{"id":1,"txt":"您好"}`, `{"text":`, mute, strings.Repeat("长", maxItem), `{"a":1}`, `{"b":1}`}, "\n"))
	for l, want := range map[string][]string{
		"en": {"sample.ndjson holds no message to compare", "line 2: /data: ", "line 3: ", "line 4: no route takes x", "line 5: the line is longer than 1 MiB", "line 6: ", "hint: each line is"},
		"zh": {"sample.ndjson 中没有可比较的消息", "第 2 行：/data: ", "第 3 行：", "第 4 行：没有路由接收 x", "第 5 行：该行超过 1 MiB", "第 6 行：", "建议：每行一条短信文字"},
	} {
		for _, format := range []string{"table", "json"} {
			r := yizhan(t, "", "rules", "check", book, "--sample", sample, "--against", book, "--lang", l, "-o", format)
			for _, w := range want {
				if r.code != exitProblem || r.out != "" || !strings.Contains(r.err, w) || strings.Count(r.err, "\n") != 7 {
					t.Errorf("exit %d, %s%s; want %q", r.code, r.out, r.err, w)
				}
			}
		}
	}
	empty := write("empty", "\n")
	if r := yizhan(t, "", "rules", "check", book, "--sample", empty, "--against", book); r.code != exitProblem || !strings.Contains(r.err, "empty holds no message") {
		t.Errorf("exit %d, %s%s", r.code, r.out, r.err)
	}
}

// reader is a guard for tests that blocks the word in the file that its section names.
type reader string

func (g reader) Judge(in rules.Input) rules.Verdict {
	if g == "" || !strings.Contains(in.Delivery.Message.Text, string(g)) {
		return rules.Verdict{}
	}
	return rules.Verdict{Action: rules.Suppress, Hits: []schemas.Hit{{Rule: "5", Action: "block", Field: "text", Text: string(g)}}}
}

// TestSampleWithoutTheFiles: the default comparison is with the rules as they are without their files.
func TestSampleWithoutTheFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(filepath.Join(filepath.Dir(name), "words.txt"), []byte("放款"), 0o600); err != nil {
		t.Fatal(err)
	}
	factories := map[string]rules.GuardFactory{"words": func(decode func(any) error, env rules.Env) (rules.Guard, error) {
		var c struct {
			File string `yaml:"file"`
		}
		if err := decode(&c); err != nil || c.File == "" {
			return reader(""), err
		}
		b, err := env.Read(c.File)
		return reader(b), err
	}}
	r := &rulesFile{name: name, text: "guards: {words: {file: words.txt}}"}
	var err error
	if r.book, err = rules.Load([]byte(r.text), factories, nil, rules.Env{Read: readBeside(name)}); err != nil {
		t.Fatal(err)
	}
	plain, err := rules.Load([]byte(r.text), withoutFiles(factories), nil, rules.Env{Read: readBeside(name)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.compare(plain, strings.NewReader("当天放款\n您好\n"))
	if err != nil || c.Messages != 2 || c.Changes[0].Count != 1 || c.Changes[0].Examples[0].Line != 1 || c.Before["pass"] != 2 || c.After["block"] != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// silentSMS is an SMS channel that is only looked at.
type silentSMS struct{ channels.Channel }

func (silentSMS) Traits() channels.Traits {
	return channels.Traits{Kind: "sms", Signature: "华星科技"}
}

// TestStartWarnsOfTemplates: the log names the template and the rule, and repeats none of the words.
func TestStartWarnsOfTemplates(t *testing.T) {
	b, err := os.ReadFile(ruleFile("rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	book, err := rules.Load(b, guardFactories(), reserverFactories(), rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	s := &service{log: zap.New(core), Dispatcher: &dispatcher.Dispatcher{Channels: map[string]channels.Channel{"sms": silentSMS{}}}}
	s.warnOfTemplates(book)
	of := logs.FilterField(zap.String("template", "shout"))
	if of.Len() != 1 || logs.FilterField(zap.String("template", "invoice-due")).Len() != 0 {
		t.Fatalf("%+v", logs.All())
	}
	e := of.All()[0]
	if fields := e.ContextMap(); e.Level != zap.WarnLevel || fields["rule"] != "⑨ double signature" {
		t.Errorf("%+v", e)
	}
	for _, f := range e.Context {
		if strings.Contains(f.String, "别的签名") {
			t.Errorf("words of the template in the log: %+v", f)
		}
	}
}

func TestRulesTest(t *testing.T) {
	for _, tt := range []struct {
		name, at string
		code     int
	}{
		{"event", "2026-11-23T10:00:00+08:00", exitOK},
		{"event", "2026-11-23 22:30", exitOK},
		{"stopped", "2026-11-23T10:00:00+08:00", exitProblem},
		{"refund", "2026-11-23T10:00:00+08:00", exitProblem},
		{"unrouted", "2026-11-23T10:00:00+08:00", exitProblem},
		{"wrong", "", exitProblem},
	} {
		for _, l := range []string{"zh", "en"} {
			serve(t)
			args := []string{"rules", "test", ruleFile(tt.name + ".json"), "--rules", ruleFile("rules.yaml"), "--at", tt.at, "--lang", l}
			r := yizhan(t, "", args...)
			name := "rules-test-" + tt.name + "-" + l
			if strings.Contains(tt.at, "22:30") {
				name = "rules-test-" + tt.name + "-night-" + l
			}
			golden(t, name, r, args)
			if r.code != tt.code {
				t.Errorf("%s: exit %d, want %d", name, r.code, tt.code)
			}
		}
	}
}

func TestRulesTestInJSON(t *testing.T) {
	serve(t)
	r := yizhan(t, "", "rules", "test", ruleFile("event.json"), "--rules", ruleFile("rules.yaml"), "--at", "2026-11-23T22:30:00+08:00", "-o", "json")
	var got trial
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Route != "invoice-due" || got.Sent != 2 || len(got.Deliveries) != 2 || len(got.Routes) != 2 || got.Routes[0].Matched {
		t.Errorf("%+v", got)
	}
	d := got.Deliveries[0]
	if d.Action != "hold" || !d.Until.After(got.At) || d.Message.Text != "华星贸易，您的账单将于2026-11-30到期。" || d.Message.Signature != "华星科技" || d.To != "138****8000" {
		t.Errorf("%+v", d)
	}
	if p := d.Parts; p == nil || p.Parts.Parts != 1 || p.Characters != 30 || p.Price != "0.045" || p.Currency != "CNY" || got.Deliveries[1].Parts != nil {
		t.Errorf("parts %+v and of the mail %+v", p, got.Deliveries[1].Parts)
	}
}

// TestFilesThatCannotBeRead: the name and why, in the reader's language; of the default file also how to name another.
func TestFilesThatCannotBeRead(t *testing.T) {
	absent, folder := filepath.Join(t.TempDir(), "none.yaml"), t.TempDir()
	event, err := filepath.Abs(ruleFile("event.json"))
	named, err2 := filepath.Abs(ruleFile("stranger.yaml"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		args   []string
		en, zh string
	}{
		{[]string{"rules", "check", absent}, "cannot open the file: " + absent + " does not exist\nhint: add --help", "无法打开文件：" + absent + " 不存在\n建议：加 --help"},
		{[]string{"rules", "check"}, "rules.yaml does not exist\nhint: name the file, or run in its folder", "rules.yaml 不存在\n建议：指定文件，或在它所在的目录运行"},
		{[]string{"rules", "explain", event}, "rules.yaml does not exist\nhint: name it with --rules, or run in its folder", "rules.yaml 不存在\n建议：用 --rules 指定，或在它所在的目录运行"},
		{[]string{"rules", "backtest", "--rules", named, "--config", "", "--events", event}, "rules.yaml does not exist\nhint: name the rules to compare with by --against", "rules.yaml 不存在\n建议：用 --against 指定"},
		{[]string{"publish", absent}, absent + " does not exist", absent + " 不存在"},
		{[]string{"consent", "import", absent}, absent + " does not exist", absent + " 不存在"},
		{[]string{"rules", "check", folder}, folder + ": ", folder + ": "},
		{[]string{"trace", "x", "--key-file", absent}, absent + " does not exist", absent + " 不存在"},
		{[]string{"rules", "test", absent}, absent + " does not exist", absent + " 不存在"},
	} {
		for l, want := range map[string]string{"en": tt.en, "zh": tt.zh} {
			r := yizhan(t, "", append(tt.args, "--lang", l)...)
			if r.code != exitUsage || !strings.Contains(r.err, want) || strings.Contains(r.err, "no such file") {
				t.Errorf("%v: exit %d, %s; want %q", tt.args, r.code, r.err, want)
			}
		}
	}
	denied := &fs.PathError{Op: "open", Path: "a.txt", Err: fs.ErrPermission}
	if got := fileError(denied).Error(); got != tr("无法打开文件：没有权限读取 a.txt", "cannot open the file: a.txt may not be read") {
		t.Error(got)
	}
}
