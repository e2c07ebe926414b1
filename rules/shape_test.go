package rules_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

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
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

func load(source string) (*rules.Book, error) {
	return rules.Load([]byte(source),
		map[string]rules.GuardFactory{
			"signature": signature.New, "expiry": expiry.New, "quiet_hours": quiet.New, "link": link.New, "parts": parts.New,
			"content": content.New, "variables": variables.New, "characters": characters.New, "unsubscribe": unsubscribe.New,
		},
		map[string]rules.ReserverFactory{"consent": consent.New, "daily_cap": dailycap.New}, rules.Env{})
}

// TestSchemaAgrees: an editor that completes by the schema and the program that loads the file give
// the same verdict on every sample.
func TestSchemaAgrees(t *testing.T) {
	b, err := os.ReadFile("../schemas/rules.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rules.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("rules.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for want, samples := range map[bool][]string{
		true: {
			"routes: []",
			"publish: refuse",
			"publish:\nroutes: []",
			"routes:\nguards:\ntemplates:\n",
			"routes:\n  - {name: a, send: [sms, mail], fallback: [mail]}\n  - {name: b, when: 'event.type == \"x.y\"', send: [mail]}",
			"routes:\n  - {name: a, when: , send: [sms], fallback: }",
			"guards: {signature: {max: 2}, expiry: {verification: 5m, alert: 1h30m}, daily_cap: {limit: 1}}",
			"guards: {signature: , expiry: , quiet_hours: , daily_cap: , parts: , variables: , characters: , unsubscribe: }",
			"guards: {signature: {profile: huawei}, parts: {max: 2, price: 0.045, currency: CNY}, variables: {max: 50, profile: aliyun}, characters: block, unsubscribe: pass}",
			"guards: {signature: {profile: }, parts: {max: , price: , currency: }, variables: {max: , profile: }}",
			"guards: {parts: {price: 1}}",
			"templates: {a: {sms: {codes: {tencent: '1234', huawei: 8ff5}, params: [x], text: '${x}'}}}",
			"templates: {a: {sms: {code: SMS_1, codes: , text: x}}}",
			"guards: {signature: {max: }, daily_cap: {limit: , window: , over: , reserve_for: }}",
			"guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00', zone: Asia/Shanghai}, {category: alert, allow: '22:00-06:00'}, {category: marketing, allow: '22:00-24:00', zone: }]}",
			"guards: {quiet_hours: {windows: [{category: marketing, allow: '08:00-21:00', days: workdays}, {category: alert, allow: '08:00-21:00', days: }]}}",
			"guards: {quiet_hours: {calendar: , windows: }}",
			"guards: {quiet_hours: {}}",
			"guards: {link: }",
			"guards: {link: {allow_hosts: , login: , max_life: , verify: }}",
			"guards: {link: {allow_hosts: [erp.example.com, '*.acme.cn', 10.1.2.3], login: review, max_life: 24h, verify: {app_id: app_01}}}",
			"guards: {daily_cap: {limit: 50, window: both, reserve_for: {verification: 5, alert: 2}, over: 'divert:mail'}}",
			"guards: {content: }",
			"guards: {content: {marketing: pass, finance: review, fraud: block, review: suppress, lexicons: , tenants: , score: , classes: }}",
			"guards: {content: {classes: [{type: erp.invoice.*, class: invoice}, {template: hello, class: hr}]}}",
			"guards: {daily_cap: {window: day, over: dead}}",
			"guards: {consent: }",
			"guards: {consent: {required: , keep: }}",
			"guards: {consent: {required: [notification, marketing], keep: 3600h}}",
			"guards: {daily_cap: {window: rolling, over: defer}}",
			"templates: {t: {sms: {code: SMS_1, params: [a], text: 'x ${a}'}, mail: {subject: s, html: <p>h</p>}}}",
			"templates: {t: {sms: {code: , params: , text: x, subject: , html: }}}",
			"templates: {t: {sms: {text: x, params: [a, {b: money}, {'7': code}]}}}",
			"templates:\n  t:\n    sms:\n      text: x\n      params:\n        - a\n        - b: time\n",
		},
		false: {
			"rutes: []",
			"templates: {a: {sms: {codes: {tencent: ''}, text: x}}}",
			"templates: {a: {sms: {codes: [x], text: x}}}",
			"publish: maybe",
			"publish: true",
			"publish: ''",
			"routes: {}",
			"routes: [a]",
			"routes:\n  - {send: [sms]}",
			"routes:\n  - {name: a}",
			"routes:\n  - {name: a, fallback: [mail]}",
			"routes:\n  - {name: a, send: []}",
			"routes:\n  - {name: a, send: sms}",
			"routes:\n  - {name: a, send: [sms, sms]}",
			"routes:\n  - {name: a, send: ['']}",
			"routes:\n  - {name: a, send: [10086]}",
			"routes:\n  - {name: a, send: [null]}",
			"routes:\n  - {name: 7, send: [sms]}",
			"routes:\n  - {name: '', send: [sms]}",
			"routes:\n  - {name: a, send: [sms], wenn: x}",
			"routes:\n  - {name: a, send: [sms], when: true}",
			"guards: {colour: {}}",
			"guards: {signature: 12}",
			"guards: {signature: {max: 1}}",
			"guards: {signature: {max: 13}}",
			"guards: {signature: {max: twelve}}",
			"guards: {signature: {min: 2}}",
			"guards: {signature: {profile: pigeon}}",
			"guards: {parts: 2}",
			"guards: {parts: {max: 0}}",
			"guards: {parts: {max: 9}}",
			"guards: {parts: {price: 0}}",
			"guards: {parts: {price: 101}}",
			"guards: {parts: {price: cheap}}",
			"guards: {parts: {price: 1, currency: yuan}}",
			"guards: {variables: {max: 0}}",
			"guards: {variables: {max: 501}}",
			"guards: {variables: {profile: pigeon}}",
			"guards: {characters: stop}",
			"guards: {characters: {action: block}}",
			"guards: {unsubscribe: true}",
			"guards: {expiry: {gossip: 5m}}",
			"guards: {expiry: {alert: 5}}",
			"guards: {expiry: {alert: soon}}",
			"guards: {expiry: {alert: -5m}}",
			"guards: {content: {finance: stop}}",
			"guards: {content: {loans: block}}",
			"guards: {content: {review: wait}}",
			"guards: {content: {lexicons: words.txt}}",
			"guards: {content: {score: [score.bin]}}",
			"guards: {content: {classes: [{type: erp.invoice.*, class: bill}]}}",
			"guards: {content: {classes: [{class: invoice}]}}",
			"guards: {content: {classes: [{type: a, template: b, class: invoice}]}}",
			"guards: {quiet_hours: {category: marketing, allow: '08:00-21:00'}}",
			"guards: {quiet_hours: [{allow: '08:00-21:00'}]}",
			"guards: {quiet_hours: [{category: marketing}]}",
			"guards: {quiet_hours: [{category: marketing, allow: '8:00-21:00'}]}",
			"guards: {quiet_hours: [{category: marketing, allow: '24:00-21:00'}]}",
			"guards: {quiet_hours: [{category: marketing, allow: '08:00-25:00'}]}",
			"guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00', deny: x}]}",
			"guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00', days: sundays}]}",
			"guards: {quiet_hours: {windows: [{category: marketing, allow: '08:00-21:00'}], zone: UTC}}",
			"guards: {quiet_hours: {windows: {category: marketing, allow: '08:00-21:00'}}}",
			"guards: {quiet_hours: {calendar: 5}}",
			"guards: {quiet_hours: daily}",
			"guards: {link: [erp.example.com]}",
			"guards: {link: {allow_hosts: erp.example.com}}",
			"guards: {link: {allow_hosts: [5]}}",
			"guards: {link: {allow_hosts: ['']}}",
			"guards: {link: {login: warn}}",
			"guards: {link: {login: true}}",
			"guards: {link: {max_life: 5}}",
			"guards: {link: {verify: {}}}",
			"guards: {link: {verify: {app_id: ''}}}",
			"guards: {link: {verify: {app_id: a, secret: b}}}",
			"guards: {consent: [marketing]}",
			"guards: {consent: {required: []}}",
			"guards: {consent: {required: [notification]}}",
			"guards: {consent: {required: [marketing, marketing]}}",
			"guards: {consent: {required: [marketing, verification]}}",
			"guards: {consent: {required: marketing}}",
			"guards: {consent: {keep: 150d}}",
			"guards: {consent: {ask: never}}",
			"guards: {daily_cap: {limit: 0}}",
			"guards: {daily_cap: {limit: 51}}",
			"guards: {daily_cap: {limit: 7.5}}",
			"guards: {daily_cap: {limit: '7'}}",
			"guards: {daily_cap: {reserve_for: {alert: 1.5}}}",
			"guards: {signature: {max: 7.5}}",
			"guards: {daily_cap: {window: week}}",
			"guards: {daily_cap: {over: retry}}",
			"guards: {daily_cap: {over: 'divert:'}}",
			"guards: {daily_cap: {reserve_for: {gossip: 1}}}",
			"guards: {daily_cap: {reserve_for: {alert: 0}}}",
			"guards: {daily_cap: {reserve_for: {alert: 50}}}",
			"templates: {t: }",
			"templates: {t: {}}",
			"templates: {t: {sms: }}",
			"templates: {t: {sms: {}}}",
			"templates: {t: {sms: {code: SMS_1}}}",
			"templates: {t: {sms: {text: ''}}}",
			"templates: {t: {sms: {text: 5}}}",
			"templates: {t: {sms: {text: x, body: y}}}",
			"templates: {t: {sms: {text: x, params: [to]}}}",
			"templates: {t: {sms: {text: x, params: [a, a]}}}",
			"templates: {t: {sms: {text: x, params: a}}}",
			"templates: {t: {sms: {text: x, params: [5]}}}",
			"templates: {t: {sms: {text: x, params: [{a: cash}]}}}",
			"templates: {t: {sms: {text: x, params: [{a: }]}}}",
			"templates: {t: {sms: {text: x, params: [{a: 5}]}}}",
			"templates: {t: {sms: {text: x, params: [{to: name}]}}}",
			"templates: {t: {sms: {text: x, params: [{}]}}}",
			"templates: {t: {sms: {text: x, params: [{a: code, b: code}]}}}",
			"templates: {t: {sms: {text: x, params: [[a]]}}}",
			"templates: {'': {sms: {text: x}}}",
		},
	} {
		for _, s := range samples {
			_, err := load(s)
			if got := err == nil; got != want {
				t.Errorf("Load says %v, want %v: %s\n%v", got, want, s, err)
			}
			j, err := strictyaml.ToJSON([]byte(s))
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
			if err != nil {
				t.Fatal(err)
			}
			err = schema.Validate(v)
			if got := err == nil; got != want {
				t.Errorf("the schema says %v, want %v: %s\n%v", got, want, s, err)
			}
		}
	}
}

// TestMistakesAreFoundWhereTheyAre: what only the loader can know is refused with its place.
func TestMistakesAreFoundWhereTheyAre(t *testing.T) {
	for source, want := range map[string]string{
		"routes:\n  - {name: a, send: [x]}\n  - {name: a, send: [x]}":                            "[3:12]",
		"routes:\n  - name: a\n    when: event.typ == 'x'\n    send: [x]":                        "[3:11]",
		"routes:\n  - name: a\n    when: event.type\n    send: [x]":                              "expected bool",
		"routes:\n  - name: a\n    when: now().Hour() > 8\n    send: [x]":                        "now",
		"routes:\n  - name: a\n    when: any(event.to, .phone != '')\n    send: [x]":             "phone",
		"guards:\n  colour: {x: 1}":                                                              "known are characters, content, expiry, link, parts, quiet_hours, signature, unsubscribe, variables, consent, daily_cap",
		"guards:\n  consent: {keep: 100h}":                                                       "want 3600h (150 days)",
		"guards:\n  daily_cap: {limit: 60}":                                                      "1..50",
		"guards:\n  daily_cap:\n    lmit: 6":                                                     "[3:5]",
		"guards:\n  quiet_hours: [{category: alert, allow: '08:00-21:00', zone: Asia/Shenzhen}]": "Asia/Shenzhen",
		"guards:\n  quiet_hours:\n    calendar: cn.txt":                                          "no files can be read here",
		"guards:\n  quiet_hours:\n    windows: []\n    calender: cn.txt":                         "[4:5]",
		"guards:\n  link: {max_life: 121h}":                                                      "1m to 120h",
		"guards:\n  link: {allow_hosts: ['https://a.cn']}":                                       "\"https://a.cn\" is no host",
		"templates:\n  t:\n    sms:\n      text: x\n      params:\n        - a: cash":            "[6:14] a: want a kind",
		"templates: {t: {sms: {text: x, params: [a, {a: code}]}}}":                               "[1:45]",
		"templates: {t: {sms: {text: '{{.a'}}}":                                                  "[1:29]",
		"templates: {t: {sms: {text: '${a b}'}}}":                                                "${a b} is not ${name}",
		"templates: {t: {sms: {text: '{{html .a}}'}}}":                                           "function \"html\" is not available",
		"templates: {t: {sms: {text: '{{define \"x\"}}y{{end}}x'}}}":                             "define",
		"templates: {t: {mail: {subject: \"a\\nb\", text: x}}}":                                  "one line",
		"templates: {t: {mail: {html: '<a href=\"{{if .x}}\">{{end}}'}}}":                        "templates.t.mail",
		"templates: {t: {sms: {code: SMS_1, params: [a], text: '${a} ${b}'}}}":                   "\"b\", which params does not list",
	} {
		_, err := load(source)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant an error with %s", source, err, want)
		}
	}
}
