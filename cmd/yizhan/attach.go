package main

import (
	"cmp"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/yizhan-dev/yizhan/schemas"
)

// maxUpload is more than any server takes; attachments.max_file_bytes is the bound that counts.
const maxUpload = 100 << 20

func attachCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("attach 文件", "attach FILE"),
		Short: tr("上传附件，输出可写入事件的引用", "Upload a file; prints the reference for an event"),
		Long: tr("上传一个文件，供之后的事件作为附件引用；输出的 JSON 原样写入事件的 data.attachments。\n服务器须设置 attachments.object.upload。重复上传同一文件只保存一份。",
			"Upload a file for the events that are going to refer to it; the JSON that is printed goes as it is into data.attachments\nof an event. The server needs attachments.object.upload. The same file again is stored once."),
		Example: "  yizhan attach 2026-11.pdf --name 对账单.pdf --tenant acme",
		Args:    exactlyOne("要上传的文件", "the file to upload"),
	}
	name := cmd.Flags().String("name", "", tr("收件人看到的文件名（`NAME`），默认为文件本身的名称", "the file's `NAME` as the recipient sees it; default its own"))
	tenant := cmd.Flags().String("tenant", "", tr("文件所属的租户（`TENANT`），默认为 default", "the `TENANT` whose file it is; default: default"))
	cid := cmd.Flags().String("cid", "", tr("作为 HTML 中的内嵌图片，正文用 cid:`CID` 引用", "an image inside the HTML, which shows it by cid:`CID`"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		in, err := openFile(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }() // read only: nothing to lose
		b, err := io.ReadAll(io.LimitReader(in, maxUpload+1))
		if err != nil {
			return problemError("无法读取 "+args[0], args[0]+" cannot be read").because(unreadable(err))
		}
		if len(b) > maxUpload {
			return problemError(args[0]+" 超过 100 MiB", args[0]+" is larger than 100 MiB")
		}
		q := url.Values{}
		setValue(q, "tenant", *tenant)
		shown := cmp.Or(*name, filepath.Base(args[0]))
		a, err := c.call(cmd.Context(), http.MethodPut, idPath("/v1/attachments/", shown), q, mime.TypeByExtension(filepath.Ext(shown)), b)
		if err != nil {
			return err
		}
		if e := a.refusal(); e != nil {
			return e
		}
		var ref schemas.Attachment
		if err := json.Unmarshal(a.body, &ref); err != nil {
			return badAnswer(err)
		}
		if ref.CID = *cid; ref.Check() != nil {
			return problemError("--cid 只能使用字母、数字和 . _ + -，且文件须为图片", "--cid takes letters, digits and . _ + -, and the file must be an image")
		}
		return newUI(cmd).printJSON(ref)
	}
	return cmd
}
