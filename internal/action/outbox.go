package action

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// event is what the world is to be told.
type event struct {
	id       sale.EventID
	name     sale.EventType
	sequence int64 // its place in the life of what it is about
	facts    facts
}

// facts are what an event says beside that. What is empty is not said; without an order it
// is about none.
type facts struct {
	OrderID        sale.OrderID      `json:"order_id,omitzero"`
	CustomerID     string            `json:"customer_id,omitempty"`
	Provider       sale.Provider     `json:"provider,omitempty"`
	PaymentID      string            `json:"payment_id,omitempty"`
	Amount         *int64            `json:"amount,omitempty"`
	Currency       string            `json:"currency,omitempty"`
	PayBy          time.Time         `json:"pay_by,omitzero"`
	Reason         sale.RefundReason `json:"reason,omitempty"`
	Restocked      *bool             `json:"restocked,omitempty"`
	ProductID      sale.ProductID    `json:"product_id,omitzero"`
	AvailableStock *int64            `json:"available_stock,omitempty"`
	TotalStock     *int64            `json:"total_stock,omitempty"`
}

// orderEvent is what happened to an order.
func orderEvent(name sale.EventType, order sale.OrderID, told facts) event {
	told.OrderID = order
	return event{id: sale.OrderEventID(name, order), name: name, sequence: name.Sequence(), facts: told}
}

// paymentEvent is what somebody has to do about a payment that leaves its order as it is.
func paymentEvent(name sale.EventType, said sale.PaymentEvent, reason sale.RefundReason) event {
	told := money(said, reason)
	told.OrderID = said.OrderID
	return event{
		id:   sale.PaymentEventID(name, said.OrderID, said.Provider, said.PaymentID),
		name: name, sequence: name.Sequence(), facts: told,
	}
}

// stockEvent tells a version of a product's stock.
func stockEvent(stock store.StockToTellRow) event {
	return event{
		id: sale.StockEventID(stock.ID, stock.StockVersion), name: sale.EventStockChanged, sequence: stock.StockVersion,
		facts: facts{ProductID: stock.ID, AvailableStock: &stock.AvailableStock, TotalStock: &stock.TotalStock},
	}
}

const (
	// eventColumns is how many values one row of InsertEvent takes.
	eventColumns = 6
	// announcementColumns is the same of InsertAnnouncement.
	announcementColumns = 3
	// announced is how many events one announcement has: as many as can be fanned out
	// together to as many endpoints as there can be.
	announced = 50
	// eventIDBytes is the size of an event's id in an announcement.
	eventIDBytes = len(sale.EventID{})
)

// announce writes what the world is to be told, in the transaction that makes it true.
// What was told before is a fault: the caller's locks and states keep it from happening
// twice.
func announce(ctx context.Context, tx *mysql.Tx, events ...event) error {
	if len(events) == 0 {
		return nil
	}
	if err := insertEvents(ctx, tx, events); err != nil {
		return err
	}
	return insertAnnouncements(ctx, tx, events)
}

func insertEvents(ctx context.Context, tx *mysql.Tx, events []event) error {
	rows := make([]any, 0, len(events)*eventColumns)
	for _, event := range events {
		payload, err := json.Marshal(event.facts)
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		rows = append(rows, event.id, event.name, event.facts.OrderID, event.sequence, json.RawMessage(payload), tx.Now)
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertEvent, len(events)), rows...); err != nil {
		return fmt.Errorf("writing %d events: %w", len(events), err)
	}
	return nil
}

// insertAnnouncements leaves word of the events for those who fan out.
func insertAnnouncements(ctx context.Context, tx *mysql.Tx, events []event) error {
	rows := make([]any, 0, announcementColumns)
	for part := range slices.Chunk(events, announced) {
		ids := make([]byte, 0, len(part)*eventIDBytes)
		for _, event := range part {
			ids = append(ids, event.id[:]...)
		}
		rows = append(rows, sale.NewEventID(), ids, tx.Now)
	}
	parts := len(rows) / announcementColumns
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertAnnouncement, parts), rows...); err != nil {
		return fmt.Errorf("announcing %d events: %w", len(events), err)
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
