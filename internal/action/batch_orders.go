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

// errNothing ends a batch's transaction that has nothing to write: a commit would say that
// changes fit on the server's disk.
var errNothing = errors.New("nothing to write")

// orderWish is a hold on its way to an order, with those of others.
type orderWish struct {
	hold  sale.HoldID
	claim claim            // not written when the key is the hold's id: the order is its own mark
	byID  bool             // the key is the hold's id
	view  OrderView        // what became of it
	lines []store.HoldLine // of the hold, as a batch locked them; none where it could not
}

type orderTicket = lane.Ticket[*orderWish]

// ordersLane is the one lane of all orders of a process: they share no hot row, only
// the commit, and two lanes of half the size were slower.
type ordersLane struct{}

// serveBatch makes orders of active holds, all in one transaction, and refuses what can be
// no order. Replays, and holds that somebody else is working on, are left to their owners.
func (a *CreateOrder) serveBatch(ctx context.Context, _ ordersLane, waiting []*orderTicket, next func()) {
	ctx = budget.Within(ctx, a.DB.Timeout())
	slices.SortFunc(waiting, func(x, y *orderTicket) int { return bytes.Compare(x.Job.hold[:], y.Job.hold[:]) })
	halve(waiting, next, func(tickets []*orderTicket) error {
		err := a.makeAll(ctx, tickets, noLook, next)
		if errors.Is(err, errTaken) {
			err = a.makeAll(ctx, tickets, a.keysUsed, next)
		}
		return err
	})
}

