package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// ConsentsRecorded is the answer to POST /v1/consents: what became of how many.
type ConsentsRecorded struct {
	Recorded  int `json:"recorded"`
	Unchanged int `json:"unchanged"` // on record already
	Older     int `json:"older"`     // kept, but a later word stands
}

// ConsentPage is the answer to GET /v1/consents.
type ConsentPage struct {
	Items []schemas.Consent `json:"items"`
	Next  string            `json:"next,omitzero"`
}

// Reply is one SMS that a person sent back.
type Reply struct {
	Tenant string    `json:"tenant"`
	Phone  string    `json:"phone"`
	Text   string    `json:"text"`
	Time   time.Time `json:"time,omitzero"` // when it was sent; default now
}

// ReplyDone is what was done about a reply.
type ReplyDone struct {
	Phone  string              `json:"phone"` // masked
	OptOut bool                `json:"opt_out"`
	Effect rules.ConsentEffect `json:"effect,omitzero"` // of an opt-out
	schemas.Text
}

// RepliesDone is the answer to POST /v1/consents/replies.
type RepliesDone struct {
	Results []ReplyDone `json:"results"`
}

const (
	mediaCSV    = "text/csv"
	mediaNDJSON = "application/x-ndjson"
	// maxConsents is the largest page of a list.
	maxConsents     = 1000
	consentsTimeout = time.Minute
	// maxReply bounds a reply, in characters: a long SMS has at most some hundreds.
	maxReply = 1000
)

// keeper is what keeps consents in this process.
func (s *server) keeper() (rules.ConsentKeeper, error) {
	if book := s.book(); book != nil {
		if k := book.Consents(); k != nil {
			return k, nil
		}
	}
	return nil, notFound(text("此进程没有同意记录的规则（consent）", "this process has no rule that keeps consents"))
}

