package email

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

func settleYAML(t *testing.T, text string) (*settings, error) {
	t.Helper()
	t.Setenv("YIZHAN_TEST_MAIL_PASSWORD", "s3cret-pw")
	var c Config
	if err := strictyaml.Decode([]byte(text), &c); err != nil {
		return nil, err
	}
	return c.settle(channels.Env{Dir: t.TempDir()})
}

func TestConfigDefaults(t *testing.T) {
	s, err := settleYAML(t, `{kind: email, host: smtp.exmail.qq.com, username: erp@example.com, password_env: YIZHAN_TEST_MAIL_PASSWORD,
  from: "ERP 通知 <erp@例子.com>", rate: 30/m}`)
	if err != nil {
		t.Fatal(err)
	}
	if s.addr != "smtp.exmail.qq.com:465" || s.tls == nil || s.tls.ServerName != s.Host || s.password != "s3cret-pw" {
		t.Errorf("addr %q, tls %v: want implicit TLS on 465 with the server's name checked", s.addr, s.tls)
	}
	if s.Slots != 4 || s.Connections != 4 || s.Timeout != 60*time.Second || s.Rate.Count != 30 || s.HELO == "" {
		t.Errorf("slots %d, connections %d, timeout %v, rate %v, helo %q", s.Slots, s.Connections, s.Timeout, s.Rate, s.HELO)
	}
	if s.from.Name != "ERP 通知" || s.from.Address != "erp@xn--fsqu00a.com" || s.provider != "qq" {
		t.Errorf("from %v, provider %q", s.from, s.provider)
	}
}

func TestConfigIsChecked(t *testing.T) {
	const login = "username: u, password_env: YIZHAN_TEST_MAIL_PASSWORD, "
	for _, tt := range []struct{ yaml, want string }{
		{"{host: relay.example.com, tls: starttls, from: a@example.com}", "relay.example.com:587"},
		{"{host: 127.0.0.1, tls: none, " + login + "from: a@example.com}", "127.0.0.1:25"},
		{"{host: relay.example.com, tls: none, insecure: true, from: a@example.com}", "relay.example.com:25"},
		{"{host: '::1', tls: none, from: a@example.com}", "[::1]:25"},
		{"{from: a@example.com}", "error: /host: "},
		{"{host: 'smtp://x', from: a@example.com}", "error: /host: "},
		{"{host: smtp.example.com:465, from: a@example.com}", "error: /host: "},
		{"{host: a, from: ''}", "error: /from: from is missing"},
		{"{host: a, from: nobody}", "error: /from: not a mail address"},
		{"{host: a, from: 通知@example.com}", "error: /from: not a mail address: the part before the @"},
		{"{host: a, from: a@example.com, reply_to: b}", "error: /reply_to: not a mail address"},
		{"{host: a, from: a@example.com, tls: opportunistic}", "error: /tls: "},
		{"{host: a, from: a@example.com, tls: opportunistic, port: 25}", "error: /tls: "},
		{"{host: a, from: a@example.com, port: 70000}", "error: /port: "},
		{"{host: a, from: a@example.com, auth: ntlm}", "error: /auth: "},
		{"{host: a, from: a@example.com, connections: 1000}", "error: /connections: "},
		{"{host: a, from: a@example.com, connections: -1}", "error: /connections: "},
		{"{host: a, from: a@example.com, slots: -1}", "error: /slots: "},
		{"{host: a, from: a@example.com, timeout: 11m}", "error: /timeout: "},
		{"{host: a, from: a@example.com, helo: 'a b'}", "error: /helo: "},
		{"{host: a, from: a@example.com, username: u}", "error: /username: username and password_file"},
		{"{host: a, from: a@example.com, password_env: YIZHAN_TEST_MAIL_PASSWORD}", "error: /username: username and password_file"},
		{"{host: a, from: a@example.com, username: u, password_file: absent}", "error: /password_file: secret"},
		{"{host: a, from: a@example.com, ca_file: absent}", "error: /ca_file: "},
		{"{host: a, from: a@example.com, tls: none}", "error: /tls: tls: none to another machine needs insecure"},
		{"{host: a, from: a@example.com, tls: none, insecure: true, " + login + "}", "error: /tls: tls: none would send the password in clear"},
		{"{host: a, from: a@example.com, password: inline}", "error: [1:"},
	} {
		s, err := settleYAML(t, tt.yaml)
		got := ""
		if err != nil {
			got = "error: " + err.Error()
			if bad, ok := errors.AsType[*schemas.Invalid](err); ok && (bad.Problems[0].Zh == "" || bad.Problems[0].En == "") {
				t.Errorf("%s: not in both languages: %+v", tt.yaml, bad.Problems)
			}
		} else {
			got = s.addr
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s\n got %s\nwant %s…", tt.yaml, got, tt.want)
		}
	}
}

func TestCAFileMustHoldACertificate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/ca.pem", []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Config{Host: "a", From: "a@example.com", CAFile: "ca.pem"}.settle(channels.Env{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
		t.Errorf("settle = %v", err)
	}
}

func TestProvider(t *testing.T) {
	for host, want := range map[string]string{
		"smtp.office365.com": "exchange", "smtp.partner.outlook.cn": "exchange", "contoso-com.mail.protection.outlook.com": "exchange",
		"smtp.gmail.com": "gmail", "smtp-relay.gmail.com": "gmail", "aspmx.l.google.com": "gmail",
		"smtp.qq.com": "qq", "SMTP.exmail.qq.com.": "qq", "smtp.163.com": "netease", "smtp.yeah.net": "netease",
		"smtpdm.aliyun.com": "aliyun-dm", "smtpdm-ap-southeast-1.aliyun.com": "aliyun-dm", "smtp.qiye.aliyun.com": "aliyun-qiye",
		"smtp.mxhichina.com": "aliyun-qiye", "mail.example.com": "generic", "notqq.com": "generic", "127.0.0.1": "generic",
	} {
		if got := provider(host); got != want {
			t.Errorf("provider(%q) = %q, want %q", host, got, want)
		}
	}
}