// halve tries a batch, and in halves what could not be done together, until each
// failure is its own member's or the batch's budget is spent. Members that try ended
// stay as they are.
func halve[J any](tickets []*lane.Ticket[J], next func(), try func([]*lane.Ticket[J]) error) {
	err := try(tickets)
	var known *sale.Error
	switch {
	case err == nil || errors.As(err, &known) && !mysql.IsDeadlock(err):
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

// lookForKeys tells which of the orders' keys had an effect; nil where nobody looked.
type lookForKeys func(context.Context, store.DBTX, []*orderTicket) (usedKeys, error)

// noLook is how it is nearly always: a new order has a new key. The primary key tells when not.
func noLook(context.Context, store.DBTX, []*orderTicket) (usedKeys, error) { return nil, nil }

func (a *CreateOrder) keysUsed(ctx context.Context, q store.DBTX, tickets []*orderTicket) (usedKeys, error) {
	var keys [][]byte
	for _, ticket := range tickets {
		if !ticket.Job.byID {
			keys = append(keys, ticket.Job.claim.id[:])
		}
	}
	return a.keysThere(ctx, q, keys)
}

// makeAll is one transaction: the holds' lines, then keys, orders, lines and events. errTaken
// when a key is there already that look did not know.
func (a *CreateOrder) makeAll(ctx context.Context, tickets []*orderTicket, look lookForKeys, next func()) error {
	var made []*orderTicket
	var refused map[*orderTicket]error
	err := a.DB.Tx(ctx, a.settleAll(&made), func(ctx context.Context, tx *mysql.Tx) (err error) {
		made, refused = nil, nil
		used, err := look(ctx, tx, tickets)
		if err != nil {
			return err
		}
		var rest []*orderTicket
		if made, rest, err = a.orderable(ctx, tx, tickets, used); err != nil {
			return err
		}
		if refused, err = a.refuseAll(ctx, tx, rest, used); err != nil {
			return err
		}
		if len(made) == 0 {
			return errNothing
		}
		if err := a.insertAll(ctx, tx, made); err != nil {
			return err
		}
		next()
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	for _, ticket := range tickets {
		if refusal := refused[ticket]; refusal != nil {
			ticket.Done(refusal)
		} else if !slices.Contains(made, ticket) {
			ticket.Done(errPlainly)
		}
	}
	return nil
}

func (a *CreateOrder) settleAll(made *[]*orderTicket) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		first := (*made)[0].Job.view.Order
		return a.settle(first.ID, &first.CreatedAt)(ctx, conn)
	}
}

// orderable locks the holds and picks those that become orders: with a new key, active, and
// all their lines still held, as those of no ordered hold are. The rest have in lines what was
// locked of their holds: nothing, or all.
func (a *CreateOrder) orderable(
	ctx context.Context, tx *mysql.Tx, tickets []*orderTicket, used usedKeys,
) (made, rest []*orderTicket, err error) {
	rows, err := a.q.LockHolds(ctx, tx, holdsOf(tickets))
	if err != nil {
		return nil, nil, fmt.Errorf("locking %d holds: %w", len(tickets), err)
	}
	lines := wholeHolds(rows)
	for _, ticket := range tickets {
		w := ticket.Job
		w.lines = lines[w.hold]
		again := len(made) > 0 && made[len(made)-1].Job.hold == w.hold // equal holds lie together
		if again {
			continue
		}
		_, had := used[w.claim.id]
		hold, held := heldBy(w.lines)
		if had || !held || hold.Status(tx.Now) != sale.HoldActive {
			rest = append(rest, ticket)
			continue
		}
		w.view = orderedAt(hold, tx.Now)
		made = append(made, ticket)
	}
	return made, rest, nil
}

// heldBy is the hold that has lines, all of which are held.
func heldBy(lines []store.HoldLine) (hold sale.Hold, held bool) {
	if len(lines) == 0 || slices.ContainsFunc(lines, notHeld) {
		return hold, false
	}
	return holdOf(lines, false), true
}

func holdsOf(tickets []*orderTicket) []sale.HoldID {
	ids := make([]sale.HoldID, len(tickets))
	for i, ticket := range tickets {
		ids[i] = ticket.Job.hold
	}
	return ids
}

// wholeHolds gives each hold its lines, in the order in which they come, where all are there.
func wholeHolds(rows []store.LockHoldsRow) map[sale.HoldID][]store.HoldLine {
	all := make([]store.HoldLine, len(rows))
	for i, row := range rows {
		all[i] = row.HoldLine
	}
	lines := byHold(all)
	for _, row := range rows {
		if int64(len(lines[row.HoldLine.ID])) != row.LineCount {
			delete(lines, row.HoldLine.ID)
		}
	}
	return lines
}

func notHeld(row store.HoldLine) bool { return row.State != sale.LineHeld }

// refuseAll decides, in a constant few statements, which of the requests make no order and
// why: those whose key stands for another one, and those with a new key for a hold that is not
// there, or that has ended and was not ordered.
func (a *CreateOrder) refuseAll(
	ctx context.Context, tx *mysql.Tx, tickets []*orderTicket, used usedKeys,
) (_ map[*orderTicket]error, err error) {
	if len(tickets) == 0 {
		return nil, nil
	}
	if used == nil {
		if used, err = a.keysUsed(ctx, tx, tickets); err != nil {
			return nil, err
		}
	}
	there, err := a.theirHolds(ctx, tx, tickets)
	if err != nil {
		return nil, err
	}
	ordered, err := a.theirOrders(ctx, tx, tickets)
	if err != nil {
		return nil, err
	}
	refused := map[*orderTicket]error{}
	for _, ticket := range tickets {
		w := ticket.Job
		switch record, had := used[w.claim.id]; {
		case had:
			refused[ticket] = w.claim.compare(record.Fingerprint)
		case there[w.hold], ordered[sale.OrderOf(w.hold)]:
		case len(w.lines) == 0:
			refused[ticket] = unknown(sale.CodeHoldNotFound, w.hold.String())
		default:
			refused[ticket] = unorderable(holdOf(w.lines, false), tx.Now)
		}
	}
	return refused, nil
}

// theirHolds says which holds are there of those that could not be locked.
func (a *CreateOrder) theirHolds(ctx context.Context, q store.DBTX, tickets []*orderTicket) (map[sale.HoldID]bool, error) {
	there := map[sale.HoldID]bool{}
	missing := slices.DeleteFunc(slices.Clone(tickets), func(t *orderTicket) bool { return len(t.Job.lines) > 0 })
	if len(missing) == 0 {
		return there, nil
	}
	rows, err := a.q.HoldsThere(ctx, q, holdsOf(missing))
	if err != nil {
		return nil, fmt.Errorf("looking for %d holds: %w", len(missing), err)
	}
	for _, row := range rows {
		there[row.ID] = true
	}
	return there, nil
}

// theirOrders says which of the holds that are locked were ordered.
func (a *CreateOrder) theirOrders(ctx context.Context, q store.DBTX, tickets []*orderTicket) (map[sale.OrderID]bool, error) {
	ordered := map[sale.OrderID]bool{}
	var ids []sale.OrderID
	for _, ticket := range tickets {
		if len(ticket.Job.lines) > 0 {
			ids = append(ids, sale.OrderOf(ticket.Job.hold))
		}
	}
	if len(ids) == 0 {
		return ordered, nil
	}
	rows, err := a.q.OrdersThere(ctx, q, ids)
	if err != nil {
		return nil, fmt.Errorf("looking for the orders of %d holds: %w", len(ids), err)
	}
	for _, row := range rows {
		ordered[row.ID] = true
	}
	return ordered, nil
}

// orderedAt is the order that a hold becomes at now: paid at once when there is nothing to pay.
func orderedAt(hold sale.Hold, now time.Time) OrderView {
	order := sale.Order{
		ID: sale.OrderOf(hold.ID), CustomerID: hold.CustomerID, Lines: hold.Lines, Total: sale.Total(hold.Lines),
		CreatedAt: now, PayBy: now.Add(hold.PaymentWindow),
	}
	if order.Total.Amount == 0 {
		order.PaidAt = &now
	}
	return OrderView{Order: order, Status: order.Status(now)}
}

func (a *CreateOrder) insertAll(ctx context.Context, tx *mysql.Tx, tickets []*orderTicket) error {
	var marks []marked
	rows := make([]any, 0, len(tickets)*orderColumns)
	events := make([]event, 0, len(tickets))
	for _, ticket := range tickets {
		order := ticket.Job.view.Order
		if !ticket.Job.byID {
			marks = append(marks, marked{ticket.Job.claim, ticket.Job.hold})
		}
		rows = append(rows, order.ID, order.CustomerID, order.Total.Amount, order.Total.Currency,
			order.CreatedAt, order.PayBy, len(order.Lines), ticket.Job.byID, order.PaidAt)
		events = append(events, madeEvents(order)...)
	}
	if err := writeClaims(ctx, a.q, tx, marks); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertOrder, len(tickets)), rows...); err != nil {
		return fmt.Errorf("inserting %d orders: %w", len(tickets), err)
	}
	if err := a.moveLines(ctx, tx, tickets); err != nil {
		return err
	}
	return announce(ctx, tx, events...)
}

