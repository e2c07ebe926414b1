package ingest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// taking is a channel whose third party takes every message and pushes receipts: a JSON array of delivery ids that
// were delivered.
type taking struct{ refusing }

func (taking) Send(context.Context, *schemas.Delivery) (channels.Receipt, error) {
	return channels.Receipt{ID: "biz-1"}, nil
}

func (taking) Traits() channels.Traits {
	t := refusing{}.Traits()
	t.Receipts = true
	return t
}

func (taking) Reports(_ *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	var ids []string
	if string(body) == `["panic"]` {
		panic("a nil pointer in the reader")
	}
	if err := json.Unmarshal(body, &ids); err != nil {
		return nil, channels.ReportAnswer{}, errors.New("no list of ids, 13800138000")
	}
	var rs []channels.Report
	for _, id := range ids {
		rs = append(rs, channels.Report{DeliveryID: id, State: schemas.Delivered})
	}
	return rs, channels.ReportAnswer{ContentType: "text/plain", Body: []byte("thanks")}, nil
}

const (
	tokenOne = "c0ffee00c0ffee00c0ffee00c0ffee00"
	tokenTwo = "beef_000-beef000beef000beef000be"
)

// receiving is a configuration without keys in which channel sms takes receipts.
func receiving(t *testing.T, networks []string, tokens ...string) Config {
	t.Helper()
	cfg := open()
	dir, name := secretFile(t, tokens...)
	cfg.Dir, cfg.Receipts = dir, map[string]channels.Receipts{"sms": {TokenFile: name, Networks: networks}}
	return cfg
}

func TestReceiptsSettleADelivery(t *testing.T) {
	r := newRig(t)
	r.d.Channels["sms"] = taking{}
	r.run()
	url := r.serve(receiving(t, nil, tokenOne, tokenTwo))
	request{url: url + "/v1/events", media: "application/cloudevents+json", body: event("a")}.do(t).want(t, 202, nil)
	story := func() (state string, open bool) {
		s, err := r.d.Ledger.Stories(t.Context(), "acme", "/erp/test", "a", "en", explainNothing)
		if err != nil || len(s) != 1 {
			return "", true
		}
		return string(s[0].Deliveries[0].State), s[0].Open
	}
	eventually(t, "accepted, and the receipt awaited", func() bool { s, open := story(); return s == "accepted" && open })
	id := schemas.DeliveryID("acme", "/erp/test", "a", "+8613800138000", "sms")
	body := `["` + id + `","of-another-program"]`
	for _, token := range []string{tokenOne, tokenTwo, tokenOne} { // pushed again, also with the new token
		a := request{url: url + "/v1/receipts/sms/" + token, body: body}.do(t)
		if a.want(t, 200, nil); string(a.body) != "thanks" || a.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("answer %q", a.body)
		}
	}
	eventually(t, "delivered and closed", func() bool { s, open := story(); return s == "delivered" && !open })
	for _, e := range r.logs.All() {
		for name, v := range e.ContextMap() {
			if s, ok := v.(string); ok && (strings.Contains(s, tokenOne) || strings.Contains(s, tokenTwo)) {
				t.Errorf("the token is in the log: %s %s=%s", e.Message, name, s)
			}
		}
	}
}

func TestReceiptsAreRefused(t *testing.T) {
	r := newRig(t)
	r.d.Channels["sms"] = taking{}
	url := r.serve(receiving(t, nil, tokenOne))
	far := r.serve(receiving(t, []string{"10.0.0.0/8"}, tokenOne))
	for name, c := range map[string]struct {
		url, body string
		status    int
		problem   string
	}{
		"a wrong token":       {url + "/v1/receipts/sms/" + tokenTwo, "[]", 404, "not-found"},
		"no token":            {url + "/v1/receipts/sms/", "[]", 404, "not-found"},
		"half a token":        {url + "/v1/receipts/sms/" + tokenOne[:20], "[]", 404, "not-found"},
		"a channel with none": {url + "/v1/receipts/mail/" + tokenOne, "[]", 404, "not-found"},
		"no such channel":     {url + "/v1/receipts/nothing/" + tokenOne, "[]", 404, "not-found"},
		"another network":     {far + "/v1/receipts/sms/" + tokenOne, "[]", 403, "network"},
		"no receipt":          {url + "/v1/receipts/sms/" + tokenOne, "{}", 400, "not-a-receipt"},
		"a reader that fails": {url + "/v1/receipts/sms/" + tokenOne, `["panic"]`, 400, "not-a-receipt"},
		"too large":           {url + "/v1/receipts/sms/" + tokenOne, strings.Repeat(" ", 1<<20+1), 413, "too-large"},
	} {
		a := request{url: c.url, body: c.body}.do(t)
		if p := a.problem(t); a.StatusCode != c.status || p.Type != c.problem {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if strings.Contains(string(a.body), "13800138000") {
			t.Errorf("%s: the answer repeats a number: %s", name, a.body)
		}
	}
}

// What cannot be stored is not confirmed, and in time: the provider pushes again.
func TestAPushThatCannotBeStoredIsNotConfirmed(t *testing.T) {
	r := newRig(t)
	r.d.Channels["sms"] = taking{}
	url := r.serve(receiving(t, nil, tokenOne))
	r.d.Broker.Close()
	begun := time.Now()
	a := request{url: url + "/v1/receipts/sms/" + tokenOne, body: `["x"]`}.do(t)
	if a.StatusCode != 503 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("answered after %s", took)
	}
}

func TestReceiptTokensAreChecked(t *testing.T) {
	for name, tokens := range map[string][]string{
		"too short":          {"short"},
		"not for an address": {"with/slash/with/slash/with/slash"},
		"none":               {""},
		"three":              {tokenOne, tokenTwo, tokenOne + "3"},
	} {
		cfg := receiving(t, nil, tokens...)
		err := cfg.Check()
		bad, ok := errors.AsType[*schemas.Invalid](err)
		if !ok || bad.Problems[0].Pointer != "/channels/sms/receipts/token_file" {
			t.Errorf("%s: %v", name, err)
		}
		for _, token := range tokens {
			if err != nil && token != "" && strings.Contains(err.Error(), token) {
				t.Errorf("%s: the error repeats the token", name)
			}
		}
	}
	cfg := receiving(t, []string{"everywhere"}, tokenOne)
	if err := os.Remove(filepath.Join(cfg.Dir, "key")); err != nil {
		t.Fatal(err)
	}
	if bad, ok := errors.AsType[*schemas.Invalid](cfg.Check()); !ok || pretty(bad.Problems) != "/channels/sms/receipts/networks/0 setting\n/channels/sms/receipts/token_file setting\n" {
		t.Errorf("%v", cfg.Check())
	}
}
