// Package broker opens JetStream, embedded or external, and holds the calls that are easy to get
// wrong: compare-and-set that survives a lost answer, schedules with full precision, start and
// shutdown in the right order. It knows streams and subjects, no deliveries and no rules.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Config is the section broker of yizhan.yaml.
type Config struct {
	URL       string `yaml:"url,omitempty"`        // nats://…, several separated by commas; empty = embedded
	CredsFile string `yaml:"creds_file,omitempty"` // .creds of a JWT user
	NKeyFile  string `yaml:"nkey_file,omitempty"`  // seed of an nkey user
	CAFile    string `yaml:"ca_file,omitempty"`    // trust this CA; implies TLS
	CertFile  string `yaml:"cert_file,omitempty"`  // client certificate, with KeyFile
	KeyFile   string `yaml:"key_file,omitempty"`
	DataDir   string `yaml:"data_dir,omitempty"` // embedded: where the streams live; one process at a time
	Listen    string `yaml:"listen,omitempty"`   // embedded: host:port for other NATS clients; empty = none
	// TokenFile protects Listen: clients must present the token. Required when Listen is not loopback.
	TokenFile string `yaml:"token_file,omitempty"`
	// Sync is how much an embedded broker may lose when the machine loses power: "always" nothing,
	// a duration at most what was written in it. A killed process loses nothing either way.
	Sync     string `yaml:"sync,omitempty"`
	Replicas int    `yaml:"replicas,omitempty"` // 1, 3 or 5; embedded: 1
	// EventsMaxBytes bounds the stream EVENTS; beyond it ingest answers 429.
	EventsMaxBytes int64 `yaml:"events_max_bytes,omitempty"`
	// EventsMaxAge, LedgerMaxAge and DeadMaxAge are how long things are kept.
	EventsMaxAge time.Duration `yaml:"events_max_age,omitempty"`
	LedgerMaxAge time.Duration `yaml:"ledger_max_age,omitempty"`
	DeadMaxAge   time.Duration `yaml:"dead_max_age,omitempty"`
}

// Defaults fills what the file left out.
func (c *Config) Defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	const day = 24 * time.Hour
	set(&c.EventsMaxAge, 7*day)
	set(&c.LedgerMaxAge, 90*day)
	set(&c.DeadMaxAge, 90*day)
	if c.Sync == "" {
		c.Sync = "1s"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.EventsMaxBytes == 0 {
		c.EventsMaxBytes = 2 << 30
	}
	if c.DataDir == "" {
		c.DataDir = "./data"
	}
}

// Broker is a connection to JetStream and, when embedded, the server behind it.
type Broker struct {
	NC       *nats.Conn
	JS       jetstream.JetStream
	Embedded bool
	cfg      Config
	log      *zap.Logger
	server   *server.Server
	lock     *os.File
	streams  map[string]jetstream.Stream
}

// Open starts or reaches the broker and makes sure that the streams are there. Files in cfg are
// read as given; the caller has made them absolute.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Broker, error) {
	b := &Broker{cfg: cfg, log: log, Embedded: cfg.URL == "", streams: map[string]jetstream.Stream{}}
	opts := []nats.Option{
		nats.Name("yizhan"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.RetryOnFailedConnect(false),
		// A refused publish reaches its caller only as a time-out; the reason arrives here.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("broker", zap.Error(err)) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: we closed it
				log.Warn("broker disconnected", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("broker reconnected", zap.String("url", c.ConnectedUrlRedacted())) }),
	}
	var err error
	if b.Embedded {
		if err := b.start(); err != nil {
			b.Close()
			return nil, err
		}
		opts = append(opts, nats.InProcessServer(b.server))
		if cfg.TokenFile != "" {
			token, err := os.ReadFile(cfg.TokenFile)
			if err != nil {
				b.Close()
				return nil, fmt.Errorf("broker.token_file: %w", err)
			}
			opts = append(opts, nats.Token(trim(token)))
		}
	} else if opts, err = external(cfg, opts); err != nil {
		return nil, err
	}
	if b.NC, err = nats.Connect(cfg.URL, opts...); err != nil {
		b.Close()
		return nil, fmt.Errorf("broker %s: %w", cfg.URL, err)
	}
	// Without a time-out a lost ack would never resolve an asynchronous publish.
	b.JS, err = jetstream.New(b.NC, jetstream.WithPublishAsyncTimeout(5*time.Second), jetstream.WithDefaultTimeout(apiTimeout))
	if err == nil {
		err = b.ensureStreams(ctx)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// apiTimeout bounds one JetStream API request; a leader election took 4.7 to 10 s when measured.
const apiTimeout = 15 * time.Second

func trim(b []byte) string {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return string(b)
}

func external(cfg Config, opts []nats.Option) ([]nats.Option, error) {
	if cfg.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("broker.nkey_file: %w", err)
		}
		opts = append(opts, o)
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	if cfg.CertFile != "" {
		opts = append(opts, nats.ClientCert(cfg.CertFile, cfg.KeyFile))
	}
	if cfg.TokenFile != "" {
		token, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("broker.token_file: %w", err)
		}
		opts = append(opts, nats.Token(trim(token)))
	}
	return opts, nil
}

