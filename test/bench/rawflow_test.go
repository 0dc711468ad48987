//go:build linux

package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// eventsAnnounced are as many as one announcement of the engine has.
const eventsAnnounced = 50

// flows writes what a batch of whole flows writes: the holds, then their orders, then the
// payments, each in a transaction of its own and with the engine's own statements.
func (r *rawDB) flows(ctx context.Context) error {
	ids := r.newIDs()
	for _, step := range []func(context.Context, *sql.Tx, []sale.HoldID, time.Time) error{r.hold, r.order, r.pay} {
		err := r.tx(ctx, func(tx *sql.Tx, now time.Time) error { return step(ctx, tx, ids, now) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rawDB) order(ctx context.Context, tx *sql.Tx, ids []sale.HoldID, now time.Time) error {
	locked, err := r.queries.LockHolds(ctx, tx, ids)
	if err != nil {
		return fmt.Errorf("lock the holds: %w", err)
	}
	var orders []any
	var events told
	for _, row := range locked {
		order, line := sale.OrderOf(row.HoldLine.ID), row.HoldLine
		payBy := now.Add(time.Duration(line.PaymentWindowSeconds) * time.Second)
		orders = append(orders, order, line.CustomerID, line.PriceAmount, line.Currency, now, payBy, 1, true, nil)
		events.add(sale.EventOrderCreated, order, now, fmt.Sprintf(
			`{"order_id":"%s","customer_id":"%s","amount":%d,"currency":"%s","pay_by":"%s"}`,
			order, line.CustomerID, line.PriceAmount, line.Currency, payBy.Format(time.RFC3339Nano)))
	}
	if err := insert(ctx, tx, store.InsertOrder, len(locked), orders); err != nil {
		return err
	}
	if _, err := r.queries.OrderHolds(ctx, tx, store.OrderHoldsParams{Now: now, Ids: ids}); err != nil {
		return fmt.Errorf("order the lines: %w", err)
	}
	return events.write(ctx, tx, now)
}

func (r *rawDB) pay(ctx context.Context, tx *sql.Tx, ids []sale.HoldID, now time.Time) error {
	orders := make([]sale.OrderID, len(ids))
	for i, id := range ids {
		orders[i] = sale.OrderOf(id)
	}
	locked, err := r.queries.LockOrders(ctx, tx, orders)
	if err != nil {
		return fmt.Errorf("lock the orders: %w", err)
	}
	if _, err := r.queries.SellHolds(ctx, tx, ids); err != nil {
		return fmt.Errorf("sell the lines: %w", err)
	}
	var payments, seen []any
	var events told
	for _, row := range locked {
		id, payment := row.Order.ID, "pay_"+word()
		payments = append(payments, sale.ProviderStandard, payment, id, price, currency, sale.PaymentOwns, now, now)
		seen = append(seen, sale.ProviderStandard, "msg_"+word(), id, sale.PaymentSucceeded, sale.OutcomePaid, now)
		events.add(sale.EventOrderPaid, id, now, fmt.Sprintf(
			`{"order_id":"%s","provider":"%s","payment_id":"%s","amount":%d,"currency":"%s"}`,
			id, sale.ProviderStandard, payment, price, currency))
	}
	if err := insert(ctx, tx, store.InsertPayment, len(locked), payments); err != nil {
		return err
	}
	_, err = r.queries.MarkAllPaid(ctx, tx, store.MarkAllPaidParams{PaidAt: &now, Ids: orders, Provider: sale.ProviderStandard})
	if err != nil {
		return fmt.Errorf("mark the orders: %w", err)
	}
	if err := insert(ctx, tx, store.InsertPaymentEvent, len(locked), seen); err != nil {
		return err
	}
	return events.write(ctx, tx, now)
}

// told are events on their way to the outbox.
type told struct {
	rows []any
	ids  []byte // one after the other
}

func (t *told) add(name sale.EventType, order sale.OrderID, now time.Time, payload string) {
	id := sale.OrderEventID(name, order)
	t.ids = append(t.ids, id[:]...)
	t.rows = append(t.rows, id, name, order, name.Sequence(), json.RawMessage(payload), now)
}

// write writes the events and leaves word of them.
func (t *told) write(ctx context.Context, tx *sql.Tx, now time.Time) error {
	if err := insert(ctx, tx, store.InsertEvent, len(t.ids)/len(sale.EventID{}), t.rows); err != nil {
		return err
	}
	announcements, parts := []any{}, 0
	for ids := range slices.Chunk(t.ids, eventsAnnounced*len(sale.EventID{})) {
		announcements = append(announcements, sale.NewEventID(), ids, now)
		parts++
	}
	return insert(ctx, tx, store.InsertAnnouncement, parts, announcements)
}
