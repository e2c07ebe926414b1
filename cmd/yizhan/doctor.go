package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// doctor is one call of `yizhan doctor`.
type doctor struct {
	ui        *ui
	conf      *config
	open      map[string]channels.Channel
	book      *rules.Book // nil when the rules cannot be read: then there are no templates to ask about
	table     *explain.Table
	dns       string
	selectors []string
	step      time.Duration
	sendTo    string
	message   draftFlags
	now       func() time.Time
}

func doctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("doctor [通道…]", "doctor [CHANNEL…]"),
		Short: tr("逐段检查通道：DNS、TCP、TLS、登录、签名和模板、时钟", "Examine channels stretch by stretch: DNS, TCP, TLS, login, signature and templates, clock"),
		Long: tr(`逐段检查 yizhan.yaml 中的通道（不写则检查全部），说明哪一段有问题、由谁处理、怎么处理。
不需要运行中的服务；不发送任何消息，除非指定 --send-to。
✓ 正常　! 能用但需留意　✗ 有问题　- 从这里看不到
退出码：0 没有问题（可能有需留意的），1 有问题，2 用法错误。`,
			`Examines the channels of yizhan.yaml (all when none is named) stretch by stretch, and says which one fails, whose
job that is and what to do. No server is needed, and nothing is sent without --send-to.
✓ good  ! works, but look  ✗ fails  - cannot be seen from here
Exit codes: 0 nothing fails, 1 something does, 2 usage.`),
		Example: "  yizhan doctor mail\n  yizhan doctor mail --send-to wang.fang@example.com\n  yizhan doctor sms -o json --timeout 30s",
	}
	f := cmd.Flags()
	file := configFileFlag(cmd)
	timeout := f.Duration("timeout", time.Minute, tr("每个通道的总时限", "time for all steps of a channel"))
	d := &doctor{now: time.Now}
	f.DurationVar(&d.step, "step-timeout", 10*time.Second, tr("每一步的时限", "time for one step"))
	f.StringVar(&d.sendTo, "send-to", "", tr("最后向该地址（`ADDRESS`）真实发送一条测试消息：邮箱、手机号；Webhook 和机器人写通道名", "send one real test message at the end, to `ADDRESS`: mailbox or number; for webhooks and robots the channel's own name"))
	f.StringVar(&d.dns, "dns", "", tr("使用这台 DNS 服务器（`HOST[:PORT]`），默认用系统设置", "ask this name server, `HOST[:PORT]`; default: the system's"))
	f.StringSliceVar(&d.selectors, "dkim-selector", nil, tr("检查这个 DKIM 选择器（`NAME`），默认尝试常用的几个", "look for this DKIM selector, `NAME`; default: the usual ones"))
	d.message.add(cmd)
	cmd.ValidArgsFunction = completeChannels(file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *timeout <= 0 || d.step <= 0 {
			return usageError("--timeout 和 --step-timeout 必须大于 0", "--timeout and --step-timeout must be more than 0")
		}
		if d.sendTo != "" && len(args) != 1 {
			return usageError("--send-to 只能用于一个通道", "--send-to goes with one channel")
		}
		d.ui = newUI(cmd)
		if err := d.load(*file, args); err != nil {
			return err
		}
		defer closeChannels(d.open)
		return d.run(cmd, args, *timeout)
	}
	return cmd
}

// configFileFlag is -c of the commands that work on a configuration alone.
func configFileFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", defaultConfigFile, tr("配置文件（`FILE`）", "configuration `FILE`"))
}

