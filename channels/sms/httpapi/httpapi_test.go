package httpapi

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

// ownAPI is the example of the manual.
var ownAPI = func() string {
	b, err := os.ReadFile("../../../docs/examples/sms-provider.yaml")
	if err != nil {
		panic(err)
	}
	return string(b)
}()

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// far opens a channel to a far side that answers every call with respond.
func far(t *testing.T, yaml string, respond http.HandlerFunc) channels.Channel {
	t.Helper()
	g := &channeltest.Web{Respond: respond}
	return mustOpen(t, channels.Env{}, yaml+"timeout: 5s\nendpoint: "+g.Start(t)+"\n")
}

func delivery() *schemas.Delivery {
	d := channeltest.Delivery(1)
	d.Message.Code = "SMS_123"
	d.Message.Codes = map[string]string{"tencent": "1234567", "huawei": "8ff55eac1d0b478ab3c06c3c6a492300"}
	d.Message.Params = map[string]string{"customer": "<华星&贸易>", "amount": "12,300.00"}
	d.Message.ParamOrder = []string{"customer", "amount"}
	return d
}

func TestTencentRequest(t *testing.T) {
	var got map[string]any
	var headers http.Header
	ch := far(t, tencentYAML, func(w http.ResponseWriter, r *http.Request) {
		headers = r.Header
		_ = json.NewDecoder(r.Body).Decode(&got)
		tencentGateway().Accept(w, r)
	})
	d := delivery()
	receipt, err := ch.Send(t.Context(), d)
	if err != nil || receipt.ID != "5000:1045710669157053657849499619" || receipt.Reply != "send success" {
		t.Fatalf("Send = %+v, %v", receipt, err)
	}
	want := fmt.Sprint(map[string]any{
		"PhoneNumberSet": []any{"+8613912345678"}, "SmsSdkAppId": "1400000001", "SignName": "华星科技", "TemplateId": "1234567",
		"TemplateParamSet": []any{"<华星&贸易>", "12,300.00"}, "SessionContext": d.ID,
	})
	if fmt.Sprint(got) != want {
		t.Errorf("body = %v\nwant   %s", got, want)
	}
	if headers.Get("X-TC-Action") != "SendSms" || headers.Get("X-TC-Version") != "2021-01-11" || headers.Get("X-TC-Region") != "ap-guangzhou" {
		t.Errorf("headers %v", headers)
	}
}

func TestHuaweiRequest(t *testing.T) {
	var got url.Values
	ch := far(t, huaweiYAML, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, _ = url.ParseQuery(string(b))
		if r.URL.Path != "/sms/batchSendSms/v1" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s %s", r.URL.Path, r.Header.Get("Content-Type"))
		}
		huaweiGateway().Accept(w, r)
	})
	d := delivery()
	if receipt, err := ch.Send(t.Context(), d); err != nil || receipt.ID != "d6e3cdd0-522b-4692-8304-a07553cdf591_8539659" {
		t.Fatalf("Send = %+v, %v", receipt, err)
	}
	want := url.Values{ // statusCallback and signature are not set, so they are not sent
		"from": {"8823040504797"}, "to": {"+8613912345678"}, "templateId": {"8ff55eac1d0b478ab3c06c3c6a492300"},
		"templateParas": {`["<华星&贸易>","12,300.00"]`}, "extend": {d.ID},
	}
	if par := got.Get("templateParas"); par != want.Get("templateParas") {
		var list []string
		if json.Unmarshal([]byte(par), &list) != nil || !slices.Equal(list, []string{"<华星&贸易>", "12,300.00"}) {
			t.Errorf("templateParas = %s", par)
		}
	}
	got.Del("templateParas")
	want.Del("templateParas")
	if got.Encode() != want.Encode() {
		t.Errorf("form = %v\nwant   %v", got, want)
	}
}

