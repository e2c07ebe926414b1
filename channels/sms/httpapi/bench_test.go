package httpapi

import (
	"os"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// BenchmarkRequest is what a description costs: the templates filled, the request signed, the answer read. No network.
func BenchmarkRequest(b *testing.B) {
	for name, yaml := range map[string]string{"tencent": tencentYAML, "huawei": huaweiYAML} {
		b.Run(name, func(b *testing.B) {
			for _, v := range []string{"YIZHAN_TEST_ID", "YIZHAN_TEST_KEY"} {
				if err := os.Setenv(v, secretKey); err != nil {
					b.Fatal(err)
				}
			}
			ch, err := New(channels.Env{}, func(v any) error {
				return strictyaml.Decode([]byte("kind: sms\nprovider: httpapi\nsignature: s\n"+yaml), v)
			})
			if err != nil {
				b.Fatal(err)
			}
			var c *Channel
			switch ch := ch.(type) {
			case reporting:
				c = ch.Channel
			case struct {
				*Channel
				channels.Reconciler
				channels.Reporter
			}:
				c = ch.Channel
			}
			d, now := delivery(), time.Now()
			c.now = func() time.Time { return now }
			body := []byte(`{"code":"000000","result":[{"status":"000000"}],"Response":{"SendStatusSet":[{"Code":"Ok","SerialNo":"1"}]}}`)
			b.ReportAllocs()
			for b.Loop() {
				vals, _ := c.values(d)
				if _, _, err := c.request(b.Context(), &c.api.Send, vals); err != nil {
					b.Fatal(err)
				}
				a := reply{status: 200, raw: body, at: scope{Status: 200}}
				a.at.Body, a.readable = decode("json", a.raw)
				if _, f := c.judge(a); f != nil {
					b.Fatal(f)
				}
			}
		})
	}
}
