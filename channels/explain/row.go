package explain

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The channels of the table. A bot is a webhook whose provider is a chat platform.
const (
	email      = "email"
	sms        = "sms"
	webhook    = "webhook"
	bot        = "bot"
	dispatcher = "dispatcher"
)

var channelNames = []string{email, sms, webhook, bot, dispatcher}

// Row is one row of the table.
type Row struct {
	// ID is channel/provider/code: stable, unique, fit for a link.
	ID       string         `json:"id"`
	Channel  string         `json:"channel"`  // email, sms, webhook, bot, dispatcher
	Provider string         `json:"provider"` // aliyun, exchange, generic, transport…
	Code     string         `json:"code"`     // a code, or "re:" and an expression; README.md lists the forms
	Class    channels.Class `json:"class"`
	Cause    schemas.Text   `json:"cause"`
	Remedy   schemas.Text   `json:"remedy"`
	Source   string         `json:"source"` // where the fact is from
	User     bool           `json:"user"`   // from the user's file
}

// action is what a class means for the next attempt, which is Yizhan's job, and for the people. A
// row's remedy is for the people alone: it is read while the message waits and when it is dead, so
// it never says that Yizhan tries again, keeps or stops anything.
type action struct{ retry, owner string }

// actions is the one table of them. A repeat cures neither settings nor credentials: they are
// "no", although the dispatcher keeps the message until its channel's owner has acted.
var actions = map[channels.Class]action{
	channels.Temporary: {"yes", "third-party"},
	channels.Throttled: {"after-wait", "operator"},
	channels.Auth:      {"no", "channel-owner"},
	channels.Config:    {"no", "channel-owner"},
	channels.Content:   {"no", "author"},
	channels.BadTarget: {"no", "data-owner"},
	channels.Permanent: {"no", "author"},
	channels.Unknown:   {"no", "operator"}, // somebody has to look before it is repeated
}

// settled are the decisions that nothing but the hour or the recipient can change: nobody has to act.
var settled = map[string]bool{"dispatcher:quiet-hours": true, "dispatcher:not-before": true, "dispatcher:opt-out": true}

func actionOf(channel string, c channels.Class) action {
	a := actions[c]
	// What is temporary or misconfigured in the dispatcher itself has no third party and no channel.
	if channel == dispatcher && (c == channels.Temporary || c == channels.Config) {
		a.owner = "operator"
	}
	return a
}

func (r *Row) diagnosis() channels.Diagnosis {
	a := actionOf(r.Channel, r.Class)
	if settled[r.Code] {
		a.owner = "nobody"
	}
	return channels.Diagnosis{
		Class: r.Class, Retry: a.retry, Owner: a.owner,
		// Of "http:4xx" and "http:5xx" only the family was recognised; every redirect means the same.
		Known: r.Code != "http:4xx" && r.Code != "http:5xx",
		Cause: r.Cause, Remedy: r.Remedy, Source: r.Source,
	}
}

// header is the first line of the file; the names are part of the format.
var header = []string{"channel", "provider", "code_or_pattern", "class", "cause_en", "remedy_en", "cause_zh", "remedy_zh", "source"}

const (
	maxTable    = 4 << 20 // bytes of a user's file
	maxProblems = 20      // reported at once
	expression  = "re:"   // begins a regular expression
)

// parse reads rows and checks them; its error is a *schemas.Invalid unless in itself fails.
func parse(in io.Reader) ([]Row, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxTable+1))
	if err != nil {
		return nil, fmt.Errorf("explain: read table: %w", err)
	}
	var bad []schemas.Problem
	report := func(line int, keyword, zh, en string) {
		if len(bad) < maxProblems {
			bad = append(bad, schemas.Problem{Keyword: keyword, Text: schemas.Text{
				Zh: fmt.Sprintf("第 %d 行：%s", line, zh), En: fmt.Sprintf("line %d: %s", line, en),
			}})
		}
	}
	if len(raw) > maxTable {
		report(1, "size", "文件超过 4 MiB", "the file is larger than 4 MiB")
		return nil, &schemas.Invalid{Problems: bad}
	}
	// Excel begins the CSV files it writes with a byte order mark.
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(raw), "\ufeff")))
	r.FieldsPerRecord = -1
	var rows []Row
	seen := make(map[string]int)
	for first := true; ; first = false {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			if first {
				report(1, "header", "文件为空，缺少表头", "the file is empty, the header is missing")
			}
			break
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			report(syntax.Line, "csv", "不是有效的 CSV："+syntax.Err.Error(), "not valid CSV: "+syntax.Err.Error())
			break // where the next row begins is anybody's guess
		} else if err != nil {
			return nil, fmt.Errorf("explain: read table: %w", err)
		}
		line, _ := r.FieldPos(0)
		if first {
			if !slices.Equal(rec, header) {
				want := strings.Join(header, ",")
				report(line, "header", "表头应为 "+want, "the header must be "+want)
				break
			}
			continue
		}
		if len(rec) != len(header) {
			report(line, "columns", fmt.Sprintf("应有 %d 列，实际为 %d 列", len(header), len(rec)),
				fmt.Sprintf("want %d columns, found %d", len(header), len(rec)))
			continue
		}
		row := Row{
			ID:      rec[0] + "/" + rec[1] + "/" + rec[2],
			Channel: rec[0], Provider: rec[1], Code: rec[2], Class: channels.Class(rec[3]),
			Cause:  schemas.Text{En: rec[4], Zh: rec[6]},
			Remedy: schemas.Text{En: rec[5], Zh: rec[7]},
			Source: rec[8],
		}
		if keyword, zh, en := row.check(rec); keyword != "" {
			report(line, keyword, zh, en)
		} else if before, twice := seen[row.ID]; twice {
			report(line, "duplicate", fmt.Sprintf("与第 %d 行重复", before), fmt.Sprintf("the same row as line %d", before))
		} else {
			seen[row.ID] = line
			rows = append(rows, row)
		}
	}
	if len(bad) > 0 {
		return nil, &schemas.Invalid{Problems: bad}
	}
	return rows, nil
}

// check says what is wrong with a row, or "".
func (r *Row) check(rec []string) (keyword, zh, en string) {
	for i, v := range rec {
		name := header[i]
		switch {
		case v != strings.TrimSpace(v):
			return "space", name + " 的首尾有空格", "spaces around " + name
		case v == "" && name != "source":
			return "required", "缺少 " + name, name + " is missing"
		}
	}
	if !slices.Contains(channelNames, r.Channel) {
		all := strings.Join(channelNames, ", ")
		return "channel", fmt.Sprintf("未知的 channel“%s”，可用：%s", r.Channel, all),
			fmt.Sprintf("unknown channel %q, known are %s", r.Channel, all)
	}
	if r.Provider != strings.ToLower(r.Provider) {
		return "provider", "provider 须为小写", "provider must be in lower case"
	}
	if _, ok := actions[r.Class]; !ok {
		return "class", fmt.Sprintf("未知的 class“%s”，可用：%v", r.Class, channels.Classes),
			fmt.Sprintf("unknown class %q, known are %v", r.Class, channels.Classes)
	}
	if x, ok := strings.CutPrefix(r.Code, expression); ok {
		if _, err := compile(x); err != nil {
			return "pattern", "正则表达式无效：" + err.Error(), "the expression is not valid: " + err.Error()
		}
	}
	return "", "", ""
}

func compile(x string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + x) }
