package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// releaseBatch is how many overdue lines one transaction gives back: about 15 ms
// under the product's lock, where tens of thousands would take a second.
const releaseBatch = 1000

// readEvery is at which versions of a product a hold reads what it left all the same: so that
// a change that made no version, by hand for instance, shows after as many holds at last.
const readEvery = 64

// takeUnits runs the atomic statement on the terms of a product and gives the version that
// its row has by it; errRefused when a condition did not hold.
func (d *desk) takeUnits(ctx context.Context, tx *mysql.Tx, on sale.Product, units int64) (version int64, err error) {
	result, err := d.q.ReserveStock(ctx, tx, store.ReserveStockParams{
		Quantity: units, Now: tx.Now, ID: on.ID,
		PriceAmount: on.Price.Amount, Currency: on.Price.Currency, PerCustomerLimit: on.PerCustomerLimit,
		HoldTtlSeconds: inSeconds(on.HoldTTL), PaymentWindowSeconds: inSeconds(on.PaymentWindow),
	})
	if err != nil {
		return 0, fmt.Errorf("reserving %d of %s: %w", units, on.ID, err)
	}
	changed, changedErr := result.RowsAffected()
	version, versionErr := result.LastInsertId()
	if err := errors.Join(changedErr, versionErr); err != nil {
		return 0, fmt.Errorf("reading what was reserved of %s: %w", on.ID, err)
	}
	if changed == 0 {
		return 0, errRefused
	}
	return version, nil
}

// unitsTaken writes the movement of a reservation and says what that left of the product. To
// read it would keep the row from the next in turn for another round trip. It follows from
// the state before where this process has seen that: each change makes a version of its own.
func (d *desk) unitsTaken(ctx context.Context, tx *mysql.Tx, on sale.Product, units, version int64) (sale.Product, error) {
	before, seen := d.Cache.Newest(on.ID)
	if !seen || before.Version != version-1 || !before.Equal(on.Rules) ||
		before.AvailableStock < units || version%readEvery == 0 {
		return d.moved(ctx, tx, on.ID, -units, sale.MovementHeld)
	}
	return before.Reserved(units, tx.Now), d.recordMovement(ctx, tx, on.ID, -units, sale.MovementHeld, "")
}

// moved reads the product as this transaction just left it and writes the movement.
func (d *desk) moved(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, delta int64, reason sale.MovementReason,
) (sale.Product, error) {
	return d.movedWith(ctx, tx, id, delta, reason, "")
}

// movedWith is moved with somebody's own words for the ledger.
func (d *desk) movedWith(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, delta int64, reason sale.MovementReason, note string,
) (sale.Product, error) {
	row, err := d.q.GetProduct(ctx, tx, id)
	if err != nil {
		return sale.Product{}, fmt.Errorf("reading %s as it was left: %w", id, err)
	}
	return productOf(row), d.recordMovement(ctx, tx, id, delta, reason, note)
}

// recordMovement writes a change of stock, which this transaction has just made, into the
// ledger.
func (d *desk) recordMovement(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, delta int64, reason sale.MovementReason, note string,
) error {
	written, err := d.q.RecordMovement(ctx, tx, store.RecordMovementParams{
		Delta: delta, Reason: reason, Note: note, CreatedAt: tx.Now, ID: id,
	})
	if err := oneRow(written, err); err != nil {
		return fmt.Errorf("writing a movement of %s: %w", id, err)
	}
	return nil
}

// restore puts units back on sale; the caller holds the product's row.
func (d *desk) restore(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, units int64, reason sale.ReturnReason,
) (sale.Product, error) {
	if _, err := d.q.RestoreStock(ctx, tx, store.RestoreStockParams{Quantity: units, Now: tx.Now, ID: id}); err != nil {
		return sale.Product{}, fmt.Errorf("restoring %d units of %s: %w", units, id, err)
	}
	return d.moved(ctx, tx, id, units, movementOf(reason))
}

