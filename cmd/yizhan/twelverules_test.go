package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/backtest"
	"github.com/yizhan-dev/yizhan/rules/dailycap"
	"github.com/yizhan-dev/yizhan/schemas"
)

// ruleExamples are, for each rule that is judged before sending, a message that is stopped, what its advice says to
// write instead, and a business message with tempting words that passes.
var ruleExamples = []struct {
	rule, disguise          string // disguise: how a hit of the rule is disguised
	stopped, instead, close []string
}{
	{"1", "", []string{"冬季新款已上架，全场七折", "--class", "marketing_blind"}, []string{"订单SO-2026-0311已发货"}, []string{"新品上架促销方案SP-0021已提交，请审批"}},
	{"2", "split", []string{"对账请力口微信hx_liu2026"}, []string{"如有疑问，请致电客服400-810-8888"}, []string{"请在企业微信的审批应用中处理采购申请PR-2026-0456"}},
	{"3", "pinyin", []string{"同城jiao友，今晚有约"}, []string{"工会羽毛球活动：11月28日14:00，公司体育馆"}, []string{"单身宿舍入住申请已通过，请到行政部领取钥匙"}},
	{"4", "hidden", []string{"百\u200b家乐真人荷官"}, []string{"客户K1024的订单已发货"}, []string{"订单SO-2026-0311（彩票打印纸200箱）已发货"}},
	{"5", "", []string{"无抵押贷款，当天放款"}, []string{"应收款12,300.00元，到期日11月30日"}, []string{"贷款利息凭证记-0012已过账，金额3,500.00元", "--class", "finance_voucher"}},
	{"6", "", []string{"五星好评返现10元"}, []string{"欢迎评价本次服务"}, []string{"红包封2,000个（物料4010871）已入库，请质检"}},
	{"7", "", []string{"祖传秘方，根治风湿"}, []string{"物料4010233已入库200件，请质检"}, []string{"药品冷藏柜2台（物料4010655）已入库，请质检"}},
	{"8", "", []string{"公墓特价出售，环境优美"}, []string{"采购单PO-2026-0117已审核"}, []string{"墓碑石材（物料4010233）12块已入库，请质检"}},
	{"9", "", []string{"您的订单【星河】已发货", "--signature", "华星科技"}, []string{"您的订单《星河》已发货", "--signature", "华星科技"}, nil},
	{"10", "", []string{"订单SO-2026-0311已发货", "--signature", "华星科技股份有限公司通知中心"}, []string{"订单SO-2026-0311已发货", "--signature", "华星科技"}, nil},
	{"11", "", []string{"成人视频免费看"}, []string{"客户K1024的订单已发货"}, []string{"枪式摄像机20台（物料4010902）已入库，请验收"}},
	{"x", "", []string{"代开增值税发票，点位低"}, []string{"您的发票已开具，发票号码24312000000012345678，金额12,300.00元"}, []string{"发票代码011002300111，发票号码00123456已认证，请核对"}},
}

// TestTwelveRules writes what a rule owner reads to know the rules: testdata/cli/twelve-rules-….txt. What the advice gives
// as an example passes, and so does business that names a forbidden thing.
func TestTwelveRules(t *testing.T) {
	defer func(l string) { lang = l }(lang)
	for _, l := range []string{"zh", "en"} {
		lang = l
		var file strings.Builder
		for _, e := range ruleExamples {
			if e.rule == "x" { // the list ends with it; 12 is judged when sending
				file.WriteString(dailyCapExample(t))
			}
			fmt.Fprintf(&file, "# %s\n\n", say(rules.RuleName(e.rule)))
			example := func(title string, args []string, code int) []schemas.Hit {
				args = append(append([]string{"lint"}, args...), "--lang", l)
				if !slices.Contains(args, "--signature") {
					args = append(args, "--signature", "华星科技")
				}
				r := yizhan(t, "", args...)
				if r.code != code {
					t.Errorf("rule %s, %q: exit %d, want %d", e.rule, args, r.code, code)
				}
				fmt.Fprintf(&file, "%s\n%s\n", title, transcript(r, args))
				var out lintOutput
				if err := json.Unmarshal([]byte(yizhan(t, "", append(args, "-o", "json")...).out), &out); err != nil || len(out.Texts) != 1 {
					t.Fatalf("%q: %d texts, %v", args, len(out.Texts), err)
				}
				return out.Texts[0].Hits
			}
			hits := example(tr("被拦截：", "Stopped:"), e.stopped, exitProblem)
			if !slices.ContainsFunc(hits, func(h schemas.Hit) bool {
				return h.Rule == e.rule && h.Action == rules.ReportBlock && h.Via == e.disguise
			}) {
				t.Errorf("rule %s, %q: %+v", e.rule, e.stopped, hits)
			}
			passes := func(title string, args []string) {
				if hits := example(title, args, exitOK); len(hits) > 0 {
					t.Errorf("rule %s, %q: %+v", e.rule, args, hits)
				}
			}
			passes(tr("按建议改写后通过：", "Written as advised, it passes:"), e.instead)
			if e.close != nil {
				passes(tr("含相近字眼的业务消息，通过：", "Business that uses such words passes:"), e.close)
			}
			if e.rule == "9" || e.rule == "10" {
				continue // their advice names no example: it speaks of the signature at hand
			}
			for _, h := range hits {
				if h.Rule == e.rule && !strings.Contains(say(h.Advice), "“"+e.instead[0]+"”") {
					t.Errorf("rule %s: the advice does not give %q: %s", e.rule, e.instead[0], say(h.Advice))
				}
			}
		}
		goldenText(t, "twelve-rules-"+l, file.String())
	}
}

// dailyCapExample is the 51st message of a day to a number, as its story tells it.
func dailyCapExample(t *testing.T) string {
	t.Helper()
	book, err := rules.Load(nil, nil, map[string]rules.ReserverFactory{"daily_cap": dailycap.New}, rules.Env{Caps: backtest.NewStore()})
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, zone)
	send := func(n int) rules.Verdict {
		now := noon.Add(time.Duration(n) * time.Minute)
		in := rules.Input{Kind: "sms", Capped: true, Now: now, Delivery: &schemas.Delivery{
			Category: schemas.Notification, To: schemas.Recipient{Phone: "+8613800138000"},
		}}
		v, err := book.Reservers()[0].Reserve(t.Context(), in, fmt.Sprint(n), now.Add(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for n := range 50 {
		if v := send(n); v.Action != rules.Pass {
			t.Fatalf("message %d of the day: %+v", n+1, v)
		}
	}
	v := send(50)
	if v.Action != rules.Bury || v.Rule != dailycap.Rule || len(v.Hits) != 1 {
		t.Fatalf("message 51 of the day: %+v", v)
	}
	why := ledger.Tell(&schemas.Cause{Kind: "dispatcher", Code: "rule-" + v.Rule, Class: "throttled", Hits: v.Hits}, explain.Default().Explain)
	var out bytes.Buffer
	u := &ui{out: &out}
	u.verdict(verdictOf(schemas.Dead, time.Time{}, "138****8000", why), why)
	return fmt.Sprintf("# %s\n\n%s\n%s\n", say(rules.RuleName(v.Rule)), tr("同一号码当天的第 51 条，发送时判断（yizhan trace 中的说明）：", "The 51st of a day to one number, judged when sending (as yizhan trace tells it):"), out.String())
}
