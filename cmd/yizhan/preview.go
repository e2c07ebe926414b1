package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// draftFlags name a message of the rules: a template and its values.
type draftFlags struct {
	template, params string
	cmd              *cobra.Command
}

// add registers --template and --params.
func (f *draftFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.template, "template", "", tr("使用规则文件中的模板（`NAME`）", "use this template of the rules, `NAME`"))
	f.addParams(cmd)
}

func (f *draftFlags) addParams(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.params, "params", "", tr("模板参数：JSON 文件（`FILE`），- 为标准输入，或直接写 {…}", "values of the template: a JSON `FILE`, - for standard input, or {…} itself"))
}

// values reads --params.
func (f *draftFlags) values() (map[string]any, error) {
	var b []byte
	switch {
	case f.params == "":
		return nil, nil
	case strings.HasPrefix(strings.TrimSpace(f.params), "{"):
		b = []byte(f.params)
	default:
		in, err := openInput(f.cmd, f.params)
		if err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }() // read only: nothing to lose
		text, err := readText(f.params, in)
		if err != nil {
			return nil, err
		}
		b = []byte(text)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, usageError("--params 应为 JSON 对象，如 {\"customer\":\"华星科技\"}", `--params must be a JSON object, such as {"customer":"Huaxing"}`).because(err)
	}
	return v, nil
}

// sampleTo is who a preview is for when nobody is named. The number is the one that everybody writes in
// examples, the domain one that nobody has (RFC 2606).
var sampleTo = schemas.Recipient{Name: "王芳", Phone: "+8613800138000", Email: "wang.fang@example.com"}

func previewCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("preview 模板", "preview TEMPLATE"),
		Short: tr("查看模板在各通道上实际发送的内容，不发送", "Show what a template comes to on the wire, channel by channel; nothing is sent"),
		Long: tr(`按 yizhan.yaml 和规则文件生成消息，显示每个通道实际会发给第三方的内容（密钥和签名已隐去），
并附上规则的判断。不连接服务器，也不连接第三方。不写 --channel 时显示模板适用的所有通道。
退出码：0 可以发送，1 有通道无法生成或会被拦截，2 用法错误。`,
			`Makes the message by yizhan.yaml and the rules, and shows for each channel exactly what the third party would get (keys
and signatures hidden), with the verdict of the rules beside it. Neither a server nor a third party is connected to. Without
--channel, every channel that the template has a text for.
Exit codes: 0 it can be sent, 1 a channel has no message or the rules would block it, 2 usage.`),
		Example: "  yizhan preview invoice-due --params params.json\n  yizhan preview invoice-due --params '{\"customer\":\"华星\",\"amount\":\"12,300.00\"}' --channel mail --raw > mail.eml\n" +
			"  yizhan preview stock-alert --params params.json --to 13800138000",
		Args: exactlyOne("模板名", "the name of a template"),
	}
	f := cmd.Flags()
	file := configFileFlag(cmd)
	channel := f.String("channel", "", tr("只看这个通道（`NAME`）", "this channel alone, `NAME`"))
	to := f.StringArray("to", nil, tr("收件人的手机号或邮箱（`ADDRESS`），可重复；默认用示例收件人", "number or mailbox of the recipient, `ADDRESS`; may be repeated; default: a made-up one"))
	name := f.String("to-name", "", tr("收件人姓名（`NAME`）", "the recipient's `NAME`"))
	category := f.String("category", string(schemas.Notification), tr("消息类别（`CATEGORY`）：", "`CATEGORY` of the message: ")+strings.Join(strs(schemas.Categories), ", "))
	tenant := f.String("tenant", "", tr("租户（`NAME`）", "`NAME` of the tenant"))
	raw := f.Bool("raw", false, tr("只输出原始字节（邮件可另存为 .eml）；须指定 --channel", "write the raw bytes alone (a mail as .eml); needs --channel"))
	var message draftFlags
	message.addParams(cmd)
	_ = cmd.RegisterFlagCompletionFunc("channel", completeChannels(file))
	cmd.ValidArgsFunction = completeTemplates(file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := dispatcher.Draft{Template: args[0], Channel: *channel, To: sampleTo, Category: schemas.Category(*category), Tenant: *tenant}
		if !slices.Contains(schemas.Categories, q.Category) {
			list := strings.Join(strs(schemas.Categories), ", ")
			return usageError("--category 只能是 "+list, "--category must be one of "+list)
		}
		if *raw && *channel == "" {
			return usageError("--raw 须与 --channel 同用", "--raw needs --channel")
		}
		if err := setRecipient(&q.To, *to, *name); err != nil {
			return err
		}
		var err error
		if q.Params, err = message.values(); err != nil {
			return err
		}
		var names []string
		if *channel != "" {
			names = []string{*channel}
		}
		c, open, err := openNamed(*file, names, "yizhan preview invoice-due -c data/dev/yizhan.yaml")
		if err != nil {
			return err
		}
		defer closeChannels(open)
		book, err := c.previewBook()
		if err != nil {
			return badConfig(err)
		}
		if _, ok := book.Templates()[q.Template]; !ok {
			return problemError("没有模板“"+q.Template+"”", fmt.Sprintf("there is no template %q", q.Template)).
				withHint("yizhan rules check 列出所有模板", "`yizhan rules check` lists the templates")
		}
		return showPreviews(newUI(cmd), dispatcher.Previews(book, open, q, time.Now()), *raw)
	}
	return cmd
}

