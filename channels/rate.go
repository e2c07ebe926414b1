package channels

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Rate is a number of attempts in a unit of time, written "30/m" or "100/s"; zero means no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// UnmarshalText reads "30/m". The error is a [*schemas.Invalid].
func (r *Rate) UnmarshalText(b []byte) error {
	n, unit, ok := strings.Cut(string(b), "/")
	count, err := strconv.Atoi(n)
	per, known := units[unit]
	if !ok || err != nil || count < 1 || !known {
		return &schemas.Invalid{Problems: []schemas.Problem{{Keyword: "setting", Text: schemas.Text{
			Zh: fmt.Sprintf("速率 %q 应为数字和单位 s、m 或 h，如 30/m", b),
			En: fmt.Sprintf("rate %q: want a number and a unit s, m or h, such as 30/m", b),
		}}}}
	}
	*r = Rate{Count: count, Per: per}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) {
	for u, d := range units {
		if d == r.Per {
			return fmt.Appendf(nil, "%d/%s", r.Count, u), nil
		}
	}
	return nil, nil
}

// maxRateWait is how long an attempt may wait for its turn before it is given back to the broker.
const maxRateWait = time.Second

// maxParked is how far ahead a turn is given; whoever would be later asks again then.
const maxParked = 15 * time.Minute

type limited struct {
	Channel
	limiter *rate.Limiter
	// parked gives those that are sent back turns of their own, at the same rate: told the same instant,
	// a backlog of thousands would come back together, again and again.
	parked *rate.Limiter
}

// Limit bounds how many attempts ch starts in this process. An attempt that would wait longer
// than a second is refused as throttled, so that the slot goes to somebody else meanwhile.
func Limit(ch Channel, r Rate) Channel {
	if r.Count == 0 {
		return ch
	}
	burst := max(1, int(float64(r.Count)*float64(time.Second)/float64(r.Per)))
	limit := rate.Limit(float64(r.Count) / r.Per.Seconds())
	l := limited{ch, rate.NewLimiter(limit, burst), rate.NewLimiter(limit, 1)}
	if rc, ok := ch.(Reconciler); ok {
		return struct {
			limited
			Reconciler
		}{l, rc}
	}
	return l
}

// Unwrap is for [As].
func (l limited) Unwrap() Channel { return l.Channel }

// park gives the next free turn.
func (l limited) park() time.Duration {
	turn := l.parked.Reserve()
	wait := turn.Delay()
	if wait > maxParked {
		turn.Cancel()
		return maxParked
	}
	return wait
}

func (l limited) Send(ctx context.Context, d *schemas.Delivery) (Receipt, error) {
	turn := l.limiter.Reserve()
	wait := turn.Delay()
	if wait > maxRateWait {
		turn.Cancel()
		return Receipt{}, &Failure{Kind: "dispatcher", Code: "rate", Class: Throttled, After: max(wait, l.park())}
	}
	select {
	case <-time.After(wait):
		return l.Channel.Send(ctx, d)
	case <-ctx.Done():
		turn.Cancel()
		return Receipt{}, &Failure{Kind: "dispatcher", Code: "rate", Class: Throttled, After: wait, Err: ctx.Err()}
	}
}
