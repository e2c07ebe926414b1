// Package sandbox holds stand-ins for the third parties, on loopback, for `yizhan dev` and for tests: a mail server, the SMS
// interfaces of Aliyun, Tencent and Huawei, a receiver of webhooks and the robots of chat groups. They check what the real
// ones check, fail on request, and show what they took in an [Inbox].
package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Config says where the stand-ins listen; each address must be a loopback address, and "" is a
// free port of 127.0.0.1.
type Config struct {
	SMTPAddr, SMSAddr, WebhookAddr, RobotsAddr string
	// SMTPTLS is "implicit", "starttls" or "none"; "" is none.
	SMTPTLS string
	// SMSTemplates gives the texts that the SMS provider holds, by template code, with ${name} for each
	// parameter; it is asked at each message, by many goroutines at once. A message of a code that is
	// not in it, or of any code when it is nil, is shown as code and parameters.
	SMSTemplates func() map[string]string
}

// Sandbox is one of each stand-in, with credentials made for this run.
type Sandbox struct {
	SMTP    *SMTP
	SMS     *SMS
	Webhook *Webhook
	Robots  *Robots
	Expired *Expired

	inbox       Inbox
	credentials Credentials
}

// Credentials are what the stand-ins accept. They open nothing else.
type Credentials struct {
	Username, Password           string // SMTP
	AccessKeyID, AccessKeySecret string // SMS, Aliyun
	Tencent                      TencentKeys
	Huawei                       HuaweiKeys
	WebhookSecret                string // whsec_ and base64
}

// Start starts all stand-ins. After an error none of them runs.
func Start(cfg Config) (*Sandbox, error) {
	s := &Sandbox{credentials: Credentials{
		Username: "yizhan", Password: rand.Text(),
		AccessKeyID: "LTAI5t" + rand.Text()[:18], AccessKeySecret: rand.Text(),
		Tencent:       TencentKeys{SecretID: "AKID" + rand.Text(), SecretKey: rand.Text(), AppID: "1400000001"},
		Huawei:        HuaweiKeys{AppKey: rand.Text(), AppSecret: rand.Text(), Sender: "8823040504797"},
		WebhookSecret: newSecret(),
	}}
	var err error
	if s.SMTP, err = StartSMTP(SMTPConfig{
		Addr: cfg.SMTPAddr, TLS: cfg.SMTPTLS, Username: s.credentials.Username, Password: s.credentials.Password,
	}, s.inbox.Add); err != nil {
		return nil, err
	}
	if s.SMS, err = StartSMS(SMSConfig{
		Addr: cfg.SMSAddr, AccessKeyID: s.credentials.AccessKeyID, AccessKeySecret: s.credentials.AccessKeySecret,
		Tencent: s.credentials.Tencent, Huawei: s.credentials.Huawei,
		Templates: cfg.SMSTemplates,
	}, s.inbox.Add); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Webhook, err = StartWebhook(WebhookConfig{Addr: cfg.WebhookAddr, Secret: s.credentials.WebhookSecret}, s.inbox.Add); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Robots, err = StartRobots(RobotsConfig{Addr: cfg.RobotsAddr}, s.inbox.Add); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Expired, err = StartExpired(""); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newSecret is a secret of 32 random bytes as Standard Webhooks writes it.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(b)
}

// Inbox is what the stand-ins took.
func (s *Sandbox) Inbox() *Inbox { return &s.inbox }

// Credentials are what the stand-ins accept.
func (s *Sandbox) Credentials() Credentials { return s.credentials }

// SMTPAddr is where the mail server listens.
func (s *Sandbox) SMTPAddr() net.Addr { return s.SMTP.Addr() }

// SMSEndpoint is the URL to set as the SMS channel's endpoint.
func (s *Sandbox) SMSEndpoint() string { return s.SMS.URL() }

// WebhookURL is the URL of the receiver's path, such as "ok" or "flaky"; see [Webhook].
func (s *Sandbox) WebhookURL(path string) string {
	return s.Webhook.URL() + "/hook/" + url.PathEscape(strings.TrimPrefix(path, "/"))
}

// Close ends all stand-ins.
func (s *Sandbox) Close() error {
	var errs []error
	if s.Robots != nil {
		errs = append(errs, s.Robots.Close())
	}
	if s.Expired != nil {
		errs = append(errs, s.Expired.Close())
	}
	if s.Webhook != nil {
		errs = append(errs, s.Webhook.Close())
	}
	if s.SMS != nil {
		errs = append(errs, s.SMS.Close())
	}
	if s.SMTP != nil {
		errs = append(errs, s.SMTP.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sandbox: close: %w", err)
	}
	return nil
}
