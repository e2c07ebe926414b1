package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of --jsonl: a line, and what is on its way between reader and writer.
const (
	maxJSONLine = 1 << 20
	jsonlLines  = 256
	jsonlBytes  = 256 << 10
	jsonlQueued = 4 // for each worker
)

// textLine is one line of input. What else stands in it is for others and is not looked at.
type textLine struct {
	ID        jsontext.Value `json:"id"` // a string or a number, given back as it came
	Text      *string        `json:"text"`
	Class     string         `json:"msg_class"` // one of rules.Classes; anything else is no class
	Signature string         `json:"signature"`
}

// verdictLine is one line of output.
type verdictLine struct {
	ID     jsontext.Value `json:"id"`
	Action string         `json:"action"`
	Hits   []lineHit      `json:"hits"`
	Size   *rules.Size    `json:"size,omitzero"`
}

// lineHit is a hit without its advice, which depends on the rule alone; term and text are always there.
type lineHit struct {
	Rule      string `json:"rule"`
	Action    string `json:"action"`
	Field     string `json:"field,omitzero"`
	Start     int    `json:"start"` // code points
	End       int    `json:"end"`
	StartByte int    `json:"start_byte,omitzero"`
	EndByte   int    `json:"end_byte,omitzero"`
	Term      string `json:"term"`
	Text      string `json:"text"`
	Via       string `json:"via,omitzero"`
	Cue       string `json:"cue,omitzero"`
}

// errorLine takes the place of a verdict where a line cannot be read.
type errorLine struct {
	ID    jsontext.Value `json:"id"` // null
	Line  int            `json:"line"`
	Error schemas.Text   `json:"error"`
}

var (
	lineTooLong = schemas.Text{Zh: "该行超过 1 MiB", En: "the line is longer than 1 MiB"}
	lineNotJSON = schemas.Text{Zh: "该行不是 JSON 对象", En: "the line is not a JSON object"}
	lineNoText  = schemas.Text{Zh: "缺少 id（字符串或数字）或 text（字符串）", En: "id (a string or a number) or text (a string) is missing"}
)

// lineBatch is a run of lines and, once judged, what to write for them.
type lineBatch struct {
	first int
	lines [][]byte // nil: longer than a line may be
	out   chan judgedBatch
}

type judgedBatch struct {
	text []byte
	bad  int // lines without a verdict
}

// jsonl judges lines as they come.
func (l *linter) jsonl(ctx context.Context, in io.Reader, out io.Writer) error {
	return jsonLines(ctx, in, out, func(raw []byte) (any, *schemas.Text) { return l.judgeLine(raw) })
}

// jsonLines answers every line of in with one on out, in their order and as they come, by judge: it gets nil
// for a line that is too long, and says what is wrong with one that it cannot read. Several are judged at
// once; what is read ahead is bounded.
func jsonLines(ctx context.Context, in io.Reader, out io.Writer, judge func(raw []byte) (any, *schemas.Text)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *lineBatch, workers*jsonlQueued)
	order := make(chan *lineBatch, workers*jsonlQueued)
	failed := make(chan error, 1)
	go func() {
		defer close(order)
		defer close(work)
		failed <- readLines(in, func(b *lineBatch) bool {
			for _, to := range []chan *lineBatch{order, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	}()
	for range workers {
		go func() {
			for b := range work {
				b.out <- judgeBatch(b, judge)
			}
		}()
	}
	bad := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-order:
			if !ok {
				if err := <-failed; err != nil {
					return problemError("读取标准输入失败", "cannot read standard input").because(err)
				}
				if bad > 0 {
					return problemError(fmt.Sprintf("%d 行没有结论，见输出中 id 为 null 的行", bad), fmt.Sprintf("%d lines have no verdict: see those with id null in the output", bad))
				}
				return nil
			}
			var j judgedBatch
			select {
			case j = <-b.out:
			case <-ctx.Done():
				return ctx.Err()
			}
			bad += j.bad
			if _, err := out.Write(j.text); err != nil {
				return problemError("无法写出结果", "the output cannot be written").because(err)
			}
		}
	}
}

// readLines cuts the input into batches and hands each on as soon as the next line would be waited for.
func readLines(in io.Reader, hand func(*lineBatch) bool) error {
	r := bufio.NewReaderSize(in, maxJSONLine+1)
	line := 0
	for {
		b := &lineBatch{first: line + 1, out: make(chan judgedBatch, 1)}
		var err error
		for size := 0; len(b.lines) < jsonlLines && size < jsonlBytes; {
			var (
				s    []byte
				long bool
			)
			if s, long, err = readLine(r); long || len(s) > 0 {
				line++
				size += len(s)
				b.lines = append(b.lines, bytes.Clone(s))
			}
			if err != nil || r.Buffered() == 0 {
				break
			}
		}
		if len(b.lines) > 0 && !hand(b) {
			return nil // nobody wants it any more
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func judgeBatch(b *lineBatch, judge func(raw []byte) (any, *schemas.Text)) (j judgedBatch) {
	var out bytes.Buffer
	for i, raw := range b.lines {
		var v any
		if raw != nil && len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		verdict, problem := judge(raw)
		if v = verdict; problem != nil {
			v = errorLine{jsontext.Value("null"), b.first + i, *problem}
			j.bad++
		}
		_ = json.MarshalWrite(&out, v) // strings and numbers into memory
		out.WriteByte('\n')
	}
	j.text = out.Bytes()
	return j
}

func (l *linter) judgeLine(raw []byte) (*verdictLine, *schemas.Text) {
	if raw == nil {
		return nil, &lineTooLong
	}
	var in textLine
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, &lineNotJSON
	}
	if k := in.ID.Kind(); k != '"' && k != '0' || in.Text == nil {
		return nil, &lineNoText
	}
	d := l.draft
	d.Message.Text = *in.Text
	d.Signature = cmp.Or(in.Signature, d.Signature)
	if slices.Contains(rules.Classes, in.Class) {
		d.Class = in.Class
	}
	r := l.book.Lint(d.Input())
	out := &verdictLine{ID: in.ID, Action: r.Action, Hits: make([]lineHit, len(r.Hits)), Size: r.Size}
	for i, h := range r.Hits {
		out.Hits[i] = lineHit{h.Rule, h.Action, h.Field, h.Start, h.End, h.StartByte, h.EndByte, cmp.Or(h.Term, h.Text), h.Text, h.Via, h.Cue}
	}
	return out, nil
}