// moveLines makes the holds' lines those of their orders.
func (a *CreateOrder) moveLines(ctx context.Context, tx *mysql.Tx, tickets []*orderTicket) error {
	var free []sale.HoldID
	var lines, freeLines int64
	for _, ticket := range tickets {
		order := ticket.Job.view.Order
		lines += int64(len(order.Lines))
		if order.PaidAt != nil {
			free = append(free, ticket.Job.hold)
			freeLines += int64(len(order.Lines))
		}
	}
	ordered, err := a.q.OrderHolds(ctx, tx, store.OrderHoldsParams{Now: tx.Now, Ids: holdsOf(tickets)})
	if err := allRows(ordered, lines, err); err != nil {
		return fmt.Errorf("ordering the lines of %d holds: %w", len(tickets), err)
	}
	if len(free) == 0 {
		return nil
	}
	sold, err := a.q.SellHolds(ctx, tx, free)
	if err := allRows(sold, freeLines, err); err != nil {
		return fmt.Errorf("selling the lines of %d free orders: %w", len(free), err)
	}
	return nil
}

// orderColumns is how many values one row of InsertOrder takes.
const orderColumns = 9

// madeEvents are what the world is told of a new order.
func madeEvents(order sale.Order) []event {
	events := []event{orderEvent(sale.EventOrderCreated, order.ID, facts{
		CustomerID: order.CustomerID, Amount: &order.Total.Amount, Currency: order.Total.Currency, PayBy: order.PayBy,
	})}
	if order.PaidAt != nil {
		events = append(events, orderEvent(sale.EventOrderPaid, order.ID, facts{}))
	}
	return events
}
