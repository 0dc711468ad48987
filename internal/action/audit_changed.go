package action

import (
	"context"
	"errors"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// auditPage is how many products are asked at once whether their stock changed.
	auditPage = 1000
	// auditEach is after how many rounds a product is audited again whose stock did
	// not change: somebody may have changed its tables by hand.
	auditEach = 60
)

// AuditMark is what the last audit of a product found.
type AuditMark struct {
	StockVersion int64 // that it saw
	Imbalance    int64 // units
	Rounds       int   // since then
}

// AuditRound is what one round over all products found.
type AuditRound struct {
	Marks      map[sale.ProductID]AuditMark // of all products, for the next round
	Unbalanced []sale.Books                 // as read in this round
	Imbalance  int64                        // units, of all products
}

// AuditChanged audits the products whose stock changed.
type AuditChanged struct{ *desk }

// Do audits, one product a statement, what has changed since the marks were made, what
// has none, what was out of balance, and each other product once in a while. A product
// that cannot be audited keeps its old mark and does not stop the others; the error then
// names each.
func (a *AuditChanged) Do(ctx context.Context, known map[sale.ProductID]AuditMark) (AuditRound, error) {
	round := AuditRound{Marks: make(map[sale.ProductID]AuditMark, len(known))}
	err := a.walk(ctx, known, &round)
	if err != nil {
		round.keep(known)
	}
	for _, mark := range round.Marks {
		round.Imbalance += mark.Imbalance
	}
	return round, err
}

// walk visits all products in order of id, unless the database is gone.
func (a *AuditChanged) walk(ctx context.Context, known map[sale.ProductID]AuditMark, round *AuditRound) error {
	var failures []error
	var after sale.ProductID
	for full := true; full; {
		page, err := a.versions(ctx, after)
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		for _, row := range page {
			err := a.visit(ctx, row, known, round)
			if err != nil {
				failures = append(failures, err)
			}
			if ctx.Err() != nil || errors.Is(err, &sale.Error{Code: sale.CodeUnavailable}) {
				return errors.Join(failures...)
			}
			after = row.ID
		}
		full = len(page) == auditPage
	}
	return errors.Join(failures...)
}

// versions is a page of products with the versions of their stock.
func (a *AuditChanged) versions(ctx context.Context, after sale.ProductID) ([]store.StockVersionsRow, error) {
	var page []store.StockVersionsRow
	err := a.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		page, err = a.q.StockVersions(ctx, q, store.StockVersionsParams{After: after, Limit: auditPage})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for products whose stock changed: %w", err)
	}
	return page, nil
}

// visit audits one product where there is need, and marks it.
func (a *AuditChanged) visit(
	ctx context.Context, row store.StockVersionsRow, known map[sale.ProductID]AuditMark, round *AuditRound,
) error {
	mark, audited := known[row.ID]
	if audited && mark.Imbalance == 0 && mark.StockVersion == row.StockVersion && mark.Rounds < auditEach {
		mark.Rounds++
		round.Marks[row.ID] = mark
		return nil
	}
	books, err := a.audits.Do(ctx, row.ID)
	switch {
	case errors.Is(err, &sale.Error{Code: sale.CodeProductNotFound}):
		return nil // gone since
	case err != nil:
		return fmt.Errorf("auditing %s: %w", row.ID, err)
	}
	mark = AuditMark{StockVersion: books.StockVersion, Imbalance: books.Imbalance()}
	if !audited {
		// From the first round on, the turns of products spread.
		mark.Rounds = int(row.ID[len(row.ID)-1]) % auditEach
	}
	round.Marks[row.ID] = mark
	if !books.Balanced() {
		round.Unbalanced = append(round.Unbalanced, books)
	}
	return nil
}

// keep takes over the marks of products that a cut short round did not come to.
func (r *AuditRound) keep(known map[sale.ProductID]AuditMark) {
	for id, mark := range known {
		if _, marked := r.Marks[id]; !marked {
			r.Marks[id] = mark
		}
	}
}
