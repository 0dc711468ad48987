package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestHitsCostNoLoadUntilTheEntryIsASecondOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, meter := open(t, "", "")
		truth := newTruth()
		product, hit, err := c.Get(t.Context(), truth.id(), truth.load)
		require.NoError(t, err)
		assert.False(t, hit)
		assert.Equal(t, truth.product, product)

		time.Sleep(localLife - time.Nanosecond)
		for range 100 {
			product, hit, err = c.Get(t.Context(), truth.id(), truth.load)
			require.NoError(t, err)
			assert.True(t, hit)
			assert.Equal(t, truth.product, product)
		}
		assert.Equal(t, int64(1), truth.loads.Load())
		assert.Equal(t, map[string]int{ReadLoad: 1, ReadLocal: 100}, meter.reads)

		time.Sleep(time.Nanosecond)
		assert.Equal(t, int64(1), version(t, c, truth))
		assert.Equal(t, int64(2), truth.loads.Load())
		assert.Equal(t, StateOff, c.State())
	})
}

func TestTheNewestStateIsKnownHoweverOldItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := open(t, "", "")
		truth := newTruth()
		_, seen := c.Newest(truth.id())
		assert.False(t, seen)
		product, _, err := c.Get(t.Context(), truth.id(), truth.load)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		c.local.outdated(truth.id(), product.Version+1)
		newest, seen := c.Newest(truth.id())
		assert.True(t, seen)
		assert.Equal(t, product, newest)
		committed := truth.commit()
		c.Put(t.Context(), committed)
		newest, seen = c.Newest(truth.id())
		assert.True(t, seen)
		assert.Equal(t, committed, newest)
	})
}

func TestReadersOfOneMissShareOneLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := open(t, "", "")
		truth := newTruth()
		gate := make(chan struct{})
		var answered atomic.Int64
		for range 50 {
			go func() {
				_, _, err := c.Get(t.Context(), truth.id(), func(ctx context.Context) (sale.Product, error) {
					<-gate
					return truth.load(ctx)
				})
				assert.NoError(t, err)
				answered.Add(1)
			}()
		}
		synctest.Wait()
		assert.Zero(t, answered.Load())
		close(gate)
		synctest.Wait()
		assert.Equal(t, int64(50), answered.Load())
		assert.Equal(t, int64(1), truth.loads.Load())
	})
}

func TestALoadGoesOnForOthersWhenItsCallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := open(t, "", "")
		truth := newTruth()
		gate := make(chan struct{})
		slow := func(ctx context.Context) (sale.Product, error) {
			<-gate
			if err := ctx.Err(); err != nil {
				return sale.Product{}, err
			}
			return truth.load(ctx)
		}
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, _, err := c.Get(leaving, truth.id(), slow)
			left <- err
		}()
		synctest.Wait()
		stayed := make(chan error, 1)
		go func() {
			_, _, err := c.Get(t.Context(), truth.id(), slow)
			stayed <- err
		}()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		close(gate)
		require.NoError(t, <-stayed)
		assert.Equal(t, int64(1), truth.loads.Load())
	})
}

func TestAFlightBegunBeforeACommitServesNoLaterReader(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{
		"while the committed state is fresh": 0,
		"when it has to be asked for again":  localLife,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := open(t, "", "")
				truth := newTruth()
				old := truth.product
				gate := make(chan struct{})
				time.AfterFunc(wait+localLife/2, func() { close(gate) })
				go func() {
					time.Sleep(localLife / 4)
					// Began before the commit, ends after it.
					product, _, err := c.Get(t.Context(), truth.id(), func(context.Context) (sale.Product, error) {
						<-gate
						return old, nil
					})
					assert.NoError(t, err)
					assert.Equal(t, int64(1), product.Version)
				}()
				time.Sleep(localLife / 3)
				c.Put(t.Context(), truth.commit())
				time.Sleep(wait)
				assert.Equal(t, int64(2), version(t, c, truth), "while the old flight is under way")
				<-gate
				synctest.Wait()
				assert.Equal(t, int64(2), version(t, c, truth), "once it has landed")
			})
		})
	}
}

func TestAnOlderStateNeverReplacesANewerOneInTheProcess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := newLocal()
		id := sale.NewProductID()
		now := time.Now()
		newest := int64(0)
		for _, v := range rapid.SliceOfN(rapid.Int64Range(1, 20), 1, 20).Draw(rt, "versions") {
			product := example(id, v)
			l.put(&product, now.Add(localLife))
			newest = max(newest, v)
			kept, fresh := l.get(id, now)
			assert.True(rt, fresh)
			assert.Equal(rt, newest, kept.Version)
		}
	})
}

