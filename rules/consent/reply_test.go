package consent

import (
	"strings"
	"testing"
)

func TestOptOut(t *testing.T) {
	for _, s := range []string{
		"R", "r", "Ｒ", " r ", "R。", "“R”", "td", "ＴＤ", "T", "N", "0000", "００００", "退订", "退 订", "拒收", "退订！", "拒收。", "【退订】",
		"回复R", "回复 TD", "拒收请回复R", "拒收请回复 R", "退订回T", "退订回复TD", "回T退订", "回TD退订", "TD退订", "我要退订", "申请退订", "请退订", "R🙏",
	} {
		if !optsOut(s) {
			t.Errorf("%q is a refusal", s)
		}
	}
	for _, s := range []string{
		"", " ", "。", "不要退订", "取消退订", "好的", "收到", "Tom", "NO", "RT", "TDK", "10000", "00000", "00:00", "R1", "T恤还有吗", "N95", "Y", "Yes",
		"退订后还能收到验证码吗", "已回复", "回复", "请回复", "退货", "谁啊", "OK R", strings.Repeat("R", 500),
	} {
		if optsOut(s) {
			t.Errorf("%q is none", s)
		}
	}
}

func TestOptOutAsPeopleWriteIt(t *testing.T) {
	for reply, want := range map[string]bool{
		"退訂": true, "退\u200b订": true, "\u200eT\u200dD": true, "拒收短信": true, "退订谢谢": true, "退订，谢谢！": true,
		"我要退订短信": true, "STOP": true, "stop.": true, "回复R退订": true,
		"不要退订": false, "Tom": false, "10000": false, "谢谢": false, "短信": false, "STOPPED": false, "nonstop": false, "预订": false,
	} {
		if optsOut(reply) != want {
			t.Errorf("%q: %v, want %v", reply, !want, want)
		}
	}
}

func FuzzOptOut(f *testing.F) {
	f.Add("拒收请回复R")
	f.Fuzz(func(t *testing.T, s string) {
		if got := optsOut(s); got != optsOut(" "+s+"\n") && len(s)+2 <= maxReply {
			t.Errorf("spaces around %q change the answer", s)
		}
	})
}
