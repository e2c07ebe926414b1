package consent

import (
	"testing"

	"github.com/yizhan-dev/yizhan/schemas"
)

// BenchmarkReserve is the rule's own cost for each attempt, without the store's round trip.
func BenchmarkReserve(b *testing.B) {
	r := open(b, "{}", new(memory))
	note(b, r, word(b, phone, schemas.OptedIn, "all", noon))
	in := input("sms", schemas.Notification, noon)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Reserve(b.Context(), in, "h", noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOptOut(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		optsOut("拒收请回复R")
	}
}
