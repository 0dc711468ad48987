package action

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// ticket is a wish for one product that waits in its lane.
type ticket = lane.Ticket[*wish]

// batch is what waits for one product, on its way through a few transactions.
type batch struct {
	*CreateHold
	id      sale.ProductID
	waiting []*ticket
	next    func() // lets the following batch start
	terms   terms
}

// serveBatch serves what waits for one product. It tries all at once on the terms
// that the cache knows; when that does nothing, or cannot be enough, it looks,
// answers whoever can be answered without a write, and tries those that fit. Every
// round costs a constant few statements, however many wait.
func (a *CreateHold) serveBatch(ctx context.Context, id sale.ProductID, waiting []*ticket, next func()) {
	b := &batch{CreateHold: a, id: id, waiting: waiting, next: next}
	ctx = budget.Within(ctx, a.patience(forOverdue))
	if b.alarm.up() {
		b.free(ctx, waiting)
	}
	promising, err := b.guess(ctx)
	if promising {
		b.attempt(ctx, b.waiting)
	}
	for err == nil && len(b.waiting) > 0 {
		var fits []*ticket
		if fits, err = b.sift(ctx); err == nil {
			b.attempt(ctx, fits)
		}
	}
	b.end(b.waiting, err)
}

// end gives all the same answer and forgets them.
func (b *batch) end(tickets []*ticket, err error) {
	lane.End(tickets, err)
	ended := make(map[*ticket]bool, len(tickets))
	for _, ticket := range tickets {
		ended[ticket] = true
	}
	b.waiting = slices.DeleteFunc(slices.Clone(b.waiting), func(t *ticket) bool { return ended[t] })
}

// attempt tries wishes in one transaction. When a condition of it did not hold they
// go on waiting, and the next look tells why. A lock that nobody gave is that of the wishes
// whose keys are being written elsewhere, where there are any; the others are tried again. An
// error that nobody foresaw, or a lost deadlock, is halved until it is its own wish's, not
// the neighbours', while the batch's budget lasts.
func (b *batch) attempt(ctx context.Context, fits []*ticket) {
	if len(fits) == 0 {
		return
	}
	err := b.try(ctx, fits)
	if mysql.IsLockWait(err) {
		if free := b.free(ctx, fits); len(free) < len(fits) {
			b.next()
			b.attempt(ctx, free)
			return
		}
	}
	var known *sale.Error
	switch {
	case errors.Is(err, errRefused), errors.Is(err, errTaken):
	case err == nil, len(fits) == 1, errors.As(err, &known) && !mysql.IsDeadlock(err):
		b.end(fits, err)
	default:
		b.next()
		b.attempt(ctx, fits[:len(fits)/2])
		b.attempt(ctx, fits[len(fits)/2:])
	}
}

// guess takes the terms that the cache knows, and says whether by these all fits, and the sale
// is on: this process's clock only spares a crowd outside of it a write, and refuses nobody.
func (b *batch) guess(ctx context.Context) (bool, error) {
	product, _, err := b.known(ctx, b.id)
	if errors.Is(err, &sale.Error{Code: sale.CodeProductNotFound}) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b.terms = terms{b.id: product}
	if product.WindowRefusal(time.Now()) != "" {
		return false, nil
	}
	forbidden := func(ticket *ticket) bool { return b.terms.check(ticket.Job) != nil }
	return unitsOf(b.waiting) <= product.AvailableStock && !slices.ContainsFunc(b.waiting, forbidden), nil
}

func wishesOf(tickets []*ticket) []*wish {
	wishes := make([]*wish, len(tickets))
	for i, ticket := range tickets {
		wishes[i] = ticket.Job
	}
	return wishes
}

func unitsOf(tickets []*ticket) int64 {
	var units int64
	for _, ticket := range tickets {
		units += ticket.Job.Lines[0].Quantity
	}
	return units
}

// sift looks, answers the wishes whose key had its effect or which are refused, and
// gives those of the rest that fit together. When none does, and units are overdue,
// it gives these back; units that can't be had back are not waited for.
func (b *batch) sift(ctx context.Context) ([]*ticket, error) {
	v, err := b.look(ctx, wishesOf(b.waiting))
	if err != nil {
		return nil, err
	}
	b.terms = v.products.terms()
	b.answer(v, true)
	fits := b.fitting(v)
	if len(fits) > 0 || len(b.waiting) == 0 {
		return fits, nil
	}
	helped, err := b.release(ctx, v)
	if err == nil && !helped {
		b.answer(v, false)
	}
	return nil, err
}

