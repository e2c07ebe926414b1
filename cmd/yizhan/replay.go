package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/schemas"
)

func replayCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("replay [编号…] [--where 条件]", "replay [ID…] [--where FILTER]"),
		Short: tr("重发死信；默认只试算，不发送", "Send dead letters again; by default only a dry run"),
		Long: tr("默认只试算：有多少条会重发，其余为何不会。确认后加 --confirm 条数 和 --reason 原因 才真正重发。\n期间符合条件的数量有变化时，不会重发，需重新试算。\n\n",
			"By default only counts: how many would go, and why the others would not. --confirm N with --reason TEXT\nsends them. When the number has changed in between, nothing is sent and you look again.\n\n") + filterHelp(),
		Example: "  yizhan replay --where \"channel=sms since=2h\"\n  yizhan replay --where \"channel=sms since=2h\" --confirm 12 --reason \"" + tr("短信账户已充值", "SMS account topped up") + "\"",
	}
	r := &replayer{}
	f := cmd.Flags()
	f.StringVar(&r.where, "where", "", tr("筛选条件（`FILTER`），空为全部死信", "`FILTER`; empty means all dead letters"))
	f.BoolVar(&r.uncertain, "uncertain", false, tr("包括结果未知的（可能重复送达）", "also those of unknown outcome (they may arrive twice)"))
	f.IntVar(&r.confirm, "confirm", 0, tr("确认重发 `N` 条，即试算结果中的“可重发”", "send these `N`: the number that the dry run gave"))
	f.StringVar(&r.reason, "reason", "", tr("重发原因（`TEXT`），写入审计记录", "`TEXT` that says why; kept for the audit"))
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		switch {
		case r.where != "" && len(args) > 0:
			return usageError("编号和 --where 只能用一种", "give either ids or --where, not both")
		case cmd.Flags().Changed("confirm") && r.confirm < 1:
			return usageError("--confirm 必须大于 0", "--confirm must be more than 0")
		case r.confirm > 0 && r.reason == "":
			return usageError("重发必须用 --reason 写明原因", "a replay needs a reason: --reason TEXT")
		}
		wheres := []string{r.where}
		if len(args) > 0 {
			wheres = nil
			for _, id := range slices.Compact(slices.Sorted(slices.Values(args))) {
				term, err := joinFilters([]string{"id=" + id})
				if err != nil {
					return err
				}
				wheres = append(wheres, term)
			}
		}
		if r.client, err = newClient(cmd); err != nil {
			return err
		}
		r.client.http.Timeout = replayTimeout
		r.ui = newUI(cmd)
		return r.run(cmd, wheres, args)
	}
	return cmd
}

// replayTimeout bounds one confirmed call, in which the server sends up to a thousand letters and
// gives itself two minutes.
const replayTimeout = 150 * time.Second

type replayer struct {
	where, reason string
	uncertain     bool
	confirm       int
	client        *client
	ui            *ui
}

// replayRequest is dispatcher.ReplayRequest as it travels.
type replayRequest struct {
	Where     string `json:"where"`
	Uncertain bool   `json:"uncertain,omitzero"`
	Confirm   int    `json:"confirm,omitzero"`
	Reason    string `json:"reason,omitzero"`
}

func (r *replayer) run(cmd *cobra.Command, wheres, ids []string) error {
	ctx := cmd.Context()
	plans := make([]*dispatcher.ReplayPlan, len(wheres))
	sum := &dispatcher.ReplayPlan{Refused: map[string]int{}, Texts: map[string]schemas.Text{}}
	for i, where := range wheres {
		p, err := r.post(ctx, where, 0)
		if err != nil {
			return err
		}
		plans[i] = p
		add(sum, p)
		sum.Eligible += p.Eligible
		sum.Remaining += p.Eligible
	}
	if r.confirm == 0 {
		return r.showPlan(cmd, sum, ids)
	}
	if sum.Eligible != r.confirm {
		return planChanged(r.confirm, sum.Eligible, 0)
	}
	sum.Refused = map[string]int{} // from here on: what this run itself met
	bar := r.ui.progress()
	defer bar.clear()
	for i, where := range wheres {
		for left := plans[i].Eligible; left > 0; {
			p, err := r.post(ctx, where, left)
			if isStatus(err, http.StatusConflict) {
				now := "?"
				if again, err := r.post(ctx, where, 0); err == nil {
					now = strconv.Itoa(again.Eligible)
				}
				bar.clear()
				return r.changedWhile(left, now, sum.Replayed, err)
			}
			if err != nil {
				bar.clear()
				return r.stopped(err, sum.Replayed)
			}
			if p.Remaining >= left { // it would go on for ever
				bar.clear()
				return r.stopped(problemError("服务器没有继续重发", "the server did not go on"), sum.Replayed)
			}
			sum.Replayed += p.Replayed
			sum.Remaining -= left - p.Remaining
			if n := p.Refused["moved-on"]; n > 0 {
				sum.Refused["moved-on"] += n
				sum.Texts["moved-on"] = p.Texts["moved-on"]
			}
			left = p.Remaining
			bar.set(int64(r.confirm-sum.Remaining), int64(r.confirm), fmt.Sprintf(tr("已重发 %d/%d", "%d of %d sent again"), sum.Replayed, r.confirm))
		}
	}
	bar.clear()
	if r.ui.json {
		return r.ui.printJSON(sum)
	}
	r.ui.printf(tr("已重发 %d 条\n", "%d sent again\n"), sum.Replayed)
	if n := sum.Refused["moved-on"]; n > 0 {
		r.ui.printf(tr("%d 条没有重发：%s\n", "%d not sent: %s\n"), n, say(sum.Texts["moved-on"]))
	}
	r.ui.printf("%s\n", tr("重发只是再次排队，结果请用 yizhan trace 或 yizhan dead ls 查看", "they are queued again; `yizhan trace` and `yizhan dead ls` tell what becomes of them"))
	return nil
}

