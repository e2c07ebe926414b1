package sandbox

import (
	"crypto/tls"
	"sync"
	"time"
)

// Expired is an address whose certificate ran out yesterday. A client that looks hangs up; to one that does not, nothing
// is answered.
type Expired struct {
	door   *Door
	caPEM  []byte
	served chan struct{}
}

// StartExpired listens on addr, a loopback address; "" is a free port of 127.0.0.1.
func StartExpired(addr string) (*Expired, error) {
	cert, caPEM, err := selfSigned(time.Now().AddDate(0, 0, -1))
	if err != nil {
		return nil, err
	}
	door, err := OpenDoor(addr)
	if err != nil {
		return nil, err
	}
	e := &Expired{door: door, caPEM: caPEM, served: make(chan struct{})}
	go e.serve(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	return e, nil
}

func (e *Expired) serve(conf *tls.Config) {
	defer close(e.served)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := e.door.Accept()
		if err != nil {
			return // closed
		}
		open.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_ = tls.Server(c, conf).Handshake() // what becomes of it is the client's to say
		})
	}
}

// Addr is host and port.
func (e *Expired) Addr() string { return e.door.Addr().String() }

// CACertPEM is the certificate: trusted, it is still expired.
func (e *Expired) CACertPEM() []byte { return e.caPEM }

// Close ends it, its connections included.
func (e *Expired) Close() error {
	err := e.door.Close()
	<-e.served
	return err
}
