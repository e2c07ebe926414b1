package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/email"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/channels/sms"
	"github.com/yizhan-dev/yizhan/channels/sms/aliyun"
	"github.com/yizhan-dev/yizhan/channels/sms/httpapi"
	"github.com/yizhan-dev/yizhan/channels/webhook"
	"github.com/yizhan-dev/yizhan/dispatcher"
	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/dispatcher/ingest"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// sectionTypes are the Go types of the channel kinds, by their name in the schema.
var sectionTypes = map[string]reflect.Type{
	"email": reflect.TypeFor[email.Config](), "sms_aliyun": reflect.TypeFor[aliyun.Config](), "webhook": reflect.TypeFor[webhook.Config](),
	"sms_httpapi": reflect.TypeFor[httpapi.Config](), "sms_several": reflect.TypeFor[sms.Config](),
}

func schemaDocument(t *testing.T, name string) map[string]any {
	t.Helper()
	b, ok := schemas.File(name)
	if !ok {
		t.Fatalf("no %s in this binary", name)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func compileSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, schemaDocument(t, name)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge is the schema's verdict on a YAML document.
func judge(t *testing.T, s *jsonschema.Schema, doc string) error {
	t.Helper()
	j, err := strictyaml.ToJSON([]byte(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// TestConfigTypesAndSchemaAgree compares the keys of every Go struct with the properties of its place
// in the schema, both ways, and their types.
func TestConfigTypesAndSchemaAgree(t *testing.T) {
	doc := schemaDocument(t, "yizhan.schema.json")
	a := agreement{t: t, defs: doc["$defs"].(map[string]any)}
	a.members("", doc, reflect.TypeFor[config]())
	for name, typ := range sectionTypes {
		a.members(name, a.defs[name].(map[string]any), typ)
	}
	// One of several providers has the settings of its kind, without those of the channel, and its share.
	for name, typ := range map[string]reflect.Type{"sms_member_aliyun": reflect.TypeFor[aliyun.Config](), "sms_member_httpapi": reflect.TypeFor[httpapi.Config]()} {
		fields := map[string]reflect.Type{}
		collectKeys(typ, fields)
		maps.DeleteFunc(fields, func(key string, _ reflect.Type) bool {
			return slices.Contains([]string{"kind", "rate", "receipts"}, key)
		})
		want := append(slices.Collect(maps.Keys(fields)), "name", "weight", "price", "currency", "share")
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(dig(a.defs, name, "properties").(map[string]any))); !slices.Equal(got, want) || dig(a.defs, name, "additionalProperties") != false {
			t.Errorf("%s: the schema has %v, want %v", name, got, want)
		}
	}
	if a.compared < 60 {
		t.Errorf("compared only %d settings", a.compared)
	}
	var kinds []string
	for _, k := range dig(a.defs, "channel", "properties", "kind", "enum").([]any) {
		kinds = append(kinds, k.(string))
	}
	if want := slices.Sorted(maps.Keys(channelKinds())); !slices.Equal(kinds, want) {
		t.Errorf("the schema knows the kinds %v, the registry %v", kinds, want)
	}
}

func dig(node any, path ...string) any {
	for _, p := range path {
		node = node.(map[string]any)[p]
	}
	return node
}

type agreement struct {
	t        *testing.T
	defs     map[string]any
	compared int
}

func (a *agreement) members(where string, node map[string]any, typ reflect.Type) {
	if node["additionalProperties"] != false {
		a.t.Errorf("%s: other keys are not refused", where)
	}
	fields := map[string]reflect.Type{}
	collectKeys(typ, fields)
	properties := node["properties"].(map[string]any)
	got, want := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(properties))
	if !slices.Equal(got, want) {
		a.t.Errorf("%s: Go has %v,\nthe schema %v", where, got, want)
	}
	for key, field := range fields {
		if p, ok := properties[key].(map[string]any); ok {
			a.value(where+"."+key, p, field)
		}
	}
}

func collectKeys(typ reflect.Type, fields map[string]reflect.Type) {
	for f := range typ.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			collectKeys(f.Type, fields)
		case f.IsExported() && key != "-":
			fields[key] = f.Type
		}
	}
}

var bilingual = regexp.MustCompile(`^[^\p{Han}]+ / .*\p{Han}.*。$`)

func (a *agreement) value(where string, p map[string]any, typ reflect.Type) {
	a.compared++
	description, _ := p["description"].(string)
	ref, _ := p["$ref"].(string)
	if ref != "" {
		target := a.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		p = maps.Clone(p)
		for k, v := range target {
			if p[k] == nil {
				p[k] = v
			}
		}
		description, _ = p["description"].(string)
	}
	if !bilingual.MatchString(description) {
		a.t.Errorf("%s: description %q is not “English. / 中文。”", where, description)
	}
	if typ.Kind() == reflect.Pointer { // a section that may be absent
		typ = typ.Elem()
	}
	want := ""
	switch {
	case typ == reflect.TypeFor[strictyaml.Section](), typ == reflect.TypeFor[[]strictyaml.Section]():
		return // read by whoever owns it, and compared there
	case typ == reflect.TypeFor[time.Duration]():
		if ref != "#/$defs/duration" {
			a.t.Errorf("%s: a duration, but the schema says %v", where, p)
		}
		want = "string"
	case typ == reflect.TypeFor[time.Time]():
		if p["format"] != "date-time" {
			a.t.Errorf("%s: a time, but the schema says %v", where, p)
		}
		want = "string"
	case typ == reflect.TypeFor[channels.Rate](), typ.Kind() == reflect.String:
		want = "string"
	case typ.Kind() == reflect.Struct:
		want = "object"
		a.members(where, p, typ)
	case typ.Kind() == reflect.Map:
		want = "object"
	case typ.Kind() == reflect.Slice:
		want = "array"
		if items := p["items"].(map[string]any); typ.Elem().Kind() == reflect.Struct {
			a.members(where, a.defs[strings.TrimPrefix(items["$ref"].(string), "#/$defs/")].(map[string]any), typ.Elem())
		}
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.Float64:
		want = "number"
	default:
		want = "integer"
	}
	if p["enum"] != nil || p["const"] != nil {
		return
	}
	if got := p["type"]; got != want && !reflect.DeepEqual(got, []any{want, "null"}) {
		a.t.Errorf("%s: the schema has type %v, Go %s", where, got, typ)
	}
}

// TestSchemaStatesTheDefaults: the defaults that an editor shows are those that the program takes.
func TestSchemaStatesTheDefaults(t *testing.T) {
	doc := schemaDocument(t, "yizhan.schema.json")
	var (
		b broker.Config
		d dispatcher.Config
		i ingest.Config
	)
	b.Defaults()
	d.Defaults()
	i.Defaults()
	compared := 0
	for _, section := range []struct {
		properties any
		value      reflect.Value
	}{
		{dig(doc, "properties", "broker", "properties"), reflect.ValueOf(b)},
		{dig(doc, "properties", "http", "properties"), reflect.ValueOf(i.HTTP)},
		{dig(doc, "properties", "dispatch", "properties"), reflect.ValueOf(d)},
		{dig(doc, "$defs", "retry", "properties"), reflect.ValueOf(d.Retry)},
	} {
		for f := range section.value.Type().Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			value := section.value.FieldByIndex(f.Index)
			stated := dig(section.properties, key).(map[string]any)["default"]
			if f.Type.Kind() == reflect.Struct || stated == nil && value.IsZero() {
				continue
			}
			compared++
			if got, want := plainly(stated), plainly(value.Interface()); got != want {
				t.Errorf("%s: the schema states %s, the program takes %s", key, got, want)
			}
		}
	}
	if compared < 20 {
		t.Errorf("compared only %d defaults", compared)
	}
}

