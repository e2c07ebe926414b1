package schemas

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// consentColumns are the columns of the CSV form and the members of the JSON form.
var consentColumns = []string{"tenant", "phone", "email", "state", "purpose", "time", "how", "text"}

// maxConsentLine bounds one line of the CSV form, in bytes.
const maxConsentLine = 64 << 10

// ConsentCSV reads changes from CSV (RFC 4180) in UTF-8. The first line names the columns, in any
// order: state, and phone or email, must be there. It holds one line in memory at a time.
type ConsentCSV struct {
	quota   *lineQuota
	rows    *csv.Reader
	columns []string
	line    int
}

// lineQuota bounds what the CSV reader takes in for one line.
type lineQuota struct {
	in   io.Reader
	left int
}

var errLineTooLong = errors.New("line too long")

func (q *lineQuota) Read(b []byte) (int, error) {
	if q.left <= 0 {
		return 0, errLineTooLong
	}
	n, err := q.in.Read(b[:min(len(b), q.left)])
	q.left -= n
	return n, err
}

// NewConsentCSV reads the head. The error is an [*Invalid] when it is none.
func NewConsentCSV(in io.Reader) (*ConsentCSV, error) {
	buffered := bufio.NewReader(in)
	if b, _ := buffered.Peek(3); string(b) == "\xef\xbb\xbf" { // spreadsheets write a byte order mark
		_, _ = buffered.Discard(3)
	}
	c := &ConsentCSV{quota: &lineQuota{in: buffered}}
	c.rows = csv.NewReader(c.quota)
	c.rows.ReuseRecord = true
	head, err := c.read()
	if errors.Is(err, io.EOF) {
		return nil, csvProblem("", "csv", "内容为空：第一行应为列名", "nothing there: the first line names the columns")
	}
	if err != nil {
		return nil, err
	}
	for _, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(consentColumns, name):
			e := unknown("/", name, consentColumns)
			return nil, csvProblem("/"+name, e.Keyword, "第一行应为列名："+e.Zh, "the first line names the columns: "+e.En)
		case slices.Contains(c.columns, name):
			return nil, csvProblem("/"+name, "unique", "列名重复", "the column is there twice")
		}
		c.columns = append(c.columns, name)
	}
	if !slices.Contains(c.columns, "state") || !slices.Contains(c.columns, "phone") && !slices.Contains(c.columns, "email") {
		return nil, csvProblem("", "required", "缺少列：至少需要 state，以及 phone 或 email", "columns are missing: state, and phone or email, must be there")
	}
	return c, nil
}

// Line is the number of the line that Next read last, 1 for the head.
func (c *ConsentCSV) Line() int { return c.line }

// Next reads a line; io.EOF at the end. An [*Invalid] is about this line only; after any other error
// nothing more can be read. Check comes after it. Values are not repeated in errors.
func (c *ConsentCSV) Next() (*ConsentChange, error) {
	row, err := c.read()
	if err != nil {
		return nil, err
	}
	var (
		out ConsentChange
		ps  []Problem
	)
	for i, name := range c.columns {
		v := strings.TrimSpace(row[i])
		switch name {
		case "tenant":
			out.Tenant = v
		case "phone":
			out.Phone = plainCell(v)
		case "email":
			out.Email = plainCell(v)
		case "state":
			out.State = ConsentState(strings.ToLower(v))
		case "purpose":
			out.Purpose = Purpose(strings.ToLower(v))
		case "how":
			out.How = strings.ToLower(v)
		case "text":
			out.Text = plainCell(v)
		case "time":
			if v == "" {
				continue
			}
			if out.Time, err = consentTime(v); err != nil {
				ps = append(ps, Problem{"/time", "format", Text{
					"应为时间，如 2026-11-23 09:30 或 2026-11-23T09:30:00+08:00（不写时区即北京时间）", "want a time such as 2026-11-23 09:30 (Beijing time) or 2026-11-23T09:30:00+08:00",
				}})
			}
		}
	}
	if ps != nil {
		return nil, &Invalid{ps}
	}
	return &out, nil
}

func (c *ConsentCSV) read() ([]string, error) {
	c.quota.left = maxConsentLine
	row, err := c.rows.Read()
	if len(row) > 0 {
		c.line, _ = c.rows.FieldPos(0)
	}
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		c.line = bad.StartLine
		if errors.Is(err, csv.ErrFieldCount) {
			return nil, csvProblem("", "columns", "列数与第一行不同", "the line does not have as many columns as the first")
		}
		return nil, csvProblem("", "csv", "CSV 格式有误：引号须成对，字段内的引号写两遍", "not valid CSV: quotes come in pairs, and are doubled inside a field")
	}
	switch {
	case errors.Is(err, errLineTooLong):
		return nil, errConsentLine
	case err != nil:
		return nil, err
	}
	for _, v := range row {
		if !utf8.ValidString(v) {
			return nil, csvProblem("", "csv", "不是 UTF-8 编码：请另存为“CSV UTF-8”格式（是否为 GBK？）", "not UTF-8: save the file as “CSV UTF-8” (is it GBK?)")
		}
	}
	return row, nil
}

var errConsentLine = errors.New("a line is longer than 64 KiB (is a quote not closed?)")

func csvProblem(pointer, keyword, zh, en string) *Invalid {
	return &Invalid{[]Problem{{pointer, keyword, Text{zh, en}}}}
}

// beijing is the zone of a time without one: these lists come from Chinese spreadsheets.
var beijing = time.FixedZone("CST", 8*60*60)

func consentTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	s = strings.ReplaceAll(s, "/", "-")
	for _, layout := range []string{"2006-1-2 15:04:05", "2006-1-2 15:04", "2006-1-2T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, beijing); err == nil {
			return t, nil
		}
	}
	return time.ParseInLocation("2006-1-2", s, beijing)
}

// formulas are what makes a spreadsheet take a cell for a formula, and so run what a stranger wrote.
const formulas = "=+-@\t\r"

// cell guards a text that others wrote against the spreadsheet that opens it; plainCell takes the guard off.
func cell(s string) string {
	if s != "" && (strings.ContainsRune(formulas, rune(s[0])) || s[0] == '\'') {
		return "'" + s
	}
	return s
}

func plainCell(s string) string {
	if len(s) > 1 && s[0] == '\'' && (strings.ContainsRune(formulas, rune(s[1])) || s[1] == '\'') {
		return s[1:]
	}
	return s
}

// ConsentCSVHead is the first line of the CSV form.
func ConsentCSVHead() []string { return slices.Clone(consentColumns) }

// CSV is what stands in the record as lines of the CSV form, one for each category spoken of: to
// import them elsewhere gives the same states. None of an erased record.
func (c *Consent) CSV() [][]string {
	var rows [][]string
	if c.Address() == "" {
		return nil
	}
	phone := c.Phone
	if bare, ok := MainlandNumber(phone); ok { // as spreadsheets keep it
		phone = bare
	}
	for _, category := range ConsentCategories {
		if e, ok := c.States[category]; ok {
			rows = append(rows, []string{
				c.Tenant, cell(phone), cell(c.Email), string(e.State), string(category), e.Time.In(beijing).Format(time.RFC3339), e.How, cell(e.Text),
			})
		}
	}
	return rows
}
