package httpapi

import (
	"context"
	"maps"
	"net/http"

	"github.com/yizhan-dev/yizhan/channels"
)

var _ channels.Examiner = (*Channel)(nil)

// maxExamined bounds how many templates are asked about.
const maxExamined = 20

// Examine looks at the way to the provider, and asks for the state of the templates in use where the description says
// how. That question changes nothing, and its answer proves the credentials.
func (c *Channel) Examine(ctx context.Context, x *channels.Examination) {
	proxy, _ := http.ProxyFromEnvironment(&http.Request{URL: c.endpoint}) // a wrong one fails every call, here as well
	if !x.HTTP(ctx, channels.HTTPTarget{Kind: kind, Provider: c.api.Provider, URL: c.endpoint, TLS: c.tls, Proxy: proxy, Skew: c.api.Clock}) {
		return
	}
	account := channels.Text("账号与密钥", "Account and key")
	if c.api.TemplateStatus == nil || len(x.Codes) == 0 {
		x.Step(ctx, "account", account, func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("没有可用于检查的查询，密钥、签名和模板须试发一条才知道",
				"there is nothing harmless to ask: only a message shows whether key, signature and templates are right")}
		})
		return
	}
	for _, code := range x.Codes[:min(len(x.Codes), maxExamined)] {
		on := x.Step(ctx, "template."+code, channels.Text("短信模板", "Template"), func(ctx context.Context) channels.Finding {
			vals := maps.Clone(c.settings)
			vals["code"] = code
			f := c.templateStatus(ctx, vals)
			switch {
			case f == nil:
				return channels.Finding{Seen: channels.Text("%[1]s：已批准", "%[1]s: approved", code)}
			case f.Code == "dispatcher:bad-params": // the code cannot even be asked about: it is not one of this provider
				f.Code = "dispatcher:no-template-code"
				return channels.Finding{Failure: f, Seen: channels.Text("%[1]s：不是该服务商的模板 CODE", "%[1]s: not a template code of this provider", code)}
			case f.Code == notApproved:
				return channels.Finding{Failure: f, Seen: channels.Text("%[1]s：未批准 %[2]s", "%[1]s: not approved %[2]s", code, f.Line)}
			}
			return channels.Finding{Failure: f, Seen: channels.Text("%[1]s：%[2]s", "%[1]s: %[2]s", code, f.Code)}
		})
		if !on {
			return
		}
	}
}
