package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// ErrConflict means that the subject's last message is not the expected one: somebody else wrote.
var ErrConflict = errors.New("somebody else wrote first")

// ErrFull means that the stream is at its limit; the producer is to come back later.
var ErrFull = errors.New("the stream is full")

// publishTimeout bounds one try. Short on purpose: a publish without an answer is a worker that
// can be killed in doubt, and every publish here may be repeated.
const publishTimeout = 500 * time.Millisecond

// tokenHeader tells our own write, whose answer was lost, from somebody else's.
const tokenHeader = "Yz-Token"

// Codes of JetStream API errors that nats.go does not name.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
	codeStoreFailed               = 10077
	codeDuplicateInProcess        = 10158
)

func apiCode(err error) (jetstream.ErrorCode, string) {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.ErrorCode, e.Description
	}
	return 0, ""
}

// Publish stores a message and repeats until it is stored or ctx ends. With a message id (m's
// Nats-Msg-Id) a repetition stores nothing twice within the duplicate window.
func (b *Broker) Publish(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		try, cancel := context.WithTimeout(ctx, publishTimeout)
		ack, err := b.JS.PublishMsg(try, m, jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack, nil
		}
		if code, text := apiCode(err); code == codeStoreFailed && strings.Contains(text, "maximum") {
			return nil, fmt.Errorf("%w: %s", ErrFull, text)
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubject) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("publish to %s: %w", m.Subject, errors.Join(err, ctx.Err()))
		case <-time.After(wait):
		}
	}
}

// Put stores a message if the last sequence on its subject is still expected (0: none yet) and
// returns the new sequence; ErrConflict when it is not. Safe to repeat: a write of our own whose
// answer was lost is recognised.
func (b *Broker) Put(ctx context.Context, stream string, m *nats.Msg, expected uint64) (uint64, error) {
	token := nuid.Next()
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(tokenHeader, token)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		try, cancel := context.WithTimeout(ctx, publishTimeout)
		ack, err := b.JS.PublishMsg(try, m, jetstream.WithExpectLastSequencePerSubject(expected), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		switch code, _ := apiCode(err); code {
		case codeWrongLastSequence, codeWrongLastSequenceConstant:
			last, rerr := b.Last(ctx, stream, m.Subject)
			if rerr == nil && last != nil && last.Header.Get(tokenHeader) == token {
				return last.Sequence, nil
			}
			if rerr == nil && (last == nil && expected == 0 || last != nil && last.Sequence == expected) {
				break // another write to the subject was in process and did not stand: try again
			}
			if rerr == nil || code == codeWrongLastSequence {
				return 0, ErrConflict
			}
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("write to %s: %w", m.Subject, errors.Join(err, ctx.Err()))
		case <-time.After(wait):
		}
	}
}

// Last returns the last message on a subject, nil when there is none.
func (b *Broker) Last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	m, err := b.streams[stream].GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}

// Schedule stores a message that the server publishes to target at the given instant, also when we
// are not there any more. A newer schedule on the same subject replaces the older one.
func (b *Broker) Schedule(ctx context.Context, subject string, at time.Time, target string, m *nats.Msg) error {
	m.Subject = subject
	// nats.go's WithScheduleAt rounds to seconds and fires up to 0.96 s early; the header keeps nanoseconds.
	m.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", target)
	_, err := b.Publish(ctx, m)
	return err
}
