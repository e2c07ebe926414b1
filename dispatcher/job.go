package dispatcher

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Headers of a delivery's message: all that changes while its bytes stay the same.
const (
	headerAttempt = "Yz-Attempt" // number of the attempt that this copy is for
	headerReplay  = "Yz-Replay"  // generation: how often a person sent it again
	headerLookup  = "Yz-Lookup"  // n > 0: ask the third party for the n-th time instead of sending
	headerFence   = "Yz-Fence"   // sequence of the ledger record that put this copy here
	headerDoubts  = "Yz-Doubts"  // attempts whose outcome is not known
	headerAwaits  = "Yz-Awaits"  // "1": the third party has taken it, and only its receipt is asked for
	headerWaits   = "Yz-Waits"   // how often in a row it was told to wait instead of being sent
	headerSince   = "Yz-Since"   // Unix milliseconds: when this generation began
)

// job is one copy of a delivery in a worker's hands.
type job struct {
	*schemas.Delivery
	body    []byte
	msg     jetstream.Msg
	subject string // of its ledger records
	attempt int
	replay  int
	lookup  int
	awaits  bool
	doubts  int
	waits   int
	since   time.Time
	// receipt is the third party's id of the accepted message whose receipt is awaited.
	receipt string
	// fence is the ledger record that put this copy here. While it is the last one, the copy is the
	// only one that may go on; every record is written on top of the one before it.
	fence uint64
	// stored is when the broker, by its own clock, put this copy here.
	stored time.Time
	// again: another worker had this copy before.
	again bool
	// old: the ledger may have moved on since this copy was stored, so read it before acting.
	old bool
	// free gives the consumer's slot back while this job is still at work.
	free func()
}

// freshFor is how long after its planning a delivery's first copy needs no look at the ledger: a recall
// waits that long, and repeats within it have the same message id.
const freshFor = 2 * time.Second

var errHeaders = errors.New("delivery without its headers")

// open reads a message of DELIVERIES. An error means bytes that no retry can cure.
func (d *Dispatcher) open(m jetstream.Msg) (*job, error) {
	dl, err := schemas.DecodeDelivery(m.Data())
	if err != nil {
		return nil, err
	}
	j := &job{Delivery: dl, body: m.Data(), msg: m}
	h := m.Headers()
	fence, ferr := strconv.ParseUint(h.Get(headerFence), 10, 64)
	since, serr := strconv.ParseInt(h.Get(headerSince), 10, 64)
	var aerr, rerr, lerr, derr error
	j.attempt, aerr = strconv.Atoi(h.Get(headerAttempt))
	j.replay, rerr = strconv.Atoi(h.Get(headerReplay))
	j.lookup, lerr = strconv.Atoi(h.Get(headerLookup))
	j.doubts, derr = strconv.Atoi(h.Get(headerDoubts))
	var werr error
	if waits := h.Get(headerWaits); waits != "" {
		j.waits, werr = strconv.Atoi(waits)
	}
	if err := errors.Join(ferr, serr, aerr, rerr, lerr, derr, werr); err != nil {
		return nil, fmt.Errorf("%w: %w", errHeaders, err)
	}
	j.fence, j.since, j.awaits = fence, time.UnixMilli(since), h.Get(headerAwaits) != ""
	j.subject = d.ledgerSubject(dl)
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	j.again = meta.NumDelivered > 1
	j.old = meta.NumDelivered > 1 || j.attempt > 1 || j.lookup > 0 || h.Get(headerWaits) != "" || time.Since(j.since) > freshFor
	j.stored = meta.Timestamp
	return j, nil
}

func (d *Dispatcher) ledgerSubject(dl *schemas.Delivery) string {
	return ledger.Subject(dl.Tenant, d.recipient(dl), dl.ID)
}

func (d *Dispatcher) recipient(dl *schemas.Delivery) string {
	return d.Ledger.Recipient(dl.To, dl.Channel, string(d.address(dl.Channel)))
}

// address is what the channel needs of a recipient; a channel that is not configured here needs nothing.
func (d *Dispatcher) address(channel string) channels.Address {
	if ch := d.Channels[channel]; ch != nil {
		return ch.Traits().Address
	}
	return channels.None
}

// message makes the copy that the record r, stored at seq, calls for.
func message(dl *schemas.Delivery, body []byte, r *ledger.Record, seq uint64) *nats.Msg {
	m := nats.NewMsg("")
	m.Data = body
	attempt := r.Attempt
	if r.State != schemas.Uncertain && r.State != schemas.Accepted { // these two ask about the last one
		attempt++
	}
	m.Header.Set(headerAttempt, strconv.Itoa(attempt))
	m.Header.Set(headerReplay, strconv.Itoa(r.Replay))
	m.Header.Set(headerLookup, strconv.Itoa(r.Lookup))
	m.Header.Set(headerDoubts, strconv.Itoa(r.Doubts))
	if r.State == schemas.Accepted {
		m.Header.Set(headerAwaits, "1")
	}
	if r.State == schemas.Held { // also 0: whoever was held is no first copy, and looks at the ledger
		m.Header.Set(headerWaits, strconv.Itoa(r.Waits))
	}
	m.Header.Set(headerFence, strconv.FormatUint(seq, 10))
	m.Header.Set(headerSince, strconv.FormatInt(r.Since.UnixMilli(), 10))
	// The same record makes the same copy: repeated, it is stored once.
	m.Header.Set(nats.MsgIdHdr, dl.ID+"~"+strconv.FormatUint(seq, 10))
	return m
}

// patience grows with every time this copy was handed out: what keeps failing must not spin.
func (j *job) patience() time.Duration {
	meta, err := j.msg.Metadata()
	if err != nil {
		return time.Second
	}
	return time.Duration(min(meta.NumDelivered, 60)) * time.Second
}

// begin is when the delivery could first have gone: its age is counted from there.
func (j *job) begin() time.Time {
	if j.NotBefore.After(j.since) {
		return j.NotBefore
	}
	return j.since
}

// holder names the delivery's place in the daily cap. A person who sends an uncertain message again
// takes a second place: the first may have arrived.
func (j *job) holder() string {
	if j.replay == 0 {
		return j.ID
	}
	return j.ID + "~" + strconv.Itoa(j.replay)
}
