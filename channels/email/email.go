// Package email hands deliveries to a mail server over SMTP.
//
// A mail takes five steps, each a function of its own: build the message (message.go), borrow a
// connection (pool.go), dial and log in where none is kept (dial.go), converse (email.go), and
// read what went wrong (failure.go).
//
// The dialogue is go-mail's smtp.Client, one command after the other, and not its Client.Send:
// which command was refused, and whether the final dot had been sent, decides whether a mail
// may be sent again, and Client.Send tells that only as text.
package email

import (
	"context"
	"errors"
	"net/mail"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// channel is a channels.Channel of kind email.
type channel struct {
	*settings
	pool *pool
}

// New opens a mail channel; it is a [channels.Factory]. It does not connect: a server that is down
// when the process starts is a failure of the mails, not of the process.
func New(env channels.Env, decode func(any) error) (channels.Channel, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	s, err := c.settle(env)
	if err != nil {
		return nil, err
	}
	if m := mailboxOf(s.Host); m != nil && above(s.Rate, m.rate) {
		allowed, _ := m.rate.MarshalText()
		s.log.Warn("rate is above what this provider allows one mailbox; it puts off what is more", zap.ByteString("allowed", allowed))
	}
	return &channel{settings: s, pool: newPool(s.Connections)}, nil
}

// Traits is part of [channels.Channel].
func (c *channel) Traits() channels.Traits {
	return channels.Traits{
		Kind: "email", Provider: c.provider, Address: channels.Email,
		Slots: c.Slots, Timeout: c.Timeout, Rate: c.Rate, Attaches: c.attaches(),
		Bounces: c.Receipts.Pushed() || c.Bounces.Maildir != "",
	}
}

// Close ends the kept connections.
func (c *channel) Close() error {
	c.pool.close()
	return nil
}

// Send hands d to the mail server. A kept connection that turns out to be broken before the
// server had the mail is replaced by a new one; after that point nothing is repeated.
func (c *channel) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	files, failed := c.fetch(ctx, d)
	if failed != nil {
		return channels.Receipt{}, failed
	}
	defer files.Close()
	m, err := c.compose(d, files.Files, time.Now())
	if err != nil {
		return channels.Receipt{}, c.unbuilt(err)
	}
	receipt, err := c.deliver(ctx, m)
	receipt.Attachments = attached(files.Files)
	return receipt, err
}

// deliver hands a finished mail to the server.
func (c *channel) deliver(ctx context.Context, m mailing) (channels.Receipt, error) {
	if err := c.pool.acquire(ctx); err != nil {
		return channels.Receipt{}, c.noSlot(err)
	}
	defer c.pool.release()

	if kept := c.pool.take(time.Now()); kept != nil {
		receipt, f := c.over(ctx, kept, m)
		if f == nil {
			return receipt, nil
		}
		if !f.stale() || ctx.Err() != nil {
			return receipt, c.explain(ctx, f)
		}
		c.pool.forget()
	}
	fresh, f := c.dial(ctx)
	if f != nil {
		return channels.Receipt{}, c.explain(ctx, f)
	}
	receipt, f := c.over(ctx, fresh, m)
	if f != nil {
		return receipt, c.explain(ctx, f)
	}
	return receipt, nil
}

// over sends m over cn, which it keeps or ends. The context counts for the whole dialogue.
func (c *channel) over(ctx context.Context, cn *conn, m mailing) (channels.Receipt, *fault) {
	stop := context.AfterFunc(ctx, func() { _ = cn.close() })
	reply, f := c.converse(cn, m)
	healthy := stop() && (f == nil || f.reusable())
	if healthy {
		c.pool.keep(cn, time.Now())
	} else {
		_ = cn.close()
	}
	if f != nil {
		return channels.Receipt{}, f
	}
	return channels.Receipt{ID: queueID(reply), Reply: c.line(reply)}, nil
}

// converse is one mail transaction (RFC 5321 section 3.3). It returns the words of the 250 that
// took the mail over; nothing that happens after it is a failure.
func (c *channel) converse(cn *conn, m mailing) (string, *fault) {
	if err := cn.UpdateDeadline(c.Timeout); err != nil {
		return "", &fault{phase: inMail, err: err}
	}
	cn.wire.renew()
	if f := c.envelope(cn, m.to); f != nil {
		return "", c.reset(cn, f)
	}
	w := cn.Text.DotWriter()
	if _, err := w.Write(m.raw); err != nil {
		return "", &fault{phase: inBody, err: err} // no dot: the server drops what it has
	}
	if err := w.Close(); err != nil {
		return "", &fault{phase: inDot, err: err}
	}
	// By its first digit (RFC 5321 section 4.2): a server that says 251 or 200 has the mail as well.
	_, reply, err := cn.Text.ReadResponse(2)
	if err != nil {
		return "", &fault{phase: inDot, err: err}
	}
	return reply, nil
}

// envelope says who the mail is from and for, and that it comes. Where the server takes commands together (RFC
// 2920) it costs one round trip instead of three: between a data centre and a provider that is most of the time a
// mail takes. Each command still has its own reply, so the phases stay exact.
func (c *channel) envelope(cn *conn, to *mail.Address) *fault {
	from := "MAIL FROM:" + path(c.from)
	if has(cn, "8BITMIME") {
		from += " BODY=8BITMIME"
	}
	if !ascii(to.Address) {
		if !has(cn, "SMTPUTF8") {
			return &fault{phase: inRcpt, err: errNoSMTPUTF8}
		}
		// Asked for only where needed: a mail marked SMTPUTF8 bounces at the first relay without it.
		from += " SMTPUTF8"
	}
	steps := []struct {
		phase phase
		line  string
		want  int
	}{{inMail, from, 250}, {inRcpt, "RCPT TO:" + path(to), 25}, {inData, "DATA", 354}}
	together := has(cn, "PIPELINING")
	if together {
		for _, s := range steps {
			_, _ = cn.Text.W.WriteString(s.line + "\r\n") // Flush tells
		}
		if err := cn.Text.W.Flush(); err != nil {
			return &fault{phase: inMail, err: err}
		}
	}
	var f *fault
	for _, s := range steps {
		if !together {
			if err := cn.Text.PrintfLine("%s", s.line); err != nil {
				return &fault{phase: s.phase, err: err}
			}
		}
		_, _, err := cn.Text.ReadResponse(s.want)
		switch {
		case err == nil && f == nil:
		case err == nil: // it waits for a mail that it has just refused, and would take a dot for one
			f.broken = f.broken || s.phase == inData
		case f == nil:
			f = &fault{phase: s.phase, err: err}
		}
		if f != nil && (!together || !f.reusable()) {
			return f
		}
	}
	return f
}

func has(cn *conn, extension string) bool {
	offered, _ := cn.Extension(extension)
	return offered
}

// reset takes the transaction back after a refusal, so that the connection serves the next mail.
func (c *channel) reset(cn *conn, f *fault) *fault {
	if f.reusable() && cn.Reset() != nil {
		f.broken = true
	}
	return f
}

var errNoSMTPUTF8 = errors.New("the server does not offer SMTPUTF8 (RFC 6531), which this address needs")