// plainly writes a value so that 168h and a Go duration, or a list of such, look alike.
func plainly(v any) string {
	switch v := v.(type) {
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String()
		}
	case []any:
		out := make([]string, len(v))
		for i := range v {
			out[i] = plainly(v[i])
		}
		return fmt.Sprint(out)
	}
	return fmt.Sprint(v)
}

const secretWord = "hunter2-hunter2-hunter2-hunter2"

// configDir has a secret file of every sort.
func configDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"pw": secretWord, "id": secretWord, "secret": secretWord, "hook": "whsec_" + strings.Repeat("aHVudGVy", 4), "erp": secretWord + "\n",
		"mail": secretWord, "sms-id": secretWord, "sms-secret": secretWord, "partner": "whsec_" + strings.Repeat("aHVudGVy", 4), "operator": secretWord,
		"url": "https://partner.example.com/" + secretWord, "short": "hunter2", "http": "http://partner.example.com/" + secretWord,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tryConfig loads a document as `yizhan serve` does, up to the point at which the broker would start.
func tryConfig(t *testing.T, dir, doc string) error {
	t.Helper()
	file := filepath.Join(dir, "yizhan.yaml")
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		return err
	}
	if err := c.ingest().Check(); err != nil {
		return c.wrong("", err)
	}
	open, err := c.openChannels(zap.NewNop(), false)
	closeChannels(open)
	return err
}

