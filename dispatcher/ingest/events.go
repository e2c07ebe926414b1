package ingest

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	// maxEvent bounds one event. Attachments are references, so a larger one is a mistake.
	maxEvent = 256 << 10
	// acceptTimeout outlasts a leader election of the broker (4.7 to 10 s measured).
	acceptTimeout = 12 * time.Second
	// publishers is how many events of one request are on their way to the broker at once.
	publishers = 64
	// freshFor is how young an event's time must be for the stream's duplicate window (2 minutes) to
	// know all its copies; of an older one the ledger is asked.
	freshFor = time.Minute
)

// Accepted is one event that JetStream has stored.
type Accepted struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	// Duplicate: it was stored before, and is not stored again.
	Duplicate bool `json:"duplicate"`
	// Recalled: it was taken back before it came and will not be sent. Told with Duplicate only, of
	// events older than a minute: of the others the planner finds the recall.
	Recalled bool `json:"recalled,omitzero"`
}

type acceptedBody struct {
	Accepted []Accepted `json:"accepted"`
}

// mode is how a request holds events (CloudEvents HTTP binding §3).
type mode int

const (
	structured mode = iota
	batch
	either // application/json: an object or an array
	binary
)

const (
	mediaEvent = "application/cloudevents+json"
	mediaBatch = "application/cloudevents-batch+json"
	mediaJSON  = "application/json"
)

// modeOf reads the mode from the headers.
func modeOf(h http.Header) (mode, error) {
	if c := h.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return 0, wrongMedia(text("不支持压缩的请求体，请去掉 Content-Encoding", "compressed bodies are not taken; leave Content-Encoding out"))
	}
	refused := wrongMedia(text("Content-Type 应为 %s、%s 或 %s（UTF-8）", "Content-Type must be %s, %s or %s, in UTF-8", mediaEvent, mediaBatch, mediaJSON))
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return 0, refused
	}
	switch {
	case media == mediaEvent:
		return structured, nil
	case media == mediaBatch:
		return batch, nil
	case media != mediaJSON && (!strings.HasSuffix(media, "+json") || strings.HasPrefix(media, "application/cloudevents")):
		return 0, refused
	}
	for name := range h {
		if strings.HasPrefix(name, "Ce-") {
			return binary, nil
		}
	}
	if media != mediaJSON {
		return 0, refused
	}
	return either, nil
}

// onlyJSON refuses a body that is not application/json, and one that is compressed.
func onlyJSON(h http.Header) error {
	if m, err := modeOf(h); err != nil || m != either {
		return wrongMedia(text("Content-Type 应为 application/json", "Content-Type must be application/json"))
	}
	return nil
}

// postEvents stores all events of a request, or none.
func (s *server) postEvents(w *answer, r *http.Request) error {
	m, err := modeOf(r.Header)
	if err != nil {
		return err
	}
	who, body, done, err := s.enter(w, r, want{role: RolePublish, body: s.cfg.HTTP.MaxBody, bare: m != binary})
	if err != nil {
		return err
	}
	defer done()
	if m == either {
		m = structured
		if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
			m = batch
		}
	}
	events, err := s.decode(m, r.Header, body)
	if err != nil {
		return nothingStored(err)
	}
	at := func(i int) string {
		if m == batch {
			return "/" + strconv.Itoa(i)
		}
		return ""
	}
	if err := s.judge(r.Context(), who, events, at); err != nil {
		return nothingStored(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), acceptTimeout)
	defer cancel()
	accepted, err := s.accept(ctx, events)
	if err != nil {
		return refusedByBroker(err)
	}
	writeJSON(w, http.StatusAccepted, mediaJSON, acceptedBody{accepted})
	return nil
}

func (s *server) decode(m mode, h http.Header, body []byte) ([]*schemas.Event, error) {
	if m == batch {
		return schemas.DecodeBatch(body, s.cfg.HTTP.MaxBatch)
	}
	if len(body) > maxEvent {
		return nil, eventTooLarge("")
	}
	var (
		e   *schemas.Event
		err error
	)
	if m == binary {
		var names []string
		for name, values := range h {
			for range values { // a header that occurs twice is a mistake that DecodeBinary reports
				names = append(names, name)
			}
		}
		e, err = schemas.DecodeBinary(h.Get, names, body)
	} else {
		e, err = schemas.DecodeEvent(body)
	}
	return []*schemas.Event{e}, err
}

