package main

import (
	"bufio"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
)

// authority signs the certificates of a test's servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example CA"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a certificate for a name, or an address, that ends after the given time, which may be past.
func (a *authority) sign(t *testing.T, name string, until time.Duration) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(0, -6, 0), NotAfter: time.Now().Add(until), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// mailServer is a small mail server: one that is right in all but what a test wants wrong.
type mailServer struct {
	tls        *tls.Config
	implicit   bool
	noStartTLS bool
	greeting   string // after "220 "
	refuse     map[string]string
	mu         sync.Mutex
	mails      int
}

const mailPassword = "right-horse"

func (m *mailServer) start(t *testing.T) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				if m.implicit {
					c = tls.Server(c, m.tls)
				}
				m.talk(c, m.implicit, "220 "+cmp.Or(m.greeting, "mail.example.com ESMTP"))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().(*net.TCPAddr).Port
}

// talk is the dialogue; after STARTTLS it begins without a greeting.
func (m *mailServer) talk(c net.Conn, secure bool, greeting string) {
	in := bufio.NewScanner(c)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(c, format+"\r\n", args...) }
	if greeting != "" {
		say("%s", greeting)
	}
	for in.Scan() {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		verb = strings.ToUpper(verb)
		if said := m.refuse[verb]; said != "" {
			say("%s", said)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-mail.example.com")
			if !secure && !m.noStartTLS && m.tls != nil {
				say("250-STARTTLS")
			}
			if secure {
				say("250-AUTH PLAIN LOGIN")
			}
			say("250-SIZE 52428800\r\n250-8BITMIME\r\n250 SMTPUTF8")
		case "STARTTLS":
			say("220 go on")
			t := tls.Server(c, m.tls)
			if t.Handshake() != nil {
				return
			}
			m.talk(t, true, "")
			return
		case "AUTH":
			_, token, _ := strings.Cut(rest, " ")
			b, _ := base64.StdEncoding.DecodeString(token)
			if !strings.HasSuffix(string(b), "\x00"+mailPassword) {
				say("535 5.7.8 Error: authentication failed")
				continue
			}
			say("235 2.7.0 Authentication successful")
		case "DATA":
			say("354 go on")
			for in.Scan() && in.Text() != "." {
			}
			m.mu.Lock()
			m.mails++
			m.mu.Unlock()
			say("250 2.0.0 Ok: queued as 4F2A91")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// filtered is a port whose connections are never answered: its queue is full and nobody empties it.
func filtered(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := at.(*syscall.SockaddrInet4).Port
	for range 16 { // until a connection is not answered
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 200*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the port answers every connection")
	return 0
}

// goodZone is what the domain of a company that sends mail says in DNS.
func goodZone() channeltest.Zone {
	return channeltest.Zone{
		"mail.example.com":                 {"A 127.0.0.1"},
		"hook.example.com":                 {"A 127.0.0.1"},
		"example.com":                      {"MX mx1.example.com", "TXT v=spf1 ip4:203.0.113.7 include:_spf.example.net -all", "A 127.0.0.1"},
		"_spf.example.net":                 {"TXT v=spf1 ip4:198.51.100.0/24 -all"},
		"selector1._domainkey.example.com": {"TXT v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"},
		"_dmarc.example.com":               {"TXT v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"},
	}
}

// clinic is a folder with a configuration, and a name server.
type clinic struct {
	dir string
	ca  *authority
	dns *channeltest.DNS
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	serve(t) // the defaults of the program, away from this machine's
	c := &clinic{dir: t.TempDir(), ca: newAuthority(t), dns: channeltest.StartDNS(t, goodZone())}
	c.write(t, "ca.pem", string(c.ca.pem))
	c.write(t, "password", mailPassword+"\n")
	c.write(t, "wrong", "wrong-horse\n")
	c.write(t, "key", "test-key")
	c.write(t, "secret", "test-secret")
	c.write(t, "whsec", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	c.write(t, "rules.yaml", `
routes: []
templates:
  invoice-due: {sms: {code: SMS_100001, params: [customer], text: "${customer} 的账单已到期。", }}
`)
	return c
}

func (c *clinic) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config writes yizhan.yaml with one channel.
func (c *clinic) config(t *testing.T, name, section string) {
	t.Helper()
	c.write(t, "yizhan.yaml", "channels:\n  "+name+": {"+section+"}\n")
}

var (
	certDate  = regexp.MustCompile(`\d{4}-\d\d-\d\d \(|\d{4}-\d\d-\d\d（`)
	certTimes = regexp.MustCompile(`current time \S+ is after \S+`)
	testPort  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	skewWords = regexp.MustCompile(`(19m5\ds|20m\ds|20m\b)`)
)

// same takes what differs from run to run out of a transcript.
func (c *clinic) same(s string) string {
	s = strings.NewReplacer(c.dns.Addr(), "DNS", c.dir+"/", "").Replace(s)
	s = certTimes.ReplaceAllString(s, "current time NOW is after THEN")
	s = certDate.ReplaceAllStringFunc(s, func(d string) string { return "DATE" + strings.TrimLeft(d, "0123456789-") })
	s = skewWords.ReplaceAllString(s, "20m")
	return testPort.ReplaceAllString(s, "127.0.0.1:PORT")
}

func (c *clinic) examine(t *testing.T, args ...string) result {
	t.Helper()
	return yizhan(t, "", append([]string{"doctor", "-c", filepath.Join(c.dir, "yizhan.yaml"), "--dns", c.dns.Addr(), "--step-timeout", "2s"}, args...)...)
}

const days100 = 100*24*time.Hour + time.Hour

// The transcripts that people are shown in docs/doctor.md.
func TestDoctorTranscripts(t *testing.T) {
	mail := "kind: email, host: mail.example.com, port: %d, tls: starttls, ca_file: ca.pem, username: erp@example.com, password_file: password, from: \"ERP <erp@example.com>\", helo: erp.example.com"
	tests := []struct {
		name, channel string
		code          int
		set           func(t *testing.T, c *clinic)
		want          string // a step that must end so, "level id"
	}{
		{"mail-good", "mail", exitOK, func(t *testing.T, c *clinic) {
			s := &mailServer{tls: c.ca.sign(t, "mail.example.com", days100)}
			c.config(t, "mail", fmt.Sprintf(mail, s.start(t)))
		}, "ok auth"},
		{"mail-wrong-password", "mail", exitProblem, func(t *testing.T, c *clinic) {
			s := &mailServer{tls: c.ca.sign(t, "mail.example.com", days100)}
			c.config(t, "mail", strings.Replace(fmt.Sprintf(mail, s.start(t)), "password_file: password", "password_file: wrong", 1))
		}, "fail auth"},
		{"mail-expired-certificate", "mail", exitProblem, func(t *testing.T, c *clinic) {
			s := &mailServer{tls: c.ca.sign(t, "mail.example.com", -10*24*time.Hour-time.Hour)}
			c.config(t, "mail", fmt.Sprintf(mail, s.start(t)))
		}, "fail tls"},
		{"mail-wrong-host-name", "mail", exitProblem, func(t *testing.T, c *clinic) {
			s := &mailServer{implicit: true, tls: c.ca.sign(t, "smtp.other.example", days100)}
			c.config(t, "mail", strings.Replace(fmt.Sprintf(mail, s.start(t)), "starttls", "implicit", 1))
		}, "fail tls"},
		{"mail-no-starttls", "mail", exitProblem, func(t *testing.T, c *clinic) {
			s := &mailServer{noStartTLS: true}
			c.config(t, "mail", fmt.Sprintf(mail, s.start(t)))
		}, "fail tls"},
		{"mail-refused-port", "mail", exitProblem, func(t *testing.T, c *clinic) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := ln.Addr().(*net.TCPAddr).Port
			ln.Close()
			c.config(t, "mail", fmt.Sprintf(mail, port))
		}, "fail tcp"},
		{"mail-filtered-port", "mail", exitProblem, func(t *testing.T, c *clinic) {
			c.config(t, "mail", fmt.Sprintf(mail, filtered(t)))
		}, "fail tcp"},
		{"mail-no-spf", "mail", exitProblem, func(t *testing.T, c *clinic) {
			s := &mailServer{implicit: true, tls: c.ca.sign(t, "mail.example.com", days100)}
			c.config(t, "mail", strings.Replace(fmt.Sprintf(mail, s.start(t)), "starttls", "implicit", 1))
			c.dns.Set("example.com", "MX mx1.example.com")
			c.dns.Set("selector1._domainkey.example.com")
		}, "fail dns.spf"},
		{"mail-clock", "mail", exitOK, func(t *testing.T, c *clinic) {
			at := time.Now().Add(20 * time.Minute).UTC().Format(time.RFC1123Z)
			s := &mailServer{tls: c.ca.sign(t, "mail.example.com", 10*24*time.Hour+time.Hour), greeting: "MAIL.EXAMPLE.COM Microsoft ESMTP MAIL Service ready at " + at}
			c.config(t, "mail", fmt.Sprintf(mail, s.start(t)))
		}, "warn clock"},
		{"sms-good", "sms", exitOK, func(t *testing.T, c *clinic) { c.sms(t, "华星科技") }, "ok signature"},
		{"sms-unapproved-signature", "sms", exitProblem, func(t *testing.T, c *clinic) { c.sms(t, "华星未通过") }, "fail signature"},
		{"webhook-clock", "partner", exitProblem, func(t *testing.T, c *clinic) {
			c.webhook(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(-20*time.Minute).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusMethodNotAllowed)
			})
		}, "fail clock"},
		{"webhook-redirect", "partner", exitProblem, func(t *testing.T, c *clinic) {
			c.webhook(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
			})
		}, "fail http"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClinic(t)
			tt.set(t, c)
			for _, l := range []string{"zh", "en"} {
				r := c.examine(t, tt.channel, "--lang", l)
				if r.code != tt.code {
					t.Errorf("exit %d, want %d: %s", r.code, tt.code, r.err)
				}
				shown := transcript(r, []string{"doctor", tt.channel})
				if strings.Contains(shown, mailPassword) || strings.Contains(shown, "wrong-horse") {
					t.Error("the password is shown")
				}
				goldenText(t, "doctor-"+tt.name+"-"+l, c.same(shown))
			}
			var out struct {
				Channels []examined `json:"channels"`
			}
			r := c.examine(t, tt.channel, "-o", "json")
			if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out.Channels) != 1 {
				t.Fatalf("%v: %s", err, r.out)
			}
			var have []string
			for _, s := range out.Channels[0].Steps {
				have = append(have, string(s.Level)+" "+s.ID)
				if (s.Level == "fail" || s.Level == "warn") && (s.Cause.Zh == "" || s.Cause.En == "" || s.Remedy.Zh == "" || s.Remedy.En == "" || s.Owner == "") {
					t.Errorf("%s is not explained: %+v", s.ID, s)
				}
			}
			if !strings.Contains(","+strings.Join(have, ",")+",", ","+tt.want+",") {
				t.Errorf("steps %v, want %s", have, tt.want)
			}
		})
	}
}

