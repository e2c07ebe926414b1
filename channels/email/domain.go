package email

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// spfOf are the names by which a hosted provider's servers are allowed in SPF. All from memory, none of it checked:
// one line each to change.
var spfOf = map[string][]string{
	"exchange":    {"spf.protection.outlook.com", "spf.protection.partner.outlook.cn"},
	"gmail":       {"_spf.google.com"},
	"qq":          {"spf.mail.qq.com"},
	"netease":     {"spf.163.com", "spf.netease.com"},
	"aliyun-qiye": {"spf.mxhichina.com", "spf.qiye.aliyun.com"},
	"aliyun-dm":   {"spfdm.aliyun.com", "spf1.dm.aliyun.com"},
}

// usualSelectors are those that common mail systems sign with. A domain's selectors cannot be listed, only guessed.
// From memory.
var usualSelectors = []string{"default", "selector1", "selector2", "google", "s1", "s2", "k1", "mail", "dkim", "s201512", "aliyun-cn-hangzhou"}

// maxSPF is how many questions a receiver asks for one SPF record, those of its includes among them (RFC 7208
// section 4.6.4).
const maxSPF = 10

// examineSender looks at what the domain of the sender says in DNS. The names end in a dot: the search list of this
// machine is none of the receivers' business.
func (c *channel) examineSender(ctx context.Context, x *channels.Examination) {
	s := senderDomain{x: x, provider: c.provider, domain: domainOf(c.from)}
	if !public(s.domain) {
		x.Step(ctx, "dns.mx", channels.Text("发件域", "Sender’s domain"), func(context.Context) channels.Finding {
			return channels.Finding{Level: channels.Unseen, Seen: channels.Text("%[1]s 不是公网域名，不检查 MX、SPF、DKIM、DMARC", "%[1]s is no public domain: no MX, SPF, DKIM or DMARC to look at", s.domain)}
		})
		return
	}
	if c.DKIM != nil && len(x.Selectors) == 0 {
		x.Selectors = []string{c.DKIM.Selector}
	}
	x.Step(ctx, "dns.mx", channels.Text("发件域 MX", "Sender’s MX"), s.mx)
	spf := x.Step(ctx, "dns.spf", channels.Text("发件域 SPF", "Sender’s SPF"), s.spf)
	x.Step(ctx, "dns.dkim", channels.Text("发件域 DKIM", "Sender’s DKIM"), s.dkim)
	x.Step(ctx, "dns.dmarc", channels.Text("发件域 DMARC", "Sender’s DMARC"), func(ctx context.Context) channels.Finding { return s.dmarc(ctx, spf) })
}

// public says whether a domain can be in the public DNS: its last label is a top-level domain. Names within a company
// (erp.local) and reserved ones (huaxing.example) are not.
func public(domain string) bool {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return icann || strings.Contains(suffix, ".")
}

type senderDomain struct {
	x                *channels.Examination
	provider, domain string
}

// advise is a finding that only the domain's owner can mend.
func advise(l channels.Level, seen, cause, remedy schemas.Text) channels.Finding {
	return channels.Finding{Level: l, Seen: seen, Advice: &channels.Diagnosis{
		Class: channels.Config, Known: true, Retry: "no", Owner: "channel-owner", Cause: cause, Remedy: remedy,
	}}
}

// unanswered is a question that DNS did not answer, nil for an answer, "no such name" included.
func unanswered(err error) *channels.Finding {
	dns, ok := errors.AsType[*net.DNSError](err)
	if err == nil || ok && dns.IsNotFound {
		return nil
	}
	return &channels.Finding{
		Level: channels.Doubtful, Seen: channels.Text("DNS 未应答，无法检查", "DNS did not answer"),
		Failure: &channels.Failure{Kind: "email", Provider: "transport", Code: "net:dns-temporary", Class: channels.Temporary},
	}
}

