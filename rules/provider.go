package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxSMS bounds a whole SMS, signature included, in code points (help.aliyun.com/document_detail/44335.html).
const MaxSMS = 500

// Provider is what an SMS provider asks of a message, as far as its public pages say; what they do
// not say stands at the strictest value known. That a text holds no 【】, and no [ ] at its ends, is asked by
// all (help.aliyun.com/document_detail/463270.html).
type Provider struct {
	// SignatureMin and SignatureMax bound a signature without brackets, in code points.
	SignatureMin, SignatureMax int
	// VariableMax bounds one variable of a template, CodeMin and CodeMax a verification code, in code points.
	VariableMax      int
	CodeMin, CodeMax int
	// PromotionVariables says that a promotion's template may have variables.
	PromotionVariables bool
	// Unsubscribe is how a promotion must end; "" takes any of the usual wordings.
	Unsubscribe string
}

// strict holds for a provider that is not known.
var strict = Provider{
	// 2 to 12 characters: help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-createsmssign;
	// the carriers' rule 10 has the same upper bound.
	SignatureMin: 2, SignatureMax: 12,
	// 1 to 35 a variable, 4 to 6 a code: isv.PARAM_LENGTH_LIMIT, help.aliyun.com/document_detail/2806243.html.
	VariableMax: 35, CodeMin: 4, CodeMax: 6,
	PromotionVariables: true,
}

var providers = map[string]Provider{
	// A promotion ends with 拒收请回复R: help.aliyun.com/zh/sms/user-guide/create-message-templates-1.
	"aliyun": with(func(p *Provider) { p.Unsubscribe = "拒收请回复R" }),
	// Its pages on lengths were not read: strict.
	"tencent": strict,
	// The same end, and no variables in promotion: the template rules of support.huaweicloud.com; the rest was not read: strict.
	"huawei": with(func(p *Provider) { p.Unsubscribe, p.PromotionVariables = "拒收请回复R", false }),
}

func with(change func(*Provider)) Provider {
	p := strict
	change(&p)
	return p
}

// ProviderOf is the profile of an SMS provider by its name (aliyun, tencent, huawei); the strict one for any other.
// Of several, joined by +, it is what all of them take: nobody knows beforehand which one a message will meet.
func ProviderOf(name string) Provider {
	first, rest, several := strings.Cut(name, "+")
	p, ok := providers[first]
	if !ok {
		p = strict
	}
	if several {
		return p.and(ProviderOf(rest))
	}
	return p
}

// and is what both providers take.
func (p Provider) and(q Provider) Provider {
	return Provider{
		SignatureMin: max(p.SignatureMin, q.SignatureMin), SignatureMax: min(p.SignatureMax, q.SignatureMax),
		VariableMax: min(p.VariableMax, q.VariableMax), CodeMin: max(p.CodeMin, q.CodeMin), CodeMax: min(p.CodeMax, q.CodeMax),
		PromotionVariables: p.PromotionVariables && q.PromotionVariables,
		Unsubscribe:        cmp.Or(p.Unsubscribe, q.Unsubscribe),
	}
}

// Providers are the names that have a profile of their own, sorted.
func Providers() []string { return slices.Sorted(maps.Keys(providers)) }

// Profile is the key profile of a guard's section: the provider whose rules hold, one of [Providers]; "" is the
// channel's own.
type Profile string

// Check refuses a name that has no profile.
func (p Profile) Check() error {
	if p != "" && !slices.Contains(Providers(), string(p)) {
		return fmt.Errorf("profile is %q, want one of %s", string(p), strings.Join(Providers(), ", "))
	}
	return nil
}

// For is what the provider asks of a message.
func (p Profile) For(in Input) Provider { return ProviderOf(cmp.Or(string(p), in.Provider)) }

// International says whether a phone number in the form of E.164 lies outside the mainland of China, where
// other lengths hold. A number without + is taken for one of the mainland.
func International(phone string) bool {
	return strings.HasPrefix(phone, "+") && !strings.HasPrefix(phone, "+86")
}
