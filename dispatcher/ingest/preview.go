package ingest

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/schemas"
)

// previewRequest is a message whose author wants to see what goes out: a template of rules.yaml and its values, or
// ready content.
type previewRequest struct {
	Template string            `json:"template"`
	Content  *schemas.Content  `json:"content"`
	Params   map[string]any    `json:"params"`
	Channel  string            `json:"channel"` // "": every channel that the message can go over
	To       schemas.Recipient `json:"to"`
	Category schemas.Category  `json:"category"`
	Tenant   string            `json:"tenant"`
}

type previewBody struct {
	Previews []dispatcher.Preview `json:"previews"`
}

// preview shows what each channel would be given to send. Nothing is stored or sent, nobody is asked.
func (s *server) preview(w *answer, r *http.Request) error {
	if err := onlyJSON(r.Header); err != nil {
		return err
	}
	who, body, done, err := s.enter(w, r, want{role: RolePublish, also: RoleOperate, body: maxLintBody})
	if err != nil {
		return err
	}
	defer done()
	var q previewRequest
	if err := json.Unmarshal(body, &q, json.RejectUnknownMembers(true)); err != nil {
		return badMember(err, "template, content, params, channel, to, category, tenant")
	}
	book := s.book()
	if book == nil {
		return unavailable()
	}
	if q.Tenant, err = who.judgedAs(q.Tenant); err != nil {
		return err
	}
	if problems := q.check(s); problems != nil {
		return invalid(problems)
	}
	writeJSON(w, http.StatusOK, mediaJSON, previewBody{dispatcher.Previews(book, s.d.Channels, dispatcher.Draft{
		Template: q.Template, Content: q.Content, Params: q.Params, Channel: q.Channel, To: q.To, Category: q.Category, Tenant: q.Tenant,
	}, time.Now())})
	return nil
}

// check holds the members against what they may say, and brings category and addresses into their common form.
func (q *previewRequest) check(s *server) (problems []schemas.Problem) {
	fail := func(pointer, keyword, zh, en string, args ...any) {
		problems = append(problems, schemas.Problem{Pointer: pointer, Keyword: keyword, Text: text(zh, en, args...)})
	}
	if (q.Template == "") == (q.Content == nil) {
		fail("/template", "required", "请填写 template 或 content 之一", "give either template or content")
	}
	if _, ok := s.book().Templates()[q.Template]; q.Template != "" && !ok {
		fail("/template", "unknown", "模板 %q 不存在", "there is no template %q", q.Template)
	}
	if _, ok := s.d.Channels[q.Channel]; q.Channel != "" && !ok {
		fail("/channel", "unknown", "没有配置通道 %q", "no channel %q is configured", q.Channel)
	}
	if q.Category = cmp.Or(q.Category, schemas.Notification); !slices.Contains(schemas.Categories, q.Category) {
		fail("/category", "enum", "只能是 verification、notification、marketing 或 alert", "must be verification, notification, marketing or alert")
	}
	if q.Tenant != "" && !slices.Contains(s.cfg.Tenants, q.Tenant) {
		problems = append(problems, unknownTenant("/tenant"))
	}
	if q.To.Phone != "" {
		phone, err := schemas.NormalizePhone(q.To.Phone)
		if err != nil {
			fail("/to/phone", "phone", "不是手机号", "this is no mobile number")
		}
		q.To.Phone = phone
	}
	if q.To.Email != "" {
		email, err := schemas.CheckEmail(q.To.Email)
		if err != nil {
			fail("/to/email", "email", "不是邮箱地址", "this is no mail address")
		}
		q.To.Email = email
	}
	return problems
}
