package dispatcher

import (
	"context"

	"github.com/yizhan-dev/yizhan/schemas"
)

// SweepBelow lets a test say where the ack floor is: only a killed server puts it above a message.
func (d *Dispatcher) SweepBelow(ctx context.Context, channel string, p schemas.Priority, floor uint64) error {
	return d.sweepBelow(ctx, channel, p, floor)
}
