package link

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// finding is one thing about a URL, before the settings decide what it costs.
type finding struct {
	rule   string
	code   string
	unsafe bool // surely a login link, and surely not a safe one
	advice schemas.Text
}

func found(code string, unsafe bool, zh, en string, args ...any) finding {
	return finding{RuleLogin, code, unsafe, rules.Textf(zh, en, args...)}
}

// Names of parameters, in lower case.
var (
	// tokens log somebody in, or hold a session, wherever they are found.
	tokens = []string{
		"token", "access_token", "accesstoken", "id_token", "idtoken", "refresh_token", "auth_token", "authtoken",
		"login_token", "logintoken", "sso_token", "ssotoken", "sso", "jwt", "ticket", "session", "sessionid", "session_id",
		"sid", "jsessionid", "phpsessid", "kdservice-sessionid", "autologin", "magic", "magic_link", "otp", "ud",
		"samlresponse", "samlart", "assertion", "credential", "password", "passwd", "pwd", "secret", "appsecret",
		"app_secret", "client_secret",
	}
	// bearers are those of them that are made for nothing else.
	bearers = []string{
		"access_token", "accesstoken", "id_token", "idtoken", "auth_token", "authtoken", "login_token", "logintoken",
		"sso_token", "ssotoken", "sso", "jwt",
	}
	// signs log somebody in here and sign a download or a page there: only their looks tell.
	signs = []string{"sign", "signature", "sig", "code", "auth", "key"}
	users = []string{"user", "username", "userid", "user_id", "uid", "account", "acct", "loginname", "login", "name"}
)

// minToken is the shortest value of a token that counts, in bytes. sid=42 is the number of something.
const minToken = 8

// judgeLogin finds what is to be said about a URL as a login link; nothing when it is none, or a safe one.
func (g *guard) judgeLogin(a *address, now, expires time.Time) []finding {
	out, certain := g.judgeKingdee(a, now, expires)
	if !certain {
		out, certain = g.judgeToken(a, now)
	}
	if certain && a.scheme == "http" {
		out = append(out, found("http", true, "登录链接使用 http，途中任何人都能截获并冒用；请改用 https",
			"the login link uses http: whoever sits between can take it and log in; use https"))
	}
	return out
}

// judgeKingdee judges links into Kingdee Cloud Galaxy; certain when the URL is one.
func (g *guard) judgeKingdee(a *address, now, expires time.Time) (out []finding, certain bool) {
	path := strings.ToLower(unescape(a.path))
	home := a.scheme == "k3cloud" || strings.Contains(path, "/k3cloud/")
	for _, p := range a.params {
		if p.name != "ud" || p.value == "" {
			continue
		}
		k, err := ParseKingdee(p.value)
		if err != nil {
			if home {
				certain = true
				out = append(out, found("kingdee-unreadable", true, "金蝶登录链接的 ud 无法解析，无法确认其是否安全；请按单点登录 V4 格式重新生成",
					"ud of the Kingdee login link cannot be read (%s), so nobody can tell whether it is safe; make it in the form of single sign-on V4", err))
			}
			continue
		}
		if !home && k.AppID == "" && k.Signature == "" && len(k.Secrets) == 0 {
			continue // base64 of some other JSON
		}
		certain = true
		for _, problem := range k.Check(now, g.maxLife) {
			out = append(out, finding{RuleLogin, problem.Code, true, problem.Text})
		}
		out = append(out, g.verify(k)...)
		if end := k.Timestamp.Add(g.maxLife); !k.Timestamp.IsZero() && !expires.IsZero() && end.After(expires) {
			out = append(out, found("kingdee-outlives", false, "消息 %s 失效，登录链接到 %s 仍可能有效；请让有效期 expires 不早于链接失效时间，或按 ERP 的实际设置调小 guards.link.max_life",
				"the message ends at %s, its login link may be good until %s; let expires reach that far, or set guards.link.max_life to what the ERP really allows",
				stamp(expires, now), stamp(end, now)))
		}
	}
	if sign, ok := a.get("sign"); ok && sign != "" && strings.Contains(path, "/xmobile/") && strings.HasSuffix(path, "cloud.html") {
		certain = true
		if lowerHex(strings.ToLower(sign), 40) {
			out = append(out, found("kingdee-mobile-sha1", true, "移动端登录链接使用 SHA-1 签名，已不安全；请升级补丁，改用 SHA-256 签名",
				"the mobile login link is signed with SHA-1, which is no longer safe; patch the ERP so that it signs with SHA-256"))
		} else {
			out = append(out, found("kingdee-mobile", false, "移动端登录链接中看不出有效期和使用次数；请在金蝶“第三方系统登录授权”中设为仅供使用一次",
				"a mobile login link shows neither how long nor how often it is good; allow it once only, in Kingdee's 第三方系统登录授权"))
		}
	}
	return out, certain
}

// verify checks who made the link, as far as the settings say who may.
func (g *guard) verify(k *Kingdee) []finding {
	switch {
	case g.appID == "":
	case k.AppID != g.appID:
		return []finding{found("kingdee-app", true, "登录链接的 appid 不是 guards.link.verify.app_id 所设的应用；请核对链接来源",
			"appid of the login link is not the one of guards.link.verify.app_id; find out who made it")}
	case len(g.secrets) > 0 && lowerHex(k.Signature, 64) && !k.Verify(g.secrets...):
		return []finding{found("kingdee-forged", true, "登录链接的签名与密钥不符；请核对密钥和参与签名的字段（含 permitcount），并查明链接来源",
			"the signature of the login link does not fit the secret; compare the secret and the values signed (permitcount among them), and find out who made it")}
	}
	return nil
}

