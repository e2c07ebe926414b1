package channels

import (
	"net/http"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Reporter is a channel whose third party reports by HTTP push what became of messages.
type Reporter interface {
	// Reports reads one push. body is the whole request's body, already bounded; r is there for its headers and
	// query. reports may be empty (a check of the address by the third party). answer is what the third party
	// wants to hear once all reports are stored. An error means that the body is none of its pushes: it is
	// refused with answer.Status, or 400 where that is 0.
	Reports(r *http.Request, body []byte) (reports []Report, answer ReportAnswer, err error)
}

// Report is one receipt of a third party, or one reply of a person.
type Report struct {
	// DeliveryID is the delivery's id, as it was passed on with the message (OutId, Message-ID); "" when the
	// third party does not name it.
	DeliveryID string
	MessageID  string // the third party's own id of the message (BizId), as in [Receipt.ID]; may be empty
	Phone      string // E.164; may be empty
	// State is Delivered or Undelivered; "" for what changes no state: a reply, or a note such as "delayed".
	State   schemas.State
	Failure *Failure  // why, when Undelivered, or of a note
	At      time.Time // when it happened, by the third party's clock; zero when not told
	Reply   string    // what a person wrote back; "" for a receipt
	ReplyTo string    // the extension number or the signature that was replied to
}

// ReportAnswer is what a third party is answered.
type ReportAnswer struct {
	Status      int // 0 is 200
	ContentType string
	Body        []byte
}