// What the preview shows is what is sent, but for secrets and signatures.
func TestPreviewIsWhatIsSent(t *testing.T) {
	for _, yaml := range []string{tencentYAML, huaweiYAML} {
		var sent []byte
		ch := far(t, yaml, func(_ http.ResponseWriter, r *http.Request) { sent, _ = io.ReadAll(r.Body) })
		d := delivery()
		p, _ := ch.(channels.Previewer)
		wire, err := p.Preview(d)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = ch.Send(t.Context(), d)
		if string(wire.Body) != string(sent) || len(sent) == 0 {
			t.Errorf("preview %s\nsent    %s", wire.Body, sent)
		}
		all := fmt.Sprint(wire)
		for _, secret := range []string{secretID, secretKey, "PasswordDigest", "Signature="} {
			if strings.Contains(all, secret) {
				t.Errorf("the preview shows %s: %s", secret, all)
			}
		}
		d.To.Phone = ""
		if _, err := p.Preview(d); channels.Explain(err).Class != channels.BadTarget {
			t.Errorf("without a number: %v", err)
		}
	}
}

func TestAnswers(t *testing.T) {
	tencent := func(code string) string {
		return `{"Response":{"SendStatusSet":[{"Code":"` + code + `","Message":"m"}]}}`
	}
	tencentErr := func(code string) string { return `{"Response":{"Error":{"Code":"` + code + `","Message":"m"}}}` }
	for _, c := range []struct {
		yaml   string
		status int
		body   string
		code   string
		class  channels.Class
		maybe  bool
	}{
		{tencentYAML, 200, tencent("LimitExceeded.PhoneNumberDailyLimit"), "LimitExceeded.PhoneNumberDailyLimit", channels.Throttled, false},
		{tencentYAML, 200, tencent("FailedOperation.SignatureIncorrectOrUnapproved"), "FailedOperation.SignatureIncorrectOrUnapproved", channels.Config, false},
		{tencentYAML, 200, tencent("FailedOperation.TemplateParamSetNotMatchApprovedTemplate"), "FailedOperation.TemplateParamSetNotMatchApprovedTemplate", channels.Content, false},
		{tencentYAML, 200, tencent("InvalidParameterValue.IncorrectPhoneNumber"), "InvalidParameterValue.IncorrectPhoneNumber", channels.BadTarget, false},
		{tencentYAML, 200, tencent("InternalError.Timeout"), "InternalError.Timeout", channels.Unknown, true},
		{tencentYAML, 200, tencent("FailedOperation.NobodyKnows"), "FailedOperation.NobodyKnows", channels.Permanent, false},
		{tencentYAML, 200, tencentErr("AuthFailure.SignatureFailure"), "AuthFailure.SignatureFailure", channels.Auth, false},
		{tencentYAML, 200, tencentErr("RequestLimitExceeded"), "RequestLimitExceeded", channels.Throttled, false},
		{tencentYAML, 200, tencentErr("InternalError.OtherError"), "InternalError.OtherError", channels.Temporary, false},
		{tencentYAML, 500, tencentErr("InternalError.OtherError"), "InternalError.OtherError", channels.Unknown, true},
		{tencentYAML, 200, `{"Response":{"RequestId":"x"}}`, "dispatcher:empty-code", channels.Unknown, true},
		{tencentYAML, 200, `{"Response":{"SendStatusSet":[]}}`, "dispatcher:empty-code", channels.Unknown, true},
		{tencentYAML, 200, `{"Response":{"SendStatusSet":[{"Code":"Ok"}]}} trailing`, "dispatcher:http-200-no-code", channels.Unknown, true},
		{tencentYAML, 200, ``, "dispatcher:http-200-no-code", channels.Unknown, true},
		{tencentYAML, 200, `<html>login</html>`, "dispatcher:http-200-no-code", channels.Unknown, true},
		{tencentYAML, 200, strings.Repeat(" ", maxAnswer+2), "dispatcher:http-200-no-code", channels.Unknown, true},
		{tencentYAML, 503, `<html><title>503</title></html>`, "http:503", channels.Unknown, true},
		{tencentYAML, 409, `x`, "http:409", channels.Unknown, true},
		{tencentYAML, 302, tencent("Ok"), "http:3xx", channels.Config, false},
		{tencentYAML, 404, `x`, "http:404", channels.Config, false},
		{tencentYAML, 429, `x`, "http:429", channels.Throttled, false},
		{tencentYAML, 404, tencent("Ok"), "Ok", channels.Permanent, false}, // success needs a 2xx as well
		{huaweiYAML, 401, `{"code":"E000105","description":"PasswordDigest invalid"}`, "E000105", channels.Auth, false},
		{huaweiYAML, 200, `{"code":"E000510","description":"m","result":[{"status":"E200030"}]}`, "E200030", channels.Config, false},
		{huaweiYAML, 200, `{"code":"000000","description":"m","result":[{"status":"E200028"}]}`, "E200028", channels.Content, false},
		{huaweiYAML, 200, `{"code":"000000","description":"m"}`, "000000", channels.Unknown, true},
		{huaweiYAML, 200, `{"code":"000000","description":"m","result":[]}`, "dispatcher:empty-code", channels.Unknown, true},
		{huaweiYAML, 200, `{"code":"E000620"}`, "E000620", channels.Config, false},
	} {
		ch := far(t, c.yaml, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://example.com/")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		_, err := ch.Send(t.Context(), delivery())
		f, ok := errors.AsType[*channels.Failure](err)
		if !ok || f.Code != c.code || f.Class != c.class || f.Maybe != c.maybe || f.Kind != "sms" {
			t.Errorf("%d %.60s: %+v, want %s %s maybe %v", c.status, c.body, f, c.code, c.class, c.maybe)
		}
	}
}

func TestRetryAfterOfTheBody(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "own.yaml", ownAPI)
	g := &channeltest.Web{Respond: says(m{"code": 8, "msg": "slow", "retry_after": 90})}
	ch := mustOpen(t, channels.Env{Dir: dir}, "api: ./own.yaml\nsettings: {account: acme, password_env: YIZHAN_TEST_KEY}\nendpoint: "+g.Start(t)+"\n")
	_, err := ch.Send(t.Context(), delivery())
	if f := channels.Explain(err); f.After != 90*time.Second || f.Class != channels.Throttled || f.Provider != "example" {
		t.Errorf("%+v", f)
	}
}

