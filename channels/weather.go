package channels

import "time"

// Watched is a channel that stops its calls to what does not work.
type Watched interface {
	// Broken lists what is stopped now, the longest first, at most some dozens of many. It has to be quick.
	Broken() []Broken
}

// Broken is a destination to which calls are stopped.
type Broken struct {
	Destination string    // "" is the channel as a whole
	Since       time.Time // of the first call that was not made
	RetryAt     time.Time // of the next try; zero: not before somebody acts
	Cause       *Failure  // that stopped them
}
