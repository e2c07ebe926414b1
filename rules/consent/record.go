package consent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	recordVersion = 1
	maxHistory    = 20
)

// record is what the store keeps for an address.
type record struct {
	Version int `json:"v"`
	schemas.Consent
}

var errRecord = errors.New("not a record of consents")

// key names an address's record. Mailboxes are one whatever their case: a person who refuses means all of them.
func key(tenant, address string) string { return tenant + "/" + strings.ToLower(address) }

// decode reads a record strictly: what cannot be read must stop the sending, since it may be a refusal.
func decode(b []byte) (*schemas.Consent, error) {
	var r record
	if err := json.Unmarshal(b, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, errRecord // the decoder's own words may repeat the bytes
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("%w: version %d, want %d", errRecord, r.Version, recordVersion)
	}
	if r.Tenant == "" || r.States == nil || len(r.History) > maxHistory || (r.Address() == "") == r.Erased.IsZero() {
		return nil, errRecord
	}
	for category, e := range r.States {
		if !slices.Contains(schemas.ConsentCategories, category) || e.State != schemas.OptedIn && e.State != schemas.OptedOut || e.Time.IsZero() {
			return nil, errRecord
		}
	}
	return &r.Consent, nil
}

func encode(c *schemas.Consent) ([]byte, error) {
	return json.Marshal(record{recordVersion, *c}, json.Deterministic(true))
}

// add puts an answer into the record. States end the same in whatever order answers come.
func add(c *schemas.Consent, e schemas.ConsentEntry) rules.ConsentEffect {
	if !e.Time.After(c.Erased) {
		return addErased(c, e)
	}
	effect, known := rules.ConsentOlder, true
	for _, category := range e.Purpose.Categories() {
		last, spoken := c.States[category]
		if spoken && same(last, e) {
			continue
		}
		known = false
		if !spoken || after(e, last) {
			c.States[category] = e
			effect = rules.ConsentRecorded
		}
	}
	known = known || effect == rules.ConsentOlder && slices.ContainsFunc(c.History, func(h schemas.ConsentEntry) bool { return same(h, e) })
	if known {
		return rules.ConsentUnchanged
	}
	c.History = append(c.History, e)
	slices.SortStableFunc(c.History, func(a, b schemas.ConsentEntry) int { return a.Time.Compare(b.Time) })
	c.History = c.History[max(0, len(c.History)-maxHistory):]
	return effect
}

// addErased is for a word from before the address was erased, on an old list: it must not bring the
// address back, but a refusal still counts.
func addErased(c *schemas.Consent, e schemas.ConsentEntry) rules.ConsentEffect {
	if e.State == schemas.OptedOut {
		e.Text = ""
		for _, category := range e.Purpose.Categories() {
			if _, spoken := c.States[category]; !spoken {
				c.States[category] = e
			}
		}
	}
	return rules.ConsentOlder
}

// same says whether two entries hold the same word of the person.
func same(a, b schemas.ConsentEntry) bool {
	return a.Time.Equal(b.Time) && a.State == b.State && a.Purpose == b.Purpose && a.How == b.How && a.Text == b.Text
}

// after says whether a is the later word: of two of the same second the refusal.
func after(a, b schemas.ConsentEntry) bool {
	if n := a.Time.Compare(b.Time); n != 0 {
		return n > 0
	}
	if a.State != b.State {
		return a.State == schemas.OptedOut
	}
	// The same answer in other words: any order will do, as long as it is always the same.
	return cmp.Or(strings.Compare(a.How, b.How), strings.Compare(a.Text, b.Text), strings.Compare(string(a.Purpose), string(b.Purpose))) > 0
}
