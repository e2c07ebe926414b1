package sandbox

import (
	"sync"
	"time"
)

const (
	maxItems = 100_000
	maxBytes = 256 << 20 // of text, HTML, raw form and files together
)

// Inbox keeps the newest messages that the stand-ins took, at most 100,000 and 256 MiB of them.
// Safe for concurrent use.
type Inbox struct {
	mu    sync.Mutex
	items []Item // oldest first; items[i] has the number first+i
	first uint64
	bytes int
}

// Filter selects messages; an empty field selects all.
type Filter struct {
	Kind     string // email, sms, webhook
	To       string
	Delivery string
}

func (f Filter) matches(it *Item) bool {
	return (f.Kind == "" || f.Kind == it.Kind) && (f.To == "" || f.To == it.To) && (f.Delivery == "" || f.Delivery == it.Delivery)
}

// Add puts a message in, and the oldest ones out when there is no room. It is a [Sink].
func (b *Inbox) Add(it Item) {
	if it.Time.IsZero() {
		it.Time = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 {
		b.first = 1
	}
	it.Number = b.first + uint64(len(b.items))
	b.items = append(b.items, it)
	b.bytes += size(&it)
	for len(b.items) > maxItems || b.bytes > maxBytes && len(b.items) > 1 {
		b.bytes -= size(&b.items[0])
		b.items[0] = Item{} // so that its memory is free before the slice is copied
		b.items = b.items[1:]
		b.first++
	}
}

func size(it *Item) int {
	n := len(it.Subject) + len(it.Text) + len(it.HTML) + len(it.Raw)
	for k, v := range it.Headers {
		n += len(k) + len(v)
	}
	for i := range it.Files {
		n += len(it.Files[i].Data)
	}
	return n
}

// Get returns the message with this number, unless it has gone to make room.
func (b *Inbox) Get(number uint64) (Item, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := number - b.first; number >= b.first && i < uint64(len(b.items)) {
		return b.items[i], true
	}
	return Item{}, false
}

// Clear empties the inbox.
func (b *Inbox) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first += uint64(len(b.items))
	b.items, b.bytes = nil, 0
}

// List returns up to limit messages that f selects, newest first, how many it selects in all, and
// the cursor to go on with: 0 at the end. before is such a cursor; 0 begins with the newest. Messages that
// arrive meanwhile shift nothing.
func (b *Inbox) List(f Filter, limit int, before uint64) (items []Item, total int, next uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	items = []Item{}
	more := false
	for i := len(b.items) - 1; i >= 0; i-- {
		it := &b.items[i]
		if !f.matches(it) {
			continue
		}
		total++
		number := b.first + uint64(i)
		switch {
		case before != 0 && number >= before:
		case len(items) < limit:
			items = append(items, *it)
			next = number
		default:
			more = true
		}
	}
	if !more {
		next = 0
	}
	return items, total, next
}
