package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/deadletter"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The roles of a process; every one scales by adding pods.
const (
	roleIngest  = "ingest"  // take events over HTTP
	rolePlan    = "plan"    // events become deliveries
	roleSend    = "send"    // deliveries go to third parties
	roleConsole = "console" // the operator API
)

var roles = []string{roleIngest, rolePlan, roleSend, roleConsole}

func serveCmd() *cobra.Command {
	var file string
	var chosen []string
	cmd := &cobra.Command{
		Use:   tr("serve [选项]", "serve [flags]"),
		Short: tr("运行驿站服务", "run the service"),
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, r := range chosen {
				if !slices.Contains(roles, r) {
					return usageError("未知角色 "+r+"，可用："+strings.Join(roles, "、"), "unknown role "+r+", want "+strings.Join(roles, ", "))
				}
			}
			if err := configThere(file, "yizhan serve -c yizhan.yaml"); err != nil {
				return err
			}
			c, err := loadConfig(file)
			if err != nil {
				return err
			}
			s, err := openService(cmd.Context(), c, chosen, nil)
			if err != nil {
				return problemError("无法启动", "cannot start").because(err)
			}
			return s.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "yizhan.yaml", tr("配置文件（`FILE`）", "configuration `FILE`"))
	cmd.Flags().StringSliceVar(&chosen, "roles", roles, tr("本进程承担的`角色`", "`roles` of this process"))
	return cmd
}

// service is one process: broker, channels, rules, path, API.
type service struct {
	conf *config
	*dispatcher.Dispatcher
	roles    []string
	log      *zap.Logger
	hasher   broker.Hasher
	listener net.Listener
	handler  http.Handler
	lock     *os.File // of dev's data directory
	// rulesRead is what the last load of the rules read or tried to read, and when each file was written;
	// only loadRules and watchRules have it.
	rulesRead map[string]string
	onRules   func() // dev's: changed rules are in force
	// table is the diagnoses in force; tableRead is when its file was written, for watchRules alone.
	table     atomic.Pointer[explain.Table]
	tableRead string
}

// openService brings everything up to the point where it can run. extra are handlers of `dev`.
func openService(ctx context.Context, c *config, roles []string, extra map[string]http.Handler) (_ *service, err error) {
	s := &service{conf: c, roles: roles}
	if s.log, err = c.Log.open(); err != nil {
		return nil, err
	}
	api := c.ingest()
	if err := api.Check(); err != nil {
		return nil, c.wrong("", err)
	}
	// Listening comes early: a port in use is found before the broker starts.
	if s.listener, c.listener = c.listener, nil; s.listener == nil {
		if s.listener, err = net.Listen("tcp", api.HTTP.Listen); err != nil {
			return nil, c.wrong("", setting("/http/listen", "无法监听该地址："+err.Error(), "cannot listen there: "+err.Error()))
		}
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.loadTable(); err != nil {
		return nil, err
	}
	c.objects = func(ctx context.Context, bucket, name string) (io.ReadCloser, int64, error) { // the broker opens after the channels
		return s.Broker.OpenObject(ctx, bucket, name)
	}
	open, err := c.openChannels(s.log, extra != nil) //nolint:contextcheck // what a channel does by itself ends with its Close
	if err != nil {
		return nil, err
	}
	s.Dispatcher = &dispatcher.Dispatcher{
		Config: c.Dispatch, Channels: open, Rates: c.rates(open), Log: s.log, Worker: workerName(), Tenants: api.Tenants,
		// One table for what is done and what is said.
		Explain:     func(f *channels.Failure) channels.Diagnosis { return s.table.Load().Explain(f) },
		ExplainLine: func(q channels.Quote) channels.Diagnosis { return s.table.Load().ExplainLine(q) },
	}
	if s.Broker, err = broker.Open(ctx, c.Broker, s.log); err != nil {
		return nil, c.brokerError(err)
	}
	if o := c.Attachments.Object; o.Upload != "" {
		if err := s.Broker.MakeBucket(ctx, o.Upload, o.MaxAge, o.MaxBytes); err != nil {
			return nil, c.wrong("", setting("/attachments/object/upload", "无法建立存储桶："+err.Error(), "the bucket cannot be made: "+err.Error()))
		}
	}
	if s.hasher, err = s.Broker.Hasher(ctx, c.NumberKeyFile); err != nil {
		return nil, c.brokerError(err)
	}
	s.Ledger = &ledger.Ledger{B: s.Broker, Hasher: s.hasher}
	s.Dead = &deadletter.Store{B: s.Broker}
	if err := s.loadRules(); err != nil {
		return nil, err
	}
	api.NoPublish, api.NoOperate = !slices.Contains(roles, roleIngest), !slices.Contains(roles, roleConsole)
	if s.handler, err = ingest.New(api, s.Dispatcher, s.log, extra); err != nil {
		return nil, err
	}
	return s, nil
}

// brokerError says that the broker cannot be used, at the setting that is to blame.
func (c *config) brokerError(err error) error {
	if _, ok := errors.AsType[*schemas.Invalid](err); ok {
		return c.wrong("", err)
	}
	return c.wrong("", setting("/broker", "消息队列不可用："+err.Error(), "the broker cannot be used: "+err.Error()))
}

// workerName tells pods apart in records: host, process, and a part that differs after a restart.
func workerName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), nuid.Next()[18:])
}

