package main

import (
	"os"
	"strings"

	"github.com/yizhan-dev/yizhan/schemas"
)

// lang is the language of this process, "zh" or "en". The help texts need it before cobra has parsed
// anything, so run settles it first and nothing changes it afterwards.
var lang = "en"

// tr chooses between the two languages of the product.
func tr(zh, en string) string {
	if lang == "zh" {
		return zh
	}
	return en
}

// say is tr for a sentence that came in both languages.
func say(t schemas.Text) string { return tr(t.Zh, t.En) }

// chooseLang takes --lang from the arguments, else the locale: LC_ALL, LC_MESSAGES, LANG, the first
// that is set (POSIX.1-2017 XBD §8.2). A value of --lang that is no language is left to checkLang.
func chooseLang(args []string) string {
	for i, a := range args {
		if a == "--" {
			break
		}
		value, ok := strings.CutPrefix(a, "--lang=")
		if !ok && a == "--lang" && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if ok && checkLang(value) == nil {
			return value
		}
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "zh") {
				return "zh"
			}
			return "en"
		}
	}
	return "en"
}

func checkLang(s string) error {
	if s == "zh" || s == "en" {
		return nil
	}
	return usageError("--lang 只能是 zh 或 en", "--lang must be zh or en")
}

// stateWords are the states as an operator says them.
var stateWords = map[schemas.State]schemas.Text{
	schemas.Planned:     {Zh: "排队中", En: "queued"},
	schemas.Held:        {Zh: "等待中", En: "waiting"},
	schemas.Sending:     {Zh: "发送中", En: "being sent"},
	schemas.Accepted:    {Zh: "第三方已接受", En: "accepted"},
	schemas.Delivered:   {Zh: "已送达", En: "delivered"},
	schemas.Undelivered: {Zh: "未送达", En: "not delivered"},
	schemas.Uncertain:   {Zh: "结果未知", En: "outcome unknown"},
	schemas.Suppressed:  {Zh: "被规则拦截", En: "stopped by a rule"},
	schemas.Expired:     {Zh: "已过期", En: "expired"},
	schemas.Cancelled:   {Zh: "已撤回", En: "recalled"},
	schemas.Dead:        {Zh: "死信", En: "dead letter"},
}

func stateWord(s schemas.State) string {
	if t, ok := stateWords[s]; ok {
		return say(t)
	}
	return string(s)
}

// stateColor is green for what arrived, yellow for what is still open, red for what did not arrive.
func stateColor(s schemas.State) color {
	switch s {
	case schemas.Accepted, schemas.Delivered:
		return green
	case schemas.Held, schemas.Sending, schemas.Uncertain:
		return yellow
	case schemas.Undelivered, schemas.Suppressed, schemas.Expired, schemas.Dead:
		return red
	default:
		return plain
	}
}

// ownerWords say whose job a failure is; the keys are those of channels/explain.
var ownerWords = map[string]schemas.Text{
	"third-party":   {Zh: "第三方服务商", En: "the third party"},
	"nobody":        {Zh: "无需处理", En: "nobody's: nothing is wrong"},
	"operator":      {Zh: "消息运维人员", En: "the operator of notifications"},
	"channel-owner": {Zh: "通道负责人（账号、密钥、配置）", En: "the channel's owner (account, keys, settings)"},
	"author":        {Zh: "消息内容的编写方（业务系统或模板维护人）", En: "the author of the message (the ERP module or who keeps the template)"},
	"data-owner":    {Zh: "主数据维护人员（收件人的手机号、邮箱）", En: "who keeps the master data (the recipient's number or address)"},
}

func ownerWord(owner string) string {
	if t, ok := ownerWords[owner]; ok {
		return say(t)
	}
	return owner
}
