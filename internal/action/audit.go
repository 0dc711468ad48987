package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Audit reads the books: where every unit is, and what the ledger says.
type Audit struct{ *desk }

// Do gives the books of these products, each from one snapshot, or of all products
// from one snapshot together when none is named. CodeProductNotFound for an unknown
// id. Whether the books balance is for the caller to ask them.
func (a *Audit) Do(ctx context.Context, ids ...sale.ProductID) ([]sale.Books, error) {
	var books []sale.Books
	err := a.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		if len(ids) == 0 {
			books, err = a.all(ctx, q)
			return err
		}
		for _, id := range ids {
			one, err := a.books(ctx, q, id)
			if err != nil {
				return err
			}
			books = append(books, one)
		}
		return nil
	})
	return books, err
}

func (a *Audit) all(ctx context.Context, q store.DBTX) ([]sale.Books, error) {
	rows, err := a.q.AuditProducts(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("auditing all products: %w", err)
	}
	books := make([]sale.Books, len(rows))
	for i, row := range rows {
		books[i] = booksOf(row)
	}
	return books, nil
}

func booksOf(row store.AuditProductsRow) sale.Books {
	return sale.Books{
		ProductID: row.ID, SKU: row.Sku, StockVersion: row.StockVersion,
		Available: row.AvailableStock, Held: row.Held, Pending: row.Pending, Sold: row.Sold,
		Total: row.TotalStock, LedgerAvailable: row.LedgerAvailable,
	}
}

// books reads one product's books.
func (d *desk) books(ctx context.Context, q store.DBTX, id sale.ProductID) (sale.Books, error) {
	row, err := d.q.AuditProduct(ctx, q, id)
	if err != nil {
		return sale.Books{}, notFound(err, sale.CodeProductNotFound, id.String())
	}
	return booksOf(store.AuditProductsRow(row)), nil
}
