package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/schemas"
)

func channelsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("channels [通道]", "channels [CHANNEL]"),
		Short: tr("各通道近一小时和近一天的情况：成功率、耗时、主要原因、熔断", "How each channel did in the last hour and day: success, latency, top causes, what is stopped"),
		Long: tr(`汇总所有进程对第三方的调用：近一小时和近一天的成功率、耗时和主要失败原因，以及熔断和排队情况。
走势图中每格的高度为成功率，“·”表示没有调用。各进程每分钟上报一次，最近两分钟的数字可能不全。
驿站自身的决定（规则拦截、限速）不计入。退出码：0 正常，1 有通道已熔断或异常（因收件人和内容以外的原因，失败超过一成）。`,
			`Adds up the calls of all processes to each third party: success, latency and the top causes of failures in the last hour
and day, what is stopped and what waits. In the trend the height is the share that succeeded, "·" is no call. Processes
report once a minute, so the last two minutes may be incomplete. What Yizhan decides by itself (rules, its own limits) is
not counted. Exit codes: 0 all is well, 1 a channel is stopped or poor (more than one of ten calls fail for other reasons than
recipient and content).`),
		Example: "  yizhan channels\n  yizhan channels sms\n  yizhan channels -o json",
		Args:    atMost(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		var list ingest.ChannelList
		body, err := c.get(cmd.Context(), "/v1/channels", nil, &list)
		if err != nil {
			return err
		}
		u := newUI(cmd)
		if len(args) == 1 {
			i := slices.IndexFunc(list.Channels, func(c ingest.ChannelItem) bool { return c.Name == args[0] })
			if i < 0 {
				return problemError("没有通道“"+args[0]+"”", fmt.Sprintf("there is no channel %q", args[0])).withHint("yizhan channels 列出所有通道", "`yizhan channels` lists them")
			}
			list.Channels = list.Channels[i : i+1]
			if body, err = json.Marshal(list.Channels[0], json.Deterministic(true)); err != nil {
				return err
			}
		}
		switch {
		case u.json:
			err = u.printJSON(jsontext.Value(body))
		case len(args) == 1:
			u.channel(list.Channels[0])
		default:
			u.channels(list)
		}
		if err == nil && slices.ContainsFunc(list.Channels, func(c ingest.ChannelItem) bool {
			return c.State == ingest.ChannelPoor || c.State == ingest.ChannelBroken
		}) {
			err = errFound
		}
		return err
	}
	return cmd
}

// channelStates are the states as an operator says them.
var channelStates = map[string]struct {
	text  schemas.Text
	color color
}{
	ingest.ChannelIdle:   {schemas.Text{Zh: "无调用", En: "idle"}, plain},
	ingest.ChannelGood:   {schemas.Text{Zh: "正常", En: "good"}, green},
	ingest.ChannelPoor:   {schemas.Text{Zh: "异常", En: "poor"}, red},
	ingest.ChannelBroken: {schemas.Text{Zh: "已熔断", En: "stopped"}, red},
}

func stateCell(state string) cell {
	s, ok := channelStates[state]
	if !ok {
		return cell{state, plain}
	}
	return cell{say(s.text), s.color}
}

// The trends of the table: twelve steps of five minutes, 24 of an hour.
const hourPoints, dayPoints = 12, 24

func (u *ui) channels(list ingest.ChannelList) {
	if len(list.Channels) == 0 {
		u.printf("%s\n", tr("没有通道", "no channels"))
		return
	}
	t := newTable(tr("通道", "CHANNEL"), tr("类型", "KIND"), tr("状态", "STATE"), tr("1 小时", "1 HOUR"), tr("成功率", "OK"), tr("走势", "TREND"), "P50", "P95",
		tr("24 小时", "24 HOURS"), tr("成功率", "OK"), tr("走势", "TREND"), tr("排队", "QUEUED"))
	for _, c := range list.Channels {
		t.add(c.Name, kindOf(c), stateCell(c.State), c.Hour.Calls, share(c.Hour), trend(c.Hour, hourPoints), took(c.Hour, c.Hour.P50), took(c.Hour, c.Hour.P95),
			c.Day.Calls, share(c.Day), trend(c.Day, dayPoints), c.Queued)
	}
	t.print(u, "")
	if list.Held > 0 {
		u.printf(tr("\n另有 %d 条投递在等待（重试、时段、限速）\n", "\nwaiting for an instant (retries, hours, limits): %d\n"), list.Held)
	}
	for _, c := range list.Channels {
		if c.State == ingest.ChannelPoor || c.State == ingest.ChannelBroken {
			u.printf("\n%s\n", u.paint(bold, tr("通道 ", "Channel ")+clean(c.Name)))
			u.stops(c)
			u.causes(c.Hour)
		}
	}
}

