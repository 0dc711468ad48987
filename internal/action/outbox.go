package action

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// event is what the world is to be told.
type event struct {
	id       sale.EventID
	name     sale.EventType
	order    sale.OrderID // zero: it is about none
	sequence int64        // its place in the life of what it is about
	facts    map[string]any
}

// orderEvent is what happened to an order.
func orderEvent(name sale.EventType, order sale.OrderID, facts map[string]any) event {
	return event{
		id: sale.OrderEventID(name, order), name: name, order: order, sequence: name.Sequence(), facts: facts,
	}
}

// paymentEvent is what somebody has to do about a payment that leaves its order as it is.
func paymentEvent(name sale.EventType, said sale.PaymentEvent, reason sale.RefundReason) event {
	return event{
		id:   sale.PaymentEventID(name, said.OrderID, said.Provider, said.PaymentID),
		name: name, order: said.OrderID, sequence: name.Sequence(), facts: money(said, reason),
	}
}

// stockEvent tells a version of a product's stock.
func stockEvent(stock store.StockToTellRow) event {
	return event{
		id: sale.StockEventID(stock.ID, stock.StockVersion), name: sale.EventStockChanged, sequence: stock.StockVersion,
		facts: map[string]any{
			"product_id": stock.ID, "available_stock": stock.AvailableStock, "total_stock": stock.TotalStock,
		},
	}
}

// eventColumns is how many values one row of InsertEvent takes.
const eventColumns = 6

// announce writes what the world is to be told, in one statement of the transaction
// that makes it true. What was told before is a fault: the caller's locks and states
// keep it from happening twice.
func announce(ctx context.Context, tx *mysql.Tx, events ...event) error {
	if len(events) == 0 {
		return nil
	}
	rows := make([]any, 0, len(events)*eventColumns)
	for _, event := range events {
		members := map[string]any{}
		if event.order != (sale.OrderID{}) {
			members["order_id"] = event.order.String()
		}
		for name, fact := range event.facts {
			members[name] = fact
		}
		payload, err := json.Marshal(members)
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		rows = append(rows, event.id, event.name, event.order, event.sequence, json.RawMessage(payload), tx.Now)
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertEvent, len(events)), rows...); err != nil {
		return fmt.Errorf("writing %d events: %w", len(events), err)
	}
	return nil
}

// announceOnce writes an event unless it was told before.
func announceOnce(ctx context.Context, tx *mysql.Tx, e event) error {
	err := announce(ctx, tx, e)
	if mysql.IsDuplicate(err) {
		return nil
	}
	return err
}
