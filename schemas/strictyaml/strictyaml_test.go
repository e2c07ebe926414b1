package strictyaml

import (
	"strings"
	"testing"
	"time"
)

func TestMistakesHaveAPosition(t *testing.T) {
	type part struct {
		Host    string        `yaml:"host"`
		Timeout time.Duration `yaml:"timeout"`
	}
	var doc struct {
		Parts map[string]Section `yaml:"parts"`
	}
	in := "parts:\n  mail:\n    host: a\n    timeout: 15s\n    hots: b\n"
	if err := Decode([]byte(in), &doc); err != nil {
		t.Fatal(err)
	}
	var p part
	if err := doc.Parts["mail"].Peek(&p); err != nil || p.Host != "a" || p.Timeout != 15*time.Second {
		t.Fatalf("Peek = %v, %+v", err, p)
	}
	err := doc.Parts["mail"].Decode(&p)
	if err == nil || !strings.Contains(err.Error(), "[5:5]") || !strings.Contains(err.Error(), "hots") {
		t.Fatalf("unknown key: %v, want [5:5] and the key", err)
	}
	if err := Decode([]byte("parts: {}\nprats: {}\n"), &doc); err == nil || !strings.Contains(err.Error(), "[2:1]") {
		t.Fatalf("unknown top key: %v, want [2:1]", err)
	}
	if err := (Section{}).Decode(&p); err != nil {
		t.Fatalf("absent section: %v", err)
	}
}

// A section can be handed to a reader that knows only some of its keys, and completed from another; mistakes are still
// shown where they are.
func TestSectionWithoutAndOr(t *testing.T) {
	var doc struct {
		Whole Section   `yaml:"whole"`
		Parts []Section `yaml:"parts"`
	}
	const source = `whole: {signature: s, slots: 3, other: 1}
parts:
  - {name: one, slots: 5, provider: a}
  - name: two
  - 7
`
	if err := Decode([]byte(source), &doc); err != nil {
		t.Fatal(err)
	}
	type known struct {
		Provider  string `yaml:"provider"`
		Signature string `yaml:"signature"`
		Slots     int    `yaml:"slots"`
	}
	for i, want := range []known{{"a", "s", 5}, {"", "s", 3}} {
		var got known
		if err := doc.Parts[i].Without("name").Or(doc.Whole, "signature", "slots").Decode(&got); err != nil || got != want {
			t.Errorf("part %d: %+v, %v; want %+v", i, got, err, want)
		}
	}
	var got known
	if err := doc.Parts[0].Without("slots").Decode(&got); err == nil || !strings.Contains(err.Error(), "[3:") || !strings.Contains(err.Error(), "name") {
		t.Errorf("an unknown key: %v, want it shown at line 3", err)
	}
	if err := doc.Parts[2].Without("name").Or(doc.Whole, "slots").Decode(&got); err == nil {
		t.Error("a number was taken for a section")
	}
	if err := (Section{}).Without("name").Decode(&got); err != nil {
		t.Errorf("an absent section: %v", err)
	}
}
