package main

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
)

// filterHelp is the language of filters, for the help texts.
func filterHelp() string {
	return tr(`筛选条件形如 键=值，多个条件须同时满足。可用的键：
  tenant、channel、cause（代码）、class（类别）、id、event（事件编号）、source、type、template、
  to（号码或邮箱，可用打码形式）、since、until（30m、2h、3d、2026-11-23 或 RFC 3339 时间）`,
		`A filter is key=value; of several all must hold. The keys:
  tenant, channel, cause (code), class, id, event (its id), source, type, template,
  to (number or address, also masked), since, until (30m, 2h, 3d, 2026-11-23 or RFC 3339)`)
}

func deadCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: tr("死信：没有送达的消息及其原因", "Dead letters: what did not arrive, and why")}
	cmd.AddCommand(deadLsCmd(), deadShowCmd())
	return cmd
}

func deadLsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     tr("ls [条件…]", "ls [FILTER…]"),
		Short:   tr("列出死信", "List dead letters"),
		Long:    tr("列出死信，最早的在前。\n\n", "List dead letters, oldest first.\n\n") + filterHelp(),
		Example: "  yizhan dead ls\n  yizhan dead ls channel=sms since=2h\n  yizhan dead ls cause=isv.BUSINESS_LIMIT_CONTROL -o json",
	}
	limit := cmd.Flags().Int("limit", 50, tr("最多列出 `N` 条", "list at most `N`"))
	cursor := cmd.Flags().String("cursor", "", tr("从上一页给出的游标（`CURSOR`）继续", "go on at the `CURSOR` that the page before gave"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 1 {
			return usageError("--limit 必须大于 0", "--limit must be more than 0")
		}
		where, err := joinFilters(args)
		if err != nil {
			return err
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(*limit)}}
		if where != "" {
			query.Set("where", where)
		}
		if *cursor != "" {
			query.Set("cursor", *cursor)
		}
		var page struct {
			Items []ingest.DeadItem `json:"items"`
			Total int               `json:"total"`
			Next  string            `json:"next"`
		}
		body, err := c.get(cmd.Context(), "/v1/dead", query, &page)
		if err != nil {
			return err
		}
		u := newUI(cmd)
		if u.json {
			return u.printJSON(jsontext.Value(body))
		}
		if len(page.Items) == 0 {
			u.printf("%s\n", tr("没有符合条件的死信", "no dead letters match"))
			return nil
		}
		t := newTable(tr("时间", "TIME"), tr("编号", "ID"), tr("通道", "CHANNEL"), tr("收件人", "TO"), tr("事件", "EVENT"), tr("尝试", "TRIES"), tr("代码", "CODE"), tr("原因", "CAUSE"))
		for _, l := range page.Items {
			code, why, event := "", "", "-"
			if l.Event != nil {
				event = l.Event.ID
			}
			if l.Cause != nil {
				code, why = l.Cause.Code, tr(l.Cause.Zh, l.Cause.En)
			}
			t.add(localTime(l.Time), l.ID, l.Channel, l.To, clip(event, 32), l.Attempts, cell{clip(code, 32), red}, clip(why, 60))
		}
		t.print(u, "")
		u.printf(tr("\n本页 %d 条，共 %d 条\n", "\n%d of %d shown\n"), len(page.Items), page.Total)
		if page.Next != "" {
			u.printf("%s%s\n", tr("下一页：", "next page: "), commandLine(cmd, "dead", append([]string{"ls"}, append(args, "--limit", strconv.Itoa(*limit), "--cursor", page.Next)...)...))
		}
		return nil
	}
	return cmd
}

func deadShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   tr("show 编号", "show ID"),
		Short: tr("查看一条死信：原因、责任方、处理办法和消息内容（已打码）", "Show one dead letter: cause, whose job, what now, and the message (masked)"),
		Args:  exactlyOne("死信编号", "the dead letter's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var l ingest.DeadItem
			body, err := c.get(cmd.Context(), idPath("/v1/dead/", args[0]), nil, &l)
			if isStatus(err, http.StatusNotFound) {
				return problemError("没有这条死信", "there is no such dead letter").withHint(
					"可能已重发；用 yizhan trace 查看经过", "it may have been sent again; `yizhan trace` tells the story")
			}
			if err != nil {
				return err
			}
			u := newUI(cmd)
			if u.json {
				return u.printJSON(jsontext.Value(body))
			}
			u.letter(cmd, l)
			return nil
		},
	}
}

func (u *ui) letter(cmd *cobra.Command, l ingest.DeadItem) {
	u.printf("%s\n", u.paint(bold, clean(tr("死信 ", "Dead letter ")+l.ID)))
	t := newTable()
	t.add(tr("时间", "Time"), localTime(l.Time))
	t.add(tr("租户", "Tenant"), l.Tenant)
	t.add(tr("通道", "Channel"), l.Channel)
	t.add(tr("收件人", "To"), l.To)
	if l.Event != nil { // not of an event that nobody could read
		t.add(tr("事件", "Event"), l.Event.ID)
		t.add(tr("来源", "Source"), l.Event.Source)
		t.add(tr("类型", "Type"), l.Event.Type)
	}
	t.add(tr("尝试", "Attempts"), l.Attempts)
	if l.Replay > 0 {
		t.add(tr("已重发", "Replayed"), l.Replay)
	}
	if m := l.Message; m != nil {
		if m.Template != "" {
			t.add(tr("模板", "Template"), m.Template)
		}
		if m.Subject != "" {
			t.add(tr("主题", "Subject"), m.Subject)
		}
		if m.Text != "" {
			t.add(tr("正文", "Text"), m.Text)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Params)) {
			t.add(tr("参数 ", "Param ")+name, m.Params[name])
		}
	}
	t.print(u, "  ")
	u.printf("\n")
	u.verdict(verdictOf(l.State, time.Time{}, l.To, l.Cause), l.Cause)
	u.printf("\n%s%s\n", tr("重发（先试算）：", "Send it again (a dry run first): "), commandLine(cmd, "replay", l.ID))
}

// joinFilters makes one filter of the arguments; a value with spaces gets its quotes back, which
// the shell took away.
func joinFilters(args []string) (string, error) {
	terms := make([]string, 0, len(args))
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if ok && !strings.Contains(value, `"`) && strings.ContainsAny(value, " \t\n\u3000") && !strings.Contains(value, "=") {
			a = key + `="` + value + `"`
		}
		if strings.Count(a, `"`)%2 != 0 {
			return "", usageError("筛选条件里的双引号没有成对："+a, "a double quote is not closed: "+a)
		}
		terms = append(terms, a)
	}
	return strings.Join(terms, " "), nil
}

// commandLine is a command of ours that an operator can paste, with the global flags of this call.
func commandLine(cmd *cobra.Command, name string, args ...string) string {
	parts := []string{"yizhan", name}
	for _, a := range args {
		parts = append(parts, quoteArg(a))
	}
	for _, flag := range []string{"server", "key-file"} {
		if f := cmd.Flags().Lookup(flag); f != nil && f.Changed {
			parts = append(parts, "--"+flag, quoteArg(f.Value.String()))
		}
	}
	return strings.Join(parts, " ")
}

// quoteArg quotes for a POSIX shell; plain words and double quotes mean the same in PowerShell and cmd.
func quoteArg(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@,+", r)
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0:
		return s
	case !strings.ContainsAny(s, "\"$`\\!%"):
		return `"` + s + `"`
	default:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
}
