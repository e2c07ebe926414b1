package limits_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// mailbox is a channel that takes everything.
type mailbox struct {
	mu sync.Mutex
	at []time.Time
}

func (m *mailbox) Send(context.Context, *schemas.Delivery) (channels.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Now())
	return channels.Receipt{}, nil
}

func (*mailbox) Traits() channels.Traits {
	return channels.Traits{Kind: "email", Address: channels.Email, Slots: 4, Timeout: 10 * time.Second}
}
func (*mailbox) Close() error { return nil }

func (m *mailbox) times() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.at)
}

// On a real broker of its own, with its clock read over the wire: three processes keep one rate together.
func TestProcessesOnOneNATSKeepOneRate(t *testing.T) {
	ns, err := server.NewServer(&server.Options{
		ServerName: "rates", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	rate := channels.Rate{Count: 5, Per: time.Second}
	mail := &mailbox{}
	cfg := dispatcher.Config{}
	cfg.Defaults()
	ctx, cancel := context.WithCancel(t.Context())
	var pods sync.WaitGroup
	defer pods.Wait()
	defer cancel()
	var b *broker.Broker
	for i := range 3 {
		bc := broker.Config{URL: ns.ClientURL()}
		bc.Defaults()
		if b, err = broker.Open(ctx, bc, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		h, err := b.Hasher(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		d := &dispatcher.Dispatcher{
			Config: cfg, Broker: b, Ledger: &ledger.Ledger{B: b, Hasher: h}, Dead: &deadletter.Store{B: b}, Channels: map[string]channels.Channel{"mail": mail},
			Rates: map[string]channels.Rate{"mail": rate}, Explain: explain.Default().Explain, Log: zap.NewNop(), Worker: fmt.Sprint("w", i),
		}
		bk, err := rules.Load([]byte("routes:\n  - {name: mails, when: 'event.type == \"mails\"', send: [mail]}\n"), nil, nil, rules.Env{})
		if err != nil {
			t.Fatal(err)
		}
		d.SetBook(bk)
		pods.Go(func() {
			if err := d.Run(ctx, true, true); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 18 {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/erp","type":"mails","tenant":"acme","data":{"category":"notification","to":[{"email":"wang@example.com"}],"content":{"subject":"s","text":"t"}}}`, i)
		if _, err := b.Publish(ctx, &nats.Msg{Subject: "yz.event.acme.mails", Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	for begin := time.Now(); len(mail.times()) < 18; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d of 18 mails after a minute", len(mail.times()))
		}
	}
	// The instants are taken in the call, a moment after it was let go, on a busy machine a long moment.
	at := mail.times()
	for i := range len(at) - rate.Count {
		if d := at[i+rate.Count].Sub(at[i]); d < rate.Per-100*time.Millisecond {
			t.Errorf("%d mails within %s, at most %d in %s", rate.Count+1, d, rate.Count, rate.Per)
		}
	}
}
