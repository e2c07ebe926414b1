package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

func ruleFile(name string) string { return filepath.Join("testdata", "rules", name) }

func TestRulesCheck(t *testing.T) {
	for _, l := range []string{"zh", "en"} {
		serve(t)
		args := []string{"rules", "check", ruleFile("rules.yaml"), "--lang", l}
		golden(t, "rules-check-"+l, yizhan(t, "", args...), args)
	}
}

func TestRulesCheckFindsMistakes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{ruleFile("broken.yaml")}, exitProblem, []string{"broken.yaml has mistakes", "[3:11]", "typo"}},
		{[]string{ruleFile("stranger.yaml")}, exitProblem, []string{"stranger.yaml does not fit", "[2:24]", `"pager"`}},
		{[]string{ruleFile("absent.yaml")}, exitUsage, []string{"cannot open the file"}},
		{[]string{ruleFile("rules.yaml"), "--config", ruleFile("absent.yaml")}, exitProblem, []string{"the configuration cannot be read"}},
	} {
		serve(t)
		r := yizhan(t, "", append([]string{"rules", "check"}, tt.args...)...)
		for _, want := range tt.want {
			if r.code != tt.code || !strings.Contains(r.err, want) {
				t.Errorf("%v: exit %d, %s; want exit %d and %q", tt.args, r.code, r.err, tt.code, want)
			}
		}
	}
}

func TestRulesTest(t *testing.T) {
	for _, tt := range []struct {
		name, at string
		code     int
	}{
		{"event", "2026-11-23T10:00:00+08:00", exitOK},
		{"event", "2026-11-23 22:30", exitOK},
		{"stopped", "2026-11-23T10:00:00+08:00", exitProblem},
		{"refund", "2026-11-23T10:00:00+08:00", exitProblem},
		{"unrouted", "2026-11-23T10:00:00+08:00", exitProblem},
		{"wrong", "", exitProblem},
	} {
		for _, l := range []string{"zh", "en"} {
			serve(t)
			args := []string{"rules", "test", ruleFile(tt.name + ".json"), "--rules", ruleFile("rules.yaml"), "--at", tt.at, "--lang", l}
			r := yizhan(t, "", args...)
			name := "rules-test-" + tt.name + "-" + l
			if strings.Contains(tt.at, "22:30") {
				name = "rules-test-" + tt.name + "-night-" + l
			}
			golden(t, name, r, args)
			if r.code != tt.code {
				t.Errorf("%s: exit %d, want %d", name, r.code, tt.code)
			}
		}
	}
}

func TestRulesTestInJSON(t *testing.T) {
	serve(t)
	r := yizhan(t, "", "rules", "test", ruleFile("event.json"), "--rules", ruleFile("rules.yaml"), "--at", "2026-11-23T22:30:00+08:00", "-o", "json")
	var got trial
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Route != "invoice-due" || got.Sent != 2 || len(got.Deliveries) != 2 || len(got.Routes) != 2 || got.Routes[0].Matched {
		t.Errorf("%+v", got)
	}
	d := got.Deliveries[0]
	if d.Action != "hold" || !d.Until.After(got.At) || d.Message.Text != "华星贸易，您的账单将于2026-11-30到期。" || d.Message.Signature != "华星科技" || d.To != "138****8000" {
		t.Errorf("%+v", d)
	}
	if p := d.Parts; p == nil || p.Parts.Parts != 1 || p.Characters != 30 || p.Price != "0.045" || p.Currency != "CNY" || got.Deliveries[1].Parts != nil {
		t.Errorf("parts %+v and of the mail %+v", p, got.Deliveries[1].Parts)
	}
}
