package schemas

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ConsentState is what a person said: yes or no.
type ConsentState string

// The answers.
const (
	OptedIn  ConsentState = "in"
	OptedOut ConsentState = "out"
)

// Purpose is what an answer is about: a category, or all of [ConsentCategories]. Nobody can refuse
// verification codes: a person asks for each of them.
type Purpose string

// PurposeAll stands for all of [ConsentCategories].
const PurposeAll Purpose = "all"

// ConsentCategories are the categories that a person can agree to or refuse.
var ConsentCategories = []Category{Marketing, Notification, Alert}

// Purposes lists every purpose.
var Purposes = []Purpose{Purpose(Marketing), Purpose(Notification), Purpose(Alert), PurposeAll}

// Categories are the categories that the purpose stands for.
func (p Purpose) Categories() []Category {
	if p == PurposeAll {
		return ConsentCategories
	}
	return []Category{Category(p)}
}

// How an answer reached the company.
const (
	ByForm   = "form"   // a form or a contract, on paper or on a page
	ByImport = "import" // a list of another system
	ByReply  = "reply"  // an SMS of the person
	ByLink   = "link"   // the link of a mail
	ByAPI    = "api"    // a program that knows, without a form
)

// ConsentWays lists every way.
var ConsentWays = []string{ByForm, ByImport, ByReply, ByLink, ByAPI}

// ConsentWord is one answer of a person.
type ConsentWord struct {
	State   ConsentState `json:"state"`
	Purpose Purpose      `json:"purpose"` // default marketing
	// Time is when the person said so: the later word counts, in whatever order words are recorded.
	Time time.Time `json:"time"`
	How  string    `json:"how"`
	// Text is what was agreed to, or the words of the refusal; of a yes it is the proof, and required.
	Text string `json:"text,omitzero"`
}

// ConsentChange is an answer and whose it is: what an import holds.
type ConsentChange struct {
	Tenant string `json:"tenant"`         // "default" when left out
	Phone  string `json:"phone,omitzero"` // E.164 once checked; either this or Email
	Email  string `json:"email,omitzero"` // in lower case once checked
	ConsentWord
}

// Address is the number or the mail address.
func (c *ConsentChange) Address() string { return c.Phone + c.Email }

// ConsentEntry is an answer as it was recorded.
type ConsentEntry struct {
	ConsentWord
	By       string    `json:"by"` // key that recorded it; "local" without keys
	Recorded time.Time `json:"recorded"`
}

// Consent is what is known of one number or mail address of one tenant. It is also the record that
// the installation keeps.
type Consent struct {
	Tenant string `json:"tenant"`
	Phone  string `json:"phone,omitzero"`
	Email  string `json:"email,omitzero"`
	// States is the last word for each category; one that is missing was never spoken of.
	States map[Category]ConsentEntry `json:"states"`
	// Used is when a message was last let out because the person had agreed, within a day.
	Used time.Time `json:"used,omitzero"`
	// Erased is when the address and its history were deleted on demand. What was refused stays, under
	// the hash of the address only.
	Erased  time.Time      `json:"erased,omitzero"`
	History []ConsentEntry `json:"history,omitzero"` // the last changes, by Time
}

// Address is the number or the mail address; "" once it is erased.
func (c *Consent) Address() string { return c.Phone + c.Email }

// Masked is the record as it is shown to who need not know the address.
func (c Consent) Masked() Consent {
	if c.Phone != "" {
		c.Phone = MaskNumber(c.Phone)
	}
	if c.Email != "" {
		c.Email = MaskEmail(c.Email)
	}
	return c
}

// ConsentAddress normalises a number or mail address (what holds an @) as consents know it. The
// error is a [*ValueError] and does not hold the address.
func ConsentAddress(s string) (phone, email string, err error) {
	if strings.Contains(s, "@") {
		email, err = CheckEmail(s)
		// Servers may tell local parts of another case apart; people who refuse do not.
		return "", strings.ToLower(email), err
	}
	phone, err = NormalizePhone(s)
	return phone, "", err
}

