package dispatcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

const receiptBook = `
routes:
  - {name: one, when: 'event.type == "invoice"', send: [sms], fallback: [mail]}
  - {name: alarm, when: 'event.type == "alarm"', send: [mail], fallback: [sms]}
templates:
  hello:
    sms: {code: SMS_1, params: [name], text: "你好${name}"}
    mail: {subject: "你好", text: "你好 {{.name}}"}
`

// withReceipts is inVirtualTime with an SMS channel whose third party sends receipts, and a mail channel that
// hears of bounces. prepare comes before the start.
func withReceipts(t *testing.T, rulesYAML string, prepare, f func(r *rig)) {
	inVirtualTimeWith(t, rulesYAML, dispatcher.Config{Retry: dispatcher.Policy{
		Attempts: 6, MaxAge: time.Hour, Receipts: []time.Duration{15 * time.Minute, time.Hour, 3 * time.Hour},
	}}, func(r *rig) {
		r.sms.traits.Receipts, r.mail.traits.Bounces, r.Tenants = true, true, []string{"acme", "other"}
		if prepare != nil {
			prepare(r)
		}
	}, f)
}

// smsID is the id of the SMS of event id to wang.
func smsID(id string) string {
	return schemas.DeliveryID("acme", "/erp", id, "+8613800138000", "sms")
}

// push reports as the third party of a channel does.
func (r *rig) push(channel string, reports ...channels.Report) {
	r.t.Helper()
	if err := r.TakeReports(r.t.Context(), channel, reports); err != nil {
		r.t.Fatal(err)
	}
}

func delivered(id string) channels.Report {
	return channels.Report{DeliveryID: smsID(id), State: schemas.Delivered, At: time.Now()}
}

func undelivered(id string) channels.Report {
	return channels.Report{DeliveryID: smsID(id), State: schemas.Undelivered, At: time.Now(), Failure: &channels.Failure{
		Kind: "sms", Provider: "aliyun-receipt", Code: "MOBILE_NOT_ON_SERVICE", Class: channels.BadTarget,
	}}
}

// waiting is how many messages wait in a stream.
func (r *rig) waiting(stream string) uint64 {
	r.t.Helper()
	info, err := r.Broker.Stream(stream).Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return info.State.Msgs
}

// closed checks that nothing happens any more by itself.
func (r *rig) closed(s ledger.Story) {
	r.t.Helper()
	if s.Open {
		r.t.Errorf("%s is still open: %s", s.ID, states(s))
	}
	if d, w := r.waiting(broker.Deliveries), r.waiting(broker.Receipts); d != 0 || w != 0 {
		r.t.Errorf("%d deliveries and %d receipts still wait", d, w)
	}
}

func noAnswer() error {
	return &channels.Failure{Kind: "sms", Provider: "aliyun", Code: "net:timeout-response", Class: channels.Unknown, Maybe: true}
}

