package consent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/rulestest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// memory is a store of records that must not be forgotten by themselves.
type memory struct{ rulestest.Store }

func (m *memory) Swap(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	if ttl != 0 {
		return 0, errors.New("a consent must not be forgotten by itself")
	}
	return m.Store.Swap(ctx, key, value, revision, ttl)
}

const (
	phone = "+8613800138000"
	mail  = "wang@example.com"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, shanghai)

func open(t testing.TB, section string, store rules.Store) *Rule {
	t.Helper()
	return rulestest.Open(t, New, section, rules.Env{Consents: store}).(*Rule)
}

func input(kind string, c schemas.Category, now time.Time) rules.Input {
	return rules.Input{Kind: kind, Now: now, Delivery: &schemas.Delivery{Tenant: "acme", Category: c, To: schemas.Recipient{Phone: phone, Email: mail}}}
}

// verdict is "pass", or the rule that suppresses.
func verdict(t testing.TB, r *Rule, kind string, c schemas.Category, now time.Time) string {
	t.Helper()
	in := input(kind, c, now)
	if !r.Concerns(in) {
		return "not asked"
	}
	v, err := r.Reserve(t.Context(), in, "holder", now.Add(time.Second))
	switch {
	case err != nil:
		t.Fatal(err)
	case v.Action == rules.Suppress && len(v.Hits) == 1 && v.Hits[0].Rule == v.Rule && v.Hits[0].Advice.Zh != "" && v.Hits[0].Advice.En != "":
		return v.Rule
	case v.Action != rules.Pass:
		t.Fatalf("%+v", v)
	}
	return "pass"
}

// word makes an answer that passed its check.
func word(t testing.TB, address string, state schemas.ConsentState, purpose schemas.Purpose, at time.Time) *schemas.ConsentChange {
	t.Helper()
	c := &schemas.ConsentChange{Tenant: "acme", ConsentWord: schemas.ConsentWord{State: state, Purpose: purpose, Time: at, How: schemas.ByForm, Text: "同意接收促销短信"}}
	if strings.Contains(address, "@") {
		c.Email = address
	} else {
		c.Phone = address
	}
	if ps := c.Check(noon.AddDate(1, 0, 0)); ps != nil {
		t.Fatal(ps)
	}
	return c
}

func note(t testing.TB, r *Rule, c *schemas.ConsentChange) rules.ConsentEffect {
	t.Helper()
	effect, err := r.Record(t.Context(), c, "erp", noon)
	if err != nil {
		t.Fatal(err)
	}
	return effect
}