// start runs the embedded server. A second server on the same directory would start without
// complaint and lose acknowledged messages (measured), so the lock is ours and comes first.
func (b *Broker) start() error {
	dir, err := filepath.Abs(b.cfg.DataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("broker.data_dir: %w", err)
	}
	if b.lock, err = LockDir(dir); err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: "yizhan-embedded", JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		DontListen: b.cfg.Listen == "", JetStreamMaxMemory: 256 << 20,
	}
	if b.cfg.Sync == "always" {
		opts.SyncAlways = true
	} else if opts.SyncInterval, err = time.ParseDuration(b.cfg.Sync); err != nil || opts.SyncInterval <= 0 {
		return fmt.Errorf("broker.sync %q: want always or a duration such as 1s", b.cfg.Sync)
	}
	if b.cfg.Listen != "" {
		host, port, err := net.SplitHostPort(b.cfg.Listen)
		if err != nil {
			return fmt.Errorf("broker.listen: %w", err)
		}
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("broker.listen: port %q", port)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
		opts.Host = host
		if b.cfg.TokenFile != "" {
			token, err := os.ReadFile(b.cfg.TokenFile)
			if err != nil {
				return fmt.Errorf("broker.token_file: %w", err)
			}
			opts.Authorization = trim(token)
		} else if !loopback(host) {
			return fmt.Errorf("broker.listen %s is open to others: give broker.token_file, or listen on 127.0.0.1", b.cfg.Listen)
		}
	}
	if b.server, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	b.server.Start()
	if !b.server.ReadyForConnections(30 * time.Second) {
		return errors.New("embedded broker: not ready within 30 s")
	}
	return nil
}

// LockDir takes a directory for this process until the file is closed. The error is a
// [*schemas.Invalid] when another process has it.
func LockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "yizhan.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, &schemas.Invalid{Problems: []schemas.Problem{problem("data_dir",
			"数据目录 %s 正被另一个进程使用：请先停止该进程，或为本进程指定别的目录",
			"%s is in use by another process: stop it, or give this one a directory of its own", dir)}}
	}
	return f, nil
}

// ClientURL is where other NATS clients reach an embedded broker with broker.listen; "" otherwise.
func (b *Broker) ClientURL() string {
	if b.server == nil || b.cfg.Listen == "" {
		return ""
	}
	return b.server.ClientURL()
}

// Healthy says why the broker cannot be used right now, nil when it can.
func (b *Broker) Healthy(ctx context.Context) error {
	if !b.NC.IsConnected() {
		return errors.New("not connected to the broker")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := b.JS.AccountInfo(ctx)
	return err
}

// Close flushes acknowledgements and ends the connection, then the server: the other way round
// the last acks would be lost.
func (b *Broker) Close() {
	if b.NC != nil {
		closed := make(chan struct{})
		b.NC.SetClosedHandler(func(*nats.Conn) { close(closed) })
		if b.NC.FlushTimeout(5*time.Second) == nil && b.NC.Drain() == nil {
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
			}
		}
		b.NC.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	if b.lock != nil {
		_ = b.lock.Close() // releases the lock
	}
}