func TestReceiptsSayWhatBecameOfAMessage(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context, *schemas.Delivery, int) error
		lookup func(*schemas.Delivery, int) (channels.Lookup, error)
		act    func(r *rig)
		want   string
		asked  int
	}{
		"delivered": {act: func(r *rig) { r.push("sms", delivered("a")) }, want: "sms delivered 1"},
		"undelivered, so the mail goes": {
			act: func(r *rig) { r.push("sms", undelivered("a")) }, want: "mail accepted 1, sms undelivered 1",
		},
		"the same receipt again and again": {act: func(r *rig) {
			for range 4 {
				r.push("sms", delivered("a"), delivered("a"))
				time.Sleep(3 * time.Minute)
			}
		}, want: "sms delivered 1"},
		"delivered after undelivered": {act: func(r *rig) {
			r.push("sms", undelivered("a"))
			time.Sleep(time.Minute)
			r.push("sms", delivered("a"))
		}, want: "mail accepted 1, sms delivered 1"},
		"undelivered after delivered": {act: func(r *rig) {
			r.push("sms", delivered("a"))
			time.Sleep(time.Minute)
			r.push("sms", undelivered("a"))
		}, want: "sms delivered 1"},
		"before the answer of the call": {
			answer: func(ctx context.Context, _ *schemas.Delivery, _ int) error { return pause(ctx, 5*time.Second) },
			act:    func(r *rig) { r.push("sms", undelivered("a")) }, want: "mail accepted 1, sms undelivered 1",
		},
		"in place of the answer": {
			answer: func(context.Context, *schemas.Delivery, int) error { return noAnswer() },
			act:    func(r *rig) { r.push("sms", delivered("a")) }, want: "sms delivered 1",
		},
		"in place of the answer: not delivered": {
			answer: func(context.Context, *schemas.Delivery, int) error { return noAnswer() },
			act:    func(r *rig) { r.push("sms", undelivered("a")) }, want: "mail accepted 1, sms undelivered 1",
		},
		"in place of the answer: taken, and later delivered": {
			answer: func(context.Context, *schemas.Delivery, int) error { return noAnswer() },
			act: func(r *rig) {
				r.push("sms", channels.Report{DeliveryID: smsID("a"), State: schemas.Accepted})
				time.Sleep(5 * time.Minute)
				r.want(r.story("a", 0), "sms accepted 1")
				r.push("sms", delivered("a"))
			}, want: "sms delivered 1",
		},
		"none comes, but the third party knows": {
			lookup: func(*schemas.Delivery, int) (channels.Lookup, error) {
				return channels.Lookup{Found: true, State: schemas.Undelivered, Failure: undelivered("a").Failure}, nil
			},
			want: "mail accepted 1, sms undelivered 1", asked: 1,
		},
		"none comes, and the third party knows at last": {
			lookup: func(_ *schemas.Delivery, n int) (channels.Lookup, error) {
				switch n {
				case 1:
					return channels.Lookup{}, errors.New("503")
				case 2:
					return channels.Lookup{Found: true, State: schemas.Accepted}, nil
				}
				return channels.Lookup{Found: true, State: schemas.Delivered}, nil
			},
			want: "sms delivered 1", asked: 3,
		},
		"none comes, and nobody ever knows": {
			lookup: func(*schemas.Delivery, int) (channels.Lookup, error) {
				return channels.Lookup{Found: true, State: schemas.Accepted}, nil
			},
			want: "sms accepted 1", asked: 3,
		},
		"it comes after nobody waits any more": {
			act:  func(r *rig) { time.Sleep(4 * time.Hour); r.push("sms", delivered("a")) },
			want: "sms delivered 1", asked: 3,
		},
		"of a message that is not ours": {
			act: func(r *rig) {
				r.push("sms", channels.Report{DeliveryID: smsID("other"), State: schemas.Delivered},
					channels.Report{DeliveryID: "somebody-else's", State: schemas.Undelivered}, channels.Report{State: schemas.Delivered})
				r.push("web", undelivered("a")) // one third party says nothing about another's messages
			}, want: "sms accepted 1", asked: 3,
		},
		"by the third party's own id and the number": {
			act: func(r *rig) {
				r.push("sms", channels.Report{MessageID: "receipt-1", Phone: "+8613800138000", State: schemas.Delivered})
			}, want: "sms delivered 1",
		},
		"after a recall that came too late, no mail goes": {
			act: func(r *rig) {
				out, err := r.Recall(r.t.Context(), "acme", "/erp", "a", "li")
				if err != nil || out.TooLate != 1 {
					r.t.Errorf("recall %+v, %v", out, err)
				}
				r.push("sms", undelivered("a"))
			}, want: "sms undelivered 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			withReceipts(t, receiptBook, func(r *rig) { r.sms.answer, r.sms.lookup = c.answer, c.lookup }, func(r *rig) {
				r.publish("invoice", "a", wang)
				time.Sleep(3 * time.Second)
				if c.act != nil {
					c.act(r)
				}
				s := r.story("a", 4*time.Hour)
				r.want(s, c.want)
				r.closed(s)
				if len(r.sms.times()) != 1 || r.sms.questions() != c.asked {
					t.Errorf("%d calls and %d questions, want 1 and %d", len(r.sms.times()), r.sms.questions(), c.asked)
				}
				if n := len(r.mail.times()); n > 1 {
					t.Errorf("%d mails", n)
				}
				if n := r.logs.FilterMessage("sent twice").Len(); n != 0 {
					t.Error("a receipt was taken for a second call")
				}
			})
		})
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A receipt that is faster than the answer of the call waits for it, so that the trace tells both.
func TestAnEarlyReceiptComesAfterTheAnswer(t *testing.T) {
	withReceipts(t, receiptBook, func(r *rig) {
		r.sms.answer = func(ctx context.Context, _ *schemas.Delivery, _ int) error { return pause(ctx, 5*time.Second) }
	}, func(r *rig) {
		r.publish("invoice", "a", wang)
		time.Sleep(time.Second)
		r.push("sms", delivered("a"))
		s := r.story("a", time.Minute)
		var told []schemas.State
		for _, c := range s.Deliveries[0].History {
			told = append(told, c.State)
		}
		if want := []schemas.State{schemas.Planned, schemas.Sending, schemas.Accepted, schemas.Delivered}; !slices.Equal(told, want) {
			t.Errorf("history %v, want %v", told, want)
		}
	})
}

