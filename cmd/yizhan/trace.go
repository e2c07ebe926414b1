package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

const followEvery = time.Second

func traceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("trace 编号", "trace ID"),
		Short: tr("一个事件的完整经过：发给谁、走哪个通道、结果如何、现在该做什么", "The whole story of an event: who, which channel, what became of it, what now"),
		Long: tr("按事件编号或投递编号查询。多个来源使用同一编号时，用 --source 指定其中一个。",
			"Look up an event by its id, or by the id of one of its deliveries. Where several sources use the same id,\n--source chooses one."),
		Example: "  yizhan trace AR-2026-000123/due\n  yizhan trace AR-2026-000123/due --follow",
		Args:    exactlyOne("事件编号", "the event's id"),
	}
	source := cmd.Flags().String("source", "", tr("事件来源（`SOURCE`）", "the event's `SOURCE`"))
	tenant := cmd.Flags().String("tenant", "", tr("租户（`TENANT`）", "`TENANT` of the event"))
	follow := cmd.Flags().BoolP("follow", "f", false, tr("每秒查询一次，直到全部有结果", "ask every second until nothing is open"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		query := url.Values{"lang": {lang}}
		setValue(query, "source", *source)
		setValue(query, "tenant", *tenant)
		t := &tracer{client: c, ui: newUI(cmd), path: idPath("/v1/events/", args[0]), query: query}
		if *follow {
			return t.follow(cmd.Context())
		}
		stories, raw, err := t.ask(cmd.Context())
		if err != nil {
			return err
		}
		return t.show(stories, raw)
	}
	return cmd
}

type tracer struct {
	client *client
	ui     *ui
	path   string
	query  url.Values
}

// ask reads the story, or the stories where several events share the id.
func (t *tracer) ask(ctx context.Context) ([]ledger.Story, []byte, error) {
	var raw jsontext.Value
	body, err := t.client.get(ctx, t.path, t.query, &raw)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil, &statusError{http.StatusNotFound, problemError("没有找到这个事件", "there is no such event").withHint(
			"核对编号和 --source；刚提交的事件可能还没有处理，可加 --follow", "check the id and --source; an event sent just now may not be planned yet: add --follow")}
	}
	if err != nil {
		return nil, nil, err
	}
	var several struct {
		Items []ledger.Story `json:"items"`
	}
	if err = json.Unmarshal(body, &several); err == nil && several.Items == nil {
		several.Items = make([]ledger.Story, 1)
		err = json.Unmarshal(body, &several.Items[0])
	}
	if err != nil {
		return nil, nil, badAnswer(err)
	}
	return several.Items, body, nil
}

// follow asks again until nothing is open. An event that is not there yet is waited for, as it may
// be on its way to the planner, but not for ever.
func (t *tracer) follow(ctx context.Context) error {
	const patience = 10 // answers of "no such event"
	bar := t.ui.progress()
	told := ""
	tell := func(note string) {
		bar.set(0, 0, note)
		if !t.ui.live && !t.ui.json && note != told { // a log gets a line for each change
			t.ui.note(note)
		}
		told = note
	}
	for absent := 0; ; {
		stories, raw, err := t.ask(ctx)
		switch {
		case err == nil && !anyOpen(stories):
			bar.clear()
			return t.show(stories, raw)
		case err == nil:
			tell(openNote(stories))
		case isStatus(err, http.StatusNotFound) && absent < patience:
			absent++
			tell(tr("等待事件被处理……", "waiting for the event to be planned…"))
		default:
			bar.clear()
			return err
		}
		if err := pause(ctx, followEvery); err != nil {
			bar.clear()
			return err
		}
	}
}

func anyOpen(stories []ledger.Story) bool {
	for _, s := range stories {
		if s.Open {
			return true
		}
	}
	return false
}

// openNote says how many deliveries are still open, and what the first few of them wait for.
func openNote(stories []ledger.Story) string {
	const most = 3
	open, all := 0, 0
	var each []string
	for _, s := range stories {
		for _, d := range s.Deliveries {
			all++
			if !d.State.Terminal() {
				open++
				if open <= most {
					what := d.Channel + " " + stateWord(d.State)
					if !d.Due.IsZero() {
						what += fmt.Sprintf(tr("（%s 继续）", " (goes on at %s)"), localTime(d.Due))
					}
					each = append(each, what)
				}
			}
		}
	}
	note := fmt.Sprintf(tr("共 %d 条投递，%d 条尚无结果", "%d deliveries, %d still open"), all, open)
	if len(each) > 0 {
		note += tr("：", ": ") + strings.Join(each, tr("，", ", "))
	}
	return note
}

