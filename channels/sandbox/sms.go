package sandbox

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxForm     = 1 << 20
	maxRecords  = 200_000 // messages that QuerySendDetails can find
	maxNonces   = 200_000 // in each of two generations
	clockSkew   = 15 * time.Minute
	maxPageSize = 50
)

// china is the time zone of QuerySendDetails.
var china = time.FixedZone("UTC+8", 8*60*60)

// SMSConfig describes a stand-in of SMS providers.
type SMSConfig struct {
	Addr                         string // loopback address, "" is a free port of 127.0.0.1
	AccessKeyID, AccessKeySecret string // the one pair of Aliyun's that it knows
	Tencent                      TencentKeys
	Huawei                       HuaweiKeys
	// Templates gives the texts by template code, see [Config].
	Templates func() map[string]string
}

// SMS is a stand-in of SMS providers over HTTP on loopback, all at one address: Aliyun's Dysmsapi (2017-05-25), Tencent
// Cloud SMS (2021-01-11; requests with X-TC-Action) and Huawei Cloud SMS (/sms/batchSendSms/v1). Of Aliyun it knows SendSms to
// one number, QuerySendDetails, QuerySmsSign and QuerySmsTemplate, and checks the RPC signature, the clock, the nonce and
// the AccessKey as Aliyun does; the others likewise. What it does with a message depends on the number, so that any
// failure can be had from outside:
//
//	number         what happens
//	199 0000 0001  isv.MOBILE_NUMBER_ILLEGAL
//	199 0000 0002  isv.BUSINESS_LIMIT_CONTROL, minute level
//	199 0000 0003  isv.AMOUNT_NOT_ENOUGH
//	199 0000 0004  isv.SMS_SIGNATURE_ILLEGAL
//	199 0000 0005  isp.SYSTEM_ERROR twice for one OutId, then accepted
//	199 0000 0006  HTTP 503 with an HTML page
//	199 0000 0007  taken and never answered; the query finds it delivered
//	199 0000 0008  the first time of an OutId neither taken nor answered, then accepted
//	199 0000 0009  taken and never answered; the query fails with isp.SYSTEM_ERROR
//	199 0000 0010  Throttling.User with HTTP 400
//	199 0000 0011  taken, and the connection broken without an answer
//	199 0000 0012  accepted; the query says undelivered, MOBILE_NOT_ON_SERVICE
//	199 0000 0013  HTTP 200 with something that is not JSON
//	199 0000 0014  accepted; the query says delivered
//	199 0000 0015  taken, and answered a byte a second for ever; the query finds it delivered
//	199 0000 0016  neither taken nor answered; the query finds nothing
//	anything else  accepted; the query says that the receipt is awaited
//
// A signature or template code that contains 审核中 or PENDING is under review, one with 未通过 or REJECTED was refused;
// nothing is sent under either.
type SMS struct {
	*web
	cfg   SMSConfig
	sink  Sink
	tries tries // by OutId

	mu       sync.Mutex
	now      func() time.Time
	nonces   [2]map[string]struct{} // this generation and the one before
	turned   time.Time              // when the generation began
	order    []*record              // oldest first
	byNumber map[string][]*record
	sequence uint64
}

// record is one message taken.
type record struct {
	at                                 time.Time
	number, outID, bizID, template, by string
	content                            string
	values                             []string // of the variables in order, where the provider takes a list
	status                             int64
	errCode                            string
}

// StartSMS starts a stand-in that hands every message taken to sink.
func StartSMS(cfg SMSConfig, sink Sink) (*SMS, error) {
	s := &SMS{cfg: cfg, sink: sink, now: time.Now, byNumber: make(map[string][]*record)}
	var err error
	if s.web, err = openWeb(cfg.Addr); err != nil {
		return nil, err
	}
	s.start(s.serve)
	return s, nil
}

// Accepted lists when messages to a number (bare digits) were taken, oldest first.
func (s *SMS) Accepted(number string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	times := make([]time.Time, 0, len(s.byNumber[number]))
	for _, r := range s.byNumber[number] {
		times = append(times, r.at)
	}
	return times
}

// refusal is an answer with a code: HTTP 200 for the product's own, else the gateway's.
type refusal struct {
	status        int
	code, message string
}

func (s *SMS) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-TC-Action") != "":
		s.tencent(w, r)
	case r.URL.Path == huaweiPath:
		s.huawei(w, r)
	default:
		s.aliyun(w, r)
	}
}

