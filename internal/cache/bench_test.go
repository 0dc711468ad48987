package cache

import (
	"testing"

	"github.com/flashsale-api/flashsale/internal/testenv"
)

func BenchmarkGetHit(b *testing.B) {
	b.Run("in process", func(b *testing.B) {
		c, _ := open(b, "", "")
		benchmarkGetHit(b, c)
	})
	b.Run("with Redis", func(b *testing.B) {
		url, prefix := testenv.Redis(b)
		c, _ := connected(b, url, prefix)
		benchmarkGetHit(b, c)
	})
}

func benchmarkGetHit(b *testing.B, c *Cache) {
	b.Helper()
	truth := newTruth()
	id, load := truth.id(), truth.load
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := c.Get(b.Context(), id, load); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	url, prefix := testenv.Redis(b)
	c, _ := connected(b, url, prefix)
	truth := newTruth()
	b.ReportAllocs()
	for b.Loop() {
		c.Put(b.Context(), truth.commit())
	}
}
