package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/backtest"
	"github.com/yizhan-dev/yizhan/rules/parts"
	"github.com/yizhan-dev/yizhan/schemas"
)

// defaultPrice is what a part of an SMS costs in CNY, about; contracts differ.
const defaultPrice = 0.045

const (
	defaultExamples = 3
	maxExamples     = 1000
)

// backtestBatch is how many events are in work at once; they bound what the recording takes of memory.
const backtestBatch = 4096

type backtestFlags struct {
	rules, against, config, events, since, until, tenant, allow string
	stream, markdown                                            bool
	price                                                       float64
	examples, workers                                           int
}

func backtestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("backtest --rules 新规则 [选项]", "backtest --rules NEW [flags]"),
		Short: tr("用已发生的事件回测改动后的规则：新拦截了什么、新放行了什么、超限、改道、费用", "What a changed rules file would have done to recorded events: blocked, allowed, over the cap, rerouted, cost"),
		Long: tr("把记录的事件按到达顺序分别交给两份规则，使用虚拟时钟：发送时段、not_before 和每日上限都如实计算。\n"+
			"不发送任何消息，也不改动任何状态。事件来自文件（NDJSON，每行一个 CloudEvents 事件）或服务器保存的事件（--from-stream）。\n"+
			"若新拦截与新超限之和大于 --allow-change，退出码为 1。",
			"Recorded events go through both rules in the order in which they arrived, on a virtual clock: quiet hours, not_before and\n"+
				"the daily cap count as they would have. Nothing is sent and no state is touched. The events are those of a file (NDJSON,\n"+
				"a CloudEvent on each line) or those that the server keeps (--from-stream).\n"+
				"Exit code 1 when more than --allow-change deliveries are newly blocked or newly over the cap."),
		Example: "  yizhan rules backtest --rules rules.new.yaml --events events.ndjson\n" +
			"  yizhan rules backtest --rules rules.new.yaml --against rules.yaml --from-stream --since 24h\n" +
			"  yizhan rules backtest --rules rules.new.yaml --events events.ndjson --allow-change 0.1% --markdown > report.md",
		Args: atMost(0),
	}
	var f backtestFlags
	fs := cmd.Flags()
	fs.StringVar(&f.rules, "rules", "", tr("改动后的规则文件（`NEW`）", "the changed rules file (`NEW`)"))
	fs.StringVar(&f.against, "against", "", tr("对照的规则文件（`OLD`），默认为 "+defaultConfigFile+" 中的 rules，否则为 ./"+defaultRulesFile, "the rules file to compare with (`OLD`); default the rules of "+defaultConfigFile+", else ./"+defaultRulesFile))
	fs.StringVar(&f.config, "config", "", tr("进程配置文件（`FILE`），默认为规则文件同目录下的 "+defaultConfigFile+"（如有）", "the process's configuration `FILE`; default "+defaultConfigFile+" beside the rules files, if there is one"))
	fs.StringVar(&f.events, "events", "", tr("记录的事件（`FILE`，NDJSON；- 为标准输入）", "recorded events (`FILE` of NDJSON; - for standard input)"))
	fs.BoolVar(&f.stream, "from-stream", false, tr("读取服务器保存的事件（--server，密钥需有角色 export）", "read the events that the server keeps (--server; the key needs the role export)"))
	fs.StringVar(&f.since, "since", "", tr("只看此时（`TIME`）及以后的事件，或最近一段时间，如 24h", "only events at or after this `TIME`, or of the last, say, 24h"))
	fs.StringVar(&f.until, "until", "", tr("只看此时（`TIME`）之前的事件", "only events before this `TIME`"))
	fs.StringVar(&f.tenant, "tenant", "", tr("只看一个租户（`TENANT`），用于 --from-stream", "only events of this `TENANT`, with --from-stream"))
	fs.Float64Var(&f.price, "price", defaultPrice, tr("每条计费短信的价格（元）", "price of one billed SMS part, in CNY"))
	fs.IntVar(&f.examples, "examples", defaultExamples, tr("每类变化列出几个例子（号码已打码）", "examples of each kind of change, numbers masked"))
	fs.StringVar(&f.allow, "allow-change", "0", tr("允许多少条消息被新拦截或新超限：`N` 或占原投递数的百分比，如 0.1%", "how many deliveries may be newly blocked or over the cap: `N`, or a share of the old deliveries such as 0.1%"))
	fs.BoolVar(&f.markdown, "markdown", false, tr("输出 Markdown 报告", "write the report as Markdown"))
	fs.IntVar(&f.workers, "workers", 0, tr("并行数，默认为处理器数", "how many work at once; default one for each processor"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

func (f *backtestFlags) check() error {
	switch {
	case f.rules == "":
		return usageError("缺少 --rules：改动后的规则文件", "missing --rules: the changed rules file")
	case f.stream == (f.events != ""):
		return usageError("请指定 --events 或 --from-stream 之一", "name the events: either --events or --from-stream")
	case f.price < 0 || math.IsNaN(f.price) || math.IsInf(f.price, 0):
		return usageError("--price 不能小于 0", "--price must not be negative")
	case f.examples < 0 || f.examples > maxExamples:
		return usageError(fmt.Sprintf("--examples 应为 0 到 %d", maxExamples), fmt.Sprintf("--examples must be 0 to %d", maxExamples))
	case f.workers < 0:
		return usageError("--workers 不能小于 0", "--workers must not be negative")
	case f.tenant != "" && !f.stream:
		return usageError("--tenant 只用于 --from-stream", "--tenant goes with --from-stream only")
	}
	return nil
}

func (f *backtestFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	allow, err := parseAllowance(f.allow)
	if err != nil {
		return err
	}
	cfg := backtest.Config{Parts: billedParts, Mask: channels.Line, Examples: f.examples, Workers: f.workers}
	if cfg.Since, err = parseSince("--since", f.since); err == nil {
		cfg.Until, err = parseSince("--until", f.until)
	}
	if err != nil {
		return err
	}
	before, after, err := f.open(cmd, &cfg)
	if err != nil {
		return err
	}
	u := newUI(cmd)
	report, err := f.replay(cmd, u, cfg)
	if err != nil {
		return err
	}
	if report.Events.Used == 0 { // a test of nothing must not pass
		none := problemError("没有可回测的事件", "there are no events to test with").withHint("检查 --events、--since 和 --until", "look at --events, --since and --until")
		if len(report.Wrong) > 0 {
			return none.because(errors.New(wrongLine(report.Wrong[0])))
		}
		return none
	}
	out := &backtestResult{
		Rules: after.name, Against: before.name, Price: f.price, Report: report,
		OldCost: cost(report.Old.Parts, f.price), NewCost: cost(report.New.Parts, f.price),
		Worse: report.Count(backtest.NewlyBlocked) + report.Count(backtest.NewlyOverCap), Allowed: allow(report.Old.Deliveries),
	}
	out.OK = out.Worse <= out.Allowed
	switch {
	case u.json:
		err = u.printJSON(out)
	case f.markdown:
		out.document().markdown(u)
	default:
		out.document().table(u)
	}
	if err == nil && !out.OK {
		err = errFound
	}
	return err
}

// open loads both rules, each with a store of its own, and what the configuration says of the channels.
func (f *backtestFlags) open(cmd *cobra.Command, cfg *backtest.Config) (before, after *rulesFile, err error) {
	old, file, named := f.against, f.config, cmd.Flags().Changed("config")
	for _, beside := range []string{old, f.rules, defaultRulesFile} {
		if file == "" && !named && beside != "" {
			if file, err = findConfig(beside, "", false); err != nil {
				return nil, nil, err
			}
		}
	}
	var whole *config
	if file != "" {
		if whole, err = loadConfig(file); err != nil {
			return nil, nil, err
		}
		cfg.MaxAge = whole.Dispatch.Retry.MaxAge
	}
	if old == "" {
		if old = defaultRulesFile; whole != nil {
			old = whole.Rules
			if here, err := os.Getwd(); err == nil { // shorter to read
				if rel, err := filepath.Rel(here, old); err == nil && filepath.IsLocal(rel) {
					old = rel
				}
			}
		}
	}
	cfg.Old.Caps, cfg.New.Caps = backtest.NewStore(), backtest.NewStore()
	if before, err = openRulesWith(old, file, cfg.Old.Caps); err != nil {
		if f.against == "" {
			err = orName(err, old, "用 --against 指定对照的规则文件", "name the rules to compare with by --against")
		}
		return nil, nil, err
	}
	if after, err = openRulesWith(f.rules, file, cfg.New.Caps); err != nil {
		return nil, nil, err
	}
	cfg.Old.Book, cfg.New.Book = before.book, after.book
	known := map[string]rules.Channel{}
	for name := range after.channels {
		known[name], _ = after.channel(name, "")
	}
	if file == "" {
		for _, name := range []string{"sms", "email", "mail", "webhook"} {
			known[name], _ = after.channel(name, "")
		}
	}
	for _, r := range []*rulesFile{before, after} {
		for _, name := range r.book.Channels() {
			if _, err := r.kindOf(name, ""); err != nil {
				return nil, nil, err
			}
		}
	}
	cfg.Channels = func(name string) (rules.Channel, bool) {
		ch, ok := known[name]
		return ch, ok
	}
	return before, after, nil
}

// batch is a piece of the recording.
type batch struct {
	events      []backtest.Event
	done, total int64 // of the recording's bytes; 0: not known
}

// replay reads the recording and runs it; the next piece is read while one is in work.
func (f *backtestFlags) replay(cmd *cobra.Command, u *ui, cfg backtest.Config) (*backtest.Report, error) {
	var read func(ctx context.Context, to chan<- batch) error
	if f.stream {
		c, err := newClient(cmd)
		if err != nil {
			return nil, err
		}
		read = func(ctx context.Context, to chan<- batch) error { return f.readStream(ctx, c, cfg, to) }
	} else {
		in, err := openInput(cmd, f.events)
		if err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }() // read only: nothing to lose
		read = func(ctx context.Context, to chan<- batch) error {
			return readFile(ctx, newSource(in.name, in), in.size, to)
		}
	}
	run, bar, count := backtest.New(cfg), u.progress(), 0
	defer bar.clear()
	pieces := make(chan batch, 1)
	g, ctx := errgroup.WithContext(cmd.Context())
	g.Go(func() error {
		defer close(pieces)
		return read(ctx, pieces)
	})
	g.Go(func() error {
		for b := range pieces {
			if err := run.Add(ctx, b.events); err != nil {
				return err
			}
			count += len(b.events)
			bar.set(b.done, b.total, fmt.Sprintf(tr("%s 个事件", "%s events"), thousands(count)))
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return run.Finish(cmd.Context())
}

// readFile reads the events of a file in batches.
func readFile(ctx context.Context, src *source, total int64, to chan<- batch) error {
	var events []backtest.Event
	flush := func() error {
		select {
		case to <- batch{events, src.read, total}:
			events = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		it, err := src.next()
		bad, isBad := errors.AsType[*badItem](err)
		switch {
		case errors.Is(err, io.EOF):
			return flush()
		case isBad:
			events = append(events, backtest.Event{Where: bad.where, Problem: &schemas.Invalid{Problems: bad.problems}})
		case err != nil:
			return problemError("读取失败", "reading failed").because(err)
		default:
			events = append(events, backtest.Event{Where: it.where, Raw: it.raw})
		}
		if isBad && bad.last {
			return flush()
		}
		if len(events) == backtestBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// recordedPage is an answer of GET /v1/events.
type recordedPage struct {
	Items []recordedEvent `json:"items"`
	Next  string          `json:"next"`
}

type recordedEvent struct {
	Stored time.Time      `json:"stored"`
	Event  jsontext.Value `json:"event"`
}

// readStream pages through the events that the server keeps.
func (f *backtestFlags) readStream(ctx context.Context, c *client, cfg backtest.Config, to chan<- batch) error {
	query := url.Values{}
	setValue(query, "tenant", f.tenant)
	for name, at := range map[string]time.Time{"since": cfg.Since, "until": cfg.Until} {
		if !at.IsZero() {
			query.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	for {
		var page recordedPage
		_, err := c.get(ctx, "/v1/events", query, &page)
		if isStatus(err, http.StatusMethodNotAllowed) || isStatus(err, http.StatusNotFound) {
			return problemError("该服务进程不提供已保存的事件", "this server does not hand out its events").withHint("连接承担 console 角色、版本相同的进程", "ask a process with the role console, of the same version")
		}
		if err != nil {
			return err
		}
		events := make([]backtest.Event, len(page.Items))
		for i, one := range page.Items {
			events[i] = backtest.Event{Where: one.Stored.Format(time.RFC3339Nano), Raw: one.Event, Stored: one.Stored}
		}
		select {
		case to <- batch{events: events}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if page.Next == "" {
			return nil
		}
		query.Set("cursor", page.Next)
	}
}

// parseSince reads an instant, or a duration that ends now; zero for "".
func parseSince(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	return parseTime(flag, s)
}

// parseAllowance reads --allow-change; the result tells how many of a number of deliveries that is.
func parseAllowance(s string) (func(deliveries int) int, error) {
	if p, ok := percent(s); ok {
		return func(n int) int { return int(math.Floor(float64(n) * p / 100)) }, nil
	} else if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return func(int) int { return n }, nil
	}
	return nil, usageError("--allow-change 应为条数或百分比，如 10 或 0.1%", "--allow-change must be a number or a share, such as 10 or 0.1%")
}

// percent reads 0% to 100%, such as 0.1%.
func percent(s string) (float64, bool) {
	digits, ok := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(digits, 64)
	return p, ok && err == nil && p >= 0 && p <= 100 // and no NaN
}

// billedParts is how many messages an SMS is charged as.
func billedParts(in rules.Input) int { return parts.Of(in).Parts }

// cost is in CNY, rounded to 0.01.
func cost(parts int, price float64) float64 { return math.Round(float64(parts)*price*100) / 100 }
