package action

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// success is a payment that came, on its way with those of others.
type success struct {
	event sale.PaymentEvent
	came  time.Time // by this process's clock: only how long ago that is counts
	lines int64     // that the order has, once it is locked
}

type successTicket = lane.Ticket[*success]

// serveBatch takes payments that came in time for unpaid orders, all in one
// transaction. Whatever is not that plain case is left to its owner.
func (a *ProcessPayment) serveBatch(ctx context.Context, from sale.Provider, waiting []*successTicket, next func()) {
	ctx = budget.Within(ctx, a.DB.Timeout())
	slices.SortFunc(waiting, func(x, y *successTicket) int {
		return bytes.Compare(x.Job.event.OrderID[:], y.Job.event.OrderID[:])
	})
	halve(waiting, next, func(tickets []*successTicket) error {
		err := a.payAll(ctx, from, tickets, nothingKnown, next)
		if errors.Is(err, errTaken) {
			err = a.payAll(ctx, from, tickets, a.knownIDs, next)
		}
		return err
	})
}

// lookForIDs tells which events and payments are there already.
type lookForIDs func(context.Context, *mysql.Tx, sale.Provider, []*successTicket) (knownIDs, error)

// payAll is one transaction: the orders, then lines, payments, events. errTaken when an
// event or a payment is there already that look did not know.
func (a *ProcessPayment) payAll(
	ctx context.Context, from sale.Provider, tickets []*successTicket, look lookForIDs, next func(),
) error {
	var paid []*successTicket
	var made time.Time
	err := a.DB.Tx(ctx, a.settleAll(&paid, &made), func(ctx context.Context, tx *mysql.Tx) (err error) {
		made = tx.Now
		if paid, err = a.payable(ctx, tx, from, tickets, look); err != nil {
			return err
		}
		if len(paid) == 0 {
			return errNothing
		}
		if err := a.sellAll(ctx, tx, paid); err != nil {
			return err
		}
		if err := a.markAllPaid(ctx, tx, from, paid); err != nil {
			return err
		}
		next()
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	for _, ticket := range tickets {
		if !slices.Contains(paid, ticket) {
			ticket.Done(errPlainly)
		}
	}
	return nil
}

func (a *ProcessPayment) settleAll(paid *[]*successTicket, made *time.Time) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		return a.settle(&(*paid)[0].Job.event, made)(ctx, conn)
	}
}

// payable locks the orders and picks the events that simply pay: not seen, of a
// payment not heard of, the first for their order, and decided so by the same table
// as any other event.
func (a *ProcessPayment) payable(
	ctx context.Context, tx *mysql.Tx, from sale.Provider, tickets []*successTicket, look lookForIDs,
) ([]*successTicket, error) {
	orders, err := a.lockOrders(ctx, tx, tickets)
	if err != nil {
		return nil, err
	}
	known, err := look(ctx, tx, from, tickets)
	if err != nil {
		return nil, err
	}
	var plain []*successTicket
	for _, ticket := range tickets {
		event := ticket.Job.event
		row, found := orders[event.OrderID]
		if !found || known.events[event.ID] || known.payments[event.PaymentID] {
			continue
		}
		order := orderOf(row, nil)
		facts := sale.Facts{Status: order.Status(tx.Of(ticket.Job.came)), Total: order.Total, Policy: a.LatePayment}
		if sale.Decide(event, facts).Step != sale.StepPay {
			continue
		}
		ticket.Job.lines = row.LineCount
		delete(orders, event.OrderID)
		known.events[event.ID], known.payments[event.PaymentID] = true, true
		plain = append(plain, ticket)
	}
	return plain, nil
}

// lockOrders locks orders and their lines. It gives those of which it got all, and whose units
// are still theirs.
func (a *ProcessPayment) lockOrders(
	ctx context.Context, tx *mysql.Tx, tickets []*successTicket,
) (map[sale.OrderID]store.Order, error) {
	rows, err := a.q.LockOrders(ctx, tx, orderIDs(tickets))
	if err != nil {
		return nil, fmt.Errorf("locking %d orders: %w", len(tickets), err)
	}
	orders := make(map[sale.OrderID]store.Order, len(rows))
	pending := make(map[sale.OrderID]int64, len(rows))
	for _, row := range rows {
		orders[row.Order.ID] = row.Order
		if row.State == sale.LinePending {
			pending[row.Order.ID]++
		}
	}
	maps.DeleteFunc(orders, func(id sale.OrderID, order store.Order) bool { return pending[id] != order.LineCount })
	return orders, nil
}

