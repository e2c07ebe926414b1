package channels

import (
	"context"
	"net/http"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Receipts is the section receipts of a channel that is a [Reporter]: who may report to
// POST /v1/receipts/<channel>/<token> what became of messages.
type Receipts struct {
	// TokenFile or TokenEnv holds the secret end of the address, one a line, two while rotating; each has 24 to
	// 128 letters, digits, - and _.
	TokenFile string   `yaml:"token_file,omitempty"`
	TokenEnv  string   `yaml:"token_env,omitempty"`
	Networks  []string `yaml:"networks,omitempty"` // where reports may come from; default all
	// Poll: no report can reach us, so the third party is only asked.
	Poll bool `yaml:"poll,omitempty"`
}

// On says whether what becomes of messages is to be found out at all.
func (r Receipts) On() bool { return r.Pushed() || r.Poll }

// Pushed says whether reports may come over HTTP.
func (r Receipts) Pushed() bool { return r.TokenFile != "" || r.TokenEnv != "" }

// Check refuses settings that contradict one another; asks says whether the channel is a [Reconciler].
// The error is a [*schemas.Invalid].
func (r Receipts) Check(asks bool) error {
	switch {
	case r.Poll && !asks:
		return BadSetting("receipts/poll", "这种通道无法查询结果，只能接收回执", "this kind cannot be asked; it can only be told")
	case r.Poll && r.Pushed():
		return BadSetting("receipts/poll", "poll 用于收不到推送的情形；填写令牌后，缺失的回执本来就会查询，请去掉 poll",
			"poll is for where no push can arrive; with a token, missing receipts are asked about anyway: leave poll out")
	case len(r.Networks) > 0 && !r.Pushed():
		return BadSetting("receipts/token_file", "填写 networks 时须同时提供 token_file 或 token_env", "networks needs token_file or token_env")
	}
	return nil
}

// Reporter is a channel whose third party reports by HTTP push what became of messages.
type Reporter interface {
	// Reports reads one push. body is the whole request's body, already bounded; r is there for its headers and
	// query. reports may be empty (a check of the address by the third party). answer is what the third party
	// wants to hear once all reports are stored. An error means that the body is none of its pushes: it is
	// refused with answer.Status, or 400 where that is 0.
	Reports(r *http.Request, body []byte) (reports []Report, answer ReportAnswer, err error)
}

// Collector is a channel that fetches the reports about its messages itself.
type Collector interface {
	// Collect fetches until ctx ends, and hands them to store. What store has taken must not be fetched again;
	// what it has not (an error) must.
	Collect(ctx context.Context, store func(context.Context, []Report) error)
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
