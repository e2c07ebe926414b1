package email

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

const linkSecret = "0123456789abcdef0123456789abcdef"

func links(t testing.TB, secrets string) *channel {
	t.Helper()
	env := channels.Env{Dir: t.TempDir()}
	write(t, env.Dir, "links", []byte(secrets))
	s := sender(t)
	var err error
	s.unsub, err = (&Unsubscribe{URL: "https://notify.example.com/u?t={token}", Mailto: "退订 <bye+a&b@example.com>", SecretFile: "links"}).open(env)
	if err != nil {
		t.Fatal(err)
	}
	return &channel{settings: s}
}

func promotion(n int) *schemas.Delivery {
	d := channeltest.Delivery(n)
	d.Category = schemas.Marketing
	return d
}

// headers composes a mail and reads its headers back.
func headers(t testing.TB, ch *channel, d *schemas.Delivery) mail.Header {
	t.Helper()
	m, err := ch.compose(d, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.SplitSeq(m.raw, []byte("\r\n")) {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	read, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		t.Fatal(err)
	}
	return read.Header
}

// tokenIn is the token in the first URL of a List-Unsubscribe.
func tokenIn(t testing.TB, h mail.Header) string {
	t.Helper()
	link, ok := strings.CutPrefix(h.Get("List-Unsubscribe"), "<https://notify.example.com/u?t=")
	token, _, closed := strings.Cut(link, ">")
	if !ok || !closed {
		t.Fatalf("List-Unsubscribe: %s", h.Get("List-Unsubscribe"))
	}
	return token
}

// The link of a marketing mail stands for exactly this person, tenant and category, and shows none of them.
func TestUnsubscribeLink(t *testing.T) {
	ch := links(t, linkSecret)
	h := headers(t, ch, promotion(1))
	if got := h.Get("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
		t.Errorf("List-Unsubscribe-Post: %q", got)
	}
	if got := h.Get("List-Unsubscribe"); !strings.Contains(got, ", <mailto:bye+a&b@example.com?subject=unsubscribe%20") || strings.Contains(got, "canary") || strings.Contains(got, "acme") {
		t.Errorf("List-Unsubscribe: %q", got)
	}
	token := tokenIn(t, h)
	c, ok := ch.Refusal(token)
	if !ok || c.Tenant != "acme" || c.Email != "wang.canary@example.com" || c.State != schemas.OptedOut || c.Purpose != schemas.Purpose(schemas.Marketing) || c.How != schemas.ByLink {
		t.Errorf("Refusal = %+v, %v", c, ok)
	}
	if bad := c.Check(time.Now()); bad != nil {
		t.Errorf("cannot be recorded: %v", bad)
	}
	if again := tokenIn(t, headers(t, ch, promotion(2))); again != token {
		t.Error("another link for the same person: attempts would differ")
	}
	other := promotion(1)
	other.To.Email = "li@example.com"
	if tokenIn(t, headers(t, ch, other)) == token {
		t.Error("two people have the same link")
	}
}

func TestUnsubscribeTokensThatAreNotOurs(t *testing.T) {
	ch := links(t, linkSecret)
	token := tokenIn(t, headers(t, ch, promotion(1)))
	flipped := []byte(token)
	flipped[len(flipped)/2] ^= 1
	foreign := tokenIn(t, headers(t, links(t, strings.Repeat("another secret ", 3)), promotion(1)))
	for name, bad := range map[string]string{
		"none": "", "short": "AAAA", "changed": string(flipped), "cut": token[:len(token)-4], "longer": token + "AAAA",
		"of another channel": foreign, "not base64": "!" + token[1:], "padded": token + "=", "huge": strings.Repeat("A", 1<<20),
	} {
		if c, ok := ch.Refusal(bad); ok {
			t.Errorf("%s: taken for %+v", name, c)
		}
	}
	if c, ok := (&channel{settings: sender(t)}).Refusal(token); ok {
		t.Errorf("a channel without links reads %+v", c)
	}
}

// After a new secret has been put in front, the links of old mails still work.
func TestUnsubscribeSecretIsReplaced(t *testing.T) {
	const newer = "fedcba9876543210fedcba9876543210"
	old := tokenIn(t, headers(t, links(t, linkSecret), promotion(1)))
	ch := links(t, newer+"\r\n\n"+linkSecret+"\n")
	now := tokenIn(t, headers(t, ch, promotion(1)))
	if now == old {
		t.Error("new links are made with the old secret")
	}
	for _, token := range []string{old, now} {
		if _, ok := ch.Refusal(token); !ok {
			t.Errorf("%s is refused", token)
		}
	}
}

// Marketing without a way out is not sent; that the text has one must be said. Nothing else carries the header.
func TestUnsubscribeIsDecided(t *testing.T) {
	none := &channel{settings: sender(t)}
	_, err := none.compose(promotion(1), nil, noon)
	if f := none.unbuilt(err); f.Code != "dispatcher:no-unsubscribe" || f.Class != channels.Config {
		t.Errorf("got %+v", f)
	}
	inText := &channel{settings: sender(t)}
	inText.unsub = &unsubscriber{}
	for name, h := range map[string]mail.Header{
		"in the text":    headers(t, inText, promotion(1)),
		"a notification": headers(t, links(t, linkSecret), channeltest.Delivery(1)),
		"no setting":     headers(t, none, channeltest.Delivery(1)),
	} {
		if h.Get("List-Unsubscribe") != "" || h.Get("List-Unsubscribe-Post") != "" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// The longest address, tenant and URL still make a header that servers take.
func TestUnsubscribeHeaderFits(t *testing.T) {
	ch := links(t, linkSecret)
	ch.unsub.url = "https://notify.example.com/u?t={token}&x=" + strings.Repeat("x", maxLinkURL-41)
	d := promotion(1)
	d.Tenant = strings.Repeat("t", 63)
	d.To.Email = strings.Repeat("l", 64) + "@" + strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 60)+".", 3), ".") + ".com"
	token, _, _ := strings.Cut(tokenIn(t, headers(t, ch, d)), "&")
	if c, ok := ch.Refusal(token); !ok || c.Email != d.To.Email {
		t.Errorf("Refusal = %+v, %v", c, ok)
	}
}

func FuzzRefusal(f *testing.F) {
	ch := links(f, linkSecret)
	good := ch.unsub.keys[0].token("acme", schemas.Marketing, "wang@example.com")
	f.Add(good)
	f.Add("")
	f.Add(strings.Repeat("A", 40))
	f.Fuzz(func(t *testing.T, token string) {
		if c, ok := ch.Refusal(token); ok && (token != good || c.Email != "wang@example.com") {
			t.Errorf("%q is taken for %+v", token, c)
		}
	})
}
