package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/rules/backtest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// backtestResult is `rules backtest -o json`.
type backtestResult struct {
	Rules   string  `json:"rules"`
	Against string  `json:"against"`
	Price   float64 `json:"price"` // CNY a part
	OldCost float64 `json:"old_cost"`
	NewCost float64 `json:"new_cost"`
	// Worse is how many are newly blocked or newly over the cap, Allowed how many may be; OK: no more than that.
	Worse   int  `json:"worse"`
	Allowed int  `json:"allowed"`
	OK      bool `json:"ok"`
	*backtest.Report
}

var outcomeWords = map[backtest.Outcome]schemas.Text{
	"sent":       {Zh: "立即发送", En: "sent at once"},
	"later":      {Zh: "等待后发送", En: "sent later"},
	"other":      {Zh: "由其他通道送出", En: "sent over another channel instead"},
	"blocked":    {Zh: "被规则拦截", En: "stopped by a rule"},
	"over_cap":   {Zh: "超出每日上限，未发送", En: "over the daily cap, not sent"},
	"expired":    {Zh: "过期未发送", En: "expired"},
	"unsendable": {Zh: "无法发送（无地址、缺模板等）", En: "cannot be sent (no address, no template …)"},
	"refused":    {Zh: "事件无法处理", En: "the event cannot be planned"},
	"absent":     {Zh: "未安排", En: "not planned"},
}

var changeWords = map[backtest.Change]schemas.Text{
	backtest.NewlyBlocked: {Zh: "新拦截", En: "newly blocked"},
	backtest.NewlyOverCap: {Zh: "新超出每日上限", En: "newly over the daily cap"},
	backtest.Dropped:      {Zh: "改道：不再走此通道", En: "routed elsewhere: no longer over this channel"},
	backtest.Added:        {Zh: "改道：新增此通道", En: "routed elsewhere: now over this channel"},
	backtest.NewlyHeld:    {Zh: "比原来晚发", En: "sent later than before"},
	backtest.Sooner:       {Zh: "比原来早发", En: "sent sooner than before"},
	backtest.NoLongerOver: {Zh: "不再超出每日上限", En: "no longer over the daily cap"},
	backtest.NewlyAllowed: {Zh: "新放行", En: "newly allowed"},
	backtest.Replaced:     {Zh: "改由备用通道送出", En: "now over the channel that takes its place"},
	backtest.Restored:     {Zh: "改回原通道送出", En: "back over its own channel"},
	backtest.OtherWay:     {Zh: "仍未发送，原因不同", En: "still not sent, for another reason"},
}

// document is a report that can be shown as text or as Markdown.
type document struct {
	title    string
	lead     []string
	sections []section
	verdict  cell
}

// section is a table, or under a title of its own a list of lines.
type section struct {
	title string
	head  []string
	rows  [][]string // the first column is text, the others are numbers
	items []string
}

// document puts the result into words.
func (r *backtestResult) document() *document {
	d := &document{title: fmt.Sprintf(tr("回测：%s 对照 %s", "Backtest of %s against %s"), r.Rules, r.Against)}
	e := r.Events
	lead := fmt.Sprintf(tr("%s 个事件", "%s events"), thousands(e.Used))
	if e.Used > 0 {
		lead += fmt.Sprintf(tr("，%s 至 %s", ", %s to %s"), localTime(r.From), localTime(r.To))
	}
	d.lead = append(d.lead, lead)
	for _, n := range []struct {
		n    int
		word string
	}{
		{e.Rerouted, tr("在新规则下改走其他通道的事件", "events that take other channels under the new rules")},
		{e.Duplicates, tr("未计入的重复事件", "duplicates, left out")},
		{e.Outside, tr("不在所选时间内的事件", "events outside the chosen time")},
		{e.Wrong, tr("无法读取的行", "lines that are no events")},
	} {
		if n.n > 0 {
			d.lead = append(d.lead, n.word+tr("：", ": ")+thousands(n.n))
		}
	}
	for _, w := range r.Wrong {
		d.lead = append(d.lead, "  "+wrongLine(w))
	}
	d.sections = append(d.sections, r.totals())
	if len(r.Changes) == 0 {
		d.sections = append(d.sections, section{title: tr("变化", "Changes"), items: []string{tr("没有变化", "nothing changes")}})
	} else {
		changes := section{title: tr("变化", "Changes"), head: []string{tr("变化", "CHANGE"), tr("条数", "COUNT")}}
		for _, c := range r.Changes {
			changes.rows = append(changes.rows, []string{say(changeWords[c.Change]), thousands(c.Count)})
		}
		d.sections = append(d.sections, changes)
	}
	d.sections = append(d.sections, r.rules())
	d.sections = append(d.sections, groups(tr("按路由", "By route"), tr("路由", "ROUTE"), r.Routes),
		groups(tr("按通道", "By channel"), tr("通道", "CHANNEL"), r.Channels), groups(tr("按类别", "By category"), tr("类别", "CATEGORY"), r.Categories))
	for _, c := range r.Changes {
		if len(c.Examples) > 0 {
			s := section{title: fmt.Sprintf(tr("例：%s", "Examples: %s"), say(changeWords[c.Change]))}
			for _, x := range c.Examples {
				s.items = append(s.items, exampleLine(c.Change, x))
			}
			d.sections = append(d.sections, s)
		}
	}
	d.verdict = cell{fmt.Sprintf(tr("新拦截或新超限 %s 条，允许 %s 条：", "%s newly blocked or over the cap, %s allowed: "), thousands(r.Worse), thousands(r.Allowed)), green}
	if r.OK {
		d.verdict.text += tr("通过", "passed")
	} else {
		d.verdict.text += tr("未通过", "failed")
		d.verdict.color = red
	}
	return d
}

