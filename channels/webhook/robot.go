package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// The forms of a robot's message.
const (
	formText     = "text"
	formMarkdown = "markdown"
	formCard     = "card"
)

const (
	maxKeyword  = 64
	maxMentions = 50 // numbers or users, in a message
	titleRunes  = 60 // of a title that is made of the text
	// maxTitle is what is left of a longer title, in characters, when a message is too large: it fits by itself everywhere.
	maxTitle = 200
)

// At says who is mentioned in each message.
type At struct {
	Mobiles []string `yaml:"mobiles,omitempty"` // phone numbers as the platform knows them
	Users   []string `yaml:"users,omitempty"`   // user ids of the platform
	All     bool     `yaml:"all,omitempty"`
	// Recipients mentions the people to whom the event is addressed, by their phone numbers.
	Recipients bool `yaml:"recipients,omitempty"`
}

func (a At) any() bool { return a.All || a.Recipients || len(a.Mobiles)+len(a.Users) > 0 }

// platform is one kind of chat whose groups have robots.
type platform interface {
	name() string
	// check refuses settings that the platform cannot follow.
	check(form string, at At, secret string) error
	// token is the part of the address that names the robot; false when the address has none.
	token(u *url.URL) (string, bool)
	// body is the JSON of a post, without a signature.
	body(p post) map[string]any
	// fits says whether a post, whose JSON is given, is within the platform's limits.
	fits(p post, json []byte) bool
	// sign signs for this instant: in the address it returns, or in the body. It returns timestamp and signature too.
	sign(secret string, u *url.URL, body map[string]any, now time.Time) (signed *url.URL, made []string)
	// read judges an answer; nil is acceptance.
	read(status int, header http.Header, body []byte, now time.Time) *channels.Failure
	// rates are what the platform lets one robot do, and the pause after too much.
	rates() ([]channels.Rate, time.Duration)
	// english says that our own words in a message are English.
	english() bool
}

// post is a message before a platform has put it into its JSON.
type post struct {
	form  string
	title string // one line
	text  string // plain text, or Markdown in the other forms
	links []link // buttons of a card
	at    At     // Recipients are among Mobiles
}

// link is a named address.
type link struct{ label, url string }

// robot is the format of group robots: what all of them have in common.
type robot struct {
	platform
	secret  string
	form    string
	keyword string
	at      At
}

var _ format = (*robot)(nil)

func newRobot(p platform, cfg *Config, secret string) (format, error) {
	r := &robot{platform: p, secret: secret, form: cfg.Message, keyword: cfg.Keyword, at: cfg.At}
	if r.form == "" {
		r.form = formMarkdown
	}
	bad := channels.BadSetting
	switch {
	case !slices.Contains([]string{formText, formMarkdown, formCard}, r.form):
		return nil, bad("message", "message 应为 text、markdown 或 card", "message is text, markdown or card")
	case len(r.keyword) > maxKeyword || strings.ContainsAny(r.keyword, "\r\n"):
		return nil, bad("keyword", "关键词应为单行，不超过 64 字节", "the keyword is one line of 64 bytes at most")
	case len(r.at.Mobiles) > maxMentions || len(r.at.Users) > maxMentions:
		return nil, bad("at", "最多 @ 50 人", "at most 50 people can be mentioned")
	case r.form == formCard && r.at.any():
		return nil, bad("at", "卡片消息不能 @ 人，请使用 message: text 或 markdown", "a card mentions nobody; use message: text or markdown")
	}
	for _, m := range r.at.Mobiles {
		if !mobile.MatchString(m) {
			return nil, bad("at/mobiles", "手机号应为数字，可以 + 开头", "a phone number is digits, with + in front or not")
		}
	}
	for _, u := range r.at.Users {
		if !userID.MatchString(u) {
			return nil, bad("at/users", "用户 ID 由字母、数字和 . _ - 组成", "a user id is letters, digits and . _ -")
		}
	}
	if err := p.check(r.form, r.at, secret); err != nil {
		return nil, err
	}
	return r, nil
}

var (
	mobile = regexp.MustCompile(`^\+?\d{5,15}$`)
	userID = regexp.MustCompile(`^[\w.@-]{1,64}$`)
)

func (r *robot) provider() string { return r.name() }

