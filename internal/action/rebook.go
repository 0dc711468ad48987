package action

import (
	"context"
	"fmt"
	"slices"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// rebook takes the units of a late payment's order again, all or none, or makes
// the money due for refund. What is overdue is given back first, so that money is
// not refused because a sweep is late.
func (a *ProcessPayment) rebook(ctx context.Context, tx *mysql.Tx, p *payment) (sale.PaymentOutcome, error) {
	if err := a.lock(ctx, tx, p.products()); err != nil {
		return "", err
	}
	rows, err := a.q.LockHold(ctx, tx, sale.HoldOf(p.event.OrderID))
	if err != nil {
		return "", fmt.Errorf("locking the lines of %s: %w", p.event.OrderID, err)
	}
	slices.SortFunc(rows, func(x, y store.HoldLine) int { return x.ProductID.Compare(y.ProductID) })
	reason, err := a.obstacle(ctx, tx, p, rows)
	switch {
	case err != nil:
		return "", err
	case reason != "":
		p.next = sale.TooLate(reason)
		return p.next.Outcome, a.giveUp(ctx, tx, p)
	}
	for _, row := range rows {
		if err := a.retake(ctx, tx, p, row); err != nil {
			return "", err
		}
	}
	return p.next.Outcome, a.markPaid(ctx, tx, p)
}

// obstacle is why the units can't be taken again, "" when they can.
func (a *ProcessPayment) obstacle(
	ctx context.Context, tx *mysql.Tx, p *payment, rows []store.HoldLine,
) (sale.RefundReason, error) {
	for _, row := range rows {
		product, err := a.q.GetProduct(ctx, tx, row.ProductID)
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", row.ProductID, err)
		}
		within, err := a.withinLimit(ctx, tx, p, row, product.PerCustomerLimit)
		if err != nil {
			return "", err
		}
		if !within {
			return sale.RefundLimit, nil
		}
		enough, err := a.enough(ctx, tx, p, row)
		if err != nil {
			return "", err
		}
		if !enough {
			return sale.RefundUnitsGone, nil
		}
	}
	return "", nil
}

// withinLimit says whether the customer may have a line's units beside what it has
// else, after what is overdue of that was given back. errCustomersOverdue when not all of it
// was: there is more than one transaction gives back, or somebody else works on it just now.
func (a *ProcessPayment) withinLimit(
	ctx context.Context, tx *mysql.Tx, p *payment, row store.HoldLine, limit *int64,
) (bool, error) {
	if limit == nil {
		return true, nil
	}
	customers := []string{row.CustomerID}
	lines, err := a.overdueOf(ctx, tx, row.ProductID, customers, row.ID)
	if err != nil {
		return false, err
	}
	if err := a.giveBackWithin(ctx, tx, p, row.ProductID, lines); err != nil {
		return false, err
	}
	counts, err := a.countUnits(ctx, tx, row.ProductID, customers)
	if err != nil {
		return false, err
	}
	units, overdue := counts[row.CustomerID].units, counts[row.CustomerID].overdue
	if row.State == sale.LineReturned {
		units += row.Quantity
	} else {
		overdue -= row.Quantity // its own are overdue, too
	}
	if units > *limit && overdue > 0 {
		return false, errCustomersOverdue
	}
	return units <= *limit, nil
}

// enough says whether a line's units are still its own or can be had, after a batch
// of what is overdue was given back where that is needed. errOverdue when there is
// more of that than one transaction gives back, or somebody else works on it just now: money
// that is refused once is refused for good.
func (a *ProcessPayment) enough(ctx context.Context, tx *mysql.Tx, p *payment, row store.HoldLine) (bool, error) {
	if row.State == sale.LinePending {
		return true, nil
	}
	product, err := a.q.GetProduct(ctx, tx, row.ProductID)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", row.ProductID, err)
	}
	if product.AvailableStock >= row.Quantity {
		return true, nil
	}
	lines, err := a.overdue(ctx, tx, row.ProductID)
	if err != nil {
		return false, err
	}
	var units int64
	for _, line := range lines {
		units += line.Quantity
	}
	if product.AvailableStock+units < row.Quantity && len(lines) == releaseBatch {
		return false, errOverdue
	}
	if err := a.giveBackWithin(ctx, tx, p, row.ProductID, lines); err != nil {
		return false, err
	}
	if product.AvailableStock+units >= row.Quantity {
		return true, nil
	}
	return false, a.overdueLeft(ctx, tx, row.ProductID)
}

