package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
)

// reportEvery is a variable for tests in virtual time.
var reportEvery = time.Minute

// reportTimeout bounds one report: the end of a process must not wait long for the weather.
const reportTimeout = 3 * time.Second

// noteCall counts a call for the weather, under the class that its record has.
func (d *Dispatcher) noteCall(channel string, f *channels.Failure, r *ledger.Record, took time.Duration) {
	class := channels.Class("")
	if f != nil && r.Cause != nil {
		class = channels.Class(r.Cause.Class)
	}
	d.calls.Note(time.Now(), channel, f, class, took)
}

// reportWeather publishes what this pod saw, once a minute; Run does it once more at the end, when no call is under way.
func (d *Dispatcher) reportWeather(ctx context.Context) {
	// Pods that started together do not report together.
	timer := time.NewTimer(reportEvery + rand.N(reportEvery/4))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			d.publishWeather(ctx, time.Now())
			timer.Reset(reportEvery)
		}
	}
}

// publishWeather publishes the minutes that are over, all where now is zero. Nothing happened: nothing is published.
func (d *Dispatcher) publishWeather(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if !now.IsZero() {
		for name := range d.Channels {
			d.calls.Break(now.Add(-reportEvery), name, d.Broken(name)) // as of the minute that ends
		}
	}
	left, err := weather.Publish(ctx, d.Broker, d.Worker, d.calls.Take(now))
	if err != nil {
		d.Log.Warn("the weather of the channels could not be published", zap.Int("summaries", len(left)), zap.Error(err))
		d.calls.Return(left)
	}
}
