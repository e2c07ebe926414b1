package channels

import "time"

// Composite is a channel that hands each of its messages to one of several third parties.
type Composite interface {
	// Members lists them as they are now, in the order of the settings, a shadow last.
	Members() []Member
}

// Member is one third party of a [Composite]. The counts are those of this process.
type Member struct {
	Name     string // in the channel's settings
	Provider string
	Weight   int // its share of the messages; 0: only when others fail
	// Open: its breaker is open since Since, and Cause says why; RetryAt is when it is tried again.
	Open           bool
	Since, RetryAt time.Time
	Cause          *Failure
	// Accepted, Failed and Unknown count calls by outcome; Passed those of Failed that another member took over.
	Accepted, Failed, Unknown, Passed uint64
	// Shadow: it gets no message, only checks: Checked in all, Good those without a finding, Dropped those that there
	// was no room for; Findings counts the codes of the others.
	Shadow                 bool
	Checked, Good, Dropped uint64
	Findings               map[string]uint64
}
