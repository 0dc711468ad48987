package action

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
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

// GetProduct reads a product, from the cache where that has it.
type GetProduct struct{ *desk }

// Do returns CodeProductNotFound for an unknown id.
func (a *GetProduct) Do(ctx context.Context, id sale.ProductID) (ProductRead, error) {
	product, hit, err := a.known(ctx, id)
	return ProductRead{Product: product, Hit: hit}, err
}

// known is a product as the cache knows it.
func (d *desk) known(ctx context.Context, id sale.ProductID) (sale.Product, bool, error) {
	return d.Cache.Get(ctx, id, func(ctx context.Context) (sale.Product, error) {
		// Whoever asks while it is read shares it: the first one's budget is not theirs.
		return d.product(budget.Lifted(ctx), id)
	})
}

// ListProducts reads products in order of id, from MySQL.
type ListProducts struct{ *desk }

// Do gives at most limit products from after one on, nil: from the first.
func (a *ListProducts) Do(ctx context.Context, limit int, after *sale.ProductID) (ProductPage, error) {
	var page ProductPage
	var from sale.ProductID
	if after != nil {
		from = *after
	}
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		// One more than asked for tells whether there is a next page.
		rows, err := a.q.ListProducts(ctx, q, store.ListProductsParams{After: from, Limit: int32(limit) + 1}) //nolint:gosec // at most 100
		if err != nil {
			return fmt.Errorf("listing products: %w", err)
		}
		page = pageOf(rows, limit)
		return nil
	})
	return page, err
}

func pageOf(rows []store.Product, limit int) ProductPage {
	var page ProductPage
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = &rows[limit-1].ID
	}
	for _, row := range rows {
		page.Products = append(page.Products, productOf(row))
	}
	return page
}

// UpdateProduct changes a product's name and rules.
type UpdateProduct struct{ *desk }

// Do returns the product as it is then, also when nothing changes. It returns
// CodeProductNotFound, or CodeInvalidRequest for a window that ends before it starts.
func (a *UpdateProduct) Do(ctx context.Context, id sale.ProductID, patch ProductPatch) (sale.Product, error) {
	if err := a.change(ctx, id, patch); err != nil {
		return sale.Product{}, err
	}
	a.Log.InfoContext(ctx, "product.updated", slog.String("product_id", id.String()))
	result, err := answer(ctx, false, func(ctx context.Context) (sale.Product, error) { return a.published(ctx, id) })
	return result.Value, err
}

func (a *UpdateProduct) change(ctx context.Context, id sale.ProductID, patch ProductPatch) error {
	leave, err := a.enter(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	return a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error { return a.update(ctx, tx, id, patch) })
}

func (a *UpdateProduct) update(ctx context.Context, tx *mysql.Tx, id sale.ProductID, patch ProductPatch) error {
	row, err := a.q.LockProduct(ctx, tx, id)
	if err != nil {
		return notFound(err, sale.CodeProductNotFound, id.String())
	}
	old := productOf(row)
	name, rules := patched(old, patch)
	if err := checkWindow(rules); err != nil {
		return err
	}
	rulesChanged := !rules.Equal(old.Rules)
	if !rulesChanged && name == old.Name {
		return nil
	}
	version := old.RulesVersion
	if rulesChanged {
		version++
	}
	if err := a.q.UpdateProduct(ctx, tx, store.UpdateProductParams{
		Name: name, PriceAmount: rules.Price.Amount, Currency: rules.Price.Currency,
		SaleStartsAt: rules.SaleStartsAt, SaleEndsAt: rules.SaleEndsAt, PerCustomerLimit: rules.PerCustomerLimit,
		HoldTtlSeconds: inSeconds(rules.HoldTTL), PaymentWindowSeconds: inSeconds(rules.PaymentWindow),
		RulesVersion: version, Now: tx.Now, ID: id,
	}); err != nil {
		return fmt.Errorf("updating product %s: %w", id, err)
	}
	return nil
}