func (s *senderDomain) mx(ctx context.Context) channels.Finding {
	list, err := s.x.Resolver.LookupMX(ctx, s.domain+".")
	if f := unanswered(err); f != nil {
		return *f
	}
	if len(list) == 0 {
		if _, err := s.x.Resolver.LookupNetIP(ctx, "ip", s.domain+"."); err == nil {
			return advise(channels.Doubtful, channels.Text("%[1]s 没有 MX 记录，退信将投向其 A 记录", "%[1]s has no MX; bounces go to its A record", s.domain),
				channels.Text("多数域名的 A 记录是网站，收不到退信", "in most domains that is the web site, which takes no bounces"),
				channels.Text("请在域名解析中添加 MX 记录，或改用能收信的发件域", "Add an MX record, or send from a domain that receives mail"))
		}
		return advise(channels.Bad, channels.Text("%[1]s 没有 MX 也没有 A 记录", "%[1]s has neither MX nor A record", s.domain),
			channels.Text("发件域不能收信，退信无处可去，许多服务器会拒收", "the domain takes no mail: bounces are lost and many servers refuse the sender"),
			channels.Text("请核对 from 的域名是否写错，或为该域名添加 MX 记录", "See whether the domain in “from” is misspelt, or give it an MX record"))
	}
	var names []string
	for _, mx := range list {
		if mx.Host == "." || mx.Host == "" { // RFC 7505
			return advise(channels.Bad, channels.Text("%[1]s 声明不收邮件（空 MX）", "%[1]s declares that it takes no mail (null MX)", s.domain),
				channels.Text("服务器会拒收来自这种域名的邮件", "servers refuse mail from such a domain"),
				channels.Text("请改用能收信的发件域", "Send from a domain that receives mail"))
		}
		names = append(names, strings.TrimSuffix(mx.Host, "."))
	}
	return channels.Finding{Seen: channels.Text("%[1]s → %[2]s", "%[1]s → %[2]s", s.domain, channels.Line(strings.Join(names, ", ")))}
}

// spfRecords are the domain's SPF records.
func (s *senderDomain) spfRecords(ctx context.Context, domain string) ([]string, error) {
	all, err := s.x.Resolver.LookupTXT(ctx, domain+".")
	var out []string
	for _, t := range all {
		if first, _, _ := strings.Cut(strings.ToLower(t), " "); first == "v=spf1" {
			out = append(out, t)
		}
	}
	return out, err
}

func (s *senderDomain) spf(ctx context.Context) channels.Finding {
	found, err := s.spfRecords(ctx, s.domain)
	if f := unanswered(err); f != nil {
		return *f
	}
	known := spfOf[s.provider]
	example := channels.Text("v=spf1 ip4:<发信服务器的公网地址> -all", "v=spf1 ip4:<public address of the sending server> -all")
	if len(known) > 0 {
		example = channels.Text("v=spf1 include:%[1]s -all", "v=spf1 include:%[1]s -all", known[0])
	}
	switch len(found) {
	case 0:
		return advise(channels.Bad, channels.Text("%[1]s 没有 SPF 记录", "%[1]s has no SPF record", s.domain),
			channels.Text("收件方无法确认发信服务器得到授权，邮件会被拒收或进入垃圾箱", "receivers cannot tell that the server may send for this domain: mails are refused or end as spam"),
			schemas.Text{Zh: "请域名管理员添加 TXT 记录：" + example.Zh, En: "Have the domain’s administrator add a TXT record: " + example.En})
	case 1:
	default:
		return advise(channels.Bad, channels.Text("%[1]s 有 %[2]d 条 SPF 记录", "%[1]s has %[2]d SPF records", s.domain, len(found)),
			channels.Text("多条 SPF 记录等于无效（RFC 7208：permerror）", "more than one counts as none (RFC 7208: permerror)"),
			channels.Text("请合并为一条 TXT 记录", "Merge them into one TXT record"))
	}
	seen := channels.Text("%[1]s", "%[1]s", channels.Line(found[0]))
	w := spfWalk{senderDomain: s, allowed: map[string]bool{}}
	w.record(ctx, found[0])
	switch {
	case w.asked > maxSPF:
		return advise(channels.Bad, seen, channels.Text("SPF 需要的 DNS 查询超过 %d 次，收件方按无效处理", "it takes more than %d DNS questions, which receivers count as an error", maxSPF),
			channels.Text("请减少 include 的数量", "Use fewer includes"))
	case w.all == "+all" || w.all == "all":
		return advise(channels.Doubtful, seen, channels.Text("+all 允许任何人冒用该域名发信", "+all lets anybody send for this domain"), channels.Text("请改为 -all", "Write -all instead"))
	case len(known) > 0 && !w.allows(known):
		return advise(channels.Doubtful, seen, channels.Text("其中没有服务商的 %s，该通道发出的邮件可能无法通过 SPF", "the provider’s %s is not in it: mails of this channel may fail SPF", known[0]),
			schemas.Text{Zh: "请在 SPF 记录中加入 include:" + known[0], En: "Add include:" + known[0] + " to the record"})
	case len(known) == 0:
		seen.Zh += "（请自行核对其中包含发信服务器的公网 IP）"
		seen.En += " (see for yourself that the sending server’s public address is in it)"
	}
	return channels.Finding{Seen: seen}
}

