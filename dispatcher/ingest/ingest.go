// Package ingest is the HTTP API: events in, their stories, recalls, dead letters and replays out.
// openapi.yaml describes it exactly.
//
//	config.go   the sections http, keys and tenants
//	ingest.go   routes, and what every answer has in common
//	auth.go     who is asking, and may they
//	events.go   POST /v1/events
//	recorded.go the events themselves, for backtests
//	story.go    what became of an event, and taking it back
//	dead.go     dead letters and replays
//	receipts.go what third parties report
//	channels.go how the third parties are
//	lint.go     what the rules say of a text
//	preview.go  what would go out
//	explain.go  third parties' replies in words, and those that no row knows
//	attachments.go files for the events that are going to refer to them
//	consents.go who agreed to what, and who refused
//	unsubscribe.go the page behind a mail's link, by which its reader refuses more
//	problem.go  how this API says no
//	serve.go    the server, its limits and its end
package ingest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/schemas"
)

//go:embed openapi.yaml
var openAPI []byte

// Routes and codes are closed sets; an unknown path counts under "/".
var requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "yizhan_http_requests_total", Help: "HTTP requests answered, by route and status code.",
}, []string{"route", "code"})

// requestID is the header that names a request in every answer and in the log.
const requestID = "Yizhan-Request-Id"

type server struct {
	cfg     Config
	d       *dispatcher.Dispatcher
	log     *zap.Logger
	keys    map[string]*key
	nobody  *key // stands in for a key that does not exist, so that it takes as long
	trusted []netip.Prefix
	doors   map[string]*door // by channel
	noDoor  *door            // stands in for a channel that has none, so that it takes as long
	bodies  *semaphore.Weighted
	// unsubscribes bounds what strangers make this process write.
	unsubscribes *rate.Limiter
	links        *linkLimits
	station      *weather.Station

	// accept stores checked events; nonce records one, false when it was seen before; healthy says why
	// the broker cannot be used.
	accept func(ctx context.Context, events []*schemas.Event) ([]Accepted, error)
	// takeReports stores what a channel's third party reports.
	takeReports func(ctx context.Context, channel string, reports []channels.Report) error
	nonce       func(ctx context.Context, keyID, nonce string) (bool, error)
	healthy     func(ctx context.Context) error
}

// New makes the API's handler. extra are handlers under paths of their own ("/sandbox/"), which check
// their callers themselves. The error is a [*schemas.Invalid] when the configuration is wrong.
func New(cfg Config, d *dispatcher.Dispatcher, log *zap.Logger, extra map[string]http.Handler) (http.Handler, error) {
	s, err := newServer(cfg, log)
	if err != nil {
		return nil, err
	}
	s.d = d
	s.station = &weather.Station{B: d.Broker}
	s.accept, s.nonce, s.healthy, s.takeReports = s.store, d.Broker.Nonce, d.Broker.Healthy, d.TakeReports
	return s.handler(extra)
}

func newServer(cfg Config, log *zap.Logger) (*server, error) {
	cfg.Defaults()
	o, err := cfg.open()
	if err != nil {
		return nil, err
	}
	if cfg.HTTP.Auth == AuthKeys && len(o.keys) == 0 && !cfg.NoPublish {
		log.Warn("no keys are configured: nobody can publish over HTTP")
	}
	return &server{
		cfg: cfg, log: log, keys: o.keys, trusted: o.trusted, doors: o.doors, noDoor: nowhere(), bodies: semaphore.NewWeighted(maxBodies),
		unsubscribes: rate.NewLimiter(unsubscribes, unsubscribes), links: newLinkLimits(),
		nobody: &key{secrets: []secret{{rand.Text(), []byte(rand.Text())}}},
	}, nil
}

// route is a path and what each method does there.
type route struct {
	pattern string
	methods map[string]handler
}

// handler answers a request, or returns why not.
type handler func(w *answer, r *http.Request) error

