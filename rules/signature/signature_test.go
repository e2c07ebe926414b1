package signature

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

var open = rulestest.Opener(New, rules.Env{})

func judge(g rules.Guard, kind, name, text string) rules.Verdict {
	return g.Judge(rules.Input{Kind: kind, Signature: name, Delivery: &schemas.Delivery{Message: schemas.Message{Text: text}}})
}

func TestJudge(t *testing.T) {
	g := open(t, "")
	const name = "晨光物流"
	for _, c := range []struct {
		signature, text string
		rule            string // "" passes
		matched         string
		start           int
	}{
		{name, "您的包裹已到站", "", "", 0},
		{name, "单号[SO-88]已出库，见国发〔2026〕5号，区间［1，2］正常", "", "", 0},
		{name, "请签收「合同」与《协议》（两份）", "", "", 0},
		{name, "【晨光物流】您的包裹已到站", "9", "【晨光物流】", 0},
		{name, "合同【HT-1】已归档", "9", "【HT-1】", 2},
		{name, "已到站【】", "9", "【】", 3},
		{name, "已到站【别家】 ", "9", "【别家】", 3},
		{name, "\u200b【\u200b别\u2060家】到站", "9", "【\u200b别\u2060家】", 1},
		{name, "【【别家】】到站", "9", "【【别家】】", 0},
		{name, "︻别家︼到站", "9", "︻别家︼", 0},
		{name, "[别家]到站", "9", "[别家]", 0},
		{name, "\u200b [别家]到站", "9", "[别家]", 2},
		{name, "到站[别家]\u200b", "9", "[别家]", 2},
		{name, "到站❲别家❳", "9", "❲别家❳", 2},
		{name, "到站﹝别家﹞", "9", "﹝别家﹞", 2},
		{name, "［别家］到站", "9", "［别家］", 0},
		{name, "〔别家〕到站", "9", "〔别家〕", 0},
		{name, "到站〖别家〗", "9", "〖别家〗", 2},
		{name, "", "", "", 0},
		{"晨", "到站", "10", "晨", 0},
		{"一二三四五六七八九十甲乙", "到站", "", "", 0},
		{"一二三四五六七八九十甲乙丙", "到站", "10", "一二三四五六七八九十甲乙丙", 0},
		{"𠮷田A12", "到站", "", "", 0},
		{"晨光·物流", "到站", "", "", 0},
		{"晨光物流·", "到站", "10", "·", 4},
		{"晨光 物流", "到站", "10", " ", 2},
		{"【晨光】", "到站", "10", "【", 0},
		{"晨\u200b光", "到站", "10", "\u200b", 1},
		{"晨光！", "到站", "10", "！", 2},
		// Without a known signature the text's own is judged.
		{"", "【晨光物流】到站", "", "", 0},
		{"", "到站【晨光物流】", "", "", 0},
		{"", "【晨光物流】到站【别家】", "9", "【别家】", 8},
	} {
		v := judge(g, "sms", c.signature, c.text)
		if c.rule == "" {
			if v.Action != rules.Pass || len(v.Hits) != 0 {
				t.Errorf("%q + %q: %+v, want pass", c.signature, c.text, v)
			}
			continue
		}
		if v.Action != rules.Suppress || v.Rule != c.rule || len(v.Hits) != 1 {
			t.Errorf("%q + %q: %+v, want one hit of rule %s", c.signature, c.text, v, c.rule)
			continue
		}
		h := v.Hits[0]
		if h.Text != c.matched || h.Start != c.start || h.End != c.start+len([]rune(c.matched)) || h.Advice.Zh == "" || h.Advice.En == "" {
			t.Errorf("%q + %q: hit %+v, want %q at %d", c.signature, c.text, h, c.matched, c.start)
		}
	}
	if v := judge(g, "sms", name, "[甲][乙]丙〖丁〗〔戊〕"); len(v.Hits) != 4 {
		t.Errorf("three bracketed groups gave %+v", v.Hits)
	}
	if v := judge(g, "email", "", "【公告】【更正】"); v.Action != rules.Pass {
		t.Error("a mail has no signature to judge")
	}
	if v := judge(open(t, "{max: 4}"), "sms", "晨光物流站", "到站"); v.Rule != "10" {
		t.Error("max: 4 took five characters")
	}
}

