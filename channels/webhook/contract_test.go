package webhook

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// secret is 32 bytes, of no other use than these tests.
const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// receiver is the scripted far side.
type receiver struct {
	door *sandbox.Door
	done chan struct{}
	says dialect

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

// dialect is how a receiver answers.
type dialect struct {
	ok, refuse, throttle func(w http.ResponseWriter)
	id                   func(req *http.Request, body []byte) string // of the delivery
}

// plainly says it with the status alone.
var plainly = dialect{
	ok:     func(w http.ResponseWriter) { _, _ = w.Write([]byte("ok")) },
	refuse: func(w http.ResponseWriter) { http.Error(w, "a field is missing", http.StatusUnprocessableEntity) },
	throttle: func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "2")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	},
	id: func(req *http.Request, _ []byte) string { return req.Header.Get("webhook-id") },
}

var deliveryID = regexp.MustCompile(`[a-z2-7]{29}`)

// chatting says everything with 200 and a body, as the chat platforms do. They know no ids: the tests put it into the title.
func chatting(ok, refuse, throttle string) dialect {
	say := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = w.Write([]byte(body)) }
	}
	return dialect{
		ok: say(ok), refuse: say(refuse), throttle: say(throttle),
		id: func(_ *http.Request, body []byte) string { return string(deliveryID.Find(body)) },
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	b := r.behaviour
	r.mu.Unlock()
	if b == channeltest.HangUp {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		r.mu.Lock()
		r.taken = append(r.taken, r.says.id(req, body))
		r.mu.Unlock()
	}
	switch b {
	case channeltest.Accept:
		r.says.ok(w)
	case channeltest.Refuse:
		r.says.refuse(w)
	case channeltest.Throttle:
		r.says.throttle(w)
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
		r.says.ok(w)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func openReceiver(t *testing.T, says dialect) *receiver {
	t.Helper()
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{door: door, done: make(chan struct{}), says: says}
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
	if r, ok := ch.(*Robot); ok {
		return r.Channel, nil
	}
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
			far := openReceiver(t, plainly)
			return mustOpen(t, env, "kind: webhook\nurl: http://"+far.door.Addr().String()+"/hook/pathtoken7391?key=querytoken7391\n"), far
		},
	})
}

func TestRobotContract(t *testing.T) {
	const feishuOK = `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`
	for _, c := range []struct {
		format, form, path, secret string
		says                       dialect
	}{
		{
			"dingtalk", formCard, "/robot/send?access_token=pathtoken7391", "SECsecret7391",
			chatting(`{"errcode":0,"errmsg":"ok"}`, `{"errcode":430102,"errmsg":"含有不合适的文本"}`, `{"errcode":130101,"errmsg":"send too fast"}`),
		},
		{
			"wecom", formText, "/cgi-bin/webhook/send?key=pathtoken7391", "",
			chatting(`{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url pathtoken7391"}`, `{"errcode":45009,"errmsg":"api freq out of limit"}`),
		},
		{
			"feishu", formCard, "/open-apis/bot/v2/hook/pathtoken7391", "secret7391",
			chatting(feishuOK, `{"code":19024,"msg":"Key Words Not Found"}`, `{"code":11232,"msg":"frequency limited"}`),
		},
		{"slack", formMarkdown, "/services/T0/B0/pathtoken7391", "", func() dialect {
			d := chatting("ok", "", "")
			d.refuse = func(w http.ResponseWriter) { http.Error(w, "no_service", http.StatusNotFound) }
			d.throttle = func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "rate_limited", http.StatusTooManyRequests)
			}
			return d
		}()},
	} {
		t.Run(c.format, func(t *testing.T) {
			channeltest.Contract(t, channeltest.Rig{
				Kind: "webhook", Address: channels.None,
				Secrets: []string{"secret7391", "pathtoken7391"},
				Adjust: func(d *schemas.Delivery) {
					d.Message.Subject = "账单 " + d.ID
					d.Message.Text += "\n[查看](https://erp.example.com/x)"
				},
				Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
					far := openReceiver(t, c.says)
					yaml := "kind: webhook\nformat: " + c.format + "\nmessage: " + c.form + "\nurl: http://" + far.door.Addr().String() + c.path + "\n"
					if c.secret != "" {
						if err := os.WriteFile(filepath.Join(env.Dir, "secret"), []byte(c.secret+"\n"), 0o600); err != nil {
							t.Fatal(err)
						}
						yaml += "secret_file: secret\n"
					}
					ch, err := New(env, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
					if err != nil {
						t.Fatal(err)
					}
					return ch, far
				},
			})
		})
	}
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
	if f.Code != "http:404" || !strings.Contains(f.Line, "cannot POST") || bytes.Contains([]byte(f.Line), []byte("token7391")) {
		t.Errorf("Failure = %s %q, want http:404 and no part of the address", f.Code, f.Line)
	}
}