// judgeToken judges what carries a token by its name or its looks.
func (g *guard) judgeToken(a *address, now time.Time) (out []finding, certain bool) {
	has := func(names []string) bool {
		return slices.ContainsFunc(a.params, func(p param) bool { return p.value != "" && slices.Contains(names, p.name) })
	}
	if has([]string{"password", "passwd", "pwd"}) && has(users) {
		return []finding{found("password", true, "链接内含用户名和密码，任何看到消息的人都能登录；请立即修改该密码，并从链接中删除",
			"the link carries a user name and a password: whoever sees the message can log in; change that password now and take it out of the link")}, true
	}
	// Downloads that object stores sign (OSS, S3, COS) say when they end and log nobody in.
	download := slices.ContainsFunc(a.params, func(p param) bool {
		return p.name == "expires" || strings.HasSuffix(p.name, "-expires") || p.name == "q-sign-time"
	})
	for _, p := range a.params {
		secret := slices.Contains(tokens, p.name) && len(p.value) >= minToken ||
			slices.Contains(signs, p.name) && tokenish(p.value) && !download || forbidden(p.name) && len(p.value) >= minToken
		exp, jwt := jwtExpiry(p.value)
		if !secret && !jwt {
			continue
		}
		if !jwt || !slices.Contains(bearers, p.name) {
			out = append(out, found("token", false, "链接疑似可直接登录（参数 %[1]s）；请确认其有效期不超过 5 天、只能使用一次，或改为打开登录页",
				"the link looks as if it logged somebody in (parameter %[1]s); make sure that it is good for 5 days at most and once only, or lead to the login page instead", shown(p.name)))
			continue
		}
		certain = true
		switch {
		case exp.IsZero():
			out = append(out, found("jwt-endless", true, "链接中的令牌（参数 %[1]s）没有失效时间；请使用 5 天内失效、只能使用一次的令牌",
				"the token in the link (parameter %[1]s) never ends; use one that ends within 5 days and is good once only", shown(p.name)))
		case now.IsZero(): // no clock (lint): whether it is too long or has ended, sending will tell
			out = append(out, onceOnly(p.name))
		case exp.After(now.Add(g.maxLife)):
			out = append(out, found("jwt-long", true, "链接中的令牌（参数 %[1]s）到 %[2]s 才失效，超过允许的 %[3]s；请缩短有效期",
				"the token in the link (parameter %[1]s) is good until %[2]s, longer than the %[3]s allowed; make it shorter", shown(p.name), stamp(exp, now), hours(g.maxLife)))
		case !exp.After(now):
			out = append(out, found("jwt-ended", true, "链接中的令牌（参数 %[1]s）已于 %[2]s 失效；请在发送前重新生成",
				"the token in the link (parameter %[1]s) ended at %[2]s; make a new one right before sending", shown(p.name), stamp(exp, now)))
		default:
			out = append(out, onceOnly(p.name))
		}
	}
	if len(out) == 0 && loginPath(a.path) {
		out = append(out, found("token", false, "链接疑似可直接登录（路径中含令牌）；请确认其有效期不超过 5 天、只能使用一次，或改为打开登录页",
			"the link looks as if it logged somebody in (a token in its path); make sure that it is good for 5 days at most and once only, or lead to the login page instead"))
	}
	return out, certain
}

// onceOnly is what is to be said about a token that may well be safe.
func onceOnly(name string) finding {
	return found("jwt", false, "链接中的令牌（参数 %[1]s）可直接登录，且看不出使用次数；请确认它只能使用一次",
		"the token in the link (parameter %[1]s) logs somebody in and does not show how often; make sure that it is good once only", shown(name))
}

// shown is a parameter's name in an advice. A fragment or query without names is its value.
func shown(name string) string {
	if name == "" || isValue(name) {
		return "***"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
}

// loginPath says whether a path names a way in and carries a token: /login/3f9c…, /sso/eyJ….
func loginPath(path string) bool {
	way := false
	for part := range strings.SplitSeq(strings.ToLower(path), "/") {
		switch {
		case way && tokenish(unescape(part)):
			return true
		case slices.Contains([]string{"login", "signin", "sign-in", "sso", "auth", "autologin", "magic", "magic-link", "session"}, part):
			way = true
		}
	}
	return false
}

// jwtExpiry reads a JSON Web Token (RFC 7519) without checking its signature: whether the value is one, and
// when it ends; the zero time for never.
func jwtExpiry(s string) (time.Time, bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(s) > maxUD {
		return time.Time{}, false
	}
	var head struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		Exp float64 `json:"exp"` // seconds since 1970, a fraction allowed
	}
	for i, into := range []any{&head, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil || json.Unmarshal(b, into) != nil {
			return time.Time{}, false
		}
	}
	if head.Alg == "" {
		return time.Time{}, false
	}
	if claims.Exp <= 0 || claims.Exp > maxUnix {
		return time.Time{}, true
	}
	return time.Unix(int64(claims.Exp), 0), true
}