func TestTencentWindows(t *testing.T) {
	for code, want := range map[string]time.Duration{
		"LimitExceeded.PhoneNumberThirtySecondLimit": 30 * time.Second, "LimitExceeded.PhoneNumberOneHourLimit": time.Hour, "LimitExceeded.SomethingElse": 0,
	} {
		ch := far(t, tencentYAML, func(w http.ResponseWriter, _ *http.Request) {
			reply200(w, m{"Response": m{"SendStatusSet": []m{{"Code": code, "Message": "m"}}}})
		})
		_, err := ch.Send(t.Context(), delivery())
		if f := channels.Explain(err); f.Class != channels.Throttled || f.After != want {
			t.Errorf("%s: %s after %v, want %v", code, f.Class, f.After, want)
		}
	}
}

// A send that never leaves: what is missing is told before any call.
func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	called := false
	ch := far(t, tencentYAML, func(http.ResponseWriter, *http.Request) { called = true })
	for code, spoil := range map[string]func(*schemas.Delivery){
		"dispatcher:no-number":        func(d *schemas.Delivery) { d.To.Phone = "" },
		"dispatcher:no-template-code": func(d *schemas.Delivery) { d.Message.Code, d.Message.Codes = "", nil },
		"dispatcher:text-too-long":    func(d *schemas.Delivery) { d.Message.Text = strings.Repeat("长", 495) },
	} {
		d := delivery()
		spoil(d)
		_, err := ch.Send(t.Context(), d)
		if f := channels.Explain(err); f.Code != code || f.Maybe {
			t.Errorf("%s: %+v", code, f)
		}
	}
	if called {
		t.Error("the provider was called")
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "deaf.yaml", ownAPI[:strings.Index(ownAPI, "\nreceipts:")+1])
	write(t, dir, "bad.yaml", strings.Replace(ownAPI, "body.code == 0 && body.sid != nil", "status == 200", 1))
	for _, c := range []struct{ yaml, pointer string }{
		{tencentYAML, "/signature"},
		{"signature: 【华星】\n" + tencentYAML, "/signature"},
		{"signature: 华星\n", "/api"},
		{"signature: 华星\napi: nobody\n", "/api"},
		{"signature: 华星\napi: ./absent.yaml\n", "/api"},
		{"signature: 华星\napi: ./bad.yaml\nsettings: {account: a, password_env: YIZHAN_TEST_KEY}\n", "/api"}, // HTTP 200 alone is no success
		{"signature: 华星\napi: tencent\nsettings: {secret_id_env: YIZHAN_TEST_ID, secret_key_env: YIZHAN_TEST_KEY}\n", "/settings/app_id"},
		{"signature: 华星\napi: tencent\nsettings: {app_id: '1', secret_key_env: YIZHAN_TEST_KEY}\n", "/settings/secret_id_file"},
		{"signature: 华星\napi: tencent\nsettings: {app_id: '1', secret_id_file: absent, secret_key_env: YIZHAN_TEST_KEY}\n", "/settings/secret_id_file"},
		{"signature: 华星\nendpoint: http://sms.tencentcloudapi.com\n" + tencentYAML, "/endpoint"},
		{"signature: 华星\nslots: -1\n" + tencentYAML, "/slots"},
		{"signature: 华星\nreceipts: {poll: true}\n" + huaweiYAML, "/receipts/poll"}, // there is nothing to ask
		{"signature: 华星\nreceipts: {token_env: X}\napi: ./deaf.yaml\nsettings: {account: a, password_env: YIZHAN_TEST_KEY}\n", "/receipts"},
		{"signature: 华星\n" + strings.Replace(tencentYAML, "app_id", "appid: x, app_id", 1), "/settings/appid"},
		{"signature: 华星\n" + strings.Replace(tencentYAML, "app_id", "secret_id: x, app_id", 1), "/settings/secret_id"}, // a secret is not written here
	} {
		_, err := openYAML(t, channels.Env{Dir: dir}, c.yaml)
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != c.pointer || bad.Problems[0].Zh == "" || bad.Problems[0].En == "" {
			t.Errorf("%q: %v, want a problem at %s in both languages", c.yaml, err, c.pointer)
		}
	}
	if tr := mustOpen(t, channels.Env{}, "receipts: {token_env: X}\n"+tencentYAML).Traits(); !tr.Receipts || tr.Provider != "tencent" || !tr.Once || !tr.Capped {
		t.Errorf("Traits = %+v", tr)
	}
	for yaml, can := range map[string][2]bool{tencentYAML: {true, true}, huaweiYAML: {false, true}} {
		ch := mustOpen(t, channels.Env{}, yaml)
		_, asks := ch.(channels.Reconciler)
		_, reports := ch.(channels.Reporter)
		if asks != can[0] || reports != can[1] {
			t.Errorf("%.20s: can be asked %v, reports %v; want %v", yaml, asks, reports, can)
		}
	}
}

