package webhook

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// secret is 32 bytes, of no other use than these tests.
const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// receiver is the scripted far side.
type receiver struct {
	door *sandbox.Door
	done chan struct{}

	mu        sync.Mutex
	behaviour channeltest.Behaviour
	taken     []string
}

func (r *receiver) Behave(b channeltest.Behaviour) {
	r.mu.Lock()
	r.behaviour = b
	r.mu.Unlock()
	if err := r.door.SetDown(b == channeltest.Unreachable); err != nil {
		panic(err)
	}
}

func (r *receiver) Taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	b := r.behaviour
	r.mu.Unlock()
	if b == channeltest.HangUp {
		panic(http.ErrAbortHandler)
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		r.mu.Lock()
		r.taken = append(r.taken, req.Header.Get("webhook-id"))
		r.mu.Unlock()
	}
	switch b {
	case channeltest.Refuse:
		http.Error(w, "a field is missing", http.StatusUnprocessableEntity)
	case channeltest.Throttle:
		w.Header().Set("Retry-After", "2")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case channeltest.Fail:
		http.Error(w, "out of service", http.StatusServiceUnavailable)
	case channeltest.Cut:
		panic(http.ErrAbortHandler)
	case channeltest.Hang:
		select {
		case <-req.Context().Done():
		case <-r.done:
		}
	case channeltest.AcceptThenBreak:
		w.Header().Set("Content-Length", "100") // and never that many
		_, _ = w.Write([]byte("ok"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func openReceiver(t *testing.T) *receiver {
	t.Helper()
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{door: door, done: make(chan struct{})}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(door) })
	t.Cleanup(func() {
		close(r.done)
		door.Close()
		server.Close()
		served.Wait()
	})
	return r
}

// open opens a channel from YAML, as yizhan.yaml has it.
func open(t *testing.T, env channels.Env, yaml string) (*Channel, error) {
	t.Helper()
	ch, err := New(env, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { ch.Close() })
	return ch.(*Channel), nil
}

func mustOpen(t *testing.T, env channels.Env, yaml string) *Channel {
	t.Helper()
	t.Setenv("YIZHAN_TEST_HOOK_SECRET", secret)
	ch, err := open(t, env, "secret_env: YIZHAN_TEST_HOOK_SECRET\n"+yaml)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestContract(t *testing.T) {
	channeltest.Contract(t, channeltest.Rig{
		Kind: "webhook", Address: channels.None,
		Secrets: []string{secret, "pathtoken7391", "querytoken7391"},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			far := openReceiver(t)
			return mustOpen(t, env, "kind: webhook\nurl: http://"+far.door.Addr().String()+"/hook/pathtoken7391?key=querytoken7391\n"), far
		},
	})
}

// A receiver that repeats the address in its answer, as many 404 pages do, must not publish it.
func TestAnswersDoNotShowTheAddress(t *testing.T) {
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "cannot POST "+r.RequestURI+" or "+r.URL.Path, http.StatusNotFound)
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(door) })
	t.Cleanup(func() { door.Close(); server.Close(); served.Wait() })
	ch := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\nurl: http://"+door.Addr().String()+"/hook/pathtoken7391?key=querytoken7391\n")
	_, err = ch.Send(t.Context(), channeltest.Delivery(1))
	f := channels.Explain(err)
	if f.Code != "http:404" || bytes.Contains([]byte(f.Line), []byte("token7391")) {
		t.Errorf("Failure = %s %q, want http:404 and no part of the address", f.Code, f.Line)
	}
}
