package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// view is what one look says to all wishes that share it.
type view struct {
	products sight
	counts   map[sale.ProductID]map[string]count // of customers, where a product has a limit
	keys     usedKeys
	holds    map[sale.HoldID]HoldView

	verdicts map[question]error // that were found, on one line of a product without a limit
}

// question is all that such a verdict depends on: customers are not told apart.
type question struct {
	product  sale.ProductID
	quantity int64
	release  bool
}

// glance is a wish that waits for a look, and what the look says to it.
type glance struct {
	*wish
	sight sight
}

// sharedCounts is for how many products a look that is shared counts customers' units, with a
// statement for each. Baskets in which there are others look alone: whatever many want, their
// neighbours are not to wait for it.
const sharedCounts = 8

// errAlone says that a shared look does not say everything about a wish.
var errAlone = errors.New("the wish has to look alone")

// see looks for one wish. It returns errTaken and CodeKeyReused as view.replay does. Where
// wishes are merged, those of whatever products share a look, so that a crowd whose baskets
// have nothing in common but one product that is gone costs a constant few statements.
func (a *CreateHold) see(ctx context.Context, w *wish) (sight, error) {
	if a.Coalesce {
		g := &glance{wish: w}
		err := a.looks.Do(ctx, struct{}{}, g)
		if !errors.Is(err, errAlone) {
			return g.sight, overloaded(err)
		}
	}
	return a.seeAlone(ctx, w)
}

// seeAlone is see with a look of the wish's own.
func (a *CreateHold) seeAlone(ctx context.Context, w *wish) (sight, error) {
	v, err := a.look(ctx, []*wish{w})
	if err != nil {
		return nil, err
	}
	return v.of(w), v.replay(w)
}

// serveLooks looks once for all who wait.
func (a *CreateHold) serveLooks(ctx context.Context, _ struct{}, glances []*lane.Ticket[*glance], _ func()) {
	wishes := make([]*wish, len(glances))
	for i, ticket := range glances {
		wishes[i] = ticket.Job.wish
	}
	v, err := a.look(ctx, wishes)
	if err != nil {
		lane.End(glances, err)
		return
	}
	for _, ticket := range glances {
		w := ticket.Job.wish
		if !v.counted(w) {
			ticket.Done(errAlone)
			continue
		}
		ticket.Job.sight = v.of(w)
		ticket.Done(v.replay(w))
	}
}

// look reads everything that decides about wishes, without any lock: one statement each for
// the products, the customers of those that have a limit, the two kinds of keys, and what they
// made; one more where others' holds lie between keys that are hold ids. The keys come last: a
// key that took the units which are missing is there by then.
func (a *CreateHold) look(ctx context.Context, wishes []*wish) (*view, error) {
	v := &view{verdicts: map[question]error{}}
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		rows, err := a.q.LookAtProducts(ctx, q, productsWished(wishes))
		if err != nil {
			return fmt.Errorf("looking at products: %w", err)
		}
		v.products = make(sight, len(rows))
		for _, row := range rows {
			v.products[row.Product.ID] = seenOf(row)
		}
		if err := a.countAll(ctx, q, v, wishes); err != nil {
			return err
		}
		return a.findReplays(ctx, q, v, wishes)
	})
	return v, err
}

// countAll counts customers' units of the products that have a limit. Of wishes that share a
// look it counts those that most of them are for.
func (a *CreateHold) countAll(ctx context.Context, q store.DBTX, v *view, wishes []*wish) error {
	customers := map[sale.ProductID][]string{}
	var limited []sale.ProductID
	for id, product := range v.products {
		if product.PerCustomerLimit != nil {
			customers[id] = customersOf(wishes, id)
			limited = append(limited, id)
		}
	}
	if len(wishes) > 1 && len(limited) > sharedCounts {
		slices.SortFunc(limited, func(x, y sale.ProductID) int { return len(customers[y]) - len(customers[x]) })
		limited = limited[:sharedCounts]
	}
	v.counts = make(map[sale.ProductID]map[string]count, len(limited))
	for _, id := range limited {
		counts, err := a.countUnits(ctx, q, id, customers[id])
		if err != nil {
			return err
		}
		v.counts[id] = counts
	}
	return nil
}

// productsWished are the products of wishes, each once.
func productsWished(wishes []*wish) []sale.ProductID {
	lines := make([]sale.LineRequest, 0, len(wishes))
	for _, w := range wishes {
		lines = append(lines, w.Lines...)
	}
	return slices.Compact(ascending(lines))
}

// customersOf are the customers who wish for a product, each once.
func customersOf(wishes []*wish, id sale.ProductID) []string {
	customers := make([]string, 0, len(wishes))
	for _, w := range wishes {
		if w.quantity(id) > 0 {
			customers = append(customers, w.CustomerID)
		}
	}
	return distinct(customers)
}

// countUnits counts what customers have of a product.
func (d *desk) countUnits(
	ctx context.Context, q store.DBTX, id sale.ProductID, customers []string,
) (map[string]count, error) {
	rows, err := d.q.CustomersUnits(ctx, q, store.CustomersUnitsParams{ProductID: id, Customers: customers})
	if err != nil {
		return nil, fmt.Errorf("counting customers' units of %s: %w", id, err)
	}
	counts := make(map[string]count, len(rows))
	for _, row := range rows {
		counts[row.CustomerID] = count{units: row.Units, overdue: row.Overdue}
	}
	return counts, nil
}

