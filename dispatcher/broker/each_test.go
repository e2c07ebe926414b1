package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Each reads a stream through, however many fetches that takes, in order, and leaves no consumer.
func TestEach(t *testing.T) {
	b := open(t, t.TempDir())
	const letters = 1500 // more than one fetch
	for n := range letters {
		tenant := [...]string{"acme", "other"}[n%2]
		if _, err := b.Publish(t.Context(), &nats.Msg{Subject: "yz.dead." + tenant + ".mail.http." + fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("full")
	for _, c := range []struct {
		name, subject     string
		from              uint64
		stop              int // after so many, with err
		err               error
		count, step, last uint64
	}{
		{"all", "", 0, 0, nil, letters, 1, letters},
		{"one tenant", "yz.dead.other.>", 0, 0, nil, letters / 2, 2, letters},
		{"from a sequence", "", 1401, 0, nil, 100, 1, letters},
		{"stopped", "", 0, 3, nil, 3, 1, 3},
		{"failed", "", 0, 3, full, 3, 1, 3},
		{"nothing there", "yz.dead.nobody.>", 0, 0, nil, 0, 1, 0},
	} {
		var count, last uint64
		err := b.Each(t.Context(), Dead, c.subject, c.from, func(m jetstream.Msg) (bool, error) {
			meta, err := m.Metadata()
			if err != nil {
				return false, err
			}
			if at := meta.Sequence.Stream; last != 0 && at != last+c.step {
				t.Errorf("%s: %d follows %d", c.name, at, last)
			}
			count, last = count+1, meta.Sequence.Stream
			if c.stop > 0 && count == uint64(c.stop) {
				return false, c.err
			}
			return true, nil
		})
		if !errors.Is(err, c.err) || count != c.count || last != c.last {
			t.Errorf("%s: %d letters to %d, %v; want %d to %d, %v", c.name, count, last, err, c.count, c.last, c.err)
		}
	}
	if info, err := b.Stream(Dead).Info(t.Context()); err != nil || info.State.Consumers != 0 {
		t.Errorf("%d consumers left, %v", info.State.Consumers, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Each(ctx, Dead, "", 0, func(jetstream.Msg) (bool, error) { return true, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
