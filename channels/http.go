package channels

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// statusClass is what a status means where the family does not say it already (RFC 9110 section 15
// and the Standard Webhooks specification 1.0.0, "Responding to webhooks").
var statusClass = map[int]Class{
	http.StatusBadRequest:                    Content,
	http.StatusUnauthorized:                  Auth,
	http.StatusForbidden:                     Auth,
	http.StatusNotFound:                      Config,
	http.StatusMethodNotAllowed:              Config,
	http.StatusNotAcceptable:                 Config,
	http.StatusProxyAuthRequired:             Config,
	http.StatusRequestTimeout:                Temporary,
	http.StatusConflict:                      Temporary, // mostly "I am still working on this id"
	http.StatusLengthRequired:                Config,
	http.StatusRequestEntityTooLarge:         Content,
	http.StatusRequestURITooLong:             Config,
	http.StatusUnsupportedMediaType:          Config,
	http.StatusMisdirectedRequest:            Config,
	http.StatusUnprocessableEntity:           Content,
	http.StatusLocked:                        Temporary,
	http.StatusTooEarly:                      Temporary,
	http.StatusUpgradeRequired:               Config,
	http.StatusTooManyRequests:               Throttled,
	http.StatusRequestHeaderFieldsTooLarge:   Config,
	http.StatusNotImplemented:                Config,
	http.StatusHTTPVersionNotSupported:       Config,
	http.StatusNetworkAuthenticationRequired: Config,
}

// statusOriginTimeout is what CDNs answer for an origin that took the request and did not answer in time.
const statusOriginTimeout = 524

// FromHTTP reads an HTTP answer that carries no code of the third party's own: nil for 2xx, else
// a Failure with Code "http:<status>" ("http:3xx" for every redirect: none is followed). A
// Retry-After makes a 5xx Throttled. Where a gateway answers for a server that may have done the
// work (504, and 524 of CDNs) the outcome is Unknown. At most the first KiB of body becomes Failure.Line.
func FromHTTP(kind, provider string, status int, header http.Header, body []byte, now time.Time) *Failure {
	if status >= 200 && status < 300 {
		return nil
	}
	f := &Failure{
		Kind: kind, Provider: provider,
		Code: fmt.Sprintf("http:%d", status),
		Line: httpLine(status, body),
	}
	class, known := statusClass[status]
	switch {
	case known:
		f.Class = class
	case status >= 300 && status < 400:
		f.Code, f.Class = "http:3xx", Config
	case status == http.StatusGatewayTimeout, status == statusOriginTimeout:
		f.Class, f.Maybe = Unknown, true
	case status >= 500:
		f.Class = Temporary
	default:
		f.Class = Permanent
	}
	if f.Class == Temporary || f.Class == Throttled || f.Class == Unknown {
		f.After = RetryAfter(header.Get("Retry-After"), now)
	}
	if f.After > 0 && f.Class == Temporary && status >= 500 {
		f.Class = Throttled
	}
	return f
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// httpLine is the status and the far side's words; of an HTML page only the title is words.
func httpLine(status int, body []byte) string {
	line := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	body = bytes.TrimSpace(body[:min(len(body), 4*maxLine)])
	if bytes.HasPrefix(body, []byte("<")) {
		if m := title.FindSubmatch(body); m != nil {
			body = []byte(html.UnescapeString(string(m[1])))
		} else {
			body = nil
		}
	}
	if len(body) > 0 {
		line += ": " + string(body)
	}
	return Line(line)
}

// FromNet reads an error of Go's network and HTTP packages. written says whether the request may
// have reached the far side ([TraceWritten] knows): then the outcome is Unknown. Else the class is
// Temporary, or Config where no repetition can help (no such host, a bad certificate, a refused
// address). The text of a *url.Error holds the whole URL, credentials included, so only its cause is kept.
func FromNet(kind, provider string, err error, written bool) *Failure {
	err = WithoutURL(err)
	written = written && !unsent(err)
	code, class := netCode(err, written)
	if written {
		class = Unknown
	}
	return &Failure{Kind: kind, Provider: provider, Code: code, Class: class, Line: Line(err.Error()), Maybe: written, Err: err}
}

// WithoutURL returns the cause inside a *url.Error, whose own text would show the URL.
func WithoutURL(err error) error {
	for {
		u, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		if u.Err == nil {
			return errors.New("request failed")
		}
		err = u.Err
	}
}

func netCode(err error, written bool) (string, Class) {
	switch {
	case errors.Is(err, ssrf.ErrProhibitedPort):
		return "dispatcher:blocked-port", Config
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork), errors.Is(err, ssrf.ErrInvalidHostPort):
		return "dispatcher:blocked-address", Config
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "net:dns-nxdomain", Config
		}
		return "net:dns-temporary", Temporary
	}
	if isTLS(err) {
		return "net:tls", Config
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		return "net:cancelled", Temporary
	case ok && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		if written {
			return "net:timeout-response", Temporary
		}
		return "net:timeout-connect", Temporary
	case errors.Is(err, syscall.ECONNREFUSED):
		return "net:refused", Temporary
	}
	// A reset, a broken pipe and an early end of the stream are one event seen at different moments.
	return "net:reset", Temporary
}

// isTLS recognises a handshake that the same settings will fail again.
func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	// Neither has a type: crypto/tls reports alerts of the far side as a *net.OpError over an
	// unexported alert, and net/http replaces the record header error by this text.
	s := err.Error()
	return strings.Contains(s, "remote error: tls:") || strings.Contains(s, "tls: ") ||
		strings.Contains(s, "server gave HTTP response to HTTPS client")
}

// TraceWritten returns ctx with a trace, and a function that says whether a request sent under it
// may have reached the far side. A connection was ready and its write did not fail: from there on
// only an answer can tell. The moment the connection is ready counts, not the end of the write:
// net/http writes from another goroutine, which a deadline can overtake.
func TraceWritten(ctx context.Context) (context.Context, func() bool) {
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		// A new connection is asked for only while nothing has been written.
		GetConn: func(string) { written.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { written.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				written.Store(false)
			}
		},
	}
	return httptrace.WithClientTrace(ctx, trace), written.Load
}