// TestWhole judges complete texts that bring their own signature.
func TestWhole(t *testing.T) {
	g := open(t, "")
	for _, c := range []struct {
		text string
		want string // rule/action of each hit with the matched text
	}{
		{"", ""},
		{"【晨光物流】您的包裹已到站", ""},
		{"您的包裹已到站【晨光物流】 ", ""},
		{"【晨光·物流】包裹已到站，取件码[8-1-22]。", ""},
		{"【MORNINGLIGHT】包裹已到站", ""},

		// Rule 9: what looks like another company's name.
		{"【晨光物流】【别家】包裹已到站", "9/block 【别家】"},
		{"【晨光物流】\u200b 【别\u200b家】包裹已到站", "9/block 【别\u200b家】"},
		{"【晨光物流】〔别家〕包裹已到站", "9/block 〔别家〕"},
		{"【晨光物流】包裹已到站【别家】", "9/block 【别家】"},
		{"【晨光物流】包裹已到站【退订回T】【别家】", "9/review 【退订回T】, 9/block 【别家】"},
		{"【晨光物流】【】包裹已到站", "9/block 【】"},
		{"【【晨光物流】】包裹已到站", "9/block 【【晨光物流】】"},
		{"[晨光物流][别家]包裹已到站", "10/review [晨光物流], 9/block [别家]"},
		{"【广州快运】【广州报业】包裹已到站", "9/block 【广州报业】"},
		{"【中国晨光】【中国别家】包裹已到站", "9/block 【中国别家】"},

		// Rule 9, for a person to decide: an instruction, the same sender, the text's own word, a person, a number.
		{"【晨光物流】【回复TD可拒收】包裹已到站", "9/review 【回复TD可拒收】"},
		{"【晨光物流】包裹已到站。【取件须知】凭码取件", "9/review 【取件须知】"},
		{"包裹已到站【切勿告知他人】【晨光物流】", "9/review 【切勿告知他人】"},
		{"【晨光物流】【晨光】包裹已到站", "9/review 【晨光】"},
		{"【晨光物流】包裹已到站【晨光物流】", "9/review 【晨光物流】"},
		{"【晨光物流】【晨光冷链】包裹已到站", "9/review 【晨光冷链】"},
		{"【广州晨光银行】【广晨信用卡】本月用卡记录已生成", "9/review 【广晨信用卡】"},
		{"【晨光物流】您的冷链卡已续期【冷链卡】", "9/review 【冷链卡】"},
		{"【晨光物流】【陈晓丽】包裹已到站", "9/review 【陈晓丽】"},
		{"【晨光物流】【欧阳静】包裹已到站", "9/review 【欧阳静】"},
		{"【晨光物流】包裹已到站[CG]", "9/review [CG]"},
		{"【晨光物流】无线密码见小票[湖边咖啡]", "9/review [湖边咖啡]"},
		{"[晨光物流]包裹已到站[湖边咖啡]", "10/review [晨光物流], 9/review [湖边咖啡]"},
		{"[SO-2026-18]包裹已到站【晨光物流】", "9/review [SO-2026-18]"},
		{"【晨光物流】合同【HT-1】已归档", "9/review 【HT-1】"},
		{"合同已归档【未完【晨光物流】", "10/review 【"},

		// Rule 10.
		{"【一二三四五六七八九十甲乙】到站", ""},
		{"【一二三四五六七八九十甲乙丙】到站", "10/block 一二三四五六七八九十甲乙丙"},
		{"【晨 光 物 流 集 团 公】到站", "10/block 晨 光 物 流 集 团 公"},
		{"【急】请尽快签收", "10/review 急"},
		{"[A]座已到站", "10/review [A], 10/review A"},
		{"[SO-2026-11-000188]已出库", "10/review [SO-2026-11-000188], 10/review SO-2026-11-000188"},
		{"【SO20261100000188】已出库", "10/review SO20261100000188"},
		{"[图片][微笑]到站了", "10/review [图片], 9/review [微笑]"},
		{"到站", "10/review "},
		{"【】到站", "10/review 【】"},
		{"【 】到站", "10/review 【 】"},
		{"【晨光物流到站", "10/review 【"},
		{"晨光物流】到站", "10/review 】"},
		{"【晨\u200b光】到站", "10/review 晨\u200b光"},
		{"【晨光！】到站", "10/review 晨光！"},
		{"【晨光 物流】到站", "10/review 晨光 物流"},
		{"【双十一囤货，晨光先行一步到家】到站", "10/review 双十一囤货，晨光先行一步到家"},
		{"【8848】到站", "10/review 8848"},
		{"【CG】your parcel has arrived", "10/review CG"},
		{"【李晓明】到站", "10/review 李晓明"},
		{"【晨光测试】到站", "10/review 晨光测试"},
		{"[晨光物流]到站", "10/review [晨光物流]"},
		{"合同【HT-1】已归档", "10/review , 9/review 【HT-1】"},
	} {
		v := judge(g, "sms", "", c.text)
		var got []string
		action := rules.Pass
		for _, h := range v.Hits {
			got = append(got, h.Rule+"/"+h.Action+" "+h.Text)
			if h.Action == rules.ReportBlock {
				action = rules.Suppress
			}
			if r := []rune(c.text); string(r[h.Start:h.End]) != h.Text || c.text[h.StartByte:h.EndByte] != h.Text || h.Field != "text" || h.Advice.Zh == "" || h.Advice.En == "" {
				t.Errorf("%q: hit %+v", c.text, h)
			}
		}
		if s := strings.Join(got, ", "); s != c.want || v.Action != action {
			t.Errorf("%q: action %v, %s; want %s", c.text, v.Action, s, c.want)
		}
	}
	in := rules.Input{Kind: "sms", Delivery: &schemas.Delivery{To: schemas.Recipient{Name: "阿依夏木"}, Message: schemas.Message{Text: "【晨光物流】【阿依夏木】包裹已到站"}}}
	if v := g.Judge(in); v.Action != rules.Pass || len(v.Hits) != 1 {
		t.Errorf("the recipient's own name in brackets: %+v", v)
	}
}

