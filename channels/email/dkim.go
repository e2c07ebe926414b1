package email

import (
	"net/mail"
	"os"
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/publicsuffix"

	"github.com/yizhan-dev/yizhan/channels"
)

// DKIM is the section dkim: mails are signed by us (RFC 6376), for a relay of our own that does not sign.
type DKIM struct {
	Domain   string `yaml:"domain"`   // d=: the sender's domain, or one of the same organisation
	Selector string `yaml:"selector"` // s=: the public key is at SELECTOR._domainkey.DOMAIN
	KeyFile  string `yaml:"key_file"` // RSA or Ed25519 (RFC 8463), PEM
}

// signed are the headers under the signature. One that a mail does not have is signed as absent, so that nobody
// can add it; RFC 8058 section 4 wants those of List-Unsubscribe.
var signed = []string{
	"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
	"List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted",
}

// signer signs with go-msgauth, not with go-mail's own signer: that one (v0.8.1) breaks a long list of headers in the
// middle of a name, and receivers find such a signature bad.
type signer struct{ dkim.SignOptions }

// sign returns the mail with its signature in front.
func (s *signer) sign(mail []byte) ([]byte, error) {
	work, err := dkim.NewSigner(&s.SignOptions)
	if err != nil {
		return nil, err
	}
	_, err = work.Write(mail)
	if closed := work.Close(); err == nil { // always: the library's goroutine waits for it
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return append([]byte(work.Signature()), mail...), nil
}

// selectorForm is one or more DNS labels (RFC 6376 section 3.1).
var selectorForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func (d *DKIM) open(env channels.Env, from *mail.Address) (*signer, error) {
	switch {
	case !selectorForm.MatchString(d.Selector):
		return nil, channels.BadSetting("dkim/selector", "请填写选择器，如 yizhan2026", "want a selector, such as yizhan2026")
	case !selectorForm.MatchString(d.Domain):
		return nil, channels.BadSetting("dkim/domain", "请填写域名", "want a domain")
	case organisation(d.Domain) != organisation(domainOf(from)):
		return nil, channels.BadSetting("dkim/domain", "须与发件人 from 同属一个组织域，否则 DMARC 不认可这个签名",
			"must belong to the organisational domain of from, or DMARC takes no notice of the signature")
	}
	pem, err := os.ReadFile(env.Path(d.KeyFile))
	if err != nil {
		return nil, channels.BadSetting("dkim/key_file", "无法读取私钥："+err.Error(), err.Error())
	}
	key, err := gomail.PrivKeyFromPEM(pem)
	if err != nil {
		return nil, channels.BadSetting("dkim/key_file", "不是可用的私钥：须为 PEM 格式的 RSA 或 Ed25519 私钥", "no RSA or Ed25519 private key in PEM")
	}
	s := &signer{dkim.SignOptions{
		Domain: strings.ToLower(d.Domain), Selector: d.Selector, Signer: key, HeaderKeys: signed,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	}}
	if _, err := s.sign([]byte("From: a@example.com\r\n\r\n")); err != nil { // RSA below 1024 bits
		return nil, channels.BadSetting("dkim/key_file", "私钥无法签名："+err.Error(), "the key cannot sign: "+err.Error())
	}
	return s, nil
}

// organisation is the domain that DMARC compares (RFC 7489 section 3.2).
func organisation(domain string) string {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}
