package broker

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	minEventsBytes = 1 << 20 // one event of the greatest size
	maxKeep        = 10 * 365 * 24 * time.Hour
	maxSync        = 10 * time.Minute
)

// Check says everything that is wrong with the settings; call [Config.Defaults] first. The error is
// a [*schemas.Invalid] whose pointers are those of yizhan.yaml, "/broker/replicas". It reads no file
// and connects to nothing.
func (c Config) Check() error {
	var ps []schemas.Problem
	bad := func(key, zh, en string, args ...any) {
		ps = append(ps, problem(key, zh, en, args...))
	}
	if c.URL != "" {
		c.checkExternal(bad)
	} else {
		c.checkEmbedded(bad)
	}
	if d, err := time.ParseDuration(c.Sync); c.Sync != "always" && (err != nil || d <= 0 || d > maxSync) {
		bad("sync", "应为 always 或不超过 %s 的时长，如 1s", "want always, or a duration of at most %s such as 1s", brief(maxSync))
	}
	if c.EventsMaxBytes < minEventsBytes {
		bad("events_max_bytes", "不得小于 %d 字节", "want at least %d bytes", minEventsBytes)
	}
	for key, d := range map[string]time.Duration{"events_max_age": c.EventsMaxAge, "ledger_max_age": c.LedgerMaxAge, "dead_max_age": c.DeadMaxAge} {
		if d < duplicates || d > maxKeep { // the server refuses a stream whose memory of ids outlasts its messages
			bad(key, "应在 %s 到 %s 之间", "want %s to %s", brief(duplicates), brief(maxKeep))
		}
	}
	if c.LedgerMaxAge < c.DeadMaxAge { // a dead letter without its record could not be sent again
		bad("ledger_max_age", "不得短于 dead_max_age（%s）", "want at least dead_max_age (%s)", brief(c.DeadMaxAge))
	}
	if len(ps) == 0 {
		return nil
	}
	slices.SortFunc(ps, func(a, b schemas.Problem) int { return strings.Compare(a.Pointer, b.Pointer) })
	return &schemas.Invalid{Problems: ps}
}

func (c Config) checkExternal(bad func(key, zh, en string, args ...any)) {
	for s := range strings.SplitSeq(c.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		switch {
		case err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			bad("url", "应为 nats://主机:4222，多个地址用逗号分隔", "want nats://host:4222, several separated by commas")
			return
		case u.User != nil:
			bad("url", "地址中不得包含账号和密码，请改用 creds_file、nkey_file 或 token_file",
				"no user, password or token in the address: use creds_file, nkey_file or token_file")
			return
		}
	}
	if c.Listen != "" {
		bad("listen", "仅用于内置消息队列，不能与 url 同时填写", "for the embedded broker only, not beside url")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file", "cert_file 与 key_file 必须同时填写", "cert_file and key_file go together")
	}
	if !slices.Contains([]int{1, 3, 5}, c.Replicas) {
		bad("replicas", "副本数只能是 1、3 或 5", "want 1, 3 or 5")
	}
}

func (c Config) checkEmbedded(bad func(key, zh, en string, args ...any)) {
	for _, f := range []struct{ key, value string }{
		{"creds_file", c.CredsFile}, {"nkey_file", c.NKeyFile}, {"ca_file", c.CAFile}, {"cert_file", c.CertFile}, {"key_file", c.KeyFile},
	} {
		if f.value != "" {
			bad(f.key, "仅用于外部 NATS，请同时填写 url", "for an external NATS only: give url as well")
		}
	}
	if c.Replicas != 1 {
		bad("replicas", "内置消息队列只有 1 个副本；多副本请用 url 连接外部 NATS 集群", "the embedded broker has 1; for more connect to a NATS cluster with url")
	}
	if c.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		bad("listen", "监听地址应为 主机:端口", "want host:port")
	} else if c.TokenFile == "" && !loopback(host) {
		bad("listen", "该地址对外开放：请填写 token_file，或改为监听 127.0.0.1", "this is open to others: give token_file, or listen on 127.0.0.1")
	}
}

// loopback says whether only this machine can reach the host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// problem is one problem of a setting; both formats take the same arguments.
func problem(key, zh, en string, args ...any) schemas.Problem {
	return schemas.Problem{
		Pointer: "/broker/" + key, Keyword: "setting",
		Text: schemas.Text{Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)},
	}
}

// brief writes a whole duration as people do: 2m, not 2m0s.
func brief(d time.Duration) string {
	s := strings.TrimSuffix(d.String(), "0s")
	if m, ok := strings.CutSuffix(s, "h0m"); ok {
		return m + "h"
	}
	return s
}
