package consent

import "testing"

func TestOptOutAsPeopleWriteIt(t *testing.T) {
	for reply, want := range map[string]bool{
		"退訂": true, "退\u200b订": true, "\u200eT\u200dD": true, "拒收短信": true, "退订谢谢": true, "退订，谢谢！": true,
		"我要退订短信": true, "STOP": true, "stop.": true, "回复R退订": true,
		"不要退订": false, "Tom": false, "10000": false, "谢谢": false, "短信": false, "STOPPED": false, "nonstop": false, "预订": false,
	} {
		if OptOut(reply) != want {
			t.Errorf("%q: %v, want %v", reply, !want, want)
		}
	}
}
