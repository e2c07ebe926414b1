//go:build servers

package email

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/emersion/go-message/mail"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/schemas"
)

// These tests talk to Debian's Postfix, its smtp-sink and its python3-dkim, as processes of their own on high ports of
// loopback: `make test-servers`. They need root, since Postfix does, and fail where a program is missing.

const patience = 20 * time.Second

// freePort is a port of loopback that nobody has right now.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// publicDir is a directory that the servers' own users may enter; those of t.TempDir are root's alone.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "yizhan-servers-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// output is what a server wrote, shown when a test fails.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// daemon runs a server in a process group of its own until the test ends. It returns once port greets.
func daemon(t testing.TB, port int, greets bool, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: these tests need Debian's postfix, sasl2-bin, python3-dkim and python3-nacl", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), out.String())
		}
	})
	deadline := time.Now().Add(patience)
	for {
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", name, out.String())
		default:
		}
		c, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), time.Second)
		if err == nil {
			if !greets {
				_ = c.Close()
				return
			}
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			greeting := make([]byte, 4)
			_, err = io.ReadFull(c, greeting)
			_ = c.Close()
			if err == nil && string(greeting) == "220 " {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer on port %d: %v\n%s", name, port, err, out.String())
		}
		<-time.After(50 * time.Millisecond)
	}
}

var mainCF = template.Must(template.New("").Parse(`compatibility_level = 3.6
queue_directory = {{.}}/queue
data_directory = {{.}}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example.com
mydestination =
alias_maps =
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
virtual_mailbox_domains = example.com, xn--fsqu00a.com
virtual_mailbox_base = {{.}}/mail
virtual_mailbox_maps = inline:{ {wang.canary@example.com = wang/}, {wang@xn--fsqu00a.com = idn/}, {grey@example.com = grey/}, {policy@example.com = policy/} }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
message_size_limit = 20000
smtpd_tls_cert_file = {{.}}/cert.pem
smtpd_tls_key_file = {{.}}/key.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = example.com
smtpd_sasl_security_options = noanonymous
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_client_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{ {grey@example.com = 450 4.2.0 Greylisted, see http://postgrey.example.com}, {policy@example.com = 554 5.7.1 Rejected by policy} }
smtpd_reject_footer = help: call $recipient
`))

