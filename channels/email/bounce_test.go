package email

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// bouncedID is the delivery that the mails in testdata/bounces are about.
const bouncedID = "aaaaaaaaaaaaabbbbbbbbbbbbbbbb"

func bouncing(t testing.TB) *channel {
	t.Helper()
	return &channel{settings: &settings{
		Config: Config{Host: "smtp.example.com"}, from: &mail.Address{Address: "erp@Example.com"}, provider: "generic", log: zap.NewNop(),
	}}
}

func TestBouncesAreRead(t *testing.T) {
	want := map[string]string{
		"postfix-failed.eml":    "undelivered 550 5.1.1 recipient qq",
		"postfix-delayed.eml":   "note 4.4.1 temporary generic",
		"delivered.eml":         "delivered",
		"relayed.eml":           "nothing",
		"headers-only.eml":      "undelivered 552 5.2.2 recipient generic",
		"no-diagnostic.eml":     "undelivered 5.7.1 permanent generic",
		"exchange-base64.eml":   "undelivered 550 5.1.10 recipient generic",
		"foreign.eml":           "undelivered of somebody else",
		"other-domain.eml":      "undelivered of somebody else",
		"words-attached.eml":    "undelivered 550 recipient generic",
		"words-html.eml":        "undelivered bounce permanent generic",
		"words-delay.eml":       "note 451 4.4.1 temporary generic",
		"vacation.eml":          "nothing", // an absence note is no bounce, whatever it says
		"answer.eml":            "nothing",
		"postmaster-person.eml": "nothing",
	}
	files, err := filepath.Glob("testdata/bounces/*.eml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %d expected: %v", len(files), len(want), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		reports, _, err := bouncing(t).Reports(nil, raw)
		if err != nil || len(reports) > 1 {
			t.Errorf("%s: %d reports, %v", f, len(reports), err)
		}
		got := "nothing"
		for _, r := range reports {
			got = string(r.State)
			if r.State == "" {
				got = "note"
			}
			switch {
			case r.DeliveryID == "":
				got += " of somebody else"
			case r.DeliveryID != bouncedID:
				t.Errorf("%s: delivery %q", f, r.DeliveryID)
			case r.Failure != nil:
				got += fmt.Sprintf(" %s %s %s", r.Failure.Code, r.Failure.Class, r.Failure.Provider)
				if strings.Contains(r.Failure.Line, "wang@") {
					t.Errorf("%s: the address is not masked: %s", f, r.Failure.Line)
				}
			}
		}
		if got != want[filepath.Base(f)] {
			t.Errorf("%s: %s, want %s", f, got, want[filepath.Base(f)])
		}
	}
}

func TestABounceTellsWhenAndInWhoseWords(t *testing.T) {
	raw, err := os.ReadFile("testdata/bounces/postfix-failed.eml")
	if err != nil {
		t.Fatal(err)
	}
	reports, err := bouncing(t).readBounce(raw)
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	if at := reports[0].At; !at.Equal(time.Date(2026, 11, 25, 2, 11, 11, 0, time.UTC)) {
		t.Errorf("at %v", at)
	}
	if line := reports[0].Failure.Line; !strings.Contains(line, "Recipient address rejected: User unknown") {
		t.Errorf("line %q", line)
	}
	if _, err := bouncing(t).readBounce([]byte("no mail at all")); !errors.Is(err, errNoMail) {
		t.Errorf("a text is taken for a mail: %v", err)
	}
}

