package httpapi

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// auth says how a request proves who sends it. The set of schemes is closed; each is tested against
// a vector or a second implementation.
type auth struct {
	// Scheme is one of the schemes below; "" is none.
	Scheme string `yaml:"scheme"`
	// ID and Key are templates over the settings: account or key id, and secret.
	ID  string `yaml:"id"`
	Key string `yaml:"key"`
	// Service is Tencent's product name within the credential scope.
	Service string `yaml:"service"`
	// Hash, Text and Encoding make ${sign}, for scheme digest: hash of the text under the key.
	Hash     string `yaml:"hash"`
	Text     string `yaml:"text"`
	Encoding string `yaml:"encoding"`
}

// The schemes.
const (
	schemeNone   = "none"
	schemeBasic  = "basic"  // RFC 7617
	schemeBearer = "bearer" // RFC 6750
	schemeTC3    = "tc3-hmac-sha256"
	schemeWSSE   = "wsse"
	schemeSDK    = "sdk-hmac-sha256"
	schemeDigest = "digest" // the request's own fields carry ${sign}
)

var schemes = []string{schemeNone, schemeBasic, schemeBearer, schemeTC3, schemeWSSE, schemeSDK, schemeDigest}

// hashes are those of scheme digest; one without hmac takes no key, since its text names the secret.
var hashes = map[string]func(key string) hash.Hash{
	"hmac-md5":    func(key string) hash.Hash { return hmac.New(md5.New, []byte(key)) },
	"hmac-sha1":   func(key string) hash.Hash { return hmac.New(sha1.New, []byte(key)) },
	"hmac-sha256": func(key string) hash.Hash { return hmac.New(sha256.New, []byte(key)) },
	"md5":         func(string) hash.Hash { return md5.New() },
	"sha1":        func(string) hash.Hash { return sha1.New() },
	"sha256":      func(string) hash.Hash { return sha256.New() },
}

var encodings = map[string]func([]byte) string{
	"hex": hex.EncodeToString, "hex-upper": func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) },
	"base64": base64.StdEncoding.EncodeToString,
}

func (a auth) check() error {
	switch {
	case a.Scheme != "" && !slices.Contains(schemes, a.Scheme):
		return fmt.Errorf("auth.scheme is %q, want one of %s", a.Scheme, strings.Join(schemes, ", "))
	case a.Scheme == schemeDigest && (hashes[a.Hash] == nil || encodings[a.Encoding] == nil || a.Text == ""):
		return fmt.Errorf("auth: scheme digest needs hash (hmac-md5, hmac-sha1, hmac-sha256, md5, sha1, sha256), encoding (hex, hex-upper, base64) and text")
	case a.Scheme == schemeDigest && strings.HasPrefix(a.Hash, "hmac-") && a.Key == "":
		return fmt.Errorf("auth: %s needs a key", a.Hash)
	case a.Scheme != schemeDigest && (a.Hash != "" || a.Text != "" || a.Encoding != ""):
		return fmt.Errorf("auth: hash, text and encoding belong to scheme digest")
	case a.Scheme == schemeTC3 && a.Service == "":
		return fmt.Errorf("auth: scheme %s needs a service", a.Scheme)
	case a.Scheme != schemeTC3 && a.Service != "":
		return fmt.Errorf("auth: service belongs to scheme %s", schemeTC3)
	case slices.Contains([]string{schemeBasic, schemeTC3, schemeWSSE, schemeSDK}, a.Scheme) && (a.ID == "" || a.Key == ""):
		return fmt.Errorf("auth: scheme %s needs id and key", a.Scheme)
	case a.Scheme == schemeBearer && a.Key == "":
		return fmt.Errorf("auth: scheme bearer needs a key")
	}
	return nil
}

// digest is ${sign} of scheme digest.
func (a auth) digest(vals values) (string, error) {
	key, err := text(a.Key, vals)
	if err != nil {
		return "", err
	}
	signed, err := text(a.Text, vals)
	if err != nil {
		return "", err
	}
	h := hashes[a.Hash](key)
	h.Write([]byte(signed))
	return encodings[a.Encoding](h.Sum(nil)), nil
}

