package httpapi

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// What doctor sees of a described provider: the way there, and what its query tells of credentials and templates.
func TestExamine(t *testing.T) {
	const (
		good    = `{"Response":{"DescribeTemplateStatusSet":[{"StatusCode":0}]}}`
		review  = `{"Response":{"DescribeTemplateStatusSet":[{"StatusCode":1,"ReviewReply":"in review"}]}}`
		refused = `{"Response":{"Error":{"Code":"AuthFailure.SignatureFailure","Message":"m"}}}`
	)
	for _, c := range []struct {
		yaml, answer string
		codes        []string
		off          time.Duration // our clock
		want         string        // the last step: id, level, code of the failure
	}{
		{tencentYAML, good, []string{"1", "2"}, 0, "template.2 ok "},
		{tencentYAML, review, []string{"1"}, 0, "template.1 fail dispatcher:template-not-approved"},
		{tencentYAML, refused, []string{"1", "2"}, 0, "template.1 fail AuthFailure.SignatureFailure"},
		{tencentYAML, good, []string{"SMS_1"}, 0, "template.SMS_1 fail dispatcher:no-template-code"},
		{tencentYAML, good, nil, 0, "account skip "},
		{tencentYAML, good, []string{"1"}, 20 * time.Minute, "clock fail"},
		{huaweiYAML, good, []string{"1"}, 0, "account skip "},
	} {
		ch := far(t, c.yaml, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.Header.Get("X-TC-Action") != "DescribeSmsTemplateList" {
				t.Errorf("doctor sends %s %s", r.Method, r.Header.Get("X-TC-Action"))
			}
			_, _ = w.Write([]byte(c.answer))
		})
		last := ""
		x := &channels.Examination{
			Resolver: net.DefaultResolver, Limit: 5 * time.Second, Codes: c.codes, Now: func() time.Time { return time.Now().Add(c.off) },
			Report: func(s channels.Step) {
				last = s.ID + " " + string(s.Level) + " "
				if s.Failure != nil {
					last += s.Failure.Code
				}
			},
		}
		e, _ := ch.(channels.Examiner)
		e.Examine(t.Context(), x)
		if !strings.HasPrefix(last, c.want) {
			t.Errorf("%.14s %v: the last step is %q, want %q", c.yaml, c.codes, last, c.want)
		}
	}
}
