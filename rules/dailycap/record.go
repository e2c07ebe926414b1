package dailycap

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	recordVersion = 1
	maxEntries    = 1000 // far above any limit; more is not a record of ours
	maxHolder     = 200  // bytes
)

// record is what the store keeps for a number.
type record struct {
	Version int     `json:"v"`
	Entries []Entry `json:"e"`
}

var errRecord = errors.New("not a record of the daily cap")

// decode reads a record strictly. A record that cannot be read must stop the sending: guessing
// that nothing was sent would break the cap. An absent record is an empty one.
func decode(b []byte) ([]Entry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var r record
	if err := json.Unmarshal(b, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, errRecord // the decoder's own words may repeat the bytes
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("%w: version %d, want %d", errRecord, r.Version, recordVersion)
	}
	if r.Entries == nil || len(r.Entries) > maxEntries {
		return nil, errRecord
	}
	seen := make(map[string]bool, len(r.Entries))
	for _, e := range r.Entries {
		if e.Holder == "" || len(e.Holder) > maxHolder || seen[e.Holder] ||
			e.From <= 0 || e.To < e.From || e.To-e.From > 2*dayMillis || !slices.Contains(schemas.Categories, e.Category) {
			return nil, errRecord
		}
		seen[e.Holder] = true
	}
	return r.Entries, nil
}

func encode(entries []Entry) ([]byte, error) {
	if entries == nil {
		entries = []Entry{}
	}
	return json.Marshal(record{recordVersion, entries})
}
