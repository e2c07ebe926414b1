package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"code.dny.dev/ssrf"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/guard"
)

// web is a [source] on servers of others. Their addresses come from events, so each connection goes
// through the guard, and a redirect, which would lead around the list of hosts, is not followed.
type web struct {
	hosts  []string
	client *http.Client
}

// maxConns bounds the connections to one host.
const maxConns = 16

func openWeb(c HTTPS, env channels.Env) (*web, error) {
	roots, err := env.Roots("https/ca_file", c.CAFile)
	if err != nil {
		return nil, err
	}
	reach := guard.Public
	if c.AllowPrivate {
		reach = guard.Everywhere
	}
	return &web{hosts: c.Hosts, client: &http.Client{
		Transport:     guard.NewTransport(guard.New(reach), roots, maxConns, longestTimeout),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (w *web) open(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	host := strings.ToLower(u.Hostname())
	if !slices.ContainsFunc(w.hosts, func(p string) bool { return guard.Covers(p, host) }) {
		return nil, 0, lackf(channels.Denied, "%s is not among attachments.https.hosts", host)
	}
	res, err := get(ctx, w.client, u, nil)
	if err != nil {
		return nil, 0, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, 0, status(res.StatusCode, "")
	}
	return res.Body, res.ContentLength, nil
}

// get makes a request; its error shows no path and no query, which may be a credential.
func get(ctx context.Context, client *http.Client, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, lackf(channels.Denied, "the address cannot be read")
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("User-Agent", "Yizhan")
	res, err := client.Do(req)
	if err == nil {
		return res, nil
	}
	err = channels.WithoutURL(err)
	if errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedPort) || errors.Is(err, ssrf.ErrProhibitedNetwork) {
		return nil, &lack{channels.Denied, err}
	}
	return nil, err
}

// status reads an answer that is not the file. code is what the storage calls it, "" when it says nothing.
func status(n int, code string) error {
	err := fmt.Errorf("HTTP %d", n)
	if code != "" {
		err = fmt.Errorf("HTTP %d %s", n, code)
	}
	switch {
	case n == http.StatusNotFound, n == http.StatusGone:
		return &lack{channels.NotFound, err}
	case n == http.StatusTooManyRequests, n == http.StatusRequestTimeout, n >= 500:
		return &lack{channels.Unreachable, err}
	case n >= 300 && n < 400:
		return &lack{channels.Denied, fmt.Errorf("%w: a redirect, which is not followed", err)}
	default:
		return &lack{channels.Denied, err}
	}
}
