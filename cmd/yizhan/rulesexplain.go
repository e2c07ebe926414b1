package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/parts"
	"github.com/yizhan-dev/yizhan/schemas"
)

func rulesExplainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("explain 事件.json|编号|-", "explain EVENT.json|ID|-"),
		Short: tr("说明一个事件：走哪条路由、其余为何不走、每条规则怎么说、最终的文字", "Explain an event: which route and why the others not, what each guard says, the rendered texts"),
		Long: tr("用本机的规则文件说明一个事件，不发送。参数是事件文件、-（标准输入），否则视为事件编号，向服务器取回已受理的事件。\n每日上限（daily_cap）取决于已发送的数量，同意与退订（consent）取决于登记的记录，都只在发送时判断；\n要看上限的影响，请用 yizhan rules backtest。",
			"Explains an event with the rules file on this machine; nothing is sent. The argument is the event's file, - for standard\ninput, or else the id of an event that the server took. The daily cap depends on what was sent before,\nconsent on what is on record: both are judged when sending only; yizhan rules backtest shows what the cap does."),
		Example: "  yizhan rules explain event.json\n  yizhan rules explain event.json --rules rules.yaml --at 2026-11-23T22:30:00+08:00\n  yizhan rules explain AR-2026-000123/due",
		Args:    exactlyOne("事件文件或编号", "the event's file or id"),
	}
	f := newExplainFlags(cmd)
	source := cmd.Flags().String("source", "", tr("按编号查询时的事件来源（`SOURCE`）", "the `SOURCE` of an event named by its id"))
	tenant := cmd.Flags().String("tenant", "", tr("按编号查询时的租户（`TENANT`）", "the `TENANT` of an event named by its id"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		event, at, err := findEvent(cmd, args[0], *source, *tenant)
		if err != nil {
			return err
		}
		return f.explain(cmd, event, at)
	}
	return cmd
}

// explainFlags are what explain and test have in common.
type explainFlags struct{ rules, config, at *string }

func newExplainFlags(cmd *cobra.Command) explainFlags {
	return explainFlags{
		rules:  cmd.Flags().String("rules", defaultRulesFile, tr("规则文件（`FILE`）", "rules `FILE`")),
		config: configFlag(cmd),
		at:     cmd.Flags().String("at", "", tr("假定的时间（`TIME`），如 2026-11-23T22:30:00+08:00 或 \"2026-11-23 22:30\"；默认为现在", "pretend it is this `TIME`: 2026-11-23T22:30:00+08:00 or \"2026-11-23 22:30\"; default now")),
	}
}

// explain prints what the rules make of an event at --at, by default at the given instant, and of a zero one now.
func (f explainFlags) explain(cmd *cobra.Command, event *schemas.Event, now time.Time) error {
	if *f.at != "" || now.IsZero() {
		var err error
		if now, err = parseAt(*f.at); err != nil {
			return err
		}
	}
	r, err := openRules(cmd, *f.rules, *f.config)
	if err != nil {
		return err
	}
	trial, err := r.try(event, now)
	if err != nil {
		return err
	}
	u := newUI(cmd)
	if u.json {
		err = u.printJSON(trial)
	} else {
		trial.print(u)
	}
	if err == nil && trial.Sent == 0 {
		err = errFound
	}
	return err
}

// findEvent reads the event from a file or standard input; what is no file is an id for the server to know.
// stored is when the server took it, zero for the others.
func findEvent(cmd *cobra.Command, name, source, tenant string) (e *schemas.Event, stored time.Time, err error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxItem+1))
		if err != nil {
			return nil, stored, problemError("读取失败", "reading failed").because(err)
		}
		e, err = decodeEvent("stdin", b)
		return e, stored, err
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(name, ".json") {
		e, err := readEvent(name)
		return e, stored, err
	}
	c, err := newClient(cmd)
	if err != nil {
		return nil, stored, err
	}
	query := url.Values{"id": {name}}
	setValue(query, "source", source)
	setValue(query, "tenant", tenant)
	var page recordedPage
	if _, err := c.get(cmd.Context(), "/v1/events", query, &page); err != nil {
		return nil, stored, err
	}
	switch len(page.Items) {
	case 0:
		return nil, stored, problemError("没有文件“"+name+"”，服务器也没有保存这个编号的事件", "there is no file "+name+", and the server keeps no event with this id").
			withHint("事件只保留一段时间（broker.events_max_age）；yizhan trace 可查看其经过", "events are kept for a while only (broker.events_max_age); yizhan trace tells what became of it")
	case 1:
		e, err := decodeEvent(name, page.Items[0].Event)
		return e, page.Items[0].Stored, err
	}
	sources := make([]string, len(page.Items))
	for i, one := range page.Items {
		sources[i] = sourceOf(one.Event)
	}
	return nil, stored, usageError("有多个事件使用这个编号，来源为："+strings.Join(sources, "、"), "several events have this id, of the sources "+strings.Join(sources, ", ")).
		withHint("用 --source（或 --tenant）指定其中一个", "choose one with --source or --tenant")
}

