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