func patched(product sale.Product, patch ProductPatch) (string, sale.Rules) {
	name, rules := product.Name, product.Rules
	set(&name, patch.Name)
	set(&rules.Price, patch.Price)
	set(&rules.HoldTTL, patch.HoldTTL)
	set(&rules.PaymentWindow, patch.PaymentWindow)
	if patch.SaleStartsAt.Given {
		rules.SaleStartsAt = inMicroseconds(patch.SaleStartsAt.Value)
	}
	if patch.SaleEndsAt.Given {
		rules.SaleEndsAt = inMicroseconds(patch.SaleEndsAt.Value)
	}
	if patch.PerCustomerLimit.Given {
		rules.PerCustomerLimit = patch.PerCustomerLimit.Value
	}
	return name, rules
}

func set[T any](member, value *T) {
	if value != nil {
		*member = *value
	}
}

// AdjustStock adds units to a product or takes unsold ones away.
type AdjustStock struct{ *desk }

// Do gives the product as this adjustment left it. It returns CodeProductNotFound,
// CodeInsufficient when it would take away more than is available, CodeInvalidRequest
// past the limit of stock, CodeKeyReused or CodeKeyInProgress.
func (a *AdjustStock) Do(ctx context.Context, in AdjustStockInput) (Result[sale.Product], error) {
	c, err := newClaim("adjustStock", in.ProductID.String(), in.Key, []any{in.Delta, in.Reason})
	if err != nil {
		return Result[sale.Product]{}, err
	}
	products := []sale.ProductID{in.ProductID}
	var left sale.Product
	_, replayed, err := a.once(ctx, c, in.ProductID, products, func(ctx context.Context, tx *mysql.Tx) (err error) {
		left, err = a.adjust(ctx, tx, in)
		return err
	})
	switch {
	case err != nil:
		return Result[sale.Product]{}, err
	case replayed:
		return answer(ctx, true, func(ctx context.Context) (sale.Product, error) { return a.published(ctx, in.ProductID) })
	}
	a.Cache.Put(ctx, left)
	a.Log.InfoContext(ctx, "stock.adjusted", slog.String("product_id", in.ProductID.String()),
		slog.Int64("delta", in.Delta), slog.String("reason", in.Reason))
	return Result[sale.Product]{Value: left}, nil
}

// adjust decides and changes under the product's lock: between a statement that changes
// nothing and a look that says why, others would change the stock.
func (a *AdjustStock) adjust(ctx context.Context, tx *mysql.Tx, in AdjustStockInput) (sale.Product, error) {
	row, err := a.q.LockProduct(ctx, tx, in.ProductID)
	switch {
	case err != nil:
		return sale.Product{}, notFound(err, sale.CodeProductNotFound, in.ProductID.String())
	case row.AvailableStock+in.Delta < 0:
		return sale.Product{}, &sale.Error{
			Code:   sale.CodeInsufficient,
			Detail: "More would be taken away than is available.",
			Lines: []sale.Refusal{{
				Code: sale.CodeInsufficient, ProductID: row.ID, Requested: -in.Delta, Available: row.AvailableStock,
			}},
		}
	case row.TotalStock+in.Delta > sale.MaxStock:
		return sale.Product{}, sale.Invalid("/delta", fmt.Sprintf("would make the stock more than %d", sale.MaxStock))
	}
	changed, err := a.q.AdjustStock(ctx, tx, store.AdjustStockParams{
		Delta: in.Delta, Now: tx.Now, ID: in.ProductID, MaxStock: sale.MaxStock,
	})
	if err := oneRow(changed, err); err != nil {
		return sale.Product{}, fmt.Errorf("adjusting the stock of %s: %w", in.ProductID, err)
	}
	return a.movedWith(ctx, tx, in.ProductID, in.Delta, sale.MovementAdjusted, in.Reason)
}