func sourceOf(event []byte) string {
	e, err := schemas.DecodeEvent(event)
	if err != nil {
		return "?"
	}
	return e.Source
}

func readEvent(name string) (*schemas.Event, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	return decodeEvent(name, b)
}

func decodeEvent(name string, b []byte) (*schemas.Event, error) {
	e, err := schemas.DecodeEvent(b)
	if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
		wrong := problemError(name+" 不是有效的事件", name+" is not a valid event")
		wrong.problems = bad.Problems
		return nil, wrong
	}
	return e, err
}

func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	return parseTime("--at", s)
}

// parseTime reads the value of a flag that is an instant.
func parseTime(flag, s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError(flag+" 应为 2026-11-23T22:30:00+08:00 或 \"2026-11-23 22:30\"", flag+" must look like 2026-11-23T22:30:00+08:00 or \"2026-11-23 22:30\"")
}

// trial is what the rules make of one event.
type trial struct {
	Event      string          `json:"event"`
	At         time.Time       `json:"at"`
	Route      string          `json:"route"` // "" when none takes it, or the event names its channels itself
	Routes     []routeTrial    `json:"routes"`
	Problems   []schemas.Text  `json:"problems,omitzero"`
	Deliveries []deliveryTrial `json:"deliveries"`
	// Sent counts the deliveries that would go out at once or later.
	Sent int `json:"sent"`
}

type routeTrial struct {
	Name    string `json:"name"`
	Matched bool   `json:"matched"`
	schemas.Text
}

type deliveryTrial struct {
	Channel string           `json:"channel"`
	Kind    string           `json:"kind"`
	To      string           `json:"to"` // masked
	Message *schemas.Message `json:"message,omitzero"`
	Parts   *partsTrial      `json:"parts,omitzero"` // of an SMS
	Action  string           `json:"action"`         // send, hold, suppress, expire, dead
	Until   time.Time        `json:"until,omitzero"`
	Guards  []guardTrial     `json:"guards"`
	Problem *schemas.Text    `json:"problem,omitzero"`
	// Else are the deliveries that take its place.
	Else []elseTrial `json:"else,omitzero"`
}

type elseTrial struct {
	When    string `json:"when"` // failed, over_cap
	Channel string `json:"channel"`
}

// partsTrial is what an SMS comes to.
type partsTrial struct {
	parts.Parts
	Price    string `json:"price,omitzero"` // of all parts, where rules.yaml gives one
	Currency string `json:"currency,omitzero"`
}

type guardTrial struct {
	Name   string        `json:"name"`
	Action string        `json:"action"`
	Rule   string        `json:"rule,omitzero"`
	Until  time.Time     `json:"until,omitzero"`
	Hits   []schemas.Hit `json:"hits,omitzero"`
}

// actionNames are the words of -o json; the daily cap's own actions end in dead here.
var actionNames = map[rules.Action]string{
	rules.Pass: "send", rules.Hold: "hold", rules.Suppress: "suppress", rules.Expire: "expire", rules.Bury: "dead", rules.Divert: "divert",
}