func (r *robot) request(d *schemas.Delivery, u *url.URL, now time.Time) (*request, *channels.Failure) {
	if d.Message.Subject == "" && strings.TrimSpace(d.Message.Text) == "" {
		return nil, &channels.Failure{
			Kind: kind, Provider: r.name(), Code: "dispatcher:no-text", Class: channels.Content,
			Line: "the template has no text for this channel",
		}
	}
	p, shortened, err := r.compose(d)
	if err != nil {
		return nil, &channels.Failure{Kind: kind, Provider: "dispatcher", Code: "dispatcher:bad-payload", Class: channels.Content, Err: err}
	}
	body := r.body(p)
	q := &request{header: http.Header{}, shortened: shortened}
	if q.url, q.made = r.sign(r.secret, u, body, now); len(q.made) > 0 {
		q.names = []string{"timestamp", "sign"}
	}
	if q.body, err = compact(body); err != nil {
		return nil, &channels.Failure{Kind: kind, Provider: "dispatcher", Code: "dispatcher:bad-payload", Class: channels.Content, Err: err}
	}
	return q, nil
}

// compose makes the post of a delivery, its text cut where it is longer than the platform takes: an alert
// without its end is better than none.
func (r *robot) compose(d *schemas.Delivery) (p post, shortened string, err error) {
	p = r.post(d)
	fits, err := r.within(p)
	if err != nil || fits {
		return p, "", err
	}
	if t := []rune(p.title); len(t) > maxTitle {
		p.title = string(t[:maxTitle-1]) + "…"
		shortened = fmt.Sprintf("the title was shortened from %d to %d characters", len(t), maxTitle)
	}
	if !strings.Contains(p.title, r.keyword) { // the one in the text may be cut off
		p.title = r.keyword + " " + p.title
	}
	if fits, err = r.within(p); err != nil || fits {
		return p, shortened, err
	}
	whole := p.text
	note := "\n\n…（内容过长，已截断）"
	if r.english() {
		note = "\n\n… (shortened)"
	}
	// The longest beginning that fits: what counts differs from platform to platform, so it is tried.
	low, high := 0, len(whole)
	for low < high {
		middle := (low + high + 1) / 2
		p.text = beginning(whole, middle) + note
		if fits, err = r.within(p); err != nil {
			return p, "", err
		}
		if fits {
			low = middle
		} else {
			high = middle - 1
		}
	}
	kept := beginning(whole, low)
	// At the end of a line, if that costs little: half a link is no link.
	if at := strings.LastIndexByte(kept, '\n'); at > len(kept)*4/5 {
		kept = kept[:at]
	}
	p.text = strings.TrimRight(kept, "\n ") + note
	return p, fmt.Sprintf("the text was shortened from %d to %d bytes", len(whole), len(kept)), nil
}

// beginning is at most n bytes of s, cut between characters.
func beginning(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:min(n, len(s))]
}

func (r *robot) within(p post) (bool, error) {
	body := r.body(p)
	r.sign(r.secret, &url.URL{}, body, time.Unix(1_000_000_000, 0)) // a signature in the body counts too
	b, err := compact(body)
	return err == nil && r.fits(p, b), err
}

// post is the message of a delivery, whole.
func (r *robot) post(d *schemas.Delivery) post {
	p := post{form: r.form, title: strings.Join(strings.Fields(printable(d.Message.Subject)), " "), text: strings.TrimSpace(printable(d.Message.Text)), at: r.at}
	if p.title == "" {
		first, rest, _ := strings.Cut(p.text, "\n")
		if p.title = strings.TrimSpace(strings.TrimLeft(first, "# ")); utf8.RuneCountInString(p.title) > titleRunes {
			p.title = string([]rune(p.title)[:titleRunes-1]) + "…"
		} else {
			p.text = strings.TrimSpace(rest)
		}
	}
	if r.keyword != "" && !strings.Contains(p.title, r.keyword) && !strings.Contains(p.text, r.keyword) {
		p.title = r.keyword + " " + p.title
	}
	if r.at.Recipients {
		p.at.Mobiles = slices.Clone(r.at.Mobiles)
		for _, phone := range d.Message.At {
			// Platforms know mainland numbers without the country code.
			if phone = strings.TrimPrefix(phone, "+86"); len(p.at.Mobiles) < maxMentions && !slices.Contains(p.at.Mobiles, phone) {
				p.at.Mobiles = append(p.at.Mobiles, phone)
			}
		}
	}
	if p.form == formCard {
		p.links, p.text = buttons(p.text, r.english())
	}
	return p
}

