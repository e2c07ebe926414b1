package rules_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

var kinds = map[string]string{"sms": "sms", "mail": "email", "ops": "webhook", "partner": "webhook"}

const dashes = "\n----------\n"

// TestGolden plans each event of testdata by testdata/rules.yaml: the file holds the event, dashes, and
// what became of it: the problems found early, the trials, and the message for every recipient and channel.
func TestGolden(t *testing.T) {
	source, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	book, err := load(string(source))
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Check(kinds); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(b), dashes)
			var e schemas.Event
			if err := json.Unmarshal([]byte(input), &e, json.RejectUnknownMembers(true)); err != nil {
				t.Fatal(err)
			}
			got := plan(t, book, &e)
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimRight(input, "\n")+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func plan(t *testing.T, book *rules.Book, e *schemas.Event) string {
	var out strings.Builder
	for _, p := range book.CheckEvent(e) {
		fmt.Fprintf(&out, "problem %s (%s): %s / %s\n", p.Pointer, p.Keyword, p.Zh, p.En)
	}
	for _, tr := range book.Trials(e) {
		fmt.Fprintf(&out, "route %s: %v: %s / %s\n", tr.Name, tr.Matched, tr.Reason.Zh, tr.Reason.En)
	}
	choice, ok, err := book.Route(e)
	fmt.Fprintf(&out, "choice %v %+v\n", ok, choice)
	if err != nil {
		fmt.Fprintln(&out, err)
		return out.String()
	}
	for _, channel := range append(choice.Send, choice.Fallback...) {
		for _, to := range e.Data.To {
			m, err := book.Render(e, to, channel, kinds[channel])
			fmt.Fprintf(&out, "\n%s for %s:\n", channel, to.Name)
			if err != nil {
				invalid, ok := errors.AsType[*schemas.Invalid](err)
				if !ok {
					t.Fatalf("%T: %v", err, err)
				}
				for _, p := range invalid.Problems {
					fmt.Fprintf(&out, "error %s (%s): %s / %s\n", p.Pointer, p.Keyword, p.Zh, p.En)
				}
				continue
			}
			b, err := json.Marshal(m, json.Deterministic(true), jsontext.WithIndent("  "), jsontext.EscapeForHTML(false))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s\n", b)
		}
	}
	return out.String()
}
