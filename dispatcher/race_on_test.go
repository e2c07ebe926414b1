//go:build race

package dispatcher_test

// manySMS is fewer where each step costs ten times as much; the full number runs without the race detector.
const manySMS = 2_000
