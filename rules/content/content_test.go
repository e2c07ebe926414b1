package content

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files")

// TestChannels shows one example for each way in which a term may be written.
func TestChannels(t *testing.T) {
	j := judgeOf(t, testFile(t))
	var b strings.Builder
	for _, text := range []string{
		"博彩平台", "ＱＱ群", "賭博採票", "🆀Ⓠ羣", "加\\/信", "博\u200b彩", "博😀彩平台", "博★彩平台", "(好)(评)(返)(现)", "好，评，返，现", "好\n评\n返\n现",
		"加我薇信", "加个VX", "代贝款", "十尃彩", "boCai平台", "博cai平台", "mai yi song yi", "彩，piao", "ｂｏｃａｉ平台", "菠彩平台", "勃采平台", "QQ裙", "bc平台", "b彩平台",
		"博8彩平台", "百8家a乐平台", "彩博平台", "枪幸交易", "办理个人贷款，月息0.5%", "致电13800138000", "致电138-0013-8000", "微信一三八〇〇〇〇一二三四",
		"１380零零⓪壹2３④", "1-3-8-0-0-0-0-1-2-3-4", "l38ooool234", "①③⑧⓪⓪⓪⓪①②③④", "见www.example.com/x", "https://t.cn/abc", "致电400-800-1234",
		"编号abc88990", "234567890",
	} {
		fmt.Fprintf(&b, "%q\n", text)
		for _, h := range j.All(nil, text) {
			fmt.Fprintf(&b, "\t%s\trule %s\t%+d\tvia %q\tbytes %d-%d\tcharacters %d-%d\t%q\n",
				j.Term(h.Term), h.Rule, h.Points, h.Via, h.Start, h.End, h.RuneStart, h.RuneEnd, text[h.Start:h.End])
		}
	}
	const name = "testdata/channels.txt"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the channels find something else; -update writes it:\n%s", b.String())
	}
	for via := range viaNames {
		if !strings.Contains(string(want), fmt.Sprintf("via %q\t", Via(via))) {
			t.Errorf("no example of %q", Via(via))
		}
	}
}

// TestNoHit keeps ordinary words apart that look like terms.
func TestNoHit(t *testing.T) {
	j := judgeOf(t, testFile(t))
	for _, text := range []string{
		"入股，彩。票据",           // a word never goes on behind a clause mark
		"博。彩",               //
		"发放红包装纸箱",           // inside a legitimate word
		"红 包装已到货",           // half inside one
		"一次性交付现场", "公募产品说明", // @allow, @not
		"广告app的qqs", "boca", "bocaix集团", // Latin words that go on
		"共12件", "2026-11-25", "金额12,300.00元", "二〇二六年十一月二十五日", "PO2026001234",
		"博    彩", // too far apart
		"加班的同事请注意，明天不上班，请关注通知，微信", // the second part comes too late
	} {
		hits := slices.DeleteFunc(j.All(nil, text), func(h Hit) bool {
			return h.Via.Doubtful() || slices.Contains([]string{"<id>", "微信"}, j.Term(h.Term))
		})
		for _, h := range hits {
			t.Errorf("%q: found %s in %q via %q", text, j.Term(h.Term), text[h.Start:h.End], h.Via)
		}
	}
}

// TestFold: what people write in place of common characters folds to them.
func TestFold(t *testing.T) {
	b := shared()
	for _, c := range []struct{ from, to string }{
		{"買髮發鎗傢綵貸徵後賣錢賭證銀號碼羣衆黃錄戶稅藥槍獎圖單對衹裏", "买发发枪家彩贷征后卖钱赌证银号码群众黄录户税药枪奖图单对只里"},
		{"⼀⼈⾝㊗㈠祝", "一人身祝一祝"},
		{"ＡａⓆ🅀🆀ℚꝗԚⅤⅴΧХѵ𝐐𝒬é", "aaqqqqqqvvxxvqqe"},
		{"０１²₃④❺⓿٣𝟏⑽", "0000000000"},
	} {
		to := []rune(c.to)
		for i, r := range []rune(c.from) {
			e, _ := b.at(&b.bmp, string(r), 0)
			if codeOf(e) != uint16(to[i]) || !isKept(e) {
				t.Errorf("%c folds to %c (%#x), want %c", r, codeOf(e), e, to[i])
			}
		}
	}
	for _, c := range []struct {
		class uint32
		chars string
	}{
		{deleted, "\u200b\u00ad\ufeff\u0336\u20e3\ufe0f\u3164😀❤🇨🧧👨\U000e0100"},
		{odd, "·•*★☆◆-_/|~^+=.…、"[:len("·•*★☆◆-_/|~^+=.…")]},
		{odd, "￥$&\x80\xff"},
		{space, " \u00a0\u3000()【】[]\"“"},
		{sentence, "，。！？；：,"},
		{newline, "\n\u2028"},
	} {
		for i := 0; i < len(c.chars); {
			e, n := b.at(&b.bmp, c.chars, i)
			if classOf(e) != c.class {
				t.Errorf("%q is of class %d, want %d", c.chars[i:i+n], classOf(e)>>classShift, c.class>>classShift)
			}
			i += n
		}
	}
}

