package backtest

import (
	"context"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
)

// Store is a [rules.Store] in memory, on the virtual clock of a run. It forgets a record its ttl after
// the last change, as the real one does, so that its size follows the numbers of the last two days,
// not of the whole recording. Safe for concurrent use.
type Store struct {
	mu       sync.Mutex
	records  map[string]kept
	revision uint64
	latest   time.Time // no swap is later until the next advance
	swept    time.Time
}

type kept struct {
	value    []byte
	revision uint64
	until    int64 // Unix seconds
}

var _ rules.Store = (*Store)(nil)

// NewStore makes an empty store.
func NewStore() *Store { return &Store{records: map[string]kept{}} }

// Load implements [rules.Store].
func (s *Store) Load(_ context.Context, key string) (value []byte, revision uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.records[key]
	return k.value, k.revision, nil
}

// Swap implements [rules.Store].
func (s *Store) Swap(_ context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[key].revision != revision {
		return 0, rules.ErrConflict
	}
	s.revision++ // never used twice: a record that was forgotten does not come back under an old one
	s.records[key] = kept{value, s.revision, s.latest.Add(ttl).Unix()}
	return s.revision, nil
}

// sweepEvery is in virtual time.
const sweepEvery = time.Hour

// advance says between which instants the next swaps are, and now and then forgets what is too old before them.
// A batch may span days: its records count from its end, and what is forgotten was so at its beginning.
func (s *Store) advance(now, latest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = latest
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for key, k := range s.records {
		if k.until < now.Unix() {
			delete(s.records, key)
		}
	}
}

// Size is how many records the store holds now.
func (s *Store) Size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}
