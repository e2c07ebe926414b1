package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas"
)

// far opens a channel to a far side that answers every call with respond.
func far(t *testing.T, respond http.HandlerFunc) *Channel {
	t.Helper()
	g := &channeltest.Web{Respond: respond}
	return mustOpen(t, channels.Env{}, "timeout: 5s\nendpoint: "+g.Start(t)+"\n")
}

func TestSendAsksForWhatTheDeliverySays(t *testing.T) {
	var got map[string]string
	ch := far(t, func(w http.ResponseWriter, r *http.Request) {
		got = map[string]string{}
		for k, v := range r.URL.Query() {
			got[k] = v[0]
		}
		reply(w, 200, map[string]any{"Code": "OK", "Message": "OK", "BizId": "12^0"})
	})
	d := channeltest.Delivery(1)
	d.Message.Params = map[string]string{"customer": "<华星&贸易>", "amount": "12,300.00"}
	receipt, err := ch.Send(t.Context(), d)
	if err != nil || receipt.ID != "12^0" || receipt.Reply != "OK" {
		t.Fatalf("Send = %+v, %v", receipt, err)
	}
	for name, want := range map[string]string{
		"Action": "SendSms", "Version": "2017-05-25", "PhoneNumbers": "13912345678", "SignName": "华星科技",
		"TemplateCode": "SMS_123", "OutId": d.ID, "RegionId": "cn-hangzhou", "AccessKeyId": keyID,
	} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
	var params map[string]string
	if err := json.Unmarshal([]byte(got["TemplateParam"]), &params); err != nil || params["customer"] != "<华星&贸易>" || params["amount"] != "12,300.00" {
		t.Errorf("TemplateParam = %q, %v", got["TemplateParam"], err)
	}

	d.To.Phone, d.Message.Signature, d.Message.Params = "+85291234567", "另一签名", nil
	if _, err := ch.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got["PhoneNumbers"] != "85291234567" || got["SignName"] != "另一签名" || got["TemplateParam"] != "" {
		t.Errorf("abroad: %v", got)
	}
	d.Message.Signature = ""
	if _, err := ch.Send(t.Context(), d); err != nil || got["SignName"] != "华星科技" {
		t.Errorf("without a signature of its own: %q, %v; want the channel's", got["SignName"], err)
	}
}

func TestSendReadsEveryAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		code   string
		class  channels.Class
		after  bool
	}{
		{"business code", 200, `{"Code":"isv.AMOUNT_NOT_ENOUGH","Message":"账户余额不足"}`, "isv.AMOUNT_NOT_ENOUGH", channels.Config, false},
		{"content", 200, `{"Code":"isv.PARAM_LENGTH_LIMIT","Message":"x"}`, "isv.PARAM_LENGTH_LIMIT", channels.Content, false},
		{"minute", 200, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发分钟级流控Permits:1"}`, "isv.BUSINESS_LIMIT_CONTROL", channels.Throttled, true},
		{"unheard of", 200, `{"Code":"isv.SOMETHING_NEW","Message":"x"}`, "isv.SOMETHING_NEW", channels.Permanent, false},
		{"platform's fault", 200, `{"Code":"isp.GATEWAY_ERROR","Message":"x"}`, "isp.GATEWAY_ERROR", channels.Temporary, false},
		{"OK without BizId", 200, `{"Code":"OK","Message":"OK"}`, "dispatcher:empty-code", channels.Unknown, false},
		{"empty body", 200, ``, "dispatcher:empty-code", channels.Unknown, false},
		{"no code", 200, `{"Message":"hello"}`, "dispatcher:empty-code", channels.Unknown, false},
		{"not JSON", 200, `<html>login</html>`, "dispatcher:http-200-no-code", channels.Unknown, false},
		{"gateway code", 400, `{"Code":"Throttling.User","Message":"x"}`, "Throttling.User", channels.Throttled, false},
		{"gateway code 503", 503, `{"Code":"Throttling.User","Message":"x"}`, "Throttling.User", channels.Throttled, false},
		{"unavailable", 503, `{"Code":"ServiceUnavailable","Message":"x"}`, "ServiceUnavailable", channels.Unknown, false},
		{"key", 404, `{"Code":"InvalidAccessKeyId.NotFound","Message":"x"}`, "InvalidAccessKeyId.NotFound", channels.Auth, false},
		{"HTML 503", 503, `<html><title>busy</title></html>`, "http:503", channels.Unknown, false},
		{"504", 504, ``, "http:504", channels.Unknown, false},
		{"HTML 403", 403, `<html><title>WAF</title></html>`, "http:403", channels.Auth, false},
		{"code of another type", 400, `{"Code":42,"Message":"x"}`, "http:400", channels.Content, false},
		{"code of another type 500", 500, `{"Code":{"a":1}}`, "http:500", channels.Unknown, false},
		{"redirect", 307, ``, "http:3xx", channels.Config, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			ch := far(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.Header().Set("Location", "http://169.254.169.254/")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			_, err := ch.Send(t.Context(), channeltest.Delivery(1))
			f, ok := errors.AsType[*channels.Failure](err)
			if !ok {
				t.Fatalf("Send = %v, want a Failure", err)
			}
			if f.Kind != "sms" || f.Provider != "aliyun" || f.Code != c.code || f.Class != c.class || f.Maybe != (c.class == channels.Unknown) || (f.After > 0) != c.after {
				t.Errorf("Failure = %+v, want %s %s", f, c.code, c.class)
			}
			if calls != 1 {
				t.Errorf("%d calls, want one", calls)
			}
		})
	}
}

