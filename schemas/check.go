package schemas

import (
	"cmp"
	"fmt"
	"io/fs"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of an event. The JSON Schema says the same; a test keeps the two together.
const (
	maxID          = 255
	maxSource      = 1024
	maxType        = 255
	maxRecipients  = 100
	maxChannels    = 16
	maxAttachments = 20
	maxParams      = 100
	maxTags        = 20
	maxParamDepth  = 4
	maxParamItems  = 1000
	maxParamText   = 10_000
	maxText        = 20_000
	maxHTML        = 500_000
	maxCID         = 128
	maxEmailText   = 320 // characters on the wire, before normalising
	maxTraceState  = 512
	// maxExact is the largest whole number that every JSON reader keeps exact (RFC 8259 §6).
	maxExact = 1<<53 - 1
)

// checker collects problems under one JSON pointer.
type checker struct {
	base     string
	problems []Problem
}

// fail notes a problem at base/at….
func (c *checker) fail(err *ValueError, at ...any) {
	c.problems = append(c.problems, Problem{pointer(c.base, at...), err.Keyword, err.Text})
}

// test notes err, if there is one, at base/name.
func (c *checker) test(name string, err *ValueError) {
	if err != nil {
		c.fail(err, name)
	}
}

// pointer appends member names and indexes to a JSON pointer (RFC 6901 §3).
func pointer(base string, at ...any) string {
	var b strings.Builder
	b.WriteString(base)
	for _, a := range at {
		b.WriteByte('/')
		if name, ok := a.(string); ok {
			b.WriteString(escape.Replace(name))
			continue
		}
		fmt.Fprint(&b, a)
	}
	return b.String()
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// Check fills in defaults (tenant, priority), brings phone numbers to E.164 and mail domains to
// A-labels, drops a malformed trace context, and returns every problem that it finds; none means
// that the event can be planned. The decoders call it; a Go producer may, before it publishes.
// Params must hold what JSON decodes to: string, float64, bool, []any, map[string]any.
func (e *Event) Check() []Problem {
	c := &checker{}
	if e.SpecVersion == "" {
		c.fail(missing("specversion"), "specversion")
	} else if e.SpecVersion != "1.0" {
		c.fail(notOneOf([]string{"1.0"}), "specversion")
	}
	c.needLine("id", e.ID, maxID)
	c.source(e.Source)
	c.eventType(e.Type)
	c.test("subject", line(e.Subject, 255))
	c.test("datacontenttype", jsonMedia(e.DataContentType))
	c.test("dataschema", absoluteURI(e.DataSchema))
	e.Tenant = cmp.Or(e.Tenant, "default")
	c.tenant(e.Tenant)
	if !isTraceParent(e.TraceParent) {
		e.TraceParent, e.TraceState = "", ""
	}
	if utf8.RuneCountInString(e.TraceState) > maxTraceState || hasControlIn(e.TraceState) {
		e.TraceState = ""
	}

	d := &e.Data
	c.base = "/data"
	c.category(d.Category)
	if d.Priority = cmp.Or(d.Priority, d.Category.DefaultPriority()); !slices.Contains(Priorities, d.Priority) {
		c.fail(notOneOf(Priorities), "priority")
	}
	c.recipients(d.To)
	c.content(d)
	c.params(d.Params)
	if len(d.Channels) > maxChannels {
		c.fail(tooMany(maxChannels, len(d.Channels)), "channels")
	}
	for i, name := range d.Channels {
		if !isChannel(name) {
			c.fail(channelForm, "channels", i)
		}
	}
	if !d.Expires.IsZero() {
		if !d.NotBefore.IsZero() && !d.Expires.After(d.NotBefore) {
			c.fail(wrong("order", "失效时间须晚于 not_before", "must be later than not_before"), "expires")
		} else if !e.Time.IsZero() && !d.Expires.After(e.Time) {
			c.fail(wrong("order", "失效时间须晚于事件时间 time", "must be later than the event's time"), "expires")
		}
	}
	c.attachments(d.Attachment)
	return c.problems
}

func (c *checker) needLine(name, s string, most int) {
	if s == "" {
		c.fail(missing(name), name)
		return
	}
	c.test(name, line(s, most))
}

func (c *checker) source(s string) {
	switch {
	case s == "":
		c.fail(missing("source"), "source")
	case len(s) > maxSource:
		c.fail(tooLong(maxSource, utf8.RuneCountInString(s)), "source")
	case !isURIReference(s):
		c.fail(uriForm, "source")
	}
}

func (c *checker) eventType(s string) {
	switch {
	case s == "":
		c.fail(missing("type"), "type")
	case len(s) > maxType:
		c.fail(tooLong(maxType, utf8.RuneCountInString(s)), "type")
	case !isType(s):
		c.fail(typeForm, "type")
	}
}

func (c *checker) tenant(s string) {
	switch {
	case s == "":
		c.fail(missing("tenant"), "tenant")
	case !isTenant(s):
		c.fail(tenantForm, "tenant")
	}
}

func (c *checker) category(k Category) {
	switch {
	case k == "":
		c.fail(missing("category"), "category")
	case !slices.Contains(Categories, k):
		c.fail(notOneOf(Categories), "category")
	}
}

func (c *checker) recipients(to []Recipient) {
	switch {
	case len(to) == 0:
		c.fail(missing("to"), "to")
	case len(to) > maxRecipients:
		c.fail(tooMany(maxRecipients, len(to)), "to")
		return
	}
	for i := range to {
		r := &to[i]
		none := r.Phone == "" && r.Email == "" && r.Webhook == ""
		if r.check(c, "to", i); none {
			c.fail(wrong("address", "接收人至少需要 phone、email、webhook 之一", "a recipient needs at least one of phone, email and webhook"), "to", i)
		}
	}
}

// check normalises the addresses and notes what is wrong with the recipient at the given place.
func (r *Recipient) check(c *checker, at ...any) {
	fail := func(err *ValueError, name string, more ...any) {
		if err != nil {
			c.fail(err, slices.Concat(at, []any{name}, more)...)
		}
	}
	fail(line(r.Name, 100), "name")
	var err *ValueError
	if r.Phone != "" {
		r.Phone, err = normalizePhone(r.Phone)
		fail(err, "phone")
	}
	if n := utf8.RuneCountInString(r.Email); n > maxEmailText {
		fail(tooLong(maxEmailText, n), "email")
	} else if n > 0 {
		r.Email, err = checkEmail(r.Email)
		fail(err, "email")
	}
	if r.Webhook != "" && !isChannel(r.Webhook) {
		fail(channelForm, "webhook")
	}
	if r.URL != "" {
		fail(checkDestination(r), "url")
	}
	if r.Locale != "" && (len(r.Locale) > 35 || !isLocale(r.Locale)) {
		fail(localeForm, "locale")
	}
	if len(r.Tags) > maxTags {
		fail(tooMany(maxTags, len(r.Tags)), "tags")
	}
	for i, tag := range r.Tags {
		if tag == "" {
			fail(emptyWord, "tags", i)
		}
		fail(line(tag, 64), "tags", i)
	}
}

func (c *checker) content(d *Data) {
	switch {
	case d.Template == "" && d.Content == nil:
		c.fail(wrong("template", "须填写 template（模板名称）或 content（现成内容）", "needs template (a template's name) or content (ready text)"))
	case d.Template != "" && d.Content != nil:
		c.fail(wrong("template", "template 与 content 只能填一个", "takes template or content, not both"))
	}
	c.test("template", line(d.Template, 128))
	if d.Content == nil {
		return
	}
	if d.Content.Text == "" && d.Content.HTML == "" {
		c.fail(wrong("content", "至少需要 text 或 html", "needs text or html"), "content")
	}
	if err := line(d.Content.Subject, 255); err != nil {
		c.fail(err, "content", "subject")
	}
	if err := prose(d.Content.Text, maxText); err != nil {
		c.fail(err, "content", "text")
	}
	if err := prose(d.Content.HTML, maxHTML); err != nil {
		c.fail(err, "content", "html")
	}
}

func (c *checker) params(params map[string]any) {
	if len(params) > maxParams {
		c.fail(wrong("maxProperties", "最多 %d 个参数，实际 %d 个", "at most %d parameters, this has %d", maxParams, len(params)), "params")
		return
	}
	for name, v := range params {
		if !isParam(name) {
			c.fail(paramForm, "params", name)
		}
		c.value(v, maxParamDepth, "params", name)
	}
}

// value checks one template value; depth is how many more levels may nest in it.
func (c *checker) value(v any, depth int, at ...any) {
	switch v := v.(type) {
	case string:
		if err := prose(v, maxParamText); err != nil {
			c.fail(err, at...)
		}
	case bool:
	case float64:
		if v < -maxExact || v > maxExact {
			c.fail(numberRange, at...)
		}
	case []any:
		if depth == 0 {
			c.fail(tooDeep(maxParamDepth), at...)
			return
		}
		if len(v) > maxParamItems {
			c.fail(tooMany(maxParamItems, len(v)), at...)
			return
		}
		for i, item := range v {
			c.value(item, depth-1, append(slices.Clip(at), i)...)
		}
	case map[string]any:
		if depth == 0 {
			c.fail(tooDeep(maxParamDepth), at...)
			return
		}
		if len(v) > maxParams {
			c.fail(wrong("maxProperties", "最多 %d 个字段，实际 %d 个", "at most %d members, this has %d", maxParams, len(v)), at...)
			return
		}
		for name, item := range v {
			here := append(slices.Clip(at), name)
			if name == "" {
				c.fail(emptyWord, here...)
			} else if err := line(name, 64); err != nil {
				c.fail(err, here...)
			}
			c.value(item, depth-1, here...)
		}
	default:
		got := "null"
		if v != nil {
			got = "object"
		}
		c.fail(wrongType(got, []string{"string", "number", "boolean", "array", "object"}), at...)
	}
}

func tooDeep(most int) *ValueError {
	return wrong("depth", "嵌套过深，最多 %d 层", "nested too deeply, at most %d levels", most)
}

func (c *checker) attachments(list []Attachment) {
	if len(list) > maxAttachments {
		c.fail(tooMany(maxAttachments, len(list)), "attachments")
		return
	}
	for i := range list {
		a := &list[i]
		a.check(c, "attachments", i)
		if a.CID != "" && slices.ContainsFunc(list[:i], func(b Attachment) bool { return b.CID == a.CID }) {
			c.fail(wrong("unique", "与前面附件的 cid 重复", "an earlier attachment has the same cid"), "attachments", i, "cid")
		}
	}
}

// Check brings the hash to lower case and returns every problem of a reference that stands alone.
func (a *Attachment) Check() []Problem {
	c := &checker{}
	a.check(c)
	return c.problems
}

// check notes what is wrong with the reference at the given place.
func (a *Attachment) check(c *checker, at ...any) {
	fail := func(err *ValueError, name string) {
		if err != nil {
			c.fail(err, slices.Concat(at, []any{name})...)
		}
	}
	fail(fileName(a.Name), "name")
	fail(fileURL(a.URL), "url")
	if a.SHA256 != "" && !isSHA256(a.SHA256) {
		fail(sha256Form, "sha256")
	}
	a.SHA256 = strings.ToLower(a.SHA256)
	switch {
	case a.Type == "":
	case !isMediaType(a.Type):
		fail(wrong("media-type", "应为媒体类型，例如 application/pdf", "must be a media type such as application/pdf"), "type")
	case a.CID != "" && !strings.HasPrefix(strings.ToLower(a.Type), "image/"):
		fail(wrong("media-type", "带 cid 的附件须为图片，例如 image/png", "an attachment with a cid must be an image such as image/png"), "type")
	}
	switch {
	case a.Size < 0:
		fail(belowZero, "size")
	case a.Size > maxExact:
		fail(numberRange, "size")
	}
	if a.CID != "" && (len(a.CID) > maxCID || !isCID(a.CID)) {
		fail(cidForm, "cid")
	}
}

func isMediaType(s string) bool {
	_, _, err := mime.ParseMediaType(s)
	return err == nil && len(s) <= 127 && strings.ContainsRune(s, '/') && !strings.ContainsAny(s, "\r\n")
}

func fileName(s string) *ValueError {
	if s == "" {
		return missing("name")
	}
	if n := utf8.RuneCountInString(s); n > 255 {
		return tooLong(255, n)
	}
	if strings.ContainsAny(s, `/\`) || hasControlIn(s) || strings.ContainsFunc(s, turnsText) {
		return fileNameForm
	}
	return nil
}

// turnsText are the characters that reverse what follows, so that "exe.pdf" can be shown for "fdp.exe"
// (Unicode TR 36 section 2.5).
func turnsText(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// fileURL takes the addresses of [Attachment.URL]. Userinfo is refused: it would put a password into
// every stored event.
func fileURL(s string) *ValueError {
	if s == "" {
		return missing("url")
	}
	if n := utf8.RuneCountInString(s); n > 2048 {
		return tooLong(2048, n)
	}
	u, err := url.Parse(s)
	if err != nil || !isURIReference(s) || !slices.Contains(attachmentSchemes, u.Scheme) || (u.Host == "") != (u.Scheme == "file") {
		return wrong("uri", "应为 https、http、file、s3 或 object 开头的完整地址", "must be an absolute https, http, file, s3 or object URL")
	}
	if u.User != nil {
		return wrong("uri", "地址中不能包含账号或口令", "must not hold a user name or password")
	}
	if u.Scheme == "https" || u.Scheme == "http" {
		return nil
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !storedAt(strings.TrimPrefix(u.Path, "/")) {
		return wrong("uri", "应为存储中的路径，不能包含 ..、空的目录名、反斜杠、查询参数或片段",
			"must be a path in the storage, without .., empty folders, backslashes, a query or a fragment")
	}
	return nil
}

// checkDestination takes the https address that goes with a webhook channel.
func checkDestination(r *Recipient) *ValueError {
	if r.Webhook == "" {
		return wrong("uri", "url 须与 webhook 一起使用", "url goes with webhook")
	}
	if n := utf8.RuneCountInString(r.URL); n > 2048 {
		return tooLong(2048, n)
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || !isURIReference(r.URL) || u.Scheme != "https" || u.Hostname() == "":
		return destinationForm
	case u.User != nil:
		return wrong("uri", "地址中不能包含账号或口令", "must not hold a user name or password")
	}
	return nil
}

// storedAt says whether the path names one file below a root.
func storedAt(path string) bool {
	return fs.ValidPath(path) && path != "." && !strings.Contains(path, `\`) && !hasControlIn(path)
}

func absoluteURI(s string) *ValueError {
	if s == "" {
		return nil
	}
	if n := utf8.RuneCountInString(s); n > 1024 {
		return tooLong(1024, n)
	}
	if u, err := url.Parse(s); err != nil || !isURIReference(s) || !u.IsAbs() {
		return wrong("uri", "应为绝对 URI", "must be an absolute URI")
	}
	return nil
}

func jsonMedia(s string) *ValueError {
	if s == "" || s == "application/json" {
		return nil
	}
	t, params, err := mime.ParseMediaType(s)
	charset := cmp.Or(params["charset"], "utf-8")
	if err != nil || len(s) > 255 || (t != "application/json" && !strings.HasSuffix(t, "+json")) || !strings.EqualFold(charset, "utf-8") {
		return wrong("media-type", "data 只支持 UTF-8 编码的 JSON，应为 application/json", "data must be JSON in UTF-8: application/json")
	}
	return nil
}

// isTraceParent is the W3C Trace Context header: <version>-<32 hex>-<16 hex>-<2 hex> in lower case,
// ids not zero. Version ff is forbidden; a version after 00 may go on behind another hyphen.
func isTraceParent(s string) bool {
	if len(s) < 55 || len(s) > 255 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, span, flags, rest := s[:2], s[3:35], s[36:52], s[53:55], s[55:]
	hex := func(s string) bool { return all(s, func(c byte) bool { return digit(c) || (c >= 'a' && c <= 'f') }) }
	zero := func(s string) bool { return strings.Trim(s, "0") == "" }
	if rest != "" && (version == "00" || rest[0] != '-' || hasControlIn(rest)) {
		return false
	}
	return version != "ff" && hex(version) && hex(trace) && hex(span) && hex(flags) && !zero(trace) && !zero(span)
}
