package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// maxEncoded bounds the products whose JSON is kept: those that a crowd reads at
// once are few, and each takes about a kilobyte.
const maxEncoded = 1024

// encodedProducts keeps the JSON of products, made once for each state.
type encodedProducts struct {
	mu   sync.RWMutex
	byID map[sale.ProductID]encodedProduct
}

type encodedProduct struct {
	product sale.Product
	body    []byte
	tag     string // of the body
}

func newEncodedProducts() *encodedProducts {
	return &encodedProducts{byID: map[sale.ProductID]encodedProduct{}}
}

// of gives a product with its JSON. What a version is believed to be, Redis may have had wrong, so
// the whole products are compared.
func (e *encodedProducts) of(product sale.Product) (encodedProduct, error) {
	e.mu.RLock()
	known := e.byID[product.ID]
	e.mu.RUnlock()
	if known.body != nil && known.product == product {
		return known, nil
	}
	body, err := json.Marshal(productBody(product))
	if err != nil {
		return encodedProduct{}, fmt.Errorf("encode product %s: %w", product.ID, err)
	}
	known = encodedProduct{product: product, body: body, tag: bodyTag(body)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.byID) >= maxEncoded {
		clear(e.byID)
	}
	e.byID[product.ID] = known
	return known, nil
}

// productAnswer is GetProduct's 200 with a body that was encoded before.
type productAnswer struct {
	body    []byte
	headers server.GetProduct200ResponseHeaders
}

// VisitGetProductResponse writes the answer as the generated one is written.
func (a productAnswer) VisitGetProductResponse(w http.ResponseWriter) error {
	setHeaders(w.Header(),
		"Content-Type", "application/json", "Content-Length", strconv.Itoa(len(a.body)),
		"Cache-Control", a.headers.CacheControl, "Cache-Status", a.headers.CacheStatus, "Etag", a.headers.ETag)
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.body)
	return err
}