// printable drops control characters but tabs and line breaks: JSON writes them as \u sequences, which WeCom
// refuses (40033).
func printable(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u2028', r == '\u2029', r == '\r':
			return '\n'
		case unicode.IsControl(r) && r != '\n' && r != '\t':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

var (
	mdLink    = regexp.MustCompile(`\[([^\[\]\n]+)\]\((https?://[^\s()<>]+)\)`)
	mdBold    = regexp.MustCompile(`\*\*([^*\n]+)\*\*`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	bare      = regexp.MustCompile(`^https?://[^\s()<>]+$`)
)

// flat is Markdown as plain text.
func flat(text string) string { return mdLink.ReplaceAllString(unmarked(text), "$1 $2") }

// unmarked is Markdown without headings and bold; links stay.
func unmarked(text string) string {
	return mdBold.ReplaceAllString(mdHeading.ReplaceAllString(text, "$1"), "$1")
}

const maxButtons = 3 // WeCom's jump_list has three; the others take more, people do not

// buttons takes the links out of a text that stand on lines of their own, as [label](address) or bare.
func buttons(text string, english bool) (links []link, rest string) {
	open := "查看详情"
	if english {
		open = "Open"
	}
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		found := mdLink.FindAllStringSubmatch(trimmed, -1)
		alone := len(found) > 0 && strings.Trim(mdLink.ReplaceAllString(trimmed, ""), " |·、-*") == ""
		switch {
		case alone && len(links)+len(found) <= maxButtons:
			for _, m := range found {
				links = append(links, link{m[1], m[2]})
			}
		case bare.MatchString(trimmed) && len(links) < maxButtons:
			links = append(links, link{open, trimmed})
		default:
			kept = append(kept, line)
		}
	}
	return links, strings.TrimSpace(strings.Join(kept, "\n"))
}

// heading is the text of a Markdown message with its title on top, in bold.
func (p post) heading() string {
	title := "**" + p.title + "**"
	if p.text == "" {
		return title
	}
	return title + "\n\n" + p.text
}

// plain is the text of a plain message with its title on top.
func (p post) plain() string {
	if p.text == "" {
		return p.title
	}
	return p.title + "\n" + flat(p.text)
}

// Robot is a channel to the robot of a chat group.
type Robot struct {
	*Channel
	robot *robot
	key   string
}

var (
	_ channels.Limited = (*Robot)(nil)
	_ channels.Joiner  = (*Robot)(nil)
)

// budget is the key of a robot's budgets: a hash of what names the robot in the address. The error
// is a [schemas.Invalid] when nothing does.
func (r *robot) budget(u *url.URL) (string, error) {
	token, ok := r.token(u)
	if !ok {
		return "", channels.BadSetting("url", "地址不是 "+r.name()+" 群机器人的 Webhook 地址，请从群机器人设置中完整复制",
			"this is not the address of a "+r.name()+" robot; copy the whole of it from the robot's settings")
	}
	sum := sha256.Sum256([]byte(u.Host + "\x00" + token))
	return kind + ":" + r.name() + ":" + hex.EncodeToString(sum[:12]), nil
}

// Budgets are the platform's limits for this robot, a little lower: the platform counts when a call arrives, we
// when it starts, and one too many is punished.
func (r *Robot) Budgets(*schemas.Delivery) []channels.Budget {
	rates, penalty := r.robot.rates()
	budgets := make([]channels.Budget, len(rates))
	for i, rate := range rates {
		budgets[i] = channels.Budget{Key: fmt.Sprintf("%s/%s", r.key, rate.Per), Rate: rate, Penalty: penalty}
	}
	return budgets
}

// Join makes one message of several: a section for each, with its title. false when they do not fit into
// one message whole.
func (r *Robot) Join(ds []*schemas.Delivery) (*schemas.Delivery, bool) {
	if len(ds) == 0 {
		return nil, false
	}
	if len(ds) == 1 {
		return ds[0], true
	}
	joined := *ds[0]
	m := schemas.Message{Subject: fmt.Sprintf("%d 条消息", len(ds))}
	if r.robot.english() {
		m.Subject = fmt.Sprintf("%d messages", len(ds))
	}
	sections := make([]string, len(ds))
	for i, d := range ds {
		if d.Channel != joined.Channel {
			return nil, false
		}
		title, text := strings.TrimSpace(d.Message.Subject), strings.TrimSpace(d.Message.Text)
		switch {
		case title == "" && text == "":
			return nil, false // it fails by itself, and takes no other with it
		case title == "":
			sections[i] = text
		case r.robot.form == formText:
			sections[i] = strings.TrimSpace(fmt.Sprintf("%d. %s\n%s", i+1, title, text))
		default:
			sections[i] = strings.TrimSpace("**" + title + "**\n" + text)
		}
		for _, phone := range d.Message.At {
			if !slices.Contains(m.At, phone) {
				m.At = append(m.At, phone)
			}
		}
	}
	m.Text = strings.Join(sections, "\n\n")
	joined.Message = m
	fits, err := r.robot.within(r.robot.post(&joined))
	return &joined, err == nil && fits && len(m.At) <= maxMentions
}
