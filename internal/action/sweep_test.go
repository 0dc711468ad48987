package action_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestProductThatCannotBeSweptIsNamedAndDoesNotStopTheOthers(t *testing.T) {
	s := setup(t)
	low, high := s.twoProducts(5, 5)
	for _, p := range []sale.Product{low, high} {
		s.pass(s.hold("ann", line(p, 1)).ID)
	}
	holder := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", low.ID)
	released, err := s.ReleaseExpired.Do(s.ctx())
	require.NoError(t, holder.Rollback())
	assert.Equal(t, action.Released{Holds: 1, StockRestored: 1}, released)
	require.ErrorContains(t, err, low.ID.String())
	assert.NotContains(t, err.Error(), high.ID.String())
	s.requireUnits(low, 4, 1, 0, 0)
	s.requireUnits(high, 5, 0, 0, 0)
	assert.Equal(t, action.Released{Holds: 1, StockRestored: 1}, s.sweep())
}

// cuts are the two ways to lose a COMMIT.
var cuts = map[string]func(*testenv.CommitProxy){
	"answer lost": (*testenv.CommitProxy).CutNextCommitAnswer,
	"never seen":  (*testenv.CommitProxy).CutNextCommit,
}

// setupOverdue is a doubtful shop with a product whose units are all overdue.
func setupOverdue(t *testing.T, coalesce bool) (*doubtful, sale.Product) {
	t.Helper()
	s := setupDoubtful(t, coalesce)
	p := s.product(2, limited(2))
	for range 2 {
		s.pass(s.shop.hold("ann", line(p, 1)).ID)
	}
	return s, p
}

// A reserve gives back what is overdue in a transaction of its own, whose outcome is
// not that of the hold.
func TestLostCommitOfASweepWithinAReserveDoesNotReachTheCustomer(t *testing.T) {
	t.Parallel()
	for path, coalesce := range map[string]bool{"plain": false, "merged": true} {
		for name, cut := range cuts {
			for who, customer := range map[string]string{"stock": "bob", "limit": "ann"} {
				t.Run(path+" "+name+" "+who, func(t *testing.T) {
					s, p := setupOverdue(t, coalesce)
					if who == "limit" {
						_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 8, Reason: "found"})
						require.NoError(t, err)
					}
					cut(s.proxy)
					s.shop.hold(customer, line(p, 2))
					assert.Equal(t, int64(1), s.proxy.Cuts())
					b := s.behind.books(p)
					assert.Equal(t, [2]int64{b.Total - 2, 2}, [2]int64{b.Available, b.Held})
				})
			}
		}
	}
}

func TestSweepWhoseCommitIsLostGoesOnUntilNothingIsOverdue(t *testing.T) {
	t.Parallel()
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			s, p := setupOverdue(t, false)
			cut(s.proxy)
			_, err := s.ReleaseExpired.Do(s.ctx())
			assert.Equal(t, int64(1), s.proxy.Cuts())
			if err != nil {
				requireCode(t, err, sale.CodeUnavailable)
				s.sweep()
			}
			s.behind.requireUnits(p, 2, 0, 0, 0)
		})
	}
}
