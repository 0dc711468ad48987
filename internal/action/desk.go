package action

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// desk is what all actions share: the kit, the generated queries, and who may work
// on which product or key in this process.
type desk struct {
	Kit
	q       *store.Queries
	gates   *lane.Gates[sale.ProductID]
	flights *flights
	audits  *lane.Sharer[sale.ProductID, sale.Books]
}

func newDesk(kit Kit) *desk {
	d := &desk{Kit: kit, q: store.New()}
	d.gates = lane.NewGates[sale.ProductID](productWidth, d.Meter.Gate(GateProducts), d.patience(forTurn))
	d.flights = newFlights(d.patience(forTurn))
	d.audits = lane.NewSharer(maxAudits, d.survey)
	return d
}

// productWidth is how many transactions of one process may want a product's row at once: one
// that commits and one that is ready to follow. More would only wait on the row's lock, each
// with a connection in hand.
const productWidth = 2

// What a request waits for, in times of an operation's timeout.
const (
	forBatch   = 1.0 // to start: it may then take as long again
	forTurn    = 1.6 // at a product's gate, or for an equal one to end
	forOverdue = 1.5 // for what is overdue to be given back, 1,000 lines at a time
	forAudit   = 4.9 // for a product's lines and movements to be read, and others' before
	// toBegin bounds all of these together but the audit, and the operations between
	// them. The last that may begin, a transaction with a lost COMMIT and a read of what
	// it did, take another 3.4 with a doubt of the server at every turn: five in all.
	toBegin = forTurn
)

// patience is how long a request waits before its customer is asked to come back.
func (d *desk) patience(times float64) time.Duration {
	return time.Duration(times * float64(d.DB.Timeout()))
}

// enter waits for a place at products, given in ascending order.
func (d *desk) enter(ctx context.Context, products ...sale.ProductID) (leave func(), err error) {
	leave, err = d.gates.Enter(ctx, products...)
	return leave, overloaded(err)
}

// merged makes what a lane says of a job the domain's error. A batch that broke off may have
// been committed.
func (d *desk) merged(ctx context.Context, err error) error {
	if errors.Is(err, lane.ErrBroken) {
		d.Log.LogAttrs(ctx, slog.LevelError, "batch.broken", slog.Any("error", err))
		return mysql.OutcomeUnknown(err)
	}
	return overloaded(err)
}

// overloaded makes a queue's refusal the domain's error.
func overloaded(err error) error {
	if !errors.Is(err, lane.ErrOverloaded) {
		return err
	}
	return &sale.Error{
		Code: sale.CodeOverloaded, RetryAfter: time.Second, Cause: err,
		Detail: "Too many requests wait for the same. Nothing was done; try again.",
	}
}

// once has the effect of a repeatable operation in one transaction, which writes the
// claim. It gives the id of what came of it, and whether an earlier request with
// the same key made that. It waits for equal keys first and then for a place at the
// products, whose rows act takes.
func (d *desk) once(
	ctx context.Context, c claim, target [claimBytes]byte, products []sale.ProductID,
	act func(context.Context, *mysql.Tx) error,
) (made [claimBytes]byte, replayed bool, err error) {
	end, err := d.flights.begin(ctx, c.id)
	if err != nil {
		return target, false, err
	}
	defer end()
	leave, err := d.enter(ctx, products...)
	if err != nil {
		return target, false, err
	}
	defer leave()
	var at time.Time
	err = d.DB.Tx(ctx, c.settle(d.q, target, &at), func(ctx context.Context, tx *mysql.Tx) error {
		at = tx.Now
		if err := c.write(ctx, d.q, tx, target); err != nil {
			return err
		}
		return act(ctx, tx)
	})
	if errors.Is(err, errTaken) {
		made, err = c.recall(ctx, d.DB, d.q)
		return made, true, err
	}
	return target, false, err
}

// answer reads the result of what was done. After this request's own commit it is read
// whatever the budget, and a failure must not say that nothing was done.
func answer[T any](ctx context.Context, replayed bool, read func(context.Context) (T, error)) (Result[T], error) {
	if !replayed {
		ctx = budget.Lifted(ctx)
	}
	value, err := read(ctx)
	if err != nil && !replayed {
		err = mysql.OutcomeUnknown(err)
	}
	return Result[T]{Value: value, Replayed: replayed}, err
}

// product reads one product's committed state.
func (d *desk) product(ctx context.Context, id sale.ProductID) (sale.Product, error) {
	var product sale.Product
	err := d.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		row, err := d.q.GetProduct(ctx, q, id)
		if err != nil {
			return notFound(err, sale.CodeProductNotFound, id.String())
		}
		product = productOf(row)
		return nil
	})
	return product, err
}

// published reads a product that was just changed and makes it visible.
func (d *desk) published(ctx context.Context, id sale.ProductID) (sale.Product, error) {
	product, err := d.product(ctx, id)
	if err == nil {
		d.Cache.Put(ctx, product)
	}
	return product, err
}

// hold reads a hold and its status.
func (d *desk) hold(ctx context.Context, id sale.HoldID) (HoldView, error) {
	var view HoldView
	err := d.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		rows, err := d.q.GetHolds(ctx, q, []sale.HoldID{id})
		if err != nil {
			return fmt.Errorf("reading hold %s: %w", id, err)
		}
		if len(rows) == 0 {
			return unknown(sale.CodeHoldNotFound, id.String())
		}
		view = viewsOf(rows)[id]
		return nil
	})
	return view, err
}

// orderView reads an order and its status.
func (d *desk) orderView(ctx context.Context, id sale.OrderID) (OrderView, error) {
	view, _, err := d.order(ctx, id)
	return view, err
}

// order reads an order and its status, and the clock as it was then.
func (d *desk) order(ctx context.Context, id sale.OrderID) (OrderView, mysql.Clock, error) {
	var view OrderView
	var clock mysql.Clock
	err := d.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		row, err := d.q.GetOrder(ctx, q, id)
		if err != nil {
			return notFound(err, sale.CodeOrderNotFound, id.String())
		}
		clock = mysql.ClockAt(row.Now)
		lines, err := d.q.GetLines(ctx, q, sale.HoldOf(id))
		if err != nil {
			return fmt.Errorf("reading the lines of order %s: %w", id, err)
		}
		order := orderOf(row.Order, lines)
		view = OrderView{Order: order, Status: order.Status(row.Now)}
		return nil
	})
	return view, clock, err
}

// notFound makes a missing row the domain's error.
func notFound(err error, code sale.Code, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return unknown(code, id)
	}
	return fmt.Errorf("reading %s: %w", id, err)
}

func unknown(code sale.Code, id string) *sale.Error {
	return sale.Fail(code, "There is no "+id+".")
}
