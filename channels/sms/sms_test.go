package sms

import (
	"errors"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

func TestSegments(t *testing.T) {
	for _, c := range []struct {
		signature, text string
		length, want    int
	}{
		{"", "", 0, 0},
		{"华星科技", "", 6, 1},
		{"华星科技", strings.Repeat("账", 64), 70, 1},
		{"华星科技", strings.Repeat("账", 65), 71, 2},
		{"华星科技", strings.Repeat("a", 64), 70, 1}, // half width counts like full width
		{"华星科技", strings.Repeat("账", 128), 134, 2},
		{"华星科技", strings.Repeat("账", 129), 135, 3},
		{"", strings.Repeat("账", 70), 70, 1},
		{"华星科技", strings.Repeat("账", 494), 500, 8},
	} {
		if got := Length(c.signature, c.text); got != c.length {
			t.Errorf("Length of %d characters under %q = %d, want %d", len([]rune(c.text)), c.signature, got, c.length)
		}
		if got := Segments(c.signature, c.text); got != c.want {
			t.Errorf("Segments of %d characters under %q = %d, want %d", len([]rune(c.text)), c.signature, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[string]string{
		"+8613800138000": "13800138000",
		"+85291234567":   "85291234567",
		"+14155550100":   "14155550100",
		"+862188889999":  "862188889999", // a fixed line is no mainland mobile number
		"13800138000":    "13800138000",
	} {
		if got := Number(in); got != want {
			t.Errorf("Number(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNewPicksTheProvider(t *testing.T) {
	var doc struct {
		Channels map[string]strictyaml.Section `yaml:"channels"`
	}
	in := "channels:\n  a: {kind: sms, provider: one, extra: 1}\n  b: {kind: sms, provider: two}\n  c: {kind: sms}\n"
	if err := strictyaml.Decode([]byte(in), &doc); err != nil {
		t.Fatal(err)
	}
	opened := errors.New("one was opened")
	open := New(map[string]channels.Factory{
		"one": func(_ channels.Env, decode func(any) error) (channels.Channel, error) {
			var c struct {
				channels.Common `yaml:",inline"`
				Provider        string `yaml:"provider"`
				Extra           int    `yaml:"extra"`
			}
			if err := decode(&c); err != nil || c.Extra != 1 {
				t.Errorf("the provider decodes %+v, %v", c, err)
			}
			return nil, opened
		},
	})
	if _, err := open(channels.Env{}, doc.Channels["a"].Decode); !errors.Is(err, opened) {
		t.Errorf("provider one: %v", err)
	}
	for _, name := range []string{"b", "c"} {
		_, err := open(channels.Env{}, doc.Channels[name].Decode)
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != "/provider" || !strings.Contains(bad.Problems[0].Zh, "one") {
			t.Errorf("channel %s: %v, want a problem at /provider that names the known ones", name, err)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Setenv("YIZHAN_TEST_KEY", " canary7391\t")
	for _, c := range []struct{ file, variable, want, pointer string }{
		{"", "YIZHAN_TEST_KEY", "canary7391", ""},
		{"", "", "", ""},
		{"absent", "", "", "/settings/key_file"},
		{"absent", "YIZHAN_TEST_KEY", "", "/settings/key_file"}, // not both
	} {
		got, err := Secret(channels.Env{Dir: t.TempDir()}, "settings/key", c.file, c.variable)
		pointer := ""
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			pointer = bad.Problems[0].Pointer
		}
		if got != c.want || pointer != c.pointer || (err == nil) != (c.pointer == "") {
			t.Errorf("Secret(%q, %q) = %q, %v; want %q, a problem at %q", c.file, c.variable, got, err, c.want, c.pointer)
		}
	}
}

func TestHide(t *testing.T) {
	words := []string{"王小明的", "王小明的订单", "abc", ""}
	if got := Hide("王小明的订单 of 王小明的: abc", words...); got != "*** of ***: abc" {
		t.Errorf("Hide = %q", got)
	}
	if words[0] != "王小明的" {
		t.Errorf("Hide changed its words: %q", words)
	}
}
