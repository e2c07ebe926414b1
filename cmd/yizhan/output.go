package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"golang.org/x/text/width"
)

// ui is where a command writes: results on out, everything else on err.
type ui struct {
	out, err io.Writer
	json     bool // -o json
	color    bool // out is a terminal that wants colours
	live     bool // err is a terminal: a line may be rewritten
}

func newUI(cmd *cobra.Command) *ui {
	format, _ := cmd.Flags().GetString("output")
	u := &ui{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: format == "json"}
	// no-color.org: set and not empty means none.
	u.color = isTerminal(u.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	u.live = isTerminal(u.err) && os.Getenv("TERM") != "dumb"
	return u
}

func isTerminal(v any) bool {
	if s, ok := v.(*sink); ok {
		v = s.Writer
	}
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON writes v indented. JSON that came from the server goes out as it came, so that a member
// this program does not know yet is not lost.
func (u *ui) printJSON(v any) error {
	if err := json.MarshalWrite(u.out, v, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err := fmt.Fprintln(u.out)
	return err
}

// printf writes to out. That it failed, run tells at the end.
func (u *ui) printf(format string, args ...any) { _, _ = fmt.Fprintf(u.out, format, args...) }

// note writes a line to err, where nobody could be told that it failed.
func (u *ui) note(line string) { _, _ = fmt.Fprintln(u.err, clean(line)) }

// sink remembers that a write failed: results that are lost must not end in exit code 0.
type sink struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// color is an SGR parameter (ECMA-48 §8.3.117); plain has none.
type color string

const (
	plain  color = ""
	bold   color = "1"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
)

func (u *ui) paint(c color, s string) string {
	if !u.color || c == plain || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// cell is one field of a table.
type cell struct {
	text  string
	color color
}

// table lines its columns up by what a terminal shows: a Chinese character takes two columns.
type table struct {
	head    []string
	rows    [][]cell
	numbers bool // every column but the first holds numbers: they stand on the right
}

func newTable(head ...string) *table { return &table{head: head} }

// add appends a row of strings and cells.
func (t *table) add(fields ...any) {
	row := make([]cell, len(fields))
	for i, f := range fields {
		if c, ok := f.(cell); ok {
			row[i] = c
		} else {
			row[i] = cell{text: fmt.Sprint(f)}
		}
		row[i].text = oneLine(clean(row[i].text))
	}
	t.rows = append(t.rows, row)
}

// print writes the table behind indent. The last column is not padded.
func (t *table) print(u *ui, indent string) {
	rows := t.rows
	if len(t.head) > 0 {
		head := make([]cell, len(t.head))
		for i, h := range t.head {
			head[i] = cell{h, bold}
		}
		rows = append([][]cell{head}, rows...)
	}
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(c.text))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		b.WriteString(indent)
		gap := 0
		for i, c := range row {
			free := widths[i] - columns(c.text)
			if t.numbers && i > 0 {
				gap, free = gap+free, 0
			}
			if c.text != "" {
				b.WriteString(strings.Repeat(" ", gap) + u.paint(c.color, c.text))
				gap = 0
			}
			gap += free + 2
		}
		u.printf("%s\n", b.String())
	}
}

// columns is how many columns of a terminal s takes (Unicode Standard Annex #11): two for wide and
// full-width characters, none for marks that stand on another.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// clip shortens s to at most n columns.
func clip(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	var b strings.Builder
	left := n - 1
	for _, r := range s {
		if left -= columns(string(r)); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

// capital begins an English text with a capital letter, as the others in its place do.
func capital(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// zone is the zone of the times that people read and write. Tests set it, and leave time.Local alone: others read that
// while they start.
var zone = time.Local

// localTime shows an instant in the operator's own zone.
func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zone).Format("2006-01-02 15:04:05")
}

// progress is a line on a terminal that says how far a long command is; elsewhere it is nothing.
type progress struct {
	u     *ui
	last  time.Time
	shown bool
}

const (
	barWidth      = 24
	progressEvery = 100 * time.Millisecond
)

func (u *ui) progress() *progress { return &progress{u: u} }

// set shows done of total (0: not known) and a note.
func (p *progress) set(done, total int64, note string) {
	if !p.u.live || p.u.json || time.Since(p.last) < progressEvery {
		return
	}
	p.last, p.shown = time.Now(), true
	bar := ""
	if total > 0 {
		n := int(barWidth * min(done, total) / total)
		bar = fmt.Sprintf("[%s%s] %3d%%  ", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), 100*min(done, total)/total)
	}
	_, _ = fmt.Fprintf(p.u.err, "\r\x1b[K%s%s", bar, note)
}

// clear takes the line away; other output may follow.
func (p *progress) clear() {
	if p.shown {
		_, _ = fmt.Fprint(p.u.err, "\r\x1b[K")
		p.shown = false
	}
}
