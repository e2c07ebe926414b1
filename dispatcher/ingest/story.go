package ingest

import (
	"context"
	"net/http"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// operateTimeout bounds the reading and writing behind one operator request.
const operateTimeout = 20 * time.Second

// operate lets an operator's request without a body in.
func (s *server) operate(w *answer, r *http.Request) (caller, error) {
	who, _, done, err := s.enter(w, r, want{role: RoleOperate})
	if err == nil {
		done()
	}
	return who, err
}

// book is the rules in force, nil in a process that has none.
func (s *server) book() *rules.Book {
	if s.d == nil {
		return nil
	}
	return s.d.Book()
}

type storiesBody struct {
	Items []ledger.Story `json:"items"`
}

// getStory tells what became of an event: the story itself when one matches, a list when several
// sources or tenants share the id.
func (s *server) getStory(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	tenant, err := s.tenantOf(r, who)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	in := []string{tenant} // "" is all
	if tenant == "" && who.tenants() != nil {
		in = who.tenants()
	}
	id, stories := r.PathValue("id"), []ledger.Story{}
	for _, t := range in {
		if id == "" {
			break
		}
		found, err := s.d.Ledger.Stories(ctx, t, r.URL.Query().Get("source"), id, languageOf(r), s.d.Explain)
		if err != nil {
			return err
		}
		stories = append(stories, found...)
	}
	for _, st := range stories {
		maskHits(st.Cause)
		for i := range st.Deliveries {
			d := &st.Deliveries[i]
			maskHits(d.Cause)
			d.Review = maskedHits(d.Review)
		}
	}
	switch len(stories) {
	case 0:
		return notFound(text("没有这个事件的记录；若刚刚提交，请稍后再查", "no record of this event; if it was sent just now, ask again in a moment"))
	case 1:
		writeJSON(w, http.StatusOK, mediaJSON, stories[0])
	default:
		writeJSON(w, http.StatusOK, mediaJSON, storiesBody{stories})
	}
	return nil
}

// maskHits hides numbers and mailboxes in what a rule matched: it is a piece of the message.
func maskHits(t *ledger.Told) {
	if t != nil {
		t.Hits = maskedHits(t.Hits)
	}
}

func maskedHits(hits []schemas.Hit) []schemas.Hit {
	if hits == nil {
		return nil
	}
	out := make([]schemas.Hit, len(hits))
	for i, h := range hits {
		out[i] = channels.MaskedHit(h)
	}
	return out
}

// tenantWith is whose event a recall without a tenant means: the only tenant there is for the caller,
// or the only one that has a record of it. A recall that comes before its event must not take a place
// in the ledger of a tenant that was guessed.
func (s *server) tenantWith(ctx context.Context, who caller, source, id string) (string, error) {
	tenants := who.tenants()
	if tenants == nil {
		tenants = s.cfg.Tenants
	}
	if len(tenants) == 1 {
		return tenants[0], nil
	}
	var found []string
	for _, t := range tenants {
		e, _, err := s.d.Ledger.Event(ctx, t, source, id)
		if err != nil {
			return "", err
		}
		if e != nil {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return "", one("/tenant", "required", "有多个租户，无法确定事件属于哪一个：请用查询参数 tenant 指定", "there are several tenants and the event cannot be told to be of one: name it with the query parameter tenant")
	}
	return found[0], nil
}

// recall takes an event back.
func (s *server) recall(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	tenant, err := s.tenantOf(r, who)
	if err != nil {
		return err
	}
	id, source := r.PathValue("id"), r.URL.Query().Get("source")
	switch {
	case id == "":
		return notFound(text("地址中缺少事件 id", "the path holds no event id"))
	case source == "":
		return one("/source", "required", "缺少查询参数 source：id 与 source 一起才能确定一个事件", "the query needs source: only id and source together name an event")
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	if tenant == "" {
		if tenant, err = s.tenantWith(ctx, who, source, id); err != nil {
			return err
		}
	}
	recalled, err := s.d.Recall(ctx, tenant, source, id, who.name())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, mediaJSON, recalled)
	return nil
}
