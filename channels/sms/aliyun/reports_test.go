package aliyun

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestReportsOfEveryKind(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want []string // "" is an error
	}{
		"the documented push": {
			`[{"phone_number":"13900000001","send_time":"2017-01-01 11:12:13","report_time":"2017-02-02 22:23:24","success":true,
			  "err_code":"DELIVERED","err_msg":"用户接收成功","sms_size":"1","biz_id":"12345","out_id":"aaaabbbbccccdddd"}]`,
			[]string{"delivered aaaabbbbccccdddd 12345 +8613900000001 2017-02-02T22:23:24+08:00"},
		},
		"several, one of them failed, sizes as numbers": {
			`[{"phone_number":"13900000001","success":true,"sms_size":1,"biz_id":"1","out_id":"a"},
			  {"phone_number":"13900000002","success":false,"err_code":"MK:0001","err_msg":"空号","sms_size":2,"biz_id":"2","out_id":"b"}]`,
			[]string{"delivered a 1 +8613900000001", "undelivered b 2 +8613900000002 MK:0001 recipient"},
		},
		"not there yet": {
			`[{"phone_number":"13900000001","success":false,"err_code":"REQUEST_SUCCESS","biz_id":"1","out_id":"a"}]`,
			[]string{"accepted a 1 +8613900000001"},
		},
		"abroad": {
			`[{"phone_number":"85298765432","success":true,"biz_id":"1","out_id":"a"}]`, []string{"delivered a 1 +85298765432"},
		},
		"of a program that gives no out_id": {
			`[{"phone_number":"13900000001","success":true,"biz_id":"1"}]`, []string{"delivered  1 +8613900000001"},
		},
		"a reply": {
			`[{"phone_number":"13900000001","content":"退订","send_time":"2017-02-02 22:23:24","dest_code":"1069","sequence_id":1234567890,"sign_name":"华星"}]`,
			[]string{"reply 退订 to 1069 华星 of +8613900000001 2017-02-02T22:23:24+08:00"},
		},
		"an empty reply is no receipt": {
			`[{"phone_number":"13900000001","content":""}]`, []string{"reply   to  of +8613900000001"},
		},
		"one that is not in an array": {
			`{"phone_number":"13900000001","success":true,"biz_id":"1","out_id":"a"}`, []string{"delivered a 1 +8613900000001"},
		},
		"the check of the address": {"", []string{}},
		"an empty array":           {"[]", []string{}},
		"no JSON":                  {"phone_number=1", nil},
		"something else":           {`[{"hello":1}]`, nil},
		"without a result":         {`[{"phone_number":"13900000001","out_id":"a"}]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			reports, answer, err := new(Channel).Reports(nil, []byte(c.body))
			if (err != nil) != (c.want == nil) {
				t.Fatalf("error %v", err)
			}
			if err == nil && (!strings.HasPrefix(string(answer.Body), `{"code":0,`) || answer.Status != 0) {
				t.Errorf("answer %d %s: Aliyun would take the push for failed", answer.Status, answer.Body)
			}
			for i, r := range reports {
				if i >= len(c.want) || told(r) != c.want[i] {
					t.Errorf("report %d: %q", i, told(r))
				}
			}
			if len(reports) != len(c.want) {
				t.Errorf("%d reports, want %d", len(reports), len(c.want))
			}
		})
	}
}

func told(r channels.Report) string {
	s := fmt.Sprintf("%s %s %s %s", r.State, r.DeliveryID, r.MessageID, r.Phone)
	if r.Reply != "" {
		s = fmt.Sprintf("reply %s to %s of %s", r.Reply, r.ReplyTo, r.Phone)
	}
	if r.Failure != nil {
		s += fmt.Sprintf(" %s %s", r.Failure.Code, r.Failure.Class)
	}
	if !r.At.IsZero() {
		s += " " + r.At.Format(time.RFC3339)
	}
	return s
}

func TestATooLargePushIsRefused(t *testing.T) {
	one := `{"phone_number":"13900000001","success":true}`
	_, _, err := new(Channel).Reports(nil, []byte("["+strings.Repeat(one+",", maxPush)+one+"]"))
	if err == nil {
		t.Error("taken")
	}
}

func FuzzReports(f *testing.F) {
	f.Add([]byte(`[{"phone_number":"13900000001","success":false,"err_code":"MK:0001","out_id":"a"}]`))
	f.Add([]byte(`[{"phone_number":"13900000001","content":"TD"}]`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		reports, _, err := new(Channel).Reports(nil, b)
		for _, r := range reports {
			switch {
			case err != nil:
				t.Error("reports with an error")
			case r.Reply == "" && r.State == "":
				t.Errorf("neither a receipt nor a reply: %+v", r)
			case r.State == schemas.Undelivered && (r.Failure == nil || r.Failure.Code == "" || r.Failure.Class == ""):
				t.Errorf("undelivered without a reason: %+v", r)
			}
		}
	})
}
