package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/schemas"
)

// maxItem bounds one event as read, in bytes. The server's own bound is lower and its words are better.
const maxItem = 1 << 20

// item is one event as it came, and where from.
type item struct {
	where string
	raw   []byte
}

// badItem is something in the place of an event. last: nothing after it can be read.
type badItem struct {
	where    string
	problems []schemas.Problem
	last     bool
}

func (b *badItem) Error() string {
	return b.where + ": " + (&schemas.Invalid{Problems: b.problems}).Error()
}

// input is what a command reads.
type input struct {
	io.ReadCloser
	name string // for people: "stdin", or the file
	size int64  // of the file, for the progress bar, in bytes; 0: not known
}

// openInput opens a file, or standard input for "-". The error is a [*cliError].
func openInput(cmd *cobra.Command, name string) (*input, error) {
	if name == "-" {
		return &input{io.NopCloser(cmd.InOrStdin()), "stdin", 0}, nil
	}
	return openFile(name)
}

func openFile(name string) (*input, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	in := &input{f, name, 0}
	if s, err := f.Stat(); err == nil && s.Mode().IsRegular() {
		in.size = s.Size()
	}
	return in, nil
}

// source reads events one at a time from an object, an array, or lines (NDJSON).
type source struct {
	name   string
	in     *bufio.Reader
	read   int64 // bytes taken from the reader below, for the progress bar
	begun  bool
	line   int
	index  int               // of the event, when values are read
	values *jsontext.Decoder // nil: lines
	array  bool
	quota  quota // what values reads through
}

// quota bounds what a decoder may buffer for one value.
type quota struct {
	in   io.Reader
	left int
}

var errTooLong = errors.New("value too long")

func (q *quota) Read(b []byte) (int, error) {
	if q.left <= 0 {
		return 0, errTooLong
	}
	n, err := q.in.Read(b[:min(len(b), q.left)])
	q.left -= n
	return n, err
}

func newSource(name string, in io.Reader) *source {
	s := &source{name: name}
	s.in = bufio.NewReaderSize(&counter{in, &s.read}, maxItem+1)
	s.quota = quota{s.in, maxItem}
	return s
}

type counter struct {
	io.Reader
	n *int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	*c.n += int64(n)
	return n, err
}

// idle says that the next event is not there yet: what was read should not wait for it.
func (s *source) idle() bool { return s.values == nil && s.in.Buffered() == 0 }

// next returns the next event; io.EOF at the end; a [*badItem] for what is no JSON object.
func (s *source) next() (item, error) {
	if !s.begun {
		s.begun = true
		if err := s.begin(); err != nil {
			return item{}, err
		}
	}
	if s.values != nil {
		return s.nextValue()
	}
	return s.nextLine()
}

// begin finds out how the events are laid out. What starts with a whole JSON value on its line is
// NDJSON; an object over several lines is read as such; anything else is lines, so that a broken
// first line costs no other.
func (s *source) begin() error {
	if b, _ := s.in.Peek(3); string(b) == "\xef\xbb\xbf" { // Windows editors write a byte order mark
		_, _ = s.in.Discard(3)
	}
	for {
		b, err := s.in.Peek(1)
		if err != nil {
			return s.nothing(err)
		}
		if b[0] != ' ' && b[0] != '\t' && b[0] != '\r' && b[0] != '\n' {
			break
		}
		if b[0] == '\n' {
			s.line++
		}
		_, _ = s.in.Discard(1)
	}
	b, _ := s.in.Peek(1)
	if s.array = b[0] == '['; s.array {
		s.values = jsontext.NewDecoder(&s.quota)
		_, err := s.values.ReadToken()
		return err
	}
	if s.manyLines() {
		s.values = jsontext.NewDecoder(&s.quota)
	}
	return nil
}

func (s *source) nothing(err error) error {
	if errors.Is(err, io.EOF) {
		return &badItem{s.name, []schemas.Problem{{Keyword: "syntax", Text: schemas.Text{Zh: "内容为空，应为 JSON 事件", En: "nothing there: want events in JSON"}}}, true}
	}
	return err
}

// manyLines says whether the first value starts on a line that does not end it. It reads ahead only
// when the first line is no whole value, so that a slow pipe of lines flows.
func (s *source) manyLines() bool {
	for {
		b, _ := s.in.Peek(s.in.Buffered())
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			if jsontext.Value(bytes.TrimSpace(b[:i])).IsValid() {
				return false
			}
			break
		}
		if _, err := s.in.Peek(len(b) + 1); err != nil { // all there is, or longer than an event may be
			return false
		}
	}
	b, _ := s.in.Peek(maxItem)
	v, err := jsontext.NewDecoder(bytes.NewReader(b)).ReadValue()
	return err == nil && bytes.IndexByte(v, '\n') >= 0
}

func (s *source) nextValue() (item, error) {
	s.quota.left = maxItem
	if s.array && s.values.PeekKind() == ']' {
		return item{}, io.EOF
	}
	where := s.name
	if s.array || s.index > 0 {
		where = fmt.Sprintf("%s[%d]", s.name, s.index)
	}
	s.index++
	v, err := s.values.ReadValue()
	switch {
	case err == nil:
		return item{where, bytes.Clone(v)}, nil
	case errors.Is(err, errTooLong):
		return item{}, tooLong(where, true)
	case errors.Is(err, io.EOF) && !s.array:
		return item{}, io.EOF
	}
	if _, ok := errors.AsType[*jsontext.SyntacticError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		at := s.values.InputOffset()
		return item{}, &badItem{where, []schemas.Problem{{Keyword: "syntax", Text: schemas.Text{
			Zh: fmt.Sprintf("JSON 语法错误（第 %d 字节之后），其后的内容未提交", at), En: fmt.Sprintf("not valid JSON after byte %d; nothing behind it was sent", at),
		}}}, true}
	}
	return item{}, err
}

func (s *source) nextLine() (item, error) {
	for {
		line, long, err := readLine(s.in)
		if len(line) == 0 && !long && err != nil {
			return item{}, err
		}
		s.line++
		where := fmt.Sprintf("%s:%d", s.name, s.line)
		if long {
			return item{}, tooLong(where, false)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return item{}, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if !jsontext.Value(line).IsValid() {
			return item{}, &badItem{where, notJSON(line), false} // it would spoil the whole batch
		}
		return item{where, bytes.Clone(line)}, nil
	}
}

// readLine reads a line, which is good until the next read; the last one comes with io.EOF. One that is longer than
// the buffer is passed over and not returned.
func readLine(in *bufio.Reader) (line []byte, long bool, err error) {
	line, err = in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		line, long = nil, true
		_, err = in.ReadSlice('\n')
	}
	return line, long, err
}

func notJSON(line []byte) []schemas.Problem {
	_, err := schemas.DecodeEvent(line)
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
		return bad.Problems
	}
	return []schemas.Problem{{Keyword: "syntax", Text: schemas.Text{Zh: "不是有效的 JSON", En: "not valid JSON"}}}
}

func tooLong(where string, last bool) error {
	return &badItem{where, []schemas.Problem{{Keyword: "maxLength", Text: schemas.Text{
		Zh: "单个事件超过 1 MiB；附件请用引用", En: "the event is larger than 1 MiB; refer to attachments instead",
	}}}, last}
}
