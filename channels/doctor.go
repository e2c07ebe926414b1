package channels

import (
	"context"
	"net"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Examiner is a channel that can look at its way to the third party, stretch by stretch, without sending a message or
// changing anything there. Every connection obeys the channel's own settings: TLS, private CA, proxy, reach.
type Examiner interface {
	// Examine takes each of its steps through x. It ends within ctx.
	Examine(ctx context.Context, x *Examination)
}

// Level is how a step ended.
type Level string

// The levels.
const (
	Good     Level = "ok"
	Doubtful Level = "warn" // works, but somebody should look
	Bad      Level = "fail" // messages fail because of it, or will soon
	Unseen   Level = "skip" // cannot be seen from here; Seen says why
)

// Step is one thing that was looked at.
type Step struct {
	ID    string // stable, for scripts: "dns.spf", "tls"
	Title schemas.Text
	Finding
	Took time.Duration
}

// Finding is what a step saw.
type Finding struct {
	Level Level
	Seen  schemas.Text // one line, without secrets
	// Failure is how Send would fail for it: the diagnoses (channels/explain) say cause, whose job and remedy.
	Failure *Failure
	// Advice says the same where no answer of a third party is at hand that the diagnoses could know, such as a
	// missing DNS record.
	Advice *Diagnosis
}

// Examination is one examination of one channel: what it may use, and where it reports.
type Examination struct {
	// Resolver answers for all names, also for those that the steps connect to.
	Resolver *net.Resolver
	// Limit bounds one step.
	Limit time.Duration
	// Codes are the provider's template codes that rules.yaml uses over this channel.
	Codes []string
	// Selectors are DKIM selectors to look for; none: the usual ones.
	Selectors []string
	// Now is the clock that is compared with those of others.
	Now func() time.Time
	// Begin, where not nil, hears of each step before it is taken, Report of each that was.
	Begin  func(title schemas.Text)
	Report func(Step)
}

// Step takes one step within x.Limit and reports it. It says whether the way goes on: not after Bad. A step that ctx
// leaves no time for is Unseen.
func (x *Examination) Step(ctx context.Context, id string, title schemas.Text, look func(ctx context.Context) Finding) bool {
	if x.Begin != nil {
		x.Begin(title)
	}
	s := Step{ID: id, Title: title}
	if ctx.Err() != nil {
		s.Finding = Finding{Level: Unseen, Seen: schemas.Text{Zh: "总时限已到，未检查", En: "not looked at: the time for all steps is over"}}
		x.Report(s)
		return false
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, x.Limit)
	defer cancel()
	s.Finding = look(limited)
	s.Took = time.Since(start)
	if s.Level == "" {
		s.Level = Good
		if s.Failure != nil {
			s.Level = Bad
		}
	}
	x.Report(s)
	return s.Level != Bad
}
