package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// shutdownGrace is how long requests under way may take to finish after ctx ends.
const shutdownGrace = 10 * time.Second

// writeTimeout bounds a whole answer; a replay of a thousand letters is the longest.
const writeTimeout = 3 * time.Minute

// Serve answers requests on ln until ctx ends, then stops accepting, and lets those under way finish
// within 10 s. It returns nil after an orderly end.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, cfg Config) error {
	cfg.Defaults()
	if a, ok := ln.Addr().(*net.TCPAddr); ok && cfg.HTTP.Auth == AuthNone && !a.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("http.auth: none is for a loopback address only, and this listens on %s", a), ln.Close())
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: writeTimeout, IdleTimeout: 120 * time.Second,
		MaxHeaderBytes: 32 << 10,
		// Requests outlive ctx: they finish, or the grace ends them.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() {
		if cfg.HTTP.TLSCertFile != "" {
			served <- srv.ServeTLS(ln, cfg.path(cfg.HTTP.TLSCertFile), cfg.path(cfg.HTTP.TLSKeyFile))
			return
		}
		served <- srv.Serve(ln)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("http: requests were cut off after %s", shutdownGrace), srv.Close())
	}
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// path is a file of the configuration, relative to its folder.
func (c Config) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(c.Dir, file)
}
