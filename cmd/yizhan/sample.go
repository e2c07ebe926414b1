package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// shownExamples bounds what is shown of each change; all are counted.
const shownExamples = 5

// comparison is what a change of the rules does to sample traffic: `rules check --sample -o json`.
type comparison struct {
	Messages int            `json:"messages"` // judged
	Unread   int            `json:"unread"`   // lines that hold no message
	Before   map[string]int `json:"before"`   // messages by action
	After    map[string]int `json:"after"`
	Changes  []sampleChange `json:"changes"` // newly blocked, to review, passed
	unread   []string       // the first lines that hold no message, and why
}

type sampleChange struct {
	Action   string          `json:"action"` // now; it was another before
	Count    int             `json:"count"`
	Examples []sampleExample `json:"examples"`
}

type sampleExample struct {
	Line   int           `json:"line"`
	Before string        `json:"before"`
	Text   string        `json:"text"` // numbers and mailboxes masked, on one line
	Hits   []schemas.Hit `json:"hits"` // those that decide: of after, or of before where it passes now
}

// compareSample judges each message of the file by the rules before and after.
func (r *rulesFile) compareSample(cmd *cobra.Command, u *ui, sample, against string) error {
	before, err := r.before(cmd, against)
	if err != nil {
		return err
	}
	f, err := os.Open(sample)
	if err != nil {
		return fileError(err)
	}
	defer f.Close()
	c, err := r.compare(before, f)
	if err != nil {
		return problemError("读取失败："+sample, "cannot read "+sample).because(err)
	}
	if c.Messages == 0 { // a comparison of nothing must not pass
		none := problemError(sample+" 中没有可比较的消息", sample+" holds no message to compare").
			withHint("每行一条短信文字、{\"text\":\"…\"} 或一个事件", "each line is the text of an SMS, {\"text\":\"…\"} or an event")
		for _, line := range c.unread {
			none.problems = append(none.problems, schemas.Problem{Text: schemas.Text{Zh: line, En: line}})
		}
		return none
	}
	if u.json {
		return u.printJSON(c)
	}
	c.print(u)
	return nil
}

// before is the book to compare with: of another file, or of the same one with the guards that read
// files opened as if they had no section.
func (r *rulesFile) before(cmd *cobra.Command, against string) (*rules.Book, error) {
	if against != "" {
		old, err := openRules(cmd, against, "")
		if err != nil {
			return nil, err
		}
		return old.book, nil
	}
	if len(r.book.Files()) == 0 {
		return nil, usageError(r.name+" 的规则没有引用文件，没有可比较的改动", "the guards of "+r.name+" name no files, so there is nothing to compare").
			withHint("用 --against 指定改动前的规则文件", "name the rules before the change with --against")
	}
	return rules.Load([]byte(r.text), withoutFiles(guardFactories()), reserverFactories(), rules.Env{Read: readBeside(r.name)})
}

// withoutFiles opens each guard that reads a file as if it had no section.
func withoutFiles(guards map[string]rules.GuardFactory) map[string]rules.GuardFactory {
	out := make(map[string]rules.GuardFactory, len(guards))
	for name, open := range guards {
		out[name] = func(decode func(any) error, env rules.Env) (rules.Guard, error) {
			reads, read := false, env.Read
			env.Read = func(name string) ([]byte, error) {
				reads = true
				return read(name)
			}
			g, err := open(decode, env)
			if err != nil || !reads {
				return g, err
			}
			return open(func(any) error { return nil }, env)
		}
	}
	return out
}

func (r *rulesFile) compare(before *rules.Book, in io.Reader) (*comparison, error) {
	c := &comparison{Before: map[string]int{}, After: map[string]int{}}
	for _, action := range []string{rules.ReportBlock, rules.ReportReview, rules.ReportPass} {
		c.Changes = append(c.Changes, sampleChange{Action: action, Examples: []sampleExample{}})
	}
	lines := bufio.NewReaderSize(in, maxItem+1)
	for n := 1; ; n++ {
		line, long, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if line = bytes.TrimSpace(line); long || len(line) > 0 {
			inputs, why := []rules.Input(nil), say(lineTooLong)
			if !long {
				inputs, why = r.sampled(line)
			}
			if len(inputs) == 0 {
				if c.Unread++; c.Unread <= shownExamples {
					c.unread = append(c.unread, fmt.Sprintf(tr("第 %d 行：%s", "line %d: %s"), n, why))
				}
			}
			for _, one := range inputs {
				c.add(n, one.Delivery.Message, before.Lint(one), r.book.Lint(one))
			}
		}
		if err != nil {
			return c, nil
		}
	}
}

