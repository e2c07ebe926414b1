// Package webhook posts deliveries to an HTTP endpoint of somebody else: a receiver of Standard Webhooks, or
// the robot of a chat group.
//
// The endpoint's address comes from configuration, or from an event within bounds that the configuration sets,
// and its name from DNS, so it is checked when connecting (channels/guard).
// A repeat does no harm to a receiver of Standard Webhooks, who knows a message again by its webhook-id. Robots
// know nothing again.
package webhook

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	kind = "webhook"

	maxAnswer = 64 << 10
	maxGone   = 10_000 // destinations remembered for having said 410
)

// format is what one kind of receiver wants to be sent, and how it says no.
type format interface {
	provider() string
	// request makes the request of an attempt at now to the address u, signed for this instant.
	request(d *schemas.Delivery, u *url.URL, now time.Time) (*request, *channels.Failure)
	// read judges an answer; nil is acceptance.
	read(status int, header http.Header, body []byte, now time.Time) *channels.Failure
}

// request is what a format makes of a delivery.
type request struct {
	url    *url.URL
	header http.Header
	body   []byte
	// shortened says how the text was made to fit; "" when all of it is there.
	shortened string
	// made are timestamp and signatures, which nobody may see while they are good; names is what they are called.
	made, names []string
}

// formats are the kinds of receivers, each opened with its settings and its secret.
var formats = map[string]func(cfg *Config, secret string) (format, error){
	"standard": newStandard,
	"dingtalk": newDingTalk,
	"wecom":    newWeCom,
	"feishu":   newFeishu,
	"slack":    newSlack,
}

func known() string { return strings.Join(slices.Sorted(maps.Keys(formats)), ", ") }

// Channel posts to one endpoint, or to those that events name. Safe for concurrent use.
type Channel struct {
	traits channels.Traits
	format format
	url    *url.URL // nil: every event has to name one
	way    way
	client *http.Client
	// destinations are nil where events may name no address. Theirs is a client of its own: what the
	// operator allows for the configured address does not hold for what an event says.
	destinations *Destinations
	away         *http.Client
	log          *zap.Logger
	now          func() time.Time

	mu   sync.Mutex
	gone map[string]bool // destinations that said 410 and were reported
}

var (
	_ channels.Factory   = New
	_ channels.Destined  = (*Channel)(nil)
	_ channels.Previewer = (*Channel)(nil)
)

// Traits says what the dispatcher must know of the channel.
func (c *Channel) Traits() channels.Traits { return c.traits }

// Close ends the idle connections.
func (c *Channel) Close() error {
	c.client.CloseIdleConnections()
	if c.away != nil {
		c.away.CloseIdleConnections()
	}
	return nil
}

// prepare makes the request of d, and says who is to send it.
func (c *Channel) prepare(d *schemas.Delivery) (*request, *http.Client, *channels.Failure) {
	u, client := c.url, c.client
	if d.To.URL != "" {
		var f *channels.Failure
		if u, f = c.destinations.chosen(d.To.URL); f != nil {
			return nil, nil, f
		}
		client = c.away
	}
	if u == nil {
		return nil, nil, &channels.Failure{
			Kind: kind, Provider: provider, Code: "dispatcher:bad-destination", Class: channels.BadTarget,
			Line: "the event gives no address, and this channel has none of its own",
		}
	}
	r, f := c.format.request(d, u, c.now())
	if f != nil {
		return nil, nil, f
	}
	r.header.Set("Content-Type", "application/json")
	r.header.Set("User-Agent", "Yizhan")
	return r, client, nil
}

