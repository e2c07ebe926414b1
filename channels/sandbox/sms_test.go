package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"
)

const (
	testKeyID     = "LTAI5tTestTestTestTest"
	testKeySecret = "testSecretOfTheAccessKey"
)

// keep is a transport that remembers the URL it last sent.
type keep struct{ last *url.URL }

func (k *keep) RoundTrip(r *http.Request) (*http.Response, error) {
	k.last = r.URL
	return http.DefaultTransport.RoundTrip(r)
}

func openSMS(t *testing.T) (*SMS, *Inbox, *dysmsapi.Client, *keep) {
	t.Helper()
	inbox := &Inbox{}
	far, err := StartSMS(SMSConfig{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := far.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	cfg, k := sdk.NewConfig(), &keep{}
	cfg.Transport = k
	client, err := dysmsapi.NewClientWithOptions("cn-hangzhou", cfg, credentials.NewAccessKeyCredential(testKeyID, testKeySecret))
	if err != nil {
		t.Fatal(err)
	}
	client.Domain = strings.TrimPrefix(far.URL(), "http://")
	return far, inbox, client, k
}

func TestTheTextIsShownAsItReachesThePhone(t *testing.T) {
	far, inbox, client, _ := openSMS(t)
	far.cfg.Templates = func() map[string]string {
		return map[string]string{"SMS_123": "客户${customer}应收款${amount}元，${unknown}"}
	}
	if _, err := client.SendSms(sendSms()); err != nil {
		t.Fatal(err)
	}
	items, _, _ := inbox.List(Filter{}, 1, 0)
	if want := "【华星 *~科技】客户a+b & c/d ~*'()应收款12,300.00元，${unknown}"; len(items) != 1 || items[0].Text != want {
		t.Errorf("text %+v, want %q", items, want)
	}
	if items[0].Subject != "SMS_123" || !strings.Contains(items[0].Raw, `"amount":"12,300.00"`) {
		t.Errorf("code and parameters are lost: %+v", items[0])
	}
}

func sendSms() *dysmsapi.SendSmsRequest {
	req := dysmsapi.CreateSendSmsRequest()
	req.PhoneNumbers, req.SignName, req.TemplateCode, req.OutId = "13800138000", "华星 *~科技", "SMS_123", "abc"
	req.TemplateParam = `{"customer":"a+b & c/d ~*'()","amount":"12,300.00"}`
	return req
}

// code posts a raw request and returns the HTTP status and the answer's Code.
func code(t *testing.T, u *url.URL) (int, string) {
	t.Helper()
	resp, err := http.Post(u.String(), "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct{ Code string }
	b, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(b, &a) != nil {
		t.Fatalf("answer %q, %v", b, err)
	}
	return resp.StatusCode, a.Code
}

func TestSignatureOfTheRealSDK(t *testing.T) {
	far, inbox, client, sent := openSMS(t)
	resp, err := client.SendSms(sendSms())
	if err != nil || resp.Code != "OK" || !strings.HasSuffix(resp.BizId, "^0") {
		t.Fatalf("SendSms = %+v, %v", resp, err)
	}
	if n := len(far.Accepted("13800138000")); n != 1 {
		t.Errorf("Accepted %d times, want once", n)
	}
	items, _, _ := inbox.List(Filter{Kind: "sms"}, 10, 0)
	if len(items) != 1 || items[0].To != "13800138000" || items[0].Delivery != "abc" || items[0].From != "华星 *~科技" || items[0].ID != resp.BizId {
		t.Errorf("inbox = %+v", items)
	}

	// The same bytes again are a replay.
	if status, c := code(t, sent.last); status != 400 || c != "SignatureNonceUsed" {
		t.Errorf("a replay = %d %s", status, c)
	}
	// And with any parameter changed, added or taken away, a forgery.
	for name, value := range map[string]string{
		"PhoneNumbers": "13800138001", "OutId": "abd", "TemplateParam": "{}", "SignatureNonce": "x", "Extra": "1", "SignatureType": "-",
	} {
		u := *sent.last
		q := u.Query()
		if q.Set(name, value); value == "-" {
			q.Del(name) // empty, yet signed
		}
		u.RawQuery = q.Encode()
		if status, c := code(t, &u); status != 400 || c != "SignatureDoesNotMatch" {
			t.Errorf("%s changed = %d %s, want SignatureDoesNotMatch", name, status, c)
		}
	}
	for name, want := range map[string]string{
		"Signature": "IncompleteSignature", "SignatureNonce": "IncompleteSignature",
		"Version": "InvalidVersion", "AccessKeyId": "InvalidAccessKeyId.NotFound", "Timestamp": "InvalidTimeStamp.Expired",
	} {
		u := *sent.last
		q := u.Query()
		if q.Set(name, "x"); want == "IncompleteSignature" {
			q.Del(name)
		}
		u.RawQuery = q.Encode()
		if _, c := code(t, &u); c != want {
			t.Errorf("bad %s = %s, want %s", name, c, want)
		}
	}
	if n := len(far.Accepted("13800138000")) + len(far.Accepted("13800138001")); n != 1 {
		t.Errorf("%d messages were taken, want the first one only", n)
	}
}

func TestClockSkew(t *testing.T) {
	far, _, client, _ := openSMS(t)
	for skew, good := range map[time.Duration]bool{
		14 * time.Minute: true, -14 * time.Minute: true, 16 * time.Minute: false, -16 * time.Minute: false,
	} {
		far.mu.Lock()
		far.now = func() time.Time { return time.Now().Add(skew) }
		far.mu.Unlock()
		resp, err := client.SendSms(sendSms())
		if accepted := err == nil && resp.Code == "OK"; accepted != good {
			t.Errorf("clock off by %v: %+v, %v; want accepted %v", skew, resp, err, good)
		}
	}
}

func TestSendSmsRefusesWhatAliyunRefuses(t *testing.T) {
	_, _, client, _ := openSMS(t)
	for want, change := range map[string]func(*dysmsapi.SendSmsRequest){
		"isv.MOBILE_NUMBER_ILLEGAL":   func(r *dysmsapi.SendSmsRequest) { r.PhoneNumbers = "12345" },
		"isv.MOBILE_COUNT_OVER_LIMIT": func(r *dysmsapi.SendSmsRequest) { r.PhoneNumbers = "13800138000,13800138001" },
		"isv.SMS_SIGNATURE_ILLEGAL":   func(r *dysmsapi.SendSmsRequest) { r.SignName = "【华星科技】" },
		"isv.SMS_TEMPLATE_ILLEGAL":    func(r *dysmsapi.SendSmsRequest) { r.TemplateCode = "" },
		"isv.INVALID_JSON_PARAM":      func(r *dysmsapi.SendSmsRequest) { r.TemplateParam = `{"n":1}` }, // values must be strings
	} {
		req := sendSms()
		change(req)
		if resp, err := client.SendSms(req); err != nil || resp.Code != want || resp.BizId != "" {
			t.Errorf("%s: %+v, %v", want, resp, err)
		}
	}
}

func TestQuerySendDetailsPages(t *testing.T) {
	far, _, client, _ := openSMS(t)
	now := time.Now() // held, so that no midnight comes between
	far.mu.Lock()
	far.now = func() time.Time { return now }
	far.mu.Unlock()
	for range 7 {
		if _, err := client.SendSms(sendSms()); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(date, page string) *dysmsapi.QuerySendDetailsResponse {
		t.Helper()
		req := dysmsapi.CreateQuerySendDetailsRequest()
		req.PhoneNumber, req.SendDate, req.PageSize = "13800138000", date, "5"
		req.CurrentPage = requests.Integer(page)
		resp, err := client.QuerySendDetails(req)
		if err != nil || resp.Code != "OK" {
			t.Fatalf("QuerySendDetails = %+v, %v", resp, err)
		}
		return resp
	}
	today := now.In(china).Format("20060102")
	first, second := ask(today, "1"), ask(today, "2")
	if n, m := len(first.SmsSendDetailDTOs.SmsSendDetailDTO), len(second.SmsSendDetailDTOs.SmsSendDetailDTO); n != 5 || m != 2 || first.TotalCount != "7" {
		t.Errorf("pages of %d and %d, total %s; want 5, 2, 7", n, m, first.TotalCount)
	}
	if r := first.SmsSendDetailDTOs.SmsSendDetailDTO[0]; r.OutId != "abc" || r.SendStatus != 1 {
		t.Errorf("row = %+v", r)
	}
	if resp := ask("20200101", "1"); len(resp.SmsSendDetailDTOs.SmsSendDetailDTO) != 0 {
		t.Error("another day's messages were found")
	}
}