func TestGoodConfigs(t *testing.T) {
	schema := compileSchema(t, "yizhan.schema.json")
	dir := configDir(t)
	for _, doc := range []string{
		"",
		"{}",
		"broker:\nhttp:\ntenants:\nkeys:\nchannels:\nrules:\nnumber_key_file:\ndispatch:\nlog:\n",
		"broker: {url: '', data_dir: ./data, listen: '', sync: 1s, replicas: 1}", // DESIGN §4
		"broker: {sync: always, events_max_bytes: 1048576, events_max_age: 2m, ledger_max_age: 8760h, dead_max_age: 1h30m}",
		"broker: {listen: '127.0.0.1:0'}",
		"broker: {listen: '0.0.0.0:4222', token_file: pw}",
		"broker: {url: 'nats://a:4222,tls://b:4222', replicas: 3, creds_file: c, ca_file: d, cert_file: e, key_file: f}",
		"http: {listen: ':8480', auth: keys, max_body: 1, max_batch: 100000, trusted_proxies: [10.0.0.0/8, '::1']}",
		"http: {auth: none}",
		"tenants: [acme, default]\nkeys:\n- {id: erp, secret_file: erp, roles: [publish, operate], tenants: ['*'], types: ['erp.*'], networks: [10.0.0.0/8], not_before: 2026-01-01T00:00:00+08:00, expires: 2027-01-01T00:00:00Z}\n- {id: ops, secret_file: erp}",
		"dispatch: {retry: {attempts: 1, first: 100ms, factor: 1, max: 100ms, jitter: 1, max_age: 1m, reconcile: [1s, 2s]}, grace: 10m, plan_slots: 1, max_backlog: 1}",
		"dispatch: {retry: {factor: 2.5, jitter: 0.01}}",
		"dispatch: {retry: }",
		"log: {level: debug, format: console}",
		"channels: {m: {kind: email, host: smtp.example.com, from: a@example.com}}",
		"channels: {m: {kind: email, host: smtp.example.com, port: 465, tls: implicit, username: erp@example.com, password_file: pw, from: 'ERP 通知 <erp@example.com>', connections: 4, rate: 30/m, slots: 1, timeout: 10m, auth: plain, reply_to: b@example.com, helo: erp}}",
		"channels: {m: {kind: email, host: smtp.office365.com, tls: starttls, username: a@example.com, from: a@example.com, auth: xoauth2, oauth: {flow: client_credentials, token_url: 'https://login.example.com/t', client_id: c, client_secret_file: pw, scope: s}, unsubscribe: {url: 'https://n.example.com/v1/unsubscribe/{token}', mailto: b@example.com, secret_file: mail}}}",
		"channels: {m: {kind: email, host: relay, tls: none, insecure: true, from: a@example.com, port: , rate: , auth: }}",
		"channels: {s: {kind: sms, provider: aliyun, signature: 华星科技, access_key_id_file: id, access_key_secret_file: secret, endpoint: '', region: , rate: 100/s}}",
		"channels: {s: {kind: sms, provider: httpapi, api: tencent, signature: 华星科技, settings: {app_id: '1400006666', secret_id_file: id, secret_key_file: secret}, endpoint: , timeout: 5s}}",
		"channels: {s: {kind: sms, signature: 华星科技, rate: 100/s, providers: [{provider: aliyun, weight: 9, price: 0.045, access_key_id_file: id, access_key_secret_file: secret}, {name: tencent, provider: httpapi, api: tencent, signature: 华星, settings: {app_id: '1', secret_id_file: id, secret_key_file: secret}}], shadow: {name: huawei, provider: httpapi, api: huawei, share: 0.1, settings: {sender: '8', app_key_file: id, app_secret_file: secret}}}}",
		"channels: {w: {kind: webhook, format: , url: 'https://partner.example.com/hook', secret_file: hook, allow_private: false}}",
		"channels: {w: {kind: webhook, destinations: {hosts: ['*.example.com']}, secret_file: hook, proxy: 'http://10.0.0.1:3128'}}",
		"channels: {r: {kind: webhook, format: wecom, url: 'https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x', message: text, keyword: 告警, at: {mobiles: ['13800138000'], all: true, recipients: true}}}",
		"channels: {r: {kind: webhook, format: slack, url: 'https://hooks.slack.com/services/x', message: card}}",
		"channels: {w: {kind: webhook, format: standard, url_file: url, secret_file: hook}, v-1_a: {kind: webhook, url: 'http://10.0.0.1:8080/', secret_file: hook, allow_private: true, slots: 1024, timeout: 1s}}",
	} {
		if err := tryConfig(t, dir, doc); err != nil {
			t.Errorf("refused: %s\n%v", doc, err)
		}
		if err := judge(t, schema, doc); err != nil && doc != "" {
			t.Errorf("the schema refuses: %s\n%v", doc, err)
		}
	}
}