// postConsents records all answers of a request, or none when one of them is wrong.
func (s *server) postConsents(w *answer, r *http.Request) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" ||
		!slices.Contains([]string{mediaJSON, mediaNDJSON, mediaCSV}, media) {
		return wrongMedia(text("Content-Type 应为 %s、%s 或 %s（UTF-8，不压缩）", "Content-Type must be %s, %s or %s, in UTF-8, not compressed", mediaJSON, mediaNDJSON, mediaCSV))
	}
	who, body, done, err := s.enter(w, r, want{role: RolePublish, also: RoleOperate, body: s.cfg.HTTP.MaxBody})
	if err != nil {
		return err
	}
	defer done()
	k, err := s.keeper()
	if err != nil {
		return err
	}
	read := readConsentsJSON
	if media == mediaCSV {
		read = readConsentsCSV
	}
	now := time.Now()
	var ps problemList
	changes, err := read(body, s.cfg.HTTP.MaxBatch, &ps)
	if err != nil {
		return nothingStored(err)
	}
	for _, c := range changes {
		for _, p := range c.Check(now) {
			ps.add(c.at, c.line, p)
		}
		s.judgeTenant(who, c.Tenant, func(p schemas.Problem) { ps.add(c.at, c.line, p) })
	}
	if err := ps.refusal(); err != nil {
		return nothingStored(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), consentsTimeout)
	defer cancel()
	var (
		out ConsentsRecorded
		mu  sync.Mutex
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for _, c := range changes {
		g.Go(func() error {
			effect, err := k.Record(ctx, &c.ConsentChange, who.name(), now)
			mu.Lock()
			defer mu.Unlock()
			out.count(effect)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

func (c *ConsentsRecorded) count(effect rules.ConsentEffect) {
	switch effect {
	case rules.ConsentRecorded:
		c.Recorded++
	case rules.ConsentUnchanged:
		c.Unchanged++
	case rules.ConsentOlder:
		c.Older++
	}
}

// consentLine is a change and where it stood: its pointer, and of CSV its line.
type consentLine struct {
	schemas.ConsentChange
	at   string
	line int
}

// problemList collects what is wrong with many items.
type problemList struct {
	bad    []schemas.Problem
	denied bool
}

func (l *problemList) add(at string, line int, p schemas.Problem) {
	if len(l.bad) >= maxProblems {
		return
	}
	p.Pointer = at + p.Pointer
	if line > 0 {
		p.Text = text("第 %[1]d 行：%[2]s", "line %[1]d: %[3]s", line, p.Zh, p.En)
	}
	l.denied = l.denied || p.Keyword == "tenant-not-allowed"
	l.bad = append(l.bad, p)
}

func (l *problemList) refusal() error {
	switch {
	case l.bad == nil:
		return nil
	case l.denied:
		i := slices.IndexFunc(l.bad, func(p schemas.Problem) bool { return p.Keyword == "tenant-not-allowed" })
		p := forbidden("tenant", l.bad[i].Text)
		p.problems = l.bad
		return p
	}
	return invalid(l.bad)
}

func (s *server) judgeTenant(who caller, tenant string, bad func(schemas.Problem)) {
	switch {
	case !who.allowsTenant(tenant):
		bad(schemas.Problem{Pointer: "/tenant", Keyword: "tenant-not-allowed", Text: notYours(who, tenant).detail})
	case !slices.Contains(s.cfg.Tenants, tenant):
		bad(unknownTenant("/tenant"))
	}
}

// readConsentsJSON reads an object, an array of objects, or objects one after the other (NDJSON).
func readConsentsJSON(body []byte, most int, ps *problemList) ([]*consentLine, error) {
	values, single, err := jsonValues(body, most)
	if err != nil {
		return nil, err
	}
	var out []*consentLine
	for i, v := range values {
		at := "/" + strconv.Itoa(i)
		if single {
			at = ""
		}
		c, err := schemas.DecodeConsent(v)
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			for _, p := range bad.Problems {
				ps.add(at, 0, p)
			}
			continue
		}
		out = append(out, &consentLine{*c, at, 0})
	}
	return out, nil
}

// jsonValues splits a body into its values; single says that it is one object.
func jsonValues(body []byte, most int) (values []jsontext.Value, single bool, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	array := dec.PeekKind() == '['
	if array {
		_, err = dec.ReadToken()
	}
	for err == nil {
		if array && dec.PeekKind() == ']' {
			if _, err = dec.ReadToken(); err == nil {
				array = false
				if _, err = dec.ReadToken(); err == nil {
					err = errors.New("more than an array")
				}
			}
			break
		}
		var v jsontext.Value
		if v, err = dec.ReadValue(); err == nil {
			if len(values) == most {
				return nil, false, one("", "maxItems", "一次最多 %d 条，请分批提交", "a request holds at most %d; split it", most)
			}
			values = append(values, bytes.Clone(v))
		}
	}
	if !errors.Is(err, io.EOF) || array || len(values) == 0 && !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		return nil, false, one("", "syntax", "JSON 语法错误（第 %d 字节之后）", "not valid JSON after byte %d", dec.InputOffset())
	}
	return values, len(values) == 1 && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")), nil
}

func readConsentsCSV(body []byte, most int, ps *problemList) ([]*consentLine, error) {
	in, err := schemas.NewConsentCSV(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var out []*consentLine
	for i := 0; ; i++ {
		c, err := in.Next()
		at := "/" + strconv.Itoa(i)
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			for _, p := range bad.Problems {
				ps.add(at, in.Line(), p)
			}
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, one("", "csv", "第 %[1]d 行之后有一行超过 64 KiB（引号没有成对？）", "a line behind line %[1]d is longer than 64 KiB (is a quote not closed?)", in.Line())
		case i == most:
			return nil, one("", "maxItems", "一次最多 %d 条，请分批提交", "a request holds at most %d; split it", most)
		}
		out = append(out, &consentLine{*c, at, in.Line()})
	}
}

// postReplies looks at what people sent back and records refusals.
func (s *server) postReplies(w *answer, r *http.Request) error {
	if err := onlyJSON(r.Header); err != nil {
		return err
	}
	who, body, done, err := s.enter(w, r, want{role: RolePublish, also: RoleOperate, body: s.cfg.HTTP.MaxBody})
	if err != nil {
		return err
	}
	defer done()
	k, err := s.keeper()
	if err != nil {
		return err
	}
	values, single, err := jsonValues(body, s.cfg.HTTP.MaxBatch)
	if err != nil {
		return err
	}
	now := time.Now()
	var ps problemList
	replies := make([]*schemas.ConsentChange, len(values))
	for i, v := range values {
		at := "/" + strconv.Itoa(i)
		if single {
			at = ""
		}
		replies[i] = s.reply(who, v, now, func(p schemas.Problem) { ps.add(at, 0, p) })
	}
	if err := ps.refusal(); err != nil {
		return nothingStored(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), consentsTimeout)
	defer cancel()
	out := RepliesDone{Results: make([]ReplyDone, len(replies))}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for i, c := range replies {
		g.Go(func() (err error) {
			d := ReplyDone{Phone: schemas.MaskNumber(c.Phone), OptOut: k.OptsOut(c.Text)}
			d.Text = text("不是退订指令，没有改动；是否另有诉求，请人工查看", "not a refusal that is known, nothing was changed; let a person read it")
			if d.OptOut {
				d.Text = text("已登记退订：此号码不再收到营销消息", "the refusal is on record: the number gets no marketing any more")
				if d.Effect, err = k.Record(ctx, c, who.name(), now); d.Effect == rules.ConsentOlder {
					d.Text = text("已登记，但收件人在此之后又有新的表示，以后者为准", "on record, but a later word of the person stands")
				}
			}
			out.Results[i] = d
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

// reply reads one reply as the refusal that it would be.
func (s *server) reply(who caller, v jsontext.Value, now time.Time, bad func(schemas.Problem)) *schemas.ConsentChange {
	var r Reply
	if err := json.Unmarshal(v, &r, json.RejectUnknownMembers(true)); err != nil {
		p := schemas.Problem{Keyword: "type", Text: text("值的类型不符", "the value has the wrong type")}
		if e, ok := errors.AsType[*json.SemanticError](err); ok {
			p.Pointer = string(e.JSONPointer)
		}
		if errors.Is(err, json.ErrUnknownName) {
			p.Keyword, p.Text = "unknown", text("没有这个字段；可用字段：tenant、phone、text、time", "there is no such member; known are tenant, phone, text, time")
		}
		bad(p)
		return nil
	}
	if n := utf8.RuneCountInString(r.Text); n > maxReply {
		bad(schemas.Problem{Pointer: "/text", Keyword: "maxLength", Text: text("最多 %d 个字符，实际 %d 个", "at most %d characters, this has %d", maxReply, n)})
	}
	c := &schemas.ConsentChange{Tenant: r.Tenant, Phone: r.Phone, ConsentWord: schemas.ConsentWord{
		State: schemas.OptedOut, Purpose: schemas.Purpose(schemas.Marketing), Time: r.Time, How: schemas.ByReply, Text: r.Text,
	}}
	for _, p := range c.Check(now) {
		if p.Pointer != "/text" {
			bad(p)
		}
	}
	s.judgeTenant(who, c.Tenant, bad)
	return c
}

// whose reads tenant, phone and email of a query; address is "" when it names none.
func (s *server) whose(r *http.Request, who caller) (tenants []string, address string, err error) {
	tenant, err := s.tenantOf(r, who)
	if err != nil {
		return nil, "", err
	}
	for _, t := range s.cfg.Tenants {
		if who.allowsTenant(t) && (tenant == "" || tenant == t) {
			tenants = append(tenants, t)
		}
	}
	q := r.URL.Query()
	given, name := q.Get("phone"), "/phone"
	if email := q.Get("email"); email != "" {
		if given != "" {
			return nil, "", one("/email", "conflict", "手机号和邮箱只能给一个", "phone or email, not both")
		}
		given, name = email, "/email"
	}
	if given == "" {
		return tenants, "", nil
	}
	phone, email, err := schemas.ConsentAddress(given)
	if err == nil && (phone == "") != (name == "/email") {
		return nil, "", one(name, "format", "值与参数不符", "the value does not fit the parameter")
	}
	if bad, ok := errors.AsType[*schemas.ValueError](err); ok {
		return nil, "", invalid([]schemas.Problem{{Pointer: name, Keyword: bad.Keyword, Text: bad.Text}})
	}
	return tenants, phone + email, err
}

func (s *server) listConsents(w *answer, r *http.Request) error {
	who, _, done, err := s.enter(w, r, want{role: RoleOperate, also: RolePublish})
	if err != nil {
		return err
	}
	done()
	k, err := s.keeper()
	if err != nil {
		return err
	}
	f, err := s.consentFilter(r, who)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	out := ConsentPage{Items: []schemas.Consent{}}
	take := func(c *schemas.Consent, cursor uint64) bool {
		if !f.matches(c) {
			return true
		}
		if len(out.Items) == f.limit {
			out.Next = strconv.FormatUint(cursor, 10)
			return false
		}
		one := *c
		if !f.reveal {
			one = c.Masked()
		}
		out.Items = append(out.Items, one)
		return true
	}
	if f.address != "" {
		for _, tenant := range f.tenants {
			c, err := k.Consent(ctx, tenant, f.address)
			if err != nil {
				return err
			}
			if c != nil {
				take(c, 0)
			}
		}
	} else {
		tenant := ""
		if len(f.tenants) == 1 {
			tenant = f.tenants[0]
		}
		if err := k.Consents(ctx, tenant, f.cursor, take); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, mediaJSON, out)
	return nil
}

// consentFilter is the query of a list.
type consentFilter struct {
	tenants []string
	address string
	state   schemas.ConsentState
	purpose schemas.Category
	reveal  bool
	limit   int
	cursor  uint64
}

func (f consentFilter) matches(c *schemas.Consent) bool {
	return slices.Contains(f.tenants, c.Tenant) && (f.state == "" || c.States[f.purpose].State == f.state)
}

func (s *server) consentFilter(r *http.Request, who caller) (f consentFilter, err error) {
	if f.tenants, f.address, err = s.whose(r, who); err != nil {
		return f, err
	}
	q := r.URL.Query()
	f.state, f.purpose, f.limit = schemas.ConsentState(q.Get("state")), schemas.Category(q.Get("purpose")), defaultPage
	if f.state != "" && f.state != schemas.OptedIn && f.state != schemas.OptedOut {
		return f, one("/state", "enum", "state 只能是 in 或 out", "state must be in or out")
	}
	if f.purpose == "" {
		f.purpose = schemas.Marketing
	}
	if !slices.Contains(schemas.ConsentCategories, f.purpose) {
		return f, one("/purpose", "enum", "purpose 只能是 marketing、notification 或 alert", "purpose must be marketing, notification or alert")
	}
	if v := q.Get("limit"); v != "" {
		if f.limit, err = strconv.Atoi(v); err != nil || f.limit < 1 || f.limit > maxConsents {
			return f, one("/limit", "range", "limit 应为 1 到 %d 的整数", "limit must be a whole number of 1 to %d", maxConsents)
		}
	}
	if v := q.Get("cursor"); v != "" {
		if f.cursor, err = strconv.ParseUint(v, 10, 64); err != nil {
			return f, one("/cursor", "cursor", "cursor 应为上一页 next 的值", "cursor must be the next of the page before")
		}
	}
	switch q.Get("reveal") {
	case "", "false":
	case "true":
		if f.reveal = true; !who.has(RoleOperate) {
			return f, forbidden("role", text("显示完整号码需要角色 %[2]s，密钥 %[1]s 没有", "to see whole numbers takes the role %[2]s, which key %[1]s does not have", who.name(), RoleOperate))
		}
	default:
		return f, one("/reveal", "enum", "reveal 只能是 true 或 false", "reveal must be true or false")
	}
	return f, nil
}

// eraseConsent deletes an address and its history on the person's demand.
func (s *server) eraseConsent(w *answer, r *http.Request) error {
	who, err := s.operate(w, r)
	if err != nil {
		return err
	}
	k, err := s.keeper()
	if err != nil {
		return err
	}
	tenants, address, err := s.whose(r, who)
	switch {
	case err != nil:
		return err
	case address == "":
		return one("/phone", "required", "请给出 phone 或 email", "phone or email is required")
	case len(tenants) != 1:
		return one("/tenant", "required", "请给出 tenant", "tenant is required")
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	found, keep, err := k.Erase(ctx, tenants[0], address, time.Now())
	switch {
	case err != nil:
		return err
	case !found:
		return notFound(text("没有这个号码或邮箱的记录", "there is no record of this number or mail address"))
	case !keep.IsZero():
		until := keep.Format(time.RFC3339)
		return &problem{
			status: http.StatusConflict, name: "proof-kept", title: text("凭证尚须保留", "The proof must be kept"),
			detail: text("曾凭此同意发送过消息，同意凭证须保留到 %[1]s（guards.consent.keep）；如收件人不愿再收到消息，请先登记退订",
				"messages were sent under this agreement, and its proof is kept until %[1]s (guards.consent.keep); if the person wants no more messages, record the refusal now", until),
		}
	}
	writeJSON(w, http.StatusOK, mediaJSON, struct {
		Erased bool `json:"erased"`
	}{true})
	return nil
}

// has says whether the caller has a role; this machine's user has all.
func (c caller) has(role string) bool { return c.key == nil || slices.Contains(c.key.Roles, role) }
