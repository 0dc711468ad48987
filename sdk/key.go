package sdk

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	headerKey  = "Idempotency-Key"
	holdsPath  = "/api/holds"
	ordersPath = "/api/orders"
)

// HoldKey makes a new idempotency key for a hold on these products, in any order. It
// becomes the hold's id, so the service needs no other record of it: the fastest key
// that there is. The error is for no product or a malformed id. A client of New makes such
// keys by itself; make your own to keep it with your order before you ask, so that after
// a crash you ask again with the same.
func HoldKey(products ...client.ProductID) (client.IdempotencyKey, error) {
	if len(products) == 0 {
		return "", fmt.Errorf("a hold key needs a product: %w", sale.ErrMalformedID)
	}
	var home sale.ProductID
	for i, product := range products {
		id, err := sale.ParseProductID(product)
		if err != nil {
			return "", fmt.Errorf("product %d of a hold key: %w", i, err)
		}
		if i == 0 || id.Compare(home) < 0 {
			home = id
		}
	}
	return sale.NewHoldID(home).String(), nil
}

// keyFor makes the key of a request that has none: for a hold its id to be, for an order
// its hold's, where the body can be read, else any.
func keyFor(req *http.Request) client.IdempotencyKey {
	switch path := req.URL.Path; {
	case strings.HasSuffix(path, holdsPath):
		if key, err := HoldKey(productsOf(req)...); err == nil {
			return key
		}
	case strings.HasSuffix(path, ordersPath):
		if hold, err := sale.ParseHoldID(read[client.CreateOrderRequest](req).HoldID); err == nil {
			return hold.String()
		}
	}
	return rand.Text()
}

// read gives what a request's body says, nothing when it cannot be read: the service tells
// what is wrong with it.
func read[T any](req *http.Request) T {
	var asked, nothing T
	if req.GetBody == nil {
		return nothing
	}
	body, err := req.GetBody()
	if err != nil {
		return nothing
	}
	defer func() { _ = body.Close() }()
	if json.NewDecoder(body).Decode(&asked) != nil {
		return nothing
	}
	return asked
}

// productsOf are those that a hold's request asks for.
func productsOf(req *http.Request) []client.ProductID {
	request := read[client.CreateHoldRequest](req)
	products := make([]client.ProductID, len(request.Lines))
	for i, line := range request.Lines {
		products[i] = line.ProductID
	}
	return products
}
