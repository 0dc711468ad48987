package action

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// errPlainly says that a batch leaves a request alone: its owner takes the plain
// path, which knows every case.
var errPlainly = errors.New("not a case for a batch")

// orderWish is a hold on its way to an order, with those of others.
type orderWish struct {
	hold  sale.HoldID
	claim claim     // not written when the key is the hold's id: the order is its own mark
	byID  bool      // the key is the hold's id
	view  OrderView // what became of it
}

type orderTicket = lane.Ticket[*orderWish]

// ordersLane is the one lane of all orders of a process: they share no hot row, only
// the commit, and two lanes of half the size were slower.
type ordersLane struct{}

// serveBatch makes orders of active holds, all in one transaction. Whatever is not
// that plain case is left to its owner.
func (a *CreateOrder) serveBatch(ctx context.Context, _ ordersLane, waiting []*orderTicket, next func()) {
	ctx = budget.Within(ctx, a.DB.Timeout())
	slices.SortFunc(waiting, func(x, y *orderTicket) int { return bytes.Compare(x.Job.hold[:], y.Job.hold[:]) })
	halve(waiting, next, func(tickets []*orderTicket) error { return a.makeAll(ctx, tickets, next) })
}

// halve tries a batch, and in halves what could not be done together, until each
// failure is its own member's or the batch's budget is spent. Members that try ended
// stay as they are.
func halve[J any](tickets []*lane.Ticket[J], next func(), try func([]*lane.Ticket[J]) error) {
	err := try(tickets)
	var known *sale.Error
	switch {
	case err == nil || errors.As(err, &known) && !mysql.IsContention(err):
	case len(tickets) == 1:
		err = errPlainly
	default:
		next()
		halve(tickets[:len(tickets)/2], next, try)
		halve(tickets[len(tickets)/2:], next, try)
		return
	}
	lane.End(tickets, err)
}

// makeAll is one transaction: the holds' lines, then keys, orders, lines and events.
func (a *CreateOrder) makeAll(ctx context.Context, tickets []*orderTicket, next func()) error {
	var made []*orderTicket
	err := a.DB.Tx(ctx, a.settleAll(&made), func(ctx context.Context, tx *mysql.Tx) (err error) {
		if made, err = a.orderable(ctx, tx, tickets); err != nil || len(made) == 0 {
			return err
		}
		if err := a.insertAll(ctx, tx, made); err != nil {
			return err
		}
		next()
		return nil
	})
	if err != nil {
		return err
	}
	for _, ticket := range tickets {
		if !slices.Contains(made, ticket) {
			ticket.Done(errPlainly)
		}
	}
	return nil
}

func (a *CreateOrder) settleAll(made *[]*orderTicket) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		if len(*made) == 0 {
			return true, nil
		}
		first := (*made)[0].Job.view.Order
		return a.settle(first.ID, &first.CreatedAt)(ctx, conn)
	}
}

// orderable locks the holds and picks those that simply become orders: active, with
// something to pay, and all their lines still held, as those of no ordered hold are.
func (a *CreateOrder) orderable(ctx context.Context, tx *mysql.Tx, tickets []*orderTicket) ([]*orderTicket, error) {
	ids := make([]sale.HoldID, len(tickets))
	for i, ticket := range tickets {
		ids[i] = ticket.Job.hold
	}
	rows, err := a.q.LockHolds(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("locking %d holds: %w", len(ids), err)
	}
	lines := byHold(rows)
	var plain []*orderTicket
	for i, ticket := range tickets {
		id := ticket.Job.hold
		again := i > 0 && tickets[i-1].Job.hold == id
		if again || len(lines[id]) == 0 || slices.ContainsFunc(lines[id], notHeld) {
			continue
		}
		hold := holdOf(lines[id], false)
		if hold.Status(tx.Now) != sale.HoldActive || sale.Total(hold.Lines).Amount == 0 {
			continue
		}
		ticket.Job.view = orderedAt(hold, tx.Now)
		plain = append(plain, ticket)
	}
	return plain, nil
}

func notHeld(row store.HoldLine) bool { return row.State != sale.LineHeld }

// orderedAt is the unpaid order that a hold becomes at now.
func orderedAt(hold sale.Hold, now time.Time) OrderView {
	order := sale.Order{
		ID: sale.OrderOf(hold.ID), CustomerID: hold.CustomerID, Lines: hold.Lines, Total: sale.Total(hold.Lines),
		CreatedAt: now, PayBy: now.Add(hold.PaymentWindow),
	}
	return OrderView{Order: order, Status: order.Status(now)}
}

func (a *CreateOrder) insertAll(ctx context.Context, tx *mysql.Tx, tickets []*orderTicket) error {
	var marks []marked
	holds := make([]sale.HoldID, len(tickets))
	rows := make([]any, 0, len(tickets)*orderColumns)
	events := make([]event, len(tickets))
	lines := 0
	for i, ticket := range tickets {
		order := ticket.Job.view.Order
		if !ticket.Job.byID {
			marks = append(marks, marked{ticket.Job.claim, ticket.Job.hold})
		}
		holds[i] = ticket.Job.hold
		rows = append(rows, order.ID, order.CustomerID, order.Total.Amount, order.Total.Currency,
			order.CreatedAt, order.PayBy, len(order.Lines), ticket.Job.byID, nil)
		events[i] = orderEvent(sale.EventOrderCreated, order.ID, createdFacts(order))
		lines += len(order.Lines)
	}
	if err := writeClaims(ctx, a.q, tx, marks); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertOrder, len(tickets)), rows...); err != nil {
		return fmt.Errorf("inserting %d orders: %w", len(tickets), err)
	}
	changed, err := a.q.OrderHolds(ctx, tx, store.OrderHoldsParams{Now: tx.Now, Ids: holds})
	if err != nil {
		return fmt.Errorf("ordering the lines of %d holds: %w", len(holds), err)
	}
	if changed != int64(lines) {
		return fmt.Errorf("ordering the lines of %d holds: %d of %d were held", len(holds), changed, lines)
	}
	return announce(ctx, tx, events...)
}

// orderColumns is how many values one row of InsertOrder takes.
const orderColumns = 9

func createdFacts(order sale.Order) facts {
	return facts{
		CustomerID: order.CustomerID, Amount: &order.Total.Amount, Currency: order.Total.Currency, PayBy: order.PayBy,
	}
}
