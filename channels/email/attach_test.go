package email

import (
	"bytes"
	"context"
	"errors"
	"io"
	stdmime "mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-message"
	emailmail "github.com/emersion/go-message/mail"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var (
	pdfBytes = []byte("%PDF-1.7\n" + strings.Repeat("对账单 0123456789\n", 20) + "%%EOF\n")
	pngBytes = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01")
)

// files is a storage whose faults the tests choose by the name of the file.
type files struct {
	lacks map[string]channels.Lack
	until func(ctx context.Context)

	mu       sync.Mutex
	released int
	tenant   string
}

func (f *files) Schemes() string { return "file https" }

func (f *files) Fetch(ctx context.Context, tenant string, list []schemas.Attachment) *channels.Fetched {
	f.mu.Lock()
	f.tenant = tenant
	f.mu.Unlock()
	if f.until != nil {
		f.until(ctx)
	}
	out := &channels.Fetched{Release: func() {
		f.mu.Lock()
		f.released++
		f.mu.Unlock()
	}}
	for _, a := range list {
		got := channels.File{Attached: channels.Attached{Name: a.Name, Type: a.Type, Lack: f.lacks[a.Name]}, CID: a.CID}
		switch {
		case got.Lack != "":
			got.Line = "HTTP 503"
		case a.CID != "":
			got.Data, got.Type = pngBytes, "image/png"
		default:
			got.Data, got.Type = pdfBytes, "application/pdf"
		}
		got.Size = len(got.Data)
		out.Files = append(out.Files, got)
	}
	return out
}

const longName = "华星科技（北京）有限公司 2026年11月 客户对账单（含应收明细、账龄分析与开票记录）第1册.pdf"

// withFiles is the suite's delivery with a file and an image inside its HTML.
func withFiles() *schemas.Delivery {
	d := channeltest.Delivery(1)
	d.Priority = schemas.Normal
	d.Message.HTML = `<html><body><p><img src="cid:logo@erp"></p></body></html>`
	d.Message.Attachments = []schemas.Attachment{
		{Name: longName, URL: "file:///a.pdf"}, {Name: "logo.png", URL: "https://files.example.com/logo.png", CID: "logo@erp"},
	}
	return d
}

func TestContractWithAttachments(t *testing.T) {
	channeltest.Contract(t, channeltest.Rig{
		Kind: "email", Address: channels.Email, Secrets: []string{password},
		Open: func(t *testing.T, env channels.Env) (channels.Channel, channeltest.FarSide) {
			far := startFar(t, "starttls")
			env.Files = &files{}
			return openFar(t, env, far, nil), far
		},
		Adjust: func(d *schemas.Delivery) { d.Message.Attachments = withFiles().Message.Attachments },
	})
}

func rendered(t *testing.T, d *schemas.Delivery, got []channels.File) string {
	t.Helper()
	msg, _, err := sender(t).assemble(d, got, noon)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := msg.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.String()
}

// The golden files are whole mails with files: every shape of the tree.
func TestLetterGolden(t *testing.T) {
	for name, change := range map[string]func(*schemas.Delivery) map[string]channels.Lack{
		"files-mixed": func(*schemas.Delivery) map[string]channels.Lack { return nil },
		"files-inline-only": func(d *schemas.Delivery) map[string]channels.Lack {
			d.Message.Attachments = d.Message.Attachments[1:]
			return nil
		},
		"files-text-only": func(d *schemas.Delivery) map[string]channels.Lack {
			d.Message.HTML = "" // the image is a file like others
			return nil
		},
		"files-html-only": func(d *schemas.Delivery) map[string]channels.Lack {
			d.Message.Text = ""
			return nil
		},
		"files-one-missing": func(*schemas.Delivery) map[string]channels.Lack {
			return map[string]channels.Lack{longName: channels.Unreachable}
		},
		"files-all-missing-english": func(d *schemas.Delivery) map[string]channels.Lack {
			d.To.Locale = "en-GB"
			return map[string]channels.Lack{longName: channels.NotFound, "logo.png": channels.TooLarge}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := withFiles()
			store := &files{lacks: change(d)}
			got := rendered(t, d, store.Fetch(t.Context(), "", d.Message.Attachments).Files)
			for _, line := range strings.Split(got, "\r\n") {
				if len(line) > 78 || strings.ContainsAny(line, "\r\n") {
					t.Errorf("a line of %d characters, or with half a line end: %q", len(line), line)
				}
			}
			golden(t, name, got)
		})
	}
}

