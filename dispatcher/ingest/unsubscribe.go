package ingest

import (
	"context"
	"hash/maphash"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	maxUnsubscribe = 4 << 10 // bytes of the form
	// unsubscribes is how many refusals a second this process records at most: nobody signs in here, so that a
	// flood must not reach the store. Providers post one for each person and mail.
	unsubscribes = 50
	// Links are bounded in linkGroups groups by chance, so that whoever has one link cannot use up what is there for all.
	linkGroups, linkRate, linkBurst = 256, 1, 10
)

// oneClick is the form that a mail program posts (RFC 8058 section 3.2), and our page.
const oneClickName, oneClickValue = "List-Unsubscribe", "One-Click"

// getUnsubscribe shows a button and changes nothing: scanners of mails open every link in them.
func (s *server) getUnsubscribe(w *answer, r *http.Request) error {
	if _, _, ok := s.refusal(r); !ok {
		return s.unsubscribePage(w, r, http.StatusNotFound, badLink)
	}
	return s.unsubscribePage(w, r, http.StatusOK, askFirst)
}

// postUnsubscribe records the refusal. The token is all the proof there is to be (RFC 8058 section 3.1): whoever has the
// mail may refuse it. Again changes nothing.
func (s *server) postUnsubscribe(w *answer, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxUnsubscribe)
	change, channel, ok := s.refusal(r)
	switch {
	case !ok:
		return s.unsubscribePage(w, r, http.StatusNotFound, badLink)
	case r.PostFormValue(oneClickName) != oneClickValue:
		return s.unsubscribePage(w, r, http.StatusBadRequest, askFirst)
	case !s.links.allow(r.PathValue("token")) || !s.unsubscribes.Allow():
		w.Header().Set("Retry-After", "2")
		return s.unsubscribePage(w, r, http.StatusTooManyRequests, tryLater)
	}
	k, err := s.keeper()
	if err == nil {
		err = refuse(r.Context(), k, change, channel)
	}
	if err != nil {
		s.log.Warn("unsubscribe", zap.String("request", w.Header().Get(requestID)), zap.String("channel", channel), zap.String("error", channels.Line(err.Error())))
		w.Header().Set("Retry-After", "5")
		return s.unsubscribePage(w, r, http.StatusServiceUnavailable, tryLater)
	}
	return s.unsubscribePage(w, r, http.StatusOK, done)
}

// linkLimits bounds how often one link, or another of its group, is used.
type linkLimits struct {
	seed   maphash.Seed
	groups [linkGroups]*rate.Limiter
}

func newLinkLimits() *linkLimits {
	l := &linkLimits{seed: maphash.MakeSeed()}
	for i := range l.groups {
		l.groups[i] = rate.NewLimiter(linkRate, linkBurst)
	}
	return l
}

func (l *linkLimits) allow(token string) bool {
	return l.groups[maphash.String(l.seed, token)%linkGroups].Allow()
}

// refuse records the change unless the last word on record is a refusal already.
func refuse(ctx context.Context, k rules.ConsentKeeper, change *schemas.ConsentChange, by string) error {
	known, err := k.Consent(ctx, change.Tenant, change.Address())
	if err != nil {
		return err
	}
	if known != nil {
		if last, spoken := known.States[schemas.Category(change.Purpose)]; spoken && last.State == schemas.OptedOut {
			return nil
		}
	}
	_, err = k.Record(ctx, change, by, time.Now())
	return err
}

// refusal is what the token in the path stands for, and the channel that made it.
func (s *server) refusal(r *http.Request) (*schemas.ConsentChange, string, bool) {
	token := r.PathValue("token")
	for _, name := range slices.Sorted(maps.Keys(s.channels())) {
		u, ok := s.channels()[name].(channels.Unsubscriber)
		if !ok {
			continue
		}
		if c, ok := u.Refusal(token); ok {
			return &c, name, c.Check(time.Now()) == nil
		}
	}
	return nil, "", false
}

func (s *server) channels() map[string]channels.Channel {
	if s.d == nil {
		return nil
	}
	return s.d.Channels
}

// notice is what the page says. It shows no address: links are passed on.
type notice struct {
	title, text schemas.Text
	ask         bool // with the button
}

var (
	askFirst = notice{text("退订邮件", "Unsubscribe"), text("点击下面的按钮，即可不再接收此类营销邮件。订单、账单等业务通知不受影响。",
		"Press the button to get no more marketing mail of this kind. Notices about your orders and invoices are not affected."), true}
	done = notice{text("已退订", "Unsubscribed"), text("您不会再收到此类营销邮件，可以关闭此页面。",
		"You will get no more marketing mail of this kind. You may close this page."), false}
	badLink = notice{text("链接无效", "This link does not work"), text("链接不完整或已失效。请从邮件中重新打开，或直接回复邮件要求退订。",
		"The link is incomplete or no longer valid. Open it from the mail again, or answer the mail and say that you want no more."), false}
	tryLater = notice{text("请稍后再试", "Please try again"), text("暂时无法登记，请过一会儿再点一次。", "It could not be recorded right now. Press once more in a moment."), true}
	button   = text("退订", "Unsubscribe")
)

// The form has no action: it goes to the address that the browser shows, also behind a proxy that gives it another.
var unsubscribePage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 17px/1.6 system-ui, sans-serif; max-width: 32em; margin: 15vh auto; padding: 0 1.5em; color: #222 }
h1 { font-size: 1.4em }
button { font: inherit; padding: .5em 1.5em; border: 0; border-radius: .3em; background: #0b5cad; color: #fff; cursor: pointer }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{- if .Ask}}
<form method="post"><input type="hidden" name="` + oneClickName + `" value="` + oneClickValue + `"><button>{{.Button}}</button></form>
{{- end}}
</main>
</body>
</html>
`))

func (s *server) unsubscribePage(w *answer, r *http.Request, status int, n notice) error {
	lang := languageOf(r)
	var b strings.Builder
	if err := unsubscribePage.Execute(&b, struct {
		Lang, Title, Text, Button string
		Ask                       bool
	}{map[string]string{"zh": "zh-CN", "en": "en"}[lang], n.title.In(lang), n.text.In(lang), button.In(lang), n.ask}); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Accept-Language")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // the address of the page is the token
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(b.String())) // fails only when the caller has gone
	return nil
}
