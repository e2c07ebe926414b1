package ingest

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
)

// maxExplainBody bounds a line to be explained, with all that is said of it.
const maxExplainBody = 16 << 10

// explainRequest is a third party's words.
type explainRequest struct {
	Channel  string `json:"channel"` // or a provider; told by the line where it is empty
	Provider string `json:"provider"`
	Line     string `json:"line"`
	Context  string `json:"context"` // when it was said
}

// explain puts a third party's words into words. Nothing is stored.
func (s *server) explain(w *answer, r *http.Request) error {
	if err := onlyJSON(r.Header); err != nil {
		return err
	}
	_, body, done, err := s.enter(w, r, want{role: RoleOperate, body: maxExplainBody})
	if err != nil {
		return err
	}
	defer done()
	q, err := decodeExplain(body)
	if err != nil {
		return err
	}
	if s.d == nil || s.d.ExplainLine == nil {
		return unavailable()
	}
	d := s.d.ExplainLine(channels.Quote{Channel: q.Channel, Provider: q.Provider, Text: q.Line, Context: q.Context})
	writeJSON(w, http.StatusOK, mediaJSON, d.Explained())
	return nil
}

func decodeExplain(body []byte) (*explainRequest, error) {
	var q explainRequest
	if err := json.Unmarshal(body, &q, json.RejectUnknownMembers(true)); err != nil {
		return nil, badMember(err, "channel, provider, line, context")
	}
	if strings.TrimSpace(q.Line) == "" {
		return nil, one("/line", "required", "缺少要解释的内容：line", "there is nothing to explain: line is missing")
	}
	return &q, nil
}

// UnknownReply is a shape of replies that no row of the diagnoses knows: what GET /v1/explain/unknown tells.
type UnknownReply struct {
	Kind     string         `json:"kind"`
	Provider string         `json:"provider,omitzero"`
	Code     string         `json:"code,omitzero"`
	Shape    string         `json:"shape"` // the line, masked, with # for numbers and ids
	Class    channels.Class `json:"class"` // what the dispatcher made of it
	Count    int            `json:"count"`
	First    time.Time      `json:"first"`
	Last     time.Time      `json:"last"`
	Letter   string         `json:"letter"` // the latest dead letter
}

// unknownBody is what GET /v1/explain/unknown answers.
type unknownBody struct {
	Items []UnknownReply `json:"items"`
	// Complete: every dead letter was looked at; false when time or room for shapes ran out.
	Complete bool `json:"complete"`
}

// maxShapes bounds the distinct shapes that are gathered.
const maxShapes = 500

// unknown lists the shapes of those replies behind dead letters that no row knows, the most frequent first.
// They are read off the dead letters when somebody asks: so every process tells the same, nothing else is
// kept, and what a new row explains is gone at once.
func (s *server) unknown(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	shapes := map[UnknownReply]*UnknownReply{}
	out := unknownBody{Items: []UnknownReply{}, Complete: true}
	err = s.d.Dead.Each(ctx, deadletter.Filter{}, func(i deadletter.Item) bool {
		c := i.Cause
		if !who.allowsTenant(i.Tenant) || c.Kind == "dispatcher" {
			return true
		}
		d := s.d.Explain(&channels.Failure{Kind: c.Kind, Provider: c.Provider, Code: c.Code, Line: c.Line, Class: channels.Class(c.Class)})
		if d.Known {
			return true
		}
		is := UnknownReply{Kind: c.Kind, Provider: c.Provider, Code: shape(c.Code), Shape: shape(c.Line)}
		u := shapes[is]
		if u == nil {
			if len(shapes) == maxShapes {
				out.Complete = false
				return true
			}
			u = &UnknownReply{Kind: is.Kind, Provider: is.Provider, Code: is.Code, Shape: is.Shape, First: i.Time}
			shapes[is] = u
		}
		if i.Time.Before(u.First) { // letters are stored in about the order of their times
			u.First = i.Time
		}
		if u.Count++; !i.Time.Before(u.Last) {
			u.Last, u.Letter, u.Class = i.Time, i.ID, d.Class
		}
		return ctx.Err() == nil
	})
	switch {
	case ctx.Err() != nil && r.Context().Err() == nil && (err == nil || errors.Is(err, context.DeadlineExceeded)):
		out.Complete = false
	case err != nil:
		return err
	}
	for _, u := range shapes {
		out.Items = append(out.Items, *u)
	}
	slices.SortFunc(out.Items, func(a, b UnknownReply) int {
		return cmp.Or(b.Count-a.Count, b.Last.Compare(a.Last), strings.Compare(a.Letter, b.Letter))
	})
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

// What differs from one reply to the next of the same shape: addresses, dotted numbers, ids and numbers. A
// reply code and an enhanced code at the beginning are part of the shape, and so is a platform's code.
var (
	shapeStart  = regexp.MustCompile(`^(?:[245]\d\d[ -]?)?(?:[245]\.\d{1,3}\.\d{1,3}\b)?`)
	shapeVaries = regexp.MustCompile(`\S*@\S*|\b\d[\d.:*-]*\b|\b[\w+/=-]*\d[\w+/=-]{7,}|\b[0-9a-fA-F]{8,}\b`)
)

const maxShape = 200 // characters

// shape is a line with # for what varies.
func shape(line string) string {
	line = channels.Line(line)
	head := shapeStart.FindString(line)
	out := head + shapeVaries.ReplaceAllString(line[len(head):], "#")
	if len(line) <= 32 && !strings.ContainsAny(line, " @*") { // a code
		out = line
	}
	return string([]rune(out)[:min(len([]rune(out)), maxShape)])
}
