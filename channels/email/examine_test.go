package email

import (
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// examine takes all steps of a channel and returns them by id.
func examine(t *testing.T, ch channels.Channel, dns *channeltest.DNS, change func(*channels.Examination)) map[string]channels.Step {
	t.Helper()
	steps := map[string]channels.Step{}
	x := &channels.Examination{
		Resolver: dns.Resolver(), Limit: 5 * time.Second, Now: time.Now,
		Report: func(s channels.Step) {
			if _, twice := steps[s.ID]; twice {
				t.Errorf("%s is reported twice", s.ID)
			}
			steps[s.ID] = s
		},
	}
	if change != nil {
		change(x)
	}
	e, ok := ch.(channels.Examiner)
	if !ok {
		t.Fatal("no examination")
	}
	e.Examine(t.Context(), x)
	return steps
}

func TestExamineTheSendersDomain(t *testing.T) {
	base := channeltest.Zone{
		"example.com":                {"MX mx.example.com", "TXT v=spf1 include:a.example.net -all", "TXT something else"},
		"a.example.net":              {"TXT v=spf1 ip4:192.0.2.1 -all"},
		"s1._domainkey.example.com":  {"TXT v=DKIM1; k=rsa; p=MIIB"},
		"_dmarc.example.com":         {"TXT v=DMARC1; p=reject"},
		"loop.example.net":           {"TXT v=spf1 include:loop.example.net -all"},
		"many.example.net":           {"TXT v=spf1 a mx a mx a mx a mx a mx a -all"},
		"spf.protection.outlook.com": {"TXT v=spf1 ip4:192.0.2.9 -all"},
	}
	tests := []struct {
		name     string
		set      map[string][]string
		provider string
		selector string
		want     map[string]channels.Level
	}{
		{"all is well", nil, "", "", map[string]channels.Level{"dns.mx": "ok", "dns.spf": "ok", "dns.dkim": "ok", "dns.dmarc": "ok"}},
		{"the provider is included", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 include:spf.protection.outlook.com -all"}}, "exchange", "", map[string]channels.Level{"dns.spf": "ok"}},
		{"by way of another", map[string][]string{"a.example.net": {"TXT v=spf1 include:spf.protection.outlook.com -all"}}, "exchange", "", map[string]channels.Level{"dns.spf": "ok"}},
		{"by redirect", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 redirect=spf.protection.outlook.com"}}, "exchange", "", map[string]channels.Level{"dns.spf": "ok"}},
		{"the provider is not included", nil, "exchange", "", map[string]channels.Level{"dns.spf": "warn"}},
		{"two SPF records", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 -all", "TXT v=spf1 +all"}}, "", "", map[string]channels.Level{"dns.spf": "fail"}},
		{"everybody may send", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 +all"}}, "", "", map[string]channels.Level{"dns.spf": "warn"}},
		{"an include that lets all", map[string][]string{"a.example.net": {"TXT v=spf1 +all"}}, "", "", map[string]channels.Level{"dns.spf": "ok"}},
		{"an SPF loop", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 include:loop.example.net -all"}}, "", "", map[string]channels.Level{"dns.spf": "ok"}},
		{"too many questions", map[string][]string{"example.com": {"MX a.b", "TXT v=spf1 include:many.example.net -all"}}, "", "", map[string]channels.Level{"dns.spf": "fail"}},
		{"no SPF weakens DMARC", map[string][]string{"example.com": {"MX a.b"}}, "", "", map[string]channels.Level{"dns.spf": "fail", "dns.dmarc": "warn"}},
		{"no MX but an address", map[string][]string{"example.com": {"A 192.0.2.1", "TXT v=spf1 -all"}}, "", "", map[string]channels.Level{"dns.mx": "warn"}},
		{"null MX", map[string][]string{"example.com": {"MX ."}}, "", "", map[string]channels.Level{"dns.mx": "fail"}},
		{"no domain", map[string][]string{"example.com": nil, "_dmarc.example.com": nil, "s1._domainkey.example.com": nil}, "", "", map[string]channels.Level{"dns.mx": "fail", "dns.spf": "fail", "dns.dkim": "warn", "dns.dmarc": "warn"}},
		{"a revoked key", map[string][]string{"s1._domainkey.example.com": {"TXT v=DKIM1; p="}}, "", "", map[string]channels.Level{"dns.dkim": "fail"}},
		{"the selector is named", nil, "", "other", map[string]channels.Level{"dns.dkim": "fail"}},
		{"a selector behind CNAME", map[string][]string{"x._domainkey.example.com": {"CNAME s1._domainkey.example.com", "TXT v=DKIM1; p=MIIB"}}, "", "x", map[string]channels.Level{"dns.dkim": "ok"}},
		{"DNS is silent", map[string][]string{"example.com": {"SERVFAIL"}}, "", "", map[string]channels.Level{"dns.mx": "warn", "dns.spf": "warn"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			zone := channeltest.Zone{}
			for name, records := range base {
				zone[name] = records
			}
			for name, records := range tt.set {
				if zone[name] = records; records == nil {
					delete(zone, name)
				}
			}
			ch := openScript(t, play(t, speak("", nil)), nil)
			if tt.provider != "" {
				ch.(*channel).provider = tt.provider
			}
			steps := examine(t, ch, channeltest.StartDNS(t, zone), func(x *channels.Examination) {
				if tt.selector != "" {
					x.Selectors = []string{tt.selector}
				}
			})
			for id, want := range tt.want {
				s := steps[id]
				if s.Level != want {
					t.Errorf("%s is %s, want %s: %s", id, s.Level, want, s.Seen.En)
				}
				if (s.Level == channels.Bad || s.Level == channels.Doubtful) && s.Advice == nil && s.Failure == nil {
					t.Errorf("%s is not explained", id)
				}
			}
		})
	}
}

// A subdomain is covered by the policy of its organisation, with sp= before p=.
func TestExamineDMARCOfTheOrganisation(t *testing.T) {
	dns := channeltest.StartDNS(t, channeltest.Zone{"_dmarc.example.com": {"TXT v=DMARC1; p=reject; sp=none"}})
	ch := openScript(t, play(t, speak("", nil)), func(c *Config) { c.From = "erp@mail.example.com" })
	if s := examine(t, ch, dns, nil)["dns.dmarc"]; s.Level != channels.Good || !strings.Contains(s.Seen.En, "example.com is p=none") {
		t.Errorf("%s %s", s.Level, s.Seen.En)
	}
}

func TestExamineWithoutAPublicDomain(t *testing.T) {
	for _, from := range []string{"erp@localhost", "erp@erp.local", "erp@huaxing.example"} {
		ch := openScript(t, play(t, speak("", nil)), func(c *Config) { c.From = from })
		steps := examine(t, ch, channeltest.StartDNS(t, channeltest.Zone{}), nil)
		if steps["dns.mx"].Level != channels.Unseen || steps["dns.spf"].ID != "" {
			t.Errorf("%s: %+v", from, steps)
		}
	}
	for domain, want := range map[string]bool{"example.com": true, "mail.example.com.cn": true, "中国.example": false, "xn--fiqs8s": true, "[192.0.2.1]": false, "erp.github.io": true} {
		if public(domain) != want {
			t.Errorf("%s: public is %v", domain, !want)
		}
	}
}

// The dialogue: which step says what, and that no mail is handed over.
func TestExamineTheServer(t *testing.T) {
	dns := channeltest.StartDNS(t, channeltest.Zone{"example.com": {"MX mx.example.com"}})
	login := func(c *Config) { c.Username, c.PasswordFile = "erp", "password" }
	for _, tt := range []struct {
		name       string
		extensions string
		replies    map[string]string
		change     func(*Config)
		step       string
		level      channels.Level
		code       string
	}{
		{"all is well", "AUTH=PLAIN SIZE=1000000", nil, login, "limits", "ok", ""},
		{"no login wanted", "", nil, nil, "auth", "skip", ""},
		{"clear text", "", nil, nil, "tls", "skip", ""},
		{"no AUTH", "SIZE=1", nil, login, "auth", "fail", "net:not-offered"},
		{"wrong password", "AUTH=PLAIN", map[string]string{"AUTH": "535 5.7.8 no"}, login, "auth", "fail", "535 5.7.8"},
		{"greeted with no", "", map[string]string{"220": "554 5.7.1 your address is blocked"}, nil, "smtp", "fail", "554 5.7.1"},
		{"cut at the greeting", "", map[string]string{"220": ""}, nil, "smtp", "fail", "net:eof-greeting"},
		{"the sender may not", "", map[string]string{"MAIL": "553 5.7.1 not your address"}, nil, "sender", "fail", "553 5.7.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := play(t, speak(tt.extensions, tt.replies))
			got := examine(t, openScript(t, s, tt.change), dns, nil)[tt.step]
			code := ""
			if got.Failure != nil {
				code = got.Failure.Code
			}
			if got.Level != tt.level || code != tt.code {
				t.Errorf("%s is %q with %q, want %s with %q: %s", tt.step, got.Level, code, tt.level, tt.code, got.Seen.En)
			}
			if _, mails := s.counts(); mails != 0 {
				t.Errorf("%d mails were sent", mails)
			}
			if strings.Contains(got.Seen.En+got.Seen.Zh, password) {
				t.Error("the password is shown")
			}
		})
	}
}

// A server that quotes the login in its refusal does not make it public.
func TestExamineHidesTheLogin(t *testing.T) {
	echo := func(_ *script, c *textproto.Conn) {
		_ = c.PrintfLine("220 far")
		for {
			line, err := c.ReadLine()
			if err != nil {
				return
			}
			switch verb, rest, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				_ = c.PrintfLine("250-far\r\n250 AUTH PLAIN")
			case "AUTH":
				_ = c.PrintfLine("535 5.7.8 cannot log in with %s or %s", rest, password)
			default:
				_ = c.PrintfLine("250 Ok")
			}
		}
	}
	ch := openScript(t, play(t, echo), func(c *Config) { c.Username, c.PasswordFile = "erp", "password" })
	got := examine(t, ch, channeltest.StartDNS(t, channeltest.Zone{}), nil)["auth"]
	if got.Failure == nil || strings.Contains(got.Failure.Line, password) || strings.Contains(got.Failure.Line, "cannot log in with PLAIN AGVycA") {
		t.Errorf("%+v", got.Failure)
	}
}

func TestGreetingTime(t *testing.T) {
	for said, want := range map[string]string{
		"220 AB1.EXAMPLE.COM Microsoft ESMTP MAIL Service ready at Wed, 25 Nov 2026 07:30:30 +0000": "2026-11-25T07:30:30Z",
		"220 mail ESMTP Sendmail 8.18.1/8.18.1; Wed, 25 Nov 2026 15:30:30 +0800":                    "2026-11-25T07:30:30Z",
		"220 newxmesmtplogicsvrszc5-0.qq.com XMail Esmtp QQ Mail Server.":                           "0001-01-01T00:00:00Z",
		"220 Wed, 99 Nov 2026 07:30:30 +0000":                                                       "0001-01-01T00:00:00Z",
	} {
		var g greeting
		g.said.WriteString(said)
		if theirs, _ := g.time(); theirs.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %s, want %s", said, theirs, want)
		}
	}
}

// A server that greets without end is not listened to without end.
func TestExamineEndsAnEndlessGreeting(t *testing.T) {
	ch := openScript(t, play(t, func(_ *script, c *textproto.Conn) {
		for c.PrintfLine("220-%s", strings.Repeat("welcome ", 100)) == nil {
		}
	}), nil)
	got := examine(t, ch, channeltest.StartDNS(t, channeltest.Zone{}), nil)["smtp"]
	if got.Failure == nil || !strings.Contains(got.Failure.Line, "longer than") {
		t.Errorf("%+v: %+v", got, got.Failure)
	}
}