// A mistake in a description shows when it is read, not when the first message meets it.
func TestDescriptionMistakes(t *testing.T) {
	if _, err := parse([]byte(ownAPI)); err != nil {
		t.Fatal(err)
	}
	for old, change := range map[string][2]string{
		`success: body.code == 0 && body.sid != nil`: {"", "success"},
		`message_id: body.sid`:                       {"message_id: body.(", "expected name"},
		`code: body.code`:                            {"code: item.code", "no item"},
		`"${unix|int}"`:                              {`"${unixx|int}"`, "unixx"},
		`mobile: "${number}"` + "\n    content":      {`mobile: "${number|loud}"` + "\n    content", "filters"},
		`path: /v2/sms/send`:                         {"path: https://evil.example.com/", "path"},
		`hash: md5`:                                  {"hash: crc32", "hash"},
		`scheme: digest`:                             {"scheme: magic", "scheme"},
		`throttled: ["8"]`:                           {`slow: ["8"]`, "slow"},
		`list: body.list`:                            {`list: item`, "no item"},
		`id: item.uid` + "\n    message_id: item.sid\n    delivered: item.state == \"DELIVRD\"\n    failed: item.state != \"DELIVRD\" && item": {"delivered: item.state == \"DELIVRD\"\n    failed: item.state != \"DELIVRD\" && item", "need id"},
		`account: {}`:                  {"number: {}", "number"},
		`password: {secret: true}`:     {"password: {secret: true, default: x}", "no default"},
		`endpoint: https://api`:        {"endpoint: http://api", "https"},
		`page_size: 50`:                {"page_size: 5000", "page_size"},
		`answer: {content_type`:        {`unknown: 1` + "\n  answer: {content_type", "unknown"},
		`text: "${account}${password}`: {`text: "${body}${password}`, "signs the body"},
		`provider: example`:            {"provider: Example!", "provider"},
		`method: GET`:                  {"method: GET\n    json: {a: b}", "one body"},
		`reply: item.reply`:            {"reply: status", "no status"},
		`channel: {default: "1"}`:      {`channel_file: {default: "1"}`, "_file"},
	} {
		text := strings.Replace(ownAPI, old, change[0], 1)
		if text == ownAPI {
			t.Errorf("the example has no %q", old)
			continue
		}
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), change[1]) {
			t.Errorf("%q in place of %q: %v, want an error about %s", change[0], old, err, change[1])
		}
	}
}

