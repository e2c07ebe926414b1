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
	"maps"
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

// builtin is the rows that come with the program.
var builtin = sync.OnceValues(func() ([]Row, error) {
	var rows []Row
	for _, file := range [][]byte{codes, meanings} {
		some, err := parse(bytes.NewReader(file))
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
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
	ours, err := builtin()
	if err != nil {
		return nil, err
	}
	replaced := make(map[string]bool, len(users))
	for i := range users {
		users[i].User = true
		replaced[users[i].ID] = true
	}
	ours = slices.DeleteFunc(slices.Clone(ours), func(r Row) bool { return replaced[r.ID] })

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

// ExplainLine puts a line into words that somebody quotes; it is a [channels.LineExplainer]. What the
// quote does not say is told by its text, of which the first 4 KiB count.
func (t *Table) ExplainLine(l channels.Quote) channels.Diagnosis {
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
	at := place{t.ChannelOf(f.Kind, provider), provider}
	switch {
	case f.Kind == dispatcher:
		return query{place: at, code: decisionOf(f.Code), raw: f.Code, text: f.Line}
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
		q.phase = phaseOf(f.Class, q.basic, q.enhanced)
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

// Channels lists the names of the channels of a table.
func Channels() []string { return slices.Clone(channelNames) }

// Providers lists the providers of a channel, or of all channels for "", sorted.
func (t *Table) Providers(channel string) []string {
	seen := make(map[string]bool)
	for at := range t.groups {
		if channel == "" || at.channel == channel {
			seen[at.provider] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// ChannelOf is the channel in which the table keeps a failure's rows: a webhook of a chat platform is a bot.
func (t *Table) ChannelOf(kind, provider string) string {
	if provider = strings.ToLower(provider); kind == webhook && t.channelOf[provider] == bot {
		return bot
	}
	return kind
}
