package httpapi

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

//go:embed apis/*.yaml
var shipped embed.FS

// shippedNames lists the descriptions in this binary.
func shippedNames() []string {
	files, _ := shipped.ReadDir("apis")
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return names
}

// description is how one provider's HTTP interface is spoken to; docs/sms.md explains each key.
type description struct {
	Provider string             `yaml:"provider"`
	Endpoint string             `yaml:"endpoint"`
	Settings map[string]setting `yaml:"settings"`
	Auth     auth               `yaml:"auth"`
	// Clock is how far our clock may be off before the provider refuses our signatures; 0: it does not look, or nobody
	// knows.
	Clock  time.Duration `yaml:"clock"`
	Send   call          `yaml:"send"`
	Answer answer        `yaml:"answer"`
	// Classes say what the provider's codes mean: exact ones, and beginnings that end in *. The longest fit counts; a
	// code that fits none is permanent, since a repeat costs money for the same answer.
	Classes map[channels.Class][]string `yaml:"classes"`
	// Lookup asks what became of a message; without it an unknown outcome stays so until a receipt comes.
	Lookup *lookup `yaml:"lookup"`
	// TemplateStatus asks whether a template is approved; shadow mode uses it.
	TemplateStatus *templateStatus `yaml:"template_status"`
	Receipts       *receipts       `yaml:"receipts"`
}

// setting is one that the channel's section gives.
type setting struct {
	Secret   bool   `yaml:"secret"`   // given as <name>_file or <name>_env
	Optional bool   `yaml:"optional"` // "" when it is not given
	Default  string `yaml:"default"`
}

// call is a request template.
type call struct {
	Method  string            `yaml:"method"` // POST when not given
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Query   map[string]string `yaml:"query"`
	// JSON or Form is the body.
	JSON map[string]any    `yaml:"json"`
	Form map[string]string `yaml:"form"`
}

// answer is how every answer of the provider is read; all but Format are expressions over status, headers and body.
type answer struct {
	Format     string     `yaml:"format"` // json (default), form, text
	Success    expression `yaml:"success"`
	MessageID  expression `yaml:"message_id"`
	Code       expression `yaml:"code"`
	Message    expression `yaml:"message"`
	RetryAfter expression `yaml:"retry_after"` // seconds; the header Retry-After counts anyway
}

// records is how a list of messages' fates is read; all are expressions over item and body.
type records struct {
	List      expression `yaml:"list"` // over body
	ID        expression `yaml:"id"`   // our delivery id
	MessageID expression `yaml:"message_id"`
	Phone     expression `yaml:"phone"`
	Delivered expression `yaml:"delivered"`
	Failed    expression `yaml:"failed"`
	Code      expression `yaml:"code"`
	Message   expression `yaml:"message"`
	Time      expression `yaml:"time"`
}

type lookup struct {
	Request call `yaml:"request"`
	// Success says that the answer is one; default: answer.success.
	Success expression `yaml:"success"`
	Records records    `yaml:"records"`
	// PageSize is ${limit}; a page with fewer records is the last. 0: one page.
	PageSize int `yaml:"page_size"`
	// Complete: the provider lists every message that it took, so that one which is not there was not taken. Where it
	// lists only those with a receipt, absence tells nothing.
	Complete bool `yaml:"complete"`
}

type templateStatus struct {
	Request  call       `yaml:"request"`
	Approved expression `yaml:"approved"`
	Reason   expression `yaml:"reason"`
}

type receipts struct {
	Format  string  `yaml:"format"` // of the pushed body: json (default), form
	Records records `yaml:"records"`
	// Reply and ReplyTo are of what people write back.
	Reply   expression     `yaml:"reply"`
	ReplyTo expression     `yaml:"reply_to"`
	Answer  receiptsAnswer `yaml:"answer"`
}

type receiptsAnswer struct {
	Status      int    `yaml:"status"`
	ContentType string `yaml:"content_type"`
	Body        string `yaml:"body"`
}

