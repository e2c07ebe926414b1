package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// SARIF 2.1.0 (OASIS, docs.oasis-open.org/sarif/sarif/v2.1.0), as far as it is written here.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		// ColumnKind says in what columns and offsets count (§3.14.17).
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name     string      `json:"name"`
		Version  string      `json:"version"`
		Language string      `json:"language"`
		Rules    []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		Properties       schemas.Text `json:"properties"` // the names in both languages
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID     string          `json:"ruleId"`
		RuleIndex  int             `json:"ruleIndex"`
		Level      string          `json:"level"`
		Message    sarifMessage    `json:"message"`
		Locations  []sarifLocation `json:"locations"`
		Properties schemas.Hit     `json:"properties"`
	}
	sarifLocation struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region sarifRegion `json:"region"`
		} `json:"physicalLocation"`
	}
	// sarifRegion counts lines and columns from 1 and the offset from 0, in code points (§3.30).
	sarifRegion struct {
		StartLine   int           `json:"startLine"`
		StartColumn int           `json:"startColumn"`
		EndLine     int           `json:"endLine,omitzero"`
		EndColumn   int           `json:"endColumn,omitzero"`
		CharOffset  *int          `json:"charOffset,omitzero"`
		CharLength  *int          `json:"charLength,omitzero"`
		Snippet     *sarifMessage `json:"snippet,omitzero"`
	}
)

// sarifLevels are the levels of a hit's actions (§3.27.10).
var sarifLevels = map[string]string{rules.ReportBlock: "error", rules.ReportReview: "warning", rules.ReportHold: "note"}

func sarifOf(texts []lintedText) sarifLog {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	d := &run.Tool.Driver
	d.Name, d.Version, d.Language = "yizhan", thisVersion().Version, lang
	named := rules.Rules()
	for i := range texts {
		for _, h := range texts[i].Hits {
			if !slices.ContainsFunc(named, func(r rules.Rule) bool { return r.ID == h.Rule }) {
				named = append(named, rules.Rule{ID: h.Rule, Text: rules.RuleName(h.Rule)})
			}
		}
	}
	index := map[string]int{}
	for i, r := range named {
		d.Rules = append(d.Rules, sarifRule{r.ID, sarifMessage{say(r.Text)}, r.Text})
		index[r.ID] = i
	}
	indexes := map[*fileText]*textIndex{} // the texts of a file share one
	for i := range texts {
		t := &texts[i]
		if len(t.Hits) == 0 {
			continue
		}
		ix := indexes[t.source]
		if t.source == nil {
			ix = indexText(t.message.Text)
		} else if ix == nil {
			ix = indexText(t.source.text)
			indexes[t.source] = ix
		}
		for _, h := range t.Hits {
			text := hitLine(h)
			if t.Template != "" {
				text = tr("模板 ", "template ") + t.Template + tr("：", ": ") + text
			}
			if advice := say(h.Advice); advice != "" {
				text += tr("。建议：", ". Advice: ") + advice
			}
			level := sarifLevels[h.Action]
			if level == "" {
				level = "none"
			}
			r := sarifResult{RuleID: h.Rule, RuleIndex: index[h.Rule], Level: level, Message: sarifMessage{oneLine(clean(text))}, Properties: h}
			var at sarifLocation
			at.PhysicalLocation.ArtifactLocation.URI = fileURI(t.File)
			at.PhysicalLocation.Region = t.region(ix, h)
			r.Locations = []sarifLocation{at}
			run.Results = append(run.Results, r)
		}
	}
	return sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}}
}

// fileURI is a file's name as a URI: relative ones stay relative, so that CI finds them in its checkout.
func fileURI(name string) string {
	switch name {
	case "":
		return "argument"
	case "-":
		return "stdin"
	}
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
		if !strings.HasPrefix(u.Path, "/") { // C:/…
			u.Path = "/" + u.Path
		}
	}
	return u.String()
}

// textIndex finds lines and code points of a text without reading it anew for each hit.
type textIndex struct {
	runes []rune
	lines []int // where each line starts, in code points
	bytes []int // the same in bytes
}

func indexText(text string) *textIndex {
	ix := &textIndex{runes: []rune(text), lines: []int{0}, bytes: []int{0}}
	n := 0
	for i, r := range text {
		if n++; r == '\n' {
			ix.lines, ix.bytes = append(ix.lines, n), append(ix.bytes, i+1)
		}
	}
	return ix
}

// lineColumn is the place of an offset in code points, both from 1.
func (ix *textIndex) lineColumn(offset int) (line, column int) {
	line, found := slices.BinarySearch(ix.lines, offset)
	if found {
		line++
	}
	return line, offset - ix.lines[line-1] + 1
}

// region is where a hit stands in its file, or the argument, that ix is of.
func (t *lintedText) region(ix *textIndex, h schemas.Hit) sarifRegion {
	offset := h.Start
	if t.source != nil {
		offset = t.offset + h.Start
	}
	length := h.End - h.Start
	if t.Template != "" {
		if offset = t.inTemplate(ix, h); offset < 0 { // it runs over a value: the template's section
			return sarifRegion{StartLine: max(t.Line, 1), StartColumn: max(t.column, 1)}
		}
	} else if h.Field != "text" { // of the signature, or of the message as a whole
		offset, length = t.offset, 0
	}
	if offset+length > len(ix.runes) {
		return sarifRegion{StartLine: 1, StartColumn: 1}
	}
	r := sarifRegion{CharOffset: &offset, CharLength: &length}
	r.StartLine, r.StartColumn = ix.lineColumn(offset)
	r.EndLine, r.EndColumn = ix.lineColumn(offset + length)
	// A hit that leaves its words out or masks them does so because they are private: the log is uploaded, so
	// it must not bring them back.
	if length > 0 && string(ix.runes[offset:offset+length]) == h.Text {
		r.Snippet = &sarifMessage{h.Text}
	}
	return r
}

// inTemplate is the offset of a hit in the rules file, in code points; -1 when the matched text does not stand
// there as it is. The same words are told apart by how many of them come before.
func (t *lintedText) inTemplate(ix *textIndex, h schemas.Hit) int {
	if h.Text == "" || t.source == nil {
		return -1
	}
	before := 0
	for _, field := range []struct{ name, text string }{{"subject", t.message.Subject}, {"text", t.message.Text}, {"html", t.message.HTML}} {
		if field.name == h.Field {
			runes := []rune(field.text)
			before += strings.Count(string(runes[:min(h.Start, len(runes))]), h.Text)
			break
		}
		before += strings.Count(field.text, h.Text)
	}
	line := min(max(t.Line, 1), len(ix.lines)) - 1
	file, from := t.source.text, ix.bytes[line]
	at := from
	for {
		i := strings.Index(file[at:], h.Text)
		if i < 0 {
			return -1
		}
		at += i
		if before--; before < 0 {
			return ix.lines[line] + utf8.RuneCountInString(file[from:at])
		}
		at += len(h.Text)
	}
}
