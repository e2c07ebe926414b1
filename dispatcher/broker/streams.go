package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/schemas"
)

// The streams.
const (
	Events     = "EVENTS"     // what producers published; limits, so that a duplicate id is remembered and backtests can read it
	Deliveries = "DELIVERIES" // work queue of deliveries, and the schedules of those that wait
	Ledger     = "LEDGER"     // what happened to each delivery
	Dead       = "DEAD"       // dead letters, whole
	Caps       = "CAPS"       // one record a number: who used the daily cap
	Consents   = "CONSENTS"   // one record an address and tenant: who agreed to what, who refused
	Receipts   = "RECEIPTS"   // what third parties reported and nobody has settled yet
	Limits     = "LIMITS"     // one record a budget of calls to a third party
	Nonces     = "NONCES"     // nonces of signed requests, seen by any pod
	Stats      = "STATS"      // what became of the calls to third parties, a summary a minute, channel and pod
)

// EventSubject is where producers publish an event.
func EventSubject(tenant, typ string) string { return "yz.event." + tenant + "." + typ }

// DeliverSubject is where the deliveries of one channel, priority and tenant wait for a slot.
func DeliverSubject(channel string, p schemas.Priority, tenant string) string {
	return "yz.deliver." + channel + "." + string(p) + "." + tenant
}

// LaterSubject is the one place of a delivery's schedule: a newer schedule replaces the older.
func LaterSubject(deliveryID string) string { return "yz.later." + deliveryID }

// ReceiptSubject is where the reports of one channel's third party wait to be settled.
func ReceiptSubject(channel string) string { return "yz.receipt." + channel }

// LedgerEvent is the ledger subject of an event, LedgerDelivery that of a delivery.
func LedgerEvent(tenant, idToken, sourceToken string) string {
	return "yz.ledger.event." + tenant + "." + idToken + "." + sourceToken
}

// LedgerDelivery is the ledger subject of one delivery; recipient is a keyed hash.
func LedgerDelivery(tenant, recipient, deliveryID string) string {
	return "yz.ledger.delivery." + tenant + "." + recipient + "." + deliveryID
}

// DeadSubject is the subject of a dead letter.
func DeadSubject(tenant, channel, cause, id string) string {
	return "yz.dead." + tenant + "." + Token(channel) + "." + Token(cause) + "." + id
}

// StatsSubject is where a worker's summaries of a channel go.
func StatsSubject(channel, worker string) string { return "yz.stats." + channel + "." + Token(worker) }

// Token makes a subject token of any text: letters, digits, - and _ stay, the rest becomes _.
func Token(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, s)
}

// duplicates is how long EVENTS and DELIVERIES remember message ids. It only has to outlast the
// repetition of one publish: beyond it the ledger's create-once records decide, and a longer window
// costs 130 to 190 bytes of memory for each id.
const duplicates = 2 * time.Minute

// receiptsMaxBytes bounds the reports that wait, some 500 bytes each; the third party is told to come back later
// beyond it, and asked about its messages when it does not.
const receiptsMaxBytes = 256 << 20

// maxEvent is the largest event, headers included: it must fit into a dead letter, in base64.
const maxEvent = 320 << 10

func (b *Broker) layout() []jetstream.StreamConfig {
	c := b.cfg
	s := []jetstream.StreamConfig{
		{
			Name: Events, Subjects: []string{"yz.event.>"}, Retention: jetstream.LimitsPolicy,
			Discard: jetstream.DiscardNew, MaxBytes: c.EventsMaxBytes, MaxAge: c.EventsMaxAge, Duplicates: duplicates,
			MaxMsgSize: maxEvent,
		},
		{
			Name: Deliveries, Subjects: []string{"yz.deliver.>", "yz.later.>"}, Retention: jetstream.WorkQueuePolicy,
			AllowMsgSchedules: true, AllowMsgTTL: true, Duplicates: duplicates,
		},
		{
			Name: Ledger, Subjects: []string{"yz.ledger.>"}, Retention: jetstream.LimitsPolicy, MaxAge: c.LedgerMaxAge,
			Compression: jetstream.S2Compression, Duplicates: duplicates,
		},
		{
			Name: Dead, Subjects: []string{"yz.dead.>"}, Retention: jetstream.LimitsPolicy, MaxAge: c.DeadMaxAge,
			MaxMsgsPerSubject: 1, Compression: jetstream.S2Compression, Duplicates: duplicates,
		},
		{
			Name: Caps, Subjects: []string{"yz.cap.>"}, Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, AllowMsgTTL: true,
			Duplicates: duplicates,
		},
		{
			// Not compressed: single records are read, and each would cost its whole block (0.05 or 0.45 ms measured).
			Name: Consents, Subjects: []string{"yz.consent.>"}, Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1,
			Duplicates: duplicates,
		},
		{
			Name: Receipts, Subjects: []string{"yz.receipt.>"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
			MaxBytes: receiptsMaxBytes, MaxMsgSize: 32 << 10, MaxAge: 7 * 24 * time.Hour, Duplicates: duplicates,
		},
		{
			Name: Limits, Subjects: []string{"yz.limit.>"}, Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, AllowMsgTTL: true,
			Duplicates: duplicates,
		},
		{
			Name: Nonces, Subjects: []string{"yz.nonce.>"}, Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1,
			MaxAge: 15 * time.Minute, Duplicates: duplicates,
		},
		{
			// A summary has 0.2 to 2 KiB. Full, the oldest go: it is weather, not a ledger.
			Name: Stats, Subjects: []string{"yz.stats.>"}, Retention: jetstream.LimitsPolicy, MaxAge: 25 * time.Hour, MaxBytes: 256 << 20,
			Compression: jetstream.S2Compression, Duplicates: duplicates,
		},
	}
	for i := range s {
		s[i].Replicas = c.Replicas
		s[i].Storage = jetstream.FileStorage
		// Compare-and-set must read what the leader holds: a direct read may be served by a follower.
		s[i].AllowDirect = c.Replicas == 1
	}
	return s
}

func (b *Broker) ensureStreams(ctx context.Context) error {
	var bad []error
	for _, want := range b.layout() {
		ctx, cancel := context.WithTimeout(ctx, 2*apiTimeout)
		s, err := b.JS.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = b.JS.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another pod was faster
				s, err = b.JS.Stream(ctx, want.Name)
			}
		}
		cancel()
		if err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, err)
		}
		have := s.CachedInfo().Config
		for _, d := range Differences(want, have) {
			if d.Vital {
				bad = append(bad, d)
			} else {
				b.log.Warn("stream differs from the configuration; it is left as it is", zap.String("difference", d.Error()))
			}
		}
		b.streams[want.Name] = s
	}
	return errors.Join(bad...)
}