// Two readers that are not ours take the mail apart: go-message and the standard library.
func TestLetterIsReadByOthers(t *testing.T) {
	d := withFiles()
	names := []string{longName, "a.pdf", `with "quotes".pdf`, "=?utf-8?b?ZXhl?=.pdf", strings.Repeat("long-", 30) + ".pdf", "100% 'done' + 1.pdf", "表情😀.pdf"}
	for _, n := range names[1:] {
		d.Message.Attachments = append(d.Message.Attachments, schemas.Attachment{Name: n, URL: "file:///a.pdf"})
	}
	raw := rendered(t, d, (&files{}).Fetch(t.Context(), "", d.Message.Attachments).Files)

	r, err := emailmail.CreateReader(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var kinds, found []string
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch h := p.Header.(type) {
		case *emailmail.InlineHeader:
			kind, _, _ := h.ContentType()
			kinds = append(kinds, kind+" "+h.Get("Content-Id"))
			if kind == "image/png" && !bytes.Equal(body, pngBytes) {
				t.Errorf("the image has other bytes: %q", body)
			}
		case *emailmail.AttachmentHeader:
			name, err := h.Filename()
			if err != nil {
				t.Error(err)
			}
			found = append(found, name)
			if kind, _, _ := h.ContentType(); kind != "application/pdf" || !bytes.Equal(body, pdfBytes) {
				t.Errorf("%s: %s with %d bytes", name, kind, len(body))
			}
		}
	}
	if got, want := strings.Join(kinds, ","), "text/plain ,text/html ,image/png <logo@erp>"; got != want {
		t.Errorf("parts %s, want %s", got, want)
	}
	names[3] = "=_utf-8?b?ZXhl?=.pdf" // no encoded word, which would be read as another name
	if got, want := strings.Join(found, "\n"), strings.Join(names, "\n"); got != want {
		t.Errorf("names\n%s\nwant\n%s", got, want)
	}

	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var leaves []string
	walk(t, m.Header.Get("Content-Type"), m.Body, func(media, _ string) { leaves = append(leaves, media) })
	if got, want := strings.Join(leaves[:3], ","), "text/plain,text/html,image/png"; len(leaves) != 10 || got != want {
		t.Errorf("leaves %v", leaves)
	}
	if e, err := message.Read(strings.NewReader(raw)); err != nil || e.Header.Get("Mime-Version") != "1.0" {
		t.Errorf("%v, MIME-Version %q", err, e.Header.Get("Mime-Version"))
	}
}

// walk visits the leaves of a MIME tree.
func walk(t *testing.T, contentType string, body io.Reader, leaf func(media, text string)) {
	t.Helper()
	media, params, err := stdmime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(media, "multipart/") {
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		leaf(media, string(b))
		return
	}
	r := multipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		walk(t, p.Header.Get("Content-Type"), p, leaf)
	}
}

// A text that looks like the end of its part does not end it.
func TestTextCannotEndItsPart(t *testing.T) {
	d := withFiles()
	evil := "hello\n--yizhan-" + d.ID + "-mixed--\nContent-Type: text/html\n\n--yizhan-" + d.ID + "-alternative--\n"
	d.Message.Text, d.Message.HTML = evil, "<pre>"+evil+"</pre>"
	raw := rendered(t, d, (&files{}).Fetch(t.Context(), "", d.Message.Attachments).Files)
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	walk(t, m.Header.Get("Content-Type"), m.Body, func(string, string) { n++ })
	if n != 4 {
		t.Errorf("%d leaves, want 4", n)
	}
	// Quoted-printable is what would have let it through.
	if b, _ := io.ReadAll(quotedprintable.NewReader(strings.NewReader(evil))); string(b) != evil {
		t.Fatal("the text is not plain in quoted-printable, so this test shows nothing")
	}
}

