package action_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// doubtful is a shop whose COMMITs can be lost; behind is the same one, directly.
type doubtful struct {
	*shop
	behind *shop
	proxy  *testenv.CommitProxy
	p      sale.Product
	hold   action.HoldView
	order  action.OrderView
	next   sale.HoldID // which a client makes for its next hold, and tries again with
}

func setupDoubtful(t *testing.T, coalesce bool) *doubtful {
	t.Helper()
	t.Parallel()
	dsn := testenv.Database(t)
	proxy := testenv.NewCommitProxy(t, dsn)
	merge := func(kit *action.Kit) { kit.Coalesce = coalesce }
	s := &doubtful{behind: openShop(t, dsn, merge), proxy: proxy}
	s.shop = openShop(t, proxy.DSN(), merge)
	t.Cleanup(proxy.Resume) // before the books are read
	s.p = s.product(10)
	s.hold = s.shop.hold("ann", line(s.p, 1))
	s.order = s.ordered("ann", line(s.p, 1))
	s.next = sale.NewHoldID(s.p.ID)
	return s
}

// doings are the operations that settle a lost commit, each with what it changes.
var doings = map[string]struct {
	do    func(s *doubtful) (replayed bool, err error)
	units [4]int64 // available, held, pending, sold when it took place
}{
	"hold": {func(s *doubtful) (bool, error) {
		result, err := s.CreateHold.Do(s.ctx(), wish("bob", line(s.p, 2)))
		return result.Replayed, err
	}, [4]int64{6, 3, 1, 0}},
	"hold with a key": {func(s *doubtful) (bool, error) {
		result, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "bob", line(s.p, 2)))
		return result.Replayed, err
	}, [4]int64{6, 3, 1, 0}},
	"hold with its id": {func(s *doubtful) (bool, error) {
		result, err := s.CreateHold.Do(s.ctx(), keyedWish(s.next.String(), "bob", line(s.p, 2)))
		return result.Replayed, err
	}, [4]int64{6, 3, 1, 0}},
	"adjustment": {func(s *doubtful) (bool, error) {
		result, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: s.p.ID, Delta: 5, Reason: "found"})
		return result.Replayed, err
	}, [4]int64{13, 1, 1, 0}},
	"release": {func(s *doubtful) (bool, error) {
		result, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: s.hold.ID})
		return result.Replayed, err
	}, [4]int64{9, 0, 1, 0}},
	"order": {func(s *doubtful) (bool, error) {
		result, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: s.hold.ID})
		return result.Replayed, err
	}, [4]int64{8, 0, 2, 0}},
	"order with its hold's id": {func(s *doubtful) (bool, error) {
		result, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: s.hold.ID.String(), HoldID: s.hold.ID})
		return result.Replayed, err
	}, [4]int64{8, 0, 2, 0}},
	"payment": {func(s *doubtful) (bool, error) {
		result, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, s.order, "e", "own"))
		return result.Outcome == sale.OutcomeDuplicate, err
	}, [4]int64{8, 1, 0, 1}},
}

func eachDoing(t *testing.T, test func(t *testing.T, s *doubtful, do func(*doubtful) (bool, error), units [4]int64)) {
	t.Helper()
	t.Parallel()
	for name, doing := range doings {
		t.Run(name, func(t *testing.T) { test(t, setupDoubtful(t, false), doing.do, doing.units) })
	}
	for _, name := range []string{
		"hold", "hold with a key", "hold with its id", "order", "order with its hold's id", "payment",
	} {
		t.Run("merged "+name, func(t *testing.T) { test(t, setupDoubtful(t, true), doings[name].do, doings[name].units) })
	}
}

func TestLostAnswerToACommitIsFoundOutAndAnsweredAsASuccess(t *testing.T) {
	eachDoing(t, func(t *testing.T, s *doubtful, do func(*doubtful) (bool, error), units [4]int64) {
		t.Helper()
		s.proxy.CutNextCommitAnswer()
		replayed, err := do(s)
		require.NoError(t, err)
		assert.False(t, replayed)
		assert.Equal(t, int64(1), s.proxy.Cuts())
		s.behind.requireUnits(s.p, units[0], units[1], units[2], units[3])
	})
}

