package unsubscribe

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func input(c schemas.Category, provider, text string) rules.Input {
	return rules.Input{Kind: "sms", Provider: provider, Delivery: &schemas.Delivery{Category: c, Message: schemas.Message{Text: text}}}
}

func TestJudge(t *testing.T) {
	g := open(t, "")
	const promotion, notice = schemas.Marketing, schemas.Notification
	for _, c := range []struct {
		category       schemas.Category
		provider, text string
		hit            bool
		matched        string
	}{
		{promotion, "aliyun", "新品上架，老客户九折，拒收请回复R", false, ""},
		{promotion, "aliyun", "新品上架，老客户九折，拒收请回复R。 ", false, ""},
		{promotion, "", "新品上架，老客户九折，退订回T", false, ""},
		{promotion, "", "新品上架，老客户九折，回复TD退订", false, ""},
		{promotion, "", "新品上架，老客户九折，回TD退订【华星】", false, ""},
		{promotion, "", "新品上架，老客户九折，退订请回复“退订”", false, ""},
		{promotion, "", "新品上架，老客户九折", true, ""},
		{promotion, "", "退订回T，新品上架，老客户九折", true, ""},
		{promotion, "aliyun", "新品上架，老客户九折，退订回T", true, ""},
		{notice, "", "您的订单已发货", false, ""},
		{notice, "", "您的订阅已退订成功", false, ""},
		{notice, "", "您申请拒收的货物已回仓", false, ""},
		{notice, "", "客户拒收3件，请回复处理意见", false, ""},
		{notice, "", "您的订单已发货，退订回T", true, "退订回T"},
		{notice, "", "您的订单已发货，拒收请回复R", true, "拒收请回复R"},
		{schemas.Verification, "", "验证码482915，回复0000可屏蔽", true, "回复0000可屏蔽"},
		{schemas.Alert, "", "库存不足，回复TD退订", true, "回复TD退订"},
		{"", "", "退订回T", false, ""},
	} {
		v := g.Judge(input(c.category, c.provider, c.text))
		if !c.hit {
			if len(v.Hits) != 0 {
				t.Errorf("%s %q: %+v, want pass", c.category, c.text, v.Hits)
			}
			continue
		}
		if len(v.Hits) != 1 || v.Action != rules.Pass {
			t.Errorf("%s %q: %+v, want a hit for review", c.category, c.text, v)
			continue
		}
		h, n := v.Hits[0], utf8.RuneCountInString(c.text)
		if h.Rule != Rule || h.Text != c.matched || h.Action != "review" || h.End-h.Start != utf8.RuneCountInString(c.matched) || c.matched == "" && h.Start != n || h.Advice.En == "" {
			t.Errorf("%s %q: hit %+v", c.category, c.text, h)
		}
	}
	if v := g.Judge(input(promotion, "aliyun", "新品上架")); !strings.Contains(v.Hits[0].Advice.Zh, "拒收请回复R") {
		t.Errorf("%+v", v.Hits)
	}
	abroad := input(promotion, "", "new arrivals")
	if abroad.Delivery.To.Phone = "+14155550100"; len(g.Judge(abroad).Hits) != 0 {
		t.Error("a promotion abroad")
	}
}

func TestSection(t *testing.T) {
	in := input(schemas.Notification, "", "已发货，退订回T")
	if v := open(t, "block").Judge(in); v.Action != rules.Suppress || v.Rule != Rule {
		t.Errorf("block: %+v", v)
	}
	if v := open(t, "pass").Judge(in); len(v.Hits) != 0 {
		t.Errorf("pass: %+v", v)
	}
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{"stop": "want block, review or pass"})
}
