package dispatcher

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
)

// maxSkew is how far this clock may be from the broker's. The daily cap widens its entries by as much
// (rules/dailycap); with more, windows of different pods would not be the same windows.
const maxSkew = 2 * time.Second

var errSkew = errors.New("this machine's clock differs from the broker's by more than 2 s: nothing that counts against the daily cap is sent until it is set right")

// reading is one look at the broker's clock. Its instants have this machine's monotonic clock, so that
// setting the machine's clock changes nothing.
type reading struct {
	before, after time.Time // ours, around the question
	theirs        time.Time
}

// drift bounds how much faster or slower than the broker's our monotonic clock may run: four times what crystals do.
const drift = 400e-6

// between says between which instants of the broker's clock it is now.
func (r *reading) between() (earliest, latest time.Time) {
	error := time.Duration(drift * float64(time.Since(r.before)))
	return r.theirs.Add(time.Since(r.after) - error), r.theirs.Add(time.Since(r.before) + error)
}

var errClock = errors.New("the broker's clock has not been read yet")

// now is the broker's clock, see [limits.Clock].
func (d *Dispatcher) now() (earliest, latest time.Time, err error) {
	if d.Broker.Embedded { // one clock
		now := time.Now()
		return now, now, nil
	}
	r := d.broker.Load()
	if r == nil {
		return time.Time{}, time.Time{}, errClock
	}
	earliest, latest = r.between()
	return earliest, latest, nil
}

// watchClock compares this clock with the broker's, which all pods share.
func (d *Dispatcher) watchClock(ctx context.Context) {
	if d.Broker.Embedded { // one clock
		return
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.readClock(ctx)
		}
	}
}

// readClock looks at the broker's clock.
func (d *Dispatcher) readClock(ctx context.Context) {
	before := time.Now()
	info, err := d.Broker.Stream(broker.Limits).Info(ctx)
	after := time.Now()
	if err != nil || info.TimeStamp.IsZero() {
		return
	}
	// A slow answer says little: the one before may still say more, grown by the drift since.
	r := &reading{before, after, info.TimeStamp}
	if old := d.broker.Load(); old == nil || r.width() <= old.width() || r.strays(old) {
		d.broker.Store(r)
	}
	skew := skew(before, after, info.TimeStamp)
	skewGauge.Set(skew.Seconds())
	if skewed := skew.Abs() > maxSkew; skewed != d.skewed.Swap(skewed) || skewed {
		d.Log.Warn("clock", zap.Duration("ahead_of_broker", -skew), zap.Bool("usable", !skewed))
	}
}

// width is how uncertain the reading is by now.
func (r *reading) width() time.Duration {
	earliest, latest := r.between()
	return latest.Sub(earliest)
}

// strays says that r and old cannot both be true: the broker's clock was set, or another server leads.
func (r *reading) strays(old *reading) bool {
	e1, l1 := r.between()
	e2, l2 := old.between()
	return l1.Before(e2) || l2.Before(e1)
}

// skew is how much the broker's clock, read between before and after, is ahead of ours; 0 when it may
// be the same.
func skew(before, after, theirs time.Time) time.Duration {
	switch {
	case theirs.IsZero():
		return 0
	case theirs.Before(before):
		return theirs.Sub(before)
	case theirs.After(after):
		return theirs.Sub(after)
	}
	return 0
}