const masterCF = `127.0.0.1:%d inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
127.0.0.1:%d inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// postfix is a mail server that wants TLS and a login, and delivers example.com into maildirs.
type postfix struct {
	dir                string
	starttls, implicit int // ports
}

func startPostfix(t testing.TB) *postfix {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Postfix starts as root only")
	}
	p := &postfix{dir: publicDir(t), starttls: freePort(t), implicit: freePort(t)}
	conf := filepath.Join(p.dir, "conf")
	for _, d := range []string{"conf", "conf/sasl", "queue", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "", "chown", "postfix", filepath.Join(p.dir, "data"))
	run(t, "", "chown", "nobody", filepath.Join(p.dir, "mail"))
	var main bytes.Buffer
	if err := mainCF.Execute(&main, p.dir); err != nil {
		t.Fatal(err)
	}
	cert, ca := certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var chain bytes.Buffer
	for _, der := range cert.Certificate {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	write(t, conf, "main.cf", main.Bytes())
	write(t, conf, "master.cf", fmt.Appendf(nil, masterCF, p.starttls, p.implicit))
	write(t, p.dir, "cert.pem", chain.Bytes())
	write(t, p.dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	write(t, p.dir, "ca.pem", ca)
	// Debian's Postfix looks for it here, whatever cyrus_sasl_config_path says.
	write(t, filepath.Join(conf, "sasl"), "smtpd.conf", []byte("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: "+p.dir+"/sasldb2\nmech_list: PLAIN LOGIN CRAM-MD5\n"))
	run(t, password, "saslpasswd2", "-p", "-c", "-f", filepath.Join(p.dir, "sasldb2"), "-u", "example.com", "erp")
	run(t, "", "chown", "postfix", filepath.Join(p.dir, "sasldb2"))
	for _, f := range []string{"conf/main.cf", "conf/master.cf", "conf/sasl/smtpd.conf"} {
		if err := os.Chmod(filepath.Join(p.dir, f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	daemon(t, p.starttls, true, "/usr/sbin/postfix", "-c", conf, "start-fg")
	// start-fg puts itself into a new group: its own command ends it.
	t.Cleanup(func() { run(t, "", "/usr/sbin/postfix", "-c", conf, "stop") })
	return p
}

func run(t testing.TB, input, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, stdout.String(), stderr.String())
	}
	return stdout.Bytes()
}

func (p *postfix) open(t testing.TB, change func(*Config)) channels.Channel {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "password", []byte(password))
	write(t, dir, "wrong", []byte("wr0ng-Passw0rd"))
	c := Config{
		Host: "127.0.0.1", Port: p.starttls, TLS: "starttls", Username: "erp@example.com", PasswordFile: "password",
		CAFile: filepath.Join(p.dir, "ca.pem"), From: "ERP 通知 <erp@example.com>", HELO: "erp.example.com",
	}
	if change != nil {
		change(&c)
	}
	return openAs(t, dir, c)
}

func openAs(t testing.TB, dir string, c Config) channels.Channel {
	t.Helper()
	ch, err := New(channels.Env{Name: "test", Dir: dir, Log: zap.NewNop()}, func(into any) error { *into.(*Config) = c; return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	return ch
}

// readMail takes a mail apart with the library of the sandbox; text is its first part.
func readMail(t testing.TB, raw []byte) (m *mail.Reader, text string) {
	t.Helper()
	m, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	part, err := m.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(part.Body)
	if err != nil {
		t.Fatal(err)
	}
	return m, string(b)
}

// arrived waits for n mails in a maildir.
func (p *postfix) arrived(t testing.TB, box string, n int) [][]byte {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		files, _ := filepath.Glob(filepath.Join(p.dir, "mail", box, "new", "*"))
		if len(files) >= n {
			var mails [][]byte
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				mails = append(mails, b)
			}
			return mails
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d mails in %s, want %d", len(files), box, n)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A mail that Postfix took over TLS, with each login, lies in the maildir whole.
func TestPostfixDelivers(t *testing.T) {
	p := startPostfix(t)
	sent := 0
	for name, change := range map[string]func(*Config){
		"starttls, auto":  nil,
		"starttls, login": func(c *Config) { c.Auth = "login" },
		"starttls, cram":  func(c *Config) { c.Auth = "cram-md5" },
		"implicit, plain": func(c *Config) { c.Auth, c.TLS, c.Port = "plain", "implicit", p.implicit },
	} {
		ch := p.open(t, change)
		for range 2 { // the second over the kept connection
			sent++
			r, err := ch.Send(t.Context(), channeltest.Delivery(sent))
			if err != nil || r.ID == "" {
				t.Fatalf("%s: %+v, %v", name, r, err)
			}
		}
	}
	ids := map[string]bool{}
	for _, raw := range p.arrived(t, "wang", sent) {
		m, text := readMail(t, raw)
		subject, _ := m.Header.Subject()
		if subject != channeltest.Delivery(1).Message.Subject || text != channeltest.Delivery(1).Message.Text {
			t.Errorf("subject %q, text %q", subject, text)
		}
		ids[m.Header.Get("Message-ID")] = true
	}
	for n := 1; n <= sent; n++ {
		if id := "<" + channeltest.Delivery(n).ID + "@example.com>"; !ids[id] {
			t.Errorf("%s did not arrive", id)
		}
	}
}

// What Postfix refuses is told as what it is, and the explanations agree.
func TestPostfixRefuses(t *testing.T) {
	p := startPostfix(t)
	to := func(address string) func(*schemas.Delivery) {
		return func(d *schemas.Delivery) { d.To.Email = address }
	}
	for _, tt := range []struct {
		name    string
		setting func(*Config)
		change  func(*schemas.Delivery)
		code    string
		class   channels.Class
	}{
		{"wrong password", func(c *Config) { c.PasswordFile = "wrong" }, nil, "535 5.7.8", channels.Auth},
		{"wrong password, CRAM-MD5", func(c *Config) { c.PasswordFile, c.Auth = "wrong", "cram-md5" }, nil, "535 5.7.8", channels.Auth},
		{"no login", func(c *Config) { c.Username, c.PasswordFile = "", "" }, nil, "554 5.7.1", channels.Config},
		{"unknown recipient", nil, to("nobody@example.com"), "550 5.1.1", channels.BadTarget},
		{"not a domain of its own", nil, to("a@elsewhere.example.net"), "554 5.7.1", channels.BadTarget},
		{"greylisted", nil, to("grey@example.com"), "450 4.2.0", channels.Temporary},
		{"policy", nil, to("policy@example.com"), "554 5.7.1", channels.BadTarget},
		{"too large", nil, func(d *schemas.Delivery) { d.Message.Text = strings.Repeat("0123456789\n", 5000) }, "552 5.3.4", channels.Content},
		{"an untrusted certificate", func(c *Config) { c.CAFile = "" }, nil, "net:tls", channels.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := p.open(t, tt.setting)
			d := channeltest.Delivery(1)
			if tt.change != nil {
				tt.change(d)
			}
			_, err := ch.Send(t.Context(), d)
			f := failure(t, err)
			said := explain.Default().Explain(f)
			if f.Code != tt.code || said.Class != tt.class || f.Maybe {
				t.Errorf("got %q, class %q, explained as %q; want %q %q: %s", f.Code, f.Class, said.Class, tt.code, tt.class, f.Line)
			}
			if strings.Contains(err.Error(), d.To.Email) || strings.Contains(err.Error(), "Passw0rd") {
				t.Errorf("shown: %v", err)
			}
			if tt.setting == nil { // the connection lives on
				if _, err := ch.Send(t.Context(), channeltest.Delivery(2)); err != nil {
					t.Errorf("the next mail: %v", err)
				}
			}
		})
	}
}

// startSink runs smtp-sink; dump is where it writes each mail, "" for nowhere.
func startSink(t testing.TB, dump string, flags ...string) (port int) {
	t.Helper()
	port = freePort(t)
	args := append([]string{"-u", "postfix"}, flags...)
	if dump != "" {
		run(t, "", "chown", "postfix", dump)
		args = append(args, "-d", filepath.Join(dump, "mail."))
	}
	daemon(t, port, false, "/usr/sbin/smtp-sink", append(args, fmt.Sprint("127.0.0.1:", port), "256")...)
	return port
}

func openSink(t testing.TB, port int, change func(*Config)) channels.Channel {
	t.Helper()
	dir := t.TempDir()
	c := Config{Host: "127.0.0.1", Port: port, TLS: "none", From: "ERP 通知 <erp@example.com>", HELO: "erp.example.com"}
	if change != nil {
		change(&c)
	}
	return openAs(t, dir, c)
}

// What smtp-sink captured is the mail byte for byte, with and without pipelining, lines of dots included.
func TestSinkGetsTheMailWhole(t *testing.T) {
	for name, flags := range map[string][]string{"together": nil, "one by one": {"-p"}, "no ESMTP": {"-e"}} {
		dump := publicDir(t)
		ch := openSink(t, startSink(t, dump, flags...), nil)
		d := channeltest.Delivery(1)
		d.Message.Text, d.Message.HTML = ".\n..\n.a line\nend\n.", ""
		if _, err := ch.Send(t.Context(), d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files, err := filepath.Glob(filepath.Join(dump, "mail.*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", name, files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		_, text := readMail(t, b)
		if got := strings.ReplaceAll(text, "\r\n", "\n"); strings.TrimRight(got, "\n") != d.Message.Text {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A refusal, a lost connection and a server that says nothing, at each step. smtp-sink rejects and delays rightly only
// where it takes one command at a time; connections it also drops in the middle of several.
func TestSinkFailures(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		code  string
		class channels.Class
		maybe bool
	}{
		{[]string{"-f", "CONNECT", "-B", "554 5.7.1 Blocked"}, "554 5.7.1", channels.Config, false},
		{[]string{"-f", "MAIL", "-B", "550 5.7.60 Not your address"}, "550 5.7.60", channels.Config, false},
		{[]string{"-f", "RCPT", "-B", "550 5.1.1 Unknown"}, "550 5.1.1", channels.BadTarget, false},
		{[]string{"-f", "DATA", "-B", "554 5.7.1 No"}, "554 5.7.1", channels.Permanent, false},
		{[]string{"-f", ".", "-B", "554 5.6.0 Bad content"}, "554 5.6.0", channels.Content, false},
		{[]string{"-r", "MAIL", "-b", "451 4.3.0 Later"}, "451 4.3.0", channels.Temporary, false},
		{[]string{"-r", "RCPT", "-b", "450 4.2.0 Greylisted"}, "450 4.2.0", channels.Temporary, false},
		{[]string{"-r", "DATA", "-b", "451 4.3.0 Later"}, "451 4.3.0", channels.Temporary, false},
		{[]string{"-r", ".", "-b", "452 4.3.1 Queue full"}, "452 4.3.1", channels.Temporary, false},
		{[]string{"-q", "CONNECT"}, "net:eof-greeting", channels.Temporary, false},
		{[]string{"-q", "MAIL"}, "net:reset", channels.Temporary, false},
		{[]string{"-q", "RCPT"}, "net:reset", channels.Temporary, false},
		{[]string{"-q", "DATA"}, "net:reset", channels.Temporary, false},
		{[]string{"-q", "."}, "net:eof-after-data", channels.Unknown, true},
		{[]string{"-Q", "MAIL"}, "421 4.0.0", channels.Temporary, false},
		{[]string{"-Q", "."}, "421 4.0.0", channels.Temporary, false},
		{[]string{"-W", "MAIL:30"}, "net:timeout-response", channels.Temporary, false},
		{[]string{"-W", "RCPT:30"}, "net:timeout-response", channels.Temporary, false},
		{[]string{"-W", "DATA:30"}, "net:timeout-response", channels.Temporary, false},
		{[]string{"-W", ".:30"}, "net:timeout-after-data", channels.Unknown, true},
	} {
		for _, more := range []string{"-p", "-F"} { // -F changes nothing that we use
			flags := append(append([]string(nil), tt.flags...), more)
			if more == "-F" && !strings.EqualFold(tt.flags[0], "-q") {
				continue
			}
			t.Run(strings.Join(flags, " "), func(t *testing.T) {
				t.Parallel()
				port := startSink(t, "", flags...)
				ch := openSink(t, port, nil)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if tt.flags[0] == "-W" {
					ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
				}
				defer cancel()
				begun := time.Now()
				_, err := ch.Send(ctx, channeltest.Delivery(1))
				if took := time.Since(begun); tt.flags[0] == "-W" && took > 10*time.Second {
					t.Errorf("took %v with a limit of 2 s", took)
				}
				f := failure(t, err)
				if f.Code != tt.code || f.Class != tt.class || f.Maybe != tt.maybe {
					t.Errorf("got %q %q maybe %v (%s), want %q %q maybe %v", f.Code, f.Class, f.Maybe, f.Line, tt.code, tt.class, tt.maybe)
				}
			})
		}
	}
}

// After the 250 the mail is delivered, whatever becomes of the connection.
func TestSinkAfterTheMail(t *testing.T) {
	for _, flags := range [][]string{{"-f", "RSET"}, {"-q", "RSET"}, {"-q", "QUIT"}, {"-f", "QUIT"}} {
		ch := openSink(t, startSink(t, "", flags...), nil)
		if _, err := ch.Send(t.Context(), channeltest.Delivery(1)); err != nil {
			t.Errorf("%v: %v", flags, err)
		}
		if err := ch.Close(); err != nil {
			t.Errorf("%v: Close: %v", flags, err)
		}
	}
}

// Postfix leaves the signature whole, and an implementation of other people (dkimpy) finds it good.
func TestDKIMThroughPostfix(t *testing.T) {
	p := startPostfix(t)
	dir := t.TempDir()
	write(t, dir, "password", []byte(password))
	write(t, dir, "links", []byte(linkSecret))
	for _, kind := range []string{"rsa", "ed25519"} {
		key, record := keyPair(t, kind)
		write(t, dir, kind+".pem", key)
		ch := p.open(t, func(c *Config) {
			c.DKIM = &DKIM{Domain: "example.com", Selector: "yz2026", KeyFile: filepath.Join(dir, kind+".pem")}
			c.Unsubscribe = &Unsubscribe{URL: "https://notify.example.com/v1/unsubscribe/{token}", SecretFile: filepath.Join(dir, "links")}
		})
		d := promotion(1)
		d.To.Email = map[string]string{"rsa": "wang.canary@example.com", "ed25519": "wang@例子.com"}[kind]
		if _, err := ch.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		raw := p.arrived(t, map[string]string{"rsa": "wang", "ed25519": "idn"}[kind], 1)[0]
		if err := verify(t, bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")), record); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		const check = `import dkim, sys
record = sys.argv[1].encode()
print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: record if name == b"yz2026._domainkey.example.com." else None))`
		if got := string(run(t, string(raw), "/usr/bin/python3", "-c", check, record)); got != "True\n" {
			t.Errorf("%s: dkimpy says %s\n%s", kind, got, raw)
		}
	}
}
