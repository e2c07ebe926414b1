package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// The secrets of these tests, known to nobody else.
const (
	secretID  = "AKIDCanaryCanaryCanary7391"
	secretKey = "canarySecretKey7391"
)

func reply200(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// says answers every request with v.
func says(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply200(w, v) }
}

type m = map[string]any

func tencentGateway() *channeltest.Web {
	status := func(code, message string) http.HandlerFunc {
		return says(m{"Response": m{"RequestId": "r", "SendStatusSet": []m{{"Code": code, "Message": message, "SerialNo": "5000:1045710669157053657849499619"}}}})
	}
	return &channeltest.Web{
		ID: func(_ *http.Request, body []byte) string {
			var in struct{ SessionContext string }
			_ = json.Unmarshal(body, &in)
			return in.SessionContext
		},
		Accept: status("Ok", "send success"),
		// With the number and a variable, so that the suite sees that they do not get through.
		Refuse:   status("FailedOperation.PhoneNumberInBlacklist", "+8613912345678 canary-body-7391 is on the list"),
		Throttle: status("LimitExceeded.PhoneNumberThirtySecondLimit", "the number of SMS messages within 30 seconds exceeds the limit"),
		Fail:     says(m{"Response": m{"RequestId": "r", "Error": m{"Code": "ResourceUnavailable", "Message": "out of service"}}}),
	}
}

func huaweiGateway() *channeltest.Web {
	return &channeltest.Web{
		ID: func(_ *http.Request, body []byte) string {
			form, _ := url.ParseQuery(string(body))
			return form.Get("extend")
		},
		Accept:   says(m{"code": "000000", "description": "Success", "result": []m{{"originTo": "+8613912345678", "status": "000000", "smsMsgId": "d6e3cdd0-522b-4692-8304-a07553cdf591_8539659"}}}),
		Refuse:   says(m{"code": "E000510", "description": "The SMS fails to be sent. For details, see status.", "result": []m{{"originTo": "+8613912345678", "status": "E200028", "smsMsgId": ""}}}),
		Throttle: says(m{"code": "E000623", "description": "the quota is used up"}),
		Fail:     says(m{"code": "E000000", "description": "system exception"}),
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
		open func() *channeltest.Web
	}{"tencent": {tencentYAML, tencentGateway}, "huawei": {huaweiYAML, huaweiGateway}} {
		t.Run(name, func(t *testing.T) {
			channeltest.Contract(t, channeltest.Rig{
				Kind: "sms", Address: channels.Phone,
				Secrets: []string{secretID, secretKey},
				Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
					g := far.open()
					return mustOpen(t, env, far.yaml+"endpoint: "+g.Start(t)+"\n"), g
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
			g := &channeltest.Web{
				ID: func(_ *http.Request, body []byte) string {
					var in struct {
						UID string `json:"uid"`
					}
					_ = json.Unmarshal(body, &in)
					return in.UID
				},
				Accept: says(m{"code": 0, "msg": "ok", "sid": 9223372036854775807}), Refuse: says(m{"code": 21, "msg": "13912345678 is no number"}),
				Throttle: says(m{"code": 8, "msg": "slow down", "retry_after": 3}), Fail: says(m{"code": 500, "msg": "busy"}),
			}
			url := g.Start(t)
			write(t, env.Dir, "own.yaml", own)
			return mustOpen(t, env, "api: ./own.yaml\nsettings: {account: acme, password_env: YIZHAN_TEST_KEY}\nendpoint: "+url+"\n"), g
		},
	})
}
