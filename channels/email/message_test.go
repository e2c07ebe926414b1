package email

import (
	"bytes"
	"errors"
	"flag"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sender(t testing.TB) *settings {
	t.Helper()
	from, err := parseAddress("ERP 通知 <erp@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	return &settings{from: from, replyTo: &mail.Address{Name: "财务部", Address: "finance@example.com"}, provider: "generic"}
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("CST", 8*3600))

// The golden files are whole mails as they go over the wire: headers, encodings, parts.
func TestMessageGolden(t *testing.T) {
	for name, change := range map[string]func(*schemas.Delivery){
		"chinese": func(*schemas.Delivery) {},
		"english": func(d *schemas.Delivery) {
			d.To.Name = `O'Brien, Pat "PO"`
			d.Message.Subject = "Invoice AR-2026-000123 is due"
			d.Message.Text = "Dear customer,\n\n.a line that begins with a dot\nTotal = 12,300.00"
			d.Message.HTML = "<p>Dear customer</p>"
		},
		"text-only": func(d *schemas.Delivery) {
			d.To.Name, d.Message.HTML, d.Message.Text = "", "", "王芳:\n账单已到期。\n"
		},
		"html-only": func(d *schemas.Delivery) { d.Message.Text = "" },
	} {
		t.Run(name, func(t *testing.T) {
			d := channeltest.Delivery(1)
			change(d)
			msg, _, err := sender(t).build(d, noon)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := msg.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.String())
		})
	}
}

// golden compares a mail with its file in testdata, which has the line ends of a text.
func golden(t *testing.T, name, mail string) {
	t.Helper()
	got := strings.ReplaceAll(mail, "\r\n", "\n")
	file := filepath.Join("testdata", name+".eml")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and look at the diff); got\n%s", file, got)
	}
}

// A receiver tells a repeat by the Message-ID: only Date may differ between attempts.
func TestMessageIsTheSameForEveryAttempt(t *testing.T) {
	render := func(now time.Time) string {
		msg, _, err := sender(t).build(channeltest.Delivery(1), now)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := msg.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first, second := render(noon), render(noon.Add(time.Hour))
	if strings.Replace(first, "12:00:00", "13:00:00", 1) != second {
		t.Errorf("attempts differ in more than Date:\n%s\n%s", first, second)
	}
}

func TestUnsendable(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*schemas.Delivery)
		want   error
	}{
		"line break in the subject": {func(d *schemas.Delivery) { d.Message.Subject = "due\r\nBcc: x@example.com" }, errLineBreak},
		"line break in the name":    {func(d *schemas.Delivery) { d.To.Name = "Wang\nBcc: x@example.com" }, errLineBreak},
		"line break in the address": {func(d *schemas.Delivery) { d.To.Email = "wang@example.com\r\nRCPT TO:<x@example.com>" }, errLineBreak},
		"NUL in the subject":        {func(d *schemas.Delivery) { d.Message.Subject = "due\x00" }, errLineBreak},
		"no address":                {func(d *schemas.Delivery) { d.To.Email = "" }, errAddress},
		"no domain":                 {func(d *schemas.Delivery) { d.To.Email = "wang" }, errAddress},
		"two addresses":             {func(d *schemas.Delivery) { d.To.Email = "a@example.com, b@example.com" }, errAddress},
		"bad international domain":  {func(d *schemas.Delivery) { d.To.Email = "wang@例子-.com" }, errAddress},
		"no body":                   {func(d *schemas.Delivery) { d.Message.Text, d.Message.HTML = "", "" }, errEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			d := channeltest.Delivery(1)
			tt.change(d)
			s := sender(t)
			_, _, err := s.build(d, noon)
			if !errors.Is(err, tt.want) {
				t.Fatalf("build = %v, want %v", err, tt.want)
			}
			f := s.unbuilt(err)
			if f.Maybe || f.Line == "" || d.To.Email != "" && strings.Contains(f.Error(), d.To.Email) {
				t.Errorf("failure %+v", f)
			}
		})
	}
}

func TestInternationalDomain(t *testing.T) {
	a, err := parseAddress("王芳 <wang@例子.中国>")
	if err != nil || a.Address != "wang@xn--fsqu00a.xn--fiqs8s" || path(a) != "<wang@xn--fsqu00a.xn--fiqs8s>" {
		t.Errorf("parseAddress = %v, %v", a, err)
	}
	if a, err := parseAddress(`"wang fang"@example.com`); err != nil || path(a) != `<"wang fang"@example.com>` {
		t.Errorf("quoted local part: %v, %v", a, err)
	}
}