// totals is the table of what both rules do.
func (r *backtestResult) totals() section {
	s := section{title: tr("结果", "Result"), head: []string{tr("投递", "DELIVERIES"), tr("原规则", "OLD"), tr("新规则", "NEW"), "±"}}
	add := func(name string, before, after int) {
		s.rows = append(s.rows, []string{name, thousands(before), thousands(after), signed(after - before)})
	}
	add(tr("合计", "in all"), r.Old.Deliveries, r.New.Deliveries)
	for _, o := range backtest.Outcomes {
		if r.Old.Outcomes[o]+r.New.Outcomes[o] > 0 {
			add("· "+say(outcomeWords[o]), r.Old.Outcomes[o], r.New.Outcomes[o])
		}
	}
	add(tr("触及每日上限（含推迟和改道）", "met the daily cap, deferred and diverted included"), r.Old.OverCap, r.New.OverCap)
	if r.Old.EventsRefused+r.New.EventsRefused > 0 {
		add(tr("无法处理的事件（无路由等）", "events that cannot be planned (no route …)"), r.Old.EventsRefused, r.New.EventsRefused)
	}
	add(tr("短信", "SMS sent"), r.Old.SMS, r.New.SMS)
	add(tr("短信计费条数", "SMS parts billed"), r.Old.Parts, r.New.Parts)
	s.rows = append(s.rows, []string{
		fmt.Sprintf(tr("短信费用（元，每条 %s）", "SMS cost (CNY, %s a part)"), strconv.FormatFloat(r.Price, 'f', -1, 64)),
		money(r.OldCost), money(r.NewCost), plus(r.NewCost-r.OldCost) + money(r.NewCost-r.OldCost),
	})
	return s
}

func (r *backtestResult) rules() section {
	s := section{title: tr("按规则", "By rule"), head: []string{
		tr("规则", "RULE"), tr("拦下（原）", "STOPPED OLD"), tr("拦下（新）", "NEW"), tr("推迟（原）", "HELD OLD"), tr("推迟（新）", "NEW"), tr("由此变化", "CHANGED"),
	}}
	for _, one := range r.Report.Rules {
		s.rows = append(s.rows, []string{
			one.Rule, thousands(one.OldStopped), thousands(one.NewStopped), thousands(one.OldHeld), thousands(one.NewHeld), thousands(one.Changed),
		})
	}
	return s
}

func groups(title, column string, list []backtest.Group) section {
	s := section{title: title, head: []string{
		column, tr("投递（原）", "DELIVERIES OLD"), tr("（新）", "NEW"), tr("送出（原）", "SENT OLD"), tr("（新）", "NEW"), tr("触及上限（原）", "MET CAP OLD"), tr("（新）", "NEW"),
		tr("新拦截", "NEWLY BLOCKED"), tr("新超限", "NEWLY OVER CAP"), tr("新放行", "NEWLY ALLOWED"), tr("计费条数 ±", "PARTS ±"),
	}}
	for _, g := range list {
		s.rows = append(s.rows, []string{
			cmp.Or(g.Name, tr("（事件自带通道）", "(named by the event)")), thousands(g.Old.Deliveries), thousands(g.New.Deliveries), thousands(g.Old.Reached), thousands(g.New.Reached),
			thousands(g.Old.OverCap), thousands(g.New.OverCap), thousands(g.NewlyBlocked), thousands(g.NewlyOverCap), thousands(g.NewlyAllowed),
			signed(g.New.Parts - g.Old.Parts),
		})
	}
	return s
}