func movementOf(reason sale.ReturnReason) sale.MovementReason {
	switch reason {
	case sale.ReturnReleased:
		return sale.MovementReleased
	case sale.ReturnFailed:
		return sale.MovementFailed
	case sale.ReturnCancelled:
		return sale.MovementCancelled
	case sale.ReturnRefunded:
		return sale.MovementRefunded
	case sale.ReturnExpired:
	}
	return sale.MovementExpired
}

// giveBack marks lines of one product as returned and puts their units back on
// sale. The caller holds the product's row and the lines; a line that changed
// meanwhile is a broken rule of locking and fails the transaction.
func (d *desk) giveBack(
	ctx context.Context, tx *mysql.Tx, product sale.ProductID, holds []sale.HoldID, units int64, reason sale.ReturnReason,
) (sale.Product, error) {
	changed, err := d.q.ReturnLines(ctx, tx, store.ReturnLinesParams{
		Ended: reason, Ids: holds, ProductID: product, States: returnable(reason),
	})
	if err != nil {
		return sale.Product{}, fmt.Errorf("returning lines of %s: %w", product, err)
	}
	if changed != int64(len(holds)) {
		return sale.Product{}, fmt.Errorf("returning lines of %s: %d of %d were still off sale", product, changed, len(holds))
	}
	return d.restore(ctx, tx, product, units, reason)
}

// returnable are the states that a line may go back from: sold units only with
// their money.
func returnable(reason sale.ReturnReason) []sale.LineState {
	if reason == sale.ReturnRefunded {
		return []sale.LineState{sale.LineSold}
	}
	return []sale.LineState{sale.LineHeld, sale.LinePending}
}

// restocking is what one transaction put back on sale or took off it: the products
// as it left them, and the units for the meter.
type restocking struct {
	left []sale.Product
	back []returned
}

type returned struct {
	reason       sale.ReturnReason
	lines, units int64
}

func (r *restocking) add(reason sale.ReturnReason, lines, units int64) {
	r.back = append(r.back, returned{reason: reason, lines: lines, units: units})
}

// units are those that went back.
func (r *restocking) units() int64 {
	var units int64
	for _, back := range r.back {
		units += back.units
	}
	return units
}

// publish makes visible what a committed transaction did to products.
func (d *desk) publish(ctx context.Context, r restocking) {
	if len(r.left) > 0 {
		d.Cache.Put(ctx, r.left...)
	}
	for _, back := range r.back {
		d.Meter.StockRestored(back.reason, back.lines, back.units)
	}
}

// giveBackOrder gives back those of an order's lines that may go back for this
// reason. The caller holds the products' rows.
func (d *desk) giveBackOrder(
	ctx context.Context, tx *mysql.Tx, order sale.OrderID, reason sale.ReturnReason, r *restocking,
) error {
	hold := sale.HoldOf(order)
	rows, err := d.q.LockHold(ctx, tx, hold)
	if err != nil {
		return fmt.Errorf("locking the lines of %s: %w", order, err)
	}
	states := returnable(reason)
	rows = slices.DeleteFunc(rows, func(row store.HoldLine) bool { return !slices.Contains(states, row.State) })
	left, units, err := d.giveBackLines(ctx, tx, hold, linesOf(rows), reason)
	if err != nil || units == 0 {
		return err
	}
	r.left = append(r.left, left...)
	r.add(reason, int64(len(rows)), units)
	return nil
}

// sweep is what one transaction gave back of one product.
type sweep struct {
	product sale.Product
	holds   int64
	orders  int64
	units   int64
	full    bool  // there may be more
	enough  bool  // there was no need
	found   int64 // the version of the product's stock before
}

// helped says whether another look may now show more than one that saw this version of the
// stock: somebody else may have given back in between.
func (s sweep) helped(seen int64) bool { return s.enough || s.holds+s.orders > 0 || s.found != seen }

