// Package link judges the links in a message: where they lead, and whether they log somebody in. A login link
// is a key sent by mail; it must be signed with SHA-256, short-lived and good once only, and travel over https.
// docs/configuration.md, Links, lists what is found.
package link

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The rules as verdicts name them.
const (
	Rule      = "link"       // where a link leads
	RuleLogin = "login-link" // a link that logs somebody in
)

// Config is the section guards.link.
type Config struct {
	// AllowHosts are the hosts to which links may lead: a name, *.example.com for all names below one, or an
	// IP address. Links elsewhere stop marketing, and are pointed out in other messages. None: no such rule.
	AllowHosts []string `yaml:"allow_hosts"`
	// Login is what a link asks for that surely logs somebody in and is not safe: block (the default), review, or
	// pass, with which login links are not judged. One that only looks like such a link is pointed out.
	Login string `yaml:"login"`
	// MaxLife is how long a login link may be of use; default and most 120h ([MaxLife]).
	MaxLife time.Duration `yaml:"max_life,omitempty"`
	// Verify says who may make Kingdee login links; absent: anybody.
	Verify *Verify `yaml:"verify"`
}

// Verify is the record in Kingdee's 第三方系统登录授权 with which login links are made.
type Verify struct {
	AppID string `yaml:"app_id"`
	// SecretFile holds the application's secret; two, one a line, while one replaces the other. Without it the
	// signature's form is judged, but not computed.
	SecretFile string `yaml:"secret_file"`
}

// Bounds of a secret file.
const (
	maxSecrets = 2
	maxSecret  = 1 << 10 // bytes of one
)

// maxHits bounds the hits of one message; the first ones are kept, what blocks before the rest.
const maxHits = 20

//go:embed shorteners.txt
var shortenerFile string

var shorteners = readShorteners(shortenerFile)

func readShorteners(file string) map[string]bool {
	set := make(map[string]bool)
	for line := range strings.Lines(file) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			set[line] = true
		}
	}
	return set
}

type guard struct {
	allowed map[string]bool // names and *.names, in Unicode
	login   string          // block, review or pass
	maxLife time.Duration
	appID   string
	secrets []string
}

// New opens the guard; it is a [rules.GuardFactory].
func New(decode func(into any) error, env rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := &guard{allowed: make(map[string]bool), login: cmp.Or(c.Login, rules.ReportBlock), maxLife: MaxLife}
	for _, entry := range c.AllowHosts {
		host, err := allowedHost(entry)
		if err != nil {
			return nil, fmt.Errorf("allow_hosts: %w", err)
		}
		g.allowed[host] = true
	}
	if !slices.Contains([]string{rules.ReportBlock, rules.ReportReview, rules.ReportPass}, g.login) {
		return nil, fmt.Errorf("login is %q; known are block, review, pass", g.login)
	}
	if c.MaxLife != 0 {
		g.maxLife = c.MaxLife
	}
	if g.maxLife < time.Minute || g.maxLife > MaxLife {
		return nil, fmt.Errorf("max_life is %s, want 1m to %s", c.MaxLife, hours(MaxLife))
	}
	if v := c.Verify; v != nil {
		if v.AppID == "" {
			return nil, errors.New("verify: app_id is missing")
		}
		g.appID = v.AppID
		if v.SecretFile != "" {
			b, err := env.Read(v.SecretFile)
			if err != nil {
				return nil, fmt.Errorf("verify.secret_file: %w", err)
			}
			if g.secrets, err = readSecrets(b); err != nil {
				return nil, fmt.Errorf("verify.secret_file %s: %w", v.SecretFile, err)
			}
		}
	}
	return g, nil
}

func allowedHost(entry string) (string, error) {
	bad := fmt.Errorf("%q is no host; want erp.example.com, *.example.com or an IP address, without scheme, port and path", entry)
	name, star := strings.CutPrefix(strings.ToLower(entry), "*.")
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if numeric(name) && !star {
		return name, nil
	}
	name = toUnicode(name)
	if name == "" || numeric(name) || strings.ContainsAny(name, "*/:@?# \t\\") || strings.Contains(name, "..") || name[0] == '.' {
		return "", bad
	}
	if _, err := idna.Punycode.ToASCII(name); err != nil {
		return "", bad
	}
	if star {
		return "*." + name, nil
	}
	return name, nil
}

func readSecrets(b []byte) ([]string, error) {
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(line) > maxSecret {
			return nil, fmt.Errorf("a secret has more than %d bytes", maxSecret)
		}
		out = append(out, line)
	}
	if len(out) == 0 || len(out) > maxSecrets {
		return nil, fmt.Errorf("it holds %d secrets, want 1, or 2 while one replaces the other, one a line", len(out))
	}
	return out, nil
}

func (g *guard) allows(host string) bool {
	if g.allowed[host] {
		return true
	}
	for rest := host; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return false
		}
		if g.allowed["*."+after] {
			return true
		}
		rest = after
	}
}

