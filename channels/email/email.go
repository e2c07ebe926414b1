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
	"io"
	"net/mail"
	"time"

	"github.com/wneessen/go-mail/smtp"

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
	return &channel{settings: s, pool: newPool(s.Connections)}, nil
}

// Traits is part of [channels.Channel].
func (c *channel) Traits() channels.Traits {
	return channels.Traits{
		Kind: "email", Provider: c.provider, Address: channels.Email,
		Slots: c.Slots, Timeout: c.Timeout, Attaches: c.attaches(),
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
	msg, to, err := c.assemble(d, files.Files, time.Now())
	if err != nil {
		return channels.Receipt{}, c.unbuilt(err)
	}
	receipt, err := c.deliver(ctx, msg, to)
	receipt.Attachments = attached(files.Files)
	return receipt, err
}

// deliver hands a finished mail to the server.
func (c *channel) deliver(ctx context.Context, msg io.WriterTo, to *mail.Address) (channels.Receipt, error) {
	if err := c.pool.acquire(ctx); err != nil {
		return channels.Receipt{}, c.noSlot(err)
	}
	defer c.pool.release()

	if kept := c.pool.take(time.Now()); kept != nil {
		receipt, f := c.over(ctx, kept, msg, to)
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
	receipt, f := c.over(ctx, fresh, msg, to)
	if f != nil {
		return receipt, c.explain(ctx, f)
	}
	return receipt, nil
}

// over sends msg over cn, which it keeps or ends. The context counts for the whole dialogue:
// go-mail looks at it only while dialling.
func (c *channel) over(ctx context.Context, cn *conn, msg io.WriterTo, to *mail.Address) (channels.Receipt, *fault) {
	stop := context.AfterFunc(ctx, func() { _ = cn.close() })
	reply, f := c.converse(cn, msg, to)
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
// took the mail over.
func (c *channel) converse(cn *conn, msg io.WriterTo, to *mail.Address) (string, *fault) {
	if err := cn.UpdateDeadline(c.Timeout); err != nil {
		return "", &fault{phase: inMail, err: err}
	}
	utf8 := !ascii(to.Address)
	if utf8 {
		if offered, _ := cn.Extension("SMTPUTF8"); !offered {
			return "", &fault{phase: inRcpt, err: errNoSMTPUTF8}
		}
	}
	// Asked for only where needed: a mail marked SMTPUTF8 bounces at the first relay without it.
	cn.SkipSMTPUTF8(!utf8)
	if err := cn.Mail(path(c.from)); err != nil {
		return "", c.reset(cn, &fault{phase: inMail, err: err})
	}
	if err := cn.Rcpt(path(to)); err != nil {
		return "", c.reset(cn, &fault{phase: inRcpt, err: err})
	}
	w, err := cn.Data()
	if err != nil {
		return "", c.reset(cn, &fault{phase: inData, err: err})
	}
	if _, err := msg.WriteTo(w); err != nil {
		return "", &fault{phase: inBody, err: err} // no dot: the server drops what it has
	}
	if err := w.Close(); err != nil {
		return "", &fault{phase: inDot, err: err}
	}
	if dc, ok := w.(*smtp.DataCloser); ok {
		return dc.ServerResponse(), nil
	}
	return "", nil
}

// reset takes the transaction back after a refusal, so that the connection serves the next mail.
func (c *channel) reset(cn *conn, f *fault) *fault {
	if f.reusable() && cn.Reset() != nil {
		f.broken = true
	}
	return f
}

var errNoSMTPUTF8 = errors.New("the server does not offer SMTPUTF8 (RFC 6531), which this address needs")
