package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

const agreed = `{"tenant":"acme","phone":"138 0013 8000","state":"in","time":"2026-03-01T09:30:00+08:00","how":"form","text":"注册页“接收优惠信息”"}`

func consents(t *testing.T, url, query string, header ...string) ConsentPage {
	t.Helper()
	var page ConsentPage
	q := request{method: "GET", url: url + "/v1/consents?" + query}
	if len(header) == 2 {
		q.header = map[string]string{header[0]: header[1]}
	}
	q.do(t).want(t, http.StatusOK, &page)
	return page
}

func TestConsentsAreRecordedInEveryForm(t *testing.T) {
	url := newRig(t).serve(open()) + "/v1/consents"
	for _, c := range []struct {
		media, body string
		want        ConsentsRecorded
	}{
		{mediaJSON, agreed, ConsentsRecorded{Recorded: 1}},
		{mediaJSON, "[" + agreed + `,{"tenant":"acme","email":"Wang@Example.com","state":"out","purpose":"all"}]`, ConsentsRecorded{Recorded: 1, Unchanged: 1}},
		{mediaNDJSON, agreed + "\n" + strings.Replace(agreed, "2026-03", "2025-03", 1) + "\n", ConsentsRecorded{Unchanged: 1, Older: 1}},
		{mediaCSV, "\ufefftenant,phone,state,time,how,text\nacme,13900139000,in,2026/3/1 9:30,form,门店登记\nacme,13900139000,out,,,\n", ConsentsRecorded{Recorded: 2}},
		{mediaJSON, "[]", ConsentsRecorded{}},
	} {
		var got ConsentsRecorded
		request{url: url, media: c.media, body: c.body}.do(t).want(t, http.StatusOK, &got)
		if got.Recorded+got.Older != c.want.Recorded+c.want.Older || got.Unchanged != c.want.Unchanged {
			t.Errorf("%s\n%s: %+v, want %+v", c.media, c.body, got, c.want)
		}
	}
	base := strings.TrimSuffix(url, "/v1/consents")
	page := consents(t, base, "tenant=acme&phone=%2B8613900139000&reveal=true")
	if len(page.Items) != 1 || page.Items[0].Phone != "+8613900139000" || page.Items[0].States[schemas.Marketing].State != schemas.OptedOut || len(page.Items[0].History) != 2 {
		t.Errorf("%+v", page)
	}
	if e := page.Items[0].History[0]; e.By != "local" || e.Text != "门店登记" || !e.Time.Equal(time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)) {
		t.Errorf("%+v", e)
	}
}

func TestOneBadConsentStoresNone(t *testing.T) {
	url := newRig(t).serve(open())
	for _, c := range []struct {
		media, body string
		status      int
		want        string // pointers and keywords
		zh          string // in a text
	}{
		{
			mediaJSON, "[" + agreed + `,{"tenant":"acme","phone":"12","state":"maybe","how":"talk"},{"tenant":"acme","state":"in"}]`, 422,
			"/1/phone phone\n/1/how enum\n/1/state enum\n/2/phone required\n/2/time required\n/2/text required\n", "同意须写明时间",
		},
		{mediaJSON, strings.Replace(agreed, `"how"`, `"hwo"`, 1), 422, "/hwo unknown\n", "没有名为“hwo”的字段"},
		{mediaJSON, strings.Replace(agreed, "acme", "beta", 1), 422, "/tenant tenant\n", "没有这个租户"},
		{mediaJSON, strings.Replace(agreed, "2026-03-01T09:30:00+08:00", "3 月 1 日", 1), 422, "/time format\n", ""},
		{mediaJSON, strings.Replace(agreed, "2026-03", "2126-03", 1), 422, "/time range\n", "将来"},
		{mediaJSON, "[" + agreed, 400, " syntax\n", "JSON"},
		{mediaJSON, "", 400, " syntax\n", "JSON"},
		{mediaCSV, "tenant,phone,state,time\nacme,13900139000,out,\nacme,13900139000,out,yesterday\nacme,1\n", 422, "/1/time format\n/2 columns\n", "第 3 行"},
		{mediaCSV, "phone,name\n1,2\n", 422, "/name unknown\n", "列名"},
		{mediaCSV, "tenant,phone,state\nacme,\xcd\xcb\xb6\xa9,out\n", 422, "/0 csv\n", "GBK"},
		{mediaCSV, "tenant,phone,state\nacme,\"1,out\n", 422, "/0 csv\n", "引号"},
		{mediaCSV, "phone,state\n" + strings.Repeat("13900139000,out\n", 1001), 422, " maxItems\n", "分批"},
	} {
		r := request{url: url + "/v1/consents?lang=zh", media: c.media, body: c.body}.do(t)
		p := r.problem(t)
		if r.StatusCode != c.status || pretty(p.Problems) != c.want || !strings.Contains(string(r.body), c.zh) {
			t.Errorf("%s\n%s\n%d, %s\n%s", c.media, c.body, r.StatusCode, r.body, pretty(p.Problems))
		}
		if strings.Contains(string(r.body), "13900139000") {
			t.Errorf("the answer repeats a number: %s", r.body)
		}
	}
	if page := consents(t, url, ""); len(page.Items) != 0 {
		t.Errorf("stored: %+v", page)
	}
	if r := (request{url: url + "/v1/consents", media: "text/plain", body: "x"}).do(t); r.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", r.StatusCode)
	}
}

