package ledger

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Story is what became of an event, told for people: GET /v1/events/{id} and `yizhan trace`.
type Story struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Type   string    `json:"type"`
	Tenant string    `json:"tenant"`
	Time   time.Time `json:"time"` // when it was planned
	Route  string    `json:"route,omitzero"`
	// Open: something is still going to happen by itself.
	Open       bool            `json:"open"`
	State      schemas.State   `json:"state"` // of the event: planned, dead, cancelled
	Cause      *Told           `json:"cause,omitzero"`
	By         string          `json:"by,omitzero"`     // who recalled the event or sent it again
	Reason     string          `json:"reason,omitzero"` // and why
	Deliveries []DeliveryStory `json:"deliveries"`
}

// DeliveryStory is what became of one delivery.
type DeliveryStory struct {
	ID       string        `json:"id"`
	Channel  string        `json:"channel"`
	To       string        `json:"to"` // masked
	State    schemas.State `json:"state"`
	Attempts int           `json:"attempts"`
	Due      time.Time     `json:"due,omitzero"` // when it goes on by itself
	Receipt  string        `json:"receipt,omitzero"`
	Provider string        `json:"provider,omitzero"` // that took it, of a channel with several
	Parts    int           `json:"parts,omitzero"`    // SMS: how many are charged
	Cost     string        `json:"cost,omitzero"`     // "0.09 CNY", where the provider has a price
	Cause    *Told         `json:"cause,omitzero"`
	Review   []schemas.Hit `json:"review,omitzero"` // what a person should look at in a message that was sent
	// Attachments are the files of a message that went, with those that it had to go without.
	Attachments []channels.Attached `json:"attachments,omitzero"`
	History     []Chapter           `json:"history"`
}

// Told is a cause in words.
type Told struct {
	Code     string        `json:"code"`
	Class    string        `json:"class"`
	Provider string        `json:"provider,omitzero"`
	Zh       string        `json:"zh"`
	En       string        `json:"en"`
	RemedyZh string        `json:"remedy_zh"`
	RemedyEn string        `json:"remedy_en"`
	Owner    string        `json:"owner,omitzero"`
	AlsoZh   string        `json:"also_zh,omitzero"` // what else to look at
	AlsoEn   string        `json:"also_en,omitzero"`
	Retry    string        `json:"retry,omitzero"` // no | yes | after-wait
	WhenZh   string        `json:"when_zh,omitzero"`
	WhenEn   string        `json:"when_en,omitzero"`
	Row      string        `json:"row,omitzero"` // of the diagnoses; absent: no row knows it
	Source   string        `json:"source,omitzero"`
	Line     string        `json:"line,omitzero"` // the third party's own words, masked
	Hits     []schemas.Hit `json:"hits,omitzero"`
}

// Chapter is one record in words.
type Chapter struct {
	Time  time.Time     `json:"time"`
	State schemas.State `json:"state"`
	Note  string        `json:"note"` // in the language asked for
}

// Tell puts a cause into words.
func Tell(c *schemas.Cause, explain channels.Explainer) *Told {
	if c == nil {
		return nil
	}
	d := explain(&channels.Failure{Kind: c.Kind, Provider: c.Provider, Code: c.Code, Line: c.Line, Class: channels.Class(c.Class)})
	t := &Told{
		Code: c.Code, Class: c.Class, Provider: c.Provider, Zh: d.Cause.Zh, En: d.Cause.En, RemedyZh: d.Remedy.Zh, RemedyEn: d.Remedy.En,
		Owner: d.Owner, AlsoZh: d.Also.Zh, AlsoEn: d.Also.En, Retry: d.Retry, WhenZh: d.When.Zh, WhenEn: d.When.En, Row: d.ID, Source: d.Source,
		Line: c.Line, Hits: c.Hits,
	}
	if channels.Class(c.Class) == channels.Unknown && d.Class != channels.Unknown { // the row knows the failure, not that it left a doubt here
		t.Retry, t.Owner = "no", "operator"
		t.WhenZh, t.WhenEn = "核实之前不要重发", "not before somebody has looked whether it arrived"
	}
	if len(c.Hits) > 0 { // the rule says it better than the table
		t.RemedyZh, t.RemedyEn = c.Hits[0].Advice.Zh, c.Hits[0].Advice.En
		t.AlsoZh, t.AlsoEn, t.WhenZh, t.WhenEn, t.Source = "", "", "", "", ""
	}
	return t
}