func eventTooLarge(pointer string) *problem {
	p := tooLarge("单个事件最多 %d 字节；附件请以引用方式提供", "an event has at most %d bytes; give attachments as references", maxEvent)
	if pointer != "" {
		p.problems = []schemas.Problem{{Pointer: pointer, Keyword: "maxBytes", Text: p.detail}}
	}
	return p
}

// judge holds decoded events against the caller's key, the tenants and the rules.
func (s *server) judge(ctx context.Context, who caller, events []*schemas.Event, at func(int) string) error {
	var denied, bad []schemas.Problem
	book := s.book()
	for i, e := range events {
		switch {
		case !who.allowsTenant(e.Tenant):
			denied = append(denied, schemas.Problem{Pointer: at(i) + "/tenant", Keyword: "tenant", Text: notYours(who, e.Tenant).detail})
		case !who.allowsType(e.Type):
			denied = append(denied, schemas.Problem{
				Pointer: at(i) + "/type", Keyword: "type-not-allowed",
				Text: text("密钥 %s 不能发布类型 %s", "key %s may not publish type %s", who.name(), e.Type),
			})
		case !slices.Contains(s.cfg.Tenants, e.Tenant):
			bad = append(bad, unknownTenant(at(i)+"/tenant"))
		case book != nil:
			wrong := book.CheckEvent(e)
			if len(wrong) == 0 {
				wrong = s.d.Refusals(e, time.Now())
				if len(wrong) > 0 { // one that was taken in before the rules changed is a duplicate all the same
					before, _, err := s.d.Ledger.Event(ctx, e.Tenant, e.Source, e.ID)
					if err != nil {
						return err
					}
					if before != nil {
						wrong = nil
					}
				}
			}
			for _, p := range wrong {
				p.Pointer = at(i) + p.Pointer
				bad = append(bad, p)
			}
		}
		if len(denied)+len(bad) >= maxProblems {
			break
		}
	}
	if denied != nil {
		p := forbidden("event", denied[0].Text)
		p.problems = denied
		return p
	}
	if bad != nil {
		return invalid(bad[:min(len(bad), maxProblems)])
	}
	return nil
}

// maxProblems bounds the answer to a hopeless batch.
const maxProblems = 100

// refusedByBroker words why events were not stored; some of a batch may be, and sent again they are duplicates.
func refusedByBroker(err error) error {
	switch {
	case errors.Is(err, broker.ErrFull):
		return &problem{
			status: http.StatusTooManyRequests, name: "full", title: text("积压已满", "The backlog is full"), retry: 5,
			detail: text("待处理的事件已达上限，请稍后重试；重复提交同一事件是安全的", "too many events are waiting; come back later: the same event again does no harm"),
		}
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge("事件超过消息存储允许的大小", "an event is larger than the message store takes")
	}
	return err
}

// store publishes events to JetStream and returns after the last acknowledgement. Nothing is
// published before all can be encoded.
func (s *server) store(ctx context.Context, events []*schemas.Event) ([]Accepted, error) {
	out, bodies := make([]Accepted, len(events)), make([][]byte, len(events))
	for i, e := range events {
		b, err := schemas.Encode(e)
		if err != nil {
			return nil, err
		}
		if len(b) > maxEvent {
			return nil, eventTooLarge("/" + strconv.Itoa(i))
		}
		out[i], bodies[i] = Accepted{ID: e.ID, Source: e.Source}, b
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for i, e := range events {
		g.Go(func() (err error) {
			out[i].Duplicate, out[i].Recalled, err = s.storeOne(ctx, e, bodies[i])
			return err
		})
	}
	return out, g.Wait()
}

func (s *server) storeOne(ctx context.Context, e *schemas.Event, body []byte) (duplicate, recalled bool, err error) {
	if time.Since(e.Time) > freshFor { // also an event without a time
		before, _, err := s.d.Ledger.Event(ctx, e.Tenant, e.Source, e.ID)
		if err != nil {
			return false, false, err
		}
		if before != nil {
			return true, before.State == schemas.Cancelled, nil
		}
	}
	ack, err := s.d.Broker.Publish(ctx, dispatcher.EventMessage(e, body))
	if err != nil {
		return false, false, err
	}
	return ack.Duplicate, false, nil
}