func TestBadConfigs(t *testing.T) {
	schema := compileSchema(t, "yizhan.schema.json")
	dir := configDir(t)
	defer func(l string) { lang = l }(lang)
	const mail = "channels:\n  m:\n    kind: email\n    host: smtp.example.com\n    from: a@example.com\n"
	const sms = "channels:\n  s:\n    kind: sms\n    provider: aliyun\n    signature: 华星科技\n    access_key_id_file: id\n    access_key_secret_file: secret\n"
	const hook = "channels:\n  w:\n    kind: webhook\n    secret_file: hook\n"
	for _, tt := range []struct {
		doc, want string // line:column, and the key
		shape     bool   // the schema can know
	}{
		{"brokers: {}", `1:1: unknown field "brokers"`, true},
		{"broker: {sinc: 1s}", `1:10: unknown field "sinc"`, true},
		{"http:\n  auth: no", "2:3: http.auth", true},
		{"http:\n  auth: none\n  listen: 0.0.0.0:8480", "2:3: http.auth", false},
		{"http: {listen: here}", "1:8: http.listen", false},
		{"http: {max_body: -1}", "1:8: http.max_body", true},
		{"http: {max_batch: 1000000}", "1:8: http.max_batch", true},
		{"http: {max_batch: 7.5}", "1:19: max_batch: want a whole number", true},
		{"http: {max_batch: '7'}", "1:19: max_batch: want a whole number", true},
		{"http: {max_body: 0}", "1:18: max_body: cannot be 0", true},
		{"http: {tls_cert_file: a}", "1:8: http.tls_cert_file", false},
		{"http: {trusted_proxies: [all]}", "1:26: http.trusted_proxies.0", false},
		{"http: {trusted_proxies: 10.0.0.0/8}", "1:25: trusted_proxies: want a list", true},
		{"broker: {replicas: 2}", "1:10: broker.replicas", true},
		{"broker: {replicas: 3}", "1:10: broker.replicas", false}, // embedded
		{"broker: {replicas: -1}", "1:10: broker.replicas", true},
		{"broker: {url: 'nats://a:4222', replicas: 4}", "1:32: broker.replicas", true},
		{"broker: {url: 'nats://u:" + secretWord + "@a:4222'}", "1:10: broker.url", false},
		{"broker: {url: 'http://a'}", "1:10: broker.url", false},
		{"broker: {url: 'nats://a', listen: '127.0.0.1:4222'}", "1:27: broker.listen", false},
		{"broker: {url: 'nats://a', cert_file: x}", "1:27: broker.cert_file", false},
		{"broker: {creds_file: x}", "1:10: broker.creds_file", false},
		{"broker: {listen: '0.0.0.0:4222'}", "1:10: broker.listen", false},
		{"broker: {listen: '127.0.0.1'}", "1:10: broker.listen", false},
		{"broker: {sync: never}", "1:10: broker.sync", true},
		{"broker: {sync: 1h}", "1:10: broker.sync", false},
		{"broker: {sync: 1}", "1:16: sync", true},
		{"broker: {events_max_age: 30s}", "1:10: broker.events_max_age", false},
		{"broker: {dead_max_age: -24h}", "1:10: broker.dead_max_age", true},
		{"broker: {ledger_max_age: 90}", "1:26: ledger_max_age: want a duration", true},
		{"broker: {ledger_max_age: 90d}", "1:26: ledger_max_age: want a duration", true},
		{"broker: {events_max_bytes: 1000}", "1:10: broker.events_max_bytes", true},
		{"broker: ./data", "1:9: broker: want keys and values", true},
		{"tenants: [Acme]", "1:11: tenants.0", true},
		{"tenants: [7]", "1:11: tenants: want a string", true},
		{"keys: [{id: 'a b', secret_file: erp}]", "1:9: keys.0.id", true},
		{"keys: [{id: a}]", "1:8: keys.0.secret_file", false},
		{"keys: [{id: a, secret_file: short}]", "1:16: keys.0.secret_file", false},
		{"keys: [{id: a, secret_file: absent}]", "1:16: keys.0.secret_file", false},
		{"keys: [{id: a, secret: " + secretWord + "}]", `1:16: unknown field "secret"`, true},
		{"keys: [{id: a, secret_file: erp, roles: [admin]}]", "1:42: keys.0.roles.0", true},
		{"keys: [{id: a, secret_file: erp, tenants: [acme]}]", "1:44: keys.0.tenants.0", false},
		{"keys: [{id: a, secret_file: erp, expires: 2027-01-01}]", "1:43: expires: want a time", true},
		{"dispatch: {retry: {attempts: -1}}", "1:20: dispatch.retry.attempts", true},
		{"dispatch: {retry: {attempts: 1.5}}", "1:30: attempts: want a whole number", true},
		{"dispatch: {retry: {factor: 0.5}}", "1:20: dispatch.retry.factor", true},
		{"dispatch: {retry: {factor: much}}", "1:28: factor: want a number", true},
		{"dispatch: {retry: {jitter: 0}}", "1:28: jitter: cannot be 0", true},
		{"dispatch: {retry: {jitter: 2}}", "1:20: dispatch.retry.jitter", true},
		{"dispatch: {retry: {first: 1h, max: 1m}}", "1:31: dispatch.retry.max", false},
		{"dispatch: {retry: {max_age: 1s}}", "1:20: dispatch.retry.max_age", false},
		{"dispatch: {retry: {reconcile: [1m, 30s]}}", "1:36: dispatch.retry.reconcile.1", false},
		{"dispatch: {retry: {reconcile: 1m}}", "1:31: reconcile: want a list", true},
		{"dispatch: {grace: 1h}", "1:12: dispatch.grace", false},
		{"dispatch: {plan_slots: 10000}", "1:12: dispatch.plan_slots", true},
		{"dispatch: {max_backlog: -5}", "1:12: dispatch.max_backlog", true},
		{"log: {level: loud}", "1:7: log.level", true},
		{"log: {format: xml}", "1:7: log.format", true},
		{"channels: {M: {kind: email}}", "1:12: channels.M", true},
		{"channels: {m: }", "1:12: channels.m.kind", true},
		{"channels: {m: {kind: pigeon}}", "1:16: channels.m.kind", true},
		{"channels: {m: [a]}", "1:15: want keys and values", true},
		{mail + "    hots: b", `6:5: unknown field "hots"`, true},
		{mail + "    password: " + secretWord, `6:5: unknown field "password"`, true},
		{mail + "    port: 70000", "6:5: channels.m.port", true},
		{mail + "    port: '465'", "6:11: port: want a whole number", true},
		{mail + "    slots: -1", "6:5: channels.m.slots", true},
		{mail + "    slots: 10000", "6:5: channels.m.slots", true},
		{mail + "    timeout: 11m", "6:5: channels.m.timeout", false},
		{mail + "    timeout: 15", "6:14: timeout: want a duration", true},
		{mail + "    rate: 30", "6:11: rate: want a string", true},
		{mail + "    rate: 30/d", "6:11: rate: rate", true},
		{mail + "    rate: 0/s", "6:11: rate: rate", true},
		{mail + "    connections: 65", "6:5: channels.m.connections", true},
		{mail + "    tls: maybe", "6:5: channels.m.tls", true},
		{mail + "    tls: none", "6:5: channels.m.tls", false},
		{mail + "    insecure: yes", "6:15: insecure: want true or false", true},
		{mail + "    username: u", "6:5: channels.m.username", false},
		{mail + "    username: u\n    password_file: absent", "7:5: channels.m.password_file", false},
		{mail + "    ca_file: pw", "6:5: channels.m.ca_file", false},
		{"channels: {m: {kind: email, from: a@example.com}}", "1:12: channels.m.host", true},
		{"channels: {m: {kind: email, host: a}}", "1:12: channels.m.from", true},
		{sms + "    provider: other", "mapping key \"provider\" already defined", false},
		{strings.Replace(sms, "aliyun", "other", 1), "4:5: channels.s.provider", true},
		{strings.Replace(sms, "华星科技", "【华星科技】", 1), "5:5: channels.s.signature", true},
		{strings.Replace(sms, "_id_file: id", "_id_file: absent", 1), "6:5: channels.s.access_key_id_file", false},
		{strings.Replace(sms, "    access_key_secret_file: secret\n", "", 1), "2:3: channels.s.access_key_secret_file", true},
		{sms + "    endpoint: http://dysmsapi.aliyuncs.com", "8:5: channels.s.endpoint", false},
		{hook, "2:3: channels.w.url", true},
		{hook + "    url: http://10.0.0.1/", "5:5: channels.w.url", false}, // without allow_private
		{hook + "    url_file: http", "2:3: channels.w.url", false},
		{hook + "    url: https://u:" + secretWord + "@a.example.com/", "5:5: channels.w.url", false},
		{hook + "    url: https://a.example.com/\n    url_file: url", "5:5: channels.w.url", false},
		{hook + "    url: https://a.example.com/\n    format: fax", "6:5: channels.w.format", true},
		{hook + "    url: https://a.example.com/\n    allow_private: 1", "6:20: allow_private: want true or false", true},
		{strings.Replace(hook, "file: hook", "file: short", 1) + "    url: https://a.example.com/", "4:5: channels.w.secret_file", false},
	} {
		for _, l := range []string{"en", "zh"} {
			lang = l
			err := tryConfig(t, dir, tt.doc)
			want := tt.want
			if l == "zh" { // the same place
				want = want[:len(regexp.MustCompile(`^[0-9:]*`).FindString(want))]
				want = strings.TrimSuffix(want, ":")
			}
			w, ok := errors.AsType[*wrongSettings](err)
			switch {
			case !ok:
				t.Errorf("%s\nis accepted or has no place: %v", tt.doc, err)
				continue
			case !strings.Contains(err.Error(), want), !strings.Contains(err.Error(), "yizhan.yaml:"):
				t.Errorf("%s\ngot  %v\nwant %s", tt.doc, err, want)
			case strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%s\nthe error shows the secret: %v", tt.doc, err)
			}
			for _, m := range w.mistakes {
				if !regexp.MustCompile(`\p{Han}`).MatchString(m.Zh) || m.Line == 0 || m.Excerpt == "" {
					t.Errorf("%s\n%+v: want Chinese, a place and an excerpt", tt.doc, m)
				}
			}
		}
		if strings.Contains(tt.want, "already defined") {
			continue // no JSON
		}
		if err := judge(t, schema, tt.doc); (err != nil) != tt.shape {
			t.Errorf("%s\nthe schema says %v; want refused = %v", tt.doc, err, tt.shape)
		}
	}
}

