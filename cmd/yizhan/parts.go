package main

import (
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/schemas"
)

// What mainland carriers bill: a text of up to 70 characters is one message, a longer one is cut into pieces
// of 67 (help.aliyun.com/document_detail/44335.html). The signature and its brackets count.
const (
	onePart  = 70
	eachPart = 67
)

// smsParts is how many messages an SMS is billed as.
func smsParts(m *schemas.Message) int {
	n := utf8.RuneCountInString(m.Text)
	if m.Signature != "" {
		n += utf8.RuneCountInString(m.Signature) + 2
	}
	if n <= onePart {
		return 1
	}
	return (n + eachPart - 1) / eachPart
}
