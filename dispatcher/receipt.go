package dispatcher

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	// receiptSlots is how many reports a process settles at once, and storeSlots how many of one push it stores at
	// once: the third party waits for the answer, Aliyun no longer than 700 ms.
	receiptSlots = 16
	storeSlots   = 64
	// early is how often a report is looked at again whose delivery has not got so far yet.
	early = 20
	// earlyID is the same for a report that names only the third party's id, which nobody can tell from that of a message
	// that is not ours: 10 s in all.
	earlyID = 5
)

// report is a channels.Report as it waits in RECEIPTS.
type report struct {
	Channel   string         `json:"channel"`
	Delivery  string         `json:"delivery,omitzero"`
	MessageID string         `json:"message_id,omitzero"`
	Phone     string         `json:"phone,omitzero"`
	State     schemas.State  `json:"state,omitzero"`
	Cause     *schemas.Cause `json:"cause,omitzero"`
	At        time.Time      `json:"at,omitzero"`
	Reply     string         `json:"reply,omitzero"`
	ReplyTo   string         `json:"reply_to,omitzero"`
}

// TakeReports stores what a channel's third party reported: once it returns nil, nothing is lost and the third
// party can be answered. The same report again, now or later, is settled once.
func (d *Dispatcher) TakeReports(ctx context.Context, channel string, reports []channels.Report) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(storeSlots)
	for _, r := range reports {
		g.Go(func() error {
			m := nats.NewMsg(broker.ReceiptSubject(channel))
			var err error
			if m.Data, err = json.Marshal(d.toStore(channel, r)); err != nil {
				return err
			}
			sum := sha256.Sum256(m.Data)
			m.Header.Set(nats.MsgIdHdr, hex.EncodeToString(sum[:16]))
			_, err = d.Broker.Publish(ctx, m)
			return err
		})
	}
	return g.Wait()
}

func (d *Dispatcher) toStore(channel string, r channels.Report) report {
	out := report{
		Channel: channel, Delivery: r.DeliveryID, MessageID: channels.Line(r.MessageID), Phone: r.Phone, State: r.State, At: r.At,
		Reply: clip(r.Reply, maxReply), ReplyTo: channels.Line(r.ReplyTo),
	}
	if r.Failure != nil {
		out.Cause = d.causeOfFailure(r.Failure)
		out.Cause.Line = channels.Line(out.Cause.Line)
	}
	return out
}

// maxReply bounds what is kept of a reply, in characters.
const maxReply = 1000

func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// What becomes of a report whose result is not the state that it brings.
const (
	resultNote       = "note"       // changes no state, but the trace shows it
	resultDuplicate  = "duplicate"  // known already
	resultLate       = "late"       // something later or surer is known
	resultUnknown    = "unknown"    // of a message that is not ours, or that the ledger has forgotten
	resultUnexpected = "unexpected" // of a delivery that was never sent
	resultUnreadable = "unreadable"
	resultOptOut     = "opt-out"
	resultReply      = "reply" // a reply that is no refusal
)

// reportable are the states that a report may bring; "" brings none.
var reportable = []schemas.State{"", schemas.Accepted, schemas.Delivered, schemas.Undelivered}

// errEarly means that the delivery has not got as far as the report about it: its call is still under way.
var errEarly = errors.New("the delivery has not got so far yet")

// receive settles one report.
func (d *Dispatcher) receive(ctx context.Context, msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	channel, result, err := token(msg.Subject(), 2), resultUnreadable, error(nil)
	var r report
	times := uint64(1)
	if meta, merr := msg.Metadata(); merr == nil {
		times = meta.NumDelivered
	}
	if uerr := json.Unmarshal(msg.Data(), &r, json.RejectUnknownMembers(true)); uerr != nil || r.Channel != channel || !slices.Contains(reportable, r.State) {
		d.Log.Warn("a message in RECEIPTS that is no report", zap.String("channel", channel))
	} else if r.Reply != "" {
		result, err = d.replied(ctx, &r)
	} else {
		result, err = d.reported(ctx, &r, times)
	}
	if err == nil {
		reportsTotal.WithLabelValues(channel, result).Inc()
		err = msg.Ack()
	}
	if err != nil {
		if !errors.Is(err, errEarly) {
			d.Log.Warn("receipt", zap.String("channel", channel), zap.String("delivery", r.Delivery), zap.Error(err))
		}
		_ = msg.NakWithDelay(time.Duration(min(times, 30)) * time.Second)
	}
}

// found is a delivery that a report is about.
type found struct {
	ledger.Place
	// delivery and body are there while something waits for the report; later is where, a schedule's sequence.
	delivery *schemas.Delivery
	body     []byte
	later    uint64
}

