package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// pages are all that people read: the pages at the top and the manuals.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			texts[f] = string(b)
		}
	}
	return texts
}

// Every link to a file of ours leads somewhere, and every file of docs/examples that a command names is there.
func TestDocumentationLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	example := regexp.MustCompile(`docs/examples/[\w.-]+`)
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %s leads nowhere", file, m[1])
			}
		}
		for _, name := range example.FindAllString(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
	}
}

// The Chinese pages use one word for one thing.
func TestDocumentationTerms(t *testing.T) {
	for file, text := range pages(t) {
		if !strings.HasSuffix(file, ".zh-CN.md") {
			continue
		}
		for wrong, right := range map[string]string{"渠道": "通道", "账本": "台账", "接收人": "收件人", "散列": "哈希", "重放": "重发"} {
			if strings.Contains(text, wrong) {
				t.Errorf("%s: %s should be %s", file, wrong, right)
			}
		}
	}
}

// The events that the manuals publish are good ones under the rules of `yizhan dev`, and wrong.json has the
// two mistakes that are shown.
func TestDocumentationEvents(t *testing.T) {
	raw, err := devFiles.ReadFile("dev/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	book, err := rules.Load(raw, guardFactories(), reserverFactories(), rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../docs/examples", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var events []*schemas.Event
	for _, b := range append(bytes.Split(bytes.TrimSpace(read("events.ndjson")), []byte("\n")), read("event.json")) {
		e, err := schemas.DecodeEvent(b)
		if err != nil {
			t.Fatalf("%s\n%v", b, err)
		}
		events = append(events, e)
	}
	batch, err := schemas.DecodeBatch(read("batch.json"), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(events, batch...) {
		if choice, ok, err := book.Route(e); !ok || err != nil {
			t.Errorf("%s: no route (%v)", e.ID, err)
		} else if problems := book.CheckEvent(e); len(problems) > 0 {
			t.Errorf("%s by route %s: %v", e.ID, choice.Route, problems)
		}
	}
	var invalid *schemas.Invalid
	if _, err := schemas.DecodeEvent(read("wrong.json")); !errors.As(err, &invalid) || len(invalid.Problems) != 2 {
		t.Errorf("wrong.json: %v, want two problems", err)
	}
}

// Every example of docs/email is a configuration that starts, in both languages, and fits the schema; both pages
// have the same ones, but for the names of people and the comments.
func TestDocumentationMail(t *testing.T) {
	settings := map[string][]string{}
	for _, name := range []string{"email.md", "email.zh-CN.md"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		dir := configDir(t)
		relay, err := sandbox.StartSMTP(sandbox.SMTPConfig{TLS: "implicit"}, func(sandbox.Item) {})
		if err != nil {
			t.Fatal(err)
		}
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{
			"mail-client": []byte(secretWord), "mail-links": []byte(secretWord), "relay-ca.pem": relay.CACertPEM(),
			"dkim.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_ = relay.Close()
		examples := fence.FindAllStringSubmatch(string(b), -1)
		if len(examples) < 7 {
			t.Errorf("%s: only %d examples", name, len(examples))
		}
		for _, e := range examples {
			doc := strings.NewReplacer("/run/secrets/", dir+"/", "/var/lib/yizhan", dir).Replace(e[1])
			if err := tryConfig(t, dir, doc); err != nil {
				t.Errorf("%s:\n%s\n%v", name, e[1], err)
			}
			if err := judge(t, compileSchema(t, "yizhan.schema.json"), doc); err != nil {
				t.Errorf("%s:\n%s\n%v", name, e[1], err)
			}
			plain := regexp.MustCompile(` +#.*|ERP 通知|ERP`).ReplaceAllString(e[1], "")
			settings[name] = append(settings[name], plain)
		}
	}
	if !slices.Equal(settings["email.md"], settings["email.zh-CN.md"]) {
		t.Error("the two pages have different examples")
	}
}

// The transcripts in docs/doctor.md are what the program prints, and its commands are taken by it.
func TestDocumentationOfThirdParties(t *testing.T) {
	for file, l := range map[string]string{"doctor.md": "en", "doctor.zh-CN.md": "zh"} {
		t.Run(file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("../../docs", file))
			if err != nil {
				t.Fatal(err)
			}
			c := newStudio(t)
			conf, err := os.ReadFile(filepath.Join(c.dir, "yizhan.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			c.write(t, "yizhan.yaml", strings.Replace(string(conf), "provider: aliyun,", `provider: aliyun, endpoint: "http://127.0.0.1:1",`, 1)) // nobody outside is asked
			answerChannels(t, weatherOf(t))
			t.Chdir(c.dir)
			shown, tried := 0, 0
			for _, block := range regexp.MustCompile("(?s)```(sh)?\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
				if block[1] != "sh" {
					shown++
					if !isTranscript(t, block[2], l) {
						t.Errorf("no golden file has this transcript (-update writes the files, not the page):\n%s", block[2])
					}
					continue
				}
				for line := range strings.Lines(block[2]) {
					if !strings.HasPrefix(line, "yizhan ") {
						continue
					}
					tried++
					args := strings.Fields(line)[1:]
					if i := slices.Index(args, ">"); i > 0 {
						args = args[:i]
					}
					if i := slices.Index(args, "--send-to"); i > 0 { // TestDoctorSends has it
						args = slices.Delete(args, i, i+2)
					}
					if args[0] == "doctor" {
						args = append(args, "--dns", c.dns.Addr(), "--step-timeout", "1s")
					}
					if r := yizhan(t, "", args...); r.code != exitOK && r.code != exitProblem || strings.Contains(r.err, "error") {
						t.Errorf("%sexit %d: %s", line, r.code, r.err)
					}
				}
			}
			if shown < 9 || tried < 9 {
				t.Errorf("only %d transcripts and %d commands found", shown, tried)
			}
		})
	}
}

// isTranscript says whether a golden file of that language has the text, less the exit codes.
func isTranscript(t *testing.T, text, l string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goldenDir, "*-"+l+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^--- exit \d+\n`).ReplaceAllString(string(b), "") == text {
			return true
		}
	}
	return false
}

// goldenDir is absolute: a test may change the working directory.
var goldenDir = func() string {
	dir, err := filepath.Abs(filepath.Join("testdata", "cli"))
	if err != nil {
		panic(err)
	}
	return dir
}()
