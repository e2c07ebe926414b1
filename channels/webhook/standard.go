package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Bounds of a secret in bytes (Standard Webhooks 1.0.0, "Signature scheme").
const (
	minSecret = 24
	maxSecret = 64
)

// standard is the format of Standard Webhooks 1.0.0 (standardwebhooks.com): a signed JSON body
// {"type", "timestamp", "data"}, judged by the status of the answer.
type standard struct {
	keys [][]byte // while a secret is rotated, each of them signs
}

// newStandard reads one or more secrets, whsec_ and base64, separated by white space.
func newStandard(secrets string) (format, error) {
	var s standard
	for secret := range strings.FieldsSeq(secrets) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) < minSecret || len(key) > maxSecret {
			return nil, channels.BadSetting("secret_file",
				"密钥应为 whsec_ 加 Base64，解码后 24 至 64 字节", "a secret is whsec_ and the base64 of 24 to 64 bytes")
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, channels.BadSetting("secret_file",
			"请通过 secret_file 或 secret_env 提供签名密钥（whsec_…）", "give the signing secret (whsec_…) by secret_file or secret_env")
	}
	return s, nil
}

// request makes the same body for every attempt; only timestamp and signature differ.
func (s standard) request(d *schemas.Delivery, now time.Time) ([]byte, http.Header, error) {
	at := d.Event.Time
	if at.IsZero() {
		at = d.PlannedAt
	}
	var data any = json.RawMessage(d.Message.Payload)
	if len(d.Message.Payload) == 0 {
		data = map[string]string{"subject": d.Message.Subject, "text": d.Message.Text}
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      any    `json:"data"`
	}{d.Event.Type, at.UTC().Format(time.RFC3339Nano), data}); err != nil {
		return nil, nil, err
	}
	b := bytes.TrimRight(body.Bytes(), "\n")
	h := http.Header{}
	h.Set("Webhook-Id", d.ID)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("Webhook-Signature", s.sign(d.ID, now, b))
	return b, h, nil
}

// sign is one v1 signature for each key: base64 of HMAC-SHA256 over id.timestamp.body.
func (s standard) sign(id string, now time.Time, body []byte) string {
	signatures := make([]string, len(s.keys))
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(now.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

func (standard) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	return channels.FromHTTP(kind, provider, status, header, body, now)
}
