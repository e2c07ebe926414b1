package channeltest

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

// Web is a [FarSide] that speaks HTTP. It does what the suite orders; the fields say how the third party puts it into
// words. They are set before [Web.Start] and not changed after it; the handlers may read the request's body.
type Web struct {
	// ID reads the delivery's id from a request.
	ID func(r *http.Request, body []byte) string
	// Accept, Refuse and Throttle say so. Under Accept it is said once the delivery counts as taken.
	Accept, Refuse, Throttle http.HandlerFunc
	// Fail says that it cannot just now; nil is HTTP 503.
	Fail http.HandlerFunc
	// AcceptThenBreak says yes and breaks the connection; nil is what Accept says, whole, and then the end of
	// the connection. See [CutShort] for where the beginning of an answer is a yes.
	AcceptThenBreak http.HandlerFunc
	// Respond, when set, answers every request in place of all that; nothing is taken.
	Respond http.HandlerFunc

	door *sandbox.Door
	done chan struct{} // closed when the far side ends

	mu        sync.Mutex
	behaviour Behaviour
	taken     []string
}

// Start puts the far side up on a free port of loopback, under Accept, until t ends; it returns its URL, without a path.
func (f *Web) Start(t testing.TB) string {
	t.Helper()
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	f.door, f.done = door, make(chan struct{})
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(door) })
	t.Cleanup(func() {
		close(f.done)
		door.Close()
		server.Close()
		served.Wait()
	})
	return "http://" + door.Addr().String()
}

// Behave is part of [FarSide].
func (f *Web) Behave(b Behaviour) {
	f.mu.Lock()
	f.behaviour = b
	f.mu.Unlock()
	if err := f.door.SetDown(b == Unreachable); err != nil {
		panic(err)
	}
}

// Taken is part of [FarSide].
func (f *Web) Taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken)
}

// ServeHTTP does with a request what was ordered last.
func (f *Web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.Respond != nil {
		f.Respond(w, r)
		return
	}
	f.mu.Lock()
	b := f.behaviour
	f.mu.Unlock()
	if b == HangUp {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch b {
	case Accept, AcceptThenBreak, Cut, Hang:
		f.mu.Lock()
		f.taken = append(f.taken, f.ID(r, body))
		f.mu.Unlock()
	}
	switch b {
	case Accept:
		f.Accept(w, r)
	case AcceptThenBreak:
		f.acceptThenBreak(w, r)
	case Refuse:
		f.Refuse(w, r)
	case Throttle:
		f.Throttle(w, r)
	case Fail:
		f.fail(w, r)
	case Cut:
		panic(http.ErrAbortHandler)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-f.done:
		}
	}
}

func (f *Web) acceptThenBreak(w http.ResponseWriter, r *http.Request) {
	if f.AcceptThenBreak != nil {
		f.AcceptThenBreak(w, r)
		return
	}
	w.Header().Set("Connection", "close")
	f.Accept(w, r)
}

func (f *Web) fail(w http.ResponseWriter, r *http.Request) {
	if f.Fail != nil {
		f.Fail(w, r)
		return
	}
	http.Error(w, "out of service", http.StatusServiceUnavailable)
}

// CutShort says what say does, announces more, and breaks the connection in the middle of it.
func CutShort(say http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100") // and never that many
		say(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
