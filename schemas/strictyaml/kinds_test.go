package strictyaml

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

type level struct{ n int }

func (l *level) UnmarshalText(b []byte) error {
	if string(b) != "high" {
		return &schemas.Invalid{Problems: []schemas.Problem{{Text: schemas.Text{Zh: "只能是 high", En: "want high"}}}}
	}
	l.n = 1
	return nil
}

// Shared is inline below, as channels.Common is in every channel.
type Shared struct {
	Slots int `yaml:"slots,omitempty"`
}

// part has the same key one level down.
type part struct {
	Slots int `yaml:"slots,omitempty"`
}

type document struct {
	Shared `yaml:",inline"`
	Part   part               `yaml:"part,omitempty"`
	Count  int64              `yaml:"count,omitempty"`
	Share  float64            `yaml:"share,omitempty"`
	Name   string             `yaml:"name,omitempty"`
	On     bool               `yaml:"on,omitempty"`
	Wait   time.Duration      `yaml:"wait,omitempty"`
	Waits  []time.Duration    `yaml:"waits,omitempty"`
	At     time.Time          `yaml:"at,omitempty"`
	Names  []string           `yaml:"names,omitempty"`
	Level  level              `yaml:"level,omitempty"`
	Whole  *Int               `yaml:"whole,omitempty"`
	Parts  map[string]Section `yaml:"parts,omitempty"`
	Zero   int                `yaml:"zero"`
}

// TestNothingIsConverted: what a document says is what the program gets, or an error at its place.
func TestNothingIsConverted(t *testing.T) {
	for in, want := range map[string]string{
		"count: 7":                             "",
		"count: 0x10":                          "",
		"share: 3":                             "",
		"share: 0.5":                           "",
		"name: yes":                            "", // YAML 1.2: text
		"on: false":                            "",
		"zero: 0":                              "",
		"at: 2026-11-23T09:00:00+08:00":        "",
		"level: high":                          "",
		"waits: [1s, 1h30m]":                   "",
		"count:\nname:\nwait:\nnames:\nlevel:": "",
		"parts: {a: 7.5}":                      "",
		"":                                     "",
		"# nothing":                            "",
		"count: 7.5":                           "[1:8] count: want a whole number",
		"count: '7'":                           "[1:8] count: want a whole number",
		"count: 1e3":                           "[1:8] count: want a whole number",
		"count: &x 7.5":                        "[1:11] count: want a whole number",
		"count: 99999999999999999999":          "[1:8] count: want a whole number",
		"count: 0":                             "[1:8] count: cannot be 0",
		"share: 0.0":                           "[1:8] share: cannot be 0",
		"wait: 0s":                             "[1:7] wait: cannot be 0",
		"slots: 1.5":                           "[1:8] slots: want a whole number",
		"part:\n  slots: 1.5":                  "[2:10] slots: want a whole number",
		"part: 5":                              "[1:7] part: want keys and values",
		"share: much":                          "[1:8] share: want a number",
		"name: 10086":                          "[1:7] name: want a string; put numbers in quotes",
		"name: true":                           "[1:7] name: want a string",
		"on: yes":                              "[1:5] on: want true or false",
		"wait: 15":                             "[1:7] wait: want a duration",
		"wait: 15x":                            "[1:7] wait: want a duration",
		"waits: [1s, 2]":                       "[1:13] waits: want a duration",
		"at: 2026-11-23":                       "[1:5] at: want a time with its zone",
		"names: a":                             "[1:8] names: want a list",
		"names: [1]":                           "[1:9] names: want a string",
		"level: low":                           "[1:8] level: want high",
		"level: 3":                             "[1:8] level: want a string",
		"whole: 7.5":                           "[1:8] want a whole number",
		"parts: [a]":                           "[1:8] parts: want keys and values",
		"- a":                                  "[1:1] want keys and values",
		"hots: a":                              `[1:1] unknown field "hots"`,
		"name: a\nname: b":                     `[2:1] mapping key "name" already defined`,
		"names: [a":                            "[1:8] ",
		"name: a\n---\nname: b":                "[3:", // the second would be forgotten
	} {
		err := Decode([]byte(in), &document{})
		if err == nil {
			if want != "" {
				t.Errorf("%q is accepted, want %s", in, want)
			}
			continue
		}
		m, ok := errors.AsType[*Mistake](err)
		if !ok || want == "" || !strings.HasPrefix(err.Error(), want) || m.Zh == "" || m.En == "" || m.Excerpt == "" {
			t.Errorf("%q: %v (%+v), want %s", in, err, m, want)
		}
	}
}

func TestAt(t *testing.T) {
	doc := []byte("channels:\n  mail:\n    host: x\n    list: [a, {b: c}]\n  a/b: {c: d}\n")
	for pointer, want := range map[string]string{
		"/channels":               "[1:1]",
		"/channels/mail/host":     "[3:5]",
		"/channels/mail/port":     "[2:3]", // absent: the nearest above
		"/channels/mail/list/1/b": "[4:16]",
		"/channels/mail/list/7":   "[4:5]",
		"/channels/a~1b/c":        "[5:9]",
		"/nothing":                "it is wrong",
		"":                        "it is wrong",
	} {
		m := At(doc, pointer, schemas.Text{Zh: "有误", En: "it is wrong"})
		if !strings.HasPrefix(m.Error(), want) || !strings.Contains(m.Error(), "it is wrong") || m.Zh != "有误" {
			t.Errorf("At %s = %s, want %s", pointer, m, want)
		}
	}
}

// TestSecretsAreMasked: who writes a secret into the document is told so, without the secret.
func TestSecretsAreMasked(t *testing.T) {
	for _, in := range []string{
		"password: hunter2",
		"password: 'hunter2'",
		`"password": "a \" hunter2"`,
		"{name: a, password: hunter2, other: b}",
		"smtp_password: |\n  hunter2\n  hunter2\nother: b",
		"password:\n  hunter2",
		"other: a\naccess_key_secret: hunter2",
		"other: a\ntoken: [hunter2, hunter2]",
		"other: a\ntoken:\n- hunter2\n- hunter2",
		"other: a\ntoken: {a: hunter2, b: hunter2}",
		"other: a\nurl: nats://u:hunter2@host:4222",
		"other: a\nAPIKEY: hunter2",
	} {
		err := Decode([]byte(in), &document{})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "***") {
			t.Errorf("%q: %v", in, err)
		}
	}
	err := Decode([]byte("other: a\npassword_file: /run/secrets/mail\n"), &document{})
	if err == nil || !strings.Contains(err.Error(), "/run/secrets/mail") {
		t.Errorf("the name of a file is no secret: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"count: 7", "parts: {a: {b: 1}}", "a: &x {b: *x}", "<<: {name: a}", "name: !!str 5", "? a\n: b", "---\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var d document
		if err := Decode(in, &d); err == nil {
			for _, s := range d.Parts {
				_ = s.Decode(&document{})
			}
		}
		_ = At(in, "/parts/a", schemas.Text{})
	})
}
