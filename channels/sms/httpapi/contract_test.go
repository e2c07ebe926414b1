package httpapi

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// The secrets of these tests, known to nobody else.
const (
	secretID  = "AKIDCanaryCanaryCanary7391"
	secretKey = "canarySecretKey7391"
)

// gateway is the scripted far side: a provider's way of saying what the suite orders.
type gateway struct {
	door *sandbox.Door
	done chan struct{}
	// id reads the delivery id from a request's body.
	id func(body []byte) string
	// say gives the answers.
	accept                 any
	refuse, throttle, fail any
	respond                http.HandlerFunc // when set, answers in place of all that

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

func reply200(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.respond != nil {
		g.respond(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	b := g.behaviour
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		g.taken = append(g.taken, g.id(body))
	}
	g.mu.Unlock()
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak:
		if b == channeltest.AcceptThenBreak {
			w.Header().Set("Connection", "close")
		}
		reply200(w, g.accept)
	case channeltest.Refuse:
		reply200(w, g.refuse)
	case channeltest.Throttle:
		reply200(w, g.throttle)
	case channeltest.Fail:
		reply200(w, g.fail)
	case channeltest.HangUp, channeltest.Cut:
		panic(http.ErrAbortHandler)
	case channeltest.Hang:
		select {
		case <-r.Context().Done():
		case <-g.done:
		}
	}
}

func (g *gateway) start(t *testing.T) string {
	t.Helper()
	door, err := sandbox.OpenDoor("")
	if err != nil {
		t.Fatal(err)
	}
	g.door, g.done = door, make(chan struct{})
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(door) })
	t.Cleanup(func() {
		close(g.done)
		door.Close()
		server.Close()
		served.Wait()
	})
	return "http://" + door.Addr().String()
}

type m = map[string]any

func tencentGateway() *gateway {
	status := func(code, message string) any {
		return m{"Response": m{"RequestId": "r", "SendStatusSet": []m{{"Code": code, "Message": message, "SerialNo": "5000:1045710669157053657849499619"}}}}
	}
	return &gateway{
		id: func(body []byte) string {
			var in struct{ SessionContext string }
			_ = json.Unmarshal(body, &in)
			return in.SessionContext
		},
		accept: status("Ok", "send success"),
		// With the number and a variable, so that the suite sees that they do not get through.
		refuse:   status("FailedOperation.PhoneNumberInBlacklist", "+8613912345678 canary-body-7391 is on the list"),
		throttle: status("LimitExceeded.PhoneNumberThirtySecondLimit", "the number of SMS messages within 30 seconds exceeds the limit"),
		fail:     m{"Response": m{"RequestId": "r", "Error": m{"Code": "ResourceUnavailable", "Message": "out of service"}}},
	}
}

func huaweiGateway() *gateway {
	return &gateway{
		id: func(body []byte) string {
			form, _ := url.ParseQuery(string(body))
			return form.Get("extend")
		},
		accept:   m{"code": "000000", "description": "Success", "result": []m{{"originTo": "+8613912345678", "status": "000000", "smsMsgId": "d6e3cdd0-522b-4692-8304-a07553cdf591_8539659"}}},
		refuse:   m{"code": "E000510", "description": "The SMS fails to be sent. For details, see status.", "result": []m{{"originTo": "+8613912345678", "status": "E200028", "smsMsgId": ""}}},
		throttle: m{"code": "E000623", "description": "the quota is used up"},
		fail:     m{"code": "E000000", "description": "system exception"},
	}
}

const (
	tencentYAML = "api: tencent\nsettings: {app_id: '1400000001', secret_id_env: YIZHAN_TEST_ID, secret_key_env: YIZHAN_TEST_KEY}\n"
	huaweiYAML  = "api: huawei\nsettings: {sender: '8823040504797', app_key_env: YIZHAN_TEST_ID, app_secret_env: YIZHAN_TEST_KEY}\n"
)

// openYAML opens a channel from YAML, as yizhan.yaml has it, with the tests' secrets.
func openYAML(t *testing.T, env channels.Env, yaml string) (channels.Channel, error) {
	t.Helper()
	t.Setenv("YIZHAN_TEST_ID", secretID)
	t.Setenv("YIZHAN_TEST_KEY", secretKey)
	ch, err := New(env, func(v any) error { return strictyaml.Decode([]byte("kind: sms\nprovider: httpapi\n"+yaml), v) })
	if err == nil {
		t.Cleanup(func() { ch.Close() })
	}
	return ch, err
}

func mustOpen(t *testing.T, env channels.Env, yaml string) channels.Channel {
	t.Helper()
	ch, err := openYAML(t, env, "signature: 华星科技\n"+yaml)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestContract(t *testing.T) {
	for name, far := range map[string]struct {
		yaml string
		open func() *gateway
	}{"tencent": {tencentYAML, tencentGateway}, "huawei": {huaweiYAML, huaweiGateway}} {
		t.Run(name, func(t *testing.T) {
			channeltest.Contract(t, channeltest.Rig{
				Kind: "sms", Address: channels.Phone,
				Secrets: []string{secretID, secretKey},
				Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
					g := far.open()
					return mustOpen(t, env, far.yaml+"endpoint: "+g.start(t)+"\n"), g
				},
			})
		})
	}
}

// A provider of one's own, as docs/sms.md shows it.
func TestContractOfOnesOwn(t *testing.T) {
	own := strings.NewReplacer("https://api.example.com", "https://127.0.0.1").Replace(ownAPI)
	channeltest.Contract(t, channeltest.Rig{
		Kind: "sms", Address: channels.Phone,
		Secrets: []string{secretKey},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			g := &gateway{
				id: func(body []byte) string {
					var in struct {
						UID string `json:"uid"`
					}
					_ = json.Unmarshal(body, &in)
					return in.UID
				},
				accept: m{"code": 0, "msg": "ok", "sid": 9223372036854775807}, refuse: m{"code": 21, "msg": "13912345678 is no number"},
				throttle: m{"code": 8, "msg": "slow down", "retry_after": 3}, fail: m{"code": 500, "msg": "busy"},
			}
			url := g.start(t)
			write(t, env.Dir, "own.yaml", own)
			return mustOpen(t, env, "api: ./own.yaml\nsettings: {account: acme, password_env: YIZHAN_TEST_KEY}\nendpoint: "+url+"\n"), g
		},
	})
}