// The mail that we send is the one that we recognise.
func TestTheMessageIDThatIsSentIsRecognised(t *testing.T) {
	for _, from := range []string{"erp@Example.com", "erp@factory@example.com"} { // the latter is "erp@factory"@example.com on the wire
		c := bouncing(t)
		c.from.Address = from
		d := &schemas.Delivery{ID: bouncedID, To: schemas.Recipient{Email: "wang@example.net"}, Message: schemas.Message{Text: "x"}}
		msg, _, err := c.build(d, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := msg.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if got := c.ownID([]byte(b.String())); got != bouncedID {
			t.Errorf("found %q in\n%s", got, b.String())
		}
	}
}

func TestAFolderOfBouncesIsReadAndCleared(t *testing.T) {
	failed, err := os.ReadFile("testdata/bounces/postfix-failed.eml")
	if err != nil {
		t.Fatal(err)
	}
	for name, layout := range map[string]struct{ folder, file, after string }{
		"maildir": {"new", "1764036671.V1.host", "cur/1764036671.V1.host:2,S"},
		"eml":     {".", "one.eml", "cur/one.eml"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(file string, b []byte) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(layout.folder+"/"+layout.file, failed)
			put(layout.folder+"/."+layout.file, failed) // being written
			put(layout.folder+"/junk.eml", []byte("\x00\x01"))
			secret := filepath.Join(t.TempDir(), "secret.eml")
			if err := os.WriteFile(secret, failed, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(secret, filepath.Join(dir, layout.folder, "link.eml")); err != nil {
				t.Fatal(err)
			}
			c := bouncing(t)
			c.Bounces.Maildir = dir
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				var (
					mu   sync.Mutex
					got  []string
					down = true
				)
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.Collect(ctx, func(_ context.Context, rs []channels.Report) error {
						mu.Lock()
						defer mu.Unlock()
						if down {
							return errors.New("the broker is away")
						}
						for _, r := range rs {
							got = append(got, r.DeliveryID)
						}
						return nil
					})
				}()
				time.Sleep(time.Second)
				mu.Lock()
				if _, err := os.Stat(filepath.Join(dir, layout.folder, layout.file)); err != nil || len(got) != 0 {
					t.Errorf("what could not be stored is gone: %v, %v", got, err)
				}
				down = false
				mu.Unlock()
				time.Sleep(10 * bounceEvery)
				cancel()
				<-done
				if !slices.Equal(got, []string{bouncedID}) {
					t.Errorf("reported %v", got)
				}
			})
			if _, err := os.Stat(filepath.Join(dir, layout.after)); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, layout.folder, "link.eml")); err != nil {
				t.Error("a link was followed")
			}
			left, err := os.ReadDir(filepath.Join(dir, layout.folder))
			for _, e := range left {
				if n := e.Name(); n == layout.file || n == "junk.eml" {
					t.Errorf("%s is still there, %v", n, err)
				}
			}
		})
	}
}

func TestBounceSettings(t *testing.T) {
	t.Setenv("YIZHAN_TEST_TOKEN", "c0ffee00c0ffee00c0ffee00")
	for yaml, want := range map[string]string{
		"{host: a, from: a@example.com, bounces: {maildir: absent}}":               "bounces/maildir",
		"{host: a, from: a@example.com, receipts: {poll: true}}":                   "receipts/poll",
		"{host: a, from: a@example.com, receipts: {networks: [10.0.0.0/8]}}":       "receipts/token_file",
		"{host: a, from: a@example.com, receipts: {token_env: YIZHAN_TEST_TOKEN}}": "",
	} {
		_, err := settleYAML(t, yaml)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "/"+want) {
			t.Errorf("%s: %v, want %s", yaml, err, want)
		}
	}
}

func FuzzReadBounce(f *testing.F) {
	files, err := filepath.Glob("testdata/bounces/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	c := bouncing(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		reports, err := c.readBounce(raw)
		for _, r := range reports {
			switch {
			case err != nil:
				t.Error("reports with an error")
			case r.DeliveryID != "" && schemas.IDToken(r.DeliveryID) == "":
				t.Errorf("%q is no delivery id", r.DeliveryID)
			case r.State != schemas.Delivered && (r.Failure == nil || r.Failure.Code == "" || r.Failure.Class == ""):
				t.Errorf("%q without a reason", r.State)
			case r.Failure != nil && len(r.Failure.Line) > 1024:
				t.Errorf("a line of %d bytes", len(r.Failure.Line))
			}
		}
	})
}
