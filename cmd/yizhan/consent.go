package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// exportPage records are asked for at once: the most that the server gives.
const exportPage = 1000

func consentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consent",
		Short: tr("同意与退订：谁同意接收什么，谁已退订", "Consents: who agreed to what, and who refused"),
	}
	cmd.AddCommand(consentImportCmd(), consentExportCmd(), consentShowCmd(), consentOptOutCmd(), consentEraseCmd())
	return cmd
}

func tenantFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("tenant", "", tr("租户（`TENANT`）", "the `TENANT`"))
}

func consentImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("import 文件|-", "import FILE|-"),
		Short: tr("导入同意与退订：CSV、JSON 数组或 NDJSON", "Record agreements and refusals: CSV, a JSON array or NDJSON"),
		Long: tr(`CSV 的第一行是列名，顺序不限，用 UTF-8 编码：
  tenant   租户；不填则用 --tenant
  phone    手机号    email  邮箱（两者填一个）
  state    in（同意）或 out（退订）
  purpose  marketing（默认）、notification、alert 或 all
  time     本人表示的时间，如 2026-03-01 09:30（北京时间）；同意必填，退订默认为现在
  how      form、import（默认）、reply 或 api
  text     同意的内容或凭证所在；同意必填
有误的行逐条列出，其余照常登记。以时间最晚的表示为准，重复导入没有影响。`,
			`The first line of the CSV names the columns, in any order; UTF-8:
  tenant   of an empty one, --tenant counts
  phone    a number      email  a mail address (one of the two)
  state    in (agreed) or out (refused)
  purpose  marketing (default), notification, alert or all
  time     when the person said so, 2026-03-01 09:30 (Beijing time); required of in, else now
  how      form, import (default), reply or api
  text     what was agreed to, or where the proof is; required of in
Bad lines are named one by one, the others are recorded all the same. The latest word of a person
counts, and to import a file again changes nothing.`),
		Example: "  yizhan consent import docs/examples/consents.csv\n  export-members | yizhan consent import -",
		Args:    exactlyOne("文件", "the file"),
	}
	tenant := tenantFlag(cmd)
	timeout := cmd.Flags().Duration("timeout", time.Minute, tr("一批最多等待多久（含限流后的重试）", "how long one batch may take, waits for a busy server included"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *timeout <= 0 {
			return usageError("--timeout 必须大于 0", "--timeout must be more than 0")
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		in, err := openInput(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }() // read only: nothing to lose
		i := &importer{client: c, tenant: *tenant, timeout: *timeout, in: in, sum: imported{refusals: newRefusals(newUI(cmd))}}
		return i.run(cmd.Context())
	}
	return cmd
}

// imported is the summary.
type imported struct {
	ingest.ConsentsRecorded
	refusals
}

// placed is a change and where it stood.
type placed struct {
	where string
	*schemas.ConsentChange
}

type importer struct {
	client  *client
	tenant  string
	timeout time.Duration
	in      *input
	read    int64 // bytes of it
	batch   []placed
	sum     imported
}

func (i *importer) run(ctx context.Context) error {
	err := i.all(ctx)
	line, s := "", &i.sum
	if err == nil || s.Recorded+s.Unchanged+s.Older+s.Refused > 0 {
		line = fmt.Sprintf(tr("已登记 %d 条，已有 %d 条，早于现有记录 %d 条，有误 %d 条\n", "recorded %d, known already %d, older than what stands %d, refused %d\n"), s.Recorded, s.Unchanged, s.Older, s.Refused)
	}
	return s.end(s, line, err, s.Recorded, schemas.Text{
		Zh: "未导入完；稍后可重新导入整个文件，已登记的不受影响", En: "not all was imported; import the whole file again later, what is on record stays as it is",
	})
}

// all reads the input in batches. One batch is held in memory at a time.
func (i *importer) all(ctx context.Context) error {
	buffered := bufio.NewReader(&counter{i.in, &i.read})
	next := i.csv(buffered)
	if startsJSON(buffered) {
		next = i.json(buffered)
	}
	now := time.Now()
	for {
		p, err := next()
		switch bad, ok := errors.AsType[*badItem](err); {
		case errors.Is(err, io.EOF):
			return i.flush(ctx)
		case ok:
			if err := i.flush(ctx); err != nil { // so that refusals are told in the order of the file
				return err
			}
			i.sum.refuse(bad.where, "", bad.problems)
			if bad.last {
				return nil
			}
			continue
		case err != nil:
			return problemError("读取失败", "reading failed").because(err)
		}
		if p.Tenant == "" {
			p.Tenant = i.tenant
		}
		if p.How == "" {
			p.How = schemas.ByImport
		}
		if ps := p.Check(now); ps != nil {
			if err := i.flush(ctx); err != nil {
				return err
			}
			i.sum.refuse(p.where, "", ps)
			continue
		}
		if i.batch = append(i.batch, p); len(i.batch) == batchEvents {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// startsJSON says whether the first character, behind a byte order mark, is that of a JSON array or object.
func startsJSON(in *bufio.Reader) bool {
	for n := 1; n < 64; n++ {
		b, err := in.Peek(n)
		if err != nil {
			return false
		}
		if c := b[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) && c < 0x80 {
			return c == '[' || c == '{'
		}
	}
	return false
}

// csv reads the CSV form.
func (i *importer) csv(in io.Reader) func() (placed, error) {
	var rows *schemas.ConsentCSV
	return func() (placed, error) {
		if rows == nil {
			var err error
			if rows, err = schemas.NewConsentCSV(in); err != nil {
				if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
					return placed{}, &badItem{i.in.name + ":1", bad.Problems, true}
				}
				return placed{}, err
			}
		}
		c, err := rows.Next()
		where := fmt.Sprintf("%s:%d", i.in.name, rows.Line())
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			return placed{}, &badItem{where, bad.Problems, false}
		}
		return placed{where, c}, err
	}
}

// json reads the JSON forms.
func (i *importer) json(in io.Reader) func() (placed, error) {
	src := newSource(i.in.name, in)
	return func() (placed, error) {
		it, err := src.next()
		if err != nil {
			return placed{}, err
		}
		c, err := schemas.DecodeConsent(it.raw)
		if bad, ok := errors.AsType[*schemas.Invalid](err); ok {
			return placed{}, &badItem{it.where, bad.Problems, false}
		}
		return placed{it.where, c}, err
	}
}

// flush sends the batch. The server takes it as a whole or not at all: what it refuses is named and left
// out, and the others go again.
func (i *importer) flush(ctx context.Context) error {
	for len(i.batch) > 0 {
		changes := make([]*schemas.ConsentChange, len(i.batch))
		for n, p := range i.batch {
			changes[n] = p.ConsentChange
		}
		body, err := json.Marshal(changes, json.Deterministic(true))
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		a, err := i.client.patient(ctx, i.timeout, i.sum.bar, "/v1/consents", "application/json", body)
		if err != nil {
			return err
		}
		if e := a.refusal(); e != nil {
			left := i.without(e.problems)
			if len(left) == len(i.batch) {
				return e // nothing about one of them
			}
			i.batch = left
			continue
		}
		var took ingest.ConsentsRecorded
		if err := json.Unmarshal(a.body, &took); err != nil || took.Recorded+took.Unchanged+took.Older != len(i.batch) {
			return badAnswer(err)
		}
		i.sum.Recorded += took.Recorded
		i.sum.Unchanged += took.Unchanged
		i.sum.Older += took.Older
		i.batch = i.batch[:0]
	}
	i.sum.bar.set(i.read, i.in.size, fmt.Sprintf(tr("已登记 %d，已有 %d，有误 %d", "recorded %d, known %d, refused %d"), i.sum.Recorded, i.sum.Unchanged+i.sum.Older, i.sum.Refused))
	return nil
}

// without tells what the server refused, and returns the others.
func (i *importer) without(problems []schemas.Problem) []placed {
	bad := map[int][]schemas.Problem{}
	for _, p := range problems {
		index, rest, _ := strings.Cut(strings.TrimPrefix(p.Pointer, "/"), "/")
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < len(i.batch) {
			p.Pointer = "/" + rest
			bad[n] = append(bad[n], p)
		}
	}
	var left []placed
	for n, p := range i.batch {
		if bad[n] == nil {
			left = append(left, p)
		} else {
			i.sum.refuse(p.where, "", bad[n])
		}
	}
	return left
}

func consentExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: tr("导出同意与退订（CSV，号码为明文）", "Export agreements and refusals (CSV, numbers in clear)"),
		Long: tr("以 CSV 输出现有的表示，每个类别一行，可用 consent import 导入别处；-o json 每行输出一条完整记录（含历史）。\n输出含完整号码，属于个人信息：只发给需要的人，用后删除。需要 operate 角色。",
			"Writes what stands as CSV, one line for each category, fit for consent import; -o json writes one whole record,\nhistory included, on each line. The numbers are in clear and personal data: give the file to nobody who\ndoes not need it, and delete it afterwards. Takes the role operate."),
		Example: "  yizhan consent export > consents.csv\n  yizhan consent export --tenant acme --state out",
		Args:    atMost(0),
	}
	tenant := tenantFlag(cmd)
	state := cmd.Flags().String("state", "", tr("只导出 `in|out`：同意或退订营销的", "only those whose word on marketing is `in|out`"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains([]string{"", "in", "out"}, *state) {
			return usageError("--state 只能是 in 或 out", "--state must be in or out")
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		u := newUI(cmd)
		out := csv.NewWriter(u.out)
		if !u.json {
			_ = out.Write(schemas.ConsentCSVHead()) // an error is told by Error below
		}
		query := url.Values{"limit": {strconv.Itoa(exportPage)}, "reveal": {"true"}}
		setValue(query, "tenant", *tenant)
		setValue(query, "state", *state)
		bar := u.progress()
		for n := 0; ; {
			var page ingest.ConsentPage
			if _, err := c.get(cmd.Context(), "/v1/consents", query, &page); err != nil {
				bar.clear()
				return err
			}
			for _, one := range page.Items {
				if u.json {
					b, err := json.Marshal(one, json.Deterministic(true))
					if err != nil {
						return fmt.Errorf("encode: %w", err)
					}
					u.printf("%s\n", b)
					continue
				}
				for _, row := range one.CSV() {
					_ = out.Write(row)
				}
			}
			if out.Flush(); out.Error() != nil {
				return problemError("无法写出结果", "the output cannot be written").because(out.Error())
			}
			n += len(page.Items)
			bar.set(0, 0, fmt.Sprintf(tr("已导出 %d 条", "%d exported"), n))
			if page.Next == "" {
				bar.clear()
				return nil
			}
			query.Set("cursor", page.Next)
		}
	}
	return cmd
}

// person is whom a command is about: a number or a mail address.
type person struct{ phone, email string }

// personOf reads the argument of a command.
func personOf(arg string) (p person, err error) {
	if p.phone, p.email, err = schemas.ConsentAddress(arg); err != nil {
		e := usageError("号码或邮箱无效", "not a valid number or mail address")
		if bad, ok := errors.AsType[*schemas.ValueError](err); ok {
			e.problems = []schemas.Problem{{Keyword: bad.Keyword, Text: bad.Text}}
		}
		return p, e
	}
	return p, nil
}

// query asks for the person's record with a tenant, "" for every one.
func (p person) query(tenant string) url.Values {
	q := url.Values{}
	setValue(q, "phone", p.phone)
	setValue(q, "email", p.email)
	setValue(q, "tenant", tenant)
	return q
}

func (p person) masked() string {
	shown := schemas.Consent{Phone: p.phone, Email: p.email}.Masked()
	return shown.Address()
}

func consentShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     tr("show 手机号|邮箱", "show PHONE|EMAIL"),
		Short:   tr("查看一个号码或邮箱同意过什么、退订过什么，以及历史", "Show what a number or mail address agreed to and refused, and its history"),
		Example: "  yizhan consent show 13800138000\n  yizhan consent show wang@example.com --tenant acme",
		Args:    exactlyOne("手机号或邮箱", "the number or mail address"),
	}
	tenant := tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		who, err := personOf(args[0])
		if err != nil {
			return err
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		var page ingest.ConsentPage
		if _, err := c.get(cmd.Context(), "/v1/consents", who.query(*tenant), &page); err != nil {
			return err
		}
		u := newUI(cmd)
		if u.json {
			if err := u.printJSON(page.Items); err != nil {
				return err
			}
		}
		if len(page.Items) == 0 {
			if u.json {
				return errFound
			}
			return problemError("没有这个号码或邮箱的记录", "there is no record of it").withHint(
				"没有同意记录，营销消息不会发送；其他消息照常", "without a recorded agreement no marketing is sent to it; other messages are")
		}
		if !u.json {
			for n, one := range page.Items {
				if n > 0 {
					u.printf("\n")
				}
				u.consent(one)
			}
		}
		return nil
	}
	return cmd
}

