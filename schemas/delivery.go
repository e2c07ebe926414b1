package schemas

import "time"

// State is where a delivery stands. DESIGN: each delivery ends in exactly one terminal state.
type State string

// The states of a delivery.
const (
	Planned     State = "planned"     // stored, waits for a slot
	Held        State = "held"        // waits until a known time: retry, quiet hours, cap window, not_before
	Sending     State = "sending"     // an attempt is under way
	Accepted    State = "accepted"    // the third party's own code said yes
	Delivered   State = "delivered"   // a receipt said so
	Undelivered State = "undelivered" // a receipt said no
	Uncertain   State = "uncertain"   // the request left and no answer came: reconcile first
	Suppressed  State = "suppressed"  // a rule said no
	Expired     State = "expired"     // too late
	Cancelled   State = "cancelled"   // recalled by the producer
	Dead        State = "dead"        // no attempt left or none can help; until replayed
)

// States lists every state in the order of a delivery's life.
var States = []State{Planned, Held, Sending, Accepted, Delivered, Undelivered, Uncertain, Suppressed, Expired, Cancelled, Dead}

// Terminal says whether nothing more happens by itself. Accepted is terminal here; a channel
// with receipts may still move it to delivered or undelivered.
func (s State) Terminal() bool {
	switch s {
	case Planned, Held, Sending, Uncertain:
		return false
	default:
		return true
	}
}

