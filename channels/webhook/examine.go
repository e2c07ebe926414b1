package webhook

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

var (
	_ channels.Examiner  = (*Channel)(nil)
	_ channels.Previewer = (*Channel)(nil)
)

// signedFor is how far clocks may differ at a receiver that uses a library of Standard Webhooks (facts:
// webhooks-and-events.md, "Clock tolerance").
const signedFor = 5 * time.Minute

// Examine looks at the way to the receiver. A receiver of Standard Webhooks is asked OPTIONS, which changes nothing;
// of a chat robot only the host is looked at, since it posts whatever its own address gets.
func (c *Channel) Examine(ctx context.Context, x *channels.Examination) {
	ok := x.HTTP(ctx, channels.HTTPTarget{
		Kind: kind, Provider: c.traits.Provider, URL: c.url, Control: c.check,
		TLS:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots},
		Options: c.traits.Provider == provider, Skew: signedFor,
	})
	if ok && c.traits.Provider != provider {
		x.Step(ctx, "robot", channels.Text("机器人", "Robot"), func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("地址、签名和关键词是否正确，只有发送消息才知道（--send-to 通道名）", "whether address, signature and keyword are right, only a message tells (--send-to with the channel’s name)")}
		})
	}
}

// masked are the headers that are a secret, or made of one, or new in every attempt.
var masked = []string{"Webhook-Signature", "Webhook-Timestamp"}

// Preview is the request that Send would make. The address shows its host alone: path and query are often the
// credential.
func (c *Channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	req, err := c.request(d)
	if err != nil {
		return channels.Wire{}, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return channels.Wire{}, err
	}
	w := channels.Wire{
		Method: req.Method, URL: c.url.Scheme + "://" + c.url.Host + "/…", Body: body, ContentType: req.Header.Get("Content-Type"),
		Notes: []schemas.Text{channels.Text("Webhook-Signature、Webhook-Timestamp 在发送时生成", "Webhook-Signature and Webhook-Timestamp are made when it is sent")},
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		for _, v := range req.Header[name] {
			if slices.Contains(masked, name) {
				v = channels.Masked
			}
			w.Header = append(w.Header, [2]string{name, v})
		}
	}
	return w, nil
}
