package action_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestAuditOfAProductTellsWhereItsUnitsAre(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	s.hold("ann", line(p, 1))
	s.ordered("bob", line(p, 2))
	s.succeed(s.ordered("cid", line(p, 3)), "pay_1")
	books, err := s.AuditProduct.Do(s.ctx(), p.ID)
	require.NoError(t, err)
	assert.Equal(t, sale.Books{
		ProductID: p.ID, SKU: p.SKU, StockVersion: 4,
		Available: 4, Held: 1, Pending: 2, Sold: 3, Total: 10, LedgerAvailable: 4,
	}, books)
	_, err = s.AuditProduct.Do(s.ctx(), sale.NewProductID())
	requireCode(t, err, sale.CodeProductNotFound)
}

// Each crowd asks while the stock changes: whatever an audit sees, it balances.
func TestCrowdOfAuditsSeesBalancedBooksWhileStockMoves(t *testing.T) {
	s := setup(t)
	p := s.product(200)
	crowd(60, func(i int) {
		if i%2 == 0 {
			s.succeed(s.ordered(fmt.Sprint("customer ", i), line(p, 1)), fmt.Sprint("pay_", i))
			return
		}
		books, err := s.AuditProduct.Do(s.ctx(), p.ID)
		assert.True(t, err == nil && books.Balanced(), "%+v %v", books, err)
	})
	s.requireUnits(p, 170, 0, 0, 30)
}

func TestAuditThatCannotBeReadInTimeIsOverloadedAndHoldsGoOn(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	s := openShop(t, dsn)
	hurried := s.kit
	var err error
	hurried.DB, err = mysql.Open(mysql.Config{DSN: dsn, Timeout: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hurried.DB.Close()) })
	audits := action.New(hurried)
	p := s.product(10)
	holder, err := s.db.SQL().Conn(s.ctx())
	require.NoError(t, err)
	_, err = holder.ExecContext(s.ctx(), "LOCK TABLES orders WRITE, movements WRITE")
	require.NoError(t, err)
	crowd(20, func(int) {
		_, err := audits.AuditProduct.Do(s.ctx(), p.ID)
		assert.ErrorIs(t, err, &sale.Error{Code: sale.CodeOverloaded})
	})
	// A sweep has its connection while an audit waits.
	released, err := audits.ReleaseExpired.Do(s.ctx())
	require.NoError(t, err)
	assert.Zero(t, released)
	_, err = holder.ExecContext(s.ctx(), "UNLOCK TABLES")
	require.NoError(t, err)
	require.NoError(t, holder.Close())
	books, err := s.AuditProduct.Do(s.ctx(), p.ID)
	require.NoError(t, err)
	assert.True(t, books.Balanced())
}

func TestLedgerIsListedNewestFirstWithoutGapsInPages(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	hold := s.hold("ann", line(p, 3))
	_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
	require.NoError(t, err)
	_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 5, Reason: "found"})
	require.NoError(t, err)

	var got []sale.Movement
	var before *int64
	for range 2 {
		page, err := s.ListMovements.Do(s.ctx(), p.ID, 2, before)
		require.NoError(t, err)
		require.Len(t, page.Movements, 2)
		got, before = append(got, page.Movements...), page.Next
	}
	assert.Nil(t, before, "the last page has no next one")
	for i, want := range []sale.Movement{
		{StockVersion: 4, Delta: 5, AvailableAfter: 15, Reason: sale.MovementAdjusted, Note: "found"},
		{StockVersion: 3, Delta: 3, AvailableAfter: 10, Reason: sale.MovementReleased},
		{StockVersion: 2, Delta: -3, AvailableAfter: 7, Reason: sale.MovementHeld},
		{StockVersion: 1, Delta: 10, AvailableAfter: 10, Reason: sale.MovementCreated},
	} {
		want.CreatedAt = got[i].CreatedAt
		assert.Equal(t, want, got[i])
	}

	end, err := s.ListMovements.Do(s.ctx(), p.ID, 2, ptr(int64(1)))
	require.NoError(t, err)
	assert.Equal(t, action.MovementPage{}, end)
	_, err = s.ListMovements.Do(s.ctx(), sale.NewProductID(), 2, nil)
	requireCode(t, err, sale.CodeProductNotFound)
}

