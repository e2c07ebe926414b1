package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/parts"
	"github.com/yizhan-dev/yizhan/schemas"
)

func rulesTestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("test 事件.json", "test EVENT.json"),
		Short: tr("试运行一个事件：走哪条路由、为何、每条规则怎么说、最终的文字", "Try an event: which route and why, what each guard says, the rendered texts"),
		Long: tr("在本机试运行，不连接服务器，不发送。每日上限（daily_cap）取决于已发送的数量，\n同意与退订（consent）取决于登记的记录，都只在发送时判断。",
			"Runs on this machine: no server is asked and nothing is sent. The daily cap depends on what was sent before,\nconsent on what is on record: both are judged when sending only."),
		Example: "  yizhan rules test event.json\n  yizhan rules test event.json --rules rules.yaml --at 2026-11-23T22:30:00+08:00",
		Args:    exactlyOne("事件文件", "the event's file"),
	}
	name := cmd.Flags().String("rules", defaultRulesFile, tr("规则文件（`FILE`）", "rules `FILE`"))
	config := configFlag(cmd)
	at := cmd.Flags().String("at", "", tr("假定的时间（`TIME`），如 2026-11-23T22:30:00+08:00 或 \"2026-11-23 22:30\"；默认为现在", "pretend it is this `TIME`: 2026-11-23T22:30:00+08:00 or \"2026-11-23 22:30\"; default now"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now, err := parseAt(*at)
		if err != nil {
			return err
		}
		b, err := readBounded(args[0])
		if err != nil {
			return err
		}
		event, err := schemas.DecodeEvent(b)
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			e := problemError(args[0]+" 不是有效的事件", args[0]+" is not a valid event")
			e.problems = bad.Problems
			return e
		}
		r, err := openRules(cmd, *name, *config)
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
	return cmd
}

func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError("--at 应为 2026-11-23T22:30:00+08:00 或 \"2026-11-23 22:30\"", "--at must look like 2026-11-23T22:30:00+08:00 or \"2026-11-23 22:30\"")
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

// try plans the event as the dispatcher would: every channel of the route for every recipient that
// has an address for it, and each webhook once.
func (r *rulesFile) try(e *schemas.Event, now time.Time) (*trial, error) {
	t := &trial{Event: e.ID, At: now, Routes: []routeTrial{}, Deliveries: []deliveryTrial{}}
	for _, one := range r.book.Trials(e) {
		t.Routes = append(t.Routes, routeTrial{one.Name, one.Matched, one.Reason})
	}
	choice, ok, err := r.book.Route(e)
	if bad, is := errors.AsType[*schemas.Invalid](err); is {
		for _, p := range bad.Problems {
			t.Problems = append(t.Problems, p.Text)
		}
		return t, nil
	}
	people := slices.DeleteFunc(slices.Clone(e.Data.To), func(to schemas.Recipient) bool { return to.Webhook != "" })
	if !ok && len(people) > 0 {
		return t, nil // the event as a whole becomes a dead letter
	}
	t.Route = choice.Route
	seen := make(map[string]bool) // the same address twice is told once
	add := func(to schemas.Recipient, channel, kind, address string) {
		if key := channel + " " + address; !seen[key] {
			seen[key] = true
			t.Deliveries = append(t.Deliveries, r.tryDelivery(e, to, channel, kind, choice.Route, now))
		}
	}
	for _, to := range e.Data.To {
		if to.Webhook != "" {
			add(to, to.Webhook, "webhook", "")
		}
	}
	reached := make([]bool, len(people))
	for _, channel := range choice.Send {
		kind, err := r.kindOf(channel, e)
		if err != nil {
			return nil, err
		}
		if kind == "webhook" {
			add(schemas.Recipient{Webhook: channel}, channel, kind, "")
		}
		for i, to := range people {
			address := map[string]string{"sms": to.Phone, "email": to.Email}[kind]
			reached[i] = reached[i] || address != "" || kind == "webhook"
			if address != "" {
				add(to, channel, kind, address)
			}
		}
	}
	for i := range people {
		if !reached[i] {
			t.Problems = append(t.Problems, schemas.Text{
				Zh: fmt.Sprintf("第 %d 个收件人没有这些通道所需的手机号或邮箱", i+1),
				En: fmt.Sprintf("person %d among the recipients has neither number nor address for these channels", i+1),
			})
		}
	}
	for _, d := range t.Deliveries {
		if d.Action == "send" || d.Action == "hold" {
			t.Sent++
		}
	}
	return t, nil
}