func TestRefusedBeforeAnyCall(t *testing.T) {
	ch := far(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })
	for _, c := range []struct {
		code   string
		class  channels.Class
		change func(d *schemas.Delivery)
	}{
		{"dispatcher:no-template-code", channels.Content, func(d *schemas.Delivery) { d.Message.Code = "" }},
		{"dispatcher:no-number", channels.BadTarget, func(d *schemas.Delivery) { d.To.Phone = "" }},
		{"dispatcher:text-too-long", channels.Content, func(d *schemas.Delivery) { d.Message.Text = strings.Repeat("长", 495) }},
	} {
		d := channeltest.Delivery(1)
		c.change(d)
		_, err := ch.Send(t.Context(), d)
		if f := channels.Explain(err); f.Code != c.code || f.Class != c.class || f.Maybe {
			t.Errorf("Failure = %+v, want %s %s", f, c.code, c.class)
		}
	}
}

// The gateway's answer to a wrong secret repeats everything that was signed.
func TestAWrongSecretShowsNothing(t *testing.T) {
	far, err := sandbox.StartSMS(sandbox.SMSConfig{AccessKeyID: keyID, AccessKeySecret: "another"}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	ch := mustOpen(t, channels.Env{}, "endpoint: "+far.URL()+"\n")
	_, err = ch.Send(t.Context(), channeltest.Delivery(1))
	f := channels.Explain(err)
	if f.Code != "SignatureDoesNotMatch" || f.Class != channels.Auth {
		t.Fatalf("Failure = %+v", f)
	}
	for _, canary := range []string{"13912345678", keyID, "PhoneNumbers", "canary-body"} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, f), canary) {
			t.Errorf("%q is in the error: %v", canary, err)
		}
	}
}

func TestWindow(t *testing.T) {
	now := time.Date(2026, 11, 23, 22, 59, 30, 0, china)
	for _, c := range []struct {
		code, message string
		want          time.Duration
	}{
		{"isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1", 30 * time.Second},
		{"isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5", 30 * time.Second},
		{"isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:10", 24 * time.Hour},
		{"isv.BUSINESS_LIMIT_CONTROL", "Trigger hour level flow control Permits:5", 30 * time.Second},
		{"isv.BUSINESS_LIMIT_CONTROL", "触发号码流控", 0},
		{"isv.DAY_LIMIT_CONTROL", "", time.Hour + 30*time.Second},
		{"isv.MONTH_LIMIT_CONTROL", "", 24 * time.Hour},
		{"Throttling.User", "Request was denied due to minute flow control", 0},
	} {
		for _, zone := range []*time.Location{china, time.UTC} {
			if got := window(c.code, c.message, now.In(zone)); got != c.want {
				t.Errorf("window(%s, %q) in %v = %v, want %v", c.code, c.message, zone, got, c.want)
			}
		}
	}
	if got := window("isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控", now.Add(-20*time.Minute)); got != 20*time.Minute+30*time.Second {
		t.Errorf("to the next hour = %v", got)
	}
}