// try plans the event as the dispatcher does, and asks each guard by itself.
func (r *rulesFile) try(e *schemas.Event, now time.Time) (*trial, error) {
	t := &trial{Event: e.ID, At: now, Routes: []routeTrial{}, Deliveries: []deliveryTrial{}}
	for _, one := range r.book.Trials(e) {
		t.Routes = append(t.Routes, routeTrial{one.Name, one.Matched, one.Reason})
	}
	choice, ok, _ := r.book.Route(e) // what is wrong, Plan says
	for _, channel := range choice.Send {
		if _, err := r.kindOf(channel, e.Data.Template); err != nil {
			return nil, err
		}
	}
	known := func(name string) (rules.Channel, bool) {
		if r.config == "" && slices.ContainsFunc(e.Data.To, func(to schemas.Recipient) bool { return to.Webhook == name }) {
			return channelOf(channelSection{Kind: "webhook"}), true
		}
		return r.channel(name, e.Data.Template)
	}
	plan, refusal := r.book.Plan(e, known, now)
	if refusal != nil && (ok || refusal.Code != rules.NoRoute) {
		t.Problems = append(t.Problems, refusal.Problem.Text)
	}
	t.Route = plan.Choice.Route
	names := slices.Sorted(maps.Keys(guardFactories()))
	for _, p := range plan.Deliveries {
		ch, _ := known(p.Delivery.Channel)
		d := deliveryTrial{Channel: p.Delivery.Channel, Kind: ch.Kind, To: p.Delivery.To.Masked(ch.Address), Guards: []guardTrial{}}
		for _, a := range p.Delivery.Else {
			d.Else = append(d.Else, elseTrial{a.When, a.Delivery.Channel})
		}
		if p.Refusal != nil {
			d.Action, d.Problem = "dead", &p.Refusal.Problem.Text
		} else {
			d.Message, d.Action, d.Until = &p.Delivery.Message, actionNames[p.Verdict.Action], p.Verdict.Until
			in := rules.Channels(known).Input(p.Delivery, now)
			for i, g := range r.book.Guards() {
				if p, ok := g.(*parts.Guard); ok && in.Kind == "sms" {
					d.Parts = &partsTrial{Parts: parts.Of(in)}
					d.Parts.Price, d.Parts.Currency, _ = p.Price(d.Parts.Parts.Parts)
				}
				v := g.Judge(in)
				d.Guards = append(d.Guards, guardTrial{names[i], actionNames[v.Action], v.Rule, v.Until, v.Hits})
			}
		}
		if d.Action == "send" || d.Action == "hold" {
			t.Sent++
		}
		t.Deliveries = append(t.Deliveries, d)
	}
	return t, nil
}

// channel is what the rules need to know of a channel; false when it is not known. template helps where
// there is no configuration.
func (r *rulesFile) channel(name, template string) (rules.Channel, bool) {
	if c, ok := r.channels[name]; ok {
		return channelOf(c), true
	}
	kind, err := r.kindOf(name, template)
	return channelOf(channelSection{Kind: kind}), err == nil
}

// channelOf tells a kind's traits, as its channels have them.
func channelOf(c channelSection) rules.Channel {
	address := map[string]channels.Address{"sms": channels.Phone, "email": channels.Email}[c.Kind]
	return rules.Channel{
		Kind: c.Kind, Provider: c.profile(), Signature: c.Signature, Capped: c.Kind == "sms", Address: string(cmp.Or(address, channels.None)),
		Attaches: c.attaches,
	}
}

// kindOf is the channel's kind as configured. Without a configuration a name that says its kind
// itself, or the templates, must do.
func (r *rulesFile) kindOf(channel, template string) (string, error) {
	if c, ok := r.channels[channel]; ok {
		return c.Kind, nil
	}
	if r.config == "" {
		switch channel {
		case "sms", "email", "webhook":
			return channel, nil
		case "mail":
			return "email", nil
		}
		for _, t := range r.source.Templates[template] {
			if len(r.source.Templates[template]) == 1 && t.Code != "" {
				return "sms", nil
			}
		}
		return "", usageError("无法得知通道“"+channel+"”的种类", "the kind of channel "+channel+" is not known").
			withHint("用 --config 指定 "+defaultConfigFile, "name "+defaultConfigFile+" with --config")
	}
	return "", problemError(r.config+" 中没有通道“"+channel+"”", "there is no channel "+channel+" in "+r.config)
}

// actionWords are the actions as people say them.
var actionWords = map[string]schemas.Text{
	"send":     {Zh: "发送", En: "send"},
	"hold":     {Zh: "等待", En: "wait"},
	"suppress": {Zh: "拦截", En: "stop"},
	"expire":   {Zh: "过期", En: "expired"},
	"dead":     {Zh: "无法发送", En: "cannot be sent"},
	"divert":   {Zh: "改走其他通道", En: "another channel"},
}

func actionCell(action string) cell {
	c := cell{say(actionWords[action]), red}
	switch action {
	case "send":
		c.color = green
	case "hold":
		c.color = yellow
	}
	return c
}

