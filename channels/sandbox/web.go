package sandbox

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
	"time"
)

// web is an HTTP server on loopback behind a [Door].
type web struct {
	door   *Door
	server *http.Server
	served chan struct{} // closed when the accept loop has ended
	done   chan struct{} // closed by Close: ends the requests that hang
	close  func() error
}

func openWeb(addr string) (*web, error) {
	door, err := OpenDoor(addr)
	if err != nil {
		return nil, err
	}
	w := &web{door: door, served: make(chan struct{}), done: make(chan struct{})}
	w.close = sync.OnceValue(w.end)
	return w, nil
}

// start serves h until Close.
func (w *web) start(h http.HandlerFunc) {
	w.server = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // broken connections are this server's trade
	}
	go func() {
		defer close(w.served)
		_ = w.server.Serve(w.door) // ends when the door is closed
	}()
}

// URL is the address of the server's root, without a slash at its end.
func (w *web) URL() string { return "http://" + w.door.Addr().String() }

// SetDown takes the server off the network, open connections included, or puts it back on the same port.
func (w *web) SetDown(down bool) error { return w.door.SetDown(down) }

// Close ends the server, its connections included.
func (w *web) Close() error { return w.close() }

func (w *web) end() error {
	close(w.done)
	w.door.Close()
	<-w.served
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// hang keeps a request without an answer until the client goes or the server ends.
func (w *web) hang(r *http.Request) {
	t := time.NewTimer(hangLimit)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-w.done:
	case <-t.C:
	}
	panic(http.ErrAbortHandler) // no answer, not even an empty one
}

// drip answers 200 and begin, and then a byte a second until the client goes or the server ends.
func (w *web) drip(to http.ResponseWriter, r *http.Request, begin string) {
	to.Header().Set("Content-Type", "application/json; charset=utf-8")
	out := http.NewResponseController(to)
	_, _ = io.WriteString(to, begin)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range int(hangLimit / time.Second) {
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
			_, _ = io.WriteString(to, ".")
		case <-r.Context().Done():
			return
		case <-w.done:
			return
		}
	}
}

// tries counts attempts by key; it forgets everything rather than grow without bound.
type tries struct {
	mu sync.Mutex
	n  map[string]int
}

const maxTries = 100_000

// next is the number of this attempt, from 1.
func (t *tries) next(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil || len(t.n) >= maxTries {
		t.n = make(map[string]int)
	}
	t.n[key]++
	return t.n[key]
}

func (t *tries) count(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[key]
}
