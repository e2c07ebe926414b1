package aliyun

import (
	"errors"
	"net/http"
	"strings"
	"time"

	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"

	"github.com/yizhan-dev/yizhan/channels"
)

// answer is what an answer said, once read.
type answer struct {
	code, message string
	id            string // BizId of SendSms
}

// read is the one place that decides what became of a SendSms; nil is acceptance. What the SDK
// calls an error is never wrapped: its texts repeat the request, number and variables included.
func (c *Channel) read(w *wire, a answer, err error) *channels.Failure {
	if w.status == 0 && err != nil {
		return channels.FromNet(kind, provider, err, w.written())
	}
	if refused, ok := errors.AsType[sdkerrors.Error](err); ok {
		if s, ok := errors.AsType[*sdkerrors.ServerError](refused); ok {
			a = answer{code: s.ErrorCode(), message: s.Message()}
		}
	}
	ok2xx := w.status >= 200 && w.status < 300
	switch {
	case ok2xx && err != nil:
		return unknown("dispatcher:http-200-no-code", "HTTP 200 without a readable answer")
	case ok2xx && a.code == "OK" && a.id != "":
		return nil
	case ok2xx && a.code == "OK":
		return unknown("dispatcher:empty-code", "Code OK without BizId")
	case ok2xx && a.code == "":
		return unknown("dispatcher:empty-code", a.message)
	case a.code != "":
		return c.coded(w, a)
	}
	f := channels.FromHTTP(kind, provider, w.status, w.header, []byte(a.message), c.now())
	if w.status >= 500 {
		// Something between us and the product answered; whether the product took it, it does not say.
		f.Class, f.Maybe = channels.Unknown, true
	}
	return f
}

// coded reads an answer with a code of Aliyun's, whatever its HTTP status: the same code comes
// with different ones.
func (c *Channel) coded(w *wire, a answer) *channels.Failure {
	// The gateway repeats what was signed, and in it the number and the variables.
	message, _, _ := strings.Cut(a.message, "server string to sign is:")
	f := &channels.Failure{
		Kind: kind, Provider: provider, Code: a.code, Class: classOf(a.code),
		Line: channels.Line(message),
	}
	switch {
	case f.Class == channels.Throttled:
		f.After = window(a.code, message, c.now())
		if f.After == 0 {
			f.After = channels.RetryAfter(w.header.Get("Retry-After"), c.now())
		}
	case f.Class == channels.Temporary && w.status >= http.StatusInternalServerError:
		f.Class, f.Maybe = channels.Unknown, true
	}
	return f
}

func unknown(code, line string) *channels.Failure {
	return &channels.Failure{
		Kind: kind, Provider: provider, Code: code, Class: channels.Unknown, Maybe: true, Line: channels.Line(line),
	}
}

// families are Aliyun's codes and their beginnings (those that end in * ), first match wins.
// Sources: help.aliyun.com/document_detail/101346.html for calls, 101347.html for receipts.
var families = []struct {
	class channels.Class
	codes string
}{
	{channels.Auth, `SignatureDoesNotMatch IncompleteSignature InvalidAccessKeyId.* InvalidSecurityToken* Forbidden* NoPermission
		isp.RAM_PERMISSION_DENY isv.ACCOUNT_NOT_EXISTS`},
	{channels.Throttled, `isv.BUSINESS_LIMIT_CONTROL isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL isv.SMS_OVER_LIMIT
		MOBILE_SEND_LIMIT Throttling*`},
	{channels.BadTarget, `isv.MOBILE_NUMBER_ILLEGAL isv.BLACK_KEY_CONTROL_LIMIT isv.CUSTOMER_REFUSED
		MOBILE_* MOBLLE_TERMINAL_ERROR INVALID_NUMBER USER_REJECT SP_NOT_BY_INTER_SMS`},
	{channels.Content, `isv.SMS_CONTENT_* isv.UNSUPPORTED_CONTENT isv.TEMPLATE_* isv.INVALID_JSON_PARAM isv.INVALID_PARAMETERS
		isv.PARAM_* PARAMS_ILLEGAL isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL CONTENT_KEYWORD CONTENT_ERROR NO_ROUTE`},
	{channels.Config, `isv.SMS_* isv.SIGN_* isv.EXTEND_CODE_ERROR isv.ONE_CODE_MULTIPLE_SIGN isv.CODE_* isv.DENY_IP_RANGE
		isv.PRODUCT_* isv.OUT_OF_SERVICE isv.AMOUNT_NOT_ENOUGH isv.ACCOUNT_ABNORMAL isv.SECURITY_FROZEN_ACCOUNT
		isv.MOBILE_COUNT_OVER_LIMIT isv.DOMESTIC_NUMBER_NOT_SUPPORTED isv.INTERFACE_OFFLINE isv.NO_AVAILABLE_SHORT_URL
		isv.SHORTURL_DOMAIN_EMPTY template_parameter_count_illegal SIGNATURE_BLACKLIST PORT_NOT_REGISTERED
		InvalidTimeStamp* InvalidVersion InvalidAction.*`},
	{channels.Temporary, `isp.* IS_CLOSE ServiceUnavailable* InternalError REQUEST_SUCCESS SP_UNKNOWN_ERROR`},
}

// classOf is what an Aliyun code means by its family alone, equal ignoring case. A code that nobody
// knows is Permanent: a repeat would cost money for the same answer.
func classOf(code string) channels.Class {
	for _, f := range families {
		for pattern := range strings.FieldsSeq(f.codes) {
			begin, family := strings.CutSuffix(pattern, "*")
			if strings.EqualFold(code, pattern) || family && len(code) >= len(begin) && strings.EqualFold(code[:len(begin)], begin) {
				return f.class
			}
		}
	}
	return channels.Permanent
}

// china is UTC+8 all year; the limits' windows are calendar windows there
// (help.aliyun.com/document_detail/44335.html).
var china = time.FixedZone("UTC+8", 8*60*60)

// window is how long a flow-control answer asks us to wait from now: to the next calendar minute
// or hour, 24 hours for the day level of a number, to midnight for the account's own daily limit;
// 0 when the answer names no window.
func window(code, message string, now time.Time) time.Duration {
	at := now.In(china)
	midnight := time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, china)
	lower := strings.ToLower(message)
	has := func(zh, en string) bool { return strings.Contains(message, zh) || strings.Contains(lower, en) }
	switch {
	case strings.EqualFold(code, "isv.DAY_LIMIT_CONTROL"):
		return midnight.Sub(now)
	case strings.EqualFold(code, "isv.MONTH_LIMIT_CONTROL"):
		return 24 * time.Hour // somebody may raise the limit before the month ends
	case !strings.EqualFold(code, "isv.BUSINESS_LIMIT_CONTROL"):
		return 0
	case has("分钟级", "minute"):
		return at.Truncate(time.Minute).Add(time.Minute).Sub(now)
	case has("小时级", "hour"):
		return at.Truncate(time.Hour).Add(time.Hour).Sub(now)
	case has("天级", "day"):
		return 24 * time.Hour
	}
	return 0
}