// completeChannels offers the names of the channels in the configuration.
func completeChannels(file *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := loadConfig(*file)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Channels)), func(n string) bool { return slices.Contains(given, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// load reads the configuration and opens the channels named, or all. A channel that is not asked for may be wrong.
func (d *doctor) load(file string, names []string) error {
	var err error
	if d.conf, d.open, err = openNamed(file, names, "yizhan doctor mail -c data/dev/yizhan.yaml"); err != nil {
		return err
	}
	if d.book, err = d.conf.previewBook(); err != nil {
		d.book = nil // broken rules are the business of `config check`
	}
	if d.table, err = d.conf.loadTable(); err != nil {
		d.table = explain.Default() // as are broken diagnoses
	}
	return nil
}

// openNamed reads a configuration and opens the channels named, all when none is.
func openNamed(file string, names []string, example string) (*config, map[string]channels.Channel, error) {
	if err := configThere(file, example); err != nil {
		return nil, nil, err
	}
	c, err := loadConfig(file)
	if err != nil {
		return nil, nil, err
	}
	all := slices.Sorted(maps.Keys(c.Channels))
	for _, name := range names {
		if !slices.Contains(all, name) {
			list := strings.Join(all, ", ")
			return nil, nil, usageError("没有通道“"+name+"”，可用："+list, "there is no channel "+strconv.Quote(name)+"; there are "+list)
		}
	}
	if len(names) > 0 {
		maps.DeleteFunc(c.Channels, func(name string, _ strictyaml.Section) bool { return !slices.Contains(names, name) })
	}
	open, err := c.openChannels(zap.NewNop(), false)
	if err != nil {
		return nil, nil, badConfig(err)
	}
	return c, open, nil
}

// examined is a channel in `doctor -o json`.
type examined struct {
	Channel  string         `json:"channel"`
	Kind     string         `json:"kind"`
	Provider string         `json:"provider,omitzero"`
	Result   channels.Level `json:"result"` // the worst of the steps
	Steps    []examinedStep `json:"steps"`
}

type examinedStep struct {
	ID     string         `json:"id"`
	Title  schemas.Text   `json:"title"`
	Level  channels.Level `json:"level"`
	Seen   schemas.Text   `json:"seen"`
	TookMS int64          `json:"took_ms"`
	// What went wrong: the third party's code and words, and the explanation.
	Code   string         `json:"code,omitzero"`
	Line   string         `json:"line,omitzero"`
	Class  channels.Class `json:"class,omitzero"`
	Cause  schemas.Text   `json:"cause,omitzero"`
	Owner  string         `json:"owner,omitzero"`
	Remedy schemas.Text   `json:"remedy,omitzero"`
}

// worst orders the levels.
var worst = []channels.Level{channels.Unseen, channels.Good, channels.Doubtful, channels.Bad}

// add adds a step, explained by a table.
func (e *examined) add(s channels.Step, table *explain.Table) examinedStep {
	out := examinedStep{ID: s.ID, Title: s.Title, Level: s.Level, Seen: s.Seen, TookMS: s.Took.Milliseconds()}
	if s.Failure != nil {
		out.Code, out.Line = s.Failure.Code, s.Failure.Line
		why := table.Explain(s.Failure)
		if s.Advice == nil {
			s.Advice = &why
		}
	}
	if s.Advice != nil {
		out.Class, out.Cause, out.Owner, out.Remedy = s.Advice.Class, s.Advice.Cause, s.Advice.Owner, s.Advice.Remedy
	}
	e.Steps = append(e.Steps, out)
	if slices.Index(worst, s.Level) > slices.Index(worst, e.Result) {
		e.Result = s.Level
	}
	return out
}

func (d *doctor) run(cmd *cobra.Command, names []string, timeout time.Duration) error {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(d.open))
	}
	if len(names) == 0 {
		return problemError("配置中没有通道", "the configuration has no channels")
	}
	out := struct {
		Channels []*examined `json:"channels"`
	}{}
	failed := false
	for i, name := range names {
		if i > 0 && !d.ui.json {
			d.ui.printf("\n")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		e, err := d.examine(ctx, name)
		cancel()
		if err != nil {
			return err
		}
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		out.Channels = append(out.Channels, e)
		failed = failed || e.Result == channels.Bad
	}
	if d.ui.json {
		if err := d.ui.printJSON(out); err != nil {
			return err
		}
	}
	if failed {
		return errFound
	}
	return nil
}

func (d *doctor) examine(ctx context.Context, name string) (*examined, error) {
	ch := d.open[name]
	t := ch.Traits()
	e := &examined{Channel: name, Kind: t.Kind, Provider: t.Provider, Result: channels.Unseen}
	test, err := d.testMessage(name, ch)
	if err != nil {
		return nil, err
	}
	if !d.ui.json {
		d.ui.printf("%s\n", d.ui.channelTitle(name, t.Kind, t.Provider))
	}
	bar := d.ui.progress()
	x := &channels.Examination{
		Resolver: resolverAt(d.dns), Limit: d.step, Selectors: d.selectors, Now: d.now,
		Begin: func(title schemas.Text) {
			bar = d.ui.progress() // each step is shown, however soon after the last
			bar.set(0, 0, say(title)+"…")
		},
		Report: func(s channels.Step) {
			bar.clear()
			if told := e.add(s, d.table); !d.ui.json {
				d.ui.step(told)
			}
		},
	}
	if d.book != nil {
		x.Codes = d.book.Codes(name, t.Kind, t.Provider)
	}
	if v, ok := ch.(channels.Examiner); ok {
		v.Examine(ctx, x)
	} else {
		x.Step(ctx, "none", channels.Text("检查", "Examination"), func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("这种通道没有可供检查的内容", "there is nothing to look at in this kind of channel")}
		})
	}
	if test != nil {
		x.Step(ctx, "send", channels.Text("发送测试消息", "Test message"), func(ctx context.Context) channels.Finding {
			return sendTest(ctx, ch, test)
		})
	}
	if !d.ui.json {
		d.ui.printf("%s\n", countSteps(e))
	}
	return e, nil
}

