package sandbox

import (
	"embed"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/text/language"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

//go:embed web
var files embed.FS

var page = template.Must(template.ParseFS(files, "web/inbox.html"))

// Handler serves the inbox to people and programs:
//
//	GET    /sandbox/            a page, in the language of ?lang= or Accept-Language
//	GET    /sandbox/inbox       {"items":[…],"total":n,"next":"cursor"}, newest first; kind=, to=,
//	                            delivery= select, limit= (50, at most 1000) and cursor= page
//	GET    /sandbox/inbox/{number}/files/{i}  a file of a mail, to be saved, never shown
//	DELETE /sandbox/inbox       empties it
//	POST   /sandbox/smtp?down=  true takes the mail server off the network, false puts it back
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sandbox/{$}", s.page)
	mux.HandleFunc("GET /sandbox/inbox", s.list)
	mux.HandleFunc("GET /sandbox/inbox/{number}/files/{i}", s.file)
	mux.HandleFunc("DELETE /sandbox/inbox", func(w http.ResponseWriter, _ *http.Request) {
		s.inbox.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /sandbox/smtp", s.switchSMTP)
	for _, name := range []string{"inbox.css", "inbox.js"} {
		mux.HandleFunc("GET /sandbox/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, "web/"+name)
		})
	}
	// A page of somebody else must not empty the inbox of a developer who happens to visit it.
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}))
}

// wireItem is an [Item] as the list shows it.
type wireItem struct {
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"`
	To       string            `json:"to"`
	From     string            `json:"from,omitzero"`
	Subject  string            `json:"subject,omitzero"`
	Text     string            `json:"text,omitzero"`
	HTML     string            `json:"html,omitzero"`
	ID       string            `json:"id,omitzero"`
	Delivery string            `json:"delivery,omitzero"`
	Headers  map[string]string `json:"headers,omitempty"`
	Raw      string            `json:"raw,omitzero"`
	Files    []wireFile        `json:"files,omitempty"`
}

// wireFile is a [File] as the list shows it; its bytes are at URL.
type wireFile struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
	CID    string `json:"cid,omitzero"`
	URL    string `json:"url"`
}

func wireFiles(it Item) []wireFile {
	var out []wireFile
	for i, f := range it.Files {
		out = append(out, wireFile{f.Name, f.Type, len(f.Data), f.SHA256, f.CID, fmt.Sprintf("/sandbox/inbox/%d/files/%d", it.Number, i)})
	}
	return out
}

// file hands out a file of a mail. It came from anywhere: the browser saves it and runs nothing of it.
func (s *Sandbox) file(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	i, err2 := strconv.Atoi(r.PathValue("i"))
	it, ok := s.inbox.Get(number)
	if err != nil || err2 != nil || !ok || i < 0 || i >= len(it.Files) {
		t := schemas.Text{Zh: "没有这个附件，或消息已被清除", En: "there is no such file, or its message has gone"}
		answer(w, http.StatusNotFound, map[string]string{"error": t.In(lang(r)), "zh": t.Zh, "en": t.En})
		return
	}
	f := it.Files[i]
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Length", strconv.Itoa(len(f.Data)))
	_, _ = w.Write(f.Data) // fails only when the caller has gone
}

// view is what a request asks to see.
type view struct {
	Filter
	limit  int
	cursor uint64
}

// read understands the query; false when a number in it is none.
func read(q url.Values) (v view, ok bool) {
	v = view{Filter: Filter{Kind: q.Get("kind"), To: q.Get("to"), Delivery: q.Get("delivery")}, limit: defaultLimit}
	var err error
	if s := q.Get("limit"); s != "" {
		if v.limit, err = strconv.Atoi(s); err != nil || v.limit < 1 {
			return v, false
		}
		v.limit = min(v.limit, maxLimit)
	}
	if s := q.Get("cursor"); s != "" {
		if v.cursor, err = strconv.ParseUint(s, 10, 64); err != nil {
			return v, false
		}
	}
	return v, true
}

func cursor(next uint64) string {
	if next == 0 {
		return ""
	}
	return strconv.FormatUint(next, 10)
}

func (s *Sandbox) list(w http.ResponseWriter, r *http.Request) {
	v, ok := read(r.URL.Query())
	if !ok {
		problem(w, r, schemas.Text{Zh: "limit 和 cursor 必须是正整数", En: "limit and cursor must be positive numbers"})
		return
	}
	items, total, next := s.inbox.List(v.Filter, v.limit, v.cursor)
	out := make([]wireItem, len(items))
	for i, it := range items {
		out[i] = wireItem{it.Time, it.Kind, it.To, it.From, it.Subject, it.Text, it.HTML, it.ID, it.Delivery, it.Headers, it.Raw, wireFiles(it)}
	}
	answer(w, http.StatusOK, map[string]any{"items": out, "total": total, "next": cursor(next)})
}

