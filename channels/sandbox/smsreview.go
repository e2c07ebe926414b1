package sandbox

import (
	"net/http"
	"strings"
)

// The states of QuerySmsSign and QuerySmsTemplate.
const (
	pending  = 0
	approved = 1
	rejected = 2
)

// reviewOf is the state of a signature or a template, as its name says.
func reviewOf(name string) int {
	switch {
	case strings.Contains(name, "审核中"), strings.Contains(name, "PENDING"):
		return pending
	case strings.Contains(name, "未通过"), strings.Contains(name, "REJECTED"):
		return rejected
	}
	return approved
}

func reasonOf(state int) string {
	if state == rejected {
		return "签名或模板与业务不符，请补充证明材料后重新提交"
	}
	return ""
}

func (s *SMS) querySign(w http.ResponseWriter, name string) {
	if name == "" || strings.ContainsAny(name, "【】[]") {
		s.refuse(w, refusal{code: "isv.SMS_SIGNATURE_ILLEGAL", message: "该账号下找不到对应签名"})
		return
	}
	state := reviewOf(name)
	answer(w, http.StatusOK, map[string]any{
		"Code": ok, "Message": ok, "RequestId": s.requestID(), "SignName": name, "SignStatus": state, "Reason": reasonOf(state),
	})
}

func (s *SMS) queryTemplate(w http.ResponseWriter, code string) {
	if code == "" {
		s.refuse(w, refusal{code: "isv.SMS_TEMPLATE_ILLEGAL", message: "该账号下找不到对应模板"})
		return
	}
	state := reviewOf(code)
	text := ""
	if s.cfg.Templates != nil {
		text = s.cfg.Templates()[code]
	}
	answer(w, http.StatusOK, map[string]any{
		"Code": ok, "Message": ok, "RequestId": s.requestID(), "TemplateCode": code, "TemplateContent": text,
		"TemplateStatus": state, "Reason": reasonOf(state),
	})
}
