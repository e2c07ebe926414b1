// Package httpapi sends SMS through any provider with an HTTP interface that a description in YAML tells: the request, its
// signature, what counts as success, what the codes mean, how to ask, how receipts are read. Descriptions of Tencent
// Cloud and Huawei Cloud are in the binary (apis); docs/sms.md shows how to write one.
//
// A message is accepted only when the description's success expression is true of the answer's body. Whatever leaves open
// whether the provider took the message ends as [channels.Unknown].
package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	kind           = "sms"
	defaultSlots   = 16
	defaultTimeout = 10 * time.Second
	connectTimeout = 5 * time.Second
	maxAnswer      = 1 << 20
)

// Config is a channel's section of yizhan.yaml.
type Config struct {
	channels.Common `yaml:",inline"`

	Provider string `yaml:"provider"` // "httpapi"; read by sms.New
	// API is the name of a description in the binary (tencent, huawei), or the path of a file of one's own, relative to
	// the folder of yizhan.yaml.
	API string `yaml:"api"`
	// Signature is the default SMS signature, without brackets.
	Signature string `yaml:"signature"`
	// Endpoint is a host, or a URL, in place of the description's. Always https, but for a loopback address.
	Endpoint string `yaml:"endpoint,omitempty"`
	// Settings are those that the description names; a secret one is given as <name>_file or <name>_env.
	Settings map[string]string `yaml:"settings,omitempty"`
	// Receipts lets the provider push receipts and replies.
	Receipts channels.Receipts `yaml:"receipts,omitempty"`
}

// Channel sends through one account at one provider. Safe for concurrent use.
type Channel struct {
	traits    channels.Traits
	api       *description
	endpoint  *url.URL
	settings  values
	secrets   []string // to be kept out of a provider's words
	client    *http.Client
	tls       *tls.Config
	templates templates
	now       func() time.Time
}

// asking is a channel whose description has a lookup.
type asking struct{ *Channel }

// Lookup asks the provider what became of the delivery, see [channels.Reconciler].
func (c asking) Lookup(ctx context.Context, d *schemas.Delivery, since time.Time) (channels.Lookup, error) {
	return c.lookup(ctx, d, since)
}

// reporting is a channel whose description has receipts.
type reporting struct{ *Channel }

// Reports reads a push of the provider, see [channels.Reporter].
func (c reporting) Reports(r *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	return c.reports(r, body)
}

var (
	_ channels.Factory    = New
	_ channels.Previewer  = (*Channel)(nil)
	_ channels.Reconciler = asking{}
	_ channels.Reporter   = reporting{}
)