// releaseOverdue gives back up to releaseBatch overdue lines of a product, in a
// transaction of its own, unless wanted units (0: as many as there are) are on sale
// already.
func (d *desk) releaseOverdue(ctx context.Context, id sale.ProductID, wanted int64) (sweep, error) {
	return d.release(ctx, id, func(ctx context.Context, tx *mysql.Tx, available int64) (sweep, error) {
		if wanted > 0 && available >= wanted {
			return sweep{enough: true}, nil
		}
		lines, err := d.overdue(ctx, tx, id)
		if err != nil {
			return sweep{}, err
		}
		return d.giveBackOverdue(ctx, tx, id, lines)
	})
}

// releaseInTurn is releaseOverdue with a place at the product's gate, for each transaction anew,
// so that customers come between.
func (d *desk) releaseInTurn(ctx context.Context, id sale.ProductID, wanted int64) (sweep, error) {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return sweep{}, err
	}
	defer leave()
	return d.releaseOverdue(ctx, id, wanted)
}

// releaseCustomers gives back the overdue lines of these customers alone, those of one hold
// left out.
func (d *desk) releaseCustomers(
	ctx context.Context, id sale.ProductID, customers []string, otherThan sale.HoldID,
) (sweep, error) {
	return d.release(ctx, id, func(ctx context.Context, tx *mysql.Tx, _ int64) (sweep, error) {
		lines, err := d.overdueOf(ctx, tx, id, customers, otherThan)
		if err != nil {
			return sweep{}, err
		}
		return d.giveBackOverdue(ctx, tx, id, lines)
	})
}

// release runs one transaction that gives back under the product's lock, and tells
// of it. Whether a lost commit took place is for the next look to see: giving back
// can be tried again.
func (d *desk) release(
	ctx context.Context, id sale.ProductID, work func(context.Context, *mysql.Tx, int64) (sweep, error),
) (sweep, error) {
	var done sweep
	err := d.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error {
		row, err := d.q.LockProduct(ctx, tx, id)
		if err != nil {
			return notFound(err, sale.CodeProductNotFound, id.String())
		}
		done, err = work(ctx, tx, row.AvailableStock)
		done.found = row.StockVersion
		return err
	})
	if errors.Is(err, &sale.Error{Code: sale.CodeOutcomeUnknown}) {
		return sweep{enough: true, full: true}, nil
	}
	if err != nil {
		return sweep{}, err // rolled back: nothing was given back
	}
	if done.holds+done.orders == 0 {
		return done, nil
	}
	d.Cache.Put(ctx, done.product)
	d.Meter.StockRestored(sale.ReturnExpired, done.holds+done.orders, done.units)
	d.Log.InfoContext(ctx, "stock.restored", slog.String("product_id", id.String()),
		slog.Int64("holds", done.holds), slog.Int64("orders", done.orders), slog.Int64("stock_restored", done.units))
	return done, nil
}

// overdueLeft returns errOverdue when a product has units that are overdue and were not given
// back yet.
func (d *desk) overdueLeft(ctx context.Context, tx *mysql.Tx, id sale.ProductID) error {
	rows, err := d.q.LookAtProducts(ctx, tx, []sale.ProductID{id})
	if err != nil {
		return fmt.Errorf("looking at %s: %w", id, err)
	}
	for _, row := range rows {
		if product := seenOf(row); !product.nextDue.After(tx.Now) {
			return errOverdue
		}
	}
	return nil
}

// giveBackOverdue gives back overdue lines that the caller holds, as it holds the
// product's row.
func (d *desk) giveBackOverdue(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, lines []store.OverdueLinesRow,
) (sweep, error) {
	var done sweep
	if len(lines) == 0 {
		return done, nil
	}
	holds := make([]sale.HoldID, len(lines))
	for i, line := range lines {
		holds[i] = line.ID
		done.units += line.Quantity
		if line.State == sale.LineHeld {
			done.holds++
		} else {
			done.orders++
		}
	}
	done.full = len(lines) == releaseBatch
	if err := announce(ctx, tx, expiriesOf(lines)...); err != nil {
		return done, err
	}
	var err error
	done.product, err = d.giveBack(ctx, tx, id, holds, done.units, sale.ReturnExpired)
	return done, err
}

