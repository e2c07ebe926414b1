package main

import (
	"bytes"
	"mime"
	"net/mail"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher"
)

// newStudio is a clinic whose configuration has one channel of each kind.
func newStudio(t *testing.T) *clinic {
	t.Helper()
	c := newClinic(t)
	c.write(t, "yizhan.yaml", `
channels:
  mail: {kind: email, host: mail.example.com, username: erp@example.com, password_file: password, from: "ERP 通知 <erp@example.com>"}
  partner: {kind: webhook, url: "https://hook.example.com/secret-path?token=secret", secret_file: whsec}
  sms: {kind: sms, provider: aliyun, signature: 华星科技, access_key_id_file: key, access_key_secret_file: secret}
`)
	c.write(t, "rules.yaml", `
routes: []
guards:
  signature: {}
  parts: {price: 0.045}
  content: {}
templates:
  invoice-due:
    sms: {code: SMS_100001, params: [customer, amount], text: "${customer}，您有一笔 ${amount} 元的账单已到期，请及时付款。"}
    email:
      subject: "账单到期：{{.customer}}"
      text: "您好 {{.to.name}}：\n{{.customer}} 的账单 {{.amount}} 元已到期。"
      html: "<p>{{.customer}} 的账单 <b>{{.amount}}</b> 元已到期。</p>"
  loan:
    sms: {code: SMS_100002, text: "无抵押贷款，当天放款，点击 t.cn/x 领取额度"}
`)
	c.write(t, "params.json", `{"customer": "苏州华星", "amount": "12,300.00"}`)
	return c
}

var (
	mailDate = regexp.MustCompile(`\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`)
	anyTime  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z`)
)

func (c *clinic) preview(t *testing.T, args ...string) result {
	t.Helper()
	return yizhan(t, "", append([]string{"preview", "-c", filepath.Join(c.dir, "yizhan.yaml")}, args...)...)
}

func TestPreviewTranscripts(t *testing.T) {
	c := newStudio(t)
	params := filepath.Join(c.dir, "params.json")
	for _, tt := range []struct {
		name string
		code int
		args []string
	}{
		{"invoice", exitOK, []string{"invoice-due", "--params", params}},
		{"sms", exitOK, []string{"invoice-due", "--params", params, "--channel", "sms"}},
		{"blocked", exitProblem, []string{"loan", "--channel", "sms"}},
		{"missing", exitProblem, []string{"invoice-due", "--params", `{"customer":"x"}`, "--channel", "sms"}},
	} {
		for _, l := range []string{"zh", "en"} {
			r := c.preview(t, append(tt.args, "--lang", l)...)
			if r.code != tt.code {
				t.Errorf("%s: exit %d: %s", tt.name, r.code, r.err)
			}
			for _, secret := range []string{mailPassword, "test-secret", "secret-path", "token=secret", "MDEyMzQ1"} {
				if strings.Contains(r.out+r.err, secret) {
					t.Errorf("%s shows the secret %s", tt.name, secret)
				}
			}
			shown := strings.ReplaceAll(transcript(r, append([]string{"preview"}, tt.args...)), c.dir+"/", "")
			shown = anyTime.ReplaceAllString(mailDate.ReplaceAllString(shown, "DATE"), "TIME")
			goldenText(t, "preview-"+tt.name+"-"+l, shown)
		}
	}
}

// --raw is a mail that a mail program can open, byte for byte as -o json has it.
func TestPreviewRaw(t *testing.T) {
	c := newStudio(t)
	args := []string{"invoice-due", "--params", filepath.Join(c.dir, "params.json"), "--channel", "mail", "--to", "li@example.com", "--to-name", "李雷"}
	raw := c.preview(t, append(args, "--raw")...)
	m, err := mail.ReadMessage(strings.NewReader(raw.out))
	if err != nil || raw.code != exitOK {
		t.Fatalf("exit %d, %v, %s", raw.code, err, raw.err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	to, _ := m.Header.AddressList("To")
	if err != nil || subject != "账单到期：苏州华星" || len(to) != 1 || to[0].Address != "li@example.com" || to[0].Name != "李雷" {
		t.Errorf("%q to %v, %v", subject, to, err)
	}
	var out struct {
		Previews []dispatcher.Preview `json:"previews"`
	}
	r := c.preview(t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out.Previews) != 1 {
		t.Fatal(err, r.out)
	}
	same := func(s string) string { return mailDate.ReplaceAllString(s, "DATE") }
	if same(string(out.Previews[0].Wire.Body)) != same(raw.out) || !bytes.Contains(out.Previews[0].Wire.Body, []byte("\r\n")) {
		t.Error("--raw and -o json differ")
	}
}

// A robot without a text of the template is not among the channels that it goes over; asked for, it says why.
func TestPreviewLeavesOutRobotsWithoutText(t *testing.T) {
	c := newStudio(t)
	c.write(t, "yizhan.yaml", `
channels:
  mail: {kind: email, host: mail.example.com, username: erp@example.com, password_file: password, from: "ERP <erp@example.com>"}
  ops: {kind: webhook, format: slack, url: "https://hooks.slack.com/services/x"}
`)
	args := []string{"invoice-due", "--params", filepath.Join(c.dir, "params.json"), "--lang", "zh"}
	if r := c.preview(t, args...); r.code != exitOK || strings.Contains(r.out, "ops") || !strings.Contains(r.out, "通道 mail") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if r := c.preview(t, append(args, "--channel", "ops")...); r.code != exitProblem || !strings.Contains(r.out, "无法生成：模板没有适用于该通道的内容") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestPreviewUsage(t *testing.T) {
	c := newStudio(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{}, exitUsage, "missing the name of a template"},
		{[]string{"nothing"}, exitProblem, `there is no template "nothing"`},
		{[]string{"loan", "--channel", "fax"}, exitUsage, `there is no channel "fax"; there are mail, partner, sms`},
		{[]string{"loan", "--raw"}, exitUsage, "--raw needs --channel"},
		{[]string{"loan", "--category", "spam"}, exitUsage, "--category must be one of"},
		{[]string{"loan", "--params", "[1]"}, exitUsage, "cannot open"},
		{[]string{"loan", "--params", "{1}"}, exitUsage, "--params must be a JSON object"},
		{[]string{"loan", "--to", "12"}, exitUsage, `"12" is not a mobile number`},
		{[]string{"loan", "--to", "a@b@c"}, exitUsage, `"a@b@c" is not a mail address`},
		{[]string{"loan", "-c", "no-such.yaml"}, exitUsage, "there is no configuration file"},
	} {
		if r := c.preview(t, tt.args...); r.code != tt.code || !strings.Contains(r.err, tt.want) {
			t.Errorf("%v: exit %d, %s; want %d, %s", tt.args, r.code, r.err, tt.code, tt.want)
		}
	}
}

// The shell offers channels and templates.
func TestCompletionKnowsChannelsAndTemplates(t *testing.T) {
	c := newStudio(t)
	file := filepath.Join(c.dir, "yizhan.yaml")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"doctor", "-c", file, ""}, "mail\npartner\nsms\n"},
		{[]string{"doctor", "-c", file, "mail", ""}, "partner\nsms\n"},
		{[]string{"preview", "-c", file, ""}, "invoice-due\nloan\n"},
		{[]string{"preview", "-c", file, "loan", "--channel", ""}, "mail\npartner\nsms\n"},
	} {
		if r := yizhan(t, "", append([]string{"__complete"}, tt.args...)...); !strings.HasPrefix(r.out, tt.want) {
			t.Errorf("%v offers %q", tt.args, r.out)
		}
	}
}
