package aliyun

import (
	"context"
	"errors"
	"net/http"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

var _ channels.Previewer = (*Channel)(nil)

// errNotSent ends a call that was only to be looked at.
var errNotSent = errors.New("not sent")

// capture keeps a request instead of sending it.
type capture struct{ req *http.Request }

func (c *capture) RoundTrip(req *http.Request) (*http.Response, error) {
	c.req = req
	return nil, errNotSent
}

// made are the parameters that every call makes anew or that are secret.
var made = []string{"AccessKeyId", "Signature", "SignatureNonce", "Timestamp"}

// Preview has the SDK make the very request, with no key and no connection.
func (c *Channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	req, refused := c.request(d)
	if refused != nil {
		return channels.Wire{}, refused
	}
	var seen capture
	cl, err := newClient(&seen, c.scheme, c.host, c.region, channels.Masked, channels.Masked)
	if err != nil {
		return channels.Wire{}, sms.Ours("dispatcher:internal", channels.Permanent)
	}
	_, _ = call(context.Background(), cl, func(s *dysmsapi.Client) (*dysmsapi.SendSmsResponse, error) { return s.SendSms(req) })
	if seen.req == nil {
		return channels.Wire{}, sms.Ours("dispatcher:internal", channels.Permanent)
	}
	u := *seen.req.URL
	q := u.Query()
	for _, name := range made {
		q.Set(name, channels.Masked)
	}
	u.RawQuery = q.Encode()
	return channels.Wire{
		Method: seen.req.Method, URL: u.String(),
		Notes: []schemas.Text{channels.Text("AccessKeyId、Signature、SignatureNonce、Timestamp 在发送时生成", "AccessKeyId, Signature, SignatureNonce and Timestamp are made when it is sent")},
	}, nil
}
