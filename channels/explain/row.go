package explain

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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
	anyChannel = "any" // what words mean whoever says them
)

var channelNames = []string{email, sms, webhook, bot, dispatcher, anyChannel}

// Row is one row of the table.
type Row struct {
	// ID is channel/provider/name, or channel/provider/code without a name: stable and unique.
	ID       string         `json:"id"`
	Channel  string         `json:"channel"`  // email, sms, webhook, bot, dispatcher, any
	Provider string         `json:"provider"` // aliyun, exchange, generic, transport…
	Code     string         `json:"code"`     // a code, "re:" and an expression, "says:" and phrases; README.md lists the forms
	Class    channels.Class `json:"class"`
	Cause    schemas.Text   `json:"cause"`
	Remedy   schemas.Text   `json:"remedy"`
	Source   string         `json:"source"`                    // where the fact is from
	Also     schemas.Text   `json:"also,omitzero"`             // what else to look at; may be empty
	After    time.Duration  `json:"after,omitzero,format:sec"` // a retry before that is pointless; 0: nobody says how long
	Name     string         `json:"name,omitzero"`             // of a row whose pattern may grow
	User     bool           `json:"user"`                      // from the user's file

	re   *regexp.Regexp // of "re:"
	says []phrase       // of "says:"
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
		ID:    r.ID, Cause: r.Cause, Remedy: r.Remedy, Source: r.Source,
		Also: r.Also, After: r.After, When: when(a.retry, r.After),
	}
}

// header is the first line of the file; the names are part of the format. The columns behind
// "source" may be left out, in the header and in every row.
var header = []string{
	"channel", "provider", "code_or_pattern", "class", "cause_en", "remedy_en", "cause_zh", "remedy_zh", "source",
	"also_en", "also_zh", "after_seconds", "name",
}

// Header is the first line of a file of rows.
func Header() []string { return slices.Clone(header) }

