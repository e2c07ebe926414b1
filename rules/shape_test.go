package rules_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/content"
	"github.com/yizhan-dev/yizhan/rules/dailycap"
	"github.com/yizhan-dev/yizhan/rules/expiry"
	"github.com/yizhan-dev/yizhan/rules/quiet"
	"github.com/yizhan-dev/yizhan/rules/signature"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

func load(source string) (*rules.Book, error) {
	return rules.Load([]byte(source),
		map[string]rules.GuardFactory{"content": content.New, "signature": signature.New, "expiry": expiry.New, "quiet_hours": quiet.New},
		map[string]rules.ReserverFactory{"daily_cap": dailycap.New}, rules.Env{})
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
			"routes:\nguards:\ntemplates:\n",
			"routes:\n  - {name: a, send: [sms, mail], fallback: [mail]}\n  - {name: b, when: 'event.type == \"x.y\"', send: [mail]}",
			"routes:\n  - {name: a, when: , send: [sms], fallback: }",
			"guards: {signature: {max: 2}, expiry: {verification: 5m, alert: 1h30m}, daily_cap: {limit: 1}}",
			"guards: {signature: , expiry: , quiet_hours: , daily_cap: }",
			"guards: {signature: {max: }, daily_cap: {limit: , window: , over: , reserve_for: }}",
			"guards: {quiet_hours: [{category: marketing, allow: '08:00-21:00', zone: Asia/Shanghai}, {category: alert, allow: '22:00-06:00'}, {category: marketing, allow: '22:00-24:00', zone: }]}",
			"guards: {daily_cap: {limit: 50, window: both, reserve_for: {verification: 5, alert: 2}, over: 'divert:mail'}}",
			"guards: {content: }",
			"guards: {content: {marketing: pass, finance: review, fraud: block, review: suppress, lexicons: , tenants: , classes: }}",
			"guards: {content: {classes: [{type: erp.invoice.*, class: invoice}, {template: hello, class: hr}]}}",
			"guards: {daily_cap: {window: day, over: dead}}",
			"guards: {daily_cap: {window: rolling, over: defer}}",
			"templates: {t: {sms: {code: SMS_1, params: [a], text: 'x ${a}'}, mail: {subject: s, html: <p>h</p>}}}",
			"templates: {t: {sms: {code: , params: , text: x, subject: , html: }}}",
		},
		false: {
			"rutes: []",
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
			"guards: {expiry: {gossip: 5m}}",
			"guards: {expiry: {alert: 5}}",
			"guards: {expiry: {alert: soon}}",
			"guards: {expiry: {alert: -5m}}",
			"guards: {content: {finance: stop}}",
			"guards: {content: {loans: block}}",
			"guards: {content: {review: wait}}",
			"guards: {content: {lexicons: words.txt}}",
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
		"guards:\n  colour: {x: 1}":                                                              "known are content, expiry, quiet_hours, signature, daily_cap",
		"guards:\n  daily_cap: {limit: 60}":                                                      "1..50",
		"guards:\n  daily_cap:\n    lmit: 6":                                                     "[3:5]",
		"guards:\n  quiet_hours: [{category: alert, allow: '08:00-21:00', zone: Asia/Shenzhen}]": "Asia/Shenzhen",
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