// Difference is one setting of a stream that is not what this process would have made it.
type Difference struct {
	Stream, Setting, Have, Want string
	// Vital: correctness rests on it; the process does not start.
	Vital bool
}

func (d Difference) Error() string {
	return fmt.Sprintf("stream %s: %s is %s on the broker, %s in the configuration", d.Stream, d.Setting, d.Have, d.Want)
}

// Differences compares what a stream should be with what it is.
func Differences(want, have jetstream.StreamConfig) []Difference {
	var ds []Difference
	cmp := func(setting string, w, h any, vital bool) {
		if fmt.Sprint(w) != fmt.Sprint(h) {
			ds = append(ds, Difference{want.Name, setting, fmt.Sprint(h), fmt.Sprint(w), vital})
		}
	}
	limit := func(n int64) int64 { // 0 and -1 both mean unlimited
		if n <= 0 {
			return -1
		}
		return n
	}
	cmp("subjects", slices.Sorted(slices.Values(want.Subjects)), slices.Sorted(slices.Values(have.Subjects)), true)
	cmp("retention", want.Retention, have.Retention, true)
	cmp("discard", want.Discard, have.Discard, true)
	cmp("max_msgs_per_subject", limit(want.MaxMsgsPerSubject), limit(have.MaxMsgsPerSubject), true)
	cmp("allow_msg_schedules", want.AllowMsgSchedules, have.AllowMsgSchedules, true)
	cmp("allow_msg_ttl", want.AllowMsgTTL, have.AllowMsgTTL, true)
	cmp("storage", want.Storage, have.Storage, true)
	cmp("max_age", want.MaxAge, have.MaxAge, false)
	cmp("max_bytes", limit(want.MaxBytes), limit(have.MaxBytes), false)
	cmp("replicas", want.Replicas, have.Replicas, false)
	cmp("allow_direct", want.AllowDirect, have.AllowDirect, want.Replicas > 1)
	return ds
}

// Stream returns a stream's handle.
func (b *Broker) Stream(name string) jetstream.Stream { return b.streams[name] }

// Consumer makes or finds a durable pull consumer. Attempts are counted by us (MaxDeliver -1: at the
// limit the server would only forget the message), and waiting ones never stop fresh ones (MaxAckPending -1).
func (b *Broker) Consumer(ctx context.Context, stream, name, filter string, ackWait time.Duration) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*apiTimeout)
	defer cancel()
	want := jetstream.ConsumerConfig{
		Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
		MaxDeliver: -1, MaxAckPending: -1, AckWait: ackWait, MaxWaiting: 2048,
	}
	c, err := b.JS.Consumer(ctx, stream, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		c, err = b.JS.CreateOrUpdateConsumer(ctx, stream, want)
	case err == nil:
		have := c.CachedInfo().Config
		if have.MaxDeliver != -1 || have.MaxAckPending != -1 || have.FilterSubject != filter || have.AckPolicy != want.AckPolicy {
			return nil, fmt.Errorf("consumer %s on %s is not as this version needs it (max_deliver %d, max_ack_pending %d, filter %s): delete it when its backlog is empty and start again",
				name, stream, have.MaxDeliver, have.MaxAckPending, have.FilterSubject)
		}
		if have.AckWait < ackWait {
			// A shorter wait would hand a living attempt to another worker. Longer is harmless.
			want.AckWait = ackWait
			c, err = b.JS.UpdateConsumer(ctx, stream, want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("consumer %s on %s: %w", name, stream, err)
	}
	return c, nil
}
