package action_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func (s *shop) repair(p sale.Product) sale.Repair {
	s.t.Helper()
	repair, err := s.RepairBooks.Do(s.ctx(), p.ID)
	require.NoError(s.t, err)
	return repair
}

// breakages are what somebody may have done to the tables of a product with 10 units
// of which 3 are held, and what sets it right: available then, and the movement.
var breakages = map[string]struct {
	change           string
	available, delta int64
}{
	"too much is available":   {"UPDATE products SET available_stock = 9", 7, 0},
	"too little is available": {"UPDATE products SET available_stock = 0", 7, 0},
	"the ledger has too much": {
		"UPDATE movements SET delta = -1, available_after = 9 WHERE reason = 'held'", 7, -2,
	},
	"the ledger has too little": {
		"UPDATE movements SET delta = -10, available_after = 0 WHERE reason = 'held'", 7, 7,
	},
	"a line has too much":  {"UPDATE hold_lines SET quantity = 5", 5, -2},
	"a line is not there":  {"DELETE FROM hold_lines", 10, 3},
	"the total is another": {"UPDATE products SET total_stock = 12", 9, 2},
}

func TestRepairBalancesTheBooksByTheLinesOnce(t *testing.T) {
	t.Parallel()
	for name, broken := range breakages {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			p := s.product(10)
			s.hold("ann", line(p, 3))
			s.exec(broken.change)
			before := s.books(p)
			require.False(t, before.Balanced())

			repair := s.repair(p)
			assert.Equal(t, before, repair.Books)
			after := s.books(p)
			assert.True(t, after.Balanced(), "%+v", after)
			assert.Equal(t, broken.available, after.Available)
			page, err := s.ListMovements.Do(s.ctx(), p.ID, 1, nil)
			require.NoError(t, err)
			movement := page.Movements[0]
			assert.Equal(t, sale.MovementRepaired, movement.Reason)
			assert.Equal(t, [3]int64{3, broken.delta, broken.available},
				[3]int64{movement.StockVersion, movement.Delta, movement.AvailableAfter})
			assert.Equal(t, fmt.Sprintf("available was %d, the ledger's sum %d", before.Available, before.LedgerAvailable), movement.Note)
			read, err := s.GetProduct.Do(s.ctx(), p.ID)
			require.NoError(t, err)
			assert.Equal(t, broken.available, read.Product.AvailableStock, "the cache was told")

			assert.True(t, s.repair(p).Balanced(), "there is nothing left to repair")
			assert.Equal(t, after, s.books(p))
		})
	}
}

func TestOversoldProductIsNotRepairedSinceAPersonHasToDecide(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	s.hold("ann", line(p, 3))
	s.exec("UPDATE hold_lines SET quantity = 12")
	before := s.books(p)
	repair := s.repair(p)
	assert.False(t, repair.Possible())
	assert.Equal(t, int64(2), repair.Oversold)
	assert.Equal(t, before, s.books(p), "nothing was invented")

	_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 2, Reason: "the crowd came"})
	require.NoError(t, err)
	assert.True(t, s.repair(p).Possible())
	s.requireUnits(p, 0, 12, 0, 0)
}

func TestRepairGoesPastAMovementThatWasWrittenByHand(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	s.exec("INSERT INTO movements VALUES (?, 2, 1, 11, 'adjusted', 'by hand', NOW(6))", p.ID)
	assert.Equal(t, int64(-1), s.repair(p).LedgerDelta)
	assert.Equal(t, int64(3), s.books(p).StockVersion)
}

// The lines are counted under the product's lock: whatever sells meanwhile is counted, or
// waits.
func TestRepairInTheMidstOfSalesBalancesTheBooks(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(100)
		s.hold("ann", line(p, 3))
		s.exec("UPDATE products SET available_stock = available_stock - 20")
		s.exec("UPDATE movements SET delta = delta - 20, available_after = available_after - 20 WHERE reason = 'held'")
		operator := s.branch()
		crowd(21, func(i int) {
			if i == 10 {
				_, err := operator.RepairBooks.Do(s.ctx(), p.ID)
				assert.NoError(t, err)
				return
			}
			hold := s.hold(fmt.Sprint("customer ", i), line(p, 1))
			if i%2 == 0 {
				_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
				assert.NoError(t, err)
				return
			}
			s.order(hold)
		})
		s.requireUnits(p, 87, 3, 10, 0)
	})
}

func TestRepairOfAnUnknownProductIsRefused(t *testing.T) {
	s := setup(t)
	_, err := s.RepairBooks.Do(s.ctx(), sale.NewProductID())
	requireCode(t, err, sale.CodeProductNotFound)
}