func completeTemplates(file *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := loadConfig(*file)
		if err != nil || len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		book, err := c.previewBook()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.Sorted(maps.Keys(book.Templates())), cobra.ShellCompDirectiveNoFileComp
	}
}

// previewBook is the rules, not held against the channels: some of them may not be open.
func (c *config) previewBook() (*rules.Book, error) {
	r, err := openRulesWith(c.Rules, "", nil)
	if err != nil {
		return nil, err
	}
	return r.book, nil
}

// setRecipient puts the addresses given in place of the made-up ones.
func setRecipient(r *schemas.Recipient, to []string, name string) error {
	if name != "" {
		r.Name = name
	}
	for _, s := range to {
		a := channels.Phone
		if strings.Contains(s, "@") {
			a = channels.Email
		}
		one, err := recipientOf(a, "", s)
		if err != nil {
			return err
		}
		if a == channels.Phone {
			r.Phone = one.Phone
		} else {
			r.Email = one.Email
		}
	}
	return nil
}

func showPreviews(u *ui, list []dispatcher.Preview, raw bool) error {
	var err error
	switch {
	case len(list) == 0:
		return problemError("没有适用于该模板的通道", "the template has no text for any of the channels")
	case raw:
		p := list[0]
		if p.Wire == nil {
			break
		}
		_, err = u.out.Write(p.Wire.Body)
		if len(p.Wire.Body) == 0 {
			u.printf("%s\n", p.Wire.URL)
		}
	case u.json:
		err = u.printJSON(map[string]any{"previews": list})
	default:
		for i, p := range list {
			if i > 0 {
				u.printf("\n")
			}
			u.preview(p)
		}
	}
	for _, p := range list {
		if err == nil && (p.Problem != nil || p.Rules.Action == rules.ReportBlock) {
			if raw && p.Problem != nil {
				return problemError("无法生成消息："+p.Problem.Zh, "no message can be made: "+p.Problem.En)
			}
			err = errFound
		}
	}
	return err
}

func (u *ui) preview(p dispatcher.Preview) {
	u.printf("%s → %s\n", u.channelTitle(p.Channel, p.Kind, p.Provider), p.To)
	if p.Problem != nil {
		u.printf("  %s%s\n", u.paint(red, tr("无法生成：", "no message: ")), clean(problemLine(*p.Problem)))
		return
	}
	if p.Wire == nil {
		u.printf("  %s\n", tr("此类通道不提供预览", "this kind of channel has no preview"))
	} else {
		u.wire(p.Wire)
	}
	if p.Text != "" {
		u.printf("\n%s\n%s\n", u.paint(bold, tr("收到的短信", "The SMS as it arrives")), clean(p.Text))
	}
	u.printf("\n")
	if p.Price != nil {
		u.printf("%s%s %s\n", tr("费用：约 ", "cost: about "), p.Price.Amount, p.Price.Currency)
	}
	u.printf("%s", tr("规则：", "rules: "))
	(&lintedText{Report: *p.Rules, message: p.Delivery.Message}).print(u)
}

// wire prints a request so that a person can read it: parameters one by one, a mail decoded, JSON indented.
func (u *ui) wire(w *channels.Wire) {
	at, query, _ := strings.Cut(w.URL, "?")
	u.printf("%s %s\n", w.Method, clean(at))
	t := newTable()
	if values, err := url.ParseQuery(query); err == nil {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			t.add(name, values.Get(name))
		}
	}
	for _, h := range w.Header {
		t.add(h[0], h[1])
	}
	t.print(u, "  ")
	switch {
	case len(w.Body) == 0:
	case w.ContentType == "message/rfc822":
		u.mail(w.Body)
	default:
		body := jsontext.Value(w.Body)
		if body.IsValid() {
			_ = body.Indent(jsontext.WithIndent("  ")) // a copy of what is valid
		}
		u.printf("\n%s\n", clean(string(body)))
	}
	for _, n := range w.Notes {
		u.printf("%s%s\n", tr("注：", "note: "), clean(say(n)))
	}
}

// mail prints a mail decoded; the raw one is for --raw.
func (u *ui) mail(raw []byte) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		u.printf("\n%s\n", clean(string(raw)))
		return
	}
	words := new(mime.WordDecoder)
	t := newTable()
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		for _, v := range m.Header[name] {
			if plain, err := words.DecodeHeader(v); err == nil {
				v = plain
			}
			t.add(name+":", v)
		}
	}
	u.printf("\n")
	t.print(u, "  ")
	u.part(textproto.MIMEHeader(m.Header), m.Body)
}

// part prints one part of a mail, and those within it.
func (u *ui) part(h textproto.MIMEHeader, body io.Reader) {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		media = "text/plain"
	}
	if strings.HasPrefix(media, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					u.printf("%s\n", clean(err.Error()))
				}
				return
			}
			u.part(p.Header, p)
		}
	}
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	b, _ := io.ReadAll(body) // as far as it can be read
	u.printf("\n%s\n", u.paint(bold, "--- "+media))
	if strings.HasPrefix(media, "text/") {
		u.printf("%s\n", clean(strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")))
		return
	}
	_, disposition, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	u.printf("%s\n", clean(fmt.Sprintf(tr("%s，%d 字节", "%s, %d bytes"), disposition["filename"], len(b))))
}
