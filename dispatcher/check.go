package dispatcher

import (
	"fmt"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Check says everything that is wrong with the settings; call [Config.Defaults] first. The error is
// a [*schemas.Invalid] whose pointers are those of yizhan.yaml, "/dispatch/retry/attempts".
func (c Config) Check() error {
	var ps []schemas.Problem
	bad := func(key, zh, en string, args ...any) {
		ps = append(ps, schemas.Problem{
			Pointer: "/dispatch/" + key, Keyword: "setting",
			Text: schemas.Text{Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)},
		})
	}
	number := func(key string, n, low, high int) {
		if n < low || n > high {
			bad(key, "应在 %d 到 %d 之间", "want %d to %d", low, high)
		}
	}
	wait := func(key string, d, low, high time.Duration, words string) {
		if d < low || d > high {
			bad(key, "应在 %s 之间", "want %s", words)
		}
	}
	const day = 24 * time.Hour
	p := c.Retry
	number("retry/attempts", p.Attempts, 1, 1000)
	wait("retry/first", p.First, 100*time.Millisecond, day, "100ms – 24h")
	wait("retry/max", p.Max, 100*time.Millisecond, 7*day, "100ms – 168h")
	wait("retry/refused", p.Refused, time.Second, 7*day, "1s – 168h")
	wait("retry/max_age", p.MaxAge, time.Minute, 60*day, "1m – 1440h")
	if p.Max < p.First {
		bad("retry/max", "不得小于 first（%s）", "want no less than first (%s)", p.First)
	}
	if p.Factor < 1 || p.Factor > 100 {
		bad("retry/factor", "应在 1 到 100 之间", "want 1 to 100")
	}
	if p.Jitter < 0 || p.Jitter > 1 {
		bad("retry/jitter", "应在 0 到 1 之间", "want 0 to 1")
	}
	times := func(key string, list []time.Duration) {
		if len(list) > 20 {
			bad(key, "最多 20 个时间点", "want at most 20 times")
		}
		last := time.Duration(0)
		for i, d := range list {
			if d < time.Second || d <= last || d > 7*day {
				bad(fmt.Sprintf("%s/%d", key, i), "查询时间应依次增大，在 1s – 168h 之间", "want times that grow, each 1s – 168h")
			}
			last = d
		}
	}
	times("retry/reconcile", p.Reconcile)
	times("retry/receipts", p.Receipts)
	wait("grace", c.Grace, time.Second, 10*time.Minute, "1s – 10m")
	number("plan_slots", c.PlanSlots, 1, 1024)
	number("max_backlog", c.MaxBacklog, 1, 1_000_000_000)
	if len(ps) > 0 {
		return &schemas.Invalid{Problems: ps}
	}
	return nil
}