// TestEveryChannelIsJudged: one start tells all mistakes of all channels.
func TestEveryChannelIsJudged(t *testing.T) {
	err := tryConfig(t, configDir(t), "channels:\n  a: {kind: email, host: h}\n  b: {kind: webhook, url: 'http://x.example.com'}\n  c: {kind: fax}\n")
	for _, want := range []string{":2:3: channels.a.from", ":3:3: channels.b.secret_file", ":4:7: channels.c.kind"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// TestDevFilesFitTheirSchemas: what `yizhan dev` writes is what an editor with the schemas accepts.
func TestDevFilesFitTheirSchemas(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Config{SMTPTLS: "starttls"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sb.Close() }()
	dir := t.TempDir()
	file, err := writeDev(dir, devOptions{listen: "127.0.0.1:8480", logLevel: "warn"}, sb)
	if err != nil {
		t.Fatal(err)
	}
	for name, schema := range map[string]string{"yizhan.yaml": "yizhan.schema.json", "rules.yaml": "rules.schema.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := judge(t, compileSchema(t, schema), string(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	loadWhole(t, file, true)
	if r := yizhan(t, "", "rules", "check", filepath.Join(dir, "rules.yaml"), "--lang", "en"); r.code != exitOK || !strings.Contains(r.out, "is valid; channels checked") {
		t.Errorf("rules check: %+v", r)
	}
}

// loadWhole loads a configuration, its channels and its rules.
func loadWhole(t *testing.T, file string, simulated bool) *rules.Book {
	t.Helper()
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ingest().Check(); err != nil {
		t.Fatal(err)
	}
	open, err := c.openChannels(zap.NewNop(), simulated)
	if err != nil {
		t.Fatal(err)
	}
	defer closeChannels(open)
	book, err := c.loadBook(open, rules.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return book
}

var fence = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentationExamples: the two full examples of docs/configuration are whole configurations
// that load, in both languages, and fit the schemas.
func TestDocumentationExamples(t *testing.T) {
	for _, name := range []string{"configuration.md", "configuration.zh-CN.md"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
			if err != nil {
				t.Fatal(err)
			}
			examples := fence.FindAllStringSubmatch(string(b), -1)
			if len(examples) != 2 {
				t.Fatalf("%d yaml examples, want yizhan.yaml and rules.yaml", len(examples))
			}
			dir := configDir(t)
			// The secrets that the example names, where this test can write them.
			conf := strings.NewReplacer("/run/secrets/", dir+"/", "/var/lib/yizhan", dir).Replace(examples[0][1])
			for _, tt := range []struct{ file, doc, schema string }{
				{"yizhan.yaml", conf, "yizhan.schema.json"}, {"rules.yaml", examples[1][1], "rules.schema.json"},
			} {
				if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.doc), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := judge(t, compileSchema(t, tt.schema), tt.doc); err != nil {
					t.Errorf("%s: %v", tt.file, err)
				}
			}
			if book := loadWhole(t, filepath.Join(dir, "yizhan.yaml"), false); len(book.Routes()) == 0 {
				t.Error("the example has no routes")
			}
			// Every setting is in the tables.
			for key := range allKeys(t) {
				if !strings.Contains(string(b), "`"+key+"`") {
					t.Errorf("%s is not explained", key)
				}
			}
		})
	}
}

// allKeys are the names of all settings in both schemas.
func allKeys(t *testing.T) map[string]bool {
	keys := map[string]bool{}
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if p, ok := n["properties"].(map[string]any); ok && n["additionalProperties"] == false {
				for k := range p {
					keys[k] = true
				}
			}
			for _, v := range n {
				walk(v)
			}
		case []any:
			for _, v := range n {
				walk(v)
			}
		}
	}
	for _, name := range []string{"yizhan.schema.json", "rules.schema.json"} {
		walk(schemaDocument(t, name))
	}
	return keys
}
