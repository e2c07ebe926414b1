package httpapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Preview makes the request of d as Send would, secrets and signatures masked.
func (c *Channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	vals, f := c.values(d)
	if f != nil {
		return channels.Wire{}, f
	}
	req, body, err := c.request(context.Background(), &c.api.Send, vals)
	if err != nil {
		return channels.Wire{}, unfit(err)
	}
	mask := func(s string) string {
		for _, secret := range c.secrets {
			if secret != "" {
				s = strings.ReplaceAll(s, secret, channels.Masked)
			}
		}
		return s
	}
	w := channels.Wire{Method: req.Method, URL: mask(req.URL.String()), ContentType: req.Header.Get("Content-Type"), Body: []byte(mask(string(body)))}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		v := mask(req.Header.Get(name))
		if name == "Authorization" || name == "X-Wsse" {
			v = channels.Masked // a signature
		}
		w.Header = append(w.Header, [2]string{name, v})
	}
	return w, nil
}
