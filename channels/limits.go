package channels

import (
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Limited is a channel whose third party counts calls for each robot, host or account: what a delivery
// takes beside the channel's own rate. The dispatcher keeps the budgets, for all pods together.
type Limited interface {
	// Budgets lists what one call for d takes, one call of each. It is asked right before the call and has to be quick.
	Budgets(d *schemas.Delivery) []Budget
}

// Budget is a number of calls that one third party lets us make.
type Budget struct {
	// Key says whose budget it is: the same on every pod, opaque, and without a secret (hash an address that is one).
	// Equal keys share a budget, in other channels too; each kind begins its keys with its name.
	Key string
	// Rate: never more than Count calls start within any Per.
	Rate Rate
	// Penalty is how long the budget rests, for all pods, once the third party has said "too fast"; longer when it asks
	// for longer. 0: as long as it asks.
	Penalty time.Duration
}

// Joiner is a channel that can put several waiting messages into one.
type Joiner interface {
	// Join makes one delivery of several that go to the same destination with the same priority, oldest first.
	// false: these cannot be joined (together too large, of different make), and each goes by itself.
	// It leaves ds as they are. What becomes of the joined delivery becomes of each, unless it is refused for good: then
	// each half goes by itself.
	Join(ds []*schemas.Delivery) (*schemas.Delivery, bool)
}

// Destined is a channel with more than one destination. One that fails or hangs holds up only its own deliveries.
type Destined interface {
	// Destination names where d goes, as people should see it: a host, not an address with a secret in it.
	// "" is the channel as a whole.
	Destination(d *schemas.Delivery) string
}
