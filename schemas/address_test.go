package schemas

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

func TestNormalizePhone(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"13800138000", "+8613800138000"},
		{"+8613800138000", "+8613800138000"},
		{"+86 138 0013 8000", "+8613800138000"},
		{"86-138-0013-8000", "+8613800138000"},
		{"008613800138000", "+8613800138000"},
		{"0086 13800138000", "+8613800138000"},
		{"013800138000", "+8613800138000"},
		{" 138 0013 8000 ", "+8613800138000"},
		{"(138)00138000", "+8613800138000"},
		{"１３８００１３８０００", "+8613800138000"},
		{"＋８６　１３８－００１３－８０００", "+8613800138000"},
		{"19412345678", "+8619412345678"}, // prefixes that the numbering plan does not list
		{"14012345678", "+8614012345678"},
		{"16912345678", "+8616912345678"},
		{"+85291234567", "+85291234567"},
		{"00852 9123 4567", "+85291234567"},
		{"+886 912 345 678", "+886912345678"},
		{"+1 202-555-0123", "+12025550123"},
		{"+447911123456", "+447911123456"},
	} {
		got, err := NormalizePhone(tt.in)
		if got != tt.want || err != nil {
			t.Errorf("NormalizePhone(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if again, err := NormalizePhone(got); again != got || err != nil {
			t.Errorf("NormalizePhone(%q) = %q, %v: not stable", got, again, err)
		}
	}
	for _, tt := range []struct {
		in   string
		want *ValueError
	}{
		{"010-12345678", phoneLand},
		{"021 62345678", phoneLand},
		{"+86 10 12345678", phoneLand},
		{"400-812-3123", phoneLand},
		{"8008101234", phoneLand},
		{"+85221234567", phoneLand},
		{"85291234567", phoneForm}, // without +, a mainland number that does not exist
		{"106471234567890", phoneForm},
		{"12800138000", phoneForm},
		{"1380013800", phoneForm},
		{"138001380001", phoneForm},
		{"95588", phoneForm},
		{"+999123456", phoneForm},
		{"+", phoneForm},
		{"", phoneSign},
		{"---", phoneSign},
		{"13800138000\n", phoneSign},
		{"13800138000;13900139000", phoneSign},
		{"138+00138000", phoneSign},
		{"1380013800O", phoneSign},
		{"无", phoneSign},
		{strings.Repeat("1", 41), phoneSign},
	} {
		got, err := NormalizePhone(tt.in)
		bad, ok := errors.AsType[*ValueError](err)
		if got != "" || !ok || bad != tt.want {
			t.Errorf("NormalizePhone(%q) = %q, %v, want %q", tt.in, got, err, tt.want.En)
		}
	}
}