// findReplays looks for the keys that had their effect, and for what that was. What is not
// there, as in a crowd that comes too late, is asked for in the cheapest way.
func (a *CreateHold) findReplays(ctx context.Context, q store.DBTX, v *view, wishes []*wish) error {
	made, keys, err := a.marksThere(ctx, q, wishes)
	if err != nil {
		return err
	}
	v.keys = keys
	for _, key := range v.keys {
		made = append(made, sale.HoldID(key.Target))
	}
	if len(made) == 0 {
		return nil
	}
	rows, err := a.q.GetHolds(ctx, q, made)
	if err != nil {
		return fmt.Errorf("reading holds of keys: %w", err)
	}
	v.holds = viewsOf(rows)
	return nil
}

// marksThere says which of the wishes' keys had their effect: holds of which they are the ids,
// and records of keys.
func (a *CreateHold) marksThere(ctx context.Context, q store.DBTX, wishes []*wish) ([]sale.HoldID, usedKeys, error) {
	var ids []sale.HoldID
	var keys [][]byte
	for _, w := range wishes {
		switch {
		case w.byID:
			ids = append(ids, w.id)
		case w.Key != "":
			keys = append(keys, w.claim.id[:])
		}
	}
	made, err := a.holdsThere(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	used, err := a.keysThere(ctx, q, keys)
	return made, used, err
}

// closeTogether is how far apart ids may have been made to be looked for by one range. What
// was purged stays in the table for a while, and a range would pass over all of it.
const closeTogether = 10 * time.Second

// holdsThere says which of these holds were made. Ids begin with the time: those of a crowd
// that comes too late lie close together, as far as its clocks agree, and hardly anything
// that was made between them. To see that takes MySQL one look, in place of one for each id.
func (a *CreateHold) holdsThere(ctx context.Context, q store.DBTX, ids []sale.HoldID) ([]sale.HoldID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	slices.SortFunc(ids, sale.HoldID.Compare)
	if ids[len(ids)-1].Time().Sub(ids[0].Time()) > closeTogether {
		return a.holdsAmong(ctx, q, ids)
	}
	between, err := a.q.HoldsBetween(ctx, q, store.HoldsBetweenParams{
		First: ids[0], Last: ids[len(ids)-1], Limit: int32(len(ids)) + 1, //nolint:gosec // a batch is small
	})
	if err != nil {
		return nil, fmt.Errorf("looking between %d holds: %w", len(ids), err)
	}
	if len(between) > len(ids) {
		return a.holdsAmong(ctx, q, ids)
	}
	return slices.DeleteFunc(between, func(made sale.HoldID) bool {
		_, asked := slices.BinarySearchFunc(ids, made, sale.HoldID.Compare)
		return !asked
	}), nil
}

// holdsAmong is holdsThere for ids that are far apart, or have many holds between them.
func (a *CreateHold) holdsAmong(ctx context.Context, q store.DBTX, ids []sale.HoldID) ([]sale.HoldID, error) {
	rows, err := a.q.HoldsThere(ctx, q, ids)
	if err != nil {
		return nil, fmt.Errorf("looking for %d holds: %w", len(ids), err)
	}
	there := make([]sale.HoldID, len(rows))
	for i, row := range rows {
		there[i] = row.ID
	}
	return there, nil
}

// counted says whether the customer's units were counted of each product of a wish that has
// a limit.
func (v *view) counted(w *wish) bool {
	for _, line := range w.Lines {
		if v.products[line.ProductID].PerCustomerLimit != nil && v.counts[line.ProductID] == nil {
			return false
		}
	}
	return true
}

// of is what a look says to one wish: its own products, as they look to its customer.
func (v *view) of(w *wish) sight {
	s := make(sight, len(w.Lines))
	for _, line := range w.Lines {
		if _, found := v.products[line.ProductID]; found {
			s[line.ProductID] = v.product(line.ProductID, w.CustomerID)
		}
	}
	return s
}

// product is one product that was seen, as it looks to a customer.
func (v *view) product(id sale.ProductID, customer string) seen {
	product := v.products[id]
	product.counted = v.counts[id][customer]
	return product
}

// decide is the verdict on a wish of one line. Those who ask for the same get one and the
// same, which is then encoded once.
func (v *view) decide(w *wish, release bool) error {
	line := w.Lines[0]
	if v.counts[line.ProductID] != nil {
		return v.of(w).decide(w, release)
	}
	asked := question{line.ProductID, line.Quantity, release}
	verdict, known := v.verdicts[asked]
	if !known {
		verdict = v.of(w).decide(w, release)
		v.verdicts[asked] = verdict
	}
	return verdict
}

// replay returns errTaken for a wish whose key had its effect, and tells the wish what that
// was, unless its hold is not there any more: its owner then finds that out. CodeKeyReused when
// something else was asked with the key.
func (v *view) replay(w *wish) error {
	id := w.id
	if !w.byID {
		key, found := v.keys[w.claim.id]
		if !found {
			return nil
		}
		if err := w.claim.compare(key.Fingerprint); err != nil {
			return err
		}
		id = sale.HoldID(key.Target)
	}
	made, found := v.holds[id]
	if found {
		w.replayed = &made
	}
	if found || !w.byID {
		return errTaken
	}
	return nil
}