// Stories tells what became of the events with this id (see Find).
func (l *Ledger) Stories(ctx context.Context, tenant, source, id, lang string, explain channels.Explainer) ([]Story, error) {
	events, err := l.Find(ctx, tenant, source, id)
	if err != nil {
		return nil, err
	}
	stories := []Story{}
	for _, e := range events {
		s := Story{
			ID: e.Event.ID, Source: e.Event.Source, Type: e.Event.Type, Tenant: e.Tenant, Time: e.Time, Route: e.Route, State: e.State,
			By: e.By, Reason: e.Reason, Cause: Tell(e.Cause, explain), Deliveries: []DeliveryStory{},
		}
		for _, d := range e.Deliveries {
			rs, err := l.History(ctx, e.Tenant, d.Recipient, d.ID)
			if err != nil {
				return nil, err
			}
			if d.Else && (len(rs) == 0 || len(rs) == 1 && rs[0].State == schemas.Cancelled) { // an alternative that was not needed
				continue
			}
			ds := deliveryStory(d, rs, lang, explain)
			s.Open = s.Open || len(rs) == 0 || rs[len(rs)-1].Open()
			s.Deliveries = append(s.Deliveries, ds)
		}
		stories = append(stories, s)
	}
	return stories, nil
}

// NeedsPlanning says of a dead letter's code that there is no message to send again: the event has to
// be published anew.
func NeedsPlanning(code string) bool {
	switch code {
	case "no-template", "bad-event-data", "no-recipient", "no-channel", "invalid", "too-large":
		return true
	}
	return false
}

func deliveryStory(e Entry, rs []*Record, lang string, explain channels.Explainer) DeliveryStory {
	ds := DeliveryStory{ID: e.ID, Channel: e.Channel, To: e.To, State: schemas.Planned, History: []Chapter{}}
	var waitsFor *schemas.Cause
	for _, r := range rs {
		ds.State, ds.Attempts, ds.Due = r.State, r.Attempt, r.Due
		if r.Receipt != "" {
			ds.Receipt = r.Receipt
		}
		if r.Provider != "" {
			ds.Provider = r.Provider
		}
		if r.Parts > 0 {
			ds.Parts, ds.Cost = r.Parts, r.Cost
		}
		if r.Review != nil {
			ds.Review = r.Review
		} else if r.State == schemas.Accepted && ds.Review != nil { // found out by asking what became of it
			known := *r
			known.Review = ds.Review
			r = &known
		}
		if r.Attachments != nil {
			ds.Attachments = masked(r.Attachments)
		}
		waitsFor = r.Cause
		ds.History = append(ds.History, Chapter{r.Time, r.State, Note(r, Tell(r.Cause, explain)).In(lang)})
	}
	if n := len(rs); n == 0 || !rs[n-1].Open() || ds.State == schemas.Sending {
		ds.Due = time.Time{}
	}
	ds.Cause = Tell(waitsFor, explain)
	if ds.Cause != nil && ds.State == schemas.Dead && !NeedsPlanning(ds.Cause.Code) { // nothing more happens by itself
		again := "yizhan replay " + e.ID
		if ds.Cause.Class == string(channels.Unknown) {
			again += " --uncertain"
		}
		ds.Cause.RemedyZh += "；处理后可重新发送：" + again
		ds.Cause.RemedyEn += "; then send it again: " + again
	}
	return ds
}

