package channels

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
)

// errGone is a kept connection that the far side had closed before anything was written on it.
var errGone = errors.New("the far side closed the kept connection")

// maxFresh is how often a request that was not written at all is given another connection.
const maxFresh = 3

// Transport is an *http.Transport for requests that must not be repeated once written, such as
// POST. A request that meets a kept connection closed by the far side a moment ago would end as
// "nobody knows", for a message that nobody has. Transport looks before it writes, and gives a
// request of which nothing was written another connection.
type Transport struct{ *http.Transport }

// NewTransport makes t look before it writes; t must have its DialContext.
func NewTransport(t *http.Transport) Transport {
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if c, ok := conn.(syscall.Conn); ok {
			if raw, err := c.SyscallConn(); err == nil {
				return &liveConn{Conn: conn, raw: raw}, nil
			}
		}
		return conn, nil
	}
	return Transport{t}
}

// RoundTrip sends req as *http.Transport does; the body of req needs GetBody.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 1; ; n++ {
		resp, err := t.Transport.RoundTrip(req)
		if err == nil || !unsent(err) || n == maxFresh || req.Context().Err() != nil {
			return resp, err
		}
		if req.Body != nil && req.Body != http.NoBody {
			if req.GetBody == nil {
				return nil, err
			}
			body, bodyErr := req.GetBody()
			if bodyErr != nil {
				return nil, err
			}
			req = req.WithContext(req.Context()) // a RoundTripper leaves its request as it is
			req.Body = body
		}
	}
}

// unsent recognises the errors of a request of which no byte was written. net/http closes an idle
// connection with the second one, under the lock that a request takes before it is written; the
// value is not exported, its text is all there is.
func unsent(err error) bool {
	return errors.Is(err, errGone) || err.Error() == "http: server closed idle connection"
}

type liveConn struct {
	net.Conn
	raw  syscall.RawConn
	idle atomic.Bool // something was read since the last write: the next write begins a request
}

func (c *liveConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.idle.Store(true)
	}
	return n, err
}

func (c *liveConn) Write(p []byte) (int, error) {
	if c.idle.Swap(false) && gone(c.raw) {
		return 0, errGone
	}
	return c.Conn.Write(p)
}