func (t *trial) print(u *ui) {
	u.printf("%s\n\n", u.paint(bold, clean(fmt.Sprintf(tr("事件 %s，假定时间 %s", "Event %s at %s"), t.Event, t.At.In(zone).Format("2006-01-02 15:04:05 -07:00")))))
	routes := newTable(tr("路由", "ROUTE"), tr("结果", "RESULT"), tr("原因", "WHY"))
	for _, one := range t.Routes {
		result := cell{tr("不匹配", "no"), plain}
		switch {
		case one.Matched && one.Name == t.Route:
			result = cell{tr("采用", "taken"), green}
		case one.Matched:
			result.text = tr("匹配", "holds")
		}
		routes.add(one.Name, result, say(one.Text))
	}
	if len(t.Routes) > 0 {
		routes.print(u, "")
	}
	if t.Route == "" && len(t.Deliveries) > 0 {
		u.printf("%s\n", tr("事件自行指定了通道，未使用路由", "The event names its channels itself; no route is used"))
	}
	for _, p := range t.Problems {
		u.printf("\n%s\n", u.paint(red, clean(say(p))))
	}
	for i, d := range t.Deliveries {
		d.print(u, i+1, len(t.Deliveries))
	}
	u.printf("\n")
	if t.Sent > 0 {
		u.printf(tr("共会发送 %d 条消息（每日上限和同意记录在发送时判断）\n", "%d would be sent (daily cap and consent are judged when sending)\n"), t.Sent)
		return
	}
	u.printf("%s\n", u.paint(red, tr("不会发送任何消息", "nothing would be sent")))
	if t.Route == "" && len(t.Deliveries) == 0 && len(t.Problems) == 0 {
		u.printf("%s\n", tr("没有路由接收这个事件：请补充路由，或在事件中指定 channels", "no route takes this event: add one, or name channels in the event"))
	}
}

func (d *deliveryTrial) print(u *ui, i, n int) {
	action := actionCell(d.Action)
	if !d.Until.IsZero() {
		action.text += tr("至 ", " until ") + localTime(d.Until)
	}
	u.printf("\n%s  %s\n", u.paint(bold, clean(fmt.Sprintf(tr("消息 %d/%d：%s（%s）→ %s", "Message %d of %d: %s (%s) → %s"), i, n, d.Channel, d.Kind, d.To))), u.paint(action.color, action.text))
	if d.Problem != nil {
		u.printf("  %s\n", clean(say(*d.Problem)))
		return
	}
	text := newTable()
	m := d.Message
	if m.Signature != "" {
		text.add(tr("签名", "Signature"), m.Signature)
	}
	if m.Code != "" {
		params := make([]string, 0, len(m.Params))
		for _, k := range slices.Sorted(maps.Keys(m.Params)) {
			params = append(params, k+"="+m.Params[k])
		}
		text.add(tr("服务商模板", "Code"), m.Code+"  "+strings.Join(params, ", "))
	}
	if m.Subject != "" {
		text.add(tr("主题", "Subject"), m.Subject)
	}
	for k, line := range strings.Split(strings.TrimRight(m.Text, "\n"), "\n") {
		if m.Text != "" {
			label := ""
			if k == 0 {
				label = tr("正文", "Text")
			}
			text.add(label, line)
		}
	}
	if p := d.Parts; p != nil {
		length := fmt.Sprintf(tr("%d 条（%d 字，含签名）", "%d (%d characters, signature included)"), p.Parts.Parts, p.Characters)
		if p.Price != "" {
			length += fmt.Sprintf(tr("，%s %s", ", %s %s"), p.Price, p.Currency)
		}
		text.add(tr("计费", "Parts"), length)
	}
	if m.HTML != "" {
		text.add("HTML", fmt.Sprintf(tr("%d 字节", "%d bytes"), len(m.HTML)))
	}
	if len(m.Payload) > 0 {
		text.add("JSON", string(m.Payload))
	}
	for _, e := range d.Else {
		when := tr("（未能送达时）", " (when it fails)")
		if e.When == schemas.WhenOverCap {
			when = tr("（超出每日上限时）", " (over the daily cap)")
		}
		text.add(tr("备用", "Else"), e.Channel+when)
	}
	text.print(u, "  ")
	guards, told := newTable(), advice{}
	for _, g := range d.Guards {
		c, why := actionCell(g.Action), ""
		if g.Action == "send" {
			c.text = tr("通过", "pass")
		}
		if !g.Until.IsZero() {
			why = tr("至 ", "until ") + localTime(g.Until)
		}
		if len(g.Hits) == 0 {
			guards.add(g.Name, c, why)
		}
		for _, h := range g.Hits {
			if g.Action == "send" { // it goes out, and a person should look
				c = cell{say(reportWords[h.Action]), reportColor(h.Action)}
			}
			guards.add(g.Name, c, strings.TrimPrefix(why+tr("；", "; ")+told.line(h), tr("；", "; ")))
		}
	}
	guards.print(u, "  ")
}
