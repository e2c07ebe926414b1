package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/attach"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// config is yizhan.yaml.
type config struct {
	Broker   broker.Config                 `yaml:"broker,omitempty"`
	HTTP     ingest.HTTP                   `yaml:"http,omitempty"`
	Tenants  []string                      `yaml:"tenants,omitempty"`
	Keys     []ingest.Key                  `yaml:"keys,omitempty"`
	Channels map[string]strictyaml.Section `yaml:"channels,omitempty"`
	// Attachments is where the files of mails come from.
	Attachments attach.Config `yaml:"attachments,omitempty"`
	Rules       string        `yaml:"rules,omitempty"`   // path of rules.yaml
	Explain     string        `yaml:"explain,omitempty"` // path of a CSV file with diagnoses of the user's own
	// NumberKeyFile holds the secret under which phone numbers are hashed; every pod needs the same.
	NumberKeyFile string            `yaml:"number_key_file,omitempty"`
	Dispatch      dispatcher.Config `yaml:"dispatch,omitempty"`
	Log           logConfig         `yaml:"log,omitempty"`
	file          string            // as the user named it
	source        []byte            // its content, to show where a mistake is
	dir           string            // relative files start here
	listener      net.Listener      // open already, in dev
	objects       attach.Opener     // of the broker, once it is open
}

type logConfig struct {
	Level  string `yaml:"level,omitempty"`  // debug, info, warn, error; default info
	Format string `yaml:"format,omitempty"` // json, console; default json
}

// loadConfig reads yizhan.yaml strictly, checks what no other file needs to be read for, and makes
// its paths absolute.
func loadConfig(file string) (*config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, problemError("读不到配置文件", "the configuration cannot be read").because(unreadable(err))
	}
	c := &config{file: file, source: b}
	if c.dir, err = filepath.Abs(filepath.Dir(file)); err != nil {
		return nil, err
	}
	if err := strictyaml.Decode(b, c); err != nil {
		return nil, badConfig(c.wrong("", err))
	}
	c.Broker.Defaults()
	c.Dispatch.Defaults()
	c.Attachments.Defaults()
	for _, check := range []func() error{c.Broker.Check, c.Dispatch.Check, c.Log.check} {
		if err := check(); err != nil {
			return nil, badConfig(c.wrong("", err))
		}
	}
	if c.Rules == "" {
		c.Rules = "rules.yaml"
	}
	for _, p := range []*string{
		&c.Rules, &c.Explain, &c.NumberKeyFile, &c.Broker.DataDir, &c.Broker.CredsFile, &c.Broker.NKeyFile, &c.Broker.CAFile, &c.Broker.CertFile,
		&c.Broker.KeyFile, &c.Broker.TokenFile,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(c.dir, *p)
		}
	}
	return c, nil
}

func badConfig(err error) error {
	return problemError("配置有误", "the configuration is wrong").because(err)
}

// ingest is the part that the HTTP API needs.
func (c *config) ingest() ingest.Config {
	i := ingest.Config{HTTP: c.HTTP, Keys: c.Keys, Tenants: c.Tenants, Dir: c.dir, Receipts: map[string]channels.Receipts{}}
	for name, section := range c.Channels {
		var s struct {
			Receipts channels.Receipts `yaml:"receipts"`
		}
		if section.Peek(&s) == nil && s.Receipts.On() { // what is wrong is said where the channel is opened
			i.Receipts[name] = s.Receipts
		}
	}
	i.Defaults()
	a := c.Attachments
	i.Upload = ingest.Upload{Bucket: a.Object.Upload, MaxFile: a.MaxFileBytes, MaxAge: a.Object.MaxAge}
	return i
}

// channelName is a subject token and a name that people type.
var channelName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// openChannels opens every channel; the error names each that is wrong.
func (c *config) openChannels(log *zap.Logger, simulated bool) (map[string]channels.Channel, error) {
	files, err := attach.Open(c.Attachments, channels.Env{Dir: c.dir, Log: log}, c.objects)
	if err != nil {
		return nil, c.wrong("/attachments", err)
	}
	kinds := channelKinds()
	open := map[string]channels.Channel{}
	bad := &wrongSettings{file: c.file}
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		ch, err := c.openChannel(name, kinds, files, log, simulated)
		if err != nil {
			w, _ := errors.AsType[*wrongSettings](c.wrong("/channels/"+name, err))
			bad.mistakes = append(bad.mistakes, w.mistakes...)
			continue
		}
		open[name] = ch
	}
	if len(bad.mistakes) > 0 {
		closeChannels(open)
		return nil, bad
	}
	return open, nil
}

