package main

import (
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// versions says what this binary is made of.
type versions struct {
	Version  string `json:"version"` // of the module, or the revision it was built from
	Revision string `json:"revision,omitzero"`
	Modified bool   `json:"modified,omitzero"` // built from a tree with changes
	Go       string `json:"go"`
	NATS     string `json:"nats_server"` // the embedded broker
	Platform string `json:"platform"`
}

func thisVersion() versions {
	v := versions{Version: "devel", Go: runtime.Version(), NATS: server.VERSION, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	switch {
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		v.Version = info.Main.Version
	case len(v.Revision) >= 12:
		v.Version = v.Revision[:12]
	}
	return v
}

func versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: tr("显示版本", "Show the version"),
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, v := newUI(cmd), thisVersion()
			if u.json {
				return u.printJSON(v)
			}
			note := ""
			if v.Modified {
				note = tr("（含未提交的改动）", " (with uncommitted changes)")
			}
			u.printf("yizhan %s%s\n", v.Version, note)
			u.printf("%s, %s, nats-server %s\n", v.Go, v.Platform, v.NATS)
			return nil
		},
	}
}
