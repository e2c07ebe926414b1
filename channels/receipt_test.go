package channels_test

import (
	"errors"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

func TestReceiptSettingsThatContradict(t *testing.T) {
	for name, c := range map[string]struct {
		r    channels.Receipts
		asks bool
		want string
	}{
		"none":                        {channels.Receipts{}, false, ""},
		"pushed":                      {channels.Receipts{TokenFile: "t", Networks: []string{"10.0.0.0/8"}}, false, ""},
		"polled":                      {channels.Receipts{Poll: true}, true, ""},
		"polled, and cannot be asked": {channels.Receipts{Poll: true}, false, "/receipts/poll"},
		"both":                        {channels.Receipts{TokenEnv: "T", Poll: true}, true, "/receipts/poll"},
		"networks for nobody":         {channels.Receipts{Networks: []string{"10.0.0.0/8"}}, true, "/receipts/token_file"},
	} {
		err := c.r.Check(c.asks)
		bad, _ := errors.AsType[*schemas.Invalid](err)
		if got := ""; bad != nil {
			if got = bad.Problems[0].Pointer; got != c.want || bad.Problems[0].Zh == "" {
				t.Errorf("%s: %+v", name, bad.Problems)
			}
		} else if c.want != "" || err != nil {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
