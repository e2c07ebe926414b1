package email

import (
	"context"
	"html"
	"regexp"
	"strings"
	"unicode"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Which mail is better: an invoice without its PDF now, or with it in five minutes? The latter, so a file that
// is not there yet, or whose storage is down, fails the first attempts like a mail server that is down. After
// some of them, and where none would follow, the mail goes without it and says so: late news beats none. What
// waiting cannot cure is not waited for, and neither does a message of high priority.

// defaultAttempts: five attempts insist on the files and the sixth goes without, about ten minutes after the first
// by the default retry policy.
const defaultAttempts = 6

const (
	maxAttempts = 100
	missingSend = "send"
	missingFail = "fail"
)

// attaches are the schemes of the files that this channel sends along.
func (s *settings) attaches() string {
	if s.files == nil {
		return ""
	}
	return s.files.Schemes()
}

// fetch gets the files of d. The failure, if there is one, means that the mail does not go now.
func (c *channel) fetch(ctx context.Context, d *schemas.Delivery) (*channels.Fetched, *channels.Failure) {
	list := d.Message.Attachments
	if len(list) == 0 {
		return &channels.Fetched{}, nil
	}
	var got *channels.Fetched
	if c.files == nil {
		got = &channels.Fetched{Files: make([]channels.File, len(list))}
		for i, a := range list {
			got.Files[i] = channels.Missing(a, channels.NotSetUp, "")
		}
	} else {
		// The mail server must have its share of the time.
		part, cancel := context.WithTimeout(ctx, c.Timeout/2)
		got = c.files.Fetch(part, d.Tenant, list)
		cancel()
	}
	if f := c.insist(ctx, d, got.Files); f != nil {
		got.Close()
		return nil, f
	}
	return got, nil
}

// insist decides whether the mail waits for what it lacks, goes without it, or does not go at all.
func (c *channel) insist(ctx context.Context, d *schemas.Delivery, files []channels.File) *channels.Failure {
	passing, lasting := false, false
	for _, f := range files {
		if f.Lack != "" {
			passing, lasting = passing || f.Lack.Passing(), lasting || !f.Lack.Passing()
		}
	}
	attempt := channels.AttemptOf(ctx)
	if c.AttachmentsMissing == missingFail {
		switch {
		case lasting, passing && attempt.Last:
			return undelivered("attachment-missing", channels.Content, files)
		case passing:
			return undelivered("attachment-unavailable", channels.Temporary, files)
		}
		return nil
	}
	if passing && !attempt.Last && attempt.Number < c.AttachmentsAttempts && d.Priority != schemas.High {
		return undelivered("attachment-unavailable", channels.Temporary, files)
	}
	return nil
}

// undelivered is a decision of ours before the mail server was asked: the kind says so, and its words are
// not taken for those of a mail server.
func undelivered(code string, class channels.Class, files []channels.File) *channels.Failure {
	return &channels.Failure{Kind: "dispatcher", Provider: "yizhan", Code: code, Class: class, Line: channels.Line(lacks(files))}
}

// lacks says for an operator which files are missing and why.
func lacks(files []channels.File) string {
	var out []string
	for _, f := range files {
		if f.Lack == "" {
			continue
		}
		why := f.Name + ": " + string(f.Lack)
		if f.Line != "" {
			why += " (" + f.Line + ")"
		}
		out = append(out, why)
	}
	return strings.Join(out, "; ")
}

// attached tells of each file how it went.
func attached(files []channels.File) []channels.Attached {
	out := make([]channels.Attached, len(files))
	for i, f := range files {
		out[i] = f.Attached
	}
	return out
}

// present are the files that go with the mail.
func present(files []channels.File) []channels.File {
	var out []channels.File
	for _, f := range files {
		if f.Lack == "" {
			out = append(out, f)
		}
	}
	return out
}

var bodyEnd = regexp.MustCompile(`(?i)</body\s*>`)

// excuse tells the recipient at the end of text and HTML what is missing and why.
func excuse(m schemas.Message, to schemas.Recipient, files []channels.File) schemas.Message {
	chinese := speaksChinese(m, to)
	var lines []string
	for _, f := range files {
		if f.Lack == "" {
			continue
		}
		if chinese {
			lines = append(lines, "附件“"+f.Name+"”未能随本邮件发送："+f.Lack.Text().Zh+"。如需该文件，请联系发件单位。")
		} else {
			lines = append(lines, `The attachment "`+f.Name+`" is missing: `+f.Lack.Text().En+". Please ask the sender for it.")
		}
	}
	if len(lines) == 0 {
		return m
	}
	if m.Text != "" {
		m.Text = strings.TrimRight(m.Text, "\r\n") + "\n\n" + strings.Join(lines, "\n") + "\n"
	}
	if m.HTML != "" {
		note := ""
		for _, line := range lines {
			note += "<p>" + html.EscapeString(line) + "</p>"
		}
		at := len(m.HTML)
		if ends := bodyEnd.FindAllStringIndex(m.HTML, -1); ends != nil {
			at = ends[len(ends)-1][0]
		}
		m.HTML = m.HTML[:at] + note + m.HTML[at:]
	}
	return m
}

// speaksChinese goes by the recipient's locale; without one, by the message.
func speaksChinese(m schemas.Message, to schemas.Recipient) bool {
	if to.Locale != "" {
		language, _, _ := strings.Cut(strings.ToLower(to.Locale), "-")
		return language == "zh"
	}
	return strings.ContainsFunc(m.Subject+m.Text+m.HTML, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}
