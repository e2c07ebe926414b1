package dispatcher_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// counted is a third party that accepts at once and counts.
type counted struct {
	far
	ids  chan string
	left atomic.Int64
}

func (c *counted) Send(_ context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	if c.ids != nil {
		c.ids <- d.ID
	}
	c.left.Add(-1)
	return channels.Receipt{ID: "biz"}, nil
}

// BenchmarkReceipts is what a receipt costs, in real time with an embedded broker: nothing (accepted is the end), a
// schedule that waits, a schedule and the receipt that ends it.
func BenchmarkReceipts(b *testing.B) {
	for _, mode := range []string{"none", "awaited", "settled"} {
		b.Run(mode, func(b *testing.B) {
			r := newRig(b, b.TempDir(), receiptBook, dispatcher.Config{})
			c := &counted{far: far{traits: channels.Traits{
				Kind: "sms", Provider: "aliyun", Address: channels.Phone, Once: true, Slots: 64, Timeout: 10 * time.Second, Signature: "华星科技",
				Receipts: mode != "none",
			}}}
			if mode == "settled" {
				c.ids = make(chan string, b.N)
			}
			c.left.Store(int64(b.N))
			r.Channels["sms"] = c
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx, true, true) }()
			b.ResetTimer()
			r.publishMany(b.N)
			if mode == "settled" {
				for range b.N {
					if err := r.TakeReports(ctx, "sms", []channels.Report{{DeliveryID: <-c.ids, MessageID: "biz", State: schemas.Delivered}}); err != nil {
						b.Fatal(err)
					}
				}
			}
			for {
				waits := r.waiting(broker.Deliveries) + r.waiting(broker.Receipts)
				if c.left.Load() == 0 && (mode == "awaited" && waits == uint64(b.N) || mode != "awaited" && waits == 0) {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			b.StopTimer()
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
			r.Broker.Close()
		})
	}
}
