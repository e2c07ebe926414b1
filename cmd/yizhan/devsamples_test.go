package main

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/backtest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// TestDevSamplesHaveNoHits: of what the sandbox sends to show the ordinary, no rule thinks ill; only the samples that
// show a rule at work are stopped, and by that rule.
func TestDevSamplesHaveNoHits(t *testing.T) {
	source, err := devFiles.ReadFile("dev/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	book, err := rules.Load(source, guardFactories(), reserverFactories(), rules.Env{Caps: backtest.NewStore(), Consents: backtest.NewStore()})
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, zone)
	samples, err := loadSamples("test", noon)
	if err != nil {
		t.Fatal(err)
	}
	channels := func(name string) (rules.Channel, bool) {
		switch name {
		case "sms":
			return rules.Channel{Kind: "sms", Provider: "aliyun", Address: "phone", Signature: "华星科技"}, true
		case "mail":
			return rules.Channel{Kind: "email", Address: "email"}, true
		}
		return rules.Channel{Kind: "webhook", Address: "none"}, true
	}
	stopped := map[string]string{"double-signature": "9", "disguised-words": "6", "login-link": "login-link", "expired-code": "expiry"}
	judged := 0
	for _, s := range samples {
		raw, err := json.Marshal(s.Event)
		if err != nil {
			t.Fatal(err)
		}
		e, err := schemas.DecodeEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		plan, refusal := book.Plan(e, channels, noon)
		if refusal != nil {
			t.Fatalf("%s: %v", e.ID, refusal)
		}
		id, _, _ := strings.Cut(e.ID, "/")
		for _, d := range plan.Deliveries {
			judged++
			if d.Refusal != nil || d.Verdict.Rule != stopped[id] || stopped[id] == "" && len(d.Verdict.Hits) > 0 {
				t.Errorf("%s by %s: %v, %+v", e.ID, d.Delivery.Channel, d.Refusal, d.Verdict)
			}
		}
	}
	if judged < len(samples) {
		t.Errorf("%d samples, %d deliveries", len(samples), judged)
	}
}