// spfWalk follows the includes of a record.
type spfWalk struct {
	*senderDomain
	asked   int
	allowed map[string]bool // names included, at any depth
	all     string          // how the first record ends
}

func (w *spfWalk) record(ctx context.Context, record string) {
	for i, term := range strings.Fields(strings.ToLower(record)) {
		if i == 0 {
			continue
		}
		bare := strings.TrimLeft(term, "+-~?")
		name, isInclude := strings.CutPrefix(bare, "include:")
		if !isInclude {
			name, isInclude = strings.CutPrefix(bare, "redirect=")
		}
		kind, _, _ := strings.Cut(bare, ":")
		kind, _, _ = strings.Cut(kind, "/")
		switch {
		case isInclude:
			w.asked++
			if w.asked > maxSPF || w.allowed[name] || strings.Contains(name, "%") {
				continue
			}
			w.allowed[name] = true
			if more, _ := w.spfRecords(ctx, name); len(more) == 1 {
				sub := w.all
				w.record(ctx, more[0])
				if strings.HasPrefix(bare, "include:") {
					w.all = sub // an included record's own end does not count
				}
			}
		case kind == "a", kind == "mx", kind == "ptr", kind == "exists":
			w.asked++
		case kind == "all":
			w.all = term
		}
	}
}

func (w *spfWalk) allows(names []string) bool {
	for _, n := range names {
		if w.allowed[n] {
			return true
		}
	}
	return false
}

