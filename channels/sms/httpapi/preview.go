package httpapi

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Preview makes the request of d as Send would, but with [channels.Masked] for each secret from the start: hashed, encoded
// and escaped they could not be found again, and a signature made with them would be good for a while.
func (c *Channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	vals, f := c.values(d)
	if f != nil {
		return channels.Wire{}, f
	}
	for name, s := range c.api.Settings {
		if s.Secret && vals[name] != "" {
			vals[name] = channels.Masked
		}
	}
	req, body, err := c.request(context.Background(), &c.api.Send, vals)
	if err != nil {
		return channels.Wire{}, unfit(err)
	}
	shown := func(s string) string { return strings.ReplaceAll(s, url.QueryEscape(channels.Masked), channels.Masked) }
	w := channels.Wire{Method: req.Method, URL: shown(req.URL.String()), ContentType: req.Header.Get("Content-Type"), Body: []byte(shown(string(body)))}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		v := req.Header.Get(name)
		if name == "Authorization" || name == "X-Wsse" {
			v = channels.Masked // a signature
		}
		w.Header = append(w.Header, [2]string{name, v})
	}
	if c.api.Auth.Scheme == schemeDigest {
		w.Notes = append(w.Notes, channels.Text("签名在发送时用密钥生成，这里的无效", "the signature is made with the secret when it is sent; the one here is not good"))
	}
	return w, nil
}