// A receiver tells a repeat by the Message-ID: only Date may differ between attempts, with files too.
func TestLetterIsTheSameForEveryAttempt(t *testing.T) {
	d := withFiles()
	first := rendered(t, d, (&files{}).Fetch(t.Context(), "", d.Message.Attachments).Files)
	for range 20 {
		if again := rendered(t, d, (&files{}).Fetch(t.Context(), "", d.Message.Attachments).Files); again != first {
			t.Fatalf("got\n%s\nwant\n%s", again, first)
		}
	}
}

// What becomes of a mail whose files are not there, by setting, attempt and priority.
func TestMissingAttachments(t *testing.T) {
	const pdf, logo = longName, "logo.png"
	first, fifth, sixth, last := channels.Attempt{Number: 1}, channels.Attempt{Number: 5}, channels.Attempt{Number: 6}, channels.Attempt{Number: 2, Last: true}
	for _, tt := range []struct {
		name    string
		lacks   map[string]channels.Lack
		attempt channels.Attempt
		change  func(*Config, *schemas.Delivery)
		code    string // of the failure; "" when the mail goes
	}{
		{"all there", nil, first, nil, ""},
		{"down, first attempt", map[string]channels.Lack{pdf: channels.Unreachable}, first, nil, "attachment-unavailable"},
		{"not written yet", map[string]channels.Lack{pdf: channels.NotFound}, fifth, nil, "attachment-unavailable"},
		{"still down", map[string]channels.Lack{pdf: channels.Unreachable}, sixth, nil, ""},
		{"no attempt would follow", map[string]channels.Lack{pdf: channels.Unreachable}, last, nil, ""},
		{"waiting cures nothing", map[string]channels.Lack{pdf: channels.TooLarge, logo: channels.Denied}, first, nil, ""},
		{"one may come", map[string]channels.Lack{pdf: channels.TooLarge, logo: channels.Altered}, first, nil, "attachment-unavailable"},
		{"urgent", map[string]channels.Lack{pdf: channels.Unreachable}, first, func(_ *Config, d *schemas.Delivery) { d.Priority = schemas.High }, ""},
		{"no waiting", map[string]channels.Lack{pdf: channels.Unreachable}, first, func(c *Config, _ *schemas.Delivery) { c.AttachmentsAttempts = 1 }, ""},
		{"fail: down", map[string]channels.Lack{pdf: channels.Unreachable}, sixth, func(c *Config, _ *schemas.Delivery) { c.AttachmentsMissing = "fail" }, "attachment-unavailable"},
		{"fail: urgent", map[string]channels.Lack{pdf: channels.NotFound}, first, func(c *Config, d *schemas.Delivery) {
			c.AttachmentsMissing, d.Priority = "fail", schemas.High
		}, "attachment-unavailable"},
		{"fail: the end", map[string]channels.Lack{pdf: channels.Unreachable}, last, func(c *Config, _ *schemas.Delivery) { c.AttachmentsMissing = "fail" }, "attachment-missing"},
		{"fail: never", map[string]channels.Lack{pdf: channels.WrongType, logo: channels.Unreachable}, first, func(c *Config, _ *schemas.Delivery) { c.AttachmentsMissing = "fail" }, "attachment-missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			far, store, d := startFar(t, "none"), &files{lacks: tt.lacks}, withFiles()
			ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop(), Files: store}, far, func(c *Config) {
				if tt.change != nil {
					tt.change(c, d)
				}
			})
			defer ch.Close()
			r, err := ch.Send(channels.WithAttempt(t.Context(), tt.attempt), d)
			if store.released != 1 || store.tenant != d.Tenant {
				t.Errorf("released %d times, tenant %q", store.released, store.tenant)
			}
			if tt.code != "" {
				f := failure(t, err)
				if f.Code != tt.code || f.Maybe || !strings.Contains(f.Line, "HTTP 503") || len(far.Taken()) != 0 {
					t.Errorf("%+v with %d mails sent, want %s and none", f, len(far.Taken()), tt.code)
				}
				return
			}
			if err != nil || len(far.Taken()) != 1 {
				t.Fatalf("%v with %d mails", err, len(far.Taken()))
			}
			if len(r.Attachments) != 2 || r.Attachments[0].Lack != tt.lacks[pdf] || r.Attachments[1].Lack != tt.lacks[logo] || r.Attachments[0].Name != pdf {
				t.Errorf("receipt %+v", r.Attachments)
			}
		})
	}
}

