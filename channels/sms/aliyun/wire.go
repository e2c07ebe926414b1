package aliyun

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"github.com/yizhan-dev/yizhan/channels"
)

const (
	connectTimeout = 5 * time.Second
	// maxAnswer bounds an answer; a full page of QuerySendDetails stays far below it.
	maxAnswer = 1 << 20
)

// client is one SDK client with a transport of its own. The SDK writes fields of its client during
// a call and knows no context, so a client serves one call at a time and the call's context
// travels in the transport.
type client struct {
	sdk  *dysmsapi.Client
	wire *wire
}

func newClient(base http.RoundTripper, scheme, host, region, keyID, secret string) (*client, error) {
	w := &wire{base: base}
	cfg := sdk.NewConfig()
	cfg.Scheme = scheme // the SDK's default is plain HTTP
	cfg.AutoRetry = false
	cfg.MaxRetryTime = 0
	cfg.Transport = w // an *http.Transport would be changed by the SDK on every call
	// An explicit credential: without one the SDK asks environment, files and metadata servers.
	s, err := dysmsapi.NewClientWithOptions(region, cfg, credentials.NewAccessKeyCredential(keyID, secret))
	if err != nil {
		return nil, fmt.Errorf("aliyun: %w", err)
	}
	s.Domain = host
	// The context ends a call; the SDK's own limit only must not be shorter.
	s.SetReadTimeout(24 * time.Hour)
	return &client{s, w}, nil
}

// wire applies the context of the call and remembers what passed.
type wire struct {
	base    http.RoundTripper
	ctx     context.Context // of the call under way
	status  int             // 0: there was no answer
	header  http.Header
	written func() bool
}

func (w *wire) begin(ctx context.Context) {
	ctx, written := channels.TraceWritten(ctx)
	*w = wire{base: w.base, ctx: ctx, written: written}
}

// RoundTrip reads the whole answer, so that a break within it is an error of the transport and
// never half an answer.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(req.WithContext(w.ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	// A redirect would carry the signed request to another host.
	resp.Header.Del("Location")
	resp.Body = io.NopCloser(bytes.NewReader(body))
	w.status, w.header = resp.StatusCode, resp.Header
	return resp, nil
}

// errPanic stands for a panic inside the SDK: it asserts types of an answer's fields.
var errPanic = errors.New("the SDK could not read the answer")

// call runs one call of the SDK under ctx.
func call[R any](ctx context.Context, c *client, do func(*dysmsapi.Client) (R, error)) (r R, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	c.wire.begin(ctx)
	return do(c.sdk)
}

func newTransport(conns int) channels.Transport {
	return channels.NewTransport(&http.Transport{
		Proxy:               http.ProxyFromEnvironment, // as the SDK does
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: connectTimeout,
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     30 * time.Second,
	})
}