func TestTencentLookup(t *testing.T) {
	now := time.Now()
	d := delivery()
	row := func(id, status, code string, at time.Time) m {
		return m{"SessionContext": id, "ReportStatus": status, "Description": code, "UserReceiveTime": at.Unix(), "SerialNo": "s1"}
	}
	for name, c := range map[string]struct {
		rows  []m
		state schemas.State
	}{
		"nothing":   {nil, ""},
		"another's": {[]m{row("other", "SUCCESS", "DELIVRD", now)}, ""},
		"delivered": {[]m{row("other", "FAIL", "x", now), row(d.ID, "SUCCESS", "DELIVRD", now)}, schemas.Delivered},
		"failed":    {[]m{row(d.ID, "FAIL", "MK:0001", now)}, schemas.Undelivered},
		"both":      {[]m{row(d.ID, "FAIL", "MK:0001", now), row(d.ID, "SUCCESS", "DELIVRD", now)}, schemas.Delivered},
		"earlier":   {[]m{row(d.ID, "SUCCESS", "DELIVRD", now.Add(-2*time.Hour))}, ""},
	} {
		var asked map[string]any
		ch := far(t, tencentYAML, func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewDecoder(r.Body).Decode(&asked)
			if r.Header.Get("X-TC-Action") != "PullSmsSendStatusByPhoneNumber" {
				t.Errorf("action %s", r.Header.Get("X-TC-Action"))
			}
			rows := c.rows
			if rows == nil {
				rows = []m{}
			}
			reply200(w, m{"Response": m{"PullSmsSendStatusSet": rows, "RequestId": "r"}})
		})
		rc, _ := ch.(channels.Reconciler)
		l, err := rc.Lookup(t.Context(), d, now.Add(-time.Minute))
		if c.state == "" {
			// The list has only messages with a receipt: absence proves nothing, and must not lead to a second sending.
			if f := channels.Explain(err); err == nil || f.Code != "dispatcher:lookup-incomplete" || f.Maybe {
				t.Errorf("%s: %+v, %v; want an error", name, l, err)
			}
			continue
		}
		if err != nil || !l.Found || l.State != c.state || l.Receipt.ID != "s1" {
			t.Errorf("%s: %+v, %v; want %s", name, l, err, c.state)
		}
		if c.state == schemas.Undelivered && (l.Failure == nil || l.Failure.Provider != "tencent-receipt" || l.Failure.Class != channels.BadTarget) {
			t.Errorf("%s: %+v", name, l.Failure)
		}
		if asked["PhoneNumber"] != "+8613912345678" || asked["Limit"] != 100.0 {
			t.Errorf("asked for %v", asked)
		}
	}
	for _, body := range []string{`{"Response":{"Error":{"Code":"InternalError.Timeout","Message":"m"}}}`, ``, `{"Response":{"PullSmsSendStatusSet":null}}`} {
		ch := far(t, tencentYAML, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		rc, _ := ch.(channels.Reconciler)
		if l, err := rc.Lookup(t.Context(), d, now); err == nil || channels.Explain(err).Maybe {
			t.Errorf("%q: %+v, %v; want an error that doubts nothing: a question changes nothing", body, l, err)
		}
	}
}

// A provider whose list is complete: pages to the end, and what is not there was not taken.
func TestCompleteLookup(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "own.yaml", ownAPI)
	d := delivery()
	rows := make([]m, 120)
	for i := range rows {
		rows[i] = m{"uid": fmt.Sprint(i), "state": "WAIT", "sent": time.Now().In(china).Format(time.DateTime)}
	}
	pages := 0
	g := &channeltest.Web{Respond: func(w http.ResponseWriter, r *http.Request) {
		pages++
		var page int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		from := min((page-1)*50, len(rows))
		reply200(w, m{"code": 0, "list": rows[from:min(from+50, len(rows))]})
	}}
	ch := mustOpen(t, channels.Env{Dir: dir}, "api: ./own.yaml\nsettings: {account: acme, password_env: YIZHAN_TEST_KEY}\nendpoint: "+g.Start(t)+"\n")
	rc, _ := ch.(channels.Reconciler)
	if l, err := rc.Lookup(t.Context(), d, time.Now()); err != nil || l.Found || pages != 3 {
		t.Errorf("%+v, %v after %d pages; want not found after 3", l, err, pages)
	}
	rows[110]["uid"] = d.ID
	if l, err := rc.Lookup(t.Context(), d, time.Now()); err != nil || !l.Found || l.State != schemas.Accepted {
		t.Errorf("%+v, %v; want accepted", l, err)
	}
	rows[110]["uid"] = "110"
	rows = append(rows, make([]m, 50*maxPages)...)
	if l, err := rc.Lookup(t.Context(), d, time.Now()); err == nil || channels.Explain(err).Code != "dispatcher:lookup-too-long" {
		t.Errorf("%+v, %v: what could not be looked through is no absence", l, err)
	}
}

