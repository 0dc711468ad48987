package action_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// readers are the operations that read after their own commit what they answer,
// with their key where they have one, and what proves that they took place.
var readers = map[string]struct {
	do    func(s *doubtful) (replayed bool, err error)
	query string // counts the effects
}{
	"order": {func(s *doubtful) (bool, error) {
		result, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: s.hold.ID})
		return result.Replayed, err
	}, "SELECT COUNT(*) - 1 FROM orders"},
	"release": {func(s *doubtful) (bool, error) {
		result, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{Key: "k", HoldID: s.hold.ID})
		return result.Replayed, err
	}, "SELECT COUNT(*) FROM movements WHERE reason = 'released'"},
	"cancellation": {func(s *doubtful) (bool, error) {
		result, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{Key: "k", OrderID: s.order.ID})
		return result.Replayed, err
	}, "SELECT COUNT(*) FROM outbox WHERE type = 'order.cancelled'"},
	"extension": {func(s *doubtful) (bool, error) {
		result, err := s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{Key: "k", HoldID: s.hold.ID, By: time.Minute})
		return result.Replayed, err
	}, "SELECT COUNT(*) FROM hold_lines WHERE expires_at = created_at + INTERVAL ttl_seconds + 60 SECOND"},
	"new product": {func(s *doubtful) (bool, error) {
		result, err := s.CreateProduct.Do(s.ctx(), action.CreateProductInput{
			Key: "k", SKU: "new", Name: "Thing", Rules: sale.Rules{Price: sale.Money{Amount: 1, Currency: "USD"}},
		})
		return result.Replayed, err
	}, "SELECT COUNT(*) FROM products WHERE sku = 'new'"},
	"patch": {func(s *doubtful) (bool, error) {
		_, err := s.UpdateProduct.Do(s.ctx(), s.p.ID, action.ProductPatch{HoldTTL: ptr(time.Minute)})
		return true, err
	}, "SELECT COUNT(*) FROM products WHERE hold_ttl_seconds = 60 AND version = stock_version + 1"},
	"payment": {func(s *doubtful) (bool, error) {
		result, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, s.order, "e", "own"))
		return result.Outcome == sale.OutcomeDuplicate, err
	}, "SELECT COUNT(*) FROM orders WHERE paid_at IS NOT NULL"},
}

// The commit is answered; the read of what to answer is not.
func TestCommittedOperationWhoseAnswerCannotBeReadHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			s := setupDoubtful(t, false)
			s.proxy.DieAfterNextCommit()
			_, err := reader.do(s)
			s.proxy.Resume()
			requireCode(t, err, sale.CodeOutcomeUnknown)
			assert.Equal(t, int64(1), s.proxy.Cuts())
			replayed, err := reader.do(s)
			require.NoError(t, err)
			assert.True(t, replayed, "who asks again hears of what was done")
			assert.Equal(t, int64(1), s.behind.count(reader.query))
		})
	}
}

func TestAdjustmentIsAnsweredWithoutAReadAfterItsCommit(t *testing.T) {
	s := setupDoubtful(t, false)
	s.proxy.DieAfterNextCommit()
	result, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: s.p.ID, Delta: 5, Reason: "found"})
	s.proxy.Resume()
	require.NoError(t, err)
	assert.Equal(t, int64(1), s.proxy.Cuts())
	assert.Equal(t, int64(13), result.Value.AvailableStock)
	s.behind.requireUnits(s.p, 13, 1, 1, 0)
}

func TestReleaseIsPublishedAndCountedEvenWhenItsAnswerCannotBeRead(t *testing.T) {
	s := setupDoubtful(t, false)
	s.proxy.DieAfterNextCommit()
	_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: s.hold.ID})
	read, readErr := s.GetProduct.Do(s.ctx(), s.p.ID)
	s.proxy.Resume()
	requireCode(t, err, sale.CodeOutcomeUnknown)
	require.NoError(t, readErr)
	assert.True(t, read.Hit, "the database was gone")
	assert.Equal(t, int64(9), read.Product.AvailableStock)
	assert.Equal(t, int64(1), s.meter.restored)
}

// hanging are operations whose COMMIT the server takes and never answers.
var hanging = map[string]func(s *doubtful) error{
	"hold": func(s *doubtful) error {
		_, err := s.CreateHold.Do(s.ctx(), wish("bob", line(s.p, 1)))
		return err
	},
	"release": func(s *doubtful) error {
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: s.hold.ID})
		return err
	},
	"patch": func(s *doubtful) error {
		_, err := s.UpdateProduct.Do(s.ctx(), s.p.ID, action.ProductPatch{HoldTTL: ptr(time.Minute)})
		return err
	},
}

func TestCommitThatHangsHasAnUnknownOutcomeAndBlocksNobodyBehindIt(t *testing.T) {
	t.Parallel()
	for path, coalesce := range map[string]bool{"plain": false, "merged": true} {
		for name, hang := range hanging {
			t.Run(path+" "+name, func(t *testing.T) {
				s := setupDoubtful(t, coalesce)
				s.proxy.FreezeAtNextCommit()
				requireCode(t, hang(s), sale.CodeOutcomeUnknown)

				const others = 10
				sent, outcomes := s.proxy.Queries(), newTally(t)
				crowd(others, func(int) {
					_, err := s.CreateHold.Do(s.ctx(), wish("eve", line(s.p, 1)))
					outcomes.add(err)
				})
				assert.Equal(t, map[sale.Code]int{sale.CodeUnavailable: others}, outcomes.codes)
				assert.Equal(t, sent, s.proxy.Queries(), "nobody waits for a server that is known to hang")

				s.proxy.Resume()
				comes(t, "the ping that ends the doubt", func() bool {
					_, err := s.GetHold.Do(s.ctx(), sale.NewHoldID(s.p.ID))
					return errors.Is(err, &sale.Error{Code: sale.CodeHoldNotFound})
				})
				s.shop.hold("eve", line(s.p, 1))
				want := map[string][4]int64{"hold": {6, 3, 1, 0}, "release": {8, 1, 1, 0}, "patch": {7, 2, 1, 0}}[name]
				s.behind.requireUnits(s.p, want[0], want[1], want[2], want[3])
			})
		}
	}
}
