package variables

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func input(category schemas.Category, kind schemas.ParamKind, value string) rules.Input {
	return rules.Input{Kind: "sms", Delivery: &schemas.Delivery{Category: category, Message: schemas.Message{
		Params: map[string]string{"v": value}, ParamKinds: map[string]schemas.ParamKind{"v": kind},
	}}}
}

func TestJudge(t *testing.T) {
	long := strings.Repeat("长", 36)
	g := open(t, "")
	for _, c := range []struct {
		kind         schemas.ParamKind
		value        string
		action, text string // of the one hit; "" passes
		start        int
	}{
		{"", "华星贸易（深圳）", "", "", 0},
		{"", "12,300.00", "", "", 0},
		{"", "SO-2026-0018", "", "", 0},
		{"", "v1.2.3", "", "", 0},
		{"", "wang@example.com", "", "", 0},
		{"", "400-600-8000", "", "", 0},
		{"", "0755-86540000", "", "", 0},
		{"", "微信支付", "", "", 0},
		{"", "单号620138001380001", "", "", 0},
		{"", long[:3*35], "", "", 0},

		{"", "", "block", "", 0},
		{"", " \u200b ", "block", "", 0},
		{"", long, "block", "", 35},
		{"", "见 https://t.example.com/a1 办理", "block", "", 2},
		{"", "登录erp.example.com查看", "block", "", 2},
		{"", "点t.cn/Ab3", "block", "", 1},
		{"", "ｗｗｗ．ｅｘａｍｐｌｅ．ｃｏｍ", "block", "", 0},
		{"", "华星【贸易", "block", "【", 2},
		{"", "华星[深圳]", "review", "[深圳]", 2},
		{"", "联系13900139000", "block", "", 2},
		{"", "联系+86 139-0013-9000王", "block", "", 2},
		{"", "加微信：huaxing_88", "block", "", 1},
		{"", "扣扣 12345678", "block", "", 0},
		{"", "第一行\n第二行", "review", "\n", 3},
		{"", "已完成🎉", "review", "🎉", 3},

		{schemas.ParamCode, "482915", "", "", 0},
		{schemas.ParamCode, "A8F2", "", "", 0},
		{schemas.ParamCode, "123", "block", "", 0},
		{schemas.ParamCode, "1234567", "block", "", 0},
		{schemas.ParamCode, "12 34", "block", "", 0},
		{schemas.ParamNumber, "SO-2026/18", "", "", 0},
		{schemas.ParamNumber, "13900139000", "", "", 0},
		{schemas.ParamNumber, "-12.5%", "", "", 0},
		{schemas.ParamNumber, "三箱", "block", "", 0},
		{schemas.ParamMoney, "12,300.00", "", "", 0},
		{schemas.ParamMoney, "￥12300", "", "", 0},
		{schemas.ParamMoney, "CNY 12,300.00元", "", "", 0},
		{schemas.ParamMoney, "约一万", "block", "", 0},
		{schemas.ParamTime, "2026-11-30", "", "", 0},
		{schemas.ParamTime, "2026-11-30T18:00:00+08:00", "", "", 0},
		{schemas.ParamTime, "11月30日上午9:00至10:00", "", "", 0},
		{schemas.ParamTime, "周五", "", "", 0},
		{schemas.ParamTime, "尽快", "block", "", 0},
		{schemas.ParamName, "欧阳·静", "", "", 0},
		{schemas.ParamName, "华星贸易(深圳)有限公司", "", "", 0},
		{schemas.ParamName, "王芳，请速回电", "block", "", 0},
		{schemas.ParamPhone, "13900139000", "", "", 0},
		{schemas.ParamPhone, "0755-86540000", "", "", 0},
		{schemas.ParamPhone, "95588", "", "", 0},
		{schemas.ParamPhone, "138****8000", "", "", 0},
		{schemas.ParamPhone, "请回电", "block", "", 0},
		{schemas.ParamURL, "https://erp.example.com/d/8f3a2b1c?from=sms&to=approval", "", "", 0},
		{schemas.ParamURL, "点这里", "block", "", 0},
		{schemas.ParamText, "见 https://erp.example.com", "block", "", 2},
		{schemas.ParamOther, long, "block", "", 35},
	} {
		v := g.Judge(input(schemas.Notification, c.kind, c.value))
		if c.action == "" {
			if v.Action != rules.Pass || len(v.Hits) != 0 {
				t.Errorf("%s %q: %+v, want pass", c.kind, c.value, v)
			}
			continue
		}
		if len(v.Hits) != 1 || v.Hits[0].Action != c.action || (v.Action == rules.Suppress) != (c.action == "block") {
			t.Errorf("%s %q: %+v, want one hit to %s", c.kind, c.value, v, c.action)
			continue
		}
		h := v.Hits[0]
		if h.Rule != Rule || h.Field != "params/v" || h.Origin != "params/v" || h.Start != c.start || c.text != "" && h.Text != c.text || h.Advice.Zh == "" || h.Advice.En == "" {
			t.Errorf("%s %q: hit %+v, want %q at %d", c.kind, c.value, h, c.text, c.start)
		}
	}
}