func TestConsentsArePagedAndFiltered(t *testing.T) {
	url := newRig(t).serve(open())
	var lines strings.Builder
	lines.WriteString("tenant,phone,state,time,text\n")
	for i := range 25 {
		fmt.Fprintf(&lines, "%s,138001380%02d,%s,2026-03-01,会员章程\n", []string{"acme", "default"}[i%2], i, []string{"in", "out"}[i%5/4])
	}
	request{url: url + "/v1/consents", media: mediaCSV, body: lines.String()}.do(t).want(t, 200, nil)
	count := func(query string) int {
		seen, cursor := map[string]bool{}, ""
		for range 20 {
			page := consents(t, url, query+"&reveal=true&limit=4&cursor="+cursor)
			for _, c := range page.Items {
				seen[c.Tenant+c.Phone] = true
			}
			if cursor = page.Next; cursor == "" {
				return len(seen)
			}
		}
		t.Fatalf("%s: no end", query)
		return 0
	}
	for query, want := range map[string]int{"": 25, "tenant=acme": 13, "tenant=default": 12, "state=out": 5, "state=in&tenant=acme": 11, "state=out&purpose=alert": 0} {
		if query == "state=in&tenant=acme" {
			want = 0
			for i := 0; i < 25; i += 2 {
				if i%5 != 4 {
					want++
				}
			}
		}
		if got := count(query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	for _, bad := range []string{"limit=0", "limit=1001", "cursor=x", "state=maybe", "purpose=all", "reveal=yes", "phone=1", "phone=13800138000&email=a@b.cn", "phone=a@b.cn", "tenant=beta"} {
		if r := (request{method: "GET", url: url + "/v1/consents?" + bad}).do(t); r.StatusCode != 422 {
			t.Errorf("%s: %d", bad, r.StatusCode)
		}
	}
}

func TestWhoMaySeeAndChangeConsents(t *testing.T) {
	dir, file := secretFile(t, secretOne)
	cfg := Config{Dir: dir, Tenants: []string{"acme", "beta"}, Keys: []Key{
		{ID: "erp", SecretFile: file, Tenants: []string{"acme"}},
		{ID: "desk", SecretFile: file, Tenants: []string{"*"}, Roles: []string{RoleOperate}},
	}}
	url := newRig(t).serve(cfg)
	as := func(id string) map[string]string {
		return map[string]string{"Authorization": "Bearer " + id + "." + secretOne}
	}
	request{url: url + "/v1/consents", body: agreed, header: as("erp")}.do(t).want(t, 200, nil)
	request{url: url + "/v1/consents", body: strings.Replace(agreed, "acme", "beta", 1), header: as("desk")}.do(t).want(t, 200, nil)
	for _, c := range []struct {
		id, method, path, body string
		status                 int
		contains, not          string
	}{
		{"erp", "GET", "?", "", 200, "138****8000", "13800138000"},
		{"erp", "GET", "?", "", 200, "acme", "beta"},
		{"erp", "GET", "?reveal=true", "", 403, "", "13800138000"},
		{"erp", "GET", "?tenant=beta", "", 403, "", "138****8000"},
		{"desk", "GET", "?", "", 200, "138****8000", "13800138000"},
		{"desk", "GET", "?reveal=true", "", 200, "+8613800138000", "****"},
		{"erp", "POST", "", strings.Replace(agreed, "acme", "beta", 1), 403, "/tenant", ""},
		{"erp", "POST", "/replies", `{"tenant":"beta","phone":"13800138000","text":"R"}`, 403, "/tenant", ""},
		{"erp", "DELETE", "?phone=13800138000", "", 403, "", ""},
		{"desk", "DELETE", "?phone=13800138000", "", 422, "/tenant", ""},
		{"desk", "DELETE", "?tenant=acme&phone=13900139000", "", 404, "", ""},
		{"desk", "DELETE", "?tenant=acme&phone=13800138000", "", 200, "true", ""},
		{"desk", "DELETE", "?tenant=acme&phone=13800138000", "", 404, "", ""},
		{"desk", "GET", "?tenant=acme&phone=13800138000", "", 200, `"items":[]`, ""},
	} {
		r := request{method: c.method, url: url + "/v1/consents" + c.path, body: c.body, header: as(c.id)}.do(t)
		if r.StatusCode != c.status || !strings.Contains(string(r.body), c.contains) || c.not != "" && strings.Contains(string(r.body), c.not) {
			t.Errorf("%+v: %d %s", c, r.StatusCode, r.body)
		}
	}
}

func TestReplies(t *testing.T) {
	url := newRig(t).serve(open())
	var got RepliesDone
	request{url: url + "/v1/consents/replies", body: `[{"tenant":"acme","phone":"13800138000","text":"退订回T"},{"tenant":"acme","phone":"13900139000","text":"请问几点开门"}]`}.do(t).want(t, 200, &got)
	if len(got.Results) != 2 || !got.Results[0].OptOut || got.Results[0].Effect != "recorded" || got.Results[0].Phone != "138****8000" || got.Results[1].OptOut || got.Results[1].Effect != "" || got.Results[1].Zh == "" {
		t.Errorf("%+v", got)
	}
	page := consents(t, url, "tenant=acme&state=out")
	if len(page.Items) != 1 || page.Items[0].States[schemas.Marketing].How != schemas.ByReply || page.Items[0].States[schemas.Marketing].Text != "退订回T" {
		t.Errorf("%+v", page)
	}
	for body, want := range map[string]string{
		`{"tenant":"acme","phone":"010-1","text":"R"}`:                                       "/phone phone\n",
		`{"tenant":"acme","phone":"13800138000","content":"R"}`:                              "/content unknown\n",
		`{"tenant":"acme","phone":"13800138000","text":"` + strings.Repeat("长", 1001) + `"}`: "/text maxLength\n",
		`[{"tenant":"acme","phone":"13800138000","text":"R"},{"tenant":"acme","phone":1}]`:   "/1/phone type\n",
	} {
		if p := (request{url: url + "/v1/consents/replies", body: body}).do(t).problem(t); pretty(p.Problems) != want {
			t.Errorf("%.80s: %s", body, pretty(p.Problems))
		}
	}
}

func TestProofInUseIsKept(t *testing.T) {
	r := newRig(t)
	url := r.serve(open())
	request{url: url + "/v1/consents", body: agreed}.do(t).want(t, 200, nil)
	r.run()
	request{url: url + "/v1/events", body: event("ad", `"notification"`, `"marketing"`)}.do(t).want(t, 202, nil)
	eventually(t, "the agreement is used", func() bool { return !consents(t, url, "tenant=acme&phone=13800138000").Items[0].Used.IsZero() })
	p := request{method: "DELETE", url: url + "/v1/consents?tenant=acme&phone=13800138000"}.do(t).problem(t)
	if p.Type != "proof-kept" || !strings.Contains(p.Detail, "20") {
		t.Errorf("%+v", p)
	}
}

func FuzzConsentsBody(f *testing.F) {
	f.Add([]byte("[" + agreed + "]"))
	f.Add([]byte(agreed + "\n" + agreed))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ps problemList
		changes, err := readConsentsJSON(b, 10, &ps)
		if err == nil && len(changes) > 10 {
			t.Errorf("%d changes", len(changes))
		}
		for _, c := range changes {
			c.Check(time.Now())
		}
	})
}