const (
	required    = 9       // columns
	maxTable    = 4 << 20 // bytes of a user's file
	maxProblems = 20      // reported at once
	maxAfter    = 31 * 24 * time.Hour
	expression  = "re:"   // begins a regular expression
	phrases     = "says:" // begins phrases
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
	columns := 0
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
			if len(rec) < required || len(rec) > len(header) || !slices.Equal(rec, header[:len(rec)]) {
				want := strings.Join(header[:required], ",") + "[," + strings.Join(header[required:], "[,") + strings.Repeat("]", len(header)-required)
				report(line, "header", "表头应为 "+want, "the header must be "+want)
				break
			}
			columns = len(rec)
			continue
		}
		if len(rec) < required || len(rec) > columns {
			report(line, "columns", fmt.Sprintf("应有 %d 到 %d 列，实际为 %d 列", required, columns, len(rec)),
				fmt.Sprintf("want %d to %d columns, found %d", required, columns, len(rec)))
			continue
		}
		row, seconds := rowOf(rec)
		if keyword, zh, en := row.check(rec, seconds); keyword != "" {
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

// rowOf reads the columns of a row; seconds is false when after_seconds is no number of seconds.
func rowOf(rec []string) (r Row, seconds bool) {
	full := make([]string, len(header))
	copy(full, rec)
	r = Row{
		Channel: full[0], Provider: full[1], Code: full[2], Class: channels.Class(full[3]),
		Cause:  schemas.Text{En: full[4], Zh: full[6]},
		Remedy: schemas.Text{En: full[5], Zh: full[7]},
		Source: full[8],
		Also:   schemas.Text{En: full[9], Zh: full[10]},
		Name:   full[12],
	}
	r.ID = r.Channel + "/" + r.Provider + "/" + cmp.Or(r.Name, r.Code)
	if full[11] == "" {
		return r, true
	}
	n, err := strconv.Atoi(full[11])
	r.After = time.Duration(min(max(n, 0), int(maxAfter/time.Second))) * time.Second
	return r, err == nil && r.After == time.Duration(n)*time.Second
}

var rowName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// check says what is wrong with a row, or "".
func (r *Row) check(rec []string, seconds bool) (keyword, zh, en string) {
	for i, v := range rec {
		name := header[i]
		switch {
		case v != strings.TrimSpace(v):
			return "space", name + " 的首尾有空格", "spaces around " + name
		case v == "" && i < required && name != "source":
			return "required", "缺少 " + name, name + " is missing"
		}
	}
	switch {
	case !seconds:
		return "seconds", "after_seconds 应为不超过 31 天的整数秒", "after_seconds must be a whole number of seconds, at most 31 days"
	case (r.Also.En == "") != (r.Also.Zh == ""):
		return "required", "also_en 与 also_zh 须同时填写", "also_en and also_zh go together"
	case r.Name != "" && !rowName.MatchString(r.Name):
		return "name", "name 只能使用小写字母、数字和 -", "name is made of a-z, 0-9 and -"
	}
	if !slices.Contains(channelNames, r.Channel) {
		all := strings.Join(channelNames, ", ")
		return "channel", fmt.Sprintf("未知的 channel“%s”，可用：%s", r.Channel, all),
			fmt.Sprintf("unknown channel %q, known are %s", r.Channel, all)
	}
	if r.Channel == anyChannel && r.Provider != generic {
		return "provider", "channel 为 any 时，provider 只能是 generic", "with channel any the provider must be generic"
	}
	if r.Provider != strings.ToLower(r.Provider) {
		return "provider", "provider 须为小写", "provider must be in lower case"
	}
	if _, ok := actions[r.Class]; !ok {
		return "class", fmt.Sprintf("未知的 class“%s”，可用：%v", r.Class, channels.Classes),
			fmt.Sprintf("unknown class %q, known are %v", r.Class, channels.Classes)
	}
	if x, ok := strings.CutPrefix(r.Code, expression); ok {
		var err error
		if r.re, err = compile(x); err != nil {
			return "pattern", "正则表达式无效：" + err.Error(), "the expression is not valid: " + err.Error()
		}
	}
	if x, ok := strings.CutPrefix(r.Code, phrases); ok {
		r.says = compilePhrases(x)
	}
	if strings.HasPrefix(r.Code, phrases) && len(r.says) == 0 {
		return "pattern", "says: 后面没有可以比对的词语", "says: has no words to compare with"
	}
	return "", "", ""
}

// when says in words when a retry is useful.
func when(retry string, after time.Duration) schemas.Text {
	zh, en := spell(after)
	switch {
	case retry == "no":
		return schemas.Text{Zh: "处理之前重试没有意义", En: "not before the remedy"}
	case retry == "yes" && after > 0:
		return schemas.Text{Zh: "约 " + zh + "后重试", En: "after about " + en}
	case retry == "yes":
		return schemas.Text{Zh: "可以重试，间隔逐次加长", En: "yes, at growing intervals"}
	case after > 0:
		return schemas.Text{Zh: "等待约 " + zh + "后再试", En: "after a wait of about " + en}
	}
	return schemas.Text{Zh: "限制解除之后", En: "once the limit is over"}
}

// spell writes a wait in the largest unit that it is a whole number of.
func spell(d time.Duration) (zh, en string) {
	for _, u := range []struct {
		is     time.Duration
		zh, en string
	}{{24 * time.Hour, "天", "days"}, {time.Hour, "小时", "hours"}, {time.Minute, "分钟", "min"}} {
		if n := d / u.is; n > 1 && d%u.is == 0 {
			return fmt.Sprintf("%d %s", n, u.zh), fmt.Sprintf("%d %s", n, u.en)
		}
	}
	return fmt.Sprintf("%d 秒", d/time.Second), fmt.Sprintf("%d s", d/time.Second)
}

func compile(x string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + x) }