func TestAFailedLoadIsNotRemembered(t *testing.T) {
	t.Parallel()
	c, _ := open(t, "", "")
	id := sale.NewProductID()
	loads := 0
	for range 3 {
		_, hit, err := c.Get(t.Context(), id, func(context.Context) (sale.Product, error) {
			loads++
			return sale.Product{}, sale.Fail(sale.CodeProductNotFound, "There is no such product.")
		})
		require.ErrorIs(t, err, &sale.Error{Code: sale.CodeProductNotFound})
		assert.False(t, hit)
	}
	assert.Equal(t, 3, loads)
	assert.Empty(t, c.local.shard(id).records)
}

func TestALoadThatPanicsIsAnErrorOfItsReaders(t *testing.T) {
	t.Parallel()
	c, _ := open(t, "", "")
	_, _, err := c.Get(t.Context(), sale.NewProductID(), func(context.Context) (sale.Product, error) { panic("a fault") })
	require.ErrorContains(t, err, "a fault")
}

func TestTheProcessKeepsABoundedNumberOfProducts(t *testing.T) {
	t.Parallel()
	c, _ := open(t, "", "")
	var last sale.Product
	for range 2 * maxProducts {
		last = example(sale.NewProductID(), 1)
		c.Put(t.Context(), last)
	}
	kept := 0
	for i := range c.local.shards {
		kept += len(c.local.shards[i].records)
	}
	assert.LessOrEqual(t, kept, maxProducts)
	assert.Greater(t, kept, maxProducts/2)
}

func TestFailedWritesThatWaitAreBoundedAndTheNewest(t *testing.T) {
	t.Parallel()
	var writes pending
	id := sale.NewProductID()
	for _, v := range []int64{2, 3, 1} {
		assert.Zero(t, writes.add(pendingWrite{product: example(id, v), since: time.Now()}))
	}
	taken := writes.take(batch)
	require.Len(t, taken, 1)
	assert.Equal(t, int64(3), taken[0].product.Version)

	dropped := 0
	for range maxProducts + 5 {
		dropped += writes.add(pendingWrite{product: example(sale.NewProductID(), 1), since: time.Now()})
	}
	assert.Equal(t, 5, dropped)
	assert.Len(t, writes.take(2*maxProducts), maxProducts)

	writes.add(pendingWrite{product: example(id, 1), since: time.Now().Add(-retryFor)})
	assert.Empty(t, writes.take(batch), "too old to be worth a try")
}

func TestAProductComesBackFromItsEncodingUnchanged(t *testing.T) {
	t.Parallel()
	instants := rapid.Custom(func(rt *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 253_402_300_799_999_999).Draw(rt, "micros")).UTC()
	})
	text := rapid.StringN(1, -1, -1)
	version := rapid.Int64Range(1, 1<<52)
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.Int64Range(0, sale.MaxStock).Draw(rt, "total")
		want := sale.Product{
			ID:   sale.NewProductID(),
			SKU:  text.Draw(rt, "sku"),
			Name: text.Draw(rt, "name"),
			Rules: sale.Rules{
				Price:            sale.Money{Amount: rapid.Int64Range(0, sale.MaxAmount).Draw(rt, "amount"), Currency: "EUR"},
				SaleStartsAt:     rapid.Ptr(instants, true).Draw(rt, "starts"),
				SaleEndsAt:       rapid.Ptr(instants, true).Draw(rt, "ends"),
				PerCustomerLimit: rapid.Ptr(rapid.Int64Range(1, sale.MaxStock), true).Draw(rt, "limit"),
				HoldTTL:          time.Duration(rapid.Int64Range(1, 1<<52).Draw(rt, "ttl")),
				PaymentWindow:    time.Duration(rapid.Int64Range(1, 1<<52).Draw(rt, "window")),
			},
			TotalStock:     total,
			AvailableStock: rapid.Int64Range(0, total).Draw(rt, "available"),
			StockVersion:   version.Draw(rt, "stock version"),
			Version:        version.Draw(rt, "version"),
			CreatedAt:      instants.Draw(rt, "created"),
			UpdatedAt:      instants.Draw(rt, "updated"),
		}
		text, err := encode(&want)
		require.NoError(rt, err)
		got, err := decode(want.ID, text)
		require.NoError(rt, err)
		assert.Equal(rt, want, got)
	})
}
