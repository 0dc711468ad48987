package action_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// all follows the pages of a list to its end.
func (s *shop) all(in action.ListOrdersInput) (orders []action.OrderView, pages int) {
	s.t.Helper()
	for {
		page, err := s.ListOrders.Do(s.ctx(), in)
		require.NoError(s.t, err)
		require.LessOrEqual(s.t, len(page.Orders), in.Limit)
		orders = append(orders, page.Orders...)
		pages++
		if page.Next == nil {
			return orders, pages
		}
		in.Before = page.Next
	}
}

func TestListsShowEachOrderOnceNewestFirstAndAsItIsReadAlone(t *testing.T) {
	s := setup(t)
	p := s.product(50)
	want := make([]action.OrderView, 0, 7)
	for range 7 {
		want = append(want, s.ordered("ann", line(p, 2)))
	}
	s.ordered("bob", line(p, 1))
	s.ordered("Ann", line(p, 1)) // another case is another customer
	s.succeed(want[2], "a")
	s.cancel(want[3])
	for _, limit := range []int{1, 3, 7, 100} {
		got, pages := s.all(action.ListOrdersInput{CustomerID: "ann", Limit: limit})
		require.Len(t, got, 7)
		assert.Equal(t, (7+limit-1)/limit, pages)
		seen := map[sale.OrderID]bool{}
		for i, order := range got {
			alone, err := s.GetOrder.Do(s.ctx(), order.ID)
			require.NoError(t, err)
			assert.Equal(t, alone, order)
			assert.False(t, seen[order.ID])
			seen[order.ID] = true
			if i > 0 {
				assert.Positive(t, got[i-1].ID.Compare(order.ID), "newest first")
			}
		}
	}
	everybodys, _ := s.all(action.ListOrdersInput{Limit: 3})
	assert.Len(t, everybodys, 9)
}

func TestListOfAStatusIsExactToTheInstant(t *testing.T) {
	shop := setup(t)
	want := map[sale.OrderStatus][]sale.OrderID{}
	for _, situation := range []string{
		"pending", "paid", "payment failed", "expired", "expired and swept", "cancelled", "refund due", "refunded",
	} {
		s := playIn(shop, situation)
		status := s.status(s.order)
		want[status] = append(want[status], s.order.ID)
	}
	assert.Len(t, want, len(sale.OrderStatuses()))
	for _, status := range sale.OrderStatuses() {
		for _, customer := range []string{"", "ann"} {
			got, _ := shop.all(action.ListOrdersInput{Status: status, CustomerID: customer, Limit: 1})
			ids := make([]sale.OrderID, len(got))
			for i, order := range got {
				ids[i] = order.ID
				assert.Equal(t, status, order.Status)
			}
			assert.ElementsMatch(t, want[status], ids, "%s %q", status, customer)
		}
	}
	none, pages := shop.all(action.ListOrdersInput{CustomerID: "nobody", Limit: 5})
	assert.Empty(t, none)
	assert.Equal(t, 1, pages)
}

// A status that hardly any order has does not make one request read the whole table.
func TestListOfARareStatusReadsABoundedNumberOfOrdersForAPage(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	rare := s.cancel(s.ordered("ann", line(p, 1)))
	s.exec(`INSERT INTO orders (id, customer_id, total_amount, currency, created_at, pay_by, line_count)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 150),
		               m AS (SELECT 1 AS j UNION ALL SELECT j + 1 FROM m WHERE j < 140)
		SELECT CONCAT(UNHEX('FE'), LEFT(UNHEX(SHA2(CONCAT(i, '.', j), 256)), 15)), 'crowd', 1, 'USD', NOW(6), NOW(6) + INTERVAL 1 DAY, 1 FROM n, m`)
	page, err := s.ListOrders.Do(s.ctx(), action.ListOrdersInput{Status: sale.OrderCancelled, Limit: 5})
	require.NoError(t, err)
	assert.Empty(t, page.Orders)
	require.NotNil(t, page.Next, "there may be more")
	got, pages := s.all(action.ListOrdersInput{Status: sale.OrderCancelled, Limit: 5})
	require.Len(t, got, 1)
	assert.Equal(t, rare.ID, got[0].ID)
	assert.Equal(t, 3, pages)
}

// Lists of a status read many orders for a few: they leave the connections to those who buy.
func TestListsOfAStatusReadTwoAtATimeAndTheOthersWaitWithoutAConnection(t *testing.T) {
	s := setup(t)
	s.ordered("ann", line(s.product(1), 1))
	unlock := s.lockTable("orders")
	var asking sync.WaitGroup
	for range 5 {
		asking.Go(func() {
			_, err := s.ListOrders.Do(s.ctx(), action.ListOrdersInput{Status: sale.OrderPendingPayment, Limit: 1})
			assert.NoError(t, err)
		})
	}
	comes(t, "three wait for their turn", func() bool { return s.meter.waitingAt(action.GateLists) == 3 })
	unlock()
	asking.Wait()
	assert.Zero(t, s.meter.waitingAt(action.GateLists))
}