// answer ends every wish that needs no write. With release, those that giving back
// overdue units may help go on waiting.
func (b *batch) answer(v *view, release bool) {
	var rest []*ticket
	for _, ticket := range b.waiting {
		w := ticket.Job
		if err := v.replay(w); err != nil {
			ticket.Done(err)
			continue
		}
		if err := v.decide(w, release); err != nil && !errors.Is(err, errOverdue) {
			ticket.Done(err)
			continue
		}
		rest = append(rest, ticket)
	}
	b.waiting = rest
}

// fitting picks, in order of arrival, the wishes that fit together: one that does
// not fit does not stop a later, smaller one.
func (b *batch) fitting(v *view) []*ticket {
	var fits []*ticket
	product, counts := v.products[b.id], v.counts[b.id]
	left := product.AvailableStock
	for _, ticket := range b.waiting {
		customer, quantity := ticket.Job.CustomerID, ticket.Job.Lines[0].Quantity
		if quantity > left {
			continue
		}
		if product.PerCustomerLimit != nil {
			counted := counts[customer]
			if counted.units+quantity > *product.PerCustomerLimit {
				continue
			}
			counted.units += quantity
			counts[customer] = counted
		}
		left -= quantity
		fits = append(fits, ticket)
	}
	return fits
}

// release gives back what is overdue and wanted, and says whether that helped.
func (b *batch) release(ctx context.Context, v *view) (bool, error) {
	var customers []string
	lacking := false
	for _, ticket := range b.waiting {
		product, quantity := v.product(b.id, ticket.Job.CustomerID), ticket.Job.Lines[0].Quantity
		lacking = lacking || product.lacks(quantity)
		if product.mayPassLimit(quantity) {
			customers = append(customers, ticket.Job.CustomerID)
		}
	}
	helped, seen := false, v.products[b.id].StockVersion
	if lacking {
		done, err := b.releaseOverdue(ctx, b.id, unitsOf(b.waiting))
		if err != nil {
			return false, err
		}
		helped = done.helped(seen)
	}
	if len(customers) > 0 {
		done, err := b.releaseCustomers(ctx, b.id, distinct(customers), sale.HoldID{})
		if err != nil {
			return false, err
		}
		helped = helped || done.helped(seen)
	}
	return helped, nil
}

func distinct(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// try is one transaction for all: keys, lines, then the hot row with the sum, the
// limits and one movement. All or none; the next batch may start its inserts while
// this one commits.
func (b *batch) try(ctx context.Context, fits []*ticket) error {
	// In the order of the primary key, so that batches of several processes with
	// common keys wait for each other and do not deadlock.
	fits = slices.SortedFunc(slices.Values(fits), func(x, y *ticket) int { return bytes.Compare(x.Job.id[:], y.Job.id[:]) })
	var made time.Time
	var left sale.Product
	err := b.DB.Tx(ctx, b.settle(fits[0].Job, &made), func(ctx context.Context, tx *mysql.Tx) (err error) {
		made = tx.Now
		if err := b.record(ctx, tx, fits); err != nil {
			return err
		}
		if left, err = b.take(ctx, tx, fits); err != nil {
			return err
		}
		b.next()
		return nil
	})
	if err != nil {
		return err
	}
	b.Cache.Put(ctx, left)
	return nil
}

// record writes the keys and the lines.
func (b *batch) record(ctx context.Context, tx *mysql.Tx, fits []*ticket) error {
	var marks []marked
	holds := make([]sale.Hold, len(fits))
	for i, ticket := range fits {
		w := ticket.Job
		w.hold = b.terms.hold(w, tx.Now)
		holds[i] = w.hold
		if w.Key != "" && !w.byID {
			marks = append(marks, marked{w.claim, w.id})
		}
	}
	if err := writeClaims(ctx, b.q, tx, marks); err != nil {
		return err
	}
	return insertHolds(ctx, tx, holds)
}

// take runs the atomic statement with the sum, counts limits under the product's
// lock, the new holds among them, and writes the movement.
func (b *batch) take(ctx context.Context, tx *mysql.Tx, fits []*ticket) (sale.Product, error) {
	units, product := unitsOf(fits), b.terms[b.id]
	version, err := b.takeUnits(ctx, tx, product, units)
	if err != nil {
		return product, err
	}
	if product.PerCustomerLimit != nil {
		counts, err := b.countUnits(ctx, tx, b.id, customersOf(wishesOf(fits), b.id))
		if err != nil {
			return product, err
		}
		for _, counted := range counts {
			if counted.units > *product.PerCustomerLimit {
				return product, errRefused
			}
		}
	}
	return b.unitsTaken(ctx, tx, product, units, version)
}
