package explain_test

import (
	"encoding/csv"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

// Real servers' lines, written down before the rows that explain them. Those of heldout_dev.csv were looked at
// while the rows grew and must all be right; those of heldout_measure.csv only measure, so that the
// figure says something about lines that nobody has seen. A line counts as right when class and remedy
// are, or when it is said to be unknown and should be.
func TestHeldOut(t *testing.T) {
	for _, tt := range []struct {
		file string
		want float64
	}{
		{"heldout_dev.csv", 1},
		{"heldout_measure.csv", 0.9},
		{"heldout_blind.csv", 0.9},
		{"heldout_late.csv", 0.9},
		{"heldout_review.csv", 0.98},
		{"heldout_fresh.csv", 0.98},
	} {
		t.Run(tt.file, func(t *testing.T) {
			f, err := os.Open("testdata/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			rows, err := csv.NewReader(f).ReadAll()
			if err != nil || len(rows) <= 60 {
				t.Fatalf("%d lines, %v", len(rows), err)
			}
			right := 0
			for _, r := range rows[1:] {
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
			share := float64(right) / float64(len(rows)-1)
			t.Logf("%d of %d right (%.1f %%)", right, len(rows)-1, 100*share)
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
	files := []string{"heldout_dev.csv", "heldout_measure.csv", "heldout_blind.csv", "heldout_late.csv", "heldout_review.csv", "heldout_fresh.csv"}
	for _, file := range files {
		f, err := os.Open("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[1:] {
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
