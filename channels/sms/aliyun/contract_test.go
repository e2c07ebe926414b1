package aliyun

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// The AccessKey pair of these tests, known to nobody else.
const (
	keyID     = "LTAI5tCanaryCanary7391"
	keySecret = "canarySecretOfTheAccessKey7391"
)

func reply(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// gateway says as Aliyun does what the suite orders.
func gateway() *channeltest.Web {
	says := func(v map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, v) }
	}
	return &channeltest.Web{
		ID:     func(r *http.Request, _ []byte) string { return r.URL.Query().Get("OutId") },
		Accept: says(map[string]any{"Code": "OK", "Message": "OK", "BizId": "900619746936498^0", "RequestId": "1"}),
		Refuse: func(w http.ResponseWriter, r *http.Request) { // with the number and a variable, as Aliyun does
			reply(w, http.StatusOK, map[string]any{
				"Code":    "isv.MOBILE_NUMBER_ILLEGAL",
				"Message": r.URL.Query().Get("PhoneNumbers") + " invalid mobile number " + r.URL.Query().Get("TemplateParam"),
			})
		},
		Throttle: says(map[string]any{"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发小时级流控Permits:5"}),
		Fail:     says(map[string]any{"Code": "isp.SYSTEM_ERROR", "Message": "isp.SYSTEM_ERROR"}),
	}
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
			g := gateway()
			return mustOpen(t, env, "endpoint: "+g.Start(t)+"\n"), g
		},
	})
}
