package action_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// withClock is a database whose clock stands still at an instant, in whole seconds,
// for whoever comes by this DSN.
func withClock(dsn string, at time.Time) string {
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return fmt.Sprintf("%s%stimestamp=%d", dsn, separator, at.Unix())
}

// Two processes with the same clock, whose databases' clocks are a day apart.
func TestTheDatabasesClockDecidesWhatIsOver(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]bool{"plain": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testenv.Database(t)
			merge := func(kit *action.Kit) { kit.Coalesce = coalesce }
			today := openShop(t, dsn, merge)
			tomorrow := openShop(t, withClock(dsn, time.Now().Add(24*time.Hour)), merge)
			p := today.product(5)
			hold, order := today.hold("ann", line(p, 1)), today.ordered("ann", line(p, 1))

			view, err := tomorrow.GetHold.Do(t.Context(), hold.ID)
			require.NoError(t, err)
			assert.Equal(t, sale.HoldExpired, view.Status)
			_, err = tomorrow.CreateOrder.Do(t.Context(), action.CreateOrderInput{HoldID: hold.ID})
			requireCode(t, err, sale.CodeHoldExpired)
			_, err = tomorrow.ExtendHold.Do(t.Context(), action.ExtendHoldInput{HoldID: hold.ID, By: time.Minute})
			requireCode(t, err, sale.CodeHoldNotActive)
			assert.Equal(t, sale.OrderExpired, tomorrow.status(order))
			assert.Equal(t, sale.OutcomeRebooked, tomorrow.succeed(order, "own").Outcome)
			assert.Equal(t, int64(1), tomorrow.sweep().Holds)
			today.requireUnits(p, 4, 0, 0, 1)
		})
	}
}

func TestSaleIsOpenAtItsStartAndOverAtItsEndToTheMicrosecond(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]bool{"plain": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now().Truncate(time.Second)
			s := openShop(t, withClock(testenv.Database(t), now), withFrozenCache, func(kit *action.Kit) { kit.Coalesce = coalesce })
			starts := s.product(5)
			ends := s.product(5)
			s.hold("ann", line(starts, 1)) // the cache knows both without a window
			s.hold("ann", line(ends, 1))
			s.exec("UPDATE products SET sale_starts_at = NOW(6) WHERE id = ?", starts.ID)
			s.exec("UPDATE products SET sale_ends_at = NOW(6) WHERE id = ?", ends.ID)
			s.hold("ann", line(starts, 1))
			s.refused(sale.CodeSaleEnded, wish("ann", line(ends, 1)))
		})
	}
}