// Send posts the delivery once. Every error is a *channels.Failure.
func (c *Channel) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	r, client, f := c.prepare(d)
	if f != nil {
		return channels.Receipt{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	ctx, written := channels.TraceWritten(ctx)
	req := (&http.Request{
		Method: http.MethodPost, URL: r.url, Host: r.url.Host, Header: r.header,
		Body: io.NopCloser(bytes.NewReader(r.body)), ContentLength: int64(len(r.body)),
		// A kept connection that turns out dead before anything was written is replaced.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil },
	}).WithContext(ctx)
	resp, err := client.Do(req)
	if err != nil {
		f := c.broken(err, written())
		f.Line = r.hide(f.Line)
		if d.To.URL != "" && strings.HasPrefix(f.Code, "dispatcher:blocked-") {
			// Not the channel's fault: nothing else that goes over it is in danger.
			f.Code, f.Class = "dispatcher:inner-destination", channels.BadTarget
		}
		return channels.Receipt{}, f
	}
	defer resp.Body.Close()
	// Of a longer or broken answer, the beginning and the status still count.
	answer, readErr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if f := c.format.read(resp.StatusCode, resp.Header, answer, c.now()); f != nil {
		if f.Code == noCode && readErr != nil { // the code was still to come
			f = channels.FromNet(kind, c.format.provider(), readErr, true)
		}
		f.Line = r.hide(f.Line)
		if f.Code == "http:410" {
			c.reportGone(r.url)
			if d.To.URL != "" {
				// Not the host's word for the other addresses there: nothing else that goes to it is in danger.
				f.Code, f.Class = "dispatcher:gone-destination", channels.BadTarget
			}
		}
		return channels.Receipt{}, f
	}
	receipt := channels.Receipt{Reply: channels.Line(resp.Status)}
	if c.traits.Idempotent { // by this id; robots have none
		receipt.ID = d.ID
	}
	if r.shortened != "" {
		receipt.Reply += "; " + r.shortened
	}
	return receipt, nil
}

// broken reads an error of a request that got no answer.
func (c *Channel) broken(err error, written bool) *channels.Failure {
	if f := fromProxy(c.format.provider(), channels.WithoutURL(err)); f != nil {
		return f
	}
	return channels.FromNet(kind, c.format.provider(), err, written)
}

// reportGone tells the operator, once for each destination, that it wants no more messages.
func (c *Channel) reportGone(u *url.URL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := u.Host + u.EscapedPath()
	if c.gone[key] {
		return
	}
	if c.gone == nil || len(c.gone) >= maxGone {
		c.gone = make(map[string]bool)
	}
	c.gone[key] = true
	c.log.Error("the receiver answered 410 Gone: it wants no more messages; ask it, then correct or remove the channel",
		zap.String("host", u.Host)) // the logger bears the channel's name
}

// secretPart says whether a piece of an address may be a credential: "webhook" and "send" are words.
func secretPart(s string) bool {
	return len(s) >= 16 || len(s) >= 6 && strings.ContainsAny(s, "0123456789")
}

// hide takes what may be a credential, the path and query of the address and signatures, out of an answer's words.
func (r *request) hide(line string) string {
	for _, s := range []string{r.url.RequestURI(), r.url.EscapedPath(), r.url.Path} {
		if len(s) > 1 {
			line = strings.ReplaceAll(line, s, "/…")
		}
	}
	parts := slices.Clone(r.made)
	for _, values := range r.url.Query() {
		parts = append(parts, values...)
	}
	for _, s := range append(parts, strings.Split(r.url.Path, "/")...) {
		if secretPart(s) {
			line = strings.ReplaceAll(line, s, "…")
		}
	}
	return line
}

// Preview shows the request that Send would make now, without the parts of the address that may be credentials and
// without signatures.
func (c *Channel) Preview(d *schemas.Delivery) (channels.Wire, error) {
	r, _, f := c.prepare(d)
	if f != nil {
		return channels.Wire{}, f
	}
	w := channels.Wire{Method: http.MethodPost, URL: r.url.Scheme + "://" + r.url.Host + "/…", ContentType: r.header.Get("Content-Type")}
	masked := func(s string) string {
		for _, value := range r.made {
			s = strings.ReplaceAll(s, value, channels.Masked)
		}
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		w.Header = append(w.Header, [2]string{name, masked(r.header.Get(name))})
	}
	w.Body = []byte(masked(string(r.body)))
	if len(r.names) > 0 {
		w.Notes = append(w.Notes, schemas.Text{
			Zh: strings.Join(r.names, "、") + " 在发送时生成", En: strings.Join(r.names, " and ") + " are made when it is sent",
		})
	}
	if r.shortened != "" {
		w.Notes = append(w.Notes, schemas.Text{Zh: "内容过长，已截短：" + r.shortened, En: r.shortened})
	}
	return w, nil
}
