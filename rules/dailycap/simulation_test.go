package dailycap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// oracle is the naive view of the provider: when each call reached it.
type oracle struct {
	mu    sync.Mutex
	calls map[string]int64 // by holder: a holder makes one call, at its last leave
}

func (o *oracle) check(t *testing.T, limit int) {
	t.Helper()
	var at []int64
	days := map[int64]int{}
	for _, ms := range o.calls {
		at = append(at, ms)
		days[day(ms)]++
	}
	for d, n := range days {
		if n > limit {
			t.Errorf("%d calls on %s", n, time.UnixMilli(midnight(d)).In(shanghai).Format(time.DateOnly))
		}
	}
	slices.Sort(at)
	for i := range at {
		n := 0
		for _, ms := range at[i:] {
			if ms < at[i]+dayMillis {
				n++
			}
		}
		if n > limit {
			t.Errorf("%d calls in the 24 hours from %s", n, time.UnixMilli(at[i]).In(shanghai))
		}
	}
}

// TestSimulation lets several pods, with clocks up to a second apart, send to one number for a week
// while the store conflicts, fails and loses answers, and asks the oracle whether any day or any 24 hours saw too many.
func TestSimulation(t *testing.T) {
	var all atomic.Int32 // released in all seeds: how the pods interleave is not the seed's
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 12))
			var faults sync.Mutex
			faulty := seed%3 != 0
			store := &rulestest.Store{Fault: func(op string) string {
				faults.Lock()
				defer faults.Unlock()
				switch p := rnd.IntN(100); {
				case op == "swap" && p < 20:
					return "conflict"
				case faulty && p < 25:
					return "fail"
				case faulty && op == "swap" && p < 35:
					return "lost"
				}
				return ""
			}}
			const limit = 7
			var pods []*Cap
			for range 3 {
				pods = append(pods, open(t, "{limit: 7, reserve_for: {verification: 2}, over: defer}", store))
			}
			o := &oracle{calls: map[string]int64{}}
			now := time.Date(2026, 11, 22, 23, 50, 0, 0, shanghai)
			var released, granted int
			for step := range 600 {
				faults.Lock()
				gap := time.Duration(rnd.Int64N(int64(30 * time.Minute)))
				if rnd.IntN(3) > 0 {
					gap = time.Duration(rnd.Int64N(int64(5 * time.Second)))
				}
				faults.Unlock()
				now = now.Add(gap)
				var wg sync.WaitGroup
				for i, pod := range pods {
					faults.Lock()
					holder := fmt.Sprint("h", rnd.IntN(step/2+3))
					length := time.Duration(1 + rnd.Int64N(int64(20*time.Second)))
					reach := time.Duration(rnd.Int64N(int64(length)))
					clock := time.Duration(rnd.Int64N(int64(time.Second)))
					release := rnd.IntN(10) == 0
					faults.Unlock()
					category := schemas.Notification
					if i == 0 {
						category = schemas.Verification
					}
					holder = fmt.Sprint(i, holder)
					wg.Go(func() {
						in := input(category, now.Add(clock))
						o.mu.Lock()
						delete(o.calls, holder) // who asks again says that the earlier call was never made
						o.mu.Unlock()
						v, err := pod.Reserve(context.Background(), in, holder, in.Now.Add(length))
						if err != nil || v.Action != rules.Pass {
							return
						}
						// No lock is held over Release: it waits, and virtual time stands still for a mutex.
						back := release && pod.Release(context.Background(), in, holder) == nil
						o.mu.Lock()
						defer o.mu.Unlock()
						granted++
						if back {
							released++
						}
						if !release {
							o.calls[holder] = in.Now.Add(reach).UnixMilli()
						}
					})
				}
				wg.Wait()
			}
			o.check(t, limit)
			if granted < 30 {
				t.Errorf("seed %d: %d granted: the simulation tests nothing", seed, granted)
			}
			all.Add(int32(released))
		})
	}
	if all.Load() == 0 {
		t.Error("nothing was released: the simulation tests nothing")
	}
}

// TestExactlyTheLimit: without failures no place is lost, however many pods race.
func TestExactlyTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(rulestest.Store)
		var mu sync.Mutex
		granted := map[schemas.Category]int{}
		var wg sync.WaitGroup
		for p := range 4 {
			pod := open(t, "{reserve_for: {verification: 5}}", store)
			for i := range 60 {
				category := schemas.Notification
				if i%2 == 0 {
					category = schemas.Verification
				}
				wg.Go(func() {
					// A pod that loses too many races reports an error; its caller asks again.
					for {
						v, err := pod.Reserve(context.Background(), input(category, noon), fmt.Sprint(p, "-", i), noon.Add(time.Second))
						if err != nil {
							continue
						}
						if v.Action == rules.Pass {
							mu.Lock()
							granted[category]++
							mu.Unlock()
						}
						return
					}
				})
			}
		}
		wg.Wait()
		total := granted[schemas.Verification] + granted[schemas.Notification]
		if total != maxLimit || granted[schemas.Notification] > 45 {
			t.Errorf("granted %v, want %d in all and at most 45 notifications", granted, maxLimit)
		}
	})
}
