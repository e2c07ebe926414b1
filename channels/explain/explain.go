// Package explain puts failures into words: what happened, whose job it is and what to do now, in
// Chinese and English.
//
// The knowledge is a table, diagnoses.csv, one row a code or an expression; README.md gives its
// format and the order in which rows are tried. The code here only reads replies and looks them
// up. It works offline and keeps no state, so an explanation may be asked for anywhere and again.
package explain

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/yizhan-dev/yizhan/channels"
)

// The rows that come with the program: the codes of third parties, and what their words mean whoever says them.
var (
	//go:embed diagnoses.csv
	codes []byte
	//go:embed meanings.csv
	meanings []byte
)

// Table is a compiled set of rows. It never changes, so it is safe for concurrent use.
type Table struct {
	rows []Row
	// groups holds, for each channel and provider, the user's rows and then ours.
	groups map[place][]*layer
	// words are, for each channel, the generic expressions and phrases about texts: those of the channel
	// and those for any, in the order of the table, the user's first.
	words map[string][]expr
	// channelOf is the channel of each provider that only one channel has: "dingtalk" is a bot.
	channelOf map[string]string
}

// place is where a row belongs.
type place struct{ channel, provider string }

// Default is the table of the rows that come with the program.
var Default = sync.OnceValue(func() *Table {
	t, err := Load(nil)
	if err != nil {
		panic(fmt.Sprintf("explain: %v", err)) // embedded and tested: cannot happen
	}
	return t
})

// Load returns the default table with a user's rows before ours: CSV with the header and columns of
// diagnoses.csv, at most 4 MiB. A row with the id of one of ours replaces it; any other is tried
// before our rows of the same channel and provider. The error is a [*schemas.Invalid] with the line
// number of every bad row, or that of reading extra. A nil extra has no rows.
func Load(extra io.Reader) (*Table, error) {
	var users []Row
	if extra != nil {
		var err error
		if users, err = parse(extra); err != nil {
			return nil, err
		}
	}
	var ours []Row
	for _, file := range [][]byte{codes, meanings} {
		rows, err := parse(bytes.NewReader(file))
		if err != nil {
			return nil, err
		}
		ours = append(ours, rows...)
	}
	replaced := make(map[string]bool, len(users))
	for i := range users {
		users[i].User = true
		replaced[users[i].ID] = true
	}
	ours = slices.DeleteFunc(ours, func(r Row) bool { return replaced[r.ID] })

	t := &Table{
		rows:      slices.Concat(users, ours),
		groups:    make(map[place][]*layer),
		words:     make(map[string][]expr),
		channelOf: make(map[string]string),
	}
	layers := make(map[bool]map[place]*layer)
	for i := range t.rows {
		r := &t.rows[i]
		at := place{r.Channel, r.Provider}
		if layers[r.User] == nil {
			layers[r.User] = make(map[place]*layer)
		}
		l := layers[r.User][at]
		if l == nil {
			l = &layer{exact: make(map[string]*Row)}
			layers[r.User][at] = l
			t.groups[at] = append(t.groups[at], l)
		}
		e := l.add(r)
		if e != nil && r.Provider == generic {
			for _, c := range channelNames {
				if r.Channel == c || r.Channel == anyChannel {
					t.words[c] = append(t.words[c], *e)
				}
			}
		}
		if known, ok := t.channelOf[r.Provider]; ok && known != r.Channel {
			t.channelOf[r.Provider] = "" // "generic" and "transport" belong to several
		} else {
			t.channelOf[r.Provider] = r.Channel
		}
	}
	return t, nil
}

// Rows lists the rows in the order of the table, a user's first. The slice is the caller's.
func (t *Table) Rows() []Row { return slices.Clone(t.rows) }

// Explain puts a failure into words; it is a [channels.Explainer]. A failure that no row knows is
// explained by f.Class, or else by its reply's family, with Known false. Whether the outcome is
// uncertain stays the caller's to decide, by f.Maybe: a row does not know when it happened.
func (t *Table) Explain(f *channels.Failure) channels.Diagnosis {
	q := t.question(f)
	if row := t.find(&q); row != nil {
		return q.diagnosis(row)
	}
	return fallback(&q, f.Class)
}

// Line is a third party's words as an operator has them in a log or a bounce: an SMTP reply of one or
// more lines, what .NET, Java, Python, Node or Go make of one, a provider's code alone or in JSON, an HTTP
// status. Only the first 4 KiB of Text count.
type Line struct {
	// Channel is email, sms, webhook, bot or dispatcher, or the name of a provider. Where Channel or
	// Provider is empty or not known it is told by the text.
	Channel, Provider string
	Text              string
	// Context says, in any words, when it was said: "greeting", "AUTH", "MAIL FROM", "RCPT", "end of
	// DATA", "receipt". An SMTP code means different things at different moments.
	Context string
}

// ExplainLine puts a line into words.
func (t *Table) ExplainLine(l Line) channels.Diagnosis {
	qs := t.read(l)
	for i := range qs {
		if row := t.find(&qs[i]); row != nil {
			return qs[i].diagnosis(row)
		}
	}
	return fallback(&qs[0], "")
}

// question says what a failure asks of the table.
func (t *Table) question(f *channels.Failure) query {
	provider := strings.ToLower(f.Provider)
	at := place{f.Kind, provider}
	if f.Kind == webhook && t.channelOf[provider] == bot {
		at.channel = bot
	}
	switch {
	case f.Kind == dispatcher:
		code := strings.TrimPrefix(strings.ToLower(f.Code), ownPrefix)
		if word, ok := ruleWords[strings.TrimPrefix(code, "rule-")]; ok {
			code = word
		}
		return query{place: at, code: ownPrefix + code, raw: f.Code, text: f.Line}
	case f.Kind == email:
		// The line may repeat the code or not; the expressions are written for "CODE [ENHANCED] TEXT".
		line := f.Line
		if !strings.HasPrefix(line, f.Code) && !isCondition(f.Code) {
			line = f.Code + " " + line
		}
		q := readSMTP(line)
		if q.basic == "" && q.enhanced == "" || isCondition(f.Code) {
			q.basic, q.enhanced = "", ""
			q.code, q.raw = strings.ToLower(f.Code), f.Code
		}
		q.phase = phaseOf(f.Class, q.basic)
		q.place = t.sender(at, q.text)
		return q
	default:
		text := f.Line
		if !strings.HasPrefix(text, f.Code) {
			text = strings.TrimSpace(f.Code + " " + f.Line)
		}
		return query{place: at, code: strings.ToLower(f.Code), raw: f.Code, text: text}
	}
}

// sender is the mail provider: the one given, or the one whose hand the text shows when none is,
// as with a relay of our own in between.
func (t *Table) sender(at place, text string) place {
	if at.channel != email || at.provider != generic && t.groups[at] != nil {
		return at
	}
	at.provider = cmp.Or(providerIn(text), generic)
	return at
}