func TestReports(t *testing.T) {
	const tencentPush = `[{"user_receive_time":"2015-10-17 08:03:04","nationcode":"86","mobile":"13912345678","report_status":"SUCCESS","errmsg":"DELIVRD","description":"用户短信送达成功","sid":"s1","ext":"d1"},
		{"user_receive_time":"2015-10-17 08:03:05","nationcode":"86","mobile":"13912345679","report_status":"FAIL","errmsg":"MK:0001","description":"空号","sid":"s2"}]`
	at := time.Date(2015, 10, 17, 0, 3, 4, 0, time.UTC)
	for name, c := range map[string]struct {
		yaml, body string
		want       []channels.Report
		answer     string
	}{
		"tencent": {tencentYAML, tencentPush, []channels.Report{
			{DeliveryID: "d1", MessageID: "s1", Phone: "+8613912345678", State: schemas.Delivered, At: at},
			{MessageID: "s2", Phone: "+8613912345679", State: schemas.Undelivered, At: at.Add(time.Second)},
		}, `{"result":0,"errmsg":"OK"}`},
		"tencent reply": {tencentYAML, `{"extend":"01","mobile":"13912345678","nationcode":"86","sign":"华星科技","text":"R","time":1457336869}`, []channels.Report{
			{Phone: "+8613912345678", Reply: "R", ReplyTo: "华星科技", At: time.Unix(1457336869, 0)},
		}, `{"result":0,"errmsg":"OK"}`},
		"huawei": {huaweiYAML, "sequence=1&total=1&updateTime=2018-10-31T08%3A43%3A41Z&source=2&smsMsgId=2ea2&status=DELIVRD&extend=d1&to=%2B8613912345678", []channels.Report{
			{DeliveryID: "d1", MessageID: "2ea2", Phone: "+8613912345678", State: schemas.Delivered, At: time.Date(2018, 10, 31, 8, 43, 41, 0, time.UTC)},
		}, `{"returnCode":0,"returnCodeDesc":"success"}`},
		"huawei failed": {huaweiYAML, "smsMsgId=2ea2&status=E200045&orgCode=MBBLACK&extend=d1", []channels.Report{
			{DeliveryID: "d1", MessageID: "2ea2", State: schemas.Undelivered},
		}, `{"returnCode":0,"returnCodeDesc":"success"}`},
		"huawei reply": {huaweiYAML, "smsMsgId=2ea2&from=%2B8613912345678&to=8823091128903&body=TD", []channels.Report{
			{MessageID: "2ea2", Phone: "+8613912345678", Reply: "TD", ReplyTo: "8823091128903"},
		}, `{"returnCode":0,"returnCodeDesc":"success"}`},
		"huawei on its way": {huaweiYAML, "smsMsgId=2ea2&status=ACCEPTD&extend=d1", nil, `{"returnCode":0,"returnCodeDesc":"success"}`},
	} {
		ch := mustOpen(t, channels.Env{}, c.yaml)
		rep, _ := ch.(channels.Reporter)
		r := httptest.NewRequest(http.MethodPost, "/v1/receipts/sms/token", nil)
		got, answer, err := rep.Reports(r, []byte(c.body))
		if err != nil || string(answer.Body) != c.answer || len(got) != len(c.want) {
			t.Errorf("%s: %+v, %s, %v", name, got, answer.Body, err)
			continue
		}
		for i, w := range c.want {
			g := got[i]
			if (g.Failure != nil) != (w.State == schemas.Undelivered) || !g.At.Equal(w.At) {
				t.Errorf("%s: %+v", name, g)
			}
			if f := g.Failure; f != nil && (f.Class != channels.BadTarget || !strings.HasSuffix(f.Provider, "-receipt")) {
				t.Errorf("%s: %+v", name, f)
			}
			g.Failure, g.At, w.At = nil, time.Time{}, time.Time{}
			if g != w {
				t.Errorf("%s: %+v, want %+v", name, g, w)
			}
		}
	}
	for yaml, bodies := range map[string][]string{tencentYAML: {"", "{}", "7", `[{"a":1}]`, "<xml/>"}, huaweiYAML: {"", "a=b"}} {
		rep, _ := mustOpen(t, channels.Env{}, yaml).(channels.Reporter)
		for _, body := range bodies {
			if got, answer, err := rep.Reports(nil, []byte(body)); err == nil || answer.Status != http.StatusBadRequest {
				t.Errorf("%q: %+v %+v, want it refused", body, got, answer)
			}
		}
	}
}

