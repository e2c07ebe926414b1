package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// planOnly plans one event to mail and stops before anything is sent: the state in which a killed
// worker leaves its copy. It returns the ledger subject and the sequence of the planned record.
func (r *rig) planOnly(id string) (subject string, seq uint64) {
	r.t.Helper()
	r.stop()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, true, false) }()
	r.publish("alarm", id, strings.Replace(wang, "notification", "alert", 1))
	time.Sleep(time.Second)
	cancel()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
	subject = ledger.Subject("acme", r.hasher.Hash("wang@example.com"), schemas.DeliveryID("acme", "/erp", id, "wang@example.com", "mail"))
	_, seq, err := r.Ledger.Last(r.t.Context(), subject)
	if err != nil || seq == 0 {
		r.t.Fatal(seq, err)
	}
	time.Sleep(3 * time.Second) // the copy is no longer fresh
	return subject, seq
}

// Each record that a worker wrote right before it died is finished by the next one.
func TestWhatTheLastRecordCallsForIsDone(t *testing.T) {
	t.Run("a retry whose schedule was not stored", func(t *testing.T) {
		inVirtualTime(t, book, func(r *rig) {
			subject, seq := r.planOnly("a")
			rec := &ledger.Record{Time: time.Now(), State: schemas.Held, Step: ledger.StepRetry, Attempt: 1, Since: time.Now(), Due: time.Now().Add(10 * time.Minute)}
			if _, err := r.Ledger.Put(r.t.Context(), subject, rec, seq); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.want(r.story("a", 5*time.Minute), "mail held 1")
			r.want(r.story("a", 6*time.Minute), "mail accepted 2")
			if len(r.mail.times()) != 1 {
				t.Errorf("%d calls, want 1", len(r.mail.times()))
			}
		})
	})
	t.Run("a dead letter that was not stored", func(t *testing.T) {
		inVirtualTime(t, book, func(r *rig) {
			subject, seq := r.planOnly("a")
			rec := &ledger.Record{Time: time.Now(), State: schemas.Dead, Attempt: 1, Since: time.Now(), Cause: &schemas.Cause{Kind: "email", Code: "550 5.1.1", Class: "recipient"}}
			if _, err := r.Ledger.Put(r.t.Context(), subject, rec, seq); err != nil {
				t.Fatal(err)
			}
			r.start()
			time.Sleep(time.Second)
			page, err := r.Dead.List(r.t.Context(), deadletter.Filter{}, 0, 10)
			if err != nil || page.Total != 1 || page.Items[0].Cause.Code != "550 5.1.1" {
				t.Errorf("dead letters %+v, %v", page, err)
			}
			r.want(r.story("a", time.Second), "mail dead 1, sms accepted 1") // its fallback too
			if len(r.mail.times()) != 0 {
				t.Error("a dead delivery was sent")
			}
		})
	})
	t.Run("an acceptance that was not acked", func(t *testing.T) {
		inVirtualTime(t, book, func(r *rig) {
			subject, seq := r.planOnly("a")
			rec := &ledger.Record{Time: time.Now(), State: schemas.Accepted, Attempt: 1, Since: time.Now()}
			if _, err := r.Ledger.Put(r.t.Context(), subject, rec, seq); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.want(r.story("a", time.Minute), "mail accepted 1")
			if len(r.mail.times()) != 0 {
				t.Error("sent again")
			}
		})
	})
}

// A killed embedded broker leaves messages below the ack floor that nobody will ever be handed.
func TestLeftoversBelowTheAckFloorAreSwept(t *testing.T) {
	for name, c := range map[string]struct {
		finished bool
		left     uint64
		calls    int
	}{
		"finished in the ledger: removed":          {true, 0, 0},
		"not finished: stored again, then it goes": {false, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, book, func(r *rig) {
				subject, seq := r.planOnly("a")
				if c.finished {
					if _, err := r.Ledger.Put(r.t.Context(), subject, &ledger.Record{Time: time.Now(), State: schemas.Accepted, Attempt: 1}, seq); err != nil {
						t.Fatal(err)
					}
				}
				before, err := r.Broker.Stream(broker.Deliveries).Info(r.t.Context())
				if err != nil || before.State.Msgs != 1 {
					t.Fatal(before.State.Msgs, err)
				}
				if err := r.SweepBelow(r.t.Context(), "mail", schemas.High, before.State.LastSeq); err != nil {
					t.Fatal(err)
				}
				after, err := r.Broker.Stream(broker.Deliveries).Info(r.t.Context())
				if err != nil || after.State.Msgs != c.left || c.left > 0 && after.State.FirstSeq <= before.State.LastSeq {
					t.Errorf("%+v left, %v", after.State, err)
				}
				r.start()
				time.Sleep(time.Minute)
				if len(r.mail.times()) != c.calls {
					t.Errorf("%d calls, want %d", len(r.mail.times()), c.calls)
				}
			})
		})
	}
}
