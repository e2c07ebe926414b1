package dispatcher

import (
	"context"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// SweepBelow lets a test say where the ack floor is: only a killed server puts it above a message.
func (d *Dispatcher) SweepBelow(ctx context.Context, channel string, p schemas.Priority, floor uint64) error {
	return d.sweepBelow(ctx, channel, p, floor)
}

// Idle makes idle hours of virtual time cheap.
func Idle() { fetchWait, watchEvery, reportEvery = 10*time.Minute, 10*time.Minute, 10*time.Minute }
