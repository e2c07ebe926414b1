// Package schemas is the wire: what travels between producers, pods and operators.
//
// It holds the event (CloudEvents 1.0), the delivery, the dead letter, their strict decoding
// and checking, and the JSON Schema files that say the same to other languages. It imports
// nothing of ours, so that a Go producer can import it alone.
package schemas

// Text is one sentence for people, in both languages of the product.
type Text struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// In returns the sentence in lang ("zh…" is Chinese, everything else English).
func (t Text) In(lang string) string {
	if len(lang) >= 2 && (lang[:2] == "zh" || lang[:2] == "ZH") {
		return t.Zh
	}
	return t.En
}

// Problem is one thing that is wrong with an input, and where.
type Problem struct {
	// Pointer is a JSON pointer (RFC 6901) into the input, "" for the whole of it.
	Pointer string `json:"pointer"`
	// Keyword names the broken constraint for programs: "required", "unknown", "type", "format", "tenant"…
	Keyword string `json:"keyword"`
	Text
}

// Invalid is the error of an input that no retry can cure: every problem found in it.
type Invalid struct {
	Problems []Problem
}

func (e *Invalid) Error() string {
	if len(e.Problems) == 0 {
		return "invalid input"
	}
	p := e.Problems[0]
	s := p.En
	if p.Pointer != "" {
		s = p.Pointer + ": " + s
	}
	return s
}
