package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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
		p := &publisher{client: c, ui: newUI(cmd), timeout: *timeout, sum: published{Errors: []refused{}}}
		in, name := cmd.InOrStdin(), "stdin"
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return fileError(err)
			}
			defer func() { _ = f.Close() }()
			in, name = f, args[0]
			if s, err := f.Stat(); err == nil && s.Mode().IsRegular() {
				p.total = s.Size()
			}
		} else if isTerminal(in) {
			p.ui.note(tr("从标准输入读取事件，Ctrl-D 结束", "reading events from standard input; Ctrl-D ends it"))
		}
		return p.run(cmd.Context(), name, in)
	}
	return cmd
}

// published is the summary.
type published struct {
	Accepted   int       `json:"accepted"`
	Duplicates int       `json:"duplicates"`
	Refused    int       `json:"refused"`
	Errors     []refused `json:"errors"`
}

// refused is one event that did not go.
type refused struct {
	Where    string            `json:"where"` // file:line
	Detail   string            `json:"detail,omitzero"`
	Problems []schemas.Problem `json:"problems,omitzero"`
}

type publisher struct {
	client  *client
	ui      *ui
	timeout time.Duration
	total   int64 // bytes of the file; 0: not known
	bar     *progress
	sum     published
}

func (p *publisher) run(ctx context.Context, name string, in io.Reader) error {
	p.bar = p.ui.progress()
	err := p.all(ctx, newSource(name, in))
	p.bar.clear()
	if p.ui.json {
		if jerr := p.ui.printJSON(p.sum); jerr != nil {
			return jerr
		}
	} else if s := p.sum; err == nil || s.Accepted+s.Duplicates+s.Refused > 0 {
		p.ui.printf(tr("已受理 %d 条，重复 %d 条，被拒 %d 条\n", "accepted %d, duplicates %d, refused %d\n"), s.Accepted, s.Duplicates, s.Refused)
	}
	switch e, ok := errors.AsType[*cliError](err); {
	case ok && p.sum.Accepted > 0 && e.code != exitUsage:
		return e.withHint("未提交完；稍后可重新提交整个文件，已受理的会被识别为重复", "not all was sent; send the whole file again later, what was accepted counts as a duplicate")
	case err != nil:
		return err
	case p.sum.Refused > 0:
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
		p.bar.set(src.read, p.total, fmt.Sprintf(tr("已受理 %d，重复 %d，被拒 %d", "accepted %d, duplicates %d, refused %d"), p.sum.Accepted, p.sum.Duplicates, p.sum.Refused))
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
			p.refuse(bad.where, "", bad.problems)
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
		p.refuse(batch[0].where, say(e.text), e.problems)
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
		return unreachable("无法读懂服务器的答复", "the server's answer cannot be read").withHint("客户端与服务器的版本是否一致？", "are client and server of the same version?")
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

// refuse tells of one event that did not go.
func (p *publisher) refuse(where, detail string, problems []schemas.Problem) {
	p.sum.Refused++
	if p.ui.json {
		if len(p.sum.Errors) < maxListed {
			p.sum.Errors = append(p.sum.Errors, refused{where, detail, problems})
		}
		return
	}
	p.bar.clear()
	if len(problems) == 0 {
		p.ui.note(where + ": " + detail)
	}
	for _, one := range problems {
		p.ui.note(where + ": " + problemLine(one))
	}
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
	return p.client.patient(ctx, p.timeout, p.bar, "/v1/events", mediaType, body)
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