// TestNothingPrivateIsRepeated: hits are shown and stored; codes and contacts stay out of them.
func TestNothingPrivateIsRepeated(t *testing.T) {
	g := open(t, "")
	for secret, in := range map[string]rules.Input{
		"4829151":     input(schemas.Verification, "", "4829151"),
		"13900139000": input(schemas.Notification, "", "找13900139000"),
		"12345678":    input(schemas.Notification, "", "QQ:12345678"),
		"s3cr3t":      input(schemas.Notification, "", "见 https://t.example.com/?t=s3cr3t"),
		"18600001111": input(schemas.Notification, schemas.ParamTime, "18600001111王"),
		"huaxing_88":  input(schemas.Notification, "", "微信huaxing_88"),
	} {
		v := g.Judge(in)
		if len(v.Hits) != 1 || strings.Contains(v.Hits[0].Text+v.Hits[0].Advice.Zh+v.Hits[0].Advice.En, secret) {
			t.Errorf("%s: %+v", secret, v.Hits)
		}
	}
}

func TestCategoryAndProvider(t *testing.T) {
	g := open(t, "")
	if v := g.Judge(input(schemas.Verification, "", "华星贸易")); v.Action != rules.Suppress {
		t.Errorf("the only variable of a verification is its code: %+v", v)
	}
	in := input(schemas.Marketing, "", "华星贸易")
	for provider, want := range map[string]rules.Action{"": rules.Pass, "aliyun": rules.Pass, "huawei": rules.Suppress} {
		if in.Provider = provider; g.Judge(in).Action != want {
			t.Errorf("promotion with variables at %q: %+v", provider, g.Judge(in))
		}
	}
	if in.Provider = ""; open(t, "{profile: huawei}").Judge(in).Action != rules.Suppress {
		t.Error("the profile of rules.yaml does not count")
	}
	long := input(schemas.Notification, "", strings.Repeat("长", 50))
	if open(t, "{max: 50}").Judge(long).Action != rules.Pass || open(t, "{max: 49}").Judge(long).Action != rules.Suppress {
		t.Error("max is not what counts")
	}
	if long.Kind = "email"; g.Judge(long).Action != rules.Pass {
		t.Error("a mail has no provider's template")
	}
}

func TestConfig(t *testing.T) {
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"{max: 0}": "1..500", "{max: 501}": "1..500", "{profile: x}": "want one of aliyun, huawei, tencent",
	})
}

func FuzzSpansAreInsideTheValue(f *testing.F) {
	for _, s := range []string{"http://a.cn", "【", "[a]", "13900139000", "微信号:abcdef", "\n🎉", "1\u200b"} {
		f.Add(s, "text")
	}
	f.Add("abc", "url")
	g := open(f, "")
	f.Fuzz(func(t *testing.T, s, kind string) {
		for _, h := range g.Judge(input(schemas.Notification, schemas.ParamKind(kind), s)).Hits {
			if h.Start > h.End || h.End > utf8.RuneCountInString(s) || h.StartByte > h.EndByte || h.EndByte > len(s) {
				t.Fatalf("hit %+v of %q", h, s)
			}
		}
	})
}

// Numbers of documents and products are no accounts, though they begin as the names of accounts do.
func TestContacts(t *testing.T) {
	g := open(t, "")
	for value, want := range map[string]bool{
		"WX202611230001": false, "FWX20261123": false, "WX-2000无线模块": false, "QQ20261123": false, "单号WX20261123": false,
		"型号VX-20000": false, "SQQ20261123": false, "微信支付": false,
		"加vx yizhan88": true, "VX：yizhan88": true, "vx号yizhan88": true, "联系wx:yizhan88": true, "微信yizhan_88": true,
		"加QQ12345678": true, "QQ：12345678": true, "ＱＱ号１２３４５６７８": true, "扣扣 12345678": true, "加v yizhan88": true,
	} {
		v := g.Judge(input(schemas.Notification, "", value))
		if got := len(v.Hits) > 0; got != want {
			t.Errorf("%q: %v, want %v: %+v", value, got, want, v.Hits)
		}
	}
}
