package limits

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
)

// slow is a store whose answers take their time.
type slow struct {
	rulestest.Store
	delay func() time.Duration
}

func (s *slow) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	time.Sleep(s.delay())
	defer func() { time.Sleep(s.delay()) }()
	return s.Store.Load(ctx, key)
}

func (s *slow) Swap(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	time.Sleep(s.delay())
	defer func() { time.Sleep(s.delay()) }()
	return s.Store.Swap(ctx, key, value, rev, ttl)
}

// exact is the true clock.
func exact() (time.Time, time.Time, error) { now := time.Now(); return now, now, nil }

// astray is a clock that is off by an error which it does not know, but bounds.
func astray(off, bound time.Duration) Clock {
	return func() (time.Time, time.Time, error) {
		now := time.Now().Add(off)
		return now.Add(-bound), now.Add(bound), nil
	}
}

// calls are the instants at which calls were made.
type calls struct {
	mu sync.Mutex
	at []time.Time
}

func (c *calls) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
}

// check holds every window against the rate.
func (c *calls) check(t *testing.T, r channels.Rate) {
	t.Helper()
	slices.SortFunc(c.at, time.Time.Compare)
	for i := range len(c.at) - r.Count {
		if d := c.at[i+r.Count].Sub(c.at[i]); d < r.Per {
			t.Fatalf("%d calls within %s, at most %d in any %s (calls %d to %d of %d)", r.Count+1, d, r.Count, r.Per, i, i+r.Count, len(c.at))
		}
	}
}

// Whatever pods do, with clocks that are off, a broker that is slow, loses answers and fails, and calls that
// start late: no window holds more calls than the rate allows.
func TestNoWindowHoldsMoreThanTheRate(t *testing.T) {
	for _, rate := range []channels.Rate{
		{Count: 1, Per: time.Second},
		{Count: 5, Per: time.Second},
		{Count: 20, Per: time.Minute},
		{Count: 30, Per: time.Minute},
		{Count: 100, Per: time.Second},
		{Count: 1000, Per: time.Second},
		{Count: 300, Per: time.Minute},
	} {
		for _, seed := range []uint64{0, 1, 2} { // 0: good clocks, a quick broker, no faults, so that nothing hides an error of milliseconds
			t.Run(fmt.Sprintf("%d in %s, %d", rate.Count, rate.Per, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var mu sync.Mutex
					rnd := rand.New(rand.NewPCG(seed, 1))
					n := func(most int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(most) }
					store := &slow{delay: func() time.Duration { return time.Duration(n(1+7*int(seed))) * 500 * time.Microsecond }}
					store.Fault = func(op string) string {
						switch n(40) {
						case 0:
							if seed == 0 {
								return ""
							}
							return "fail"
						case 1:
							if op == "swap" && seed > 0 {
								return "lost"
							}
						}
						return ""
					}
					budget := channels.Budget{Key: "robot", Rate: rate}
					ctx, cancel := context.WithTimeout(t.Context(), min(max(5*rate.Per, 10*time.Second), 6*time.Minute))
					defer cancel()
					var made calls
					var wg sync.WaitGroup
					for pod := range 7 {
						bound := time.Duration(min(seed, 1)) * 20 * time.Millisecond
						l := &Limits{Store: store, Clock: astray(bound*time.Duration(n(41)-20)/20, bound)}
						for range 6 {
							wg.Go(func() {
								waited := 0
								for ctx.Err() == nil {
									a := Ask{Waited: waited, Urgent: n(10) == 0, Bulk: pod == 0, Share: n(3) * 10, Patience: time.Duration(n(1000)) * time.Millisecond}
									passes, err := l.Take(ctx, []channels.Budget{budget}, a)
									if w, ok := errors.AsType[*Wait](err); ok {
										waited++
										select {
										case <-time.After(time.Until(w.At)):
										case <-ctx.Done():
										}
										continue
									}
									if err != nil {
										if ctx.Err() == nil && !errors.Is(err, ErrUnknown) {
											t.Error(err)
										}
										time.Sleep(100 * time.Millisecond)
										continue
									}
									waited = 0
									switch n(10) {
									case 0: // something came between
										time.Sleep(time.Duration(n(2000)) * time.Millisecond)
									case 1:
										Back(passes)
										continue
									case 2, 3, 4, 5: // as late as may be: the least distance to calls of a later lease
										_, latest, _ := l.Clock()
										time.Sleep(time.UnixMilli(passes[0].until - 1).Sub(latest))
									}
									if Good(passes) {
										made.add()
									}
								}
							})
						}
					}
					wg.Wait()
					time.Sleep(flightTimeout) // the last flight lands
					if len(made.at) < rate.Count {
						t.Fatalf("only %d calls", len(made.at))
					}
					made.check(t, rate)
					t.Logf("%d calls", len(made.at))
				})
			})
		}
	}
}

