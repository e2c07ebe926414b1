package broker

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// How full EVENTS may get before planned events give way, and how much of them at a time.
const (
	tight = 0.8
	give  = 0.25
)

// MakeRoom removes the oldest planned events when EVENTS is nearly full. They are kept for looking
// back, and must not be the reason why a new one is refused; an event that is not planned yet stays.
func (b *Broker) MakeRoom(ctx context.Context, plan jetstream.Consumer) (waiting uint64, err error) {
	c, err := plan.Info(ctx)
	if err != nil {
		return 0, err
	}
	waiting = c.NumPending + uint64(c.NumAckPending)
	s, err := b.streams[Events].Info(ctx)
	if err != nil {
		return waiting, err
	}
	limit, st := s.Config.MaxBytes, s.State
	if limit <= 0 || float64(st.Bytes) < tight*float64(limit) || st.Msgs == 0 {
		return waiting, nil
	}
	upTo := min(st.FirstSeq+uint64(give*float64(st.LastSeq-st.FirstSeq))+1, c.AckFloor.Stream+1)
	if upTo <= st.FirstSeq {
		return waiting, nil
	}
	return waiting, b.streams[Events].Purge(ctx, jetstream.WithPurgeSequence(upTo))
}

// Strays counts the deliveries that wait for channels which known does not hold, by channel. Nobody
// sends them until the channel is configured again.
func (b *Broker) Strays(ctx context.Context, known func(channel string) bool) (map[string]uint64, error) {
	info, err := b.streams[Deliveries].Info(ctx, jetstream.WithSubjectFilter("yz.deliver.>"))
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	strays := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		if channel := strings.SplitN(subject, ".", 4)[2]; !known(channel) {
			strays[channel] += n
		}
	}
	return strays, nil
}
