package email

import (
	"net/textproto"
	"regexp"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The preview is what the server gets, apart from the Date.
func TestPreviewIsWhatIsSent(t *testing.T) {
	dateLine := regexp.MustCompile(`(?m)^Date: .*$`)
	for name, change := range map[string]func(*schemas.Delivery){
		"text and html": func(*schemas.Delivery) {},
		"text alone":    func(d *schemas.Delivery) { d.Message.HTML = "" },
		"html alone":    func(d *schemas.Delivery) { d.Message.Text = "" },
		"dots":          func(d *schemas.Delivery) { d.Message.HTML, d.Message.Text = "", ".\n..\nend" },
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			var envelope []string
			s := play(t, func(_ *script, c *textproto.Conn) {
				_ = c.PrintfLine("220 far.example.com")
				for {
					line, err := c.ReadLine()
					if err != nil {
						return
					}
					switch verb, _, _ := strings.Cut(line, " "); verb {
					case "DATA":
						_ = c.PrintfLine("354 go on")
						b, _ := c.ReadDotBytes()
						got <- string(b)
					case "MAIL", "RCPT":
						envelope = append(envelope, line)
					}
					_ = c.PrintfLine("250 Ok")
				}
			})
			ch := openScript(t, s, nil)
			d := channeltest.Delivery(1)
			change(d)
			p, ok := ch.(channels.Previewer)
			if !ok {
				t.Fatal("no preview")
			}
			w, err := p.Preview(d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ch.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			shown := dateLine.ReplaceAllString(strings.ReplaceAll(string(w.Body), "\r\n", "\n"), "Date: X")
			sent := dateLine.ReplaceAllString(<-got, "Date: X")
			if strings.TrimRight(shown, "\n") != strings.TrimRight(sent, "\n") {
				t.Errorf("shown:\n%s\nsent:\n%s", shown, sent)
			}
			for i, h := range w.Header {
				if !strings.HasPrefix(envelope[i], h[0]+":"+h[1]) {
					t.Errorf("the envelope has %q, shown is %v", envelope[i], h)
				}
			}
			if w.Method != "SMTP" || !strings.HasPrefix(w.URL, "smtp://127.0.0.1:") || w.ContentType != "message/rfc822" {
				t.Errorf("%s %s %s", w.Method, w.URL, w.ContentType)
			}
		})
	}
}

// What cannot be sent cannot be shown, and says why as Send does.
func TestPreviewOfNothing(t *testing.T) {
	ch := openScript(t, play(t, speak("", nil)), nil)
	d := channeltest.Delivery(1)
	d.Message.Text, d.Message.HTML = "", ""
	p, _ := ch.(channels.Previewer)
	_, shown := p.Preview(d)
	_, sent := ch.Send(t.Context(), d)
	if f := failure(t, shown); f.Code != failure(t, sent).Code || f.Class != channels.Content {
		t.Errorf("preview %v, send %v", shown, sent)
	}
}

// Who sees a preview can neither unsubscribe somebody with it nor pass a mail off as signed by us.
func TestPreviewHoldsNoTokenAndNoSignature(t *testing.T) {
	s, _ := signing(t, "rsa")
	ch := &channel{settings: s}
	d := promotion(1)
	token := tokenOf(t, ch, d)
	w, err := ch.Preview(d)
	if err != nil {
		t.Fatal(err)
	}
	body := string(w.Body)
	if strings.Contains(body, token) || strings.Contains(body, "DKIM-Signature") || !strings.Contains(body, "<https://notify.example.com/v1/unsubscribe/***>") || len(w.Notes) != 2 {
		t.Errorf("%v\n%s", w.Notes, body)
	}
	if m, err := ch.compose(d, nil, noon); err != nil || !strings.Contains(string(m.raw), token) || !strings.HasPrefix(string(m.raw), "DKIM-Signature") {
		t.Errorf("%v: what is sent has both", err)
	}
}

func tokenOf(t *testing.T, ch *channel, d *schemas.Delivery) string {
	t.Helper()
	_, rest, _ := strings.Cut(headers(t, ch, d).Get("List-Unsubscribe"), "/v1/unsubscribe/")
	token, _, ok := strings.Cut(rest, ">")
	if !ok {
		t.Fatal("no link")
	}
	return token
}
