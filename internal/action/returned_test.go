package action_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestWhatGoesBackIsCountedByItsReason(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(50, 50, limited(9))
		wish := func(units int64) []sale.LineRequest {
			return []sale.LineRequest{line(high, units), line(low, 1)}
		}
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: s.hold("ann", wish(1)...).ID})
		require.NoError(t, err)
		s.tell(said(sale.PaymentFailed, s.ordered("ann", wish(2)...), "failure", "failed"))
		s.cancel(s.ordered("ann", wish(3)...))
		paid := s.ordered("ann", wish(4)...)
		s.succeed(paid, "own")
		s.refund(paid, true)
		s.pass(s.hold("ann", wish(5)...).ID)
		s.pass(s.ordered("bob", wish(6)...).HoldID())
		s.sweep()
		assert.Equal(t, map[sale.ReturnReason][2]int64{
			sale.ReturnReleased: {2, 2}, sale.ReturnFailed: {2, 3}, sale.ReturnCancelled: {2, 4}, sale.ReturnRefunded: {2, 5},
			sale.ReturnExpired: {4, 13},
		}, s.meter.returned)

		s.pass(s.hold("eve", line(low, 9)).ID)
		s.hold("eve", line(low, 9)) // gives back what is overdue of the customer
		late := s.ordered("joe", line(high, 9))
		s.pass(late.HoldID())
		s.sweep()
		s.pass(s.hold("joe", line(high, 8)).ID)
		s.succeed(late, "late") // does so too
		assert.Equal(t, [2]int64{7, 39}, s.meter.returned[sale.ReturnExpired])
	})
}