func orderIDs(tickets []*successTicket) []sale.OrderID {
	ids := make([]sale.OrderID, len(tickets))
	for i, ticket := range tickets {
		ids[i] = ticket.Job.event.OrderID
	}
	return ids
}

// knownIDs are the events and payments of a sender that are there already.
type knownIDs struct{ events, payments map[string]bool }

// nothingKnown is how it is nearly always: what came before has made its order something
// else than unpaid. The primary keys tell when it is not.
func nothingKnown(context.Context, *mysql.Tx, sale.Provider, []*successTicket) (knownIDs, error) {
	return knownIDs{events: map[string]bool{}, payments: map[string]bool{}}, nil
}

func (a *ProcessPayment) knownIDs(
	ctx context.Context, tx *mysql.Tx, from sale.Provider, tickets []*successTicket,
) (knownIDs, error) {
	events, payments := make([]string, len(tickets)), make([]string, len(tickets))
	for i, ticket := range tickets {
		events[i], payments[i] = ticket.Job.event.ID, ticket.Job.event.PaymentID
	}
	seen, err := a.q.EventsThere(ctx, tx, store.EventsThereParams{Provider: from, EventIds: events})
	if err != nil {
		return knownIDs{}, fmt.Errorf("looking for %d events: %w", len(events), err)
	}
	heardOf, err := a.q.PaymentsThere(ctx, tx, store.PaymentsThereParams{Provider: from, PaymentIds: payments})
	if err != nil {
		return knownIDs{}, fmt.Errorf("looking for %d payments: %w", len(payments), err)
	}
	return knownIDs{events: setOf(seen), payments: setOf(heardOf)}, nil
}

func setOf(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, text := range texts {
		set[text] = true
	}
	return set
}

// sellAll makes the orders' units sold.
func (a *ProcessPayment) sellAll(ctx context.Context, tx *mysql.Tx, tickets []*successTicket) error {
	holds := make([]sale.HoldID, len(tickets))
	var lines int64
	for i, ticket := range tickets {
		holds[i] = sale.HoldOf(ticket.Job.event.OrderID)
		lines += ticket.Job.lines
	}
	sold, err := a.q.SellHolds(ctx, tx, holds)
	if err := allRows(sold, lines, err); err != nil {
		return fmt.Errorf("selling the units of %d orders: %w", len(holds), err)
	}
	return nil
}

// markAllPaid writes the payments, then the orders that stand on them, and what is
// remembered and told of it.
func (a *ProcessPayment) markAllPaid(
	ctx context.Context, tx *mysql.Tx, from sale.Provider, tickets []*successTicket,
) error {
	n := len(tickets)
	payments, seen := make([]any, 0, n*paymentColumns), make([]any, 0, n*paymentEventColumns)
	told := make([]event, n)
	for i, ticket := range tickets {
		e := ticket.Job.event
		payments = append(payments, from, e.PaymentID, e.OrderID, e.Amount.Amount, e.Amount.Currency,
			sale.PaymentOwns, tx.Now, tx.Now)
		seen = append(seen, from, e.ID, e.OrderID, e.Kind, sale.OutcomePaid, tx.Now)
		told[i] = orderEvent(sale.EventOrderPaid, e.OrderID, money(e, ""))
	}
	if err := insertNew(ctx, tx, mysql.ExpandRows(store.InsertPayment, n), payments); err != nil {
		return fmt.Errorf("remembering %d payments: %w", n, err)
	}
	changed, err := a.q.MarkAllPaid(ctx, tx, store.MarkAllPaidParams{PaidAt: &tx.Now, Ids: orderIDs(tickets), Provider: from})
	if err != nil {
		return fmt.Errorf("marking %d orders paid: %w", n, err)
	}
	if changed != int64(n) {
		return fmt.Errorf("marking %d orders paid: %d changed", n, changed)
	}
	if err := insertNew(ctx, tx, mysql.ExpandRows(store.InsertPaymentEvent, n), seen); err != nil {
		return fmt.Errorf("remembering %d events: %w", n, err)
	}
	return announce(ctx, tx, told...)
}

// How many values one row of InsertPayment and of InsertPaymentEvent takes.
const (
	paymentColumns      = 8
	paymentEventColumns = 6
)
