package sandbox

import (
	"fmt"
	"testing"
)

func TestInboxPages(t *testing.T) {
	var b Inbox
	for n := range 10 {
		kind := "sms"
		if n%2 == 1 {
			kind = "email"
		}
		b.Add(Item{Kind: kind, To: fmt.Sprint(n), Delivery: fmt.Sprint("d", n)})
	}
	var seen []string
	before := uint64(0)
	for page := 0; ; page++ {
		items, total, next := b.List(Filter{Kind: "sms"}, 2, before)
		if total < 5 {
			t.Fatalf("total = %d, want at least 5", total)
		}
		for _, it := range items {
			seen = append(seen, it.To)
		}
		b.Add(Item{Kind: "sms", To: "late"}) // arrives while somebody pages
		if before = next; next == 0 {
			break
		}
		if page > 10 {
			t.Fatal("paging does not end")
		}
	}
	if got := fmt.Sprint(seen); got != "[8 6 4 2 0]" {
		t.Errorf("pages = %s, want every message once, newest first", got)
	}
	if items, total, next := b.List(Filter{To: "3", Delivery: "d3"}, 50, 0); len(items) != 1 || total != 1 || next != 0 || items[0].Time.IsZero() {
		t.Errorf("to=3: %+v, %d, %d", items, total, next)
	}
	b.Clear()
	if items, total, _ := b.List(Filter{}, 50, 0); len(items) != 0 || total != 0 {
		t.Errorf("after Clear: %v, %d", items, total)
	}
	b.Add(Item{To: "new"})
	if items, _, _ := b.List(Filter{}, 50, 0); len(items) != 1 || items[0].To != "new" {
		t.Errorf("after Clear and Add: %v", items)
	}
}

func TestInboxIsBounded(t *testing.T) {
	var b Inbox
	for n := range maxItems + 10 {
		b.Add(Item{To: fmt.Sprint(n)})
	}
	items, total, _ := b.List(Filter{}, 1, 0)
	if total != maxItems || items[0].To != fmt.Sprint(maxItems+9) {
		t.Errorf("%d items, newest %s; want %d and the newest kept", total, items[0].To, maxItems)
	}
	if _, total, _ = b.List(Filter{To: "9"}, 1, 0); total != 0 {
		t.Error("the oldest is still there")
	}
	big := string(make([]byte, 64<<20))
	for range 6 {
		b.Add(Item{Text: big})
	}
	if b.bytes > maxBytes {
		t.Errorf("%d bytes kept, want at most %d", b.bytes, maxBytes)
	}
}