// run works until ctx ends, then ends in order: no new requests, attempts finished, acks flushed.
func (s *service) run(ctx context.Context) error {
	defer s.close()
	s.log.Info("ready", zap.Stringer("http", s.listener.Addr()), zap.Strings("roles", s.roles), zap.String("worker", s.Worker),
		zap.String("broker", s.where()))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ingest.Serve(ctx, s.listener, s.handler, s.conf.ingest()) })
	g.Go(func() error {
		return s.Run(ctx, slices.Contains(s.roles, rolePlan), slices.Contains(s.roles, roleSend))
	})
	g.Go(func() error { s.watchRules(ctx); return nil })
	err := g.Wait()
	s.log.Info("stopped", zap.Error(err))
	return err
}

func (s *service) where() string {
	switch {
	case !s.Broker.Embedded:
		return s.Broker.NC.ConnectedUrlRedacted()
	case s.Broker.ClientURL() != "":
		return "embedded, " + s.Broker.ClientURL()
	}
	return "embedded"
}

func (s *service) close() {
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.lock != nil {
		defer s.lock.Close() // last: the directory is free when nothing runs in it any more
	}
	if s.Dispatcher != nil {
		closeChannels(s.Dispatcher.Channels)
		if s.Broker != nil {
			s.Broker.Close()
		}
	}
	_ = s.log.Sync()
}

// loadRules takes the rules into use. What it read is remembered also when it fails, as of before it was
// read: a file that is written or mended from then on is a change.
func (s *service) loadRules() error {
	s.rulesRead = map[string]string{s.conf.Rules: writtenAt(s.conf.Rules)}
	read := readBeside(s.conf.Rules)
	book, err := s.conf.loadBook(s.Dispatcher.Channels, rules.Env{
		Caps: broker.CapStore{B: s.Broker, Hasher: s.hasher}, Consents: broker.ConsentStore{B: s.Broker, Hasher: s.hasher},
		Read: func(name string) ([]byte, error) {
			if at := besideRules(s.conf.Rules, name); s.rulesRead[at] == "" {
				s.rulesRead[at] = writtenAt(at)
			}
			return read(name)
		},
	})
	if err != nil {
		return err
	}
	s.SetBook(book)
	s.warnOfTemplates(book)
	return nil
}

// warnOfTemplates says in the log which templates' own words the rules forbid: what is made of them will
// not be sent. The process starts all the same; other templates are good.
func (s *service) warnOfTemplates(book *rules.Book) {
	for _, t := range book.LintTemplates(channelsOf(s.Dispatcher.Channels), rules.Draft{}) {
		for _, h := range t.Hits {
			if h.Action == rules.ReportBlock {
				s.log.Warn("a template breaks a rule; `yizhan rules check` shows where", zap.String("template", t.Template), zap.String("for", t.For),
					zap.String("channel", t.Channel), zap.String("rule", rules.RuleName(h.Rule).En), zap.String("field", h.Field),
					zap.Int("start", h.Start), zap.Int("end", h.End), zap.String("advice", h.Advice.En))
			}
		}
	}
}

// writtenAt tells one state of a file from another; "" when it is not there.
func writtenAt(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}

// rulesChanged says whether a file of the last load, failed or not, has changed since. Without rules.yaml
// nothing has: an editor that replaces it takes it away for a moment.
func (s *service) rulesChanged() bool {
	if writtenAt(s.conf.Rules) == "" {
		return false
	}
	for name, at := range s.rulesRead {
		if writtenAt(name) != at {
			return true
		}
	}
	return false
}

// loadTable takes the diagnoses into use.
func (s *service) loadTable() error {
	s.tableRead = writtenAt(s.conf.Explain)
	t, err := s.conf.loadTable()
	if err == nil {
		s.table.Store(t)
	}
	return err
}

// watchTable takes changed diagnoses into use; broken ones are reported, and the last good ones stay.
func (s *service) watchTable() {
	if at := writtenAt(s.conf.Explain); s.conf.Explain == "" || at == "" || at == s.tableRead {
		return
	}
	if err := s.loadTable(); err != nil {
		s.log.Error("the changed table of diagnoses is broken; the last good one stays in force", zap.Error(err))
		return
	}
	s.log.Info("diagnoses reloaded", zap.String("file", s.conf.Explain))
}

// watchRules takes changed rules into use within seconds; broken ones are reported, and the last good
// ones stay.
func (s *service) watchRules(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	broken := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.watchTable()
		if !s.rulesChanged() {
			continue
		}
		if err := s.loadRules(); err != nil {
			s.log.Error("the changed rules are broken; the last good ones stay in force", zap.Error(err))
			broken = true
			continue
		}
		level := zap.InfoLevel
		if broken { // whoever was told of the mistake is told of its end, also at level warn
			level = zap.WarnLevel
		}
		s.log.Log(level, "rules reloaded", zap.String("file", s.conf.Rules), zap.Bool("were_broken", broken))
		broken = false
		if s.onRules != nil {
			s.onRules()
		}
	}
}