func (r *replayer) post(ctx context.Context, where string, confirm int) (*dispatcher.ReplayPlan, error) {
	p := &dispatcher.ReplayPlan{}
	return p, r.client.post(ctx, "/v1/replays", replayRequest{where, r.uncertain, confirm, r.reason}, p)
}

// add sums up plans; eligible and remaining differ in meaning from call to call and are the caller's.
func add(sum, p *dispatcher.ReplayPlan) {
	sum.Count += p.Count
	for why, n := range p.Refused {
		sum.Refused[why] += n
		sum.Texts[why] = p.Texts[why]
	}
}

func planChanged(confirmed, now, replayed int) error {
	return problemError(fmt.Sprintf("确认的是 %d 条，现在可重发的是 %d 条，没有重发", confirmed, now),
		fmt.Sprintf("%d were confirmed, now %d are eligible; nothing was sent", confirmed, now)).
		withHint("重新试算（去掉 --confirm）后再确认", "look again without --confirm, then confirm the new number")
}

func (r *replayer) changedWhile(left int, now string, replayed int, err error) error {
	return problemError(fmt.Sprintf("重发中止：应剩 %d 条，现在可重发的是 %s 条；此前已重发 %d 条", left, now, replayed),
		fmt.Sprintf("stopped: %d should have been left, now %s are eligible; %d were sent again before that", left, now, replayed)).
		withHint("可能有新的死信产生（例如重发后再次失败）；重新试算后再确认", "new dead letters may have come, perhaps from this replay itself; look again, then confirm")
}

// stopped tells how far it came before err.
func (r *replayer) stopped(err error, replayed int) error {
	if replayed > 0 {
		r.ui.note(fmt.Sprintf(tr("此前已重发 %d 条", "%d were sent again before that"), replayed))
	}
	return err
}

func (r *replayer) showPlan(cmd *cobra.Command, p *dispatcher.ReplayPlan, ids []string) error {
	u := r.ui
	if u.json {
		return u.printJSON(p)
	}
	t := newTable(tr("试算", "DRY RUN"), tr("条数", "COUNT"), tr("说明", "WHY"))
	t.add(tr("符合条件", "match"), p.Count, "")
	t.add(cell{tr("可重发", "eligible"), green}, p.Eligible, "")
	for _, why := range slices.Sorted(maps.Keys(p.Refused)) {
		text := say(p.Texts[why])
		if text == "" {
			text = why
		}
		t.add(cell{tr("不重发", "refused"), yellow}, p.Refused[why], text)
	}
	t.print(u, "")
	if p.Eligible == 0 {
		u.printf("\n%s\n", tr("没有可重发的死信", "nothing to send again"))
		return nil
	}
	args := slices.Clone(ids)
	if r.where != "" {
		args = append(args, "--where", r.where)
	}
	if r.uncertain {
		args = append(args, "--uncertain")
	}
	reason := r.reason
	if reason == "" {
		reason = tr("重发的原因", "why you send them again")
	}
	args = append(args, "--confirm", strconv.Itoa(p.Eligible), "--reason", reason)
	u.printf("\n%s\n  %s\n", tr("以上未发送任何消息。确认重发请执行：", "Nothing was sent. To send them:"), commandLine(cmd, "replay", args...))
	return nil
}
