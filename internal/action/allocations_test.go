package action_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// A hold of a crowd allocates for itself and bears its part of the batch, whatever that
// one's size. What the test allocates for each is counted with it. While this test runs no
// other does, since it is not parallel.
func TestAHoldAllocatesNoMoreInALargerBatch(t *testing.T) {
	c := openCountedOn(t, testenv.Database(t), withFrozenCache)
	p := c.product(100_000)
	const mostPerHold = 48 // 40 measured in the smallest crowd, 39 in the larger ones; 1 more under the race detector
	for _, crowd := range []int{128, 256, 512} {
		each := float64(c.leastAllocated(crowd, p)) / float64(crowd)
		assert.LessOrEqual(t, each, float64(mostPerHold), "in a crowd of %d", crowd)
	}
}

// leastAllocated is the least that several rushes of this size allocated: what the first
// ones warm up is no part of it.
func (c *counted) leastAllocated(crowd int, p sale.Product) uint64 {
	c.t.Helper()
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		codes := c.rush(crowd, p)
		runtime.ReadMemStats(&after)
		require.Equal(c.t, map[sale.Code]int{"": crowd}, codes)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}
