package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// carrier stands in front of the sandbox's SMS provider: some answers it keeps to itself, and it pushes receipts, but
// not all. What becomes of a message is decided by its id.
type carrier struct {
	t     *testing.T
	to    string // the sandbox
	token string

	mu      sync.Mutex
	taken   map[string]int       // by OutId
	at      map[string]time.Time // of the first
	lost    int
	silent  int
	pushes  int
	workers []*worker
	pushing sync.WaitGroup
}

// chance is a number in [0, 1) that an id has for a purpose.
func chance(purpose, id string) float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, purpose+id)
	return rand.New(rand.NewPCG(h.Sum64(), 1)).Float64()
}

func arrives(id string) bool { return chance("arrives", id) >= .1 }

func (c *carrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	form := r.URL.Query()
	req, err := http.NewRequest(r.Method, c.to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var a map[string]any
	if json.Unmarshal(answer, &a) == nil {
		switch form.Get("Action") {
		case "SendSms":
			if a["Code"] == "OK" && c.took(form.Get("OutId"), form.Get("PhoneNumbers"), fmt.Sprint(a["BizId"])) {
				<-r.Context().Done() // taken, and never answered
				return
			}
		case "QuerySendDetails":
			answer = c.known(a)
		}
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer)
}

// took notes a message, sends its receipt later, and says whether the answer is lost.
func (c *carrier) took(id, number, biz string) (lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[id]++
	if c.taken[id] == 1 {
		c.at[id] = time.Now()
	}
	if lost = chance("lost", id) < .05; lost {
		c.lost++
	}
	if chance("silent", id) < .05 {
		c.silent++
		return lost
	}
	c.pushes++
	code := `"success":true,"err_code":"DELIVERED"`
	if !arrives(id) {
		code = `"success":false,"err_code":"MK:0001","err_msg":"空号"`
	}
	receipt := fmt.Sprintf(`[{"phone_number":%q,"send_time":"2026-11-25 10:00:00","report_time":"2026-11-25 10:00:03",%s,"sms_size":"1","biz_id":%q,"out_id":%q}]`,
		number, code, biz, id)
	wait := time.Duration(chance("wait", id) * float64(3*time.Second))
	c.pushing.Go(func() {
		time.Sleep(wait)
		c.push(receipt, chance("twice", id) < .05)
	})
	return lost
}

// push repeats until somebody takes the receipt, as Aliyun does, only faster.
func (c *carrier) push(receipt string, again bool) {
	for try := range 20 {
		c.mu.Lock()
		p := c.workers[try%len(c.workers)]
		c.mu.Unlock()
		res, err := http.Post(p.url+"/v1/receipts/sms/"+c.token, "application/json;charset=utf-8", strings.NewReader(receipt))
		if err == nil {
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode == 200 && bytes.HasPrefix(body, []byte(`{"code":0,`)) {
				if !again {
					return
				}
				again = false
				continue
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	c.t.Error("a receipt was taken by nobody")
}

// known puts the truth into the answer to a query, once the message has had time to arrive.
func (c *carrier) known(a map[string]any) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, _ := a["SmsSendDetailDTOs"].(map[string]any)
	rows, _ := list["SmsSendDetailDTO"].([]any)
	for _, row := range rows {
		r, _ := row.(map[string]any)
		id, _ := r["OutId"].(string)
		switch {
		case time.Since(c.at[id]) < 2*time.Second:
		case arrives(id):
			r["SendStatus"], r["ErrCode"] = 3, "DELIVERED"
		default:
			r["SendStatus"], r["ErrCode"] = 2, "MK:0001"
		}
	}
	b, err := json.Marshal(a)
	if err != nil {
		c.t.Error(err)
	}
	return b
}

// 10,000 SMS through two processes, the real SDK and the stand-in of Aliyun: 5 % are taken without an answer, 5 %
// never get a receipt, and one process is killed in the middle of it.
func TestManySMSEndAsTheyShould(t *testing.T) {
	const count, batch = manySMS, 500
	w := newWorld(t, true)
	c := &carrier{t: t, to: w.sb.SMSEndpoint(), token: strings.Repeat("c0ffee00", 4), taken: map[string]int{}, at: map[string]time.Time{}}
	far := httptest.NewServer(c)
	defer far.Close()
	cred := w.sb.Credentials()
	w.write("token", c.token)
	w.write("id", cred.AccessKeyID)
	w.write("yizhan.yaml", fmt.Sprintf(`
broker: {url: %q}
http: {listen: "127.0.0.1:0", auth: none}
tenants: [acme]
number_key_file: number.key
dispatch: {grace: 5s, retry: {first: 1s, factor: 2, max: 4s, attempts: 20, reconcile: [1s, 2s, 4s, 8s], receipts: [6s, 12s, 30s]}}
channels:
  sms: {kind: sms, provider: aliyun, signature: 华星科技, endpoint: %q, access_key_id_file: id, access_key_secret_file: secret, timeout: 2s, slots: 48,
    receipts: {token_file: token, networks: [127.0.0.0/8]}}
`, w.nats, far.URL))
	w.write("rules.yaml", `
routes:
  - {name: sms, when: 'event.type == "sms"', send: [sms]}
templates:
  t: {sms: {code: SMS_1, params: [n], text: "第${n}条"}}
`)
	one, two := w.start(), w.start()
	c.workers = []*worker{one, two}
	js := w.js()
	begun := time.Now()
	for from := 0; from < count; from += batch {
		var events []map[string]any
		for i := range batch {
			events = append(events, event("sms", fmt.Sprint(from+i), fmt.Sprintf(`{"phone":"%d"}`, 13800000000+from+i)))
		}
		if err := one.post(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
	}
	took := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.taken)
	}
	w.until(3*time.Minute, func() string {
		if n := took(); n < count/3 {
			return fmt.Sprintf("only %d are taken", n)
		}
		return ""
	})
	two.kill()
	two = w.start()
	c.mu.Lock()
	c.workers[1] = two
	c.mu.Unlock()
	var states map[string]int
	w.until(10*time.Minute, func() string {
		states = w.states(js)
		if n := states["delivered"] + states["undelivered"]; n < count {
			return fmt.Sprintf("%d of %d know their end: %v", n, count, states)
		}
		return ""
	})
	c.pushing.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	missing := 0
	for id, times := range c.taken {
		if times != 1 {
			t.Errorf("%s was taken %d times", id, times)
		}
		if !arrives(id) {
			missing++
		}
	}
	if len(c.taken) != count || states["delivered"] != count-missing || states["undelivered"] != missing {
		t.Errorf("taken %d, of which %d did not arrive; the ledger says %v", len(c.taken), missing, states)
	}
	if c.lost < count/25 || c.silent < count/25 {
		t.Errorf("only %d lost answers and %d lost receipts", c.lost, c.silent)
	}
	t.Logf("%d SMS in %s: %d without an answer, %d without a receipt, one of two processes killed; none taken twice, all %d delivered and %d undelivered known",
		count, time.Since(begun).Round(time.Second), c.lost, c.silent, states["delivered"], states["undelivered"])
}
