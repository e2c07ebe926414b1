package channels

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Every second request meets a kept connection that the server has just closed. Without Transport
// some of them fail, as written or not.
func TestTransportReplacesAClosedConnection(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		requests.Add(1)
	}))
	t.Cleanup(server.Close)
	var dials atomic.Int32
	transport := NewTransport(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	post := func() {
		t.Helper()
		resp, err := client.Post(server.URL, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	const rounds = 200
	for range rounds {
		post()
		server.CloseClientConnections()
		post()
	}
	if n := requests.Load(); n != 2*rounds {
		t.Errorf("the server saw %d requests, want %d", n, 2*rounds)
	}
	before := dials.Load()
	post()
	post()
	if n := dials.Load() - before; n > 1 {
		t.Errorf("two requests took %d new connections: live ones are not kept", n)
	}
}
