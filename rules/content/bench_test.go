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

// words fill the places of sentences, by the first character of their line.
var words = map[byte][]string{
	'd': strings.Fields("财务部 采购部 销售部 仓储部 质检部 生产部 工程部 人力资源部 行政部 信息中心 设备科 审计室 华东分公司 第二车间 总装线"),
	'g': strings.Fields("轴承 钢板 电缆 阀门 减速机 密封圈 铜管 包装箱 螺栓 滤芯 传感器 托盘 润滑油 变频器 齿轮 法兰 塑料粒子 纸箱 标签 模具"),
	'x': strings.Fields("采购订单 费用报销单 出库单 入库单 领料单 调拨单 盘点表 检验报告 生产任务 付款申请 对账单 合同 发货通知 用印申请 差旅申请 工序汇报"),
	'v': strings.Fields("已经审核 等待复核 已退回修改 已提交 已归档 正在处理 已过账 已关闭 已下达 需要补充附件 已生成 已作废 已转交 已签收"),
	't': strings.Fields("今天 明天 本周五 下周一 月底 上午十点 下午三点 节前 八点半 两小时内 三个工作日内 次日 年底前 交接班时"),
	'a': strings.Fields("请及时查看 请核对数量 请准备相关资料 请在系统中确认 请安排人员到场 请留意后续消息 如有疑问请致电前台 请做好记录 请更新计划 请勿重复提交"),
}

var shapes = []string{
	"dp提交的xv，预计t完成，a。", "g的xv，a。", "t到货的g由p验收，dv。", "dt召开例会，a。", "p您好，关于g的xv，a！", "因g库存偏低，d将t调整排程；a。", "xv：共%d行，涉及g和g。",
	"设备点检发现g磨损，dp已到现场，t恢复运行。", "仓库三区的g需要移库，a。", "t系统维护，x将暂停办理，a。",
}

// names are companies and people, which bring the rarer characters into a text.
func names(n int) []string {
	chars := []rune(frequent())
	rnd := rand.New(rand.NewPCG(5, 6))
	out := make([]string, n)
	for i := range out {
		name := make([]rune, 2+rnd.IntN(2))
		for k := range name {
			name[k] = chars[rnd.IntN(len(chars))]
		}
		out[i] = string(name)
	}
	return out
}

// cleanText is n bytes of clean ERP prose or a little more.
func cleanText(n int) string {
	rnd := rand.New(rand.NewPCG(1, 2))
	words['p'] = names(400)
	var b strings.Builder
	for b.Len() < n {
		shape := shapes[rnd.IntN(len(shapes))]
		if strings.Contains(shape, "%d") {
			shape = fmt.Sprintf(shape, rnd.IntN(90)+1)
		}
		for _, r := range shape {
			if list := words[byte(r&0x7f)]; r < 0x80 && list != nil {
				b.WriteString(list[rnd.IntN(len(list))])
			} else {
				b.WriteRune(r)
			}
		}
		if rnd.IntN(8) == 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// generated is a lexicon file with n terms of two to five common characters that clean prose does not hold, an eighth of them also sought by sound and shape.
func generated(n int) *File {
	common := []rune(frequent())
	text := cleanText(1 << 17)
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
		trie := ahocorasick.NewTrieBuilder().AddStrings(spelled(j)).Build()
		b.SetBytes(int64(len(text)))
		b.ResetTimer()
		for b.Loop() {
			trie.MatchString(text) // finds doubtful spellings, such as initials
		}
	})
}

// spelled are all patterns of a judge as text: the same work for another engine.
func spelled(j *Judge) []string {
	type edge struct {
		code rune
		to   uint32
	}
	children := make(map[uint32][]edge)
	for _, s := range j.edges.slots {
		if s.key != 0 {
			children[uint32(s.key>>16)] = append(children[uint32(s.key>>16)], edge{rune(s.key & codeMask), s.value})
		}
	}
	var out []string
	var walk func(node uint32, text string)
	walk = func(node uint32, text string) {
		if j.nodes[node] >= 0 {
			out = append(out, text)
		}
		for _, e := range children[node] {
			walk(e.to, text+string(e.code))
		}
	}
	for _, s := range j.pairs.slots {
		if s.key != 0 {
			walk(s.value, string(rune(s.key>>16))+string(rune(s.key&codeMask)))
		}
	}
	return out
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
