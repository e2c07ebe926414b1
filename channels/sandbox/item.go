package sandbox

import "time"

// Item is one message that a stand-in took, as the inbox shows it.
type Item struct {
	Time     time.Time
	Kind     string // email, sms, webhook
	To       string
	From     string
	Subject  string
	Text     string
	HTML     string
	ID       string // the third party's or the message's own id: Message-ID, BizId, webhook-id
	Delivery string // our delivery id, "" when the message bears none
	// Raw is the message as it came, cut off after 256 KiB: an inbox is no archive.
	Raw     string
	Headers map[string]string // decoded; of a repeated one the first
	// Files are the attachments and inline images of a mail.
	Files []File
	// Number is the item's own in the inbox, from 1; the inbox gives it.
	Number uint64
}

// File is an attachment as it came.
type File struct {
	Name   string
	Type   string // media type
	CID    string // of an inline image
	SHA256 string // of Data, in hex
	Data   []byte
}

// Sink takes the accepted messages. It is called by many goroutines at once and must not block.
type Sink func(Item)

// maxRaw bounds Item.Raw.
const maxRaw = 256 << 10

func clip(s string) string { return s[:min(len(s), maxRaw)] }
