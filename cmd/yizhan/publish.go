package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// A request holds at most batchEvents events (or consents, which are small) and about batchBytes bytes: the
// server takes 1 MiB.
const (
	batchEvents = 100
	batchBytes  = 768 << 10
)

// maxListed bounds the refusals that -o json lists; the others are counted.
const maxListed = 1000

func publishCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("publish [文件|-]", "publish [FILE|-]"),
		Short: tr("提交事件：JSON 对象、JSON 数组或 NDJSON", "Send events: a JSON object, a JSON array or NDJSON"),
		Long: tr("从文件或标准输入读取 CloudEvents 事件并提交。被拒绝的事件逐条列出，其余照常提交。\n重复提交是安全的：已受理的事件会被识别为重复。",
			"Read CloudEvents from a file or standard input and send them. Refused events are named one by one,\nthe others are sent all the same. To send a file again is safe: what was accepted counts as a duplicate."),
		Example: "  yizhan publish event.json\n  export-events | yizhan publish",
		Args:    atMost(1),
	}
	timeout := cmd.Flags().Duration("timeout", time.Minute, tr("一批事件最多等待多久（含限流后的重试）", "how long one batch may take, waits for a busy server included"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *timeout <= 0 {
			return usageError("--timeout 必须大于 0", "--timeout must be more than 0")
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		name := "-"
		if len(args) == 1 {
			name = args[0]
		}
		in, err := openInput(cmd, name)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }() // read only: nothing to lose
		u := newUI(cmd)
		if name == "-" && isTerminal(cmd.InOrStdin()) {
			u.note(tr("从标准输入读取事件，Ctrl-D 结束", "reading events from standard input; Ctrl-D ends it"))
		}
		p := &publisher{client: c, ui: u, timeout: *timeout, in: in, sum: published{refusals: newRefusals(u)}}
		return p.run(cmd.Context())
	}
	return cmd
}

// published is the summary.
type published struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	refusals
}

type publisher struct {
	client  *client
	ui      *ui
	timeout time.Duration
	in      *input
	sum     published
}

func (p *publisher) run(ctx context.Context) error {
	err := p.all(ctx, newSource(p.in.name, p.in))
	line, s := "", &p.sum
	if err == nil || s.Accepted+s.Duplicates+s.Refused > 0 {
		line = fmt.Sprintf(tr("已受理 %d 条，重复 %d 条，被拒 %d 条\n", "accepted %d, duplicates %d, refused %d\n"), s.Accepted, s.Duplicates, s.Refused)
	}
	return s.end(s, line, err, s.Accepted, schemas.Text{
		Zh: "未提交完；稍后可重新提交整个文件，已受理的会被识别为重复", En: "not all was sent; send the whole file again later, what was accepted counts as a duplicate",
	})
}

// refusals are the items of an input that the server did not take, told as they are found.
type refusals struct {
	Refused int       `json:"refused"`
	Errors  []refused `json:"errors"`
	ui      *ui
	bar     *progress
}

// refused is one item that did not go.
type refused struct {
	Where    string            `json:"where"` // file:line
	Detail   string            `json:"detail,omitzero"`
	Problems []schemas.Problem `json:"problems,omitzero"`
}

func newRefusals(u *ui) refusals { return refusals{Errors: []refused{}, ui: u, bar: u.progress()} }

// refuse tells of one item that did not go.
func (r *refusals) refuse(where, detail string, problems []schemas.Problem) {
	r.Refused++
	if r.ui.json {
		if len(r.Errors) < maxListed {
			r.Errors = append(r.Errors, refused{where, detail, problems})
		}
		return
	}
	r.bar.clear()
	if len(problems) == 0 {
		r.ui.note(where + ": " + detail)
	}
	for _, one := range problems {
		r.ui.note(where + ": " + problemLine(one))
	}
}

