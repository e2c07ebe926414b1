// Package parts counts what an SMS costs: a long text goes out in parts, and each is paid for. Its guard
// stops what is longer than the provider takes, or than the owner of the rules wants to pay for.
//
// The lengths are Aliyun's (help.aliyun.com/document_detail/44335.html) and the carriers': in the mainland any
// character counts 1, the signature and its brackets included; one part has up to 70, of several
// each has 67; outside it is GSM 7-bit (160, 153; 3GPP TS 23.038) where the text allows, else UCS-2 (70, 67).
package parts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// Rule is the rule as verdicts name it.
const Rule = "parts"

// maxParts is what [rules.MaxSMS] characters come to.
const maxParts = (rules.MaxSMS + 66) / 67

// The encodings.
const (
	GSM7 = "gsm-7"
	UCS2 = "ucs-2"
)

// Parts is the length of one SMS.
type Parts struct {
	// Characters is the length as it is charged: code points in the mainland; outside it septets of GSM 7-bit,
	// or UTF-16 units of UCS-2.
	Characters int `json:"characters"`
	// Parts is how many messages the carrier charges.
	Parts int `json:"parts"`
	// Encoding is gsm-7 or ucs-2.
	Encoding string `json:"encoding"`
}

// room is how much fits into one part alone, and into each of several.
func room(encoding string) (alone, each int) {
	if encoding == GSM7 {
		return 160, 153
	}
	return 70, 67
}

// count is the length of a text with the signature that the provider puts in front of it, given without
// brackets; "" when the text brings its own. international is for numbers outside the mainland.
func count(signature, text string, international bool) Parts {
	whole := signed(signature, text, international)
	p := Parts{Encoding: UCS2}
	if !international {
		p.Characters = utf8.RuneCountInString(whole)
	} else if n, ok := septets(whole); ok {
		p.Characters, p.Encoding = n, GSM7
	} else {
		for _, r := range whole {
			p.Characters += utf16.RuneLen(r)
		}
	}
	switch alone, each := room(p.Encoding); {
	case p.Characters == 0:
	case p.Characters <= alone:
		p.Parts = 1
	default:
		p.Parts = (p.Characters + each - 1) / each
	}
	return p
}

// signed is the text as it arrives: 【signature】 in front of it. Outside the mainland a signature of Latin
// letters stands in [ ].
func signed(signature, text string, international bool) string {
	if signature == "" {
		return text
	}
	if _, ok := septets(signature); international && ok {
		return "[" + signature + "]" + text
	}
	return "【" + signature + "】" + text
}

// The basic characters of GSM 7-bit, and those that take an escape as well (3GPP TS 23.038 §6.2.1).
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtra = "\f^{}\\[~]|€"
)

// septets is the length in GSM 7-bit, false when a character has none.
func septets(s string) (n int, ok bool) {
	for _, r := range s {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			n++
		case strings.ContainsRune(gsmExtra, r):
			n += 2
		default:
			return 0, false
		}
	}
	return n, true
}

// Config is the section guards.parts.
type Config struct {
	// Max is how many parts one SMS may have, 1..8; default 8, what 500 characters come to.
	Max *strictyaml.Int `yaml:"max"`
	// Price is what one part costs, for showing; Currency its unit, default CNY.
	Price    *float64 `yaml:"price"`
	Currency string   `yaml:"currency"`
}

// Guard judges lengths and knows prices.
type Guard struct {
	max      int
	price    float64
	currency string
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// New opens the guard, a [*Guard]; it is a [rules.GuardFactory].
func New(decode func(into any) error, _ rules.Env) (rules.Guard, error) {
	var c Config
	if err := decode(&c); err != nil {
		return nil, err
	}
	g := &Guard{max: maxParts, currency: "CNY"}
	if c.Max != nil {
		if g.max = int(*c.Max); g.max < 1 || g.max > maxParts {
			return nil, fmt.Errorf("max is %d, want 1..%d parts", g.max, maxParts)
		}
	}
	if c.Price != nil {
		if g.price = *c.Price; g.price <= 0 || g.price > 100 {
			return nil, fmt.Errorf("price is %v, want more than 0 and at most 100 a part", g.price)
		}
	}
	if c.Currency != "" {
		if g.currency = c.Currency; !currencyCode.MatchString(c.Currency) {
			return nil, fmt.Errorf("currency is %q, want a code of ISO 4217 such as CNY", c.Currency)
		}
	}
	return g, nil
}

// Of is the length of the SMS that a guard sees.
func Of(in rules.Input) Parts {
	return count(in.Signature, in.Delivery.Message.Text, rules.International(in.Delivery.To.Phone))
}

// Measure implements [rules.Measurer].
func (g *Guard) Measure(in rules.Input) (rules.Size, bool) {
	if in.Kind != "sms" {
		return rules.Size{}, false
	}
	p := Of(in)
	return rules.Size{Characters: p.Characters, Parts: p.Parts}, true
}

// Price is what n parts cost and the currency, such as "0.09", "CNY"; false when no price is given.
func (g *Guard) Price(n int) (amount, currency string, ok bool) {
	if g.price == 0 {
		return "", "", false
	}
	amount = strconv.FormatFloat(float64(n)*g.price, 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(amount, "0"), "."), g.currency, true
}

// Judge suppresses an SMS that is too long.
func (g *Guard) Judge(in rules.Input) rules.Verdict {
	if in.Kind != "sms" {
		return rules.Verdict{}
	}
	p := Of(in)
	alone, each := room(p.Encoding)
	limit := g.max * each
	if g.max == 1 {
		limit = alone
	}
	limit = min(limit, rules.MaxSMS)
	over := p.Characters - limit
	if over <= 0 {
		return rules.Verdict{}
	}
	text := in.Delivery.Message.Text
	n := utf8.RuneCountInString(text)
	// The last characters, which are the surplus; of those that count two, a few too many.
	h := rules.HitAt(Rule, rules.ReportBlock, "text", text, max(0, n-over), n, schemas.Text{
		Zh: fmt.Sprintf("短信连同签名共 %d 个字，计 %d 条；上限为 %d 个字（%d 条），请至少删去 %d 个字", p.Characters, p.Parts, limit, g.max, over),
		En: fmt.Sprintf("the SMS has %d characters with its signature, that is %d parts; the limit is %d characters (parts: %d), cut at least %d", p.Characters, p.Parts, limit, g.max, over),
	})
	h.Text = "" // the span says enough; this may be most of the message
	return rules.Judged([]schemas.Hit{h})
}