// kindOf is the channel's kind as configured. Without a configuration a name that says its kind
// itself, or the templates, must do.
func (r *rulesFile) kindOf(channel string, e *schemas.Event) (string, error) {
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
		for _, t := range r.source.Templates[e.Data.Template] {
			if len(r.source.Templates[e.Data.Template]) == 1 && t.Code != "" {
				return "sms", nil
			}
		}
		return "", usageError("无法得知通道“"+channel+"”的种类", "the kind of channel "+channel+" is not known").
			withHint("用 --config 指定 "+defaultConfigFile, "name "+defaultConfigFile+" with --config")
	}
	return "", problemError(r.config+" 中没有通道“"+channel+"”", "there is no channel "+channel+" in "+r.config)
}

func (r *rulesFile) tryDelivery(e *schemas.Event, to schemas.Recipient, channel, kind, route string, now time.Time) deliveryTrial {
	address := map[string]string{"sms": "phone", "email": "email"}[kind]
	d := deliveryTrial{Channel: channel, Kind: kind, To: to.Masked(address), Guards: []guardTrial{}}
	m, err := r.book.Render(e, to, channel, kind)
	if err != nil {
		d.Action = "dead"
		d.Problem = &schemas.Text{Zh: err.Error(), En: err.Error()}
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok && len(bad.Problems) > 0 {
			d.Problem = &bad.Problems[0].Text
		}
		return d
	}
	if kind == "sms" {
		m.Signature = cmp.Or(m.Signature, r.channels[channel].Signature)
	}
	d.Message = &m
	in := rules.Input{Kind: kind, Provider: r.channels[channel].Provider, Signature: m.Signature, Now: now, Delivery: &schemas.Delivery{
		ID:    schemas.DeliveryID(e.Tenant, e.Source, e.ID, to.Phone+to.Email+to.Webhook, channel),
		Event: schemas.EventRef{Source: e.Source, ID: e.ID, Type: e.Type, Time: e.Time}, Tenant: e.Tenant, Channel: channel,
		Category: e.Data.Category, Priority: e.Data.Priority, To: to, Message: m, Route: route,
		NotBefore: e.Data.NotBefore, Expires: e.Data.Expires, PlannedAt: now,
	}}
	names := slices.Sorted(maps.Keys(guardFactories()))
	for i, g := range r.book.Guards() {
		if p, ok := g.(*parts.Guard); ok && kind == "sms" {
			d.Parts = &partsTrial{Parts: p.Of(in)}
			d.Parts.Price, d.Parts.Currency, _ = p.Price(d.Parts.Parts.Parts)
		}
		v := g.Judge(in)
		d.Guards = append(d.Guards, guardTrial{names[i], actionNames[v.Action], v.Rule, v.Until, v.Hits})
	}
	v := rules.Judge(r.book.Guards(), in)
	d.Action, d.Until = actionNames[v.Action], v.Until
	return d
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
	u.printf("%s\n\n", u.paint(bold, clean(fmt.Sprintf(tr("事件 %s，假定时间 %s", "Event %s at %s"), t.Event, t.At.Local().Format("2006-01-02 15:04:05 -07:00")))))
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
	text.print(u, "  ")
	guards := newTable()
	for _, g := range d.Guards {
		c, why := actionCell(g.Action), ""
		switch {
		case g.Action == "send" && len(g.Hits) > 0:
			c = cell{tr("提示", "review"), yellow} // it goes out; a person should look
		case g.Action == "send":
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
			guards.add(g.Name, c, strings.TrimPrefix(why+tr("；", "; ")+hitAdvice(h), tr("；", "; ")))
		}
	}
	guards.print(u, "  ")
}
