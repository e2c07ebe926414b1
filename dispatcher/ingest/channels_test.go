package ingest

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/weather"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestChannelsTellTheWeather(t *testing.T) {
	r := newRig(t)
	base := r.serve(open())
	list := func() ChannelList {
		t.Helper()
		var out ChannelList
		request{method: "GET", url: base + "/v1/channels"}.do(t).want(t, http.StatusOK, &out)
		return out
	}
	quiet := list()
	if len(quiet.Channels) != 1 || quiet.Channels[0].State != ChannelIdle || quiet.Channels[0].Kind != "sms" || len(quiet.Channels[0].Hour.Series) != 60 {
		t.Fatalf("%+v", quiet)
	}
	var pod weather.Recorder
	now := time.Now()
	note := func(n int, channel, code string, class channels.Class) {
		for range n {
			var f *channels.Failure
			if code != "" {
				f = &channels.Failure{Kind: "sms", Provider: "aliyun", Code: code, Line: "canary 13800138000"}
			}
			pod.Note(now, channel, f, class, 50*time.Millisecond)
		}
	}
	note(85, "sms", "", "")
	note(15, "sms", "isv.AMOUNT_NOT_ENOUGH", channels.Config)
	note(80, "numbers", "", "") // wrong numbers are nobody's weather
	note(20, "numbers", "isv.MOBILE_NUMBER_ILLEGAL", channels.BadTarget)
	note(1, "gone", "", "")
	pod.Break(now, "gone", []channels.Broken{{Destination: "erp.example.com", Since: now, Cause: &channels.Failure{Kind: "webhook", Code: "http:503", Class: channels.Temporary}}})
	if left, err := weather.Publish(t.Context(), r.d.Broker, "pod-1", pod.Take(time.Time{})); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	var got ChannelList
	eventually(t, "the summary is read", func() bool { got = list(); return len(got.Channels) == 3 })
	gone, numbers, sms := got.Channels[0], got.Channels[1], got.Channels[2]
	if numbers.State != ChannelGood || numbers.Hour.OK != 80 {
		t.Errorf("%+v", numbers)
	}
	if sms.State != ChannelPoor || sms.Hour.Calls != 100 || sms.Hour.OK != 85 || sms.Day.Outcomes["config"] != 15 {
		t.Errorf("%+v", sms.Hour)
	}
	if len(sms.Hour.Causes) != 1 || sms.Hour.Causes[0].Count != 15 || sms.Hour.Causes[0].Cause.Zh != "号码有误" || sms.Hour.Causes[0].Remedy.En == "" {
		t.Errorf("causes %+v", sms.Hour.Causes)
	}
	if gone.Name != "gone" || gone.Kind != "" || gone.State != ChannelBroken || gone.Broken[0].Worker != "pod-1" || gone.Broken[0].Cause.Code != "http:503" {
		t.Errorf("%+v", gone)
	}
	raw := request{method: "GET", url: base + "/v1/channels"}.do(t)
	if bytes.Contains(raw.body, []byte("canary")) {
		t.Error("the third party's words are shown")
	}
}

// The weather is for those who operate, a preview for those who publish as well.
func TestChannelsAndPreviewsNeedARole(t *testing.T) {
	r := newRig(t)
	dir, file := secretFile(t, secretOne)
	cfg := open()
	cfg.Dir = dir
	cfg.HTTP.Auth = AuthKeys
	for _, role := range []string{RolePublish, RoleOperate, RoleExport} {
		cfg.Keys = append(cfg.Keys, Key{ID: role, SecretFile: file, Roles: []string{role}, Tenants: []string{"acme"}})
	}
	base := r.serve(cfg)
	draft := `{"content":{"text":"您好"},"to":{"phone":"13800138000"}}`
	for _, tt := range []struct {
		role               string
		channels, previews int
	}{{RolePublish, 403, 200}, {RoleOperate, 200, 200}, {RoleExport, 403, 403}} {
		h := map[string]string{"Authorization": "Bearer " + tt.role + "." + secretOne}
		if got := (request{method: "GET", url: base + "/v1/channels", header: h}).do(t).StatusCode; got != tt.channels {
			t.Errorf("%s: channels %d, want %d", tt.role, got, tt.channels)
		}
		if got := (request{url: base + "/v1/preview", body: draft, header: h}).do(t).StatusCode; got != tt.previews {
			t.Errorf("%s: preview %d, want %d", tt.role, got, tt.previews)
		}
	}
	h := map[string]string{"Authorization": "Bearer " + RolePublish + "." + secretOne}
	if p := (request{url: base + "/v1/preview", body: `{"content":{"text":"x"},"tenant":"default"}`, header: h}).do(t).problem(t); p.Status != http.StatusForbidden {
		t.Errorf("another tenant: %+v", p)
	}
}

