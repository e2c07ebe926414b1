package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TencentKeys are what the stand-in of Tencent Cloud SMS accepts.
type TencentKeys struct{ SecretID, SecretKey, AppID string }

const tencentSkew = 5 * time.Minute // AuthFailure.SignatureExpire beyond it (memory)

var tencentAuthorization = regexp.MustCompile(`^TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d\d-\d\d)/(\w+)/tc3_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// tencent is the stand-in of Tencent Cloud SMS (2021-01-11): SendSms, PullSmsSendStatusByPhoneNumber, DescribeSmsTemplateList.
func (s *SMS) tencent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		s.tencentError(w, "InvalidParameter", "The request cannot be read.")
		return
	}
	if code := s.tencentCheck(r, body); code != "" {
		s.tencentError(w, code, "The signature, the time or the credential of the request is not valid.")
		return
	}
	var in struct {
		PhoneNumberSet                                                 []string
		SmsSdkAppID, SignName, TemplateID, SessionContext, PhoneNumber string
		TemplateParamSet                                               []string
		BeginTime, EndTime, Limit, Offset                              int64
		TemplateIDSet                                                  []int64
		International                                                  int
	}
	action := r.Header.Get("X-TC-Action")
	switch err := json.Unmarshal(body, &in); {
	case err != nil:
		s.tencentError(w, "InvalidParameter", "The parameters cannot be parsed.")
		return
	case r.Header.Get("X-TC-Version") != "2021-01-11":
		s.tencentError(w, "NoSuchVersion", "The version of the interface does not exist.")
		return
	case action != "DescribeSmsTemplateList" && in.SmsSdkAppID != s.cfg.Tencent.AppID:
		s.tencentError(w, "UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId 校验失败")
		return
	}
	switch action {
	case "SendSms":
		if len(in.PhoneNumberSet) != 1 {
			s.tencentError(w, "LimitExceeded.PhoneNumberCountLimit", "one number, please")
			return
		}
		s.tencentSend(w, r, in.PhoneNumberSet[0], record{outID: in.SessionContext, template: in.TemplateID, by: in.SignName, values: in.TemplateParamSet})
	case "PullSmsSendStatusByPhoneNumber":
		s.tencentQuery(w, strings.TrimPrefix(in.PhoneNumber, "+86"), in.BeginTime, in.EndTime, in.Limit)
	case "DescribeSmsTemplateList":
		rows := []map[string]any{}
		for _, id := range in.TemplateIDSet {
			status, why := 0, ""
			if id%10 == 9 { // so that a template in review can be had
				status, why = 1, "审核中"
			}
			rows = append(rows, map[string]any{"TemplateId": id, "International": in.International, "StatusCode": status, "ReviewReply": why})
		}
		s.tencentAnswer(w, map[string]any{"DescribeTemplateStatusSet": rows})
	default:
		s.tencentError(w, "InvalidAction", "The request interface does not exist.")
	}
}

// tencentCheck verifies TC3-HMAC-SHA256 from what arrived; "" is good.
func (s *SMS) tencentCheck(r *http.Request, body []byte) (code string) {
	m := tencentAuthorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "AuthFailure.SignatureFailure"
	}
	id, date, service, signed, signature := m[1], m[2], m[3], strings.Split(m[4], ";"), m[5]
	stamp, err := strconv.ParseInt(r.Header.Get("X-TC-Timestamp"), 10, 64)
	at := time.Unix(stamp, 0)
	switch {
	case id != s.cfg.Tencent.SecretID:
		return "AuthFailure.SecretIdNotFound"
	case err != nil || at.Sub(s.clock()).Abs() > tencentSkew || at.UTC().Format("2006-01-02") != date:
		return "AuthFailure.SignatureExpire"
	case !slices.Contains(signed, "host") || !slices.Contains(signed, "content-type") || !slices.IsSorted(signed):
		return "AuthFailure.SignatureFailure"
	}
	var lines strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		if name != "content-type" {
			value = strings.ToLower(value)
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, strings.TrimSpace(value))
	}
	digest := func(b string) string { h := sha256.Sum256([]byte(b)); return hex.EncodeToString(h[:]) }
	canonical := r.Method + "\n" + "/" + "\n" + r.URL.RawQuery + "\n" + lines.String() + "\n" + m[4] + "\n" + digest(string(body))
	key := []byte("TC3" + s.cfg.Tencent.SecretKey)
	for _, step := range []string{date, service, "tc3_request", fmt.Sprintf("TC3-HMAC-SHA256\n%d\n%s/%s/tc3_request\n%s", stamp, date, service, digest(canonical))} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(step))
		key = h.Sum(nil)
	}
	if want, err := hex.DecodeString(signature); err != nil || !hmac.Equal(key, want) || service != "sms" {
		return "AuthFailure.SignatureFailure"
	}
	return ""
}

func (s *SMS) tencentSend(w http.ResponseWriter, r *http.Request, e164 string, m record) {
	m.number = strings.TrimPrefix(strings.TrimPrefix(e164, "+86"), "+")
	refuse := func(code, message string) {
		s.tencentAnswer(w, map[string]any{"SendStatusSet": []map[string]any{{
			"SerialNo": "", "PhoneNumber": e164, "Fee": 0, "SessionContext": m.outID, "Code": code, "Message": message, "IsoCode": "",
		}}})
	}
	switch {
	case !mainland.MatchString(m.number) && !abroad.MatchString(m.number) || !strings.HasPrefix(e164, "+"):
		refuse("InvalidParameterValue.IncorrectPhoneNumber", "incorrect phone number")
		return
	case m.by == "" || strings.ContainsAny(m.by, "【】[]"):
		refuse("FailedOperation.SignatureIncorrectOrUnapproved", "signature is incorrect or unapproved")
		return
	case m.template == "":
		refuse("FailedOperation.TemplateUnapprovedOrNotExist", "template is unapproved or does not exist")
		return
	}
	s.act(w, r, m, acting{
		accept: func(id string) {
			s.tencentAnswer(w, map[string]any{"SendStatusSet": []map[string]any{{
				"SerialNo": id, "PhoneNumber": e164, "Fee": 1, "SessionContext": m.outID, "Code": "Ok", "Message": "send success", "IsoCode": "CN",
			}}})
		},
		refuse: func(b behaviour) {
			if b.Tencent == "RequestLimitExceeded" { // the gateway's
				s.tencentError(w, b.Tencent, "Your current request times equals to the limit.")
				return
			}
			refuse(b.Tencent, b.What.En)
		},
	})
}

// tencentQuery lists what has a receipt, as the real one does: a message that waits for its receipt is not in it.
func (s *SMS) tencentQuery(w http.ResponseWriter, number string, begin, end, limit int64) {
	switch {
	case begin <= 0 || end < begin || limit < 1 || limit > 100:
		s.tencentError(w, "InvalidParameterValue.LimitVerifyFail", "BeginTime, EndTime or Limit")
		return
	case fate(number).mute:
		s.tencentError(w, "InternalError.OtherError", "other error")
		return
	}
	rows := []map[string]any{}
	s.mu.Lock()
	for _, m := range s.byNumber[number] {
		if at := m.at.Unix(); at < begin || at > end || m.status == 1 || int64(len(rows)) == limit {
			continue
		}
		status, code := "SUCCESS", "DELIVRD"
		if m.status == 2 {
			status, code = "FAIL", "UNDELIV"
		}
		rows = append(rows, map[string]any{
			"UserReceiveTime": m.at.Unix(), "CountryCode": "86", "SubscriberNumber": number, "PhoneNumber": "+86" + number,
			"SerialNo": m.bizID, "ReportStatus": status, "Description": code, "SessionContext": m.outID,
		})
	}
	s.mu.Unlock()
	s.tencentAnswer(w, map[string]any{"PullSmsSendStatusSet": rows})
}

func (s *SMS) tencentAnswer(w http.ResponseWriter, response map[string]any) {
	response["RequestId"] = s.requestID()
	answer(w, http.StatusOK, map[string]any{"Response": response})
}

func (s *SMS) tencentError(w http.ResponseWriter, code, message string) {
	s.tencentAnswer(w, map[string]any{"Error": map[string]any{"Code": code, "Message": message}})
}