// Note tells one record so that an operator can read it out on the phone.
func Note(r *Record, why *Told) schemas.Text {
	t := note(r)
	if why != nil && why.Code != "outcome-unknown" { // of that the note has said all
		t.Zh += "：" + why.Zh + "（" + why.Code + "）"
		t.En += ": " + why.En + " (" + why.Code + ")"
	}
	if len(r.Review) > 0 && r.State != schemas.Uncertain { // of that nobody knows whether it was sent
		zh, en := looks(r.Review)
		t.Zh += "；已发送，但规则建议人工复核：" + zh
		t.En += "; sent although a rule asks for a look: " + en
	}
	for _, f := range masked(r.Attachments) {
		if f.Lack != "" {
			t.Zh += "；未附上“" + f.Name + "”：" + f.Lack.Text().Zh
			t.En += "; without \"" + f.Name + "\": " + f.Lack.Text().En
		}
	}
	if r.Again {
		t.Zh += "；此前曾交给另一进程，若它在调用途中中断，对方可能收到两次"
		t.En += "; another worker had it before: if that one was cut off in the call, the third party may have it twice"
	}
	switch {
	case r.State == schemas.Held && (r.Step == StepRetry || r.Step == StepThrottled || r.Step == StepRests || r.Step == StepRefused):
		t.Zh += "；" + in(r).Zh + "再试"
		t.En += "; next try " + in(r).En
	case r.State == schemas.Held && !r.Due.IsZero() && r.Step != StepShutdown && r.Step != StepNoTake:
		t.Zh += "；" + in(r).Zh + "继续"
		t.En += "; goes on " + in(r).En
	case r.State == schemas.Accepted && r.Open() && (r.Step == StepListens || r.Step == StepDelayed):
		t.Zh += "；等待对方通知（回执或退信），" + in(r).Zh + "不再等待"
		t.En += "; waits for what the third party reports, and stops waiting " + in(r).En
	case r.State == schemas.Accepted && r.Open():
		t.Zh += "；等待回执，" + in(r).Zh + "仍无回执则向第三方查询"
		t.En += "; waits for the receipt, and asks the third party " + in(r).En + " when none has come"
	case r.State == schemas.Uncertain && (r.Step == StepNotYet || r.Step == StepUnasked):
		t.Zh += "；" + in(r).Zh + "再次查询"
		t.En += "; asked again " + in(r).En
	case r.State == schemas.Uncertain && r.Step == StepListens:
		t.Zh += "；不会盲目重发，该第三方不支持查询：等待回执，" + in(r).Zh + "仍无回执则转为死信"
		t.En += "; not sent again blindly, and this third party cannot be asked: waits for a receipt, a dead letter " + in(r).En + " when none has come"
	case r.State == schemas.Uncertain:
		t.Zh += "；不会盲目重发，" + in(r).Zh + "向第三方查询"
		t.En += "; not sent again blindly, the third party is asked " + in(r).En
	}
	return t
}

// masked are the files with the numbers in their names masked.
func masked(files []channels.Attached) []channels.Attached {
	out := slices.Clone(files)
	for i := range out {
		out[i].Name = channels.Line(out[i].Name)
	}
	return out
}

// looks lists what a person should look at: the first few hits, with numbers masked.
func looks(hits []schemas.Hit) (zh, en string) {
	const most = 3
	var zhs, ens []string
	for _, h := range hits[:min(len(hits), most)] {
		t := rules.Describe(channels.MaskedHit(h))
		zhs, ens = append(zhs, t.Zh), append(ens, t.En)
	}
	zh, en = strings.Join(zhs, "；"), strings.Join(ens, "; ")
	if more := len(hits) - most; more > 0 {
		zh += fmt.Sprintf("；另有 %d 处", more)
		en += fmt.Sprintf("; and %d more", more)
	}
	return zh, en
}

