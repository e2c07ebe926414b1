package sms_test

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
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/channels/sms/httpapi"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// pair is Tencent and Huawei at one address, both doing what the suite orders.
type pair struct {
	door *sandbox.Door
	done chan struct{}

	mu        sync.Mutex
	behaviour channeltest.Behaviour
	taken     []string
}

func (p *pair) Behave(b channeltest.Behaviour) {
	p.mu.Lock()
	p.behaviour = b
	p.mu.Unlock()
	if err := p.door.SetDown(b == channeltest.Unreachable); err != nil {
		panic(err)
	}
}

func (p *pair) Taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.taken)
}

func (p *pair) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	tencent := r.Header.Get("X-TC-Action") != ""
	var in struct{ SessionContext string }
	if _ = json.Unmarshal(body, &in); !tencent {
		form, _ := url.ParseQuery(string(body))
		in.SessionContext = form.Get("extend")
	}
	p.mu.Lock()
	b := p.behaviour
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		p.taken = append(p.taken, in.SessionContext)
	}
	p.mu.Unlock()
	say := func(ofTencent, ofHuawei string) {
		if tencent {
			_, _ = io.WriteString(w, `{"Response":{"SendStatusSet":[{"Code":"`+ofTencent+`","SerialNo":"1"}]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"code":"`+ofHuawei+`","result":[{"status":"`+ofHuawei+`","smsMsgId":"1"}]}`)
	}
	switch b {
	case channeltest.Accept, channeltest.AcceptThenBreak:
		if b == channeltest.AcceptThenBreak {
			w.Header().Set("Connection", "close")
		}
		say("Ok", "000000")
	case channeltest.Refuse:
		say("FailedOperation.PhoneNumberInBlacklist", "E200028")
	case channeltest.Throttle:
		say("LimitExceeded.PhoneNumberDailyLimit", "E000623")
	case channeltest.Fail:
		say("ResourceUnavailable", "E000000")
	case channeltest.HangUp, channeltest.Cut:
		panic(http.ErrAbortHandler)
	case channeltest.Hang:
		select {
		case <-r.Context().Done():
		case <-p.done:
		}
	}
}

func TestContractOfSeveral(t *testing.T) {
	const secret = "canarySecret7391"
	channeltest.Contract(t, channeltest.Rig{
		Kind: "sms", Address: channels.Phone, Secrets: []string{secret},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			t.Setenv("YIZHAN_TEST_KEY", secret)
			door, err := sandbox.OpenDoor("")
			if err != nil {
				t.Fatal(err)
			}
			p := &pair{door: door, done: make(chan struct{})}
			server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
			var served sync.WaitGroup
			served.Go(func() { _ = server.Serve(door) })
			t.Cleanup(func() {
				close(p.done)
				door.Close()
				server.Close()
				served.Wait()
			})
			yaml := strings.ReplaceAll(`
kind: sms
signature: 华星科技
providers:
  - {name: tencent, provider: httpapi, api: tencent, weight: 9, endpoint: "URL", settings: {app_id: "1", secret_id_env: YIZHAN_TEST_KEY, secret_key_env: YIZHAN_TEST_KEY}}
  - {name: huawei, provider: httpapi, api: huawei, endpoint: "URL", settings: {sender: "1", app_key_env: YIZHAN_TEST_KEY, app_secret_env: YIZHAN_TEST_KEY}}
`, "URL", "http://"+door.Addr().String())
			ch, err := sms.New(map[string]channels.Factory{"httpapi": httpapi.New})(env, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
			if err != nil {
				t.Fatal(err)
			}
			return ch, p
		},
	})
}