func (t *tracer) show(stories []ledger.Story, raw []byte) error {
	if t.ui.json {
		return t.ui.printJSON(jsontext.Value(raw))
	}
	for i, s := range stories {
		if i > 0 {
			t.ui.printf("\n")
		}
		t.ui.story(s)
	}
	return nil
}

// story tells an event so that an operator can read it out on the phone.
func (u *ui) story(s ledger.Story) {
	u.printf("%s\n", u.paint(bold, clean(tr("事件 ", "Event ")+s.ID)))
	head := newTable()
	head.add(tr("类型", "Type"), s.Type)
	head.add(tr("来源", "Source"), s.Source)
	head.add(tr("租户", "Tenant"), s.Tenant)
	head.add(tr("处理时间", "Planned"), localTime(s.Time)+" "+s.Time.In(zone).Format("-07:00"))
	switch {
	case s.Route != "":
		head.add(tr("路由", "Route"), s.Route)
	case len(s.Deliveries) > 0:
		head.add(tr("路由", "Route"), tr("无：事件自行指定了通道", "none: the event names its channels"))
	}
	switch {
	case s.Open:
		head.add(tr("进展", "Status"), cell{tr("尚未结束，系统会自动继续", "Still open: Yizhan goes on by itself"), yellow})
	default:
		head.add(tr("进展", "Status"), tr("已结束", "Finished"))
	}
	head.print(u, "  ")
	if s.Cause != nil {
		u.printf("\n  %s\n", u.paint(red, tr("事件没有生成任何消息", "No message was made of this event")))
		u.verdict(verdictOf(s.State, time.Time{}, "", s.Cause), s.Cause)
	} else if s.State == schemas.Cancelled && len(s.Deliveries) == 0 {
		u.printf("\n")
		u.verdict(verdictOf(schemas.Cancelled, time.Time{}, "", nil), nil)
	}
	for i, d := range s.Deliveries {
		u.printf("\n%s\n", u.deliveryHead(i+1, len(s.Deliveries), d))
		u.delivery(d)
	}
}

func (u *ui) deliveryHead(i, n int, d ledger.DeliveryStory) string {
	who := fmt.Sprintf(tr("投递 %d/%d：%s → %s", "Delivery %d of %d: %s → %s"), i, n, d.Channel, d.To)
	return u.paint(bold, clean(who)) + "  " + u.paint(stateColor(d.State), stateWord(d.State))
}

func (u *ui) delivery(d ledger.DeliveryStory) {
	line := tr("编号 ", "ID ") + d.ID + tr("，尝试 ", ", attempts: ") + strconv.Itoa(d.Attempts) + tr(" 次", "")
	if d.Receipt != "" {
		line += tr("，第三方回执编号 ", ", the third party's id ") + d.Receipt
	}
	u.printf("  %s\n", clean(line))
	history := newTable()
	for _, c := range d.History {
		history.add(localTime(c.Time), cell{stateWord(c.State), stateColor(c.State)}, c.Note)
	}
	history.print(u, "    ")
	u.verdict(verdictOf(d.State, d.Due, d.To, d.Cause), d.Cause)
	files := newTable()
	for _, f := range d.Attachments {
		if f.Lack != "" {
			files.add(cell{tr("缺少附件", "Missing"), yellow}, f.Name, say(f.Lack.Text()))
			continue
		}
		files.add(tr("附件", "Attachment"), f.Name, fmt.Sprintf(tr("%d 字节，%s，sha256 %s…", "%d bytes, %s, sha256 %s…"), f.Size, f.Type, f.SHA256[:min(12, len(f.SHA256))]))
	}
	files.print(u, "  ")
	look, told := newTable(), advice{}
	for _, h := range d.Review {
		look.add(cell{tr("请复核", "Please look"), yellow}, told.line(h))
	}
	look.print(u, "  ")
}

// verdict is how a story ends: what happened, whose job it is, what to do now.
type verdict struct{ what, who, now string }