// TestVerdicts judges texts by class.
func TestVerdicts(t *testing.T) {
	j := judgeOf(t, testFile(t))
	for _, c := range []struct {
		text  string
		class Class
		want  Action
		rule  string
	}{
		{"您的验证码是382913，5分钟内有效。", ClassVerification, ActionPass, ""},
		{"归还银行贷款本金500,000.00元已支付成功。", ClassFinanceVoucher, ActionPass, ""},
		{"归还银行贷款本金500,000.00元已支付成功。", ClassUnknown, ActionReview, "5"},
		{"办理个人贷款，月息0.5%", ClassUnknown, ActionReview, "5"},            // a topic alone: 80 and a sixth of the rest
		{"办理个人贷款，月息0.5%，13800138000", ClassUnknown, ActionBlock, "5"}, // with somebody to call
		{"办理个人贷款，月息0.5%，13800138000", ClassFinanceVoucher, ActionReview, "5"},
		{"代贝款", ClassUnknown, ActionBlock, "5"},  // 60, and 40 for the disguise
		{"博彩平台", ClassInvoice, ActionBlock, "4"}, // unshifted
		{"红包", ClassUnknown, ActionPass, ""},
		{"勃采平台", ClassUnknown, ActionPass, ""},                            // doubtful: half of 100
		{"勃采，采漂", ClassUnknown, ActionReview, "4"},                        // never blocks
		{"好，评，返，现", ClassInventory, ActionBlock, "6"},                     // one term of 100 points
		{"买一送一", ClassUnknown, ActionReview, "1"},                         // never blocks,
		{"买一送一", ClassMarketingBlind, ActionBlock, "1"},                   // unless nobody asked for it,
		{"买一送一", ClassMarketingOptIn, ActionPass, ""},                     // and is fine where they did
		{"博彩", ClassMarketingOptIn, ActionBlock, "4"},                     //
		{"贷款贷款贷款贷款", ClassUnknown, ActionReview, "5"},                     // a term counts once
		{"贷款" + strings.Repeat("好", 210) + "月息2%", "", ActionReview, "5"}, // too far apart to add up
		{"验证码382913，请勿告知他人，谨防贷款诈骗", ClassUnknown, ActionPass, ""},
	} {
		a, hits := j.Judge(nil, c.text, c.class)
		rule := ""
		if len(hits) > 0 {
			rule = hits[0].Rule.String()
		}
		if a != c.want || rule != c.rule {
			t.Errorf("%q as %q: %s of rule %q, want %s of %q; %v", c.text, c.class, a, rule, c.want, c.rule, hits)
		}
	}
}

// TestLongText finds a term at the end of a mebibyte, with its offsets.
func TestLongText(t *testing.T) {
	j := judgeOf(t, testFile(t))
	text := cleanText(1<<20) + "博彩平台"
	a, hits := j.Judge(nil, text, ClassUnknown)
	if a != ActionBlock || len(hits) != 1 || text[hits[0].Start:hits[0].End] != "博彩" || hits[0].RuneEnd != utf8.RuneCountInString(text)-2 {
		t.Errorf("%s %v", a, hits)
	}
}

// TestManyHits: a text made of nothing but terms is bounded work.
func TestManyHits(t *testing.T) {
	j := judgeOf(t, testFile(t))
	a, hits := j.Judge(nil, strings.Repeat("博彩贷款maiyisongyi", 1<<16), ClassUnknown)
	if a != ActionBlock || len(hits) == 0 || len(hits) > maxRaw {
		t.Errorf("%s, %d hits", a, len(hits))
	}
}

