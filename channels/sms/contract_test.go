package sms_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/channels/sms/httpapi"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// pair is Tencent and Huawei at one address, both doing what the suite orders.
func pair() *channeltest.Web {
	ofTencent := func(r *http.Request) bool { return r.Header.Get("X-TC-Action") != "" }
	say := func(tencent, huawei string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if ofTencent(r) {
				_, _ = io.WriteString(w, `{"Response":{"SendStatusSet":[{"Code":"`+tencent+`","SerialNo":"1"}]}}`)
				return
			}
			_, _ = io.WriteString(w, `{"code":"`+huawei+`","result":[{"status":"`+huawei+`","smsMsgId":"1"}]}`)
		}
	}
	return &channeltest.Web{
		ID: func(r *http.Request, body []byte) string {
			if !ofTencent(r) {
				form, _ := url.ParseQuery(string(body))
				return form.Get("extend")
			}
			var in struct{ SessionContext string }
			_ = json.Unmarshal(body, &in)
			return in.SessionContext
		},
		Accept:   say("Ok", "000000"),
		Refuse:   say("FailedOperation.PhoneNumberInBlacklist", "E200028"),
		Throttle: say("LimitExceeded.PhoneNumberDailyLimit", "E000623"),
		Fail:     say("ResourceUnavailable", "E000000"),
	}
}

func TestContractOfSeveral(t *testing.T) {
	const secret = "canarySecret7391"
	channeltest.Contract(t, channeltest.Rig{
		Kind: "sms", Address: channels.Phone, Secrets: []string{secret},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			t.Setenv("YIZHAN_TEST_KEY", secret)
			p := pair()
			yaml := strings.ReplaceAll(`
kind: sms
signature: 华星科技
providers:
  - {name: tencent, provider: httpapi, api: tencent, weight: 9, endpoint: "URL", settings: {app_id: "1", secret_id_env: YIZHAN_TEST_KEY, secret_key_env: YIZHAN_TEST_KEY}}
  - {name: huawei, provider: httpapi, api: huawei, endpoint: "URL", settings: {sender: "1", app_key_env: YIZHAN_TEST_KEY, app_secret_env: YIZHAN_TEST_KEY}}
`, "URL", p.Start(t))
			ch, err := sms.New(map[string]channels.Factory{"httpapi": httpapi.New})(env, func(v any) error { return strictyaml.Decode([]byte(yaml), v) })
			if err != nil {
				t.Fatal(err)
			}
			return ch, p
		},
	})
}
