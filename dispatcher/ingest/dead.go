package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/schemas"
)

// DeadItem is a dead letter as lists show it: numbers and addresses masked.
type DeadItem struct {
	ID       string            `json:"id"`
	Time     time.Time         `json:"time"`
	Tenant   string            `json:"tenant"`
	Channel  string            `json:"channel"` // "event": it could not be planned
	To       string            `json:"to"`      // masked; "-" for an event
	Event    *schemas.EventRef `json:"event,omitzero"`
	State    schemas.State     `json:"state"`
	Attempts int               `json:"attempts"`
	Replay   int               `json:"replay"` // how often it had been sent again before it died
	Cause    *ledger.Told      `json:"cause"`
	Message  *DeadMessage      `json:"message,omitzero"` // of a single letter only
}

// DeadMessage is what a dead letter was to say, fit to be shown: numbers and mailboxes masked, and of
// a verification every digit and every value.
type DeadMessage struct {
	Template string            `json:"template,omitzero"`
	Subject  string            `json:"subject,omitzero"`
	Text     string            `json:"text,omitzero"`
	Params   map[string]string `json:"params,omitempty"`
}

type deadBody struct {
	Items []DeadItem `json:"items"`
	Total int        `json:"total"`
	Next  string     `json:"next,omitzero"`
}

const defaultPage = 100