// The stand-in's table of numbers is what the documentation promises: here every row is tried
// through the real SDK, and where the outcome is unknown, looked up.
func TestSimulatedNumbers(t *testing.T) {
	far, err := sandbox.StartSMS(sandbox.SMSConfig{AccessKeyID: keyID, AccessKeySecret: keySecret}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	ch := mustOpen(t, channels.Env{}, "endpoint: "+far.URL()+"\n")
	want := map[string]struct {
		class channels.Class // of the first attempt, "" is accepted
		taken int            // after it
		found schemas.State  // by Lookup, "" is not found, "error" is none
	}{
		"19900000001": {channels.BadTarget, 0, ""},
		"19900000002": {channels.Throttled, 0, ""},
		"19900000003": {channels.Config, 0, ""},
		"19900000004": {channels.Config, 0, ""},
		"19900000005": {channels.Temporary, 0, ""},
		"19900000006": {channels.Unknown, 0, ""},
		"19900000007": {channels.Unknown, 1, schemas.Delivered},
		"19900000008": {channels.Unknown, 0, ""},
		"19900000009": {channels.Unknown, 1, "error"},
		"19900000010": {channels.Throttled, 0, ""},
		"19900000011": {channels.Unknown, 1, schemas.Accepted},
		"19900000012": {"", 1, schemas.Undelivered},
		"19900000013": {channels.Unknown, 0, ""},
		"19900000014": {"", 1, schemas.Delivered},
		"19900000015": {channels.Unknown, 1, schemas.Delivered},
		"19900000016": {channels.Unknown, 0, ""},
		"13800138000": {"", 1, schemas.Accepted},
	}
	numbers := []string{"13800138000"}
	codes := map[string]string{"13800138000": "OK"}
	for _, c := range sandbox.Simulated() {
		numbers, codes[c.Number] = append(numbers, c.Number), c.Code
	}
	if len(numbers) != len(want) {
		t.Fatalf("%d numbers, the test knows %d", len(numbers), len(want))
	}
	for i, number := range numbers {
		t.Run(number, func(t *testing.T) {
			began := time.Now()
			d := channeltest.Delivery(i)
			d.To.Phone = "+86" + number
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := ch.Send(ctx, d)
			w := want[number]
			if w.class == "" {
				if err != nil {
					t.Fatalf("Send = %v", err)
				}
			} else if f := channels.Explain(err); f.Class != w.class || f.Code != codes[number] {
				t.Errorf("Failure = %s %s, want %s %s", f.Code, f.Class, codes[number], w.class)
			}
			if n := len(far.Accepted(number)); n != w.taken {
				t.Errorf("taken %d times, want %d", n, w.taken)
			}
			l, err := ch.Lookup(t.Context(), d, began)
			if (err != nil) != (w.found == "error") {
				t.Fatalf("Lookup = %v", err)
			}
			if err == nil && (l.Found != (w.found != "") || l.State != w.found || (l.Failure != nil) != (w.found == schemas.Undelivered)) {
				t.Errorf("Lookup = %+v, want %q", l, w.found)
			}
			if l.Failure != nil && (l.Failure.Provider != "aliyun-receipt" || l.Failure.Code != "MOBILE_NOT_ON_SERVICE" || l.Failure.Class != channels.BadTarget) {
				t.Errorf("the receipt's failure = %+v", l.Failure)
			}
		})
	}
	for number, attempts := range map[string]int{"19900000005": 3, "19900000008": 2} {
		d := channeltest.Delivery(100)
		d.To.Phone = "+86" + number
		for n := 1; n <= attempts; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := ch.Send(ctx, d)
			cancel()
			if (err == nil) != (n == attempts) {
				t.Errorf("%s, attempt %d: %v", number, n, err)
			}
		}
	}
}