// Without any storage the mail goes at once, and says so.
func TestNoStorage(t *testing.T) {
	far := startFar(t, "none")
	ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop()}, far, nil)
	defer ch.Close()
	r, err := ch.Send(channels.WithAttempt(t.Context(), channels.Attempt{Number: 1}), withFiles())
	if err != nil || r.Attachments[0].Lack != channels.NotSetUp || ch.Traits().Attaches != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Storage that hangs leaves the mail server its share of the attempt's time.
func TestStorageThatHangs(t *testing.T) {
	far, store := startFar(t, "none"), &files{until: func(ctx context.Context) { <-ctx.Done() }, lacks: map[string]channels.Lack{longName: channels.Unreachable, "logo.png": channels.Unreachable}}
	ch := openFar(t, channels.Env{Dir: t.TempDir(), Log: zap.NewNop(), Files: store}, far, func(c *Config) { c.Timeout = 2e9 })
	defer ch.Close()
	if _, err := ch.Send(channels.WithAttempt(t.Context(), channels.Attempt{Number: 6}), withFiles()); err != nil || len(far.Taken()) != 1 {
		t.Errorf("%v with %d mails", err, len(far.Taken()))
	}
}

// What the recipient reads, and where.
func TestExcuse(t *testing.T) {
	lacking := []channels.File{{Attached: channels.Attached{Name: "<工资>.pdf", Lack: channels.NotFound}}, {Attached: channels.Attached{Name: "b.pdf"}}}
	for _, tt := range []struct {
		m, want schemas.Message
		locale  string
	}{
		{
			schemas.Message{Text: "见附件\n", HTML: "<body>见附件</BODY></html>"},
			schemas.Message{
				Text: "见附件\n\n附件“<工资>.pdf”未能随本邮件发送：没有找到该文件。如需该文件，请联系发件单位。\n",
				HTML: "<body>见附件<p>附件“&lt;工资&gt;.pdf”未能随本邮件发送：没有找到该文件。如需该文件，请联系发件单位。</p></BODY></html>",
			},
			"",
		},
		{schemas.Message{Text: "see file"}, schemas.Message{Text: "see file\n\nThe attachment \"<工资>.pdf\" is missing: the file was not found. Please ask the sender for it.\n"}, ""},
		{schemas.Message{HTML: "见附件"}, schemas.Message{HTML: "见附件<p>The attachment &#34;&lt;工资&gt;.pdf&#34; is missing: the file was not found. Please ask the sender for it.</p>"}, "en"},
	} {
		got := excuse(tt.m, schemas.Recipient{Locale: tt.locale}, lacking)
		if got.Text != tt.want.Text || got.HTML != tt.want.HTML {
			t.Errorf("got %q %q", got.Text, got.HTML)
		}
		if same := excuse(tt.m, schemas.Recipient{}, lacking[1:]); same.Text != tt.m.Text || same.HTML != tt.m.HTML {
			t.Errorf("nothing is missing, and the mail says %q", same.Text)
		}
	}
	for _, l := range channels.Lacks {
		if w := l.Text(); w.Zh == string(l) || w.En == string(l) {
			t.Errorf("%s has no words", l)
		}
	}
}

func BenchmarkLetter(b *testing.B) {
	d := withFiles()
	big := bytes.Repeat(pdfBytes, 10<<20/len(pdfBytes))
	s := sender(b)
	b.SetBytes(int64(len(big)))
	b.ReportAllocs()
	for b.Loop() {
		msg, _, err := s.assemble(d, []channels.File{{Attached: channels.Attached{Name: "a.pdf", Type: "application/pdf"}, Data: big}}, noon)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := msg.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
