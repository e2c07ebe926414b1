package content

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	ahocorasick "github.com/BobuSumisu/aho-corasick"
)

// sentences are clean ERP prose; %d are filled in.
var sentences = []string{
	"您提交的费用报销单已通过部门负责人审核，当前由财务复核，预计%d个工作日内完成。",
	"采购订单已由供应商确认，首批物料将于下周三送达三号仓库，请提前安排卸货口。",
	"本月生产计划已经下达到车间，请各班组长核对工序、工时和所需模具。",
	"盘点任务已生成，请仓库管理员在今天下班前完成货位扫描并上传差异说明。",
	"销售出库单已过账，物流公司已经揽收，运单状态可以在系统中随时查看。",
	"设备点检发现主轴温度偏高，维修人员已到现场处理，恢复运行时间另行告知。",
	"新员工入职手续已办结，请到行政前台领取工牌、电脑和门禁卡。",
	"月末结账将从今晚八点开始，期间总账模块只能查询，请提前完成凭证录入。",
	"质检报告显示本批次抽样合格，允许入库，检验记录已归档。",
	"会议改到明天上午十点，地点在二楼培训教室，请各位主管准时参加。",
	"系统升级已经完成，审批流程、报表和移动端均已恢复，如遇异常请联系信息中心。",
	"供应商对账单已发出，请在收到后五个工作日内核对并回传盖章扫描件。",
	"库存低于安全数量，系统已自动生成补货建议，请计划员确认数量与交期。",
	"固定资产折旧已计提，差异明细请在资产模块的报表中导出。",
}

// cleanText is n bytes of clean prose or a little more.
func cleanText(n int) string {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < n {
		s := sentences[rnd.IntN(len(sentences))]
		if strings.Contains(s, "%d") {
			s = fmt.Sprintf(s, rnd.IntN(9)+1)
		}
		b.WriteString(s)
		if rnd.IntN(8) == 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// generated is a lexicon file with n terms of two to five common characters that the clean prose does not
// hold, an eighth of them also sought by sound and shape.
func generated(n int) *File {
	common := []rune(frequent())
	text := strings.Join(sentences, "")
	rnd := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	b.WriteString("@lexicon generated 1\n@rule 5\n")
	seen := make(map[string]bool)
	for i := 0; i < n; {
		term := make([]rune, 2+rnd.IntN(4))
		for k := range term {
			// Common characters are more common in terms, too.
			term[k] = common[int(float64(len(common))*rnd.Float64()*rnd.Float64())]
		}
		s := string(term)
		if seen[s] || strings.Contains(text, s) {
			continue
		}
		seen[s] = true
		flags := ""
		if i%8 == 0 && len(term) > 2 {
			flags = "h"
		}
		fmt.Fprintf(&b, "%s 5 %s\n", s, flags)
		i++
	}
	f, err := Parse("generated", []byte(b.String()))
	if err != nil {
		panic(err)
	}
	return f
}

// frequent are characters, the most frequent of each syllable first.
func frequent() string {
	var columns [4]strings.Builder
	for line := range strings.Lines(syllables) {
		_, chars, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for i, r := range []rune(chars) {
			if i < len(columns) {
				columns[i].WriteRune(r)
			}
		}
	}
	return columns[0].String() + columns[1].String() + columns[2].String() + columns[3].String()
}

func testFile(tb testing.TB) *File {
	tb.Helper()
	b, err := os.ReadFile("testdata/lexicon.txt")
	if err != nil {
		tb.Fatal(err)
	}
	f, err := Parse("lexicon.txt", b)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func judgeOf(tb testing.TB, files ...*File) *Judge {
	tb.Helper()
	j, err := Compile(files...)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// BenchmarkClean is the whole judgement of clean prose; beside it the ceiling and an Aho-Corasick automaton.
func BenchmarkClean(b *testing.B) {
	file := generated(10_000)
	text := cleanText(1 << 20)
	j := judgeOf(b, testFile(b), file)
	b.Run("judge", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if a, hits := j.Judge(nil, text, ClassUnknown); a != ActionPass || len(hits) > 0 {
				b.Fatal("the clean text is not clean", a)
			}
		}
		b.ReportMetric(float64(len(j.patterns)), "patterns")
	})
	b.Run("ceiling", func(b *testing.B) { // decode, and one look into a table
		b.SetBytes(int64(len(text)))
		var sum entry
		for b.Loop() {
			for _, r := range text {
				if r <= 0xFFFF {
					sum += j.bmp[r]
				}
			}
		}
		runtime.KeepAlive(sum)
	})
	b.Run("BobuSumisu", func(b *testing.B) {
		var terms []string
		for _, t := range file.terms {
			terms = append(terms, t.term)
		}
		trie := ahocorasick.NewTrieBuilder().AddStrings(terms).Build()
		b.SetBytes(int64(len(text)))
		b.ResetTimer()
		for b.Loop() {
			if len(trie.MatchString(text)) > 0 {
				b.Fatal("the clean text is not clean")
			}
		}
	})
}

// BenchmarkSMS is one text of 70 characters.
func BenchmarkSMS(b *testing.B) {
	j := judgeOf(b, testFile(b), generated(10_000))
	for name, text := range map[string]string{
		"clean": "您提交的采购申请单已由部门负责人审核通过，订单编号2026112500，预计3个工作日内送达三号仓库，请仓库管理员提前安排卸货口，并核对数量与批次。",
		"hits":  "华星平台通知您：办理个人贷款，月息0.5%，额度最高50万元，当天放款，无需抵押和担保，详情请加微信abc88990咨询，或致电13800138000联系客服。",
	} {
		if n := utf8.RuneCountInString(text); n < 68 || n > 80 {
			b.Fatalf("%s has %d characters", name, n)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			hits := make([]Hit, 0, 64)
			for b.Loop() {
				_, hits = j.Judge(hits[:0], text, ClassUnknown)
			}
			if (len(hits) > 0) != (name == "hits") {
				b.Fatal(hits)
			}
		})
	}
}

// BenchmarkCompile builds a judge of 20,000 terms; MB is what it keeps on the heap.
func BenchmarkCompile(b *testing.B) {
	file := generated(20_000)
	shared()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	j := judgeOf(b, file)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ResetTimer()
	for b.Loop() {
		judgeOf(b, file)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	b.ReportMetric(float64(len(j.patterns)), "patterns")
}
