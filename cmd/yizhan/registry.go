package main

import (
	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/email"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/channels/sms/aliyun"
	"github.com/yizhan-dev/yizhan/channels/sms/httpapi"
	"github.com/yizhan-dev/yizhan/channels/webhook"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/characters"
	"github.com/yizhan-dev/yizhan/rules/consent"
	"github.com/yizhan-dev/yizhan/rules/content"
	"github.com/yizhan-dev/yizhan/rules/dailycap"
	"github.com/yizhan-dev/yizhan/rules/expiry"
	"github.com/yizhan-dev/yizhan/rules/link"
	"github.com/yizhan-dev/yizhan/rules/parts"
	"github.com/yizhan-dev/yizhan/rules/quiet"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/rules/unsubscribe"
	"github.com/yizhan-dev/yizhan/rules/variables"
)

// What this binary can do. A new channel or rule is its folder and one line here.

func channelKinds() map[string]channels.Factory {
	return map[string]channels.Factory{
		"email":   email.New,
		"sms":     sms.New(map[string]channels.Factory{"aliyun": aliyun.New, "httpapi": httpapi.New}),
		"webhook": webhook.New,
	}
}

func guardFactories() map[string]rules.GuardFactory {
	return map[string]rules.GuardFactory{
		"characters":  characters.New,
		"content":     content.New,
		"expiry":      expiry.New,
		"link":        link.New,
		"parts":       parts.New,
		"quiet_hours": quiet.New,
		"signature":   signature.New,
		"unsubscribe": unsubscribe.New,
		"variables":   variables.New,
	}
}

func reserverFactories() map[string]rules.ReserverFactory {
	return map[string]rules.ReserverFactory{
		"consent":   consent.New,
		"daily_cap": dailycap.New,
	}
}
