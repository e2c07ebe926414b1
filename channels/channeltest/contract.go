package channeltest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	attempt = 20 * time.Second // bounds an attempt that is expected to end by itself
	slack   = 5 * time.Second  // how late an end may be noticed on a busy machine
	hanging = time.Second      // how long an attempt waits for a far side that hangs
)

// want is what a behaviour must lead to.
type want struct {
	classes []channels.Class
	maybe   []bool // the values of Failure.Maybe that are right
}

var (
	no     = []bool{false}
	yes    = []bool{true}
	either = []bool{false, true}
	// A channel whose third party knows a repeat by its id may call it temporary; see checkFailure.
	uncertain = []channels.Class{channels.Unknown, channels.Temporary}
	wants     = map[Behaviour]want{
		Refuse:      {[]channels.Class{channels.Permanent, channels.Content, channels.BadTarget, channels.Config, channels.Auth}, no},
		Throttle:    {[]channels.Class{channels.Throttled}, no},
		Fail:        {[]channels.Class{channels.Temporary}, no},
		HangUp:      {uncertain, either},
		Cut:         {uncertain, yes},
		Unreachable: {[]channels.Class{channels.Temporary}, no},
	}
)

// Contract proves that a channel keeps the promises of [channels.Channel].
func Contract(t *testing.T, rig Rig) {
	t.Run("traits", func(t *testing.T) {
		tr := open(t, rig).ch.Traits()
		if tr.Kind != rig.Kind || tr.Address != rig.Address {
			t.Errorf("Traits = kind %q, address %q; want %q, %q", tr.Kind, tr.Address, rig.Kind, rig.Address)
		}
		if tr.Slots < 1 || tr.Timeout <= 0 {
			t.Errorf("Traits = %d slots, timeout %v: both must be positive", tr.Slots, tr.Timeout)
		}
	})
	for _, b := range []Behaviour{Accept, AcceptThenBreak} {
		t.Run(b.String(), func(t *testing.T) { testYes(t, rig, b) })
	}
	for _, b := range []Behaviour{Refuse, Throttle, Fail, HangUp, Cut, Unreachable} {
		t.Run(b.String(), func(t *testing.T) { testNo(t, rig, b) })
	}
	t.Run("hang/deadline", func(t *testing.T) { testDeadline(t, rig) })
	t.Run("hang/cancel", func(t *testing.T) { testCancel(t, rig) })
	t.Run("ended context", func(t *testing.T) { testEnded(t, rig) })
	t.Run("stale connection", func(t *testing.T) { testStale(t, rig) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, rig) })
	t.Run("leaves nothing behind", func(t *testing.T) { testLeaves(t, rig) })
}

// stand is one opened channel with its far side and everything it logged.
type stand struct {
	rig  Rig
	ch   channels.Channel
	far  FarSide
	logs *observer.ObservedLogs
}

func open(t *testing.T, rig Rig) *stand {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s := &stand{rig: rig, logs: logs}
	s.ch, s.far = rig.Open(t, channels.Env{Name: "test", Dir: t.TempDir(), Log: zap.New(core), Simulated: true})
	t.Cleanup(func() {
		if err := s.ch.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		s.checkLogs(t)
	})
	return s
}

func (s *stand) delivery(n int) *schemas.Delivery {
	d := Delivery(n)
	if s.rig.Adjust != nil {
		s.rig.Adjust(d)
	}
	return d
}

// send makes one attempt that must end by itself, and checks whatever error comes of it.
func (s *stand) send(t *testing.T, d *schemas.Delivery) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attempt)
	defer cancel()
	err := s.sendCtx(ctx, t, d)
	if ctx.Err() != nil {
		t.Fatalf("Send did not end by itself within %v: %v", attempt, err)
	}
	return err
}

func (s *stand) sendCtx(ctx context.Context, t *testing.T, d *schemas.Delivery) error {
	t.Helper()
	_, err := s.ch.Send(ctx, d)
	if err != nil {
		s.checkFailure(t, d, err)
	}
	return err
}

func (s *stand) mustSend(t *testing.T, d *schemas.Delivery) {
	t.Helper()
	if err := s.send(t, d); err != nil {
		t.Fatalf("Send = %v, want acceptance", err)
	}
	if n := s.taken(d); n != 1 {
		t.Fatalf("Send said yes; the far side took the delivery %d times, want once", n)
	}
}

// taken counts how often the far side took d.
func (s *stand) taken(d *schemas.Delivery) (n int) {
	for _, id := range s.far.Taken() {
		if id == d.ID {
			n++
		}
	}
	return n
}

