package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
)

// dingTalk is the custom robot of DingTalk (open.dingtalk.com, custom-robot-access; facts: bots.md).
type dingTalk struct{}

const (
	dingTalkLimit = 20_000           // bytes of the body; from memory
	dingTalkPause = 10 * time.Minute // more than 20 a minute blocks a robot for so long
)

// dingTalkCodes are the errcodes (facts: bots.md section 3; 400101, 400105, 43xxxx, 40035, 43004 and 460101 from memory).
var dingTalkCodes = map[string]verdict{
	"-1":     {class: channels.Temporary},
	"88":     {class: channels.Auth},
	"130101": {channels.Throttled, dingTalkPause},
	"410100": {channels.Throttled, dingTalkPause},
	"310000": {class: channels.Config}, // or Content, see read
	"300001": {class: channels.Config},
	"300005": {class: channels.Config},
	"400013": {class: channels.Permanent},
	"400101": {class: channels.Config},
	"400102": {class: channels.Config},
	"400105": {class: channels.Content},
	"400106": {class: channels.Config},
	"430101": {class: channels.Content},
	"430102": {class: channels.Content},
	"430103": {class: channels.Content},
	"430104": {class: channels.Content},
	"40035":  {class: channels.Content},
	"43004":  {class: channels.Config},
	"460101": {class: channels.Content},
}

func newDingTalk(cfg *Config, secret string) (format, error) {
	return newRobot(dingTalk{}, cfg, secret)
}

func (dingTalk) name() string  { return "dingtalk" }
func (dingTalk) english() bool { return false }

func (dingTalk) check(_ string, _ At, secret string) error {
	if secret != "" && !strings.HasPrefix(secret, "SEC") {
		return channels.BadSetting("secret_file", "钉钉加签密钥以 SEC 开头", "a signing secret of DingTalk begins with SEC")
	}
	return nil
}

func (dingTalk) token(u *url.URL) (string, bool) {
	t := u.Query().Get("access_token")
	return t, t != ""
}

func (dingTalk) body(p post) map[string]any {
	if p.form == formCard && len(p.links) > 0 { // a card without a button is none
		card := map[string]any{"title": p.title, "text": lines(p.heading())}
		if len(p.links) == 1 {
			card["singleTitle"], card["singleURL"] = p.links[0].label, p.links[0].url
		} else {
			var btns []map[string]string
			for _, l := range p.links {
				btns = append(btns, map[string]string{"title": l.label, "actionURL": l.url})
			}
			card["btns"], card["btnOrientation"] = btns, "0"
		}
		return map[string]any{"msgtype": "actionCard", "actionCard": card}
	}
	at := map[string]any{"isAtAll": p.at.All}
	if len(p.at.Mobiles) > 0 {
		at["atMobiles"] = p.at.Mobiles
	}
	if len(p.at.Users) > 0 {
		at["atUserIds"] = p.at.Users
	}
	if p.form == formText {
		return map[string]any{"msgtype": "text", "text": map[string]string{"content": p.plain()}, "at": at}
	}
	text := lines(p.heading())
	// In Markdown only those are mentioned who stand in the text as well.
	var named []string
	for _, who := range append(append([]string{}, p.at.Mobiles...), p.at.Users...) {
		named = append(named, "@"+who)
	}
	if len(named) > 0 {
		text += "\n\n" + strings.Join(named, " ")
	}
	return map[string]any{"msgtype": "markdown", "markdown": map[string]string{"title": p.title, "text": text}, "at": at}
}

// lines keeps the line breaks of a text, which Markdown would take for spaces.
func lines(text string) string {
	var b strings.Builder
	all := strings.Split(text, "\n")
	for i, line := range all {
		b.WriteString(line)
		if i == len(all)-1 {
			break
		}
		if line != "" && all[i+1] != "" {
			b.WriteString("  ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (dingTalk) fits(_ post, json []byte) bool { return len(json) <= dingTalkLimit }

// sign puts timestamp and signature into the query: HMAC-SHA256 with the secret as key over the
// milliseconds, a line break and the secret. DingTalk takes a timestamp up to an hour old.
func (dingTalk) sign(secret string, u *url.URL, _ map[string]any, now time.Time) (*url.URL, []string) {
	if secret == "" {
		return u, nil
	}
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "\n" + secret))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	signed := *u
	query := u.Query()
	query.Set("timestamp", timestamp)
	query.Set("sign", signature)
	signed.RawQuery = query.Encode()
	return &signed, []string{timestamp, signature}
}

func (dingTalk) read(status int, header http.Header, body []byte, now time.Time) *channels.Failure {
	f := readAnswer("dingtalk", dingTalkCodes, func(a answer) (*number, string) {
		if a.ErrCode == nil && a.Punish != "" { // {"status":1111,"wait":5,"punish":"deny"}: the gate in front, for the same reason
			code := number("130101")
			return &code, "punish: " + a.Punish
		}
		return a.ErrCode, a.ErrMsg
	}, status, header, body, now)
	if f != nil && f.Code == "310000" && (strings.Contains(f.Line, "关键词") || strings.Contains(strings.ToLower(f.Line), "keyword")) {
		f.Class = channels.Content // the robot is set up well, the text lacks a word
	}
	return f
}

func (dingTalk) rates() ([]channels.Rate, time.Duration) {
	return []channels.Rate{{Count: 18, Per: time.Minute}}, dingTalkPause // 20 a minute
}
