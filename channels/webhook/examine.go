package webhook

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/guard"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Examiner = (*Channel)(nil)

// signedFor is how far clocks may differ at a receiver that uses a library of Standard Webhooks (facts:
// webhooks-and-events.md, "Clock tolerance"), robotSignedFor at DingTalk and Feishu (facts: bots.md).
const (
	signedFor      = 5 * time.Minute
	robotSignedFor = time.Hour
)

// Examine looks at the way to the receiver. A receiver of Standard Webhooks is asked OPTIONS, which changes nothing;
// of a chat robot only the host is looked at, since it posts whatever its own address gets.
func (c *Channel) Examine(ctx context.Context, x *channels.Examination) {
	_, isRobot := c.format.(*robot)
	t := channels.HTTPTarget{
		Kind: kind, Provider: c.traits.Provider, URL: c.url, Control: guard.New(c.way.reach),
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.way.roots}, Options: !isRobot, Skew: signedFor,
	}
	if isRobot {
		t.Skew = robotSignedFor
	}
	if c.way.cert != nil {
		t.TLS.Certificates = []tls.Certificate{*c.way.cert}
	}
	switch {
	case c.url == nil:
		x.Step(ctx, "address", schemas.Text{Zh: "地址", En: "Address"}, func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: schemas.Text{Zh: "地址由事件给出，没有可检查的", En: "events name the addresses, there is none to look at"}}
		})
		return
	case c.way.proxy != nil:
		c.examineProxy(ctx, x, isRobot)
	case !x.HTTP(ctx, t):
		return
	}
	if isRobot {
		x.Step(ctx, "robot", schemas.Text{Zh: "机器人", En: "Robot"}, func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: schemas.Text{
				Zh: "地址、签名和关键词是否正确，只有发送消息才知道（--send-to 通道名）", En: "whether address, signature and keyword are right, only a message tells (--send-to with the channel’s name)",
			}}
		})
	}
}

// examineProxy asks through the proxy as messages go: the stretches behind it cannot be seen one by one.
func (c *Channel) examineProxy(ctx context.Context, x *channels.Examination, isRobot bool) {
	x.Step(ctx, "http", schemas.Text{Zh: "经代理的 HTTP 应答", En: "HTTP answer through the proxy"}, func(ctx context.Context) channels.Finding {
		u, method := *c.url, http.MethodOptions
		if isRobot {
			u.Path, u.RawPath, u.RawQuery, method = "/", "", "", http.MethodHead
		}
		resp, err := c.client.Do((&http.Request{Method: method, URL: &u, Host: u.Host, Header: http.Header{"User-Agent": {"Yizhan"}}}).WithContext(ctx))
		if err != nil {
			return channels.Finding{Failure: c.broken(err, false), Seen: schemas.Text{Zh: "没有应答", En: "no answer"}}
		}
		resp.Body.Close()
		return channels.Finding{Seen: schemas.Text{Zh: "经 " + c.way.proxy.Host + "，应答 " + resp.Status, En: "by way of " + c.way.proxy.Host + ", answered " + resp.Status}}
	})
}