// channelTitle is "Channel sms (sms, aliyun)".
func (u *ui) channelTitle(name, kind, provider string) string {
	if provider != "" {
		kind += tr("，", ", ") + provider
	}
	return u.paint(bold, tr("通道 ", "Channel ")+name) + tr("（", " (") + kind + tr("）", ")")
}

func sendTest(ctx context.Context, ch channels.Channel, dl *schemas.Delivery) channels.Finding {
	receipt, err := ch.Send(ctx, dl)
	to := dl.To.Masked(string(ch.Traits().Address))
	if err != nil {
		return channels.Finding{Failure: channels.Explain(err), Seen: channels.Text("发往 %[1]s 失败", "to %[1]s: failed", to)}
	}
	id := cmp.Or(receipt.ID, "-")
	return channels.Finding{Seen: channels.Text("%[1]s 已被第三方接受，回执编号 %[2]s；是否送达请在收件端查看", "to %[1]s: accepted by the third party, its id %[2]s; look at the other end whether it arrived", to, id)}
}

// testMessage is the one message of --send-to; nil without it.
func (d *doctor) testMessage(name string, ch channels.Channel) (*schemas.Delivery, error) {
	if d.sendTo == "" {
		if d.message.template != "" || d.message.params != "" {
			return nil, usageError("--template 和 --params 须与 --send-to 同用", "--template and --params go with --send-to")
		}
		return nil, nil
	}
	to, err := recipientOf(ch.Traits().Address, name, d.sendTo)
	if err != nil {
		return nil, err
	}
	if d.book == nil && d.message.template != "" {
		return nil, problemError("读不到规则文件，无法使用 --template", "the rules cannot be read, so --template has nothing to name")
	}
	q := dispatcher.Draft{Channel: name, To: to, Category: schemas.Notification, Template: d.message.template}
	switch {
	case q.Template != "":
		if q.Params, err = d.message.values(); err != nil {
			return nil, err
		}
	case ch.Traits().Kind == "sms":
		return nil, usageError("短信只能用已备案的模板发送：请加 --template 和 --params", "an SMS needs a template that was filed: add --template and --params")
	default:
		q.Content = &schemas.Content{
			Subject: "驿站测试消息 / Yizhan test message",
			Text:    "这是 yizhan doctor 发送的测试消息，收到即表示通道正常。\nThis is a test message of yizhan doctor: the channel works.",
		}
	}
	book := d.book
	if book == nil {
		if book, err = rules.Load(nil, guardFactories(), reserverFactories(), rules.Env{}); err != nil {
			return nil, err
		}
	}
	now := d.now()
	lookup := func(string) (rules.Channel, bool) { return dispatcher.Described(ch), true }
	// Each run is a message of its own: one that the third party has seen would be dropped as a repeat.
	dl, refusal := book.One(q.Event("doctor-"+now.UTC().Format("20060102T150405.000000000"), now), to, name, lookup, now)
	if refusal != nil {
		return nil, usageError("无法生成测试消息："+refusal.Problem.Zh, "no test message can be made: "+refusal.Problem.En)
	}
	return dl, nil
}

