package channels

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	busy := &Failure{Code: "http:503", Class: Temporary}
	mute := &Failure{Code: "net:timeout-response", Class: Unknown, Maybe: true}
	wrong := &Failure{Code: "535 5.7.8", Class: Auth}
	broke := &Failure{Code: "isv.AMOUNT_NOT_ENOUGH", Class: Config}
	template := &Failure{Code: "isv.SMS_TEMPLATE_ILLEGAL", Class: Config}
	text := &Failure{Code: "isv.SMS_CONTENT_ILLEGAL", Class: Content}
	grey := &Failure{Kind: "email", Code: "450 4.2.0", Class: Temporary}
	disk := &Failure{Kind: "email", Code: "452 4.3.1", Class: Temporary}
	long := &Failure{Kind: "sms", Provider: "dispatcher", Code: "dispatcher:text-too-long", Class: Content}
	noText := &Failure{Kind: "webhook", Provider: "dingtalk", Code: "dispatcher:no-text", Class: Content}
	gone := &Failure{Code: "http:410", Class: Config}
	type step struct {
		after time.Duration // since the step before
		ask   bool          // Allow is asked and has to say allowed
		// done is what a call ended with, told unless ask is set.
		done    *Failure
		allowed bool
		// while refused: the earliest and latest instant to ask again, from now; 0, 0 is never.
		from, to time.Duration
		cause    *Failure
	}
	yes, no := func(after time.Duration) step { return step{after: after, ask: true, allowed: true} },
		func(after, from, to time.Duration, f *Failure) step {
			return step{after: after, ask: true, from: from, to: to, cause: f}
		}
	done := func(f *Failure) step { return step{done: f} }
	fail := func(n int, f *Failure) (s []step) {
		for range n {
			s = append(s, yes(0), done(f))
		}
		return s
	}
	join := func(s ...[]step) (all []step) {
		for _, x := range s {
			all = append(all, x...)
		}
		return all
	}
	for name, steps := range map[string][]step{
		"four failures are nothing":          join(fail(4, busy), []step{yes(0)}),
		"five in a row open it":              join(fail(5, busy), []step{no(0, 5*time.Second, 9*time.Second, busy)}),
		"a success between begins anew":      join(fail(4, mute), []step{done(nil)}, fail(4, mute), []step{yes(0)}),
		"a refused text shows that it works": join(fail(4, busy), []step{done(text)}, fail(4, busy), []step{yes(0)}),
		"what we found ourselves tells nothing": join(fail(4, busy), []step{done(long), done(noText)}, fail(1, busy), []step{
			no(0, 5*time.Second, 9*time.Second, busy), yes(9 * time.Second), done(long), no(0, 5*time.Second, 9*time.Second, busy),
		}),
		"one wrong template is its own matter": join(fail(20, template), []step{yes(0)}),
		"greylisting is of one mailbox":        join(fail(20, grey), []step{yes(0)}),
		"a mail server's full disk is not":     join(fail(5, disk), []step{no(0, 5*time.Second, 9*time.Second, disk)}),
		"timeouts open it too":                 join(fail(5, mute), []step{no(0, 5*time.Second, 9*time.Second, mute)}),
		"wrong credentials open it at once":    join(fail(1, wrong), []step{no(0, 15*time.Minute, 30*time.Minute, wrong)}),
		"an empty account as well":             join(fail(1, broke), []step{no(0, 15*time.Minute, 30*time.Minute, broke)}),
		"gone is for good":                     join(fail(1, gone), []step{no(1000*time.Hour, 0, 0, gone), done(nil), no(0, 0, 0, gone)}),
		"one probe, then the pause doubles": join(fail(5, busy), []step{
			no(0, 5*time.Second, 9*time.Second, busy), yes(9 * time.Second), no(0, 5*time.Second, 9*time.Second, busy), done(mute),
			no(0, 10*time.Second, 18*time.Second, mute), yes(13 * time.Second), done(nil), yes(0), yes(0),
		}),
		"a probe without a result is followed by another": join(fail(5, busy), []step{
			yes(9 * time.Second), no(0, 5*time.Second, 9*time.Second, busy), yes(5 * time.Second),
		}),
		"failures of calls that began before change nothing": join(fail(5, busy), []step{
			done(busy), done(busy), done(busy), no(0, 5*time.Second, 9*time.Second, busy),
		}),
		"credentials count also while it is open": join(fail(5, busy), []step{done(wrong), no(0, 15*time.Minute, 30*time.Minute, wrong)}),
		"credentials mended, the line is down":    join(fail(1, wrong), []step{yes(30 * time.Minute), done(busy), no(0, 5*time.Second, 9*time.Minute, busy)}),
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 { // it is random
				var b Breaker
				now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
				for i, s := range steps {
					now = now.Add(s.after)
					if !s.ask {
						b.Done(now, s.done)
						continue
					}
					ok, at, cause := b.Allow(now)
					open, since, _, why := b.State()
					switch {
					case ok != s.allowed:
						t.Fatalf("step %d: allowed %t", i, ok)
					case ok:
					case cause != s.cause || why != s.cause || !open || since.After(now) || since.IsZero():
						t.Fatalf("step %d: cause %v, state open %t since %s, %v", i, cause, open, since, why)
					case s.to == 0 && !at.IsZero():
						t.Fatalf("step %d: again at %s, want never", i, at)
					case s.to > 0 && (at.Sub(now) < s.from || at.Sub(now) > s.to):
						t.Fatalf("step %d: again in %s, want %s to %s", i, at.Sub(now), s.from, s.to)
					}
				}
			}
		})
	}
}