func note(r *Record) schemas.Text {
	n := strconv.Itoa(r.Attempt)
	took := ""
	if r.Took > 0 {
		took = fmt.Sprintf(", %s", time.Duration(r.Took)*time.Millisecond)
	}
	receipt := ""
	if r.Receipt != "" {
		receipt = ", " + r.Receipt
	}
	switch r.State {
	case schemas.Planned:
		switch r.Step {
		case StepReplay:
			by := schemas.Text{Zh: r.By, En: r.By}
			if r.By == "local" { // no sign-in: http.auth none
				by = schemas.Text{Zh: "本机用户", En: "a user of this machine"}
			}
			return schemas.Text{
				Zh: fmt.Sprintf("%s重新发送（第 %d 次重发），原因：%s", spaced(by.Zh), r.Replay, r.Reason),
				En: fmt.Sprintf("sent again by %s (replay %d), reason: %s", by.En, r.Replay, r.Reason),
			}
		case StepFallback:
			return schemas.Text{Zh: "原通道未能送达，改走本通道", En: "the first channel failed, this one takes over"}
		}
		if r.Plan != nil && r.Plan.Route != "" {
			return schemas.Text{Zh: "已受理，按路由 " + r.Plan.Route + " 排队等待发送", En: "taken in, queued by route " + r.Plan.Route}
		}
		return schemas.Text{Zh: "已受理，排队等待发送", En: "taken in and queued"}
	case schemas.Held:
		switch r.Step {
		case StepRetry:
			return schemas.Text{Zh: "第 " + n + " 次尝试未成功", En: "attempt " + n + " failed"}
		case StepThrottled:
			if c := r.Cause; c != nil && c.Kind == "dispatcher" && (c.Code == "rate" || c.Code == "budget") && c.Line != "" {
				return schemas.Text{Zh: "按 " + c.Line + " 的速率排队，等待轮到，不计入尝试次数", En: "waits for its turn at " + c.Line + ", no attempt used up"}
			}
			return schemas.Text{Zh: "需要等待，不计入尝试次数", En: "has to wait, no attempt used up"}
		case StepRests:
			return schemas.Text{Zh: "此前的消息失败后暂停向对方发送，等待试探，不计入尝试次数", En: "calls rest after others failed, one at a time tries again, no attempt used up"}
		case StepRefused:
			return schemas.Text{Zh: "对方拒绝了凭据或通道设置，等待处理，不计入尝试次数", En: "credentials or settings were refused, waits for a person, no attempt used up"}
		case StepCap:
			return schemas.Text{Zh: "该号码的每日上限已满，等待名额", En: "the number's daily cap is full, waits for a place"}
		case StepShutdown:
			return schemas.Text{Zh: "发送进程正在停机，由其他进程接手", En: "the worker is stopping, another one goes on"}
		case StepNoTake:
			return schemas.Text{Zh: "向第三方查询不到上一次请求，按未受理处理，重新发送", En: "asked, the third party knows nothing of the last request: it was not taken, so it is sent again"}
		}
		return schemas.Text{Zh: "按规则等待", En: "waits as the rules ask"}
	case schemas.Sending:
		return schemas.Text{Zh: "第 " + n + " 次尝试开始", En: "attempt " + n + " begins"}
	case schemas.Accepted:
		switch r.Step {
		case StepTooLate:
			return schemas.Text{Zh: "撤回来得太晚：第三方已接受" + zh(receipt), En: "the recall came too late: the third party has accepted it" + receipt}
		case StepReceipt:
			return schemas.Text{Zh: "向第三方查询得知：已接受" + zh(receipt), En: "asked, the third party says: accepted" + receipt}
		case StepReport:
			return schemas.Text{Zh: "第三方通知：已接受" + zh(receipt), En: "the third party reports: accepted" + receipt}
		case StepAwaits:
			return schemas.Text{Zh: "没有收到回执；已向第三方查询，尚不知是否送达", En: "no receipt came; asked, the third party does not know yet whether it arrived"}
		case StepUnasked:
			return schemas.Text{Zh: "没有收到回执；向第三方查询未成功", En: "no receipt came, and the third party could not be asked"}
		case StepNoReceipt:
			return schemas.Text{
				Zh: "第三方已接受，但一直没有回执，查询也没有结果：不再等待，是否送达不得而知",
				En: "accepted by the third party; no receipt came and asking told nothing: nobody waits any more, and whether it arrived is not known",
			}
		case StepNoBounce:
			return schemas.Text{Zh: "没有收到退信，不再等待，备用通道不再启用", En: "no bounce came: nobody waits any more, and the other channel stays unused"}
		case StepDelayed:
			return schemas.Text{Zh: "对方邮件系统通知：尚未送达，仍在重试" + reported(r).Zh, En: "the third party reports" + reported(r).En + " that it has not arrived yet and is still being tried"}
		}
		return schemas.Text{
			Zh: "第 " + n + " 次尝试：第三方已接受" + charged(r).Zh + zh(receipt+took), En: "attempt " + n + ": accepted by the third party" + charged(r).En + receipt + took,
		}
	case schemas.Delivered:
		if r.Step == StepReport {
			return schemas.Text{
				Zh: "第三方通知：已送达" + reported(r).Zh + zh(receipt), En: "the third party reports: delivered" + reported(r).En + receipt,
			}
		}
		return schemas.Text{Zh: "第三方确认已送达" + zh(receipt), En: "the third party confirms delivery" + receipt}
	case schemas.Undelivered:
		if r.Step == StepReport {
			return schemas.Text{Zh: "第三方通知：未送达" + reported(r).Zh, En: "the third party reports: not delivered" + reported(r).En}
		}
		return schemas.Text{Zh: "第三方确认未送达", En: "the third party says it was not delivered"}
	case schemas.Uncertain:
		if r.Step == StepTakeover {
			return schemas.Text{Zh: "发送进程在调用途中中断，结果未知", En: "the worker was cut off during the call, the outcome is not known"}
		}
		switch r.Step {
		case StepNotYet:
			return schemas.Text{Zh: "已向第三方查询，尚无这条消息的记录", En: "asked, the third party does not know the message yet"}
		case StepUnasked:
			return schemas.Text{Zh: "向第三方查询未成功，结果仍然未知", En: "the third party could not be asked, the outcome is still not known"}
		}
		if r.Cause != nil && !strings.HasPrefix(r.Cause.Code, "net:") {
			return schemas.Text{Zh: "请求已发出，第三方的答复不能说明是否已受理", En: "the request left, and the answer does not say whether it was taken"}
		}
		return schemas.Text{Zh: "请求已发出，但没有收到第三方的答复", En: "the request left, no answer came"}
	case schemas.Suppressed:
		if r.Step == StepDiverted {
			return schemas.Text{Zh: "该号码的每日上限已满，改走其他通道", En: "the number's daily cap is full, another channel takes it"}
		}
		return schemas.Text{Zh: "被规则拦截，没有发送", En: "a rule said no, nothing was sent"}
	case schemas.Expired:
		return schemas.Text{Zh: "已过有效期，没有再发送", En: "too late, not sent any more"}
	case schemas.Cancelled:
		if r.Step == StepReplanned {
			return schemas.Text{Zh: "规则变更后重新规划，本条取消", En: "planned anew after the rules changed, this one is dropped"}
		}
		return schemas.Text{Zh: "已被撤回", En: "recalled"}
	case schemas.Dead:
		switch r.Step {
		case StepExhausted:
			return schemas.Text{Zh: "尝试 " + n + " 次后放弃，进入死信", En: "given up after " + n + " attempts, kept as a dead letter"}
		case StepRuled:
			return schemas.Text{Zh: "按规则没有发送，进入死信", En: "not sent, as the rules ask; kept as a dead letter"}
		case StepTooOld:
			return schemas.Text{Zh: "等待过久，进入死信", En: "waited too long, kept as a dead letter"}
		case StepClosed:
			return schemas.Text{Zh: "始终无法确认是否送达，进入死信，等人工判断", En: "nobody could say whether it arrived; kept as a dead letter for a person to decide"}
		}
		return schemas.Text{Zh: "重试没有意义，进入死信", En: "no retry can help, kept as a dead letter"}
	}
	return schemas.Text{Zh: string(r.State), En: string(r.State)}
}

