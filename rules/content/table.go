package content

import "math/bits"

// table is a hash table of numbers with open addressing: built once, then only read. A key is never 0.
type table struct {
	slots []slot
	shift uint
	used  int
}

type slot struct {
	key   uint64
	value uint32
}

// newTable makes room for n keys; it grows when there are more.
func newTable(n int) table {
	size := max(4, bits.Len(uint(n+n/2)))
	return table{slots: make([]slot, 1<<size), shift: uint(64 - size)}
}

func (t *table) home(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> t.shift }

func (t *table) get(key uint64) (uint32, bool) {
	mask := uint64(len(t.slots) - 1)
	for i := t.home(key) & mask; ; i = (i + 1) & mask {
		switch s := &t.slots[i]; s.key {
		case key:
			return s.value, true
		case 0:
			return 0, false
		}
	}
}

func (t *table) put(key uint64, value uint32) {
	if t.used*4 >= len(t.slots)*3 {
		old := t.slots
		*t = table{slots: make([]slot, 2*len(old)), shift: t.shift - 1}
		for _, s := range old {
			if s.key != 0 {
				t.put(s.key, s.value)
			}
		}
	}
	mask := uint64(len(t.slots) - 1)
	i := t.home(key) & mask
	for t.slots[i].key != 0 && t.slots[i].key != key {
		i = (i + 1) & mask
	}
	if t.slots[i].key == 0 {
		t.used++
	}
	t.slots[i] = slot{key, value}
}
