package main

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
)

// weatherOf is a server's answer: a good channel, one that fails, one that is stopped, one without calls.
func weatherOf(t *testing.T) ingest.ChannelList {
	t.Helper()
	at := time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC)
	span := func(points, step int, ok func(i int) (calls, ok int)) ingest.ChannelSpan {
		s := ingest.ChannelSpan{Step: step, Outcomes: map[string]int{}, Causes: []ingest.ChannelCause{}}
		for i := range points {
			calls, good := ok(i)
			s.Series = append(s.Series, ingest.ChannelPoint{Time: at.Add(time.Duration(i-points) * time.Duration(step) * time.Second), Calls: calls, OK: good})
			s.Calls, s.OK = s.Calls+calls, s.OK+good
		}
		if s.OK > 0 {
			s.Outcomes["ok"] = s.OK
		}
		return s
	}
	// The last four quarters of the day are the hour; before it all was well.
	day := func(ok func(i int) (int, int)) func(i int) (int, int) {
		return func(i int) (calls, good int) {
			for m := range 15 {
				c, g := ok(max(0, i-92)*15 + m)
				if i < 92 {
					g = c
				}
				calls, good = calls+c, good+g
			}
			return calls, good
		}
	}
	cause := func(n int, channel, provider, code string) ingest.ChannelCause {
		d := explain.Default().ExplainLine(channels.Quote{Channel: channel, Provider: provider, Text: code})
		return ingest.ChannelCause{Count: n, Provider: provider, Code: code, Class: string(d.Class), Cause: d.Cause, Owner: d.Owner, Remedy: d.Remedy}
	}
	item := func(name, kind, provider, state string, ok func(i int) (int, int)) ingest.ChannelItem {
		return ingest.ChannelItem{Name: name, Kind: kind, Provider: provider, State: state, Hour: span(60, 60, ok), Day: span(96, 900, day(ok)), Broken: []ingest.ChannelStop{}}
	}
	mail := item("mail", "email", "exchange", ingest.ChannelGood, func(int) (int, int) { return 30, 30 })
	mail.Hour.P50, mail.Hour.P95, mail.Queued = 180, 950, 12
	mail.Day.P50, mail.Day.P95 = 175, 900
	sms := item("sms", "sms", "aliyun", ingest.ChannelPoor, func(i int) (int, int) { return 20, max(0, 20-i) })
	sms.Hour.P50, sms.Hour.P95 = 75, 2400
	sms.Hour.Outcomes["config"] = sms.Hour.Calls - sms.Hour.OK
	sms.Hour.Causes = append(sms.Hour.Causes, cause(sms.Hour.Calls-sms.Hour.OK, "sms", "aliyun", "isv.AMOUNT_NOT_ENOUGH"))
	sms.Day.P50, sms.Day.P95, sms.Day.Causes = 70, 310, sms.Hour.Causes
	sms.Day.Outcomes["config"] = sms.Day.Calls - sms.Day.OK
	partner := item("partner", "webhook", "generic", ingest.ChannelBroken, func(i int) (int, int) { return i % 2 * 4, 0 })
	partner.Hour.P50, partner.Hour.P95 = 15_000, 15_000
	stop := cause(0, "webhook", "generic", "http:503")
	partner.Broken = append(partner.Broken, ingest.ChannelStop{Worker: "pod-2", Destination: "erp.example.com", Since: at.Add(-10 * time.Minute), RetryAt: at.Add(time.Minute), Cause: &stop})
	idle := item("alerts", "webhook", "dingtalk", ingest.ChannelIdle, func(int) (int, int) { return 0, 0 })
	return ingest.ChannelList{Time: at, Channels: []ingest.ChannelItem{idle, mail, partner, sms}, Held: 37}
}

// answerChannels starts a server that gives this answer.
func answerChannels(t *testing.T, l ingest.ChannelList) {
	t.Helper()
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	serve(t).answers["GET /v1/channels"] = string(b)
}

func TestChannelsTranscripts(t *testing.T) {
	list := weatherOf(t)
	answerChannels(t, list)
	for name, args := range map[string][]string{"channels": {"channels"}, "channels-one": {"channels", "sms"}} {
		for _, l := range []string{"zh", "en"} {
			r := yizhan(t, "", append(args, "--lang", l)...)
			if r.code != exitProblem {
				t.Errorf("exit %d", r.code)
			}
			goldenText(t, name+"-"+l, transcript(r, args))
		}
	}
	if r := yizhan(t, "", "channels", "mail"); r.code != exitOK || !strings.Contains(r.out, "100%") {
		t.Errorf("exit %d, %s", r.code, r.out)
	}
	if r := yizhan(t, "", "channels", "fax"); r.code != exitProblem || !strings.Contains(r.err, `there is no channel "fax"`) {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
	var one ingest.ChannelItem
	if r := yizhan(t, "", "channels", "sms", "-o", "json"); json.Unmarshal([]byte(r.out), &one) != nil || one.Name != "sms" || len(one.Hour.Series) != 60 {
		t.Errorf("%s", r.out)
	}
	list.Channels = list.Channels[:2]
	answerChannels(t, list)
	if r := yizhan(t, "", "channels"); r.code != exitOK {
		t.Errorf("all is well: exit %d", r.code)
	}
}

func TestTrendAndShare(t *testing.T) {
	points := func(pairs ...int) (s ingest.ChannelSpan) {
		for i := 0; i < len(pairs); i += 2 {
			s.Series = append(s.Series, ingest.ChannelPoint{Calls: pairs[i], OK: pairs[i+1]})
			s.Calls, s.OK = s.Calls+pairs[i], s.OK+pairs[i+1]
		}
		return s
	}
	for _, tt := range []struct {
		span         ingest.ChannelSpan
		n            int
		trend, share string
	}{
		{points(), 4, "", "-"},
		{points(0, 0, 10, 10, 10, 5, 10, 0), 4, "·█▄▁", "50.0%"},
		{points(0, 0, 10, 10, 10, 5, 10, 0), 2, "█▂", "50.0%"},
		{points(100_000, 99_999), 1, "▇", "99.9%"},
		{points(3, 3), 1, "█", "100%"},
	} {
		if got := trend(tt.span, tt.n); got != tt.trend {
			t.Errorf("%v in %d: %s, want %s", tt.span.Series, tt.n, got, tt.trend)
		}
		if got := share(tt.span); got != tt.share {
			t.Errorf("%v: %s, want %s", tt.span.Series, got, tt.share)
		}
	}
}