// verdictOf words the end of a story. What the third party or a rule said comes before what the
// state alone says. to is the masked address, which tells mail, number and webhook apart.
func verdictOf(state schemas.State, due time.Time, to string, cause *ledger.Told) verdict {
	nobody := ownerWord("nobody")
	goesOn := tr("等待即可，系统会自动继续", "nothing: Yizhan goes on by itself")
	if !due.IsZero() {
		goesOn = fmt.Sprintf(tr("等待即可，系统将于 %s 自动继续", "nothing: Yizhan goes on by itself at %s"), localTime(due))
	}
	var v verdict
	switch state {
	case schemas.Planned, schemas.Sending:
		v = verdict{tr("消息正在处理", "the message is on its way"), nobody, goesOn}
	case schemas.Held:
		v = verdict{tr("消息在等待", "the message waits"), nobody, goesOn}
	case schemas.Accepted:
		v = verdict{
			tr("第三方已接受消息，尚无送达回执", "the third party accepted the message; no receipt says yet that it arrived"), nobody,
			ifMissed(to),
		}
	case schemas.Delivered:
		v = verdict{tr("消息已送达", "the message arrived"), nobody, tr("无需处理", "nothing")}
	case schemas.Uncertain:
		v = verdict{
			tr("请求已发出但没有收到答复，不知道第三方是否已接受", "the request left and no answer came: nobody knows yet whether it was accepted"),
			tr("系统正在向第三方查询", "Yizhan is asking the third party"), tr("不要重发，以免收件人收到两次", "do not send it again: it might arrive twice") + nextLookup(due),
		}
		if time.Until(due) > receiptOnly {
			v.who = tr("该第三方不支持查询，系统等待其回执", "Yizhan waits for a receipt: this third party cannot be asked")
			v.now = tr("不要重发，以免收件人收到两次；可在服务商控制台按号码核实", "do not send it again: it might arrive twice; look the number up in the provider's console") + nextLookup(due)
		}
	case schemas.Cancelled:
		v = verdict{tr("消息已撤回，没有发送", "the message was recalled and not sent"), nobody, tr("无需处理", "nothing")}
	case schemas.Expired:
		v = verdict{tr("已过有效期，没有发送", "it was past its expiry and not sent"), ownerWord("author"), tr("如仍需通知，请业务系统以新的编号重新提交事件", "if it is still wanted, send the event again under a new id")}
	default:
		v = verdict{tr("消息没有送达", "the message did not arrive"), ownerWord("operator"), tr("排除原因后用 yizhan replay 重发", "mend the cause, then send it again with `yizhan replay`")}
	}
	if cause == nil {
		return v
	}
	v.what = tr(cause.Zh, cause.En)
	if cause.Owner != "" {
		v.who = ownerWord(cause.Owner)
	}
	if remedy := tr(cause.RemedyZh, cause.RemedyEn); remedy != "" {
		v.now = remedy
		switch {
		case state.Terminal() || due.IsZero():
		case state == schemas.Uncertain:
			v.now += nextLookup(due)
		default:
			v.now += tr("；", "; ") + fmt.Sprintf(tr("系统将于 %s 自动继续", "Yizhan goes on by itself at %s"), localTime(due))
		}
	}
	return v
}

// ifMissed says what to do when the recipient of an accepted message has not got it.
func ifMissed(to string) string {
	switch {
	case strings.Contains(to, "@"):
		return tr("如收件人称未收到，请让其检查垃圾箱和拦截设置，再凭回执编号向邮件服务商查询", "if the recipient misses it: look into the spam folder and block lists, then ask the mail provider with its id")
	case strings.Contains(to, "*"):
		return tr("如收件人称未收到，请让其检查短信拦截设置，再凭回执编号向短信服务商查询", "if the recipient misses it: look into the phone's blocked messages, then ask the SMS provider with its id")
	default:
		return tr("如接收方称未收到，请其按消息编号查询接收日志", "if the receiver misses it: have it look for the message's id in its log")
	}
}

// receiptOnly is longer than any wait between two questions: what is due later is not asked about.
const receiptOnly = 12 * time.Hour

// nextLookup says when the third party is asked next, or until when a receipt is waited for.
func nextLookup(due time.Time) string {
	switch {
	case due.IsZero():
		return ""
	case time.Until(due) > receiptOnly:
		return fmt.Sprintf(tr("；到 %s 仍无回执则转为死信", "; without a receipt by %s it becomes a dead letter"), localTime(due))
	}
	return fmt.Sprintf(tr("；下次查询时间 %s", "; it is asked next at %s"), localTime(due))
}

func (u *ui) verdict(v verdict, cause *ledger.Told) {
	t := newTable()
	t.add(tr("发生了什么", "What happened"), capital(v.what))
	t.add(tr("由谁处理", "Whose job"), capital(v.who))
	t.add(tr("现在怎么办", "What now"), capital(v.now))
	if cause != nil {
		t.also(tr(cause.AlsoZh, cause.AlsoEn), tr(cause.WhenZh, cause.WhenEn), cause.Source)
		if cause.Code != "" {
			code := cause.Code
			if cause.Provider != "" {
				code = cause.Provider + " " + code
			}
			t.add(tr("代码", "Code"), code)
		}
		if cause.Line != "" {
			t.add(tr("原始信息", "Detail"), cause.Line)
		}
		var told advice
		for i, h := range cause.Hits {
			if i == 0 { // its advice is what to do now
				t.add(tr("命中规则", "Rule"), hitLine(h))
				told.of(h)
			} else {
				t.add("", told.line(h))
			}
		}
	}
	t.print(u, "  ")
}
