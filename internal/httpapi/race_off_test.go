//go:build !race

package httpapi

const raceAllocations = 0