func (s *Sandbox) switchSMTP(w http.ResponseWriter, r *http.Request) {
	down, err := strconv.ParseBool(r.FormValue("down"))
	if err != nil {
		problem(w, r, schemas.Text{Zh: "请指定 down=true 或 down=false", En: "give down=true or down=false"})
		return
	}
	if err := s.SMTP.SetDown(down); err != nil {
		answer(w, http.StatusConflict, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]bool{"down": down})
}

func problem(w http.ResponseWriter, r *http.Request, t schemas.Text) {
	answer(w, http.StatusBadRequest, map[string]string{"error": t.In(lang(r)), "zh": t.Zh, "en": t.En})
}

var languages = language.NewMatcher([]language.Tag{language.English, language.Chinese})

// lang is "zh" or "en".
func lang(r *http.Request) string {
	if l := r.URL.Query().Get("lang"); l == "zh" || l == "en" {
		return l
	}
	if _, i := language.MatchStrings(languages, r.Header.Get("Accept-Language")); i == 1 {
		return "zh"
	}
	return "en"
}

// words are the page's texts.
var words = map[string]schemas.Text{
	"title":    {Zh: "沙箱收件箱", En: "Sandbox inbox"},
	"about":    {Zh: "以下消息由本机的模拟服务收到，没有发给任何真实的人。", En: "Taken by the stand-ins on this machine. Nobody real received any of it."},
	"all":      {Zh: "全部", En: "All"},
	"email":    {Zh: "邮件", En: "Mail"},
	"sms":      {Zh: "短信", En: "SMS"},
	"webhook":  {Zh: "Webhook", En: "Webhook"},
	"empty":    {Zh: "还没有收到消息。", En: "No message has arrived yet."},
	"total":    {Zh: "条消息", En: "messages"},
	"older":    {Zh: "更早的消息", En: "Older messages"},
	"newest":   {Zh: "回到最新", En: "Back to the newest"},
	"from":     {Zh: "发件人", En: "From"},
	"id":       {Zh: "消息编号", En: "Message id"},
	"delivery": {Zh: "投递编号", En: "Delivery"},
	"file":     {Zh: "附件", En: "Attachment"},
	"inline":   {Zh: "内嵌图片", En: "Inline image"},
	"bytes":    {Zh: "字节", En: "bytes"},
	"simulate": {Zh: "可模拟故障的手机号、邮箱和 Webhook 路径", En: "Numbers, addresses and webhook paths that fail on request"},
	"contains": {Zh: "邮箱 @ 之前包含", En: "Address contains before @"},
	"path":     {Zh: "Webhook 路径", En: "Webhook path"},
	"word":     {Zh: "群机器人消息包含", En: "Message to a robot contains"},
	"number":   {Zh: "手机号", En: "Number"},
	"result":   {Zh: "结果", En: "Result"},
	"what":     {Zh: "说明", En: "What happens"},
	"other":    {Zh: "English", En: "中文"},
}

// content is what the page's template sees.
type content struct {
	Lang, Other string
	T           map[string]string
	Kinds       []tab
	Items       []Item
	Total       int
	Next        string // link to older messages
	Newest      string // link back, when the page is not the newest
	Cases       []Case
	Mail, Hooks []Case
	Robots      []Case
}

type tab struct {
	Name, Link string
	Current    bool
}

func (s *Sandbox) page(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v, _ := read(q)
	items, total, next := s.inbox.List(v.Filter, v.limit, v.cursor)
	l := lang(r)
	c := content{Lang: "en", Other: link(q, "lang", "zh"), T: make(map[string]string), Items: items, Total: total, Cases: Simulated(), Mail: simulatedMail, Hooks: simulatedHooks, Robots: RobotCases()}
	if l == "zh" {
		c.Lang, c.Other = "zh-CN", link(q, "lang", "en")
	}
	for key, t := range words {
		c.T[key] = t.In(l)
	}
	for _, kind := range []string{"", "email", "sms", "webhook"} {
		name := kind
		if kind == "" {
			name = "all"
		}
		c.Kinds = append(c.Kinds, tab{Name: c.T[name], Link: link(q, "kind", kind), Current: kind == v.Kind})
	}
	if next != 0 {
		c.Next = link(q, "cursor", cursor(next))
	}
	if v.cursor != 0 {
		c.Newest = link(q, "cursor", "")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "Accept-Language")
	_ = page.Execute(w, c) // a client that is gone needs no page
}

// link is this page with one parameter changed; another kind begins with its newest message.
func link(q url.Values, key, value string) string {
	next := url.Values{}
	for _, k := range []string{"lang", "kind", "to", "delivery", "limit", "cursor"} {
		if v := q.Get(k); v != "" && !(key == "kind" && k == "cursor") {
			next.Set(k, v)
		}
	}
	next.Del(key)
	if value != "" {
		next.Set(key, value)
	}
	if len(next) == 0 {
		return "./"
	}
	return "./?" + next.Encode()
}
