// Package rulestest is what the tests of the rules share: how to open one with its section of rules.yaml, and a
// [Store] whose faults are the test's to choose.
package rulestest

import (
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas/strictyaml"
)

// Factory is the New of a rule: a [rules.GuardFactory] or a [rules.ReserverFactory].
type Factory[R any] = func(decode func(into any) error, env rules.Env) (R, error)

// Section decodes a section of rules.yaml, "" for one that is absent.
func Section(source string) func(into any) error {
	return func(into any) error { return strictyaml.Decode([]byte(source), into) }
}

// Open opens a rule with its section.
func Open[R any](t testing.TB, factory Factory[R], section string, env rules.Env) R {
	t.Helper()
	r, err := factory(Section(section), env)
	if err != nil {
		t.Fatalf("%s: %v", section, err)
	}
	return r
}

// Opener is [Open] for one rule in one environment.
func Opener[R any](factory Factory[R], env rules.Env) func(t testing.TB, section string) R {
	return func(t testing.TB, section string) R {
		t.Helper()
		return Open(t, factory, section, env)
	}
}

// Mistakes checks that each section is refused, with an error that has the words beside it.
func Mistakes[R any](t *testing.T, factory Factory[R], env rules.Env, want map[string]string) {
	t.Helper()
	for section, words := range want {
		if _, err := factory(Section(section), env); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want an error with %q", section, err, words)
		}
	}
}
