package action

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	defaultHoldTTL       = 5 * time.Minute
	defaultPaymentWindow = 15 * time.Minute
)

// CreateProduct puts something on sale.
type CreateProduct struct{ *desk }

// Do makes the product. It returns CodeSKUTaken, CodeInvalidRequest for a window
// that ends before it starts, CodeKeyReused or CodeKeyInProgress.
func (a *CreateProduct) Do(ctx context.Context, in CreateProductInput) (Result[sale.Product], error) {
	rules := withDefaults(in.Rules)
	if err := checkWindow(rules); err != nil {
		return Result[sale.Product]{}, err
	}
	asked := in
	asked.Key = ""
	c, err := newClaim("createProduct", "", in.Key, asked)
	if err != nil {
		return Result[sale.Product]{}, err
	}
	id := sale.NewProductID()
	made, replayed, err := a.once(ctx, c, id, nil, func(ctx context.Context, tx *mysql.Tx) error {
		return a.insert(ctx, tx, id, in, rules)
	})
	if err != nil {
		return Result[sale.Product]{}, err
	}
	if !replayed {
		a.Log.InfoContext(ctx, "product.created", slog.String("product_id", id.String()),
			slog.String("sku", in.SKU), slog.Int64("stock", in.Stock))
	}
	return answer(ctx, replayed, func(ctx context.Context) (sale.Product, error) { return a.published(ctx, made) })
}

func (a *CreateProduct) insert(
	ctx context.Context, tx *mysql.Tx, id sale.ProductID, in CreateProductInput, rules sale.Rules,
) error {
	err := a.q.InsertProduct(ctx, tx, store.InsertProductParams{
		ID: id, Sku: in.SKU, Name: in.Name,
		PriceAmount: rules.Price.Amount, Currency: rules.Price.Currency,
		TotalStock: in.Stock, AvailableStock: in.Stock,
		SaleStartsAt: rules.SaleStartsAt, SaleEndsAt: rules.SaleEndsAt, PerCustomerLimit: rules.PerCustomerLimit,
		HoldTtlSeconds: inSeconds(rules.HoldTTL), PaymentWindowSeconds: inSeconds(rules.PaymentWindow),
		CreatedAt: tx.Now, UpdatedAt: tx.Now,
	})
	switch {
	case mysql.IsDuplicate(err):
		return sale.Fail(sale.CodeSKUTaken, "Another product has this sku.")
	case err != nil:
		return fmt.Errorf("inserting a product: %w", err)
	}
	return a.recordMovement(ctx, tx, id, in.Stock, sale.MovementCreated, "")
}

func withDefaults(rules sale.Rules) sale.Rules {
	if rules.HoldTTL == 0 {
		rules.HoldTTL = defaultHoldTTL
	}
	if rules.PaymentWindow == 0 {
		rules.PaymentWindow = defaultPaymentWindow
	}
	rules.SaleStartsAt, rules.SaleEndsAt = inMicroseconds(rules.SaleStartsAt), inMicroseconds(rules.SaleEndsAt)
	return rules
}

// inMicroseconds is a time as the database keeps it.
func inMicroseconds(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	kept := t.UTC().Truncate(time.Microsecond)
	return &kept
}

func checkWindow(rules sale.Rules) error {
	if rules.SaleStartsAt != nil && rules.SaleEndsAt != nil && !rules.SaleStartsAt.Before(*rules.SaleEndsAt) {
		return sale.Invalid("/sale_ends_at", "must be after sale_starts_at")
	}
	return nil
}