// A worker that was paused longer than its claim has made one call, not two, whatever the receipt was faster than.
func TestAReceiptOfAPausedWorkersCallIsNoRepeat(t *testing.T) {
	for _, at := range []time.Duration{35 * time.Second, 50 * time.Second} { // after the claim; after another worker saw its end
		withReceipts(t, receiptBook, func(r *rig) {
			r.sms.answer = func(context.Context, *schemas.Delivery, int) error { time.Sleep(time.Minute); return nil }
		}, func(r *rig) {
			r.publish("invoice", "a", wang)
			time.Sleep(at)
			r.push("sms", delivered("a"))
			s := r.story("a", 3*time.Minute)
			r.want(s, "sms delivered 1")
			r.closed(s)
			if n := r.logs.FilterMessage("sent twice").Len(); n != 0 || len(r.sms.times()) != 1 {
				t.Errorf("receipt after %s: %d calls, %d taken for a repeat", at, len(r.sms.times()), n)
			}
		})
	}
}

// A worker that dies between a receipt's record and what it calls for is followed by one that does it, and soon.
func TestAReceiptIsFinishedAfterADeath(t *testing.T) {
	kill := func(r *rig) {
		r.Log = zap.New(killer{zap.InfoLevel, &network{courses: map[string]*course{smsID("a"): {kills: map[string]bool{"receipt": true}}}}})
	}
	t.Run("the alternative goes", func(t *testing.T) {
		withReceipts(t, receiptBook, kill, func(r *rig) {
			r.publish("invoice", "a", wang)
			time.Sleep(3 * time.Second)
			r.push("sms", undelivered("a"))
			s := r.story("a", 2*time.Minute)
			r.want(s, "mail accepted 1, sms undelivered 1")
			r.closed(s)
		})
	})
	t.Run("the dead letter is taken away", func(t *testing.T) {
		withReceipts(t, receiptBook, func(r *rig) {
			kill(r)
			r.sms.answer = func(context.Context, *schemas.Delivery, int) error { return noAnswer() }
			r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
				return channels.Lookup{}, errors.New("no query today")
			}
		}, func(r *rig) {
			r.publish("invoice", "a", wang)
			time.Sleep(5 * time.Hour)
			r.push("sms", delivered("a"))
			s := r.story("a", 2*time.Minute)
			r.want(s, "mail accepted 1, sms delivered 1")
			if p, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || p.Total != 0 {
				t.Errorf("the dead letter is still there: %+v, %v", p, err)
			}
		})
	})
}

// What nobody could say is a dead letter; a receipt that comes after all takes it away.
func TestAReceiptClosesADoubtThatWasGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		report func(string) channels.Report
		want   string
	}{
		"delivered":   {delivered, "mail accepted 1, sms delivered 1"}, // the mail went when the SMS was given up
		"undelivered": {undelivered, "mail accepted 1, sms undelivered 1"},
	} {
		t.Run(name, func(t *testing.T) {
			withReceipts(t, receiptBook, func(r *rig) {
				r.sms.answer = func(context.Context, *schemas.Delivery, int) error { return noAnswer() }
				r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
					return channels.Lookup{}, errors.New("no query today")
				}
			}, func(r *rig) {
				r.publish("invoice", "a", wang)
				r.want(r.story("a", 5*time.Hour), "mail accepted 1, sms dead 1")
				if p, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || p.Total != 1 {
					t.Fatalf("dead letters: %+v, %v", p, err)
				}
				r.push("sms", c.report("a"))
				s := r.story("a", time.Minute)
				r.want(s, c.want)
				r.closed(s)
				if p, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10); err != nil || p.Total != 0 {
					t.Errorf("the dead letter is still there: %+v, %v", p, err)
				}
				if len(r.mail.times()) != 1 || len(r.sms.times()) != 1 {
					t.Errorf("%d mails and %d SMS, want one each", len(r.mail.times()), len(r.sms.times()))
				}
			})
		})
	}
}

