package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
)

// reportTimeout bounds the storing of a push: Aliyun takes an answer after some 700 ms for a failure
// (help.aliyun.com/document_detail/101867.html), and pushes again.
const reportTimeout = 600 * time.Millisecond

// tokenForm is the secret end of a receipts address: it must survive any URL field unchanged.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{24,128}$`)

// door is who may report for a channel.
type door struct {
	tokens   [][sha256.Size]byte // hashed, so that a comparison tells not even the length
	networks []netip.Prefix
}

// opens says whether token is one of the door's, in the same time whatever it is.
func (d *door) opens(token string) bool {
	sum, valid := sha256.Sum256([]byte(token)), 0
	for _, t := range d.tokens {
		valid |= subtle.ConstantTimeCompare(sum[:], t[:])
	}
	return valid == 1
}

// nowhere stands in for the door of a channel that has none.
func nowhere() *door { return &door{tokens: [][sha256.Size]byte{sha256.Sum256([]byte(rand.Text()))}} }

// doors reads the tokens of the channels that may be reported for.
func (c Config) doors(ps *collector) map[string]*door {
	out := map[string]*door{}
	for _, name := range slices.Sorted(maps.Keys(c.Receipts)) {
		r := c.Receipts[name]
		if !r.Pushed() {
			continue
		}
		at := "/channels/" + name + "/receipts"
		d := &door{networks: prefixes(ps, at+"/networks", "通道 "+name, "channel "+name, r.Networks)}
		raw, err := channels.Env{Dir: c.Dir}.Secret(r.TokenFile, r.TokenEnv)
		if err != nil {
			ps.add(at+"/token_file", "无法读取令牌：%[1]v", "the token cannot be read: %[1]v", err)
			continue
		}
		for line := range strings.Lines(raw) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if !tokenForm.MatchString(line) {
				ps.add(at+"/token_file", "令牌应为 24 到 128 个字母、数字、- 或 _，例如 openssl rand -hex 24 的输出",
					"a token has 24 to 128 letters, digits, - or _, such as the output of openssl rand -hex 24")
			}
			d.tokens = append(d.tokens, sha256.Sum256([]byte(line)))
		}
		if n := len(d.tokens); n < 1 || n > maxSecrets {
			ps.add(at+"/token_file", "应有 1 到 %[1]d 个令牌，每行一个（轮换时新旧各一个），实际 %[2]d 个",
				"want 1 to %[1]d tokens, one a line (the old and the new one while rotating), this has %[2]d", maxSecrets, n)
		}
		out[name] = d
	}
	return out
}

// postReceipts takes what a channel's third party reports. It is answered once all is stored; what becomes of it
// is settled later, so that a message which is not ours does no harm.
func (s *server) postReceipts(w *answer, r *http.Request) error {
	name := r.PathValue("channel")
	d, known := s.doors[name]
	if !known {
		d = s.noDoor
	}
	if !d.opens(r.PathValue("token")) || !known {
		return refuseMethod(route{}) // as any path that does not exist
	}
	if addr, _ := s.client(r); len(d.networks) > 0 && !within(d.networks, addr) {
		return forbidden("network", text("不允许从 %[2]s 推送通道 %[1]s 的回执", "receipts of channel %[1]s may not come from %[2]s", name, addr))
	}
	if r.ContentLength > s.cfg.HTTP.MaxBody {
		w.Header().Set("Connection", "close")
		return bodyTooLarge(s.cfg.HTTP.MaxBody)
	}
	body, done, err := s.read(w, r, s.cfg.HTTP.MaxBody)
	if err != nil {
		return err
	}
	defer done()
	reports, ok, err := s.reports(name, r, body)
	if err != nil {
		s.log.Warn("a push that is no receipt", zap.String("channel", name), zap.Int("bytes", len(body)), zap.String("error", channels.Line(err.Error())))
		p := &problem{
			status: ok.Status, name: "not-a-receipt", title: text("不是回执", "Not a receipt"),
			detail: text("内容不是该服务商的回执，没有保存：%[1]s", "this is no report of the channel's third party, nothing was stored: %[1]s", channels.Line(err.Error())),
		}
		if p.status < http.StatusBadRequest {
			p.status = http.StatusBadRequest
		}
		return p
	}
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	if err := s.takeReports(ctx, name, reports); err != nil {
		return fmt.Errorf("receipts of %s: %w", name, err)
	}
	if ok.ContentType != "" {
		w.Header().Set("Content-Type", ok.ContentType)
	}
	if ok.Status != 0 {
		w.WriteHeader(ok.Status)
	}
	_, _ = w.Write(ok.Body) // fails only when the caller has gone
	return nil
}

var errNoReporter = errors.New("this process does not have the channel")

// reports reads a push; a panic over somebody's bytes is an error.
func (s *server) reports(name string, r *http.Request, body []byte) (rs []channels.Report, ok channels.ReportAnswer, err error) {
	defer func() {
		if p := recover(); p != nil {
			rs, ok, err = nil, channels.ReportAnswer{}, errors.New("it cannot be read")
			s.log.Error("panic", zap.String("channel", name), zap.String("panic", channels.Line(fmt.Sprint(p))), zap.Stack("stack"))
		}
	}()
	rep, can := s.d.Channels[name].(channels.Reporter)
	if !can {
		return nil, ok, errNoReporter
	}
	return rep.Reports(r, body)
}