// channel shows one channel in full.
func (u *ui) channel(c ingest.ChannelItem) {
	state := stateCell(c.State)
	u.printf("%s%s  %s\n", u.paint(bold, tr("通道 ", "Channel ")+clean(c.Name)), tr("（", " (")+clean(kindOf(c))+tr("）", ")"), u.paint(state.color, state.text))
	u.stops(c)
	for _, s := range []struct {
		title string
		span  ingest.ChannelSpan
		n     int
	}{{tr("近 1 小时", "Last hour"), c.Hour, hourPoints}, {tr("近 24 小时", "Last day"), c.Day, dayPoints}} {
		u.printf("\n%s\n", s.title)
		t := newTable()
		t.add(tr("调用", "Calls"), s.span.Calls)
		t.add(tr("成功率", "Succeeded"), share(s.span))
		t.add(tr("走势", "Trend"), trend(s.span, s.n))
		t.add(tr("耗时", "Latency"), fmt.Sprintf("P50 %s, P95 %s", took(s.span, s.span.P50), took(s.span, s.span.P95)))
		t.add(tr("结果", "Outcomes"), callOutcomes(s.span.Outcomes))
		t.print(u, "  ")
		u.causes(s.span)
	}
	u.printf(tr("\n排队 %d 条\n", "\nqueued: %d\n"), c.Queued)
}

func kindOf(c ingest.ChannelItem) string {
	if c.Kind == "" {
		return tr("未配置", "not configured")
	}
	if c.Provider == "" {
		return c.Kind
	}
	return c.Kind + "/" + c.Provider
}

// stops tells where calls are stopped.
func (u *ui) stops(c ingest.ChannelItem) {
	for _, b := range c.Broken {
		where := cmp.Or(b.Destination, tr("整个通道", "the whole channel"))
		until := tr("处理后恢复", "until somebody acts")
		if !b.RetryAt.IsZero() {
			until = fmt.Sprintf(tr("%s 重试", "next try at %s"), localTime(b.RetryAt))
		}
		u.printf("  %s\n", u.paint(red, clean(fmt.Sprintf(tr("已熔断：%s，自 %s，%s（%s）", "stopped: %s, since %s, %s (%s)"), where, localTime(b.Since), until, b.Worker))))
		if b.Cause != nil {
			u.cause(*b.Cause)
		}
	}
}

func (u *ui) causes(s ingest.ChannelSpan) {
	for _, c := range s.Causes {
		u.cause(c)
	}
}

func (u *ui) cause(c ingest.ChannelCause) {
	head := strings.TrimSpace(c.Provider + " " + c.Code)
	if c.Count > 0 {
		head = fmt.Sprintf(tr("%d 次  ", "%d ×  "), c.Count) + head
	}
	u.printf("  %s\n", u.paint(yellow, clean(oneLine(head))))
	t := newTable()
	t.why(c.Cause, c.Owner, c.Remedy)
	t.print(u, "    ")
}

// share is the part of the calls that succeeded. Rounded, 100 % is said of all alone.
func share(s ingest.ChannelSpan) string {
	switch {
	case s.Calls == 0:
		return "-"
	case s.OK == s.Calls:
		return "100%"
	}
	return strconv.FormatFloat(min(float64(100*s.OK)/float64(s.Calls), 99.9), 'f', 1, 64) + "%"
}

// took is a duration of a span's calls.
func took(s ingest.ChannelSpan, n int64) string {
	switch d := time.Duration(n) * time.Millisecond; {
	case s.Calls == 0:
		return "-"
	case n == 0:
		return "<1ms"
	case d < time.Second:
		return d.String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// trend draws a series in n steps: the height is the share of the calls that succeeded.
func trend(s ingest.ChannelSpan, n int) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	var b strings.Builder
	each := max(1, len(s.Series)/n)
	for group := range slices.Chunk(s.Series, each) {
		calls, ok := 0, 0
		for _, p := range group {
			calls, ok = calls+p.Calls, ok+p.OK
		}
		if calls == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(levels[(len(levels)-1)*ok/calls])
	}
	return b.String()
}

// callOutcomes lists the counts: what was accepted first, then the classes, by how often.
func callOutcomes(counts map[string]int) string {
	rank := func(outcome string) int {
		if outcome == weather.OK {
			return 0
		}
		return 1
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		word := name
		if t, ok := callWords[name]; ok {
			word = say(t)
		}
		names[i] = fmt.Sprintf("%s %d", word, counts[name])
	}
	return cmp.Or(strings.Join(names, tr("，", ", ")), "-")
}

// callWords are the outcomes as an operator says them.
var callWords = map[string]schemas.Text{
	weather.OK:                 {Zh: "已接受", En: "accepted"},
	string(channels.Temporary): {Zh: "暂时故障", En: "temporary"},
	string(channels.Throttled): {Zh: "被限流", En: "throttled"},
	string(channels.Auth):      {Zh: "凭证被拒", En: "credentials"},
	string(channels.Config):    {Zh: "配置有误", En: "settings"},
	string(channels.Content):   {Zh: "内容被拒", En: "content"},
	string(channels.BadTarget): {Zh: "收件人有误", En: "recipient"},
	string(channels.Permanent): {Zh: "永久失败", En: "permanent"},
	string(channels.Unknown):   {Zh: "结果未知", En: "uncertain"},
}
