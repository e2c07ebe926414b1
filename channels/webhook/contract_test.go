package webhook

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// secret is 32 bytes, of no other use than these tests.
const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// plainly is a receiver that says it with the status alone.
func plainly() *channeltest.Web {
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }
	return &channeltest.Web{
		Accept: ok, AcceptThenBreak: channeltest.CutShort(ok),
		Refuse: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "a field is missing", http.StatusUnprocessableEntity)
		},
		Throttle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "2")
			http.Error(w, "slow down", http.StatusTooManyRequests)
		},
		ID: func(r *http.Request, _ []byte) string { return r.Header.Get("webhook-id") },
	}
}

var deliveryID = regexp.MustCompile(`[a-z2-7]{29}`)

// chatting says everything with 200 and a body, as the chat platforms do. They know no ids: the tests put it into the title.
func chatting(ok, refuse, throttle string) *channeltest.Web {
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	return &channeltest.Web{
		Accept: say(ok), AcceptThenBreak: channeltest.CutShort(say(ok)), Refuse: say(refuse), Throttle: say(throttle),
		ID: func(_ *http.Request, body []byte) string { return string(deliveryID.Find(body)) },
	}
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
			far := plainly()
			return mustOpen(t, env, "kind: webhook\nurl: "+far.Start(t)+"/hook/pathtoken7391?key=querytoken7391\n"), far
		},
	})
}

func TestRobotContract(t *testing.T) {
	saying := func(ok, refuse, throttle string) func() *channeltest.Web {
		return func() *channeltest.Web { return chatting(ok, refuse, throttle) }
	}
	const feishuOK = `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`
	for _, c := range []struct {
		format, form, path, secret string
		far                        func() *channeltest.Web
	}{
		{
			"dingtalk", formCard, "/robot/send?access_token=pathtoken7391", "SECsecret7391",
			saying(`{"errcode":0,"errmsg":"ok"}`, `{"errcode":430102,"errmsg":"含有不合适的文本"}`, `{"errcode":130101,"errmsg":"send too fast"}`),
		},
		{
			"wecom", formText, "/cgi-bin/webhook/send?key=pathtoken7391", "",
			saying(`{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url pathtoken7391"}`, `{"errcode":45009,"errmsg":"api freq out of limit"}`),
		},
		{
			"feishu", formCard, "/open-apis/bot/v2/hook/pathtoken7391", "secret7391",
			saying(feishuOK, `{"code":19024,"msg":"Key Words Not Found"}`, `{"code":11232,"msg":"frequency limited"}`),
		},
		{"slack", formMarkdown, "/services/T0/B0/pathtoken7391", "", func() *channeltest.Web {
			far := chatting("ok", "", "")
			far.Refuse = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no_service", http.StatusNotFound) }
			far.Throttle = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "rate_limited", http.StatusTooManyRequests)
			}
			return far
		}},
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
					far := c.far()
					yaml := "kind: webhook\nformat: " + c.format + "\nmessage: " + c.form + "\nurl: " + far.Start(t) + c.path + "\n"
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
	far := &channeltest.Web{Respond: func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "cannot POST "+r.RequestURI+" or "+r.URL.Path, http.StatusNotFound)
	}}
	ch := mustOpen(t, channels.Env{Simulated: true}, "kind: webhook\nurl: "+far.Start(t)+"/hook/pathtoken7391?key=querytoken7391\n")
	_, err := ch.Send(t.Context(), channeltest.Delivery(1))
	f := channels.Explain(err)
	if f.Code != "http:404" || !strings.Contains(f.Line, "cannot POST") || bytes.Contains([]byte(f.Line), []byte("token7391")) {
		t.Errorf("Failure = %s %q, want http:404 and no part of the address", f.Code, f.Line)
	}
}
