package channels

import (
	"context"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

type linking struct{ Channel }

func (linking) Refusal(string) (schemas.ConsentChange, bool) {
	return schemas.ConsentChange{Tenant: "acme"}, true
}

type asking struct{ linking }

func (asking) Lookup(context.Context, *schemas.Delivery, time.Time) (Lookup, error) {
	return Lookup{Found: true}, nil
}

// What a channel can do is found behind its limit, and what it cannot is not.
func TestAs(t *testing.T) {
	slow := Rate{Count: 1, Per: time.Hour}
	for name, ch := range map[string]Channel{"bare": linking{}, "limited": Limit(linking{}, slow), "with queries": Limit(asking{}, slow)} {
		if u, ok := As[Unsubscriber](ch); !ok {
			t.Errorf("%s: not found", name)
		} else if c, ok := u.Refusal(""); !ok || c.Tenant != "acme" {
			t.Errorf("%s: another channel's", name)
		}
		if _, ok := As[Reconciler](ch); ok != (name == "with queries") {
			t.Errorf("%s: a reconciler: %v", name, ok)
		}
	}
}
