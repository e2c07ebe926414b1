package rulestest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
)

// Store is a [rules.Store] in memory that fails when the test wants it to. It forgets nothing by itself. The zero value
// is empty and ready, and safe for concurrent use.
type Store struct {
	// Fault, when set, is asked before each "load" and "swap", without a lock held: "conflict" (of a swap), "fail",
	// "lost" (the swap is done, its answer lost) or "".
	Fault func(op string) string

	mu           sync.Mutex
	records      map[string]record
	loads, swaps int
}

type record struct {
	value    []byte
	revision uint64
}

var errNoAnswer = errors.New("no answer")

func (s *Store) fault(op string) string {
	if s.Fault == nil {
		return ""
	}
	return s.Fault(op)
}

// Load implements [rules.Store].
func (s *Store) Load(_ context.Context, key string) ([]byte, uint64, error) {
	fault := s.fault("load")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if fault == "fail" {
		return nil, 0, errNoAnswer
	}
	r := s.records[key]
	return r.value, r.revision, nil
}

// Swap implements [rules.Store].
func (s *Store) Swap(_ context.Context, key string, value []byte, revision uint64, _ time.Duration) (uint64, error) {
	fault := s.fault("swap")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case fault == "fail":
		return 0, errNoAnswer
	case fault == "conflict" || s.records[key].revision != revision:
		return 0, rules.ErrConflict
	}
	s.swaps++
	revision = s.put(key, value)
	if fault == "lost" {
		return 0, errNoAnswer
	}
	return revision, nil
}

func (s *Store) put(key string, value []byte) uint64 {
	if s.records == nil {
		s.records = make(map[string]record)
	}
	r := record{value, s.records[key].revision + 1}
	s.records[key] = r
	return r.revision
}

// Put stores what a rule is to find, whatever it is.
func (s *Store) Put(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, []byte(value))
}

// Counts are the loads so far, and the swaps that were done.
func (s *Store) Counts() (loads, swaps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.swaps
}