// end shows the summary, as sum or line, and says how the command ends. err is what broke it off, taken how many
// items the server took before; of those again says what happens when all is sent once more.
func (r *refusals) end(sum any, line string, err error, taken int, again schemas.Text) error {
	r.bar.clear()
	if r.ui.json {
		if jerr := r.ui.printJSON(sum); jerr != nil {
			return jerr
		}
	} else {
		r.ui.printf("%s", line)
	}
	switch e, ok := errors.AsType[*cliError](err); {
	case ok && taken > 0 && e.code != exitUsage:
		return e.withHint(again.Zh, again.En)
	case err != nil:
		return err
	case r.Refused > 0:
		return errFound
	}
	return nil
}

// all sends everything in batches. One batch is held in memory at a time.
func (p *publisher) all(ctx context.Context, src *source) error {
	var batch []item
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := p.send(ctx, batch)
		batch, size = batch[:0], 0
		p.sum.bar.set(src.read, p.in.size, fmt.Sprintf(tr("已受理 %d，重复 %d，被拒 %d", "accepted %d, duplicates %d, refused %d"), p.sum.Accepted, p.sum.Duplicates, p.sum.Refused))
		return err
	}
	for {
		it, err := src.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*badItem](err); ok {
			if err := flush(); err != nil { // so that refusals are told in the order of the file
				return err
			}
			p.sum.refuse(bad.where, "", bad.problems)
			if bad.last {
				return nil
			}
			continue
		}
		if err != nil {
			return problemError("读取失败", "reading failed").because(err)
		}
		if len(batch) == batchEvents || size+len(it.raw) > batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		batch = append(batch, it)
		size += len(it.raw)
		if src.idle() {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// send sends a batch. The server takes a batch as a whole or not at all, so a refused one goes again
// event by event: the good ones arrive and the bad ones are named.
func (p *publisher) send(ctx context.Context, batch []item) error {
	a, err := p.post(ctx, batch)
	if err != nil {
		return err
	}
	e := a.refusal()
	switch {
	case e == nil:
		return p.count(a.body, len(batch))
	case a.status == http.StatusUnauthorized || a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed ||
		a.status == http.StatusTooManyRequests || a.status >= 500:
		return e // nothing about this event
	case len(batch) == 1:
		p.sum.refuse(batch[0].where, say(e.text), e.problems)
		return nil
	}
	for i := range batch {
		if err := p.send(ctx, batch[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) count(body []byte, sent int) error {
	var took struct {
		Accepted []struct {
			Duplicate bool `json:"duplicate"`
		} `json:"accepted"`
	}
	if err := json.Unmarshal(body, &took); err != nil || len(took.Accepted) != sent {
		return badAnswer(err)
	}
	for _, t := range took.Accepted {
		if t.Duplicate {
			p.sum.Duplicates++
		} else {
			p.sum.Accepted++
		}
	}
	return nil
}

// post sends a batch as one request.
func (p *publisher) post(ctx context.Context, batch []item) (*answer, error) {
	mediaType, body := "application/cloudevents+json", batch[0].raw
	if len(batch) > 1 {
		mediaType = "application/cloudevents-batch+json"
		parts := make([][]byte, len(batch))
		for i, it := range batch {
			parts[i] = it.raw
		}
		body = append(append([]byte{'['}, bytes.Join(parts, []byte{','})...), ']')
	}
	return p.client.patient(ctx, p.timeout, p.sum.bar, "/v1/events", mediaType, body)
}

// patient posts, and posts again while the server is busy, as it asks, until the waits take longer than timeout.
// What is posted this way must be safe to repeat.
func (c *client) patient(ctx context.Context, timeout time.Duration, bar *progress, path, mediaType string, body []byte) (*answer, error) {
	left := timeout
	for {
		began := time.Now()
		a, err := c.call(ctx, http.MethodPost, path, nil, mediaType, body)
		if err != nil || a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
			return a, err
		}
		wait := max(channels.RetryAfter(a.header.Get("Retry-After"), time.Now()), time.Second)
		if left -= time.Since(began) + wait; left < 0 {
			return a, nil
		}
		bar.set(0, 0, fmt.Sprintf(tr("服务器繁忙，%s 后重试", "the server is busy, next try in %s"), wait.Round(time.Second)))
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}
