package link

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// MaxLife is the longest that a login link may be of use.
const MaxLife = 5 * 24 * time.Hour

// skew is how far the clock of the machine that made a link may be ahead of ours.
const skew = 5 * time.Minute

// maxUD bounds the ud value, in bytes of base64. Real ones have about 500.
const maxUD = 16 << 10

// Kingdee is what a login link into Kingdee Cloud Galaxy (金蝶云星空) carries as ud: who is logged in, to
// which data centre, by which application, and what is opened then. Producers make one, call [Kingdee.Sign] and then
// [Kingdee.URL]; [ParseKingdee] reads one, [Kingdee.Check] judges it.
//
// The format is that of the single sign-on guide V4, vip.kingdee.com/article/301650044602844928.
type Kingdee struct {
	DBID      string    // id of the data centre (account set)
	Username  string    // login name of the person
	AppID     string    // of the record in 第三方系统登录授权
	Signature string    // signeddata: 64 hexadecimal digits in V4, 40 before
	Timestamp time.Time // when it was made; whole seconds
	LCID      string    // language: 2052 simplified Chinese, 1033 English, 3076 traditional Chinese
	Origin    string    // origintype: SimPas, or XT for 云之家
	EntryRole string
	FormID    string // what is opened
	FormType  string // bill, list, wnreport, sqlreport, dynamicform …
	PKID      string // key of the bill; empty makes a new one
	// OtherArgs holds more arguments; [SingleUse] makes the link good for one login.
	OtherArgs string
	OpenMode  string
	// Secrets are members that never belong into a link: the application's secret, a password. Only the
	// names are kept.
	Secrets []string
}

// SingleUse is the OtherArgs of a link that logs in once. It needs 7.7.0.202112 (PT-146899) or later; the
// signature covers it.
const SingleUse = "|{'permitcount':'1'}"

// ParseKingdee reads the value of ud: base64 of a JSON object, in the standard or the URL alphabet, with or
// without padding, percent-encoding undone. An error says what is wrong without quoting anything of it.
func ParseKingdee(ud string) (*Kingdee, error) {
	if len(ud) > maxUD {
		return nil, fmt.Errorf("ud has %d bytes, want at most %d", len(ud), maxUD)
	}
	// A + that went through a form comes back as a space.
	ud = strings.NewReplacer(" ", "+", "-", "+", "_", "/").Replace(strings.Trim(ud, " \r\n\t"))
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(ud, "="))
	if err != nil {
		return nil, errors.New("ud is not base64")
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("\ufeff")), &members); err != nil || members == nil {
		return nil, errors.New("ud does not hold a JSON object")
	}
	k, seen := new(Kingdee), make(map[string]bool)
	fields := k.fields()
	for name, raw := range members {
		// The far side reads names in any case, so two that differ in case only are one said twice.
		name = strings.ToLower(name)
		if seen[name] {
			return nil, errors.New("ud says a member twice")
		}
		seen[name] = true
		if forbidden(name) {
			k.Secrets = append(k.Secrets, name)
			continue
		}
		field, known := fields[name]
		if !known && name != "timestamp" {
			continue
		}
		value, err := scalar(raw)
		if err != nil {
			return nil, fmt.Errorf("%s is neither a string nor a number", name)
		}
		if known {
			*field = value
			continue
		}
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds <= 0 || seconds > maxUnix {
			return nil, errors.New("timestamp is not a number of seconds since 1970")
		}
		k.Timestamp = time.Unix(seconds, 0)
	}
	slices.Sort(k.Secrets)
	return k, nil
}

// maxUnix is the end of the year 9999: later times have no RFC 3339 form.
const maxUnix = 253402300799