func (s *server) listDead(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	filter, err := deadletter.ParseFilter(q.Get("where"), time.Now())
	if err != nil {
		return err
	}
	if filter.Tenant != "" && !who.allowsTenant(filter.Tenant) {
		return notYours(who, filter.Tenant)
	}
	limit, cursor := defaultPage, uint64(0)
	if v := q.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > deadletter.MaxPage {
			return one("/limit", "range", "limit 应为 1 到 %d 的整数", "limit must be a whole number of 1 to %d", deadletter.MaxPage)
		}
	}
	if v := q.Get("cursor"); v != "" {
		if cursor, err = strconv.ParseUint(v, 10, 64); err != nil {
			return one("/cursor", "cursor", "cursor 应为上一页 next 的值", "cursor must be the next of the page before")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	out := deadBody{Items: []DeadItem{}}
	err = s.d.Dead.Each(ctx, filter, func(i deadletter.Item) bool {
		if !who.allowsTenant(i.Tenant) {
			return true
		}
		out.Total++
		switch {
		case i.Seq < cursor:
		case len(out.Items) < limit:
			out.Items = append(out.Items, s.deadItem(i))
		case out.Next == "":
			out.Next = strconv.FormatUint(i.Seq, 10)
		}
		return true
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

func (s *server) getDead(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	var found *deadletter.Item
	err = s.d.Dead.Each(ctx, deadletter.Filter{ID: r.PathValue("id")}, func(i deadletter.Item) bool {
		if who.allowsTenant(i.Tenant) {
			found = &i
		}
		return found == nil
	})
	if err != nil {
		return err
	}
	if found == nil { // also another tenant's: that it exists is none of the caller's business
		return notFound(text("没有这条死信，可能已经重发", "there is no such dead letter; it may have been sent again"))
	}
	item := s.deadItem(*found)
	item.Message = messageOf(*found)
	writeJSON(w, http.StatusOK, mediaJSON, item)
	return nil
}

func (s *server) deadItem(i deadletter.Item) DeadItem {
	out := DeadItem{
		ID: i.ID, Time: i.Time, Tenant: i.Tenant, Channel: i.Channel, To: "-", State: i.State, Attempts: i.Attempts, Replay: i.Replay,
		Cause: ledger.Tell(&i.Cause, s.d.Explain),
	}
	maskHits(out.Cause)
	if d := i.Delivery; d != nil {
		out.Event, out.To = &d.Event, s.masked(d)
	} else if e := eventOf(i); e != nil {
		out.Event = &schemas.EventRef{Source: e.Source, ID: e.ID, Type: e.Type, Time: e.Time}
	}
	return out
}

// masked is the address that the delivery's channel uses; of a channel that is gone, the one there is.
func (s *server) masked(d *schemas.Delivery) string {
	address := channels.Email
	if d.To.Phone != "" {
		address = channels.Phone
	}
	if ch := s.d.Channels[d.Channel]; ch != nil {
		address = ch.Traits().Address
	}
	return d.To.Masked(string(address))
}

// eventOf reads the event of a letter that was never planned, nil when it is unreadable.
func eventOf(i deadletter.Item) *schemas.Event {
	h := http.Header{}
	names := make([]string, 0, len(i.Headers))
	for n, v := range i.Headers {
		h.Set(n, v)
		names = append(names, n)
	}
	e, err := schemas.DecodeEvent(i.Event)
	if h.Get("Ce-Specversion") != "" {
		e, err = schemas.DecodeBinary(h.Get, names, i.Event)
	}
	if err != nil {
		return nil
	}
	return e
}

func messageOf(i deadletter.Item) *DeadMessage {
	var (
		m        = &DeadMessage{}
		category schemas.Category
		params   = map[string]string{}
	)
	if d := i.Delivery; d != nil {
		m.Template, m.Subject, m.Text, category = d.Message.Template, d.Message.Subject, d.Message.Text, d.Category
		for name, v := range d.Message.Params {
			params[name] = v
		}
	} else if e := eventOf(i); e != nil {
		m.Template, category = e.Data.Template, e.Data.Category
		if c := e.Data.Content; c != nil {
			m.Subject, m.Text = c.Subject, c.Text
		}
		for name, v := range e.Data.Params {
			params[name] = fmt.Sprint(v)
		}
	} else {
		return nil
	}
	secret := category == schemas.Verification
	m.Subject, m.Text, m.Params = shown(m.Subject, secret), shown(m.Text, secret), map[string]string{}
	for name, v := range params {
		if m.Params[name] = shown(v, false); secret {
			m.Params[name] = "***"
		}
	}
	return m
}

// codes are what a verification must not show: anything with a digit in it.
var codes = regexp.MustCompile(`[0-9A-Za-z]*\d[0-9A-Za-z]*`)

// shown is a text with its numbers and mailboxes masked; of a secret one no code stays.
func shown(s string, secret bool) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = channels.Line(line)
	}
	s = strings.Join(lines, "\n")
	if secret {
		s = codes.ReplaceAllString(s, "***")
	}
	return s
}

// maxReplayBody bounds a replay request: a filter and a sentence.
const maxReplayBody = 64 << 10

// maxReason bounds the sentence, in characters: it stands in a ledger record of each letter.
const maxReason = 500

// replayTimeout bounds one confirmed call of up to a thousand letters; what is left is in Remaining.
const replayTimeout = 2 * time.Minute

func (s *server) replay(w *answer, r *http.Request) error {
	if err := onlyJSON(r.Header); err != nil {
		return err
	}
	who, body, done, err := s.enter(w, r, want{role: RoleOperate, body: maxReplayBody})
	if err != nil {
		return err
	}
	defer done()
	var q dispatcher.ReplayRequest
	if err := json.Unmarshal(body, &q, json.RejectUnknownMembers(true)); err != nil {
		return badMember(err, "where, uncertain, confirm, reason")
	}
	if n := utf8.RuneCountInString(q.Reason); n > maxReason {
		return one("/reason", "maxLength", "原因最多 %d 个字符，实际 %d 个", "a reason has at most %d characters, this has %d", maxReason, n)
	}
	q.Reason = channels.Line(q.Reason) // it is shown in every story: one line, no numbers
	q.By, q.Tenants = who.name(), slices.Clone(who.tenants())
	ctx, cancel := context.WithTimeout(r.Context(), replayTimeout)
	defer cancel()
	plan, err := s.d.Replay(ctx, q)
	if errors.Is(err, dispatcher.ErrPlanChanged) {
		return &problem{
			status: http.StatusConflict, name: "plan-changed", title: text("重发计划已变化", "The plan has changed"), plan: plan,
			detail: text("确认的数量是 %d，现在可重发 %d 条；请核对新的计划后再确认", "%d were confirmed, %d can go now; look at the new plan and confirm it", q.Confirm, plan.Eligible),
		}
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaJSON, plan)
	return nil
}

// badMember words a decoder's refusal without repeating the input; known lists the members there are.
func badMember(err error, known string) *problem {
	if bad, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(err, json.ErrUnknownName) {
			return one(string(bad.JSONPointer), "unknown", "没有这个字段；可用字段：%[1]s", "there is no such member; known are %[1]s", known)
		}
		return one(string(bad.JSONPointer), "type", "值的类型不符", "the value has the wrong type")
	}
	return one("", "syntax", "JSON 语法错误", "not valid JSON")
}