func (s *server) routes() []route {
	rs := []route{
		{"/schemas/{file}", map[string]handler{"GET": getSchema}},
		{"/openapi.yaml", map[string]handler{"GET": getOpenAPI}},
		{"/healthz", map[string]handler{"GET": healthz}},
		{"/readyz", map[string]handler{"GET": s.readyz}},
		{"/metrics", map[string]handler{"GET": func(w *answer, r *http.Request) error {
			promhttp.Handler().ServeHTTP(w, r)
			return nil
		}}},
		{"/v1/unsubscribe/{token}", map[string]handler{"GET": s.getUnsubscribe, "POST": s.postUnsubscribe}},
	}
	events := map[string]handler{}
	if !s.cfg.NoPublish {
		events["POST"] = s.postEvents
		rs = append(rs, route{"/v1/receipts/{channel}/{token}", map[string]handler{"POST": s.postReceipts}})
	}
	if !s.cfg.NoOperate {
		events["GET"] = s.listEvents
	}
	// There also without methods: the mux would send its callers on to "/v1/events/".
	rs = append(rs, route{"/v1/events", events})
	if !s.cfg.NoPublish {
		rs = append(rs, route{"/v1/attachments/{name}", map[string]handler{"PUT": s.putAttachment}})
	}
	consents, replies := map[string]handler{}, map[string]handler{}
	if !s.cfg.NoPublish || !s.cfg.NoOperate {
		consents["POST"], replies["POST"] = s.postConsents, s.postReplies
		rs = append(rs, route{"/v1/lint", map[string]handler{"POST": s.lint}}, route{"/v1/preview", map[string]handler{"POST": s.preview}})
	}
	if !s.cfg.NoOperate {
		consents["GET"], consents["DELETE"] = s.listConsents, s.eraseConsent
	}
	rs = append(rs, route{"/v1/consents", consents}, route{"/v1/consents/replies", replies})
	if !s.cfg.NoOperate {
		rs = append(rs,
			route{"/v1/events/{id...}", map[string]handler{"GET": s.getStory, "DELETE": s.recall}},
			route{"/v1/dead", map[string]handler{"GET": s.listDead}},
			route{"/v1/dead/{id}", map[string]handler{"GET": s.getDead}},
			route{"/v1/replays", map[string]handler{"POST": s.replay}},
			route{"/v1/explain", map[string]handler{"POST": s.explain}},
			route{"/v1/explain/unknown", map[string]handler{"GET": s.unknown}},
			route{"/v1/channels", map[string]handler{"GET": s.listChannels}},
		)
	}
	return rs
}

func (s *server) handler(extra map[string]http.Handler) (http.Handler, error) {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.pattern, s.methods(rt))
	}
	for _, prefix := range slices.Sorted(maps.Keys(extra)) {
		if err := register(mux, prefix, extra[prefix]); err != nil {
			return nil, err
		}
	}
	if extra["/"] == nil {
		mux.Handle("/", s.methods(route{"/", nil}))
	}
	return s.around(mux), nil
}

// register adds a handler; the mux panics on a path that is malformed or taken.
func register(mux *http.ServeMux, prefix string, h http.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handler for %q: %v", prefix, p)
		}
	}()
	mux.Handle(prefix, h)
	return nil
}

// methods chooses by method and writes what a handler returns. A path without methods does not exist.
func (s *server) methods(rt route) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := rw.(*answer) // around made it
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		h := rt.methods[method]
		if h == nil {
			refuseMethod(rt).write(w, r)
			return
		}
		err := h(w, r)
		if err == nil {
			return
		}
		p, own := asProblem(err)
		if !own {
			s.log.Warn("request", zap.String("request", w.Header().Get(requestID)), zap.String("route", rt.pattern), zap.String("error", channels.Line(err.Error())))
		}
		p.write(w, r)
	})
}