// fields are the members that are texts, by name.
func (k *Kingdee) fields() map[string]*string {
	return map[string]*string{
		"dbid": &k.DBID, "username": &k.Username, "appid": &k.AppID, "signeddata": &k.Signature, "lcid": &k.LCID,
		"origintype": &k.Origin, "entryrole": &k.EntryRole, "formid": &k.FormID, "formtype": &k.FormType,
		"pkid": &k.PKID, "otherargs": &k.OtherArgs, "openmode": &k.OpenMode,
	}
}

// forbidden says whether a member's or a parameter's name, in lower case, is that of a secret.
func forbidden(name string) bool {
	for _, s := range []string{"secret", "password", "passwd", "pwd"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// scalar is a JSON string, number or null as text.
func scalar(raw jsontext.Value) (string, error) {
	switch raw.Kind() {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '0':
		return string(raw), nil
	case 'n':
		return "", nil
	}
	return "", errors.New("not a scalar")
}

var permit = regexp.MustCompile(`(?i)permitcount['"]?\s*:\s*['"]?([^'",}\s]*)`)

// PermitCount is how often the link logs in; false when otherargs does not say, which means without bound. What
// cannot be read as one number counts as 0, which is no permission that we know.
func (k *Kingdee) PermitCount() (int, bool) {
	said := permit.FindAllStringSubmatch(k.OtherArgs, -1)
	if len(said) == 0 {
		return 0, false
	}
	n, err := strconv.Atoi(said[0][1])
	if err != nil || len(said) > 1 {
		return 0, true
	}
	return n, true
}

// sum is the V4 signature: the values sorted by bytes, concatenated, SHA-256 in lower-case hexadecimal.
// (vip.kingdee.com/article/301650044602844928, with PT-146911 8.0.0.202205; V3 did the same with SHA-1.)
func (k *Kingdee) sum(secret string) string {
	values := []string{k.DBID, k.Username, k.AppID, secret, strconv.FormatInt(k.Timestamp.Unix(), 10)}
	if n, ok := k.PermitCount(); ok {
		values = append(values, strconv.Itoa(n))
	}
	slices.Sort(values)
	h := sha256.Sum256([]byte(strings.Join(values, "")))
	return hex.EncodeToString(h[:])
}

// Sign sets the V4 signature. The secret of the application is not kept.
func (k *Kingdee) Sign(secret string) { k.Signature = k.sum(secret) }

// Verify says whether the V4 signature was made with one of the secrets: two are valid while one replaces
// the other. It takes the same time whatever the signature.
func (k *Kingdee) Verify(secrets ...string) bool {
	good := 0
	for _, s := range secrets {
		good |= subtle.ConstantTimeCompare([]byte(k.sum(s)), []byte(k.Signature))
	}
	return good == 1
}

// UD is the value of ud, base64 in the standard alphabet; within a URL it must be percent-encoded, as
// [Kingdee.URL] does.
func (k *Kingdee) UD() (string, error) {
	b, err := json.Marshal(struct {
		DBID      string `json:"dbid"`
		Username  string `json:"username"`
		AppID     string `json:"appid"`
		Signature string `json:"signeddata"`
		Timestamp int64  `json:"timestamp,string"`
		LCID      string `json:"lcid"`
		Origin    string `json:"origintype"`
		EntryRole string `json:"entryrole"`
		FormID    string `json:"formid"`
		FormType  string `json:"formtype"`
		PKID      string `json:"pkid"`
		OtherArgs string `json:"otherargs"`
		OpenMode  string `json:"openmode"`
	}{
		k.DBID, k.Username, k.AppID, k.Signature, k.Timestamp.Unix(), k.LCID, k.Origin, k.EntryRole, k.FormID,
		k.FormType, k.PKID, k.OtherArgs, k.OpenMode,
	})
	if err != nil {
		return "", fmt.Errorf("link: %w", err) // a text that is not UTF-8
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// URL is the link, {server}/K3Cloud/html5/index.aspx?ud=…; server is such as https://erp.example.com.
func (k *Kingdee) URL(server string) (string, error) {
	ud, err := k.UD()
	if err != nil {
		return "", err
	}
	escaped := strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(ud)
	return strings.TrimRight(server, "/") + "/K3Cloud/html5/index.aspx?ud=" + escaped, nil
}

// Problem is something about a login link that makes it unsafe.
type Problem struct {
	Code string // such as "kingdee-sha1"; see docs/configuration.md, Links
	schemas.Text
}

// Check finds what makes the link unsafe at the time now: its form, its age (at most maxLife), single use. Where
// now is zero there is no clock, and the age is not judged. It does not compute the signature; [Kingdee.Verify] does.
func (k *Kingdee) Check(now time.Time, maxLife time.Duration) []Problem {
	var out []Problem
	add := func(code, zh, en string, args ...any) {
		out = append(out, Problem{code, rules.Textf(zh, en, args...)})
	}
	if len(k.Secrets) > 0 {
		add("kingdee-secret", "链接内含密钥或密码字段，任何看到消息的人都能冒用；请立即更换该密钥，并从 ud 中删除",
			"the link carries a secret or a password, which whoever sees the message can use; replace that secret now and take it out of ud")
	}
	var missing []string
	for _, f := range []struct{ name, value string }{{"dbid", k.DBID}, {"username", k.Username}, {"appid", k.AppID}, {"signeddata", k.Signature}} {
		if f.value == "" {
			missing = append(missing, f.name)
		}
	}
	if k.Timestamp.IsZero() {
		missing = append(missing, "timestamp")
	}
	if len(missing) > 0 {
		add("kingdee-incomplete", "登录链接的 ud 缺少字段 %[1]s；请按单点登录 V4 格式生成", "ud of the login link lacks %[1]s; make it in the form of single sign-on V4", strings.Join(missing, ", "))
	}
	switch {
	case k.Signature == "":
	case lowerHex(k.Signature, 40):
		add("kingdee-sha1", "登录链接使用 SHA-1 签名（V1–V3），已不安全；请改用 V4（SHA-256，需 PT-146911 及以上补丁）",
			"the login link is signed with SHA-1 (V1 to V3), which is no longer safe; sign it in V4 (SHA-256, from PT-146911 on)")
	case !lowerHex(k.Signature, 64):
		add("kingdee-signature-form", "登录链接的 signeddata 不是 V4 签名：应为 64 位小写十六进制", "signeddata of the login link is no V4 signature: want 64 lower-case hexadecimal digits")
	}
	if n, ok := k.PermitCount(); !ok || n != 1 {
		add("kingdee-reusable", `登录链接可重复使用；请在 otherargs 中写入 |{'permitcount':'1'} 并计入签名`,
			`the login link can be used again and again; put |{'permitcount':'1'} into otherargs, and permitcount into the signature`)
	}
	if !k.Timestamp.IsZero() && !now.IsZero() {
		switch age := now.Sub(k.Timestamp); {
		case age > maxLife:
			add("kingdee-old", "登录链接生成于 %s，已超过有效期 %s；请在发送前重新生成", "the login link was made at %s, longer ago than its life of %s; make a new one right before sending",
				stamp(k.Timestamp, now), hours(maxLife))
		case age < -skew:
			add("kingdee-future", "登录链接的时间戳 %s 在未来，有效期会因此延长；请校准生成链接的服务器时钟", "the login link is dated %s, in the future, which makes it live longer; set the clock of the server that makes it",
				stamp(k.Timestamp, now))
		}
	}
	return out
}

func stamp(t, now time.Time) string {
	return t.In(now.Location()).Format("2006-01-02 15:04 -07:00")
}

// hours writes a duration as rules.yaml does: 120h, 36h30m.
func hours(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest := strings.TrimSuffix(s, zero); rest != s && (strings.HasSuffix(rest, "m") || strings.HasSuffix(rest, "h")) {
			s = rest
		}
	}
	return s
}

func lowerHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
