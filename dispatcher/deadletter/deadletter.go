// Package deadletter keeps what failed, whole, where a person can see why and send it again.
package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Store reads and writes the stream DEAD.
type Store struct{ B *broker.Broker }

// Put stores a letter; the same letter again replaces itself.
func (s *Store) Put(ctx context.Context, l *schemas.DeadLetter) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = s.B.Publish(ctx, &nats.Msg{
		Subject: broker.DeadSubject(l.Tenant, l.Channel, l.Cause.Code, l.ID), Data: b, Header: nats.Header{},
	})
	return err
}

var unreadable = promauto.NewCounter(prometheus.CounterOpts{
	Name: "yizhan_dead_unreadable_total", Help: "Messages in DEAD that are no dead letters, each time they were met.",
})

// Item is a letter and its place in the stream.
type Item struct {
	Seq uint64
	*schemas.DeadLetter
}

// Page is a part of a list.
type Page struct {
	Items []Item
	// Total counts all that match, not only this page.
	Total int
	// Next is the cursor of the following page, 0 when there is none.
	Next uint64
}

// MaxPage is the largest page.
const MaxPage = 500

// List returns up to limit letters that match, oldest first, from cursor (a Page's Next; 0: the start).
func (s *Store) List(ctx context.Context, f Filter, cursor uint64, limit int) (Page, error) {
	limit = max(1, min(limit, MaxPage))
	var p Page
	err := s.Each(ctx, f, func(i Item) bool {
		p.Total++
		switch {
		case i.Seq < cursor:
		case len(p.Items) < limit:
			p.Items = append(p.Items, i)
		case p.Next == 0:
			p.Next = i.Seq
		}
		return true
	})
	return p, err
}

// Each calls f for every letter that matches, oldest first, until it returns false.
func (s *Store) Each(ctx context.Context, filter Filter, f func(Item) bool) error {
	err := s.B.Each(ctx, broker.Dead, filter.subject(), 0, func(m jetstream.Msg) (bool, error) {
		i, err := item(m)
		if err != nil { // one that cannot be read must not hide the others
			unreadable.Inc()
			return true, nil
		}
		return !filter.matches(i.DeadLetter) || f(i), nil
	})
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

func item(m jetstream.Msg) (Item, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Item{}, err
	}
	l, err := schemas.DecodeDeadLetter(m.Data())
	if err != nil {
		return Item{}, fmt.Errorf("dead letter %d: %w", meta.Sequence.Stream, err)
	}
	return Item{meta.Sequence.Stream, l}, nil
}

// ErrNotFound means that no dead letter has this id.
var ErrNotFound = errors.New("no such dead letter")

// Get returns the letter with this delivery id.
func (s *Store) Get(ctx context.Context, id string) (Item, error) {
	var found Item
	err := s.Each(ctx, Filter{ID: id}, func(i Item) bool { found = i; return false })
	if err == nil && found.DeadLetter == nil {
		err = fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return found, err
}

// Delete removes a letter that was dealt with.
func (s *Store) Delete(ctx context.Context, i Item) error {
	err := s.B.Stream(broker.Dead).DeleteMsg(ctx, i.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return nil // somebody else did, or a newer copy took its place
	}
	return err
}