// showing is a channel that can show its requests.
type showing struct{ refusing }

func (showing) Preview(d *schemas.Delivery) (channels.Wire, error) {
	if d.Message.Code == "SMS_2" {
		return channels.Wire{}, &channels.Failure{Kind: "sms", Code: "dispatcher:bad-params", Class: channels.Content}
	}
	return channels.Wire{Method: "POST", URL: "https://sms.example.com/?" + url.Values{"number": {d.To.Phone}, "text": {d.Message.Text}}.Encode()}, nil
}

func TestPreviewShowsMessageAndVerdict(t *testing.T) {
	r := newRig(t)
	r.d.Channels["sms"] = showing{}
	base := r.serve(open())
	ask := func(body string) []dispatcher.Preview {
		t.Helper()
		var out previewBody
		request{url: base + "/v1/preview", body: body}.do(t).want(t, http.StatusOK, &out)
		return out.Previews
	}
	got := ask(`{"template":"invoice-due","params":{"customer":"华星"},"to":{"phone":"138 0013 8000"}}`)
	if len(got) != 1 || got[0].Channel != "sms" || got[0].To != "138****8000" || got[0].Problem != nil ||
		got[0].Text != "【驿站】您好，华星 的账单已到期，请致电 13900139000" || got[0].Rules == nil || got[0].Rules.Action != "pass" {
		t.Fatalf("%+v", got)
	}
	u, err := url.Parse(got[0].Wire.URL)
	if err != nil || u.Query().Get("number") != "+8613800138000" {
		t.Errorf("%s, %v", got[0].Wire.URL, err)
	}
	for name, body := range map[string]string{
		"a value is missing":  `{"template":"invoice-due","to":{"phone":"13800138000"}}`,
		"no number":           `{"template":"invoice-due","params":{"customer":"华星"}}`,
		"the channel refuses": `{"template":"code","params":{"code":"123456"},"to":{"phone":"13800138000"}}`,
	} {
		if got := ask(body); len(got) != 1 || got[0].Problem == nil || got[0].Problem.Zh == "" || got[0].Wire != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, tt := range []struct{ body, pointer string }{
		{`{"template":"nothing"}`, "/template"},
		{`{}`, "/template"},
		{`{"template":"code","content":{"text":"x"}}`, "/template"},
		{`{"template":"code","channel":"fax"}`, "/channel"},
		{`{"template":"code","to":{"phone":"12"}}`, "/to/phone"},
		{`{"template":"code","to":{"email":"nobody"}}`, "/to/email"},
		{`{"template":"code","category":"spam"}`, "/category"},
		{`{"template":"code","tenant":"nobody"}`, "/tenant"},
	} {
		p := request{url: base + "/v1/preview", body: tt.body}.do(t).problem(t)
		if p.Status != http.StatusUnprocessableEntity || len(p.Problems) != 1 || p.Problems[0].Pointer != tt.pointer {
			t.Errorf("%s: %d %+v", tt.body, p.Status, p.Problems)
		}
	}
	if p := (request{url: base + "/v1/preview", body: `{"templat":"code"}`}).do(t).problem(t); !strings.Contains(p.Detail+pretty(p.Problems), "templat") {
		t.Errorf("%+v", p)
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d events stored", n)
	}
}
