package sandbox

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxConns bounds how many connections a Door keeps open; one more is closed at once.
const maxConns = 1024

// Door is a loopback listener that can be taken down and put up again on the same port, as a
// third party's machine goes away and comes back. A server keeps calling Accept meanwhile.
type Door struct {
	addr    string
	mu      sync.Mutex
	ln      net.Listener  // nil while down
	changed chan struct{} // closed when ln changes
	conns   map[net.Conn]struct{}
	closed  bool
}

// OpenDoor listens on addr, which must be a loopback address; "" is a free port of 127.0.0.1.
func OpenDoor(addr string) (*Door, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("sandbox: %s is not a loopback address: a stand-in serves this machine only", host)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return &Door{
		addr: ln.Addr().String(), ln: ln,
		changed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}, nil
}

// Accept waits for a connection, also through the times when the door is down. It returns
// [net.ErrClosed] once the door is closed.
func (d *Door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		ln, changed, closed := d.ln, d.changed, d.closed
		d.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if ln == nil {
			<-changed
			continue
		}
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				continue // taken down or closed meanwhile
			}
			return nil, err
		}
		if c := d.admit(ln, c); c != nil {
			return c, nil
		}
	}
}

// admit keeps count of the connection; nil when it came too late or is one too many.
func (d *Door) admit(from net.Listener, c net.Conn) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ln != from || len(d.conns) >= maxConns {
		c.Close()
		return nil
	}
	d.conns[c] = struct{}{}
	return &doorConn{Conn: c, door: d}
}

type doorConn struct {
	net.Conn
	door *Door
}

func (c *doorConn) Close() error {
	c.door.mu.Lock()
	delete(c.door.conns, c.Conn)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// SetDown takes the door down, so that connecting is refused and open connections break, or puts
// it up again on the same port. The error is that the port is not free any more.
func (d *Door) SetDown(down bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	if down {
		d.shut()
		return nil
	}
	if d.ln != nil {
		return nil
	}
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ln, err := net.Listen("tcp", d.addr)
		if err == nil {
			d.ln = ln
			d.notify()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
}

// Close ends the door and every connection through it.
func (d *Door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.shut()
	return nil
}

// Addr is the address to connect to, the same for the door's whole life.
func (d *Door) Addr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", d.addr)
	return a
}

func (d *Door) shut() {
	if d.ln != nil {
		d.ln.Close()
		d.ln = nil
	}
	for c := range d.conns {
		c.Close()
		delete(d.conns, c)
	}
	d.notify()
}

func (d *Door) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
}
