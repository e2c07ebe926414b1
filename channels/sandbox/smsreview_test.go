package sandbox

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// What the name of a signature or template says is what the query and the sending both go by.
func TestReviewStates(t *testing.T) {
	for _, tt := range []struct {
		sign, template           string
		signStatus, templateStat int
		send                     string
	}{
		{"华星科技", "SMS_1", 1, 1, "OK"},
		{"华星审核中", "SMS_1", 0, 1, "isv.SIGN_STATE_ILLEGAL"},
		{"华星未通过", "SMS_1", 2, 1, "isv.SIGN_STATE_ILLEGAL"},
		{"华星科技", "SMS_PENDING", 1, 0, "isv.SMS_TEMPLATE_ILLEGAL"},
		{"华星科技", "SMS_REJECTED_1", 1, 2, "isv.SMS_TEMPLATE_ILLEGAL"},
	} {
		s := &SMS{byNumber: map[string][]*record{}, now: time.Now, sink: func(Item) {}}
		ask := func(do func(w *httptest.ResponseRecorder)) (out struct {
			Code                       string
			SignStatus, TemplateStatus int
			Reason                     string
		},
		) {
			w := httptest.NewRecorder()
			do(w)
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		sign := ask(func(w *httptest.ResponseRecorder) { s.querySign(w, tt.sign) })
		template := ask(func(w *httptest.ResponseRecorder) { s.queryTemplate(w, tt.template) })
		if sign.SignStatus != tt.signStatus || template.TemplateStatus != tt.templateStat || (sign.Reason != "") != (tt.signStatus == rejected) {
			t.Errorf("%s, %s: %+v, %+v", tt.sign, tt.template, sign, template)
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.Form = url.Values{"PhoneNumbers": {"13800138000"}, "SignName": {tt.sign}, "TemplateCode": {tt.template}}
		if got := ask(func(w *httptest.ResponseRecorder) { s.send(w, r) }); got.Code != tt.send {
			t.Errorf("%s, %s: sending gives %s, want %s", tt.sign, tt.template, got.Code, tt.send)
		}
	}
}
