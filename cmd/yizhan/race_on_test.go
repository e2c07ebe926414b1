//go:build race

package main

// manySMS is fewer under the race detector, which makes each cost five times as much; make test-servers sends all.
const manySMS = 2_000
