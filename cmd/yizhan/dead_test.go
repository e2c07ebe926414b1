package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/schemas"
)

func deadLetter(l string) ingest.DeadItem {
	return ingest.DeadItem{
		ID: "a2b3c4d5e6f7ga2b3c4d5e6f7gabc", Time: at("2026-11-23T01:00:07Z"), Tenant: "acme", Channel: "sms", To: "138****8000",
		Event: &schemas.EventRef{Source: "/erp/acme", ID: "应收-2026-000123/到期", Type: "erp.invoice.due"}, State: schemas.Dead, Attempts: 2, Replay: 1,
		Cause: invoice(l).Deliveries[0].Cause, Message: &ingest.DeadMessage{Template: "invoice-due", Text: "您的账单 *** 已到期", Params: map[string]string{"due": "2026-11-30"}},
	}
}

func TestDeadLetters(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		t.Run(l, func(t *testing.T) {
			a := serve(t)
			one, two := deadLetter(l), deadLetter(l)
			two.ID, two.Channel, two.To = "event-42", "event", "-"
			two.Event = nil
			a.answers["GET /v1/dead"] = encode(t, map[string]any{"items": []ingest.DeadItem{one, two}, "total": 7, "next": "43"})
			a.answers["GET /v1/dead/"+one.ID] = encode(t, one)
			args := []string{"dead", "ls", "channel=sms", "event=A B", "--limit", "2", "--lang", l}
			golden(t, "dead-ls-"+l, yizhan(t, "", args...), args)
			u, err := url.Parse(strings.TrimPrefix(a.requests[0], "GET "))
			if err != nil || u.Query().Get("where") != `channel=sms event="A B"` || u.Query().Get("limit") != "2" {
				t.Errorf("asked %s", a.requests[0])
			}
			args = []string{"dead", "show", one.ID, "--lang", l}
			golden(t, "dead-show-"+l, yizhan(t, "", args...), args)
		})
	}
}

// letters plays POST /v1/replays over a number of eligible letters, a few a call.
type letters struct {
	eligible, each int
	refused        map[string]int
	confirmed      []int
	wheres         []string
	drift          int // new letters that come with each confirmed call
}

func (l *letters) serve(a *api) {
	answer := func(w http.ResponseWriter, r *http.Request) bool {
		var q replayRequest
		b, _ := io.ReadAll(r.Body)
		if json.Unmarshal(b, &q, json.RejectUnknownMembers(true)) != nil {
			writeProblem(w, http.StatusBadRequest, "Bad request", nil)
			return true
		}
		l.wheres = append(l.wheres, q.Where)
		p := dispatcher.ReplayPlan{Count: l.eligible, Eligible: l.eligible, Remaining: l.eligible, Refused: l.refused, Texts: map[string]schemas.Text{}}
		for why, n := range l.refused {
			p.Count += n
			p.Texts[why] = schemas.Text{Zh: "原因 " + why, En: "reason " + why}
		}
		if q.Confirm > 0 {
			l.confirmed = append(l.confirmed, q.Confirm)
			if q.Confirm != l.eligible {
				writeProblem(w, http.StatusConflict, "Changed", nil)
				return true
			}
			p.Replayed = min(l.each, l.eligible)
			l.eligible -= p.Replayed
			p.Remaining = l.eligible
			l.eligible += l.drift
		}
		writeJSON(w, http.StatusOK, "application/json", p)
		return true
	}
	for range 50 {
		a.queue = append(a.queue, answer)
	}
}

func TestReplayShowsAPlanFirst(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		t.Run(l, func(t *testing.T) {
			a := serve(t)
			ls := &letters{eligible: 12, each: 5, refused: map[string]int{"expired": 2, "uncertain": 1}}
			ls.serve(a)
			args := []string{"replay", "--where", `channel=sms template="a b"`, "--uncertain", "--lang", l}
			golden(t, "replay-plan-"+l, yizhan(t, "", args...), args)
			if ls.confirmed != nil {
				t.Errorf("a dry run confirmed %v", ls.confirmed)
			}
		})
	}
}

func TestReplayGoesOnUntilNothingRemains(t *testing.T) {
	a := serve(t)
	ls := &letters{eligible: 12, each: 5}
	ls.serve(a)
	r := yizhan(t, "", "replay", "--where", "channel=sms", "--confirm", "12", "--reason", "topped up")
	if r.code != exitOK || !slices.Equal(ls.confirmed, []int{12, 7, 2}) || !strings.Contains(r.out, "12 sent again") {
		t.Errorf("%+v, confirmed %v", r, ls.confirmed)
	}
}

func TestReplayOfSeveralIDs(t *testing.T) {
	a := serve(t)
	ls := &letters{eligible: 1, each: 1}
	ls.serve(a)
	r := yizhan(t, "", "replay", "b", "a", "b")
	if !slices.Equal(ls.wheres, []string{"id=a", "id=b"}) || !strings.Contains(r.out, `yizhan replay b a b --confirm 2 --reason "why`) {
		t.Errorf("%+v, asked %q", r, ls.wheres)
	}
}

func TestReplayStopsWhenThePlanChanged(t *testing.T) {
	for _, tt := range []struct {
		name    string
		confirm int
		drift   int
		want    string
	}{
		{"before", 10, 0, "10 were confirmed, now 12 are eligible; nothing was sent"},
		{"in between", 12, 1, "7 should have been left, now 8 are eligible; 5 were sent again before that"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := serve(t)
			ls := &letters{eligible: 12, each: 5, drift: tt.drift}
			ls.serve(a)
			r := yizhan(t, "", "replay", "--confirm", fmt.Sprint(tt.confirm), "--reason", "r")
			if r.code != exitProblem || !strings.Contains(r.err, tt.want) {
				t.Errorf("%+v; want %q", r, tt.want)
			}
		})
	}
}

func TestReplayEndsWhenTheServerDoesNotGoOn(t *testing.T) {
	a := serve(t)
	ls := &letters{eligible: 3}
	ls.serve(a)
	r := yizhan(t, "", "replay", "--confirm", "3", "--reason", "r")
	if r.code != exitProblem || len(ls.confirmed) != 1 {
		t.Errorf("%+v after %d calls", r, len(ls.confirmed))
	}
}
