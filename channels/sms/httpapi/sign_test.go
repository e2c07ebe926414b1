package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func request(t *testing.T, method, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// The examples of Tencent's own documentation (API signature v3, cvm DescribeInstances): the present one, which signs
// X-TC-Action and whose key is shown as 32 asterisks, and the older one.
func TestTencentVectors(t *testing.T) {
	const body = `{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`
	if got, want := sum([]byte(body)), "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"; got != want {
		t.Fatalf("the body of the example has hash %s", got)
	}
	at := time.Unix(1551113065, 0)
	for _, c := range []struct{ action, id, key, signed, signature string }{
		{
			"DescribeInstances", strings.Repeat("*", 36), strings.Repeat("*", 32), "content-type;host;x-tc-action",
			"10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
		},
		{
			"", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", "content-type;host",
			"72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
		},
	} {
		req := request(t, http.MethodPost, "https://cvm.tencentcloudapi.com/", body, "Content-Type", "application/json; charset=utf-8")
		if c.action != "" {
			req.Header.Set("X-TC-Action", c.action)
		}
		tc3(req, []byte(body), c.id, c.key, "cvm", at)
		want := "TC3-HMAC-SHA256 Credential=" + c.id + "/2019-02-25/cvm/tc3_request, SignedHeaders=" + c.signed + ", Signature=" + c.signature
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("Authorization = %s\nwant            %s", got, want)
		}
		if got := req.Header.Get("X-TC-Timestamp"); got != "1551113065" {
			t.Errorf("X-TC-Timestamp = %s", got)
		}
	}
}

// The example of Huawei's documentation of AK/SK signatures (vpcs). Its secret key is shown masked, so that only the
// canonical request has a known hash; the rest is held against a signature computed step by step.
func TestHuaweiSDKVector(t *testing.T) {
	at := time.Date(2019, 11, 15, 3, 36, 55, 0, time.UTC)
	req := request(t, http.MethodGet, "https://service.region.example.com/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?marker=13551d6b-755d-4757-b956-536f674975c0&limit=2", "", "Content-Type", "application/json")
	sdkHMAC(req, nil, "QTWAOYTTINDUT2QVKYUC", "MFyfvK41ba2giqM7**********KGpownRZlmVmHc", at)
	canonical, signed := sdkCanonical(req, nil, []string{"host", "x-sdk-date", "content-type"})
	if got, want := sum([]byte(canonical)), "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"; got != want {
		t.Errorf("hash of the canonical request = %s, want %s\n%s", got, want, canonical)
	}
	// printf 'SDK-HMAC-SHA256\n20191115T033655Z\nb253…' | openssl dgst -sha256 -hmac 'MFyf…'
	want := "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, Signature=d9f81fb3badabce3d08e5fb2a12166229b45b5e31f6563d605bc9db6ad4cd78a"
	if got := req.Header.Get("Authorization"); signed != "content-type;host;x-sdk-date" || got != want {
		t.Errorf("Authorization = %s\nwant            %s", got, want)
	}
}

// PasswordDigest of a fixed nonce and time; `printf 'nonce…' | openssl dgst -sha256 -binary | base64` gives the same.
func TestWSSE(t *testing.T) {
	req := request(t, http.MethodPost, "https://example.com/", "")
	wsse(req, "key", "secret", "66C92B11FF8A425FB8D4CCFE0ED9ED1F", time.Date(2018, 2, 12, 15, 30, 20, 0, time.UTC))
	want := `UsernameToken Username="key",PasswordDigest="kDRNkr5dAqha/R7NU4vr6Wa8ZDA0j5Z+VAc6XZ0Vm2k=",Nonce="66C92B11FF8A425FB8D4CCFE0ED9ED1F",Created="2018-02-12T15:30:20Z"`
	if got := req.Header.Get("X-WSSE"); got != want {
		t.Errorf("X-WSSE = %s\nwant     %s", got, want)
	}
	if got := req.Header.Get("Authorization"); got != `WSSE realm="SDP",profile="UsernameToken",type="Appkey"` {
		t.Errorf("Authorization = %s", got)
	}
}

// RFC 2202 (HMAC-MD5, HMAC-SHA-1) and RFC 4231 (HMAC-SHA-256), test case 2; RFC 1321 and FIPS 180 for plain hashes of "abc".
func TestDigests(t *testing.T) {
	for _, c := range []struct{ hash, key, text, encoding, want string }{
		{"hmac-md5", "Jefe", "what do ya want for nothing?", "hex", "750c783e6ab0b503eaa86e310a5db738"},
		{"hmac-sha1", "Jefe", "what do ya want for nothing?", "hex", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
		{"hmac-sha1", "Jefe", "what do ya want for nothing?", "base64", "7/zfauXrL6LSdBbV8YTfnCWafHk="},
		{"hmac-sha256", "Jefe", "what do ya want for nothing?", "hex-upper", "5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843"},
		{"md5", "", "abc", "hex", "900150983cd24fb0d6963f7d28e17f72"},
		{"sha1", "", "abc", "hex", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"sha256", "", "abc", "hex", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	} {
		a := auth{Scheme: schemeDigest, Hash: c.hash, Key: "${key}", Text: "${what}", Encoding: c.encoding}
		if err := a.check(); err != nil {
			t.Errorf("%s: %v", c.hash, err)
		}
		if got, err := a.digest(values{"key": c.key, "what": c.text}); err != nil || got != c.want {
			t.Errorf("%s of %q in %s = %s, %v; want %s", c.hash, c.text, c.encoding, got, err, c.want)
		}
	}
}

func TestBasicAndBearer(t *testing.T) {
	for _, c := range []struct {
		a    auth
		want string
	}{
		{auth{Scheme: schemeBasic, ID: "${id}", Key: "${key}"}, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, // RFC 7617 section 2
		{auth{Scheme: schemeBearer, Key: "${key}"}, "Bearer open sesame"},
		{auth{}, ""},
	} {
		req := request(t, http.MethodPost, "https://example.com/", "")
		if err := c.a.sign(req, nil, values{"id": "Aladdin", "key": "open sesame"}, time.Now(), ""); err != nil {
			t.Fatal(err)
		}
		if got := req.Header.Get("Authorization"); got != c.want {
			t.Errorf("%s: Authorization = %q, want %q", c.a.Scheme, got, c.want)
		}
	}
}
