//go:build !race

package dispatcher_test

// manySMS is how many SMS TestManySMS sends.
const manySMS = 10_000