// known are the variables of every request.
var known = []string{
	"number", "e164", "digits", "signature", "code", "text", "id", "params", "params_map",
	"unix", "unix_ms", "utc", "beijing", "nonce",
}

// ofLookup are those of a lookup besides.
var ofLookup = []string{"since", "until", "date", "page", "offset", "limit"}

var name = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// open reads a description by the name of a shipped one, or from a file.
func open(env channels.Env, api string) (*description, error) {
	var b []byte
	var err error
	if name.MatchString(api) {
		if b, err = shipped.ReadFile("apis/" + api + ".yaml"); err != nil {
			return nil, fmt.Errorf("there is no description %q in this binary; it has %s; a file of your own is named with its path, such as ./%s.yaml", api, strings.Join(shippedNames(), ", "), api)
		}
	} else if b, err = os.ReadFile(env.Path(api)); err != nil {
		return nil, err
	}
	return parse(b)
}

// parse reads a description strictly and checks it, so that a mistake shows when the process starts.
func parse(b []byte) (*description, error) {
	d := &description{}
	if err := strictyaml.Decode(b, d); err != nil {
		return nil, err
	}
	return d, d.check()
}

func (d *description) check() error {
	if !name.MatchString(d.Provider) {
		return fmt.Errorf("provider is %q, want a name of a-z, 0-9 and _", d.Provider)
	}
	if d.Endpoint != "" {
		if _, err := sms.Endpoint(d.Endpoint); err != nil {
			return fmt.Errorf("endpoint: %w", err)
		}
	}
	if d.Clock < 0 {
		return errors.New("clock must not be negative")
	}
	vars := map[string]bool{}
	for _, v := range known {
		vars[v] = true
	}
	settings := map[string]bool{}
	for _, s := range slices.Sorted(maps.Keys(d.Settings)) {
		switch {
		case !name.MatchString(s) || vars[s] || slices.Contains(ofLookup, s) || s == "sign" || s == "body":
			return fmt.Errorf("settings: %q cannot be a setting's name", s)
		case strings.HasSuffix(s, "_file") || strings.HasSuffix(s, "_env"):
			return fmt.Errorf("settings: %q: _file and _env are added where a secret is given", s)
		case d.Settings[s].Secret && d.Settings[s].Default != "":
			return fmt.Errorf("settings.%s: a secret has no default", s)
		}
		settings[s] = true
	}
	maps.Copy(vars, settings)
	if err := d.Auth.check(); err != nil {
		return err
	}
	ofDigest := maps.Clone(vars)
	ofDigest["body"] = true
	for _, s := range []string{d.Auth.ID, d.Auth.Key, d.Auth.Text} {
		if err := checkTemplate(s, ofDigest); err != nil {
			return fmt.Errorf("auth: %w", err)
		}
	}
	if d.Auth.Scheme == schemeDigest {
		vars["sign"] = true
	}
	if err := d.Send.check(vars, d.Auth); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := d.Answer.check(); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	for class := range d.Classes {
		if !slices.Contains(channels.Classes, class) {
			return fmt.Errorf("classes: %q is none of %v", class, channels.Classes)
		}
	}
	if l := d.Lookup; l != nil {
		for _, v := range ofLookup {
			vars[v] = true
		}
		if err := errors.Join(l.Request.check(vars, d.Auth), ofAnswer(l.Success), l.Records.check(true)); err != nil {
			return fmt.Errorf("lookup: %w", err)
		}
		if l.PageSize < 0 || l.PageSize > 1000 {
			return errors.New("lookup: page_size must be between 1 and 1000")
		}
	}
	if s := d.TemplateStatus; s != nil {
		if err := errors.Join(s.Request.check(vars, d.Auth), ofAnswer(s.Approved, s.Reason)); err != nil {
			return fmt.Errorf("template_status: %w", err)
		}
		if !s.Approved.given() {
			return errors.New("template_status: needs approved")
		}
	}
	if r := d.Receipts; r != nil {
		if err := errors.Join(r.Records.check(false), ofRecord(r.Reply, r.ReplyTo)); err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		if !slices.Contains([]string{"", "json", "form"}, r.Format) {
			return errors.New("receipts: format is json or form")
		}
	}
	return nil
}