// sampled is what a line of a sample would send: the SMS that it is, the text of a JSON line as
// `lint --jsonl` reads it, or the messages of an event; without any, why says why.
func (r *rulesFile) sampled(line []byte) (inputs []rules.Input, why string) {
	if line[0] != '{' {
		return []rules.Input{rules.Draft{Kind: "sms", Message: schemas.Message{Text: string(line)}}.Input()}, why
	}
	var text textLine
	if err := json.Unmarshal(line, &text); err == nil && text.Text != nil {
		d := rules.Draft{Kind: "sms", Signature: text.Signature, Message: schemas.Message{Text: *text.Text}}
		if slices.Contains(rules.Classes, text.Class) {
			d.Class = text.Class
		}
		return []rules.Input{d.Input()}, why
	}
	e, err := schemas.DecodeEvent(line)
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
		return nil, problemLine(bad.Problems[0])
	} else if err != nil {
		return nil, err.Error()
	}
	known := func(name string) (rules.Channel, bool) { return r.channel(name, e.Data.Template) }
	plan, refusal := r.book.Plan(e, known, time.Time{}) // without a clock, no hour is quiet
	for _, p := range plan.Deliveries {
		if refusal = p.Refusal; refusal == nil {
			inputs = append(inputs, rules.Channels(known).Input(p.Delivery, time.Time{}))
		}
	}
	if refusal != nil {
		why = problemLine(refusal.Problem)
	}
	return inputs, why
}

func (c *comparison) add(line int, m schemas.Message, before, after rules.Report) {
	c.Messages++
	c.Before[before.Action]++
	c.After[after.Action]++
	if before.Action == after.Action {
		return
	}
	for i := range c.Changes {
		ch := &c.Changes[i]
		if ch.Action != after.Action {
			continue
		}
		if ch.Count++; len(ch.Examples) < shownExamples {
			e := sampleExample{Line: line, Before: before.Action, Text: channels.Line(m.Subject + " " + m.Text), Hits: after.Hits}
			if after.Action == rules.ReportPass {
				e.Hits = before.Hits
			}
			for j := range e.Hits {
				e.Hits[j] = channels.MaskedHit(e.Hits[j])
			}
			ch.Examples = append(ch.Examples, e)
		}
	}
}

func (c *comparison) print(u *ui) {
	t := newTable("", tr("拦截", "BLOCKED"), tr("待复核", "TO REVIEW"), tr("通过", "PASS"))
	for _, row := range []struct {
		name   string
		counts map[string]int
	}{{tr("改动前", "before"), c.Before}, {tr("改动后", "after"), c.After}} {
		t.add(row.name, row.counts[rules.ReportBlock], row.counts[rules.ReportReview], row.counts[rules.ReportPass])
	}
	t.print(u, "")
	for _, ch := range c.Changes {
		if ch.Count == 0 {
			continue
		}
		u.printf("\n%s\n", u.paint(reportColor(ch.Action), fmt.Sprintf(tr("改为%s：%d 条", "now %s: %d"), say(reportWords[ch.Action]), ch.Count)))
		for _, e := range ch.Examples {
			u.printf("  %s%s\n", fmt.Sprintf(tr("第 %d 行（原为%s）：", "line %d (was %s): "), e.Line, say(reportWords[e.Before])), clean(clip(e.Text, contextWidth)))
			for _, h := range e.Hits {
				u.printf("    %s\n", clean(oneLine(hitLine(h))))
			}
		}
		if more := ch.Count - len(ch.Examples); more > 0 {
			u.printf(tr("  另有 %d 条\n", "  and %d more\n"), more)
		}
	}
	compared, unread := "\n%d messages compared", "; %d lines hold no message that can be judged"
	if c.Messages == 1 {
		compared = "\n%d message compared"
	}
	if c.Unread == 1 {
		unread = "; %d line holds no message that can be judged"
	}
	u.printf(tr("\n共比较 %d 条消息", compared), c.Messages)
	if c.Unread > 0 {
		u.printf(tr("，%d 行不含可判断的消息", unread), c.Unread)
	}
	u.printf("\n")
}
