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

// watchClock compares this clock with the broker's, which all pods share.
func (d *Dispatcher) watchClock(ctx context.Context) {
	if d.Broker.Embedded { // one clock
		return
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		before := time.Now()
		if info, err := d.Broker.Stream(broker.Deliveries).Info(ctx); err == nil {
			skew := skew(before, time.Now(), info.TimeStamp)
			skewGauge.Set(skew.Seconds())
			if skewed := skew.Abs() > maxSkew; skewed != d.skewed.Swap(skewed) || skewed {
				d.Log.Warn("clock", zap.Duration("ahead_of_broker", -skew), zap.Bool("usable", !skewed))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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
