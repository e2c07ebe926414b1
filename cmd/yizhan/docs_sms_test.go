package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
)

// What docs/sms shows loads as it stands, in both languages, and fits the schemas; both show the same.
func TestSMSManual(t *testing.T) {
	comment := regexp.MustCompile(`(?m) *#.*$`)
	var first []string
	for _, name := range []string{"sms.md", "sms.zh-CN.md"} {
		b, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		var bare []string
		for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
			doc := m[1]
			bare = append(bare, comment.ReplaceAllString(doc, ""))
			dir := t.TempDir()
			for _, secret := range []string{"ali-id", "ali-secret", "tc-id", "tc-key", "hw-key", "hw-secret", "sms-password"} {
				if err := os.WriteFile(filepath.Join(dir, secret), []byte(secretWord), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			own, err := os.ReadFile("../../docs/examples/sms-provider.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "sms-provider.yaml"), own, 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(doc, "templates:") {
				if _, err := rules.Load([]byte(doc), guardFactories(), reserverFactories(), rules.Env{}); err != nil {
					t.Errorf("%s: %v\n%s", name, err, doc)
				}
				if err := judge(t, compileSchema(t, "rules.schema.json"), doc); err != nil {
					t.Errorf("%s: %v\n%s", name, err, doc)
				}
				continue
			}
			doc = strings.ReplaceAll(doc, "/run/secrets/", dir+"/")
			if err := tryConfig(t, dir, doc); err != nil {
				t.Errorf("%s: %v\n%s", name, err, doc)
			}
			if err := judge(t, compileSchema(t, "yizhan.schema.json"), doc); err != nil {
				t.Errorf("%s: %v\n%s", name, err, doc)
			}
		}
		if len(bare) != 7 {
			t.Errorf("%s: %d examples", name, len(bare))
		}
		if first == nil {
			first = bare
		} else if strings.Join(first, "---") != strings.Join(bare, "---") {
			t.Errorf("the two languages show different examples:\n%s\n%s", strings.Join(first, "---"), strings.Join(bare, "---"))
		}
	}
}