// sign adds the headers of the scheme. body is the request's whole body; nonce is fresh.
func (a auth) sign(req *http.Request, body []byte, vals values, now time.Time, nonce string) error {
	id, err := text(a.ID, vals)
	if err != nil {
		return err
	}
	key, err := text(a.Key, vals)
	if err != nil {
		return err
	}
	switch a.Scheme {
	case schemeBasic:
		req.SetBasicAuth(id, key)
	case schemeBearer:
		req.Header.Set("Authorization", "Bearer "+key)
	case schemeTC3:
		tc3(req, body, id, key, a.Service, now)
	case schemeWSSE:
		wsse(req, id, key, nonce, now)
	case schemeSDK:
		sdkHMAC(req, body, id, key, now)
	}
	return nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalHeaders are the named headers as TC3 and SDK-HMAC write them: sorted, lower case, trimmed.
func canonicalHeaders(req *http.Request, names []string) (lines, signed string) {
	names = slices.Sorted(slices.Values(names))
	for _, n := range names {
		v := req.Header.Get(n)
		if n == "host" {
			v = req.URL.Host
		}
		lines += n + ":" + strings.TrimSpace(v) + "\n"
	}
	return lines, strings.Join(names, ";")
}

// tc3 is Tencent Cloud's API signature v3, TC3-HMAC-SHA256 (memory of cloud.tencent.com/document/api/382/52070;
// the vectors of sign_test.go are those of its public example).
func tc3(req *http.Request, body []byte, id, key, service string, now time.Time) {
	names := []string{"content-type", "host"}
	if req.Header.Get("X-TC-Action") != "" {
		names = append(names, "x-tc-action")
	}
	lines, signed := canonicalHeaders(req, names)
	if action := req.Header.Get("X-TC-Action"); action != "" { // the one header whose value is signed in lower case
		lines = strings.Replace(lines, "x-tc-action:"+action, "x-tc-action:"+strings.ToLower(action), 1)
	}
	canonical := strings.Join([]string{req.Method, "/", req.URL.RawQuery, lines, signed, sum(body)}, "\n")
	date := now.UTC().Format(time.DateOnly)
	scope := date + "/" + service + "/tc3_request"
	stamp := fmt.Sprint(now.Unix())
	toSign := strings.Join([]string{"TC3-HMAC-SHA256", stamp, scope, sum([]byte(canonical))}, "\n")
	k := mac(mac(mac([]byte("TC3"+key), date), service), "tc3_request")
	req.Header.Set("X-TC-Timestamp", stamp)
	req.Header.Set("Authorization", fmt.Sprintf("TC3-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		id, scope, signed, hex.EncodeToString(mac(k, toSign))))
}

// wsse is Huawei Cloud's UsernameToken: PasswordDigest = Base64(SHA-256(Nonce + Created + secret)), of the hash's bytes
// (memory of support.huaweicloud.com/api-msgsms/sms_05_0001.html). Its own samples in Java and Node.js do it this way, those
// in PHP and Python encode the hash's hexadecimal text instead, and both are taken.
func wsse(req *http.Request, id, key, nonce string, now time.Time) {
	created := now.UTC().Format("2006-01-02T15:04:05Z")
	h := sha256.Sum256([]byte(nonce + created + key))
	req.Header.Set("Authorization", `WSSE realm="SDP",profile="UsernameToken",type="Appkey"`)
	req.Header.Set("X-WSSE", fmt.Sprintf(`UsernameToken Username="%s",PasswordDigest="%s",Nonce="%s",Created="%s"`,
		id, base64.StdEncoding.EncodeToString(h[:]), nonce, created))
}

// sdkHMAC is Huawei Cloud's AK/SK signature, SDK-HMAC-SHA256 (memory of support.huaweicloud.com/devg-apisign).
func sdkHMAC(req *http.Request, body []byte, id, key string, now time.Time) {
	date := now.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Sdk-Date", date)
	names := []string{"host", "x-sdk-date"}
	if req.Header.Get("Content-Type") != "" {
		names = append(names, "content-type")
	}
	canonical, signed := sdkCanonical(req, body, names)
	toSign := strings.Join([]string{"SDK-HMAC-SHA256", date, sum([]byte(canonical))}, "\n")
	req.Header.Set("Authorization", fmt.Sprintf("SDK-HMAC-SHA256 Access=%s, SignedHeaders=%s, Signature=%s",
		id, signed, hex.EncodeToString(mac([]byte(key), toSign))))
}

func sdkCanonical(req *http.Request, body []byte, names []string) (canonical, signed string) {
	path := req.URL.EscapedPath()
	if !strings.HasSuffix(path, "/") { // signed with a slash at its end, sent without
		path += "/"
	}
	lines, signed := canonicalHeaders(req, names)
	return strings.Join([]string{req.Method, path, sortedQuery(req.URL.Query()), lines, signed, sum(body)}, "\n"), signed
}

// sortedQuery is the query sorted by name, percent-encoded as RFC 3986 has it.
func sortedQuery(q url.Values) string {
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}
