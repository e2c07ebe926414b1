package dispatcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// fetchWait is how long one request for messages stands, fetchLinger how long it still stands after
// a stop: long enough for messages that are on their way, which would otherwise wait for redelivery.
// The first is a variable for tests in virtual time, where idle hours cost what happens in them.
var fetchWait = 30 * time.Second

const fetchLinger = 250 * time.Millisecond

// pull hands the consumer's messages to at most slots handlers at once and never asks for more
// than there are free slots: what waits, waits in the broker, where another worker can take it.
// A handler that will take long may give its slot back before it is done, by free. pull returns when fetch has
// ended and every handler is done; handlers run under work.
func pull(fetch, work context.Context, c jetstream.Consumer, slots int, log *zap.Logger, gate func(context.Context), handle func(ctx context.Context, m jetstream.Msg, free func())) {
	var (
		busy    = make(chan struct{}, slots)
		running sync.WaitGroup
		pause   = 100 * time.Millisecond
	)
	defer running.Wait()
	for {
		if gate != nil {
			gate(fetch)
		}
		// One free slot is waited for, all others that are free come along: while the request is
		// on its way more become free, so the requests grow by themselves under load.
		select {
		case busy <- struct{}{}:
		case <-fetch.Done():
			return
		}
		n := 1
		for more := true; more && n < slots; {
			select {
			case busy <- struct{}{}:
				n++
			default:
				more = false
			}
		}
		request, cancel := context.WithTimeout(context.WithoutCancel(fetch), fetchWait)
		forget := context.AfterFunc(fetch, func() { time.AfterFunc(fetchLinger, cancel) })
		batch, err := c.Fetch(n, jetstream.FetchContext(request), jetstream.FetchHeartbeat(fetchWait/6))
		if err == nil {
			for m := range batch.Messages() {
				n--
				if fetch.Err() != nil { // stopping: the next worker has it at once
					_ = m.Nak()
					<-busy
					continue
				}
				running.Go(func() {
					free := sync.OnceFunc(func() { <-busy })
					defer free()
					handle(work, m, free)
				})
			}
			err = batch.Error()
		}
		forget()
		cancel()
		for range n {
			<-busy
		}
		if fetch.Err() != nil {
			return
		}
		if err == nil || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoMessages) {
			pause = 100 * time.Millisecond
			continue
		}
		log.Warn("fetch", zap.String("consumer", c.CachedInfo().Name), zap.Error(err))
		select {
		case <-fetch.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}
