package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func openOthers(t *testing.T) (*SMS, *Inbox) {
	t.Helper()
	inbox := &Inbox{}
	far, err := StartSMS(SMSConfig{
		AccessKeyID: testKeyID, AccessKeySecret: testKeySecret,
		Tencent: TencentKeys{SecretID: "AKIDtest", SecretKey: "key", AppID: "1400000001"},
		Huawei:  HuaweiKeys{AppKey: "appkey", AppSecret: "appsecret", Sender: "8823040504797"},
		Templates: func() map[string]string {
			return map[string]string{"1234567": "客户${customer}应收款${amount}元，${customer}"}
		},
	}, inbox.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := far.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return far, inbox
}

// othersCall is a request of a test, and what is spoilt of it after signing.
type othersCall struct {
	action, body string
	spoil        func(*http.Request)
	at           time.Time
}

// tencentCall signs a request as Tencent's documentation says step by step, and returns the code of the answer.
func tencentCall(t *testing.T, far *SMS, c othersCall) (code string, answer string) {
	t.Helper()
	if c.at.IsZero() {
		c.at = time.Now()
	}
	req, err := http.NewRequest(http.MethodPost, far.URL()+"/", strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	hash := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	sign := func(key []byte, s string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	date := c.at.UTC().Format("2006-01-02")
	canonical := "POST\n/\n\ncontent-type:application/json\nhost:" + req.URL.Host + "\n\ncontent-type;host\n" + hash(c.body)
	text := fmt.Sprintf("TC3-HMAC-SHA256\n%d\n%s/sms/tc3_request\n%s", c.at.Unix(), date, hash(canonical))
	key := sign(sign(sign([]byte("TC3key"), date), "sms"), "tc3_request")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-TC-Action", c.action)
	req.Header.Set("X-TC-Version", "2021-01-11")
	req.Header.Set("X-TC-Timestamp", fmt.Sprint(c.at.Unix()))
	req.Header.Set("Authorization", "TC3-HMAC-SHA256 Credential=AKIDtest/"+date+"/sms/tc3_request, SignedHeaders=content-type;host, Signature="+hex.EncodeToString(sign(key, text)))
	if c.spoil != nil {
		c.spoil(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var a struct {
		Response struct {
			Error         struct{ Code string }
			SendStatusSet []struct{ Code string }
		}
	}
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if len(a.Response.SendStatusSet) > 0 {
		return a.Response.SendStatusSet[0].Code, string(b)
	}
	return a.Response.Error.Code, string(b)
}

const tencentMessage = `{"PhoneNumberSet":["+8613800138000"],"SmsSdkAppId":"1400000001","SignName":"华星科技","TemplateId":"1234567","TemplateParamSet":["华星","12"],"SessionContext":"abc"}`

func TestTencentLookAlike(t *testing.T) {
	far, inbox := openOthers(t)
	body := func(old, change string) othersCall {
		return othersCall{action: "SendSms", body: strings.Replace(tencentMessage, old, change, 1)}
	}
	header := func(name, value string) othersCall {
		return othersCall{action: "SendSms", body: tencentMessage, spoil: func(r *http.Request) { r.Header.Set(name, value) }}
	}
	for want, calls := range map[string][]othersCall{
		"Ok": {body("", "")},
		"AuthFailure.SignatureFailure": {
			header("Authorization", "nothing"), header("Content-Type", "text/plain"),
			{action: "SendSms", body: tencentMessage, spoil: func(r *http.Request) {
				r.Body = io.NopCloser(strings.NewReader(tencentMessage + " "))
				r.ContentLength++
			}},
		},
		"AuthFailure.SecretIdNotFound": {{action: "SendSms", body: tencentMessage, spoil: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIDtest", "AKIDother", 1))
		}}},
		"AuthFailure.SignatureExpire":                     {{action: "SendSms", body: tencentMessage, at: time.Now().Add(-6 * time.Minute)}, header("X-TC-Timestamp", "1")},
		"NoSuchVersion":                                   {header("X-TC-Version", "2019-07-11")},
		"InvalidAction":                                   {{action: "SendFax", body: tencentMessage}},
		"UnauthorizedOperation.SmsSdkAppIdVerifyFail":     {body("1400000001", "1400000002")},
		"InvalidParameter":                                {body("{", "[")},
		"InvalidParameterValue.IncorrectPhoneNumber":      {body("+8613800138000", "13800138000"), body("+8613800138000", "+86123"), body("13800138000", "19900000001")},
		"FailedOperation.SignatureIncorrectOrUnapproved":  {body("华星科技", "【华星科技】"), body("13800138000", "19900000004")},
		"FailedOperation.TemplateUnapprovedOrNotExist":    {body(`"1234567"`, `""`)},
		"LimitExceeded.PhoneNumberThirtySecondLimit":      {body("13800138000", "19900000002")},
		"FailedOperation.InsufficientBalanceInSmsPackage": {body("13800138000", "19900000003")},
		"InternalError.OtherError":                        {body("13800138000", "19900000005")},
		"RequestLimitExceeded":                            {body("13800138000", "19900000010")},
		"LimitExceeded.PhoneNumberCountLimit":             {body(`"+8613800138000"`, `"+8613800138000","+8613800138001"`)},
	} {
		for i, c := range calls {
			if code, answer := tencentCall(t, far, c); code != want {
				t.Errorf("%s, call %d: %s", want, i, answer)
			}
		}
	}
	items, _, _ := inbox.List(Filter{}, 10, 0)
	if len(items) != 1 || items[0].Text != "【华星科技】客户华星应收款12元，华星" || items[0].To != "13800138000" || items[0].Delivery != "abc" {
		t.Errorf("inbox %+v", items)
	}
}

func TestTencentQueries(t *testing.T) {
	far, _ := openOthers(t)
	for _, number := range []string{"19900000014", "19900000012", "13800138000"} {
		if code, _ := tencentCall(t, far, othersCall{action: "SendSms", body: strings.Replace(tencentMessage, "13800138000", number, 1)}); code != "Ok" {
			t.Fatalf("%s: %s", number, code)
		}
	}
	ask := func(number string) string {
		_, answer := tencentCall(t, far, othersCall{action: "PullSmsSendStatusByPhoneNumber", body: fmt.Sprintf(
			`{"BeginTime":%d,"EndTime":%d,"Offset":0,"Limit":100,"PhoneNumber":"+86%s","SmsSdkAppId":"1400000001"}`,
			time.Now().Add(-time.Minute).Unix(), time.Now().Add(time.Minute).Unix(), number)})
		return answer
	}
	for number, want := range map[string]string{"19900000014": `"ReportStatus":"SUCCESS"`, "19900000012": `"ReportStatus":"FAIL"`, "13800138000": `"PullSmsSendStatusSet":[]`, "19900000009": "InternalError"} {
		if got := ask(number); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", number, got, want)
		}
	}
	for id, want := range map[string]string{"1234567": `"StatusCode":0`, "1234569": `"StatusCode":1`} {
		if _, got := tencentCall(t, far, othersCall{action: "DescribeSmsTemplateList", body: `{"TemplateIdSet":[` + id + `],"International":0}`}); !strings.Contains(got, want) {
			t.Errorf("template %s: %s", id, got)
		}
	}
}

func TestHuaweiLookAlike(t *testing.T) {
	far, inbox := openOthers(t)
	call := func(change func(*http.Request, url.Values), asHex bool, at time.Time, nonce string) string {
		t.Helper()
		form := url.Values{"from": {"8823040504797"}, "to": {"+8613800138000"}, "templateId": {"1234567"}, "templateParas": {`["华星","12"]`}, "extend": {"abc"}}
		req, err := http.NewRequest(http.MethodPost, far.URL()+huaweiPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		created := at.UTC().Format("2006-01-02T15:04:05Z")
		sum := sha256.Sum256([]byte(nonce + created + "appsecret"))
		digest := base64.StdEncoding.EncodeToString(sum[:])
		if asHex {
			digest = base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(sum[:])))
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", `WSSE realm="SDP",profile="UsernameToken",type="Appkey"`)
		req.Header.Set("X-WSSE", `UsernameToken Username="appkey",PasswordDigest="`+digest+`",Nonce="`+nonce+`",Created="`+created+`"`)
		change(req, form)
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var a struct {
			Code   string
			Result []struct{ Status string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.Code == "E000510" {
			return a.Result[0].Status
		}
		return a.Code
	}
	none := func(*http.Request, url.Values) {}
	set := func(name, value string) func(*http.Request, url.Values) {
		return func(_ *http.Request, f url.Values) { f.Set(name, value) }
	}
	header := func(name, value string) func(*http.Request, url.Values) {
		return func(r *http.Request, _ url.Values) { r.Header.Set(name, value) }
	}
	now := time.Now()
	if code := call(none, true, now, "n-hex"); code != "000000" {
		t.Errorf("the digest of the hexadecimal text: %s", code)
	}
	if code := call(none, false, now, "n-hex"); code != "E000105" {
		t.Errorf("a nonce again: %s", code)
	}
	for i, c := range []struct {
		change func(*http.Request, url.Values)
		at     time.Time
		want   string
	}{
		{none, now, "000000"},
		{none, now.Add(-16 * time.Minute), "E000110"},
		{header("X-WSSE", `UsernameToken Username="appkey",PasswordDigest="AAAA",Nonce="x",Created="`+now.UTC().Format("2006-01-02T15:04:05Z")+`"`), now, "E000105"},
		{header("X-WSSE", `UsernameToken Username="other"`), now, "E000102"},
		{header("X-WSSE", ""), now, "E000026"},
		{header("Authorization", "Basic x"), now, "E000001"},
		{header("Content-Type", "application/json"), now, "E000040"},
		{set("from", "1"), now, "E000503"},
		{set("to", "13800138000"), now, "E000503"},
		{set("templateParas", "x"), now, "E000503"},
		{set("templateId", ""), now, "E200030"},
		{set("to", "+8619900000002"), now, "E000623"},
		{set("to", "+8619900000003"), now, "E000112"},
		{set("to", "+8619900000004"), now, "E200030"},
		{set("to", "+8619900000005"), now, "E000000"},
	} {
		if code := call(c.change, false, c.at, fmt.Sprint("nonce", i)); code != c.want {
			t.Errorf("call %d: %s, want %s", i, code, c.want)
		}
	}
	items, _, _ := inbox.List(Filter{}, 10, 0)
	if len(items) != 2 || !strings.HasSuffix(items[0].Text, "客户华星应收款12元，华星") || items[0].Delivery != "abc" {
		t.Errorf("inbox %+v", items)
	}
}
