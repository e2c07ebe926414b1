package channels

import (
	"cmp"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	// breakAfter is how many failures in a row open a breaker.
	breakAfter = 5
	// minPause and maxPause bound the time between two probes of what fails for a while. The pause doubles with each failed probe.
	minPause = 5 * time.Second
	maxPause = 5 * time.Minute
	// refusedPause is the time where a person has to act first, unless [Breaker.Refused] says otherwise: probes come
	// after 15 to 30 min (facts: README "class → action").
	refusedPause = 20 * time.Minute
)

// Breaker stops calls to a third party that does not work, and lets one at a time through to see whether
// it works again. It opens after five temporary failures in a row, at once when credentials or the
// channel's settings are refused, and for good (until the process ends) when a webhook's receiver says
// that it is gone. Any other answer shows that the third party works.
//
// It is a state machine without a clock of its own. The zero value is closed. Safe for concurrent use.
type Breaker struct {
	// Refused is about how long calls rest after credentials or settings were refused; 0 is 20 min. Set before use.
	Refused time.Duration

	mu       sync.Mutex
	failures int           // in a row
	pause    time.Duration // 0 while closed
	retryAt  time.Time     // open: when the next probe may go
	since    time.Time     // open: since when
	probing  bool
	gone     bool
	cause    *Failure // open: what opened it, or what the last probe met
}

// Allow says whether a call may start now. If not, cause is the failure that stopped the calls and
// retryAt when to ask again, at a random instant of the time after it; zero: not in this process any more.
// Who is allowed tells [Breaker.Done] how it went; one that never does is a probe without a result, and
// the next goes after the pause.
func (b *Breaker) Allow(now time.Time) (ok bool, retryAt time.Time, cause *Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return true, time.Time{}, nil
	case b.gone:
		return false, time.Time{}, b.cause
	case !now.Before(b.retryAt):
		b.probing = true
		b.retryAt = now.Add(b.pause)
		return true, time.Time{}, nil
	}
	// Whoever waits comes back spread: the first of them is the probe.
	return false, b.retryAt.Add(rand.N(b.pause/2 + 1)), b.cause
}

// Done tells how a call went that Allow let go: nil for success, else the failure with the class that
// the diagnoses gave it.
func (b *Breaker) Done(now time.Time, f *Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || f.uncalled() {
		return
	}
	least, most, bad := minPause, maxPause, breakAfter // how many bad ones open it
	switch {
	case f == nil || !f.breaks():
		b.failures, b.pause, b.retryAt, b.since, b.probing, b.cause = 0, 0, time.Time{}, time.Time{}, false, nil
		return
	case f.Code == codeGone:
		b.gone, bad = true, 1
	case f.Class == Auth || f.Class == Config:
		least = cmp.Or(b.Refused, refusedPause) * 3 / 4
		most, bad = least, 1
	}
	b.failures++
	open := b.pause > 0
	if !open && b.failures < bad {
		return
	}
	if open && !b.probing && !b.gone && least <= b.pause {
		return // a call that began before the breaker opened
	}
	if b.since.IsZero() {
		b.since = now
	}
	b.cause, b.probing = f, false
	b.pause = min(max(2*b.pause, least), most)
	b.retryAt = now.Add(b.pause + rand.N(b.pause/5+1))
}

// State says whether the breaker is open, since when, when the next probe may go (zero: never), and why.
func (b *Breaker) State() (open bool, since, retryAt time.Time, cause *Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return true, b.since, time.Time{}, b.cause
	}
	return b.pause > 0, b.since, b.retryAt, b.cause
}

// codeGone is the answer after which a webhook's receiver wants nothing any more.
const codeGone = "http:410"

// uncalled says that f was found before the third party was asked, such as a missing file or a text that is too long: it
// says nothing of the third party. Our own codes for what it answered, or for an address that cannot be reached, break.
func (f *Failure) uncalled() bool {
	return f != nil && (f.Kind == "dispatcher" || f.Provider == "dispatcher" || strings.HasPrefix(f.Code, "dispatcher:") && !f.breaks())
}

// breaks says whether f speaks against everything that goes the same way, not against one message.
func (f *Failure) breaks() bool {
	return f.Class == Temporary && !ofMailbox(f) || f.Class == Unknown || Wide(f, f.Class) || f.Code == codeGone
}
