package email

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"github.com/wneessen/go-mail"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// letter is a mail with files. go-mail writes the header and we the body: it gives nested multiparts either
// one boundary for all of them, which no reader can take apart, or random ones, which would make another mail of
// each attempt. The files are encoded straight into the mail, without a copy of each in between.
//
//	multipart/mixed
//	├── multipart/related            only with images inside the HTML
//	│   ├── multipart/alternative    only with both text and HTML
//	│   │   ├── text/plain
//	│   │   └── text/html
//	│   └── image/png, inline, Content-ID
//	└── application/pdf, attachment
type letter struct {
	head *mail.Msg // without a body
	body *part
}

var _ io.WriterTo = (*letter)(nil)

// part is one node of the tree, a multipart or a leaf.
type part struct {
	header []string // lines without line ends
	write  func(io.Writer) error
}

// newLetter adds the files to a mail that has no body yet.
func newLetter(head *mail.Msg, id string, m schemas.Message, files []channels.File) *letter {
	boundary := "yizhan-" + id
	var images, attached []*part
	for _, f := range files {
		if f.CID != "" && m.HTML != "" {
			images = append(images, filePart(f, "inline"))
		} else {
			attached = append(attached, filePart(f, "attachment"))
		}
	}
	var body *part
	if m.HTML != "" {
		body = textPart("text/html", m.HTML, boundary)
	}
	if m.Text != "" {
		text := textPart("text/plain", m.Text, boundary)
		if body != nil {
			body = branch("alternative", "", boundary, text, body)
		} else {
			body = text
		}
	}
	if len(images) > 0 {
		// RFC 2387 section 3.1 wants the type of the part that the images belong to.
		media := "text/html"
		if m.Text != "" {
			media = "multipart/alternative"
		}
		body = branch("related", media, boundary, append([]*part{body}, images...)...)
	}
	if len(attached) > 0 {
		body = branch("mixed", "", boundary, append([]*part{body}, attached...)...)
	}
	return &letter{head, body}
}

// WriteTo writes the mail with the line ends of RFC 5322.
func (l *letter) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	if _, err := l.head.WriteTo(c); err != nil {
		return c.n, err
	}
	b := bufio.NewWriterSize(c, 32<<10)
	if err := l.body.writeTo(b); err != nil {
		return c.n, err
	}
	err := b.Flush()
	return c.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (p *part) writeTo(w io.Writer) error {
	for _, line := range p.header {
		if _, err := io.WriteString(w, line+"\r\n"); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	return p.write(w)
}

func branch(kind, media, boundary string, kids ...*part) *part {
	boundary += "-" + kind
	typ := "Content-Type: multipart/" + kind + ";\r\n boundary=\"" + boundary + `"`
	if media != "" {
		typ += ";\r\n type=\"" + media + `"`
	}
	return &part{header: []string{typ}, write: func(w io.Writer) error {
		for _, k := range kids {
			if _, err := io.WriteString(w, "--"+boundary+"\r\n"); err != nil {
				return err
			}
			if err := k.writeTo(w); err != nil {
				return err
			}
			if _, err := io.WriteString(w, "\r\n"); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, "--"+boundary+"--\r\n")
		return err
	}}
}

func textPart(media, text, boundary string) *part {
	// Quoted-printable leaves a line of the text as it is, one that looks like the end of its part as well.
	enc := encoding(schemas.Message{Text: text})
	if strings.Contains(text, boundary) {
		enc = mail.EncodingB64
	}
	return &part{
		header: []string{"Content-Transfer-Encoding: " + string(enc), "Content-Type: " + media + "; charset=UTF-8"},
		write: func(w io.Writer) error {
			if enc == mail.EncodingB64 {
				return writeBase64(w, []byte(crlf(text)))
			}
			q := quotedprintable.NewWriter(w)
			if _, err := io.WriteString(q, crlf(text)); err != nil {
				return err
			}
			return q.Close()
		},
	}
}

func filePart(f channels.File, disposition string) *part {
	// Some readers decode encoded words wherever they are: none may hide another name in the name.
	name := strings.ReplaceAll(strings.ToValidUTF8(f.Name, "_"), "=?", "=_")
	p := &part{
		header: []string{
			"Content-Type: " + f.Type + ";\r\n " + oldName(name),
			"Content-Transfer-Encoding: base64",
			"Content-Disposition: " + disposition + ";\r\n " + newName(name),
		},
		write: func(w io.Writer) error { return writeBase64(w, f.Data) },
	}
	if f.CID != "" {
		p.header = append(p.header, "Content-ID: <"+f.CID+">")
	}
	return p
}

// oldName is the parameter name of Content-Type. Mail programs that do not know RFC 2231 look there, and
// read encoded words (RFC 2047) in it, although section 5 (3) forbids them.
func oldName(name string) string {
	if ascii(name) {
		return `name="` + strings.ReplaceAll(name, `"`, `\"`) + `"`
	}
	const most = 39 // bytes of a word, so that no line reaches 78
	var words []string
	word := ""
	for _, r := range name {
		if len(word)+utf8.RuneLen(r) > most {
			words, word = append(words, word), ""
		}
		word += string(r)
	}
	words = append(words, word)
	for i, w := range words {
		words[i] = "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(w)) + "?="
	}
	return `name="` + strings.Join(words, "\r\n ") + `"`
}

// newName is the parameter filename of Content-Disposition as RFC 2231 wants it, in pieces when it is long.
func newName(name string) string {
	if quotable(name) {
		return `filename="` + name + `"`
	}
	const most = 60 // bytes of a piece, so that no line reaches 78
	var pieces []string
	piece := ""
	for _, r := range name {
		s := ""
		for _, c := range []byte(string(r)) {
			if c < utf8.RuneSelf && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
				s += string(c)
			} else {
				s += fmt.Sprintf("%%%02X", c)
			}
		}
		if len(piece)+len(s) > most {
			pieces, piece = append(pieces, piece), ""
		}
		piece += s
	}
	if len(pieces) == 0 {
		return "filename*=UTF-8''" + piece
	}
	for i, s := range append(pieces, piece) {
		line := fmt.Sprintf("filename*%d*=", i)
		if i == 0 {
			line += "UTF-8''" + s
			pieces[0] = line
			continue
		}
		pieces[0] += ";\r\n " + line + s
	}
	return pieces[0]
}

// quotable says whether the name can stand between quotes in one line.
func quotable(name string) bool {
	return ascii(name) && len(name) <= 60 && !strings.ContainsAny(name, `"\`)
}

// writeBase64 writes lines of 76 characters (RFC 2045 section 6.8).
func writeBase64(w io.Writer, data []byte) error {
	const in = 57
	line := make([]byte, 0, 78)
	for len(data) > 0 {
		n := min(in, len(data))
		line = append(base64.StdEncoding.AppendEncode(line[:0], data[:n]), "\r\n"...)
		if _, err := w.Write(line); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
