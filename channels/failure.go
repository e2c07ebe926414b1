package channels

import (
	"errors"
	"fmt"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Class says what kind of failure it is, and so what becomes of the delivery. The set is closed:
// it labels metrics, ledger records and dead letters alike.
type Class string

// The classes (facts: README "class → action").
const (
	Temporary Class = "temporary" // retry with back-off
	Throttled Class = "throttled" // retry after the named window; uses up no attempt
	Auth      Class = "auth"      // credentials refused: the channel's owner must act
	Config    Class = "config"    // our settings at the third party are wrong
	Content   Class = "content"   // this text or these parameters are refused
	BadTarget Class = "recipient" // this address cannot receive
	Permanent Class = "permanent" // no retry can help
	Unknown   Class = "uncertain" // the request may have been taken: look before you repeat
)

// Classes lists every class.
var Classes = []Class{Temporary, Throttled, Auth, Config, Content, BadTarget, Permanent, Unknown}

// Failure is how a channel says no: what it knows itself, before anybody explains it.
type Failure struct {
	Kind     string // email, sms, webhook, dispatcher
	Provider string // aliyun, exchange, generic…
	// Code is the third party's own code: "isv.X", "550 5.1.1", "http:503", or a condition of ours,
	// "net:timeout-response", from the list in facts: README "code_or_pattern".
	Code string
	Line string // its words: one line, at most 1 KiB, without secrets, numbers masked ([Line] makes it so)
	// Class is what the channel can tell from the reply's family alone; the diagnoses may know better.
	Class Class
	// After is how long the far side asked us to wait; 0 when it did not.
	After time.Duration
	// Maybe: the request may have been taken although no answer says so.
	Maybe bool
	Err   error
}

func (f *Failure) Error() string {
	if f.Line == "" {
		return fmt.Sprintf("%s %s (%s)", f.Kind, f.Code, f.Class)
	}
	return fmt.Sprintf("%s %s (%s): %s", f.Kind, f.Code, f.Class, f.Line)
}

func (f *Failure) Unwrap() error { return f.Err }

// Surely says that nobody has the message, and that the reason lies in the third party or in our account there, not
// in the message: another third party may be given it.
func (f *Failure) Surely() bool {
	switch f.Class {
	case Temporary, Throttled, Auth, Config:
		return !f.Maybe
	}
	return false
}

// Explain returns the Failure in err's chain; for an error without one, a temporary failure of
// unknown make: late beats lost, and attempts bound it.
func Explain(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Kind: "dispatcher", Code: "internal", Class: Temporary, Line: Line(err.Error()), Err: err}
}

// Diagnosis is a failure put into words.
type Diagnosis struct {
	Class  Class
	Known  bool   // false: only the reply's family was recognised
	Retry  string // no | yes | after-wait
	Owner  string // whose job: operator, channel-owner, author, data-owner, third-party, nobody
	Cause  schemas.Text
	Remedy schemas.Text
	Source string
	// ID names the row that explains it, "" when none does: stable, fit for logs and links.
	ID string
	// Also is what else to look at when the remedy does not help; may be empty.
	Also schemas.Text
	// When says when a retry is useful. After is the third party's usual wait, where one is known; 0: not known.
	When  schemas.Text
	After time.Duration
}

// Explainer puts failures into words; channels/explain is the one.
type Explainer func(f *Failure) Diagnosis

// Quote is a third party's words as somebody quotes them: an operator from a log or a bounce, a program.
type Quote struct {
	// Channel is email, sms, webhook, bot or dispatcher, or the name of a provider; it and Provider may be empty.
	Channel, Provider string
	// Text is an SMTP reply of one or more lines, what .NET, Java, Python, Node or Go make of one, a
	// provider's code alone or in JSON, an HTTP status.
	Text string
	// Context says, in any words, when it was said: "greeting", "AUTH", "MAIL FROM", "RCPT", "end of DATA".
	// An SMTP code means different things at different moments.
	Context string
}

// LineExplainer puts quoted words into words; channels/explain is the one.
type LineExplainer func(q Quote) Diagnosis

// Explained is a Diagnosis on the wire: `yizhan explain` and POST /v1/explain.
type Explained struct {
	Known    bool   `json:"known"` // false: only the reply's family was recognised
	Class    Class  `json:"class"`
	Retry    string `json:"retry"` // no | yes | after-wait
	Owner    string `json:"owner"`
	CauseEn  string `json:"cause_en"`
	RemedyEn string `json:"remedy_en"`
	CauseZh  string `json:"cause_zh"`
	RemedyZh string `json:"remedy_zh"`
	AlsoEn   string `json:"also_en,omitzero"`
	AlsoZh   string `json:"also_zh,omitzero"`
	WhenEn   string `json:"when_en"` // a retry is useful
	WhenZh   string `json:"when_zh"`
	After    int64  `json:"after_seconds,omitzero"` // the third party's usual wait
	Row      string `json:"row,omitzero"`           // of the table
	Source   string `json:"source,omitzero"`
}

// Explained is d on the wire.
func (d Diagnosis) Explained() Explained {
	return Explained{
		Known: d.Known, Class: d.Class, Retry: d.Retry, Owner: d.Owner,
		CauseEn: d.Cause.En, RemedyEn: d.Remedy.En, CauseZh: d.Cause.Zh, RemedyZh: d.Remedy.Zh,
		AlsoEn: d.Also.En, AlsoZh: d.Also.Zh, WhenEn: d.When.En, WhenZh: d.When.Zh, After: int64(d.After / time.Second),
		Row: d.ID, Source: d.Source,
	}
}