// Judge suppresses a message with a link that it must not carry, and points out others.
func (g *guard) Judge(in rules.Input) rules.Verdict {
	var all []sighting
	seen := make(map[string]bool) // what was said of the same URL in the same field
	judged := 0
	for _, p := range parts(&in.Delivery.Message) {
		for _, l := range p.links {
			if judged++; judged > maxLinks {
				all = append(all, sighting{tooMany, p, l.span, l.url, rules.ReportReview})
				break
			}
			all = append(all, g.judge(in, p, l, seen)...)
		}
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return cmp.Compare(a.action, b.action) }) // block, review
	var hits []schemas.Hit
	for _, s := range all[:min(len(all), maxHits)] {
		hits = append(hits, s.hit(&in.Delivery.Message))
	}
	return rules.Judged(hits)
}

var tooMany = finding{Rule, "many", false, schemas.Text{
	Zh: fmt.Sprintf("消息中的链接超过 %d 个，其余未检查；请减少链接", maxLinks),
	En: fmt.Sprintf("the message has more than %d links, and the rest were not judged; use fewer", maxLinks),
}}

// sighting is a finding, where it is, and what it costs.
type sighting struct {
	finding
	part   part
	at     span
	url    string
	action string
}

func (g *guard) judge(in rules.Input, p part, l located, seen map[string]bool) []sighting {
	var out []sighting
	for _, url := range nested(l.url, 0) {
		a := split(url)
		findings := g.judgeHost(&a, in.Kind, in.Delivery.Category)
		if g.login != rules.ReportPass {
			findings = append(findings, g.judgeLogin(&a, in.Now, in.Delivery.Expires)...)
		}
		for _, f := range findings {
			// A parameter of an SMS stands in its text as well, and one URL often twice in an HTML mail.
			key := p.group + "\x00" + url + "\x00" + f.code
			if seen[key] {
				continue
			}
			seen[key] = true
			s := sighting{f, p, l.span, url, rules.ReportReview}
			if f.unsafe && (f.rule == Rule || g.login == rules.ReportBlock) {
				s.action = rules.ReportBlock
			}
			out = append(out, s)
		}
	}
	return out
}

func (s sighting) hit(m *schemas.Message) schemas.Hit {
	h := rules.HitAtBytes(s.rule, s.action, s.part.field, s.part.text, s.at.start, s.at.end, s.advice)
	h.Text, h.Term, h.Origin = masked(s.url), s.code, origin(m, s.url)
	return h
}

// judgeHost judges where a URL leads.
func (g *guard) judgeHost(a *address, kind string, category schemas.Category) []finding {
	if a.host == "" || a.scheme != "" && a.scheme != "http" && a.scheme != "https" && a.scheme != "k3cloud" {
		return nil
	}
	var out []finding
	add := func(code string, unsafe bool, zh, en string) {
		out = append(out, finding{Rule, code, unsafe, schemas.Text{Zh: zh, En: en}})
	}
	if a.userinfo != "" {
		add("userinfo", false, "链接的主机名前带有“…@”，容易让人误认目的地；请删除 @ 及其前面的内容",
			"something@ stands in front of the link's host and hides where it leads; take it out")
	}
	if g.allows(a.host) {
		return out
	}
	if len(g.allowed) > 0 {
		add("host", category == schemas.Marketing, "链接指向 guards.link.allow_hosts 之外的主机；请改用已登记的域名，或由管理员将其加入列表",
			"the link leads to a host that guards.link.allow_hosts does not list; use one that it lists, or let it be added")
	}
	switch {
	case numeric(a.host):
		add("ip", false, "链接使用 IP 地址，收件人无法辨认，手机也常会拦截；请改用域名",
			"the link leads to an IP address, which recipients cannot recognise and phones often warn of; use a name")
	case lookAlike(a.host):
		add("look-alike", false, "链接的主机名含有形似英文字母的字符，可能是仿冒网址；请核对并改用英文或中文域名",
			"the link's host has letters that pass for Latin ones, as forged addresses do; check it, and use a name in Latin or Chinese letters")
	case kind == "sms" && shorteners[strings.TrimPrefix(a.host, "www.")]:
		add("short", false, "短信中的短链接看不出目的地，运营商常会拦截；请改用自有域名，或使用短信服务商提供的短链接",
			"nobody can see where a short link in an SMS leads, and carriers often stop it; use a domain of your own or the SMS provider's own short links")
	}
	return out
}

// maxDepth is how deep URLs within URLs are looked for.
const maxDepth = 3

// nested is a URL and those that it carries: where to go after the login, what a redirect leads to.
func nested(url string, depth int) []string {
	out := []string{url}
	if depth == maxDepth {
		return out
	}
	_, rest := cutScheme(url)
	i := strings.IndexAny(rest, "/?#")
	if i < 0 || len(url) > maxURL {
		return out
	}
	inner := unescape(rest[i+1:])
	if !strings.Contains(inner, "://") {
		return out
	}
	for _, s := range find(inner, maxLinks) {
		if u := inner[s.start:s.end]; strings.Contains(u, "://") && len(out) < maxHits {
			out = append(out, nested(u, depth+1)...)
		}
	}
	return out[:min(len(out), maxHits)]
}

// origin is the parameter in which a URL came, as far as the message shows it.
func origin(m *schemas.Message, url string) string {
	names := make([]string, 0, 1)
	for name, value := range m.Params {
		if strings.Contains(value, url) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "params/" + slices.Min(names)
}
