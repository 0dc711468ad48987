package httpapi

import (
	"context"
	"time"

	"github.com/oapi-codegen/nullable"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// productCacheControl lets others keep a product, but ask each time whether
	// it is still so: stock must show at once.
	productCacheControl = "no-cache"

	// The two answers of RFC 9211.
	cacheHit  = "flashsale; hit"
	cacheMiss = "flashsale; fwd=miss"
)

// CreateProduct answers POST /api/products.
func (h *handlers) CreateProduct(ctx context.Context, request server.CreateProductRequestObject) (server.CreateProductResponseObject, error) {
	body := request.Body
	result, err := h.Actions.CreateProduct.Do(ctx, action.CreateProductInput{
		Key:   value(request.Params.IdempotencyKey),
		SKU:   body.SKU,
		Name:  body.Name,
		Stock: body.Stock,
		Rules: sale.Rules{
			Price:            sale.Money(body.Price),
			SaleStartsAt:     stored(body.SaleStartsAt),
			SaleEndsAt:       stored(body.SaleEndsAt),
			PerCustomerLimit: body.PerCustomerLimit,
			HoldTTL:          seconds(value(body.HoldTTLSeconds)),
			PaymentWindow:    seconds(value(body.PaymentWindowSeconds)),
		},
	})
	if err != nil {
		return nil, err
	}
	product := productBody(result.Value)
	return server.CreateProduct201JSONResponse{
		Body: product,
		Headers: server.CreateProduct201ResponseHeaders{
			Location:           "/api/products/" + product.ID,
			IdempotentReplayed: replayed(result.Replayed),
		},
	}, nil
}

// GetProduct answers GET /api/products/{product_id}.
func (h *handlers) GetProduct(ctx context.Context, request server.GetProductRequestObject) (server.GetProductResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	read, err := h.Actions.GetProduct.Do(ctx, id)
	if err != nil {
		return nil, err
	}
	encoded, err := h.encoded.of(read.Product)
	if err != nil {
		return nil, err
	}
	headers := server.GetProduct200ResponseHeaders{
		CacheControl: productCacheControl,
		CacheStatus:  cacheMiss,
		ETag:         encoded.tag,
	}
	if read.Hit {
		headers.CacheStatus = cacheHit
	}
	if matchesTag(value(request.Params.IfNoneMatch), headers.ETag) {
		return server.GetProduct304Response{Headers: server.GetProduct304ResponseHeaders(headers)}, nil
	}
	return productAnswer{body: encoded.body, headers: headers}, nil
}

// ListProducts answers GET /api/products.
func (h *handlers) ListProducts(ctx context.Context, request server.ListProductsRequestObject) (server.ListProductsResponseObject, error) {
	var after *sale.ProductID
	if request.Params.Cursor != nil {
		id, err := readCursor(*request.Params.Cursor, sale.ParseProductID)
		if err != nil {
			return nil, err
		}
		after = &id
	}
	page, err := h.Actions.ListProducts.Do(ctx, limitOf(request.Params.Limit), after)
	if err != nil {
		return nil, err
	}
	body := server.ListProducts200JSONResponse{Data: make([]server.Product, len(page.Products))}
	for i, product := range page.Products {
		body.Data[i] = productBody(product)
	}
	if page.Next != nil {
		body.NextCursor = new(writeCursor(page.Next.String()))
	}
	return body, nil
}

// UpdateProduct answers PATCH /api/products/{product_id}.
func (h *handlers) UpdateProduct(ctx context.Context, request server.UpdateProductRequestObject) (server.UpdateProductResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	product, err := h.Actions.UpdateProduct.Do(ctx, id, productPatch(request.Body))
	if err != nil {
		return nil, err
	}
	return server.UpdateProduct200JSONResponse(productBody(product)), nil
}

// AdjustStock answers POST /api/products/{product_id}/stock-adjustments.
func (h *handlers) AdjustStock(ctx context.Context, request server.AdjustStockRequestObject) (server.AdjustStockResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.AdjustStock.Do(ctx, action.AdjustStockInput{
		Key:       value(request.Params.IdempotencyKey),
		ProductID: id,
		Delta:     request.Body.Delta,
		Reason:    request.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	return server.AdjustStock200JSONResponse{
		Body:    productBody(result.Value),
		Headers: server.AdjustStock200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

func productPatch(body *server.UpdateProductRequest) action.ProductPatch {
	patch := action.ProductPatch{
		Name:             body.Name,
		SaleStartsAt:     timeChange(body.SaleStartsAt),
		SaleEndsAt:       timeChange(body.SaleEndsAt),
		PerCustomerLimit: change(body.PerCustomerLimit),
	}
	if body.Price != nil {
		patch.Price = new(sale.Money(*body.Price))
	}
	if body.HoldTTLSeconds != nil {
		patch.HoldTTL = new(seconds(*body.HoldTTLSeconds))
	}
	if body.PaymentWindowSeconds != nil {
		patch.PaymentWindow = new(seconds(*body.PaymentWindowSeconds))
	}
	return patch
}

// change tells a member that is absent from one that is null.
func change[T any](member nullable.Nullable[T]) action.Change[T] {
	changed := action.Change[T]{Given: member.IsSpecified()}
	if given, err := member.Get(); err == nil {
		changed.Value = &given
	}
	return changed
}

func timeChange(member nullable.Nullable[time.Time]) action.Change[time.Time] {
	changed := change(member)
	changed.Value = stored(changed.Value)
	return changed
}

func productBody(p sale.Product) server.Product {
	return server.Product{
		ID:                   p.ID.String(),
		SKU:                  p.SKU,
		Name:                 p.Name,
		Price:                server.Money(p.Price),
		TotalStock:           p.TotalStock,
		AvailableStock:       p.AvailableStock,
		Version:              p.Version,
		SaleStartsAt:         utc(p.SaleStartsAt),
		SaleEndsAt:           utc(p.SaleEndsAt),
		PerCustomerLimit:     p.PerCustomerLimit,
		HoldTTLSeconds:       int64(p.HoldTTL / time.Second),
		PaymentWindowSeconds: int64(p.PaymentWindow / time.Second),
		CreatedAt:            p.CreatedAt.UTC(),
		UpdatedAt:            p.UpdatedAt.UTC(),
	}
}

// productID reads a path's id that the contract's pattern let through.
func productID(text string) (sale.ProductID, error) {
	id, err := sale.ParseProductID(text)
	if err != nil {
		return id, notAProduct("/path/product_id")
	}
	return id, nil
}

func notAProduct(pointer string) error { return sale.Invalid(pointer, "must be the id of a product") }
