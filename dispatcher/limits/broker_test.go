package limits_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/limits"
	"github.com/yizhan-dev/yizhan/rules"
)

// counted is a store on a real JetStream that counts trips.
type counted struct {
	rules.Store
	trips atomic.Int64
}

func (c *counted) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	c.trips.Add(1)
	return c.Store.Load(ctx, key)
}

func (c *counted) Swap(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	c.trips.Add(1)
	return c.Store.Swap(ctx, key, value, rev, ttl)
}

func open(tb testing.TB) *counted {
	tb.Helper()
	cfg := broker.Config{DataDir: tb.TempDir()}
	cfg.Defaults()
	b, err := broker.Open(tb.Context(), cfg, zap.NewNop())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return &counted{Store: broker.LimitStore{B: b}}
}

func now() (time.Time, time.Time, error) { t := time.Now(); return t, t, nil }

// The broker keeps what the pods agree on: two of them together never start more than the rate.
func TestPodsShareTheBrokersRecord(t *testing.T) {
	store := open(t)
	rate := channels.Rate{Count: 50, Per: 500 * time.Millisecond}
	var mu sync.Mutex
	var at []time.Time
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for range 2 {
		l := &limits.Limits{Store: store, Clock: now}
		for range 20 {
			wg.Go(func() {
				for waited := 0; ctx.Err() == nil; {
					p, err := l.Take(ctx, []channels.Budget{{Key: "x", Rate: rate}}, limits.Ask{Waited: waited, Patience: time.Second})
					if w, ok := errors.AsType[*limits.Wait](err); ok {
						waited++
						time.Sleep(time.Until(w.At))
						continue
					}
					waited = 0
					mu.Lock() // the instant of a call is taken with the pass in hand
					if err == nil && limits.Good(p) {
						at = append(at, time.Now())
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if len(at) < 100 {
		t.Fatalf("%d calls in 2 s at %d in %s", len(at), rate.Count, rate.Per)
	}
	// Some grace: between the look at the pass and the instant taken the scheduler may pause.
	for i := range len(at) - rate.Count {
		if d := at[i+rate.Count].Sub(at[i]); d < rate.Per-20*time.Millisecond {
			t.Fatalf("%d calls within %s", rate.Count+1, d)
		}
	}
}

// BenchmarkTake: what a call's place in a shared budget costs, and how many trips to the broker a second.
func BenchmarkTake(b *testing.B) {
	for _, rate := range []channels.Rate{{Count: 100, Per: time.Second}, {Count: 1000, Per: time.Second}, {Count: 9_000_000, Per: time.Second}, {Count: 9_000_000, Per: time.Hour}} {
		b.Run(fmt.Sprintf("%d in %s", rate.Count, rate.Per), func(b *testing.B) {
			store := open(b)
			l := &limits.Limits{Store: store, Clock: now}
			of := []channels.Budget{{Key: "x", Rate: rate}}
			begin := time.Now()
			b.SetParallelism(64)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					for waited := 0; ; waited++ {
						_, err := l.Take(b.Context(), of, limits.Ask{Waited: waited, Patience: 1500 * time.Millisecond})
						w, ok := errors.AsType[*limits.Wait](err)
						if !ok {
							break
						}
						time.Sleep(time.Until(w.At))
					}
				}
			})
			b.StopTimer()
			took := time.Since(begin).Seconds()
			b.ReportMetric(float64(store.trips.Load())/took, "trips/s")
			b.ReportMetric(float64(b.N)/took, "calls/s")
		})
	}
	b.Run("alone, each call a trip", func(b *testing.B) {
		store := open(b)
		l := &limits.Limits{Store: store, Clock: now}
		of := []channels.Budget{{Rate: channels.Rate{Count: 39, Per: time.Second}}}
		for i := 0; b.Loop(); i++ {
			of[0].Key = strconv.Itoa(i % 5000)
			if _, err := l.Take(b.Context(), of, limits.Ask{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