func (c call) check(vars map[string]bool, a auth) error {
	if !slices.Contains([]string{"", "GET", "POST", "PUT"}, c.Method) {
		return errors.New("method is GET, POST or PUT")
	}
	if c.JSON != nil && c.Form != nil || c.Method == "GET" && (c.JSON != nil || c.Form != nil) {
		return errors.New("a request has one body, json or form, and none with GET")
	}
	if u, err := url.Parse(c.Path); err != nil || u.IsAbs() || u.Host != "" || u.RawQuery != "" || !strings.HasPrefix(c.Path, "/") {
		return errors.New("path begins with / and has no query")
	}
	for _, s := range c.templates() {
		if err := checkTemplate(s, vars); err != nil {
			return err
		}
	}
	if names(a.Text, "body") && slices.ContainsFunc(append(texts(c.JSON), slices.Collect(maps.Values(c.Form))...), func(s string) bool { return names(s, "sign") }) {
		return errors.New("the body holds ${sign}, and auth.text signs the body")
	}
	return nil
}

// templates are all the texts of the request.
func (c call) templates() []string {
	out := append(texts(c.JSON), c.Path)
	for _, m := range []map[string]string{c.Headers, c.Query, c.Form} {
		out = append(out, slices.Collect(maps.Values(m))...)
	}
	return out
}

// names says whether the request names a variable.
func (c call) names(variable string) bool {
	return slices.ContainsFunc(c.templates(), func(s string) bool { return names(s, variable) })
}

func (a answer) check() error {
	if !slices.Contains([]string{"", "json", "form", "text"}, a.Format) {
		return errors.New("format is json, form or text")
	}
	if err := ofAnswer(a.Success, a.MessageID, a.Code, a.Message, a.RetryAfter); err != nil {
		return err
	}
	switch {
	case !a.Success.given():
		return errors.New("needs success")
	case !a.Success.looksAt("body"):
		return errors.New("success must look at body: an HTTP status says nothing about a message")
	}
	return nil
}

func (r records) check(ofLookup bool) error {
	if err := ofRecord(r.List, r.ID, r.MessageID, r.Phone, r.Delivered, r.Failed, r.Code, r.Message, r.Time); err != nil {
		return err
	}
	switch {
	case r.List.looksAt("item"):
		return errors.New("list is of body: there is no item yet")
	case !r.List.given() || !r.Delivered.given() || !r.Failed.given():
		return errors.New("records need list, delivered and failed")
	case ofLookup && !r.ID.given():
		return errors.New("records need id: without it nobody knows which message is meant")
	case !ofLookup && !r.ID.given() && !r.MessageID.given():
		return errors.New("records need id or message_id")
	}
	return nil
}

// ofAnswer refuses expressions that look at what an answer does not have.
func ofAnswer(list ...expression) error {
	for _, e := range list {
		if e.looksAt("item") {
			return fmt.Errorf("%q: an answer has status, headers and body, no item", e.source)
		}
	}
	return nil
}

// ofRecord refuses expressions that look at what a pushed or listed record does not have.
func ofRecord(list ...expression) error {
	for _, e := range list {
		if e.looksAt("status") || e.looksAt("headers") {
			return fmt.Errorf("%q: a record has item and body, no status and headers", e.source)
		}
	}
	return nil
}

// classOf is what a code means by its family, see [description.Classes].
func (d *description) classOf(code string) channels.Class {
	best, class := -1, channels.Permanent
	for c, patterns := range d.Classes {
		for _, p := range patterns {
			begin, family := strings.CutSuffix(p, "*")
			switch {
			case strings.EqualFold(code, p):
				return c
			case family && len(code) >= len(begin) && strings.EqualFold(code[:len(begin)], begin) && len(begin) > best:
				best, class = len(begin), c
			}
		}
	}
	return class
}
