package aliyun

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Examiner = (*Channel)(nil)

// maxTemplates bounds how many templates are asked about.
const maxTemplates = 20

// clockLimit is the difference of clocks at which Aliyun refuses a call (facts: sms-aliyun.md, "Clock").
const clockLimit = 15 * time.Minute

// The states of a signature and of a template in QuerySmsSign and QuerySmsTemplate
// (help.aliyun.com/document_detail/419283.html and 419289.html). From memory.
var reviewStates = map[int]schemas.Text{
	0:  channels.Text("审核中", "under review"),
	1:  channels.Text("审核通过", "approved"),
	2:  channels.Text("审核未通过", "refused"),
	10: channels.Text("已取消审核", "review cancelled"),
}

const approved = 1

// Examine looks at the way to Aliyun, and asks for the state of the signature and of the templates in use. These
// questions are free, change nothing, and prove AccessKey and clock. The account's balance and its daily limit are not
// part of this API.
func (c *Channel) Examine(ctx context.Context, x *channels.Examination) {
	u := &url.URL{Scheme: c.scheme, Host: c.host, Path: "/"}
	proxy, _ := http.ProxyFromEnvironment(&http.Request{URL: u}) // a wrong one fails every call, here as well
	if !x.HTTP(ctx, channels.HTTPTarget{
		Kind: kind, Provider: provider, URL: u, TLS: c.transport.TLSClientConfig, Proxy: proxy, Skew: clockLimit,
	}) {
		return
	}
	state, known := c.examineAccount(ctx, x)
	if !known {
		return
	}
	x.Step(ctx, "signature", channels.Text("短信签名", "Signature"), func(context.Context) channels.Finding {
		return reviewed("【"+c.traits.Signature+"】", "isv.SIGN_STATE_ILLEGAL", state)
	})
	for _, code := range x.Codes[:min(len(x.Codes), maxTemplates)] {
		x.Step(ctx, "template."+code, channels.Text("短信模板", "Template"), func(ctx context.Context) channels.Finding {
			var out review
			f := c.ask(ctx, func(s *dysmsapi.Client) (answer, error) {
				req := dysmsapi.CreateQuerySmsTemplateRequest()
				req.TemplateCode = code
				resp, err := s.QuerySmsTemplate(req)
				if err != nil || resp == nil {
					return answer{}, err
				}
				out = review{resp.TemplateStatus, resp.Reason}
				return answer{code: resp.Code, message: resp.Message, id: "query"}, nil
			})
			if f != nil {
				return unasked(code, f)
			}
			return reviewed(code, "isv.SMS_TEMPLATE_ILLEGAL", out)
		})
	}
}

// review is what the console's staff decided.
type review struct {
	status int
	reason string
}

// examineAccount asks for the signature: the answer proves the AccessKey whatever it says of the signature. Not known:
// the question was refused, and the steps that build on it make no sense.
func (c *Channel) examineAccount(ctx context.Context, x *channels.Examination) (state review, known bool) {
	x.Step(ctx, "account", channels.Text("账号与密钥", "Account and key"), func(ctx context.Context) channels.Finding {
		f := c.ask(ctx, func(s *dysmsapi.Client) (answer, error) {
			req := dysmsapi.CreateQuerySmsSignRequest()
			req.SignName = c.traits.Signature
			resp, err := s.QuerySmsSign(req)
			if err != nil || resp == nil {
				return answer{}, err
			}
			state = review{resp.SignStatus, resp.Reason}
			return answer{code: resp.Code, message: resp.Message, id: "query"}, nil
		})
		switch {
		case f == nil:
			known = true
			return channels.Finding{Seen: channels.Text("AccessKey 有效；余额和日发送上限请在控制台查看", "the AccessKey is valid; see the console for balance and daily limit")}
		case f.Class == channels.Config && signatures[f.Code]:
			known, state = true, review{status: noSuch, reason: f.Line}
			return channels.Finding{Seen: channels.Text("AccessKey 有效", "the AccessKey is valid")}
		}
		return unasked("QuerySmsSign", f)
	})
	return state, known
}

// noSuch is our own status of what the account does not have.
const noSuch = -1

// signatures are the codes that say so of a signature.
var signatures = map[string]bool{"isv.SMS_SIGNATURE_ILLEGAL": true, "isv.SMS_SIGN_ILLEGAL": true}

// unasked is a question that was refused. A key may be allowed to send and not to ask: that is no reason to worry.
func unasked(what string, f *channels.Failure) channels.Finding {
	out := channels.Finding{Failure: f, Seen: channels.Text("%[1]s：%[2]s", "%[1]s: %[2]s", what, f.Code)}
	if f.Code == "isp.RAM_PERMISSION_DENY" || f.Code == "Forbidden.RAM" {
		out.Level = channels.Doubtful
		out.Seen = channels.Text("AccessKey 有效，但没有查询权限（%s），看不到审核状态", "the AccessKey is valid but may not ask (%s): the states cannot be seen", f.Code)
		out.Failure = nil
	}
	return out
}

// reviewed judges a state; code is what SendSms would be refused with.
func reviewed(what, code string, r review) channels.Finding {
	words, ok := reviewStates[r.status]
	switch {
	case r.status == approved:
		return channels.Finding{Seen: channels.Text("%[1]s："+words.Zh, "%[1]s: "+words.En, what)}
	case r.status == noSuch:
		words, code = channels.Text("该账号下没有", "not in this account"), "isv.SMS_SIGNATURE_ILLEGAL"
	case !ok:
		return channels.Finding{Level: channels.Unseen, Seen: channels.Text("%[1]s：未知状态 %[2]d", "%[1]s: unknown state %[2]d", what, r.status)}
	}
	return channels.Finding{
		Seen:    channels.Text("%[1]s："+words.Zh, "%[1]s: "+words.En, what),
		Failure: &channels.Failure{Kind: kind, Provider: provider, Code: code, Class: channels.Config, Line: channels.Line(r.reason)},
	}
}

// ask makes one call that only reads.
func (c *Channel) ask(ctx context.Context, do func(*dysmsapi.Client) (answer, error)) *channels.Failure {
	cl, err := c.take(ctx)
	if err != nil {
		return channels.FromNet(kind, provider, err, false)
	}
	defer func() { c.clients <- cl }()
	a, err := call(ctx, cl, do)
	return sms.Asked(c.read(cl.wire, a, err))
}
