package rules_test

import (
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
)

// What may go to any of several providers must suit all of them, in whatever order they are named.
func TestProfileOfSeveralProviders(t *testing.T) {
	for _, name := range []string{"aliyun+huawei", "huawei+aliyun", "tencent+aliyun+huawei", "huawei+mine"} {
		if p := rules.ProviderOf(name); p.PromotionVariables || p.Unsubscribe != "拒收请回复R" || p.SignatureMax != 12 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := rules.ProviderOf("aliyun+tencent"); !p.PromotionVariables || p.Unsubscribe != "拒收请回复R" {
		t.Errorf("aliyun+tencent: %+v", p)
	}
}
