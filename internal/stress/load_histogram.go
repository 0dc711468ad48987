package stress

import (
	"math"
	"math/bits"
	"time"
)

// The histogram's buckets are a microsecond wide up to 2×subBuckets, then each
// power of two has subBuckets of them: a quantile is at most 1/subBuckets too high.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	// valueBits bounds a value, in microseconds: more than an hour.
	valueBits = 32
	buckets   = (valueBits-subBits-1)*subBuckets + 2*subBuckets
)

// histogram counts durations in a fixed amount of memory.
type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

// quantile is the duration that a share q of all do not exceed, 0 when there are
// none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, uint64(math.Ceil(q*float64(h.total))))
	var seen uint64
	for i, count := range h.counts {
		if seen += count; seen >= rank {
			return min(bucketEnd(i), h.max)
		}
	}
	return h.max
}

// since is what came after an earlier state of the same histogram. Its max is
// that of all.
func (h *histogram) since(earlier *histogram) *histogram {
	diff := *h
	diff.total -= earlier.total
	for i, count := range earlier.counts {
		diff.counts[i] -= count
	}
	return &diff
}

func bucketOf(d time.Duration) int {
	value := uint64(min(max(d.Microseconds(), 0), 1<<valueBits-1))
	if value < 2*subBuckets {
		return int(value)
	}
	shift := bits.Len64(value) - subBits - 1
	return shift*subBuckets + int(value>>shift) //nolint:gosec // below 2×subBuckets
}

// bucketEnd is the longest duration that the bucket counts.
func bucketEnd(i int) time.Duration {
	first, width := i, 1
	if i >= 2*subBuckets {
		shift := i/subBuckets - 1
		first, width = (i%subBuckets+subBuckets)<<shift, 1<<shift
	}
	return time.Duration(first+width)*time.Microsecond - 1
}