func TestCommitThatNeverArrivedIsUnavailableAndTheNextTryWorks(t *testing.T) {
	eachDoing(t, func(t *testing.T, s *doubtful, do func(*doubtful) (bool, error), units [4]int64) {
		t.Helper()
		s.proxy.CutNextCommit()
		_, err := do(s)
		requireCode(t, err, sale.CodeUnavailable)
		assert.Equal(t, int64(1), s.proxy.Cuts())
		s.behind.requireUnits(s.p, 8, 1, 1, 0)
		replayed, err := do(s)
		require.NoError(t, err)
		assert.False(t, replayed)
		s.behind.requireUnits(s.p, units[0], units[1], units[2], units[3])
	})
}

func TestHoldWhoseCommitNeverArrivedDoesNotShowInReads(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]bool{"plain": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			s := setupDoubtful(t, coalesce)
			s.proxy.CutNextCommit()
			_, err := s.CreateHold.Do(s.ctx(), wish("bob", line(s.p, 2)))
			requireCode(t, err, sale.CodeUnavailable)
			read, err := s.GetProduct.Do(s.ctx(), s.p.ID)
			require.NoError(t, err)
			assert.Equal(t, int64(8), read.Product.AvailableStock)
		})
	}
}

// Whatever fault of ours there is after a commit, nobody is told that nothing was done.
func TestBatchThatBreaksOffAfterItsCommitHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	s := openShop(t, dsn)
	p := s.product(10)
	hold, order := s.hold("ann", line(p, 1)), s.ordered("bob", line(p, 1))
	db, err := mysql.Open(mysql.Config{
		DSN: dsn, Connections: 8, Timeout: testenv.Timeout, Log: s.kit.Log,
		Committed: func(time.Duration) { panic("after the commit") },
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	s.kit.DB, s.kit.Coalesce = db, true
	breaking := s.branch()
	for name, do := range map[string]func() error{
		"hold": func() error {
			_, err := breaking.CreateHold.Do(s.ctx(), wish("eve", line(p, 1)))
			return err
		},
		"order": func() error {
			_, err := breaking.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
			return err
		},
		"payment": func() error {
			_, err := breaking.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, order, "event", "payment"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := do()
			requireCode(t, err, sale.CodeOutcomeUnknown)
			require.ErrorContains(t, err, "after the commit", "logs show the cause")
		})
	}
	s.requireUnits(p, 7, 1, 1, 1)
}

func TestUpdateWhoseCommitWasNotAnsweredHasAnUnknownOutcome(t *testing.T) {
	s := setupDoubtful(t, false)
	s.proxy.CutNextCommitAnswer()
	_, err := s.UpdateProduct.Do(s.ctx(), s.p.ID, action.ProductPatch{HoldTTL: ptr(time.Minute)})
	requireCode(t, err, sale.CodeOutcomeUnknown)
	updated, err := s.behind.GetProduct.Do(s.ctx(), s.p.ID)
	require.NoError(t, err)
	assert.Equal(t, time.Minute, updated.Product.HoldTTL)
}

func TestAKeyThatWasUsedADayAgoDoesNotVouchForALostCommit(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]struct {
		commit    func(*testenv.CommitProxy)
		happened  bool
		available int64
	}{
		"that never arrived": {(*testenv.CommitProxy).CutNextCommit, false, 13},
		"that took place":    {(*testenv.CommitProxy).CutNextCommitAnswer, true, 18},
	} {
		t.Run(name, func(t *testing.T) {
			s := setupDoubtful(t, false)
			nightly := action.AdjustStockInput{Key: "nightly", ProductID: s.p.ID, Delta: 5, Reason: "found"}
			_, err := s.AdjustStock.Do(s.ctx(), nightly)
			require.NoError(t, err)
			s.behind.exec("UPDATE idempotency_keys SET created_at = created_at - INTERVAL 25 HOUR")
			lose.commit(s.proxy)
			result, err := s.AdjustStock.Do(s.ctx(), nightly)
			if lose.happened {
				require.NoError(t, err)
				assert.False(t, result.Replayed)
			} else {
				requireCode(t, err, sale.CodeUnavailable)
			}
			s.behind.requireUnits(s.p, lose.available, 1, 1, 0)
		})
	}
}