func TestCheckTemplate(t *testing.T) {
	calls, state := 0, 1
	ch := far(t, tencentYAML, func(w http.ResponseWriter, r *http.Request) {
		calls++
		reply200(w, m{"Response": m{"DescribeTemplateStatusSet": []m{{"StatusCode": state, "ReviewReply": "审核中"}}}})
	})
	c, _ := ch.(sms.TemplateChecker)
	for range 3 {
		if f := c.CheckTemplate(t.Context(), delivery()); f == nil || f.Code != "dispatcher:template-not-approved" || f.Line != "审核中" {
			t.Errorf("in review: %+v", f)
		}
	}
	if calls != 1 {
		t.Errorf("asked %d times for one template", calls)
	}
	state = 0
	d := delivery()
	d.Message.Codes["tencent"] = "7654321"
	if f := c.CheckTemplate(t.Context(), d); f != nil {
		t.Errorf("approved: %+v", f)
	}
}

// A preview is worth nothing to who sees it: neither a secret in any form nor a signature made with one is in it.
func TestPreviewHoldsNoFormOfASecret(t *testing.T) {
	const secret = `pa&ss/wörd+"=1`
	t.Setenv("YIZHAN_TEST_PREVIEW", secret)
	dir := t.TempDir()
	write(t, dir, "own.yaml", `provider: own
endpoint: https://sms.example.com
settings: {password: {secret: true}}
auth: {scheme: digest, hash: md5, encoding: hex, text: "${password}${number}${text}"}
send:
  path: /send
  query: {plain: "${password}", hashed: "${password|md5}", coded: "${password|base64}", sign: "${sign}"}
  json: {plain: "${password}", within: "p=${password};", hashed: "${password|md5}", sign: "${sign}", mobile: "${number}"}
answer: {success: body.code == 0}
`)
	ch := mustOpen(t, channels.Env{Dir: dir}, "api: ./own.yaml\nsettings: {password_env: YIZHAN_TEST_PREVIEW}\n")
	d := delivery()
	w, err := ch.(channels.Previewer).Preview(d)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(w.URL, w.Header, string(w.Body))
	hashed, signed := md5.Sum([]byte(secret)), md5.Sum([]byte(secret+sms.Number(d.To.Phone)+d.Message.Text))
	quoted, _ := json.Marshal(secret)
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`),
		base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString(hashed[:]), hex.EncodeToString(signed[:]),
	} {
		if strings.Contains(all, form) {
			t.Errorf("the preview shows %s: %s", form, all)
		}
	}
	if !strings.Contains(w.URL, "plain=***") || !strings.Contains(string(w.Body), `"within":"p=***;"`) || !strings.Contains(string(w.Body), sms.Number(d.To.Phone)) {
		t.Errorf("%s\n%s", w.URL, w.Body)
	}
}

// An acceptance that repeats the message is no more public than a refusal that does.
func TestAcceptanceHidesTheMessage(t *testing.T) {
	d := delivery()
	ch := far(t, tencentYAML, func(w http.ResponseWriter, _ *http.Request) {
		reply200(w, m{"Response": m{"SendStatusSet": []m{{"Code": "Ok", "SerialNo": "s1", "Message": "sent " + d.Message.Params["amount"] + " to " + d.Message.Params["customer"]}}}})
	})
	r, err := ch.Send(t.Context(), d)
	if err != nil || r.ID != "s1" || r.Reply != "sent *** to ***" {
		t.Errorf("%+v, %v", r, err)
	}
}
