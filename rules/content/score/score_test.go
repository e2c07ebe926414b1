package score

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
)

// examples are messages made of a few phrases: loans (rule 5), games of chance (rule 4) and clean ones.
func examples() []Example {
	var out []Example
	add := func(rules []int, first, second, third []string) {
		for _, a := range first {
			for _, b := range second {
				for _, c := range third {
					out = append(out, Example{Text: a + b + c, Rules: rules})
				}
			}
		}
	}
	add([]int{4}, []string{"急用钱找我们，", "资金周转不开？", "无需抵押，"}, []string{"当天放款", "凭身份证即可下款", "额度最高五十万"}, []string{"，利息低。", "，随借随还。", "，来电咨询。", "，手续简单。"})
	add([]int{3}, []string{"注册就送彩金，", "真人在线发牌，", "每晚开奖，"}, []string{"上线即可提现", "充值返利", "赔率最高"}, []string{"，快来试手气。", "，欢迎来玩。", "，网址见下。", "，大额无忧。"})
	add(nil, []string{"您的订单已发货，", "会议改到下午三点，", "十一月工资已发放，", "采购单待您审批，"}, []string{"请在系统中查看", "如有疑问请联系财务部", "请按时参加"}, []string{"。", "，谢谢。", "，单号 20261125。", "，请勿回复。", "，祝工作顺利。"})
	return out
}