// A backlog uses the budget nearly up, in about the order in which it came, and asks about twice for each call.
func TestABacklogUsesTheBudgetUp(t *testing.T) {
	for _, rate := range []channels.Rate{{Count: 20, Per: time.Minute}, {Count: 30, Per: time.Minute}, {Count: 5, Per: time.Second}, {Count: 100, Per: time.Second}} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &rulestest.Store{}
				budget := channels.Budget{Key: "robot", Rate: rate}
				var made calls
				var wg sync.WaitGroup
				var asked, late int
				var mu sync.Mutex
				begin := time.Now()
				total := 10 * rate.Count
				pods := []*Limits{{Store: store, Clock: exact}, {Store: store, Clock: exact}, {Store: store, Clock: exact}}
				for i := range total {
					time.Sleep(rate.Per / time.Duration(4*rate.Count))
					l := pods[i%3]
					wg.Go(func() {
						for waited := 0; ; waited++ {
							mu.Lock()
							asked++
							mu.Unlock()
							_, err := l.Take(t.Context(), []channels.Budget{budget}, Ask{Waited: waited})
							if w, ok := errors.AsType[*Wait](err); ok {
								time.Sleep(time.Until(w.At))
								time.Sleep(rand.N(20 * time.Millisecond)) // schedules come a little late
								continue
							}
							if err != nil {
								t.Error(err)
							}
							break
						}
						made.add()
						place := time.Duration(i) * rate.Per / time.Duration(rate.Count)
						mu.Lock()
						if time.Since(begin) > place+2*rate.Per+place/8 {
							late++
						}
						mu.Unlock()
					})
				}
				wg.Wait()
				took := time.Since(begin)
				made.check(t, rate)
				if most := 10 * rate.Per * 110 / 100; took > most {
					t.Errorf("%d calls took %s, want at most %s", total, took, most)
				}
				if asked > 4*total {
					t.Errorf("asked %d times for %d calls", asked, total)
				}
				if late > total/50 {
					t.Errorf("%d of %d came much later than their place", late, total)
				}
			})
		})
	}
}

// Quick budgets cost the broker a few trips a lease, whatever the rate.
func TestQuickBudgetsAreLeasedInBatches(t *testing.T) {
	for _, count := range []int{100, 1000, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			store := &slow{delay: func() time.Duration { return 500 * time.Microsecond }}
			l := &Limits{Store: store, Clock: exact}
			b := channels.Budget{Key: "sms", Rate: channels.Rate{Count: count, Per: time.Second}}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var made calls
			var wg sync.WaitGroup
			for range max(64, count/4) {
				wg.Go(func() {
					for waited := 0; ctx.Err() == nil; {
						_, err := l.Take(ctx, []channels.Budget{b}, Ask{Waited: waited, Patience: 1500 * time.Millisecond})
						if w, ok := errors.AsType[*Wait](err); ok {
							waited++
							time.Sleep(time.Until(w.At))
							continue
						}
						if err == nil {
							waited = 0
							made.add()
						}
						time.Sleep(time.Millisecond + rand.N(time.Millisecond))
					}
				})
			}
			wg.Wait()
			time.Sleep(flightTimeout) // the last flight lands
			made.check(t, b.Rate)
			_, swaps := store.Counts()
			t.Logf("%d/s: %d calls, %d writes in 10 s", count, len(made.at), swaps)
			if swaps > 10*45 {
				t.Errorf("%d/s: %d writes in 10 s", count, swaps)
			}
			if least := count * 10 * 85 / 100; len(made.at) < least {
				t.Errorf("%d/s: %d calls in 10 s, want at least %d", count, len(made.at), least)
			}
		})
	}
}

func TestABudgetRestsForAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rulestest.Store{}
		a, b := &Limits{Store: store, Clock: exact}, &Limits{Store: store, Clock: exact}
		robot := channels.Budget{Key: "robot", Rate: channels.Rate{Count: 20, Per: time.Minute}}
		for _, l := range []*Limits{a, b} {
			if _, err := l.Take(t.Context(), []channels.Budget{robot}, Ask{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Rest(t.Context(), robot, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Limits{a, b} {
			_, err := l.Take(t.Context(), []channels.Budget{robot}, Ask{Urgent: true, Waited: 1})
			if w, ok := errors.AsType[*Wait](err); !ok || time.Until(w.At) < 10*time.Minute || time.Until(w.At) > 11*time.Minute {
				t.Errorf("after the penalty: %v", err)
			}
		}
		if err := b.Rest(t.Context(), robot, time.Minute); err != nil { // a shorter one ends nothing
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if _, err := b.Take(t.Context(), []channels.Budget{robot}, Ask{Waited: 1}); err == nil {
			t.Error("the longer rest was forgotten")
		}
		time.Sleep(2 * time.Minute)
		if _, err := b.Take(t.Context(), []channels.Budget{robot}, Ask{Waited: 1}); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutTheBrokerNothingIsCalled(t *testing.T) {
	b := []channels.Budget{{Key: "robot", Rate: channels.Rate{Count: 20, Per: time.Minute}}}
	store := &rulestest.Store{Fault: func(string) string { return "fail" }}
	if _, err := (&Limits{Store: store, Clock: exact}).Take(t.Context(), b, Ask{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a store that fails: %v", err)
	}
	noClock := func() (time.Time, time.Time, error) { return time.Time{}, time.Time{}, errors.New("not compared yet") }
	if _, err := (&Limits{Store: &rulestest.Store{}, Clock: noClock}).Take(t.Context(), b, Ask{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("no clock: %v", err)
	}
	l := &Limits{Store: store, Clock: exact}
	sick := &rulestest.Store{}
	l.Store = sick
	sick.Put(l.budget(b[0]).key, `{"stream":"LIMITS","seq":1}`) // a server's ack, stored by a forged reply subject
	if _, err := l.Take(t.Context(), b, Ask{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a record that is none: %v", err)
	}
}

// Those that can be joined are told the same turn, up to as many as fit.
func TestWaitersShareTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limits{Store: &rulestest.Store{}, Clock: exact}
		b := []channels.Budget{{Key: "robot", Rate: channels.Rate{Count: 20, Per: time.Minute}}}
		turns := map[time.Time]int{}
		for i := range 100 {
			_, err := l.Take(t.Context(), b, Ask{Share: 30})
			w, held := errors.AsType[*Wait](err)
			if held != (i >= 20) {
				t.Fatalf("%d: %v", i, err)
			}
			if held {
				turns[w.At]++
			}
		}
		counts := []int{}
		for _, n := range turns {
			counts = append(counts, n)
		}
		slices.Sort(counts)
		if !slices.Equal(counts, []int{20, 30, 30}) {
			t.Errorf("80 that wait have turns shared by %v", counts)
		}
	})
}

// Bulk leaves room: an urgent message in the middle of it goes at once.
func TestUrgentOnesFindRoomAmongBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limits{Store: &rulestest.Store{}, Clock: exact}
		b := []channels.Budget{{Key: "mailbox", Rate: channels.Rate{Count: 30, Per: time.Minute}}}
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				for waited := 0; ; waited++ {
					_, err := l.Take(t.Context(), b, Ask{Waited: waited, Bulk: true})
					w, ok := errors.AsType[*Wait](err)
					if !ok {
						return
					}
					time.Sleep(time.Until(w.At))
				}
			})
		}
		for range 5 {
			time.Sleep(71 * time.Second)
			begin := time.Now()
			for waited := 0; ; waited++ {
				_, err := l.Take(t.Context(), b, Ask{Waited: waited, Urgent: true})
				w, ok := errors.AsType[*Wait](err)
				if !ok {
					break
				}
				time.Sleep(time.Until(w.At))
			}
			if d := time.Since(begin); d > 4*time.Second {
				t.Errorf("an urgent one waited %s behind bulk", d)
			}
		}
		wg.Wait()
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"used":[{"until":1790000000000,"n":3}],"turn":1790000000500,"shared":2,"rest":0}`))
	f.Add([]byte(`{"stream":"LIMITS","seq":7}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err != nil {
			return
		}
		tm := termsOf(channels.Rate{Count: 20, Per: time.Minute})
		now := time.Now().UnixMilli()
		if free := r.free(tm, now); free < 0 || free > tm.count {
			t.Fatalf("%d free", free)
		}
		ok, at := r.serve(tm, now, now+tm.lease, ask{})
		if !ok && at < now {
			t.Errorf("a turn in the past: %d at %d", at, now)
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(again); err != nil && len(r.Used) > 0 {
			t.Errorf("%s becomes %s, which is no record: %v", b, again, err)
		}
	})
}

