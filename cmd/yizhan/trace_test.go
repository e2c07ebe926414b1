package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// invoice is an event whose mail arrived and whose SMS did not; notes come in the language asked for.
func invoice(l string) ledger.Story {
	note := func(zh, en string) string { return schemas.Text{Zh: zh, En: en}.In(l) }
	return ledger.Story{
		ID: "AR-2026-000123/due", Source: "/erp/acme/receivables", Type: "erp.invoice.due", Tenant: "acme",
		Time: at("2026-11-23T01:00:05Z"), Route: "invoice-due", State: schemas.Planned,
		Deliveries: []ledger.DeliveryStory{
			{
				ID: "a2b3c4d5e6f7ga2b3c4d5e6f7gabc", Channel: "sms", To: "138****8000", State: schemas.Dead, Attempts: 2,
				Cause: &ledger.Told{
					Code: "isv.AMOUNT_NOT_ENOUGH", Class: "config", Provider: "aliyun", Owner: "channel-owner",
					Zh: "短信账户余额不足", En: "the SMS account has no balance left", RemedyZh: "请为短信账户充值，然后重发死信", RemedyEn: "top the SMS account up, then replay the dead letters",
					Line: "账户余额不足\x1b[2J",
				},
				History: []ledger.Chapter{
					{Time: at("2026-11-23T01:00:05Z"), State: schemas.Planned, Note: note("已受理，按路由 invoice-due 排队等待发送", "taken in, queued by route invoice-due")},
					{Time: at("2026-11-23T01:00:06Z"), State: schemas.Sending, Note: note("第 1 次尝试开始", "attempt 1 begins")},
					{Time: at("2026-11-23T01:00:07Z"), State: schemas.Dead, Note: note("重试没有意义，进入死信", "no retry can help, kept as a dead letter")},
				},
			},
			{
				ID: "a2b3c4d5e6f7ga2b3c4d5e6f7gabd", Channel: "mail", To: "w***@example.com", State: schemas.Accepted, Attempts: 1, Receipt: "q-17",
				History: []ledger.Chapter{
					{Time: at("2026-11-23T01:00:05Z"), State: schemas.Planned, Note: note("已受理，排队等待发送", "taken in and queued")},
					{Time: at("2026-11-23T01:00:08Z"), State: schemas.Accepted, Note: note("第 1 次尝试：第三方已接受", "attempt 1: accepted by the third party")},
				},
			},
			{
				ID: "a2b3c4d5e6f7ga2b3c4d5e6f7gabe", Channel: "sms", To: "139****0001", State: schemas.Suppressed,
				Cause: &ledger.Told{
					Code: "content", Class: "content", Owner: "author", Zh: "内容被规则拦截", En: "a rule stopped the content",
					RemedyZh: "删除微信号", RemedyEn: "take the WeChat id out",
					Hits: []schemas.Hit{{Rule: "contact", Action: "block", Field: "text", Start: 9, End: 15, Text: "加微信123"}},
				},
				History: []ledger.Chapter{{Time: at("2026-11-23T01:00:05Z"), State: schemas.Suppressed, Note: note("被规则拦截，没有发送", "a rule said no, nothing was sent")}},
			},
		},
	}
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTraceReadsLikeAStory(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		t.Run(l, func(t *testing.T) {
			a := serve(t)
			a.answers["GET /v1/events/AR-2026-000123%2Fdue"] = encode(t, invoice(l))
			args := []string{"trace", "AR-2026-000123/due", "--lang", l}
			golden(t, "trace-"+l, yizhan(t, "", args...), args)
			if want := "GET /v1/events/AR-2026-000123%2Fdue?lang=" + l; a.requests[0] != want {
				t.Errorf("asked %s, want %s", a.requests[0], want)
			}
		})
	}
}

func TestTraceOfSeveralEventsWithOneID(t *testing.T) {
	a := serve(t)
	one, two := invoice("en"), invoice("en")
	two.Source = "/erp/acme/payables"
	a.answers["GET /v1/events/x"] = encode(t, map[string]any{"items": []ledger.Story{one, two}})
	r := yizhan(t, "", "trace", "x")
	if r.code != exitOK || !strings.Contains(r.out, one.Source) || !strings.Contains(r.out, two.Source) {
		t.Errorf("%+v", r)
	}
	a.answers["GET /v1/events/x"] = `{"id":"x","a_member_of_tomorrow":1}`
	if r := yizhan(t, "", "trace", "x", "-o", "json"); !strings.Contains(r.out, "a_member_of_tomorrow") {
		t.Errorf("lost a member: %s", r.out)
	}
}

// Every state must end with what happened, whose job it is and what to do now.
func TestEveryStateHasAVerdict(t *testing.T) {
	t.Cleanup(func() { lang = "en" })
	for _, lang = range []string{"zh", "en"} {
		for _, s := range schemas.States {
			v := verdictOf(s, at("2026-11-23T01:00:05Z"), "", nil)
			if v.what == "" || v.who == "" || v.now == "" || stateWord(s) == string(s) && lang == "zh" {
				t.Errorf("%s %s: %+v", lang, s, v)
			}
		}
	}
}

// What cannot be asked about does not go on by itself: without a receipt it ends as a dead letter.
func TestVerdictOfAnUnknownOutcomeTellsWhatComes(t *testing.T) {
	cause := &ledger.Told{Zh: "未答复", En: "no answer", RemedyZh: "先查询", RemedyEn: "look first"}
	for wait, want := range map[time.Duration]string{time.Minute: "look first; it is asked next at ", 72 * time.Hour: "it becomes a dead letter"} {
		for _, c := range []*ledger.Told{cause, nil} {
			v := verdictOf(schemas.Uncertain, time.Now().Add(wait), "138****8000", c)
			if c == nil && wait < receiptOnly {
				want = "it is asked next at "
			}
			if !strings.Contains(v.now, want) || strings.Contains(v.now, "by itself") {
				t.Errorf("%s: %q", wait, v.now)
			}
		}
	}
}

func TestTraceFollowsUntilNothingIsOpen(t *testing.T) {
	a, waits := serve(t), fakePause(t)
	open := invoice("en")
	open.Open = true
	open.Deliveries[0].State = schemas.Sending
	absent := func(w http.ResponseWriter, _ *http.Request) bool {
		writeProblem(w, http.StatusNotFound, "Not found", nil)
		return true
	}
	going := func(w http.ResponseWriter, _ *http.Request) bool {
		writeJSON(w, http.StatusOK, "application/json", open)
		return true
	}
	a.queue = append(a.queue, absent, going, going)
	a.answers["GET /v1/events/x"] = encode(t, invoice("en"))
	r := yizhan(t, "", "trace", "x", "--follow")
	if r.code != exitOK || len(*waits) != 3 || (*waits)[0] != time.Second || !strings.Contains(r.out, "Finished") || strings.Contains(r.out, "Still open") ||
		strings.Count(r.err, "3 deliveries, 1 still open: sms being sent") != 1 {
		t.Errorf("%+v, waited %v", r, *waits)
	}
	*waits = nil
	if r := yizhan(t, "", "trace", "unknown", "-f"); r.code != exitProblem || len(*waits) != 10 {
		t.Errorf("%+v, waited %v", r, *waits)
	}
}
