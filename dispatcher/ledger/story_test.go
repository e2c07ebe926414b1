package ledger

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestNotes holds every sentence of a trace against a file that a person can read.
func TestNotes(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("CST", 8*3600))
	failed := &schemas.Cause{Kind: "email", Code: "451 4.7.1", Class: "temporary"}
	silent := &schemas.Cause{Kind: "sms", Code: "net:timeout-response", Class: "uncertain"}
	vague := &schemas.Cause{Kind: "sms", Code: "http:503", Class: "uncertain"}
	explain := func(f *channels.Failure) channels.Diagnosis {
		return channels.Diagnosis{Cause: schemas.Text{Zh: "灰名单", En: "greylisted"}, Remedy: schemas.Text{Zh: "等待", En: "wait"}}
	}
	records := []Record{
		{State: schemas.Planned, Plan: &Plan{Route: "invoice-due"}},
		{State: schemas.Planned, Plan: &Plan{}},
		{State: schemas.Planned, Step: StepReplay, Replay: 2, By: "li", Reason: "密码已更换"},
		{State: schemas.Planned, Step: StepFallback},
		{State: schemas.Held, Step: StepRetry, Attempt: 1, Due: at.Add(5 * time.Second), Cause: failed},
		{State: schemas.Held, Step: StepThrottled, Due: at.Add(10 * time.Minute), Cause: failed},
		{State: schemas.Held, Step: StepThrottled, Due: at.Add(90 * time.Second), Cause: &schemas.Cause{Kind: "dispatcher", Code: "budget", Class: "throttled", Line: "20/m"}},
		{State: schemas.Held, Step: StepRests, Due: at.Add(8 * time.Second), Cause: &schemas.Cause{Kind: "email", Code: "421 4.3.2", Class: "temporary", Line: "421 4.3.2 shutting down"}},
		{State: schemas.Held, Step: StepRefused, Due: at.Add(20 * time.Minute), Cause: failed},
		{State: schemas.Held, Step: StepWait, Due: at.Add(13 * time.Hour)},
		{State: schemas.Held, Step: StepCap, Due: at.Add(24 * time.Hour)},
		{State: schemas.Held, Step: StepShutdown},
		{State: schemas.Held, Step: StepNoTake, Due: at},
		{State: schemas.Sending, Attempt: 2},
		{State: schemas.Accepted, Attempt: 2, Receipt: "900619^0", Took: 132},
		{State: schemas.Accepted, Attempt: 1, Receipt: "5000:1", Provider: "tencent", Parts: 2, Cost: "0.09 CNY", Passed: "aliyun isv.BUSINESS_LIMIT_CONTROL", Took: 8},
		{State: schemas.Accepted, Attempt: 1, Took: 8, Again: true},
		{State: schemas.Accepted, Attempt: 6, Attachments: []channels.Attached{
			{Name: "13800138000 对账单.pdf", Lack: channels.NotFound}, {Name: "logo.png", Type: "image/png", Size: 12}, {Name: "明细.xlsx", Lack: channels.Unreachable},
		}},
		{State: schemas.Accepted, Attempt: 1, Took: 8, Review: []schemas.Hit{
			{Rule: "5", Action: "review", Field: "text", Start: 3, End: 7, Text: "贷 款", Term: "贷款", Via: "gap", Cue: "无抵押", Origin: "params/remark"},
			{Rule: "2", Action: "review", Field: "text", Start: 9, End: 20, Text: "13800138000"},
			{Rule: "unsubscribe"},
			{Rule: "1"},
		}},
		{State: schemas.Uncertain, Attempt: 1, Due: at.Add(30 * time.Second), Review: []schemas.Hit{{Rule: "5", Text: "贷款"}}},
		{State: schemas.Accepted, Step: StepReceipt, Receipt: "900619^0"},
		{State: schemas.Accepted, Step: StepTooLate},
		{State: schemas.Accepted, Attempt: 1, Receipt: "900619^0", Took: 132, Due: at.Add(15 * time.Minute)},
		{State: schemas.Accepted, Attempt: 1, Took: 8, Step: StepListens, Due: at.Add(24 * time.Hour)},
		{State: schemas.Uncertain, Attempt: 1, Step: StepListens, Due: at.Add(72 * time.Hour), Cause: &schemas.Cause{Kind: "sms", Provider: "huawei", Code: "net:reset", Class: "uncertain"}},
		{State: schemas.Accepted, Step: StepReport, Receipt: "900619^0", Due: at.Add(15 * time.Minute)},
		{State: schemas.Accepted, Step: StepAwaits, Due: at.Add(time.Hour)},
		{State: schemas.Accepted, Step: StepUnasked, Due: at.Add(time.Hour)},
		{State: schemas.Accepted, Step: StepNoReceipt},
		{State: schemas.Accepted, Step: StepNoBounce},
		{State: schemas.Accepted, Step: StepDelayed, Reported: at, Cause: failed, Due: at.Add(24 * time.Hour)},
		{State: schemas.Delivered, Step: StepReport, Reported: at, Receipt: "900619^0"},
		{State: schemas.Delivered, Receipt: "900619^0"},
		{State: schemas.Undelivered, Step: StepReport, Reported: at, Cause: failed},
		{State: schemas.Undelivered, Cause: failed},
		{State: schemas.Uncertain, Attempt: 1, Due: at.Add(30 * time.Second), Cause: silent},
		{State: schemas.Uncertain, Attempt: 1, Due: at.Add(30 * time.Second), Cause: vague},
		{State: schemas.Uncertain, Step: StepTakeover, Attempt: 1, Due: at.Add(30 * time.Second)},
		{State: schemas.Uncertain, Step: StepNotYet, Attempt: 1, Due: at.Add(2 * time.Minute)},
		{State: schemas.Uncertain, Step: StepUnasked, Attempt: 1, Due: at.Add(time.Minute)},
		{State: schemas.Suppressed, Cause: failed},
		{State: schemas.Suppressed, Step: StepDiverted},
		{State: schemas.Expired},
		{State: schemas.Cancelled, Step: StepRecall},
		{State: schemas.Cancelled, Step: StepReplanned},
		{State: schemas.Dead, Attempt: 1, Cause: failed},
		{State: schemas.Dead, Step: StepExhausted, Attempt: 12, Cause: failed},
		{State: schemas.Dead, Step: StepRuled, Cause: failed},
		{State: schemas.Dead, Step: StepTooOld, Attempt: 3},
		{State: schemas.Dead, Step: StepClosed, Attempt: 1},
	}
	var b strings.Builder
	half := regexp.MustCompile(`\p{Han}[,;:()]|[,;:()]\p{Han}`)
	for _, r := range records {
		r.Time = at
		n := Note(&r, Tell(r.Cause, explain))
		fmt.Fprintf(&b, "%s %s\n  %s\n  %s\n", r.State, r.Step, n.Zh, n.En)
		if half.MatchString(n.Zh) {
			t.Errorf("half-width punctuation beside Chinese: %s", n.Zh)
		}
	}
	const file = "testdata/notes.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the notes changed; look at them, then go test -update\n%s", b.String())
	}
}