// overdue locks a product's overdue lines, at most releaseBatch, oldest first in
// each of the two states.
func (d *desk) overdue(ctx context.Context, tx *mysql.Tx, id sale.ProductID) ([]store.OverdueLinesRow, error) {
	var lines []store.OverdueLinesRow
	for _, state := range []sale.LineState{sale.LineHeld, sale.LinePending} {
		rows, err := d.q.OverdueLines(ctx, tx, store.OverdueLinesParams{
			ProductID: id, State: state, DueAt: tx.Now, Limit: int32(releaseBatch - len(lines)), //nolint:gosec // at most 1,000
		})
		if err != nil {
			return nil, fmt.Errorf("looking for overdue lines of %s: %w", id, err)
		}
		lines = append(lines, rows...)
	}
	return lines, nil
}

// overdueOf locks the overdue lines of customers, at most releaseBatch, those of
// one hold left out.
func (d *desk) overdueOf(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, customers []string, otherThan sale.HoldID,
) ([]store.OverdueLinesRow, error) {
	rows, err := d.q.OverdueLinesOf(ctx, tx, store.OverdueLinesOfParams{
		ProductID: id, Customers: customers, Now: tx.Now, OtherThan: otherThan, Limit: releaseBatch,
	})
	if err != nil {
		return nil, fmt.Errorf("looking for customers' overdue lines of %s: %w", id, err)
	}
	lines := make([]store.OverdueLinesRow, len(rows))
	for i, row := range rows {
		lines[i] = store.OverdueLinesRow(row)
	}
	return lines, nil
}

// expiriesOf is what is told of orders whose time is over, of each once: with its
// first line.
func expiriesOf(lines []store.OverdueLinesRow) []event {
	expiry := sale.Next(sale.OrderPendingPayment, sale.TriggerExpiry)
	var events []event
	for _, line := range lines {
		if line.State == sale.LinePending && line.Position == 0 {
			events = append(events, orderEvent(expiry.Tells, sale.OrderOf(line.ID), facts{}))
		}
	}
	return events
}

// ReleaseExpired gives back what is overdue.
type ReleaseExpired struct{ *desk }

// Do sweeps all products until nothing is overdue, a batch of each in turn. Several
// processes at once are safe: each line is given back by one of them. A product that
// cannot be swept does not stop the others; the error then names each.
func (a *ReleaseExpired) Do(ctx context.Context) (Released, error) {
	var released Released
	products, err := a.overdueProducts(ctx)
	var failures []error
	for len(products) > 0 && ctx.Err() == nil {
		products = slices.DeleteFunc(products, func(id sale.ProductID) bool {
			done, err := a.releaseInTurn(ctx, id, 0)
			if err != nil {
				failures = append(failures, fmt.Errorf("releasing what is overdue of %s: %w", id, err))
			}
			released.Holds += done.holds
			released.Orders += done.orders
			released.StockRestored += done.units
			return err != nil || !done.full
		})
	}
	return released, errors.Join(append(failures, err, ctx.Err())...)
}

// overdueProducts names the products that have anything overdue, each once.
func (a *ReleaseExpired) overdueProducts(ctx context.Context) ([]sale.ProductID, error) {
	var products []sale.ProductID
	err := a.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		products, err = a.q.OverdueProducts(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for products with overdue lines: %w", err)
	}
	return products, nil
}

// ascending names the products of lines in the order in which they are locked.
func ascending[L interface{ Product() sale.ProductID }](lines []L) []sale.ProductID {
	ids := make([]sale.ProductID, len(lines))
	for i, line := range lines {
		ids[i] = line.Product()
	}
	slices.SortFunc(ids, sale.ProductID.Compare)
	return ids
}

// never is what the database gives for a due time where nothing is due.
func never(due time.Time) bool { return due.Year() == 9999 }
