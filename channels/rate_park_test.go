package channels

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

type accepting struct{ n int }

func (a *accepting) Send(context.Context, *schemas.Delivery) (Receipt, error) {
	a.n++
	return Receipt{}, nil
}
func (*accepting) Traits() Traits { return Traits{} }
func (*accepting) Close() error   { return nil }

// A backlog that is sent back must not come back together: each gets a turn of its own.
func TestParkedAttemptsGetTurnsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := &accepting{}
		l := Limit(ch, Rate{Count: 30, Per: time.Minute})
		turns := map[time.Duration]int{}
		for range 100 {
			_, err := l.Send(t.Context(), nil)
			if f, ok := errors.AsType[*Failure](err); ok {
				if f.Class != Throttled || f.After <= 0 {
					t.Fatalf("%+v", f)
				}
				turns[f.After.Round(time.Second)]++
			}
		}
		if ch.n == 0 || ch.n > 5 {
			t.Errorf("%d attempts passed at once at 30/m", ch.n)
		}
		for at, n := range turns {
			if n > 3 {
				t.Errorf("%d of 100 come back together after %s", n, at)
			}
		}
	})
}
