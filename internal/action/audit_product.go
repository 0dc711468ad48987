package action

import (
	"context"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// maxAudits bounds the products that wait to be audited.
const maxAudits = 1024

// AuditProduct reads one product's books beside all else that goes on. One audit
// runs at a time in this process, which leaves the sweep a connection and the
// database its strength; requests that wait for one product share its audit.
type AuditProduct struct{ *desk }

// Do gives books that were not read before it was asked. It returns
// CodeProductNotFound, or CodeOverloaded when too many other audits come first.
func (a *AuditProduct) Do(ctx context.Context, id sale.ProductID) (sale.Books, error) {
	patience, cancel := context.WithTimeoutCause(ctx, a.patience(forAudit), lane.ErrOverloaded)
	defer cancel()
	books, err := a.audits.Do(patience, id)
	return books, overloaded(err)
}

// survey reads a product's books on the patient connections, which bound the time
// that it takes.
func (d *desk) survey(ctx context.Context, id sale.ProductID) (sale.Books, error) {
	var books sale.Books
	err := d.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		books, err = d.books(ctx, q, id)
		return err
	})
	return books, err
}