// New opens the channel; it makes no call. The channel is a [channels.Reconciler] and a [channels.Reporter] where the
// description says how.
func New(env channels.Env, decode func(into any) error) (channels.Channel, error) {
	var cfg Config
	if err := decode(&cfg); err != nil {
		return nil, err
	}
	if err := cfg.Common.Check(); err != nil {
		return nil, err
	}
	if err := sms.CheckSignature(cfg.Signature); err != nil {
		return nil, err
	}
	if cfg.API == "" {
		return nil, channels.BadSetting("api", "请填写服务商接口描述："+strings.Join(shippedNames(), "、")+"，或描述文件的路径",
			"give the description of the provider's interface: "+strings.Join(shippedNames(), ", ")+", or the path of a file")
	}
	api, err := open(env, cfg.API)
	if err != nil {
		return nil, channels.BadSetting("api", "接口描述有误："+err.Error(), "the description of the interface is wrong: "+err.Error())
	}
	switch err := cfg.Receipts.Check(api.Lookup != nil); {
	case err != nil:
		return nil, err
	case cfg.Receipts.Pushed() && api.Receipts == nil:
		return nil, channels.BadSetting("receipts", "接口描述 "+cfg.API+" 没有说明回执的格式", "the description "+cfg.API+" does not say what receipts look like")
	}
	endpoint, err := sms.Endpoint(cmp.Or(cfg.Endpoint, api.Endpoint))
	if err != nil {
		return nil, err
	}
	settings, secrets, err := api.read(env, cfg.Settings)
	if err != nil {
		return nil, err
	}
	slots := cmp.Or(cfg.Slots, defaultSlots)
	conns := slots * len(schemas.Priorities)
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	c := &Channel{
		tls: secure,
		traits: channels.Traits{
			Kind: kind, Provider: api.Provider, Address: channels.Phone,
			Once: true, Capped: true, Signature: cfg.Signature, Receipts: cfg.Receipts.On(),
			Slots: slots, Timeout: cmp.Or(cfg.Timeout, defaultTimeout),
		},
		api: api, endpoint: endpoint, settings: settings, secrets: secrets, now: time.Now,
		client: &http.Client{
			Transport: channels.NewTransport(&http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
				TLSClientConfig:        secure,
				TLSHandshakeTimeout:    connectTimeout,
				MaxConnsPerHost:        conns,
				MaxIdleConnsPerHost:    conns,
				IdleConnTimeout:        30 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			}),
			// A redirect would carry the signed request to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	switch {
	case api.Lookup != nil && api.Receipts != nil:
		return struct {
			*Channel
			channels.Reconciler
			channels.Reporter
		}{c, asking{c}, reporting{c}}, nil
	case api.Lookup != nil:
		return asking{c}, nil
	case api.Receipts != nil:
		return reporting{c}, nil
	}
	return c, nil
}

// read takes the settings that the description names out of those given.
func (d *description) read(env channels.Env, given map[string]string) (values, []string, error) {
	vals, used := values{}, map[string]bool{}
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		s := d.Settings[name]
		key, v := name, given[name]
		if s.Secret {
			key = name + "_file"
			file, variable := given[name+"_file"], given[name+"_env"]
			used[name+"_file"], used[name+"_env"] = true, true
			var err error
			if v, err = sms.Secret(env, "settings/"+name, file, variable); err != nil {
				return nil, nil, err
			}
			secrets = append(secrets, v)
		} else {
			used[name] = true
			v = cmp.Or(v, s.Default)
		}
		if v == "" && !s.Optional {
			how := key
			if s.Secret {
				how = name + "_file 或 " + name + "_env"
			}
			return nil, nil, channels.BadSetting("settings/"+key, "缺少设置 "+how, d.Provider+" needs the setting "+strings.ReplaceAll(how, "或", "or"))
		}
		vals[name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !used[name] {
			known := strings.Join(slices.Sorted(maps.Keys(used)), ", ")
			return nil, nil, channels.BadSetting("settings/"+name, "没有这项设置，可用的有："+known, "there is no such setting; known are "+known)
		}
	}
	return vals, secrets, nil
}

// Traits says what the dispatcher must know of the channel.
func (c *Channel) Traits() channels.Traits { return c.traits }