// Delivery is one message to one address over one channel: the unit of retry. Its bytes never
// change after planning; what changes (attempt, fence, replay) travels in message headers.
type Delivery struct {
	// ID is hash(source, id, recipient, channel), see [DeliveryID]: stable over redelivery, and the
	// idempotency key passed on to the third party (webhook-id, SMS OutId, mail Message-ID).
	ID       string    `json:"id"`
	Event    EventRef  `json:"event"`
	Tenant   string    `json:"tenant"`
	Channel  string    `json:"channel"` // name in yizhan.yaml
	Category Category  `json:"category"`
	Priority Priority  `json:"priority"`
	To       Recipient `json:"to"`
	Message  Message   `json:"message"`
	Route    string    `json:"route,omitzero"` // name of the route that chose the channel
	// NotBefore and Expires bound the time in which it may be sent; zero means no bound.
	NotBefore time.Time `json:"not_before,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	PlannedAt time.Time `json:"planned_at"`
	// Else are deliveries planned in its place when this one ends in the state or over the cap they name.
	Else        []Alternative `json:"else,omitzero"`
	TraceParent string        `json:"traceparent,omitzero"`
}

// Alternative is a ready delivery over another channel, used when the first one cannot arrive.
type Alternative struct {
	// When is "failed" (dead or undelivered) or "over_cap" (daily cap with over: divert).
	When     string   `json:"when"`
	Delivery Delivery `json:"delivery"`
}

// Reasons for which an [Alternative] is used.
const (
	WhenFailed  = "failed"
	WhenOverCap = "over_cap"
)

// EventRef names the event that a delivery comes from.
type EventRef struct {
	Source string    `json:"source"`
	ID     string    `json:"id"`
	Type   string    `json:"type"`
	Time   time.Time `json:"time,omitzero"`
}

// Message is the rendered content in the form its channel needs; unused fields are empty.
type Message struct {
	Template string `json:"template,omitzero"` // name in rules.yaml
	Subject  string `json:"subject,omitzero"`  // email
	Text     string `json:"text,omitzero"`     // email, and the full SMS text without signature
	HTML     string `json:"html,omitzero"`     // email
	// Attachments are fetched and sent with a mail when it goes; other channels have none.
	Attachments []Attachment `json:"attachments,omitzero"`
	// Code and Params are the SMS provider's template code and its variables.
	Code   string            `json:"code,omitzero"`
	Params map[string]string `json:"params,omitzero"`
	// Codes are the template's codes at other providers, by the provider's name: a channel looks here first.
	Codes map[string]string `json:"codes,omitzero"`
	// ParamOrder is the order of the variables, for providers that take a list of values. The variables that it
	// does not name follow it by name.
	ParamOrder []string `json:"param_order,omitzero"`
	// ParamKinds says of some variables what the provider's template allows in them.
	ParamKinds map[string]ParamKind `json:"param_kinds,omitzero"`
	Signature  string               `json:"signature,omitzero"` // SMS signature without brackets
	Payload    Raw                  `json:"payload,omitzero"`   // webhook: the JSON body's data member
	// At are phone numbers of people whom a robot's message mentions, in E.164.
	At []string `json:"at,omitzero"`
}

// ParamKind is what a variable of an SMS template may hold, as it was chosen when the template was filed
// with the provider (help.aliyun.com/document_detail/2806243.html).
type ParamKind string

// The kinds of variables.
const (
	ParamCode   ParamKind = "code"   // a verification code
	ParamNumber ParamKind = "number" // a quantity, an order's number
	ParamMoney  ParamKind = "money"
	ParamTime   ParamKind = "time" // a date, a time, or both
	ParamName   ParamKind = "name" // of a person, company or thing
	ParamPhone  ParamKind = "phone"
	ParamURL    ParamKind = "url"
	ParamText   ParamKind = "text"
	ParamOther  ParamKind = "other"
)

// ParamKinds lists every kind of variable.
var ParamKinds = []ParamKind{ParamCode, ParamNumber, ParamMoney, ParamTime, ParamName, ParamPhone, ParamURL, ParamText, ParamOther}

// DeadLetter is a delivery (or an event that could not be planned) with the whole of why: enough
// to explain, repair and send it again. Numbers and addresses stand in it in clear, because a
// replay needs them; whoever shows it masks them.
type DeadLetter struct {
	ID       string    `json:"id"` // delivery id; for an event that was never planned, its event key
	Time     time.Time `json:"time"`
	Tenant   string    `json:"tenant"`
	Channel  string    `json:"channel"` // "event" for an event
	State    State     `json:"state"`   // dead
	Attempts int       `json:"attempts"`
	Replay   int       `json:"replay"` // how often it had been replayed before it died
	Cause    Cause     `json:"cause"`
	Delivery *Delivery `json:"delivery,omitzero"`
	// Event holds the original bytes of an event that was never planned, Headers what came with it, and
	// Ref what could be read of it.
	Event   []byte            `json:"event,omitzero"`
	Headers map[string]string `json:"headers,omitzero"`
	Ref     EventRef          `json:"ref,omitzero"`
	Fence   uint64            `json:"fence"` // sequence of the ledger record that declared it dead
}

// Cause is why an attempt or a delivery ended as it did, as stored: the words are looked up when shown.
type Cause struct {
	Kind     string `json:"kind,omitzero"`     // email, sms, webhook, or dispatcher for our own decisions
	Provider string `json:"provider,omitzero"` // aliyun, exchange, …
	Code     string `json:"code"`              // the third party's code ("isv.X", "550 5.1.1", "http:503") or ours ("daily-cap")
	Class    string `json:"class"`             // temporary, throttled, auth, config, content, recipient, permanent, uncertain
	Line     string `json:"line,omitzero"`     // the third party's own words: one line, at most 1 KiB, masked
	Hits     []Hit  `json:"hits,omitzero"`     // for rules: what was matched where
}

// Hit is one thing that a rule found.
type Hit struct {
	Rule   string `json:"rule"`           // the product's rule id: "9", "10", "12", or a word
	Action string `json:"action"`         // block, review, hold
	Field  string `json:"field,omitzero"` // text, subject, html, signature, or params/<name>: where the offsets count
	Start  int    `json:"start"`          // offsets in code points of the original field
	End    int    `json:"end"`
	// StartByte and EndByte are the same span in bytes of UTF-8.
	StartByte int    `json:"start_byte,omitzero"`
	EndByte   int    `json:"end_byte,omitzero"`
	Text      string `json:"text,omitzero"` // the matched text, as written
	Term      string `json:"term,omitzero"` // what it means: the term of the lexicon
	// Via is how the term was disguised (gap, split, pinyin, homophone …); "" when it is written plainly.
	Via string `json:"via,omitzero"`
	Cue string `json:"cue,omitzero"` // the words beside it that made it count
	// Origin says whose words these are: "template", or "params/<name>" for a variable; "" when not known.
	Origin string `json:"origin,omitzero"`
	Advice Text   `json:"advice"`
}
