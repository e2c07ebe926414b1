package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Each calls f for what a stream holds now, oldest first, until it returns false or an error, which is then that of Each.
// subject is "" for everything; from is the first sequence to read, 0 or 1 for all. What is removed meanwhile is
// left out; what is published meanwhile may be. ctx is looked at where nothing arrives: f looks itself where it takes time.
func (b *Broker) Each(ctx context.Context, stream, subject string, from uint64, f func(jetstream.Msg) (bool, error)) error {
	c, err := b.JS.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		FilterSubject: subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	name := c.CachedInfo().Name
	defer func() { _ = b.JS.DeleteConsumer(context.WithoutCancel(ctx), stream, name) }()
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.Fetch(int(min(left, 1000)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		n := uint64(0)
		for m := range batch.Messages() {
			n++
			if more, err := f(m); err != nil || !more {
				return err
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if n == 0 { // the rest was removed meanwhile
			return ctx.Err()
		}
		left -= min(n, left)
	}
	return nil
}