func (s *senderDomain) dkim(ctx context.Context) channels.Finding {
	selectors, given := s.x.Selectors, len(s.x.Selectors) > 0
	if !given {
		selectors = usualSelectors
	}
	var good, revoked []string
	for _, sel := range selectors {
		records, err := s.x.Resolver.LookupTXT(ctx, sel+"._domainkey."+s.domain+".")
		if f := unanswered(err); f != nil {
			return *f
		}
		for _, r := range records {
			if key, ok := tag(r, "p"); ok && key != "" {
				good = append(good, sel)
			} else if ok {
				revoked = append(revoked, sel)
			}
		}
	}
	switch {
	case len(good) > 0:
		return channels.Finding{Seen: channels.Text("找到公钥，选择器：%[1]s", "public keys found for the selectors: %[1]s", strings.Join(good, ", "))}
	case len(revoked) > 0:
		return advise(channels.Bad, channels.Text("选择器 %[1]s 的公钥已被撤销（p= 为空）", "the key of %[1]s is revoked (empty p=)", strings.Join(revoked, ", ")),
			channels.Text("用它签名的邮件无法通过 DKIM", "mails signed with it fail DKIM"), channels.Text("请换用新的选择器和密钥", "Sign with another selector and key"))
	case given:
		return advise(channels.Bad, channels.Text("选择器 %[1]s 没有公钥记录", "there is no key for the selector %[1]s", strings.Join(selectors, ", ")),
			channels.Text("用它签名的邮件无法通过 DKIM", "mails signed with it fail DKIM"),
			schemas.Text{Zh: "请添加 TXT 记录 " + selectors[0] + "._domainkey." + s.domain, En: "Add the TXT record " + selectors[0] + "._domainkey." + s.domain})
	}
	return advise(channels.Doubtful, channels.Text("常用选择器下没有找到公钥（选择器无法列举）", "no key under the usual selectors (they cannot be listed)"),
		channels.Text("未启用 DKIM，或用了别的选择器", "DKIM is not in use, or has another selector"),
		channels.Text("向邮箱服务商确认选择器后，用 --dkim-selector 再查；未启用的话请在邮箱管理后台开启 DKIM", "Ask the mail provider for the selector and look again with --dkim-selector; if DKIM is off, switch it on in the provider’s console"))
}

// tag is the value of name=value in a record of DKIM or DMARC (RFC 6376 section 3.2).
func tag(record, name string) (string, bool) {
	for part := range strings.SplitSeq(record, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func (s *senderDomain) dmarc(ctx context.Context, spf bool) channels.Finding {
	at := s.domain
	record, err := s.dmarcRecord(ctx, at)
	if org := organisation(s.domain); err == nil && record == "" && !strings.EqualFold(org, s.domain) {
		at = org
		record, err = s.dmarcRecord(ctx, at)
	}
	if f := unanswered(err); f != nil {
		return *f
	}
	if record == "" {
		return advise(channels.Doubtful, channels.Text("%[1]s 没有 DMARC 记录", "%[1]s has no DMARC record", s.domain),
			channels.Text("大批量发信时 Gmail 等会要求 DMARC，且冒用域名的邮件不会被拦截", "Gmail and others ask for it of those who send much, and forged mails are not stopped"),
			schemas.Text{
				Zh: fmt.Sprintf("请添加 TXT 记录 _dmarc.%[1]s：v=DMARC1; p=none; rua=mailto:dmarc@%[1]s", s.domain),
				En: fmt.Sprintf("Add the TXT record _dmarc.%[1]s: v=DMARC1; p=none; rua=mailto:dmarc@%[1]s", s.domain),
			})
	}
	policy, _ := tag(record, "p")
	if sub, ok := tag(record, "sp"); ok && at != s.domain {
		policy = sub
	}
	if !spf && (policy == "reject" || policy == "quarantine") {
		return advise(channels.Doubtful, channels.Text("%[1]s 的策略为 p=%[2]s", "the policy of %[1]s is p=%[2]s", at, channels.Line(policy)),
			channels.Text("SPF 不通过时，只有 DKIM 与发件域一致的邮件才会被接收", "while SPF fails, only mails with a DKIM signature of this domain are taken"),
			channels.Text("请先修复 SPF，并确认已启用 DKIM", "Mend SPF first, and make sure that DKIM is on"))
	}
	return channels.Finding{Seen: channels.Text("%[1]s 的策略为 p=%[2]s", "the policy of %[1]s is p=%[2]s", at, channels.Line(policy))}
}

func (s *senderDomain) dmarcRecord(ctx context.Context, domain string) (string, error) {
	records, err := s.x.Resolver.LookupTXT(ctx, "_dmarc."+domain+".")
	for _, r := range records {
		if strings.HasPrefix(r, "v=DMARC1") {
			return r, nil
		}
	}
	if unanswered(err) == nil {
		err = nil
	}
	return "", err
}
