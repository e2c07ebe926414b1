package email

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Unsubscribe is the section unsubscribe: how a reader of marketing mail refuses more of it. Without the section
// marketing mail is not sent: who cannot refuse reports spam, and then the invoices of the same sender suffer. It has to
// be somebody's decision, so a channel whose templates have a way of their own says so with InText.
type Unsubscribe struct {
	// URL is where the reader's browser and mail program reach POST /v1/unsubscribe/{token} of this installation,
	// https, with {token} in it.
	URL    string `yaml:"url,omitempty"`
	Mailto string `yaml:"mailto,omitempty"` // an address for programs that cannot post; a person reads it
	// SecretFile or SecretEnv holds the secrets of the links, one a line, each at least 24 bytes: the first makes new
	// links, all are accepted. A link must work for as long as somebody may read the mail.
	SecretFile string `yaml:"secret_file,omitempty"`
	SecretEnv  string `yaml:"secret_env,omitempty"`
	// InText: the text of the mail says how to refuse, so no header is added.
	InText bool `yaml:"in_text,omitempty"`
}

const (
	tokenPlace    = "{token}"
	maxLinkURL    = 300 // characters; with the token it must fit into a header line of 998 (RFC 5322 section 2.1.1)
	maxLinkToken  = 600 // characters: the longest address and tenant
	minLinkSecret = 24  // bytes
	maxLinkSecret = 8   // secrets
)

// unsubscriber makes links and reads them. nil of keys: the text says how to refuse.
type unsubscriber struct {
	url, mailto string
	keys        []linkKey
}

// linkKey seals what a link stands for. The nonce is made of the content, as with SIV (RFC 5297): a mail must be
// the same in every attempt.
type linkKey struct {
	nonce []byte
	seal  cipher.AEAD
}

func (u *Unsubscribe) open(env channels.Env) (*unsubscriber, error) {
	if u.InText {
		if u.URL != "" || u.Mailto != "" || u.SecretFile != "" || u.SecretEnv != "" {
			return nil, channels.BadSetting("unsubscribe/in_text", "in_text 表示正文已写明退订方式，不能与其他设置同时使用",
				"in_text says that the text tells how to refuse; it goes with nothing else")
		}
		return &unsubscriber{}, nil
	}
	at, err := url.Parse(u.URL)
	switch {
	case err != nil, !safeURL(u.URL), at.Fragment != "", strings.ContainsAny(u.URL, " <>,\t\r\n"), strings.Count(u.URL, tokenPlace) != 1, len(u.URL) > maxLinkURL, !ascii(u.URL):
		return nil, channels.BadSetting("unsubscribe/url", "须为含有一个 {token} 的 https 地址，如 https://notify.example.com/v1/unsubscribe/{token}",
			"want an https address with one {token}, such as https://notify.example.com/v1/unsubscribe/{token}")
	}
	out := &unsubscriber{url: u.URL}
	if u.Mailto != "" {
		a, err := ownAddress("unsubscribe/mailto", u.Mailto)
		if err != nil {
			return nil, err
		}
		out.mailto = a.Address
	}
	text, err := env.Secret(u.SecretFile, u.SecretEnv)
	if err != nil {
		return nil, channels.BadSetting("unsubscribe/secret_file", "无法读取密钥："+err.Error(), err.Error())
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(line) < minLinkSecret {
			return nil, channels.BadSetting("unsubscribe/secret_file", "每行一个密钥，每个至少 24 字节", "want one secret a line, at least 24 bytes each")
		}
		key, err := newLinkKey([]byte(line))
		if err != nil {
			return nil, err
		}
		out.keys = append(out.keys, key)
	}
	if len(out.keys) == 0 || len(out.keys) > maxLinkSecret {
		return nil, channels.BadSetting("unsubscribe/secret_file", "须有 1 到 8 个密钥，每行一个，每个至少 24 字节", "want 1 to 8 secrets, one a line, at least 24 bytes each")
	}
	return out, nil
}

func newLinkKey(secret []byte) (linkKey, error) {
	k, err := hkdf.Key(sha256.New, secret, nil, "yizhan unsubscribe link", 64)
	if err != nil {
		return linkKey{}, err
	}
	block, err := aes.NewCipher(k[:32])
	if err != nil {
		return linkKey{}, err
	}
	seal, err := cipher.NewGCM(block)
	return linkKey{nonce: k[32:], seal: seal}, err
}

var errNoWayOut = errors.New("marketing mail without a way to refuse: set unsubscribe of the channel")

// refusable returns the value of List-Unsubscribe (RFC 2369, RFC 8058) for d, "" where there is to be none.
func (s *settings) refusable(d *schemas.Delivery) (string, error) {
	switch {
	case d.Category != schemas.Marketing:
		return "", nil
	case s.unsub == nil:
		return "", errNoWayOut
	case s.unsub.keys == nil:
		return "", nil
	}
	token := s.unsub.keys[0].token(d.Tenant, d.Category, d.To.Email)
	value := "<" + strings.Replace(s.unsub.url, tokenPlace, token, 1) + ">"
	if s.unsub.mailto != "" {
		value += ",\r\n <mailto:" + url.PathEscape(s.unsub.mailto) + "?subject=unsubscribe%20" + token + ">"
	}
	return value, nil
}

// token is what a link holds: base64url of nonce and sealed tenant, category and address.
func (k linkKey) token(tenant string, category schemas.Category, address string) string {
	plain := []byte(tenant + "\x00" + string(category) + "\x00" + address)
	mac := hmac.New(sha256.New, k.nonce)
	mac.Write(plain)
	nonce := mac.Sum(nil)[:k.seal.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(k.seal.Seal(nonce, nonce, plain, nil))
}

// Refusal is part of [channels.Unsubscriber].
func (c *channel) Refusal(token string) (schemas.ConsentChange, bool) {
	if c.unsub == nil || len(token) > maxLinkToken {
		return schemas.ConsentChange{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return schemas.ConsentChange{}, false
	}
	for _, k := range c.unsub.keys {
		n := k.seal.NonceSize()
		if len(raw) < n {
			break
		}
		plain, err := k.seal.Open(nil, raw[:n], raw[n:], nil)
		if err != nil {
			continue
		}
		tenant, rest, _ := bytes.Cut(plain, []byte{0})
		category, address, found := bytes.Cut(rest, []byte{0})
		return schemas.ConsentChange{
			Tenant: string(tenant), Email: string(address),
			ConsentWord: schemas.ConsentWord{State: schemas.OptedOut, Purpose: schemas.Purpose(category), How: schemas.ByLink},
		}, found
	}
	return schemas.ConsentChange{}, false
}