// reported is when something happened by the third party's clock, in the zone that its receipts are in.
func reported(r *Record) schemas.Text {
	if r.Reported.IsZero() {
		return schemas.Text{}
	}
	at := r.Reported.Format("2006-01-02 15:04:05 (UTC-07:00)")
	return schemas.Text{Zh: "，时间 " + at, En: " at " + at}
}

// in is the wait from the record to its due, rounded for people.
func in(r *Record) schemas.Text {
	d := r.Due.Sub(r.Time)
	switch {
	case d < time.Second:
		return schemas.Text{Zh: "立即", En: "at once"}
	case d < time.Minute:
		s := int(d.Round(time.Second).Seconds())
		return schemas.Text{Zh: fmt.Sprintf("%d 秒后", s), En: fmt.Sprintf("in %d s", s)}
	case d < 2*time.Hour:
		m := int(d.Round(time.Minute).Minutes())
		return schemas.Text{Zh: fmt.Sprintf("%d 分钟后", m), En: fmt.Sprintf("in %d min", m)}
	}
	at := r.Due.Format("2006-01-02 15:04 (UTC-07:00)")
	return schemas.Text{Zh: "到 " + at + " ", En: "at " + at}
}

// charged is who took a message, and for how much.
func charged(r *Record) (t schemas.Text) {
	if r.Provider != "" {
		t.Zh, t.En = "，"+r.Provider, ", "+r.Provider
	}
	if r.Parts > 0 {
		t.Zh += fmt.Sprintf("，计费 %d 条", r.Parts)
		t.En += fmt.Sprintf(", parts: %d", r.Parts)
	}
	if r.Cost != "" {
		t.Zh += "，" + r.Cost
		t.En += ", " + r.Cost
	}
	if r.Passed != "" {
		t.Zh += "（此前未受理：" + r.Passed + "）"
		t.En += " (not taken before: " + r.Passed + ")"
	}
	return t
}

// zh gives a list its Chinese commas.
func zh(s string) string { return strings.ReplaceAll(s, ", ", "，") }

// spaced puts a space after a name in Latin letters that a Chinese word follows.
func spaced(name string) string {
	if name != "" && name[len(name)-1] < 0x80 {
		return name + " "
	}
	return name
}