// A person sends a doubtful message again: a receipt for the first says nothing bad about the second, but one
// that arrived is enough.
func TestReceiptsOfAnEarlierSubmission(t *testing.T) {
	withReceipts(t, receiptBook, func(r *rig) {
		r.sms.answer = func(_ context.Context, _ *schemas.Delivery, n int) error {
			if n == 1 {
				return noAnswer()
			}
			return nil
		}
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{}, errors.New("no query today")
		}
	}, func(r *rig) {
		r.publish("invoice", "a", wang)
		time.Sleep(5 * time.Hour)
		p, err := r.Replay(r.t.Context(), dispatcher.ReplayRequest{Uncertain: true, Confirm: 1, Reason: "asked the customer"})
		if err != nil || p.Replayed != 1 {
			t.Fatalf("replay %+v, %v", p, err)
		}
		r.want(r.story("a", 10*time.Second), "mail accepted 1, sms accepted 1")
		first := undelivered("a")
		first.MessageID = "receipt-1"
		r.push("sms", first)
		r.want(r.story("a", 10*time.Second), "mail accepted 1, sms accepted 1")
		first = delivered("a")
		first.MessageID = "receipt-1"
		r.push("sms", first)
		s := r.story("a", time.Minute)
		r.want(s, "mail accepted 1, sms delivered 1")
		r.closed(s)
		second := undelivered("a")
		second.MessageID = "receipt-2"
		r.push("sms", second)
		r.want(r.story("a", time.Minute), "mail accepted 1, sms delivered 1")
	})
}

// A receipt that comes while the second attempt waits ends the waiting: no second message.
func TestADeliveredReceiptEndsTheWaitForAnotherAttempt(t *testing.T) {
	withReceipts(t, receiptBook, func(r *rig) {
		r.mail.answer = func(context.Context, *schemas.Delivery, int) error {
			return &channels.Failure{Kind: "email", Code: "net:timeout-response", Class: channels.Temporary, Maybe: true, After: time.Hour / 2}
		}
	}, func(r *rig) {
		r.publish("alarm", "a", wang)
		time.Sleep(time.Minute)
		id := schemas.DeliveryID("acme", "/erp", "a", "wang@example.com", "mail")
		r.push("mail", channels.Report{DeliveryID: id, State: schemas.Delivered})
		s := r.story("a", 2*time.Hour)
		r.want(s, "mail delivered 1")
		r.closed(s)
		if n := len(r.mail.times()); n != 1 {
			t.Errorf("%d mails, want 1", n)
		}
	})
}

func TestBounces(t *testing.T) {
	mail := func(id string) string { return schemas.DeliveryID("acme", "/erp", id, "wang@example.com", "mail") }
	bounce := func(id string) channels.Report {
		return channels.Report{DeliveryID: mail(id), State: schemas.Undelivered, Failure: &channels.Failure{
			Kind: "email", Code: "550 5.1.1", Class: channels.BadTarget, Line: "550 5.1.1 no such user",
		}}
	}
	plain := strings.Replace(receiptBook, ", fallback: [sms]", "", 1)
	t.Run("where another channel can take over, accepted waits", func(t *testing.T) {
		withReceipts(t, receiptBook, nil, func(r *rig) {
			r.publish("alarm", "a", wang)
			if s := r.story("a", 2*time.Hour); !s.Open {
				t.Error("closed while a bounce can come")
			}
			r.push("mail", bounce("a"))
			r.want(r.story("a", time.Minute), "mail undelivered 1, sms accepted 1")
		})
	})
	t.Run("no bounce: closed", func(t *testing.T) {
		withReceipts(t, receiptBook, nil, func(r *rig) {
			r.publish("alarm", "a", wang)
			s := r.story("a", 4*time.Hour)
			r.want(s, "mail accepted 1")
			r.closed(s)
		})
	})
	t.Run("without another channel nothing waits, and a late bounce is the truth all the same", func(t *testing.T) {
		withReceipts(t, plain, nil, func(r *rig) {
			r.publish("alarm", "a", wang)
			s := r.story("a", time.Minute)
			r.want(s, "mail accepted 1")
			r.closed(s)
			r.push("mail", bounce("a"))
			s = r.story("a", time.Minute)
			r.want(s, "mail undelivered 1")
			if s.Deliveries[0].Cause == nil || s.Deliveries[0].Cause.Class != "recipient" {
				t.Errorf("the cause %+v does not say whose fault it is", s.Deliveries[0].Cause)
			}
		})
	})
	t.Run("delayed leaves a note and changes nothing", func(t *testing.T) {
		withReceipts(t, receiptBook, nil, func(r *rig) {
			r.publish("alarm", "a", wang)
			time.Sleep(time.Minute)
			for range 3 {
				r.push("mail", channels.Report{DeliveryID: mail("a"), Failure: &channels.Failure{Kind: "email", Code: "451 4.4.1", Class: channels.Temporary}})
				time.Sleep(50 * time.Minute)
			}
			s := r.story("a", 0)
			r.want(s, "mail accepted 1")
			notes := 0
			for _, h := range s.Deliveries[0].History {
				if strings.Contains(h.Note, "still being tried") {
					notes++
				}
			}
			if notes != 1 || !s.Open {
				t.Errorf("%d notes, open %t: %+v", notes, s.Open, s.Deliveries[0].History)
			}
			r.push("mail", bounce("a"))
			r.want(r.story("a", time.Minute), "mail undelivered 1, sms accepted 1")
		})
	})
}

