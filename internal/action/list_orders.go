package action

import (
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// ordersStep is how many orders one statement of a list reads.
	ordersStep = 500
	// ordersScan bounds how many orders are read for one page: a status that few
	// orders have must not make one request read the whole table.
	ordersScan = 10_000
	// searchWidth is how many pages of a status are read at a time.
	searchWidth = 2
)

// ListOrders reads orders, newest first.
type ListOrders struct {
	*desk
	searches *lane.Gates[search]
}

// search is the one gate of all lists of a status, which read many orders for a few:
// they must not take the connections from those who buy.
type search struct{}

func newListOrders(d *desk) *ListOrders {
	return &ListOrders{desk: d, searches: lane.NewGates[search](searchWidth, d.Meter.Gate(GateLists), d.patience(forTurn))}
}

// ListOrdersInput says which orders are wanted.
type ListOrdersInput struct {
	CustomerID string           // "": of all customers
	Status     sale.OrderStatus // "": of any
	Limit      int
	Before     *sale.OrderID // where the page before ended; nil: from the newest on
}

// OrderPage is a page of orders. Next is where it ended, when there may be more: the
// page can be shorter than its limit even then.
type OrderPage struct {
	Orders []OrderView
	Next   *sale.OrderID
}

// Do gives a page. A status is derived from the order's facts and the clock, as for a
// single order, so orders are read and then picked. CodeOverloaded when too many do so.
func (a *ListOrders) Do(ctx context.Context, in ListOrdersInput) (OrderPage, error) {
	if in.Status != "" {
		leave, err := a.searches.Enter(ctx, search{})
		if err != nil {
			return OrderPage{}, overloaded(err)
		}
		defer leave()
	}
	var page OrderPage
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		found, next, err := a.find(ctx, q, in)
		if err != nil {
			return err
		}
		page.Next = next
		page.Orders, err = a.withLines(ctx, q, found)
		return err
	})
	return page, err
}

// foundOrder is an order's row and the clock that its status goes by.
type foundOrder struct {
	order store.Order
	now   time.Time
}

// find reads orders until the page is full, the table ends or enough was read.
func (a *ListOrders) find(ctx context.Context, q store.DBTX, in ListOrdersInput) ([]foundOrder, *sale.OrderID, error) {
	before := sale.LastOrderID()
	if in.Before != nil {
		before = *in.Before
	}
	var found []foundOrder
	for range ordersScan / ordersStep {
		rows, err := a.step(ctx, q, in, before)
		if err != nil {
			return nil, nil, fmt.Errorf("listing orders: %w", err)
		}
		for _, row := range rows {
			if in.Status != "" && orderOf(row.order, nil).Status(row.now) != in.Status {
				continue
			}
			if len(found) == in.Limit {
				return found, &found[in.Limit-1].order.ID, nil
			}
			found = append(found, row)
		}
		if len(rows) < a.stepOf(in) {
			return found, nil, nil
		}
		before = rows[len(rows)-1].order.ID
	}
	return found, &before, nil
}

// stepOf: without a status each order that is read is on the page, and one more tells
// whether there is a next one.
func (a *ListOrders) stepOf(in ListOrdersInput) int {
	if in.Status == "" {
		return in.Limit + 1
	}
	return ordersStep
}

func (a *ListOrders) step(ctx context.Context, q store.DBTX, in ListOrdersInput, before sale.OrderID) ([]foundOrder, error) {
	limit := int32(a.stepOf(in)) //nolint:gosec // some hundreds
	var found []foundOrder
	if in.CustomerID != "" {
		rows, err := a.q.ListCustomersOrders(ctx, q, store.ListCustomersOrdersParams{
			CustomerID: in.CustomerID, Before: before, Limit: limit,
		})
		for _, row := range rows {
			found = append(found, foundOrder{row.Order, row.Now})
		}
		return found, err
	}
	rows, err := a.q.ListOrders(ctx, q, store.ListOrdersParams{Before: before, Limit: limit})
	for _, row := range rows {
		found = append(found, foundOrder{row.Order, row.Now})
	}
	return found, err
}

func (a *ListOrders) withLines(ctx context.Context, q store.DBTX, found []foundOrder) ([]OrderView, error) {
	if len(found) == 0 {
		return nil, nil
	}
	holds := make([]sale.HoldID, len(found))
	for i, f := range found {
		holds[i] = sale.HoldOf(f.order.ID)
	}
	rows, err := a.q.LinesOfHolds(ctx, q, holds)
	if err != nil {
		return nil, fmt.Errorf("reading the lines of %d orders: %w", len(found), err)
	}
	lines := byHold(rows)
	views := make([]OrderView, len(found))
	for i, f := range found {
		order := orderOf(f.order, lines[holds[i]])
		views[i] = OrderView{Order: order, Status: order.Status(f.now)}
	}
	return views, nil
}
