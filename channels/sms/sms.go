// Package sms holds what all SMS providers share: how long a text is, and which provider a
// channel of kind "sms" speaks to. Each provider lives in a folder of its own.
package sms

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
)

// Lengths of mainland messages in characters, signature and its brackets included; any character
// counts one, full or half width (help.aliyun.com/document_detail/44335.html).
const (
	MaxLength   = 500 // longer is refused
	oneSegment  = 70  // a message of its own
	joinSegment = 67  // each part of a longer one: three characters go into the joining header
)

// Length is the number of characters that the carrier counts: 【signature】 and text.
func Length(signature, text string) int {
	n := utf8.RuneCountInString(text)
	if signature != "" {
		n += utf8.RuneCountInString(signature) + len([]rune("【】"))
	}
	return n
}

// Segments is how many messages are billed for text under signature: 0 for nothing at all, 1 up to
// 70 characters, otherwise one for each 67 begun.
func Segments(signature, text string) int {
	n := Length(signature, text)
	switch {
	case n == 0:
		return 0
	case n <= oneSegment:
		return 1
	}
	return (n + joinSegment - 1) / joinSegment
}

// New returns the factory of kind "sms": it opens the channel with the factory that the section's
// provider names.
func New(providers map[string]channels.Factory) channels.Factory {
	return func(env channels.Env, decode func(into any) error) (channels.Channel, error) {
		// A map takes every key, so that the strict decoding is left to the provider's own Config.
		var section map[string]any
		if err := decode(&section); err != nil {
			return nil, err
		}
		name, _ := section["provider"].(string)
		open, ok := providers[name]
		if !ok {
			known := strings.Join(slices.Sorted(maps.Keys(providers)), ", ")
			return nil, channels.BadSetting("provider",
				"未知的短信服务商“"+name+"”，可用的有："+known,
				"unknown SMS provider \""+name+"\"; known are: "+known)
		}
		return open(env, decode)
	}
}

// Number is an E.164 number as Chinese providers want it: the bare 11 digits for the mainland,
// country code and number without + abroad. Anything without a + is returned as it is.
func Number(e164 string) string {
	if rest, ok := strings.CutPrefix(e164, "+86"); ok && len(rest) == 11 && rest[0] == '1' {
		return rest
	}
	return strings.TrimPrefix(e164, "+")
}