// The address that an event names is part of the recipient: two partners behind one channel are two stories.
func TestRecipientHasItsAddress(t *testing.T) {
	l := &Ledger{}
	plain := l.Recipient(schemas.Recipient{Webhook: "partner"}, "partner", "none")
	if got := l.Hash("channel:partner"); got != plain {
		t.Errorf("without an address: %s, want %s as before", plain, got)
	}
	one := l.Recipient(schemas.Recipient{Webhook: "partner", URL: "https://a.example.com/1"}, "partner", "none")
	two := l.Recipient(schemas.Recipient{Webhook: "partner", URL: "https://a.example.com/2"}, "partner", "none")
	if one == plain || one == two || strings.Contains(one, "example") {
		t.Errorf("hashes %s, %s, %s", plain, one, two)
	}
}

// The row of a failure knows nothing of the doubt that it left: nobody is to be told to repeat what may have arrived.
func TestADoubtIsNotToldToBeRepeated(t *testing.T) {
	explain := func(*channels.Failure) channels.Diagnosis {
		return channels.Diagnosis{Class: channels.Temporary, Retry: "yes", Owner: "third-party", When: schemas.Text{Zh: "可以重试", En: "yes"}}
	}
	for class, want := range map[string]string{"temporary": "yes third-party yes", "uncertain": "no operator not before somebody has looked whether it arrived"} {
		c := Tell(&schemas.Cause{Kind: "email", Code: "net:eof-after-data", Class: class}, explain)
		if got := c.Retry + " " + c.Owner + " " + c.WhenEn; got != want {
			t.Errorf("%s: %q, want %q", class, got, want)
		}
	}
}
