// Package channeltest is the contract every channel must pass.
//
// A channel's test describes, as a [Rig], how to open the channel against a far side on loopback
// that the suite can order about, and calls [Contract]:
//
//	func TestContract(t *testing.T) {
//		channeltest.Contract(t, channeltest.Rig{
//			Kind: "sms", Address: channels.Phone,
//			Secrets: []string{"s3cret"},
//			Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) { … },
//		})
//	}
//
// A far side over HTTP is one handler with a switch on the [Behaviour], served on a listener that
// can be taken down and put up again on the same port (sandbox.Door).
package channeltest

import (
	"fmt"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Behaviour is what the far side does with the requests that come from now on.
type Behaviour int

// The behaviours.
const (
	// Accept: says yes with the third party's own business code.
	Accept Behaviour = iota
	// Refuse: says no for good: a 5xx of SMTP, a business code that no retry can cure. For HTTP let it
	// be a 200 with the refusal in the body where the third party does so.
	Refuse
	// Throttle: says that we are too fast, in the third party's words.
	Throttle
	// Fail: says that it cannot just now: 4xx of SMTP, HTTP 503.
	Fail
	// HangUp: breaks the connection before it has the whole request. Where the far side cannot know
	// how much was written (HTTP), it breaks off as soon as it sees the request.
	HangUp
	// Cut: takes the whole request, acts on it, and breaks the connection without an answer.
	Cut
	// Hang: takes the whole request and never answers, until the client goes or the far side ends.
	Hang
	// Unreachable: nothing listens on the port, and connections that were open are broken.
	// Any later behaviour puts it up again on the same port.
	Unreachable
	// AcceptThenBreak: says yes and then breaks the connection at once.
	AcceptThenBreak
)

var names = [...]string{"accept", "refuse", "throttle", "fail", "hang-up", "cut", "hang", "unreachable", "accept-then-break"}

func (b Behaviour) String() string { return names[b] }

// FarSide is the third party's stand-in. Safe for concurrent use.
type FarSide interface {
	// Behave changes what is done with the requests from now on; it returns once that is in force.
	Behave(b Behaviour)
	// Taken lists the delivery id of every message the far side took whole, in order, repeats
	// included: under Accept, AcceptThenBreak, Cut and Hang; never under the others. The id is
	// read from what was received (Message-ID, OutId, webhook-id), not from what was meant.
	Taken() []string
}

// Rig is how the suite gets at one channel.
type Rig struct {
	Kind    string           // what Traits must say
	Address channels.Address // what Traits must say
	// Secrets are the credentials and signing keys that Open gives the channel: they may appear
	// in no error and in no log, in no member of an error's chain.
	Secrets []string
	// Open starts a far side under Accept and a channel that sends to it with env. Both end with t
	// (t.Cleanup), the far side without leaving a goroutine; the suite closes the channel itself, and
	// Close may be called twice.
	Open func(t *testing.T, env channels.Env) (channels.Channel, FarSide)
	// Adjust fits the suite's delivery to the channel, when it needs more than [Delivery] gives; may be nil.
	Adjust func(d *schemas.Delivery)
}

// What must never be seen in an error or a log.
const (
	canaryPhone = "13912345678"
	canaryLocal = "wang.canary"
	canaryBody  = "canary-body-7391"
)

// Delivery is the n-th of the suite's deliveries: it has what any channel may need, and canaries in
// the number, the address, the subject, the text, the parameters and the payload.
func Delivery(n int) *schemas.Delivery {
	src, id := "/erp/acme/receivables", fmt.Sprintf("AR-2026-%06d/due", n)
	now := time.Now()
	return &schemas.Delivery{
		ID:       schemas.DeliveryID("acme", src, id, "wang", "test"),
		Event:    schemas.EventRef{Source: src, ID: id, Type: "erp.invoice.due", Time: now},
		Tenant:   "acme",
		Channel:  "test",
		Category: schemas.Notification,
		Priority: schemas.Normal,
		To: schemas.Recipient{
			Name: "王芳", Phone: "+86" + canaryPhone, Email: canaryLocal + "@example.com", Locale: "zh-CN",
		},
		Message: schemas.Message{
			Template:  "invoice-due",
			Subject:   "账单到期 " + canaryBody,
			Text:      "您的账单已到期 " + canaryBody,
			HTML:      "<p>您的账单已到期 " + canaryBody + "</p>",
			Code:      "SMS_123",
			Params:    map[string]string{"customer": canaryBody, "amount": "12,300.00"},
			Signature: "华星科技",
			Payload:   schemas.Raw(`{"title":"账单到期","text":"` + canaryBody + `"}`),
		},
		PlannedAt: now,
	}
}