func TestWhoGetsWhat(t *testing.T) {
	const in, out = schemas.OptedIn, schemas.OptedOut
	type said struct {
		state   schemas.ConsentState
		purpose schemas.Purpose
	}
	for _, c := range []struct {
		name    string
		section string
		said    []said
		want    string // marketing, notification, alert, verification
	}{
		{"nothing said", "{}", nil, "1 pass pass not asked"},
		{"agreed", "{}", []said{{in, "marketing"}}, "pass pass pass not asked"},
		{"refused marketing", "{}", []said{{out, "marketing"}}, "opt-out pass pass not asked"},
		{"refused all", "{}", []said{{out, "all"}}, "opt-out opt-out opt-out not asked"},
		{"agreed, then refused", "{}", []said{{in, "marketing"}, {out, "marketing"}}, "opt-out pass pass not asked"},
		{"refused, then agreed anew", "{}", []said{{out, "marketing"}, {in, "marketing"}}, "pass pass pass not asked"},
		{"refused all, wants notices again", "{}", []said{{out, "all"}, {in, "notification"}}, "opt-out pass opt-out not asked"},
		{"notices need an agreement", "{required: [marketing, notification]}", []said{{in, "marketing"}}, "pass 1 pass not asked"},
		{"agreed to all", "{required: [marketing, notification, alert]}", []said{{in, "all"}}, "pass pass pass not asked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := open(t, c.section, new(memory))
			for i, s := range c.said {
				note(t, r, word(t, phone, s.state, s.purpose, noon.Add(time.Duration(i)*time.Minute)))
			}
			var got []string
			for _, category := range []schemas.Category{schemas.Marketing, schemas.Notification, schemas.Alert, schemas.Verification} {
				got = append(got, verdict(t, r, "sms", category, noon.Add(time.Hour)))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// A number, a mailbox and another tenant are records of their own; a webhook reaches no person.
func TestRecordsDoNotMix(t *testing.T) {
	r := open(t, "{}", new(memory))
	note(t, r, word(t, phone, schemas.OptedOut, "all", noon))
	note(t, r, word(t, "Wang@Example.com", schemas.OptedIn, "marketing", noon))
	other := input("sms", schemas.Notification, noon)
	other.Delivery.Tenant = "beta"
	if v, err := r.Reserve(t.Context(), other, "h", noon); err != nil || v.Action != rules.Pass {
		t.Errorf("another tenant: %+v, %v", v, err)
	}
	if got := verdict(t, r, "email", schemas.Marketing, noon); got != "pass" {
		t.Errorf("the mailbox that agreed, in another case: %s", got)
	}
	if got := verdict(t, r, "webhook", schemas.Marketing, noon); got != "not asked" {
		t.Errorf("webhook: %s", got)
	}
}

// States must not depend on the order in which lists are imported.
func TestTheLaterWordCountsInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var words []*schemas.ConsentChange
	for i := range 8 {
		state := []schemas.ConsentState{schemas.OptedIn, schemas.OptedOut}[random.IntN(2)]
		w := word(t, phone, state, schemas.Purposes[random.IntN(len(schemas.Purposes))], noon.Add(time.Duration(random.IntN(4))*time.Hour))
		w.Text = fmt.Sprint("text ", i)
		words = append(words, w)
	}
	var want string
	for range 200 {
		r := open(t, "{}", new(memory))
		random.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		for _, w := range words {
			note(t, r, w)
		}
		c, err := r.Consent(t.Context(), "acme", phone)
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		got := fmt.Sprint(c.States)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
}

func TestTheSameListAgainChangesNothing(t *testing.T) {
	store := new(memory)
	r := open(t, "{}", store)
	agreed, refused := word(t, phone, schemas.OptedIn, "marketing", noon), word(t, phone, schemas.OptedOut, "marketing", noon.Add(time.Hour))
	for i, want := range []rules.ConsentEffect{rules.ConsentRecorded, rules.ConsentUnchanged, rules.ConsentRecorded, rules.ConsentUnchanged} {
		if got := note(t, r, []*schemas.ConsentChange{agreed, agreed, refused, agreed}[i]); got != want {
			t.Errorf("word %d: %s, want %s", i, got, want)
		}
	}
	older := word(t, phone, schemas.OptedIn, "marketing", noon.Add(-time.Hour))
	if got := note(t, r, older); got != rules.ConsentOlder {
		t.Errorf("an older word: %s", got)
	}
	if got := verdict(t, r, "sms", schemas.Marketing, noon); got != RuleOptOut {
		t.Errorf("an old list undid a refusal: %s", got)
	}
	if _, swaps := store.Counts(); swaps != 3 {
		t.Errorf("%d writes, want 3", swaps)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	r := open(t, "{}", new(memory))
	for i := range 50 {
		note(t, r, word(t, phone, []schemas.ConsentState{schemas.OptedIn, schemas.OptedOut}[i%2], "marketing", noon.Add(time.Duration(i)*time.Hour)))
	}
	c, err := r.Consent(t.Context(), "acme", phone)
	if err != nil || len(c.History) != 20 || !c.History[19].Time.Equal(noon.Add(49*time.Hour)) || c.History[0].By != "erp" {
		t.Errorf("%d entries, %+v, %v", len(c.History), c, err)
	}
}

// A refusal that comes while another pod is about to send wins.
func TestARefusalBetweenReadingAndMarking(t *testing.T) {
	store := new(memory)
	r, pod := open(t, "{}", store), open(t, "{}", store)
	note(t, r, word(t, phone, schemas.OptedIn, "marketing", noon))
	store.Fault = func(op string) string {
		if op == "swap" {
			store.Fault = nil
			note(t, pod, word(t, phone, schemas.OptedOut, "marketing", noon.Add(time.Minute)))
		}
		return ""
	}
	if got := verdict(t, r, "sms", schemas.Marketing, noon.Add(time.Hour)); got != RuleOptOut {
		t.Errorf("got %s", got)
	}
}

func TestManyPodsLoseNoWord(t *testing.T) {
	store := new(memory)
	var all sync.WaitGroup
	words := []*schemas.ConsentChange{}
	for i := range 8 {
		words = append(words, word(t, phone, schemas.OptedIn, "marketing", noon.Add(time.Duration(i)*time.Minute)))
	}
	words = append(words, word(t, phone, schemas.OptedOut, "all", noon.Add(time.Hour)))
	for _, w := range words {
		all.Go(func() { note(t, open(t, "{}", store), w) })
	}
	all.Wait()
	r := open(t, "{}", store)
	c, err := r.Consent(t.Context(), "acme", phone)
	if err != nil || len(c.History) != len(words) || c.States[schemas.Marketing].State != schemas.OptedOut {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhatCannotBeReadIsNotSent(t *testing.T) {
	for name, store := range map[string]rules.Store{
		"store away":  &rulestest.Store{Fault: func(string) string { return "fail" }},
		"no store":    nil,
		"not JSON":    filled("nonsense"),
		"next format": filled(`{"v":2,"tenant":"acme","phone":"+8613800138000","states":{}}`),
		"other's":     filled(`{"v":1,"tenant":"beta","phone":"+8613800138000","states":{}}`),
		"odd state":   filled(`{"v":1,"tenant":"acme","phone":"+8613800138000","states":{"marketing":{"state":"maybe"}}}`),
		"new member":  filled(`{"v":1,"tenant":"acme","phone":"+8613800138000","states":{},"vip":true}`),
		"no address":  filled(`{"v":1,"tenant":"acme","states":{}}`),
	} {
		r := open(t, "{}", store)
		for _, category := range schemas.ConsentCategories {
			v, err := r.Reserve(t.Context(), input("sms", category, noon), "h", noon)
			if err == nil || v.Rule != "consent-unavailable" || strings.Contains(err.Error(), "138") {
				t.Errorf("%s, %s: %+v, %v", name, category, v, err)
			}
		}
	}
}

func filled(value string) *memory {
	m := new(memory)
	m.Put("acme/"+phone, value)
	return m
}

func TestTheLastUseIsKnownByTheDay(t *testing.T) {
	store := new(memory)
	r := open(t, "{}", store)
	note(t, r, word(t, phone, schemas.OptedIn, "marketing", noon))
	for i := range 100 { // of these, one a day is written
		verdict(t, r, "sms", schemas.Marketing, noon.Add(time.Duration(i)*30*time.Minute))
	}
	c, err := r.Consent(t.Context(), "acme", phone)
	if _, swaps := store.Counts(); err != nil || !c.Used.Equal(noon.Add(48*time.Hour)) || swaps != 4 {
		t.Errorf("used %s, %d writes, %v", c.Used, swaps, err)
	}
}

func TestErase(t *testing.T) {
	store := new(memory)
	r := open(t, "{}", store)
	if found, _, err := r.Erase(t.Context(), "acme", phone, noon); found || err != nil {
		t.Errorf("an unknown number: %v, %v", found, err)
	}
	note(t, r, word(t, phone, schemas.OptedIn, "marketing", noon))
	verdict(t, r, "sms", schemas.Marketing, noon)
	refusal := word(t, phone, schemas.OptedOut, "all", noon.Add(time.Hour))
	note(t, r, refusal)
	later := noon.Add(100 * 24 * time.Hour)
	if found, keep, err := r.Erase(t.Context(), "acme", phone, later); !found || err != nil || !keep.Equal(noon.Add(150*24*time.Hour)) {
		t.Errorf("proof in use: %v, %s, %v", found, keep, err)
	}
	later = noon.Add(151 * 24 * time.Hour)
	if found, keep, err := r.Erase(t.Context(), "acme", phone, later); !found || err != nil || !keep.IsZero() {
		t.Fatalf("%v, %s, %v", found, keep, err)
	}
	if kept, _, err := store.Load(t.Context(), "acme/"+phone); err != nil || strings.Contains(string(kept), "138") || strings.Contains(string(kept), "促销") {
		t.Errorf("kept: %s, %v", kept, err)
	}
	if got := verdict(t, r, "sms", schemas.Notification, later); got != RuleOptOut {
		t.Errorf("the refusal was forgotten: %s", got)
	}
	// An old list brings nothing back, a new agreement does.
	for _, old := range []*schemas.ConsentChange{word(t, phone, schemas.OptedIn, "marketing", noon), refusal} {
		if got := note(t, r, old); got != rules.ConsentOlder {
			t.Errorf("an old list: %s", got)
		}
	}
	if c, err := r.Consent(t.Context(), "acme", phone); err != nil || c.Address() != "" || c.History != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if got := note(t, r, word(t, phone, schemas.OptedIn, "all", later.Add(time.Hour))); got != rules.ConsentRecorded {
		t.Errorf("a new agreement: %s", got)
	}
	if got := verdict(t, r, "sms", schemas.Marketing, later); got != "pass" {
		t.Errorf("after a new agreement: %s", got)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"tenant":"acme","phone":"+8613800138000","states":{"marketing":{"state":"out","purpose":"all","time":"2026-11-23T04:00:00Z","how":"reply","by":"x","recorded":"2026-11-23T04:00:00Z"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
