package action_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// fillOrders makes unpaid orders of all holds that fill has made.
func (s *shop) fillOrders(p sale.Product) {
	s.t.Helper()
	s.exec(`INSERT INTO orders (id, customer_id, total_amount, currency, created_at, pay_by, line_count)
		SELECT id, customer_id, 1000, 'USD', created_at, due_at, 1 FROM hold_lines WHERE product_id = ?`, p.ID)
	s.exec("UPDATE hold_lines SET state = 'pending' WHERE product_id = ?", p.ID)
}

// fillPayments gives each order of the product's lines a payment that it does not stand on.
func (s *shop) fillPayments(p sale.Product) {
	s.t.Helper()
	s.exec(`INSERT INTO payments (provider, payment_id, order_id, amount, currency, state, created_at, updated_at)
		SELECT 'standard', HEX(id), id, 1000, 'USD', 'owns', NOW(6), NOW(6) FROM hold_lines WHERE product_id = ?`, p.ID)
}

// What is told of the orders costs one statement, not one for each under the hot row.
func TestAWholeBatchOfOverdueOrdersGoesBackInAsManyStatementsAsOne(t *testing.T) {
	s := openCounted(t)
	costs := map[int64]int64{}
	for _, overdue := range []int64{1, 1, 999} {
		p := s.product(overdue)
		s.fill(p, overdue, -60)
		s.fillOrders(p)
		before := s.statements()
		s.sweep()
		costs[overdue] = s.statements() - before
		s.requireUnits(p, overdue, 0, 0, 0)
	}
	assert.Equal(t, costs[1], costs[999])
	assert.Equal(t, int64(1001), s.count("SELECT COUNT(*) FROM outbox WHERE type = ?", sale.EventOrderExpired))
}

func TestASweepThatFailsSaysThatNothingWentBack(t *testing.T) {
	s := setup(t)
	p := s.product(3)
	s.fill(p, 3, -60)
	s.exec("RENAME TABLE movements TO movements_away")
	released, err := s.ReleaseExpired.Do(s.ctx())
	s.exec("RENAME TABLE movements_away TO movements")
	require.Error(t, err)
	assert.Zero(t, released)
	assert.Zero(t, s.meter.restored)
	s.requireUnits(p, 0, 3, 0, 0)
}
