package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const maxWebhook = 1 << 20

// WebhookConfig describes a stand-in receiver of webhooks.
type WebhookConfig struct {
	Addr   string // loopback address, "" is a free port of 127.0.0.1
	Secret string // whsec_ and base64
}

// Webhook is a stand-in receiver on loopback that checks Standard Webhooks signatures. What it
// does with a message depends on the path:
//
//	path            what happens
//	/hook/ok        200
//	/hook/flaky     503 for the first two attempts of a webhook-id, then 200
//	/hook/503       503
//	/hook/429       429 with Retry-After: 2
//	/hook/410       410
//	/hook/400       400
//	/hook/hang      taken and never answered
//	/hook/mute      neither taken nor answered
//	/hook/cut       taken, and the connection broken without an answer
//	/hook/drip      taken, and answered a byte a second for ever
//	/hook/page      taken, and answered 200 with a web page
//	/hook/error     taken, and answered 200 with an error in the body
//	/hook/redirect  307 to a cloud's metadata address, which nobody must follow
//
// A wrong or missing signature, or a clock off by more than five minutes, is answered with 401.
type Webhook struct {
	*web
	sink     Sink
	verifier *standardwebhooks.Webhook
	tries    tries // attempts by webhook-id

	mu    sync.Mutex
	taken map[string]int // webhook-id → how often it was taken
}

// StartWebhook starts a receiver that hands every message taken to sink.
func StartWebhook(cfg WebhookConfig, sink Sink) (*Webhook, error) {
	verifier, err := standardwebhooks.NewWebhook(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	h := &Webhook{sink: sink, verifier: verifier, taken: make(map[string]int)}
	if h.web, err = openWeb(cfg.Addr); err != nil {
		return nil, err
	}
	h.start(h.serve)
	return h, nil
}

// Attempts is how often a webhook-id came with a good signature.
func (h *Webhook) Attempts(id string) int { return h.tries.count(id) }

// Repeated lists the webhook-ids that were taken more than once, sorted: a receiver must drop the
// second one, and here it shows that there was one.
func (h *Webhook) Repeated() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, n := range h.taken {
		if n > 1 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (h *Webhook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	if err := h.verifier.Verify(body, r.Header); err != nil {
		http.Error(w, "the signature does not match", http.StatusUnauthorized)
		return
	}
	id := r.Header.Get(standardwebhooks.HeaderWebhookID)
	attempt := h.tries.next(id)
	switch strings.TrimPrefix(r.URL.Path, "/hook/") {
	case "ok":
		h.take(r, id, body)
	case "flaky":
		if attempt <= 2 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		h.take(r, id, body)
	case "503":
		http.Error(w, "out of service", http.StatusServiceUnavailable)
	case "429":
		w.Header().Set("Retry-After", "2")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case "410":
		http.Error(w, "no more, please", http.StatusGone)
	case "400":
		http.Error(w, "a field is missing", http.StatusBadRequest)
	case "hang":
		h.take(r, id, body)
		h.hang(r)
	case "mute":
		h.hang(r)
	case "cut":
		h.take(r, id, body)
		panic(http.ErrAbortHandler)
	case "drip":
		h.take(r, id, body)
		h.drip(w, r, "{")
	case "page":
		h.take(r, id, body)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html>login to continue</html>")
	case "error":
		h.take(r, id, body)
		answer(w, http.StatusOK, map[string]any{"error": "the order is not known"})
	case "redirect":
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	default:
		http.NotFound(w, r)
	}
}

func (h *Webhook) take(r *http.Request, id string, body []byte) {
	h.mu.Lock()
	if len(h.taken) >= maxTries {
		clear(h.taken)
	}
	h.taken[id]++
	h.mu.Unlock()
	headers := make(map[string]string, len(r.Header))
	for name, values := range r.Header {
		headers[name] = values[0]
	}
	h.sink(Item{
		Time: time.Now(), Kind: "webhook", To: r.URL.Path, ID: id, Delivery: id,
		Text: clip(string(body)), Raw: clip(string(body)), Headers: headers,
	})
}