func TestPausesGrowToFiveMinutes(t *testing.T) {
	var b Breaker
	now := time.Now()
	f := &Failure{Class: Temporary}
	for range breakAfter {
		b.Done(now, f)
	}
	for range 20 {
		_, _, at, _ := b.State()
		if d := at.Sub(now); d > 6*time.Minute {
			t.Fatalf("pause of %s", d)
		}
		now = at
		if ok, _, _ := b.Allow(now); !ok {
			t.Fatal("no probe when it is due")
		}
		b.Done(now, f)
	}
	if _, _, at, _ := b.State(); at.Sub(now) < 5*time.Minute {
		t.Errorf("after 20 failed probes the pause is %s", at.Sub(now))
	}
}

func TestWide(t *testing.T) {
	for _, tt := range []struct {
		class      Class
		code, line string
		want       bool
	}{
		{Auth, "535 5.7.8", "authentication failed", true},
		{Config, "isv.AMOUNT_NOT_ENOUGH", "", true},
		{Config, "isv.SMS_SIGNATURE_ILLEGAL", "", true},
		{Config, "isv.SMS_TEMPLATE_ILLEGAL", "", false},
		{Config, "isv.EXTEND_CODE_ERROR", "", false},
		{Config, "template_parameter_count_illegal", "", false},
		{Config, "net:tls", "x509: certificate has expired", true},
		{Config, "550 5.7.60", "SMTP; Client does not have permissions to send as this sender", true},
		{Config, "553 5.7.1", "553 Mail from must equal authorized user", true},
		{Config, "550", "550 RP:FRL", false},
		{Config, "http:405", "", true},
		{Config, "http:404", "", false},
		{Config, "http:410", "", false},
		{Config, "http:415", "", false},
		{Temporary, "http:404", "", false},
		{Config, "E000112", "account frozen", true}, // Huawei: arrears
		{Config, "E000629", "", true},
		{Config, "E000006", "", true},
		{Config, "E200030", "", false}, // a template
		{Config, "E000628", "", false}, // a country
	} {
		if got := Wide(&Failure{Code: tt.code, Line: tt.line}, tt.class); got != tt.want {
			t.Errorf("Wide(%s %s %s) = %t", tt.class, tt.code, tt.line, got)
		}
	}
}
