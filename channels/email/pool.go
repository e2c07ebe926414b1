package email

import (
	"context"
	"sync"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// How long a connection is kept. Servers close idle ones after some minutes and busy ones after
// some hundred mails; being first to leave spares the discovery.
const (
	maxIdle  = 30 * time.Second
	maxAge   = 10 * time.Minute
	maxMails = 100
	goodbye  = 2 * time.Second // QUIT must not hold anybody up
)

// conn is one logged-in connection.
type conn struct {
	*smtp.Client
	wire  *bounded
	close func() error // breaks it at once, from any goroutine
	born  time.Time
	used  time.Time
	mails int
}

// quit leaves politely, but not for long.
func (c *conn) quit() {
	if c.UpdateDeadline(goodbye) == nil {
		_ = c.Quit() // the server's last word changes nothing
	}
	_ = c.close()
}

// pool bounds the connections and keeps the healthy ones for the next mail.
type pool struct {
	slots chan struct{} // one token for each connection in use
	mu    sync.Mutex
	kept  []*conn // the most recently used last
	sweep *time.Timer
	done  bool
	wg    sync.WaitGroup // the sweeps and goodbyes under way
}

func newPool(size int) *pool {
	return &pool{slots: make(chan struct{}, size)}
}

// acquire waits for leave to use a connection; release gives it back.
func (p *pool) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pool) release() { <-p.slots }

// take returns a kept connection that is still worth trying, or nil.
func (p *pool) take(now time.Time) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOld(now)
	if len(p.kept) == 0 {
		return nil
	}
	c := p.kept[len(p.kept)-1]
	p.kept = p.kept[:len(p.kept)-1]
	return c
}

// keep stores a healthy connection for the next mail, or ends it when it has served long enough.
func (p *pool) keep(c *conn, now time.Time) {
	c.used = now
	c.mails++
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || c.mails >= maxMails || now.Sub(c.born) >= maxAge {
		p.leave(c)
		return
	}
	p.kept = append(p.kept, c)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(maxIdle, p.swept)
	}
}

// forget ends all kept connections: one of them has just turned out to be broken, and those that
// are older can hardly be better.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.kept {
		_ = c.close()
	}
	p.kept = nil
}

// swept ends what has been idle for too long, so that a quiet channel holds no connection.
func (p *pool) swept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.dropOld(time.Now())
	p.sweep = nil
	if len(p.kept) > 0 {
		p.sweep = time.AfterFunc(maxIdle, p.swept)
	}
}

func (p *pool) dropOld(now time.Time) {
	young := p.kept[:0]
	for _, c := range p.kept {
		if now.Sub(c.used) >= maxIdle || now.Sub(c.born) >= maxAge {
			p.leave(c)
			continue
		}
		young = append(young, c)
	}
	clear(p.kept[len(young):])
	p.kept = young
}

// leave says goodbye in the background: QUIT waits for an answer. The caller holds mu.
func (p *pool) leave(c *conn) { p.wg.Go(c.quit) }

// close ends every kept connection and waits for the goodbyes.
func (p *pool) close() {
	p.mu.Lock()
	p.done = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	for _, c := range p.kept {
		p.leave(c)
	}
	p.kept = nil
	p.mu.Unlock()
	p.wg.Wait()
}