// checkFailure holds for every error of every channel.
func (s *stand) checkFailure(t *testing.T, d *schemas.Delivery, err error) {
	t.Helper()
	f, ok := errors.AsType[*channels.Failure](err)
	if !ok {
		t.Fatalf("Send = %T %v, want a *channels.Failure in the chain", err, err)
	}
	if f.Kind != s.rig.Kind || f.Code == "" || !slices.Contains(channels.Classes, f.Class) {
		t.Errorf("Failure = kind %q, code %q, class %q: want kind %q, a code and a known class", f.Kind, f.Code, f.Class, s.rig.Kind)
	}
	if strings.ContainsAny(f.Line, "\r\n") || len(f.Line) > 1024 {
		t.Errorf("Failure.Line has %d bytes or several lines: %q", len(f.Line), f.Line)
	}
	if f.Class == channels.Unknown && !f.Maybe || f.Maybe && s.ch.Traits().Once && f.Class != channels.Unknown {
		t.Errorf("Failure %q: class %q, maybe %v: unknown means maybe, and where a repeat costs (Once) maybe means unknown", f.Code, f.Class, f.Maybe)
	}
	s.clean(t, "Failure.Line", d, f.Line)
	s.cleanChain(t, d, err)
}

// cleanChain looks at every error of the chain: whoever logs one of them must not leak either.
func (s *stand) cleanChain(t *testing.T, d *schemas.Delivery, err error) {
	t.Helper()
	for err != nil {
		s.clean(t, fmt.Sprintf("%T in the error's chain", err), d, err.Error())
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range many.Unwrap() {
				s.cleanChain(t, d, e)
			}
			return
		}
		err = errors.Unwrap(err)
	}
}

// clean fails when text tells what only the recipient or the channel's owner may know.
func (s *stand) clean(t *testing.T, where string, d *schemas.Delivery, text string) {
	t.Helper()
	canaries := append([]string{canaryPhone, canaryLocal, canaryBody}, s.rig.Secrets...)
	if d != nil {
		canaries = append(canaries, d.To.Phone, d.To.Email, d.Message.Text)
	}
	for _, c := range canaries {
		if c != "" && strings.Contains(text, c) {
			t.Errorf("%s leaks %q: %s", where, c, text)
		}
	}
}

func (s *stand) checkLogs(t *testing.T) {
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, e := range s.logs.All() {
		b, err := enc.EncodeEntry(e.Entry, e.Context)
		if err != nil {
			t.Errorf("log entry %q: %v", e.Message, err)
			continue
		}
		s.clean(t, "a log line", nil, b.String())
		b.Free()
	}
}

// testYes: nil is returned when the third party said yes, whatever becomes of the connection, and
// the channel goes on working.
func testYes(t *testing.T, rig Rig, b Behaviour) {
	s := open(t, rig)
	s.far.Behave(b)
	for n := range 3 {
		s.mustSend(t, s.delivery(n))
	}
}

// testNo: a failure is told as what it is, on a fresh connection and on a kept one, is not repeated
// inside Send, and is over once the far side is well again.
func testNo(t *testing.T, rig Rig, b Behaviour) {
	for _, kept := range []bool{false, true} {
		t.Run(map[bool]string{false: "fresh", true: "kept"}[kept], func(t *testing.T) {
			s := open(t, rig)
			if kept {
				s.mustSend(t, s.delivery(0))
			}
			s.far.Behave(b)
			d := s.delivery(1)
			err := s.send(t, d)
			if err == nil {
				t.Fatalf("Send = nil, though the far side said no such thing")
			}
			f := channels.Explain(err)
			if w := wants[b]; !slices.Contains(w.classes, f.Class) || !slices.Contains(w.maybe, f.Maybe) {
				t.Errorf("Failure %q: class %q, maybe %v; want class of %q, maybe of %v", f.Code, f.Class, f.Maybe, w.classes, w.maybe)
			}
			times := 0
			if b == Cut {
				times = 1
			}
			if n := s.taken(d); n != times {
				t.Errorf("the far side took the delivery %d times, want %d", n, times)
			}
			s.far.Behave(Accept)
			s.mustSend(t, s.delivery(2))
		})
	}
}

