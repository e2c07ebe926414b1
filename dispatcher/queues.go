package dispatcher

import (
	"context"
	"fmt"
	"strings"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
)

// Queues is how many deliveries wait for a slot or are being sent, for each channel, and how many wait for an instant
// (retry, quiet hours, limits), for all channels together: a schedule does not tell its channel.
func (d *Dispatcher) Queues(ctx context.Context) (queued map[string]uint64, held uint64, err error) {
	stream := d.Broker.Stream(broker.Deliveries)
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("queues: %w", err)
	}
	queued = map[string]uint64{}
	all := uint64(0)
	list := stream.ListConsumers(ctx)
	for c := range list.Info() {
		name, ok := strings.CutPrefix(c.Name, "send-")
		i := strings.LastIndexByte(name, '-') // before the priority
		if !ok || i < 0 {
			continue
		}
		n := c.NumPending + uint64(c.NumAckPending)
		queued[name[:i]] += n
		all += n
	}
	if err := list.Err(); err != nil {
		return nil, 0, fmt.Errorf("queues: %w", err)
	}
	return queued, info.State.Msgs - min(all, info.State.Msgs), nil
}