const (
	maxConsentText = 1000            // characters
	maxAhead       = 5 * time.Minute // by which the clock that wrote a time may be ahead of ours
)

// firstConsent is older than any consent on record: a time before it is a typing error.
var firstConsent = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Check normalises the change, fills what was left out, and returns what is wrong with it. now is
// when it is recorded.
func (c *ConsentChange) Check(now time.Time) []Problem {
	var ps []Problem
	bad := func(field string, e *ValueError) { ps = append(ps, Problem{"/" + field, e.Keyword, e.Text}) }
	if c.Tenant == "" {
		c.Tenant = DefaultTenant
	}
	switch {
	case c.Phone == "" && c.Email == "":
		bad("phone", wrong("required", "手机号（phone）和邮箱（email）须填一个", "give a phone or an email"))
	case c.Phone != "" && c.Email != "":
		bad("email", wrong("conflict", "手机号和邮箱只能填一个：请分两条登记", "phone or email, not both: record them one by one"))
	case c.Phone != "":
		if n, e := normalizePhone(c.Phone); e != nil {
			bad("phone", e)
		} else {
			c.Phone = n
		}
	default:
		if m, e := checkEmail(c.Email); e != nil {
			bad("email", e)
		} else {
			c.Email = strings.ToLower(m)
		}
	}
	if c.Purpose == "" {
		c.Purpose = Purpose(Marketing)
	}
	if !slices.Contains(Purposes, c.Purpose) {
		bad("purpose", notOneOf(Purposes))
	}
	if c.How == "" {
		c.How = ByAPI
	}
	if !slices.Contains(ConsentWays, c.How) {
		bad("how", notOneOf(ConsentWays))
	}
	c.Text = strings.TrimSpace(c.Text)
	if n := utf8.RuneCountInString(c.Text); n > maxConsentText {
		bad("text", tooLong(maxConsentText, n))
	}
	switch c.State {
	case OptedOut:
		if c.Time.IsZero() {
			c.Time = now
		}
	case OptedIn:
		// Without its time an old list, imported again, would undo every refusal since.
		if c.Time.IsZero() {
			bad("time", wrong("required", "同意须写明时间（time）", "an opt-in needs its time"))
		}
		if c.Text == "" {
			bad("text", wrong("required", "同意须写明内容（text）：对方同意的条款，或出处", "an opt-in needs its text: what the person agreed to, or where it is kept"))
		}
	default:
		bad("state", notOneOf([]ConsentState{OptedIn, OptedOut}))
	}
	switch {
	case c.Time.IsZero():
	case c.Time.Before(firstConsent):
		bad("time", wrong("range", "时间过早，早于 2000 年", "the time is before the year 2000"))
	case c.Time.After(now.Add(maxAhead)):
		bad("time", wrong("range", "时间在将来", "the time is in the future"))
	}
	c.Time = c.Time.UTC().Truncate(time.Second)
	return ps
}

// DecodeConsent reads one change as JSON. Check comes after it. The error is an [*Invalid] and repeats no value.
func DecodeConsent(b []byte) (*ConsentChange, error) {
	if p := syntaxProblem(b); p != nil {
		return nil, &Invalid{[]Problem{*p}}
	}
	c := new(ConsentChange)
	err := json.Unmarshal(b, c, strict)
	if err == nil {
		return c, nil
	}
	p := undecodable(err)
	if errors.Is(err, json.ErrUnknownName) {
		e := unknown("/", jsontext.Pointer(p.Pointer).LastToken(), consentColumns)
		p.Keyword, p.Text = e.Keyword, e.Text
	} else if p.Pointer == "/time" {
		p.Keyword, p.Text = timeForm.Keyword, timeForm.Text
	}
	return nil, &Invalid{tidy([]Problem{p})}
}
