package aliyun

import (
	"encoding/json"
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

// The AccessKey pair of these tests, known to nobody else.
const (
	keyID     = "LTAI5tCanaryCanary7391"
	keySecret = "canarySecretOfTheAccessKey7391"
)

// gateway is the scripted far side.
type gateway struct {
	door *sandbox.Door
	done chan struct{}
	// respond, when set, answers in place of the behaviour.
	respond http.HandlerFunc

	mu        sync.Mutex
	behaviour channeltest.Behaviour
	taken     []string
}

func (g *gateway) Behave(b channeltest.Behaviour) {
	g.mu.Lock()
	g.behaviour = b
	g.mu.Unlock()
	if err := g.door.SetDown(b == channeltest.Unreachable); err != nil {
		panic(err)
	}
}

func (g *gateway) Taken() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.taken)
}

func reply(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.respond != nil {
		g.respond(w, r)
		return
	}
	g.mu.Lock()
	b := g.behaviour
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		g.taken = append(g.taken, r.URL.Query().Get("OutId"))
	}
	g.mu.Unlock()
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak:
		if b == channeltest.AcceptThenBreak {
			w.Header().Set("Connection", "close")
		}
		reply(w, http.StatusOK, map[string]any{"Code": "OK", "Message": "OK", "BizId": "900619746936498^0", "RequestId": "1"})
	case channeltest.Refuse: // with the number and a variable, as Aliyun does
		reply(w, http.StatusOK, map[string]any{
			"Code":    "isv.MOBILE_NUMBER_ILLEGAL",
			"Message": r.URL.Query().Get("PhoneNumbers") + " invalid mobile number " + r.URL.Query().Get("TemplateParam"),
		})
	case channeltest.Throttle:
		reply(w, http.StatusOK, map[string]any{"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发小时级流控Permits:5"})
	case channeltest.Fail:
		reply(w, http.StatusOK, map[string]any{"Code": "isp.SYSTEM_ERROR", "Message": "isp.SYSTEM_ERROR"})
	case channeltest.HangUp, channeltest.Cut:
		panic(http.ErrAbortHandler)
	case channeltest.Hang:
		select {
		case <-r.Context().Done():
		case <-g.done:
		}
	}
}

func openGateway(t *testing.T) *gateway {
	t.Helper()
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{door: door, done: make(chan struct{})}
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(door) })
	t.Cleanup(func() {
		close(g.done)
		door.Close()
		server.Close()
		served.Wait()
	})
	return g
}

// open opens a channel from YAML, as yizhan.yaml has it, with the tests' AccessKey pair.
func open(t *testing.T, env channels.Env, yaml string) (*Channel, error) {
	t.Helper()
	t.Setenv("YIZHAN_TEST_KEY_ID", keyID)
	t.Setenv("YIZHAN_TEST_KEY_SECRET", keySecret)
	yaml = "kind: sms\nprovider: aliyun\naccess_key_id_env: YIZHAN_TEST_KEY_ID\naccess_key_secret_env: YIZHAN_TEST_KEY_SECRET\n" + yaml
	ch, err := New(env, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { ch.Close() })
	return ch.(*Channel), nil
}

func mustOpen(t *testing.T, env channels.Env, yaml string) *Channel {
	t.Helper()
	ch, err := open(t, env, "signature: 华星科技\n"+yaml)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestContract(t *testing.T) {
	channeltest.Contract(t, channeltest.Rig{
		Kind: "sms", Address: channels.Phone,
		Secrets: []string{keyID, keySecret},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			g := openGateway(t)
			return mustOpen(t, env, "endpoint: http://"+g.door.Addr().String()+"\n"), g
		},
	})
}