// find looks for the delivery; nil when it is none of this channel's.
func (d *Dispatcher) find(ctx context.Context, r *report) (*found, error) {
	id := r.Delivery
	if id == "" && r.MessageID != "" && r.Phone != "" {
		p, err := d.Ledger.PlaceOf(ctx, d.Ledger.Recipient(schemas.Recipient{Phone: r.Phone}, r.Channel, string(channels.Phone)), r.MessageID)
		if p == nil || err != nil {
			return nil, err
		}
		id = p.ID
	}
	if schemas.IDToken(id) == "" {
		return nil, nil
	}
	// What waits for a receipt, a query or a retry lies here whole; the ledger has to be searched only for what is over.
	f := new(found)
	m, err := d.Broker.Last(ctx, broker.Deliveries, broker.LaterSubject(id))
	switch {
	case err != nil:
		return nil, err
	case m != nil:
		dl, err := schemas.DecodeDelivery(m.Data)
		if err != nil {
			return nil, err
		}
		f.delivery, f.body, f.later = dl, m.Data, m.Sequence
		f.Place = ledger.Place{Subject: d.ledgerSubject(dl), Tenant: dl.Tenant, Channel: dl.Channel, ID: dl.ID}
	default:
		p, err := d.Ledger.Place(ctx, id)
		if p == nil || err != nil {
			return nil, err
		}
		f.Place = *p
	}
	if f.Channel != r.Channel { // one third party says nothing about another's messages
		return nil, nil
	}
	return f, nil
}

// reported settles a receipt: the record on top of the last by compare-and-set, then what it calls for.
// times is how often this report was handed out.
func (d *Dispatcher) reported(ctx context.Context, r *report, times uint64) (result string, err error) {
	f, err := d.find(ctx, r)
	switch {
	case err != nil:
		return "", err
	case f == nil && r.Delivery == "" && r.MessageID != "" && times < earlyID:
		return "", errEarly // the record with this id may be on its way
	case f == nil:
		return resultUnknown, nil
	}
	for range 5 { // a record between the reading and the writing: look again
		last, seq, err := d.Ledger.Last(ctx, f.Subject)
		if last == nil || err != nil {
			return resultUnknown, err
		}
		now := time.Now()
		state, result := judged(last, r, now)
		switch {
		case result == resultEarly && times > early:
			return resultUnexpected, nil
		case result == resultEarly:
			return "", errEarly
		case result == resultDuplicate && times > 1: // perhaps settled by us, and interrupted before all was done
			return result, d.concluded(ctx, f, last, seq, last)
		case state == "":
			return result, nil
		case f.delivery == nil && state != schemas.Delivered && last.Open() && now.Sub(last.Time) < settleTimeout && times < early:
			// Its schedule is just being stored, and would outlive the report: what the report calls for, alternatives or
			// another wait, would come only when it fires.
			return "", errEarly
		}
		next := &ledger.Record{
			Time: now, State: state, Step: ledger.StepReport, Attempt: last.Attempt, Replay: last.Replay, Since: last.Since, Doubts: last.Doubts,
			Worker: d.Worker, Receipt: cmp.Or(r.MessageID, last.Receipt), Reported: r.At, Cause: r.Cause,
		}
		switch {
		case result == resultNote:
			next.Step, next.Due, next.Lookup = ledger.StepDelayed, last.Due, last.Lookup
		case state == schemas.Accepted && f.delivery != nil && d.Channels[f.Channel] != nil:
			d.waits(d.Channels[f.Channel], f.delivery, next, now)
		}
		at, err := d.Ledger.Put(ctx, f.Subject, next, seq)
		if errors.Is(err, broker.ErrConflict) {
			continue
		}
		if err != nil {
			return "", err
		}
		if next.State != last.State { // a note is no change
			countState(f.Channel, next)
		}
		d.logReport(f, next, last)
		return result, d.concluded(ctx, f, next, at, last)
	}
	return "", errEarly
}

// resultEarly: look again in a while.
const resultEarly = "early"

// judged is what a report makes of a delivery whose last record is last: the state that follows, and the word
// for it in metrics; "" when the report changes nothing. Pure.
//
//   - Delivered wins over everything: one message that arrived is the truth, whatever else was said of it.
//   - Undelivered ends what was accepted or in doubt, also as a dead letter. It changes nothing of what goes on by
//     itself, nor of what a person or a rule has ended.
//   - Accepted only ends a doubt.
func judged(last *ledger.Record, r *report, now time.Time) (state schemas.State, result string) {
	begun := last.Attempt > 0 || last.Replay > 0 || last.Doubts > 0
	doubt := last.State == schemas.Uncertain || last.State == schemas.Sending || doubtful(last)
	waits := last.State == schemas.Planned || last.State == schemas.Held
	// The same delivery was submitted more than once, and the report is of another submission than the last.
	other := r.MessageID != "" && last.Receipt != "" && r.MessageID != last.Receipt
	switch {
	case last.State == schemas.Sending && now.Before(last.Due):
		return "", resultEarly
	case r.State == "" && last.State == schemas.Accepted && last.Step != ledger.StepDelayed:
		return schemas.Accepted, resultNote
	case r.State == "":
		return "", resultDuplicate
	case r.State == last.State, r.State == schemas.Accepted && (last.State == schemas.Delivered || last.State == schemas.Undelivered):
		return "", resultDuplicate
	case waits && !begun: // a call without a claim, whose record comes in a moment
		return "", resultEarly
	case !begun && !doubt && last.State != schemas.Cancelled:
		return "", resultUnexpected
	case r.State == schemas.Delivered, doubt, r.State == schemas.Undelivered && last.State == schemas.Accepted && !other:
		return r.State, string(r.State)
	}
	return "", resultLate
}

