package action_test

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func (s *shop) tellStock() int64 {
	s.t.Helper()
	told, err := s.TellStock.Do(s.ctx())
	require.NoError(s.t, err)
	return told
}

func TestStockIsToldWhileSomebodyListensItsLatestStateOnly(t *testing.T) {
	s := setup(t, withSender(t))
	product := s.product(10)
	s.endpoint("https://example.com/", sale.EventOrderPaid)
	assert.Zero(t, s.tellStock(), "nobody listens")
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL, sale.EventStockChanged)
	assert.Equal(t, int64(1), s.tellStock(), "who comes is told of everything")
	assert.Zero(t, s.tellStock(), "nothing changed")
	for range 3 {
		s.hold("ann", line(product, 1))
	}
	seller := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", product.ID)
	assert.Equal(t, int64(1), s.tellStock(), "three changes are told once, and a sale is not waited for")
	require.NoError(t, seller.Rollback())
	s.deliver(endpoint)

	letters := inbox.got()
	require.Len(t, letters, 2)
	for _, got := range letters {
		version := got.sequence()
		assert.Contains(t, []int64{1, 4}, version)
		assert.Equal(t, sale.StockEventID(product.ID, version).String(), got.ID)
		assert.Equal(t, map[string]any{
			"product_id": product.ID.String(), "available_stock": float64(11 - version), "total_stock": 10.0, "sequence": float64(version),
		}, got.Data)
	}

	s.hold("ann", line(product, 1))
	s.exec("UPDATE webhook_endpoints SET disabled_at = NOW(6), disabled_reason = 'x' WHERE id = ?", endpoint.ID)
	assert.Zero(t, s.tellStock(), "who listened is disabled")
	s.exec("UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = '' WHERE id = ?", endpoint.ID)
	require.NoError(t, s.DeleteEndpoint.Do(t.Context(), endpoint.ID))
	assert.Zero(t, s.tellStock(), "who listened is gone")
}

func TestSeveralProcessesTellEachVersionOnce(t *testing.T) {
	s := setup(t, withSender(t))
	s.endpoint("https://example.com/", sale.EventStockChanged)
	for range 30 {
		s.product(10)
	}
	processes := []*action.Actions{s.branch(), s.branch(), s.branch(), s.branch()}
	var told atomic.Int64
	outcome := newTally(t)
	crowd(len(processes), func(i int) {
		n, err := processes[i].TellStock.Do(t.Context())
		outcome.add(err)
		told.Add(n)
	})
	assert.Equal(t, map[sale.Code]int{"": len(processes)}, outcome.codes)
	assert.Equal(t, int64(30), told.Load())
	assert.Equal(t, int64(30), s.count("SELECT COUNT(*) FROM outbox WHERE type = 'stock.changed'"))
}

// However many products there are, a look for those that changed goes on where the one
// before ended.
func TestTheWholeStockIsToldAndEachProductLookedAtOnce(t *testing.T) {
	s := setup(t, withSender(t))
	s.endpoint("https://example.com/", sale.EventStockChanged)
	const products = 450
	ids := make([]sale.ProductID, products)
	for i := range ids {
		ids[i] = s.product(10).ID
	}
	slices.SortFunc(ids, func(a, b sale.ProductID) int { return bytes.Compare(a[:], b[:]) })
	s.exec("ANALYZE TABLE products, stock_tellings")
	assert.LessOrEqual(t, readsOf(t, s, func(ctx context.Context, db store.DBTX) error {
		untold, err := store.New().UntoldStock(ctx, db, store.UntoldStockParams{After: ids[439], Limit: 200})
		assert.Equal(t, ids[440:], untold)
		return err
	}), int64(30))
	assert.Equal(t, int64(products), s.tellStock())
	assert.Equal(t, int64(products), s.count("SELECT COUNT(*) FROM outbox WHERE type = 'stock.changed'"))
	assert.Zero(t, s.tellStock())
}
