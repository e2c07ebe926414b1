package dispatcher_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/yizhan-dev/yizhan/"

// arrow says what of ours a package may import besides the folders above it. Names are relative to
// the module; "x/..." is everything below x. The first arrow whose from fits a package counts.
type arrow struct {
	from string
	may  []string
	why  string
}

var arrows = []arrow{
	{"schemas", nil, "a producer in Go imports schemas alone"},
	{"schemas/...", nil, "schemas imports nothing of ours, and its helpers carry no policy"},
	{"rules", []string{"schemas", "schemas/strictyaml"}, "rules are pure: an event and a clock in, a verdict out"},
	{"rules/content", []string{"rules/content/score", "schemas", "schemas/strictyaml"}, "the judge of content reads the models of its own folder, and knows no other rule"},
	{"rules/...", []string{"schemas", "schemas/strictyaml"}, "a rule knows no other rule, no channel and no broker, so that it can be added or dropped as one folder"},
	{"channels", []string{"schemas"}, "a channel knows no queue, no retry and no rule"},
	{"channels/webhook", []string{"channels/guard", "schemas", "schemas/strictyaml"}, "a webhook's address is somebody else's: it goes through the guard, and knows no other channel"},
	{"channels/attach", []string{"channels/guard", "schemas", "schemas/strictyaml"}, "an attachment's address is somebody else's: it goes through the guard, and knows no channel"},
	{"channels/channeltest", []string{"channels/sandbox", "schemas"}, "the contract's far side stands behind the sandbox's door, and knows no channel"},
	{"channels/...", []string{"schemas", "schemas/strictyaml"}, "a channel knows no other channel, so that it can be added or dropped as one folder"},
	{"dispatcher", []string{"dispatcher/...", "rules", "channels", "schemas", "schemas/strictyaml"}, "the dispatcher knows no channel and no rule by name; cmd hands them over"},
	{"dispatcher/...", []string{"dispatcher/...", "rules", "channels", "schemas", "schemas/strictyaml"}, "the dispatcher knows no channel and no rule by name; cmd hands them over"},
	{"cmd/...", []string{"dispatcher", "dispatcher/...", "rules", "rules/...", "channels", "channels/...", "schemas", "schemas/..."}, "nothing imports cmd, commands included: what they share belongs below"},
	{"deploy/...", []string{"schemas"}, "the examples show what a producer needs: the wire, no more"},
}

// outside are imports from elsewhere that would make a pure package impure.
var outside = []arrow{
	{"schemas", []string{"net", "net/http", "os/exec", "github.com/nats-io/..."}, "schemas is the wire format, not the wire"},
	{"schemas/...", []string{"net", "net/http", "os/exec", "github.com/nats-io/..."}, "schemas is the wire format, not the wire"},
	{"rules", []string{"net", "net/http", "os/exec", "github.com/nats-io/..."}, "rules are pure: no network, no broker"},
	{"rules/...", []string{"net", "net/http", "os/exec", "github.com/nats-io/..."}, "rules are pure: no network, no broker"},
	{"channels", []string{"github.com/nats-io/..."}, "a channel knows no queue"},
	{"channels/...", []string{"github.com/nats-io/..."}, "a channel knows no queue"},
}

// forbidden returns why from may not import to, or "". Both are full import paths.
func forbidden(from, to string) string {
	from = strings.TrimPrefix(from, module)
	ours, isOurs := strings.CutPrefix(to, module)
	if !isOurs {
		for _, a := range outside {
			if within(from, a.from) && anyWithin(to, a.may) {
				return a.why
			}
		}
		return ""
	}
	for _, a := range arrows {
		if !within(from, a.from) {
			continue
		}
		if anyWithin(ours, a.may) || strings.HasPrefix(from, ours+"/") {
			return ""
		}
		return a.why
	}
	return "no arrow begins at " + from + ": say in deps_test.go what it may import"
}

func within(pkg, pattern string) bool {
	if folder, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(pkg, folder)
	}
	return pkg == pattern
}

func anyWithin(pkg string, patterns []string) bool {
	for _, p := range patterns {
		if within(pkg, p) {
			return true
		}
	}
	return false
}

// The architecture is a test: every import of every package, tests aside, follows the arrows.
func TestImportsFollowTheArrows(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	seen := make(map[string]bool)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[pkg.ImportPath] = true
		for _, to := range pkg.Imports {
			if why := forbidden(pkg.ImportPath, to); why != "" {
				t.Errorf("%s imports %s: %s", pkg.ImportPath, to, why)
			}
		}
	}
	for _, p := range []string{"schemas", "rules", "channels", "dispatcher", "cmd/yizhan"} {
		if !seen[module+p] {
			t.Errorf("go list did not show %s", p)
		}
	}
}

// The table must refuse what it is there to refuse.
func TestArrows(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		allowed  bool
	}{
		{"schemas", "schemas/strictyaml", false},
		{"schemas", "channels", false},
		{"schemas/strictyaml", "rules", false},
		{"rules", "schemas", true},
		{"rules", "channels", false},
		{"rules", "rules/quiet", false},
		{"rules/quiet", "rules", true},
		{"rules/quiet", "schemas/strictyaml", true},
		{"rules/quiet", "rules/dailycap", false},
		{"rules/quiet", "dispatcher", false},
		{"rules/content", "rules/content/score", true},
		{"rules/content", "rules/quiet", false},
		{"channels", "schemas", true},
		{"channels", "rules", false},
		{"channels/email", "channels", true},
		{"channels/email", "channels/sms", false},
		{"channels/sms/aliyun", "channels/sms", true},
		{"channels/sms/aliyun", "channels/email", false},
		{"channels/sandbox", "channels/sms", false},
		{"channels/sandbox", "channels/channeltest", false},
		{"channels/channeltest", "channels/sandbox", true},
		{"channels/channeltest", "channels/webhook", false},
		{"channels/webhook", "channels/channeltest", false},
		{"channels/webhook", "dispatcher", false},
		{"dispatcher", "dispatcher/broker", true},
		{"dispatcher", "channels", true},
		{"dispatcher", "channels/email", false},
		{"dispatcher/ingest", "rules/quiet", false},
		{"dispatcher/ingest", "cmd/yizhan", false},
		{"cmd/yizhan", "channels/sms/aliyun", true},
		{"cmd/yizhan", "cmd/other", false},
		{"deploy/bridge", "schemas", true},
		{"deploy/bridge", "dispatcher", false},
		{"newcomer", "schemas", false},
	} {
		if why := forbidden(module+tt.from, module+tt.to); (why == "") != tt.allowed {
			t.Errorf("%s → %s: %q, want allowed %t", tt.from, tt.to, why, tt.allowed)
		}
	}
	for _, tt := range []struct {
		from, to string
		allowed  bool
	}{
		{"rules/quiet", "net/http", false},
		{"rules", "time", true},
		{"schemas", "net/mail", true},
		{"channels/email", "github.com/nats-io/nats.go/jetstream", false},
		{"dispatcher", "github.com/nats-io/nats.go/jetstream", true},
	} {
		if why := forbidden(module+tt.from, tt.to); (why == "") != tt.allowed {
			t.Errorf("%s → %s: %q, want allowed %t", tt.from, tt.to, why, tt.allowed)
		}
	}
}