// An SMS of which nobody knows whether it arrived is never followed by another SMS by itself.
func TestADoubtfulSMSIsFollowedByNoOtherSMS(t *testing.T) {
	text := strings.Replace(receiptBook, "fallback: [mail]", "fallback: [sms2, mail]", 1)
	withReceipts(t, receiptBook, func(r *rig) {
		r.Channels["sms2"] = &far{traits: r.sms.traits}
		r.useBook(text)
		r.sms.answer = func(context.Context, *schemas.Delivery, int) error { return noAnswer() }
		r.sms.lookup = func(*schemas.Delivery, int) (channels.Lookup, error) {
			return channels.Lookup{}, errors.New("no query today")
		}
	}, func(r *rig) {
		r.publish("invoice", "a", wang)
		r.want(r.story("a", 5*time.Hour), "mail accepted 1, sms dead 1")
		// Once it is known that the first did not arrive, the second may go.
		r.push("sms", undelivered("a"))
		r.want(r.story("a", time.Minute), "mail accepted 1, sms undelivered 1, sms2 accepted 1")
	})
}

// What is no report must not stand in the way of those behind it.
func TestWhatIsNoReportIsCleared(t *testing.T) {
	withReceipts(t, receiptBook, nil, func(r *rig) {
		r.publish("invoice", "a", wang)
		time.Sleep(3 * time.Second)
		for _, body := range []string{
			"", "{", `{"channel":"mail","delivery":"` + smsID("a") + `","state":"delivered"}`, `{"channel":"sms","state":"dead"}`, `{"channel":"sms","extra":1}`,
			`{"channel":"sms","delivery":"` + smsID("a") + `","state":"cancelled"}`,
		} {
			if _, err := r.Broker.Publish(r.t.Context(), &nats.Msg{Subject: broker.ReceiptSubject("sms"), Data: []byte(body)}); err != nil {
				r.t.Fatal(err)
			}
		}
		r.want(r.story("a", time.Second), "sms accepted 1")
		r.push("sms", delivered("a"))
		s := r.story("a", time.Second)
		r.want(s, "sms delivered 1")
		r.closed(s)
	})
}

func TestRepliesThatRefuseAreRecorded(t *testing.T) {
	withReceipts(t, receiptBook, nil, func(r *rig) {
		r.publish("invoice", "a", wang)
		time.Sleep(time.Second)
		reply := func(phone, text string) {
			r.push("sms", channels.Report{Phone: phone, Reply: text, ReplyTo: "1069", At: time.Now()})
			time.Sleep(time.Second)
		}
		state := func(tenant, phone string) schemas.ConsentState {
			c, err := r.Book().Consents().Consent(r.t.Context(), tenant, phone)
			if err != nil {
				t.Fatal(err)
			}
			if c == nil {
				return ""
			}
			return c.States[schemas.Marketing].State
		}
		reply("+8613800138000", "谢谢，已付款")
		if got := state("acme", "+8613800138000"); got != "" {
			t.Errorf("a thank-you was recorded as %q", got)
		}
		for _, e := range r.logs.FilterMessage("reply").All() {
			if m := e.ContextMap(); m["from"] != "138****8000" && m["from"] != "+86138****8000" || m["text"] != "谢谢，已付款" {
				t.Errorf("logged %v", m)
			}
		}
		reply("+8613800138000", " 退订 ")
		if a, o := state("acme", "+8613800138000"), state("other", "+8613800138000"); a != schemas.OptedOut || o != "" {
			t.Errorf("acme %q, other %q: the refusal is acme's, who sent the message", a, o)
		}
		reply("+8613900139000", "TD") // nobody knows whom: all
		if a, o := state("acme", "+8613900139000"), state("other", "+8613900139000"); a != schemas.OptedOut || o != schemas.OptedOut {
			t.Errorf("acme %q, other %q: a refusal of nobody's message counts for all", a, o)
		}
	})
}