// concluded does what a settled report calls for: alternatives, the new fence of what still waits, and an end of
// what waited for it. before is the record that it went on top of. Doing it twice is as good as once.
func (d *Dispatcher) concluded(ctx context.Context, f *found, r *ledger.Record, seq uint64, before *ledger.Record) error {
	var letter deadletter.Item
	if before.State == schemas.Dead || r == before {
		var err error
		if letter, err = d.Dead.Get(ctx, f.ID); err != nil && !errors.Is(err, deadletter.ErrNotFound) {
			return err
		}
		if letter.DeadLetter != nil && f.delivery == nil && letter.Delivery != nil {
			f.delivery = letter.Delivery
			if f.body, err = schemas.Encode(f.delivery); err != nil {
				return err
			}
		}
	}
	if f.delivery != nil {
		if err := d.carry(ctx, f.delivery, f.body, r, seq); err != nil {
			return err
		}
	}
	// Without the delivery: what is open has a copy under way, which meets the record and carries it. What was
	// closed before has none left, and no alternative comes any more.
	if r.Open() {
		return nil
	}
	if letter.DeadLetter != nil && r.State != schemas.Dead {
		if err := d.Dead.Delete(ctx, letter); err != nil {
			return err
		}
	}
	if f.later > 0 {
		err := d.Broker.Stream(broker.Deliveries).DeleteMsg(ctx, f.later)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return err
		}
	}
	return nil
}

func (d *Dispatcher) logReport(f *found, r, before *ledger.Record) {
	fields := []zap.Field{
		zap.String("delivery", f.ID), zap.String("tenant", f.Tenant), zap.String("channel", f.Channel), zap.String("state", string(r.State)),
		zap.String("was", string(before.State)), zap.String("receipt", r.Receipt),
	}
	if r.Cause != nil {
		fields = append(fields, zap.String("class", r.Cause.Class), zap.String("code", r.Cause.Code), zap.String("line", r.Cause.Line))
	}
	d.Log.Info("receipt", fields...)
}

// replied records a reply that is a refusal, as POST /v1/consents/replies does, for every tenant that has sent
// something to the number; when nobody knows who did, for all.
func (d *Dispatcher) replied(ctx context.Context, r *report) (result string, err error) {
	k := d.Book().Consents()
	if k == nil || !k.OptsOut(r.Reply) {
		d.Log.Info("reply", zap.String("channel", r.Channel), zap.String("from", schemas.MaskNumber(r.Phone)), zap.String("to", r.ReplyTo),
			zap.String("text", channels.Line(r.Reply)))
		return resultReply, nil
	}
	now := time.Now()
	at := r.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	tenants, err := d.Ledger.TenantsOf(ctx, d.Ledger.Recipient(schemas.Recipient{Phone: r.Phone}, r.Channel, string(channels.Phone)))
	if err != nil {
		return "", err
	}
	if len(tenants) == 0 {
		tenants = slices.Clone(d.Tenants)
	}
	for _, tenant := range tenants {
		c := &schemas.ConsentChange{Tenant: tenant, Phone: r.Phone, ConsentWord: schemas.ConsentWord{
			State: schemas.OptedOut, Purpose: schemas.Purpose(schemas.Marketing), Time: at, How: schemas.ByReply, Text: r.Reply,
		}}
		if ps := c.Check(now); len(ps) > 0 {
			d.Log.Warn("a refusal that cannot be recorded", zap.String("channel", r.Channel), zap.String("problem", ps[0].Pointer+" "+ps[0].En))
			return resultUnreadable, nil
		}
		if _, err := k.Record(ctx, c, "receipts:"+r.Channel, now); err != nil {
			return "", fmt.Errorf("opt-out: %w", err)
		}
	}
	d.Log.Info("opt-out", zap.String("channel", r.Channel), zap.String("from", schemas.MaskNumber(r.Phone)), zap.Strings("tenants", tenants))
	return resultOptOut, nil
}
