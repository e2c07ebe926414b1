package channels

import "github.com/yizhan-dev/yizhan/schemas"

// BadSetting is the error of a factory for a setting that is well-formed but cannot be used. key
// is its name in the channel's section; zh and en never repeat a secret.
func BadSetting(key, zh, en string) error {
	return &schemas.Invalid{Problems: []schemas.Problem{{
		Pointer: "/" + key, Keyword: "setting", Text: schemas.Text{Zh: zh, En: en},
	}}}
}
