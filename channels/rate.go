package channels

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Rate is a number of calls in a unit of time, of all pods together, written "30/m" or "100/s"; zero means no limit.
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
