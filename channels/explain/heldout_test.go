package explain_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

// heldOut are real servers' lines, written down before the rows that explain them, and the share of each file
// that must stay right. README.md has what was right at first sight.
var heldOut = []struct {
	file string
	want float64
}{
	{"heldout_dev.csv", 1},
	{"heldout_measure.csv", 0.9},
	{"heldout_blind.csv", 0.9},
	{"heldout_late.csv", 0.9},
	{"heldout_review.csv", 0.98},
	{"heldout_fresh.csv", 0.98},
}

// A line counts as right when class and remedy are, or when it is said to be unknown and should be.
func TestHeldOut(t *testing.T) {
	for _, tt := range heldOut {
		t.Run(tt.file, func(t *testing.T) {
			rows := linesOf(t, tt.file)
			if len(rows) < 60 {
				t.Fatalf("%d lines", len(rows))
			}
			right := 0
			for _, r := range rows {
				channel, provider, line, class, remedy := r[0], r[1], r[2], r[3], r[4]
				d := explain.Default().ExplainLine(channels.Quote{Channel: channel, Provider: provider, Text: line})
				ok := !d.Known
				if class != "unknown" {
					ok = d.Known && d.Class == channels.Class(class) && regexp.MustCompile("(?i)"+remedy).MatchString(d.Remedy.En+d.Remedy.Zh+d.Cause.En)
				}
				if ok {
					right++
				} else if tt.want == 1 || os.Getenv("SHOW") != "" {
					t.Logf("%s %s %q\n  want %s, remedy %s\n  got %s, known %t, %s: %s", channel, provider, line, class, remedy, d.Class, d.Known, d.ID, d.Remedy.En)
				}
			}
			share := float64(right) / float64(len(rows))
			t.Logf("%d of %d right (%.1f %%)", right, len(rows), 100*share)
			if share < tt.want {
				t.Errorf("%.3f right, want %.2f", share, tt.want)
			}
		})
	}
}

// What other programs log is not explained, however much it sounds like an error.
func TestUnrelatedLinesStayUnknown(t *testing.T) {
	b, err := os.ReadFile("testdata/unrelated.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if d := explain.Default().ExplainLine(channels.Quote{Text: strings.TrimSpace(line)}); d.Known {
			t.Errorf("%q is explained by %s", line, d.ID)
		}
	}
	if n < 45 {
		t.Errorf("%d lines", n)
	}
}

// A record is told again from its code, line and class: that must be the diagnosis that made the class.
func TestTellingAgainSaysTheSame(t *testing.T) {
	for _, held := range heldOut {
		for _, r := range linesOf(t, held.file) {
			for _, class := range []channels.Class{channels.Temporary, channels.Permanent} {
				f := channels.Failure{Kind: r[0], Provider: r[1], Line: r[2], Class: class}
				f.Code, _, _ = strings.Cut(r[2], " ")
				first := explain.Default().Explain(&f)
				f.Class = first.Class
				if again := explain.Default().Explain(&f); again != first {
					t.Errorf("%+v: first %s %s, then %s %s", f, first.Class, first.ID, again.Class, again.ID)
				}
			}
		}
	}
}
