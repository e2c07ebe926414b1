package dispatcher

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSkewIsZeroWithinTheRoundTrip(t *testing.T) {
	before := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	after := before.Add(time.Second)
	for at, want := range map[time.Duration]time.Duration{
		0: 0, 500 * time.Millisecond: 0, time.Second: 0, 4 * time.Second: 3 * time.Second, -3 * time.Second: -3 * time.Second,
	} {
		if got := skew(before, after, before.Add(at)); got != want {
			t.Errorf("broker's clock at %s: skew %s, want %s", at, got, want)
		}
	}
	if got := skew(before, after, time.Time{}); got != 0 {
		t.Errorf("an old server without a time: %s", got)
	}
}

// Whatever a look at the broker's clock says, the true instant lies between the two that follow from it, also later.
func TestAReadingBoundsTheBrokersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := 3 * time.Second // the broker's clock
		for _, trip := range []time.Duration{0, time.Millisecond, time.Second} {
			for _, share := range []time.Duration{0, trip / 2, trip} { // of the trip before the broker looked
				before := time.Now()
				time.Sleep(share)
				theirs := time.Now().Add(ahead)
				time.Sleep(trip - share)
				r := &reading{before, time.Now(), theirs}
				for _, wait := range []time.Duration{0, 10 * time.Second, time.Hour} {
					time.Sleep(wait)
					truth := time.Now().Add(ahead)
					earliest, latest := r.between()
					if earliest.After(truth) || latest.Before(truth) {
						t.Errorf("trip %s, %s later: %s is not between %s and %s", trip, wait, truth, earliest, latest)
					}
					if most := trip + time.Since(before)/1000; r.width() > most {
						t.Errorf("trip %s, %s later: %s uncertain", trip, wait, r.width())
					}
				}
			}
		}
		now := time.Now()
		good, set := &reading{now, now, now}, &reading{now, now, now.Add(time.Second)}
		if !set.strays(good) || good.strays(good) {
			t.Error("a clock that was set is not seen, or one that was not is")
		}
	})
}