// testDeadline: a far side that never answers costs no more than the attempt's own time.
func testDeadline(t *testing.T, rig Rig) {
	s := open(t, rig)
	s.mustSend(t, s.delivery(0))
	s.far.Behave(Hang)
	d := s.delivery(1)
	ctx, cancel := context.WithTimeout(t.Context(), hanging)
	defer cancel()
	start := time.Now()
	err := s.sendCtx(ctx, t, d)
	if took := time.Since(start); took > hanging+slack {
		t.Errorf("Send took %v with a deadline of %v", took, hanging)
	}
	if err == nil {
		t.Fatal("Send = nil without an answer")
	}
	if s.taken(d) > 0 {
		wantMaybe(t, err)
	}
	s.far.Behave(Accept)
	s.mustSend(t, s.delivery(2))
}

// testCancel: the context counts also after the request has been written.
func testCancel(t *testing.T, rig Rig) {
	s := open(t, rig)
	s.far.Behave(Hang)
	d := s.delivery(1)
	ctx, cancel := context.WithTimeout(t.Context(), attempt)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.ch.Send(ctx, d)
		done <- err
	}()
	until(t, "the far side has the request", func() bool { return s.taken(d) == 1 })
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Fatal("Send = nil without an answer")
		}
		s.checkFailure(t, d, err)
		wantMaybe(t, err)
	case <-time.After(slack):
		t.Fatalf("Send still runs %v after its context ended", slack)
	}
	s.far.Behave(Accept)
	s.mustSend(t, s.delivery(2))
}

// wantMaybe: the far side had the whole request and gave no answer.
func wantMaybe(t *testing.T, err error) {
	t.Helper()
	if f := channels.Explain(err); !f.Maybe || !slices.Contains(uncertain, f.Class) {
		t.Errorf("Failure %q: class %q, maybe %v; the far side had the whole request: want maybe and class of %q", f.Code, f.Class, f.Maybe, uncertain)
	}
}

// testEnded: nothing is sent for a context that is over, and the failure says that nothing was.
func testEnded(t *testing.T, rig Rig) {
	s := open(t, rig)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := s.delivery(1)
	err := s.sendCtx(ctx, t, d)
	if err == nil {
		t.Fatal("Send = nil with an ended context")
	}
	if f := channels.Explain(err); f.Maybe {
		t.Errorf("Failure %q: maybe, though nothing was written", f.Code)
	}
	if n := s.taken(d); n != 0 {
		t.Errorf("the far side took the delivery %d times, want none", n)
	}
}

// testStale: a kept connection that the far side broke meanwhile is replaced within the same Send.
func testStale(t *testing.T, rig Rig) {
	s := open(t, rig)
	for n := range 3 {
		s.mustSend(t, s.delivery(2*n))
		s.far.Behave(Unreachable)
		s.far.Behave(Accept)
		s.mustSend(t, s.delivery(2*n+1))
	}
}

// testConcurrent: many at once, each taken exactly once.
func testConcurrent(t *testing.T, rig Rig) {
	s := open(t, rig)
	const goroutines, each = 20, 3
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for n := range each {
				ctx, cancel := context.WithTimeout(t.Context(), attempt)
				if _, err := s.ch.Send(ctx, s.delivery(g*each+n)); err != nil {
					t.Errorf("Send %d: %v", g*each+n, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for n := range goroutines * each {
		if got := s.taken(s.delivery(n)); got != 1 {
			t.Errorf("delivery %d was taken %d times, want once", n, got)
		}
	}
}

// testLeaves: after Close no goroutine and no connection is left, not even those of attempts that
// hung or failed.
func testLeaves(t *testing.T, rig Rig) {
	before := runtime.NumGoroutine()
	t.Run("work", func(t *testing.T) {
		s := open(t, rig)
		testLoad(t, s)
		for range 2 { // Close is clean, and clean again
			if err := s.ch.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	deadline := time.Now().Add(slack)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stack := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after Close:\n%s", before, runtime.NumGoroutine(), stack[:runtime.Stack(stack, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func testLoad(t *testing.T, s *stand) {
	var wg sync.WaitGroup
	for n := range 5 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), attempt)
			defer cancel()
			if _, err := s.ch.Send(ctx, s.delivery(n)); err != nil {
				t.Errorf("Send: %v", err)
			}
		})
	}
	wg.Wait()
	for _, b := range []Behaviour{HangUp, Cut, Unreachable, Hang} {
		s.far.Behave(b)
		ctx, cancel := context.WithTimeout(t.Context(), hanging)
		if err := s.sendCtx(ctx, t, s.delivery(10+int(b))); err == nil {
			t.Errorf("%v: Send = nil", b)
		}
		cancel()
	}
}

// until polls until cond holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(attempt)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v, still not: %s", attempt, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