// TestKnownSignatureInDoubt: a signature of yizhan.yaml that some carriers refuse goes out, and is told.
func TestKnownSignatureInDoubt(t *testing.T) {
	g := open(t, "")
	for _, name := range []string{"8848", "张伟", "晨光测试", "MyTest"} {
		v := judge(g, "sms", name, "到站")
		if v.Action != rules.Pass || len(v.Hits) != 1 || v.Hits[0].Action != "review" || v.Hits[0].Field != "signature" || v.Hits[0].EndByte != len(name) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v := judge(g, "sms", "晨光物流", "合同【已归档"); v.Action != rules.Pass || len(v.Hits) != 1 || v.Hits[0].Text != "【" {
		t.Errorf("a bracket that never closes: %+v", v)
	}
}

func TestConfig(t *testing.T) {
	open(t, "{profile: aliyun, max: 8}")
	rulestest.Mistakes(t, New, rules.Env{}, map[string]string{
		"{profile: carrier-pigeon}": "want one of aliyun, huawei, tencent",
		"{max: 13}":                 "want 2..12",
		"{max: 1}":                  "want 2..12",
	})
}

func FuzzSpansAreInsideTheText(f *testing.F) {
	for _, s := range []string{"【a】b[c]", "[", "】【", "【【】", "\u200b[a]\u200b"} {
		f.Add(s)
	}
	g := open(f, "")
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"晨光物流", ""} {
			r, end := []rune(s), 0
			for _, h := range judge(g, "sms", name, s).Hits {
				if h.Start < end && h.Action == "block" && name != "" || h.End < h.Start || h.End > len(r) || s[h.StartByte:h.EndByte] != h.Text ||
					utf8.ValidString(s) && string(r[h.Start:h.End]) != h.Text {
					t.Fatalf("hit %+v of %q", h, s)
				}
				if h.Action == "block" {
					end = h.End
				}
			}
		}
	})
}

// Bracketed groups one after the other, as many as a request may hold, take no longer than their length asks.
func TestManyGroupsAreLinear(t *testing.T) {
	for _, unit := range []string{"[a]", "【a】", "[a]【b】"} {
		began := time.Now()
		groups, _ := find([]rune(strings.Repeat(unit, 80_000)))
		if len(groups) != maxGroups || !groups[0].head || !groups[0].tail || !groups[maxGroups-1].tail {
			t.Errorf("%s: %d groups", unit, len(groups))
		}
		if d := time.Since(began); d > 3*time.Second { // quadratic it was 16 s
			t.Errorf("%s: %s", unit, d)
		}
	}
}