func train(t testing.TB, o Options) (*Model, *Report) {
	t.Helper()
	m, report, err := Train(t.Context(), examples(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m, report
}

// TestTrain: rules are told apart on messages that were not learned from, and a rule without examples never speaks.
func TestTrain(t *testing.T) {
	last := 0
	m, report := train(t, Options{Seed: 1, FalsePositives: 0.02, Progress: func(done, total int) {
		if last = done; done > total {
			t.Errorf("%d of %d done", done, total)
		}
	}})
	if last != epochs*folds*len(examples()) {
		t.Errorf("%d examples learned from at the end", last)
	}
	if report.Clean != 60 || float64(report.Reviewed) > 0.02*60 {
		t.Errorf("%d of %d clean messages to review", report.Reviewed, report.Clean)
	}
	for i, r := range report.Rules {
		if want := i == 3 || i == 4; r.Learned != want || r.Rule != Rules[i] || !want && r.Accused > 0 {
			t.Errorf("%+v", r)
		} else if want && (r.Examples != 36 || r.Recall() < 0.9 || r.Precision() < 0.9) {
			t.Errorf("%+v: recall %.2f, precision %.2f", r, r.Recall(), r.Precision())
		}
	}
	for text, want := range map[string]int{
		"资金周转不开？凭身份证当天放款，额度最高，利息低。": 4,
		"真人在线开奖，上线充值返利，赔率高，快来试手气。":  3,
		"采购单待您审批，请在系统中查看，谢谢。":       -1,
		"下款":   -1, // too short to resemble anything
		"":     -1,
		"\x00": -1,
	} {
		if r, margin := m.Score(text); (margin > 0) != (want >= 0) || margin > 0 && r != want {
			t.Errorf("%q: rule %s by %.2f", text, Rules[r], margin)
		}
	}
}

// TestTrainIsRepeatable: the same seed gives the same file, another one another.
func TestTrainIsRepeatable(t *testing.T) {
	var files [3][]byte
	for i, seed := range []uint64{1, 1, 2} {
		m, _ := train(t, Options{Seed: seed, FalsePositives: 0.01})
		files[i] = m.Encode()
	}
	if !bytes.Equal(files[0], files[1]) || bytes.Equal(files[1], files[2]) {
		t.Error("the seed does not decide")
	}
}

func TestTrainNeedsExamples(t *testing.T) {
	all := examples()
	for name, list := range map[string][]Example{"clean": all[:72], "10": all[72:], "10 ": nil} {
		var wrong *Error
		if _, _, err := Train(t.Context(), list, Options{}); !errors.As(err, &wrong) || wrong.Zh == "" || len(list) > 0 && !strings.Contains(wrong.En, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Train(ctx, all, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFeatures: writing the same thing in another way gives the same features.
func TestFeatures(t *testing.T) {
	buckets := func(text string) (out []uint32) {
		var f features
		for f.reset(text); f.next(); {
			out = append(out, f.found()...)
		}
		return out
	}
	want := buckets("abc贷款(1)0000")
	if len(want) != 1+2+3*10 {
		t.Fatalf("%d features", len(want))
	}
	for _, text := range []string{"ABC贷款⑴1234", "ａＢｃ 贷\u200b款（5）٣٤٥٦", "a\tb\nc贷\x00款(9)8\u0301888"} {
		if got := buckets(strings.ReplaceAll(text, "⑴", "(1)")); !slices.Equal(got, want) {
			t.Errorf("%q: other features", text)
		}
	}
	if !slices.Equal(buckets("⑴㈱"), buckets("(1)(株)")) {
		t.Error("compatibility forms are not decomposed")
	}
	if n := len(buckets(strings.Repeat("长", 2*maxRunes))); n != 3*maxRunes-3 {
		t.Errorf("a long text has %d features", n)
	}
}

// TestLoad: a model comes back as it was, and a file that is none says what is wrong with it.
func TestLoad(t *testing.T) {
	m, _ := train(t, Options{Seed: 1, FalsePositives: 0.02})
	file := m.Encode()
	back, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples() {
		r, margin := m.Score(e.Text)
		if r2, margin2 := back.Score(e.Text); r2 != r || margin2 != margin {
			t.Fatalf("%q: %s by %f, after loading %s by %f", e.Text, Rules[r], margin, Rules[r2], margin2)
		}
	}
	changed := func(at int, b byte) []byte {
		out := bytes.Clone(file)
		out[at] = b
		return out
	}
	number := func(at int, v float32) []byte {
		out := bytes.Clone(file)
		binary.LittleEndian.PutUint32(out[at:], math.Float32bits(v))
		return seal(out)
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"empty":     {nil, "not a model"},
		"lexicon":   {[]byte("@lexicon a 1\n"), "not a model"},
		"version":   {changed(len(magic), 9), "version 9"},
		"buckets":   {changed(len(magic)+1, 30), "other rules or features"},
		"rules":     {changed(len(magic)+2, 200), "other rules or features"},
		"cut":       {file[:len(file)-1], "not whole"},
		"longer":    {append(bytes.Clone(file), 0), "not whole"},
		"damaged":   {changed(5000, file[5000]+1), "checksum"},
		"NaN":       {number(headSize, float32(math.NaN())), "rule 1 is not finite"},
		"threshold": {number(headSize+ruleSize+8, float32(math.Inf(-1))), "rule 2 is not finite"},
		"scale":     {number(headSize, -1), "negative"},
	} {
		var wrong *Error
		if _, err := Load(tt.file); !errors.As(err, &wrong) || !strings.Contains(wrong.En, tt.want) || wrong.Zh == "" || !strings.Contains(err.Error(), " / ") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// seal gives a changed file the checksum that it needs.
func seal(file []byte) []byte {
	at := len(file) - sumSize
	binary.LittleEndian.PutUint32(file[at:], crc32.Checksum(file[:at], castagnoli))
	return file
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		`{"text":"a","rules":["5","x","5"],"id":7}`:                       "[4 9] [] true",
		`{"text":"a","rules":[]}`:                                         "[] [] true",
		`{"text":"a","cats":["1","x_other"],"label":"spam"}`:              "[0] [x_other] true",
		`{"text":"a","cats":["x_other"]}`:                                 "[] [x_other] false",
		`{"text":"a","cats":[],"label":"spam","category":"x_other"}`:      "[] [x_other] false",
		`{"text":"a","rules":[],"label":"ok"}`:                           "[] [] true",
		`{"text":"a","label":"ham","category":"txn"}`:                     "[] [] true",
		`{"text":"a","label":"spam","category":"4"}`:                      "[3] [] true",
		`{"text":"a","rules":["8"],"cats":["7"],"label":3,"category":{}}`: "[7] [] true",
	} {
		e, unknown, ok, err := Parse([]byte(in))
		if got := fmt.Sprint(e.Rules, unknown, ok); got != want || err != nil || e.Text != "a" {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		`{"rules":[]}`:                "text (a string) is missing",
		`{"text":"a"}`:                "rules (an array",
		`{"text":"a","label":"spam"}`: "rules (an array",
		`{"text":5,"rules":[]}`:       "text has the wrong type",
		`{"text":"a","rules":"5"}`:    "rules has the wrong type",
		`{"text":"a","cats":[5]}`:     "cats/0 has the wrong type",
		`{"text":"a"`:                 "not a JSON object",
		`[]`:                          "not a JSON object",
	} {
		var wrong *Error
		if _, _, _, err := Parse([]byte(in)); !errors.As(err, &wrong) || !strings.Contains(wrong.En, want) || wrong.Zh == "" {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

// FuzzLoad: no file makes Load panic or take more than a model, and what it takes gives a score that is a number.
func FuzzLoad(f *testing.F) {
	m := &Model{weights: make([]weights, buckets)}
	file := m.Encode()
	f.Add(file[:headSize+ruleCount*ruleSize], "您的订单已发货")
	f.Add([]byte("yzscore\x01\x10\x0a"), "贷款")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, head []byte, text string) {
		whole := bytes.Clone(file) // the head decides, the weights are long and all are allowed
		copy(whole[:len(whole)-sumSize], head)
		for _, b := range [][]byte{head, seal(whole)} {
			m, err := Load(b)
			if err != nil {
				continue
			}
			if !bytes.Equal(m.Encode(), b) {
				t.Error("the model does not come back as it was")
			}
			if r, margin := m.Score(text); r < 0 || r >= ruleCount || math.IsNaN(margin) {
				t.Errorf("rule %d by %f", r, margin)
			}
		}
	})
}

// FuzzParse: no line makes Parse panic, and errors come in both languages.
func FuzzParse(f *testing.F) {
	f.Add(`{"text":"a","rules":["5"]}`)
	f.Add(`{"text":"a","cats":[1]}`)
	f.Fuzz(func(t *testing.T, in string) {
		e, unknown, ok, err := Parse([]byte(in))
		var wrong *Error
		if err != nil && (!errors.As(err, &wrong) || wrong.Zh == "" || wrong.En == "") {
			t.Errorf("%v", err)
		}
		if ok && err == nil && len(e.Rules) == 0 && len(unknown) > 0 {
			t.Error("a message under unknown rules is clean")
		}
	})
}

// TestScoreAllocatesNothing, whatever stands in the text.
func TestScoreAllocatesNothing(t *testing.T) {
	m := &Model{weights: make([]weights, buckets)}
	for _, text := range []string{sample, "㈱ⅷ①½ﬁ한é　ＡＢＣ１２３、" + sample} {
		if n := testing.AllocsPerRun(100, func() { m.Score(text) }); n > 0 {
			t.Errorf("%q: %.0f allocations", text, n)
		}
	}
}

// sample has 70 characters.
const sample = "【华星科技】尊敬的客户，贵司订单 HX20261125 已于今日从杭州仓发出，预计 3 天内送达，请安排人员签收并核对数量，如有问题请致电客服。"

func BenchmarkScore(b *testing.B) {
	m, _ := train(b, Options{Seed: 1, FalsePositives: 0.02})
	b.ReportAllocs()
	b.SetBytes(int64(len(sample)))
	for b.Loop() {
		m.Score(sample)
	}
}

func BenchmarkTrain(b *testing.B) {
	for b.Loop() {
		train(b, Options{Seed: 1, FalsePositives: 0.02})
	}
}
