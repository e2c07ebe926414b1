package schemas

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Event is what an ERP module publishes: a CloudEvents 1.0 event whose data says who is to be
// told what. Source and ID together are the idempotency key: the same pair is accepted once.
type Event struct {
	SpecVersion     string    `json:"specversion"` // always "1.0"
	ID              string    `json:"id"`
	Source          string    `json:"source"` // URI-reference
	Type            string    `json:"type"`   // dotted: "erp.invoice.due"; tokens of A-Z a-z 0-9 _ -
	Subject         string    `json:"subject,omitzero"`
	Time            time.Time `json:"time,omitzero"` // RFC 3339; when it happened at the producer
	DataContentType string    `json:"datacontenttype,omitzero"`
	DataSchema      string    `json:"dataschema,omitzero"`
	Tenant          string    `json:"tenant,omitzero"` // extension attribute; "default" when absent
	TraceParent     string    `json:"traceparent,omitzero"`
	TraceState      string    `json:"tracestate,omitzero"`
	Data            Data      `json:"data"`
}

// DefaultTenant is the tenant of an event that names none.
const DefaultTenant = "default"

// Data is the event's payload.
type Data struct {
	Category   Category       `json:"category"`
	To         []Recipient    `json:"to"`
	Template   string         `json:"template,omitzero"` // a name in rules.yaml; or Content instead
	Params     map[string]any `json:"params,omitzero"`   // values for the template
	Content    *Content       `json:"content,omitzero"`  // ready text, in place of a template
	Channels   []string       `json:"channels,omitzero"` // names of channels; otherwise the routes decide
	Priority   Priority       `json:"priority,omitzero"` // default from the category
	NotBefore  time.Time      `json:"not_before,omitzero"`
	Expires    time.Time      `json:"expires,omitzero"` // after this instant the message is noise
	Attachment []Attachment   `json:"attachments,omitzero"`
}

// Category says what kind of message it is; carriers treat the kinds differently.
type Category string

// The categories.
const (
	Verification Category = "verification"
	Notification Category = "notification"
	Marketing    Category = "marketing"
	Alert        Category = "alert"
)

// Categories lists every category.
var Categories = []Category{Verification, Notification, Marketing, Alert}

// Priority decides which consumer, and so which slots, a delivery waits for.
type Priority string

// The priorities.
const (
	High   Priority = "high"
	Normal Priority = "normal"
	Bulk   Priority = "bulk"
)

// Priorities lists every priority, most urgent first.
var Priorities = []Priority{High, Normal, Bulk}

// DefaultPriority is the priority of a category whose event names none.
func (c Category) DefaultPriority() Priority {
	switch c {
	case Verification, Alert:
		return High
	case Marketing:
		return Bulk
	default:
		return Normal
	}
}

// Recipient is one person, or one configured webhook channel by name.
type Recipient struct {
	Name    string `json:"name,omitzero"`
	Phone   string `json:"phone,omitzero"` // any common form on the wire; E.164 ("+8613800138000") once decoded
	Email   string `json:"email,omitzero"`
	Webhook string `json:"webhook,omitzero"` // name of a webhook channel in yizhan.yaml
	// URL is where that channel is to send, https, among the hosts that it allows (destinations); "" is the channel's own address.
	URL    string   `json:"url,omitzero"`
	Locale string   `json:"locale,omitzero"` // BCP 47: "zh-CN"
	Tags   []string `json:"tags,omitzero"`
}

// WebhookAddress is what tells one webhook recipient from another: the channel, and the address that the event gave.
func (r Recipient) WebhookAddress() string {
	if r.URL == "" {
		return "channel:" + r.Webhook
	}
	return "channel:" + r.Webhook + " " + r.URL
}

// Content is ready text; the template is the better choice, since a template is judged once.
type Content struct {
	Subject string `json:"subject,omitzero"`
	Text    string `json:"text,omitzero"`
	HTML    string `json:"html,omitzero"`
}

// Attachment is a reference to a stored file (claim check), never the bytes.
type Attachment struct {
	Name string `json:"name"` // file name without folders, as the recipient sees it
	// URL is https://…, http://…, file:///path below the configured folder, s3://bucket/key, or
	// object://bucket/name in the broker's object store.
	URL    string `json:"url"`
	SHA256 string `json:"sha256,omitzero"` // of the bytes, in hex; a file with another hash is not sent
	Type   string `json:"type,omitzero"`   // media type; found out from the bytes when absent
	Size   int    `json:"size,omitzero"`   // bytes; a file of another size is not sent
	// CID makes it an image inside the HTML, which shows it with src="cid:…" (RFC 2392).
	CID string `json:"cid,omitzero"`
}

// Scheme is the kind of storage that the attachment's URL names: https, http, file, s3 or object; "" for
// a URL that cannot be read.
func (a *Attachment) Scheme() string {
	scheme, _, _ := strings.Cut(a.URL, ":")
	if scheme = strings.ToLower(scheme); slices.Contains(attachmentSchemes, scheme) {
		return scheme
	}
	return ""
}

// Linkable says whether a recipient outside can open the URL itself.
func (a *Attachment) Linkable() bool { return a.Scheme() == "https" || a.Scheme() == "http" }

var attachmentSchemes = []string{"https", "http", "file", "s3", "object"}

// Raw is JSON kept as it came.
type Raw = jsontext.Value