var purposeWords = map[schemas.Purpose]schemas.Text{
	schemas.Purpose(schemas.Marketing):    {Zh: "营销", En: "marketing"},
	schemas.Purpose(schemas.Notification): {Zh: "通知", En: "notification"},
	schemas.Purpose(schemas.Alert):        {Zh: "预警", En: "alert"},
	schemas.PurposeAll:                    {Zh: "全部（验证码除外）", En: "all but verification"},
}

var wayWords = map[string]schemas.Text{
	schemas.ByForm: {Zh: "表单", En: "form"}, schemas.ByImport: {Zh: "导入", En: "import"}, schemas.ByReply: {Zh: "短信回复", En: "reply"}, schemas.ByLink: {Zh: "邮件退订链接", En: "unsubscribe link"}, schemas.ByAPI: {Zh: "接口", En: "API"},
}

func consentCell(s schemas.ConsentState) cell {
	if s == schemas.OptedIn {
		return cell{tr("同意", "agreed"), green}
	}
	return cell{tr("退订", "refused"), red}
}

func (u *ui) consent(c schemas.Consent) {
	address := c.Address()
	if address == "" {
		address = tr("（号码已应本人要求删除，只保留退订）", "(the address is deleted, the refusal stays)")
	}
	u.printf("%s\n", u.paint(bold, clean(fmt.Sprintf(tr("%s，租户 %s", "%s, tenant %s"), address, c.Tenant))))
	t := newTable()
	for _, category := range schemas.ConsentCategories {
		if e, ok := c.States[category]; ok {
			t.add(say(purposeWords[schemas.Purpose(category)]), consentCell(e.State), localTime(e.Time), say(wayWords[e.How]), clip(e.Text, 60))
		} else {
			t.add(say(purposeWords[schemas.Purpose(category)]), tr("未表示", "nothing said"))
		}
	}
	t.print(u, "  ")
	if !c.Used.IsZero() {
		u.printf("  %s%s\n", tr("最近一次凭同意发送：", "last sent under an agreement: "), localTime(c.Used))
	}
	if len(c.History) == 0 {
		return
	}
	u.printf("\n  %s\n", tr("历史", "History"))
	t = newTable(tr("时间", "TIME"), tr("表示", "WORD"), tr("用途", "PURPOSE"), tr("方式", "HOW"), tr("登记", "RECORDED"), tr("登记人", "BY"), tr("内容", "TEXT"))
	for _, e := range c.History {
		t.add(localTime(e.Time), consentCell(e.State), say(purposeWords[e.Purpose]), say(wayWords[e.How]), localTime(e.Recorded), e.By, clip(e.Text, 60))
	}
	t.print(u, "  ")
}

func consentOptOutCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     tr("opt-out 手机号|邮箱", "opt-out PHONE|EMAIL"),
		Short:   tr("登记一个退订，立即生效", "Record a refusal; it counts at once"),
		Example: "  yizhan consent opt-out 13800138000 --tenant acme --reason \"" + tr("客户来电要求", "the customer called") + "\"",
		Args:    exactlyOne("手机号或邮箱", "the number or mail address"),
	}
	tenant := tenantFlag(cmd)
	reason := cmd.Flags().String("reason", "", tr("原因（`TEXT`），写入记录", "`TEXT` that says why; kept in the record"))
	purpose := cmd.Flags().String("purpose", "marketing", tr("退订的范围：`marketing|notification|alert|all`", "what is refused: `marketing|notification|alert|all`"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		who, err := personOf(args[0])
		switch {
		case err != nil:
			return err
		case *reason == "":
			return usageError("退订必须用 --reason 写明原因", "a refusal needs a reason: --reason TEXT")
		case !slices.Contains(schemas.Purposes, schemas.Purpose(*purpose)):
			return usageError("--purpose 只能是 marketing、notification、alert 或 all", "--purpose must be marketing, notification, alert or all")
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		change := schemas.ConsentChange{Tenant: *tenant, Phone: who.phone, Email: who.email, ConsentWord: schemas.ConsentWord{
			State: schemas.OptedOut, Purpose: schemas.Purpose(*purpose), How: schemas.ByAPI, Text: *reason, // the time is the server's
		}}
		var done ingest.ConsentsRecorded
		if err := c.post(cmd.Context(), "/v1/consents", change, &done); err != nil {
			return err
		}
		u := newUI(cmd)
		if u.json {
			return u.printJSON(done)
		}
		u.printf(tr("已登记：%s 退订%s，立即生效\n", "on record: %s refused %s; it counts from now on\n"), who.masked(), say(purposeWords[schemas.Purpose(*purpose)]))
		return nil
	}
	return cmd
}

func consentEraseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("erase 手机号|邮箱", "erase PHONE|EMAIL"),
		Short: tr("应本人要求删除号码和历史，只保留退订（哈希）", "Delete a number and its history on the person's demand; a refusal stays, as a hash"),
		Long: tr("凭同意发送过消息的，同意凭证须保留到 guards.consent.keep 规定的期限，在此之前不能删除。",
			"Where messages were sent under an agreement, its proof is kept for guards.consent.keep after the last one,\nand cannot be deleted before."),
		Example: "  yizhan consent erase 13800138000 --tenant acme",
		Args:    exactlyOne("手机号或邮箱", "the number or mail address"),
	}
	tenant := tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		who, err := personOf(args[0])
		if err != nil {
			return err
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		var done struct {
			Erased bool `json:"erased"`
		}
		if _, err := c.exchange(cmd.Context(), http.MethodDelete, "/v1/consents", who.query(*tenant), nil, &done); err != nil {
			return err
		}
		u := newUI(cmd)
		if u.json {
			return u.printJSON(done)
		}
		u.printf(tr("已删除 %s 的号码和历史\n", "address and history of %s are deleted\n"), who.masked())
		return nil
	}
	return cmd
}