// Close ends the idle connections.
func (c *Channel) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Send makes the description's one call. Every error is a *channels.Failure.
func (c *Channel) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	vals, f := c.values(d)
	if f != nil {
		return channels.Receipt{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	a, f := c.do(ctx, &c.api.Send, vals)
	if f != nil {
		f.Line = c.hide(f.Line, d)
		return channels.Receipt{}, f
	}
	r, f := c.judge(a)
	if f != nil {
		f.Line = c.hide(f.Line, d)
		return channels.Receipt{}, f
	}
	r.Reply = c.hide(r.Reply, d)
	return r, nil
}

// values are what the request of a delivery can name, or why it cannot be sent.
func (c *Channel) values(d *schemas.Delivery) (values, *channels.Failure) {
	m := &d.Message
	code := sms.Code(m, c.api.Provider)
	signature := cmp.Or(m.Signature, c.traits.Signature)
	switch {
	case d.To.Phone == "":
		return nil, sms.Ours("dispatcher:no-number", channels.BadTarget)
	case code == "" && c.api.Send.names("code"):
		return nil, sms.Ours("dispatcher:no-template-code", channels.Content)
	case sms.Length(signature, m.Text) > sms.MaxLength:
		return nil, sms.Ours("dispatcher:text-too-long", channels.Content)
	}
	vals := maps.Clone(c.settings)
	maps.Copy(vals, values{
		"number": sms.Number(d.To.Phone), "e164": d.To.Phone, "digits": strings.TrimPrefix(d.To.Phone, "+"),
		"signature": signature, "code": code, "text": m.Text, "id": d.ID,
		"params": sms.Params(m), "params_map": m.Params,
	})
	if m.Params == nil {
		vals["params_map"] = map[string]string{}
	}
	return vals, nil
}

// reply is an answer, whole.
type reply struct {
	status int
	header http.Header
	raw    []byte
	at     scope
	// readable: the body has the form that the description says.
	readable bool
}

// do makes one request and reads its answer, whatever that says.
func (c *Channel) do(ctx context.Context, call *call, vals values) (reply, *channels.Failure) {
	ctx, written := channels.TraceWritten(ctx)
	req, _, err := c.request(ctx, call, vals)
	if err != nil {
		return reply{}, unfit(err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, channels.FromNet(kind, c.api.Provider, err, written())
	}
	defer resp.Body.Close()
	a := reply{status: resp.StatusCode, header: resp.Header}
	if a.raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return reply{}, channels.FromNet(kind, c.api.Provider, err, true)
	}
	a.at = scope{Status: a.status, Headers: map[string]string{}}
	for name := range resp.Header {
		a.at.Headers[strings.ToLower(name)] = resp.Header.Get(name)
	}
	if len(a.raw) <= maxAnswer {
		a.at.Body, a.readable = decode(cmp.Or(c.api.Answer.Format, "json"), a.raw)
	}
	return a, nil
}

// unfit is a request that could not be made: the description does not fit the message.
func unfit(err error) *channels.Failure {
	f := sms.Ours("dispatcher:bad-params", channels.Content)
	f.Line = channels.Line(err.Error())
	return f
}

// request makes the description's request, signed; body is its body.
func (c *Channel) request(ctx context.Context, call *call, vals values) (req *http.Request, body []byte, err error) {
	now, nonce := c.now(), strings.ToLower(rand.Text())
	vals = maps.Clone(vals)
	maps.Copy(vals, values{
		"unix": strconv.FormatInt(now.Unix(), 10), "unix_ms": strconv.FormatInt(now.UnixMilli(), 10),
		"utc": now.UTC().Format("2006-01-02T15:04:05Z"), "beijing": now.In(china).Format("20060102150405"), "nonce": nonce,
	})
	signsBody := names(c.api.Auth.Text, "body")
	if c.api.Auth.Scheme == schemeDigest && !signsBody {
		if vals["sign"], err = c.api.Auth.digest(vals); err != nil {
			return nil, nil, err
		}
	}
	contentType := ""
	switch {
	case call.JSON != nil:
		filled, err := tree(call.JSON, vals)
		if err != nil {
			return nil, nil, err
		}
		if body, err = json.Marshal(filled); err != nil {
			return nil, nil, fmt.Errorf("the request cannot be written as JSON: %w", err)
		}
		contentType = "application/json; charset=utf-8"
	case call.Form != nil:
		form, err := fields(call.Form, vals)
		if err != nil {
			return nil, nil, err
		}
		body, contentType = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	if signsBody {
		vals["body"] = string(body)
		if vals["sign"], err = c.api.Auth.digest(vals); err != nil {
			return nil, nil, err
		}
	}
	u := *c.endpoint
	if u.Path, err = text(call.Path, vals); err != nil {
		return nil, nil, err
	}
	query, err := fields(call.Query, vals)
	if err != nil {
		return nil, nil, err
	}
	u.RawQuery = query.Encode()
	if req, err = http.NewRequestWithContext(ctx, cmp.Or(call.Method, http.MethodPost), u.String(), bytes.NewReader(body)); err != nil {
		return nil, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", "Yizhan")
	for _, name := range slices.Sorted(maps.Keys(call.Headers)) {
		v, err := text(call.Headers[name], vals)
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set(name, v)
	}
	return req, body, c.api.Auth.sign(req, body, vals, now, nonce)
}

// fields fills a form or a query; what comes to nothing is left out.
func fields(templates map[string]string, vals values) (url.Values, error) {
	out := url.Values{}
	for name, tmpl := range templates {
		v, err := text(tmpl, vals)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if v != "" || !variable.MatchString(tmpl) {
			out.Set(name, v)
		}
	}
	return out, nil
}

// decode reads a body; false when it has another form.
func decode(format string, raw []byte) (any, bool) {
	switch format {
	case "text":
		return strings.TrimSpace(string(raw)), true
	case "form":
		q, err := url.ParseQuery(strings.TrimSpace(string(raw)))
		if err != nil || len(q) == 0 {
			return nil, false
		}
		out := make(map[string]any, len(q))
		for name := range q {
			out[name] = q.Get(name)
		}
		return out, true
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // an id of 64 bits is no float
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil, false
	}
	return numbers(v), true
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}

// judge is the one place that says what an answer to a sending means.
func (c *Channel) judge(a reply) (channels.Receipt, *channels.Failure) {
	ans := &c.api.Answer
	ok2xx := a.status >= 200 && a.status < 300
	message := channels.Line(ans.Message.str(a.at))
	if ok2xx && a.readable && ans.Success.isTrue(a.at) {
		return channels.Receipt{ID: word(ans.MessageID.str(a.at)), Reply: message}, nil
	}
	code := ""
	if a.readable {
		code = strings.TrimSpace(ans.Code.str(a.at))
	}
	switch {
	case code != "" && (a.status < 300 || a.status >= 400):
		return channels.Receipt{}, c.coded(a, code, message)
	case ok2xx && !a.readable:
		return channels.Receipt{}, c.unknown("dispatcher:http-200-no-code", "HTTP 200 without a readable answer")
	case ok2xx:
		return channels.Receipt{}, c.unknown("dispatcher:empty-code", message)
	}
	f := channels.FromHTTP(kind, c.api.Provider, a.status, a.header, a.raw, c.now())
	if a.status >= 500 || a.status == http.StatusConflict {
		// Something between us and the product answered, or it knows the request already; whether it took it, it does not say.
		f.Class, f.Maybe = channels.Unknown, true
	}
	return channels.Receipt{}, f
}

func (c *Channel) coded(a reply, code, message string) *channels.Failure {
	f := &channels.Failure{Kind: kind, Provider: c.api.Provider, Code: word(code), Class: c.api.classOf(code), Line: message}
	switch f.Class {
	case channels.Unknown:
		f.Maybe = true
	case channels.Temporary:
		if a.status >= 500 {
			f.Class, f.Maybe = channels.Unknown, true
		}
	case channels.Throttled:
		if n, err := strconv.ParseInt(c.api.Answer.RetryAfter.str(a.at), 10, 32); err == nil && n > 0 {
			f.After = min(time.Duration(n)*time.Second, maxWait)
		} else {
			f.After = channels.RetryAfter(a.header.Get("Retry-After"), c.now())
		}
	}
	return f
}

// word is a provider's id or code: short, printable, and not masked, since it is no number of a person.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 128)]
}

// maxWait bounds what a provider may ask for.
const maxWait = 24 * time.Hour

func (c *Channel) unknown(code, line string) *channels.Failure {
	return &channels.Failure{Kind: kind, Provider: c.api.Provider, Code: code, Class: channels.Unknown, Maybe: true, Line: line}
}

// hide takes secrets, and the variables' values, out of words that may repeat the request.
func (c *Channel) hide(line string, d *schemas.Delivery) string {
	return sms.Hide(line, slices.Concat(c.secrets, slices.Collect(maps.Values(d.Message.Params)), []string{d.Message.Text, d.To.Phone})...)
}