func TestJudgeAllocatesNothing(t *testing.T) {
	j := judgeOf(t, testFile(t))
	room := make([]Hit, 0, 64)
	sc := new(scratch) // not the pool's, which the race detector empties at random
	for _, text := range []string{"您的采购订单已审核，预计3个工作日内送达仓库。", "办理个人贷款，月息0.5%，加我薇信abc88990，boCai平台"} {
		j.judge(sc, room, text, ClassUnknown)
		if n := testing.AllocsPerRun(100, func() { j.judge(sc, room, text, ClassUnknown) }); n >= 1 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
}

type suspicion struct{}

func (suspicion) Score(text string) (Rule, float64) {
	return RuleMarketing, float64(strings.Count(text, "！")) - 1
}

// TestScorer: a score alone asks for a review where the class lets its rule, and never blocks.
func TestScorer(t *testing.T) {
	j := judgeOf(t, testFile(t))
	j.UseScorer(suspicion{})
	for _, c := range []struct {
		text  string
		class Class
		want  Action
	}{
		{"快来吧！！！", ClassMarketingBlind, ActionReview},
		{"快来吧！！！", ClassMarketingOptIn, ActionPass},
		{"已到货！", ClassMarketingBlind, ActionPass},
		{"博彩！！！", ClassUnknown, ActionBlock},
	} {
		a, hits := j.Judge(nil, c.text, c.class)
		if a != c.want || (len(hits) == 1) != (a > ActionPass) {
			t.Errorf("%q as %q: %s, want %s; %v", c.text, c.class, a, c.want, hits)
		}
		if len(hits) == 1 && a == ActionReview && (hits[0].Term != NoTerm || j.Term(hits[0].Term) != "" || hits[0].RuneEnd != 6) {
			t.Errorf("%q: %+v", c.text, hits)
		}
	}
}

func TestOverride(t *testing.T) {
	parse := func(s string) *File {
		f, err := Parse("own.txt", []byte("@lexicon own 2\n"+s))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	base := testFile(t)
	for _, c := range []struct {
		own, text string
		want      Action
	}{
		{"@rule 4\n博彩 0\n", "博彩平台", ActionPass},
		{"@rule 4\n博彩 70\n", "博彩平台", ActionReview},
		{"@rule 8\n量子波动 100\n", "量子波动仪", ActionBlock},
		{"@allow\n博彩纸\n", "博彩纸张", ActionPass},
		{"@alias\n彩票 = 菜飘\n", "菜飘", ActionReview},
	} {
		if a, hits := judgeOf(t, base, parse(c.own)).Judge(nil, c.text, ClassUnknown); a != c.want {
			t.Errorf("%q with %q: %s, want %s; %v", c.text, c.own, a, c.want, hits)
		}
	}
	if v := judgeOf(t, base, parse("")).Version(); v != "test@2026-11-25 own@2" {
		t.Errorf("version %q", v)
	}
}

func TestParseMistakes(t *testing.T) {
	const head = "@lexicon a 1\n"
	for text, want := range map[string]string{
		"":                             "a.txt:1:1: ",
		"@rule 5\n贷款 6\n":              "a.txt:1:1: 文件首行须为 @lexicon",
		"贷款 6\n":                       "a.txt:1:1: ",
		"@lexicon a\n":                 "a.txt:1:1: ",
		head + head:                    "a.txt:2:1: ",
		head + "@rule 9\n":             "a.txt:2:7: @rule 之后应为",
		head + "@terms\n":              "a.txt:2:1: 未知的节 @terms",
		head + "@rule 5\n贷款\n":         "a.txt:3:1: ",
		head + "@rule 5\n贷款 6 h x\n":   "a.txt:3:1: ",
		head + "@rule 5\n贷款 201\n":     "a.txt:3:4: 分值",
		head + "@rule 5\n贷款 six\n":     "a.txt:3:4: ",
		head + "@rule 5\n贷款 6 hz\n":    "a.txt:3:6: 未知标志",
		head + "@rule 5\n贷款 6\n貸款 7\n": "a.txt:4:1: 词条 \"貸款\" 已在第 3 行写过",
		head + "@rule 5\n 贷，款 6\n":     "a.txt:3:3: ",
		head + "@rule 5\n.贷款 6\n":      "a.txt:3:1: ",
		head + "@rule 5\n贷.款.利 6\n":    "a.txt:3:1: ",
		head + "@alias\n微信\n":          "a.txt:3:1: ",
		head + "@alias\n微信 =\n":        "a.txt:3:1: ",
		head + "@alias\n = 薇信\n":       "a.txt:3:1: ",
		head + "@allow\n一-次\n":         "a.txt:3:2: ",
		head + "@rule 5\n\xff 6\n":     "a.txt:3:1: 不是 UTF-8",
		head + "@rule 5\n" + strings.Repeat("贷", 25) + " 6\n": "a.txt:3:1: ",
	} {
		_, err := Parse("a.txt", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), " / ") {
			t.Errorf("%q: error %v, want %q in two languages", text, err, want)
		}
	}
}

func TestEmbeddedLexiconsParse(t *testing.T) {
	files, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	judgeOf(t, files...)
}