// giveBackWithin gives overdue lines back within the payment's own transaction.
func (a *ProcessPayment) giveBackWithin(
	ctx context.Context, tx *mysql.Tx, p *payment, id sale.ProductID, lines []store.OverdueLinesRow,
) error {
	done, err := a.giveBackOverdue(ctx, tx, id, lines)
	if err != nil || done.units == 0 {
		return err
	}
	p.left = append(p.left, done.product)
	p.add(sale.ReturnExpired, done.holds+done.orders, done.units)
	return nil
}

// makeRoomWithinLimits gives back what else is overdue of a late payment's customer, in
// transactions of their own.
func (a *ProcessPayment) makeRoomWithinLimits(ctx context.Context, p *payment) error {
	for _, line := range p.order.Lines {
		for more := true; more; {
			done, err := a.releaseCustomers(ctx, line.ProductID, []string{p.order.CustomerID}, p.order.HoldID())
			if err != nil {
				return err
			}
			more = done.full
		}
	}
	return nil
}

// makeRoom gives back what is overdue of the products of a late payment's order, in
// transactions of their own, until there is enough or no more.
func (a *ProcessPayment) makeRoom(ctx context.Context, p *payment) error {
	for _, line := range p.order.Lines {
		for more := true; more; {
			done, err := a.releaseOverdue(ctx, line.ProductID, line.Quantity)
			if err != nil {
				return err
			}
			more = done.full && !done.enough
		}
	}
	return nil
}

// retake makes one line sold; units that went back are taken again.
func (a *ProcessPayment) retake(ctx context.Context, tx *mysql.Tx, p *payment, row store.HoldLine) error {
	if row.State == sale.LineReturned {
		changed, err := a.q.RetakeStock(ctx, tx, store.RetakeStockParams{
			Quantity: row.Quantity, Now: tx.Now, ID: row.ProductID,
		})
		if err := oneRow(changed, err); err != nil {
			return fmt.Errorf("taking %d of %s again: %w", row.Quantity, row.ProductID, err)
		}
		product, err := a.moved(ctx, tx, row.ProductID, -row.Quantity, sale.MovementRebooked)
		if err != nil {
			return err
		}
		p.left = append(p.left, product)
	}
	changed, err := a.q.ResellLine(ctx, tx, store.ResellLineParams{ID: row.ID, Position: row.Position})
	if err := oneRow(changed, err); err != nil {
		return fmt.Errorf("selling line %d of %s again: %w", row.Position, row.ID, err)
	}
	return nil
}

// oneRow is allRows for a single row.
func oneRow(changed int64, err error) error { return allRows(changed, 1, err) }

// allRows makes a change of another number of rows an error: the caller holds the rows and
// has checked them.
func allRows(changed, all int64, err error) error {
	if err == nil && changed != all {
		return fmt.Errorf("%d rows changed where %d had to", changed, all)
	}
	return err
}

// giveUp gives back what is still pending and makes the money due for refund.
func (a *ProcessPayment) giveUp(ctx context.Context, tx *mysql.Tx, p *payment) error {
	if err := a.lock(ctx, tx, p.products()); err != nil {
		return err
	}
	if err := a.giveBackOrder(ctx, tx, p.event.OrderID, sale.ReturnExpired, &p.restocking); err != nil {
		return err
	}
	return a.refundDue(ctx, tx, p)
}
