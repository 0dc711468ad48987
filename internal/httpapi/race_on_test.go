//go:build race

package httpapi

// raceAllocations is what a request allocates more under the race detector, which lets
// pools forget a part of what is put into them.
const raceAllocations = 2
