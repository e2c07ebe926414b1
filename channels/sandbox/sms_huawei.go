package sandbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// HuaweiKeys are what the stand-in of Huawei Cloud SMS accepts.
type HuaweiKeys struct{ AppKey, AppSecret, Sender string }

const huaweiPath = "/sms/batchSendSms/v1"

// huawei is the stand-in of Huawei Cloud's batchSendSms/v1 with its WSSE headers.
func (s *SMS) huawei(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if code := s.huaweiCheck(r); code != "" {
		huaweiError(w, code, "Authentication failed.")
		return
	}
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		huaweiError(w, "E000040", "The Content-Type is not application/x-www-form-urlencoded.")
		return
	}
	form, to := r.PostForm, r.PostForm.Get("to")
	m := record{number: strings.TrimPrefix(strings.TrimPrefix(to, "+86"), "+"), outID: form.Get("extend"), template: form.Get("templateId"), by: form.Get("from")}
	if p := form.Get("templateParas"); p != "" && json.Unmarshal([]byte(p), &m.values) != nil {
		huaweiError(w, "E000503", "The parameter format is incorrect: templateParas")
		return
	}
	switch {
	case m.by != s.cfg.Huawei.Sender, !strings.HasPrefix(to, "+"), !mainland.MatchString(m.number) && !abroad.MatchString(m.number):
		huaweiError(w, "E000503", "The parameter format is incorrect.")
		return
	case m.template == "":
		s.huaweiResult(w, to, "", "E200030", "")
		return
	}
	s.act(w, r, m, acting{
		accept: func(id string) { s.huaweiResult(w, to, id, "000000", m.by) },
		refuse: func(b behaviour) {
			if strings.HasPrefix(b.Huawei, "E2") {
				s.huaweiResult(w, to, "", b.Huawei, m.by)
				return
			}
			huaweiError(w, b.Huawei, b.What.En)
		},
	})
}

func (s *SMS) huaweiResult(w http.ResponseWriter, to, id, status, from string) {
	code, description := "000000", "Success"
	if status != code {
		code, description = "E000510", "The SMS fails to be sent. For details, see status."
	}
	answer(w, http.StatusOK, map[string]any{"code": code, "description": description, "result": []map[string]any{{
		"originTo": to, "createTime": s.clock().UTC().Format(time.RFC3339), "from": from, "smsMsgId": id, "status": status,
	}}})
}

func huaweiError(w http.ResponseWriter, code, description string) {
	status := http.StatusOK
	if strings.HasPrefix(code, "E0001") || strings.HasPrefix(code, "E00000") && code != "E000000" {
		status = http.StatusUnauthorized
	}
	answer(w, status, map[string]any{"code": code, "description": description})
}

var wssePart = regexp.MustCompile(`(\w+)="([^"]*)"`)

// huaweiCheck verifies the WSSE headers from what arrived; "" is good.
func (s *SMS) huaweiCheck(r *http.Request) (code string) {
	if r.Header.Get("Authorization") != `WSSE realm="SDP",profile="UsernameToken",type="Appkey"` {
		return "E000001"
	}
	token, ok := strings.CutPrefix(r.Header.Get("X-WSSE"), "UsernameToken ")
	if !ok {
		return "E000026"
	}
	parts := map[string]string{}
	for _, m := range wssePart.FindAllStringSubmatch(token, -1) {
		parts[m[1]] = m[2]
	}
	created, err := time.Parse("2006-01-02T15:04:05Z", parts["Created"])
	hash := sha256.New()
	for _, part := range []string{parts["Nonce"], parts["Created"], s.cfg.Huawei.AppSecret} {
		hash.Write([]byte(part))
	}
	sum := hash.Sum(nil)
	digest, badBase64 := base64.StdEncoding.DecodeString(parts["PasswordDigest"])
	// The samples of Huawei's own encode the hash itself or its hexadecimal text; the real one takes both.
	good := subtle.ConstantTimeCompare(digest, sum) == 1 || subtle.ConstantTimeCompare(digest, []byte(hex.EncodeToString(sum))) == 1
	switch {
	case parts["Username"] != s.cfg.Huawei.AppKey:
		return "E000102"
	case err != nil:
		return "E000025"
	case created.Sub(s.clock()).Abs() > clockSkew:
		return "E000110"
	case badBase64 != nil || !good:
		return "E000105"
	case parts["Nonce"] == "" || s.replayed("wsse "+parts["Nonce"], s.clock()):
		return "E000105"
	}
	return ""
}