func (s *SMS) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *SMS) aliyun(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.refuse(w, refusal{http.StatusBadRequest, "InvalidParameter", "The request cannot be read."})
		return
	}
	// Header signing is not used: query and form are all that is signed.
	if bad, found := s.check(r.Method, r.Form); found {
		s.refuse(w, bad)
		return
	}
	switch action := r.Form.Get("Action"); action {
	case "SendSms":
		s.send(w, r)
	case "QuerySendDetails":
		s.query(w, r.Form)
	case "QuerySmsSign":
		s.querySign(w, r.Form.Get("SignName"))
	case "QuerySmsTemplate":
		s.queryTemplate(w, r.Form.Get("TemplateCode"))
	default:
		s.refuse(w, refusal{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."})
	}
}

// check is the gateway's part: version, key, clock, signature, nonce, in this order.
func (s *SMS) check(method string, form url.Values) (refusal, bool) {
	for _, name := range []string{"Action", "Version", "AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"} {
		if form.Get(name) == "" {
			return refusal{http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards: " + name + " is missing."}, true
		}
	}
	if form.Get("Version") != "2017-05-25" {
		return refusal{http.StatusBadRequest, "InvalidVersion", "Specified parameter Version is not valid."}, true
	}
	if form.Get("AccessKeyId") != s.cfg.AccessKeyID {
		return refusal{http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found."}, true
	}
	now := s.clock()
	at, err := time.Parse("2006-01-02T15:04:05Z", form.Get("Timestamp"))
	if err != nil || at.Before(now.Add(-clockSkew)) || at.After(now.Add(clockSkew)) {
		return refusal{http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."}, true
	}
	text := stringToSign(method, form)
	mac := hmac.New(sha1.New, []byte(s.cfg.AccessKeySecret+"&"))
	mac.Write([]byte(text))
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if form.Get("SignatureMethod") != "HMAC-SHA1" || !hmac.Equal([]byte(want), []byte(form.Get("Signature"))) {
		return refusal{
			http.StatusBadRequest, "SignatureDoesNotMatch",
			"Specified signature is not matched with our calculation. server string to sign is:" + text,
		}, true
	}
	if s.replayed(form.Get("SignatureNonce"), now) {
		return refusal{http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already."}, true
	}
	return refusal{}, false
}

// stringToSign is method, path and the sorted parameters without Signature, percent-encoded twice
// as RFC 3986 has it (Alibaba Cloud, "RPC signature mechanism").
func stringToSign(method string, form url.Values) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name != "Signature" {
			pairs = append(pairs, percent(name)+"="+percent(form.Get(name)))
		}
	}
	return method + "&" + percent("/") + "&" + percent(strings.Join(pairs, "&"))
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"

// percent encodes every byte that RFC 3986 section 2.3 does not leave unreserved.
func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(unreserved, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// replayed remembers nonces for at least the time in which their timestamp is good.
func (s *SMS) replayed(nonce string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nonces[0] == nil || now.Sub(s.turned) > 2*clockSkew || len(s.nonces[0]) >= maxNonces {
		s.nonces = [2]map[string]struct{}{make(map[string]struct{}), s.nonces[0]}
		s.turned = now
	}
	for _, g := range s.nonces {
		if _, used := g[nonce]; used {
			return true
		}
	}
	s.nonces[0][nonce] = struct{}{}
	return false
}

var (
	mainland = regexp.MustCompile(`^1[3-9]\d{9}$`)
	abroad   = regexp.MustCompile(`^[1-9]\d{7,14}$`)
)

func (s *SMS) send(w http.ResponseWriter, r *http.Request) {
	number, sign, template, param := r.Form.Get("PhoneNumbers"), r.Form.Get("SignName"), r.Form.Get("TemplateCode"), r.Form.Get("TemplateParam")
	var params map[string]string
	switch {
	case strings.Contains(number, ","):
		s.refuse(w, refusal{code: "isv.MOBILE_COUNT_OVER_LIMIT", message: "手机号码数量超过限制"})
		return
	case !mainland.MatchString(number) && !abroad.MatchString(number):
		s.refuse(w, refusal{code: "isv.MOBILE_NUMBER_ILLEGAL", message: number + " invalid mobile number"})
		return
	case sign == "" || strings.ContainsAny(sign, "【】[]"):
		s.refuse(w, refusal{code: "isv.SMS_SIGNATURE_ILLEGAL", message: "该账号下找不到对应签名"})
		return
	case reviewOf(sign) != approved:
		s.refuse(w, refusal{code: "isv.SIGN_STATE_ILLEGAL", message: "签名状态不合法"})
		return
	case template == "", reviewOf(template) != approved:
		s.refuse(w, refusal{code: "isv.SMS_TEMPLATE_ILLEGAL", message: "该账号下找不到对应模板"})
		return
	case param != "" && json.Unmarshal([]byte(param), &params) != nil:
		s.refuse(w, refusal{code: "isv.INVALID_JSON_PARAM", message: "参数格式错误,请传入JSON字符串"})
		return
	}
	s.act(w, r, record{number: number, outID: r.Form.Get("OutId"), template: template, by: sign, content: param}, acting{
		accept: func(biz string) {
			answer(w, http.StatusOK, map[string]any{"Code": ok, "Message": ok, "BizId": biz, "RequestId": s.requestID()})
		},
		refuse: func(b behaviour) { s.refuse(w, refusal{b.status, b.Code, b.message}) },
	})
}

// acting is how one provider says yes, with its id for the message, and no.
type acting struct {
	accept func(id string)
	refuse func(behaviour)
}

// act does with a message what its number asks for.
func (s *SMS) act(w http.ResponseWriter, r *http.Request, m record, say acting) {
	b := fate(m.number)
	if b.first > 0 && s.tries.next(m.number+" "+m.outID) > b.first {
		b = accepted
	}
	m.status, m.errCode = b.sendStatus, b.errCode
	var id string
	if b.Code == ok || b.taken {
		id = s.take(m)
	}
	switch {
	case b.silent:
		s.hang(r)
	case b.drip:
		s.drip(w, r, `{"Code":"OK","Message":"`)
	case b.cut:
		panic(http.ErrAbortHandler)
	case b.body != "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(b.status)
		_, _ = w.Write([]byte(b.body))
	case b.Code != ok:
		say.refuse(b)
	default:
		say.accept(id)
	}
}

// take records a message and shows it in the inbox.
func (s *SMS) take(r record) string {
	s.mu.Lock()
	s.sequence++
	r.at = s.now()
	r.bizID = fmt.Sprintf("%d%06d^0", r.at.UnixMilli(), s.sequence%1_000_000)
	if r.status == 0 {
		r.status = 1
	}
	if len(s.order) >= maxRecords {
		old := s.order[0]
		s.order[0] = nil
		s.order = s.order[1:]
		if left := s.byNumber[old.number][1:]; len(left) > 0 {
			s.byNumber[old.number] = left
		} else {
			delete(s.byNumber, old.number)
		}
	}
	s.order = append(s.order, &r)
	s.byNumber[r.number] = append(s.byNumber[r.number], &r)
	s.mu.Unlock()
	s.sink(Item{
		Time: r.at, Kind: "sms", To: r.number, From: r.by, Subject: r.template,
		Text: "【" + r.by + "】" + s.text(r), ID: r.bizID, Delivery: r.outID, Raw: r.raw(),
	})
	return r.bizID
}

// raw is the variables as they came.
func (r record) raw() string {
	if r.values == nil {
		return r.content
	}
	b, _ := json.Marshal(r.values) // strings always can
	return string(b)
}

// text is the message as it would have reached the phone; of a template that is not known, its code
// and the parameters.
func (s *SMS) text(r record) string {
	var text string
	known := false
	if s.cfg.Templates != nil {
		text, known = s.cfg.Templates()[r.template]
	}
	if r.values != nil {
		if !known {
			return r.template + " " + strings.Join(r.values, ", ")
		}
		n := 0 // the n-th variable of the text has the n-th value; one that comes again has its own
		seen := map[string]string{}
		return variable.ReplaceAllStringFunc(text, func(v string) string {
			if value, ok := seen[v]; ok {
				return value
			}
			if n < len(r.values) {
				seen[v] = r.values[n]
				n++
				return seen[v]
			}
			return v
		})
	}
	var params map[string]string
	if !known || r.content != "" && json.Unmarshal([]byte(r.content), &params) != nil {
		return r.template + " " + r.content
	}
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		if value, ok := params[v[2:len(v)-1]]; ok {
			return value
		}
		return v
	})
}

// variable is ${name} in a template of the provider.
var variable = regexp.MustCompile(`\$\{[^{}]*\}`)

func (s *SMS) query(w http.ResponseWriter, form url.Values) {
	number, date := form.Get("PhoneNumber"), form.Get("SendDate")
	size, err1 := strconv.Atoi(form.Get("PageSize"))
	page, err2 := strconv.Atoi(form.Get("CurrentPage"))
	_, err3 := time.Parse("20060102", date)
	switch {
	case err1 != nil || err2 != nil || err3 != nil || size < 1 || size > maxPageSize || page < 1:
		s.refuse(w, refusal{code: "isv.INVALID_PARAMETERS", message: "参数异常"})
		return
	case fate(number).mute:
		s.refuse(w, refusal{code: "isp.SYSTEM_ERROR", message: "isp.SYSTEM_ERROR"})
		return
	}
	rows := []map[string]any{}
	total := 0
	s.mu.Lock()
	for _, r := range slices.Backward(s.byNumber[number]) {
		at := r.at.In(china)
		if at.Format("20060102") != date {
			continue
		}
		if total++; total > (page-1)*size && len(rows) < size {
			rows = append(rows, map[string]any{
				"PhoneNum": r.number, "SendDate": at.Format(time.DateTime), "SendStatus": r.status, "ErrCode": r.errCode,
				"TemplateCode": r.template, "Content": "【" + r.by + "】" + r.content, "OutId": r.outID,
			})
		}
	}
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"Code": ok, "Message": ok, "RequestId": s.requestID(), "TotalCount": strconv.Itoa(total),
		"SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": rows},
	})
}

func (s *SMS) requestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	return fmt.Sprintf("5A4D0B10-0000-4000-8000-%012X", s.sequence)
}

func (s *SMS) refuse(w http.ResponseWriter, r refusal) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	answer(w, r.status, map[string]any{"Code": r.code, "Message": r.message, "RequestId": s.requestID()})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}
