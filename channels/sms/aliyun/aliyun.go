// Package aliyun sends SMS through Alibaba Cloud's Dysmsapi (version 2017-05-25).
//
// A message is accepted only when the answer's Code is "OK" and names a BizId; HTTP 200 alone says
// nothing. The API is not idempotent (help.aliyun.com/document_detail/55284.html), so a call whose
// answer is missing ends as [channels.Unknown], and [Channel.Lookup] asks QuerySendDetails by
// number, day and OutId whether it was taken.
package aliyun

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	kind     = "sms"
	provider = "aliyun"

	// defaultHost is the global endpoint (help.aliyun.com/document_detail/102364.html).
	defaultHost    = "dysmsapi.aliyuncs.com"
	defaultRegion  = "cn-hangzhou"
	defaultSlots   = 16
	defaultTimeout = 10 * time.Second
)

// Config is a channel's section of yizhan.yaml.
type Config struct {
	channels.Common `yaml:",inline"`

	Provider string `yaml:"provider"` // "aliyun"; read by sms.New
	// Signature is the default SMS signature, without brackets; a template may name another.
	Signature string `yaml:"signature"`
	// The AccessKey pair, each from a file or an environment variable.
	AccessKeyIDFile     string `yaml:"access_key_id_file,omitempty"`
	AccessKeyIDEnv      string `yaml:"access_key_id_env,omitempty"`
	AccessKeySecretFile string `yaml:"access_key_secret_file,omitempty"`
	AccessKeySecretEnv  string `yaml:"access_key_secret_env,omitempty"`
	// Endpoint is a host, or a URL; "" is dysmsapi.aliyuncs.com. Always https, but for a loopback address.
	Endpoint string `yaml:"endpoint,omitempty"`
	Region   string `yaml:"region,omitempty"` // "" is cn-hangzhou
	// Receipts lets Aliyun push receipts and replies.
	Receipts channels.Receipts `yaml:"receipts,omitempty"`
}

// Channel sends through one Aliyun account. Safe for concurrent use.
type Channel struct {
	traits    channels.Traits
	transport channels.Transport
	clients   chan *client // the idle ones
	// Where it calls, for looking at it and for showing what would be sent.
	scheme, host, region string
	now                  func() time.Time
}

var (
	_ channels.Factory    = New
	_ channels.Reconciler = (*Channel)(nil)
	_ channels.Reporter   = (*Channel)(nil)
)

// New opens the channel; it makes no call. The error is a [schemas.Invalid] where a setting cannot
// be used, and never contains a secret.
func New(env channels.Env, decode func(into any) error) (channels.Channel, error) {
	var cfg Config
	if err := decode(&cfg); err != nil {
		return nil, err
	}
	if err := cfg.Common.Check(); err != nil {
		return nil, err
	}
	if err := cfg.Receipts.Check(true); err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.Slots == 0 {
		cfg.Slots = defaultSlots
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if err := sms.CheckSignature(cfg.Signature); err != nil {
		return nil, err
	}
	id, err := secret(env, "access_key_id", cfg.AccessKeyIDFile, cfg.AccessKeyIDEnv)
	if err != nil {
		return nil, err
	}
	key, err := secret(env, "access_key_secret", cfg.AccessKeySecretFile, cfg.AccessKeySecretEnv)
	if err != nil {
		return nil, err
	}
	scheme, host, err := endpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}

	// Every slot of every priority may call at once.
	n := cfg.Slots * len(schemas.Priorities)
	c := &Channel{
		traits: channels.Traits{
			Kind: kind, Provider: provider, Address: channels.Phone,
			Once: true, Capped: true, Signature: cfg.Signature, Receipts: cfg.Receipts.On(),
			Slots: cfg.Slots, Timeout: cfg.Timeout,
		},
		transport: newTransport(n),
		clients:   make(chan *client, n),
		scheme:    scheme, host: host, region: cfg.Region,
		now: time.Now,
	}
	for range n {
		cl, err := newClient(c.transport, scheme, host, cfg.Region, id, key)
		if err != nil {
			return nil, err
		}
		c.clients <- cl
	}
	return c, nil
}

func secret(env channels.Env, name, file, variable string) (string, error) {
	s, err := sms.Secret(env, name, file, variable)
	if err == nil && s == "" {
		return "", channels.BadSetting(name+"_file",
			"请通过 "+name+"_file 或 "+name+"_env 提供密钥，且内容不能为空",
			"give "+name+"_file or "+name+"_env; the secret must not be empty")
	}
	return s, err
}

// endpoint splits the setting into what the SDK wants.
func endpoint(s string) (scheme, host string, err error) {
	u, err := sms.Endpoint(cmp.Or(s, defaultHost))
	if err != nil {
		return "", "", err
	}
	return u.Scheme, u.Host, nil
}

// Traits says what the dispatcher must know of the channel.
func (c *Channel) Traits() channels.Traits { return c.traits }

// Close ends the idle connections.
func (c *Channel) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Send calls SendSms once (help.aliyun.com/document_detail/419273.html). Every error is a *channels.Failure.
func (c *Channel) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	req, refused := c.request(d)
	if refused != nil {
		return channels.Receipt{}, refused
	}
	ctx, cancel := context.WithTimeout(ctx, c.traits.Timeout)
	defer cancel()
	cl, err := c.take(ctx)
	if err != nil {
		return channels.Receipt{}, channels.FromNet(kind, provider, err, false)
	}
	defer func() { c.clients <- cl }()
	resp, err := call(ctx, cl, func(s *dysmsapi.Client) (*dysmsapi.SendSmsResponse, error) { return s.SendSms(req) })
	var a answer
	if resp != nil {
		a = answer{code: resp.Code, message: resp.Message, id: resp.BizId}
	}
	if f := c.read(cl.wire, a, err); f != nil {
		f.Line = sms.Hide(f.Line, slices.Collect(maps.Values(d.Message.Params))...)
		return channels.Receipt{}, f
	}
	return channels.Receipt{ID: resp.BizId, Reply: channels.Line(resp.Message)}, nil
}

// request is the one SendSms of a delivery.
func (c *Channel) request(d *schemas.Delivery) (*dysmsapi.SendSmsRequest, *channels.Failure) {
	req := dysmsapi.CreateSendSmsRequest()
	req.PhoneNumbers = sms.Number(d.To.Phone)
	req.SignName = d.Message.Signature
	if req.SignName == "" {
		req.SignName = c.traits.Signature
	}
	req.TemplateCode = sms.Code(&d.Message, provider)
	req.OutId = d.ID // echoed by receipts and QuerySendDetails; shorter than 256 characters
	if len(d.Message.Params) > 0 {
		b, err := json.Marshal(d.Message.Params)
		if err != nil {
			return nil, sms.Ours("dispatcher:bad-params", channels.Content)
		}
		req.TemplateParam = string(b)
	}
	switch {
	case req.PhoneNumbers == "":
		return nil, sms.Ours("dispatcher:no-number", channels.BadTarget)
	case req.TemplateCode == "":
		return nil, sms.Ours("dispatcher:no-template-code", channels.Content)
	case sms.Length(req.SignName, d.Message.Text) > sms.MaxLength:
		return nil, sms.Ours("dispatcher:text-too-long", channels.Content)
	}
	return req, nil
}

// take waits for an idle client, within ctx.
func (c *Channel) take(ctx context.Context) (*client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case cl := <-c.clients:
		return cl, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
