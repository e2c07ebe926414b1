package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/rules"
)

func configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: tr("检查配置", "check the configuration")}
	var reach bool
	check := &cobra.Command{
		Use:   tr("check [文件] [选项]", "check [FILE] [flags]"),
		Short: tr("检查 yizhan.yaml、规则和通道设置，不发送任何消息", "check yizhan.yaml, the rules and the channels' settings; nothing is sent"),
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "yizhan.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			return checkConfig(cmd, file, reach)
		},
	}
	check.Flags().BoolVar(&reach, "broker", false, tr("同时连接外部 NATS，比较流的设置", "also reach the external NATS and compare its streams"))
	cmd.AddCommand(check)
	return cmd
}

// checked is what `config check -o json` prints.
type checked struct {
	File     string           `json:"file"`
	Channels []checkedChannel `json:"channels"`
	Routes   int              `json:"routes"`
	// Templates are those with hits: their own words would be blocked or looked at.
	Templates []lintedText `json:"templates"`
	Broker    string       `json:"broker"`
	// Durability says what a crash can cost with these settings.
	Durability string `json:"durability"`
}

type checkedChannel struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Slots   int    `json:"slots"`
	Timeout string `json:"timeout"`
}

// configThere is the error of a configuration file that does not exist; example names one.
func configThere(file, example string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return usageError("没有配置文件 "+file, "there is no configuration file "+file).withHint("请指定文件，例如 "+example, "name the file, for example: "+example)
}

func checkConfig(cmd *cobra.Command, file string, reach bool) error {
	if err := configThere(file, "yizhan config check data/dev/yizhan.yaml"); err != nil {
		return err
	}
	c, err := loadConfig(file)
	if err != nil {
		return err
	}
	if err := c.ingest().Check(); err != nil {
		return badConfig(c.wrong("", err))
	}
	if _, err := c.loadTable(); err != nil {
		return badConfig(err)
	}
	open, err := c.openChannels(zap.NewNop(), false)
	if err != nil {
		return badConfig(err)
	}
	defer closeChannels(open)
	book, err := c.loadBook(open, rules.Env{})
	if err != nil {
		return badConfig(err)
	}
	out := checked{File: file, Routes: len(book.Routes()), Broker: c.Broker.URL, Durability: durability(c.Broker)}
	if out.Broker == "" {
		out.Broker = "embedded, " + c.Broker.DataDir
	}
	for _, name := range slices.Sorted(maps.Keys(open)) {
		t := open[name].Traits()
		out.Channels = append(out.Channels, checkedChannel{name, t.Kind, t.Slots, t.Timeout.String()})
	}
	if reach && c.Broker.URL != "" {
		b, err := broker.Open(cmd.Context(), c.Broker, zap.NewNop())
		if err != nil {
			return badConfig(c.brokerError(err))
		}
		b.Close()
	}
	linted := templateTexts(c.Rules, "", book.LintTemplates(channelsOf(open), rules.Draft{}))
	out.Templates = slices.DeleteFunc(slices.Clone(linted), func(t lintedText) bool { return len(t.Hits) == 0 })
	found := func(err error) error {
		if err == nil && strongest(linted) == rules.ReportBlock {
			return errFound
		}
		return err
	}
	u := newUI(cmd)
	if u.json {
		return found(u.printJSON(out))
	}
	t := newTable(tr("通道", "CHANNEL"), tr("类型", "KIND"), tr("并发", "SLOTS"), tr("单次限时", "TIMEOUT"))
	for _, ch := range out.Channels {
		t.add(ch.Name, ch.Kind, fmt.Sprint(ch.Slots), ch.Timeout)
	}
	t.print(u, "")
	where := out.Broker
	if c.Broker.URL == "" {
		where = tr("内置，", "embedded, ") + c.Broker.DataDir
	}
	u.printf("\n%s\n%s%s\n%s\n", fmt.Sprintf(tr("%d 条路由", "%d routes"), out.Routes), tr("消息队列：", "broker: "), where, out.Durability)
	u.lintedTemplates(linted)
	if strongest(linted) == rules.ReportBlock {
		u.printf("%s\n", tr("配置格式正确，但有模板的文字会被拦截。", "The configuration is well-formed, but the words of a template would be blocked."))
	} else {
		u.printf("%s\n", tr("配置正确。", "The configuration is right."))
	}
	return found(nil)
}

// channelsOf is what the rules need to know of the open channels.
func channelsOf(open map[string]channels.Channel) map[string]rules.Channel {
	out := make(map[string]rules.Channel, len(open))
	for name, ch := range open {
		out[name] = dispatcher.Described(ch)
	}
	return out
}

// durability says what the broker's settings can cost.
func durability(b broker.Config) string {
	switch {
	case b.URL != "" && b.Replicas > 1:
		return fmt.Sprintf(tr("外部集群，%d 副本：单个节点损坏不丢消息；断电保护取决于 NATS 的 sync_interval（建议 always）。",
			"external cluster, %d replicas: one broken node loses nothing; for power cuts set sync_interval: always on the NATS servers."), b.Replicas)
	case b.URL != "":
		return tr("外部单副本：磁盘损坏会丢失数据；断电最多丢失 NATS 的 sync_interval 之内的写入。",
			"external, one replica: a broken disk loses its data; a power cut at most what was written within the server's sync_interval.")
	case b.Sync == "always":
		return tr("内置，每次写入都落盘：进程崩溃和断电都不丢消息；磁盘损坏会丢失数据。",
			"embedded, every write synced: neither a crash nor a power cut loses a message; a broken disk does.")
	}
	if d, err := time.ParseDuration(b.Sync); err == nil {
		return fmt.Sprintf(tr("内置，每 %s 落盘：进程崩溃不丢消息；断电最多丢失最近 %s 的写入；磁盘损坏会丢失数据。",
			"embedded, synced every %s: a crash loses nothing; a power cut at most the last %s; a broken disk loses its data."), d, d)
	}
	return ""
}
