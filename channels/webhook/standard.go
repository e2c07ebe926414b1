package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of a shared secret in bytes (Standard Webhooks 1.0.0, "Signature scheme").
const (
	minSecret = 24
	maxSecret = 64
)

// provider is who receives Standard Webhooks: anybody.
const provider = "generic"

// standard is the format of Standard Webhooks 1.0.0 (standardwebhooks.com): a signed JSON body
// {"type", "timestamp", "data"}, judged by the status of the answer.
type standard struct {
	keys []signer // while a secret is rotated, each of them signs
}

// signer makes one signature of a message.
type signer interface {
	sign(signed []byte) string
}

// shared is a secret that both sides know: v1, HMAC-SHA256.
type shared []byte

func (k shared) sign(signed []byte) string {
	mac := hmac.New(sha256.New, k)
	mac.Write(signed)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// private is a key of which the receiver has the public half: v1a, ed25519.
type private ed25519.PrivateKey

func (k private) sign(signed []byte) string {
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(ed25519.PrivateKey(k), signed))
}

// public is what a receiver needs to verify, whpk_ and base64.
func (k private) public() string {
	return "whpk_" + base64.StdEncoding.EncodeToString(k[ed25519.SeedSize:])
}

// newStandard reads one or more keys separated by white space: whsec_ and base64 for a shared secret, whsk_ and
// base64 for an ed25519 key.
func newStandard(cfg *Config, secrets string) (format, error) {
	var s standard
	for secret := range strings.FieldsSeq(secrets) {
		key, ok := readKey(secret)
		if !ok {
			return nil, channels.BadSetting("secret_file",
				"密钥应为 whsec_ 加 Base64（解码后 24 至 64 字节），或 whsk_ 加 Base64（ed25519 私钥，解码后 32 或 64 字节）",
				"a key is whsec_ and the base64 of 24 to 64 bytes, or whsk_ and the base64 of an ed25519 key of 32 or 64 bytes")
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, channels.BadSetting("secret_file",
			"请通过 secret_file 或 secret_env 提供签名密钥（whsec_… 或 whsk_…）", "give the signing key (whsec_… or whsk_…) by secret_file or secret_env")
	}
	for _, given := range []struct {
		key   string
		given bool
	}{{"message", cfg.Message != ""}, {"keyword", cfg.Keyword != ""}, {"at", cfg.At.any()}} {
		if given.given {
			return nil, channels.BadSetting(given.key, given.key+" 只用于群机器人（dingtalk、wecom、feishu、slack）", given.key+" is for robots only (dingtalk, wecom, feishu, slack)")
		}
	}
	return s, nil
}

// readKey reads one key. A whsk_ is a seed, or a seed and its public key, as libraries write it.
func readKey(s string) (signer, bool) {
	if rest, ok := strings.CutPrefix(s, "whsk_"); ok {
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil || len(b) != ed25519.SeedSize && len(b) != ed25519.PrivateKeySize {
			return nil, false
		}
		key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
		if len(b) == ed25519.PrivateKeySize && !bytes.Equal(b, key) {
			return nil, false // the halves do not belong together: its signatures would tell the seed
		}
		return private(key), true
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
	if err != nil || len(b) < minSecret || len(b) > maxSecret {
		return nil, false
	}
	return shared(b), true
}

func (standard) provider() string { return provider }

// request makes the same body for every attempt; only timestamp and signature differ.
func (s standard) request(d *schemas.Delivery, u *url.URL, now time.Time) (*request, *channels.Failure) {
	at := d.Event.Time
	if at.IsZero() {
		at = d.PlannedAt
	}
	var data any = json.RawMessage(d.Message.Payload)
	if len(d.Message.Payload) == 0 {
		data = map[string]string{"subject": d.Message.Subject, "text": d.Message.Text}
	}
	body, err := compact(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      any    `json:"data"`
	}{d.Event.Type, at.UTC().Format(time.RFC3339Nano), data})
	if err != nil { // the payload is no JSON; its text would show it
		return nil, &channels.Failure{Kind: kind, Provider: "dispatcher", Code: "dispatcher:bad-payload", Class: channels.Content}
	}
	h := http.Header{}
	h.Set("Webhook-Id", d.ID)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	signature := s.sign(d.ID, now, body)
	h.Set("Webhook-Signature", signature)
	return &request{
		url: u, header: h, body: body,
		made: []string{signature, h.Get("Webhook-Timestamp")}, names: []string{"Webhook-Signature", "Webhook-Timestamp"},
	}, nil
}

// compact writes JSON as receivers read it best: no line break, and <, > and & as they are.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// sign is one signature over id.timestamp.body for each key.
func (s standard) sign(id string, now time.Time, body []byte) string {
	signed := append([]byte(id+"."+strconv.FormatInt(now.Unix(), 10)+"."), body...)
	signatures := make([]string, len(s.keys))
	for i, key := range s.keys {
		signatures[i] = key.sign(signed)
	}
	return strings.Join(signatures, " ")
}

func (standard) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	return channels.FromHTTP(kind, provider, status, header, body, now)
}