func wrongLine(w backtest.Wrong) string {
	lines := make([]string, len(w.Problems))
	for i, p := range w.Problems {
		lines[i] = problemLine(p)
	}
	return w.Where + ": " + strings.Join(lines, tr("；", "; "))
}

// exampleLine is one changed delivery on a line.
func exampleLine(c backtest.Change, x backtest.Example) string {
	line := fmt.Sprintf("%s %s, %s, %s", localTime(x.Time), x.Event, x.Type, x.Channel)
	if x.To != x.Channel { // a webhook is its own address
		line += " → " + x.To
	}
	word := func(o backtest.Outcome, at, planned time.Time) string {
		s := say(outcomeWords[o])
		if o == "later" || at.Sub(planned) >= time.Second {
			s += " " + localTime(at)
		}
		return s
	}
	line += fmt.Sprintf(tr("：%s ⇒ %s", ": %s ⇒ %s"), word(x.Old, x.OldAt, x.Time), word(x.New, x.NewAt, x.Time))
	if x.OldRoute != x.NewRoute {
		line += tr("；路由 ", "; route ") + strings.Join(slices.DeleteFunc([]string{x.OldRoute, x.NewRoute}, func(s string) bool { return s == "" }), " ⇒ ")
	}
	if x.Rule != "" {
		line += tr("；规则 ", "; rule ") + x.Rule
	}
	if x.Text != "" {
		line += fmt.Sprintf(tr("“%s”", " %q"), x.Text)
	}
	// What the old rules advised is no advice any more.
	if a := say(x.Advice); a != "" && !slices.Contains([]backtest.Change{backtest.NewlyAllowed, backtest.NoLongerOver, backtest.Sooner, backtest.Restored}, c) {
		line += tr("：", ": ") + a
	}
	return line
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int) string {
	s := strconv.Itoa(max(n, -n))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if n < 0 {
		return "-" + s
	}
	return s
}

func signed(n int) string { return plus(float64(n)) + thousands(n) }

func plus(n float64) string {
	if n > 0 {
		return "+"
	}
	return ""
}

// money is CNY with two decimals.
func money(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	whole, cents, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	n, _ := strconv.Atoi(whole)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign = "-"
	}
	return sign + thousands(n) + "." + cents
}

// table prints the document for a terminal.
func (d *document) table(u *ui) {
	u.printf("%s\n", u.paint(bold, clean(d.title)))
	for _, line := range d.lead {
		u.printf("%s\n", clean(line))
	}
	for _, s := range d.sections {
		if len(s.rows)+len(s.items) == 0 {
			continue
		}
		u.printf("\n")
		if len(s.items) > 0 {
			u.printf("%s\n", u.paint(bold, clean(s.title)))
		}
		for _, line := range s.items {
			u.printf("  %s\n", clean(line))
		}
		if len(s.rows) > 0 {
			t := newTable(s.head...)
			t.numbers = true
			for _, row := range s.rows {
				fields := make([]any, len(row))
				for i, f := range row {
					fields[i] = f
				}
				t.add(fields...)
			}
			t.print(u, "")
		}
	}
	u.printf("\n%s\n", u.paint(d.verdict.color, d.verdict.text))
}

// markdown prints the document for a page or a review.
func (d *document) markdown(u *ui) {
	escape := strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "*", "\\*", "_", "\\_").Replace
	u.printf("# %s\n\n", escape(clean(d.title)))
	for _, line := range d.lead {
		u.printf("%s  \n", escape(clean(strings.TrimSpace(line))))
	}
	u.printf("\n**%s**\n", d.verdict.text)
	for _, s := range d.sections {
		if len(s.rows)+len(s.items) == 0 {
			continue
		}
		u.printf("\n## %s\n\n", escape(clean(s.title)))
		for _, line := range s.items {
			u.printf("- %s\n", escape(clean(line)))
		}
		if len(s.rows) == 0 {
			continue
		}
		line := func(fields []string, f func(string) string) {
			cells := make([]string, len(fields))
			for i := range fields {
				cells[i] = f(fields[i])
			}
			u.printf("| %s |\n", strings.Join(cells, " | "))
		}
		line(s.head, escape)
		rule := slices.Repeat([]string{"---:"}, len(s.head))
		rule[0] = "---"
		line(rule, func(s string) string { return s })
		for _, row := range s.rows {
			line(row, func(s string) string { return escape(clean(s)) })
		}
	}
}