func refuseMethod(rt route) *problem {
	if len(rt.methods) == 0 {
		return notFound(text("没有这个地址，接口说明见 /openapi.yaml", "there is nothing at this path; /openapi.yaml describes the API"))
	}
	allow := slices.Sorted(maps.Keys(rt.methods))
	if rt.methods["GET"] != nil {
		allow = append(allow, "HEAD")
	}
	list := strings.Join(allow, ", ")
	return &problem{
		status: http.StatusMethodNotAllowed, name: "method", title: text("不支持的方法", "Wrong method"), allow: list,
		detail: text("此地址只支持 %s", "this path takes %s only", list),
	}
}

// answer is a ResponseWriter that remembers what the access log tells.
type answer struct {
	http.ResponseWriter
	status int
	key    string // id of the verified key
}

// WriteHeader notes the first status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection: flushing, deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// around is what every request gets: an id, a line in the log, a count, and an answer when a handler panics.
func (s *server) around(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		w := &answer{ResponseWriter: rw}
		w.Header().Set(requestID, rand.Text())
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, as net/http compares it
				s.log.Error("panic", zap.String("request", w.Header().Get(requestID)), zap.String("route", r.Pattern),
					zap.String("panic", channels.Line(fmt.Sprint(p))), zap.Stack("stack"))
				if w.status == 0 {
					internal.write(w, r)
					p = nil
				} else {
					p = http.ErrAbortHandler // half an answer went out: the caller must notice
				}
			}
			s.note(w, r, time.Since(begun))
			if p != nil {
				panic(p)
			}
		}()
		mux.ServeHTTP(w, r)
	})
}

var internal = &problem{
	status: http.StatusInternalServerError, name: "internal", title: text("内部错误", "Internal error"),
	detail: text("服务内部出错，请把 Yizhan-Request-Id 告诉管理员", "something broke in here; tell the operator the Yizhan-Request-Id"),
}

// note writes the access log line: refusals are worth a look, the rest only while debugging. It tells
// no ids, no query and no body.
func (s *server) note(w *answer, r *http.Request, took time.Duration) {
	code := w.status
	if code == 0 {
		code = http.StatusOK // nothing written is an empty 200
	}
	requestsTotal.WithLabelValues(r.Pattern, strconv.Itoa(code)).Inc()
	level := zap.DebugLevel
	if code >= 400 {
		level = zap.InfoLevel
	}
	if c := s.log.Check(level, "http"); c != nil {
		c.Write(zap.String("method", channels.Line(r.Method)), zap.String("route", r.Pattern), zap.Int("status", code), zap.String("key", w.key),
			zap.Duration("took", took.Round(10*time.Microsecond)), zap.String("request", w.Header().Get(requestID)))
	}
}

func getSchema(w *answer, r *http.Request) error {
	b, ok := schemas.File(r.PathValue("file"))
	if !ok {
		return notFound(text("没有这个 Schema，可用的有：%[1]s", "there is no such schema; known are %[1]s", strings.Join(schemas.Files(), ", ")))
	}
	return file(w, "application/schema+json", b)
}

func getOpenAPI(w *answer, _ *http.Request) error { return file(w, "application/yaml", openAPI) }

func file(w *answer, media string, b []byte) error {
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(b) // fails only when the caller has gone
	return nil
}

// status is the answer of healthz and readyz when all is well.
type status struct {
	Status string `json:"status"`
}

// healthz: this process is alive.
func healthz(w *answer, _ *http.Request) error {
	writeJSON(w, http.StatusOK, "application/json", status{"ok"})
	return nil
}

// readyz: this process can take events.
func (s *server) readyz(w *answer, r *http.Request) error {
	if err := s.healthy(r.Context()); err != nil {
		p := unavailable()
		why := channels.Line(err.Error())
		p.detail = text("消息存储（NATS JetStream）无法使用：%s", "the message store (NATS JetStream) cannot be used: %s", why)
		return p
	}
	writeJSON(w, http.StatusOK, "application/json", status{"ok"})
	return nil
}
