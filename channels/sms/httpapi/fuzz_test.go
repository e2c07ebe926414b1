package httpapi

import (
	"net/url"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Whatever a provider answers is read without a panic, and never as a success that it did not say.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"Response":{"SendStatusSet":[{"Code":"Ok","SerialNo":"1"}]}}`, `{"Response":{"Error":{"Code":"X"}}}`, `{"code":"000000","result":[{"status":"000000"}]}`,
		`{"Response":{"SendStatusSet":{"0":7}}}`, `[[]]`, `null`, `"x"`, `1e999`, `{"Response":null}`, `{"result":[null]}`,
	} {
		f.Add(200, s)
		f.Add(500, s)
	}
	var apis []*Channel
	for _, name := range shippedNames() {
		api, err := open(channels.Env{}, name)
		if err != nil {
			f.Fatal(err)
		}
		apis = append(apis, &Channel{api: api, now: time.Now})
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		for _, c := range apis {
			a := reply{status: status, raw: []byte(body), at: scope{Status: status}}
			a.at.Body, a.readable = decode("json", a.raw)
			r, failure := c.judge(a)
			switch {
			case failure == nil && (status < 200 || status > 299):
				t.Errorf("HTTP %d is a success: %q", status, body)
			case failure != nil && (failure.Code == "" || failure.Class == channels.Unknown != failure.Maybe || r.ID != "" || r.Reply != ""):
				t.Errorf("%q: %+v", body, failure)
			}
		}
	})
}

// Whatever is pushed is read without a panic; a receipt names its message.
func FuzzReports(f *testing.F) {
	f.Add(`[{"report_status":"SUCCESS","sid":"s","ext":"d","user_receive_time":"2015-10-17 08:03:04"}]`)
	f.Add(`{"text":"R","mobile":"13912345678","nationcode":"86"}`)
	f.Add(`smsMsgId=2ea2&status=DELIVRD&extend=d1`)
	f.Add(`[{"report_status":{},"mobile":[]}]`)
	f.Add(url.Values{"status": {"E"}}.Encode())
	var apis []*Channel
	for _, name := range shippedNames() {
		api, err := open(channels.Env{}, name)
		if err != nil {
			f.Fatal(err)
		}
		apis = append(apis, &Channel{api: api, now: time.Now})
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, c := range apis {
			reports, _, err := c.reports(nil, []byte(body))
			if err != nil && len(reports) > 0 {
				t.Errorf("%q: reports and an error", body)
			}
			for _, r := range reports {
				if (r.State == "") != (r.Reply != "") || (r.State == schemas.Undelivered) != (r.Failure != nil) {
					t.Errorf("%q: %+v", body, r)
				}
			}
		}
	})
}