// auditRound audits what changed since the marks were made.
func (s *shop) auditRound(known map[sale.ProductID]action.AuditMark) action.AuditRound {
	s.t.Helper()
	round, err := s.AuditChanged.Do(s.ctx(), known)
	require.NoError(s.t, err)
	return round
}

func TestRoundsAuditAllProductsOnceAndThenThoseWhoseStockChanged(t *testing.T) {
	s := setup(t)
	sold, idle := s.product(10), s.product(10)
	first := s.auditRound(nil)
	assert.Equal(t, map[sale.ProductID]int64{sold.ID: 1, idle.ID: 1}, versionsSeen(first))

	// Behind the service's back, without a version that tells of it.
	s.exec("UPDATE products SET available_stock = 7")
	assert.Empty(t, s.auditRound(rested(first)).Unbalanced, "nothing was audited again")
	s.hold("ann", line(sold, 1))
	second := s.auditRound(rested(first))
	require.Len(t, second.Unbalanced, 1)
	assert.Equal(t, sold.ID, second.Unbalanced[0].ProductID)
	assert.Equal(t, int64(6), second.Imbalance, "3 units are nowhere, and the ledger has 3 more than there are")
	assert.Equal(t, action.AuditMark{StockVersion: 2, Imbalance: 6}, second.Marks[sold.ID])

	third := s.auditRound(rested(second))
	assert.Equal(t, second.Unbalanced, third.Unbalanced, "what is out of balance is audited in each round")
	s.exec("UPDATE products SET available_stock = available_stock + 3")
	s.exec("UPDATE movements SET available_after = available_after + 3 WHERE reason = 'held'")
	fourth := s.auditRound(rested(third))
	assert.Empty(t, fourth.Unbalanced)
	assert.Zero(t, fourth.Imbalance)
}

// versionsSeen is each product's stock version as a round saw it.
func versionsSeen(round action.AuditRound) map[sale.ProductID]int64 {
	versions := map[sale.ProductID]int64{}
	for id, mark := range round.Marks {
		versions[id] = mark.StockVersion
	}
	return versions
}

// rested are a round's marks as if all products had been audited in it.
func rested(round action.AuditRound) map[sale.ProductID]action.AuditMark {
	marks := maps.Clone(round.Marks)
	for id, mark := range marks {
		mark.Rounds = 0
		marks[id] = mark
	}
	return marks
}

// Somebody may change tables by hand, and no version tells of it.
func TestAProductWhoseStockDoesNotChangeIsAuditedAgainOnceInAWhile(t *testing.T) {
	s := setup(t)
	s.product(10)
	round := s.auditRound(nil)
	s.exec("UPDATE products SET available_stock = 7")
	for rounds := 0; round.Imbalance == 0; rounds++ {
		require.Less(t, rounds, 100)
		round = s.auditRound(round.Marks)
	}
	assert.Len(t, round.Unbalanced, 1)
	s.exec("UPDATE products SET available_stock = 10")
}

func TestRoundThatIsCutShortKeepsTheMarksItHad(t *testing.T) {
	s := setup(t)
	p, gone := s.product(10), sale.NewProductID()
	known := map[sale.ProductID]action.AuditMark{p.ID: {StockVersion: 1, Imbalance: 2}, gone: {StockVersion: 5}}
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	round, err := s.AuditChanged.Do(ctx, known)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, action.AuditRound{Marks: known, Imbalance: 2}, round)
	assert.NotContains(t, s.auditRound(known).Marks, gone, "a whole round forgets what is gone")
}
