package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/email"
	"github.com/yizhan-dev/yizhan/channels/explain"
)

func mailLoginCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   tr("mail-login 通道 [选项]", "mail-login CHANNEL [flags]"),
		Short: tr("以邮箱账号登录，取得 OAuth 刷新令牌（oauth.flow: device）", "sign in to a mailbox and get its OAuth refresh token (oauth.flow: device)"),
		Long: tr("显示一个网址和一个代码。在任意浏览器中打开网址，输入代码，并用通道所用的邮箱账号登录；命令随后写入\nrefresh_token_file 并结束。正在运行的驿站会自动使用新令牌。",
			"Shows an address and a code. Open the address in any browser, enter the code and sign in with the mailbox's\naccount; the command then writes refresh_token_file and ends. A running Yizhan takes the new token by itself."),
		Args: exactlyOne("通道名", "the channel's name"),
	}
	file := configFileFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := configThere(*file, "yizhan mail-login "+args[0]+" -c yizhan.yaml"); err != nil {
			return err
		}
		c, err := loadConfig(*file)
		if err != nil {
			return err
		}
		return c.mailLogin(cmd.Context(), newUI(cmd), args[0])
	}
	return cmd
}

func (c *config) mailLogin(ctx context.Context, u *ui, name string) error {
	section, ok := c.Channels[name]
	var common channels.Common
	if ok {
		if err := section.Peek(&common); err != nil {
			return badConfig(c.wrong("/channels/"+name, err))
		}
	}
	if common.Kind != "email" {
		return usageError(c.file+" 中没有名为 "+name+" 的邮件通道", "there is no mail channel "+name+" in "+c.file)
	}
	env := channels.Env{Name: name, Dir: c.dir, Log: zap.NewNop()}
	err := email.Login(ctx, env, section.Decode, func(code email.DeviceCode) {
		u.note(tr("请在浏览器中打开：", "open in a browser: ") + clean(code.URL))
		u.note(tr("并输入代码：      ", "and enter the code: ") + clean(code.Code))
		if !code.Expires.IsZero() {
			u.note(tr("代码有效期至 ", "the code is good until ") + code.Expires.In(zone).Format(time.TimeOnly) + tr("，正在等待登录……", "; waiting …"))
		}
	})
	if f, ok := errors.AsType[*channels.Failure](err); ok {
		table, err := c.loadTable()
		if err != nil {
			table = explain.Default() // a broken one is the business of `config check`
		}
		d := table.Explain(f)
		e := problemError("登录没有完成："+f.Line, "not signed in: "+f.Line)
		if d.Known {
			e.hint = d.Remedy
		}
		return e
	}
	if err != nil {
		return badConfig(c.wrong("/channels/"+name, err))
	}
	if u.json {
		return u.printJSON(struct {
			Channel string `json:"channel"`
		}{name})
	}
	u.printf(tr("已登录，通道 %s 的刷新令牌已保存。\n", "Signed in; the refresh token of channel %s is kept.\n"), name)
	return nil
}