func (c *clinic) sms(t *testing.T, signature string) {
	t.Helper()
	s, err := sandbox.StartSMS(sandbox.SMSConfig{AccessKeyID: "test-key", AccessKeySecret: "test-secret"}, func(sandbox.Item) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c.config(t, "sms", "kind: sms, provider: aliyun, signature: "+signature+", endpoint: \""+s.URL()+"\", access_key_id_file: key, access_key_secret_file: secret")
}

func (c *clinic) webhook(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = c.ca.sign(t, "hook.example.com", days100)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c.config(t, "partner", "kind: webhook, url: \"https://hook.example.com:"+port+"/secret-path\", secret_file: whsec, ca_file: ca.pem, allow_private: true")
}

// Only --send-to sends, once, and says what became of it.
func TestDoctorSends(t *testing.T) {
	c := newClinic(t)
	// The channel itself resolves as this machine does, so the address stands in the configuration.
	s := &mailServer{implicit: true, tls: c.ca.sign(t, "127.0.0.1", days100)}
	mails := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.mails
	}
	c.config(t, "mail", fmt.Sprintf("kind: email, host: 127.0.0.1, port: %d, ca_file: ca.pem, username: erp@example.com, password_file: password, from: erp@example.com", s.start(t)))
	if r := c.examine(t, "mail"); r.code != exitOK || mails() != 0 {
		t.Errorf("exit %d, %d mails\n%s", r.code, mails(), r.out)
	}
	r := c.examine(t, "mail", "--send-to", "li@example.com")
	if r.code != exitOK || mails() != 1 || !strings.Contains(r.out, "to l***@example.com: accepted by the third party, its id 4F2A91") {
		t.Errorf("exit %d, %d mails\n%s%s", r.code, mails(), r.out, r.err)
	}
	s.refuse = map[string]string{"RCPT": "550 5.1.1 no such user"}
	if r = c.examine(t, "mail", "--send-to", "li@example.com"); r.code != exitProblem || !strings.Contains(r.out, "550 5.1.1 no such user") {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}

func TestDoctorSendsTemplatesAndToWebhooks(t *testing.T) {
	c := newClinic(t)
	var got []sandbox.Item
	var mu sync.Mutex
	s, err := sandbox.StartSMS(sandbox.SMSConfig{AccessKeyID: "test-key", AccessKeySecret: "test-secret"}, func(i sandbox.Item) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, i)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	posts := 0
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			posts++
		}
	}))
	t.Cleanup(hook.Close)
	c.write(t, "yizhan.yaml", "channels:\n  sms: {kind: sms, provider: aliyun, signature: 华星科技, endpoint: \""+s.URL()+"\", access_key_id_file: key, access_key_secret_file: secret}\n"+
		"  partner: {kind: webhook, url: \""+hook.URL+"/x\", secret_file: whsec, allow_private: true}\n")
	params := `{"customer":"华星"}`
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sms", "--send-to", "13800138000", "--template", "invoice-due", "--params", params}, exitOK, "to 138****8000: accepted"},
		{[]string{"partner", "--send-to", "partner"}, exitOK, "to partner: accepted"},
		{[]string{"sms", "--send-to", "13800138000"}, exitUsage, "an SMS needs a template that was filed"},
		{[]string{"sms", "--send-to", "13800138000", "--template", "nothing"}, exitUsage, `there is no template "nothing"`},
		{[]string{"sms", "--send-to", "li@example.com"}, exitUsage, `"li@example.com" is not a mobile number`},
		{[]string{"partner", "--send-to", "li@example.com"}, exitUsage, "give its own name, partner"},
		{[]string{"--send-to", "partner"}, exitUsage, "--send-to goes with one channel"},
		{[]string{"sms", "--template", "invoice-due"}, exitUsage, "--template and --params go with --send-to"},
		{[]string{"fax"}, exitUsage, `there is no channel "fax"; there are partner, sms`},
		{[]string{"sms", "--timeout", "0s"}, exitUsage, "must be more than 0"},
	} {
		if r := c.examine(t, tt.args...); r.code != tt.code || !strings.Contains(r.out+r.err, tt.want) {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", tt.args, r.code, tt.code, tt.want, r.out, r.err)
		}
	}
	mu.Lock()
	if len(got) != 1 || posts != 1 || got[0].To != "13800138000" {
		t.Errorf("%d SMS, %d posts, want one of each", len(got), posts)
	}
	mu.Unlock()
	// Without names, all channels.
	if r := c.examine(t, "-o", "json"); r.code != exitOK || !strings.Contains(r.out, `"channel": "partner"`) || !strings.Contains(r.out, `"channel": "sms"`) {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}

