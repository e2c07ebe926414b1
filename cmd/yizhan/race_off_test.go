//go:build !race

package main

const manySMS = 10_000