func (c *config) openChannel(name string, kinds map[string]channels.Factory, files channels.Files, log *zap.Logger, simulated bool) (channels.Channel, error) {
	if !channelName.MatchString(name) {
		return nil, setting("", "通道名称只能使用小写字母、数字、- 和 _，以字母或数字开头，最多 63 个字符",
			"a channel's name is made of a-z, 0-9, - and _, begins with a letter or digit, and has at most 63 characters")
	}
	var common channels.Common
	if err := c.Channels[name].Peek(&common); err != nil {
		return nil, err
	}
	factory := kinds[common.Kind]
	if factory == nil {
		known := strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
		return nil, channels.BadSetting("kind", fmt.Sprintf("未知的通道类型 %q，可用的有：%s", common.Kind, known),
			fmt.Sprintf("unknown kind %q; this binary has %s", common.Kind, known))
	}
	return factory(channels.Env{Name: name, Dir: c.dir, Log: log.With(zap.String("channel", name)), Files: files, Simulated: simulated}, c.Channels[name].Decode)
}

// rates are how many calls each channel may make: its own setting, else what the third party is known to allow.
func (c *config) rates(open map[string]channels.Channel) map[string]channels.Rate {
	rates := map[string]channels.Rate{}
	for name, ch := range open {
		var common channels.Common
		if err := c.Channels[name].Peek(&common); err == nil && common.Rate.Count > 0 { // openChannels has checked it
			rates[name] = common.Rate
		} else if r := ch.Traits().Rate; r.Count > 0 {
			rates[name] = r
		}
	}
	return rates
}

func closeChannels(open map[string]channels.Channel) {
	for _, ch := range open {
		_ = ch.Close()
	}
}

// readBeside reads the files that rules.yaml names; relative ones start at its folder.
func readBeside(rulesFile string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) { return readBounded(besideRules(rulesFile, name)) }
}

// besideRules is where a file is that rules.yaml names.
func besideRules(rulesFile, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(rulesFile), name)
}

// loadBook reads rules.yaml and checks it against the channels. Without a Read of its own, env reads the
// files that it names beside it.
func (c *config) loadBook(open map[string]channels.Channel, env rules.Env) (*rules.Book, error) {
	b, err := os.ReadFile(c.Rules)
	if err != nil {
		why := unreadable(err).Error()
		return nil, c.wrong("", setting("/rules", "读不到规则文件："+why, "the rules cannot be read: "+why))
	}
	if env.Read == nil {
		env.Read = readBeside(c.Rules)
	}
	book, err := rules.Load(b, guardFactories(), reserverFactories(), env)
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

// loadTable reads the diagnoses: ours, and before them those of the file that explain names.
func (c *config) loadTable() (*explain.Table, error) {
	if c.Explain == "" {
		return explain.Default(), nil
	}
	t, err := loadTable(c.Explain)
	if invalid, ok := errors.AsType[*schemas.Invalid](err); ok {
		problems := slices.Clone(invalid.Problems)
		for i := range problems {
			problems[i].Pointer = "/explain"
		}
		return nil, c.wrong("", &schemas.Invalid{Problems: problems})
	}
	if err != nil {
		why := unreadable(err).Error()
		return nil, c.wrong("", setting("/explain", "读不到诊断表："+why, "the table of diagnoses cannot be read: "+why))
	}
	return t, nil
}

func (l logConfig) check() error {
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, l.Level) {
		return setting("/log/level", "只能是 debug、info、warn 或 error", "want debug, info, warn or error")
	}
	if !slices.Contains([]string{"", "json", "console"}, l.Format) {
		return setting("/log/format", "只能是 json 或 console", "want json or console")
	}
	return nil
}

// open makes the process's logger; check comes first.
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
	enc := zapcore.NewJSONEncoder(encoding)
	if l.Format == "console" {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(os.Stderr), level)), nil
}
