// Package channels says what a channel is and how it says no.
//
// A channel hands one delivery to one third party. It knows no queue, no retry and no rule. Each
// kind lives in a folder of its own with its configuration, its client and its reading of the far
// side's answers; all pass the suite in channeltest.
package channels

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Channel hands deliveries to one third party. Safe for concurrent use.
type Channel interface {
	// Send returns nil once the third party's own business code says yes, whatever happens to the
	// connection after that. It ends within ctx, also when the far side hangs. Every error is, or
	// wraps, a [*Failure].
	Send(ctx context.Context, d *schemas.Delivery) (Receipt, error)
	Traits() Traits
	// Close ends pooled connections; no Send runs any more.
	Close() error
}

// Reconciler is a channel that can ask the third party what became of a request without an answer.
type Reconciler interface {
	// Lookup looks for the delivery among what the third party took since the given instant.
	// An error means "could not be asked"; ask again later.
	Lookup(ctx context.Context, d *schemas.Delivery, since time.Time) (Lookup, error)
}

// Unsubscriber is a channel whose messages carry a link by which the reader refuses more of them.
type Unsubscriber interface {
	// Refusal is what the token of such a link stands for; false for a token that this channel did not make.
	// Time is left to the caller.
	Refusal(token string) (schemas.ConsentChange, bool)
}

// Lookup is a third party's answer to "did you take this?".
type Lookup struct {
	Found   bool
	State   schemas.State // Accepted, Delivered or Undelivered when Found
	Receipt Receipt
	Failure *Failure // why, when Undelivered
}

// Receipt is what the third party said when it took the message.
type Receipt struct {
	ID    string // its id for the message: BizId, queue id; may be empty
	Reply string // its words, one line, masked
	// Attachments are the files of the message, with those that it had to go without.
	Attachments []Attached
	// Provider is who took it, where a channel has several; Parts and Cost ("0.09 CNY") what it charges for an SMS, where a
	// price is set.
	Provider string
	Parts    int
	Cost     string
	// Passed is who was asked before and surely did not take it, and why: "aliyun isv.BUSINESS_LIMIT_CONTROL".
	Passed string
}

// Address is what a channel needs to know of a recipient.
type Address string

// The addresses.
const (
	Phone Address = "phone"
	Email Address = "email"
	// None: the channel itself is the address (a webhook); one delivery an event, not one a recipient.
	None Address = "none"
)

// Traits is what the dispatcher must know of a channel, so that it needs to know no channel by name.
type Traits struct {
	Kind     string // email, sms, webhook: templates and explanations are looked up by it
	Provider string // aliyun, exchange…; "" when not known
	Address  Address
	// Once: a repeat costs money or trust. The dispatcher claims the delivery in the ledger before
	// the call, and an unknown outcome is parked as uncertain, never repeated blindly.
	Once bool
	// Idempotent: the third party knows a repeat by the delivery's id, so an unknown outcome may be sent again
	// as often as any failure. Neither Once nor Idempotent: it is sent again one time.
	Idempotent bool
	// Receipts: the third party reports of each message whether it arrived. Accepted is then not the end: the
	// delivery waits for the report, and is asked about ([Reconciler]) when none comes.
	Receipts bool
	// Bounces: the third party reports only what did not arrive, and silence is good news. Accepted waits for
	// it only where another channel would take over.
	Bounces bool
	// Capped: counts against the daily cap of the recipient's number.
	Capped bool
	// Mentions: the message names the people to whom the event is addressed, by their phone numbers.
	Mentions bool
	// Signature is the SMS signature that the provider will put in front, without brackets.
	Signature string
	// Attaches are the schemes of attachments' URLs that the channel fetches and sends along: "https s3".
	Attaches string
	// Slots is how many attempts may run at once in this process for each priority; Timeout bounds one attempt.
	Slots   int
	Timeout time.Duration
	// Rate is how many attempts may start, by the settings or else by what the third party is known to allow;
	// zero: the kind knows no limit of its own.
	Rate Rate
}

// Env is what a channel may use of the process.
type Env struct {
	Name string // the channel's name in yizhan.yaml
	Dir  string // folder of yizhan.yaml: relative *_file paths start here
	Log  *zap.Logger
	// Files fetches attachments; nil when no storage is set up.
	Files Files
	// Simulated is set in sandbox mode: the third parties are stand-ins on loopback.
	Simulated bool
}

// Factory opens a channel from its section of yizhan.yaml. decode is strict: unknown keys are
// errors with line and column.
type Factory func(env Env, decode func(into any) error) (Channel, error)