// recipientOf reads an address as the channel wants it.
func recipientOf(a channels.Address, channel, s string) (schemas.Recipient, error) {
	switch a {
	case channels.Phone:
		phone, err := schemas.NormalizePhone(s)
		if err != nil {
			return schemas.Recipient{}, usageError("“"+s+"”不是手机号", strconv.Quote(s)+" is not a mobile number")
		}
		return schemas.Recipient{Phone: phone}, nil
	case channels.Email:
		email, err := schemas.CheckEmail(s)
		if err != nil {
			return schemas.Recipient{}, usageError("“"+s+"”不是邮箱地址", strconv.Quote(s)+" is not a mail address")
		}
		return schemas.Recipient{Email: email}, nil
	}
	if s != channel {
		return schemas.Recipient{}, usageError("这种通道没有收件人，请写通道名："+channel, "this kind of channel has no recipients: give its own name, "+channel)
	}
	return schemas.Recipient{Webhook: channel}, nil
}

func resolverAt(addr string) *net.Resolver {
	if addr == "" {
		return net.DefaultResolver
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, "53")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
}

// marks are what a step begins with.
var marks = map[channels.Level]struct {
	sign  string
	color color
}{
	channels.Good: {"✓", green}, channels.Doubtful: {"!", yellow}, channels.Bad: {"✗", red}, channels.Unseen: {"-", plain},
}

const titleWidth = 24

// step prints one step, and the explanation beneath where it does not go well.
func (u *ui) step(s examinedStep) {
	m := marks[s.Level]
	title := say(s.Title)
	u.printf("%s %s%s\n", u.paint(m.color, m.sign), pad(title, max(titleWidth, columns(title)+1)), clean(oneLine(say(s.Seen))))
	if s.Class == "" || s.Level == channels.Good {
		return
	}
	t := newTable()
	if s.Line != "" || s.Code != "" {
		said := s.Line
		if !strings.Contains(said, s.Code) {
			said = strings.TrimSpace(s.Code + " " + said)
		}
		t.add(tr("原始信息", "Detail"), said)
	}
	t.why(s.Cause, s.Owner, s.Remedy)
	t.print(u, "    ")
}

// why adds what a diagnosis says of a failure.
func (t *table) why(cause schemas.Text, owner string, remedy schemas.Text) {
	t.add(tr("原因", "Cause"), capital(say(cause)))
	t.add(tr("由谁处理", "Whose job"), capital(ownerWord(owner)))
	t.add(tr("怎么办", "What now"), capital(say(remedy)))
}

// countSteps is "11 steps: 9 good, 1 to look at, 1 fails".
func countSteps(e *examined) string {
	n := map[channels.Level]int{}
	for _, s := range e.Steps {
		n[s.Level]++
	}
	line := fmt.Sprintf(tr("共 %d 步：%d 步正常", "%d steps: %d good"), len(e.Steps), n[channels.Good])
	for _, w := range []struct {
		level  channels.Level
		zh, en string
	}{{channels.Doubtful, "，%d 步需留意", ", %d to look at"}, {channels.Bad, "，%d 步有问题", ", %d failed"}, {channels.Unseen, "，%d 步看不到", ", %d not seen"}} {
		if n[w.level] > 0 {
			line += fmt.Sprintf(tr(w.zh, w.en), n[w.level])
		}
	}
	return line
}
