package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// config is yizhan.yaml.
type config struct {
	Broker   broker.Config                 `yaml:"broker,omitempty"`
	HTTP     ingest.HTTP                   `yaml:"http,omitempty"`
	Tenants  []string                      `yaml:"tenants,omitempty"`
	Keys     []ingest.Key                  `yaml:"keys,omitempty"`
	Channels map[string]strictyaml.Section `yaml:"channels,omitempty"`
	Rules    string                        `yaml:"rules,omitempty"` // path of rules.yaml
	// NumberKeyFile holds the secret under which phone numbers are hashed; every pod needs the same.
	NumberKeyFile string            `yaml:"number_key_file,omitempty"`
	Dispatch      dispatcher.Config `yaml:"dispatch,omitempty"`
	Log           logConfig         `yaml:"log,omitempty"`
	dir           string            // relative files start here
}

type logConfig struct {
	Level  string `yaml:"level,omitempty"`  // debug, info, warn, error; default info
	Format string `yaml:"format,omitempty"` // json, console; default json
}

// loadConfig reads yizhan.yaml strictly and makes its paths absolute.
func loadConfig(file string) (*config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, problemError("读不到配置文件", "the configuration cannot be read").because(err)
	}
	c := &config{}
	if c.dir, err = filepath.Abs(filepath.Dir(file)); err != nil {
		return nil, err
	}
	if err := strictyaml.Decode(b, c); err != nil {
		return nil, problemError("配置文件 "+file+" 有误", file+" is wrong").because(err)
	}
	c.Broker.Defaults()
	c.Dispatch.Defaults()
	if c.Rules == "" {
		c.Rules = "rules.yaml"
	}
	for _, p := range []*string{
		&c.Rules, &c.NumberKeyFile, &c.Broker.DataDir, &c.Broker.CredsFile, &c.Broker.NKeyFile, &c.Broker.CAFile, &c.Broker.CertFile,
		&c.Broker.KeyFile, &c.Broker.TokenFile,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(c.dir, *p)
		}
	}
	return c, nil
}

// ingest is the part that the HTTP API needs.
func (c *config) ingest() ingest.Config {
	i := ingest.Config{HTTP: c.HTTP, Keys: c.Keys, Tenants: c.Tenants, Dir: c.dir}
	i.Defaults()
	return i
}

// channelName is a subject token and a name that people type.
var channelName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// openChannels opens every channel; the error names each that is wrong.
func (c *config) openChannels(log *zap.Logger, simulated bool) (map[string]channels.Channel, error) {
	kinds := channelKinds()
	open := map[string]channels.Channel{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		ch, err := c.openChannel(name, kinds, log, simulated)
		if err != nil {
			errs = append(errs, fmt.Errorf("channels.%s: %w", name, err))
			continue
		}
		open[name] = ch
	}
	if len(errs) > 0 {
		closeChannels(open)
		return nil, errors.Join(errs...)
	}
	return open, nil
}

func (c *config) openChannel(name string, kinds map[string]channels.Factory, log *zap.Logger, simulated bool) (channels.Channel, error) {
	if !channelName.MatchString(name) {
		return nil, errors.New("a channel's name is made of a-z, 0-9, - and _")
	}
	var common channels.Common
	if err := c.Channels[name].Peek(&common); err != nil {
		return nil, err
	}
	factory := kinds[common.Kind]
	if factory == nil {
		return nil, fmt.Errorf("kind %q is unknown; this binary has %s", common.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	ch, err := factory(channels.Env{Name: name, Dir: c.dir, Log: log.With(zap.String("channel", name)), Simulated: simulated}, c.Channels[name].Decode)
	if err != nil {
		return nil, err
	}
	return channels.Limit(ch, common.Rate), nil
}

func closeChannels(open map[string]channels.Channel) {
	for _, ch := range open {
		_ = ch.Close()
	}
}

// loadBook reads rules.yaml and checks it against the channels.
func (c *config) loadBook(open map[string]channels.Channel, store rules.Store) (*rules.Book, error) {
	b, err := os.ReadFile(c.Rules)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	book, err := rules.Load(b, guardFactories(), reserverFactories(), store)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Rules, err)
	}
	kinds := map[string]string{}
	for name, ch := range open {
		kinds[name] = ch.Traits().Kind
	}
	if err := book.Check(kinds); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Rules, err)
	}
	return book, nil
}

func (l logConfig) open() (*zap.Logger, error) {
	level := zap.InfoLevel
	if l.Level != "" {
		if err := level.UnmarshalText([]byte(l.Level)); err != nil {
			return nil, fmt.Errorf("log.level: %w", err)
		}
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	var enc zapcore.Encoder
	switch l.Format {
	case "", "json":
		enc = zapcore.NewJSONEncoder(encoding)
	case "console":
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(encoding)
	default:
		return nil, fmt.Errorf("log.format %q: want json or console", l.Format)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(os.Stderr), level)), nil
}