func TestMainlandNumber(t *testing.T) {
	for in, want := range map[string]string{
		"+8613800138000": "13800138000", "+8619412345678": "19412345678",
		"+85291234567": "", "13800138000": "", "+861012345678": "", "+86138001380001": "", "": "",
	} {
		if got, ok := MainlandNumber(in); got != want || ok != (want != "") {
			t.Errorf("MainlandNumber(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestCheckEmail(t *testing.T) {
	long := strings.Repeat("a", 63) + "."
	for _, tt := range []struct{ in, want string }{
		{"wang@example.com", "wang@example.com"},
		{" wang@example.com ", "wang@example.com"},
		{"Wang.Fang+erp@Example.COM", "Wang.Fang+erp@example.com"},
		{"o'hara_1{x}@sub.example.co", "o'hara_1{x}@sub.example.co"},
		{"wang@例子.中国", "wang@xn--fsqu00a.xn--fiqs8s"},
		{"wang@xn--fsqu00a.xn--fiqs8s", "wang@xn--fsqu00a.xn--fiqs8s"},
		{"王芳@example.com", "王芳@example.com"},
		{"wang@１６３.com", "wang@163.com"},
		{strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com"},
	} {
		got, err := CheckEmail(tt.in)
		if got != tt.want || err != nil {
			t.Errorf("CheckEmail(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if again, err := CheckEmail(got); again != got || err != nil {
			t.Errorf("CheckEmail(%q) = %q, %v: not stable", got, again, err)
		}
	}
	for _, tt := range []struct {
		in   string
		want *ValueError
	}{
		{"", emailForm},
		{"wang", emailForm},
		{"@example.com", emailForm},
		{"wang@", emailForm},
		{"王芳 <wang@example.com>", emailForm},
		{"<wang@example.com>", emailForm},
		{"wang@example.com, li@example.com", emailForm},
		{"wang fang@example.com", emailForm},
		{`"wang fang"@example.com`, emailForm},
		{".wang@example.com", emailForm},
		{"wang.@example.com", emailForm},
		{"wa..ng@example.com", emailForm},
		{"wang\r\nBcc: x@example.com", emailForm},
		{"wang\u200b@example.com", emailForm},
		{"wang\xff@example.com", emailForm},
		{"wang@example.com\r\n", emailDomain},
		{"wang@qq", emailDomain},
		{"wang@[10.0.0.1]", emailDomain},
		{"wang@10.0.0.1", emailDomain},
		{"wang@-example.com", emailDomain},
		{"wang@exa mple.com", emailDomain},
		{"wang@example..com", emailDomain},
		{"wang@example.com.", emailDomain},
		{"wang@xn--a.com", emailDomain},
		{"wang@a_b.com", emailDomain},
		{strings.Repeat("a", 65) + "@example.com", emailLong},
		{strings.Repeat("王", 22) + "@example.com", emailLong},
		{"wang@" + long + long + long + long + "com", emailLong},
	} {
		got, err := CheckEmail(tt.in)
		bad, ok := errors.AsType[*ValueError](err)
		if got != "" || !ok || bad != tt.want {
			t.Errorf("CheckEmail(%q) = %q, %v, want %q", tt.in, got, err, tt.want.En)
		}
	}
}

func TestMaskNumber(t *testing.T) {
	for in, want := range map[string]string{
		"13800138000":       "138****8000",
		"+8613800138000":    "138****8000",
		"+86 138-0013-8000": "138****8000",
		"008613800138000":   "138****8000",
		"8613800138000":     "138****8000",
		"+85291234567":      "+852****67",
		"00852 9123 4567":   "008****567",
		"+12025550123":      "+120****23",
		"010-12345678":      "010****78",
		"400-812-3123":      "40****23",
		"1234567":           "12****7",
		"123456":            "******",
		"":                  "",
		"  ":                "",
		"１３８００１３８０００":       "１３８****００",
	} {
		if got := MaskNumber(in); got != want {
			t.Errorf("MaskNumber(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMaskEmail(t *testing.T) {
	for in, want := range map[string]string{
		"wang@example.com": "w***@example.com",
		"王芳@example.com":   "王***@example.com",
		"w@example.com":    "***@example.com",
		"@example.com":     "***",
		"nobody":           "***",
		"":                 "***",
	} {
		if got := MaskEmail(in); got != want {
			t.Errorf("MaskEmail(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzMaskNumber: of anything but a mainland mobile number at most half of the digits and letters stay.
func FuzzMaskNumber(f *testing.F) {
	for _, s := range []string{"13800138000", "+85291234567", "1234567", "abc12345", "8613800138000", "+8＋1380013８000"} {
		f.Add(s)
	}
	count := func(s string) (n int) {
		for _, r := range s {
			if unicode.IsLetter(r) || unicode.IsNumber(r) {
				n++
			}
		}
		return n
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := MaskNumber(s)
		limit := count(s) / 2
		if count(s) >= 11 && len(got) == 11 && mainland(strings.Replace(got, "****", "0000", 1)) {
			limit = 7
		}
		if count(got) > limit {
			t.Errorf("MaskNumber(%q) = %q shows %d of %d", s, got, count(got), count(s))
		}
	})
}

func TestDeliveryID(t *testing.T) {
	id := DeliveryID("acme", "/erp", "1", "+8613800138000", "sms")
	if !isDeliveryID(id) {
		t.Errorf("DeliveryID = %q, want 29 of a-z and 2-7", id)
	}
	if again := DeliveryID("acme", "/erp", "1", "+8613800138000", "sms"); again != id {
		t.Errorf("the same delivery has two ids, %s and %s", id, again)
	}
	event, source := EventKey("/erp", "1")
	if IDToken(id) != event || len(event) != 13 || len(source) != 13 || event == source {
		t.Errorf("EventKey = %q, %q; the id %q holds %q", event, source, id, IDToken(id))
	}
	for _, other := range []string{
		DeliveryID("acme", "/erp2", "1", "+8613800138000", "sms"),
		DeliveryID("acme", "/erp", "2", "+8613800138000", "sms"),
		DeliveryID("acme", "/erp", "1", "+8613800138001", "sms"),
		DeliveryID("acme", "/erp", "1", "+8613800138000", "mail"),
		DeliveryID("acme", "/erp1", "", "+8613800138000", "sms"), // parts do not run into each other
		DeliveryID("acme", "/erp", "1", "+8613800138000sms", ""),
	} {
		if other == id {
			t.Errorf("two deliveries share the id %s", id)
		}
	}
	for _, s := range []string{"", "a", id + "a", id[1:]} {
		if got := IDToken(s); got != "" {
			t.Errorf("IDToken(%q) = %q, want none", s, got)
		}
	}
}

// Of an address that an event gave, only the host is shown: the rest may be a credential.
func TestWebhookRecipient(t *testing.T) {
	for _, c := range []struct {
		r               Recipient
		masked, address string
	}{
		{Recipient{Webhook: "ops"}, "ops", "channel:ops"},
		{Recipient{Webhook: "ops", URL: "https://a.example.com:8443/token7391?key=token7391"}, "ops a.example.com:8443", "channel:ops https://a.example.com:8443/token7391?key=token7391"},
		{Recipient{Webhook: "ops", URL: "https://a.example.com?token7391"}, "ops a.example.com", "channel:ops https://a.example.com?token7391"},
		{Recipient{Webhook: "ops", URL: "https://user:token7391@a.example.com"}, "ops a.example.com", "channel:ops https://user:token7391@a.example.com"},
	} {
		if got := c.r.Masked("none"); got != c.masked {
			t.Errorf("masked = %q, want %q", got, c.masked)
		}
		if got := c.r.WebhookAddress(); got != c.address {
			t.Errorf("address = %q, want %q", got, c.address)
		}
	}
	for url, want := range map[string]string{
		"": "", "https://a.example.com/hook": "", "http://a.example.com/": "uri", "https://u:p@a.example.com/": "uri", "a.example.com": "uri",
		"https://": "uri", "https://中文.example.com/": "uri", "https://a.example.com/" + strings.Repeat("x", 2048): "maxLength",
	} {
		e := &Event{Data: Data{To: []Recipient{{Webhook: "ops", URL: url}}}}
		got := ""
		for _, p := range e.Check() {
			if p.Pointer == "/data/to/0/url" {
				got = p.Keyword
			}
		}
		if got != want {
			t.Errorf("url %.40q: %q, want %q", url, got, want)
		}
	}
}