// A far side that takes the connection and says nothing ends each step, and all of them, in time.
func TestDoctorEndsInTime(t *testing.T) {
	c := newClinic(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	for _, mode := range []string{"implicit", "starttls"} {
		c.config(t, "mail", fmt.Sprintf("kind: email, host: mail.example.com, port: %d, tls: %s, from: erp@example.com", ln.Addr().(*net.TCPAddr).Port, mode))
		begun := time.Now()
		r := c.examine(t, "mail", "--step-timeout", "300ms", "--timeout", "10s")
		if took := time.Since(begun); r.code != exitProblem || took > 5*time.Second || !strings.Contains(r.out, "net:timeout-response") {
			t.Errorf("%s: exit %d after %s\n%s", mode, r.code, took, r.out)
		}
	}
	// The total is shorter than the steps: the rest is not looked at, and says so.
	for _, name := range []string{"mail.example.com", "example.com", "_dmarc.example.com"} {
		c.dns.Set(name, "DROP")
	}
	r := c.examine(t, "mail", "--step-timeout", "5s", "--timeout", "500ms")
	if r.code != exitProblem || !strings.Contains(r.out, "not looked at: the time for all steps is over") {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}

// The guard of a webhook holds here too.
func TestDoctorObeysTheGuard(t *testing.T) {
	c := newClinic(t)
	called := false
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c.config(t, "partner", "kind: webhook, url: \"https://hook.example.com:"+port+"/x\", secret_file: whsec")
	r := c.examine(t, "partner")
	if r.code != exitProblem || called || !strings.Contains(r.out, "dispatcher:blocked-") {
		t.Errorf("exit %d, called %v\n%s", r.code, called, r.out)
	}
}

// What the users' own rows say is said here too; a broken table stops no examination.
func TestDoctorExplainsByTheTableOfTheConfiguration(t *testing.T) {
	c := newClinic(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	c.write(t, "yizhan.yaml", "explain: own.csv\nchannels:\n  mail: {kind: email, host: mail.example.com, port: "+port+", from: erp@example.com}\n")
	for class, want := range map[string]string{"config": "Ask the network team", "no-class": "Check port (465/587)"} {
		c.write(t, "own.csv", strings.Join(explain.Header()[:9], ",")+"\nemail,transport,net:refused,"+class+",Our firewall,Ask the network team,防火墙,找网络组,us\n")
		if r := c.examine(t, "mail", "--lang", "en"); r.code != exitProblem || !strings.Contains(r.out, want) {
			t.Errorf("exit %d, without %q\n%s%s", r.code, want, r.out, r.err)
		}
	}
}

func TestDoctorOfNamesThatAreNot(t *testing.T) {
	c := newClinic(t)
	c.config(t, "mail", "kind: email, host: no-such.example.com, from: erp@no-such.example.com")
	r := c.examine(t, "mail")
	if r.code != exitProblem || !strings.Contains(r.out, "net:dns-nxdomain") || !strings.Contains(r.out, "has neither MX nor A record") {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}
