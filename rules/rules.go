// Package rules decides who gets what, and whether it may go out. It is pure: an event and a
// clock go in, a verdict comes out; no network, no broker, no channel.
//
// A [Book] is one rules.yaml, compiled: routes choose channels, templates make texts, guards judge
// each delivery. Rules with state (daily cap, consent) stand in the send step, as [Reserver]s.
package rules

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Input is what a guard sees. It calls no clock of its own.
type Input struct {
	Delivery *schemas.Delivery // never nil
	Kind     string            // email, sms, webhook
	Provider string            // of an SMS channel: aliyun, tencent, huawei; "" when not known
	// Signature is the SMS signature that the provider will put in front of the text, without brackets.
	Signature string
	// Capped: the message counts against the daily cap of the recipient's number (channels.Traits.Capped).
	Capped bool
	// Class is the kind of business message (invoice, approval, payroll …) where the caller knows it better
	// than the rules can tell from the delivery; "" lets them tell.
	Class string
	Now   time.Time // zero: there is no clock, and what depends on the time is not judged ([Book.Lint])
}

// Action is what a guard asks for, weakest first.
type Action int

// The actions.
const (
	Pass     Action = iota // with hits: a person should look, it goes out all the same
	Hold                   // not before Verdict.Until
	Suppress               // never: a rule forbids it
	Expire                 // too late
	Bury                   // dead: an operator is to see it
	Divert                 // use the alternative planned for it; Bury when there is none
)

// Verdict is a guard's answer.
type Verdict struct {
	Action Action
	Rule   string // id of the rule that decided: "9", "10", "12", "expiry", "quiet-hours"
	Until  time.Time
	Hits   []schemas.Hit
}

// Guard judges one delivery.
type Guard interface {
	Judge(in Input) Verdict
}

// Env is what a rule may use beside its section.
type Env struct {
	// Read reads a file that a section names; a relative name starts at the folder of rules.yaml. The book
	// remembers the names: a change of such a file is a change of the rules ([Book.Files]).
	Read func(name string) ([]byte, error)
	// Caps and Consents keep the records of the rules with state, each in a space of its own; nil where
	// rules are only looked at.
	Caps, Consents Store
}

// GuardFactory compiles a guard from its section of rules.yaml (guards.<name>); decode is strict.
// A guard whose section is absent is opened with a decode that does nothing: its default.
type GuardFactory func(decode func(into any) error, env Env) (Guard, error)

// Reserver is a guard with state. It stands in the send step, right before the call.
type Reserver interface {
	// Concerns says, from the delivery alone, whether the reserver has to be asked about it.
	Concerns(in Input) bool
	// Reserve asks for leave to make one call for the delivery before until. The same holder asking
	// again never counts twice. An error means "cannot tell": do not send; the verdict's Rule is then the
	// code that says so.
	Reserve(ctx context.Context, in Input, holder string, until time.Time) (Verdict, error)
	// Release gives the leave back. Call it only when the message was surely not sent.
	Release(ctx context.Context, in Input, holder string) error
}

// ReserverFactory compiles a Reserver from its section of rules.yaml.
type ReserverFactory func(decode func(into any) error, env Env) (Reserver, error)

// ErrConflict means that somebody else changed the record since it was loaded.
var ErrConflict = errors.New("changed by somebody else")

// Store keeps one small record for each key, shared by all pods, changed by compare-and-swap.
// Keys are personal data (phone numbers): the store hashes them with a secret before they leave
// the process.
type Store interface {
	// Load returns the record and its revision; an absent one is nil, 0 (or the revision of its removal).
	Load(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Swap stores value if the revision is still the current one and returns the new revision;
	// ErrConflict otherwise. The record is forgotten ttl after its last change; 0 is never.
	Swap(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error)
}

const maxPause = 50 * time.Millisecond

// Pause waits before another attempt at a [Store.Swap] that met [ErrConflict]: a random time, which grows with the
// attempts to 50 ms, so that racing pods spread out. The error is the context's.
func Pause(ctx context.Context, attempts int) error {
	t := time.NewTimer(rand.N(min(time.Millisecond<<attempts, maxPause)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lister is a [Store] whose records can be listed. The part of a key before its first slash, a tenant,
// stays readable for it.
type Lister interface {
	// Each calls f for the records of a tenant ("" is all of them) from the revision from on, longest
	// unchanged first, until it returns false. A record that changes meanwhile may come twice, none is left out.
	Each(ctx context.Context, tenant string, from uint64, f func(value []byte, revision uint64) bool) error
}

// ConsentKeeper is a [Reserver] that keeps who agreed to what and who refused. Times are the
// caller's; addresses are E.164 numbers or mail addresses as [schemas.ConsentAddress] gives them.
type ConsentKeeper interface {
	// Record adds an answer that was checked; by names who records it.
	Record(ctx context.Context, c *schemas.ConsentChange, by string, now time.Time) (ConsentEffect, error)
	// Consent is what is known of an address, nil when nothing is.
	Consent(ctx context.Context, tenant, address string) (*schemas.Consent, error)
	// Consents lists records as [Lister] does; their revisions are cursors.
	Consents(ctx context.Context, tenant string, from uint64, f func(c *schemas.Consent, cursor uint64) bool) error
	// Erase deletes an address and its history. What was refused stays, under the hash of the address. While
	// the proof of an agreement that was used must be kept it does nothing and returns until when.
	Erase(ctx context.Context, tenant, address string, now time.Time) (found bool, keep time.Time, err error)
	// OptsOut says whether a reply is a refusal of further messages.
	OptsOut(reply string) bool
}

// ConsentEffect is what became of a recorded answer.
type ConsentEffect string

// The effects.
const (
	ConsentRecorded  ConsentEffect = "recorded"  // it is the last word now
	ConsentUnchanged ConsentEffect = "unchanged" // it was on record already
	ConsentOlder     ConsentEffect = "older"     // kept, but a later word stands
)

// Judge asks every guard in order and returns the strongest verdict; of several holds the latest.
func Judge(guards []Guard, in Input) Verdict {
	var v Verdict
	for _, g := range guards {
		switch w := g.Judge(in); {
		case w.Action > v.Action, w.Action == Hold && v.Action == Hold && w.Until.After(v.Until):
			w.Hits = append(v.Hits, w.Hits...)
			v = w
		default:
			v.Hits = append(v.Hits, w.Hits...)
		}
	}
	return v
}
