package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
)

// The exit codes; scripts build on them (DESIGN §5).
const (
	exitOK          = 0
	exitProblem     = 1 // the command ran and found something wrong
	exitUsage       = 2 // the command line itself is wrong
	exitUnreachable = 3 // no answer, or none of Yizhan
)

// cliError is an error as a person sees it: one sentence, what to do about it, and the exit code.
type cliError struct {
	code     int
	text     schemas.Text
	hint     schemas.Text
	problems []schemas.Problem // details, one line each
	err      error             // what lies beneath, shown after the sentence
}

func (e *cliError) Error() string {
	s := say(e.text)
	if e.err != nil {
		s += tr("：", ": ") + e.err.Error()
	}
	return s
}

func (e *cliError) Unwrap() error { return e.err }

// withHint says what to do now.
func (e *cliError) withHint(zh, en string) *cliError {
	e.hint = schemas.Text{Zh: zh, En: en}
	return e
}

// because adds the cause, and takes its hint over when there is none of its own.
func (e *cliError) because(err error) *cliError {
	e.err = err
	if inner, ok := errors.AsType[*cliError](err); ok && e.hint == (schemas.Text{}) {
		e.hint = inner.hint
	}
	return e
}

func problemError(zh, en string) *cliError {
	return &cliError{code: exitProblem, text: schemas.Text{Zh: zh, En: en}}
}

func usageError(zh, en string) *cliError {
	return &cliError{code: exitUsage, text: schemas.Text{Zh: zh, En: en}}
}

// errFound ends a command whose output has already said what is wrong.
var errFound = errors.New("problems found")

// report prints err to w and returns the exit code. started says that the command itself ran: an
// error before that is one of the command line.
func report(w io.Writer, err error, started bool) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errFound) {
		return exitProblem
	}
	e, ok := errors.AsType[*cliError](err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled):
		e = problemError("已中断", "interrupted")
	case !started:
		e = usageError("命令行有误", "the command line is wrong").because(err)
	default:
		e = problemError("执行失败", "failed").because(err)
	}
	if e.code == exitUsage && e.hint == (schemas.Text{}) {
		e.hint = schemas.Text{Zh: "加 --help 查看用法", En: "add --help to see how it is used"}
	}
	u := &ui{err: w}
	u.note(tr("错误：", "error: ") + e.Error())
	for _, p := range e.problems {
		u.note("  " + problemLine(p))
	}
	if hint := say(e.hint); hint != "" {
		u.note(tr("建议：", "hint: ") + hint)
	}
	return e.code
}

// problemLine is "/data/to/0/phone: …".
func problemLine(p schemas.Problem) string {
	text := say(p.Text)
	if text == "" {
		text = p.Keyword
	}
	if p.Pointer == "" {
		return text
	}
	return p.Pointer + ": " + text
}

// clean makes text of others fit for a terminal: an escape sequence in a third party's reply must
// not be able to rewrite what the operator reads.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '�'
		}
		return r
	}, s)
}
