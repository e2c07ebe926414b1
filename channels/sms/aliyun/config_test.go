package aliyun

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestConfig(t *testing.T) {
	for _, c := range []struct{ yaml, pointer string }{
		{"", "/signature"},
		{"signature: 【华星科技】\n", "/signature"},
		{"signature: 华星科技\nendpoint: http://dysmsapi.aliyuncs.com\n", "/endpoint"}, // the query would go in clear
		{"signature: 华星科技\nendpoint: ftp://127.0.0.1\n", "/endpoint"},
		{"signature: 华星科技\nendpoint: https://user:pw@example.com\n", "/endpoint"},
		{"signature: 华星科技\nendpoint: https://example.com/path\n", "/endpoint"},
		{"signature: 华星科技\nslots: -1\n", "/slots"},
		{"signature: 华星科技\ntimeout: 10ms\n", "/timeout"},
	} {
		_, err := open(t, channels.Env{}, c.yaml)
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != c.pointer || bad.Problems[0].Zh == "" || bad.Problems[0].En == "" {
			t.Errorf("%q: %v, want a problem at %s in both languages", c.yaml, err, c.pointer)
		}
	}
	if _, err := open(t, channels.Env{}, "signature: 华星科技\nsignatur: x\n"); err == nil || !strings.Contains(err.Error(), "signatur") {
		t.Errorf("an unknown key: %v", err)
	}
	ch, err := open(t, channels.Env{}, "signature: 华星科技\n")
	if err != nil {
		t.Fatal(err)
	}
	want := channels.Traits{Kind: "sms", Provider: "aliyun", Address: channels.Phone, Once: true, Capped: true, Signature: "华星科技", Slots: 16, Timeout: 10 * time.Second}
	if got := ch.Traits(); got != want {
		t.Errorf("Traits = %+v, want %+v", got, want)
	}
	for in, want := range map[string]string{
		"":                       "https dysmsapi.aliyuncs.com",
		"dysmsapi.aliyuncs.com":  "https dysmsapi.aliyuncs.com",
		"https://example.com/":   "https example.com",
		"http://127.0.0.1:1234":  "http 127.0.0.1:1234",
		"http://[::1]:1234":      "http [::1]:1234",
		"http://localhost:1234/": "http localhost:1234",
	} {
		scheme, host, err := endpoint(in)
		if got := scheme + " " + host; err != nil || got != want {
			t.Errorf("endpoint(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}