var _ rules.Store = (*slow)(nil)

// The worst that two pods can do: one calls at the last instant of its leases, the other at the first after them, with
// clocks as far apart as they may be.
func TestTheWorstTwoPodsCanDo(t *testing.T) {
	for _, bound := range []time.Duration{0, 30 * time.Millisecond} {
		for _, rate := range []channels.Rate{{Count: 1, Per: time.Second}, {Count: 20, Per: time.Minute}, {Count: 100, Per: time.Second}} {
			for _, side := range []time.Duration{1, -1} {
				synctest.Test(t, func(t *testing.T) {
					store := &rulestest.Store{}
					budget := []channels.Budget{{Key: "x", Rate: rate}}
					ask := Ask{Urgent: true, Patience: time.Hour}
					late := &Limits{Store: store, Clock: astray(side*bound, bound)}
					early := &Limits{Store: store, Clock: astray(-side*bound, bound)}
					var made calls
					for range 5 {
						var held [][]Pass
						for range rate.Count {
							p, err := late.Take(t.Context(), budget, ask)
							if err != nil {
								t.Fatal(err)
							}
							held = append(held, p)
						}
						for _, p := range held {
							_, latest, _ := late.Clock()
							time.Sleep(time.UnixMilli(p[0].until).Sub(latest) - time.Millisecond)
							if Good(p) {
								made.add()
							}
						}
						for range rate.Count {
							for { // it does not believe when to come, but tries and tries
								_, err := early.Take(t.Context(), budget, Ask{Urgent: true})
								w, ok := errors.AsType[*Wait](err)
								if !ok {
									break
								}
								time.Sleep(max(time.Until(w.At)-200*time.Millisecond, time.Millisecond))
							}
							made.add()
						}
					}
					made.check(t, rate)
					closest := time.Hour
					for i := range len(made.at) - rate.Count {
						closest = min(closest, made.at[i+rate.Count].Sub(made.at[i]))
					}
					if most := rate.Per + 5*bound + rate.Per/20; closest > most {
						t.Errorf("%v: the test is not sharp: %s at the closest", rate, closest)
					}
				})
			}
		}
	}
}
