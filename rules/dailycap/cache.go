package dailycap

import (
	"container/list"
	"context"
	"sync"
)

// maxNumbers bounds what a process remembers.
const maxNumbers = 4096

// number is what this process last knew of one phone number. Its fields belong to whoever holds the turn.
type number struct {
	turn     chan struct{} // one change at a time: pods race for a record, goroutines of one pod wait
	known    bool          // entries and revision are those of the last load or swap
	entries  []Entry       // never changed in place
	revision uint64
	asOf     int64 // when the record was last known to be current, Unix milliseconds on the callers' clock

	phone string
	users int // goroutines that hold or wait for the turn; 0: may be forgotten
	at    *list.Element
}

// cache is a least-recently-used set of numbers. Numbers in use are never forgotten, so it can grow
// beyond its bound by at most the callers that run at once.
type cache struct {
	mu      sync.Mutex
	numbers map[string]*number
	recent  *list.List // of *number, most recent first
}

func newCache() *cache {
	return &cache{numbers: make(map[string]*number), recent: list.New()}
}

// take waits for the number's turn; give ends it.
func (c *cache) take(ctx context.Context, phone string) (*number, error) {
	c.mu.Lock()
	n := c.numbers[phone]
	if n == nil {
		n = &number{turn: make(chan struct{}, 1), phone: phone}
		n.at = c.recent.PushFront(n)
		c.numbers[phone] = n
	} else {
		c.recent.MoveToFront(n.at)
	}
	n.users++
	c.trim()
	c.mu.Unlock()
	select {
	case n.turn <- struct{}{}:
		return n, nil
	case <-ctx.Done():
		c.leave(n)
		return nil, ctx.Err()
	}
}

func (c *cache) give(n *number) {
	<-n.turn
	c.leave(n)
}

func (c *cache) leave(n *number) {
	c.mu.Lock()
	n.users--
	c.mu.Unlock()
}

// trim forgets the least recently used numbers beyond the bound.
func (c *cache) trim() {
	for e := c.recent.Back(); e != nil && len(c.numbers) > maxNumbers; {
		n, before := e.Value.(*number), e.Prev()
		if n.users == 0 {
			c.recent.Remove(e)
			delete(c.numbers, n.phone)
		}
		e = before
	}
}
