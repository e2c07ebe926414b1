package score

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Example is a message and the rules that it breaks.
type Example struct {
	Text  string
	Rules []int // indices of [Rules]; none is a clean message
}

func (e *Example) clean() bool { return len(e.Rules) == 0 }

// line is a line of JSON to learn from; other members are ignored.
type line struct {
	Text     *string        `json:"text"`
	Rules    *[]string      `json:"rules"`
	Cats     *[]string      `json:"cats"`     // another name for rules
	Label    jsontext.Value `json:"label"`    // "ham" is a clean message; anything else is not
	Category jsontext.Value `json:"category"` // a rule, where there is nothing else
}

// Parse reads a line: {"text": "...", "rules": ["5"]}, no rules for a clean message. "cats" is taken as rules,
// "label": "ham" as none. Names of rules that are none of [Rules] come back as unknown; a message with no other is
// neither clean nor an example of a rule, and ok is false.
func Parse(b []byte) (e Example, unknown []string, ok bool, err error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return e, nil, false, field(err)
	}
	if l.Text == nil {
		return e, nil, false, wrong("缺少 text（字符串）", "text (a string) is missing")
	}
	e.Text = *l.Text
	if word(l.Label) == "ham" {
		return e, nil, true, nil
	}
	ids := l.Rules
	if ids == nil {
		ids = l.Cats
	}
	category := word(l.Category)
	switch {
	case ids == nil && category == "":
		return e, nil, false, wrong("缺少 rules（规则编号的数组，合规消息写 []）", "rules (an array of rule ids, [] for a clean message) is missing")
	case ids == nil, len(*ids) == 0 && l.Rules == nil && l.Label != nil: // labelled as bad, and under no rule: not clean
		ids = &[]string{category}
	}
	for _, id := range *ids {
		r := slices.Index(Rules[:], id)
		switch {
		case r < 0:
			unknown = append(unknown, id)
		case !slices.Contains(e.Rules, r):
			e.Rules = append(e.Rules, r)
		}
	}
	return e, unknown, len(e.Rules) > 0 || len(unknown) == 0, nil
}

// word is a JSON string, "" for any other value.
func word(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// field says which member of the line is of the wrong kind.
func field(err error) error {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok || semantic.JSONPointer == "" {
		return wrong("不是 JSON 对象", "not a JSON object")
	}
	name := string(semantic.JSONPointer)[1:] // of members of line alone: the others are not decoded
	return wrong(fmt.Sprintf("字段 %s 的类型有误：text 为字符串，rules 和 cats 为字符串数组", name),
		fmt.Sprintf("%s has the wrong type: text is a string, rules and cats are arrays of strings", name))
}
